/* SPDX-License-Identifier: MIT */
/* Opening a file once, for many requests to send. A source opens it: that knows how. */
#include "core/cancel.h"
#include "core/clock.h"
#include "core/hooks.h"
#include "core/thread.h"
#include "transport/edge/file.h"
#include "transport/edge/source.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

static int check(const ferry_file *file, ferry_shared_file **ret_shared)
{
    const unsigned allowed = FERRY_FD_GIVE | FERRY_FD_BORROW | FERRY_FILE_BENEATH;
    if (file == NULL || ret_shared == NULL || file->shared != NULL || file->resume != NULL ||
        (file->offset != 0 && file->offset != FERRY_CURRENT) || file->length != FERRY_TO_END ||
        (file->flags & ~allowed) != 0)
        return -EINVAL;
    return file->path != NULL && strnlen(file->path, PATH_MAX) == PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Waits for a lease on it to be given back, as open(2) does; but not if others would have to
 * wait. */
static int open_waiting(ferry__source *source, uint64_t *ret_length, ferry_phase *ret_phase)
{
    const struct timespec a_while = {.tv_nsec = 10 * FERRY__NS_PER_MS};
    int error;
    while ((error = ferry__source_file.open(source, &ferry__calls_real, ret_length, ret_phase)) ==
               -EAGAIN &&
           *ret_phase == FERRY_PHASE_OPEN && !ferry__thread_may_not_wait()) {
        ferry__source_undo_open(source);
        (void)nanosleep(&a_while, NULL);
    }
    return error;
}

static int open_source(const ferry_file *file, ferry__source *source)
{
    ferry_file whole = *file;
    whole.offset = 0;
    int error = ferry__source_check_file(&whole);
    if (error == 0)
        error = ferry__source_take_file(source, &whole, file->path, &ferry__calls_real);
    if (error != 0)
        return error;
    uint64_t length;
    ferry_phase phase;
    error = open_waiting(source, &length, &phase);
    if (error == -ESPIPE || (error == 0 && !source->has_identity))
        error = -EINVAL; /* a pipe, or otherwise no regular file */
    if (error != 0)
        ferry__source_file.give_back(source);
    return error;
}

int ferry_shared_file_open(const ferry_file *file, ferry_shared_file **ret_shared)
{
    FERRY__HOLD_OFF_CANCEL();
    int error = check(file, ret_shared);
    if (error != 0)
        return error;
    ferry_shared_file *shared = ferry__allocate_zeroed(sizeof *shared);
    if (shared == NULL)
        return -ENOMEM;
    ferry__source source;
    error = open_source(file, &source);
    if (error == 0 && fstat(source.fd, &shared->status) < 0) {
        error = -errno;
        ferry__source_file.give_back(&source);
    }
    if (error != 0) {
        ferry__release(shared);
        return error;
    }
    atomic_init(&shared->refs, 1);
    shared->fd = source.fd;
    shared->is_borrowed = (source.flags & FERRY_FD_BORROW) != 0;
    source.fd = -1; /* it is the shared file's now */
    ferry__source_close(&source);
    *ret_shared = shared;
    return 0;
}
