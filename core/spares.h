/* SPDX-License-Identifier: MIT */
/*
 * Spares: blocks of memory of a few sizes, that a thread is done with and somebody will want again.
 *
 * A small write is allocated by the thread that submits it. If that thread keeps the promise it
 * also frees it, many writes later. Its own pile then gives it the block for its next write, still
 * in its cache. If nobody keeps the promise, the owner that carried it out frees it. That is the
 * worst case for an allocator: each block goes back to the arena of another thread, under a lock
 * that both threads then fight for. (With glibc's this costs more than all the rest of such a
 * write.) So an owner puts its pile on a shelf, and the threads that submit to it take from there.
 *
 *   any thread: take, from its pile or from the shelf     any thread: pile up
 *                                                         the owner: put, pile -> shelf
 *
 * Only a thread that has claimed the shelf writes to it, for some nanoseconds. Nobody sleeps for a
 * claim: a thread that does not get it allocates. An owner looks for it for a microsecond, as all
 * that is on its pile would not be there for those who submit meanwhile. Then it tries next time.
 *
 *   C0 claim (exchange, acquire)
 *   C1 take or put
 *   C2 disclaim (store, release), pairs with the next C0
 */
#ifndef FERRY_CORE_SPARES_H
#define FERRY_CORE_SPARES_H

#include "core/spare_kinds.h"
#include "core/shared.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is in a block while nobody uses it. */
typedef struct ferry__spare {
    uint64_t references; /* 0, where a promise has its own: one too many given back is noticed */
    struct ferry__spare *next;
} ferry__spare;

/* Zero-initialised, it is bare. */
typedef struct ferry__shelf {
    atomic_bool is_claimed;
    unsigned count;                /* for the thread that has claimed it */
    _Atomic(ferry__spare *) first; /* for that thread; all may look whether there is one */
} ferry__shelf;

/* One thread's. Zero-initialised but for most, it is empty. */
typedef struct ferry__pile {
    ferry__spare *first;
    ferry__spare *last; /* if there is a first */
    unsigned count;
    unsigned most; /* how many it keeps */
} ferry__pile;

/*
 * The pile's thread. Gives a block, from the pile, from the shelf, or allocated; NULL: no memory.
 * It is given back by ferry__pile_add, to any thread's pile of such blocks. @param pile NULL: the
 * thread has none. @param shelf NULL: there is none. @param size how much of it is used.
 */
void *ferry__spare_take(ferry__spare_kind kind, ferry__pile *pile, ferry__shelf *shelf,
                        size_t size);

/* Any thread: the same from its own pile. */
void *ferry__spare_take_here(ferry__spare_kind kind, ferry__shelf *shelf, size_t size);

/* Any thread: to its own pile. @param kind FERRY__NO_SPARE: what was allocated is freed. */
void ferry__spare_give_back(ferry__spare_kind kind, void *block);

/*
 * Buffers: an owner's thread keeps a few. If they went back to malloc(3) each time, glibc's would
 * return them to the kernel, which then clears the next one.
 *
 * Any thread. Gives one, from the thread's pile of them or allocated; NULL: no memory. Any thread
 * may give it back.
 */
FERRY__SHARED void *ferry__buffer_take(void);
FERRY__SHARED void ferry__buffer_give_back(void *buffer);

/*
 * A parked block: one of any size, that an owner's thread keeps for what needs about as much next.
 * It is for what comes in pieces and is large as a whole.
 */
typedef struct ferry__parking {
    void *block; /* NULL: none */
    size_t bytes;
} ferry__parking;

/*
 * Any thread. Gives memory: what the thread has parked, or allocated; NULL: there is none.
 * @param bytes how much is needed; gets how much it is.
 */
void *ferry__parking_take(size_t *bytes);

/* Any thread: parks it, or frees it. @param block NULL: nothing happens. */
void ferry__parking_give_back(void *block, size_t bytes);

/* The parking's thread. Frees what is there. */
void ferry__parking_free(ferry__parking *parking);

/* The pile's thread. Keeps a block, or frees it if there are plenty. @param pile NULL: frees it. */
void ferry__pile_add(ferry__spare_kind kind, ferry__pile *pile, void *block);

/* The pile's thread. Puts all of the pile on the shelf, unless there are as many already. */
void ferry__pile_put(ferry__pile *pile, ferry__shelf *shelf);

/*
 * The calling thread adds to these from now on. @param piles NULL: it has none. @param count of how
 * many kinds, from the smallest on: of the others it frees what it lets go.
 */
void ferry__piles_use(ferry__pile piles[], unsigned count);

/* The pile's thread. Frees what is on it. */
void ferry__pile_free(ferry__spare_kind kind, ferry__pile *pile);

/*
 * Any thread. Frees what is on it. @return whether it could: else somebody has claimed it just now,
 * and what is there stays.
 */
bool ferry__shelf_free(ferry__spare_kind kind, ferry__shelf *shelf);

#endif
