/* SPDX-License-Identifier: MIT */
/*
 * Moving bytes: one bounded system call's worth from the head of a stream's queue into its link.
 * Knows requests, parts, sources and links; may open the files of a request that follows; settles
 * nothing.
 */
#ifndef FERRY_TRANSPORT_SEND_MOVE_H
#define FERRY_TRANSPORT_SEND_MOVE_H

#include "transport/edge/moved.h"
#include "transport/stream/stream.h"

/*
 * Sends from part on, which is the head's current one. Memory, and small files that the kernel has
 * in memory, leave with as much as follows them directly, in this and in later requests: all in one
 * call, by method MEMORY, whatever they were. What else there is leaves from its source.
 * @param chunk the most bytes to move.
 */
ferry__move ferry__move_part(ferry_stream *stream, ferry__part *part, size_t chunk);

/* Sends zeros, for padding. @param length how many are wanted. */
ferry__move ferry__move_zeros(ferry_stream *stream, uint64_t length, size_t chunk);

#endif
