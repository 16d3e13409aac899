/* SPDX-License-Identifier: MIT */
/* Opening a file once, for many requests to send. A source opens it: that knows how. */
#include "core/cancel.h"
#include "core/clock.h"
#include "core/hooks.h"
#include "core/libc.h"
#include "core/thread.h"
#include "transport/edge/file.h"
#include "transport/edge/source.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

static int check(const ferry_file *file)
{
    const unsigned allowed = FERRY_FD_GIVE | FERRY_FD_BORROW | FERRY_FILE_BENEATH;
    if (file->shared != NULL || file->resume != NULL ||
        (file->offset != 0 && file->offset != FERRY_CURRENT) || file->length != FERRY_TO_END ||
        (file->flags & ~allowed) != 0)
        return -EINVAL;
    return file->path != NULL && strnlen(file->path, PATH_MAX) == PATH_MAX ? -ENAMETOOLONG : 0;
}

int ferry__source_take_whole(ferry__source *source, const ferry_file *file, const char *path,
                             ferry__calls *calls)
{
    int error = check(file);
    if (error != 0)
        return error;
    ferry_file whole = *file;
    whole.offset = 0;
    error = ferry__source_check_file(&whole);
    return error != 0 ? error : ferry__source_take_file(source, &whole, path, calls);
}

/* Opens it, and looks what there is to share. */
static int open_regular(ferry__source *source, ferry__calls *calls, struct stat *status)
{
    uint64_t length;
    ferry_phase phase;
    int error = ferry__source_file.open(source, calls, &length, &phase);
    if (error == -ESPIPE || (error == 0 && !source->has_identity))
        return -EINVAL; /* a pipe, or otherwise no regular file */
    if (error == 0 && TEMP_FAILURE_RETRY(calls->fstat(calls, source->fd, status)) < 0)
        error = -errno;
    return error;
}

int ferry__source_share(ferry__source *source, ferry__calls *calls, ferry_shared_file **ret_shared)
{
    ferry_shared_file *shared = ferry__allocate_zeroed(sizeof *shared);
    int error = shared != NULL ? open_regular(source, calls, &shared->status) : -ENOMEM;
    if (error != 0) {
        if (error == -EAGAIN)
            ferry__source_undo_open(source);
        ferry__release(shared);
        return error;
    }
    atomic_init(&shared->refs, 1);
    shared->fd = source->fd;
    shared->is_borrowed = (source->flags & FERRY_FD_BORROW) != 0;
    source->fd = -1; /* it is the shared file's now */
    *ret_shared = shared;
    return 0;
}

/* Waits for a lease on it to be given back, as open(2) does; but not if others would have to
 * wait. */
static int share_waiting(ferry__source *source, ferry_shared_file **ret_shared)
{
    const struct timespec a_while = {.tv_nsec = 10 * FERRY__NS_PER_MS};
    int error;
    while ((error = ferry__source_share(source, &ferry__calls_real, ret_shared)) == -EAGAIN &&
           !ferry__thread_may_not_wait())
        (void)nanosleep(&a_while, NULL);
    return error;
}

int ferry_shared_file_open(const ferry_file *file, ferry_shared_file **ret_shared)
{
    FERRY__HOLD_OFF_CANCEL();
    if (file == NULL || ret_shared == NULL)
        return -EINVAL;
    ferry__source source;
    int error = ferry__source_take_whole(&source, file, file->path, &ferry__calls_real);
    if (error != 0)
        return error;
    error = share_waiting(&source, ret_shared);
    if (error != 0)
        ferry__source_file.give_back(&source);
    else
        ferry__source_close(&source);
    return error;
}
