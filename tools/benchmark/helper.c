/* SPDX-License-Identifier: MIT */
#include "helper.h"

#include "contest.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* close_range(2), which musl has no function for. */
static void close_all(unsigned first, unsigned last)
{
    (void)syscall(SYS_close_range, first, last, 0);
}

static _Noreturn void help(int (*work)(int, void *), int fd, void *context, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(EXIT_FAILURE);
    if (fd > STDERR_FILENO + 1)
        close_all(STDERR_FILENO + 1, (unsigned)fd - 1);
    close_all((unsigned)fd + 1, ~0U);
    int error = work(fd, context);
    if (error != 0)
        (void)complain("a helper", error);
    _exit(error == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

int helper_start(int (*work)(int fd, void *context), int fd, void *context, pid_t *ret_helper)
{
    pid_t parent = getpid();
    pid_t helper = fork();
    if (helper < 0)
        return -errno;
    if (helper == 0)
        help(work, fd, context, parent);
    *ret_helper = helper;
    return 0;
}

int helper_join(pid_t helper)
{
    int status;
    while (waitpid(helper, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? 0 : -EIO;
}

/* ---- a source -------------------------------------------------------------------------------- */

static int send_zeros(int fd, size_t bytes)
{
    static const char zeros[256 * 1024]; /* what a call can hand over at once */
    while (bytes > 0) {
        ssize_t count = send(fd, zeros, bytes < sizeof zeros ? bytes : sizeof zeros, MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR)
            return -errno;
        bytes -= count > 0 ? (size_t)count : 0;
    }
    return 0;
}

static int be_source(int listener, void *context)
{
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return -errno;
    int error = send_zeros(fd, *(const size_t *)context);
    (void)close(fd);
    return error;
}

int helper_start_source(socket_route route, size_t bytes, pid_t *ret_helper)
{
    int listener = sockets_listen(route, 1);
    if (listener < 0)
        return listener;
    int error = helper_start(be_source, listener, &bytes, ret_helper);
    int fd = error == 0 ? sockets_connect(listener, 0) : error;
    (void)close(listener);
    return fd;
}

/* ---- a sink ---------------------------------------------------------------------------------- */

typedef struct sink {
    size_t connections; /* that have not ended */
    size_t bytes;       /* that are still to come */
} sink;

static int watch(int events, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return fd < 0 || epoll_ctl(events, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int discard(sink *s, int fd)
{
    static char scrap[1 << 20]; /* TCP never writes to it: MSG_TRUNC */
    ssize_t count = recv(fd, scrap, sizeof scrap, MSG_TRUNC);
    if (count < 0)
        return -errno;
    s->bytes -= (size_t)count;
    if (count > 0)
        return 0;
    s->connections--;
    return close(fd);
}

static int discard_ready(sink *s, int listener, int events)
{
    struct epoll_event ready[64];
    int count = epoll_wait(events, ready, sizeof ready / sizeof ready[0], -1);
    int error = count < 0 && errno != EINTR ? -errno : 0;
    for (int i = 0; i < count && error == 0; i++)
        error = ready[i].data.fd == listener ? watch(events, accept(listener, NULL, NULL))
                                             : discard(s, ready[i].data.fd);
    return error;
}

static int be_sink(int listener, void *context)
{
    sink s = *(const sink *)context;
    bool is_counted = s.bytes != ANY_BYTES;
    int events = epoll_create1(0);
    int error = watch(events, listener);
    while (error == 0 && s.connections > 0)
        error = discard_ready(&s, listener, events);
    return error != 0 ? error : s.bytes == 0 || !is_counted ? 0 : -EBADMSG;
}

int helper_start_sink(socket_route route, size_t connections, size_t bytes, pid_t *ret_helper)
{
    sink s = {connections, bytes};
    int listener = sockets_listen(route, (int)connections);
    int error = listener < 0 ? listener : helper_start(be_sink, listener, &s, ret_helper);
    return error != 0 ? error : listener;
}
