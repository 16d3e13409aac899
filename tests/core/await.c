/* SPDX-License-Identifier: MIT */
/* Waiting: for one promise or many, in time, through signals, and where it is refused. */
#include "tests/promises.h"

#include <sched.h>

/* ---- awaiting many --------------------------------------------------------------------------- */

typedef struct work {
    ferry_promise *promises[8];
    pthread_t thread;
} work;

static void *settle_in_turn(void *arg)
{
    work *all = arg;
    for (unsigned i = 0; i < 8; i++) {
        sched_yield();
        settle(all->promises[(i * 3 + 5) % 8], 0, 0);
    }
    return NULL;
}

static void *make_elsewhere(void *arg)
{
    for (unsigned i = 0; i < 8; i += 2)
        ((work *)arg)->promises[i] = make();
    return NULL;
}

/* Half of them at home here, half elsewhere. */
static void work_init(work *all)
{
    pthread_t thread;
    check_eq(pthread_create(&thread, NULL, make_elsewhere, all), 0);
    pthread_join(thread, NULL);
    for (unsigned i = 1; i < 8; i += 2)
        all->promises[i] = make();
}

static void work_deinit(work *all)
{
    for (unsigned i = 0; i < 8; i++)
        ferry_promise_unref(all->promises[i]);
}

PROMISE(await_many, all_and_any_never_miss_the_settling_wherever_the_promises_are_at_home)
{
    for (unsigned round = 0; round < 300; round++) {
        work all;
        work_init(&all);
        check_eq(pthread_create(&all.thread, NULL, settle_in_turn, &all), 0);
        size_t index = 99;
        check_eq(ferry_promise_await_any(all.promises, 8, -1, &index), 0);
        check_eq(ferry_promise_await(all.promises[index], 0, NULL), 0);
        check_eq(ferry_promise_await_all(all.promises, 8, -1), 0);
        for (unsigned i = 0; i < 8; i++)
            check_eq(ferry_promise_await(all.promises[i], 0, NULL), 0);
        pthread_join(all.thread, NULL);
        work_deinit(&all);
    }
}

PROMISE(await_many, times_out_and_then_changes_nothing)
{
    work all;
    work_init(&all);
    size_t index = 99;
    check_eq(ferry_promise_await_all(all.promises, 8, 3), -ETIMEDOUT);
    check_eq(ferry_promise_await_any(all.promises, 8, 3, &index), -ETIMEDOUT);
    settle(all.promises[6], 0, 0);
    check_eq(ferry_promise_await_all(all.promises, 8, 3), -ETIMEDOUT);
    check_eq(ferry_promise_await_all(all.promises, 8, 0), -ETIMEDOUT);
    check_eq(index, 99);
    check_eq(ferry_promise_await_any(all.promises, 8, 3, &index), 0);
    check_eq(index, 6);
    check_eq(ferry_promise_await_all(NULL, 0, -1), 0);
    for (unsigned i = 0; i < 8; i++)
        if (i != 6)
            settle(all.promises[i], 0, 0);
    work_deinit(&all);
}

static void settle_the_other(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise;
    (void)result;
    settle(arg, 0, 0);
}

PROMISE(await_many, runs_callbacks_that_the_others_depend_on)
{
    work all;
    work_init(&all);
    for (unsigned i = 1; i < 8; i++)
        check_eq(ferry_promise_then(all.promises[i], settle_the_other, all.promises[i - 1]), 0);
    settle(all.promises[7], 0, 0);
    check_eq(ferry_promise_await_all(all.promises, 8, -1), 0);
    work_deinit(&all);
}

static void try_to_await_many(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)result;
    ferry_promise *promises[] = {promise, arg};
    check_eq(ferry_promise_await_all(promises, 2, -1), -EDEADLK);
    check_eq(ferry_promise_await_any(promises, 2, 1, NULL), -EDEADLK);
    check_eq(ferry_promise_await_any(promises, 2, 0, NULL), 0); /* a look is no wait */
    check_eq(ferry_promise_await_all(promises, 2, 0), -ETIMEDOUT);
}

PROMISE(no_silent_wait, awaiting_many_inside_a_callback_is_edeadlk_at_once)
{
    ferry_promise *settled = make(), *pending = make();
    settle(settled, 0, 0);
    check_eq(ferry_promise_then(settled, try_to_await_many, pending), 0);
    check_eq(ferry_inbox_run(0), 1);
    ferry_promise_unref(settled);
    settle(pending, 0, 0);
    ferry_promise_unref(pending);
}
