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

struct server;

/* How long a client may take, in milliseconds. */
struct connection_times {
    int64_t head_ms; /* for a request, once it has begun; then it is told 408 */
    int64_t idle_ms; /* until the next one; and to take any byte of an answer */
};

/* Its place in the server's list. */
struct connection_links {
    struct connection *next;
    struct connection **referrer; /* what points to it; NULL: it is not in the list */
};

struct connection;

/* Begins to serve a stream; the caller may give its reference back. Threads: the stream's owner.
 * @param peer its address, for the log; "": unknown. Copied. */
void connection_begin(struct server *server, ferry_stream *stream, const char *peer);

/* Closes it after the answers that are under way. Threads: any that keeps it from leaving the list. */
void connection_finish(struct connection *connection);

struct connection_links *connection_links(struct connection *connection);

#endif
