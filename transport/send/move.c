/* SPDX-License-Identifier: MIT */
#include "transport/send/move.h"

#include "transport/stream/making.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    PIECES = 1024,    /* IOV_MAX: what one sendmsg(2) takes */
    ZEROS = 64 * 1024 /* enough for padding to be quick */
};

static ferry__move failed(int error, ferry_phase phase)
{
    return (ferry__move){.outcome = FERRY__MOVED_FAILED, .error = error, .phase = phase};
}

static ferry__move moved(ssize_t bytes, ferry_method method)
{
    return (ferry__move){.outcome = FERRY__MOVED_BYTES, .bytes = (uint64_t)bytes, .method = method};
}

static ferry__move sink_full(void)
{
    return (ferry__move){.outcome = FERRY__MOVED_SINK_FULL};
}

/* What a write to the sink came to. */
static ferry__move written(ssize_t bytes, ferry_method method)
{
    if (bytes >= 0)
        return moved(bytes, method);
    if (bytes == -EAGAIN)
        return sink_full();
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
        if (part->source != NULL && part->source->is_open_ended)
            return false; /* it may be empty: nothing is held back for it */
        if (part->left == 0)
            continue;
        if (part->source != NULL || all->is_full) {
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
    return !before->is_told_first && before->next != NULL && before->next->kind == FERRY__SEND &&
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
    ferry__stream_do(stream, "writing");
    return written(ferry__sink_write(sink, all.pieces, all.count, all.more), FERRY_METHOD_MEMORY);
}

ferry__move ferry__move_zeros(ferry_stream *stream, uint64_t length, size_t chunk)
{
    static const unsigned char zeros[ZEROS];
    size_t left = length < chunk ? (size_t)length : chunk;
    struct iovec pieces[16];
    int count = 0;
    for (; left > 0 && count < 16; count++) {
        size_t size = left < sizeof zeros ? left : sizeof zeros;
        pieces[count] = (struct iovec){.iov_base = (void *)zeros, .iov_len = size};
        left -= size;
    }
    ferry__stream_do(stream, "writing");
    return written(ferry__sink_write(&stream->sink, pieces, count, false), FERRY_METHOD_MEMORY);
}

/* ---- sources --------------------------------------------------------------------------------- */

static ferry__move source_ended(const ferry__part *part)
{
    if (part->source->is_open_ended)
        return (ferry__move){.outcome = FERRY__MOVED_TO_END};
    return failed(-ENODATA, FERRY_PHASE_SOURCE);
}

/* How much to ask the source for. */
static size_t portion(const ferry__part *part, size_t most)
{
    return part->source->is_open_ended || part->left > most ? most : (size_t)part->left;
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

static ferry__move source_dry(void)
{
    return (ferry__move){.outcome = FERRY__MOVED_SOURCE_DRY};
}

/* What a source that gave no byte comes to. */
static ferry__move at_end(const ferry__part *part, ferry__calls *calls)
{
    if ((part->source->flags & FERRY_FILE_FOLLOW) == 0)
        return source_ended(part);
    int error = ferry__source_check_growth(part->source, calls);
    return error == 0 ? source_dry() : failed(error, FERRY_PHASE_SOURCE);
}

static ferry__move copy(ferry__sink *sink, ferry__part *part, size_t chunk)
{
    ferry__source *source = part->source;
    if ((source->flags & FERRY_FILE_ZERO_COPY) != 0)
        return failed(-EOPNOTSUPP, FERRY_PHASE_SOURCE);
    if (source->buffer_begin == source->buffer_end) {
        size_t most = chunk < FERRY__BUFFER_BYTES ? chunk : FERRY__BUFFER_BYTES;
        ssize_t count = ferry__source_fill(source, portion(part, most), sink->calls);
        if (count == 0)
            return at_end(part, sink->calls);
        if (count == -EAGAIN) /* what is in the pipe of ours cannot run dry: a script says so */
            return source->piped > 0 ? moved(0, FERRY_METHOD_COPY) : source_dry();
        if (count < 0)
            return failed((int)count, FERRY_PHASE_SOURCE);
    }
    size_t size = source->buffer_end - source->buffer_begin;
    struct iovec piece = {.iov_base = source->buffer + source->buffer_begin,
                          .iov_len = size < chunk || sink->is_message ? size : chunk};
    ferry__move move = written(ferry__sink_write(sink, &piece, 1, false), FERRY_METHOD_COPY);
    if (move.outcome == FERRY__MOVED_BYTES)
        source->buffer_begin += move.bytes;
    return move;
}

/* Goes on by copying, at the same byte. */
static ferry__move copy_instead(ferry__sink *sink, ferry__part *part, size_t chunk)
{
    part->source->way = FERRY__BY_COPY;
    return copy(sink, part, chunk);
}

static ferry__move send_file(ferry__sink *sink, ferry__part *part, size_t chunk)
{
    ferry__source *source = part->source;
    ssize_t sent = ferry__sink_sendfile(sink, source->fd, &source->offset, portion(part, chunk));
    if (sent == 0)
        return at_end(part, sink->calls);
    if (sent > 0 || sent == -EAGAIN)
        return written(sent, FERRY_METHOD_SENDFILE);
    if (!is_refusal((int)sent))
        return failed((int)sent, phase_of((int)sent));
    return copy_instead(sink, part, chunk);
}

/* From a pipe. An EAGAIN may mean either side; no byte, that a fifo has no writer yet. */
static ferry__move splice_pipe(ferry__sink *sink, ferry__part *part, size_t chunk)
{
    ssize_t sent = ferry__sink_splice(sink, part->source->fd, portion(part, chunk));
    if ((sent == 0 || sent == -EAGAIN) && ferry__source_is_dry(part->source, sink->calls))
        return source_dry();
    if (sent == 0)
        return source_ended(part);
    if (sent > 0 || sent == -EAGAIN)
        return written(sent, FERRY_METHOD_SPLICE);
    if (!is_refusal((int)sent))
        return failed((int)sent, FERRY_PHASE_SINK);
    return copy_instead(sink, part, chunk);
}

/* From a socket into the pipe of ours, if that is empty. @return as splice(2); negative errno. */
static ssize_t fill_pipe(ferry__source *source, size_t length, ferry__calls *calls)
{
    if (source->pipe[0] < 0 && TEMP_FAILURE_RETRY(calls->pipe(calls, source->pipe)) < 0)
        return -errno;
    ssize_t count;
    do
        count = calls->splice(calls, source->fd, NULL, source->pipe[1], NULL, length,
                              SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return -errno;
    source->piped = (size_t)count;
    ferry__source_note_taken(source, (size_t)count);
    return count;
}

/*
 * Splice gave nothing of a socket that poll(2) says has something: recv(2) tells why. At urgent data
 * it says for ever that there is nothing, or that this is the end, while reading passes over it.
 */
static ferry__move find_out_why(ferry__sink *sink, ferry__part *part, size_t chunk)
{
    ferry__calls *calls = sink->calls;
    char byte;
    ssize_t count;
    do
        count = calls->recv(calls, part->source->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count == 0)
        return source_ended(part);
    if (count < 0)
        return errno == EAGAIN ? source_dry() : failed(-errno, FERRY_PHASE_SOURCE);
    return copy_instead(sink, part, chunk);
}

static ferry__move splice_socket(ferry__sink *sink, ferry__part *part, size_t chunk)
{
    ferry__source *source = part->source;
    if (source->piped == 0) {
        /* Asked first: tcp(7) heeds the source's own O_NONBLOCK only, and blocks. */
        if (ferry__source_is_dry(source, sink->calls))
            return source_dry();
        ssize_t count = fill_pipe(source, portion(part, chunk), sink->calls);
        if (count == 0 || count == -EAGAIN)
            return find_out_why(sink, part, chunk);
        if (is_refusal((int)count) || count == -EMFILE || count == -ENFILE)
            return copy_instead(sink, part, chunk);
        if (count < 0)
            return failed((int)count, FERRY_PHASE_SOURCE);
    }
    size_t size = source->piped < chunk ? source->piped : chunk;
    ssize_t sent = ferry__sink_splice(sink, source->pipe[0], size);
    if (sent > 0)
        source->piped -= (size_t)sent;
    if (sent > 0 || sent == -EAGAIN)
        return written(sent, FERRY_METHOD_SPLICE);
    if (sent == 0 || !is_refusal((int)sent))
        return failed(sent == 0 ? -EIO : (int)sent, FERRY_PHASE_SINK);
    return copy_instead(sink, part, chunk);
}

ferry__move ferry__move_source(ferry_stream *stream, ferry__part *part, size_t chunk)
{
    ferry__sink *sink = &stream->sink;
    ferry__stream_do(stream, part->source->generate != NULL ? "calling a generator"
                                                            : "moving a source's bytes");
    switch (part->source->way) {
    case FERRY__BY_SENDFILE:
        return send_file(sink, part, chunk);
    case FERRY__BY_SPLICE:
    case FERRY__BY_PIPE:
        if (sink->is_message) /* splice(2) would cut messages where it likes */
            return copy_instead(sink, part, chunk);
        return part->source->way == FERRY__BY_SPLICE ? splice_pipe(sink, part, chunk)
                                                     : splice_socket(sink, part, chunk);
    case FERRY__BY_COPY:
        break;
    }
    return copy(sink, part, chunk);
}
