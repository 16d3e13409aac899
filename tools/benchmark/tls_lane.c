/* SPDX-License-Identifier: MIT */
#include "tls_lane.h"

#include "helper.h"
#include "peer_stream.h"

#include <ferry/tls.h>

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- contexts -------------------------------------------------------------------------------- */

SSL_CTX *tls_server_context(const tls_identity *identity)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context != NULL && SSL_CTX_set_num_tickets(context, 1) == 1 &&
        SSL_CTX_use_certificate_chain_file(context, identity->certificate) == 1 &&
        SSL_CTX_use_PrivateKey_file(context, identity->key, SSL_FILETYPE_PEM) == 1)
        return context;
    ERR_print_errors_fp(stderr);
    SSL_CTX_free(context);
    return NULL;
}

SSL_CTX *tls_client_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context != NULL)
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    return context;
}

int tls_ferry_context(const tls_identity *identity, ferry_tls_context **ret_context)
{
    const ferry_tls_certificate certificate = {.chain_file = identity->certificate,
                                               .key_file = identity->key};
    const ferry_tls_server_options options = {.certificates = &certificate, .certificate_count = 1};
    ferry_tls_failure failure = {0};
    int error = ferry_tls_server_create(&options, &failure, ret_context);
    if (error != 0)
        (void)fprintf(stderr, "ferry-bench: %s\n", failure.text);
    return error;
}

/* ---- the client ------------------------------------------------------------------------------ */

static int shake_hands(int fd)
{
    SSL_CTX *context = tls_client_context();
    SSL *ssl = context != NULL ? SSL_new(context) : NULL;
    bool is_done = ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1;
    if (!is_done)
        ERR_print_errors_fp(stderr);
    SSL_free(ssl); /* says nothing */
    SSL_CTX_free(context);
    return is_done ? 0 : -EPROTO;
}

/* @return how many bytes came, or a negative errno. */
static int64_t discard_all(int fd)
{
    static char scrap[1 << 20]; /* TCP never writes to it: MSG_TRUNC */
    int64_t total = 0;
    for (ssize_t count; (count = recv(fd, scrap, sizeof scrap, MSG_TRUNC)) != 0; total += count)
        if (count < 0)
            return -errno;
    return total;
}

/*
 * Encrypted, bytes are more: 22 for each record, and for the ticket and the end. Here no record has
 * fewer than 64 bytes of the sender's.
 */
static bool may_be(int64_t total, size_t bytes)
{
    enum { FEW = 4096 };
    return total >= 0 && (size_t)total > bytes && (size_t)total <= bytes + bytes / 2 + FEW;
}

static int be_client(int listener, void *context)
{
    size_t bytes = *(const size_t *)context;
    int fd = accept(listener, NULL, NULL);
    int error = fd < 0 ? -errno : shake_hands(fd);
    int64_t total = error == 0 ? discard_all(fd) : error;
    return total < 0 ? (int)total : may_be(total, bytes) ? 0 : -EBADMSG;
}

/* ---- lanes ----------------------------------------------------------------------------------- */

int tls_lane_open(size_t bytes, tls_lane *ret_lane)
{
    int error = scratch_init(&ret_lane->where);
    if (error != 0)
        return error;
    error = tls_identity_make(ret_lane->where.directory, &ret_lane->identity);
    int listener = error == 0 ? sockets_listen(ROUTE_TCP, 1) : error;
    error = listener < 0 ? listener : helper_start(be_client, listener, &bytes, &ret_lane->client);
    ret_lane->fd = error == 0 ? sockets_connect(listener, 0) : error;
    (void)close(listener);
    return ret_lane->fd < 0 ? tls_lane_close(ret_lane, ret_lane->fd) : 0;
}

SSL *tls_lane_accept(const tls_lane *over)
{
    SSL_CTX *context = tls_server_context(&over->identity);
    SSL *ssl = context != NULL ? SSL_new(context) : NULL;
    SSL_CTX_free(context); /* ssl has it */
    if (ssl != NULL && SSL_set_fd(ssl, over->fd) == 1 && SSL_accept(ssl) == 1)
        return ssl;
    ERR_print_errors_fp(stderr);
    SSL_free(ssl);
    return NULL;
}

void tls_lane_end(const tls_lane *over, SSL *ssl)
{
    (void)SSL_shutdown(ssl);
    SSL_free(ssl);
    (void)close(over->fd);
}

/* A mark that is behind nothing has to wait for the handshake. */
static int await_handshake(ferry_stream *stream)
{
    ferry_promise *mark;
    int error = ferry_stream_mark(stream, &mark);
    return error == 0 ? peer_stream_settle(mark, 0) : error;
}

int tls_lane_adopt(const tls_lane *over, ferry_service *service, ferry_stream **ret_stream)
{
    ferry_tls_context *context;
    int error = tls_ferry_context(&over->identity, &context);
    if (error != 0)
        return error;
    const ferry_tls_options tls = {.context = context};
    const ferry_stream_options options = {.tls = &tls};
    error = ferry_stream_adopt(service, over->fd, &options, ret_stream);
    (void)ferry_tls_context_unref(context); /* the stream has it */
    return error == 0 ? await_handshake(*ret_stream) : error;
}

int tls_lane_join(const tls_lane *over)
{
    return helper_join(over->client);
}

int tls_lane_close(tls_lane *over, int error)
{
    int left = scratch_deinit(&over->where);
    return error != 0 ? error : left;
}
