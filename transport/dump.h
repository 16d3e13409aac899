/* SPDX-License-Identifier: MIT */
/*
 * Dumps: a service's owners and members as lines of text. What each member has to say its own file
 * says (ferry__member_type in transport/service.h); here is what a line is made with.
 *
 * Whoever writes one runs on any thread, beside the owners: it reads what they show, and what never
 * changes, and waits for nobody.
 */
#ifndef FERRY_TRANSPORT_DUMP_H
#define FERRY_TRANSPORT_DUMP_H

#include "core/label.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A line that grows, and is cut where it is too long. */
typedef struct ferry__line {
    int64_t now; /* what ages are counted from */
    size_t length;
    char text[512];
} ferry__line;

__attribute__((format(printf, 2, 3))) void ferry__line_add(ferry__line *line, const char *format,
                                                           ...);

/* Adds how many there are: "1 byte", "2 bytes". @param what one of them. */
void ferry__line_add_count(ferry__line *line, uint64_t count, const char *what);

/* Adds what is queued: "2 requests queued, 1 byte and 0 of files". */
void ferry__line_add_queue(ferry__line *line, uint64_t requests, uint64_t bytes,
                           uint64_t file_bytes);

/* Adds what somebody else has named, and is not to look like more: with '?' for blanks and quotes. */
void ferry__line_add_word(ferry__line *line, const char *word);

/* Adds a label in quotes, behind a blank, with '?' for quotes in it; nothing for NULL and "". */
void ferry__line_add_label(ferry__line *line, const char *label);

/* Adds how long something lasts: ", for 20 ms". */
void ferry__line_add_age(ferry__line *line, int64_t since);

#endif
