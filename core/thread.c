/* SPDX-License-Identifier: MIT */
#include "core/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

static _Thread_local ferry__thread current;
static atomic_uint generation; /* 0: forks are not watched yet */
static pthread_once_t fork_watch = PTHREAD_ONCE_INIT;

ferry__thread *ferry__thread_current(void)
{
    return &current;
}

bool ferry__thread_may_not_wait(void)
{
    return current.owner != NULL || current.in_callback;
}

/* In the child's only thread. The parent's inbox is shared with the parent: it is not ours. */
static void forked(void)
{
    atomic_fetch_add(&generation, 1);
    current = (ferry__thread){0};
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, forked);
    atomic_store_explicit(&generation, 1, memory_order_release); /* W0: only now; pairs with G0 */
}

uint32_t ferry__process_generation(void)
{
    /* G0: every submit asks, so all but the first calls do with one load. */
    uint32_t known = atomic_load_explicit(&generation, memory_order_acquire);
    if (known != 0)
        return known;
    (void)pthread_once(&fork_watch, watch_forks);
    return atomic_load_explicit(&generation, memory_order_acquire);
}
