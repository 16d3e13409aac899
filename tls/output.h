/* SPDX-License-Identifier: MIT */
/*
 * What is on its way out of a connection: encrypted bytes that its fd has not taken yet. The memory
 * is given back when all have left, so a connection that is idle has none.
 */
#ifndef FERRY_TLS_OUTPUT_H
#define FERRY_TLS_OUTPUT_H

#include "transport/edge/link.h"

#include <stddef.h>

/* Zeroed, it is empty. */
typedef struct ferry__output {
    unsigned char *data;
    size_t begin, end, capacity;
} ferry__output;

static inline size_t ferry__output_count(const ferry__output *output)
{
    return output->end - output->begin;
}

/* Makes room for so many more. @return 0, -ENOMEM. */
int ferry__output_reserve(ferry__output *output, size_t size);

/* Adds bytes. @return 0, -ENOMEM. */
int ferry__output_add(ferry__output *output, const void *data, size_t size);

/* Gives them to a link's fd. @param more as a link type's write has it. @return 0: it has all;
 * -EAGAIN; or another negative errno. */
int ferry__output_send(ferry__output *output, ferry__link *link, bool more);

/* Drops all. */
void ferry__output_clear(ferry__output *output);

#endif
