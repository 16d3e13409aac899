/* SPDX-License-Identifier: MIT */
#include "http_client.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MOST_ANSWER = 64 * 1024 };

typedef struct connection {
    int fd;
    bool has_asked;
    int64_t since_ns; /* when it asked */
    size_t left;      /* of the answer; 0: its head is still to come */
} connection;

typedef struct client {
    const http_client *what;
    char request[512];
    size_t request_length;
    int events; /* an epoll set */
    connection *connections;
    float *took; /* milliseconds, of each answer */
    size_t answers;
    size_t room; /* of took */
} client;

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int ask(const client *c, connection *one)
{
    ssize_t count = send(one->fd, c->request, c->request_length, MSG_NOSIGNAL);
    one->has_asked = true;
    return count == (ssize_t)c->request_length ? 0 : count < 0 ? -errno : -EMSGSIZE;
}

static int open_one(const client *c, connection *one)
{
    one->since_ns = now_ns();
    one->fd = socket(c->what->server->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (one->fd < 0)
        return -errno;
    if (connect(one->fd, c->what->server, c->what->server_size) < 0 && errno != EINPROGRESS)
        return -errno;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = one};
    return epoll_ctl(c->events, EPOLL_CTL_ADD, one->fd, &event) == 0 ? 0 : -errno;
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* How long an answer is. Its head comes in one piece: it is small. @return 0: it is no success. */
static size_t measure(const client *c, const char *head)
{
    static const char field[] = "\r\nContent-Length:";
    const char *end = strstr(head, "\r\n\r\n"), *value = strcasestr(head, field);
    if (strncmp(head, "HTTP/1.1 200 ", 13) != 0 || end == NULL || value == NULL || value > end)
        return 0;
    bool has_body = strcmp(c->what->method, "HEAD") != 0;
    return (size_t)(end + 4 - head) + (has_body ? strtoul(&value[sizeof field - 1], NULL, 10) : 0);
}

static int note(client *c, const connection *one)
{
    if (c->answers == c->room) {
        size_t room = c->room > 0 ? 2 * c->room : 65536;
        float *took = realloc(c->took, room * sizeof *took);
        if (took == NULL)
            return -ENOMEM;
        c->took = took;
        c->room = room;
    }
    c->took[c->answers++] = (float)(now_ns() - one->since_ns) / 1e6F;
    return 0;
}

/* @return 1: nothing more is there for now; 0; or a negative errno. */
static int read_on(client *c, connection *one)
{
    char data[MOST_ANSWER + 1];
    ssize_t count = recv(one->fd, data, MOST_ANSWER, 0);
    if (count < 0)
        return errno == EAGAIN ? 1 : -errno;
    data[count] = '\0';
    size_t length = one->left > 0 ? one->left : measure(c, data);
    if (count == 0 || length < (size_t)count)
        return -EBADMSG;
    one->left = length - (size_t)count;
    if (one->left > 0)
        return 0;
    int error = note(c, one);
    one->since_ns = now_ns();
    return error != 0 ? error : ask(c, one);
}

static int go_on(client *c, connection *one, uint32_t events)
{
    int result = !one->has_asked && (events & EPOLLOUT) != 0 ? ask(c, one) : 0;
    while (result == 0 && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
        result = read_on(c, one);
    return result < 0 ? result : 0;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* Whether there are fewer answers than connections. */
static bool has_few(const client *c)
{
    return c->answers < c->what->connections;
}

static int run(client *c)
{
    enum { PATIENCE_S = 60 }; /* of a crowd on a busy machine */
    int64_t began_ns = now_ns(), patience_ns = began_ns + PATIENCE_S * INT64_C(1000000000);
    int64_t end_ns = began_ns + (int64_t)c->what->duration_s * 1000000000;
    int error = 0;
    for (unsigned i = 0; i < c->what->connections && error == 0; i++)
        error = open_one(c, &c->connections[i]);
    while (error == 0 && now_ns() < (has_few(c) ? patience_ns : end_ns)) {
        struct epoll_event ready[64];
        int count = epoll_wait(c->events, ready, sizeof ready / sizeof ready[0], 100);
        for (int i = 0; i < count && error == 0; i++)
            error = go_on(c, ready[i].data.ptr, ready[i].events);
    }
    return error;
}

static int compare(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static int sum_up(client *c, http_client_result *ret_result)
{
    if (has_few(c))
        return -ETIMEDOUT;
    qsort(c->took, c->answers, sizeof *c->took, compare);
    ret_result->requests = (double)c->answers;
    ret_result->requests_per_s = (double)c->answers / c->what->duration_s;
    ret_result->p99_ms = (double)c->took[c->answers - 1 - c->answers / 100];
    return 0;
}

int http_client_run(const http_client *what, http_client_result *ret_result)
{
    client c = {.what = what, .events = epoll_create1(EPOLL_CLOEXEC)};
    int length = snprintf(c.request, sizeof c.request, "%s /%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                          what->method, what->name);
    c.request_length = (size_t)length;
    c.connections = calloc(what->connections, sizeof *c.connections);
    int error = c.events < 0 || c.connections == NULL ? -ENOMEM : run(&c);
    if (error == 0)
        error = sum_up(&c, ret_result);
    for (unsigned i = 0; c.connections != NULL && i < what->connections; i++)
        if (c.connections[i].fd > 0)
            (void)close(c.connections[i].fd);
    (void)close(c.events);
    free(c.connections);
    free(c.took);
    return error;
}
