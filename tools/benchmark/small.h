/* SPDX-License-Identifier: MIT */
/* What small measures, for others: 64-byte writes from several threads into one stream. */
#ifndef BENCHMARK_SMALL_H
#define BENCHMARK_SMALL_H

#include "contest.h"

#include <ferry/ferry.h>

/*
 * Once through an own queue, and once forgotten by ferry. Gives millions of writes a second, and
 * microseconds of processor time each.
 * @param threads 1 to CREW_MOST
 * @param writes of all of them together
 */
int small_run_queue(const peer *to, unsigned threads, size_t writes, double ret_figures[FIGURES]);
int small_run_ferry(const peer *to, unsigned threads, size_t writes, double ret_figures[FIGURES]);

enum { SMALL_WRITE_BYTES = 64 };

/* Writes into a stream, forgotten, from several threads. Does not wait until all have been sent. */
int small_forget(ferry_stream *stream, unsigned threads, size_t writes, stopwatch *ret_watch);

#endif
