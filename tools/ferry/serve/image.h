/* SPDX-License-Identifier: MIT */
/*
 * The head of a file's most frequent answer, as it goes over the wire; for a small file, all of the
 * answer. So an answer is a reference to memory, and costs nothing to make. Only the date in it
 * changes.
 *
 * The cache that made an image and the answers that are on their way share it. An image that is on
 * its way does not change: with a new second the cache makes a copy, unless it is the only holder.
 */
#ifndef TOOLS_FERRY_SERVE_IMAGE_H
#define TOOLS_FERRY_SERVE_IMAGE_H

#include "text.h"

#include <stdatomic.h>

struct image {
    atomic_uint refs;   /* holders; any thread may let go */
    size_t head_length; /* bytes of the head */
    size_t length;      /* of all: the head, and the body if it is here */
    int64_t date_s;     /* which second the date in it is */
    char bytes[];
};

/* What comes before the date. */
#define IMAGE_STATUS_LINE "HTTP/1.1 200 OK\r\nDate: "

/* Makes an image with room for a body. @param head from the status line to the empty line, with any
 * date. @return a reference; NULL: out of memory. */
struct image *image_create(const struct text *head, size_t body_length);

/* Where its body lies. */
static inline char *image_body(struct image *image)
{
    return image->bytes + image->head_length;
}

/*
 * Brings the date up to the present. Takes: the reference. @return a reference to the same image,
 * or to a copy. If there is no memory for a copy the old date stays.
 */
struct image *image_refresh(struct image *image);

struct image *image_ref(struct image *image);
struct image *image_unref(struct image *image); /* takes NULL; @return NULL */

/* Gives a reference back: a ferry_release for parts that lie in an image, which is its arg. */
void image_release(void *data, void *image);

#endif
