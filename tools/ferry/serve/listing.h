/* SPDX-License-Identifier: MIT */
/* The page that shows what is in a directory: directories first, then by name. */
#ifndef TOOLS_FERRY_SERVE_LISTING_H
#define TOOLS_FERRY_SERVE_LISTING_H

#include "site.h"
#include "target.h"
#include "text.h"

/* More names are not shown: a page of them helps nobody, and to make it takes the owner's time. */
enum { LISTING_NAMES = 10000 };

/*
 * Makes the page, in HTML and UTF-8. Only what would be served is shown: nothing hidden, unless the
 * site shows that, no links that lead out, no special files.
 * @param ret_page grows; free its data, also on failure.
 * @return 0; -ENOMEM; as tree_open.
 */
int listing_make(const struct site *site, const struct target *target, struct text *ret_page);

#endif
