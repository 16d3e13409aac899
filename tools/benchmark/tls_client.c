/* SPDX-License-Identifier: MIT */
#include "tls_client.h"

#include "crew.h"
#include "fetch.h"
#include "tls_lane.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct client {
    const tls_client *what;
    SSL_CTX *context;
    time_t end; /* of the run, by the monotonic clock */
    _Atomic size_t answers;
} client;

static time_t now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static int ask(SSL *ssl, const char *name)
{
    char request[FETCH_REQUEST_BYTES];
    int length = fetch_write_request(name, request);
    if (length < 0)
        return length;
    return SSL_write(ssl, request, length) == length ? 0 : -EPROTO;
}

/* Reads to the end. The head comes in one piece: it is small. */
static int read_answer(SSL *ssl, size_t length)
{
    static const char status[] = "HTTP/1.1 200 ";
    char data[16 * 1024 + 1];
    size_t total = 0, expected = 0;
    for (int count; (count = SSL_read(ssl, data, sizeof data - 1)) > 0; total += (size_t)count) {
        if (total > 0)
            continue;
        data[count] = '\0';
        const char *end = strstr(data, "\r\n\r\n");
        if (end == NULL || strncmp(data, status, sizeof status - 1) != 0)
            return -EBADMSG;
        expected = (size_t)(end + 4 - data) + length;
    }
    return total == expected && total > 0 ? 0 : -EBADMSG;
}

/* @param session to resume, or NULL; replaced by the next one */
static int fetch_over(const client *c, SSL *ssl, SSL_SESSION **session)
{
    bool resumes = *session != NULL;
    if ((resumes && SSL_set_session(ssl, *session) != 1) || SSL_connect(ssl) != 1)
        return -EPROTO;
    int error = ask(ssl, c->what->name);
    if (error == 0)
        error = read_answer(ssl, c->what->length);
    if (error == 0 && (SSL_session_reused(ssl) == 1) != resumes)
        error = -ENOMSG;
    if (error == 0 && c->what->resumes) {
        SSL_SESSION_free(*session);
        *session = SSL_get1_session(ssl);
    }
    return error;
}

static int fetch(const client *c, SSL_SESSION **session)
{
    int fd = fetch_connect(c->what->port);
    if (fd < 0)
        return fd;
    SSL *ssl = SSL_new(c->context);
    int error = ssl != NULL && SSL_set_fd(ssl, fd) == 1 ? fetch_over(c, ssl, session) : -ENOMEM;
    if (error == 0)
        (void)SSL_shutdown(ssl); /* else OpenSSL takes the session to be no good */
    else
        ERR_print_errors_fp(stderr);
    SSL_free(ssl);
    (void)close(fd);
    return error;
}

static int work(void *context)
{
    client *c = context;
    SSL_SESSION *session = NULL;
    int error = 0;
    while (error == 0 && now_s() < c->end) {
        error = fetch(c, &session);
        c->answers++;
    }
    SSL_SESSION_free(session);
    return error;
}

int tls_client_run(const tls_client *what, tls_client_result *ret_result)
{
    client c = {.what = what,
                .context = tls_client_context(),
                .end = now_s() + 1 + (time_t)what->duration_s};
    stopwatch watch;
    if (c.context == NULL)
        return -ENOMEM;
    int error = crew_run(what->threads, work, &c, &watch);
    double seconds = stopwatch_read(&watch).wall_s;
    SSL_CTX_free(c.context);
    if (error != 0)
        return error;
    *ret_result = (tls_client_result){(double)c.answers, (double)c.answers / seconds};
    return 0;
}
