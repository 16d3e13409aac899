/* SPDX-License-Identifier: MIT */
#include "transport/send/move.h"

#include "transport/stream/batch.h"
#include "transport/stream/making.h"

#include <sys/uio.h>

enum {
    PIECES = 1024,    /* IOV_MAX: what one sendmsg(2) takes */
    ZEROS = 64 * 1024 /* enough for padding to be quick */
};

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
    /* It was written on another core. It gets here while the rest is gathered, for sendmsg(2). */
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
            return false; /* a source may be empty: nothing is held back for it */
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
    ferry__request *next = before->next;
    if (before->is_told_first || next == NULL || next->kind != FERRY__SEND)
        return false;
    return next->is_batch ? ferry__batch_take(next) : ferry__request_prepare_ahead(next);
}

ferry__move ferry__move_memory(ferry_stream *stream, size_t chunk)
{
    gather all; /* 16 KiB: not to be zeroed */
    all.count = 0;
    all.room = chunk;
    all.is_full = false;
    all.more = false;
    ferry__link *link = &stream->link;
    ferry__request *request = stream->queue.first;
    while (add_request(&all, request, link->is_message) && prepare_to_join(request))
        request = request->next;
    ferry__stream_do(stream, "writing");
    return ferry__move_written(ferry__link_write(link, all.pieces, all.count, all.more),
                               FERRY_METHOD_MEMORY);
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
    return ferry__move_written(ferry__link_write(&stream->link, pieces, count, false),
                               FERRY_METHOD_MEMORY);
}

/* ---- sources --------------------------------------------------------------------------------- */

ferry__move ferry__move_source(ferry_stream *stream, ferry__part *part, size_t chunk)
{
    ferry__source *source = part->source;
    bool is_all = source->is_open_ended || part->left > SIZE_MAX;
    ferry__stream_do(stream, source->type->step);
    return source->type->move(source, &stream->link, is_all ? SIZE_MAX : (size_t)part->left, chunk);
}
