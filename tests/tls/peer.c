/* SPDX-License-Identifier: MIT */
#include "tests/tls/peer.h"

#include "tests/support.h"

#include <openssl/err.h>

/* OpenSSL's: each message and each record, of both directions. */
static void count_messages(int is_written, int version, int type, const void *data, size_t size,
                           SSL *ssl, void *arg)
{
    (void)version, (void)ssl;
    tls_peer *self = arg;
    const unsigned char *message = data;
    if (!is_written && type == SSL3_RT_HANDSHAKE && size > 0 && message[0] == SSL3_MT_KEY_UPDATE)
        self->new_keys++;
}

tls_peer *peer_make(SSL_CTX *context, int fd, bool is_server)
{
    tls_peer *self = calloc(1, sizeof *self);
    self->fd = fd;
    check((self->ssl = SSL_new(context)) != NULL);
    SSL_CTX_free(context);
    SSL_set_bio(self->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    (void)BIO_set_mem_eof_return(SSL_get_rbio(self->ssl), -1);
    SSL_set_msg_callback(self->ssl, count_messages);
    SSL_set_msg_callback_arg(self->ssl, self);
    if (is_server)
        SSL_set_accept_state(self->ssl);
    else
        SSL_set_connect_state(self->ssl);
    return self;
}

void peer_end(tls_peer *self)
{
    if (self == NULL)
        return;
    SSL_free(self->ssl);
    close(self->fd);
    free(self);
}

SSL_CTX *peer_client_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    check(context != NULL);
    return context;
}

SSL_CTX *peer_server_context(X509 *certificate, EVP_PKEY *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    check(context != NULL && SSL_CTX_use_certificate(context, certificate) == 1 &&
          SSL_CTX_use_PrivateKey(context, key) == 1);
    return context;
}

bool peer_step(tls_peer *self)
{
    ERR_clear_error();
    bool is_over = SSL_do_handshake(self->ssl) == 1;
    peer_send(self);
    return is_over;
}

bool peer_shake_hands(tls_peer *self)
{
    while (!peer_step(self)) {
        if (SSL_get_error(self->ssl, -1) != SSL_ERROR_WANT_READ || !peer_hear(self))
            return false;
    }
    return true;
}

bool peer_hear(tls_peer *self)
{
    unsigned char data[16384];
    ssize_t count = recv(self->fd, data, sizeof data, 0);
    if (count > 0)
        check_eq(BIO_write(SSL_get_rbio(self->ssl), data, (int)count), count);
    return count > 0;
}

unsigned char *peer_take(tls_peer *self, size_t *ret_size)
{
    BIO *out = SSL_get_wbio(self->ssl);
    *ret_size = BIO_ctrl_pending(out);
    unsigned char *made = malloc(*ret_size + 1);
    check(made != NULL);
    check(*ret_size == 0 || BIO_read(out, made, (int)*ret_size) == (int)*ret_size);
    return made;
}

bool peer_send_raw(const tls_peer *self, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t sent = send(self->fd, (const char *)data + done, size - done, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        done += (size_t)sent;
    }
    return true;
}

void peer_send(tls_peer *self)
{
    size_t size;
    AT_END(free_memory) unsigned char *made = peer_take(self, &size);
    (void)peer_send_raw(self, made, size); /* if the other end has gone, hearing tells */
}

void peer_say(tls_peer *self, uint64_t seed, size_t size)
{
    AT_END(free_memory) unsigned char *content = malloc(size);
    fill_content(content, size, seed, 0);
    check_eq(SSL_write(self->ssl, content, (int)size), size);
    peer_send(self);
}

void peer_hear_content(tls_peer *self, uint64_t seed, size_t size)
{
    AT_END(free_memory) unsigned char *expected = malloc(size), *got = malloc(size);
    fill_content(expected, size, seed, 0);
    for (size_t done = 0; done < size;) {
        int count = SSL_read(self->ssl, got + done, (int)(size - done));
        if (count > 0)
            done += (size_t)count;
        else
            check(SSL_get_error(self->ssl, count) == SSL_ERROR_WANT_READ && peer_hear(self));
    }
    check(memcmp(expected, got, size) == 0);
}

int peer_read_to_end(tls_peer *self)
{
    char scrap[16384];
    for (;;) {
        ERR_clear_error();
        int count = SSL_read(self->ssl, scrap, sizeof scrap);
        if (count > 0)
            continue;
        if ((SSL_get_shutdown(self->ssl) & SSL_RECEIVED_SHUTDOWN) != 0)
            return SSL_get_error(self->ssl, count) == SSL_ERROR_ZERO_RETURN ? 0 : EPROTO;
        if (SSL_get_error(self->ssl, count) != SSL_ERROR_WANT_READ)
            return EPROTO;
        errno = ECONNABORTED;
        if (!peer_hear(self))
            return errno;
    }
}
