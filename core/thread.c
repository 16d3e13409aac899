/* SPDX-License-Identifier: MIT */
#include "core/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

static _Thread_local ferry__thread current;
static atomic_uint generation;
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
}

uint32_t ferry__process_generation(void)
{
    (void)pthread_once(&fork_watch, watch_forks);
    return atomic_load_explicit(&generation, memory_order_relaxed);
}
