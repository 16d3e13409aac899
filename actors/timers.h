/* SPDX-License-Identifier: MIT */
/*
 * An owner's timers: one ordered list, earliest first. A timer is embedded in what it is about.
 *
 * New timers are placed by searching from the far end, since most are set for the longest of a few
 * fixed spans and so belong there. Used by the owner's thread only.
 */
#ifndef FERRY_ACTORS_TIMERS_H
#define FERRY_ACTORS_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ferry__timer {
    int64_t deadline; /* ferry__clock_now's time */
    struct ferry__timer *previous;
    struct ferry__timer *next;
    bool set; /* it is in a list */
    /* Called once, unset; may set it again, for later. Only notes and schedules, as a watch's ready
     * does: what it settled would be rung only after the next turn. */
    void (*fire)(struct ferry__timer *);
} ferry__timer;

/* Zero-initialised, there are none. */
typedef struct ferry__timers {
    ferry__timer *first;
    ferry__timer *last;
} ferry__timers;

/* Sets a timer, or sets it anew. */
void ferry__timers_set(ferry__timers *timers, ferry__timer *timer, int64_t deadline);

/* Unsets a timer; it need not be set. */
void ferry__timers_cancel(ferry__timers *timers, ferry__timer *timer);

/* When the next one is due; FERRY__NEVER if there is none. */
int64_t ferry__timers_nearest(const ferry__timers *timers);

/* Fires all that are due. Reads the clock only if there are any. */
void ferry__timers_fire(ferry__timers *timers);

#endif
