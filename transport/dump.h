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

/* Adds a label in quotes, behind a blank; nothing for NULL and "". */
void ferry__line_add_label(ferry__line *line, const char *label);

/* Adds how long something lasts: ", for 20 ms". */
void ferry__line_add_age(ferry__line *line, int64_t since);

#endif
