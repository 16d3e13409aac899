/* SPDX-License-Identifier: MIT */
#include "measure.h"

#include <stdlib.h>
#include <time.h>

static double read_clock(clockid_t clock)
{
    struct timespec now = {0};
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

stopwatch stopwatch_start(void)
{
    return (stopwatch){
        .cpu_s = read_clock(CLOCK_PROCESS_CPUTIME_ID),
        .wall_s = read_clock(CLOCK_MONOTONIC),
    };
}

lap stopwatch_read(const stopwatch *watch)
{
    return (lap){
        .wall_s = read_clock(CLOCK_MONOTONIC) - watch->wall_s,
        .cpu_s = read_clock(CLOCK_PROCESS_CPUTIME_ID) - watch->cpu_s,
    };
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

spread spread_of(double values[], size_t count)
{
    qsort(values, count, sizeof values[0], compare);
    return (spread){
        .min = values[0],
        .median = (values[(count - 1) / 2] + values[count / 2]) / 2,
        .max = values[count - 1],
    };
}
