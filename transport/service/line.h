/* SPDX-License-Identifier: MIT */
/* A line of a dump (dump.c): what owners and members write themselves with. */
#ifndef FERRY_TRANSPORT_SERVICE_LINE_H
#define FERRY_TRANSPORT_SERVICE_LINE_H

#include "core/label.h"

#include <stddef.h>
#include <stdint.h>

/* A line that grows, and is cut where it is too long. */
typedef struct ferry__line {
    int64_t now; /* what ages are counted from */
    size_t length;
    char text[512];
} ferry__line;

/* Makes it empty. */
void ferry__line_begin(ferry__line *line);

/*
 * Replaces all that does something to a terminal, or is no UTF-8: labels may have any bytes in
 * them.
 */
void ferry__line_make_printable(ferry__line *line);

__attribute__((format(printf, 2, 3))) void ferry__line_add(ferry__line *line, const char *format,
                                                           ...);

/* Adds how many there are: "1 byte", "2 bytes". @param what one of them. */
void ferry__line_add_count(ferry__line *line, uint64_t count, const char *what);

/* Adds what is queued: "2 requests queued, 1 byte and 0 of files". */
void ferry__line_add_queue(ferry__line *line, uint64_t requests, uint64_t bytes,
                           uint64_t file_bytes);

/*
 * Adds a name that somebody else chose, with '?' for blanks and quotes: it must look like one word.
 */
void ferry__line_add_word(ferry__line *line, const char *word);

/* Adds a label in quotes, behind a blank, with '?' for quotes in it; nothing for NULL and "". */
void ferry__line_add_label(ferry__line *line, const char *label);

/* How long ago that was; 0 if it was after the line was begun. */
int64_t ferry__line_age_ms(const ferry__line *line, int64_t since);

/* Adds how long something lasts: ", for 20 ms". */
void ferry__line_add_age(ferry__line *line, int64_t since);

#endif
