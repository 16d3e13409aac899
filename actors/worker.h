/* SPDX-License-Identifier: MIT */
/*
 * Workers: the threads of supervised owners, which are kept for the next owner. To make a thread
 * and to join it costs some 40 us, which a connection that is open for a moment does not have.
 *
 *   supervisor                                 worker
 *   makes it for an owner                      runs that owner, to its end
 *                                              posts the owner's last mail
 *   keep                                       await: sleeps
 *   hire: owner, H0 order = HIRED, wakes it    H1 takes the order, runs that owner
 *   dismiss: order = DISMISSED, joins it       ends
 *
 * H0 pairs with H1: the worker sees the owner that it was hired for. What it posts at an owner's
 * end is the last that it does for that owner, so its supervisor may free the owner at once.
 */
#ifndef FERRY_ACTORS_WORKER_H
#define FERRY_ACTORS_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct ferry__owner;

/* On the worker's own stack, so that no thread needs memory to be kept. */
typedef struct ferry__worker {
    pthread_t thread;
    atomic_uint order;          /* what it is to do next; a futex */
    struct ferry__owner *owner; /* set before order says so */
    struct ferry__worker *next; /* the supervisor's, in its crew */
} ferry__worker;

/* Those that wait for work, the last one first. Zero-initialised, there is none. */
typedef struct ferry__crew {
    ferry__worker *first;
    unsigned count;
    unsigned fewest; /* the least count since it was looked at */
} ferry__crew;

/* The supervisor, once the worker has posted its owner's last mail. Keeps it; or dismisses it,
 * where there are plenty. @return whether there are more than are kept for long: the crew is to be
 * looked at. */
bool ferry__crew_keep(ferry__crew *crew, ferry__worker *worker);

/* The supervisor, from time to time. Dismisses some of those that were not needed since it last
 * looked. @return whether to look again. */
bool ferry__crew_look(ferry__crew *crew);

/* The supervisor. Has one of them run an owner. @return false: there is none. */
bool ferry__crew_hire(ferry__crew *crew, struct ferry__owner *owner);

/* The supervisor. Ends and joins all of them; one that is not kept. */
void ferry__crew_dismiss(ferry__crew *crew);
void ferry__worker_dismiss(ferry__worker *worker);

/* The worker, between two owners. Sleeps. @return the next one; NULL: it was dismissed. */
struct ferry__owner *ferry__worker_await(ferry__worker *worker);

#endif
