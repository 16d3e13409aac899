/* SPDX-License-Identifier: MIT */
#include "page_cached.h"

#include "scratch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fill(int fd, size_t length)
{
    static char block[1 << 20];
    memset(block, 'f', sizeof block);
    while (length > 0) {
        ssize_t count = write(fd, block, length < sizeof block ? length : sizeof block);
        if (count < 0 && errno != EINTR)
            return -errno;
        length -= count > 0 ? (size_t)count : 0;
    }
    /* On the disk too, so that writing it back does not disturb the first rounds. */
    return fsync(fd) == 0 ? 0 : -errno;
}

int page_cached_file(size_t length)
{
    char path[PATH_MAX];
    int error = scratch_template(path, sizeof path);
    if (error != 0)
        return error;
    int fd = mkstemp(path);
    if (fd < 0)
        return -errno;
    error = unlink(path) == 0 ? fill(fd, length) : -errno;
    if (error == 0)
        return fd;
    (void)close(fd);
    return error;
}
