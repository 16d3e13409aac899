/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/listing.h"

#include "tests/support.h"
#include "tests/tools/serve/tree_support.h"

#include <errno.h>

/* The page of a directory, as a string to be freed. */
static char *list(const struct grown_tree *tree, const char *path)
{
    struct target target;
    struct text page;
    check_eq(target_parse(path, strlen(path), &target), 0);
    check_eq(listing_make(&tree->site, &target, &page), 0);
    text_add(&page, "", 1);
    check(!page.is_cut);
    return page.data;
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
    struct grown_tree tree = tree_grow();
    tree_put(&tree, "b", "x");
    tree_put(&tree, "a", "x");
    tree_make_directory(&tree, "z");
    tree_make_directory(&tree, "y");
    char *page = list(&tree, "/");
    const char *y = find(page, "\"./y/\""), *z = find(page, "\"./z/\""), *a = find(page, "\"./a\""),
               *b = find(page, "\"./b\"");
    check(y < z && z < a && a < b);
    free(page);
    tree_fell(&tree);
}

PROMISE(listing, sizes_and_dates_are_told)
{
    struct grown_tree tree = tree_grow();
    tree_put(&tree, "a", "12345");
    tree_set_time(&tree, "a", 784111777);
    char *page = list(&tree, "/");
    find(page, ">5<");
    find(page, "1994-11-06 08:49:37");
    free(page);
    tree_fell(&tree);
}

PROMISE(listing, names_are_escaped_for_where_they_stand)
{
    struct grown_tree tree = tree_grow();
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
    tree_fell(&tree);
}

PROMISE(listing, what_would_not_be_served_is_not_shown)
{
    struct grown_tree tree = tree_grow();
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
    tree_fell(&tree);
}

PROMISE(listing, link_from_one_directory_to_another_is_shown)
{
    struct grown_tree tree = tree_grow();
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
    tree_fell(&tree);
}

PROMISE(listing, more_than_the_limit_is_said_to_be_there)
{
    struct grown_tree tree = tree_grow();
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
    tree_fell(&tree);
}
