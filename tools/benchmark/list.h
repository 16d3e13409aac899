/* SPDX-License-Identifier: MIT */
/* Lists as they are given on the command line, with commas. */
#ifndef BENCHMARK_LIST_H
#define BENCHMARK_LIST_H

#include <stdbool.h>
#include <stddef.h>

enum { LIST_MOST = 16 };

typedef struct list {
    size_t of[LIST_MOST];
    size_t count; /* at least 1 */
} list;

/* Reads numbers: 64, 16K, 1M, from 1 to most. @return 0 or -EINVAL. */
int list_parse(const char *text, size_t most, list *ret_list);

size_t list_largest(const list *all);

/* Whether a list of names has this one. */
bool list_has(const char *text, const char *name);

#endif
