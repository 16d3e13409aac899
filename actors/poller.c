/* SPDX-License-Identifier: MIT */
#include "actors/poller.h"

#include "core/clock.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    BATCH = 128
}; /* events taken a call: 1.5 KB of stack, and a fair share before mail is read */

int ferry__poller_open(ferry__poller *poller, int wake_fd, ferry__calls *calls)
{
    int epoll_fd = calls->epoll_create(calls);
    if (epoll_fd < 0)
        return -errno;
    /* Edge-triggered, and never read: each ring is a new edge. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (calls->epoll_ctl(calls, epoll_fd, EPOLL_CTL_ADD, wake_fd, &event) < 0) {
        int error = -errno;
        (void)close(epoll_fd);
        return error;
    }
    poller->epoll_fd = epoll_fd;
    poller->calls = calls;
    return 0;
}

void ferry__poller_close(ferry__poller *poller)
{
    if (poller->epoll_fd >= 0)
        (void)close(poller->epoll_fd);
    *poller = FERRY__POLLER_CLOSED;
}

int ferry__poller_watch(ferry__poller *poller, ferry__watch *watch, uint32_t events)
{
    /* Edge-triggered, so that what happens while it is not armed wakes at most once. */
    struct epoll_event event = {.events = events | EPOLLET, .data.ptr = watch};
    int operation = watch->is_registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (watch->calls->epoll_ctl(watch->calls, poller->epoll_fd, operation, watch->fd, &event) < 0)
        return -errno;
    watch->is_registered = true;
    poller->armed += !watch->is_armed;
    watch->is_armed = true;
    return 0;
}

static void disarm(ferry__poller *poller, ferry__watch *watch)
{
    poller->armed -= watch->is_armed;
    watch->is_armed = false;
}

void ferry__poller_unwatch(ferry__poller *poller, ferry__watch *watch)
{
    if (!watch->is_registered)
        return;
    (void)epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->is_registered = false;
    disarm(poller, watch);
}

/* Whole milliseconds, rounded up so that a timer is due when its owner wakes. */
static int timeout_until(int64_t deadline)
{
    if (deadline == FERRY__NEVER)
        return -1;
    if (deadline == 0)
        return 0;
    int64_t left = deadline - ferry__clock_now();
    if (left <= 0)
        return 0;
    int64_t left_ms = (left + FERRY__NS_PER_MS - 1) / FERRY__NS_PER_MS;
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

void ferry__poller_wait(ferry__poller *poller, int64_t deadline)
{
    struct epoll_event events[BATCH];
    int count = poller->calls->epoll_wait(poller->calls, poller->epoll_fd, events, BATCH,
                                          timeout_until(deadline));
    for (int i = 0; i < count; i++) {
        ferry__watch *watch = events[i].data.ptr;
        if (watch == NULL || !watch->is_armed)
            continue;
        disarm(poller, watch);
        watch->ready(watch);
    }
}
