/* SPDX-License-Identifier: MIT */
/* Ending a stream: closing, lingering, detaching, aborting. All of it on the stream's owner. */
#ifndef FERRY_TRANSPORT_SEND_CLOSING_H
#define FERRY_TRANSPORT_SEND_CLOSING_H

#include "transport/stream/stream.h"

/* The close request's turn has come: everything before it was carried out. Whether it was, too;
 * else the link owes something of its end, and it has another turn. */
bool ferry__closing_start(ferry_stream *stream);

/* It has begun, and nothing is to be sent any more. Confirmed close: reads the peer's last words
 * away. Detach: gives the connection back, if all that was read is back. @return whether to go on
 * at once. */
bool ferry__closing_go_on(ferry_stream *stream);

/* Abort: calls off everything that is queued, and closes the fd at once. */
void ferry__closing_abort(ferry_stream *stream);

/* Ends the stream if nothing can come any more. @return whether it has: it may be freed then. */
bool ferry__closing_try_end(ferry_stream *stream);

/* What the timer of a stream that lingers calls. */
void ferry__linger_timeout(ferry__timer *timer);

#endif
