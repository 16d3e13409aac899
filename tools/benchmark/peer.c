/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- in the process -------------------------------------------------------------------------- */

static int wake_at(int fd, int bytes)
{
    return setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes) == 0 ? 0 : -errno;
}

/* How a mood takes what comes. */
static const struct {
    int wake_bytes;
    size_t step; /* bytes a call */
    useconds_t rest_us;
} moods[] = {
    /* Less to wake for spreads bulk's ratios fivefold; more is slower. */
    [PEER_LAZY] = {256 * 1024, 1 << 20, 0},
    [PEER_EAGER] = {1, 1 << 20, 0},
    [PEER_SLOW] = {1, 64 * 1024, 500},
};

/* Reads a connection to its end. @return how many bytes, or a negative errno. */
static int64_t discard_all(int fd, peer_mood mood)
{
    static char scrap[1 << 20]; /* TCP never writes to it: MSG_TRUNC */
    int64_t total = 0;
    for (;;) {
        ssize_t count = recv(fd, scrap, moods[mood].step, MSG_TRUNC);
        if (count == 0)
            return total;
        if (count > 0)
            total += count;
        else if (errno != EINTR)
            return -errno;
        if (moods[mood].rest_us > 0)
            (void)usleep(moods[mood].rest_us);
    }
}

/* @return the next connection, whichever way it comes; -1: a listener was shut down. */
static int accept_any(const peer *p)
{
    struct pollfd ready[ROUTES];
    for (int i = 0; i < ROUTES; i++)
        ready[i] = (struct pollfd){.fd = p->listeners[i], .events = POLLIN};
    if (poll(ready, ROUTES, -1) < 0)
        return -1;
    return accept(ready[ready[ROUTE_TCP].revents != 0 ? ROUTE_TCP : ROUTE_UNIX].fd, NULL, NULL);
}

static bool serve_one(const peer *p, int counts)
{
    int fd = accept_any(p);
    if (fd < 0)
        return false; /* the end */
    peer_mood mood = (peer_mood)atomic_load(p->mood);
    int64_t total = wake_at(fd, moods[mood].wake_bytes);
    if (total == 0)
        total = discard_all(fd, mood);
    (void)close(fd);
    return write(counts, &total, sizeof total) == (ssize_t)sizeof total;
}

static _Noreturn void serve(const peer *p, int counts, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(EXIT_FAILURE);
    while (serve_one(p, counts)) {
    }
    _exit(EXIT_SUCCESS);
}

/* ---- in the benchmark ------------------------------------------------------------------------ */

static void close_listeners(const peer *p)
{
    for (int i = 0; i < ROUTES; i++)
        if (p->listeners[i] >= 0)
            (void)close(p->listeners[i]);
}

static int make_listeners(peer *p)
{
    int error = 0;
    for (int i = 0; i < ROUTES; i++) {
        p->listeners[i] = error == 0 ? sockets_listen((socket_route)i, 1) : -1;
        error = error == 0 && p->listeners[i] < 0 ? p->listeners[i] : error;
    }
    if (error != 0)
        close_listeners(p);
    return error;
}

static int fork_server(peer *p, const int pipe_ends[2])
{
    pid_t parent = getpid();
    p->pid = fork();
    if (p->pid < 0)
        return -errno;
    if (p->pid == 0) {
        (void)close(pipe_ends[0]);
        serve(p, pipe_ends[1], parent);
    }
    return 0;
}

int peer_start(peer *ret_peer)
{
    peer p = {0};
    p.mood = mmap(NULL, sizeof *p.mood, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p.mood == MAP_FAILED)
        return -errno;
    peer_set_mood(&p, PEER_LAZY);
    int error = make_listeners(&p);
    if (error != 0)
        goto undo_map;
    int pipe_ends[2];
    error = pipe(pipe_ends) == 0 ? 0 : -errno;
    if (error != 0)
        goto undo_listeners;
    p.counts = pipe_ends[0];
    error = fork_server(&p, pipe_ends);
    (void)close(pipe_ends[1]); /* then the peer's death shows as the pipe's end */
    if (error != 0)
        goto undo_pipe;
    *ret_peer = p;
    return 0;

undo_pipe:
    (void)close(p.counts);
undo_listeners:
    close_listeners(&p);
undo_map:
    (void)munmap(p.mood, sizeof *p.mood);
    return error;
}

void peer_set_mood(const peer *p, peer_mood mood)
{
    atomic_store(p->mood, mood);
}

int peer_connect(const peer *p)
{
    return sockets_connect(p->listeners[p->route], 0);
}

int peer_check(const peer *p, uint64_t expected)
{
    int64_t total;
    ssize_t count;
    do
        count = read(p->counts, &total, sizeof total);
    while (count < 0 && errno == EINTR);
    if (count != (ssize_t)sizeof total)
        return count < 0 ? -errno : -EPIPE;
    if (total < 0)
        return (int)total;
    if ((uint64_t)total == expected)
        return 0;
    (void)fprintf(stderr, "ferry-bench: the peer got %" PRId64 " bytes, not %" PRIu64 "\n", total,
                  expected);
    return -EBADMSG;
}

int peer_stop(peer *p)
{
    (void)shutdown(p->listeners[ROUTE_TCP], SHUT_RD);
    close_listeners(p);
    (void)close(p->counts);
    (void)munmap(p->mood, sizeof *p->mood);
    int status;
    while (waitpid(p->pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? 0 : -EIO;
}
