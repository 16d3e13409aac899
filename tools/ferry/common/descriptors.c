/* SPDX-License-Identifier: MIT */
#include "descriptors.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* What takes a closed descriptor's place fails like that one, in reading and in writing: a transfer
 * to or from what is closed must not look as if it had succeeded. */
static void take_place(int fd)
{
    if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
        return;
    if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
        _exit(EXIT_FAILURE); /* there is nowhere to say so */
}

static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

void descriptors_begin(void)
{
    take_place(STDIN_FILENO);
    take_place(STDOUT_FILENO);
    take_place(STDERR_FILENO);
    raise_limit();
}

bool descriptors_may(int fd, bool write)
{
    int flags = fcntl(fd, F_GETFL);
    int access = flags & O_ACCMODE;
    if (flags >= 0 && (access == O_RDWR || access == (write ? O_WRONLY : O_RDONLY)))
        return true;
    errno = EBADF;
    return false;
}

void descriptors_end(void)
{
    bool has_failed = ferror(stdout) != 0;
    errno = EIO; /* nobody knows any more which error it was */
    if (fclose(stdout) == 0 && !has_failed)
        return;
    warn("standard output");
    _exit(EXIT_FAILURE);
}
