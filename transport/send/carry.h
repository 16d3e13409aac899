/* SPDX-License-Identifier: MIT */
/*
 * The sending side of a stream on its owner, among its files: carry.c takes turns, outcome.c gives
 * requests their outcomes, conditions.c asks the limiter, watches the peer's progress and waits for what
 * is to get further than the kernel, closing.c ends the stream. All of it runs on the stream's owner only.
 */
#ifndef FERRY_TRANSPORT_SEND_CARRY_H
#define FERRY_TRANSPORT_SEND_CARRY_H

#include "transport/stream/stream.h"

#include <stddef.h>

#define STREAM_OF(pointer, member)                                                                 \
    ((ferry_stream *)(void *)((char *)(pointer)-offsetof(ferry_stream, member)))

/* carry.c: what the owner's loop calls. */
ferry__turn ferry__stream_turn(ferry__task *task);
void ferry__stream_deliver_request(ferry__mail *mail, bool receiver_gone);
void ferry__stream_deliver_abort(ferry__mail *mail, bool receiver_gone);
void ferry__stream_deliver_resume(ferry__mail *mail, bool receiver_gone);
void ferry__stream_look_again(ferry__timer *timer);
void ferry__stream_ready(ferry__watch *watch, uint32_t events);
void ferry__stream_source_ready(ferry__watch *watch, uint32_t events);
void ferry__stall_timeout(ferry__timer *timer);
void ferry__pace_timeout(ferry__timer *timer);
void ferry__linger_timeout(ferry__timer *timer);
void ferry__stream_confirm_timeout(ferry__timer *timer);

/* ---- watermark.c ---- */

/* Of a stream that has one. Any thread, at adoption; then the owner. */
int ferry__watermark_init(ferry_stream *stream);
void ferry__watermark_look(ferry_stream *stream);

/* ---- outcome.c ---- */

/* What requests of parts are called off by. */
extern const ferry__request_types ferry__sent_requests;

/* Puts a request that has arrived at the end of the queue, with its number in the stream's order. */
void ferry__stream_enqueue(ferry_stream *stream, ferry__request *request);

/* Takes it out of the queue, for an outcome that is not ferry__stream_finish's to give. */
void ferry__stream_dequeue(ferry_stream *stream, ferry__request *request);

/* Gives a request its receipt: its turn has come. Does nothing the second time. */
static inline void ferry__stream_begin(ferry_stream *stream, ferry__request *request)
{
    if (request->has_begun)
        return;
    request->has_begun = true;
    request->began_at = stream->turn_began_at;
    request->promise.result.stream_offset = stream->offset;
}

/*
 * Takes a request out of the queue with its outcome: the head, or one that is called off before its
 * turn. It settles at the end of the turn. A failure midway has the consequences of the stream's
 * framing policy.
 */
void ferry__stream_finish(ferry_stream *stream, ferry__request *request, int error,
                          ferry_phase phase);

/* Likewise the head's, which is not to be carried out: a marker still waits for its turn to settle. */
void ferry__stream_refuse(ferry_stream *stream, ferry__request *request, int error);

/* Stops waiting for the head's source. */
void ferry__stream_forget_source(ferry_stream *stream);

/* What a queued request is at. */
ferry_phase ferry__stream_phase_of(const ferry_stream *stream, const ferry__request *request);

/* What padding is owed will not leave: it is not counted as part of the stream any more. */
void ferry__stream_drop_padding(ferry_stream *stream);

/* ---- conditions.c ---- */

/* How much of wanted bytes may be moved now; 0: none, and the stream has a turn when it may again. */
size_t ferry__pace_ask(ferry_stream *stream, size_t wanted);

/* So many were moved. */
void ferry__pace_use(ferry_stream *stream, uint64_t bytes);

/* There is nothing to send, or no room for it: others may have the stream's share. */
void ferry__pace_rest(ferry_stream *stream);

/* The sink is full: from now on the peer's progress is watched, where that was asked for. */
void ferry__stall_watch(ferry_stream *stream);

/* The sink is not full any more, or nothing waits for it. */
void ferry__stall_end(ferry_stream *stream);

/* Whether the time to look has come, and the peer has made no progress for as long as is allowed. */
bool ferry__stall_is_over(ferry_stream *stream);

/* Whether a request that has succeeded, or a marker that was refused, is to wait before it settles. */
bool ferry__confirm_is_wanted(const ferry_stream *stream, const ferry__request *request);

/* A request has joined those to be confirmed: looks again soon. */
void ferry__confirm_wait(ferry_stream *stream);

/* Has a turn after a while; after twice that the next time. */
void ferry__confirm_look_later(ferry_stream *stream);

/* Settles what is confirmed by now. */
void ferry__confirm_look(ferry_stream *stream);

/* Gives a request that was being confirmed its outcome. @param error 0: it is confirmed. */
void ferry__confirm_conclude(ferry_stream *stream, ferry__request *request, int error);

/* Nothing will be confirmed any more, because of this error. @param cause of -ECANCELED. */
void ferry__confirm_give_up(ferry_stream *stream, int error, ferry_cause cause);

/* ---- closing.c ---- */

/* The close request's turn has come: everything before it was carried out. */
void ferry__closing_start(ferry_stream *stream);

/* Confirmed close: reads the peer's last words away. Whether to go on at once. */
bool ferry__closing_linger(ferry_stream *stream);

/* Abort: everything queued is called off, the fd goes at once. */
void ferry__closing_abort(ferry_stream *stream);

/* Ends the stream if nothing can come any more. Whether it has: then it may be freed already. */
bool ferry__closing_try_end(ferry_stream *stream);

#endif
