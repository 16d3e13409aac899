/* SPDX-License-Identifier: MIT */
/*
 * An own queue: what a good engineer writes where several threads write into one socket. Each
 * write is copied into memory of its own and put at the end of a list, under a mutex. One thread
 * takes all that has come, and sends it in as few calls of writev(2) as it can.
 */
#ifndef BENCHMARK_OWN_QUEUE_H
#define BENCHMARK_OWN_QUEUE_H

#include <stddef.h>

typedef struct own_queue own_queue;

/* Starts the thread. @param fd stays the caller's. @return NULL: there is no memory, or thread. */
own_queue *own_queue_create(int fd);

/*
 * Puts a write at the end; any thread may. Waits while there are too many.
 * @return 0, or a negative errno: that one, or one before, could not be sent
 */
int own_queue_write(own_queue *q, const void *data, size_t length);

/* Waits until all has been sent, and ends the thread. @return 0, or what made it fail. */
int own_queue_destroy(own_queue *q);

#endif
