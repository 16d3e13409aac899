/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <errno.h>
#include <inttypes.h>
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

/* Reads a connection to its end. @return how many bytes, or a negative errno. */
static int64_t discard_all(int fd)
{
    static char scrap[1 << 20]; /* never written to: MSG_TRUNC. Its size bounds one call */
    int64_t total = 0;
    for (;;) {
        ssize_t count = recv(fd, scrap, sizeof scrap, MSG_TRUNC);
        if (count == 0)
            return total;
        if (count > 0)
            total += count;
        else if (errno != EINTR)
            return -errno;
    }
}

static bool serve_one(const peer *p, int counts)
{
    int fd = accept(p->listener, NULL, NULL);
    if (fd < 0)
        return false; /* the listener was shut down: the end */
    int64_t total = wake_at(fd, atomic_load(p->wake_bytes));
    if (total == 0)
        total = discard_all(fd);
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

static int make_listener(struct sockaddr_in *ret_address)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 1) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        int error = -errno;
        (void)close(fd);
        return error;
    }
    *ret_address = address;
    return fd;
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
    p.wake_bytes =
        mmap(NULL, sizeof *p.wake_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p.wake_bytes == MAP_FAILED)
        return -errno;
    peer_set_mood(&p, PEER_LAZY);
    p.listener = make_listener(&p.address);
    int error = p.listener < 0 ? p.listener : 0;
    if (error != 0)
        goto undo_map;
    int pipe_ends[2];
    error = pipe(pipe_ends) == 0 ? 0 : -errno;
    if (error != 0)
        goto undo_listener;
    p.counts = pipe_ends[0];
    error = fork_server(&p, pipe_ends);
    (void)close(pipe_ends[1]); /* then the peer's death shows as the pipe's end */
    if (error != 0)
        goto undo_pipe;
    *ret_peer = p;
    return 0;

undo_pipe:
    (void)close(p.counts);
undo_listener:
    (void)close(p.listener);
undo_map:
    (void)munmap(p.wake_bytes, sizeof *p.wake_bytes);
    return error;
}

void peer_set_mood(const peer *p, peer_mood mood)
{
    enum { LAZY_BYTES = 256 * 1024 }; /* less spreads bulk's ratios fivefold; more is slower */
    atomic_store(p->wake_bytes, mood == PEER_LAZY ? LAZY_BYTES : 1);
}

int peer_connect(const peer *p)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&p->address, sizeof p->address) == 0)
        return fd;
    int error = -errno;
    (void)close(fd);
    return error;
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
    (void)shutdown(p->listener, SHUT_RD);
    (void)close(p->listener);
    (void)close(p->counts);
    (void)munmap(p->wake_bytes, sizeof *p->wake_bytes);
    int status;
    while (waitpid(p->pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? 0 : -EIO;
}
