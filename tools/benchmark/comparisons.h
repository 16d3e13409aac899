/* SPDX-License-Identifier: MIT */
/*
 * The comparisons, one file each. To add one: a file with such a function, which describes a
 * contest and runs it; its declaration here; a line in main.c's table and in CMakeLists.txt.
 */
#ifndef BENCHMARK_COMPARISONS_H
#define BENCHMARK_COMPARISONS_H

#include "contest.h"

/* Each prints its tables. @return 0, or a negative errno after saying on standard error why. */
int bulk_compare(const bench *settings);
int small_compare(const bench *settings);
int roundtrip_compare(const bench *settings);
int promise_compare(const bench *settings);
int serve_compare(const bench *settings);
int shapes_compare(const bench *settings);
int tls_compare(const bench *settings);

#endif
