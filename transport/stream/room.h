/* SPDX-License-Identifier: MIT */
/*
 * Waiting for room in a stream: threads, here; and promises of it. Rooms, and who is told when, are
 * admission's (transport/limit/admission.h).
 */
#ifndef FERRY_TRANSPORT_STREAM_ROOM_H
#define FERRY_TRANSPORT_STREAM_ROOM_H

#include "transport/stream/stream.h"

/*
 * Any thread. A request was refused. Has the owner look again if it may have seen what was counted
 * for a moment.
 */
void ferry__room_note_refusal(ferry_stream *stream, const ferry__refusal *refusal);

/*
 * Any thread. Lets data in, and waits for room until the deadline. @param full the room that was
 * full. @return what ferry__admit returns, but -ETIMEDOUT in place of -EAGAIN.
 */
int ferry__room_await(ferry_stream *stream, ferry__cost cost, uint64_t refused_by,
                      ferry__room *full, int64_t deadline);

/* Any thread. Waits until the deadline for room for a read. The stream has an intake. */
int ferry__room_await_read(ferry_stream *stream, int64_t deadline);

#endif
