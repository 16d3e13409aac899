/* SPDX-License-Identifier: MIT */
/*
 * Limiters as the sockets see them: what is given to them between two moments. (What a peer reads
 * between these depends on when it is let run.) Time is what is promised here, so these tests do
 * take some: so much that a burst that was saved up before, and one that is not told of yet, are
 * within the percent that are allowed. Where a limiter must keep something back it gives a byte a
 * second: then a test that passes has not waited for the limiter, and one that fails would do so
 * for days.
 */
#include "tests/support.h"

#include <dirent.h>
#include <time.h>

/* A burst that lasts for 50 ms: on a busy machine a thread may wake so late. */
#define BURST_OF(rate) ((rate) / 20)

enum {
    KB = 1000,
    MB = 1000 * KB,
    PERCENT = 5,  /* how far the measured rate may be from the setting */
    STUCK_MS = 60 /* those who wait for a limiter look every 50 ms */
};

static const unsigned char zeros[64 * MB];

/* ---- what the tests are made of -------------------------------------------------------------- */

static ferry_stream *adopt_limited(ferry_service *service, int fd, ferry_limiter *limiter)
{
    return stream_adopt_with(service, fd, (ferry_stream_options){.limiter = limiter});
}

static stage stage_in_limited(ferry_service *service, ferry_limiter *limiter)
{
    return stage_in_with(service, unix_pair(SOCK_STREAM),
                         (ferry_stream_options){.limiter = limiter});
}

static ferry_promise *submit_zeros(ferry_stream *stream, size_t size)
{
    const ferry_part part = ferry_part_borrow(zeros, size);
    return submit_parts(stream, &part, 1, NULL);
}

static void check_waits(ferry_promise *promise)
{
    check_eq(ferry_promise_await(promise, STUCK_MS, NULL), -ETIMEDOUT);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A peer that reads whatever comes, and says how much that was so far. */
typedef struct meter {
    pthread_t thread;
    int fd;
    atomic_uint_fast64_t bytes;
} meter;

static void *read_and_count(void *arg)
{
    meter *self = arg;
    unsigned char *scrap = malloc(256 * 1024);
    for (ssize_t count; (count = read(self->fd, scrap, 256 * 1024)) > 0;)
        atomic_fetch_add(&self->bytes, (uint64_t)count);
    free(scrap);
    close(self->fd);
    return NULL;
}

/* Takes fd. */
static void meter_open(meter *self, int fd)
{
    self->fd = fd;
    atomic_init(&self->bytes, 0);
    self->thread = start_thread(read_and_count, self);
}

static void meters_join(meter meters[], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        check_eq(pthread_join(meters[i].thread, NULL), 0);
}

static void meters_wait_for(meter meters[], unsigned count, uint64_t bytes)
{
    for (unsigned i = 0; i < count; i++)
        while (atomic_load(&meters[i].bytes) < bytes)
            usleep(1000);
}

/* How long the threads of this process have been ready to run and were not let, in all. */
static int64_t starved_ns(void)
{
    int64_t sum = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char path[64];
        long long ran, waited;
        (void)snprintf(path, sizeof path, "/proc/self/task/%.16s/schedstat", task->d_name);
        FILE *file = fopen(path, "re");
        if (file != NULL && fscanf(file, "%lld %lld", &ran, &waited) == 2)
            sum += waited;
        if (file != NULL)
            (void)fclose(file);
    }
    (void)closedir(tasks);
    return sum;
}

/* Which share of the last measurement's time the machine was busy with something else: what a
 * limiter is asked for nothing in, or a peer does not read in, nobody makes up for. */
static double starved;

static uint64_t sent_by(ferry_stream *stream)
{
    return stream_status(stream).sent_bytes;
}

/*
 * Lets some time pass. @return what left meanwhile, in bytes per second, for each stream. The clock
 * is looked at before and after all else: no rate comes out too high because this thread had to
 * wait.
 */
static void measure(ferry_stream *const streams[], unsigned count, unsigned ms,
                    uint64_t ret_rates[])
{
    int64_t starved_before_ns = starved_ns(), began_ns = now_ns();
    for (unsigned i = 0; i < count; i++)
        ret_rates[i] = sent_by(streams[i]);
    usleep(ms * 1000);
    for (unsigned i = 0; i < count; i++)
        ret_rates[i] = sent_by(streams[i]) - ret_rates[i];
    int64_t took_ns = now_ns() - began_ns;
    starved = (double)(starved_ns() - starved_before_ns) / (double)took_ns;
    for (unsigned i = 0; i < count; i++)
        ret_rates[i] = (uint64_t)((double)ret_rates[i] * 1e9 / (double)took_ns);
}

/* Within PERCENT; less, where the machine had no time for it. */
static void check_rate(uint64_t got, uint64_t expected)
{
    fprintf(stderr, "rate %llu of %llu, starved for %.3f\n", (unsigned long long)got,
            (unsigned long long)expected, starved);
    double off = (double)got / (double)expected - 1, most = PERCENT / 100.0;
    if (off < -most - starved || off > most)
        check_eq(got, expected);
}

/* ---- five seconds of everything -------------------------------------------------------------- */

/* What feeds a pipe that is spliced. */
static void *write_to_pipe(void *arg)
{
    const int *fd = arg;
    sigset_t broken_pipe; /* which ends it */
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    check_eq(pthread_sigmask(SIG_BLOCK, &broken_pipe, NULL), 0);
    while (write(*fd, zeros, 64 * 1024) > 0)
        continue;
    return NULL;
}

static ferry_promise *submit_generated(ferry_stream *stream)
{
    const ferry_part part = ferry_part_generate(generate_zeros, NULL, FERRY_TO_END, NULL);
    return submit_parts(stream, &part, 1, NULL);
}

/* A file of so many zeros that need no room. */
static test_file hollow_file(int64_t size)
{
    test_file file = file_make(0, 1);
    check_eq(truncate(file.path, size), 0);
    return file;
}

enum { SENDFILE, MEMORY, SPLICE, COPY, MESSAGES, GROUPED, GROUPED_TOO, STREAMS };

typedef struct everything {
    test_file file;
    int pipe_fds[2];
    ferry_stream *streams[STREAMS];
    ferry_promise *promises[STREAMS];
    meter meters[STREAMS];
} everything;

static const uint64_t rates[] = {[SENDFILE] = 20 * MB,
                                 [MEMORY] = 8 * MB,
                                 [SPLICE] = 5 * MB,
                                 [COPY] = 3 * MB,
                                 [MESSAGES] = 2 * MB};
enum { GROUP_RATE = 9 * MB, PARENT_RATE = 6 * MB };

static void everything_adopt(everything *all, ferry_service *service, ferry_limiter *group)
{
    for (unsigned i = 0; i < STREAMS; i++) {
        pair both = i == SENDFILE   ? tcp_pair()
                    : i == MESSAGES ? unix_pair(SOCK_SEQPACKET)
                                    : unix_pair(SOCK_STREAM);
        ferry_limiter *own = i < GROUPED ? limiter_make(rates[i], BURST_OF(rates[i]), NULL) : NULL;
        all->streams[i] = adopt_limited(service, both.ours, own != NULL ? own : group);
        ferry_limiter_unref(own);
        meter_open(&all->meters[i], both.theirs);
    }
}

static void everything_submit(everything *all)
{
    ferry_file spliced = ferry_file_fd(all->pipe_fds[0]);
    spliced.flags = FERRY_FD_GIVE;
    const ferry_file file = ferry_file_at(all->file.path);
    all->promises[SENDFILE] = submit_file(all->streams[SENDFILE], file);
    all->promises[MEMORY] = submit_zeros(all->streams[MEMORY], sizeof zeros);
    all->promises[SPLICE] = submit_file(all->streams[SPLICE], spliced);
    all->promises[COPY] = submit_generated(all->streams[COPY]);
    all->promises[MESSAGES] = submit_file(all->streams[MESSAGES], file);
    all->promises[GROUPED] = submit_file(all->streams[GROUPED], file);
    all->promises[GROUPED_TOO] = submit_zeros(all->streams[GROUPED_TOO], sizeof zeros);
}

static void everything_end(everything *all)
{
    static const ferry_method methods[] = {
        [SENDFILE] = FERRY_METHOD_SENDFILE, [MEMORY] = FERRY_METHOD_MEMORY,
        [SPLICE] = FERRY_METHOD_SPLICE,     [COPY] = FERRY_METHOD_COPY,
        [MESSAGES] = FERRY_METHOD_SENDFILE, [GROUPED] = FERRY_METHOD_SENDFILE,
        [GROUPED_TOO] = FERRY_METHOD_MEMORY};
    for (unsigned i = 0; i < STREAMS; i++) {
        ferry_stream_abort(all->streams[i]);
        ferry_result result = outcome(all->promises[i]);
        check_eq(result.error, -ECANCELED); /* it had enough to send all the while */
        check_eq(result.method, methods[i]);
        ferry_stream_unref(all->streams[i]);
    }
}

PROMISE_EITHER(rate, is_within_5_percent_over_5_s_however_bytes_move_alone_and_in_groups)
{
    everything all = {.file = hollow_file(INT64_C(1) << 30)};
    ferry_service *service = service_start(placement);
    ferry_limiter *parent = limiter_make(PARENT_RATE, BURST_OF(PARENT_RATE), NULL);
    ferry_limiter *group = limiter_make(GROUP_RATE, BURST_OF(GROUP_RATE), parent);
    pthread_t feeder;
    check_eq(pipe2(all.pipe_fds, O_CLOEXEC), 0);
    feeder = start_thread(write_to_pipe, &all.pipe_fds[1]);
    everything_adopt(&all, service, group);
    everything_submit(&all);
    meters_wait_for(all.meters, STREAMS, MB); /* bursts are over */
    uint64_t measured[STREAMS];
    measure(all.streams, STREAMS, 5000, measured);
    for (unsigned i = 0; i < GROUPED; i++)
        check_rate(measured[i], rates[i]);
    check_rate(measured[GROUPED] + measured[GROUPED_TOO], PARENT_RATE);
    check(starved > 0.1 ||
          (measured[GROUPED] > PARENT_RATE / 4 && measured[GROUPED_TOO] > PARENT_RATE / 4));
    everything_end(&all); /* which closes the pipe */
    check_eq(pthread_join(feeder, NULL), 0);
    close(all.pipe_fds[1]);
    meters_join(all.meters, STREAMS);
    ferry_service_destroy(service);
    ferry_limiter_unref(group);
    ferry_limiter_unref(parent);
    file_remove(&all.file);
}

PROMISE(rate, holds_for_streams_of_different_owners_and_services_together)
{
    enum { COUNT = 4, RATE = 8 * MB };
    ferry_service *services[] = {service_start(FERRY_PLACEMENT_DEDICATED),
                                 service_start(FERRY_PLACEMENT_SHARED)};
    ferry_limiter *limiter = limiter_make(RATE, BURST_OF(RATE), NULL);
    ferry_stream *streams[COUNT];
    meter meters[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        pair both = unix_pair(SOCK_STREAM);
        streams[i] = adopt_limited(services[i % 2], both.ours, limiter);
        meter_open(&meters[i], both.theirs);
        ferry_promise_unref(submit_zeros(streams[i], sizeof zeros));
    }
    ferry_limiter_unref(limiter); /* the streams have theirs */
    meters_wait_for(meters, COUNT, 256 * 1024);
    uint64_t measured[COUNT], sum = 0;
    measure(streams, COUNT, 2000, measured);
    for (unsigned i = 0; i < COUNT; i++) {
        sum += measured[i];
        check(starved > 0.1 || measured[i] > RATE / COUNT / 2); /* they take turns */
    }
    check_rate(sum, RATE);
    for (unsigned i = 0; i < COUNT; i++)
        ferry_stream_unref(streams[i]);
    ferry_service_destroy(services[0]);
    ferry_service_destroy(services[1]);
    meters_join(meters, COUNT);
}

PROMISE_EITHER(rate, can_be_changed_up_and_down_while_bytes_leave)
{
    static const uint64_t settings[] = {2 * MB, 12 * MB, 4 * MB};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1 * MB, 0, NULL);
    ferry_stream *stream = adopt_limited(service, both.ours, limiter);
    meter peer;
    meter_open(&peer, both.theirs);
    ferry_promise *all = submit_zeros(stream, sizeof zeros);
    for (unsigned i = 0; i < 3; i++) {
        check_eq(ferry_limiter_set_rate(limiter, settings[i], BURST_OF(settings[i])), 0);
        usleep(100 * 1000); /* twice as long as it may take */
        uint64_t measured;
        measure(&stream, 1, 2000, &measured);
        check_rate(measured, settings[i]);
    }
    check_eq(ferry_promise_await(all, 0, NULL), -ETIMEDOUT);
    check_eq(ferry_limiter_set_rate(limiter, 0, 0), 0);
    check_eq(outcome(all).error, 0);
    check_eq(close_stream(stream).error, 0);
    meters_join(&peer, 1);
    check_eq(peer.bytes, sizeof zeros);
}

/* ---- those who must not suffer --------------------------------------------------------------- */

PROMISE_EITHER(rate, members_whose_peer_or_source_stalls_leave_it_all_to_the_others)
{
    enum { RATE = 8 * MB };
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(RATE, BURST_OF(RATE), NULL);
    ferry_service *service = service_start(placement);
    AT_END(stage_end) stage stalled = stage_in_limited(service, limiter);
    AT_END(stage_end) stage dry = stage_in_limited(service, limiter);
    pair busy = unix_pair(SOCK_STREAM);
    ferry_stream *stream = adopt_limited(service, busy.ours, limiter);
    const ferry_part nothing = ferry_part_generate(have_nothing_yet, NULL, FERRY_TO_END, NULL);
    check_eq(ferry_stream_send(dry.stream, &nothing, 1, NULL, NULL), 0);
    ferry_promise_unref(submit_zeros(stalled.stream, sizeof zeros));
    meter peer;
    meter_open(&peer, busy.theirs);
    ferry_promise_unref(submit_zeros(stream, sizeof zeros));
    meters_wait_for(&peer, 1, 1 * MB); /* by then the other's socket is full */
    uint64_t measured;
    measure(&stream, 1, 2000, &measured);
    check_rate(measured, RATE);
    ferry_stream_abort(stream);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
    meters_join(&peer, 1);
}

PROMISE_EITHER(rate, stream_without_a_limiter_is_not_slowed_by_one_that_waits)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1, 0, NULL);
    AT_END(stage_end) stage limited = stage_in_limited(service, limiter);
    AT_END(stage_close) stage s = stage_in(service, unix_pair(SOCK_STREAM));
    ferry_promise *waits = submit_zeros(limited.stream, MB);
    stage_let_read(&s);
    check_eq(outcome(submit_zeros(s.stream, 16 * MB)).error, 0);
    check_eq(ferry_promise_await(waits, 0, NULL), -ETIMEDOUT);
    ferry_stream_abort(limited.stream);
    check_eq(outcome(waits).error, -ECANCELED);
}

/* ---- what is let through at once ------------------------------------------------------------- */

static void check_sent_between(ferry_stream *stream, uint64_t least, uint64_t most)
{
    uint64_t sent = sent_by(stream);
    check(sent >= least && sent <= most);
}

static void so_much_leaves_at_once(ferry_placement placement, ferry_stream_options options,
                                   uint64_t bytes)
{
    enum { SECONDS = TEST_TIMEOUT_S + 10 }; /* and a byte for each of them */
    AT_END(stage_end) stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), options);
    reader *peer = reader_start(stage_take(&s), false);
    check_eq(outcome(submit_zeros(s.stream, bytes / 2)).error, 0);
    ferry_promise *crossing = submit_zeros(s.stream, bytes);
    wait_until_asleep();
    check_waits(crossing);
    check_sent_between(s.stream, bytes, bytes + SECONDS);
    ferry_stream_abort(s.stream);
    ferry_result cut = outcome(crossing);
    check_eq(cut.error, -ECANCELED);
    check(bytes / 2 + cut.sent >= bytes && bytes / 2 + cut.sent <= bytes + SECONDS);
    s.stream = ferry_stream_unref(s.stream);
    check_eq(reader_end(peer), bytes / 2 + cut.sent);
}

PROMISE_EITHER(rate, lets_the_burst_and_the_free_first_bytes_leave_at_once)
{
    AT_END(drop_limiter)
    ferry_limiter *bursting = limiter_make(1, 300000, NULL), *strict = limiter_make(1, 1, NULL);
    so_much_leaves_at_once(placement, (ferry_stream_options){.limiter = bursting}, 300000);
    so_much_leaves_at_once(placement,
                           (ferry_stream_options){.limiter = strict, .limiter_free_bytes = 3000000},
                           3000000);
}

PROMISE_EITHER(rate, parent_limits_a_group_that_has_no_limit_of_its_own)
{
    ferry_limiter *parent = limiter_make(1, 50000, NULL), *group = limiter_make(0, 0, parent);
    ferry_limiter_unref(parent);
    so_much_leaves_at_once(placement, (ferry_stream_options){.limiter = group}, 50000);
    ferry_limiter_unref(group);
}

PROMISE_EITHER(rate, no_limit_is_as_fast_as_no_limiter)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_limiter *limiter = limiter_make(0, 0, NULL);
    AT_END(stage_end) stage s = stage_in_limited(service, limiter);
    stage_let_read(&s);
    check_eq(outcome(submit_zeros(s.stream, 32 * MB)).error, 0);
    check_eq(ferry_limiter_set_rate(limiter, 1, 0), 0); /* nothing was saved up meanwhile */
    ferry_promise *waits = submit_zeros(s.stream, KB);
    check_waits(waits);
    ferry_limiter_unref(limiter);
    ferry_stream_abort(s.stream);
    check_eq(outcome(waits).error, -ECANCELED);
}

/* ---- padding --------------------------------------------------------------------------------- */

PROMISE_EITHER(rate, padding_leaves_no_faster_than_what_it_stands_for)
{
    enum { RATE = 4 * MB, SIZE = 4 * MB };
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(RATE, 0, NULL);
    stage s =
        stage_open_with(placement, unix_pair(SOCK_STREAM),
                        (ferry_stream_options){.limiter = limiter, .framing = FERRY_FRAMING_PAD});
    stage_let_read(&s);
    ferry_promise *cancelled = submit_zeros(s.stream, SIZE);
    while (sent_by(s.stream) == 0) {
    }
    ferry_promise *next = submit_write(s.stream, "end", 3);
    int64_t began = now_ns();
    check_eq(ferry_promise_cancel(cancelled), 0);
    ferry_result cut = outcome(cancelled);
    check_eq(cut.error, -ECANCELED);
    check_eq(cut.sent + cut.remaining, SIZE);
    ferry_result result = outcome(next);
    double seconds = (double)(now_ns() - began) / 1e9;
    check_eq(result.error, 0);
    check_eq(result.stream_offset, SIZE);
    check(seconds > (double)cut.remaining / RATE * (100 - PERCENT) / 100 - 0.05);
    stage_close_got_bytes(&s, SIZE + 3);
}

/* ---- whoever waits for a limiter can be got out ---------------------------------------------- */

typedef struct waiter {
    stage s;
    ferry_promise *promise;
} waiter;

/* A stream of which a byte or so has left, and the rest waits for a limiter that nobody else
 * has. */
static waiter waiter_start(ferry_placement placement, ferry_framing framing)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1, 1, NULL);
    const ferry_stream_options options = {.limiter = limiter, .framing = framing};
    waiter self = {stage_open_with(placement, unix_pair(SOCK_STREAM), options), NULL};
    self.promise = submit_zeros(self.s.stream, MB);
    wait_until_stuck(self.s.theirs);
    return self;
}

static void waiter_end(waiter *self)
{
    stage_end(&self->s);
}

static void check_cut(ferry_promise *promise, int error)
{
    ferry_result result = outcome(promise);
    check_eq(result.error, error);
    check(result.sent >= 1 && result.sent < TEST_TIMEOUT_S);
    check_eq(result.sent + result.remaining, MB);
}

PROMISE_EITHER(rate, cancel_and_timeout_end_the_waiting_for_a_limiter)
{
    AT_END(waiter_end) waiter self = waiter_start(placement, FERRY_FRAMING_CONTINUE);
    const ferry_request_options options = {.timeout_ms = 30};
    ferry_promise *timed = submit_write_with(self.s.stream, "late", 4, &options);
    check_outcome(timed, .error = -ETIMEDOUT, .sent = 0);
    check_eq(ferry_promise_cancel(self.promise), 0);
    check_cut(self.promise, -ECANCELED);
    check_eq(stage_close_stream(&self.s).error, 0); /* nothing is left to wait for */
}

PROMISE_EITHER(rate, abort_ends_the_waiting_for_a_limiter)
{
    AT_END(waiter_end) waiter self = waiter_start(placement, FERRY_FRAMING_POISON);
    ferry_promise *closed = submit_close(self.s.stream);
    check_waits(closed); /* close itself sends what is queued first */
    ferry_stream_abort(self.s.stream);
    check_cut(self.promise, -ECANCELED);
    check_eq(outcome(closed).error, -ECANCELED);
}

PROMISE_EITHER(rate, abort_ends_padding_that_waits_for_a_limiter)
{
    AT_END(waiter_end) waiter self = waiter_start(placement, FERRY_FRAMING_PAD);
    check_eq(ferry_promise_cancel(self.promise), 0);
    check_cut(self.promise, -ECANCELED);
    ferry_promise *behind = submit_write(self.s.stream, "behind", 6);
    check_waits(behind);
    ferry_stream_abort(self.s.stream);
    check_eq(outcome(behind).error, -ECANCELED);
}

PROMISE_EITHER(rate, destroy_ends_the_waiting_for_a_limiter)
{
    AT_END(waiter_end) waiter self = waiter_start(placement, FERRY_FRAMING_POISON);
    stage_destroy(&self.s);
    check_cut(self.promise, -ECANCELED);
}

PROMISE_EITHER(rate, new_rate_reaches_those_who_wait)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_limiter) ferry_limiter *parent = limiter_make(1, 1, NULL);
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(0, 0, parent);
    stage s = stage_in_limited(service, limiter);
    stage_let_read(&s);
    ferry_promise *waits = submit_zeros(s.stream, MB);
    check_waits(waits);
    check_eq(ferry_limiter_set_rate(parent, 100 * MB, 0), 0);
    check_eq(outcome(waits).error, 0);
    stage_close_got_bytes(&s, MB);
}

/* ---- another limiter ------------------------------------------------------------------------- */

PROMISE_BOTH(rate, another_limiter_takes_the_place_of_the_one_that_a_stream_waits_for)
{
    waiter self = waiter_start(placement, FERRY_FRAMING_POISON);
    ferry_limiter *fast = limiter_make(100 * MB, 0, NULL);
    stage_let_read(&self.s);
    check_eq(ferry_stream_set_limiter(self.s.stream, fast), 0);
    ferry_limiter_unref(fast); /* the stream has a reference of its own */
    check_eq(outcome(self.promise).sent, MB);
    stage_close_got_bytes(&self.s, MB);
}

PROMISE_BOTH(rate, stream_may_lose_its_limiter_and_get_one)
{
    AT_END(waiter_end) waiter self = waiter_start(placement, FERRY_FRAMING_POISON);
    AT_END(drop_limiter) ferry_limiter *strict = limiter_make(1, 1, NULL);
    reader *peer = reader_start(stage_take(&self.s), false);
    check_eq(ferry_stream_set_limiter(self.s.stream, NULL), 0);
    check_eq(outcome(self.promise).sent, MB);
    check_eq(ferry_stream_set_limiter(self.s.stream, strict), 0);
    self.promise = submit_zeros(self.s.stream, MB);
    wait_until_asleep();
    check_waits(self.promise);
    ferry_stream_abort(self.s.stream);
    check_cut(self.promise, -ECANCELED);
    check(reader_end(peer) >= MB);
}

PROMISE_EITHER(rate, another_limiter_is_refused_once_the_stream_has_ended)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check_eq(ferry_stream_set_limiter(NULL, NULL), -EINVAL);
    fail_allocation(1);
    check_eq(ferry_stream_set_limiter(s.stream, NULL), -ENOMEM);
    allow_allocations();
    check_eq(close_stream(ferry_stream_ref(s.stream)).error, 0);
    check_eq(ferry_stream_set_limiter(s.stream, NULL), -ESHUTDOWN);
}
