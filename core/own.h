/* SPDX-License-Identifier: MIT */
/*
 * Promises that are no request's: those that a program settles itself (own.c), and, on the same
 * base, those that wait for a time (delay.c) or for others (derived.c).
 *
 * What they have in common is a value, times, and how they end. Freeing one promise may free
 * another one, and so on. A list for each thread turns that recursion into a loop.
 */
#ifndef FERRY_CORE_OWN_H
#define FERRY_CORE_OWN_H

#include "core/promise.h"

typedef struct ferry__own {
    ferry_promise promise; /* first */

    /* The settling thread's until it settles, then constant. */
    int64_t settled_ns;
    void *value;
    void (*release)(void *value); /* or NULL */
    ferry_promise *origin;        /* whose value it is, a reference; NULL: its own */

    struct ferry__own *next_to_go; /* of the thread that destroys it */
} ferry__own;

/* What kind it is. */
typedef struct ferry__own_type {
    ferry__promise_type promise;  /* first; destroy is ferry__own_destroy */
    void (*deinit)(ferry__own *); /* lets go of what the kind adds; NULL: nothing */
} ferry__own_type;

/* Makes a pending one, with one reference, in memory from ferry__allocate. */
void ferry__own_init(ferry__own *own, ferry__inbox *home, const ferry__own_type *type);

/*
 * The settling thread, once. Takes the outcome's value.
 * @param origin the promise whose value that is instead: it is kept for as long as this one; NULL.
 * @return as ferry__promise_settle: whether somebody asked before for it to be cancelled.
 */
bool ferry__own_settle(ferry__own *own, const ferry_outcome *outcome, ferry_promise *origin);

/* The inbox of the thread that made it; NULL: an owner did. */
ferry__inbox *ferry__own_home(const ferry__own *own);

/* For a type's cancel: posts mail home, with a reference that is given back on delivery. */
void ferry__own_post_home(ferry__own *own, ferry__mail *mail);

/* The outcome of a promise that was called off. */
ferry_outcome ferry__own_cancelled(ferry_cause cause);

/* The outcome of a promise whose thread has ended. If somebody has cancelled it before, that is the
 * cause. */
ferry_outcome ferry__own_gone(const ferry__own *own);

/* Calls the release of a value, if it has one. */
void ferry__own_release_value(void (*release)(void *value), void *value);

/* A type's destroy. */
void ferry__own_destroy(ferry_promise *promise);

/* Makes a promise that has settled already, with this outcome, whose value it takes. Without memory
 * NULL, and nothing is taken. */
ferry_promise *ferry__own_create_settled(const ferry_outcome *outcome);

/* Any thread. Whose value a settled promise has; NULL: it has none. */
ferry_promise *ferry__own_origin(ferry_promise *promise);

#endif
