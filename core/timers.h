/* SPDX-License-Identifier: MIT */
/*
 * A thread's timers: a pairing heap, nearest deadline at its root. A timer is embedded in what it
 * is about, so setting one never fails.
 *
 * A request may have a deadline of its own, so a thread can have many thousands of timers, in any
 * order, and most are cancelled long before they are due. Setting costs O(1), cancelling mostly
 * too, and taking the nearest O(log n), amortised. Used by one thread only.
 */
#ifndef FERRY_CORE_TIMERS_H
#define FERRY_CORE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ferry__timer {
    int64_t deadline;             /* ferry__clock_now's time */
    uint64_t order;               /* which setting it was: equal deadlines fire in this order */
    struct ferry__timer *child;   /* the first of those below it, none of them nearer */
    struct ferry__timer *sibling; /* the next one below the same parent */
    struct ferry__timer *
        *referrer; /* what points to it: the root, a child or a sibling; NULL: it is in
                                       no heap */
    /* Called once; the timer is unset by then. It may set the timer again, for later, and set or
     * cancel others, due ones included. It settles nothing, as a watch's ready does not: a promise
     * would be rung only after the next turn. */
    void (*fire)(struct ferry__timer *);
} ferry__timer;

/* Zero-initialised, there are none. Stays where it is while timers are set. */
typedef struct ferry__timers {
    ferry__timer *root; /* the nearest */
    uint64_t settings;  /* how many there were so far */
} ferry__timers;

static inline bool ferry__timer_is_set(const ferry__timer *timer)
{
    return timer->referrer != NULL;
}

/* Sets a timer, or sets it anew. */
void ferry__timers_set(ferry__timers *timers, ferry__timer *timer, int64_t deadline);

/* Unsets a timer; it need not be set. */
void ferry__timers_cancel(ferry__timers *timers, ferry__timer *timer);

/* When the next one is due; FERRY__NEVER if there is none. */
int64_t ferry__timers_nearest(const ferry__timers *timers);

/* Fires all that are due, those of equal deadlines in the order of setting. Reads the clock only if
 * there are any timers. */
void ferry__timers_fire(ferry__timers *timers);

#endif
