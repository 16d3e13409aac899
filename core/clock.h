/* SPDX-License-Identifier: MIT */
/*
 * Time: nanoseconds of CLOCK_MONOTONIC. A deadline is such a time; FERRY__NEVER is the one that
 * does not come.
 */
#ifndef FERRY_CORE_CLOCK_H
#define FERRY_CORE_CLOCK_H

#include "core/shared.h"

#include <stdint.h>
#include <time.h>

#define FERRY__NEVER INT64_MAX

enum { FERRY__NS_PER_MS = 1000 * 1000, FERRY__NS_PER_S = 1000 * 1000 * 1000 };

/* Reads the clock: about 25 ns, no system call. */
FERRY__SHARED int64_t ferry__clock_now(void);

/* The same clock as of its last tick, some milliseconds ago: about 5 ns. For what is only told. */
int64_t ferry__clock_tick(void);

/*
 * Milliseconds in nanoseconds; FERRY__NEVER beyond 292 years, which nanoseconds cannot count.
 * @param span_ms at least 0.
 */
int64_t ferry__clock_span(int64_t span_ms);

/* The moment that is span_ns later; FERRY__NEVER at most. @param span_ns at least 0. */
int64_t ferry__clock_later(int64_t moment, int64_t span_ns);

/* The deadline timeout_ms from now; FERRY__NEVER for -1, and for what would overflow. */
int64_t ferry__clock_deadline(int64_t timeout_ms);

/*
 * The deadline of the next look at something that tells nobody when it changes: soonest_ns from now
 * at first, then twice as long each time, up to latest_ns. @param patience_ns 0 before the first.
 */
int64_t ferry__clock_back_off(int64_t *patience_ns, int64_t soonest_ns, int64_t latest_ns);

/* Time left until a deadline, at least 0. Not for FERRY__NEVER. */
struct timespec ferry__clock_left(int64_t deadline);

#endif
