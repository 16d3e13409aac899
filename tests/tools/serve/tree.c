/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/tree.h"

#include "tests/support.h"
#include "tests/tools/serve/tree_support.h"

#include <sys/un.h>

/* What opening and looking say alike. */
static int try_open(const struct grown_tree *tree, const char *path)
{
    struct stat opened, seen;
    AT_END(close_fd) int fd = tree_open(tree->site.root, tree->site.own_fds, path, &opened);
    check_eq(tree_look(tree->site.root, path, &seen), fd < 0 ? fd : 0);
    if (fd < 0)
        return fd;
    check_eq(opened.st_ino, seen.st_ino);
    return 0;
}

PROMISE(tree, files_and_directories_are_opened)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_make_directory(&tree, "a");
    tree_put(&tree, "a/file", "x");
    check_eq(try_open(&tree, ""), 0);
    check_eq(try_open(&tree, "a"), 0);
    check_eq(try_open(&tree, "a/"), 0);
    check_eq(try_open(&tree, "a/file"), 0);
    check_eq(try_open(&tree, "a/none"), -ENOENT);
    check_eq(try_open(&tree, "a/file/"), -ENOTDIR);
}

PROMISE(tree, links_are_followed_where_they_stay_inside)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_make_directory(&tree, "a");
    tree_put(&tree, "file", "x");
    tree_link(&tree, "a/up", "../file");
    tree_link(&tree, "down", "a");
    check_eq(try_open(&tree, "a/up"), 0);
    check_eq(try_open(&tree, "down/up"), 0);
}

PROMISE(tree, nothing_leads_out)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_make_directory(&tree, "a");
    tree_link(&tree, "absolute", "/etc/passwd");
    tree_link(&tree, "inside_but_absolute", tree.path);
    tree_link(&tree, "up", "..");
    tree_link(&tree, "a/up", "../..");
    tree_link(&tree, "out", tree.outside);
    tree_link(&tree, "self", "/proc/self/root");
    static const char *const paths[] = {"..",
                                        "../",
                                        "../etc",
                                        "a/../..",
                                        "absolute",
                                        "up",
                                        "a/up",
                                        "a/up/etc/passwd",
                                        "out",
                                        "self",
                                        "inside_but_absolute",
                                        "/etc/passwd",
                                        "/"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        check_eq(try_open(&tree, paths[i]), -EXDEV);
}

PROMISE(tree, links_that_go_round_are_eloop)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_link(&tree, "a", "b");
    tree_link(&tree, "b", "a");
    check_eq(try_open(&tree, "a"), -ELOOP);
}

PROMISE(tree, what_is_neither_file_nor_directory_is_refused_without_waiting)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    struct stat status;
    tree_make_fifo(&tree, "fifo");
    check_eq(try_open(&tree, "fifo"), -EACCES);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", tree.path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    check_eq(tree_look(tree.site.root, "socket", &status), -EACCES);
    check_eq(tree_open(tree.site.root, tree.site.own_fds, "socket", &status), -EACCES);
    close(fd);
    AT_END(close_fd) int devices = tree_open_root("/dev");
    check_eq(tree_open(devices, tree.site.own_fds, "null", &status), -EACCES);
}

/* Whether somebody has the fifo open for reading: only then a writer gets in. */
static bool has_reader(const struct grown_tree *tree, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", tree->path, name);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

struct watching {
    const struct grown_tree *tree;
    atomic_bool is_over;
    bool was_let_in;
};

static void *watch(void *arg)
{
    struct watching *watching = arg;
    while (!watching->is_over && !watching->was_let_in)
        watching->was_let_in = has_reader(watching->tree, "fifo");
    return NULL;
}

PROMISE(tree, fifo_is_not_opened_for_a_moment_either)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    struct watching watching = {.tree = &tree};
    tree_make_fifo(&tree, "fifo");
    tree_link(&tree, "link", "fifo");
    tree_put(&tree, "file", "x");
    pthread_t thread = start_thread(watch, &watching);
    for (int i = 0; i < 2000; i++) {
        check_eq(try_open(&tree, "fifo"), -EACCES);
        check_eq(try_open(&tree, "link"), -EACCES);
    }
    watching.is_over = true;
    pthread_join(thread, NULL);
    check(!watching.was_let_in);
}

/* Makes a name stand for a file and for a fifo in turn. */
static void *swap(void *arg)
{
    struct watching *watching = arg;
    while (!watching->is_over) {
        tree_link(watching->tree, "next", "fifo");
        tree_rename(watching->tree, "next", "name");
        tree_link(watching->tree, "next", "file");
        tree_rename(watching->tree, "next", "name");
    }
    return NULL;
}

PROMISE(tree, fifo_that_takes_a_files_place_meanwhile_is_not_opened)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    struct watching watching = {.tree = &tree};
    pthread_t watcher, swapper;
    tree_make_fifo(&tree, "fifo");
    tree_put(&tree, "file", "x");
    tree_link(&tree, "name", "file");
    watcher = start_thread(watch, &watching);
    swapper = start_thread(swap, &watching);
    for (int i = 0; i < 2000; i++) {
        struct stat status;
        int fd = tree_open(tree.site.root, tree.site.own_fds, "name", &status);
        check(fd >= 0 || fd == -EACCES);
        if (fd >= 0)
            close(fd);
    }
    watching.is_over = true;
    pthread_join(watcher, NULL);
    pthread_join(swapper, NULL);
    check(!watching.was_let_in);
}

PROMISE(tree, without_proc_files_are_opened_too_and_nothing_else)
{
    enum { NO_PROC = -1 };
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    struct stat status;
    tree_put(&tree, "file", "x");
    tree_make_fifo(&tree, "fifo");
    tree_make_directory(&tree, "a");
    int file = tree_open(tree.site.root, NO_PROC, "file", &status);
    check(file >= 0 && status.st_size == 1);
    int directory = tree_open(tree.site.root, NO_PROC, "a", &status);
    check(directory >= 0);
    check_eq(tree_open(tree.site.root, NO_PROC, "fifo", &status), -EACCES);
    check_eq(tree_open(tree.site.root, NO_PROC, "none", &status), -ENOENT);
    close(file);
    close(directory);
}

PROMISE(tree, only_what_names_nothing_has_nothing)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    tree_put(&tree, "file", "x");
    tree_link(&tree, "dangling", "none");
    check(tree_has_nothing(tree.site.root, "none"));
    check(tree_has_nothing(tree.site.root, "none/"));
    check(!tree_has_nothing(tree.site.root, ""));
    check(!tree_has_nothing(tree.site.root, "file"));
    check(!tree_has_nothing(tree.site.root, "file/")); /* another errno */
    check(!tree_has_nothing(tree.site.root, "dangling"));
}

PROMISE(tree, root_has_to_be_a_directory)
{
    AT_END(tree_fell) struct grown_tree tree = tree_grow();
    char path[128];
    tree_put(&tree, "file", "x");
    snprintf(path, sizeof path, "%s/file", tree.path);
    check_eq(tree_open_root(path), -ENOTDIR);
    check_eq(tree_open_root("/nowhere/at/all"), -ENOENT);
}
