/* SPDX-License-Identifier: MIT */
/* Promises by themselves, settled by a thread of the test's instead of an owner. */
#include "core/promise.h"

#include "core/clock.h"
#include "tests/core/owned.h"

/* As an owner would: with a reference of its own, and a ringer for the batch. */
static void settle(ferry_promise *promise, uint64_t sent)
{
    ferry__ringer ringer = {0};
    promise->result.sent = sent;
    ferry__promise_settle(promise, &ringer);
    ferry__ringer_flush(&ringer);
}

static void *settle_on_thread(void *promise)
{
    sched_yield();
    settle(promise, 7);
    ferry_promise_unref(promise);
    return NULL;
}

/* Settles promise on another thread, soon. */
static pthread_t settle_elsewhere(ferry_promise *promise)
{
    return start_thread(settle_on_thread, ferry_promise_ref(promise));
}

PROMISE(promise, await_gives_the_same_result_every_time)
{
    AT_END(drop_promise) ferry_promise *promise = make_owned(ferry__inbox_current());
    ferry_result result;
    check_eq(ferry_promise_await(promise, 0, &result), -ETIMEDOUT);
    AT_END(join_thread) pthread_t thread = settle_elsewhere(promise);
    for (unsigned i = 0; i < 2; i++) {
        result.sent = 0;
        check_eq(ferry_promise_await(promise, -1, &result), 0);
        check_eq(result.sent, 7);
    }
    check_eq(ferry_promise_await(promise, 0, NULL), 0);
}

static void await_again_and_again(ferry__inbox *home)
{
    for (unsigned i = 0; i < 2000; i++) {
        AT_END(drop_promise) ferry_promise *promise = make_owned(home);
        AT_END(join_thread) pthread_t thread = settle_elsewhere(promise);
        check_eq(ferry_promise_await(promise, -1, NULL), 0);
    }
}

PROMISE(promise, await_at_home_never_misses_the_settling)
{
    await_again_and_again(ferry__inbox_current());
}

PROMISE(promise, await_elsewhere_never_misses_the_settling)
{
    await_again_and_again(NULL);
}

static void *await_on_thread(void *arg)
{
    ferry_promise *promise = arg;
    ferry_result result;
    check_eq(ferry_promise_await(promise, -1, &result), 0);
    check_eq(result.sent, 7);
    return NULL;
}

PROMISE(promise, any_number_of_threads_may_await_one_promise)
{
    AT_END(drop_promise) ferry_promise *promise = make_owned(ferry__inbox_current());
    pthread_t waiters[8];
    start_threads(waiters, 8, await_on_thread, promise);
    AT_END(join_thread) pthread_t thread = settle_elsewhere(promise);
    await_on_thread(promise);
    join_threads(waiters, 8);
}

PROMISE(promise, await_that_times_out_changes_nothing)
{
    for (unsigned at_home = 0; at_home < 2; at_home++) {
        AT_END(drop_promise)
        ferry_promise *promise = make_owned(at_home ? ferry__inbox_current() : NULL);
        ferry_result result = {.sent = 99};
        int64_t begin = ferry__clock_now();
        check_eq(ferry_promise_await(promise, 5, &result), -ETIMEDOUT);
        check(ferry__clock_now() - begin >= 5 * FERRY__NS_PER_MS);
        check_eq(result.sent, 99);
        settle(promise, 1);
        check_eq(ferry_promise_await(promise, 5, &result), 0);
    }
}

PROMISE(promise, bad_arguments_are_einval)
{
    ferry_promise *promise = make_owned(NULL);
    check_eq(ferry_promise_await(NULL, 0, NULL), -EINVAL);
    check_eq(ferry_promise_await(promise, -2, NULL), -EINVAL);
    check_eq(ferry_promise_observe(promise, NULL, NULL, NULL), -EINVAL);
    check_eq(ferry_promise_observe(NULL, count_up, NULL, NULL), -EINVAL);
    check_eq(ferry_inbox_run(-2), -EINVAL);
    check(ferry_promise_ref(NULL) == NULL);
    check(ferry_promise_unref(NULL) == NULL);
    check(ferry_promise_unref(promise) == NULL);
}

/* ---- callbacks ------------------------------------------------------------------------------- */

/* Pins: home. */
PROMISE(promise, callback_never_runs_inside_then)
{
    AT_END(drop_promise) ferry_promise *promise = make_owned(NULL);
    unsigned runs = 0;
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
    settle(promise, 1);
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0); /* settled already */
    check_eq(runs, 0);
    check_eq(ferry_inbox_run(0), 2);
    check_eq(runs, 2);
}

typedef struct record {
    unsigned order[16];
    unsigned count;
} record;

static record *recorded;

static void note(ferry_promise *, const ferry_result *, void *arg)
{
    recorded->order[recorded->count++] = (unsigned)(uintptr_t)arg;
}

PROMISE(promise, callbacks_run_in_the_order_of_settling_then_of_registration)
{
    record notes = {0};
    recorded = &notes;
    ferry_promise *first = make_owned(NULL), *second = make_owned(NULL);
    check_eq(ferry_promise_observe(second, note, (void *)3, NULL), 0);
    check_eq(ferry_promise_observe(first, note, (void *)1, NULL), 0);
    check_eq(ferry_promise_observe(second, note, (void *)4, NULL), 0);
    check_eq(ferry_promise_observe(first, note, (void *)2, NULL), 0);
    settle(first, 0);
    settle(second, 0);
    ferry_promise_unref(first); /* observers keep it */
    ferry_promise_unref(second);
    check_eq(ferry_inbox_run(0), 4);
    for (unsigned i = 0; i < 4; i++)
        check_eq(notes.order[i], i + 1);
}

static void register_another(ferry_promise *promise, const ferry_result *, void *arg)
{
    check_eq(ferry_promise_observe(promise, count_up, arg, NULL), 0);
}

PROMISE(promise, callback_caused_by_a_callback_is_left_for_the_next_run)
{
    ferry_promise *promise = make_owned(NULL);
    unsigned runs = 0;
    settle(promise, 0);
    check_eq(ferry_promise_observe(promise, register_another, &runs, NULL), 0);
    ferry_promise_unref(promise);
    check_eq(ferry_inbox_run(0), 1);
    check_eq(runs, 0);
    check_eq(ferry_inbox_run(0), 1);
    check_eq(runs, 1);
}

static void settle_next(ferry_promise *, const ferry_result *, void *arg)
{
    settle(arg, 0);
}

PROMISE(promise, awaiting_at_home_runs_the_callbacks_that_what_is_awaited_depends_on)
{
    AT_END(drop_promise) ferry_promise *first = make_owned(NULL);
    AT_END(drop_promise) ferry_promise *last = make_owned(ferry__inbox_current());
    check_eq(ferry_promise_observe(first, settle_next, last, NULL), 0);
    AT_END(join_thread) pthread_t thread = settle_elsewhere(first);
    check_eq(ferry_promise_await(last, -1, NULL), 0);
}

PROMISE(promise, polling_runs_no_callback)
{
    AT_END(drop_promise) ferry_promise *promise = make_owned(ferry__inbox_current());
    unsigned runs = 0;
    settle(promise, 0);
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
    check_eq(ferry_promise_await(promise, 0, NULL), 0);
    check_eq(runs, 0);
    check_eq(ferry_inbox_run(0), 1);
}

/* Invariant no_silent_wait, in a callback. */
static void try_to_wait(ferry_promise *promise, const ferry_result *, void *arg)
{
    check_eq(ferry_promise_await(arg, -1, NULL), -EDEADLK);
    check_eq(ferry_promise_await(promise, 1, NULL), -EDEADLK); /* settled or not: always the same */
    check_eq(ferry_promise_await(promise, 0, NULL), 0);        /* a look is no wait */
    check_eq(ferry_inbox_run(0), -EDEADLK);
}

/* Pins: no_silent_wait. */
PROMISE(no_silent_wait, waiting_inside_a_callback_is_edeadlk_at_once)
{
    AT_END(drop_promise) ferry_promise *settled = make_owned(ferry__inbox_current());
    AT_END(drop_promise) ferry_promise *pending = make_owned(ferry__inbox_current());
    settle(settled, 0);
    check_eq(ferry_promise_observe(settled, try_to_wait, pending, NULL), 0);
    check_eq(ferry_inbox_run(0), 1);
}

static void run_nothing(ferry_promise *, const ferry_result *, void *) {}

static void try_to_run(void *, void *arg)
{
    check_eq(ferry_inbox_run(0), -EDEADLK);
    check_eq(ferry_inbox_run(-1), -EDEADLK);
    (*(unsigned *)arg)++;
}

/* For a cancel that does not come: it is let go while its promise settles. */
PROMISE(no_silent_wait, release_of_a_callback_runs_no_inbox_also_while_its_promise_settles)
{
    unsigned released = 0;
    AT_END(drop_promise) ferry_promise *promise = make_owned(ferry__inbox_current());
    check_eq(ferry_promise_on_cancel(promise, run_nothing, &released, try_to_run), 0);
    settle(promise, 0);
    check_eq(released, 1);
    check_eq(ferry_promise_observe(promise, run_nothing, &released, try_to_run), 0);
    check_eq(ferry_inbox_run(0), 1);
    check_eq(released, 2);
}

typedef struct ended {
    ferry_promise *promise;
    unsigned released;
} ended;

static void *register_and_end(void *arg)
{
    ended *self = arg;
    check_eq(ferry_promise_observe(self->promise, run_nothing, &self->released, try_to_run), 0);
    return NULL;
}

PROMISE(no_silent_wait, release_for_a_thread_that_has_ended_runs_no_inbox_of_the_settling_one)
{
    AT_END(drop_promise) ferry_promise *promise = make_owned(ferry__inbox_current());
    ended one = {.promise = promise};
    pthread_join(start_thread(register_and_end, &one), NULL);
    settle(promise, 0);
    check_eq(one.released, 1);
}

static void drop(ferry_promise *promise, const ferry_result *, void *)
{
    ferry_promise_unref(promise);
}

PROMISE(promise, last_reference_may_be_dropped_in_its_own_callback)
{
    ferry_promise *promise = make_owned(NULL);
    check_eq(ferry_promise_observe(promise, drop, NULL, NULL), 0);
    settle(promise, 0);
    check_eq(ferry_inbox_run(0), 1);
}

PROMISE(promise, then_without_memory_is_enomem_and_registers_nothing)
{
    ferry_promise *promise = make_owned(NULL);
    unsigned runs = 0;
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL),
             0); /* the first needs no memory */
    fail_allocation(1);
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), -ENOMEM);
    allow_allocations();
    settle(promise, 0);
    ferry_promise_unref(promise);
    check_eq(ferry_inbox_run(0), 1);
}

PROMISE(promise, callback_that_waits_alone_needs_no_memory_also_if_others_were_told_before)
{
    AT_END(drop_promise) ferry_promise *promise = make_owned(ferry__inbox_current());
    unsigned runs = 0;
    fail_allocation(1);
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
    settle(promise, 0);
    check_eq(ferry_inbox_run(0), 1);
    for (unsigned i = 0; i < 3; i++) {
        check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
        check_eq(ferry_inbox_run(0), 1);
    }
    allow_allocations();
    check_eq(runs, 4);
}

/* ---- racing ---------------------------------------------------------------------------------- */

enum { ROUNDS = 3000 };

static void *settle_in_turn(void *arg)
{
    ferry_promise **promises = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        settle(promises[i], 0);
        ferry_promise_unref(promises[i]);
    }
    return NULL;
}

PROMISE(exactly_once, callback_runs_once_however_then_and_settling_race)
{
    static ferry_promise *promises[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++)
        promises[i] = ferry_promise_ref(make_owned(NULL));
    pthread_t thread = start_thread(settle_in_turn, promises);
    unsigned runs = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        check_eq(ferry_promise_observe(promises[i], count_up, &runs, NULL), 0);
        check_eq(ferry_promise_observe(promises[i], count_up, &runs, NULL), 0);
        ferry_promise_unref(promises[i]);
        check(ferry_inbox_run(0) >= 0);
    }
    while (runs < 2 * ROUNDS)
        check(ferry_inbox_run(-1) > 0);
    pthread_join(thread, NULL);
    check_eq(ferry_inbox_run(0), 0);
    check_eq(runs, 2 * ROUNDS);
}

static void *observe_in_turn(void *arg)
{
    ferry_promise **promises = arg;
    unsigned runs = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned k = 0; k < 3; k++)
            check_eq(ferry_promise_observe(promises[i], count_up, &runs, NULL), 0);
        ferry_promise_unref(promises[i]);
        check(ferry_inbox_run(0) >= 0);
    }
    while (runs < 3 * ROUNDS)
        check(ferry_inbox_run(-1) > 0);
    check_eq(runs, 3 * ROUNDS);
    return NULL;
}

/* Pins: exactly_once. */
PROMISE(exactly_once, callback_runs_once_though_others_register_while_its_own_thread_settles)
{
    static ferry_promise *promises[ROUNDS];
    unsigned runs = 0;
    for (unsigned i = 0; i < ROUNDS; i++)
        promises[i] = ferry_promise_ref(make_owned(NULL));
    pthread_t thread = start_thread(observe_in_turn, promises);
    for (unsigned i = 0; i < ROUNDS; i++) {
        check_eq(ferry_promise_observe(promises[i], count_up, &runs, NULL), 0);
        settle(promises[i], 0);
        ferry_promise_unref(promises[i]);
        check(ferry_inbox_run(0) >= 0);
    }
    while (runs < ROUNDS)
        check(ferry_inbox_run(-1) > 0);
    pthread_join(thread, NULL);
    check_eq(ferry_inbox_run(0), 0);
    check_eq(runs, ROUNDS);
}

static void expect_in_order(ferry_promise *, const ferry_result *, void *arg)
{
    check_eq((uintptr_t)arg, recorded->count++);
}

PROMISE(promise, callbacks_of_a_thread_run_in_its_order_of_registration_however_settling_races)
{
    enum { BEFORE = 2000, AFTER = 20 }; /* so many take a while to post */
    for (unsigned round = 0; round < 50; round++) {
        record run = {0};
        recorded = &run;
        AT_END(drop_promise) ferry_promise *promise = make_owned(NULL);
        uintptr_t count = 0;
        while (count < BEFORE)
            check_eq(ferry_promise_observe(promise, expect_in_order, (void *)count++, NULL), 0);
        AT_END(join_thread) pthread_t thread = settle_elsewhere(promise);
        while (!ferry__promise_is_settled(promise)) {
            check_eq(ferry_promise_observe(promise, expect_in_order, (void *)count++, NULL), 0);
            if (count % 64 == 0)
                sched_yield(); /* the other may need this processor */
        }
        for (unsigned i = 0; i < AFTER; i++)
            check_eq(ferry_promise_observe(promise, expect_in_order, (void *)count++, NULL), 0);
        while (run.count < count)
            check(ferry_inbox_run(-1) > 0);
    }
}
