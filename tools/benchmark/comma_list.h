/* SPDX-License-Identifier: MIT */
/* Lists as they are given on the command line, with commas. */
#ifndef BENCHMARK_COMMA_LIST_H
#define BENCHMARK_COMMA_LIST_H

#include <stdbool.h>
#include <stddef.h>

enum { COMMA_LIST_MOST = 16 };

typedef struct comma_list {
    size_t of[COMMA_LIST_MOST];
    size_t count; /* at least 1 */
} comma_list;

/* Reads numbers: 64, 16K, 1M, from 1 to most. @return 0 or -EINVAL. */
int comma_list_parse(const char *text, size_t most, comma_list *ret_list);

size_t comma_list_largest(const comma_list *all);

/* Whether a list of names has this one. */
bool comma_list_has(const char *text, const char *name);

#endif
