/* SPDX-License-Identifier: MIT */
/*
 * A peer that is no stream: OpenSSL, with nothing between it and the test but memory. So a test has
 * each of its bytes in hand, and decides when it leaves.
 */
#ifndef FERRY_TESTS_TLS_PEER_H
#define FERRY_TESTS_TLS_PEER_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tls_peer {
    SSL *ssl;
    int fd;            /* blocking */
    unsigned new_keys; /* KeyUpdates that have come */
} tls_peer;

/* One end of a connection. Takes fd and, once it has ended, context. */
tls_peer *peer_make(SSL_CTX *context, int fd, bool is_server);
void peer_end(tls_peer *self);
static inline void end_peer(tls_peer **it)
{
    peer_end(*it);
}

/* Contexts as OpenSSL has them: a client that takes any server; a server of that certificate. */
SSL_CTX *peer_client_context(void);
SSL_CTX *peer_server_context(X509 *certificate, EVP_PKEY *key);

/* Takes a step of the handshake: says what it has to say, and no more. @return whether it is over.
 * And takes as many as are needed, with what comes in between. @return 0: it has failed, as OpenSSL
 * tells, or the other end has gone. */
bool peer_step(tls_peer *self);
bool peer_shake_hands(tls_peer *self);

/* Gives OpenSSL what comes next. @return whether anything has. */
bool peer_hear(tls_peer *self);

/* What OpenSSL has made to be sent: malloc'd. */
unsigned char *peer_take(tls_peer *self, size_t *ret_size);

/* Sends what OpenSSL has made. */
void peer_send(tls_peer *self);

/* Sends bytes as they are. @return whether the other end still takes any. */
bool peer_send_raw(const tls_peer *self, const void *data, size_t size);

/* Says content, and hears as much of it. */
void peer_say(tls_peer *self, uint64_t seed, size_t size);
void peer_hear_content(tls_peer *self, uint64_t seed, size_t size);

/* Reads to the end. @return 0: it was said in TLS; ECONNABORTED: it was not; ECONNRESET; EPROTO:
 * OpenSSL understands it no more, or has got an alert. */
int peer_read_to_end(tls_peer *self);

#endif
