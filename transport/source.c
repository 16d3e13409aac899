/* SPDX-License-Identifier: MIT */
#include "transport/source.h"

#include "core/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(FERRY_CWD == AT_FDCWD, "the headers' name for it");

enum { FD_FLAGS = FERRY_FD_GIVE | FERRY_FD_BORROW, PATH_FLAGS = FERRY_FILE_BENEATH };

/* ---- at submit ------------------------------------------------------------------------------- */

static int check(const ferry_file *file)
{
    if ((file->path != NULL) == (file->fd >= 0))
        return -EINVAL;
    unsigned allowed = file->path != NULL ? PATH_FLAGS : FD_FLAGS;
    if ((file->flags & ~allowed) != 0 || (file->flags & FD_FLAGS) == FD_FLAGS)
        return -EINVAL;
    if (file->offset < 0 && file->offset != FERRY_CURRENT)
        return -EINVAL;
    if (file->length < 0 && file->length != FERRY_TO_END)
        return -EINVAL;
    int64_t end;
    if (file->offset > 0 && file->length > 0 &&
        __builtin_add_overflow(file->offset, file->length, &end))
        return -EOVERFLOW;
    return 0;
}

/* A close-on-exec duplicate: the caller may close its own at once. */
static int duplicate(int fd, ferry__calls *calls)
{
    int copy = calls->duplicate(calls, fd);
    return copy >= 0 ? copy : -errno;
}

static int take_fd(const ferry_file *file, ferry__calls *calls)
{
    if ((file->flags & (FERRY_FD_GIVE | FERRY_FD_BORROW)) == 0)
        return duplicate(file->fd, calls);
    return fcntl(file->fd, F_GETFD) >= 0 ? file->fd : -EBADF;
}

int ferry__source_take(ferry__source *source, const ferry_file *file, const char *path,
                       ferry__calls *calls)
{
    int error = check(file);
    if (error != 0)
        return error;
    *source = (ferry__source){
        .path = path,
        .dirfd = FERRY_CWD,
        .fd = -1,
        .flags = file->flags,
        .asked_offset = file->offset,
        .asked_length = file->length,
        .reserved_from = -1,
    };
    int taken = 0;
    if (file->path == NULL)
        taken = source->fd = take_fd(file, calls);
    else if (file->dirfd != FERRY_CWD)
        taken = source->dirfd = duplicate(file->dirfd, calls);
    return taken < 0 ? taken : 0;
}

void ferry__source_give_back(ferry__source *source)
{
    if ((source->flags & FERRY_FD_GIVE) != 0)
        source->fd = -1;
    ferry__source_close(source);
}

/* ---- on the owner ---------------------------------------------------------------------------- */

/* Non-blocking, so that a fifo without a writer does not hold up the owner: it is polled instead. */
enum { HOW_TO_OPEN = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK };

static int open_path(const ferry__source *source, ferry__calls *calls)
{
    enum { TRIES = 16 }; /* EAGAIN: a rename raced with ".."; endlessly only by intent */
    uint64_t resolve = (source->flags & FERRY_FILE_BENEATH) != 0 ? RESOLVE_BENEATH : 0;
    int fd = -1;
    for (unsigned i = 0; i < TRIES; i++) {
        fd = calls->open(calls, source->dirfd, source->path, HOW_TO_OPEN, resolve);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd >= 0 ? fd : -errno;
}

/* Whether its size is what it says: pseudo-files say that they are empty and are not. */
static bool has_known_size(const struct stat *status)
{
    return S_ISREG(status->st_mode) && status->st_size > 0;
}

/* Where reading begins, and whether there is such a thing. An ordinary file whose position does not
 * matter is not asked: this is done for every file that is sent. */
static int find_start(ferry__source *source, const struct stat *status)
{
    bool at_position = source->asked_offset == FERRY_CURRENT && source->path == NULL;
    off_t position = 0;
    if (at_position || !has_known_size(status))
        position = lseek(source->fd, 0, SEEK_CUR);
    source->is_seekable = position >= 0;
    if (source->asked_offset == FERRY_CURRENT)
        source->offset = position >= 0 ? position : 0;
    else if (source->is_seekable)
        source->offset = source->asked_offset;
    else
        return -ESPIPE;
    return 0;
}

/* What may run dry is waited for by its fd's number, which another stream may have borrowed too. */
static int make_watchable(ferry__source *source, ferry__calls *calls)
{
    if ((source->flags & FERRY_FD_BORROW) == 0)
        return 0;
    int own = duplicate(source->fd, calls);
    if (own < 0)
        return own;
    source->fd = own;
    source->flags &= ~FERRY_FD_BORROW;
    return 0;
}

/* Decides how many bytes are planned. */
static int plan_length(ferry__source *source, const struct stat *status, uint64_t *ret_length)
{
    bool known = has_known_size(status);
    int64_t available = known ? status->st_size - source->offset : INT64_MAX;
    if (source->asked_length == FERRY_TO_END) {
        if (available < 0)
            return -ENODATA;
        source->is_open_ended = !known;
        *ret_length = known ? (uint64_t)available : 0;
        return 0;
    }
    if (source->asked_length > 0 && source->asked_length > available)
        return -ENODATA;
    *ret_length = (uint64_t)source->asked_length;
    return 0;
}

/* Whether it reads from an fd's own position, which others may use too. */
static bool uses_position(const ferry__source *source)
{
    return source->path == NULL && source->asked_offset == FERRY_CURRENT && source->is_seekable;
}

static void reserve(ferry__source *source, uint64_t length)
{
    if (!uses_position(source))
        return;
    source->reserved_from = source->offset;
    source->reserved_bytes = length;
    (void)lseek(source->fd, source->offset + (off_t)length, SEEK_SET);
}

/* Asked beforehand: sendfile would say so too, but after the head of a compound has left. */
static bool is_readable(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) != O_WRONLY && (flags & O_PATH) == 0;
}

int ferry__source_open(ferry__source *source, ferry__calls *calls, uint64_t *ret_length,
                       ferry_phase *ret_phase)
{
    *ret_phase = FERRY_PHASE_OPEN;
    if (source->path != NULL) {
        int fd = open_path(source, calls);
        if (fd < 0)
            return fd;
        source->fd = fd;
    }
    struct stat status;
    if (calls->fstat(calls, source->fd, &status) < 0)
        return -errno;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if (source->path == NULL && !is_readable(source->fd))
        return -EBADF;
    int error = find_start(source, &status);
    if (error == 0 && !source->is_seekable)
        error = make_watchable(source, calls);
    if (error != 0)
        return error;
    *ret_phase = FERRY_PHASE_SOURCE;
    error = plan_length(source, &status, ret_length);
    if (error != 0)
        return error;
    if (source->is_open_ended && uses_position(source))
        source->is_seekable = false; /* there is no range to reserve: read(2) itself moves on */
    else
        reserve(source, *ret_length);
    source->is_copied = !source->is_seekable;
    return 0;
}

void ferry__source_undo_open(ferry__source *source)
{
    ferry__source_settle_position(source, 0);
    if (source->path != NULL && source->fd >= 0) {
        (void)close(source->fd);
        source->fd = -1;
    }
    source->is_open_ended = false;
}

uint64_t ferry__source_unsent(const ferry__source *source)
{
    return source->is_open_ended ? source->buffer_end - source->buffer_begin : 0;
}

void ferry__source_settle_position(ferry__source *source, uint64_t sent)
{
    if (source->reserved_from >= 0 && sent != source->reserved_bytes)
        (void)lseek(source->fd, source->reserved_from + (off_t)sent, SEEK_SET);
    else if (source->buffer_end > source->buffer_begin && !source->is_seekable)
        (void)lseek(source->fd, -(off_t)(source->buffer_end - source->buffer_begin), SEEK_CUR);
    source->reserved_from = -1;
}

void ferry__source_close(ferry__source *source)
{
    if (source->fd >= 0 && (source->flags & FERRY_FD_BORROW) == 0)
        (void)close(source->fd);
    if (source->dirfd >= 0)
        (void)close(source->dirfd);
    ferry__release(source->buffer);
    source->buffer = NULL;
    source->fd = -1;
    source->dirfd = FERRY_CWD;
}
