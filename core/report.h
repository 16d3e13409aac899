/* SPDX-License-Identifier: MIT */
/*
 * What debug builds (without NDEBUG) tell the log hook about promises: failures that nobody has
 * learnt of, and promises that were dropped while they were pending. Most often a mistake. In other
 * builds none of this exists.
 *
 * Such a promise is named by its label and by where the program made it: the FERRY_HERE that it gave,
 * else the place that it called ferry from, as module+offset, which addr2line(1) takes. Each public
 * call that makes promises begins with FERRY__REPORT_CALLER; where they call one another the
 * outermost counts.
 */
#ifndef FERRY_CORE_REPORT_H
#define FERRY_CORE_REPORT_H

#include <ferry/promise.h>

#ifdef NDEBUG
#define FERRY__REPORT_CALLER() (void)0

static inline void ferry__report_made(ferry_promise *promise)
{
    (void)promise;
}

static inline void ferry__report_seen(ferry_promise *promise)
{
    (void)promise;
}

static inline void ferry__report_end(const ferry_promise *promise)
{
    (void)promise;
}

static inline void ferry__report_dropped(const ferry_promise *promise)
{
    (void)promise;
}
#else
/* The first statement of a public function. The caller is known until it returns. */
#define FERRY__REPORT_CALLER()                                                                     \
    __attribute__((cleanup(ferry__report_leave), unused)) const void *caller =                     \
        ferry__report_enter(__builtin_return_address(0))

/* @return what ferry__report_leave is to get: NULL inside another such call. */
const void *ferry__report_enter(const void *caller);
void ferry__report_leave(const void **caller);

/* Any thread. It is being made: notes who has it made. */
void ferry__report_made(ferry_promise *promise);

/* Any thread. Somebody has learnt the outcome: there will be nothing to report. */
void ferry__report_seen(ferry_promise *promise);

/* Its last reference is gone: reports a failure that nobody has seen, or that the program was to
 * settle it. */
void ferry__report_end(const ferry_promise *promise);

/* Nobody is left who could settle it. */
void ferry__report_dropped(const ferry_promise *promise);
#endif

#endif
