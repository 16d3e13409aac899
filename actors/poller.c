/* SPDX-License-Identifier: MIT */
#include "actors/poller.h"

#include "core/cancel.h"
#include "core/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    BATCH = 128, /* events taken a call: 1.5 KB of stack, and a fair share before mail is read */
    TRIES = 100  /* of a call that only a script fails */
};

/* Whether to make a call again: only a script says EAGAIN or EINTR, and may say so for ever. */
static bool is_to_be_made_again(int result, int *tries)
{
    return result < 0 && (errno == EAGAIN || errno == EINTR) && (*tries)-- > 0;
}

/* @return 0, or a negative errno. */
static int control(ferry__calls *calls, int epoll_fd, int operation, int fd,
                   struct epoll_event *event)
{
    int result, tries = TRIES;
    do
        result = calls->epoll_ctl(calls, epoll_fd, operation, fd, event);
    while (is_to_be_made_again(result, &tries));
    return result < 0 ? -errno : 0;
}

int ferry__poller_open(ferry__poller *poller, int wake_fd, ferry__calls *calls)
{
    int epoll_fd, tries = TRIES;
    do
        epoll_fd = calls->epoll_create(calls);
    while (is_to_be_made_again(epoll_fd, &tries));
    if (epoll_fd < 0)
        return -errno;
    /* Edge-triggered, and never read: each ring is a new edge. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    int error = control(calls, epoll_fd, EPOLL_CTL_ADD, wake_fd, &event);
    if (error != 0) {
        (void)ferry__close(epoll_fd);
        return error;
    }
    poller->epoll_fd = epoll_fd;
    poller->calls = calls;
    return 0;
}

void ferry__poller_close(ferry__poller *poller)
{
    if (poller->epoll_fd >= 0)
        (void)ferry__close(poller->epoll_fd);
    *poller = FERRY__POLLER_CLOSED;
}

static bool is_real(const ferry__watch *watch)
{
    return watch->calls == &ferry__calls_real;
}

static void set_awaited(ferry__poller *poller, ferry__watch *watch, uint32_t events)
{
    poller->awaiting -= watch->awaited != 0;
    poller->awaiting += events != 0;
    watch->awaited = events;
}

/* Edge-triggered, so that what happens while nobody waits for it wakes at most once. */
static uint32_t mode_of(const ferry__watch *watch)
{
    if (!watch->is_exclusive)
        return EPOLLET;
    /* A script's watch is armed anew each time, which EPOLLEXCLUSIVE does not allow. */
    return is_real(watch) ? EPOLLEXCLUSIVE : 0;
}

int ferry__poller_watch(ferry__poller *poller, ferry__watch *watch, uint32_t events)
{
    uint32_t all = watch->registered | events;
    struct epoll_event event = {.events = all | mode_of(watch), .data.ptr = watch};
    int operation = watch->registered != 0 ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int error = control(watch->calls, poller->epoll_fd, operation, watch->fd, &event);
    if (error != 0)
        return error;
    watch->registered = all;
    set_awaited(poller, watch, watch->awaited | events);
    return 0;
}

int ferry__poller_await(ferry__poller *poller, ferry__watch *watch, uint32_t events)
{
    /* A script's EAGAIN is followed by no edge: the fd was ready all along. */
    if (!is_real(watch) || (watch->registered & events) != events)
        return ferry__poller_watch(poller, watch, events);
    set_awaited(poller, watch, watch->awaited | events);
    return 0;
}

void ferry__poller_unwatch(ferry__poller *poller, ferry__watch *watch)
{
    if (watch->registered == 0)
        return;
    (void)epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->registered = 0;
    set_awaited(poller, watch, 0);
}

int ferry__poller_ignore(ferry__poller *poller, ferry__watch *watch, uint32_t events)
{
    uint32_t left = watch->registered & ~events;
    if (left == watch->registered)
        return 0;
    if (left == 0) {
        ferry__poller_unwatch(poller, watch);
        return 0;
    }
    struct epoll_event event = {.events = left | EPOLLET, .data.ptr = watch};
    int error = control(watch->calls, poller->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
    if (error == 0)
        watch->registered = left;
    return error;
}

static void tell(ferry__poller *poller, ferry__watch *watch, uint32_t events)
{
    enum { SIGNS = EPOLLERR | EPOLLHUP | EPOLLRDHUP | EPOLLPRI };
    /* An error or a hang-up ends every wait. */
    if ((events & (EPOLLERR | EPOLLHUP)) != 0)
        events |= watch->awaited;
    if ((watch->awaited & events) == 0)
        return;
    events &= watch->awaited | SIGNS;
    set_awaited(poller, watch, watch->awaited & ~events);
    watch->ready(watch, events);
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
    int64_t left_ms = left / FERRY__NS_PER_MS + (left % FERRY__NS_PER_MS > 0);
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

void ferry__poller_wait(ferry__poller *poller, int64_t deadline)
{
    struct epoll_event events[BATCH];
    int count = poller->calls->epoll_wait(poller->calls, poller->epoll_fd, events, BATCH,
                                          timeout_until(deadline));
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != NULL) /* NULL: the wake-up */
            tell(poller, events[i].data.ptr, events[i].events);
    }
}
