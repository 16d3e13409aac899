/* SPDX-License-Identifier: MIT */
/*
 * A proxy: small messages to and fro through two relays for each client, who stays or comes for one
 * message; beside one thread with an epoll set, which receives and sends on.
 */
#include "shape_kinds.h"

#include "echo.h"
#include "helper.h"
#include "peer_stream.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_FDS = 1024 };

/* Between the two helpers. */
typedef struct proxy {
    int clients;      /* listens for those who call */
    int server;       /* the socket of who answers; its address */
    int to[MOST_FDS]; /* of the thread: where what comes on a descriptor goes; -1: nowhere more */
    ferry_service *service;
    char address[32]; /* the server's, for ferry */
} proxy;

/* For a client that has come. @return the socket to the server, or a negative errno. */
static int connect_on(const proxy *p, int flags)
{
    int fd = sockets_connect(p->server, flags);
    if (fd >= 0)
        echo_send_at_once(fd);
    return fd;
}

/* ---- a thread -------------------------------------------------------------------------------- */

static int watch(proxy *p, int events, int fd, int to)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= MOST_FDS)
        return -EMFILE;
    p->to[fd] = to;
    return epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int accept_one(proxy *p, int events)
{
    int client = accept4(p->clients, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return -errno;
    echo_send_at_once(client);
    int server = connect_on(p, 0);
    int error = server < 0 ? server : watch(p, events, client, server);
    return error != 0 ? error : watch(p, events, server, client);
}

static int pass_end_on(proxy *p, int from)
{
    int to = p->to[from];
    if (to >= 0) {
        (void)shutdown(to, SHUT_WR);
        p->to[to] = -1;
    }
    return close(from);
}

/* A message fits into the socket's buffer, so that this never waits. */
static int pass_on(proxy *p, int from)
{
    static char data[64 * 1024];
    ssize_t count = recv(from, data, sizeof data, 0);
    bool is_on = count > 0 && p->to[from] >= 0 &&
                 send(p->to[from], data, (size_t)count, MSG_NOSIGNAL) == count;
    return is_on ? 0 : pass_end_on(p, from);
}

static void *pass_all_on(void *context)
{
    proxy *p = context;
    int events = epoll_create1(EPOLL_CLOEXEC);
    int error = watch(p, events, p->clients, -1);
    while (error == 0) {
        struct epoll_event ready[64];
        int count = epoll_wait(events, ready, sizeof ready / sizeof ready[0], -1);
        for (int i = 0; i < count && error == 0; i++)
            error = ready[i].data.fd == p->clients ? accept_one(p, events)
                                                   : pass_on(p, ready[i].data.fd);
    }
    (void)complain("proxy", error);
    exit(EXIT_FAILURE);
}

static int start_thread(proxy *p)
{
    pthread_t thread;
    return -pthread_create(&thread, NULL, pass_all_on, p);
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static int relay_both(ferry_stream *client, ferry_stream *server)
{
    int error = ferry_stream_relay(client, server, FERRY_TO_END, 0, NULL, NULL);
    return error != 0 ? error : ferry_stream_relay(server, client, FERRY_TO_END, 0, NULL, NULL);
}

/* Both are closed once both relays are over: these have the last references. */
static void on_connected(ferry_promise *promise, const ferry_result *result, void *client)
{
    ferry_stream *server;
    int error = result->error != 0 ? result->error : ferry_promise_get_stream(promise, &server);
    if (error == 0) {
        error = relay_both(client, server);
        (void)ferry_stream_unref(server);
    }
    if (error != 0)
        (void)complain("proxy", error);
    (void)ferry_stream_unref(client);
}

static const ferry_stream_options at_once = {.no_delay = true};

static void on_stream(ferry_listener *listener, ferry_stream *client, void *arg)
{
    (void)listener;
    const proxy *p = arg;
    const ferry_connect_options options = {
        .stream = &at_once, .on_owner = on_connected, .on_owner_arg = ferry_stream_ref(client)};
    int error = ferry_connect(p->service, p->address, &options, NULL);
    if (error != 0)
        (void)complain("proxy", error);
}

static int start_ferry(proxy *p)
{
    int error = service_with_one_owner(&p->service);
    if (error == 0)
        error = sockets_address(p->server, p->address, sizeof p->address);
    if (error != 0)
        return error;
    char address[16];
    (void)snprintf(address, sizeof address, "fd:%d", p->clients);
    const ferry_listen_options options = {
        .on_stream = on_stream,
        .on_stream_arg = p,
        .on_owner = true,
        .stream = &at_once,
    };
    ferry_listener *listening;
    return ferry_listen(p->service, address, &options, &listening);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

static int run(const shape_run *what, int (*start)(proxy *p), double ret_figures[FIGURES])
{
    static proxy p;
    pid_t answers, calls;
    p.clients = sockets_listen(what->of->route, SHAPE_BACKLOG);
    p.server = sockets_listen(what->of->route, SHAPE_BACKLOG);
    if (p.clients < 0 || p.server < 0)
        return -EMFILE;
    int error = helper_start(echo_answer, p.server, NULL, &answers); /* it ends with the process */
    if (error == 0)
        error = helper_start(what->of->detail != NULL ? echo_call_anew : echo_call, p.clients,
                             (void *)(uintptr_t)what, &calls);
    stopwatch watch = stopwatch_start();
    if (error == 0)
        error = start(&p);
    if (error == 0)
        error = helper_join(calls);
    shape_give(what, stopwatch_read(&watch), ret_figures);
    return error;
}

static int with_thread(const shape_run *what, double ret_figures[FIGURES])
{
    return run(what, start_thread, ret_figures);
}

static int with_relays(const shape_run *what, double ret_figures[FIGURES])
{
    return run(what, start_ferry, ret_figures);
}

static const bool anew = true; /* a connection for each message */

#define PROXY(title, text, messages, how)                                                          \
    {                                                                                              \
        .name = title, .summary = text, SHAPE_FIGURES("messages/s"), .operations = messages,       \
        .count = 64, .bytes = 1024, .detail = how,                                                 \
        .ways = {{"an epoll thread", with_thread}, {"ferry", with_relays}},                        \
    }

const shape shape_proxy[] = {
    PROXY("proxy", "messages of 1 KiB to and fro, 64 clients, TCP", 40 * 1000, NULL),
    PROXY("proxy-short", "the same, each by a connection of its own", 10 * 1000, &anew),
    {0},
};
