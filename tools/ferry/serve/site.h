/* SPDX-License-Identifier: MIT */
/* What is served, and how. But for root, of which each cache has its own, it never changes. */
#ifndef TOOLS_FERRY_SERVE_SITE_H
#define TOOLS_FERRY_SERVE_SITE_H

#include "media_types.h"

#include <stdbool.h>

struct lister;

struct site {
    const char *directory;           /* the path of what is served, from / on */
    int root;                        /* the directory that it named then (tree.h) */
    int own_fds;                     /* of tree_open_own_fds */
    const struct media_types *types; /* what its files are */
    struct lister *lister;           /* reads directories; NULL: the thread that wants one does */
    bool shows_hidden;               /* what begins with a dot is served like the rest */
    bool lists;                      /* a directory without an index.html shows what is in it */
};

#endif
