/* SPDX-License-Identifier: MIT */
#include "core/thread.h"

#include <pthread.h>

_Thread_local ferry__thread ferry__thread_record;
atomic_uint ferry__process_forks;
static pthread_once_t fork_watch = PTHREAD_ONCE_INIT;

/* In the child's only thread. The parent's inbox is shared with the parent: it is not ours. */
static void forked(void)
{
    atomic_fetch_add(&ferry__process_forks, 1);
    ferry__thread_record = (ferry__thread){0};
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, forked);
    atomic_store_explicit(&ferry__process_forks, 1,
                          memory_order_release); /* W0: only now; pairs with G0 */
}

uint32_t ferry__process_watch_forks(void)
{
    (void)pthread_once(&fork_watch, watch_forks);
    return atomic_load_explicit(&ferry__process_forks, memory_order_acquire);
}
