/* SPDX-License-Identifier: MIT */
#include "core/bell.h"

#include "core/cancel.h"

#include "core/clock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

void ferry__bell_init(ferry__bell *bell)
{
    *bell = (ferry__bell){.fd = -1, .alarm_fd = -1, .alarm_at = FERRY__NEVER};
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)ferry__close(*fd);
    *fd = -1;
}

void ferry__bell_deinit(ferry__bell *bell)
{
    close_fd(&bell->fd);
    close_fd(&bell->alarm_fd);
}

static int add(const ferry__bell *bell, int fd)
{
    /* Level-triggered, so that the set is readable for as long as one of the two is. */
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(bell->fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static int make(ferry__bell *bell, ferry__wake *wake)
{
    bell->fd = epoll_create1(EPOLL_CLOEXEC);
    if (bell->fd < 0)
        return -errno;
    bell->alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (bell->alarm_fd < 0)
        return -errno;
    int wake_fd = ferry__wake_fd(wake);
    if (wake_fd < 0)
        return wake_fd;
    int error = add(bell, bell->alarm_fd);
    return error == 0 ? add(bell, wake_fd) : error;
}

int ferry__bell_open(ferry__bell *bell, ferry__wake *wake)
{
    int error = make(bell, wake);
    if (error != 0)
        ferry__bell_deinit(bell);
    return error;
}

void ferry__bell_set_alarm(ferry__bell *bell, int64_t deadline)
{
    if (deadline == bell->alarm_at)
        return;
    bell->alarm_at = deadline;
    struct itimerspec when = {{0, 0}, {0, 0}}; /* unset */
    if (deadline != FERRY__NEVER) {
        when.it_value.tv_sec = deadline / FERRY__NS_PER_S;
        when.it_value.tv_nsec = deadline % FERRY__NS_PER_S;
    }
    (void)timerfd_settime(bell->alarm_fd, TFD_TIMER_ABSTIME, &when, NULL);
}
