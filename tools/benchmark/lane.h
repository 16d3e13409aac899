/* SPDX-License-Identifier: MIT */
/*
 * A lane: one of ferry's services as the comparisons use it: a stream to the peer at a time, closed
 * and counted at the end.
 */
#ifndef BENCHMARK_LANE_H
#define BENCHMARK_LANE_H

#include "peer.h"

#include <ferry/ferry.h>

typedef struct lane {
    const peer *peer;
    ferry_service *service;
    ferry_stream *stream; /* NULL between two uses */
} lane;

int lane_init(lane *l, const peer *p, ferry_placement placement);
void lane_deinit(lane *l); /* also after a lane_init that failed, if l was zeroed before */

/* Connects to the peer and adopts the socket. @return 0 or a negative errno. */
int lane_open(lane *l);

/* Closes the stream after what is queued, and checks that the peer got expected bytes, all told. */
int lane_close(lane *l, uint64_t expected);

/* Awaits a promise and gives it back. @return 0 if all of length bytes were sent; or why not. */
int lane_settle(ferry_promise *promise, uint64_t length);

#endif
