/* SPDX-License-Identifier: MIT */
#include "slice.h"

#include <string.h>
#include <strings.h>

bool slice_is(struct slice slice, const char *text)
{
    return slice.length == strlen(text) && strncasecmp(slice.at, text, slice.length) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice slice)
{
    while (slice.length > 0 && is_blank(slice.at[slice.length - 1]))
        slice.length--;
    for (; slice.length > 0 && is_blank(*slice.at); slice.length--)
        slice.at++;
    return slice;
}

/* Takes what stands before the list's first comma, or all that is left. */
static struct slice take_piece(struct slice *list)
{
    const char *comma = memchr(list->at, ',', list->length);
    struct slice piece = {list->at, comma != NULL ? (size_t)(comma - list->at) : list->length};
    size_t taken = piece.length + (comma != NULL);
    *list = (struct slice){list->at + taken, list->length - taken};
    return slice_trim(piece);
}

bool slice_take_element(struct slice *list, struct slice *ret_element)
{
    while (list->length > 0) {
        *ret_element = take_piece(list);
        if (ret_element->length > 0)
            return true;
    }
    return false;
}
