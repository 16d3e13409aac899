/* SPDX-License-Identifier: MIT */
/*
 * Settling, and calling off, for the requests of both directions. Requests whose outcome is known
 * wait on the stream's list for the end of the turn. Then their room is given back, and each
 * promise settles. All of it runs on the stream's owner only, if nothing else is said.
 */
#ifndef FERRY_TRANSPORT_STREAM_SETTLE_H
#define FERRY_TRANSPORT_STREAM_SETTLE_H

#include "transport/stream/stream.h"

/* Nothing more is to be sent, because of this error. */
void ferry__stream_poison(ferry_stream *stream, int error);

/*
 * A call on its fd has failed with this error. If that means that the connection is over, its
 * status says so from now on.
 */
void ferry__stream_note_death(ferry_stream *stream, int error);

/* Any thread: what cancels a request's promise. */
void ferry__request_cancel(ferry_promise *promise);

/* A direction's ferry__request_types. */
#define FERRY__REQUEST_TYPE(free_it, function)                                                     \
    {                                                                                              \
        {.destroy = (free_it), .cancel = ferry__request_cancel}, .call_off = (function),           \
    }
#define FERRY__REQUEST_TYPES(function)                                                             \
    {                                                                                              \
        .any = FERRY__REQUEST_TYPE(ferry__request_destroy, function),                              \
        .with_progress = FERRY__REQUEST_TYPE(ferry__request_destroy_with_progress, function),      \
    }

/* Calls a request off. Does nothing if it has not arrived yet, if its outcome is known already, or
 * if an abort is about to give it. */
void ferry__stream_call_off(ferry_stream *stream, ferry__request *request, int error);

/* A request has arrived: from now on its deadline is heeded, if it has one. */
void ferry__stream_set_deadline(ferry_stream *stream, ferry__extras *extras);
static inline void ferry__stream_heed_deadline(ferry_stream *stream, ferry__request *request)
{
    if (ferry__request_deadline(request) != FERRY__NEVER)
        ferry__stream_set_deadline(stream, request->extras);
}

/* A request's outcome is known: it settles at the end of the turn. */
static inline void ferry__stream_add_settling(ferry_stream *stream, ferry__request *request)
{
    if (request->extras != NULL)
        ferry__timers_cancel(&stream->owner->timers, &request->extras->deadline_timer);
    ferry__queue_append(&stream->finished, request);
}

/* The same for a request that was to be sent: its room is given back then. */
static inline void ferry__stream_add_finished(ferry_stream *stream, ferry__request *request)
{
    ferry__stream_add_settling(stream, request);
    stream->released += request->admitted;
    stream->released_source_bytes += request->source_bytes;
}

/* At the end of each turn: settles what was finished, and gives its room back. */
void ferry__stream_settle_finished(ferry_stream *stream);

/* Settles one request and drops the owner's reference to it. */
void ferry__stream_settle(ferry_stream *stream, ferry__request *request, int64_t now);

#endif
