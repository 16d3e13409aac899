/* SPDX-License-Identifier: MIT */
/* What all kinds of sources have in common. */
#include "transport/edge/source.h"

#include "core/spares.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

void ferry__source_undo_open(ferry__source *source)
{
    if (source->type->undo_open != NULL)
        source->type->undo_open(source);
    source->is_open_ended = false;
}

/* ---- moving ---------------------------------------------------------------------------------- */

ferry__move ferry__source_at_end(ferry__source *source, ferry__calls *calls)
{
    const ferry__source_type *type = source->type;
    int error = type->look_at_end != NULL ? type->look_at_end(source, calls) : 0;
    if (error == -EAGAIN)
        return ferry__move_source_dry();
    if (error != 0)
        return ferry__move_failed(error, FERRY_PHASE_SOURCE);
    if (source->is_open_ended)
        return (ferry__move){.outcome = FERRY__MOVED_TO_END};
    return ferry__move_failed(-ENODATA, FERRY_PHASE_SOURCE);
}

/* Fills its empty buffer. @return as a type's fill. */
static ssize_t fill(ferry__source *source, size_t size, ferry__calls *calls)
{
    static_assert(FERRY__BUFFER_BYTES + FERRY__BLOCK_BYTES <= FERRY__BUFFER_ROOM,
                  "too little room");
    if (source->buffer == NULL && (source->buffer = ferry__buffer_take()) == NULL)
        return -ENOMEM;
    source->buffer_begin = source->buffer_end = 0; /* empty, also if nothing comes */
    ssize_t count = source->type->fill(source, size, calls);
    if (count > 0)
        source->buffer_end = source->buffer_begin + (size_t)count;
    return count;
}

static size_t smaller(size_t one, size_t other)
{
    return one < other ? one : other;
}

ferry__move ferry__source_copy(ferry__source *source, ferry__link *link, size_t wanted,
                               size_t chunk)
{
    if ((source->flags & FERRY_FILE_ZERO_COPY) != 0)
        return ferry__move_failed(-EOPNOTSUPP, FERRY_PHASE_SOURCE);
    source->is_drained = false;
    if (source->buffer_begin == source->buffer_end) {
        size_t most = smaller(smaller(chunk, FERRY__BUFFER_BYTES), wanted);
        ssize_t count = fill(source, most, link->calls);
        if (count == 0)
            return ferry__source_at_end(source, link->calls);
        if (count == -EAGAIN && source->piped > 0)
            return ferry__move_written(
                0, FERRY_METHOD_COPY); /* a pipe of ours is never dry: a script says so */
        if (count == -EAGAIN)
            return ferry__move_source_dry();
        if (count < 0)
            return ferry__move_failed((int)count, FERRY_PHASE_SOURCE);
    }
    size_t size = source->buffer_end - source->buffer_begin;
    struct iovec piece = {.iov_base = source->buffer + source->buffer_begin,
                          .iov_len = size < chunk || link->is_message ? size : chunk};
    ferry__move move =
        ferry__move_written(ferry__link_write(link, &piece, 1, false), FERRY_METHOD_COPY);
    if (move.outcome == FERRY__MOVED_BYTES)
        source->buffer_begin += move.bytes;
    return move;
}

/* ---- ending ---------------------------------------------------------------------------------- */

uint64_t ferry__source_unsent(const ferry__source *source)
{
    return source->is_open_ended ? source->buffer_end - source->buffer_begin + source->piped : 0;
}

void ferry__pipe_grow(int pipe_fd)
{
    (void)fcntl(pipe_fd, F_SETPIPE_SZ, FERRY__LARGE_PIPE_BYTES);
}

int ferry__pipe_empty_into(ferry__bytes *bytes, int pipe_fd, size_t piped, ferry__calls *calls)
{
    int error = piped > 0 ? ferry__bytes_reserve(bytes, piped) : 0;
    while (piped > 0 && error == 0) {
        struct iovec piece = {.iov_base = bytes->data + bytes->end, .iov_len = piped};
        ssize_t count = calls->preadv2(calls, pipe_fd, &piece, 1, -1, 0);
        if (count > 0) {
            bytes->end += (size_t)count;
            piped -= (size_t)count;
        } else if (count < 0 && errno == EAGAIN) {
            calls = &ferry__calls_real; /* a script says so: the bytes are there */
        } else if (count == 0 || errno != EINTR) {
            error = count == 0 ? -EIO : -errno;
        }
    }
    return error;
}

/* The bytes that were copied come before those that are still in the pipe. */
static void rescue(ferry__source *source, ferry__calls *calls)
{
    ferry__leftover *left = source->leftover;
    if (left == NULL)
        return;
    size_t copied = source->buffer_end - source->buffer_begin;
    if (copied > 0)
        left->error =
            ferry__bytes_append(&left->bytes, source->buffer + source->buffer_begin, copied);
    if (left->error == 0)
        left->error = ferry__pipe_empty_into(&left->bytes, source->pipe[0], source->piped, calls);
    ferry__bytes_take(&left->bytes, 0); /* room that was made in vain */
}

void ferry__source_settle(ferry__source *source, uint64_t sent, ferry__calls *calls)
{
    if (source->type->settle_position != NULL)
        source->type->settle_position(source, sent);
    rescue(source, calls);
}

void ferry__source_close(ferry__source *source)
{
    source->type->close(source);
    ferry__buffer_give_back(source->buffer);
    source->buffer = NULL;
}
