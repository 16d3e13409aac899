/* SPDX-License-Identifier: MIT */
/* Waiting: for one promise or many, in time, through signals, and where it is refused. */
#include "tests/promises.h"

#include <signal.h>

static void *make_for_another(void *arg)
{
    *(ferry_promise **)arg = make();
    return NULL;
}

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
    run_to_its_end(make_elsewhere, all);
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
        AT_END(work_deinit) work all;
        work_init(&all);
        all.thread = start_thread(settle_in_turn, &all);
        size_t index = 99;
        check_eq(ferry_promise_await_any(all.promises, 8, -1, &index), 0);
        check_eq(ferry_promise_await(all.promises[index], 0, NULL), 0);
        check_eq(ferry_promise_await_all(all.promises, 8, -1), 0);
        for (unsigned i = 0; i < 8; i++)
            check_eq(ferry_promise_await(all.promises[i], 0, NULL), 0);
        pthread_join(all.thread, NULL);
    }
}

PROMISE(await_many, times_out_and_then_changes_nothing)
{
    AT_END(work_deinit) work all;
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
}

static void settle_the_other(ferry_promise *, const ferry_result *, void *arg)
{
    settle(arg, 0, 0);
}

PROMISE(await_many, runs_callbacks_that_the_others_depend_on)
{
    AT_END(work_deinit) work all;
    work_init(&all);
    for (unsigned i = 1; i < 8; i++)
        check_eq(
            ferry_promise_observe(all.promises[i], settle_the_other, all.promises[i - 1], NULL), 0);
    settle(all.promises[7], 0, 0);
    check_eq(ferry_promise_await_all(all.promises, 8, -1), 0);
}

static void try_to_await_many(ferry_promise *promise, const ferry_result *, void *arg)
{
    ferry_promise *promises[] = {promise, arg};
    check_eq(ferry_promise_await_all(promises, 2, -1), -EDEADLK);
    check_eq(ferry_promise_await_any(promises, 2, 1, NULL), -EDEADLK);
    check_eq(ferry_promise_await_any(promises, 2, 0, NULL), 0); /* a look is no wait */
    check_eq(ferry_promise_await_all(promises, 2, 0), -ETIMEDOUT);
}

PROMISE(no_silent_wait, awaiting_many_inside_a_callback_is_edeadlk_at_once)
{
    ferry_promise *settled = make_settled(0, 0), *pending = make();
    check_eq(ferry_promise_observe(settled, try_to_await_many, pending, NULL), 0);
    check_eq(ferry_inbox_run(0), 1);
    ferry_promise_unref(settled);
    settle(pending, 0, 0);
    ferry_promise_unref(pending);
}

PROMISE(await_many, any_gives_the_first_in_the_array_of_those_that_have_settled)
{
    ferry_promise *promises[4] = {make(), make_settled(0, 0), make(), make_settled(-EIO, 0)};
    size_t index = 99;
    check_eq(ferry_promise_await_any(promises, 4, -1, &index), 0);
    check_eq(index, 1);
    check_eq(ferry_promise_await_any(promises, 4, 0, NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        if (i % 2 == 0)
            settle(promises[i], 0, 0);
        drop(promises[i]);
    }
}

/* ---- who waits, and where -------------------------------------------------------------------- */

static void *await_from_elsewhere(void *arg)
{
    ferry_promise *promises[] = {arg, arg};
    check_eq(ferry_promise_await_all(promises, 2, -1), 0);
    check_eq(ferry_promise_await(arg, -1, NULL), 0);
    return NULL;
}

PROMISE(await, what_is_made_of_others_may_be_awaited_elsewhere_while_its_home_runs_its_inbox)
{
    script next = {.more = 1};
    AT_END(drop_promise) ferry_promise *first = make();
    ferry_promise *sequence = make_then(first, play, &next);
    pthread_t thread = start_thread(await_from_elsewhere, sequence);
    settle(first, 0, 1);
    check_eq(ferry_inbox_run(-1), 1);
    pthread_join(thread, NULL);
    expect(sequence, 0, 2);
}

static void register_again(ferry_promise *promise, const ferry_result *, void *arg)
{
    if (!*(bool *)arg)
        check_eq(ferry_promise_observe(promise, register_again, arg, NULL), 0);
}

PROMISE(await, times_out_although_there_is_always_a_callback_to_run)
{
    bool is_over = false;
    AT_END(drop_promise) ferry_promise *pending = make();
    ferry_promise *settled = make_settled(0, 0);
    check_eq(ferry_promise_observe(settled, register_again, &is_over, NULL), 0);
    check_eq(ferry_promise_await(pending, 5, NULL), -ETIMEDOUT);
    check_eq(ferry_promise_await_all(&pending, 1, 5), -ETIMEDOUT);
    is_over = true;
    run_all();
    drop(settled);
    settle(pending, 0, 0);
}

PROMISE(await, many_without_an_inbox_and_memory_for_one_is_enomem)
{
    AT_END(drop_promise) ferry_promise *elsewhere;
    run_to_its_end(make_for_another, &elsewhere);
    fail_allocation(1);
    check_eq(ferry_promise_await_all(&elsewhere, 1, -1), -ENOMEM);
    fail_allocation(1);
    check_eq(ferry_promise_await_any(&elsewhere, 1, -1, NULL), -ENOMEM);
    allow_allocations();
    check_eq(ferry_promise_await(elsewhere, 1, NULL), -ETIMEDOUT); /* which needs none */
    settle(elsewhere, 0, 0);
}

PROMISE(await, of_what_cannot_settle_in_a_forked_child_is_echild_at_once)
{
    ferry_promise *parents[2] = {make(), make()};
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        ferry_promise *mixed[2] = {parents[0], make_settled(0, 0)};
        size_t index = 99;
        check_eq(ferry_promise_await(parents[0], -1, NULL), -ECHILD);
        check_eq(ferry_promise_await_all(mixed, 2, -1), -ECHILD);
        check_eq(ferry_promise_await_any(parents, 2, -1, NULL), -ECHILD);
        check_eq(ferry_promise_await_any(mixed, 2, -1, &index), 0);
        check_eq(index, 1);
        mixed[1] = make(); /* which may settle here */
        check_eq(ferry_promise_await_any(mixed, 2, 1, NULL), -ETIMEDOUT);
        ferry_promise *pending_first[2] = {mixed[1], parents[0]};
        check_eq(ferry_promise_await_any(pending_first, 2, 1, NULL), -ETIMEDOUT);
        _exit(0);
    }
    await_child(child);
    for (unsigned i = 0; i < 2; i++) {
        settle(parents[i], 0, 0);
        drop(parents[i]);
    }
}

/* ---- signals --------------------------------------------------------------------------------- */

/* ThreadSanitizer holds a signal back while its thread is in a system call that it does not know:
 * in futex(2) the handler would not run before the wait is over. */
#ifndef __SANITIZE_THREAD__

static atomic_uint signals;

static void note_signal(int)
{
    atomic_fetch_add(&signals, 1);
}

/* Interrupts a thread that waits, until that has been interrupted so often; then settles. */
typedef struct nuisance {
    pthread_t victim;
    ferry_promise *promise;
} nuisance;

static void *interrupt_then_settle(void *arg)
{
    const nuisance *self = arg;
    for (unsigned sent = 1; sent <= 20; sent++) {
        check_eq(pthread_kill(self->victim, SIGUSR1), 0);
        while (atomic_load(&signals) < sent)
            sched_yield();
    }
    settle(self->promise, 0, 0);
    return NULL;
}

PROMISE(await, is_not_ended_by_a_signal)
{
    struct sigaction action = {.sa_handler = note_signal}; /* without SA_RESTART */
    check_eq(sigaction(SIGUSR1, &action, NULL), 0);
    for (unsigned way = 0; way < 3; way++) {
        nuisance other = {.victim = pthread_self()};
        if (way == 0)
            run_to_its_end(make_for_another, &other.promise);
        else
            other.promise = make();
        atomic_store(&signals, 0);
        pthread_t thread = start_thread(interrupt_then_settle, &other);
        if (way < 2)
            check_eq(ferry_promise_await(other.promise, -1, NULL), 0);
        else
            check_eq(ferry_promise_await_all(&other.promise, 1, -1), 0);
        check_eq(atomic_load(&signals), 20);
        pthread_join(thread, NULL);
        drop(other.promise);
    }
}

#endif
