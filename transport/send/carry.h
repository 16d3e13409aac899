/* SPDX-License-Identifier: MIT */
/*
 * The sending side of a stream on its owner: its turns, and what else the owner's loop calls. What
 * a turn uses: move.h moves bytes, conditions.h asks whether any may be moved now, outcome.h ends
 * requests, closing.h ends the stream.
 */
#ifndef FERRY_TRANSPORT_SEND_CARRY_H
#define FERRY_TRANSPORT_SEND_CARRY_H

#include "transport/stream/stream.h"

/* How requests of parts are called off. */
extern const ferry__request_types ferry__sent_requests;

/* The owner, while it calls the stream's reader. Whether memory may leave without being a request
 * first: whatever was submitted before has left, and nothing holds up what follows. */
bool ferry__stream_is_clear(const ferry_stream *stream);

/* Where it is clear. Sends what fits at once. @return how many bytes: 0 if there was an error, too,
 * which the next try tells. */
size_t ferry__stream_send_at_once(ferry_stream *stream, const void *data, size_t length);

/* What the owner's loop calls. */
ferry__turn ferry__stream_turn(ferry__task *task);
void ferry__stream_deliver_request(ferry__mail *mail, bool receiver_gone);
void ferry__stream_deliver_abort(ferry__mail *mail, bool receiver_gone);
void ferry__stream_deliver_resume(ferry__mail *mail, bool receiver_gone);
void ferry__stream_look_again(ferry__timer *timer);
void ferry__stream_ready(ferry__watch *watch, uint32_t events);

#endif
