/* SPDX-License-Identifier: MIT */
/* A crew: threads that begin the same work together. */
#ifndef BENCHMARK_CREW_H
#define BENCHMARK_CREW_H

#include "measure.h"

enum { CREW_MOST = 64 };

/*
 * Has every thread do the work, and waits for all of them.
 * @param count 1 to CREW_MOST
 * @param work 0, or a negative errno
 * @param ret_watch the stopwatch that was started when they began
 * @return 0, or the first thread's error
 */
int crew_run(unsigned count, int (*work)(void *context), void *context, stopwatch *ret_watch);

#endif
