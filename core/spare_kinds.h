/* SPDX-License-Identifier: MIT */
/* The kinds of blocks of memory that threads keep for one another (core/spares.h). */
#ifndef FERRY_CORE_SPARE_KINDS_H
#define FERRY_CORE_SPARE_KINDS_H

#include <stddef.h>

/* What blocks there are, the smallest first. A pile, or a shelf, has those of one kind. */
typedef enum ferry__spare_kind {
    FERRY__SPARE_512,    /* most small writes, request and promise included; few waste over half */
    FERRY__SPARE_768,    /* a file to send */
    FERRY__SPARE_1536,   /* a copy of a KiB; a head and a file */
    FERRY__SPARE_LARGE,  /* many writes in one; or bytes that are lent */
    FERRY__SPARE_64K,    /* a copy of nearly as much */
    FERRY__SPARE_BUFFER, /* bytes on their way */
    FERRY__SPARE_KINDS,
    FERRY__NO_SPARE = FERRY__SPARE_KINDS,      /* an allocation of its own */
    FERRY__REQUEST_SPARES = FERRY__SPARE_LARGE /* those before it are for one request each */
} ferry__spare_kind;

enum {
    FERRY__SPARE_BYTES = 512, /* of the smallest */
    FERRY__LARGE_BYTES = 32 * 1024,
    FERRY__64K_BYTES = 64 * 1024,
    FERRY__BUFFER_ROOM = 68 * 1024
};

/* The smallest for so many bytes; FERRY__NO_SPARE: for more than 1,536 there is none that fits. */
static inline ferry__spare_kind ferry__spare_kind_for(size_t size)
{
    if (size <= FERRY__SPARE_BYTES)
        return FERRY__SPARE_512;
    return size <= 768 ? FERRY__SPARE_768 : size <= 1536 ? FERRY__SPARE_1536 : FERRY__NO_SPARE;
}

#endif
