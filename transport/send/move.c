/* SPDX-License-Identifier: MIT */
#include "transport/send/move.h"

#include "transport/stream/batch.h"
#include "transport/stream/making.h"

#include <sys/uio.h>

enum {
    PIECES = 1024,              /* IOV_MAX: what one sendmsg(2) takes */
    SMALL_FILE = 16 * 1024,     /* to copy so much is cheaper than a call of its own */
    MOST_GATHERED = 512 * 1024, /* it is given back, and filled anew, while the rest leaves */
    MOST_OPENED = 4,  /* by path, in one call: if it stalls they stay open, and fds are few */
    ZEROS = 64 * 1024 /* enough for padding to be quick */
};

/* ---- gathering ------------------------------------------------------------------------------- */

/* What leaves in one call: memory, and small files that the kernel has in memory. */
typedef struct gather {
    struct iovec pieces[PIECES];
    int count;
    size_t bytes;     /* that were added */
    size_t room;      /* bytes that may still be added */
    size_t read;      /* bytes of files, in the owner's scratch memory */
    bool is_full;     /* no room, no pieces, or nothing may follow */
    bool goes_on;     /* what follows leaves in such a call, too */
    bool is_cut;      /* of a part that was added, bytes are left */
    bool more;        /* bytes follow directly, and surely; or the end of the stream */
    bool may_settle;  /* all that was added settles as soon as it has left */
    unsigned opened;  /* how many of its files were opened by their paths */
    bool takes_files; /* the link is one that they are read for */
    bool is_message;  /* the link is one of messages: each part is one */
    ferry_stream *stream;
} gather;

/* @param data where size bytes of the part are, room for which there is; a message is never cut. */
static void add_piece(gather *all, const ferry__part *part, const void *data, size_t size)
{
    all->is_cut |= size < part->left;
    all->pieces[all->count++] =
        (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    all->bytes += size;
    all->room -= size < all->room ? size : all->room;
    all->is_full = all->is_message || all->room == 0 || all->count == PIECES;
}

static size_t portion(const gather *all, const ferry__part *part)
{
    return part->left < all->room ? (size_t)part->left : all->room;
}

static void add_memory(gather *all, const ferry__part *part)
{
    const unsigned char *data = part->memory.data + part->sent;
    /* It was written on another core. It gets here while the rest is gathered, for sendmsg(2). */
    __builtin_prefetch(data);
    /* A message is one part, whole: the kernel says -EMSGSIZE if it is too large. */
    add_piece(all, part, data, all->is_message ? (size_t)part->left : portion(all, part));
}

/* Where one begins at its fd's position, the next one cannot be opened until that is settled. */
static void note_opened(gather *all, const ferry__source *source)
{
    if (source->path != NULL)
        all->opened++;
    else if (!ferry__source_is_at_hand(source))
        all->opened = MOST_OPENED;
}

static bool is_small_file(const gather *all, const ferry__part *part)
{
    return all->takes_files && part->sent + part->left <= SMALL_FILE;
}

/* Reads a small file's bytes. Whether it could. If not they leave by themselves. */
static bool add_file(gather *all, const ferry__part *part)
{
    ferry__source *source = part->source;
    size_t size = portion(all, part), room = FERRY__SCRATCH_BYTES - all->read;
    if (size > room)
        size = room;
    if (!is_small_file(all, part))
        return false;
    all->goes_on = size == 0;
    if (size == 0)
        return false;
    unsigned char *scratch = ferry__owner_scratch(all->stream->owner);
    if (scratch == NULL ||
        !ferry__source_peek(source, scratch + all->read, size, all->stream->link.calls))
        return false;
    add_piece(all, part, scratch + all->read, size);
    all->read += size;
    note_opened(all, source);
    /* What follows it waits until it was looked at once more. */
    all->is_full |= all->is_cut || (source->flags & FERRY_FILE_STABLE) != 0;
    return true;
}

static bool add_part(gather *all, const ferry__part *part)
{
    if (all->is_full) {
        all->goes_on = part->source == NULL || is_small_file(all, part);
        return false;
    }
    if (part->source != NULL)
        return add_file(all, part);
    add_memory(all, part);
    return true;
}

/* Adds a request's bytes from its current part on. Whether what follows it may be added too. */
static bool add_request(gather *all, const ferry__request *request)
{
    all->may_settle &=
        request->extras == NULL || request->extras->completion == FERRY_COMPLETION_ACCEPTED;
    for (size_t i = request->current; i < request->part_count; i++) {
        const ferry__part *part = &request->parts[i];
        if (part->source != NULL && part->source->is_open_ended)
            return false; /* a source may be empty: nothing is held back for it */
        if (part->left > 0 && !add_part(all, part)) {
            all->more = !all->is_message;
            return false;
        }
    }
    return true;
}

/* Whether opening its files takes no fds, and moves no fd's position. */
static bool is_at_hand(const ferry__request *request)
{
    for (size_t i = 0; i < request->part_count; i++) {
        const ferry__source *source = request->parts[i].source;
        if (source != NULL && !ferry__source_is_at_hand(source))
            return false;
    }
    return true;
}

/* The next request may join if the one before has nothing to say first, and it would not fail. */
static bool prepare_to_join(const gather *all, const ferry__request *before)
{
    ferry__request *next = before->next;
    if (before->is_told_first || next == NULL || next->kind != FERRY__SEND)
        return false;
    bool may_open = next->is_prepared || all->opened < MOST_OPENED || is_at_hand(next);
    return may_open && ferry__batch_is_taken(next) && ferry__request_prepare_ahead(next);
}

/* A marker ends in a turn of its own. */
static bool ends_with_bytes(const ferry__request *request)
{
    return request->current < request->part_count &&
           request->parts[request->part_count - 1].left > 0;
}

/*
 * Whether the stream is closed as soon as these bytes have left, in the same turn. Then its FIN
 * goes in their packet: one less for both sides, and the peer is woken once. Not over kernel TLS:
 * it keeps a record open for what follows, and the FIN overtakes that.
 */
static bool is_closed_behind(const gather *all, const ferry__request *last)
{
    const ferry_stream *stream = all->stream;
    const ferry__link *link = &stream->link;
    const ferry__request *next = last->next;
    bool is_close = next != NULL && next->kind == FERRY__CLOSE && next->detached == NULL;
    bool is_all = !all->is_cut && ends_with_bytes(last);
    bool may_close = !last->is_told_first && all->may_settle && stream->confirming.first == NULL;
    bool is_bare = link->is_tcp && !link->may_be_framed && !link->is_framed;
    return is_close && is_all && may_close && is_bare;
}

/* Gathers what is in memory, from the head's current part on. */
static void gather_from(gather *all, ferry_stream *stream, size_t chunk)
{
    const ferry__link *link = &stream->link;
    all->count = 0;
    all->bytes = 0;
    all->room = chunk < MOST_GATHERED ? chunk : MOST_GATHERED;
    all->read = 0;
    all->opened = 0;
    all->is_full = all->goes_on = all->is_cut = all->more = false;
    all->may_settle = true;
    all->is_message = link->is_message;
    all->takes_files = link->is_socket && !link->is_message && link->type->owe == NULL;
    all->stream = stream;
    ferry__request *request = stream->queue.first;
    bool is_whole;
    while ((is_whole = add_request(all, request)) && prepare_to_join(all, request))
        request = request->next;
    stream->link.ends_behind = is_whole && is_closed_behind(all, request);
    all->more |= stream->link.ends_behind;
}

static ferry__move move_source(ferry_stream *stream, ferry__part *part, size_t chunk)
{
    ferry__source *source = part->source;
    bool is_all = source->is_open_ended || part->left > SIZE_MAX;
    stream->link.is_long = part->left >= FERRY__LONG && stream->pace == NULL;
    ferry__stream_do(stream, source->type->step);
    return source->type->move(source, &stream->link, is_all ? SIZE_MAX : (size_t)part->left, chunk);
}

/* Takes the last bytes away again. */
static void shorten(gather *all, size_t excess)
{
    while (excess > 0) {
        struct iovec *last = &all->pieces[all->count - 1];
        size_t size = excess < last->iov_len ? excess : last->iov_len;
        last->iov_len -= size;
        all->count -= last->iov_len == 0;
        excess -= size;
    }
}

/* Where the next call goes on with what follows these bytes, they end with a packet. What is paced
 * waits for leave to go on. */
static void trim(gather *all)
{
    bool goes_on = (all->goes_on || all->is_cut) && all->stream->pace == NULL;
    if (goes_on && !all->is_message)
        shorten(all, all->bytes - ferry__link_trim(&all->stream->link, all->bytes));
}

ferry__move ferry__move_part(ferry_stream *stream, ferry__part *part, size_t chunk)
{
    gather all; /* 16 KiB: not to be zeroed */
    gather_from(&all, stream, chunk);
    if (all.count == 0)
        return move_source(stream, part, chunk);
    trim(&all);
    ferry__stream_do(stream, "writing");
    return ferry__move_written(ferry__link_write(&stream->link, all.pieces, all.count, all.more),
                               FERRY_METHOD_MEMORY);
}

/* ---- padding --------------------------------------------------------------------------------- */

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
