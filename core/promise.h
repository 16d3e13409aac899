/* SPDX-License-Identifier: MIT */
/*
 * The making and settling side of promises.
 *
 * A promise is the first member of the request it belongs to, so that both are one allocation;
 * destroy frees the whole. One thread settles it (the owner of its stream), once, or drops it where
 * nobody can learn the outcome any more; all others await, observe, ref and unref.
 *
 *   settle                                   await at home / elsewhere / then
 *   1 write result                           1 state |= who waits, or push an observer
 *   2 state |= SETTLED (exchange-like)       2 SETTLED there? then read result
 *   3 ring home, wake futex, as state says   3 sleep, again from 2
 *   4 close the list of observers, post them
 */
#ifndef FERRY_CORE_PROMISE_H
#define FERRY_CORE_PROMISE_H

#include "core/inbox.h"
#include "core/thread.h"

#include <ferry/promise.h>

/* One registered callback: the mail that carries the outcome to its thread. */
typedef struct ferry__observer {
    ferry__mail mail;             /* posted to inbox when the promise settles */
    struct ferry__observer *next; /* in the promise's list, newest first */
    ferry_promise *promise;       /* a reference of this observer's own */
    ferry__inbox *inbox;          /* likewise: where the callback runs */
    ferry_callback *callback;
    void *arg;
} ferry__observer;

/* What a promise is part of: constant, one for each kind. */
typedef struct ferry__promise_type {
    void (*destroy)(ferry_promise *); /* frees what is around it */
    /*
     * Any thread, at most once, while it has not settled. Passes the wish on to whoever settles it,
     * who learns from ferry__promise_settle that the wish was uttered and has to expect it. NULL: it
     * cannot be cancelled.
     */
    void (*cancel)(ferry_promise *);
} ferry__promise_type;

struct ferry_promise {
    /* Any thread. */
    atomic_uint refs;
    atomic_uint state; /* promise.c's flags; the futex word of those who await elsewhere */
    _Atomic(ferry__observer *) observers;
    _Atomic(ferry__inbox *) home; /* the submitting thread's, a reference; NULL: it reports nowhere.
                                     Set at most once */

    /* Set when it is made. */
    uint32_t generation;             /* of the process that made it (core/thread.h) */
    const ferry__promise_type *type; /* what it is part of */

    /* The first registered callback: most promises have one, and it costs no allocation. */
    atomic_bool first_observer_taken;
    ferry__observer first_observer;

    /* The settling thread's until it settles, then constant. */
    ferry_result result;
};

/*
 * Makes a pending promise with one reference.
 * @param home the submitting thread's inbox, to which it takes a reference; may be NULL.
 */
static inline void ferry__promise_init(ferry_promise *promise, ferry__inbox *home,
                                       const ferry__promise_type *type)
{
    atomic_init(&promise->refs, 1);
    atomic_init(&promise->state, 0);
    atomic_init(&promise->observers, NULL);
    atomic_init(&promise->first_observer_taken, false);
    promise->generation = ferry__process_generation();
    atomic_init(&promise->home, home != NULL ? ferry__inbox_ref(home) : NULL);
    promise->type = type;
    promise->result = (ferry_result){0};
}

/* As ferry_promise_ref, for a promise that no other thread has seen yet. */
static inline ferry_promise *ferry__promise_ref_unshared(ferry_promise *promise)
{
    /* No atomic addition: there is nobody to race with, and it is dear beside a small write. */
    unsigned before = atomic_load_explicit(&promise->refs, memory_order_relaxed);
    atomic_store_explicit(&promise->refs, before + 1, memory_order_relaxed);
    return promise;
}

/* Whether the caller's reference is the only one: nobody awaits it, observes it or can begin to. */
bool ferry__promise_is_forgotten(const ferry_promise *promise);

/* Any thread. Gives a promise that has no home one, taking a reference; otherwise does nothing. */
void ferry__promise_set_home(ferry_promise *promise, ferry__inbox *home);

/*
 * Any thread that may wait. ferry_promise_await with a deadline instead of a timeout.
 * @return 0, -ETIMEDOUT, -ECHILD.
 */
int ferry__promise_await_until(ferry_promise *promise, int64_t deadline);

/*
 * The settling thread, once: publishes promise->result, wakes who awaits it and posts the
 * callbacks. Collects the wake-ups in ringer, or rings at once if that is NULL.
 * @return whether somebody asked before for it to be cancelled: type->cancel was called, is being
 * called, or is about to be.
 */
bool ferry__promise_settle(ferry_promise *promise, ferry__ringer *ringer);

#endif
