/* SPDX-License-Identifier: MIT */
/*
 * What an event loop watches of a thread's inbox: one fd, readable when the inbox was rung and when
 * the nearest of its timers is due. It is an epoll set of two, the wake-up's eventfd and a timerfd:
 * an eventfd cannot tell the time, and a timerfd rings late. Used by the inbox's own thread.
 */
#ifndef FERRY_CORE_BELL_H
#define FERRY_CORE_BELL_H

#include "core/wake.h"

#include <stdint.h>

typedef struct ferry__bell {
    int fd;           /* the epoll set, which the program sees; or -1 */
    int alarm_fd;     /* the timerfd; or -1 */
    int64_t alarm_at; /* what it is set to; FERRY__NEVER: unset */
} ferry__bell;

void ferry__bell_init(ferry__bell *bell);
void ferry__bell_deinit(ferry__bell *bell);

/* Makes the fds, the wake-up's with them. @return 0, or a negative errno with nothing made but,
 * perhaps, the wake-up's. */
int ferry__bell_open(ferry__bell *bell, ferry__wake *wake);

/* Once it is open: has it readable from the deadline on, and no more for an earlier one. */
void ferry__bell_set_alarm(ferry__bell *bell, int64_t deadline);

#endif
