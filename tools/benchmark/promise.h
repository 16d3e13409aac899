/* SPDX-License-Identifier: MIT */
/* What promise measures, for others: so many outcomes, one after the other, on one thread. */
#ifndef BENCHMARK_PROMISE_H
#define BENCHMARK_PROMISE_H

#include "contest.h"

/*
 * A mutex and a condition variable; a promise with a callback; a promise that is awaited. Each
 * gives nanoseconds, and nanoseconds of processor time, for one.
 */
int promise_run_flags(size_t count, double ret_figures[FIGURES]);
int promise_run_ferry(size_t count, double ret_figures[FIGURES]);
int promise_run_awaited(size_t count, double ret_figures[FIGURES]);

#endif
