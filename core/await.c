/* SPDX-License-Identifier: MIT */
#include "core/await.h"

#include "core/clock.h"
#include "core/promise.h"
#include "core/sleepers.h"
#include "core/thread.h"

#include <errno.h>
#include <pthread.h>

/* ---- one ------------------------------------------------------------------------------------- */

static bool settled_by_now(void *promise)
{
    return ferry__promise_is_settled(promise);
}

static bool is_over(int64_t deadline)
{
    return deadline != FERRY__NEVER && ferry__clock_now() >= deadline;
}

/* At home: sleep on the inbox, so that callbacks run meanwhile. */
static void await_home(ferry_promise *promise, ferry__inbox *home, int64_t deadline)
{
    atomic_fetch_or(&promise->state, FERRY__AWAITED_HOME); /* H0, pairs with S0 */
    while (!ferry__promise_is_settled(promise) && !is_over(deadline))
        (void)ferry__inbox_run(home, settled_by_now, promise, deadline);
}

/* Elsewhere: sleep on the promise's own state. */
static void await_elsewhere(ferry_promise *promise, int64_t deadline)
{
    if (ferry__lookout_look(&ferry__thread_current()->lookout, FERRY__LOOKOUT_NS, settled_by_now,
                            promise))
        return;
    /* E0, pairs with S0; from then on futex(2) compares the state with what was seen. */
    unsigned state = atomic_fetch_or(&promise->state, FERRY__AWAITED_ELSEWHERE);
    state |= FERRY__AWAITED_ELSEWHERE;
    while ((state & FERRY__IS_SETTLED) == 0 && !is_over(deadline)) {
        ferry__futex_wait(&promise->state, state, deadline);
        state = atomic_load(&promise->state);
    }
}

int ferry__promise_await_until(ferry_promise *promise, int64_t deadline)
{
    int error = ferry__promise_poll(promise);
    if (error != -ETIMEDOUT)
        return error;
    ferry__inbox *home = atomic_load(&promise->home);
    if (home != NULL && home == ferry__thread_current()->inbox)
        await_home(promise, home, deadline);
    else
        await_elsewhere(promise, deadline);
    return ferry__promise_is_settled(promise) ? 0 : -ETIMEDOUT;
}

int ferry_promise_await(ferry_promise *promise, int64_t timeout_ms, ferry_result *ret_result)
{
    if (promise == NULL || timeout_ms < -1)
        return -EINVAL;
    if (timeout_ms != 0 && ferry__thread_may_not_wait())
        return -EDEADLK;
    /* First a look without waiting: what has settled costs no look at the clock. */
    int error = ferry__promise_poll(promise);
    if (error == -ETIMEDOUT && timeout_ms != 0)
        error = ferry__promise_await_until(promise, ferry__clock_deadline(timeout_ms));
    if (error == 0 && ret_result != NULL) {
        ferry__promise_note_seen(promise);
        *ret_result = promise->result;
    }
    return error;
}

/* ---- many ------------------------------------------------------------------------------------ */

/* Promises to wait for, and how far that has come. */
typedef struct awaited {
    ferry_promise *const *promises;
    size_t count;
    size_t settled; /* of all: those before this one have settled; of any: this one has, or none */
    int (*look)(struct awaited *);
} awaited;

/* 0: they have all settled; -ETIMEDOUT: not yet; -ECHILD: one of them never will. */
static int look_at_all(awaited *what)
{
    int error = 0;
    while (what->settled < what->count && error == 0) {
        error = ferry__promise_poll(what->promises[what->settled]);
        if (error == 0)
            what->settled++;
    }
    return error;
}

/* 0: one has settled; -ETIMEDOUT: not yet; -ECHILD: none of them ever will. */
static int look_at_any(awaited *what)
{
    int error = -ECHILD;
    for (size_t i = 0; i < what->count && error != 0; i++) {
        int its_error = ferry__promise_poll(what->promises[i]);
        if (its_error == 0)
            what->settled = i;
        if (its_error != -ECHILD)
            error = its_error;
    }
    return error;
}

static void stop_sleeping(void *sleeper)
{
    ferry__sleepers_remove(sleeper);
}

static bool is_decided(void *arg)
{
    awaited *what = arg;
    return what->look(what) != -ETIMEDOUT;
}

/* Sleeps until it is decided. A callback that runs meanwhile may end the thread. */
static int await_decision(awaited *what, ferry__inbox *inbox, int64_t deadline)
{
    ferry__sleeper self = {.inbox = inbox};
    ferry__sleepers_add(&self);
    pthread_cleanup_push(stop_sleeping, &self);
    /* M0, pairs with S0: only once it is rung. */
    for (size_t i = 0; i < what->count; i++)
        atomic_fetch_or(&what->promises[i]->state, FERRY__AWAITED_WITH_OTHERS);
    while (!is_decided(what) && !is_over(deadline))
        (void)ferry__inbox_run(inbox, is_decided, what, deadline);
    pthread_cleanup_pop(1);
    return what->look(what);
}

static int await_many(awaited *what, int64_t timeout_ms)
{
    if ((what->promises == NULL && what->count > 0) || timeout_ms < -1)
        return -EINVAL;
    for (size_t i = 0; i < what->count; i++)
        if (what->promises[i] == NULL)
            return -EINVAL;
    if (timeout_ms != 0 && ferry__thread_may_not_wait())
        return -EDEADLK;
    int error = what->look(what);
    if (error != -ETIMEDOUT || timeout_ms == 0)
        return error;
    ferry__inbox *inbox = ferry__inbox_current();
    if (inbox == NULL)
        return -ENOMEM;
    return await_decision(what, inbox, ferry__clock_deadline(timeout_ms));
}

int ferry__promise_await_running(ferry_promise *promise, int64_t deadline)
{
    awaited what = {.promises = &promise, .count = 1, .look = look_at_all};
    int error = what.look(&what);
    if (error != -ETIMEDOUT)
        return error;
    ferry__inbox *inbox = ferry__inbox_current();
    return inbox != NULL ? await_decision(&what, inbox, deadline) : -ENOMEM;
}

int ferry_promise_await_all(ferry_promise *const promises[], size_t count, int64_t timeout_ms)
{
    awaited what = {.promises = promises, .count = count, .look = look_at_all};
    return await_many(&what, timeout_ms);
}

int ferry_promise_await_any(ferry_promise *const promises[], size_t count, int64_t timeout_ms,
                            size_t *ret_index)
{
    if (count == 0)
        return -EINVAL;
    awaited what = {.promises = promises, .count = count, .look = look_at_any};
    int error = await_many(&what, timeout_ms);
    if (error == 0 && ret_index != NULL)
        *ret_index = what.settled;
    return error;
}
