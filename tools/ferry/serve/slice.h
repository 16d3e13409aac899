/* SPDX-License-Identifier: MIT */
/* Pieces of a request, where they lie; and the lists that fields are (RFC 9110, 5.6.1). */
#ifndef TOOLS_FERRY_SERVE_SLICE_H
#define TOOLS_FERRY_SERVE_SLICE_H

#include <stdbool.h>
#include <stddef.h>

struct slice {
    const char *at; /* NULL: it is not there */
    size_t length;
};

/* Whether it is this text, in whatever case. */
bool slice_is(struct slice slice, const char *text);

/* The same without the blanks and tabs around it. */
struct slice slice_trim(struct slice slice);

/*
 * Takes the next element off a list of such that have no comma in them: "close, x" say. Empty ones
 * are passed over, as the RFC wants it. @return whether there was one.
 */
bool slice_take_element(struct slice *list, struct slice *ret_element);

#endif
