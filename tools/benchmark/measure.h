/* SPDX-License-Identifier: MIT */
/*
 * Measuring: a stopwatch for wall clock and processor time, and the median of many readings.
 *
 * Processor time is that of the whole process, its dead threads included: ferry's own threads count
 * as much as the program's. What the receiving end uses is not in it, since that is another
 * process.
 */
#ifndef BENCHMARK_MEASURE_H
#define BENCHMARK_MEASURE_H

#include <stddef.h>

/* What passed since the stopwatch was started. */
typedef struct lap {
    double wall_s;
    double cpu_s;
} lap;

typedef struct stopwatch {
    double wall_s; /* when it was started, since some time in the past */
    double cpu_s;  /* what the process had used by then */
} stopwatch;

stopwatch stopwatch_start(void);
lap stopwatch_read(const stopwatch *watch);

/* The smallest, the middle and the largest of many values. */
typedef struct spread {
    double min;
    double median;
    double max;
} spread;

/* Sorts values; count is at least 1. */
spread spread_of(double values[], size_t count);

#endif
