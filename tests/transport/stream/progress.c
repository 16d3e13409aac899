/* SPDX-License-Identifier: MIT */
/* Being told how far a request has come. */
#include "tests/support.h"

#include <time.h>

/* ---- what the tests are made of -------------------------------------------------------------- */

enum { MOST_NUMBERS = 128 };

/* What was told of one request. */
typedef struct told {
    pthread_t thread; /* whose it is to be, where that is known */
    bool is_owners;   /* or else an owner's: any but this one */
    atomic_bool is_inside;
    bool has_settled; /* its callback ran, after which nothing more may come */
    unsigned calls;
    uint64_t numbers[MOST_NUMBERS]; /* the first of them */
    uint64_t last;
    atomic_bool is_done; /* likewise, for another thread to see */
    void (*then)(struct told *self, ferry_promise *promise); /* what the callback does more; NULL */
    ferry_stream *stream;
} told;

static told told_here(void)
{
    return (told){.thread = pthread_self()};
}

static void note(ferry_promise *promise, uint64_t sent, void *arg)
{
    told *self = arg;
    check(!atomic_exchange(&self->is_inside, true)); /* never two at once */
    check((pthread_equal(self->thread, pthread_self()) != 0) == !self->is_owners);
    check(!self->has_settled);
    check(sent > 0 && sent >= self->last);
    if (self->calls < MOST_NUMBERS)
        self->numbers[self->calls] = sent;
    self->calls++;
    self->last = sent;
    if (self->then != NULL)
        self->then(self, promise);
    atomic_store(&self->is_inside, false);
}

static void note_settled(ferry_promise *, const ferry_result *result, void *arg)
{
    told *self = arg;
    check(!atomic_load(&self->is_inside) && !self->has_settled);
    check(self->last <= result->sent);
    self->has_settled = true;
    atomic_store(&self->is_done, true);
}

static ferry_request_options telling(told *self, uint64_t step_bytes, int64_t interval_ms)
{
    return (ferry_request_options){.on_progress = note,
                                   .on_progress_arg = self,
                                   .progress_step_bytes = step_bytes,
                                   .progress_interval_ms = interval_ms};
}

static ferry_promise *submit_telling(ferry_stream *stream, size_t size,
                                     ferry_request_options options)
{
    static const unsigned char data[STUCK_BYTES];
    const ferry_part part = ferry_part_borrow(data, size);
    ferry_promise *promise = submit_parts(stream, &part, 1, &options);
    check_eq(ferry_promise_observe(promise, note_settled, options.on_progress_arg, NULL), 0);
    return promise;
}

/* Every write takes a single byte: so it is known what leaves when. */
static stage stage_open_bytewise(ferry_placement placement)
{
    AT_END(drop_faults)
    ferry_faults *faults = faults_of((ferry_fault){
        .call = FERRY_CALL_WRITE, .first = 1, .times = UINT64_MAX, .effect = FERRY_FAULT_SHORT});
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.faults = faults});
    return s;
}

/* Runs no callback. */
static void wait_until_settled(ferry_promise *promise)
{
    while (ferry_promise_await(promise, 0, NULL) == -ETIMEDOUT)
        (void)sched_yield();
}

static void run_until_told(told *self)
{
    while (!self->has_settled)
        check(ferry_inbox_run(-1) >= 0);
}

static void check_numbers(const told *self, const uint64_t numbers[], unsigned count)
{
    check_eq(self->calls, count);
    for (unsigned i = 0; i < count; i++)
        check_eq(self->numbers[i], numbers[i]);
}

/* ---- on the submitting thread ---------------------------------------------------------------- */

PROMISE_EITHER(progress, is_told_at_most_once_a_step_on_the_submitting_thread)
{
    enum { SIZE = 32 << 20, STEP = 1 << 20 };
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    told self = told_here();
    ferry_promise *promise = submit_telling(s.stream, SIZE, telling(&self, STEP, 0));
    run_until_told(&self);
    check(self.calls >= 1 && self.calls <= SIZE / STEP);
    for (unsigned i = 1; i < self.calls; i++)
        check(self.numbers[i] == self.numbers[i - 1] ||
              self.numbers[i] - self.numbers[i - 1] >= STEP);
    check_eq(outcome(promise).error, 0);
}

PROMISE_EITHER(progress, is_told_while_the_request_is_under_way_also_by_await)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    told self = told_here();
    ferry_promise *promise = submit_telling(s.stream, STUCK_BYTES, telling(&self, 1, 0));
    wait_readable(s.theirs);
    wait_until_asleep();
    check_eq(self.calls, 0); /* not behind the thread's back */
    while (self.calls == 0)  /* on a busy machine the time may be up before it has looked */
        check_eq(ferry_promise_await(promise, 1, NULL), -ETIMEDOUT);
    check_eq(self.calls, 1);
    ferry_stream_status status = stream_status(s.stream);
    check_eq(self.last, status.sent_bytes);
    stage_let_read(&s);
    check_eq(outcome(promise).error, 0);
    check(self.calls > 1);
    run_until_told(&self);
}

PROMISE_EITHER(progress, comes_together_in_one_call_with_the_newest_number_where_nobody_listened)
{
    enum { SIZE = 100 };
    AT_END(stage_close) stage s = stage_open_bytewise(placement);
    told self = told_here();
    ferry_promise *promise = submit_telling(s.stream, SIZE, telling(&self, 0, 0));
    wait_until_settled(promise);
    check_eq(self.calls, 0);
    run_until_told(&self); /* in this order: progress, the outcome */
    check_numbers(&self, (const uint64_t[]){SIZE}, 1);
    check_eq(outcome(promise).error, 0);
}

PROMISE_EITHER(progress, is_told_for_files_and_compounds_too)
{
    enum { SIZE = 4 << 20 };
    AT_END(file_remove) test_file file = file_make(SIZE, 7);
    AT_END(stage_close) stage s = stage_open(placement, tcp_pair());
    stage_let_read(&s);
    told self = told_here();
    const ferry_request_options options = telling(&self, 1, 0);
    const ferry_part parts[] = {ferry_part_copy("head", 4),
                                ferry_part_file(ferry_file_at(file.path)),
                                ferry_part_copy("tail", 4)};
    ferry_promise *promise = submit_parts(s.stream, parts, 3, &options);
    wait_until_settled(promise);
    check(ferry_inbox_run(0) >= 1);
    check_eq(self.last, SIZE + 8); /* with a step of 1 the last of all is told */
    check_eq(outcome(promise).error, 0);
}

PROMISE_EITHER(progress, is_not_told_before_its_step_or_interval_is_up)
{
    enum { SIZE = 1 << 20, HOUR_MS = 3600 * 1000 };
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    const struct {
        uint64_t step_bytes;
        int64_t interval_ms;
    } never[] = {{SIZE + 1, 0}, {0, HOUR_MS}, {SIZE + 1, HOUR_MS}, {UINT64_MAX, INT64_MAX}};
    for (unsigned i = 0; i < sizeof never / sizeof *never; i++) {
        told self = told_here();
        ferry_promise_unref(submit_telling(
            s.stream, SIZE, telling(&self, never[i].step_bytes, never[i].interval_ms)));
        run_until_told(&self);
        check_eq(self.calls, 0);
    }
}

PROMISE(progress, negative_interval_is_refused)
{
    AT_END(stage_close) stage s = stage_open(FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM));
    told self = told_here();
    const ferry_request_options options = telling(&self, 0, -1);
    check_eq(ferry_stream_write(s.stream, "x", 1, &options, NULL), -EINVAL);
}

PROMISE_EITHER(progress, is_told_though_the_promise_was_dropped_at_once)
{
    AT_END(stage_close) stage s = stage_open_bytewise(placement);
    told dropped = told_here(), never_had = told_here();
    ferry_promise_unref(submit_telling(s.stream, 10, telling(&dropped, 10, 0)));
    const ferry_request_options options = telling(&never_had, 10, 0);
    check_eq(ferry_stream_write(s.stream, "0123456789", 10, &options, NULL), 0);
    ferry_promise *flushed = submit_mark(s.stream);
    wait_until_settled(flushed);
    check_eq(ferry_inbox_run(0), 3);
    check(dropped.has_settled);
    check_numbers(&dropped, (const uint64_t[]){10}, 1);
    check_numbers(&never_had, (const uint64_t[]){10}, 1);
    check_eq(outcome(flushed).error, 0);
}

static void try_what_a_callback_may(told *self, ferry_promise *promise)
{
    check_eq(ferry_promise_await(promise, 0, NULL), 0); /* the thread has waited for it */
    check_eq(ferry_promise_await(promise, -1, NULL), -EDEADLK);
    check_eq(ferry_inbox_run(0), -EDEADLK);
    check_eq(ferry_stream_write(self->stream, "more", 4, NULL, NULL), 0);
}

PROMISE_EITHER(progress, callback_may_submit_and_cannot_wait)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    told self = told_here();
    self.then = try_what_a_callback_may;
    self.stream = s.stream;
    ferry_promise *promise = submit_telling(s.stream, 4, telling(&self, 0, 0));
    wait_until_settled(promise);
    run_until_told(&self);
    check_eq(self.calls, 1);
    ferry_promise_unref(promise);
    check_eq(stage_close_stream(&s).error, 0);
    char data[8];
    check_eq(recv(s.theirs, data, sizeof data, MSG_WAITALL), 8);
}

/* ---- on the owner ---------------------------------------------------------------------------- */

/* What an on_owner callback is to submit. */
typedef struct follow_up {
    ferry_stream *stream;
    told *told;
    size_t size;
    uint64_t step_bytes;
    int64_t interval_ms;
} follow_up;

static void submit_follow_up(ferry_promise *, const ferry_result *result, void *arg)
{
    static const char data[1 << 20];
    check_eq(result->error, 0);
    const follow_up *self = arg;
    self->told->is_owners = true;
    ferry_request_options options = telling(self->told, self->step_bytes, self->interval_ms);
    options.on_owner = note_settled;
    options.on_owner_holds_queue = true;
    options.on_owner_arg = self->told;
    check_eq(ferry_stream_write(self->stream, data, self->size, &options, NULL), 0);
}

/* Has an owner submit it, and waits for its end. */
static void run_follow_up(follow_up *self)
{
    write_calling(self->stream, "", 0, submit_follow_up, self);
    while (!atomic_load(&self->told->is_done))
        (void)sched_yield();
}

PROMISE_EITHER(progress, on_an_owner_is_told_of_every_system_call_or_exactly_each_step)
{
    static const struct {
        uint64_t step_bytes;
        unsigned count;
        uint64_t numbers[10];
    } cases[] = {
        {0, 10, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
        {1, 10, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
        {3, 3, {3, 6, 9}},
        {10, 1, {10}},
        {11, 0, {0}},
    };
    AT_END(stage_close) stage s = stage_open_bytewise(placement);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        told self = told_here();
        run_follow_up(&(follow_up){
            .stream = s.stream, .told = &self, .size = 10, .step_bytes = cases[i].step_bytes});
        check_numbers(&self, cases[i].numbers, cases[i].count);
    }
}

static void submit_empty_among_others(ferry_promise *, const ferry_result *, void *arg)
{
    const follow_up *self = arg;
    self->told->is_owners = true;
    ferry_request_options options = telling(self->told, 0, 0);
    options.on_owner = note_settled;
    options.on_owner_arg = self->told;
    check_eq(ferry_stream_write(self->stream, "a", 1, NULL, NULL), 0);
    check_eq(ferry_stream_write(self->stream, NULL, 0, &options, NULL), 0);
    check_eq(ferry_stream_write(self->stream, "b", 1, NULL, NULL), 0);
}

PROMISE_EITHER(progress, of_what_is_empty_is_not_told_whatever_leaves_around_it)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    told self = told_here();
    follow_up empty = {.stream = s.stream, .told = &self};
    write_calling(s.stream, "", 0, submit_empty_among_others, &empty);
    char got[2];
    check_eq(recv(s.theirs, got, 2, MSG_WAITALL), 2);
    while (!atomic_load(&self.is_done))
        (void)sched_yield();
    check_numbers(&self, NULL, 0);
}

PROMISE_EITHER(progress, of_a_large_copy_is_told_once_a_call_however_many_blocks_it_is_in)
{
    enum { SIZE = 200000 };
    pair sink = {open("/dev/null", O_WRONLY | O_CLOEXEC), -1};
    AT_END(stage_close) stage s = stage_open(placement, sink);
    told self = told_here();
    run_follow_up(&(follow_up){.stream = s.stream, .told = &self, .size = SIZE});
    check_numbers(&self, (const uint64_t[]){SIZE}, 1);
}

PROMISE_EITHER(progress, on_an_owner_is_told_once_an_interval)
{
    enum {
        SIZE = 300000,
        RATE = 1000000,
        INTERVAL_MS = 20
    }; /* so it takes 300 ms, in turns of 20 ms or more */
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(RATE, 0, NULL);
    const ferry_stream_options limited = {.limiter = limiter};
    AT_END(stage_close) stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), limited);
    stage_let_read(&s);
    told self = told_here();
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    run_follow_up(
        &(follow_up){.stream = s.stream, .told = &self, .size = SIZE, .interval_ms = INTERVAL_MS});
    clock_gettime(CLOCK_MONOTONIC, &ended);
    int64_t took_ms =
        (ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000;
    check(self.calls >= 2);
    check(self.calls <= took_ms / INTERVAL_MS + 1);
}

/* ---- requests and threads that end early ----------------------------------------------------- */

static void cancel_it(told *, ferry_promise *promise)
{
    check_eq(ferry_promise_cancel(promise), 0);
}

static void abort_its_stream(told *self, ferry_promise *)
{
    ferry_stream_abort(self->stream);
}

PROMISE_EITHER(progress, callback_may_cancel_the_request_or_abort_the_stream)
{
    void (*const ways[])(told *, ferry_promise *) = {cancel_it, abort_its_stream};
    for (unsigned i = 0; i < 2; i++) {
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        told self = told_here();
        self.then = ways[i];
        self.stream = s.stream;
        ferry_promise *promise = submit_telling(s.stream, STUCK_BYTES, telling(&self, 0, 0));
        run_until_told(&self);
        check(self.calls >= 1);
        ferry_result cut = outcome(promise);
        check_eq(cut.error, -ECANCELED);
        check(self.last <= cut.sent);
        check_eq(ferry_inbox_run(0), 0);
        (void)stage_close_stream(&s);
    }
}

PROMISE_EITHER(progress, that_is_still_to_be_told_comes_before_an_early_end)
{
    enum { CANCELLED, ABORTED, DESTROYED, ENDS };
    for (unsigned end = 0; end < ENDS; end++) {
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        told self = told_here();
        ferry_promise *promise = submit_telling(s.stream, STUCK_BYTES, telling(&self, 0, 0));
        wait_readable(s.theirs);
        wait_until_asleep();
        if (end == CANCELLED)
            check_eq(ferry_promise_cancel(promise), 0);
        else if (end == ABORTED)
            ferry_stream_abort(s.stream);
        else
            stage_destroy(&s);
        wait_until_settled(promise);
        check_eq(self.calls, 0);
        run_until_told(&self);
        check_eq(self.calls, 1);
        ferry_result cut = outcome(promise);
        check_eq(cut.error, -ECANCELED);
        check_eq(self.last, cut.sent);
    }
}

typedef struct passing {
    ferry_stream *stream;
    ferry_promise *promise;
    told told;
    bool runs_inbox;
} passing;

static void leave_thread(told *self, ferry_promise *)
{
    atomic_store(&self->is_inside, false);
    pthread_exit(NULL);
}

static void *submit_and_leave(void *arg)
{
    static const char data[10];
    passing *self = arg;
    self->told.thread = pthread_self();
    const ferry_request_options options = telling(&self->told, 0, 0);
    check_eq(ferry_stream_write(self->stream, data, sizeof data, &options, &self->promise), 0);
    if (self->runs_inbox)
        check(ferry_inbox_run(-1) < 0); /* does not return */
    else
        wait_until_settled(self->promise); /* so progress is under way */
    return NULL;
}

PROMISE_EITHER(progress, is_lost_with_its_thread_and_the_outcome_is_not)
{
    for (unsigned runs_inbox = 0; runs_inbox < 2; runs_inbox++) {
        AT_END(stage_close) stage s = stage_open_bytewise(placement);
        passing self = {.stream = s.stream, .runs_inbox = runs_inbox};
        self.told.then = leave_thread;
        run_to_its_end(submit_and_leave, &self);
        check_outcome(self.promise, .error = 0, .sent = 10);
        check_eq(self.told.calls, runs_inbox);
    }
}

/* ---- many at once ---------------------------------------------------------------------------- */

typedef struct crowd {
    ferry_stream *stream;
    uint64_t seed;
} crowd;

static void *submit_many(void *arg)
{
    enum { COUNT = 200, MOST = 50000 };
    crowd *self = arg;
    uint64_t random = self->seed;
    told *all = calloc(COUNT, sizeof *all);
    for (unsigned i = 0; i < COUNT; i++) {
        all[i].thread = pthread_self();
        uint64_t step = random_next(&random) % 3 * 10000;
        ferry_promise *promise = submit_telling(self->stream, 1 + random_next(&random) % MOST,
                                                telling(&all[i], step, 0));
        if (random_next(&random) % 4 == 0)
            (void)ferry_promise_cancel(promise);
        ferry_promise_unref(promise);
        if (random_next(&random) % 4 == 0)
            check(ferry_inbox_run(0) >= 0);
    }
    for (unsigned i = 0; i < COUNT; i++)
        run_until_told(&all[i]);
    free(all);
    return NULL;
}

PROMISE_EITHER(progress, of_many_requests_from_many_threads_stays_in_order_and_at_home)
{
    enum { THREADS = 4 };
    const ferry_stream_options framed = {.framing = FERRY_FRAMING_CONTINUE};
    AT_END(stage_close) stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), framed);
    stage_let_read(&s);
    uint64_t seed = random_seed();
    crowd crowds[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        crowds[i] = (crowd){.stream = s.stream, .seed = seed + i};
        threads[i] = start_thread(submit_many, &crowds[i]);
    }
    join_threads(threads, THREADS);
}
