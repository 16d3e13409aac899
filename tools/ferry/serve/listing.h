/* SPDX-License-Identifier: MIT */
/*
 * The page that shows what is in a directory: directories first, then by name. It is written once,
 * and never changes. So any number of answers can share it.
 */
#ifndef TOOLS_FERRY_SERVE_LISTING_H
#define TOOLS_FERRY_SERVE_LISTING_H

#include "site.h"

#include <stddef.h>

/* More names are not shown: such a page helps nobody, and takes long to read. */
enum { LISTING_NAMES = 10000 };

struct listing;

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
size_t listing_length(const struct listing *listing); /* of the page, in bytes */

/*
 * Copies the next bytes of the page, which is HTML in UTF-8. @param written how many were copied,
 * counted on.
 * @return how many more; 0: that was all.
 */
size_t listing_write(const struct listing *listing, size_t *written, char *buffer, size_t size);

#endif
