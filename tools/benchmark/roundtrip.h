/* SPDX-License-Identifier: MIT */
/* What roundtrip measures, for others: a write that is awaited before the next one. */
#ifndef BENCHMARK_ROUNDTRIP_H
#define BENCHMARK_ROUNDTRIP_H

#include <ferry/ferry.h>

#include <stddef.h>

enum { ROUNDTRIP_BYTES = 64 };

/* Makes so many. @return 0, or the first error. */
int roundtrip_await(ferry_stream *stream, size_t trips);

#endif
