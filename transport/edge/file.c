/* SPDX-License-Identifier: MIT */
#include "transport/edge/file.h"

#include "core/cancel.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "core/libc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <unistd.h>

_Static_assert(FERRY_CWD == AT_FDCWD, "the headers' name for it");

/* ---- at submit ------------------------------------------------------------------------------- */

int ferry__file_check_range(int64_t offset, int64_t length)
{
    if (offset < 0 && offset != FERRY_CURRENT)
        return -EINVAL;
    if (length < 0 && length != FERRY_TO_END)
        return -EINVAL;
    int64_t end;
    if (offset > 0 && length > 0 && __builtin_add_overflow(offset, length, &end))
        return -EOVERFLOW;
    return 0;
}

int ferry__file_duplicate(int fd, ferry__calls *calls)
{
    int copy = (int)TEMP_FAILURE_RETRY(calls->duplicate(calls, fd));
    return copy >= 0 ? copy : -errno;
}

/* The caller may close its own at once, unless it says otherwise. */
static int take_fd(const ferry_file *file, ferry__calls *calls, int *ret_mode)
{
    bool is_lent = (file->flags & FERRY__FD_FLAGS) != 0;
    int fd = is_lent ? file->fd : ferry__file_duplicate(file->fd, calls);
    if (fd < 0)
        return fd;
    *ret_mode = fcntl(fd, F_GETFL);
    if (*ret_mode >= 0)
        return fd;
    if (!is_lent)
        (void)ferry__close(fd);
    return -EBADF;
}

int ferry__file_take(const ferry_file *file, ferry__calls *calls, int *ret_fd, int *ret_mode,
                     int *ret_dirfd)
{
    if (file->path != NULL && file->dirfd == FERRY_CWD)
        return 0;
    int taken = file->path == NULL ? take_fd(file, calls, ret_mode)
                                   : ferry__file_duplicate(file->dirfd, calls);
    if (taken < 0)
        return taken;
    *(file->path == NULL ? ret_fd : ret_dirfd) = taken;
    return 0;
}

void ferry__file_close(int *fd, int *dirfd, unsigned flags)
{
    if (*fd >= 0 && (flags & FERRY_FD_BORROW) == 0)
        (void)ferry__close(*fd);
    if (*dirfd >= 0)
        (void)ferry__close(*dirfd);
    *fd = -1;
    *dirfd = FERRY_CWD;
}

/* ---- shared files ---------------------------------------------------------------------------- */

uint64_t ferry_shared_file_get_size(const ferry_shared_file *shared)
{
    return shared != NULL ? (uint64_t)shared->status.st_size : 0;
}

ferry_shared_file *ferry_shared_file_ref(ferry_shared_file *shared)
{
    if (shared != NULL)
        atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    return shared;
}

ferry_shared_file *ferry_shared_file_unref(ferry_shared_file *shared)
{
    if (shared == NULL || ferry__refs_drop(&shared->refs) != 1)
        return NULL;
    if (!shared->is_borrowed)
        (void)ferry__close(shared->fd);
    ferry__release(shared);
    return NULL;
}

/* ---- on the owner ---------------------------------------------------------------------------- */

int ferry__file_open(int dirfd, const char *path, int how, unsigned flags, ferry__calls *calls)
{
    enum { TRIES = 16 }; /* EAGAIN: a rename raced with ".."; endlessly only by intent */
    uint64_t resolve = (flags & FERRY_FILE_BENEATH) != 0 ? RESOLVE_BENEATH : 0;
    mode_t mode = (how & O_CREAT) != 0 ? 0666 : 0; /* less the umask */
    /*
     * Non-blocking, so that a fifo without a peer does not hold up the owner: it is polled instead.
     */
    how |= O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = -1;
    for (unsigned i = 0; i < TRIES; i++) {
        fd = calls->open(calls, dirfd, path, how, mode, resolve);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return fd >= 0 ? fd : -errno;
}
