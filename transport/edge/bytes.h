/* SPDX-License-Identifier: MIT */
/*
 * Bytes that have come and wait to be taken: appended behind, taken in front. If there are none
 * there is no memory either: most streams keep nothing most of the time.
 */
#ifndef FERRY_TRANSPORT_EDGE_BYTES_H
#define FERRY_TRANSPORT_EDGE_BYTES_H

#include <stddef.h>

/* Zero-initialised, it is empty. */
typedef struct ferry__bytes {
    unsigned char *data;
    size_t begin; /* of what is there, in data */
    size_t end;
    size_t capacity;
} ferry__bytes;

static inline size_t ferry__bytes_count(const ferry__bytes *bytes)
{
    return bytes->end - bytes->begin;
}

/* The first of them; NULL if there is no memory. Valid until anything is appended or taken. */
static inline unsigned char *ferry__bytes_first(const ferry__bytes *bytes)
{
    return bytes->data != NULL ? bytes->data + bytes->begin : NULL;
}

/* Makes room for size more at data + end. @return 0, -ENOMEM (with everything as it was). */
int ferry__bytes_reserve(ferry__bytes *bytes, size_t size);

/*
 * Puts a copy of memory behind, or in front of, what is there. @return 0, -ENOMEM (nothing has
 * changed).
 */
int ferry__bytes_append(ferry__bytes *bytes, const void *data, size_t size);
int ferry__bytes_prepend(ferry__bytes *bytes, const void *data, size_t size);

/* Takes so many in front. The last ones release the memory. */
void ferry__bytes_take(ferry__bytes *bytes, size_t size);

#endif
