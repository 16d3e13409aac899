/* SPDX-License-Identifier: MIT */
#include "tls/output.h"

#include "core/hooks.h"

#include <errno.h>
#include <string.h>

int ferry__output_reserve(ferry__output *output, size_t size)
{
    if (output->capacity - output->end >= size)
        return 0;
    size_t count = ferry__output_count(output), capacity = count + size;
    if (capacity < 2 * output->capacity) /* many small ones are not copied each time */
        capacity = 2 * output->capacity;
    unsigned char *data = ferry__allocate(capacity);
    if (data == NULL)
        return -ENOMEM;
    if (count > 0)
        memcpy(data, output->data + output->begin, count);
    ferry__release(output->data);
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
    ferry__release(output->data);
    *output = (ferry__output){0};
}
