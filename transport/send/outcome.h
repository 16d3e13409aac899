/* SPDX-License-Identifier: MIT */
/*
 * Giving requests their outcomes, and what follows from a failure midway. All of it runs on the
 * stream's owner.
 */
#ifndef FERRY_TRANSPORT_SEND_OUTCOME_H
#define FERRY_TRANSPORT_SEND_OUTCOME_H

#include "transport/stream/stream.h"

/*
 * Puts a request that has arrived at the end of the queue. It gets its number in the stream's order
 * and from now on its deadline is heeded. If it stands behind a batch, and it is not known yet how
 * many writes are in that, all this comes later; until then it has not arrived.
 */
void ferry__stream_enqueue(ferry_stream *stream, ferry__request *request);

/*
 * Gives late numbers to what stands behind a batch, if it is known now how many writes are in that.
 * For mail: it may call requests off, which a turn does not expect.
 */
void ferry__stream_number_late(ferry_stream *stream);

/* Takes it out of the queue. ferry__stream_finish does not give its outcome. */
void ferry__stream_dequeue(ferry_stream *stream, ferry__request *request);

/* Gives a request its receipt: its turn has come. Does nothing the second time. */
static inline void ferry__stream_begin(ferry_stream *stream, ferry__request *request)
{
    if (request->has_begun)
        return;
    request->has_begun = true;
    request->began_at = ferry__stream_turn_time(stream);
    request->promise.result.stream_offset = stream->offset;
}

/*
 * Takes a request out of the queue with its outcome: the head, or one that is called off before its
 * turn. It settles at the end of the turn. The framing policy says what follows from a failure
 * midway.
 */
void ferry__stream_finish(ferry_stream *stream, ferry__request *request, int error,
                          ferry_phase phase);

/*
 * Takes the head out of the queue with its outcome, and does not carry it out. A marker still waits
 * until it is its turn to settle.
 */
void ferry__stream_refuse(ferry_stream *stream, ferry__request *request, int error);

/* Stops waiting for the head's source. */
void ferry__stream_forget_source(ferry_stream *stream);

/* What a queued request is at. */
ferry_phase ferry__stream_phase_of(const ferry_stream *stream, const ferry__request *request);

/* The padding that is owed will not leave: it is not counted as part of the stream any more. */
void ferry__stream_drop_padding(ferry_stream *stream);

#endif
