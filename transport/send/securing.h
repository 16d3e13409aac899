/* SPDX-License-Identifier: MIT */
/*
 * A handshake: what a stream does before anything else, if its bytes are to be encrypted. It is
 * the stream's turns that carry it out, a step each, so its owner's other streams wait for one step
 * at most. What is submitted meanwhile queues behind it.
 */
#ifndef FERRY_TRANSPORT_SEND_SECURING_H
#define FERRY_TRANSPORT_SEND_SECURING_H

#include "transport/stream/stream.h"

/* A turn, in state FERRY__SECURING. Goes on with it. Once it is over the stream is open, or
 * poisoned, and has another turn. */
void ferry__securing_go_on(ferry_stream *stream);

/* The stream is aborted: there will be no handshake, if it is not over yet. */
void ferry__securing_call_off(ferry_stream *stream);

/* What its timer calls. */
void ferry__securing_timeout(ferry__timer *timer);

#endif
