/* SPDX-License-Identifier: MIT */
/*
 * An owner's epoll set. An fd has one watch, on which each direction is waited for by itself: an
 * event that is waited for is told once, and then has to be waited for again. The fd stays
 * registered, edge-triggered, until the watch is removed. An exclusive watch is for an fd that
 * several owners watch. It is level-triggered: what is left is told again, so who does not want to
 * be woken for it removes the watch.
 *
 * There are two ways to wait. ferry__poller_watch asks the kernel anew, so that what is there
 * already is told as well. ferry__poller_await relies on the edge that is still to come, and needs
 * no system call. It is for code that the kernel has just told that there is nothing. An exclusive
 * watch is registered once and then awaited: the kernel arms no such watch anew.
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
    bool is_exclusive;   /* other owners watch the fd, too: one of those that sleep is woken */
    ferry__calls *calls; /* what it is registered through */
    uint32_t registered; /* the events that the epoll set knows it for; 0: it does not know it */
    uint32_t awaited;    /* those of them that are waited for */

    /*
     * The fd is ready. events is what was waited for and is there; it is not waited for any more.
     * EPOLLERR, EPOLLHUP, EPOLLRDHUP and EPOLLPRI are told in any case. May only note and schedule:
     * other watches of the same batch are still to be called, so nothing may be freed or removed
     * here.
     */
    void (*ready)(struct ferry__watch *watch, uint32_t events);
} ferry__watch;

typedef struct ferry__poller {
    int epoll_fd;        /* -1: not open */
    ferry__calls *calls; /* what it is made and waited in through */
    unsigned awaiting;   /* watches on which something is waited for */
} ferry__poller;

#define FERRY__POLLER_CLOSED ((ferry__poller){.epoll_fd = -1})

/* Makes the set, with the wake-up's eventfd in it. @return 0 or a negative errno. */
int ferry__poller_open(ferry__poller *poller, int wake_fd, ferry__calls *calls);
void ferry__poller_close(ferry__poller *poller);

/*
 * Has watch->ready called once, as soon as any of events (EPOLLIN, EPOLLOUT, ...) is there, beside
 * what is waited for already.
 * @return 0; -EPERM: the fd is always ready (a regular file); or another negative errno.
 */
int ferry__poller_watch(ferry__poller *poller, ferry__watch *watch, uint32_t events);

/*
 * Has watch->ready called once, as soon as any of events is there. For use once the kernel has said
 * EAGAIN: from then on the next edge counts, and if the events are registered already no call is
 * made.
 * @return 0; -EPERM: the fd is always ready (a regular file); or another negative errno.
 */
int ferry__poller_await(ferry__poller *poller, ferry__watch *watch, uint32_t events);

/*
 * Has the epoll set heed none of these events any more, which nobody waits for: each would wake its
 * thread. @return 0, or a negative errno.
 */
int ferry__poller_ignore(ferry__poller *poller, ferry__watch *watch, uint32_t events);

/* Forgets a watch; it need not be known. */
void ferry__poller_unwatch(ferry__poller *poller, ferry__watch *watch);

/* Waits until anything changes, the wake-up rings, or the deadline; calls what is ready. */
void ferry__poller_wait(ferry__poller *poller, int64_t deadline);

#endif
