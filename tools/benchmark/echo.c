/* SPDX-License-Identifier: MIT */
#include "echo.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM_BYTES = 256 * 1024 }; /* more than a message */

void echo_send_at_once(int fd)
{
    const int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* ---- who sends first ------------------------------------------------------------------------- */

typedef struct caller {
    const shape_run *run;
    int listener;
    bool is_anew; /* each message has a connection of its own */
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

static int call(caller *c, size_t i)
{
    c->fds[i] = sockets_connect(c->listener, 0);
    if (c->fds[i] < 0)
        return c->fds[i];
    echo_send_at_once(c->fds[i]);
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
    if (!c->is_anew)
        return send_message(c, i);
    (void)close(c->fds[i]);
    return call(c, i);
}

static int call_all(int listener, const shape_run *what, bool is_anew)
{
    caller c = {.run = what,
                .listener = listener,
                .is_anew = is_anew,
                .events = epoll_create1(0),
                .left = what->operations};
    c.arriving = calloc(what->of->count, sizeof *c.arriving);
    c.fds = calloc(what->of->count, sizeof *c.fds);
    int error = c.arriving != NULL && c.fds != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; i < what->of->count && error == 0; i++)
        error = call(&c, i);
    while (c.left > 0 && error == 0) {
        struct epoll_event ready[64];
        int count = epoll_wait(c.events, ready, sizeof ready / sizeof ready[0], -1);
        for (int i = 0; i < count && error == 0 && c.left > 0; i++)
            error = hear(&c, ready[i].data.u64);
    }
    return error;
}

int echo_call(int listener, void *run)
{
    return call_all(listener, run, false);
}

int echo_call_anew(int listener, void *run)
{
    return call_all(listener, run, true);
}

/* ---- who sends it back ----------------------------------------------------------------------- */

static int accept_one(int listener, int events)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return -errno;
    echo_send_at_once(fd);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
    return epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/*
 * A message fits into the socket's buffer, so that this never has to wait. Who calls leaves with
 * messages under way; if it had not had enough it would say so.
 */
static int send_back(int fd)
{
    static char data[ROOM_BYTES];
    ssize_t count = recv(fd, data, sizeof data, 0);
    bool is_back = count > 0 && send(fd, data, (size_t)count, MSG_NOSIGNAL) == count;
    return is_back ? 0 : close(fd);
}

int echo_answer(int listener, void *unused)
{
    (void)unused;
    int events = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    int error = epoll_ctl(events, EPOLL_CTL_ADD, listener, &event);
    while (error == 0) {
        struct epoll_event ready[64];
        int count = epoll_wait(events, ready, sizeof ready / sizeof ready[0], -1);
        for (int i = 0; i < count && error == 0; i++)
            error = ready[i].data.fd == listener ? accept_one(listener, events)
                                                 : send_back(ready[i].data.fd);
    }
    return error;
}
