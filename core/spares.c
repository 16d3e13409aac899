/* SPDX-License-Identifier: MIT */
#include "core/spares.h"

#include "core/handover.h"
#include "core/hooks.h"
#include "core/thread.h"

#include <assert.h>

/*
 * To write to a spare, or beyond what was asked for, is as much an error as with freed memory. The
 * link stays readable: LeakSanitizer looks for it.
 */
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ADDRESS_SANITIZER 1
#endif
#endif
#ifdef WITH_ADDRESS_SANITIZER
void __asan_poison_memory_region(const volatile void *address, size_t size);
void __asan_unpoison_memory_region(const volatile void *address, size_t size);
#define FORBID(memory, size) __asan_poison_memory_region((memory), (size))
#define ALLOW(memory, size)  __asan_unpoison_memory_region((memory), (size))
#else
#define FORBID(memory, size) ((void)(memory), (void)(size))
#define ALLOW(memory, size)  ((void)(memory), (void)(size))
#endif

/* C0. Whether it is the caller's. */
static bool claim(ferry__shelf *shelf)
{
    if (atomic_exchange_explicit(&shelf->is_claimed, true, memory_order_acquire))
        return false;
    ferry__taken_over(shelf);
    return true;
}

/* C2 */
static void disclaim(ferry__shelf *shelf)
{
    ferry__handed_over(shelf);
    atomic_store_explicit(&shelf->is_claimed, false, memory_order_release);
}

/* What lies there: without a claim, only a hint. */
static ferry__spare *first_of(ferry__shelf *shelf)
{
    return atomic_load_explicit(&shelf->first, memory_order_relaxed);
}

static void set_first(ferry__shelf *shelf, ferry__spare *first)
{
    atomic_store_explicit(&shelf->first, first, memory_order_relaxed);
}

static ferry__spare *take_first(ferry__spare **chain)
{
    ferry__spare *spare = *chain;
    *chain = spare->next;
    return spare;
}

/* NULL: it is bare, or somebody else's. */
static ferry__spare *try_take(ferry__shelf *shelf)
{
    if (shelf == NULL || first_of(shelf) == NULL || !claim(shelf))
        return NULL;
    ferry__spare *first = first_of(shelf), *spare = NULL;
    if (first != NULL) {
        spare = take_first(&first);
        set_first(shelf, first);
        shelf->count--;
    }
    disclaim(shelf);
    return spare;
}

static void free_block(ferry__spare_kind kind, void *block)
{
    ALLOW(block, ferry__spare_bytes(kind));
    ferry__release(block);
}

static void free_chain(ferry__spare_kind kind, ferry__spare *chain)
{
    while (chain != NULL)
        free_block(kind, take_first(&chain));
}

void *ferry__spare_take(ferry__spare_kind kind, ferry__pile *pile, ferry__shelf *shelf, size_t size)
{
    size_t bytes = ferry__spare_bytes(kind);
    assert(size <= bytes && "it fits");
    void *block;
    if (pile != NULL && pile->first != NULL) {
        pile->count--;
        block = take_first(&pile->first);
    } else {
        block = try_take(shelf);
    }
    if (block == NULL)
        block = ferry__allocate(bytes);
    if (block == NULL)
        return NULL;
    ALLOW(block, bytes);
    FORBID((char *)block + size, bytes - size);
    return block;
}

/* The calling thread's, of such blocks; or NULL. */
static ferry__pile *own_pile(ferry__spare_kind kind)
{
    const ferry__thread *thread = ferry__thread_current();
    return (unsigned)kind < thread->kinds ? &thread->piles[kind] : NULL;
}

void *ferry__spare_take_here(ferry__spare_kind kind, ferry__shelf *shelf, size_t size)
{
    return ferry__spare_take(kind, own_pile(kind), shelf, size);
}

void ferry__spare_give_back(ferry__spare_kind kind, void *block)
{
    if (kind == FERRY__NO_SPARE)
        ferry__release(block);
    else
        ferry__pile_add(kind, own_pile(kind), block);
}

/* Less comes cheap from malloc(3); more is not kept for others. */
enum { LEAST_PARKED = 64 * 1024, MOST_PARKED = 8 << 20 };

void *ferry__parking_take(size_t *bytes)
{
    ferry__parking *parking = ferry__thread_current()->parking;
    if (parking == NULL || parking->bytes < *bytes || parking->bytes / 2 > *bytes)
        return ferry__allocate(*bytes);
    void *block = parking->block;
    *bytes = parking->bytes;
    *parking = (ferry__parking){0};
    ALLOW(block, *bytes);
    return block;
}

void ferry__parking_give_back(void *block, size_t bytes)
{
    ferry__parking *parking = ferry__thread_current()->parking;
    if (parking != NULL && bytes >= LEAST_PARKED && bytes <= MOST_PARKED &&
        bytes > parking->bytes) {
        ferry__parking_free(parking);
        *parking = (ferry__parking){.block = block, .bytes = bytes};
        FORBID(block, bytes);
        return;
    }
    ferry__release(block);
}

void ferry__parking_free(ferry__parking *parking)
{
    ALLOW(parking->block, parking->bytes);
    ferry__release(parking->block);
    *parking = (ferry__parking){0};
}

void *ferry__buffer_take(void)
{
    return ferry__spare_take_here(FERRY__SPARE_BUFFER, NULL, FERRY__BUFFER_ROOM);
}

void ferry__buffer_give_back(void *buffer)
{
    if (buffer != NULL)
        ferry__spare_give_back(FERRY__SPARE_BUFFER, buffer);
}

void ferry__pile_add(ferry__spare_kind kind, ferry__pile *pile, void *block)
{
    if (pile == NULL || pile->count >= pile->most) {
        free_block(kind, block);
        return;
    }
    ferry__spare *spare = block;
    spare->references = 0;
    spare->next = pile->first;
    if (pile->first == NULL)
        pile->last = spare;
    pile->first = spare;
    pile->count++;
    FORBID(spare + 1, ferry__spare_bytes(kind) - sizeof *spare);
}

static void clear(ferry__pile *pile)
{
    pile->first = NULL;
    pile->count = 0;
}

/* A claim lasts some nanoseconds, if its thread is not taken off its processor meanwhile. */
static bool claim_soon(ferry__shelf *shelf)
{
    enum { TRIES = 64 };
    for (unsigned i = 0; i < TRIES; i++) {
        if (!atomic_load_explicit(&shelf->is_claimed, memory_order_relaxed) && claim(shelf))
            return true;
        ferry__pause();
    }
    return false;
}

void ferry__pile_put(ferry__pile *pile, ferry__shelf *shelf)
{
    if (pile->first == NULL || !claim_soon(shelf))
        return;
    if (shelf->count < pile->most) {
        pile->last->next = first_of(shelf);
        set_first(shelf, pile->first);
        shelf->count += pile->count;
        clear(pile);
    }
    disclaim(shelf);
}

void ferry__piles_use(ferry__pile piles[], unsigned count)
{
    ferry__thread_current()->piles = piles;
    ferry__thread_current()->kinds = piles != NULL ? count : 0;
}

void ferry__pile_free(ferry__spare_kind kind, ferry__pile *pile)
{
    free_chain(kind, pile->first);
    clear(pile);
}

bool ferry__shelf_free(ferry__spare_kind kind, ferry__shelf *shelf)
{
    if (!claim(shelf))
        return false;
    ferry__spare *chain = first_of(shelf);
    set_first(shelf, NULL);
    shelf->count = 0;
    disclaim(shelf);
    free_chain(kind, chain);
    return true;
}
