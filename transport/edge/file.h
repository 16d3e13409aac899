/* SPDX-License-Identifier: MIT */
/*
 * What a ferry_file names, whichever way its bytes go: checking, taking and opening it. Sources
 * (transport/edge/source.h) and targets (transport/edge/target.h) use this.
 *
 * The fds of a file: its own, and its dirfd; duplicates, unless they are lent or given.
 */
#ifndef FERRY_TRANSPORT_EDGE_FILE_H
#define FERRY_TRANSPORT_EDGE_FILE_H

#include "core/calls.h"

#include <fcntl.h>
#include <ferry/file.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

/* A shared file: constant from its opening on (shared_file.c), but for the references. */
struct ferry_shared_file {
    atomic_uint refs;
    int fd;
    bool is_borrowed;   /* the program closes fd */
    struct stat status; /* as it was opened */
};

/* They say who closes fd. At most one of them is set. */
#define FERRY__FD_FLAGS (FERRY_FD_GIVE | FERRY_FD_BORROW)

/*
 * Any thread. @return 0; -EINVAL: negative, and no constant; -EOVERFLOW: it ends beyond counting.
 */
int ferry__file_check_range(int64_t offset, int64_t length);

/* Any thread. A close-on-exec duplicate. @return it, or a negative errno. */
int ferry__file_duplicate(int fd, ferry__calls *calls);

/*
 * At submit, once it is checked. Takes the fd, or, if the file is named by a path, the dirfd.
 * @param ret_fd, ret_mode the fd, and its F_GETFL of fcntl(2): left alone if there is no fd.
 * @param ret_dirfd left alone if there is none to take.
 * @return 0, or a negative errno with nothing taken.
 */
int ferry__file_take(const ferry_file *file, ferry__calls *calls, int *ret_fd, int *ret_mode,
                     int *ret_dirfd);

/* Whether an fd's mode is another than the one that is refused: O_RDONLY, or O_WRONLY. */
static inline bool ferry__file_is_usable(int mode, int refused)
{
    return (mode & O_ACCMODE) != refused && (mode & O_PATH) == 0;
}

/* Closes what was taken or opened since, as flags say. */
void ferry__file_close(int *fd, int *dirfd, unsigned flags);

/*
 * On the owner. Opens a path; FERRY_FILE_BENEATH in flags counts.
 * @param how open(2)'s flags, close-on-exec and the like beside: O_RDONLY, O_WRONLY | O_CREAT, ...
 * @return an fd, or a negative errno.
 */
int ferry__file_open(int dirfd, const char *path, int how, unsigned flags, ferry__calls *calls);

#endif
