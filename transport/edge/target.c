/* SPDX-License-Identifier: MIT */
#include "transport/edge/target.h"

#include "core/cancel.h"
#include "core/libc.h"
#include "core/reserved.h"
#include "transport/edge/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- at submit ------------------------------------------------------------------------------- */

static int check_flags(const ferry_file *file)
{
    unsigned allowed = FERRY_FILE_ZERO_COPY | FERRY__FD_FLAGS;
    if (file->path != NULL)
        allowed = FERRY_FILE_ZERO_COPY | FERRY_FILE_BENEATH | FERRY_FILE_CREATE |
                  FERRY_FILE_EXCLUSIVE | FERRY_FILE_TRUNCATE;
    bool is_exclusive = (file->flags & FERRY_FILE_EXCLUSIVE) != 0;
    if ((file->flags & ~allowed) != 0 || (file->flags & FERRY__FD_FLAGS) == FERRY__FD_FLAGS ||
        (is_exclusive && (file->flags & FERRY_FILE_CREATE) == 0))
        return -EINVAL;
    return 0;
}

int ferry__target_check(const ferry_file *file)
{
    if ((file->path != NULL) + (file->fd >= 0) != 1 || file->shared != NULL || file->resume != NULL)
        return -EINVAL;
    if (FERRY__IS_NEWER(file))
        return -E2BIG;
    int error = check_flags(file);
    return error != 0 ? error : ferry__file_check_range(file->offset, file->length);
}

int ferry__target_take(ferry__target *target, const ferry_file *file, const char *path,
                       ferry__calls *calls)
{
    *target = (ferry__target){
        .path = path,
        .dirfd = FERRY_CWD,
        .fd = -1,
        .buffered_fd = -1,
        .mode = O_WRONLY,
        .flags = file->flags,
        .offset = file->offset,
    };
    return ferry__file_take(file, calls, &target->fd, &target->mode, &target->dirfd);
}

/* ---- on the owner ---------------------------------------------------------------------------- */

static int open_path(ferry__target *target, ferry__calls *calls)
{
    int how = O_WRONLY;
    if ((target->flags & FERRY_FILE_CREATE) != 0)
        how |= O_CREAT;
    if ((target->flags & FERRY_FILE_EXCLUSIVE) != 0)
        how |= O_EXCL;
    if ((target->flags & FERRY_FILE_TRUNCATE) != 0)
        how |= O_TRUNC;
    int fd = ferry__file_open(target->dirfd, target->path, how, target->flags, calls);
    if (fd < 0)
        return fd;
    target->fd = fd;
    return 0;
}

/* Whether a write to it never waits for anybody: the owner must not be held up. */
static bool is_storage(int fd, mode_t mode)
{
    return S_ISREG(mode) || S_ISBLK(mode) || (S_ISCHR(mode) && !isatty(fd));
}

/* A file that O_DIRECT was set for. @return whether it could be opened without. */
static bool open_buffered(ferry__target *target)
{
    int flags = target->buffered_fd < 0 ? fcntl(target->fd, F_GETFL) : 0; /* as they are now */
    if (flags < 0 || (flags & O_DIRECT) == 0)
        return false;
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", target->fd);
    target->buffered_fd =
        open(path, (flags & (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC)) | O_NONBLOCK | O_CLOEXEC);
    return target->buffered_fd >= 0;
}

/* Of files and disks a write says so itself. A device may take it nevertheless. */
static bool has_no_places(int fd, mode_t mode)
{
    return S_ISCHR(mode) && lseek(fd, 0, SEEK_CUR) < 0;
}

int ferry__target_open(ferry__target *target, ferry__calls *calls)
{
    int error = target->path != NULL && target->fd < 0 ? open_path(target, calls) : 0;
    if (error != 0)
        return error;
    struct stat status;
    if (TEMP_FAILURE_RETRY(calls->fstat(calls, target->fd, &status)) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if (!ferry__file_is_usable(target->mode, O_RDONLY))
        return -EBADF;
    if (!is_storage(target->fd, status.st_mode))
        return -EOPNOTSUPP;
    if (target->offset != FERRY_CURRENT && has_no_places(target->fd, status.st_mode))
        return -ESPIPE;
    if ((target->mode & O_DIRECT) != 0)
        (void)open_buffered(target);
    return 0;
}

static int fd_of(const ferry__target *target)
{
    return target->buffered_fd >= 0 ? target->buffered_fd : target->fd;
}

/* Where the next byte goes to; FERRY_CURRENT: the position of fd_of. */
static off_t place_of(const ferry__target *target)
{
    bool has_position_elsewhere = target->offset == FERRY_CURRENT && target->buffered_fd >= 0;
    return has_position_elsewhere ? lseek(target->fd, 0, SEEK_CUR) : target->offset;
}

/* Moves on by so many bytes, unless writing failed. */
static ssize_t move_on(ferry__target *target, ssize_t count)
{
    if (count < 0)
        return -errno;
    if (target->offset != FERRY_CURRENT)
        target->offset += count;
    else if (target->buffered_fd >= 0)
        (void)lseek(target->fd, count, SEEK_CUR);
    return count > 0 ? count : -EIO;
}

/* Whether a call that failed is to be made again: O_DIRECT may have been set since the submit. */
static bool is_to_be_repeated(ferry__target *target)
{
    int error = errno;
    bool again = error == EINTR || (error == EINVAL && open_buffered(target));
    errno = error;
    return again;
}

ssize_t ferry__target_write(ferry__target *target, const void *data, size_t size,
                            ferry__calls *calls)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    ssize_t count;
    do /* FERRY_CURRENT is -1, as pwritev2(2) has it */
        count = calls->pwritev2(calls, fd_of(target), &piece, 1, place_of(target), 0);
    while (count < 0 && is_to_be_repeated(target));
    return move_on(target, count);
}

ssize_t ferry__target_splice(ferry__target *target, int pipe_fd, size_t size, ferry__calls *calls)
{
    ssize_t count;
    do {
        off_t place = place_of(target);
        count = calls->splice(calls, pipe_fd, NULL, fd_of(target),
                              place != FERRY_CURRENT ? &place : NULL, size,
                              SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (count < 0 && is_to_be_repeated(target));
    return move_on(target, count);
}

void ferry__target_close(ferry__target *target)
{
    if (target->buffered_fd >= 0)
        (void)ferry__close(target->buffered_fd);
    ferry__file_close(&target->fd, &target->dirfd, target->flags);
}
