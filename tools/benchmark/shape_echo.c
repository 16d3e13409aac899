/* SPDX-License-Identifier: MIT */
/*
 * Echo: many connections that each send, wait for it to come back, and send again. Read on the
 * stream's owner, and by the thread that set the reader; beside one thread with an epoll set.
 */
#include "shape_kinds.h"

#include "helper.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,         /* more connections than there are */
    ROOM_BYTES = 256 * 1024 /* more than a message */
};

static void send_at_once(int fd)
{
    const int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* ---- who sends first ------------------------------------------------------------------------- */

typedef struct caller {
    const shape_run *run;
    int events;
    size_t left;      /* messages that are still to come back, of all connections */
    size_t *arriving; /* of each connection's message: bytes that are still to come back */
    int *fds;
} caller;

static int send_message(caller *c, size_t i)
{
    static const char message[ROOM_BYTES];
    c->arriving[i] = c->run->of->bytes;
    ssize_t count = send(c->fds[i], message, c->arriving[i], MSG_NOSIGNAL);
    return count == (ssize_t)c->arriving[i] ? 0 : -EPIPE;
}

static int call(caller *c, int listener, size_t i)
{
    c->fds[i] = sockets_connect(listener, 0);
    if (c->fds[i] < 0)
        return c->fds[i];
    send_at_once(c->fds[i]);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
    if (epoll_ctl(c->events, EPOLL_CTL_ADD, c->fds[i], &event) < 0)
        return -errno;
    return send_message(c, i);
}

static int hear(caller *c, size_t i)
{
    static char data[ROOM_BYTES];
    ssize_t count = recv(c->fds[i], data, sizeof data, 0);
    if (count <= 0 || (size_t)count > c->arriving[i])
        return count < 0 ? -errno : -EBADMSG;
    c->arriving[i] -= (size_t)count;
    if (c->arriving[i] > 0 || --c->left == 0)
        return 0;
    return send_message(c, i);
}

static int call_all(int listener, void *context)
{
    const shape_run *what = context;
    caller c = {.run = what, .events = epoll_create1(0), .left = what->operations};
    c.arriving = calloc(what->of->count, sizeof *c.arriving);
    c.fds = calloc(what->of->count, sizeof *c.fds);
    int error = c.arriving != NULL && c.fds != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; i < what->of->count && error == 0; i++)
        error = call(&c, listener, i);
    while (c.left > 0 && error == 0) {
        struct epoll_event ready[64];
        int count = epoll_wait(c.events, ready, sizeof ready / sizeof ready[0], -1);
        for (int i = 0; i < count && error == 0 && c.left > 0; i++)
            error = hear(&c, ready[i].data.u64);
    }
    return error;
}

/* ---- who sends it back ----------------------------------------------------------------------- */

static int accept_one(int listener, int events)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return -errno;
    send_at_once(fd);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
    return epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/* A message fits into the socket's buffer, so that this never has to wait. */
static int send_back(int fd)
{
    static char data[ROOM_BYTES];
    ssize_t count = recv(fd, data, sizeof data, 0);
    if (count <= 0)
        return close(fd);
    return send(fd, data, (size_t)count, MSG_NOSIGNAL) == count ? 0 : -EPIPE;
}

static void *send_all_back(void *context)
{
    int listener = *(const int *)context, events = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    int error = epoll_ctl(events, EPOLL_CTL_ADD, listener, &event);
    while (error == 0) {
        struct epoll_event ready[64];
        int count = epoll_wait(events, ready, sizeof ready / sizeof ready[0], -1);
        for (int i = 0; i < count && error == 0; i++)
            error = ready[i].data.fd == listener ? accept_one(listener, events)
                                                 : send_back(ready[i].data.fd);
    }
    (void)complain("echo", error);
    exit(EXIT_FAILURE);
}

static int start_thread(int *listener)
{
    pthread_t thread;
    return -pthread_create(&thread, NULL, send_all_back, listener);
}

static size_t echo(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg)
{
    (void)at_end;
    (void)arg;
    (void)ferry_stream_write(stream, data, length, NULL, NULL);
    return length;
}

static void on_stream(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    (void)listener;
    const ferry_reader reader = {
        .on_read = echo, .on_owner = arg != NULL, .high_bytes = ROOM_BYTES};
    (void)ferry_stream_set_reader(stream, &reader);
}

static int start_ferry(int listener, bool on_owner)
{
    ferry_service *service;
    const ferry_service_options with = {.placement = FERRY_SHARED, .shared_owners = 1};
    int error = ferry_service_create(&with, &service);
    if (error != 0)
        return error;
    char address[16];
    (void)snprintf(address, sizeof address, "fd:%d", listener);
    static bool is_on_owner = true; /* what the argument points to, if so */
    const ferry_listen_options options = {
        .on_stream = on_stream,
        .on_stream_arg = on_owner ? &is_on_owner : NULL,
        .on_owner = on_owner,
        .stream = &(ferry_stream_options){.no_delay = true},
    };
    ferry_listener *listening;
    return ferry_listen(service, address, &options, &listening);
}

static int start_on_owner(int *listener)
{
    return start_ferry(*listener, true);
}

/* The thread that reads: it goes on until the process ends. */
static void *read_at_home(void *context)
{
    int error = start_ferry(*(const int *)context, false);
    while (error >= 0)
        error = ferry_inbox_run(-1);
    (void)complain("echo", error);
    exit(EXIT_FAILURE);
}

static int start_at_home(int *listener)
{
    pthread_t thread;
    return -pthread_create(&thread, NULL, read_at_home, listener);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

static int run(const shape_run *what, int (*start)(int *listener), double ret_figures[FIGURES])
{
    int listener = sockets_listen(what->of->route, BACKLOG);
    if (listener < 0)
        return listener;
    stopwatch watch = stopwatch_start();
    pid_t helper;
    int error = helper_start(call_all, listener, (void *)(uintptr_t)what, &helper);
    if (error == 0)
        error = start(&listener);
    if (error == 0)
        error = helper_join(helper);
    shape_give(what, stopwatch_read(&watch), ret_figures);
    return error;
}

static int with_thread(const shape_run *what, double ret_figures[FIGURES])
{
    return run(what, start_thread, ret_figures);
}

static int with_owner(const shape_run *what, double ret_figures[FIGURES])
{
    return run(what, start_on_owner, ret_figures);
}

static int with_home(const shape_run *what, double ret_figures[FIGURES])
{
    return run(what, start_at_home, ret_figures);
}

#define ECHO(title, text, length, times, how)                                                      \
    {                                                                                              \
        .name = title, .summary = text, SHAPE_FIGURES("echoes/s"), .operations = times,            \
        .count = 64, .bytes = length, .ways = {{"an epoll thread", with_thread}, {"ferry", how}},  \
    }

const shape shape_echo[] = {
    ECHO("echo-64", "echo of 64 bytes, 64 connections, on the owner", 64, 80 * 1000, with_owner),
    ECHO("echo-16k", "echo of 16 KiB, 64 connections, on the owner", 16 << 10, 20 * 1000,
         with_owner),
    ECHO("echo-home", "echo of 64 bytes, 64 connections, by the thread that set the reader", 64,
         80 * 1000, with_home),
    {0},
};
