/* SPDX-License-Identifier: MIT */
#include "core/spares.h"

#include "core/handover.h"
#include "core/hooks.h"
#include "core/thread.h"

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
#define FORBID_FROM(block, size)                                                                   \
    __asan_poison_memory_region((char *)(block) + (size),                                          \
                                (size) < FERRY__SPARE_BYTES ? FERRY__SPARE_BYTES - (size) : 0)
#define ALLOW(block) __asan_unpoison_memory_region((block), FERRY__SPARE_BYTES)
#else
#define FORBID_FROM(block, size) ((void)0)
#define ALLOW(block)             ((void)0)
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

static void free_block(void *block)
{
    ALLOW(block);
    ferry__release(block);
}

static void free_chain(ferry__spare *chain)
{
    while (chain != NULL)
        free_block(take_first(&chain));
}

void *ferry__spare_take(ferry__pile *pile, ferry__shelf *shelf, size_t size)
{
    void *block;
    if (pile != NULL && pile->first != NULL) {
        pile->count--;
        block = take_first(&pile->first);
    } else {
        block = try_take(shelf);
    }
    if (block == NULL)
        block = ferry__allocate(size > FERRY__SPARE_BYTES ? size : FERRY__SPARE_BYTES);
    if (block == NULL)
        return NULL;
    ALLOW(block);
    FORBID_FROM(block, size);
    return block;
}

void *ferry__buffer_take(void)
{
    return ferry__spare_take(ferry__thread_current()->buffers, NULL, FERRY__BUFFER_ROOM);
}

void ferry__buffer_give_back(void *buffer)
{
    if (buffer != NULL)
        ferry__pile_add(ferry__thread_current()->buffers, buffer);
}

void ferry__pile_add(ferry__pile *pile, void *block)
{
    if (pile == NULL || pile->count >= pile->most) {
        free_block(block);
        return;
    }
    ferry__spare *spare = block;
    spare->references = 0;
    spare->next = pile->first;
    if (pile->first == NULL)
        pile->last = spare;
    pile->first = spare;
    pile->count++;
    FORBID_FROM(spare, sizeof *spare);
}

static void clear(ferry__pile *pile)
{
    pile->first = NULL;
    pile->count = 0;
}

void ferry__pile_put(ferry__pile *pile, ferry__shelf *shelf)
{
    if (pile->first == NULL || !claim(shelf))
        return;
    if (shelf->count < pile->most) {
        pile->last->next = first_of(shelf);
        set_first(shelf, pile->first);
        shelf->count += pile->count;
        clear(pile);
    }
    disclaim(shelf);
}

void ferry__pile_free(ferry__pile *pile)
{
    free_chain(pile->first);
    clear(pile);
}

bool ferry__shelf_free(ferry__shelf *shelf)
{
    if (!claim(shelf))
        return false;
    ferry__spare *chain = first_of(shelf);
    set_first(shelf, NULL);
    shelf->count = 0;
    disclaim(shelf);
    free_chain(chain);
    return true;
}
