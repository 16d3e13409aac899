/* SPDX-License-Identifier: MIT */
/*
 * A table of shapes, for docs/benchmarks.md: a line for each, with both figures, their ratios, and
 * whether ferry is ahead.
 */
#ifndef BENCHMARK_SHAPE_TABLE_H
#define BENCHMARK_SHAPE_TABLE_H

#include "shape.h"

typedef struct shape_table {
    const char *name;
    const shape *const *of; /* a kind each, which ends with a shape without a name */
    size_t kinds;
} shape_table;

/* Compares what is wanted, and prints it. @return 0, or the first run's error. */
int shape_table_run(const shape_table *all, const bench *settings);

#endif
