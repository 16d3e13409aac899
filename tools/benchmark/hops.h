/* SPDX-License-Identifier: MIT */
/*
 * Hops: one thread has another do something and waits for that, again and again: an eventfd there
 * and one back. Nothing that hands work to a thread can cost less.
 */
#ifndef BENCHMARK_HOPS_H
#define BENCHMARK_HOPS_H

#include "cores.h"
#include "measure.h"

#include <stddef.h>

typedef struct hops {
    const cores *cores;
    unsigned core; /* the number of that on which the other thread works */
    size_t trips;
    int (*work)(void *context); /* 0, or a negative errno */
    void *context;
} hops;

/* Makes all trips. @return 0, or the first error. */
int hops_make(const hops *what, lap *ret_taken);

#endif
