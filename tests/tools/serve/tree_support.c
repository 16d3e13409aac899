/* SPDX-License-Identifier: MIT */
#include "tests/tools/serve/tree_support.h"

#include "tests/support.h"
#include "tools/ferry/serve/http_date.h"
#include "tools/ferry/serve/tree.h"

#include <ftw.h>
#include <time.h>

struct grown_tree tree_grow(void)
{
    struct grown_tree tree;
    strcpy(tree.path, "/tmp/ferry-tree-XXXXXX");
    strcpy(tree.outside, "/tmp/ferry-outside-XXXXXX");
    check(mkdtemp(tree.path) != NULL && mkdtemp(tree.outside) != NULL);
    tree.types = media_types_load(MEDIA_TYPES_PATH);
    check(tree.types != NULL);
    tree.site = (struct site){.directory = strdup(tree.path),
                              .root = tree_open_root(tree.path),
                              .own_fds = tree_open_own_fds(),
                              .types = tree.types};
    check(tree.site.root >= 0 && tree.site.own_fds >= 0);
    return tree;
}

static int remove_one(const char *path, const struct stat *, int, struct FTW *)
{
    return remove(path);
}

void tree_fell(struct grown_tree *tree)
{
    close(tree->site.root);
    close(tree->site.own_fds);
    free((char *)(uintptr_t)tree->site.directory);
    media_types_free(tree->types);
    check_eq(nftw(tree->path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    check_eq(nftw(tree->outside, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static int root_of(const struct grown_tree *tree)
{
    int root = open(tree->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    check(root >= 0);
    return root;
}

static void put_bytes(const struct grown_tree *tree, const char *path, const void *data,
                      size_t size)
{
    AT_END(close_fd) int root = root_of(tree);
    AT_END(close_fd) int fd = openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(fd >= 0);
    check_eq(write(fd, data, size), size);
}

void tree_put(const struct grown_tree *tree, const char *path, const char *content)
{
    put_bytes(tree, path, content, strlen(content));
}

void tree_put_content(const struct grown_tree *tree, const char *path, uint64_t size, uint64_t seed)
{
    AT_END(free_memory) void *content = malloc(size + 1);
    check(content != NULL);
    fill_content(content, size, seed, 0);
    put_bytes(tree, path, content, size);
}

void tree_make_directory(const struct grown_tree *tree, const char *path)
{
    AT_END(close_fd) int root = root_of(tree);
    check_eq(mkdirat(root, path, 0700), 0);
}

void tree_make_fifo(const struct grown_tree *tree, const char *path)
{
    AT_END(close_fd) int root = root_of(tree);
    check_eq(mkfifoat(root, path, 0600), 0);
}

void tree_link(const struct grown_tree *tree, const char *path, const char *leads_to)
{
    AT_END(close_fd) int root = root_of(tree);
    check_eq(symlinkat(leads_to, root, path), 0);
}

void tree_rename(const struct grown_tree *tree, const char *path, const char *other)
{
    AT_END(close_fd) int root = root_of(tree);
    check_eq(renameat(root, path, root, other), 0);
}

void tree_remove(const struct grown_tree *tree, const char *path)
{
    AT_END(close_fd) int root = root_of(tree);
    check_eq(unlinkat(root, path, 0), 0);
}

void tree_set_time(const struct grown_tree *tree, const char *path, int64_t seconds)
{
    AT_END(close_fd) int root = root_of(tree);
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    check_eq(utimensat(root, path, times, 0), 0);
}

void await_next_second(void)
{
    int64_t begin, now;
    (void)http_date_now(&begin);
    for (now = begin; now == begin; (void)http_date_now(&now))
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Twice the longest tick of a kernel's clock, by which files are stamped. */
void await_tags(void)
{
    struct timespec left = {.tv_nsec = 40000000};
    while (nanosleep(&left, &left) != 0)
        continue;
}
