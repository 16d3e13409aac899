/* SPDX-License-Identifier: MIT */
#include "cache.h"

#include "http_date.h"
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <xxhash.h>

/* The file that stands for a directory. */
static const char index_name[] = "index.html";

/* A place of the table. Those of a bucket are chained. All are in a line by their last use. */
struct place {
    struct place *next;  /* of the same bucket */
    struct place *newer; /* the next one that was used after it; NULL: none */
    struct place *older; /* the next one that was used before it; NULL: none */
    uint64_t hash;       /* of its path */
    size_t length;       /* of its path, which is what the entry's file begins with */
    struct entry *entry;
};

/* The paths of some hashes. */
struct bucket {
    struct place *first;
    uint32_t newer, older; /* the last two that were asked for and got no place: of their hashes */
    uint32_t missing;      /* the last one that named nothing */
    uint32_t missed_s;     /* when it did not */
};

struct cache {
    struct site site; /* with a root of its own */
    uint64_t seed;    /* of hashes: nobody outside can tell which paths have the same */
    int64_t looked_s; /* when it was last looked where the root is */
    struct cache_limits limits;
    struct cache_limits used; /* how much of each */
    struct place *newest;
    struct place *oldest;
    struct entry *passing; /* what the last call found and gave no place; or NULL */
    size_t mask;           /* the number of buckets, a power of two, less one */
    struct bucket buckets[];
};

/* ---- the line -------------------------------------------------------------------------------- */

static void take_out_of_line(struct cache *cache, struct place *place)
{
    *(place->newer != NULL ? &place->newer->older : &cache->newest) = place->older;
    *(place->older != NULL ? &place->older->newer : &cache->oldest) = place->newer;
}

static void put_in_front(struct cache *cache, struct place *place)
{
    place->newer = NULL;
    place->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = place;
    cache->newest = place;
}

/* ---- the table ------------------------------------------------------------------------------- */

static struct bucket *bucket_of(struct cache *cache, uint64_t hash)
{
    return &cache->buckets[hash & cache->mask];
}

static bool is_of(const struct place *place, uint64_t hash, const struct target *target)
{
    return place->hash == hash && place->length == target->length &&
           memcmp(place->entry->file, target->path, target->length) == 0;
}

static struct place *find(struct cache *cache, uint64_t hash, const struct target *target)
{
    struct place *place = bucket_of(cache, hash)->first;
    while (place != NULL && !is_of(place, hash, target))
        place = place->next;
    return place;
}

/* Counts what an entry uses. @param sign 1 or -1. */
static void count(struct cache *cache, const struct entry *entry, int sign)
{
    size_t one = (size_t)sign;
    cache->used.entries += one;
    cache->used.bytes += one * entry->image->length;
    cache->used.files += entry->shared != NULL ? one : 0;
}

static void drop(struct cache *cache, struct place *place)
{
    struct place **link = &bucket_of(cache, place->hash)->first;
    while (*link != place)
        link = &(*link)->next;
    *link = place->next;
    take_out_of_line(cache, place);
    count(cache, place->entry, -1);
    entry_free(place->entry);
    free(place);
}

static bool is_too_full(const struct cache *cache)
{
    return cache->used.entries > cache->limits.entries || cache->used.bytes > cache->limits.bytes ||
           cache->used.files > cache->limits.files;
}

/* Whether it would push nothing out. */
static bool fits(struct cache *cache, const struct entry *entry)
{
    count(cache, entry, 1);
    bool does = !is_too_full(cache);
    count(cache, entry, -1);
    return does;
}

/* The newest one stays in any case: it is about to be sent. */
static void make_room(struct cache *cache)
{
    while (is_too_full(cache) && cache->oldest != cache->newest)
        drop(cache, cache->oldest);
}

/* What a bucket remembers a path by: the other half of its hash has chosen the bucket. */
static uint32_t mark_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

/* Whether a path without a place was asked for of late. From now on it was. */
static bool was_asked_for(struct cache *cache, uint64_t hash)
{
    struct bucket *bucket = bucket_of(cache, hash);
    uint32_t mark = mark_of(hash);
    bool was = bucket->newer == mark || bucket->older == mark;
    if (bucket->newer != mark) {
        bucket->older = bucket->newer;
        bucket->newer = mark;
    }
    return was;
}

/* Takes: entry. */
static int put(struct cache *cache, uint64_t hash, size_t length, struct entry *entry)
{
    struct place *place = malloc(sizeof *place);
    if (place == NULL) {
        entry_free(entry);
        return -ENOMEM;
    }
    struct bucket *bucket = bucket_of(cache, hash);
    *place = (struct place){.next = bucket->first, .hash = hash, .length = length, .entry = entry};
    bucket->first = place;
    put_in_front(cache, place);
    count(cache, entry, 1);
    make_room(cache);
    return 0;
}

/* ---- loading --------------------------------------------------------------------------------- */

/* Whether the path names a directory that has no index, or nothing at all. */
static int explain_missing_index(const struct cache *cache, const struct target *target)
{
    struct stat status;
    int error = tree_look(cache->site.root, target->path, &status);
    return error != 0 ? error : S_ISDIR(status.st_mode) ? -ENOTEMPTY : -ENOTDIR;
}

static int load_index(const struct cache *cache, const struct target *target,
                      struct entry **ret_entry)
{
    char file[PATH_MAX];
    if (target->length + sizeof index_name > sizeof file)
        return -ENAMETOOLONG;
    memcpy(file, target->path, target->length);
    memcpy(file + target->length, index_name, sizeof index_name);
    int error = entry_create(&cache->site, file, ret_entry);
    bool is_missing = error == -ENOENT || error == -EISDIR;
    return is_missing ? explain_missing_index(cache, target) : error;
}

static int load_once(const struct cache *cache, const struct target *target,
                     struct entry **ret_entry)
{
    return target->is_directory ? load_index(cache, target, ret_entry)
                                : entry_create(&cache->site, target->path, ret_entry);
}

/* Closes files that nobody has asked for lately: somebody asks for another one, which needs fds. */
static int load(struct cache *cache, const struct target *target, struct entry **ret_entry)
{
    int error = load_once(cache, target, ret_entry);
    while ((error == -EMFILE || error == -ENFILE) && cache->used.files > 0) {
        drop(cache, cache->oldest);
        error = load_once(cache, target, ret_entry);
    }
    return error;
}

/* ---- what is not there ----------------------------------------------------------------------- */

static void note_missing(struct cache *cache, uint64_t hash, int64_t now_s)
{
    struct bucket *bucket = bucket_of(cache, hash);
    bucket->missing = mark_of(hash);
    bucket->missed_s = (uint32_t)now_s;
}

/*
 * Whether a path that named nothing in this very second still does not. It is asked for again and
 * again: a page's icon, what robots try. A file that has been made meanwhile is seen at once.
 */
static bool is_still_missing(struct cache *cache, uint64_t hash, const struct target *target,
                             int64_t now_s)
{
    const struct bucket *bucket = bucket_of(cache, hash);
    return bucket->missing == mark_of(hash) && bucket->missed_s == (uint32_t)now_s &&
           tree_has_nothing(cache->site.root, target->path);
}

/* ---- the cache ------------------------------------------------------------------------------- */

/* Whether there is a root. It may have been swapped, or made anew. */
static bool has_root(struct cache *cache, int64_t now_s)
{
    if (cache->looked_s != now_s)
        cache->site.root = tree_follow_root(cache->site.root, cache->site.directory);
    cache->looked_s = now_s;
    return cache->site.root >= 0;
}

static void drop_passing(struct cache *cache)
{
    entry_free(cache->passing);
    cache->passing = NULL;
}

int cache_find(struct cache *cache, const struct target *target, struct entry **ret_entry)
{
    int64_t now_s;
    (void)http_date_now(&now_s);
    drop_passing(cache);
    if (!has_root(cache, now_s))
        return -EAGAIN;
    uint64_t hash = XXH3_64bits_withSeed(target->path, target->length, cache->seed);
    struct place *place = find(cache, hash, target);
    if (place != NULL && entry_is_valid(&cache->site, place->entry, now_s)) {
        take_out_of_line(cache, place);
        put_in_front(cache, place);
        *ret_entry = place->entry;
        return 0;
    }
    bool had_place = place != NULL;
    if (had_place)
        drop(cache, place);
    if (is_still_missing(cache, hash, target, now_s))
        return -ENOENT;
    struct entry *entry = NULL;
    int error = load(cache, target, &entry);
    if (error == -ENOENT)
        note_missing(cache, hash, now_s);
    if (error != 0)
        return error;
    if (had_place || fits(cache, entry) || was_asked_for(cache, hash))
        error = put(cache, hash, target->length, entry);
    else
        cache->passing = entry;
    if (error == 0)
        *ret_entry = entry;
    return error;
}

struct cache *cache_create(const struct site *site, const struct cache_limits *limits)
{
    size_t buckets = 16;
    while (buckets < limits->entries)
        buckets *= 2;
    struct cache *cache = calloc(1, sizeof *cache + buckets * sizeof(struct bucket));
    if (cache == NULL)
        return NULL;
    cache->site = *site;
    (void)getrandom(&cache->seed, sizeof cache->seed, GRND_NONBLOCK); /* else it stays 0 */
    cache->site.root = tree_open_root(site->directory);
    (void)http_date_now(&cache->looked_s);
    cache->limits = *limits;
    cache->mask = buckets - 1;
    return cache;
}

void cache_free(struct cache *cache)
{
    if (cache == NULL)
        return;
    drop_passing(cache);
    while (cache->oldest != NULL)
        drop(cache, cache->oldest);
    if (cache->site.root >= 0)
        (void)close(cache->site.root);
    free(cache);
}

const struct site *cache_site(const struct cache *cache)
{
    return &cache->site;
}
