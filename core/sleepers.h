/* SPDX-License-Identifier: MIT */
/*
 * The threads of the process that sleep on their inboxes for something that posts no mail there.
 * The thread that makes such a thing happen rings them all, and each looks for itself. So a thread
 * registers with nothing that it waits for, and has nothing to take off when it has waited enough.
 */
#ifndef FERRY_CORE_SLEEPERS_H
#define FERRY_CORE_SLEEPERS_H

#include "core/inbox.h"

/* A thread that sleeps so. On its stack. */
typedef struct ferry__sleeper {
    ferry__inbox *inbox;              /* the thread's own; set by the caller */
    struct ferry__sleeper **referrer; /* what points to it */
    struct ferry__sleeper *next;
} ferry__sleeper;

/* The sleeper's thread. From here on it is rung. */
void ferry__sleepers_add(ferry__sleeper *sleeper);
void ferry__sleepers_remove(ferry__sleeper *sleeper);

/* Any thread. Wakes them all. */
void ferry__sleepers_ring(void);

#endif
