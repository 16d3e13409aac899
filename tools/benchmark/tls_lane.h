/* SPDX-License-Identifier: MIT */
/*
 * A lane: a TCP connection on which this process is a TLS server. Its client is a helper, which
 * shakes hands, and then throws away what comes without decrypting it: it is never what the sender
 * waits for. It reads as bytes come.
 *
 * The server is OpenSSL, as one would use it without ferry, or a stream of ferry's. Both take
 * OpenSSL's defaults, and give one ticket.
 */
#ifndef BENCHMARK_TLS_LANE_H
#define BENCHMARK_TLS_LANE_H

#include "scratch.h"
#include "tls_identity.h"

#include <ferry/ferry.h>
#include <openssl/ssl.h>
#include <stddef.h>

typedef struct tls_lane {
    scratch where;
    tls_identity identity;
    pid_t client;
    int fd;
} tls_lane;

/* Connects the two. @param bytes that are to come, unencrypted. @return 0 or a negative errno. */
int tls_lane_open(size_t bytes, tls_lane *ret_lane);

/* Has OpenSSL shake hands, over the socket. @return NULL: it could not. */
SSL *tls_lane_accept(const tls_lane *over);

/* Says the end, over the socket, and closes that. */
void tls_lane_end(const tls_lane *over, SSL *ssl);

/* Has a service of ferry's shake hands. It takes the socket. @return 0 or a negative errno. */
int tls_lane_adopt(const tls_lane *over, ferry_service *service, ferry_stream **ret_stream);

/* Waits until the client has got the end, and all before it. @return 0, or -EIO after it said why.
 */
int tls_lane_join(const tls_lane *over);

/* Removes what it had. @return error, or what went wrong with that. */
int tls_lane_close(tls_lane *over, int error);

/* OpenSSL's context of a server with one ticket. @return NULL: it is no good. */
SSL_CTX *tls_server_context(const tls_identity *identity);

/* OpenSSL's context of a client that trusts anybody. */
SSL_CTX *tls_client_context(void);

/* A context of ferry's. @return 0 or a negative errno. */
int tls_ferry_context(const tls_identity *identity, ferry_tls_context **ret_context);

#endif
