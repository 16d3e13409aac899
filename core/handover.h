/* SPDX-License-Identifier: MIT */
/*
 * Telling ThreadSanitizer and helgrind of hand-overs. A host may be built with ThreadSanitizer, or
 * run in helgrind, while ferry is an ordinary library. Neither sees that library's atomics. What a
 * thread writes before a submit, and a callback reads on an owner, would look like a race of the
 * host's. So wherever one thread hands something over to another by atomics both say so, and name
 * an address that both know. Only what ferry orders is told: a real race in the host is still seen.
 *
 * Where nobody listens this costs a load and a branch that is always predicted. If ferry itself is
 * built with ThreadSanitizer nothing is told, as its own atomics are to prove themselves. The one
 * exception is mailbox.c: its inline assembly cannot be seen, so the build compiles it without
 * -fsanitize=thread.
 *
 * helgrind knows no atomics. It would report ferry's own words, whatever the host does. So it is
 * told which memory is ferry's.
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
/* Called before the step that gives it to another thread. */
static inline void ferry__handed_over(const void *address)
{
    if (__builtin_expect(ferry__is_watched, false))
        ferry__tell_handed_over(address);
}

/* Called after the step that got it from another thread. */
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
 * Gives a reference back. @return how many there were. After a 1 all that the others did is over,
 * and seen.
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
