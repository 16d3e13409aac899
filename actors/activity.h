/* SPDX-License-Identifier: MIT */
/*
 * What an owner is at. Its thread writes it as it goes along, any thread may read it, and neither
 * ever waits for the other. So it can be read while the owner is blocked.
 *
 * It is told in two steps: whose turn it is, and since when; and within the turn what is being
 * done, if that may take long: a system call that can block, a callback of the program's.
 *
 *   owner                               any thread
 *   A0 since, step                      L0 subject
 *   A1 subject (release)                L1 since, step
 *
 * A1 pairs with L0: a thread that sees a turn's subject does not see an earlier turn's time. It may
 * see a later turn's time: then the turn is over, and the next one has begun.
 */
#ifndef FERRY_ACTORS_ACTIVITY_H
#define FERRY_ACTORS_ACTIVITY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ferry__activity {
    _Atomic(const void *) subject; /* whose turn it is, to be compared only; NULL: nobody's */
    _Atomic int64_t since;         /* when it began, or the last one did; 0: there was none */
    _Atomic(const char *) step; /* what is being done, a static string; NULL: nothing that lasts */
} ferry__activity;

/* The rest but ferry__activity_look: the owner's thread. A turn begins. */
static inline void ferry__activity_begin(ferry__activity *activity, const void *subject,
                                         int64_t now)
{
    atomic_store_explicit(&activity->since, now, memory_order_relaxed); /* A0 */
    atomic_store_explicit(&activity->step, NULL, memory_order_relaxed);
    atomic_store_explicit(&activity->subject, subject, memory_order_release); /* A1 */
}

static inline void ferry__activity_end(ferry__activity *activity)
{
    atomic_store_explicit(&activity->subject, NULL, memory_order_relaxed);
    atomic_store_explicit(&activity->step, NULL, memory_order_relaxed);
}

/* From here on this is being done. */
static inline void ferry__activity_do(ferry__activity *activity, const char *step)
{
    atomic_store_explicit(&activity->step, step, memory_order_relaxed);
}

/* When the turn began. */
static inline int64_t ferry__activity_since(const ferry__activity *activity)
{
    return atomic_load_explicit(&activity->since, memory_order_relaxed);
}

/* An activity as it was at some moment. */
typedef struct ferry__activity_seen {
    const void *subject;
    int64_t since;
    const char *step;
} ferry__activity_seen;

/* Any thread. */
static inline ferry__activity_seen ferry__activity_look(const ferry__activity *activity)
{
    ferry__activity_seen seen;
    seen.subject = atomic_load_explicit(&activity->subject, memory_order_acquire); /* L0 */
    seen.since = atomic_load_explicit(&activity->since, memory_order_relaxed);     /* L1 */
    seen.step = atomic_load_explicit(&activity->step, memory_order_relaxed);
    return seen;
}

#endif
