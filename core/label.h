/* SPDX-License-Identifier: MIT */
/*
 * Labels: what the program calls something, copied. A label never changes. A thread that has found
 * one may read it for as long as what it names is there, since a new label keeps the old one.
 */
#ifndef FERRY_CORE_LABEL_H
#define FERRY_CORE_LABEL_H

#include <stdbool.h>
#include <stddef.h>

/* So many bytes of a label are kept: about as many as a line of a dump has room for. */
enum { FERRY__LABEL_BYTES = 63 };

typedef struct ferry__label {
    struct ferry__label *replaced; /* what it was called before; freed with it */
    char text[];                   /* empty: it has no name */
} ferry__label;

/*
 * Copies text, cut to a label's length. @param text NULL: *ret_label is NULL. @return 0, -ENOMEM.
 */
int ferry__label_create(const char *text, ferry__label **ret_label);

/* Frees it, and what it has replaced. NULL is fine. */
void ferry__label_free(ferry__label *label);

/* Its text; NULL: there is none. */
static inline const char *ferry__label_text(const ferry__label *label)
{
    return label != NULL && label->text[0] != '\0' ? label->text : NULL;
}

/* Whether text goes on within a character of UTF-8 there. */
static inline bool ferry__text_is_inside(const char *text)
{
    return ((unsigned char)*text & 0xc0) == 0x80;
}

/* How much of text fits into so many bytes, with its last character whole. */
size_t ferry__text_fit(const char *text, size_t most);

#endif
