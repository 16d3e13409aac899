/* SPDX-License-Identifier: MIT */
/*
 * When a dedicated owner sleeps in the call that sends, and when in its epoll set.
 *
 *   the socket has room       calls do not wait: a short transfer costs nothing more
 *   it was full               the next call waits in the kernel, and so do those that follow it
 *   nothing has left it for   the epoll set, which is only made now: a stalled stream costs nothing
 *     two such waits
 *   it has room again         as at first
 *
 * A call does not wait while the stream is read from, since its owner then listens for both. Nor
 * does it wait while there is mail, nor beyond the next timer but that of spare memory: it is given
 * no more pieces than it comes out of by itself before that (transport/edge/patience.h). Urgent
 * mail gets it out.
 */
#ifndef FERRY_TRANSPORT_SEND_BLOCKING_H
#define FERRY_TRANSPORT_SEND_BLOCKING_H

#include "transport/stream/stream.h"

/*
 * Lets the next move wait in the kernel, where it may.
 * @param chunk what it may move at most; made less where it must not wait for long.
 * @return whether it may wait: then ferry__blocking_end follows it.
 */
bool ferry__blocking_begin(ferry_stream *stream, size_t *chunk);
void ferry__blocking_end(ferry_stream *stream);

/* The socket took nothing. @return whether to go on at once: with a call that waits. */
bool ferry__blocking_goes_on(ferry_stream *stream);

/* It took something. */
void ferry__blocking_note_move(ferry_stream *stream);

/* Nothing is left to send, or something else is waited for. */
void ferry__blocking_rest(ferry_stream *stream);

#endif
