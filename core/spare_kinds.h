/* SPDX-License-Identifier: MIT */
/* The kinds of blocks of memory that threads keep for one another (core/spares.h). */
#ifndef FERRY_CORE_SPARE_KINDS_H
#define FERRY_CORE_SPARE_KINDS_H

#include <stddef.h>

/*
 * What blocks there are, the smallest first: of 512 bytes, 768, 1,024, 1,536, and so on to 64 KiB,
 * two to a doubling. So what is in one leaves a third of it unused, unless it is less than 512
 * bytes. A pile, or a shelf, has those of one kind. Only some kinds need a name.
 */
typedef enum ferry__spare_kind {
    FERRY__SPARE_512,        /* most small writes, request and promise included */
    FERRY__SPARE_1536 = 3,   /* a copy of a KiB; a head and a file */
    FERRY__SPARE_LARGE = 12, /* 32 KiB: many writes in one; or bytes that are lent */
    FERRY__SPARE_64K = 14,   /* a piece of a large copy */
    FERRY__SPARE_BUFFER,     /* 68 KiB: bytes on their way */
    FERRY__SPARE_KINDS,
    FERRY__NO_SPARE = FERRY__SPARE_KINDS,         /* an allocation of its own */
    FERRY__REQUEST_SPARES = FERRY__SPARE_1536 + 1 /* how many kinds are for one request each */
} ferry__spare_kind;

/* How many bytes one has, but for buffers. */
#define FERRY__BYTES_OF(kind) ((size_t)((kind) % 2 == 0 ? 512 : 768) << ((kind) / 2))

enum {
    FERRY__SPARE_BYTES = FERRY__BYTES_OF(FERRY__SPARE_512),
    FERRY__LARGE_BYTES = FERRY__BYTES_OF(FERRY__SPARE_LARGE),
    FERRY__64K_BYTES = FERRY__BYTES_OF(FERRY__SPARE_64K),
    FERRY__BUFFER_ROOM = 68 * 1024
};
_Static_assert(FERRY__BYTES_OF(FERRY__SPARE_1536) == 1536 && FERRY__LARGE_BYTES == 32 * 1024 &&
                   FERRY__64K_BYTES == 64 * 1024,
               "they are what their names say");

/* How many bytes one has. @param kind not FERRY__NO_SPARE. */
static inline size_t ferry__spare_bytes(ferry__spare_kind kind)
{
    return kind == FERRY__SPARE_BUFFER ? FERRY__BUFFER_ROOM : FERRY__BYTES_OF(kind);
}

/* The smallest for so many bytes; FERRY__NO_SPARE: they are more than 64 KiB. */
static inline ferry__spare_kind ferry__spare_kind_for(size_t size)
{
    if (size <= FERRY__SPARE_BYTES)
        return FERRY__SPARE_512;
    if (size > FERRY__64K_BYTES)
        return FERRY__NO_SPARE;
    /* How often 512 can be doubled and stay below: 1,025 bytes are more than 512 doubled once. */
    unsigned doublings =
        (unsigned)__builtin_clz(FERRY__SPARE_BYTES) - (unsigned)__builtin_clz((unsigned)size - 1);
    unsigned next = 2 * doublings + 1;
    return (ferry__spare_kind)(size <= FERRY__BYTES_OF(next) ? next : next + 1);
}

#endif
