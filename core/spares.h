/* SPDX-License-Identifier: MIT */
/*
 * Spares: blocks of memory, all of one size, that a thread is done with and others will want again.
 *
 * A small write is allocated by the thread that submits it and, where nobody keeps its promise, freed
 * by the owner that carried it out. To an allocator that is the worst there is: each block goes to
 * the arena of another thread, under its lock, which both threads then fight for. (glibc's: more than
 * everything else that such a write costs.) So the owner piles up what it is done with, and puts the
 * pile on a shelf, from which whoever submits to it takes.
 *
 *   any thread: take                              the owner: pile up; put: pile -> shelf, if it is bare
 *
 * The shelf is written by whoever has claimed it. Nobody waits for a claim: who does not get it
 * allocates, or leaves the pile for the next time.
 *
 *   C0 claim (exchange, acquire)  C1 take or put  C2 disclaim (store, release) pairs with the next C0
 */
#ifndef FERRY_CORE_SPARES_H
#define FERRY_CORE_SPARES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* A block: most small writes, request and promise included, fit; and few waste more than half. */
enum { FERRY__SPARE_BYTES = 512 };

/* What is in a block while nobody uses it. */
typedef struct ferry__spare {
    struct ferry__spare *next;
} ferry__spare;

/* Zero-initialised, it is bare. */
typedef struct ferry__shelf {
    atomic_bool is_claimed;
    _Atomic(ferry__spare *) first;
} ferry__shelf;

/* One thread's. Zero-initialised, there is none. Apart from the shelf: not in the same cache line. */
typedef struct ferry__pile {
    ferry__spare *first;
    size_t count;
} ferry__pile;

/*
 * Any thread. A block: from the shelf, or else allocated; NULL: out of memory.
 * @param size how much of it may be used. To be given back by ferry__pile_add or ferry__spare_free.
 */
void *ferry__shelf_take(ferry__shelf *shelf, size_t size);

/* Any thread. Frees a block. */
void ferry__spare_free(void *block);

/* The pile's thread. Adds a block, or frees it where there are plenty. */
void ferry__pile_add(ferry__pile *pile, void *block);

/* The pile's thread. Puts the pile on the shelf, if that is bare. */
void ferry__pile_put(ferry__pile *pile, ferry__shelf *shelf);

/*
 * The pile's thread. Frees all that are there. @return whether it could: else somebody has claimed the
 * shelf just now, and what is on it stays.
 */
bool ferry__spares_free(ferry__pile *pile, ferry__shelf *shelf);

#endif
