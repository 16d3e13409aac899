/* SPDX-License-Identifier: MIT */
/*
 * Settling: requests whose outcome is known wait on the stream's list for the end of the turn. Then
 * their room is given back, and each promise settles. Both directions' requests do so. All of it runs
 * on the stream's owner only.
 */
#ifndef FERRY_TRANSPORT_SETTLE_H
#define FERRY_TRANSPORT_SETTLE_H

#include "transport/stream.h"

/* Nothing more is to be sent, because of this error. */
void ferry__stream_poison(ferry_stream *stream, int error);

/* Something was told this error by its fd: where that means that the connection is over, so does its
 * status. */
void ferry__stream_note_death(ferry_stream *stream, int error);

/* A request's outcome is known: it settles at the end of the turn. */
static inline void ferry__stream_add_settling(ferry_stream *stream, ferry__request *request)
{
    if (request->extras != NULL)
        ferry__timers_cancel(&stream->owner->timers, &request->extras->deadline_timer);
    ferry__queue_append(&stream->finished, request);
}

/* Likewise, of what was to be sent; and its room is given back then. */
static inline void ferry__stream_add_finished(ferry_stream *stream, ferry__request *request)
{
    ferry__stream_add_settling(stream, request);
    stream->released += FERRY__ONE_REQUEST + request->cost.memory_bytes;
    stream->released_source_bytes += request->cost.source_bytes;
}

/* Gives a read its outcome, bytes and all being in its result: it settles at the end of the turn. */
void ferry__stream_finish_read(ferry_stream *stream, ferry__request *request, int error,
                               ferry_phase phase);

/* At the end of each turn: settles what was finished, and gives its room back. */
void ferry__stream_settle_finished(ferry_stream *stream);

/* Settles one request and drops the owner's reference to it. */
void ferry__stream_settle(ferry_stream *stream, ferry__request *request, int64_t now);

#endif
