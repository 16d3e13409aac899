/* SPDX-License-Identifier: MIT */
/*
 * One connection: requests in, answers out, in order. All of it happens on the stream's owner, in the
 * callbacks of its reader and of its answers, so nothing here is locked.
 *
 * A request is answered as soon as it is whole, out of the reader's buffer. Requests that come
 * together are answered together, up to a limit: a client that asks without reading finds us not
 * reading either, until it does.
 */
#ifndef TOOLS_FERRY_SERVE_CONNECTION_H
#define TOOLS_FERRY_SERVE_CONNECTION_H

#include "request.h"

#include <ferry/read.h>

struct places;

/* How long a client may take, in milliseconds. */
struct connection_times {
    int64_t head_ms; /* for a request, once it has begun; then it is told 408 */
    int64_t idle_ms; /* until the next one; and to take any byte of an answer */
};

struct connection;

/* Begins to serve a stream, as soon as it has a place; the caller may give its reference back. Threads:
 * the stream's owner. @param peer its address, for the log; "": unknown. Copied. */
void connection_begin(struct places *places, ferry_stream *stream, const char *peer);

/* ---- for its places; threads: any that keeps it from leaving them ---- */

/* Of one whose stream is closing: whether there are answers that have not been sent. */
bool connection_has_answers(const struct connection *connection);

/* It has a place now. */
void connection_be_seated(struct connection *connection);

/* Somebody waits for its place: it ends if it has been idle until it is told, and its client has all
 * answers; else it stays. */
void connection_ask_to_leave(struct connection *connection);

#endif
