/* SPDX-License-Identifier: MIT */
/*
 * One connection: requests in, answers out, in order. All of it happens on the stream's owner, in
 * the callbacks of its reader and of its answers, so nothing here is locked.
 *
 * A request is answered as soon as it is whole, out of the reader's buffer. Requests that come
 * together are answered together, up to a limit. While a client asks and does not read, we do not
 * read either.
 */
#ifndef TOOLS_FERRY_SERVE_CONNECTION_H
#define TOOLS_FERRY_SERVE_CONNECTION_H

#include <ferry/stream.h>

struct places;

/*
 * Begins to serve a stream, as soon as it has a place; the caller may give its reference back.
 * Threads: the stream's owner. @param peer its address, for the log; "": unknown. Copied.
 */
void connection_begin(struct places *places, ferry_stream *stream, const char *peer);

#endif
