/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/listing.h"

#include "tests/support.h"
#include "tests/tools/serve/tree_support.h"

/* The page of a directory, as a string to be freed, written in pieces of a size. */
static char *list_in_pieces(const struct grown_tree *tree, const char *path, size_t piece)
{
    struct listing *listing;
    check_eq(listing_read(&tree->site, path + 1, &listing), 0);
    size_t length = 0, count, size = listing_length(listing);
    char *page = malloc(size + piece + 1);
    check(page != NULL);
    while ((count = listing_write(listing, &length, page + length, piece)) > 0)
        check(count <= piece && length <= size);
    check_eq(length, size);
    page[length] = '\0';
    (void)listing_unref(listing);
    check_eq(listing_bytes_in_all(), 0);
    return page;
}

static char *list(const struct grown_tree *tree, const char *path)
{
    return list_in_pieces(tree, path, 64 * 1024);
}

static const char *find(const char *page, const char *text)
{
    const char *found = strstr(page, text);
    if (found == NULL)
        fprintf(stderr, "no %s in:\n%s\n", text, page);
    check(found != NULL);
    return found;
}

PROMISE(listing, directories_come_first_then_by_name)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_put(&tree, "b", "x");
    tree_put(&tree, "a", "x");
    tree_make_directory(&tree, "z");
    tree_make_directory(&tree, "y");
    AT_END(free_memory) char *page = list(&tree, "/");
    const char *y = find(page, "\"./y/\""), *z = find(page, "\"./z/\""), *a = find(page, "\"./a\""),
               *b = find(page, "\"./b\"");
    check(y < z && z < a && a < b);
}

PROMISE(listing, sizes_and_dates_are_told)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_put(&tree, "a", "12345");
    tree_set_time(&tree, "a", 784111777);
    AT_END(free_memory) char *page = list(&tree, "/");
    find(page, ">5<");
    find(page, "1994-11-06 08:49:37");
}

PROMISE(listing, names_are_escaped_for_where_they_stand)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_put(&tree, "<b>&\"' %?#\n", "x");
    tree_make_directory(&tree, "<i>");
    char *page = list(&tree, "/");
    find(page, "\"./%3Cb%3E%26%22%27%20%25%3F%23%0A\"");
    find(page, "&lt;b&gt;&amp;&quot;&#39; %?#\n<");
    check(strstr(page, "<b>") == NULL && strstr(page, "<i>") == NULL);
    free(page);
    page = list(&tree, "/<i>/");
    check(strstr(page, "<i>") == NULL);
    find(page, "<h1>/&lt;i&gt;/</h1>");
    free(page);
}

PROMISE(listing, page_is_the_same_in_pieces_of_any_size)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_make_directory(&tree, "sub");
    for (int i = 0; i < 20; i++) {
        char name[64];
        snprintf(name, sizeof name, "sub/<%d> & so on", i * i * i);
        tree_put(&tree, name, "x");
    }
    AT_END(free_memory) char *whole = list(&tree, "/sub/");
    for (size_t piece = 1; piece < 300; piece += 13) {
        AT_END(free_memory) char *page = list_in_pieces(&tree, "/sub/", piece);
        check(strcmp(whole, page) == 0);
    }
}

PROMISE(listing, what_would_not_be_served_is_not_shown)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_put(&tree, ".hidden", "x");
    tree_put(&tree, "shown", "x");
    tree_make_fifo(&tree, "fifo");
    tree_link(&tree, "out", "/etc/passwd");
    tree_link(&tree, "dangling", "nowhere");
    tree_link(&tree, "in", "shown");
    char *page = list(&tree, "/");
    find(page, "\"./shown\"");
    find(page, "\"./in\"");
    check(strstr(page, "hidden") == NULL && strstr(page, "fifo") == NULL);
    check(strstr(page, "\"./out\"") == NULL && strstr(page, "dangling") == NULL);
    free(page);
    tree.site.shows_hidden = true;
    page = list(&tree, "/");
    find(page, "\"./.hidden\"");
    check(strstr(page, "\"./.\"") == NULL && strstr(page, "\"./..\"") == NULL);
    free(page);
}

PROMISE(listing, link_from_one_directory_to_another_is_shown)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_make_directory(&tree, "a");
    tree_put(&tree, "file", "123");
    tree_link(&tree, "a/up", "../file");
    char *page = list(&tree, "/a/");
    find(page, "\"./up\"");
    find(page, "href=\"../\"");
    free(page);
    page = list(&tree, "/");
    check(strstr(page, "href=\"../\"") == NULL); /* there is nothing above */
    free(page);
}

PROMISE(listing, more_than_the_limit_is_said_to_be_there)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    for (int i = 0; i <= LISTING_NAMES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d", i);
        tree_put(&tree, name, "");
    }
    char *page = list(&tree, "/");
    find(page, "There is more");
    free(page);
    tree_remove(&tree, "1");
    page = list(&tree, "/");
    check(strstr(page, "There is more") == NULL);
    free(page);
}

/* ---- what it costs --------------------------------------------------------------------------- */

/* Every path is resolved beneath the root by openat2(2): counted on its way (-Wl,--wrap). */
static unsigned resolved;

COUNT_OPENAT2(resolved)

PROMISE(listing, only_links_are_resolved_beneath_the_root)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d", i);
        tree_put(&tree, name, "x");
    }
    tree_make_directory(&tree, "sub");
    resolved = 0;
    free(list(&tree, "/"));
    unsigned without_links = resolved;
    tree_link(&tree, "in", "1");
    tree_link(&tree, "out", "/etc/passwd");
    resolved = 0;
    free(list(&tree, "/"));
    check(without_links <= 2); /* the directory itself */
    check_eq(resolved, without_links + 2);
}
