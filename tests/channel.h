/* SPDX-License-Identifier: MIT */
/*
 * How the two ends of a connection talk in the tests that are built again (tests/records_peer.c):
 * in records (records_channel.c), or in TLS (tls_channel.c). A channel is one end's.
 */
#ifndef FERRY_TESTS_CHANNEL_H
#define FERRY_TESTS_CHANNEL_H

/* Here they are what they are called. */
#undef ferry_stream_adopt
#undef recv
#undef read
#undef send
#undef write
#undef shutdown
#undef close

#include <ferry/stream.h>

#include <sys/types.h>

typedef struct channel channel;

/* Makes both ends. */
void channel_make(channel *ret_ends[2]);
void channel_free(channel *self);

/* Has a stream use it, which takes it, before its owner has looked at its link. @param self NULL:
 * the stream's socket is no test's. */
void channel_put_on(channel *self, ferry_stream *stream);

/* As recv(2) and send(2), over a socket. One thread may receive while another sends. */
ssize_t channel_receive(channel *self, int fd, void *data, size_t size, int flags);
ssize_t channel_send(channel *self, int fd, const void *data, size_t size, int flags);

/* Says that nothing follows, unless something is half sent. */
void channel_say_end(channel *self, int fd, int flags);

#endif
