/* SPDX-License-Identifier: MIT */
/* What is served, and how: it never changes while it is. */
#ifndef TOOLS_FERRY_SERVE_SITE_H
#define TOOLS_FERRY_SERVE_SITE_H

#include "media_types.h"

#include <stdbool.h>

struct site {
    int root;                        /* the directory; see tree.h */
    const struct media_types *types; /* what its files are */
    bool shows_hidden;               /* what begins with a dot is served like the rest */
    bool lists;                      /* a directory without an index.html shows what is in it */
};

#endif
