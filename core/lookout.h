/* SPDX-License-Identifier: MIT */
/*
 * Looking out: before a thread sleeps it looks for some microseconds whether what it waits for has
 * come. An answer that comes that soon needs nobody to wake the thread: that is two system calls
 * and two changes of threads less.
 *
 * It takes a processor that others may want. So after one in vain the next one is left out, then
 * three, seven, up to 255; after one that was not in vain half as many. It calls no sched_yield(2),
 * which would give a whole slice away for a wait of microseconds.
 *
 * Source: A. Karlin, K. Li, M. Manasse, S. Owicki, "Empirical Studies of Competitive Spinning for a
 * Shared-Memory Multiprocessor", SOSP 1991.
 */
#ifndef FERRY_CORE_LOOKOUT_H
#define FERRY_CORE_LOOKOUT_H

#include <stdbool.h>
#include <stdint.h>

/* Tells the processor that this thread only waits: some ten nanoseconds. */
static inline void ferry__pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" : : : "memory");
#endif
}

/* How it went of late. One thread's. Zero-initialised, nothing is known. */
typedef struct ferry__lookout {
    unsigned char left_out; /* how many are to be left out, the next one first */
    unsigned char in_vain;  /* how many were to be, after the last one */
} ferry__lookout;

/* For what a ring would tell of: about as long as the ring and the sleep take. */
enum { FERRY__LOOKOUT_NS = 10 * 1000 };

/*
 * Looks out, or leaves it out. @param span_ns for how long. @param has_come asked again and again.
 * @return whether it has.
 */
bool ferry__lookout_look(ferry__lookout *self, int64_t span_ns, bool (*has_come)(void *context),
                         void *context);

#endif
