/* SPDX-License-Identifier: MIT */
#include "core/sleepers.h"

#include <pthread.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards the list */
static ferry__sleeper *first;
static pthread_once_t fork_watch = PTHREAD_ONCE_INIT;

/* In the child: none of them is there, but one of them may have held the mutex. */
static void forked(void)
{
    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    first = NULL;
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, forked);
}

void ferry__sleepers_add(ferry__sleeper *sleeper)
{
    (void)pthread_once(&fork_watch, watch_forks);
    (void)pthread_mutex_lock(&mutex);
    sleeper->referrer = &first;
    sleeper->next = first;
    if (first != NULL)
        first->referrer = &sleeper->next;
    first = sleeper;
    (void)pthread_mutex_unlock(&mutex);
}

void ferry__sleepers_remove(ferry__sleeper *sleeper)
{
    (void)pthread_mutex_lock(&mutex);
    *sleeper->referrer = sleeper->next;
    if (sleeper->next != NULL)
        sleeper->next->referrer = sleeper->referrer;
    (void)pthread_mutex_unlock(&mutex);
}

void ferry__sleepers_ring(void)
{
    (void)pthread_mutex_lock(&mutex);
    for (ferry__sleeper *each = first; each != NULL; each = each->next)
        ferry__inbox_ring(each->inbox, NULL);
    (void)pthread_mutex_unlock(&mutex);
}
