/* SPDX-License-Identifier: MIT */
/*
 * The page that shows what is in a directory: directories first, then by name. The names are read
 * and sorted at once; the page is written from them piece by piece, as it is sent. So an answer
 * that waits takes the names' memory and not the page's, and answers can share it: it never
 * changes.
 */
#ifndef TOOLS_FERRY_SERVE_LISTING_H
#define TOOLS_FERRY_SERVE_LISTING_H

#include "site.h"
#include "text.h"

/* More names are not shown: such a page helps nobody, and takes long to read. */
enum { LISTING_NAMES = 10000 };

struct listing;

/* Where a page that is being written has got to; zeros: its beginning. */
struct listing_place {
    size_t row;
    size_t offset; /* bytes of it that are written */
};

/*
 * Reads what is in a directory. It shows only what would be served: nothing hidden, unless the site
 * shows that, no links that lead out, no special files.
 * @param path below the root; "", or it ends in a slash. Copied.
 * @return 0; -ENOMEM; as tree_open.
 */
int listing_read(const struct site *site, const char *path, struct listing **ret_listing);

struct listing *listing_ref(struct listing *listing);
struct listing *listing_unref(struct listing *listing); /* takes NULL; @return NULL */

/* How many bytes all listings take. */
size_t listing_bytes_in_all(void);

const char *listing_path(const struct listing *listing);
uint64_t listing_length(const struct listing *listing); /* of the page, in bytes */

/*
 * Writes the next bytes of the page, in HTML and UTF-8. @return how many; 0: that was all; -ENOMEM.
 */
int64_t listing_write(const struct listing *listing, struct listing_place *place, char *buffer,
                      size_t size);

#endif
