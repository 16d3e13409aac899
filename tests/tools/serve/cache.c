/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/cache.h"

#include "tests/support.h"
#include "tests/tools/serve/tree_support.h"
#include "tools/ferry/serve/http_date.h"

#include <errno.h>
#include <sys/resource.h>

enum { LARGE_BYTES = ENTRY_SMALL_BYTES + 1 };

static const struct cache_limits plenty = {.entries = 100, .bytes = 1 << 20, .files = 10};

static int look_up(struct cache *cache, const char *path, struct entry **ret_entry)
{
    struct target target;
    check_eq(target_parse(path, strlen(path), &target), 0);
    return cache_find(cache, &target, ret_entry);
}

static struct entry *find(struct cache *cache, const char *path)
{
    struct entry *entry = NULL;
    check_eq(look_up(cache, path, &entry), 0);
    return entry;
}

static void check_in_memory(const struct entry *entry, const char *expected)
{
    check(entry->shared == NULL);
    check_eq(entry->size, strlen(expected));
    check(memcmp(image_body(entry->image), expected, entry->size) == 0);
}

PROMISE(cache, small_file_is_in_memory_and_a_large_one_open)
{
    struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put(&tree, "small.html", "hello");
    tree_put(&tree, "empty", "");
    tree_put_content(&tree, "limit", ENTRY_SMALL_BYTES, 1);
    tree_put_content(&tree, "large", LARGE_BYTES, 1);
    check_in_memory(find(cache, "/small.html"), "hello");
    check_in_memory(find(cache, "/empty"), "");
    check(find(cache, "/limit")->shared == NULL);
    unsigned fds = count_fds();
    check(find(cache, "/large")->shared != NULL);
    check_eq(find(cache, "/large")->size, LARGE_BYTES);
    check_eq(count_fds(), fds + 1);
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, fields_describe_the_file)
{
    struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put(&tree, "page.html", "hello");
    tree_set_time(&tree, "page.html", 784111777);
    const struct entry *entry = find(cache, "/page.html");
    static const char fields[] = "Content-Type: text/html\r\nAccept-Ranges: bytes\r\n"
                                 "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                 "ETag: \"ae1b981bc490a00-5\"\r\n";
    check_eq(entry->fields.length, sizeof fields - 1);
    check(memcmp(entry->fields.at, fields, sizeof fields - 1) == 0);
    check_eq(entry->validators.modified_s, 784111777);
    check_eq(entry->validators.etag.length, 19);
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, file_of_the_future_was_changed_now)
{
    struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    int64_t now_s;
    (void)http_date_now(&now_s);
    tree_put(&tree, "file", "x");
    tree_set_time(&tree, "file", now_s + 100000);
    check(find(cache, "/file")->validators.modified_s < now_s + 1000);
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, file_is_loaded_once)
{
    struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put(&tree, "file", "hello");
    struct entry *entry = find(cache, "/file");
    check(find(cache, "/file") == entry);
    await_next_second();
    check(find(cache, "/file") == entry);
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, change_is_noticed_within_a_second)
{
    struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put(&tree, "file", "old");
    tree_put(&tree, "replaced", "old");
    tree_put(&tree, "removed", "old");
    find(cache, "/file");
    find(cache, "/replaced");
    find(cache, "/removed");
    tree_put(&tree, "file", "new");
    tree_put(&tree, "other", "another");
    tree_rename(&tree, "other", "replaced");
    tree_remove(&tree, "removed");
    await_next_second();
    check_in_memory(find(cache, "/file"), "new");
    check_in_memory(find(cache, "/replaced"), "another");
    struct entry *entry;
    check_eq(look_up(cache, "/removed", &entry), -ENOENT);
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, change_that_keeps_size_and_time_is_noticed)
{
    struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put(&tree, "file", "old");
    tree_set_time(&tree, "file", 1000000000);
    find(cache, "/file");
    await_next_second(); /* the clock that files are stamped by is as coarse as ticks */
    tree_put(&tree, "file", "new");
    tree_set_time(&tree, "file", 1000000000);
    await_next_second();
    check_in_memory(find(cache, "/file"), "new");
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, directory_is_its_index)
{
    struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    tree_make_directory(&tree, "a");
    tree_make_directory(&tree, "b");
    tree_make_directory(&tree, "c");
    tree_make_directory(&tree, "c/index.html");
    tree_put(&tree, "index.html", "root");
    tree_put(&tree, "a/index.html", "a");
    check_in_memory(find(cache, "/"), "root");
    check_in_memory(find(cache, "/a/"), "a");
    check_in_memory(find(cache, "/a/index.html"), "a");
    check(find(cache, "/a/") != find(cache, "/a/index.html"));
    struct entry *entry;
    check_eq(look_up(cache, "/a", &entry), -EISDIR);
    check_eq(look_up(cache, "/b/", &entry), -ENOTEMPTY);
    check_eq(look_up(cache, "/c/", &entry), -ENOTEMPTY);
    check_eq(look_up(cache, "/d/", &entry), -ENOENT);
    check_eq(look_up(cache, "/index.html/", &entry), -ENOTDIR);
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, beyond_its_limits_the_longest_unused_go_first)
{
    struct grown_tree tree = tree_grow();
    const struct cache_limits few = {.entries = 3, .bytes = 1 << 20, .files = 10};
    struct cache *cache = cache_create(&tree.site, &few);
    ferry_part held[3]; /* each holds its file's image as long as the cache does, and longer */
    for (char name[] = "/0"; name[1] <= '3'; name[1]++)
        tree_put(&tree, name + 1, name);
    for (char name[] = "/0"; name[1] <= '2'; name[1]++)
        held[name[1] - '0'] = entry_part(find(cache, name), 0, 1);
    find(cache, "/0");
    find(cache, "/3"); /* and 1 has to go */
    for (int i = 0; i < 3; i++) {
        struct image *image = held[i].arg;
        check_eq(atomic_load(&image->refs), i == 1 ? 1 : 2);
        image_unref(image);
    }
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, no_more_files_are_open_than_allowed)
{
    struct grown_tree tree = tree_grow();
    const struct cache_limits two = {.entries = 100, .bytes = 1 << 20, .files = 2};
    struct cache *cache = cache_create(&tree.site, &two);
    unsigned fds = count_fds();
    for (char name[] = "/a"; name[1] < 'f'; name[1]++) {
        tree_put_content(&tree, name + 1, LARGE_BYTES, 1);
        check_eq(find(cache, name)->size, LARGE_BYTES);
        check(count_fds() <= fds + 2);
    }
    check_eq(count_fds(), fds + 2);
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, no_more_memory_is_taken_than_allowed_but_for_one_file)
{
    struct grown_tree tree = tree_grow();
    const struct cache_limits little = {.entries = 100, .bytes = 1, .files = 10};
    struct cache *cache = cache_create(&tree.site, &little);
    tree_put(&tree, "a", "a");
    tree_put(&tree, "b", "b");
    find(cache, "/a");
    check_in_memory(find(cache, "/b"), "b");
    tree_put(&tree, "a", "new");
    check_in_memory(find(cache, "/a"), "new"); /* it was let go */
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, out_of_fds_unused_files_are_closed_for_one_that_is_asked_for)
{
    struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put_content(&tree, "a", LARGE_BYTES, 1);
    tree_put_content(&tree, "b", LARGE_BYTES, 1);
    find(cache, "/a");
    struct rlimit before, none;
    check_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0); /* the lowest that is free */
    close(next);
    none = (struct rlimit){(rlim_t)next, before.rlim_max};
    check_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct entry *entry;
    int error = look_up(cache, "/b", &entry);
    check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    check_eq(error, 0);
    check_eq(entry->size, LARGE_BYTES);
    cache_free(cache);
    tree_fell(&tree);
}

PROMISE(cache, parts_outlive_what_they_were_made_of)
{
    struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put(&tree, "file", "hello");
    ferry_part part = entry_part(find(cache, "/file"), 1, 3);
    cache_free(cache);
    check_eq(part.length, 3);
    check(memcmp(part.data, "ell", 3) == 0);
    part.release((void *)part.data, part.arg);
    tree_fell(&tree);
}

PROMISE(cache, answer_under_way_does_not_change_with_the_second)
{
    struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    char before[512];
    tree_put(&tree, "file", "hello");
    ferry_part part = entry_image_part(find(cache, "/file"), true);
    check(part.length < sizeof before);
    memcpy(before, part.data, part.length);
    await_next_second();
    ferry_part later = entry_image_part(find(cache, "/file"), true);
    check(memcmp(before, part.data, part.length) == 0);
    check_eq(later.length, part.length);
    check(memcmp(later.data, part.data, part.length) != 0);
    part.release((void *)part.data, part.arg);
    later.release((void *)later.data, later.arg);
    cache_free(cache);
    tree_fell(&tree);
}
