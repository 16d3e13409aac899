/* SPDX-License-Identifier: MIT */
/*
 * One of ferry's services as the comparisons use it: a stream to the peer at a time, closed
 * and counted at the end.
 */
#ifndef BENCHMARK_PEER_STREAM_H
#define BENCHMARK_PEER_STREAM_H

#include "peer.h"

#include <ferry/ferry.h>

typedef struct peer_stream {
    const peer *peer;
    ferry_service *service;
    ferry_stream *stream;                /* NULL between two uses */
    const ferry_stream_options *options; /* its own; NULL: none */
} peer_stream;

/* For the shapes that have one: a service of one shared owner. @return 0 or a negative errno. */
int service_with_one_owner(ferry_service **ret_service);

int peer_stream_init(peer_stream *s, const peer *p, ferry_placement placement);

/* Also after a peer_stream_init that failed, if s was zeroed before. */
void peer_stream_deinit(peer_stream *s);

/* Connects to the peer and adopts the socket. @return 0 or a negative errno. */
int peer_stream_open(peer_stream *s);

/* Closes the stream after what is queued, and checks that the peer got expected bytes, all told. */
int peer_stream_close(peer_stream *s, uint64_t expected);

/* Sends a file of bytes over and over, length in all, and awaits the last. @return 0 or a negative
 * errno. */
int peer_stream_send_file(ferry_stream *stream, int file_fd, size_t bytes, size_t length);

/* Awaits a promise and gives it back. @return 0 if all of length bytes were sent; or why not. */
int peer_stream_settle(ferry_promise *promise, uint64_t length);

#endif
