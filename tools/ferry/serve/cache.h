/* SPDX-License-Identifier: MIT */
/*
 * The files that one thread has served of late, by path. Each of ferry's owners has a cache of its
 * own, so that no lock and no shared cache line stands between a request and its answer.
 *
 * What a path names is looked at once a second at most: for so long an old version may be served.
 * The same holds for the root: while there is none nothing is served.
 * Names of files that are not there take no memory, so nobody can push files out by asking for
 * such names. At its limits the cache lets go of the file that was not asked for for longest, but
 * only for one that is asked for again: what a crawler asks for once pushes nothing out.
 */
#ifndef TOOLS_FERRY_SERVE_CACHE_H
#define TOOLS_FERRY_SERVE_CACHE_H

#include "entry.h"
#include "target.h"

struct cache;

struct cache_limits {
    size_t entries; /* files, small and large */
    size_t bytes;   /* of memory that small files take, heads included */
    size_t files;   /* that are kept open, which are the large ones */
};

/* @param site copied, its strings borrowed. @return NULL: out of memory. */
struct cache *cache_create(const struct site *site, const struct cache_limits *limits);

void cache_free(struct cache *cache); /* takes NULL */

const struct site *cache_site(const struct cache *cache);

/*
 * Finds the file that a target names; for a directory, its index.html.
 * @param ret_entry valid until the next call.
 * @return 0; -EISDIR: it is a directory, asked for without its slash; -ENOTEMPTY: one that has no
 *         index.html; -EAGAIN: the root is gone for now; as entry_create.
 */
int cache_find(struct cache *cache, const struct target *target, struct entry **ret_entry);

#endif
