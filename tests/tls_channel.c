/* SPDX-License-Identifier: MIT */
/*
 * Ends that talk in TLS. Both shake hands when they are made, in memory: the tests are about what
 * follows. An end's peer speaks with OpenSSL by way of memory, too, so that no lock is held while
 * it waits for its socket.
 */
#include "tests/channel.h"

#include "tests/harness.h"
#include "tests/support.h"
#include "tests/tls_support.h"
#include "tls/link.h"
#include "transport/stream/stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

enum { HEADER = 5, RECORD_MOST = HEADER + 16384 + 256 };

struct channel {
    pthread_mutex_t mutex; /* of ssl, and of its memory */
    SSL *ssl;
    ferry__kernel_secret *secret;      /* the kernel is to encrypt what a stream sends; or NULL */
    pthread_mutex_t sending;           /* who has it sends to the socket */
    unsigned char coming[RECORD_MOST]; /* a record that is not all there; the receiver's */
    size_t count;
    unsigned char *leaving; /* what its socket has not taken; the sender's */
    size_t begin, end;
};

/* ---- contexts -------------------------------------------------------------------------------- */

static pthread_mutex_t using = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;             /* channels */
static ferry_tls_context *context; /* all streams'; as the others, while there are users */
static SSL_CTX *servers, *clients;

/* OpenSSL's: secrets, as a line. */
static void note_secret(const SSL *ssl, const char *line)
{
    const channel *self = SSL_get_app_data(ssl);
    ferry__kernel_note_secret(self->secret, ssl, line);
}

static SSL_CTX *make_context(const SSL_METHOD *kind)
{
    SSL_CTX *made = SSL_CTX_new(kind);
    check(made != NULL);
    (void)SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS);
    (void)SSL_CTX_set_num_tickets(made, 0);
    SSL_CTX_set_read_ahead(made, 1);
    if (kernel_encrypts())
        SSL_CTX_set_keylog_callback(made, note_secret);
    return made;
}

static void make_contexts(void)
{
    identity own = identity_make((identity_wish){.name = "DNS:localhost"});
    const ferry_tls_certificate certificate = identity_certificate(&own);
    const ferry_tls_server_options options = {.certificates = &certificate, .certificate_count = 1};
    int error;
    do /* a test may have allocations fail */
        error = ferry_tls_server_create(&options, NULL, &context);
    while (error == -ENOMEM);
    check_eq(error, 0);
    servers = make_context(TLS_server_method());
    clients = make_context(TLS_client_method());
    check(SSL_CTX_use_certificate(servers, own.certificate) == 1 &&
          SSL_CTX_use_PrivateKey(servers, own.secret) == 1);
    identity_free(&own);
}

/* Two more channels use them. */
static void begin_to_use(void)
{
    (void)pthread_mutex_lock(&using);
    if (users == 0)
        make_contexts();
    users += 2;
    (void)pthread_mutex_unlock(&using);
}

/* One uses them no more. A census of the test's is to find nothing of theirs. */
static void end_using(void)
{
    (void)pthread_mutex_lock(&using);
    if (--users == 0) {
        context = ferry_tls_context_unref(context);
        SSL_CTX_free(servers);
        SSL_CTX_free(clients);
    }
    (void)pthread_mutex_unlock(&using);
}

/* ---- a channel's life ------------------------------------------------------------------------ */

static channel *make(SSL_CTX *kind)
{
    channel *self = calloc(1, sizeof *self);
    check(self != NULL && (self->ssl = SSL_new(kind)) != NULL);
    (void)pthread_mutex_init(&self->mutex, NULL);
    (void)pthread_mutex_init(&self->sending, NULL);
    while (kernel_encrypts() && self->secret == NULL) /* a test may have allocations fail */
        self->secret = ferry__kernel_secret_make();
    (void)SSL_set_app_data(self->ssl, self);
    SSL_set_bio(self->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    (void)BIO_set_mem_eof_return(SSL_get_rbio(self->ssl), -1);
    return self;
}

/* Has one end's words come to the other. */
static void carry(const channel *from, const channel *to)
{
    char words[4096];
    int size;
    while ((size = BIO_read(SSL_get_wbio(from->ssl), words, sizeof words)) > 0)
        check_eq(BIO_write(SSL_get_rbio(to->ssl), words, size), size);
}

void channel_make(channel *ret_ends[2])
{
    begin_to_use();
    channel *server = ret_ends[0] = make(servers), *client = ret_ends[1] = make(clients);
    SSL_set_accept_state(server->ssl);
    SSL_set_connect_state(client->ssl);
    while (!SSL_is_init_finished(server->ssl) || !SSL_is_init_finished(client->ssl)) {
        (void)SSL_do_handshake(client->ssl);
        carry(client, server);
        (void)SSL_do_handshake(server->ssl);
        carry(server, client);
    }
    ERR_clear_error();
}

static void free_rest(channel *self)
{
    (void)pthread_mutex_destroy(&self->mutex);
    (void)pthread_mutex_destroy(&self->sending);
    free(self->leaving);
    free(self);
    end_using();
}

void channel_free(channel *self)
{
    SSL_free(self->ssl);
    ferry__kernel_secret_forget(&self->secret);
    free_rest(self);
}

static void unref_context(ferry_tls_context *used)
{
    (void)ferry_tls_context_unref(used);
}

/* Whether the kernel is to encrypt for it. It does not once the peer has ended. */
static bool is_kernels(const ferry__link *link)
{
    struct pollfd end = {.fd = link->fd, .events = POLLRDHUP};
    return kernel_encrypts() && link->is_tcp && poll(&end, 1, 0) == 0;
}

void channel_put_on(channel *self, ferry_stream *stream)
{
    check(self != NULL);
    const ferry__tls_terms terms = {.context = ferry_tls_context_ref(context),
                                    .ssl = self->ssl,
                                    .secret = self->secret,
                                    .give_back = unref_context,
                                    .key_log_fd = -1};
    int error;
    do /* a test may have allocations fail */
        error = ferry__tls_link_put_on(&stream->link, &terms);
    while (error == -ENOMEM);
    check_eq(error, 0);
    check(stream->link.is_framed || !is_kernels(&stream->link));
    free_rest(self);
}

/* ---- talking --------------------------------------------------------------------------------- */

/* @return as recv(2), but -EAGAIN where more of a record has to come. */
static ssize_t take(channel *self, void *data, size_t size, int flags)
{
    (void)pthread_mutex_lock(&self->mutex);
    ERR_clear_error();
    int count = (flags & MSG_PEEK) != 0 ? SSL_peek(self->ssl, data, (int)size)
                                        : SSL_read(self->ssl, data, (int)size);
    int state = SSL_get_error(self->ssl, count);
    (void)pthread_mutex_unlock(&self->mutex);
    if (count > 0 || state == SSL_ERROR_ZERO_RETURN)
        return count > 0 ? count : 0;
    return state == SSL_ERROR_WANT_READ ? -EAGAIN : -EPROTO;
}

/* Receives more of the record that is coming. @return as recv(2). */
static ssize_t receive_more(channel *self, int fd, int flags)
{
    size_t whole = HEADER;
    if (self->count >= HEADER)
        whole += (size_t)self->coming[3] << 8 | self->coming[4];
    ssize_t came = recv(fd, self->coming + self->count, whole - self->count, flags & MSG_DONTWAIT);
    if (came == 0)
        errno = ECONNABORTED; /* an end that was not said */
    if (came <= 0)
        return -1;
    self->count += (size_t)came;
    if (self->count > HEADER && self->count == whole) {
        (void)pthread_mutex_lock(&self->mutex);
        check_eq(BIO_write(SSL_get_rbio(self->ssl), self->coming, (int)whole), (int)whole);
        (void)pthread_mutex_unlock(&self->mutex);
        self->count = 0;
    }
    return came;
}

ssize_t channel_receive(channel *self, int fd, void *data, size_t size, int flags)
{
    ssize_t count;
    if (size > INT32_MAX)
        size = INT32_MAX;
    while ((count = take(self, data, size, flags)) == -EAGAIN) {
        if (receive_more(self, fd, flags) < 0)
            return -1;
    }
    if (count >= 0)
        return count;
    errno = (int)-count;
    return -1;
}

/* Sends what is left over. @return 0, or -1. */
static int send_leaving(channel *self, int fd, int flags)
{
    while (self->begin < self->end) {
        ssize_t sent =
            send(fd, self->leaving + self->begin, self->end - self->begin, flags | MSG_NOSIGNAL);
        if (sent < 0)
            return -1;
        self->begin += (size_t)sent;
    }
    free(self->leaving);
    self->leaving = NULL;
    self->begin = self->end = 0;
    return 0;
}

/* Takes what OpenSSL has made to be sent. Under both locks. */
static void take_made(channel *self)
{
    char *made;
    long size = BIO_get_mem_data(SSL_get_wbio(self->ssl), &made);
    self->leaving = malloc((size_t)size);
    check(self->leaving != NULL);
    check_eq(BIO_read(SSL_get_wbio(self->ssl), self->leaving, (int)size), (int)size);
    self->end = (size_t)size;
}

ssize_t channel_send(channel *self, int fd, const void *data, size_t size, int flags)
{
    enum { PIECE = 64 * 1024 };
    size_t done = 0;
    int error = 0;
    (void)pthread_mutex_lock(&self->sending);
    while (done < size && error == 0) {
        int piece = (int)(size - done < PIECE ? size - done : PIECE);
        (void)pthread_mutex_lock(&self->mutex);
        check_eq(SSL_write(self->ssl, (const char *)data + done, piece), piece);
        take_made(self);
        (void)pthread_mutex_unlock(&self->mutex);
        error = send_leaving(self, fd, flags & ~MSG_DONTWAIT);
        done += (size_t)piece;
    }
    int saved = errno;
    (void)pthread_mutex_unlock(&self->sending);
    errno = saved;
    return error == 0 ? (ssize_t)size : -1;
}

void channel_say_end(channel *self, int fd, int flags)
{
    if (pthread_mutex_trylock(&self->sending) != 0) /* something is half sent */
        return;
    if (self->begin == self->end && (SSL_get_shutdown(self->ssl) & SSL_SENT_SHUTDOWN) == 0) {
        (void)pthread_mutex_lock(&self->mutex);
        (void)SSL_shutdown(self->ssl);
        ERR_clear_error();
        take_made(self);
        (void)pthread_mutex_unlock(&self->mutex);
        (void)send_leaving(self, fd, flags);
    }
    (void)pthread_mutex_unlock(&self->sending);
}
