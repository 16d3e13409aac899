/* SPDX-License-Identifier: MIT */
/*
 * Text that is put together piece by piece, in a buffer of the caller's or in one that grows. Once
 * a piece has found no room nothing more is added: it is enough to look at is_cut at the end.
 */
#ifndef TOOLS_FERRY_SERVE_TEXT_H
#define TOOLS_FERRY_SERVE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    char *data;    /* what there is so far; not NUL-terminated */
    size_t length; /* of it */
    size_t size;   /* for how much there is room */
    bool is_grown; /* data is malloc(3)'s, and made larger as needed; to be freed by its user */
    bool is_cut;   /* something did not fit */
};

/* An empty text in a buffer. */
static inline struct text text_in(char *buffer, size_t size)
{
    return (struct text){.data = buffer, .size = size};
}

/* An empty text that grows. */
static inline struct text text_growing(void)
{
    return (struct text){.is_grown = true};
}

void text_add(struct text *text, const void *data, size_t length);

static inline void text_add_string(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void text_add_number(struct text *text, uint64_t number);
void text_add_hex(struct text *text, uint64_t number);

/* Adds text. Characters that have a meaning in HTML are escaped, quotes included. */
void text_add_html(struct text *text, const char *string);

/* Adds the path of a URL: '/' stays, and all that is not unreserved there is percent-encoded. */
void text_add_url(struct text *text, const char *path, size_t length);

/*
 * Adds a URL's query as a client wrote it. What it encoded stays so. What it should have encoded is
 * encoded.
 */
void text_add_query(struct text *text, const char *query, size_t length);

#endif
