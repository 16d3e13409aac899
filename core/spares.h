/* SPDX-License-Identifier: MIT */
/*
 * Spares: blocks of memory, all of one size, that a thread is done with and somebody will want
 * again.
 *
 * A small write is allocated by the thread that submits it. Where that keeps the promise it also
 * frees it, many writes later: a thread's own pile gives it the block for its next write, still in
 * its cache. Where nobody keeps the promise, the owner that carried it out frees it. To an
 * allocator that is the worst there is: each block goes to the arena of another thread, under its
 * lock, which both threads then fight for. (glibc's: more than everything else that such a write
 * costs.) So an owner puts its pile on a shelf, from which whoever submits to it takes.
 *
 *   any thread: take, from its pile or from the shelf     any thread: pile up
 *                                                         the owner: put, pile -> shelf
 *
 * The shelf is written by whoever has claimed it. Nobody waits for a claim: who does not get it
 * allocates, or leaves the pile for the next time.
 *
 *   C0 claim (exchange, acquire)  C1 take or put  C2 disclaim (store, release) pairs with the next
 *   C0
 */
#ifndef FERRY_CORE_SPARES_H
#define FERRY_CORE_SPARES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A block: most small writes, request and promise included, fit; and few waste more than half. */
enum { FERRY__SPARE_BYTES = 512 };

/* What is in a block while nobody uses it. */
typedef struct ferry__spare {
    uint64_t references; /* 0, where a promise has its own: one too many given back is noticed */
    struct ferry__spare *next;
} ferry__spare;

/* Zero-initialised, it is bare. */
typedef struct ferry__shelf {
    atomic_bool is_claimed;
    unsigned count;                /* whoever has claimed it */
    _Atomic(ferry__spare *) first; /* whoever has claimed it; all may look if there is one */
} ferry__shelf;

/* One thread's. Zero-initialised but for most, it is empty. */
typedef struct ferry__pile {
    ferry__spare *first;
    ferry__spare *last; /* if there is a first */
    unsigned count;
    unsigned most; /* how many it keeps */
} ferry__pile;

/*
 * The pile's thread. A block: from the pile, if there is one, from the shelf, or else allocated;
 * NULL: out of memory. @param size how much of it may be used. To be given back by ferry__pile_add,
 * to any thread's pile.
 */
void *ferry__spare_take(ferry__pile *pile, ferry__shelf *shelf, size_t size);

/* The pile's thread. Keeps a block; or frees it, where there are plenty, or no pile. */
void ferry__pile_add(ferry__pile *pile, void *block);

/* The pile's thread. Puts all of the pile on the shelf, unless there are as many already. */
void ferry__pile_put(ferry__pile *pile, ferry__shelf *shelf);

/* The pile's thread. Frees what is on it. */
void ferry__pile_free(ferry__pile *pile);

/*
 * Any thread. Frees what is on it. @return whether it could: else somebody has claimed it just now,
 * and what is there stays.
 */
bool ferry__shelf_free(ferry__shelf *shelf);

#endif
