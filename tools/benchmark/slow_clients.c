/* SPDX-License-Identifier: MIT */
#include "slow_clients.h"

#include "fetch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    STEP_BYTES = 1024,
    TICKS = 10 /* a second: each serves a tenth of them */
};

/* With as small a buffer as there is: what is not read waits at the server. */
static int begin(unsigned port, const char *name)
{
    char first;
    int fd = fetch_begin(port, name, 1);
    return fd < 0 || recv(fd, &first, 1, 0) == 1 ? fd : -EIO;
}

/* Whether it is still being served. */
static bool read_some(int fd)
{
    char step[STEP_BYTES];
    ssize_t count = recv(fd, step, sizeof step, MSG_DONTWAIT);
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR));
}

/* The process: says on the pipe once all have begun, and reads until it is killed. */
static int read_slowly(unsigned port, const char *name, unsigned count, int begun)
{
    int *fds = calloc(count, sizeof *fds);
    if (fds == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        fds[i] = begin(port, name);
        if (fds[i] < 0)
            return fds[i];
    }
    if (write(begun, "", 1) != 1)
        return -errno;
    for (unsigned tick = 0;; tick++) {
        (void)poll(NULL, 0, 1000 / TICKS);
        for (unsigned i = tick % TICKS; i < count; i += TICKS)
            if (!read_some(fds[i]))
                return -EIO;
    }
}

static _Noreturn void become(unsigned port, const char *name, unsigned count, int begun)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        _exit(EXIT_FAILURE);
    (void)read_slowly(port, name, count, begun);
    _exit(EXIT_FAILURE);
}

int slow_clients_start(unsigned port, const char *name, unsigned count, pid_t *ret_pid)
{
    int ends[2];
    if (pipe(ends) < 0)
        return -errno;
    pid_t pid = fork();
    int error = pid < 0 ? -errno : 0;
    if (pid == 0)
        become(port, name, count, ends[1]);
    (void)close(ends[1]);
    char begun;
    if (error == 0 && read(ends[0], &begun, 1) != 1) {
        (void)slow_clients_stop(pid);
        error = -EIO;
    }
    (void)close(ends[0]);
    if (error == 0)
        *ret_pid = pid;
    return error;
}

int slow_clients_stop(pid_t pid)
{
    int status;
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFSIGNALED(status) ? 0 : -EIO;
}
