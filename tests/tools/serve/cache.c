/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/cache.h"

#include "tests/support.h"
#include "tests/tools/serve/tree_support.h"
#include "tools/ferry/serve/http_date.h"
#include "tools/ferry/serve/tree.h"

#include <sys/resource.h>

enum { LARGE_BYTES = ENTRY_SMALL_BYTES + 1 };

PUT_AWAY(free_cache, struct cache, cache_free)

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

/* For a file that has to push another one out: it does when it is asked for again. */
static struct entry *keep(struct cache *cache, const char *path)
{
    (void)find(cache, path);
    return find(cache, path);
}

static void check_in_memory(const struct entry *entry, const char *expected)
{
    check(entry->shared == NULL);
    check_eq(entry->size, strlen(expected));
    check(memcmp(image_body(entry->image), expected, entry->size) == 0);
}

PROMISE(cache, small_file_is_in_memory_and_a_large_one_open)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
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
}

PROMISE(cache, fields_describe_the_file)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put(&tree, "page.html", "hello");
    tree_set_time(&tree, "page.html", 784111777);
    await_tags();
    const struct entry *entry = find(cache, "/page.html");
    char fields[512];
    int length = snprintf(fields, sizeof fields,
                          "Content-Type: text/html\r\nAccept-Ranges: bytes\r\n"
                          "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nETag: %.*s\r\n",
                          (int)entry->validators.etag.length, entry->validators.etag.at);
    check_eq(entry->fields.length, length);
    check(memcmp(entry->fields.at, fields, (size_t)length) == 0);
    check_eq(entry->validators.modified_s, 784111777);
    check(entry->validators.etag.length > 16);
}

/* The tag of a file that was put there anew, with a time of its own. */
static void read_tag(const struct grown_tree *tree, const char *name, char *tag, size_t size)
{
    AT_END(free_cache) struct cache *cache = cache_create(&tree->site, &plenty);
    await_tags();
    char path[64];
    snprintf(path, sizeof path, "/%s", name);
    struct slice etag = find(cache, path)->validators.etag;
    check(etag.length > 0);
    snprintf(tag, size, "%.*s", (int)etag.length, etag.at);
}

PROMISE(cache, tag_tells_versions_apart_that_have_one_time_and_size)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    char tags[4][128];
    static const char *const names[] = {"a", "b", "a", "b"};
    for (int i = 0; i < 4; i++) { /* two files, then two new contents of theirs */
        tree_put(&tree, names[i], i < 2 ? "one" : "two");
        tree_set_time(&tree, names[i], 1000000000);
        read_tag(&tree, names[i], tags[i], sizeof tags[i]);
        for (int j = 0; j < i; j++)
            check(strcmp(tags[i], tags[j]) != 0);
    }
}

PROMISE(cache, file_that_was_just_changed_has_no_validators_until_it_is_loaded_anew)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
    int64_t begin_s, end_s;
    do { /* until all of it fell into one second, and into a tick */
        (void)http_date_now(&begin_s);
        tree_put(&tree, "file", "x");
        const struct entry *entry = find(cache, "/file");
        (void)http_date_now(&end_s);
        check(entry->is_provisional || entry->is_tagged);
        check(begin_s != end_s || entry->validators.is_undated);
        check_eq(entry->validators.etag.length > 0, entry->is_tagged);
        await_next_second();
    } while (begin_s != end_s);
    await_next_second();
    const struct entry *entry = find(cache, "/file");
    check(!entry->is_provisional && !entry->validators.is_undated && entry->is_tagged);
}

PROMISE(cache, time_that_says_nothing_is_not_told)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
    int64_t now_s;
    (void)http_date_now(&now_s);
    const int64_t times[] = {0, 1, 315532800, now_s + 100000}; /* the third is 1980-01-01 */
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char name[16], path[16];
        snprintf(name, sizeof name, "%zu", i);
        snprintf(path, sizeof path, "/%zu", i);
        tree_put(&tree, name, "x");
        tree_set_time(&tree, name, times[i]);
        await_tags();
        const struct entry *entry = find(cache, path);
        check(entry->validators.is_undated && entry->validators.etag.length > 0);
        check(memmem(entry->fields.at, entry->fields.length, "Last-Modified", 13) == NULL);
        check(!entry->is_provisional); /* it is as good as it will be */
    }
}

PROMISE(cache, file_is_loaded_once)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put(&tree, "file", "hello");
    tree_set_time(&tree, "file", 1000000000);
    await_tags();
    struct entry *entry = find(cache, "/file");
    struct image *held = image_ref(entry->image); /* so that no other one has its address */
    check(find(cache, "/file") == entry && entry->image == held);
    await_next_second();
    check(find(cache, "/file") == entry && entry->image == held);
    image_unref(held);
}

/* As a crawler asks. */
PROMISE(cache, files_that_are_asked_for_once_push_nothing_out)
{
    enum { FILES = 20 };
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    const struct cache_limits one = {.entries = 1, .bytes = 1 << 20, .files = 1};
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &one);
    tree_put(&tree, "kept", "hello");
    tree_set_time(&tree, "kept", 1000000000);
    await_tags(); /* so that another second is no reason to load it anew */
    struct image *kept = image_ref(find(cache, "/kept")->image);
    ferry_part parts[FILES];
    for (int i = 0; i < FILES; i++) {
        char path[] = {'/', (char)('a' + i), '\0'};
        tree_put(&tree, path + 1, path);
        parts[i] = entry_part(find(cache, path), 0, 1);
    }
    check(find(cache, "/kept")->image == kept);
    for (int i = 0; i < FILES; i++) {
        struct image *image = parts[i].arg;
        check_eq(atomic_load(&image->refs), 1); /* the part's */
        image_unref(image);
    }
    image_unref(kept);
}

/* ---- files that do not hold still, and files that lie ---------------------------------------- */

PROMISE(cache, file_whose_size_lies_is_what_can_be_read)
{
    static const char *const paths[] = {"/self/status", "/sys/kernel/ostype", "/version"};
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    struct site site = tree.site;
    site.directory = "/proc";
    struct cache *cache = cache_create(&site, &plenty);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        const struct entry *entry = find(cache, paths[i]);
        check(entry->size > 0 && entry->shared == NULL && entry->is_fickle);
        check(entry->validators.is_undated && entry->validators.etag.length == 0);
    }
    check(memcmp(image_body(find(cache, "/sys/kernel/ostype")->image), "Linux\n", 6) == 0);
    cache_free(cache);
    site.directory = "/sys/kernel/mm"; /* there a file says that it has 4,096 bytes */
    cache = cache_create(&site, &plenty);
    struct entry *entry;
    int error = look_up(cache, "/transparent_hugepage/enabled", &entry);
    check(error == -ENOENT || (error == 0 && entry->size > 0 && entry->size < 4096));
    cache_free(cache);
}

/* A file that somebody writes to all the time. */
struct writing {
    const struct grown_tree *tree;
    const char *name;
    int flags; /* how it is opened, each time */
    atomic_bool is_over;
};

static void *write_on(void *arg)
{
    struct writing *writing = arg;
    static const char line[1000] = "line";
    char path[128];
    snprintf(path, sizeof path, "%s/%s", writing->tree->path, writing->name);
    while (!writing->is_over) {
        AT_END(close_fd) int fd = open(path, O_WRONLY | O_CLOEXEC | writing->flags);
        check(fd >= 0);
        for (int i = 0; i < 10 && !writing->is_over; i++)
            check_eq(write(fd, line, sizeof line), sizeof line);
    }
    return NULL;
}

PROMISE(cache, file_that_is_written_to_without_pause_is_there)
{
    static const int flags[] = {O_APPEND, 0, O_TRUNC};
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        struct writing writing = {.tree = &tree, .name = "busy", .flags = flags[i]};
        tree_put(&tree, "busy", "");
        pthread_t thread = start_thread(write_on, &writing);
        for (int j = 0; j < 300; j++) {
            struct entry *entry;
            const struct site *site = &tree.site;
            check_eq(entry_create(site, "busy", &entry), 0);
            check(entry->shared != NULL || entry->image->length >= entry->size);
            entry_free(entry);
        }
        writing.is_over = true;
        pthread_join(thread, NULL);
    }
}

PROMISE(cache, file_without_length_or_end_is_refused)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    struct site site = tree.site;
    struct entry *entry;
    site.directory = "/proc/self"; /* each page has 8 bytes there, and there are many */
    site.root = tree_open_root(site.directory);
    check_eq(entry_create(&site, "pagemap", &entry), -EFBIG);
    close(site.root);
}

/* ---- what is not there ----------------------------------------------------------------------- */

PROMISE(cache, file_is_there_as_soon_as_it_is_made)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
    struct entry *entry;
    for (int i = 0; i < 3; i++) {
        check_eq(look_up(cache, "/later", &entry), -ENOENT);
        check_eq(look_up(cache, "/a/", &entry), -ENOENT);
    }
    tree_put(&tree, "later", "hello");
    tree_make_directory(&tree, "a");
    check_in_memory(find(cache, "/later"), "hello");
    check_eq(look_up(cache, "/a/", &entry), -ENOTEMPTY);
    tree_remove(&tree, "later");
    await_next_second();
    check_eq(look_up(cache, "/later", &entry), -ENOENT);
}

PROMISE(cache, link_that_leads_out_is_refused_where_nothing_was)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
    struct entry *entry;
    tree_make_directory(&tree, "a");
    check_eq(look_up(cache, "/a/tmp", &entry), -ENOENT);
    check_eq(look_up(cache, "/link", &entry), -ENOENT);
    tree_rename(&tree, "a", "b");
    tree_link(&tree, "a", "/"); /* it has /tmp */
    tree_link(&tree, "link", "/nowhere");
    check_eq(look_up(cache, "/a/tmp", &entry), -EXDEV);
    check_eq(look_up(cache, "/link", &entry), -EXDEV);
}

/* ---- where the root is ----------------------------------------------------------------------- */

PROMISE(cache, root_that_is_moved_on_or_made_anew_is_followed)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    struct site site = tree.site;
    char root[128];
    struct entry *entry;
    snprintf(root, sizeof root, "%s/now", tree.path);
    site.directory = root;
    tree_make_directory(&tree, "v1");
    tree_make_directory(&tree, "v2");
    tree_put(&tree, "v1/file", "one");
    tree_put(&tree, "v2/file", "two");
    tree_put(&tree, "v1/gone", "one");
    tree_link(&tree, "now", "v1");
    AT_END(free_cache) struct cache *cache = cache_create(&site, &plenty);
    unsigned fds = count_fds();
    check_in_memory(find(cache, "/file"), "one");
    check_in_memory(find(cache, "/gone"), "one");
    tree_link(&tree, "next", "v2");
    tree_rename(&tree, "next", "now");
    await_next_second();
    check_in_memory(find(cache, "/file"), "two");
    check_eq(look_up(cache, "/gone", &entry), -ENOENT);
    tree_remove(&tree, "now");
    await_next_second();
    check_eq(look_up(cache, "/file", &entry), -EAGAIN);
    check_eq(look_up(cache, "/nothing", &entry), -EAGAIN);
    tree_make_directory(&tree, "now");
    tree_put(&tree, "now/file", "three");
    await_next_second();
    check_in_memory(find(cache, "/file"), "three");
    check_eq(count_fds(), fds);
}

/* ---- changes --------------------------------------------------------------------------------- */

PROMISE(cache, change_is_noticed_within_a_second)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
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
}

PROMISE(cache, change_that_keeps_size_and_time_is_noticed)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put(&tree, "file", "old");
    tree_set_time(&tree, "file", 1000000000);
    find(cache, "/file");
    await_next_second(); /* the clock that files are stamped by is as coarse as ticks */
    tree_put(&tree, "file", "new");
    tree_set_time(&tree, "file", 1000000000);
    await_next_second();
    check_in_memory(find(cache, "/file"), "new");
}

PROMISE(cache, directory_is_its_index)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
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
}

PROMISE(cache, beyond_its_limits_the_longest_unused_go_first)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    const struct cache_limits few = {.entries = 3, .bytes = 1 << 20, .files = 10};
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &few);
    ferry_part held[3]; /* each holds its file's image as long as the cache does, and longer */
    for (char name[] = "/0"; name[1] <= '3'; name[1]++) {
        tree_put(&tree, name + 1, name);
        tree_set_time(&tree, name + 1, 1000000000);
    }
    await_tags(); /* so that another second is no reason to load one anew */
    for (char name[] = "/0"; name[1] <= '2'; name[1]++)
        held[name[1] - '0'] = entry_part(find(cache, name), 0, 1);
    find(cache, "/0");
    keep(cache, "/3"); /* and 1 has to go */
    for (int i = 0; i < 3; i++) {
        struct image *image = held[i].arg;
        check_eq(atomic_load(&image->refs), i == 1 ? 1 : 2);
        image_unref(image);
    }
}

PROMISE(cache, no_more_files_are_open_than_allowed)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    const struct cache_limits two = {.entries = 100, .bytes = 1 << 20, .files = 2};
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &two);
    unsigned fds = count_fds();
    for (char name[] = "/a"; name[1] < 'f'; name[1]++) {
        tree_put_content(&tree, name + 1, LARGE_BYTES, 1);
        check_eq(keep(cache, name)->size, LARGE_BYTES);
        check(count_fds() <= fds + 2);
    }
    check_eq(count_fds(), fds + 2);
}

PROMISE(cache, no_more_memory_is_taken_than_allowed_but_for_one_file)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    const struct cache_limits little = {.entries = 100, .bytes = 1, .files = 10};
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &little);
    tree_put(&tree, "a", "a");
    tree_put(&tree, "b", "b");
    keep(cache, "/a");
    check_in_memory(keep(cache, "/b"), "b");
    tree_put(&tree, "a", "new");
    check_in_memory(find(cache, "/a"), "new"); /* it was let go */
}

PROMISE(cache, out_of_fds_unused_files_are_closed_for_one_that_is_asked_for)
{
    enum { FDS = 256 };
    const struct rlimit few = {FDS, FDS};
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put_content(&tree, "a", LARGE_BYTES, 1);
    tree_put_content(&tree, "b", LARGE_BYTES, 1);
    tree_put_content(&tree, "c", LARGE_BYTES, 1);
    find(cache, "/a");
    find(cache, "/c"); /* one fd is for finding out what it is, the other for the file */
    int taken[FDS], count = 0;
    check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    while ((taken[count] = dup(0)) >= 0)
        count++;
    struct entry *entry;
    int error = look_up(cache, "/b", &entry);
    while (count > 0)
        close(taken[--count]);
    check_eq(error, 0);
    check_eq(entry->size, LARGE_BYTES);
}

PROMISE(cache, parts_outlive_what_they_were_made_of)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    struct cache *cache = cache_create(&tree.site, &plenty);
    tree_put(&tree, "file", "hello");
    ferry_part part = entry_part(find(cache, "/file"), 1, 3);
    cache_free(cache);
    check_eq(part.length, 3);
    check(memcmp(part.data, "ell", 3) == 0);
    part.release((void *)part.data, part.arg);
}

PROMISE(cache, answer_under_way_does_not_change_with_the_second)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    AT_END(free_cache) struct cache *cache = cache_create(&tree.site, &plenty);
    char before[512];
    tree_put(&tree, "file", "hello");
    tree_set_time(&tree, "file", 1000000000);
    await_tags();
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
}
