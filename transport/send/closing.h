/* SPDX-License-Identifier: MIT */
/* Ending a stream: closing, lingering, aborting. All of it runs on the stream's owner. */
#ifndef FERRY_TRANSPORT_SEND_CLOSING_H
#define FERRY_TRANSPORT_SEND_CLOSING_H

#include "transport/stream/stream.h"

/* The close request's turn has come: everything before it was carried out. */
void ferry__closing_start(ferry_stream *stream);

/* Confirmed close: reads the peer's last words away. Whether to go on at once. */
bool ferry__closing_linger(ferry_stream *stream);

/* Abort: everything queued is called off, the fd goes at once. */
void ferry__closing_abort(ferry_stream *stream);

/* Ends the stream if nothing can come any more. Whether it has: then it may be freed already. */
bool ferry__closing_try_end(ferry_stream *stream);

/* What the timer of a stream that lingers calls. */
void ferry__linger_timeout(ferry__timer *timer);

#endif
