/* SPDX-License-Identifier: MIT */
/* Invariant home: where and when callbacks run. */
#include "tests/support.h"

#include <semaphore.h>

typedef struct visit {
    pthread_t thread;
    atomic_uint runs;
    bool in_call; /* the test's thread is inside a call of ferry's that must run no callback */
    uint64_t last_sequence;
} visit;

static void note(ferry_promise *, const ferry_result *result, void *arg)
{
    visit *seen = arg;
    check(!seen->in_call);
    check(atomic_load(&seen->runs) == 0 || result->sequence == seen->last_sequence + 1);
    seen->last_sequence = result->sequence;
    seen->thread = pthread_self();
    atomic_fetch_add(&seen->runs, 1);
}

/* Pins: home. */
PROMISE_EITHER(home, callbacks_run_on_the_registering_thread_in_settle_order_and_never_in_a_submit)
{
    enum { COUNT = 5000 };
    visit seen = {0};
    AT_END(stage_close) stage s = stage_open(placement, tcp_pair());
    stage_let_read(&s);
    for (unsigned i = 0; i < COUNT; i++) {
        seen.in_call = true;
        ferry_promise *promise = submit_write(s.stream, "abc", 3);
        check_eq(ferry_promise_observe(promise, note, &seen, NULL), 0);
        seen.in_call = false;
        ferry_promise_unref(promise);
        if (i % 100 == 0)
            check(ferry_inbox_run(0) >= 0);
    }
    while (atomic_load(&seen.runs) < COUNT)
        check(ferry_inbox_run(-1) > 0);
    check(pthread_equal(seen.thread, pthread_self()));
}

static void note_thread(ferry_promise *, const ferry_result *, void *arg)
{
    visit *seen = arg;
    seen->thread = pthread_self();
    atomic_store(&seen->runs, 1);
}

static void *register_elsewhere(void *arg)
{
    ferry_promise *promise = ((void **)arg)[0];
    visit *seen = ((void **)arg)[1];
    check_eq(ferry_promise_observe(promise, note_thread, seen, NULL), 0);
    while (atomic_load(&seen->runs) == 0)
        check(ferry_inbox_run(-1) >= 0);
    check(pthread_equal(seen->thread, pthread_self()));
    return NULL;
}

PROMISE_EITHER(home, callback_runs_where_it_was_registered_not_where_it_was_submitted)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    visit seen = {0};
    ferry_promise *promise = submit_write(s.stream, "abc", 3);
    run_to_its_end(register_elsewhere, (void *[]){promise, &seen});
    check_eq(outcome(promise).error, 0);
}

/* ---- on the owner ---------------------------------------------------------------------------- */

static void note_owner(ferry_promise *promise, const ferry_result *result, void *arg)
{
    check_eq(ferry_promise_await(promise, 0, NULL), 0); /* it has settled */
    check_eq(result->sent, 3);
    note_thread(promise, result, arg);
}

PROMISE_EITHER(home, callback_asked_for_on_the_owner_runs_there_once_it_has_settled)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    visit first = {0}, second = {0};
    ferry_request_options options = calling_on_owner(note_owner, &first);
    check_eq(ferry_stream_write(s.stream, "abc", 3, &options, NULL), 0);
    options.on_owner_arg = &second;
    check_eq(ferry_stream_write(s.stream, "def", 3, &options, NULL), 0);
    stage_close(&s);
    check(atomic_load(&first.runs) == 1 && atomic_load(&second.runs) == 1);
    check(!pthread_equal(first.thread, pthread_self()));
    check(pthread_equal(first.thread, second.thread));
}

/* A callback on an owner that lasts until it is let go. */
typedef struct lasting {
    sem_t has_begun, may_end;
    int error;        /* of what it was called with; plain, as is released */
    bool is_released; /* behind the callback */
} lasting;

static void begin_lasting(lasting *this)
{
    *this = (lasting){.error = 1};
    check_eq(sem_init(&this->has_begun, 0, 0), 0);
    check_eq(sem_init(&this->may_end, 0, 0), 0);
}

static void last(ferry_promise *promise, const ferry_result *result, void *arg)
{
    lasting *this = arg;
    ferry_result again;
    check_eq(ferry_promise_await(promise, 0, &again), 0); /* to it, it has settled */
    check_eq(again.error, result->error);
    check_eq(ferry_promise_cancel(promise), -EALREADY);
    ferry_promise_info info;
    check_eq(ferry_promise_get_info(promise, &info), 0);
    check(info.is_settled);
    check_eq(sem_post(&this->has_begun), 0);
    check_eq(sem_wait(&this->may_end), 0);
    this->error = result->error;
}

static void be_released(void *, void *arg)
{
    ((lasting *)arg)->is_released = true;
}

/* Nobody sees the promise settle while its callback lasts; whoever does finds it over. */
static void settle_behind_the_callback(ferry_promise *promise, lasting *this)
{
    check_eq(sem_wait(&this->has_begun), 0);
    check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
    check_eq(sem_post(&this->may_end), 0);
    check_eq(outcome(promise).error, this->error);
    check(this->is_released);
}

PROMISE_EITHER(home, promise_settles_once_the_callback_on_the_owner_is_over)
{
    lasting seen;
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    begin_lasting(&seen);
    const ferry_request_options options = {.on_owner = last,
                                           .on_owner_holds_queue = true,
                                           .on_owner_arg = &seen,
                                           .on_owner_release = be_released};
    ferry_promise *promise = submit_write_with(s.stream, "abc", 3, &options);
    settle_behind_the_callback(promise, &seen);
    s.stream = ferry_stream_unref(s.stream);
    stage_hang_up(&s);

    begin_lasting(&seen);
    const ferry_connect_options refused = {
        .on_owner = last, .on_owner_arg = &seen, .on_owner_release = be_released};
    check_eq(ferry_connect(s.service, "unix:/nowhere/to/be/found", &refused, &promise), 0);
    settle_behind_the_callback(promise, &seen);
}

/* Everything that an owner's callback may do to its own stream. */
static void end_the_stream(ferry_promise *, const ferry_result *, void *arg)
{
    AT_END(drop_stream) ferry_stream *stream = arg;
    check_eq(ferry_stream_write(stream, "more", 4, NULL, NULL), 0);
    check_eq(ferry_stream_mark(stream, NULL), 0);
    check_eq(ferry_stream_close(stream, NULL), 0);
}

PROMISE_EITHER(home, callback_on_the_owner_may_submit_close_and_drop_its_own_stream)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    reader *peer = reader_start(stage_take(&s), true);
    write_calling(s.stream, "some ", 5, end_the_stream, s.stream);
    s.stream = NULL;
    reader_check_text(peer, "some more");
}

static void abort_the_stream(ferry_promise *, const ferry_result *, void *arg)
{
    ferry_stream_abort(arg);
}

PROMISE_EITHER(home, callback_on_the_owner_may_abort_its_own_stream)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    write_calling(s.stream, "x", 1, abort_the_stream, s.stream);
    ferry_service_drain(s.service, -1);
    check_eq(ferry_stream_write(s.stream, "x", 1, NULL, NULL), -ESHUTDOWN);
}

/* Its callback aborts, so that nothing behind it may leave. A length of 0: a marker's callback. */
static void abort_between(ferry_placement placement, size_t length)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs); /* so that all wait together */
    write_calling(s.stream, "first", length, abort_the_stream, s.stream);
    ferry_promise *second = submit_write(s.stream, "second", 6);
    reader *peer = reader_start(stage_take(&s), false);
    check_eq(outcome(stuck).error, 0);
    check_eq(outcome(second).error, -ECANCELED);
    check_eq(reader_end(peer), STUCK_BYTES + length);
}

PROMISE_EITHER(home, callback_on_the_owner_comes_before_what_follows_is_sent)
{
    abort_between(placement, 5);
    abort_between(placement, 0);
}

/* ---- invariant no_silent_wait, on an owner --------------------------------------------------- */

static void try_to_wait(ferry_promise *promise, const ferry_result *, void *arg)
{
    check_eq(ferry_promise_await(promise, -1, NULL), -EDEADLK);
    check_eq(ferry_promise_observe(promise, note_thread, arg, NULL), -EDEADLK);
    check_eq(ferry_inbox_run(0), -EDEADLK);
    check_eq(ferry_inbox_get_fd(), -EDEADLK);
    check_eq(ferry_service_drain(arg, -1), -EDEADLK);
}

/* Pins: no_silent_wait. */
PROMISE_EITHER(no_silent_wait, waiting_on_an_owner_is_edeadlk_at_once)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    write_calling(s.stream, "x", 1, try_to_wait, s.service);
}
