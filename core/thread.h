/* SPDX-License-Identifier: MIT */
/*
 * What ferry knows about the calling thread: what it may do here, its inbox, and whether the
 * process has forked since an object was made.
 */
#ifndef FERRY_CORE_THREAD_H
#define FERRY_CORE_THREAD_H

#include <stdbool.h>
#include <stdint.h>

struct ferry__inbox;

typedef struct ferry__thread {
    struct ferry__inbox *inbox; /* this thread's inbox; NULL until first used */
    const void *owner;          /* the owner that this thread works for; NULL on the program's */
    bool in_callback;           /* a callback of the program's runs on it */
} ferry__thread;

/* The calling thread's record. */
ferry__thread *ferry__thread_current(void);

/* Whether the calling thread must not wait: on an owner, or in a callback (invariant:
 * no_silent_wait). */
bool ferry__thread_may_not_wait(void);

/*
 * Which process this is, counted in forks: an object made in another generation belongs to the
 * parent, whose threads do not exist here.
 */
uint32_t ferry__process_generation(void);

#endif
