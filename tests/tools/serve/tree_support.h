/* SPDX-License-Identifier: MIT */
/* A directory to serve, made for one test. */
#ifndef FERRY_TESTS_SERVE_TREE_SUPPORT_H
#define FERRY_TESTS_SERVE_TREE_SUPPORT_H

#include "tools/ferry/serve/site.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

struct grown_tree {
    char path[64];    /* of the directory; files beside it are outside the site */
    char outside[64]; /* another one, beside it */
    struct media_types *types;
    struct site site; /* shows nothing hidden, lists nothing */
};

/* Makes both directories. */
struct grown_tree tree_grow(void);

/* Removes all that is in them. */
void tree_fell(struct grown_tree *tree);

/* All paths are relative to the tree's directory. */
void tree_put(const struct grown_tree *tree, const char *path, const char *content);
void tree_put_content(const struct grown_tree *tree, const char *path, uint64_t size,
                      uint64_t seed);
void tree_make_directory(const struct grown_tree *tree, const char *path);
void tree_make_fifo(const struct grown_tree *tree, const char *path);
void tree_link(const struct grown_tree *tree, const char *path, const char *leads_to);
void tree_rename(const struct grown_tree *tree, const char *path, const char *other);
void tree_remove(const struct grown_tree *tree, const char *path);

/* Sets the time of its last change. */
void tree_set_time(const struct grown_tree *tree, const char *path, int64_t seconds);

/* Counts in a variable how often openat2(2) is called, which the server does by syscall(2): wrapped
 * by -Wl,--wrap. No other call of the server's has more than its four arguments. */
#define COUNT_OPENAT2(counter)                                                                     \
    WRAPPED(long, syscall, (long number, ...))                                                     \
    {                                                                                              \
        va_list list;                                                                              \
        long given[4];                                                                             \
        va_start(list, number);                                                                    \
        for (unsigned i = 0; i < 4; i++)                                                           \
            given[i] = va_arg(list, long);                                                         \
        va_end(list);                                                                              \
        (counter) += number == SYS_openat2;                                                        \
        return __real_syscall(number, given[0], given[1], given[2], given[3]);                     \
    }

/* Waits until the second is another: what was cached is looked at anew. */
void await_next_second(void);

/* Waits until what was changed before is old enough to have an ETag. */
void await_tags(void);

#endif
