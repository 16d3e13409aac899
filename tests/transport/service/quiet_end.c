/* SPDX-License-Identifier: MIT */
/* Invariants quiet_end and isolation:
 * ending in every state, and stalled streams that hurt nobody. */
#include "tests/support.h"

/* Pins: quiet_end. */
PROMISE_BOTH(quiet_end, destroy_leaves_no_thread_fd_or_pending_promise)
{
    unsigned threads = count_threads();
    unsigned fds = count_fds();
    ferry_service *service = service_start(placement);
    enum { STREAMS = 20 };
    pair pairs[STREAMS];
    ferry_stream *streams[STREAMS];
    ferry_promise *promises[STREAMS];
    static const char data[1 << 20];
    for (unsigned i = 0; i < STREAMS; i++) {
        pairs[i] = i % 2 == 0 ? unix_pair(SOCK_STREAM) : tcp_pair();
        streams[i] = stream_adopt(service, pairs[i].ours);
        for (unsigned n = 0; n < 20; n++) { /* more than the sockets take: most are blocked */
            const ferry_part part = ferry_part_borrow(data, sizeof data);
            check_eq(ferry_stream_send(streams[i], &part, 1, NULL, NULL), 0);
        }
        promises[i] = submit_write(streams[i], "last", 4);
    }
    ferry_service_destroy(service);
    wait_for_threads(threads);
    check_eq(count_fds(), fds + STREAMS); /* the peers' ends */
    for (unsigned i = 0; i < STREAMS; i++) {
        check_eq(ferry_promise_await(promises[i], 0, NULL), 0);
        check_eq(outcome(promises[i]).error, -ECANCELED);
        ferry_stream_unref(streams[i]);
        close(pairs[i].theirs);
    }
}

static void destroy_in_callback(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    check_eq(ferry_service_drain(arg, -1), -EDEADLK);
    ferry_service_destroy(arg);
}

PROMISE_BOTH(quiet_end, service_may_be_destroyed_inside_a_callback_of_the_programs_thread)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *promise = submit_write(s.stream, "x", 1);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_promise_observe(promise, destroy_in_callback, s.service, NULL), 0);
    while (ferry_inbox_run(-1) == 0) {
    }
    s.service = NULL;
    check_eq(outcome(stuck).error, -ECANCELED);
    check_eq(outcome(promise).error, 0);
}

PROMISE(quiet_end, threads_start_on_whatever_stack_is_asked_for)
{
    const ferry_service_options options = {.stack_bytes = 1,
                                           .placement = FERRY_PLACEMENT_DEDICATED};
    AT_END(destroy_service) ferry_service *service;
    check_eq(ferry_service_create(&options, &service), 0);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(service, both.ours);
    for (unsigned i = 0; i < 3000; i++) /* which leave in large gathers: the deepest stack */
        check_eq(ferry_stream_write(stream, "x", 1, NULL, NULL), 0);
    reader *peer = reader_start(both.theirs, false);
    check_eq(close_stream(stream).error, 0);
    check_eq(reader_end(peer), 3000);
}

PROMISE_BOTH(quiet_end, handles_held_beyond_destroy_answer_eshutdown)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_destroy(&s);
    ferry_file file = ferry_file_at("/etc/passwd");
    check_eq(ferry_stream_write(s.stream, "x", 1, NULL, NULL), -ESHUTDOWN);
    check_eq(ferry_stream_sendfile(s.stream, &file, NULL, NULL), -ESHUTDOWN);
    check_eq(ferry_stream_mark(s.stream, NULL), -ESHUTDOWN);
    check_eq(ferry_stream_shutdown(s.stream, NULL), -ESHUTDOWN);
    ferry_stream_abort(s.stream);
    check_eq(outcome(submit_close(s.stream)).error, -ECANCELED);
    check_eq(stream_status(s.stream).queued_requests, 0);
    s.stream = ferry_stream_unref(s.stream);
    check(s.stream == NULL);
}

PROMISE_BOTH(quiet_end, drain_waits_for_all_that_was_submitted_and_no_longer)
{
    ferry_service *service = service_start(placement);
    enum { STREAMS = 5 };
    ferry_promise *promises[STREAMS];
    ferry_stream *streams[STREAMS];
    reader *peers[STREAMS];
    static const char data[3 << 20];
    for (unsigned i = 0; i < STREAMS; i++) {
        pair both = tcp_pair();
        peers[i] = reader_start(both.theirs, false);
        streams[i] = stream_adopt(service, both.ours);
        promises[i] = submit_write(streams[i], data, sizeof data);
    }
    check_eq(ferry_service_drain(service, -1), 0);
    for (unsigned i = 0; i < STREAMS; i++) {
        check_eq(ferry_promise_await(promises[i], 0, NULL), 0);
        check_eq(outcome(promises[i]).error, 0);
        check_eq(ferry_stream_write(streams[i], "open still", 10, NULL, NULL), 0);
        ferry_stream_unref(streams[i]); /* closes: which drain waits for as well */
    }
    check_eq(ferry_service_drain(service, -1), 0);
    check_eq(ferry_service_drain(service, 0), 0);
    ferry_service_destroy(service);
    for (unsigned i = 0; i < STREAMS; i++)
        check_eq(reader_end(peers[i]), sizeof data + 10);
}

PROMISE(quiet_end, drain_of_idle_streams_starts_no_thread_for_them)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_DEDICATED);
    ferry_stream *streams[10];
    for (unsigned i = 0; i < 10; i++)
        streams[i] = stream_adopt(service, open("/dev/null", O_WRONLY | O_CLOEXEC));
    unsigned threads = count_threads();
    check_eq(ferry_service_drain(service, 0), 0);
    check_eq(ferry_service_drain(service, -1), 0);
    check_eq(count_threads(), threads);
    for (unsigned i = 0; i < 10; i++)
        ferry_stream_unref(streams[i]);
}

PROMISE_BOTH(quiet_end, drain_runs_the_callbacks_that_come_while_it_waits)
{
    unsigned runs = 0;
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_promise_observe(stuck, count_up, &runs, NULL), 0);
    s.stream = ferry_stream_unref(s.stream); /* closes: drain waits for that, too */
    stage_let_read(&s);
    check_eq(ferry_service_drain(s.service, -1), 0);
    check(ferry_inbox_run(0) >= 0);
    check_eq(runs, 1);
    check_eq(outcome(stuck).error, 0);
}

PROMISE_BOTH(quiet_end, drain_may_end_with_its_thread_in_a_callback_and_leaves_nothing_behind)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(close_theirs) pair idle = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(s.service, idle.ours);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    end_thread_in(ferry_service_drain, s.service, stream); /* the stuck stream holds it up */
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
    close_stream(stream); /* the census would miss the streams */
}

PROMISE_BOTH(quiet_end, drain_that_times_out_says_so_and_changes_nothing)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_service_drain(s.service, 0), -ETIMEDOUT);
    check_eq(ferry_service_drain(s.service, 20), -ETIMEDOUT);
    stage_let_read(&s);
    check_eq(outcome(stuck).sent, STUCK_BYTES);
    check_eq(ferry_service_drain(s.service, -1), 0);
}

PROMISE_BOTH(quiet_end, thousand_services_come_and_go)
{
    for (unsigned i = 0; i < 1000; i++) {
        AT_END(destroy_service) ferry_service *service = service_start(placement);
        if (i % 4 == 0) {
            AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
            AT_END(drop_stream) ferry_stream *stream = stream_adopt(service, both.ours);
            check_eq(ferry_stream_write(stream, "x", 1, NULL, NULL), 0);
        }
    }
}

PROMISE_BOTH(quiet_end, services_live_side_by_side)
{
    ferry_service *one = service_start(placement), *other = service_start(FERRY_PLACEMENT_SHARED);
    AT_END(close_theirs) pair first = unix_pair(SOCK_STREAM), second = unix_pair(SOCK_STREAM);
    ferry_stream *in_one = stream_adopt(one, first.ours);
    ferry_stream *in_other = stream_adopt(other, second.ours);
    ferry_service_destroy(one);
    check_eq(outcome(submit_write(in_other, "x", 1)).error, 0);
    check_eq(close_stream(in_other).error, 0);
    ferry_stream_unref(in_one);
    ferry_service_destroy(other);
}

/* ---- invariant isolation --------------------------------------------------------------------- */

/* Pins: isolation. */
PROMISE_BOTH(isolation, stalled_streams_delay_nobody)
{
    /* One shared owner for all: streams of other owners are the easier case. */
    ferry_service *service = service_of_one_owner(placement);
    enum { STALLED = 8 };
    pair pairs[STALLED];
    ferry_stream *stalled[STALLED];
    ferry_promise *stuck[STALLED];
    for (unsigned i = 0; i < STALLED; i++) {
        pairs[i] = i % 2 == 0 ? unix_pair(SOCK_STREAM) : tcp_pair();
        stalled[i] = stream_adopt(service, pairs[i].ours);
        stuck[i] = submit_stuck(stalled[i], pairs[i].theirs);
    }
    pair both = tcp_pair();
    reader *peer = reader_start(both.theirs, false);
    ferry_stream *stream = stream_adopt(service, both.ours);
    for (unsigned i = 0; i < 200; i++)
        check_eq(outcome(submit_write(stream, "quick", 5)).error, 0);
    for (unsigned i = 0; i < STALLED; i++)
        check_eq(ferry_promise_await(stuck[i], 0, NULL), -ETIMEDOUT);
    check_eq(close_stream(stream).error, 0);
    (void)reader_end(peer);
    ferry_service_destroy(service);
    for (unsigned i = 0; i < STALLED; i++) {
        check_eq(outcome(stuck[i]).error, -ECANCELED);
        ferry_stream_unref(stalled[i]);
        close(pairs[i].theirs);
    }
}

/* Two streams of one owner, both into /dev/null, which never fills. One sends without end; the
 * other's writes are submitted anew by their own callback, on the owner, which looks how far the
 * first came. */
typedef struct pulse {
    ferry_stream *stream;
    ferry_stream *busy;
    uint64_t last_seen;
    uint64_t longest_delay;
    unsigned left;
} pulse;

static void beat(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    pulse *self = arg;
    ferry_stream_status status = stream_status(self->busy);
    if (self->last_seen > 0 && status.sent_bytes - self->last_seen > self->longest_delay)
        self->longest_delay = status.sent_bytes - self->last_seen;
    self->last_seen = status.sent_bytes;
    if (--self->left > 0)
        write_calling(self->stream, "x", 1, beat, self);
    else
        check_eq(ferry_stream_close(self->stream, NULL), 0);
}

/* Pins: isolation. */
PROMISE(isolation, busy_stream_delays_another_of_its_owner_by_a_chunk_at_most)
{
    enum { CHUNK = 64 * 1024 };
    const ferry_service_options options = {
        .placement = FERRY_PLACEMENT_SHARED, .shared_owners = 1, .chunk_bytes = CHUNK};
    AT_END(destroy_service) ferry_service *service;
    check_eq(ferry_service_create(&options, &service), 0);
    ferry_stream *busy = stream_adopt(service, open("/dev/null", O_WRONLY | O_CLOEXEC));
    AT_END(drop_stream)
    ferry_stream *other = stream_adopt(service, open("/dev/null", O_WRONLY | O_CLOEXEC));
    ferry_promise *unending = submit_file(busy, ferry_file_at("/dev/zero"));
    pulse beating = {.stream = other, .busy = busy, .left = 1000};
    write_calling(other, "x", 1, beat, &beating);
    int flushed;
    do { /* until the last beat has closed it */
        ferry_promise *before;
        flushed = ferry_stream_mark(other, &before);
        if (flushed == 0)
            check_eq(outcome(before).error, 0);
    } while (flushed == 0);
    check_eq(flushed, -ESHUTDOWN);
    check_eq(outcome(submit_close(other)).error, 0);
    check_eq(ferry_promise_await(unending, 0, NULL), -ETIMEDOUT);
    ferry_stream_abort(busy);
    check_eq(outcome(unending).error, -ECANCELED);
    check_eq(beating.left, 0);
    check(beating.longest_delay > 0 && beating.longest_delay <= CHUNK);
    ferry_stream_unref(busy);
}

/* Owner A's callback takes long, right after it settled something for this thread; what owner B
 * settles for it must reach it all the same. */
typedef struct slow_owner {
    atomic_bool is_busy;
    atomic_bool may_go_on;
    int first, second; /* the peers' ends */
} slow_owner;

static void be_busy(ferry_promise *, const ferry_result *, void *arg)
{
    slow_owner *slow = arg;
    atomic_store(&slow->is_busy, true);
    while (!atomic_load(&slow->may_go_on))
        sched_yield();
}

static void *let_go_one_after_the_other(void *arg)
{
    slow_owner *self = arg;
    AT_END(free_reader) reader *one = reader_start(self->first, false);
    while (!atomic_load(&self->is_busy))
        sched_yield();
    AT_END(free_reader) reader *two = reader_start(self->second, false);
    reader_join(one);
    reader_join(two);
    return NULL;
}

PROMISE_BOTH(isolation, busy_owner_does_not_keep_another_owners_completions_from_a_thread)
{
    pair first = unix_pair(SOCK_STREAM), second = unix_pair(SOCK_STREAM);
    slow_owner slow = {.first = first.theirs, .second = second.theirs};
    unsigned told = 0;
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_stream *busy = stream_adopt(service, first.ours);
    ferry_stream *other = stream_adopt(service, second.ours); /* least loaded: the other owner */
    ferry_promise *stuck[] = {submit_stuck(busy, first.theirs), submit_stuck(other, second.theirs)};
    ferry_promise *mine = submit_write(busy, "x", 1);
    check_eq(ferry_promise_observe(mine, count_up, &told, NULL), 0);
    write_calling(busy, "y", 1, be_busy, &slow);
    AT_END(join_thread) pthread_t thread = start_thread(let_go_one_after_the_other, &slow);
    check_eq(outcome(stuck[1]).error, 0); /* would wait for busy's owner for ever otherwise */
    atomic_store(&slow.may_go_on, true);
    check_eq(outcome(stuck[0]).error, 0);
    check_eq(outcome(mine).error, 0);
    check_eq(close_stream(busy).error, 0);
    check_eq(close_stream(other).error, 0);
}

/* A thread that is cancelled in the middle of a submit must not leave the owner asleep for good. */
static void *submit_with_a_cancel_pending(void *arg)
{
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    wait_until_asleep();
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    pthread_cancel(pthread_self());
    (void)ferry_stream_write(arg, "x", 1, NULL, NULL);
    return NULL;
}

PROMISE_BOTH(quiet_end, thread_cancelled_in_a_submit_leaves_the_owner_awake)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    run_to_its_end(submit_with_a_cancel_pending, s.stream);
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
}

static void *adopt_with_a_cancel_pending(void *arg)
{
    int fds[2];
    check_eq(pipe2(fds, O_CLOEXEC), 0);
    pthread_cancel(pthread_self());
    ferry_stream *stream;
    check_eq(ferry_stream_adopt(arg, fds[1], NULL, &stream), 0);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    ferry_stream_unref(stream);
    close(fds[0]);
    return NULL;
}

PROMISE_BOTH(quiet_end, thread_cancelled_while_it_adopts_leaves_a_service_that_can_be_destroyed)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    run_to_its_end(adopt_with_a_cancel_pending, service);
}
