/* SPDX-License-Identifier: MIT */
#include "core/clock.h"

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * FERRY__NS_PER_S + now.tv_nsec;
}

int64_t ferry__clock_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t ferry__clock_tick(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

int64_t ferry__clock_span(int64_t span_ms)
{
    int64_t span;
    return __builtin_mul_overflow(span_ms, FERRY__NS_PER_MS, &span) ? FERRY__NEVER : span;
}

int64_t ferry__clock_later(int64_t moment, int64_t span_ns)
{
    int64_t later;
    return __builtin_add_overflow(moment, span_ns, &later) ? FERRY__NEVER : later;
}

int64_t ferry__clock_deadline(int64_t timeout_ms)
{
    if (timeout_ms < 0)
        return FERRY__NEVER;
    return ferry__clock_later(ferry__clock_now(), ferry__clock_span(timeout_ms));
}

struct timespec ferry__clock_left(int64_t deadline)
{
    int64_t left = deadline - ferry__clock_now();
    if (left < 0)
        left = 0;
    return (struct timespec){.tv_sec = left / FERRY__NS_PER_S, .tv_nsec = left % FERRY__NS_PER_S};
}

int64_t ferry__clock_back_off(int64_t *patience_ns, int64_t soonest_ns, int64_t latest_ns)
{
    int64_t patience = *patience_ns == 0 ? soonest_ns : 2 * *patience_ns;
    *patience_ns = patience < latest_ns ? patience : latest_ns;
    return ferry__clock_now() + *patience_ns;
}
