/* SPDX-License-Identifier: MIT */
/*
 * A target: the range of a file that received bytes go to. It lives from the submit (take) over the
 * moment its request starts (open) to its end (close).
 *
 * With FERRY_CURRENT bytes are written at the fd's own position, which moves on.
 *
 * O_DIRECT takes whole blocks only, and bytes do not come in blocks. The flag belongs to the
 * description, which others may share, and so is left alone. The file is opened once more without
 * it.
 */
#ifndef FERRY_TRANSPORT_EDGE_TARGET_H
#define FERRY_TRANSPORT_EDGE_TARGET_H

#include "core/calls.h"

#include <ferry/file.h>
#include <stdbool.h>

typedef struct ferry__target {
    const char *path; /* in the request's own memory; NULL: fd */
    int dirfd;        /* ferry's own, or FERRY_CWD */
    int fd;           /* -1 until opened, for a path */
    int buffered_fd;  /* the same file, where fd is open with O_DIRECT; else -1 */
    int mode;         /* of an fd that was given: its F_GETFL */
    unsigned flags;
    int64_t offset; /* of the next byte to write; or FERRY_CURRENT */
} ferry__target;

/* At submit, before anything is taken. Checks what is asked for. @return 0, -EINVAL, -EOVERFLOW. */
int ferry__target_check(const ferry_file *file);

/*
 * At submit, once it is checked. Takes the fds. @param path its path's copy, in the request.
 * @return 0, or an errno of ferry_stream_read_to_file, with nothing taken.
 */
int ferry__target_take(ferry__target *target, const ferry_file *file, const char *path,
                       ferry__calls *calls);

/* On the owner, as its request starts. Opens and checks. @return 0, or an errno to settle with. */
int ferry__target_open(ferry__target *target, ferry__calls *calls);

/* Writes memory. @return how many bytes; or a negative errno. Never 0. */
ssize_t ferry__target_write(ferry__target *target, const void *data, size_t size,
                            ferry__calls *calls);

/*
 * Writes what is in a pipe. @return how many bytes; or a negative errno. Never 0. -EINVAL and its
 * like: nothing can be spliced into it.
 */
ssize_t ferry__target_splice(ferry__target *target, int pipe_fd, size_t size, ferry__calls *calls);

/* Called when its request settles, opened or not. */
void ferry__target_close(ferry__target *target);

#endif
