/* SPDX-License-Identifier: MIT */
/*
 * A lister reads directories. It has a thread of its own: other connections of an owner would have
 * to wait for milliseconds. Listings of one directory that are wanted at the same time, or within a
 * second, are one: who finds it at hand waits for nobody. While all listings take too much memory
 * no more are made.
 */
#ifndef TOOLS_FERRY_SERVE_LISTER_H
#define TOOLS_FERRY_SERVE_LISTER_H

#include "listing.h"

struct lister;

/* A listing that is wanted. */
struct lister_order {
    struct lister_order *next;
    const char *path; /* below the root; "", or it ends in a slash. Borrowed */
    /*
     * Called once, on the lister's thread. It may free the order. @param listing borrowed; NULL:
     * error says why, an errno of listing_read; -EAGAIN: not now.
     */
    void (*made)(struct lister_order *order, struct listing *listing, int error);
};

/* @param site copied. @return 0, or a negative errno. */
int lister_start(const struct site *site, struct lister **ret_lister);

/* Threads: any. @return a reference to the path's listing of this second; NULL: it has none. */
struct listing *lister_find(struct lister *lister, const char *path);

/* Threads: any. Never blocks. */
void lister_post(struct lister *lister, struct lister_order *order);

/* Ends it. Orders that were not carried out get -EAGAIN. Takes NULL. */
void lister_stop(struct lister *lister);

#endif
