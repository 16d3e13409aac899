/* SPDX-License-Identifier: MIT */
/*
 * An owner's epoll set. Watches are edge-triggered and registered once: an fd is waited for after
 * an EAGAIN, and the kernel then reports the next change without another system call.
 *
 * Used by the owner's thread only; opening it may be done before that thread starts.
 */
#ifndef FERRY_ACTORS_POLLER_H
#define FERRY_ACTORS_POLLER_H

#include <stdint.h>

/* One fd that is waited for. Embedded in what waits; it must be removed before its fd is closed. */
typedef struct ferry__watch {
    int fd;
    uint32_t events; /* EPOLLIN, EPOLLOUT: what is registered; 0: not registered */

    /*
     * The fd changed. May only note and schedule: other watches of the same batch are still to be
     * called, so nothing may be freed or removed here.
     */
    void (*ready)(struct ferry__watch *watch);
} ferry__watch;

typedef struct ferry__poller {
    int epoll_fd; /* -1: not open */
} ferry__poller;

#define FERRY__POLLER_CLOSED ((ferry__poller){.epoll_fd = -1})

/* Makes the set, with the wake-up's eventfd in it. @return 0 or a negative errno. */
int ferry__poller_open(ferry__poller *poller, int wake_fd);
void ferry__poller_close(ferry__poller *poller);

/*
 * Has watch->ready called at the next change towards any of events, which replace those watched for
 * before. Registered for these already, it tells nothing of what is there now: to be called after an
 * EAGAIN.
 * @return 0; -EPERM: the fd is always ready (a regular file); or another negative errno.
 */
int ferry__poller_watch(ferry__poller *poller, ferry__watch *watch, uint32_t events);
void ferry__poller_unwatch(ferry__poller *poller, ferry__watch *watch);

/* Waits until anything changes, the wake-up rings, or the deadline; calls what is ready. */
void ferry__poller_wait(ferry__poller *poller, int64_t deadline);

#endif
