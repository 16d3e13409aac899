/* SPDX-License-Identifier: MIT */
/*
 * Connecting: to somebody who accepts and closes, many at a time; closed as soon as it is there.
 * Beside connect(2) without waiting, and epoll; one at a time beside a connect(2) that waits.
 */
#include "shape_kinds.h"

#include "helper.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096 }; /* more than are under way */

static int accept_all(int listener, void *context)
{
    (void)context;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
        (void)close(fd);
    return -errno;
}

/* The helper ends with the process. */
static int listen_in_helper(const shape_run *what)
{
    pid_t helper;
    int listener = sockets_listen(what->of->route, BACKLOG);
    int error = listener < 0 ? listener : helper_start(accept_all, listener, NULL, &helper);
    return error != 0 ? error : listener;
}

/* ---- epoll ----------------------------------------------------------------------------------- */

static int begin(int listener, int events)
{
    int fd = sockets_connect(listener, SOCK_NONBLOCK);
    if (fd < 0)
        return fd;
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.fd = fd};
    return epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int end(int fd)
{
    int error;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    (void)close(fd);
    return -error;
}

static int connect_all(const shape_run *what, int listener, int events)
{
    struct epoll_event ready[64];
    size_t begun = 0, ended = 0;
    int error = 0;
    while (ended < what->operations && error == 0) {
        for (; begun < what->operations && begun - ended < what->of->count && error == 0; begun++)
            error = begin(listener, events);
        int count = epoll_wait(events, ready, sizeof ready / sizeof ready[0], -1);
        for (int i = 0; i < count && error == 0; i++, ended++)
            error = end(ready[i].data.fd);
    }
    return error;
}

static int with_epoll(const shape_run *what, double ret_figures[FIGURES])
{
    int listener = listen_in_helper(what);
    if (listener < 0)
        return listener;
    stopwatch watch = stopwatch_start();
    int error = connect_all(what, listener, epoll_create1(EPOLL_CLOEXEC));
    shape_give(what, stopwatch_read(&watch), ret_figures);
    return error;
}

/* ---- one call after the other ---------------------------------------------------------------- */

static int with_connect(const shape_run *what, double ret_figures[FIGURES])
{
    int listener = listen_in_helper(what), error = 0;
    if (listener < 0)
        return listener;
    stopwatch watch = stopwatch_start();
    for (size_t i = 0; i < what->operations && error == 0; i++) {
        int fd = sockets_connect(listener, 0);
        error = fd < 0 ? fd : close(fd);
    }
    shape_give(what, stopwatch_read(&watch), ret_figures);
    return error;
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static int settle(ferry_promise *promise)
{
    ferry_result result;
    ferry_stream *stream;
    int error = ferry_promise_await(promise, -1, &result);
    if (error == 0)
        error = result.error;
    if (error == 0)
        error = ferry_promise_get_stream(promise, &stream);
    if (error == 0)
        (void)ferry_stream_unref(stream); /* the last one: closed */
    (void)ferry_promise_unref(promise);
    return error;
}

/* Awaits each when its place is needed again. */
static int connect_many(const shape_run *what, ferry_service *service, const char *address,
                        ferry_promise *window[])
{
    int error = 0;
    for (size_t i = 0; i < what->operations + what->of->count && error == 0; i++) {
        ferry_promise **place = &window[i % what->of->count];
        error = *place != NULL ? settle(*place) : 0;
        *place = NULL;
        if (i < what->operations && error == 0)
            error = ferry_connect(service, address, NULL, place);
    }
    return error;
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    int listener = listen_in_helper(what);
    if (listener < 0)
        return listener;
    char address[32];
    int error = sockets_address(listener, address, sizeof address);
    ferry_service *service;
    const ferry_service_options options = {.placement = FERRY_PLACEMENT_SHARED};
    if (error == 0)
        error = ferry_service_create(&options, &service);
    ferry_promise **window = calloc(what->of->count, sizeof(ferry_promise *));
    if (error != 0 || window == NULL)
        return error != 0 ? error : -ENOMEM;
    stopwatch watch = stopwatch_start();
    error = connect_many(what, service, address, window);
    shape_give(what, stopwatch_read(&watch), ret_figures);
    free(window);
    return error;
}

/* ---- the shapes ------------------------------------------------------------------------------ */

#define CONNECTING(title, text, connections, name_of_peer, peer)                                   \
    {                                                                                              \
        .name = title, .summary = text, SHAPE_FIGURES("connections/s"), .operations = 10 * 1000,   \
        .count = connections, .ways = {{name_of_peer, peer}, {"ferry", with_ferry}},               \
    }

const shape shape_connecting[] = {
    CONNECTING("connecting-1", "connect, close: one at a time, TCP", 1, "connect()", with_connect),
    CONNECTING("connecting-64", "connect, close: 64 at a time, TCP", 64, "epoll", with_epoll),
    {0},
};
