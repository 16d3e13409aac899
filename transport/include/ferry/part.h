/* SPDX-License-Identifier: MIT */
/*
 * Parts: what a compound request (ferry_stream_send) is made of. The parts of one request leave
 * contiguously and in order; no other request's bytes come between them.
 *
 *     const ferry_part parts[] = {
 *         ferry_part_copy(head, head_length),
 *         ferry_part_file(ferry_file_at("/srv/data.bin")),
 *         ferry_part_give(tail, tail_length, free_tail, NULL),
 *     };
 *     ferry_stream_send(stream, parts, 3, NULL, &promise);
 */
#ifndef FERRY_PART_H
#define FERRY_PART_H

#include <ferry/file.h>

FERRY_BEGIN

/* What a part is, and who owns its memory. */
typedef enum ferry_part_kind {
    FERRY_PART_COPY,   /* memory, copied at submit: yours again at once */
    FERRY_PART_BORROW, /* memory, stays yours: leave it unchanged until the request settles */
    FERRY_PART_GIVE,   /* memory, ferry's once the submit returned 0: released when it settles */
    FERRY_PART_FILE    /* a range of a file */
} ferry_part_kind;

/* Takes given memory back; called exactly once, on any thread, before the request settles. */
typedef void ferry_release(void *data, void *arg);

typedef struct ferry_part {
    ferry_part_kind kind;
    const void *data;       /* memory: its first byte; may be NULL if length is 0 */
    size_t length;          /* memory: bytes */
    ferry_release *release; /* given memory: what to call; NULL: free(3) */
    void *arg;              /* given memory: handed to release */
    ferry_file file;        /* a file part: which */
} ferry_part;

static inline ferry_part ferry_part_memory_(ferry_part_kind kind, const void *data, size_t length,
                                            ferry_release *release, void *arg)
{
    ferry_part part = {kind, data, length, release, arg, {NULL, FERRY_CWD, -1, 0, 0, 0}};
    return part;
}

/* Memory that is copied at submit. */
static inline ferry_part ferry_part_copy(const void *data, size_t length)
{
    return ferry_part_memory_(FERRY_PART_COPY, data, length, NULL, NULL);
}

/* Memory that the caller leaves unchanged until the request settles. */
static inline ferry_part ferry_part_borrow(const void *data, size_t length)
{
    return ferry_part_memory_(FERRY_PART_BORROW, data, length, NULL, NULL);
}

/* Memory that ferry owns once the submit returned 0; a refused submit leaves it to the caller. */
static inline ferry_part ferry_part_give(void *data, size_t length, ferry_release *release,
                                         void *arg)
{
    return ferry_part_memory_(FERRY_PART_GIVE, data, length, release, arg);
}

/* A range of a file. */
static inline ferry_part ferry_part_file(ferry_file file)
{
    ferry_part part = ferry_part_memory_(FERRY_PART_FILE, NULL, 0, NULL, NULL);
    part.file = file;
    return part;
}

FERRY_END

#endif
