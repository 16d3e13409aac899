/* SPDX-License-Identifier: MIT */
/*
 * Short connections: each is accepted, answered with 64 bytes and closed, many at a time. Beside as
 * many epoll threads as ferry has owners: one for each core.
 */
#include "shape_kinds.h"

#include "cores.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char answer[64] = "an answer that fits into one segment";

/* ---- who asks -------------------------------------------------------------------------------- */

typedef struct asker {
    int listener;
    int events;  /* an epoll set */
    size_t left; /* connections that are still to be made */
    size_t under_way;
} asker;

static int connect_one(asker *a)
{
    int fd = sockets_connect(a->listener, SOCK_NONBLOCK);
    if (fd < 0)
        return fd;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(a->events, EPOLL_CTL_ADD, fd, &event) < 0)
        return -errno;
    a->left--;
    a->under_way++;
    return 0;
}

/* Reads on. @return 1: it has all been read; 0: there will be more; or a negative errno. */
static int read_on(int fd)
{
    char data[2 * sizeof answer];
    for (ssize_t count; (count = recv(fd, data, sizeof data, 0)) != 0;) {
        if (count < 0)
            return errno == EAGAIN ? 0 : -errno;
        if (count != sizeof answer)
            return -EBADMSG;
    }
    return 1;
}

/* A connection that is over makes room for another. */
static int go_on(asker *a, int fd)
{
    int ended = read_on(fd);
    if (ended <= 0)
        return ended;
    (void)close(fd);
    a->under_way--;
    return a->left > 0 ? connect_one(a) : 0;
}

static int wait_once(asker *a)
{
    struct epoll_event events[64];
    int count = epoll_wait(a->events, events, sizeof events / sizeof events[0], -1);
    int error = count < 0 && errno != EINTR ? -errno : 0;
    for (int i = 0; i < count && error == 0; i++)
        error = go_on(a, events[i].data.fd);
    return error;
}

static int ask_all(int listener, void *context)
{
    const shape_run *what = context;
    asker a = {.listener = listener, .events = epoll_create1(0), .left = what->operations};
    int error = 0;
    while (error == 0 && a.left > 0 && a.under_way < what->of->count)
        error = connect_one(&a);
    while (error == 0 && a.under_way > 0)
        error = wait_once(&a);
    return error;
}

/* ---- who answers ----------------------------------------------------------------------------- */

static void answer_waiting(int listener)
{
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        (void)send(fd, answer, sizeof answer, MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR);
        (void)close(fd);
    }
}

static void *answer_all(void *context)
{
    int listener = *(const int *)context, events = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE};
    (void)epoll_ctl(events, EPOLL_CTL_ADD, listener, &event);
    while (epoll_wait(events, &event, 1, -1) >= 0)
        answer_waiting(listener);
    return NULL;
}

/* They go on until the process ends. */
static int start_threads(int *listener)
{
    cores all;
    int error = cores_look(&all);
    if (error == 0 && fcntl(*listener, F_SETFL, O_NONBLOCK) < 0)
        error = -errno;
    for (unsigned i = 0; i < all.count && error == 0; i++) {
        pthread_t thread;
        error = -pthread_create(&thread, NULL, answer_all, listener);
    }
    return error;
}

static void on_stream(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    (void)listener;
    (void)arg;
    /* Nobody keeps it: it is closed behind that. */
    (void)ferry_stream_write(stream, answer, sizeof answer, NULL, NULL);
}

static int start_ferry(int listener, ferry_placement placement)
{
    ferry_service *service;
    int error = ferry_service_create(&(ferry_service_options){.placement = placement}, &service);
    if (error != 0)
        return error;
    char address[16];
    (void)snprintf(address, sizeof address, "fd:%d", listener);
    ferry_listener *listening;
    const ferry_listen_options options = {.on_stream = on_stream, .on_owner = true};
    return ferry_listen(service, address, &options, &listening);
}

static int start_shared(int *listener)
{
    return start_ferry(*listener, FERRY_PLACEMENT_SHARED);
}

static int start_dedicated(int *listener)
{
    return start_ferry(*listener, FERRY_PLACEMENT_DEDICATED);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

static int with_threads(const shape_run *what, double ret_figures[FIGURES])
{
    return shape_serve(what, ask_all, start_threads, ret_figures);
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    return shape_serve(what, ask_all, start_shared, ret_figures);
}

static int with_dedicated(const shape_run *what, double ret_figures[FIGURES])
{
    return shape_serve(what, ask_all, start_dedicated, ret_figures);
}

#define SHORT(title, text, connections, times, how)                                                \
    {                                                                                              \
        .name = title, .summary = text, SHAPE_FIGURES("connections/s"), .operations = times,       \
        .count = connections, .ways = {{"epoll threads", with_threads}, {"ferry", how}},           \
    }

const shape shape_short[] = {
    SHORT("short-1", "accept, answer, close: one at a time", 1, 16000, with_ferry),
    SHORT("short-16", "accept, answer, close: 16 at a time", 16, 16000, with_ferry),
    SHORT("short-64", "accept, answer, close: 64 at a time", 64, 16000, with_ferry),
    SHORT("short-256", "accept, answer, close: 256 at a time", 256, 16000, with_ferry),
    SHORT("short-dedicated", "accept, answer, close: one at a time, an owner each", 1, 8000,
          with_dedicated),
    {0},
};
