/* SPDX-License-Identifier: MIT */
#include "transport/edge/bytes.h"

#include "core/spares.h"

#include <errno.h>
#include <string.h>

/* Moves what is there into memory of its own, with so much room in front and behind. */
static int lay_out(ferry__bytes *bytes, size_t before, size_t behind)
{
    enum { LEAST = 512 }; /* a line or a head: not to be grown by a few bytes again and again */
    size_t count = ferry__bytes_count(bytes), size, capacity;
    if (__builtin_add_overflow(before, behind, &size) ||
        __builtin_add_overflow(size, count, &size) ||
        __builtin_add_overflow(size, size / 2, &capacity))
        return -ENOMEM;
    if (capacity < LEAST)
        capacity = LEAST;
    unsigned char *data = ferry__parking_take(&capacity);
    if (data == NULL)
        return -ENOMEM;
    if (count > 0)
        memcpy(data + before, ferry__bytes_first(bytes), count);
    ferry__parking_give_back(bytes->data, bytes->capacity);
    *bytes = (ferry__bytes){data, before, before + count, capacity};
    return 0;
}

int ferry__bytes_reserve(ferry__bytes *bytes, size_t size)
{
    size_t count = ferry__bytes_count(bytes);
    if (bytes->capacity - bytes->end >= size)
        return 0;
    /* They are moved to the front if that costs little beside what was taken there. */
    if (bytes->begin >= count && bytes->capacity - count >= size) {
        memcpy(bytes->data, ferry__bytes_first(bytes), count);
        bytes->begin = 0;
        bytes->end = count;
        return 0;
    }
    return lay_out(bytes, 0, size);
}

int ferry__bytes_append(ferry__bytes *bytes, const void *data, size_t size)
{
    if (size == 0)
        return 0;
    int error = ferry__bytes_reserve(bytes, size);
    if (error != 0)
        return error;
    memcpy(bytes->data + bytes->end, data, size);
    bytes->end += size;
    return 0;
}

int ferry__bytes_prepend(ferry__bytes *bytes, const void *data, size_t size)
{
    if (size == 0)
        return 0;
    if (bytes->begin < size) {
        int error = lay_out(bytes, size, 0);
        if (error != 0)
            return error;
    }
    bytes->begin -= size;
    memcpy(ferry__bytes_first(bytes), data, size);
    return 0;
}

void ferry__bytes_take(ferry__bytes *bytes, size_t size)
{
    bytes->begin += size;
    if (bytes->begin < bytes->end)
        return;
    ferry__parking_give_back(bytes->data, bytes->capacity);
    *bytes = (ferry__bytes){0};
}
