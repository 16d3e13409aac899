/* SPDX-License-Identifier: MIT */
/*
 * What it costs to have a file ready to be sent, in system calls: there may be very many files.
 *
 * The calls are counted on their way (-Wl,--wrap), and what second it is, the tests say.
 */
#include "tests/support.h"
#include "tests/tools/serve/tree_support.h"
#include "tools/ferry/serve/cache.h"
#include "tools/ferry/serve/entry.h"
#include "tools/ferry/serve/http_date.h"

#include <sys/stat.h>

/* ---- counting -------------------------------------------------------------------------------- */

typedef struct calls {
    unsigned opens, walks, looks, reads, closes; /* walks: opens from the root of all */
} calls;

static calls made;
static int64_t second = 1000;

WRAPPED(int, close, (int fd))
{
    made.closes++;
    return __real_close(fd);
}

WRAPPED(int, fstat64, (int fd, struct stat *status))
{
    made.looks++;
    return __real_fstat64(fd, status);
}

WRAPPED(int, fstatat64, (int directory, const char *path, struct stat *status, int flags))
{
    made.looks++;
    return __real_fstatat64(directory, path, status, flags);
}

/* None of the server's makes a file. */
WRAPPED(int, open64, (const char *path, int flags, ...))
{
    made.walks++;
    return __real_open64(path, flags, 0);
}

WRAPPED(int, openat64, (int directory, const char *path, int flags, ...))
{
    made.opens++;
    return __real_openat64(directory, path, flags, 0);
}

WRAPPED(ssize_t, read, (int fd, void *data, size_t size))
{
    made.reads++;
    return __real_read(fd, data, size);
}

COUNT_OPENAT2(made.opens)

WRAPPED(const char *, http_date_now, (int64_t * ret_seconds))
{
    if (ret_seconds != NULL)
        *ret_seconds = second;
    return "Sun, 06 Nov 1994 08:49:37 GMT";
}

static void check_calls(calls expected)
{
    check_eq(made.opens, expected.opens);
    check_eq(made.walks, expected.walks);
    check_eq(made.looks, expected.looks);
    check_eq(made.reads, expected.reads);
    check_eq(made.closes, expected.closes);
    made = (calls){0};
}

/* ---- tests ----------------------------------------------------------------------------------- */

PROMISE(loading, small_file_is_loaded_by_seven_calls_and_looked_at_by_three)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_make_directory(&tree, "below");
    tree_put(&tree, "below/small", "hello");
    await_tags();
    struct entry *entry;
    made = (calls){0};
    check_eq(entry_create(&tree.site, "below/small", &entry), 0);
    check_calls((calls){.opens = 2, .looks = 2, .reads = 1, .closes = 2});
    check(entry_is_valid(&tree.site, entry, second)); /* of this second */
    check_calls((calls){0});
    check(entry_is_valid(&tree.site, entry, ++second));
    check_calls((calls){.opens = 1, .looks = 1, .closes = 1});
    entry_free(entry);
}

PROMISE(loading, what_is_still_not_there_is_found_out_by_one_call)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    const struct cache_limits limits = {.entries = 10, .bytes = 10000, .files = 10};
    struct cache *cache = cache_create(&tree.site, &limits);
    struct target target;
    struct entry *entry;
    check_eq(target_parse("/none", 5, &target), 0);
    made = (calls){0};
    check_eq(cache_find(cache, &target, &entry), -ENOENT);
    check_calls((calls){.opens = 1});
    check_eq(cache_find(cache, &target, &entry), -ENOENT);
    check_eq(cache_find(cache, &target, &entry), -ENOENT);
    check_calls((calls){.looks = 2});
    second++; /* the root is looked at anew: two opens, three looks, two closes */
    check_eq(cache_find(cache, &target, &entry), -ENOENT);
    check_calls((calls){.walks = 1, .opens = 2, .looks = 3, .closes = 2});
    cache_free(cache);
}
