/* SPDX-License-Identifier: MIT */
#include "core/promise.h"

#include "core/clock.h"
#include "core/hooks.h"
#include "core/thread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

/* promise->state */
enum {
    SETTLED = 1,           /* result is there, and constant */
    AWAITED_HOME = 2,      /* the home thread may sleep on its inbox for it */
    AWAITED_ELSEWHERE = 4, /* other threads may sleep on the state itself */
    CANCELLED = 8          /* somebody asked for it to be called off */
};

/* What observers points to once the promise is settled: registrations post for themselves. */
static ferry__observer settled_mark;

void ferry__promise_set_home(ferry_promise *promise, ferry__inbox *home)
{
    ferry__inbox *none = NULL;
    (void)ferry__inbox_ref(home);
    if (!atomic_compare_exchange_strong(&promise->home, &none, home))
        ferry__inbox_unref(home);
}

ferry_promise *ferry_promise_ref(ferry_promise *promise)
{
    if (promise != NULL)
        atomic_fetch_add_explicit(&promise->refs, 1, memory_order_relaxed);
    return promise;
}

bool ferry__promise_is_forgotten(const ferry_promise *promise)
{
    /* Pairs with the release in every unref: what the others did with it is over. */
    return atomic_load_explicit(&promise->refs, memory_order_acquire) == 1;
}

ferry_promise *ferry_promise_unref(ferry_promise *promise)
{
    if (promise == NULL)
        return NULL;
    /* An only reference is not counted down, for the same reason: nobody can take another. */
    unsigned before = 1;
    if (!ferry__promise_is_forgotten(promise))
        before = atomic_fetch_sub_explicit(&promise->refs, 1, memory_order_acq_rel);
    assert(before > 0 && "ferry_promise_unref: more references given back than taken");
    if (before == 1) {
        ferry__inbox_unref(atomic_load(&promise->home));
        promise->type->destroy(promise);
    }
    return NULL;
}

static bool is_settled(const ferry_promise *promise)
{
    return (atomic_load(&promise->state) & SETTLED) != 0;
}

static void observer_release(void *arg)
{
    ferry__observer *observer = arg;
    ferry_promise *promise = observer->promise;
    ferry__inbox_unref(observer->inbox);
    if (observer != &promise->first_observer)
        ferry__release(observer);
    (void)ferry_promise_unref(promise);
}

/* Runs the callback on the observer's thread; where that has ended, only releases the observer. */
static void observer_deliver(ferry__mail *mail, bool receiver_gone)
{
    ferry__observer *observer = (ferry__observer *)mail;
    pthread_cleanup_push(observer_release, observer); /* the callback may end its thread */
    if (receiver_gone)
        ferry__log(FERRY_LOG_WARNING,
                   "a thread ended before a callback that it had registered could run");
    else
        observer->callback(observer->promise, &observer->promise->result, observer->arg);
    pthread_cleanup_pop(1);
}

/* Hands an observer of a settled promise to its thread. The mail may be gone when this returns. */
static void observer_post(ferry__observer *observer, ferry__ringer *ringer)
{
    ferry__inbox *inbox = ferry__inbox_ref(observer->inbox);
    ferry__inbox_post(inbox, &observer->mail, ringer);
    ferry__inbox_unref(inbox);
}

static ferry__observer *oldest_first(ferry__observer *observer)
{
    ferry__observer *reversed = NULL;
    while (observer != NULL) {
        ferry__observer *older = observer->next;
        observer->next = reversed;
        reversed = observer;
        observer = older;
    }
    return reversed;
}

static void post_all(ferry__observer *newest, ferry__ringer *ringer)
{
    for (ferry__observer *observer = oldest_first(newest); observer != NULL;) {
        ferry__observer *next = observer->next; /* read before the mail is out of our hands */
        observer_post(observer, ringer);
        observer = next;
    }
}

bool ferry__promise_settle(ferry_promise *promise, ferry__ringer *ringer)
{
    /* S0: publishes the result, then learns who waits. Pairs with H0 and E0: whoever announced that it
     * waits is seen here, or sees SETTLED before it sleeps. */
    unsigned before = atomic_fetch_or(&promise->state, SETTLED);
    assert((before & SETTLED) == 0 && "a promise settles once");
    if (before & AWAITED_HOME)
        ferry__inbox_ring(atomic_load(&promise->home), ringer);
    if (before & AWAITED_ELSEWHERE)
        ferry__futex_wake_all(&promise->state);

    /* Posted first, closed last: a thread that finds the list closed posts for itself, and what it
     * registered earlier must stand before that in its inbox. */
    ferry__observer *none = NULL;
    while (!atomic_compare_exchange_strong(&promise->observers, &none, &settled_mark)) {
        post_all(atomic_exchange(&promise->observers, NULL), ringer);
        none = NULL;
    }
    return (before & CANCELLED) != 0;
}

int ferry_promise_cancel(ferry_promise *promise)
{
    if (promise == NULL)
        return -EINVAL;
    if (is_settled(promise))
        return -EALREADY;
    if (promise->generation != ferry__process_generation())
        return -ECHILD;
    if (promise->type->cancel == NULL)
        return -EOPNOTSUPP;
    /* C0: pairs with S0. Either the settling thread sees the wish, and waits for it to arrive, or it
     * is seen here that there is nothing to call off any more. */
    unsigned before = atomic_fetch_or(&promise->state, CANCELLED);
    if ((before & SETTLED) != 0)
        return -EALREADY;
    if ((before & CANCELLED) == 0)
        promise->type->cancel(promise);
    return 0;
}

static ferry__observer *observer_create(ferry_promise *promise)
{
    if (!atomic_exchange(&promise->first_observer_taken, true))
        return &promise->first_observer;
    return ferry__allocate(sizeof(ferry__observer));
}

int ferry_promise_then(ferry_promise *promise, ferry_callback *callback, void *arg)
{
    if (promise == NULL || callback == NULL)
        return -EINVAL;
    if (ferry__thread_current()->owner != NULL)
        return -EDEADLK;
    if (!is_settled(promise) && promise->generation != ferry__process_generation())
        return -ECHILD;
    ferry__inbox *inbox = ferry__inbox_current();
    if (inbox == NULL)
        return -ENOMEM;
    ferry__observer *observer = observer_create(promise);
    if (observer == NULL)
        return -ENOMEM;
    *observer = (ferry__observer){
        .mail = {.deliver = observer_deliver},
        .promise = ferry_promise_ref(promise),
        .inbox = ferry__inbox_ref(inbox),
        .callback = callback,
        .arg = arg,
    };

    ferry__observer *newest = atomic_load(&promise->observers);
    do {
        if (newest == &settled_mark) {
            observer_post(observer, NULL);
            return 0;
        }
        observer->next = newest;
    } while (!atomic_compare_exchange_weak(&promise->observers, &newest, observer));
    return 0;
}

static bool settled_by_now(void *promise)
{
    return is_settled(promise);
}

/* At home: sleep on the inbox, so that callbacks run meanwhile. */
static void await_home(ferry_promise *promise, ferry__inbox *home, int64_t deadline)
{
    atomic_fetch_or(&promise->state, AWAITED_HOME); /* H0, pairs with S0 */
    while (!is_settled(promise) && (deadline == FERRY__NEVER || ferry__clock_now() < deadline))
        (void)ferry__inbox_run(home, settled_by_now, promise, deadline);
}

/* Elsewhere: sleep on the promise's own state. */
static void await_elsewhere(ferry_promise *promise, int64_t deadline)
{
    /* E0, pairs with S0; from then on futex(2) compares the state with what was seen. */
    unsigned state = atomic_fetch_or(&promise->state, AWAITED_ELSEWHERE) | AWAITED_ELSEWHERE;
    while ((state & SETTLED) == 0 && (deadline == FERRY__NEVER || ferry__clock_now() < deadline)) {
        ferry__futex_wait(&promise->state, state, deadline);
        state = atomic_load(&promise->state);
    }
}

int ferry__promise_await_until(ferry_promise *promise, int64_t deadline)
{
    if (is_settled(promise))
        return 0;
    if (promise->generation != ferry__process_generation())
        return -ECHILD;
    ferry__inbox *home = atomic_load(&promise->home);
    if (home != NULL && home == ferry__thread_current()->inbox)
        await_home(promise, home, deadline);
    else
        await_elsewhere(promise, deadline);
    return is_settled(promise) ? 0 : -ETIMEDOUT;
}

/* A look without waiting: allowed everywhere, and it runs no callback. */
static int poll_settled(ferry_promise *promise)
{
    if (is_settled(promise))
        return 0;
    return promise->generation != ferry__process_generation() ? -ECHILD : -ETIMEDOUT;
}

int ferry_promise_await(ferry_promise *promise, int64_t timeout_ms, ferry_result *ret_result)
{
    if (promise == NULL || timeout_ms < -1)
        return -EINVAL;
    if (timeout_ms != 0 && ferry__thread_may_not_wait())
        return -EDEADLK;
    int error = poll_settled(promise); /* first: what has settled costs no look at the clock */
    if (error == -ETIMEDOUT && timeout_ms != 0)
        error = ferry__promise_await_until(promise, ferry__clock_deadline(timeout_ms));
    if (error == 0 && ret_result != NULL)
        *ret_result = promise->result;
    return error;
}
