/* SPDX-License-Identifier: MIT */
/*
 * What a detach leaves to the program: the connection, and the bytes that had come on it and that
 * nobody has taken. It belongs to the promise of the stream's close, which the detach is.
 */
#ifndef FERRY_TRANSPORT_STREAM_DETACHED_H
#define FERRY_TRANSPORT_STREAM_DETACHED_H

#include "core/promise.h"
#include "transport/edge/bytes.h"

typedef struct ferry__detached {
    /* The owner's, until the promise settles. */
    atomic_int fd; /* -1: there is none, or the program has taken it */
    ferry__bytes unread;
} ferry__detached;

/* NULL: no memory. */
ferry__detached *ferry__detached_create(void);

/* NULL is fine. */
void ferry__detached_free(ferry__detached *detached);

/* The type of a close's promise. It lets go of what a detach has left. */
extern const ferry__promise_type ferry__close_type;

#endif
