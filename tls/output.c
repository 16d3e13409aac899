/* SPDX-License-Identifier: MIT */
#include "tls/output.h"

#include "core/hooks.h"
#include "core/spares.h"

#include <errno.h>
#include <string.h>

static void release(ferry__output *output)
{
    if (output->capacity == FERRY__BUFFER_ROOM)
        ferry__buffer_give_back(output->data);
    else
        ferry__release(output->data);
}

/* @param capacity at least so much; gets how much it is. */
static void *allocate(size_t *capacity)
{
    enum { SMALL = 16 * 1024 }; /* malloc keeps these at hand */
    if (*capacity <= SMALL || *capacity > FERRY__BUFFER_ROOM)
        return ferry__allocate(*capacity);
    *capacity = FERRY__BUFFER_ROOM;
    return ferry__buffer_take();
}

int ferry__output_reserve(ferry__output *output, size_t size)
{
    if (output->capacity - output->end >= size)
        return 0;
    size_t count = ferry__output_count(output), capacity = count + size;
    if (capacity < 2 * output->capacity) /* many small ones are not copied each time */
        capacity = 2 * output->capacity;
    unsigned char *data = allocate(&capacity);
    if (data == NULL)
        return -ENOMEM;
    if (count > 0)
        memcpy(data, output->data + output->begin, count);
    release(output);
    *output = (ferry__output){.data = data, .end = count, .capacity = capacity};
    return 0;
}

int ferry__output_add(ferry__output *output, const void *data, size_t size)
{
    int error = ferry__output_reserve(output, size);
    if (error != 0)
        return error;
    memcpy(output->data + output->end, data, size);
    output->end += size;
    return 0;
}

int ferry__output_send(ferry__output *output, ferry__link *link, bool more)
{
    while (ferry__output_count(output) > 0) {
        const struct iovec rest = {output->data + output->begin, ferry__output_count(output)};
        ssize_t sent = ferry__link_plain.write(link, &rest, 1, more);
        if (sent < 0)
            return (int)sent;
        output->begin += (size_t)sent;
    }
    ferry__output_clear(output);
    return 0;
}

void ferry__output_clear(ferry__output *output)
{
    release(output);
    *output = (ferry__output){0};
}
