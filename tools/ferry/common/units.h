/* SPDX-License-Identifier: MIT */
/* Quantities as people read them, and the clock behind them. */
#ifndef TOOLS_FERRY_COMMON_UNITS_H
#define TOOLS_FERRY_COMMON_UNITS_H

#include <stdint.h>

/* Room for any of the texts below. */
struct units_text {
    char text[32];
};

/* "999 B", "1.23 GB": powers of 1000. */
struct units_text units_bytes(double bytes);

/* "0:07", "1:02:03". */
struct units_text units_duration(double seconds);

/* Seconds of a clock that never jumps. */
double units_now(void);

/* "1.23 GB in 0.61 s, 2.02 GB/s" on stderr, after what was done: "sent". */
void units_print_summary(const char *done, uint64_t bytes, double seconds);

#endif
