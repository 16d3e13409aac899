/* SPDX-License-Identifier: MIT */
/*
 * Telling ThreadSanitizer of hand-overs. A host that is built with it mostly has ferry as an ordinary
 * library, whose atomics it does not see: what a thread wrote before a submit, and a callback reads on
 * an owner, would look like a race of the host's. So wherever one thread hands something over to
 * another by atomics both say so, by an address that both know. A real race in the host is still seen:
 * nothing is told but what ferry orders.
 *
 * Where nobody listens it is a load and a branch that is always predicted. Where ferry itself is built
 * with ThreadSanitizer nothing is told: its own atomics are to prove themselves. But for mailbox.c,
 * whose inline assembly cannot be seen; the build leaves -fsanitize=thread away there.
 *
 * helgrind and DRD could be told as well, but know no atomics: they report ferry's own words by the
 * hundred, whatever the host does.
 */
#ifndef FERRY_CORE_HANDOVER_H
#define FERRY_CORE_HANDOVER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define FERRY__IS_INSTRUMENTED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define FERRY__IS_INSTRUMENTED 1
#endif
#endif

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
/* Defined by ThreadSanitizer's runtime, if the program has it. */
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

/* Before what lets another thread have it. */
static inline void ferry__handed_over(const void *address)
{
    if (__builtin_expect(__tsan_release != NULL, 0))
        __tsan_release((void *)(uintptr_t)address);
}

/* After what got it from another thread. */
static inline void ferry__taken_over(const void *address)
{
    if (__builtin_expect(__tsan_acquire != NULL, 0))
        __tsan_acquire((void *)(uintptr_t)address);
}
#endif

/* Gives a reference back. @return how many there were: with 1 all that others did is over, and seen. */
static inline unsigned ferry__refs_drop(atomic_uint *refs)
{
    ferry__handed_over(refs);
    unsigned before = atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel);
    if (before == 1)
        ferry__taken_over(refs);
    return before;
}

#endif
