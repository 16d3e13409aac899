/* SPDX-License-Identifier: MIT */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* @return an fd, or a negative errno. */
static int open_beneath(int root, const char *path, int flags)
{
    enum { TRIES = 8 }; /* -EAGAIN: somebody renamed a folder on the way */
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

int tree_open_own_fds(void)
{
    return open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
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

static bool is_same(int one, int other)
{
    struct stat a, b;
    return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

int tree_follow_root(int root, const char *directory)
{
    int now = tree_open_root(directory);
    bool is_unknown = now == -EMFILE || now == -ENFILE || now == -ENOMEM;
    if (root >= 0 && (is_unknown || (now >= 0 && is_same(root, now)))) {
        if (now >= 0)
            (void)close(now);
        return root;
    }
    if (root >= 0)
        (void)close(root);
    return now;
}

/*
 * Opens for reading what an O_PATH fd stands for: the very same file, whatever its path names by
 * now.
 * @return an fd; -ENOENT: there is no /proc.
 */
static int open_place(int place, int own_fds, bool is_directory)
{
    enum { FLAGS = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC }; /* a lease is not waited for */
    if (!is_directory && own_fds < 0)
        return -ENOENT;
    char name[16];
    (void)snprintf(name, sizeof name, "%d", place);
    int fd = is_directory ? openat(place, ".", FLAGS | O_DIRECTORY) : openat(own_fds, name, FLAGS);
    return fd < 0 ? -errno : fd;
}

/*
 * Opening a fifo lets the program go on that waits to write into it, and a device may do anything.
 * So this looks first what it is, and then opens the very same. Without /proc it is opened by its
 * path, and has to be looked at again.
 */
int tree_open(int root, int own_fds, const char *path, struct stat *ret_status)
{
    int place = check(open_beneath(root, path, O_PATH), ret_status);
    if (place < 0)
        return place;
    int fd = open_place(place, own_fds, S_ISDIR(ret_status->st_mode));
    (void)close(place);
    if (fd == -ENOENT)
        fd = check(open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY), ret_status);
    return fd == -EAGAIN ? -EBUSY : fd;
}

int tree_look(int root, const char *path, struct stat *ret_status)
{
    int fd = check(open_beneath(root, path, O_PATH), ret_status);
    if (fd < 0)
        return fd;
    (void)close(fd);
    return 0;
}

bool tree_has_nothing(int root, const char *path)
{
    struct stat status; /* fstatat(2) takes "" for nothing, and it is the root */
    return *path != '\0' &&
           fstatat(root, path, &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0 &&
           errno == ENOENT;
}
