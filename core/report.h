/* SPDX-License-Identifier: MIT */
/*
 * What debug builds (without NDEBUG) tell the log hook about promises: failures that nobody has
 * learnt of, and promises that were dropped while they were pending. Most often a mistake. In other
 * builds none of this exists.
 */
#ifndef FERRY_CORE_REPORT_H
#define FERRY_CORE_REPORT_H

#include <ferry/promise.h>

#ifdef NDEBUG
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
/* Any thread. Somebody has learnt the outcome: there will be nothing to report. */
void ferry__report_seen(ferry_promise *promise);

/* Its last reference is gone: reports a failure that nobody has seen. */
void ferry__report_end(const ferry_promise *promise);

/* Nobody is left who could settle it. */
void ferry__report_dropped(const ferry_promise *promise);
#endif

#endif
