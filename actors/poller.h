/* SPDX-License-Identifier: MIT */
/*
 * An owner's epoll set. A watch is armed for one event at a time: an fd is waited for after an
 * EAGAIN, and what is there already when it is armed is told as well, so that nothing is missed in
 * between. It stays registered, for arming it again, until it is removed.
 *
 * Used by the owner's thread only; opening it may be done before that thread starts.
 */
#ifndef FERRY_ACTORS_POLLER_H
#define FERRY_ACTORS_POLLER_H

#include "core/calls.h"

#include <stdbool.h>
#include <stdint.h>

/* One fd that is waited for. Embedded in what waits; it must be removed before its fd is closed. */
typedef struct ferry__watch {
    int fd;
    ferry__calls *calls; /* what it is registered through */
    bool is_registered;  /* the epoll set knows it */
    bool is_armed;       /* its next event is waited for */

    /*
     * The fd is ready; called once each time it was armed. May only note and schedule: other watches
     * of the same batch are still to be called, so nothing may be freed or removed here.
     */
    void (*ready)(struct ferry__watch *watch);
} ferry__watch;

typedef struct ferry__poller {
    int epoll_fd;        /* -1: not open */
    ferry__calls *calls; /* what it is made and waited in through */
    unsigned armed;      /* watches that are: how many there is something to wait for */
} ferry__poller;

#define FERRY__POLLER_CLOSED ((ferry__poller){.epoll_fd = -1})

/* Makes the set, with the wake-up's eventfd in it. @return 0 or a negative errno. */
int ferry__poller_open(ferry__poller *poller, int wake_fd, ferry__calls *calls);
void ferry__poller_close(ferry__poller *poller);

/*
 * Has watch->ready called once, as soon as any of events (EPOLLIN, EPOLLOUT, ...) is there.
 * @return 0; -EPERM: the fd is always ready (a regular file); or another negative errno.
 */
int ferry__poller_watch(ferry__poller *poller, ferry__watch *watch, uint32_t events);

/* Forgets a watch; it need not be known. */
void ferry__poller_unwatch(ferry__poller *poller, ferry__watch *watch);

/* Waits until anything changes, the wake-up rings, or the deadline; calls what is ready. */
void ferry__poller_wait(ferry__poller *poller, int64_t deadline);

#endif
