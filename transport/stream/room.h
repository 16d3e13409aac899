/* SPDX-License-Identifier: MIT */
/*
 * Waiting for room in a stream: threads, here; and promises of it. Rooms, and who is told when, are
 * admission's (transport/limit/admission.h).
 */
#ifndef FERRY_TRANSPORT_STREAM_ROOM_H
#define FERRY_TRANSPORT_STREAM_ROOM_H

#include "transport/stream/stream.h"

/*
 * Any thread. A request was refused: has the owner look again where it may have seen what was
 * counted.
 */
void ferry__room_note_refusal(ferry_stream *stream, const ferry__refusal *refusal);

/*
 * Any thread. As ferry__admit for data, but waits for room until the deadline: -ETIMEDOUT instead
 * of -EAGAIN. @param full where there was none.
 */
int ferry__room_await(ferry_stream *stream, ferry__cost cost, uint64_t refused_by,
                      ferry__room *full, int64_t deadline);

/* Any thread. Waits for room for a read, of a stream that has an intake, until the deadline. */
int ferry__room_await_read(ferry_stream *stream, int64_t deadline);

#endif
