/* SPDX-License-Identifier: MIT */
/*
 * Telling ThreadSanitizer and helgrind of hand-overs. A host that is built with the one, or run in
 * the other, mostly has ferry as an ordinary library, whose atomics neither sees: what a thread
 * wrote before a submit, and a callback reads on an owner, would look like a race of the host's. So
 * wherever one thread hands something over to another by atomics both say so, by an address that
 * both know. A real race in the host is still seen: nothing is told but what ferry orders.
 *
 * Where nobody listens it is a load and a branch that is always predicted. Where ferry itself is
 * built with ThreadSanitizer nothing is told: its own atomics are to prove themselves. But for
 * mailbox.c, whose inline assembly cannot be seen; the build leaves -fsanitize=thread away there.
 *
 * helgrind knows no atomics: it would also report ferry's own words, whatever the host does. So it
 * is told which memory is ferry's.
 */
#ifndef FERRY_CORE_HANDOVER_H
#define FERRY_CORE_HANDOVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define FERRY__IS_INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FERRY__IS_INSTRUMENTED 1
#endif
#endif

/* Whether anybody listens: set before main, and not again. */
extern bool ferry__is_watched __attribute__((visibility("hidden")));

/* handover.c: what those below do then. */
void ferry__tell_handed_over(const void *address);
void ferry__tell_taken_over(const void *address);
void ferry__tell_own(void *memory, size_t size);

#ifdef FERRY__IS_INSTRUMENTED
static inline void ferry__handed_over(const void *address)
{
    (void)address;
}

static inline void ferry__taken_over(const void *address)
{
    (void)address;
}
#else
/* Before what lets another thread have it. */
static inline void ferry__handed_over(const void *address)
{
    if (__builtin_expect(ferry__is_watched, false))
        ferry__tell_handed_over(address);
}

/* After what got it from another thread. */
static inline void ferry__taken_over(const void *address)
{
    if (__builtin_expect(ferry__is_watched, false))
        ferry__tell_taken_over(address);
}
#endif

/* Memory is ferry's own: no race in it is the host's. NULL is fine. */
static inline void ferry__own_memory(void *memory, size_t size)
{
    if (__builtin_expect(ferry__is_watched, false))
        ferry__tell_own(memory, size);
}

/*
 * Gives a reference back. @return how many there were: with 1 all that others did is over, and
 * seen.
 */
static inline unsigned ferry__refs_drop(atomic_uint *refs)
{
    ferry__handed_over(refs);
    unsigned before = atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel);
    if (before == 1)
        ferry__taken_over(refs);
    return before;
}

#endif
