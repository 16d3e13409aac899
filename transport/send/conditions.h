/* SPDX-License-Identifier: MIT */
/*
 * What turns go by: how much the stream's limiter lets leave (pace), whether the peer still takes
 * bytes (stall), and whether bytes that left have got as far as was asked for (confirm). All of it
 * runs on the stream's owner.
 */
#ifndef FERRY_TRANSPORT_SEND_CONDITIONS_H
#define FERRY_TRANSPORT_SEND_CONDITIONS_H

#include "transport/stream/stream.h"

/*
 * How much of wanted bytes may be moved now; 0: none, and the stream has a turn when it may again.
 */
size_t ferry__pace_ask(ferry_stream *stream, size_t wanted);

/* So many bytes were moved. */
void ferry__pace_use(ferry_stream *stream, uint64_t bytes);

/* There is nothing to send, or no room for it: others may have the stream's share. */
void ferry__pace_rest(ferry_stream *stream);

/* Another limiter is to hold: what ferry_stream_set_limiter posts. */
void ferry__pace_deliver(ferry__mail *mail, bool receiver_gone);

/* The sink is full: from now on the peer's progress is watched, if that was asked for. */
void ferry__stall_watch(ferry_stream *stream);

/* The sink is not full any more, or nothing waits for it. */
void ferry__stall_end(ferry_stream *stream);

/*
 * Whether the time to look has come, and the peer has made no progress for as long as is allowed.
 */
bool ferry__stall_is_over(ferry_stream *stream);

/* Whether it could not look yet, and needs another turn for that. */
bool ferry__stall_is_due(const ferry_stream *stream);

/*
 * Whether a request that has succeeded, or a marker that was refused, is to wait before it settles.
 */
bool ferry__confirm_is_wanted(const ferry_stream *stream, const ferry__request *request);

/* A request has joined those to be confirmed: looks again soon. */
void ferry__confirm_wait(ferry_stream *stream);

/* Has a turn after a while; the next time after twice that. */
void ferry__confirm_look_later(ferry_stream *stream);

/* Settles what is confirmed by now. */
void ferry__confirm_look(ferry_stream *stream);

/* Gives a request that was being confirmed its outcome. @param error 0: it is confirmed. */
void ferry__confirm_conclude(ferry_stream *stream, ferry__request *request, int error);

/* Nothing will be confirmed any more, because of this error. @param cause of -ECANCELED. */
void ferry__confirm_give_up(ferry_stream *stream, int error, ferry_cause cause);

/* What its timers call. */
void ferry__pace_timeout(ferry__timer *timer);
void ferry__stall_timeout(ferry__timer *timer);
void ferry__stream_confirm_timeout(ferry__timer *timer);

#endif
