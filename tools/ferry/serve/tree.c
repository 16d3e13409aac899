/* SPDX-License-Identifier: MIT */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

/* @return an fd, or a negative errno. */
static int open_beneath(int root, const char *path, int flags)
{
    enum { TRIES = 8 }; /* -EAGAIN: somebody renamed on the way, and it could not be told */
    const struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    for (int i = 0; i < TRIES; i++) {
        long fd = syscall(SYS_openat2, root, *path != '\0' ? path : ".", &how, sizeof how);
        if (fd >= 0)
            return (int)fd;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return -EAGAIN;
}

/* Looks at an open file. @return fd; or, fd being closed, why not. */
static int check(int fd, struct stat *ret_status)
{
    if (fd < 0)
        return fd;
    int error = fstat(fd, ret_status) < 0                                      ? errno
                : S_ISREG(ret_status->st_mode) || S_ISDIR(ret_status->st_mode) ? 0
                                                                               : EACCES;
    if (error == 0)
        return fd;
    (void)close(fd);
    return -error;
}

int tree_open_root(const char *directory)
{
    int root = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -errno;
    struct stat status;
    int error = tree_look(root, "", &status);
    if (error == 0)
        return root;
    (void)close(root);
    return error;
}

int tree_open(int root, const char *path, struct stat *ret_status)
{
    return check(open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY), ret_status);
}

int tree_look(int root, const char *path, struct stat *ret_status)
{
    int fd = check(open_beneath(root, path, O_PATH), ret_status);
    if (fd < 0)
        return fd;
    (void)close(fd);
    return 0;
}
