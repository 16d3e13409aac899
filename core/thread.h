/* SPDX-License-Identifier: MIT */
/*
 * What ferry knows about the calling thread: what it may do here, its inbox, and whether the
 * process has forked since an object was made.
 */
#ifndef FERRY_CORE_THREAD_H
#define FERRY_CORE_THREAD_H

#include "core/lookout.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ferry__inbox;
struct ferry__parking;
struct ferry__pile;
struct ferry_promise;

typedef struct ferry__thread {
    struct ferry__inbox *inbox; /* this thread's inbox; NULL until first used */
    void *owner;                /* the owner that this thread works for; NULL on the program's */
    bool in_callback;           /* a callback of the program's, or a release, may run on it */
    /* What its inbox does when it closes, should that callback end the thread; or NULL. For the
     * most frequent callback: pthread_cleanup_push(3) is an eighth of all that a promise costs. */
    void (*if_ended)(void *arg);
    void *if_ended_arg;
    /* A callback here is told this promise's outcome before it settles. On this thread it counts as
     * settled. Or NULL. */
    const struct ferry_promise *told;
    unsigned submits; /* how much its callbacks have submitted: a wait may begin anew for that */
    /* Where it keeps the blocks that it lets go, by kind: its owner's piles; or its inbox's. */
    struct ferry__pile *piles;
    unsigned kinds;                 /* how many piles: those of the smallest kinds */
    struct ferry__parking *parking; /* its owner's, or NULL */
    ferry__lookout lookout;         /* for what it sleeps for */
    _Atomic(const char *)
        *step; /* where it says what it does that may last, its owner's; or NULL */
} ferry__thread;

/* What the inline functions below read: every submit asks several of them. */
extern _Thread_local ferry__thread ferry__thread_record;
extern atomic_uint ferry__process_forks; /* 0: not watched yet */
uint32_t ferry__process_watch_forks(void);

/* The calling thread's record. */
static inline ferry__thread *ferry__thread_current(void)
{
    return &ferry__thread_record;
}

/*
 * Says what the calling thread does that may take long, for dumps, if it is an owner's: a static
 * string; NULL: nothing of the kind any more. @return what it has said before.
 */
static inline const char *ferry__thread_do(const char *step)
{
    _Atomic(const char *) *place = ferry__thread_current()->step;
    if (place == NULL)
        return NULL;
    const char *before = atomic_load_explicit(place, memory_order_relaxed);
    atomic_store_explicit(place, step, memory_order_relaxed);
    return before;
}

/* Whether the calling thread must not wait: on an owner, or in a callback (invariant:
 * no_silent_wait). */
static inline bool ferry__thread_may_not_wait(void)
{
    const ferry__thread *thread = ferry__thread_current();
    return thread->owner != NULL || thread->in_callback;
}

/* Something was submitted here: perhaps in a callback that runs while this thread waits. */
static inline void ferry__thread_note_submit(void)
{
    ferry__thread *thread = ferry__thread_current();
    if (thread->in_callback)
        thread->submits++;
}

/*
 * Which process this is, counted in forks: an object made in another generation belongs to the
 * parent, whose threads do not exist here.
 */
static inline uint32_t ferry__process_generation(void)
{
    /* G0: all but the first calls do with one load. */
    uint32_t known = atomic_load_explicit(&ferry__process_forks, memory_order_acquire);
    return known != 0 ? known : ferry__process_watch_forks();
}

#endif
