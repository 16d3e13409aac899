/* SPDX-License-Identifier: MIT */
#include "transport/move.h"

#include "core/hooks.h"

#include <errno.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    PIECES = 1024,           /* IOV_MAX: what one sendmsg(2) takes */
    COPY_BUFFER = 64 * 1024, /* larger gains nothing; and one SEQPACKET message, as sendfile cuts */
};

static ferry__move failed(int error, ferry_phase phase)
{
    return (ferry__move){.outcome = FERRY__MOVED_FAILED, .error = error, .phase = phase};
}

static ferry__move moved(ssize_t bytes, ferry_method method)
{
    return (ferry__move){.outcome = FERRY__MOVED_BYTES, .bytes = (uint64_t)bytes, .method = method};
}

/* What a write to the sink came to. */
static ferry__move written(ssize_t bytes, ferry_method method)
{
    if (bytes >= 0)
        return moved(bytes, method);
    if (bytes == -EAGAIN)
        return (ferry__move){.outcome = FERRY__MOVED_SINK_FULL};
    return failed((int)bytes, FERRY_PHASE_SINK);
}

/* ---- memory ---------------------------------------------------------------------------------- */

typedef struct gather {
    struct iovec pieces[PIECES];
    int count;
    size_t room;  /* bytes that may still be added */
    bool is_full; /* no room, no pieces, or the message ends here */
    bool more;    /* bytes follow directly, and surely */
} gather;

static void add_piece(gather *all, const ferry__part *part, bool is_message)
{
    /* Written on another core: on its way here while the rest is gathered, before sendmsg(2). */
    __builtin_prefetch(part->memory.data + part->sent);
    size_t size = part->left < all->room ? (size_t)part->left : all->room;
    /* A message is one part, whole: the kernel says -EMSGSIZE if it is too large. */
    if (is_message)
        size = (size_t)part->left;
    all->pieces[all->count++] = (struct iovec){
        .iov_base = (void *)(part->memory.data + part->sent),
        .iov_len = size,
    };
    all->room -= size < all->room ? size : all->room;
    all->is_full = is_message || all->room == 0 || all->count == PIECES;
}

/* Adds a request's memory from its current part on. Whether what follows it may be added too. */
static bool add_request(gather *all, ferry__request *request, bool is_message)
{
    for (size_t i = request->current; i < request->part_count; i++) {
        const ferry__part *part = &request->parts[i];
        if (part->is_file && part->source.is_open_ended)
            return false; /* it may be empty: nothing is held back for it */
        if (part->left == 0)
            continue;
        if (part->is_file || all->is_full) {
            all->more = !is_message;
            return false;
        }
        add_piece(all, part, is_message);
    }
    return true;
}

/* The next request may join if the one before has nothing to say first, and it would not fail. */
static bool prepare_to_join(const ferry__request *before)
{
    return before->on_owner == NULL && before->next != NULL && before->next->kind == FERRY__SEND &&
           ferry__request_prepare_ahead(before->next);
}

ferry__move ferry__move_memory(ferry_stream *stream, size_t chunk)
{
    gather all; /* 16 KiB: not to be zeroed */
    all.count = 0;
    all.room = chunk;
    all.is_full = false;
    all.more = false;
    ferry__sink *sink = &stream->sink;
    ferry__request *request = stream->queue.first;
    while (add_request(&all, request, sink->is_message) && prepare_to_join(request))
        request = request->next;
    return written(ferry__sink_write(sink, all.pieces, all.count, all.more), FERRY_METHOD_MEMORY);
}

ferry__move ferry__move_zeros(ferry_stream *stream, uint64_t length, size_t chunk)
{
    static const unsigned char zeros[COPY_BUFFER];
    size_t left = length < chunk ? (size_t)length : chunk;
    struct iovec pieces[16];
    int count = 0;
    for (; left > 0 && count < 16; count++) {
        size_t size = left < sizeof zeros ? left : sizeof zeros;
        pieces[count] = (struct iovec){.iov_base = (void *)zeros, .iov_len = size};
        left -= size;
    }
    return written(ferry__sink_write(&stream->sink, pieces, count, false), FERRY_METHOD_MEMORY);
}

/* ---- files ----------------------------------------------------------------------------------- */

static ferry__move source_ended(const ferry__part *part)
{
    if (part->source.is_open_ended)
        return (ferry__move){.outcome = FERRY__MOVED_TO_END};
    return failed(-ENODATA, FERRY_PHASE_SOURCE);
}

/* How much to ask the source for. */
static size_t portion(const ferry__part *part, size_t most)
{
    return part->source.is_open_ended || part->left > most ? most : (size_t)part->left;
}

/* Whether sendfile says that it cannot do this pair of fds, as opposed to: not now, not any more. */
static bool is_refusal(int error)
{
    return error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP || error == -ESPIPE;
}

/* Which side an errno of sendfile's is about: reading a file has few ways to fail. */
static ferry_phase phase_of(int error)
{
    switch (-error) {
    case EIO:
    case ESTALE:
    case ENOMEM:
    case EOVERFLOW:
    case EACCES:
        return FERRY_PHASE_SOURCE;
    default:
        return FERRY_PHASE_SINK;
    }
}

static bool is_dry(const ferry__source *source, ferry__calls *calls)
{
    struct pollfd readable = {.fd = source->fd, .events = POLLIN};
    return !source->is_seekable && calls->poll(calls, &readable, 1, 0) == 0;
}

/* As read(2), but EAGAIN where somebody else who reads the same pipe was faster: a read that blocks
 * could not be got out. */
static ssize_t read_now(int fd, void *buffer, size_t size, ferry__calls *calls)
{
    struct iovec piece = {.iov_base = buffer, .iov_len = size};
    ssize_t count = calls->preadv2(calls, fd, &piece, 1, -1, RWF_NOWAIT);
    if (count >= 0)
        return count;
    /* Where it is not known, or means a file that is not in memory yet: is_dry must do. */
    bool is_no_answer = errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL ||
                        (errno == EAGAIN && lseek(fd, 0, SEEK_CUR) >= 0);
    return is_no_answer ? calls->preadv2(calls, fd, &piece, 1, -1, 0) : count;
}

/* Reads into the source's empty buffer. @return as read(2), with a negative errno. */
static ssize_t fill_buffer(ferry__source *source, size_t size, ferry__calls *calls)
{
    if (source->buffer == NULL && (source->buffer = ferry__allocate(COPY_BUFFER)) == NULL)
        return -ENOMEM;
    if (is_dry(source, calls))
        return -EAGAIN;
    struct iovec piece = {.iov_base = source->buffer, .iov_len = size};
    ssize_t count;
    do
        count = source->is_seekable
                    ? calls->preadv2(calls, source->fd, &piece, 1, source->offset, 0)
                    : read_now(source->fd, source->buffer, size, calls);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return -errno;
    source->offset += count;
    source->buffer_begin = 0;
    source->buffer_end = (size_t)count;
    return count;
}

static ferry__move copy(ferry__sink *sink, ferry__part *part, size_t chunk)
{
    ferry__source *source = &part->source;
    if (source->buffer_begin == source->buffer_end) {
        ssize_t count = fill_buffer(
            source, portion(part, chunk < COPY_BUFFER ? chunk : COPY_BUFFER), sink->calls);
        if (count == 0)
            return source_ended(part);
        if (count == -EAGAIN)
            return (ferry__move){.outcome = FERRY__MOVED_SOURCE_DRY};
        if (count < 0)
            return failed((int)count, FERRY_PHASE_SOURCE);
    }
    struct iovec piece = {.iov_base = source->buffer + source->buffer_begin,
                          .iov_len = source->buffer_end - source->buffer_begin};
    ferry__move move = written(ferry__sink_write(sink, &piece, 1, false), FERRY_METHOD_COPY);
    if (move.outcome == FERRY__MOVED_BYTES)
        source->buffer_begin += move.bytes;
    return move;
}

ferry__move ferry__move_file(ferry_stream *stream, ferry__part *part, size_t chunk)
{
    ferry__sink *sink = &stream->sink;
    ferry__source *source = &part->source;
    if (!source->is_copied) {
        ssize_t sent =
            ferry__sink_sendfile(sink, source->fd, &source->offset, portion(part, chunk));
        if (sent == 0)
            return source_ended(part);
        if (sent > 0 || sent == -EAGAIN)
            return written(sent, FERRY_METHOD_SENDFILE);
        if (!is_refusal((int)sent))
            return failed((int)sent, phase_of((int)sent));
        source->is_copied = true;
    }
    return copy(sink, part, chunk);
}
