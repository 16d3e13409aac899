/* SPDX-License-Identifier: MIT */
#include "actors/timers.h"

#include "core/clock.h"

#include <stddef.h>

void ferry__timers_set(ferry__timers *timers, ferry__timer *timer, int64_t deadline)
{
    ferry__timers_cancel(timers, timer);
    ferry__timer *before = timers->last;
    while (before != NULL && before->deadline > deadline)
        before = before->previous;

    timer->deadline = deadline;
    timer->set = true;
    timer->previous = before;
    timer->next = before != NULL ? before->next : timers->first;
    *(before != NULL ? &before->next : &timers->first) = timer;
    *(timer->next != NULL ? &timer->next->previous : &timers->last) = timer;
}

void ferry__timers_cancel(ferry__timers *timers, ferry__timer *timer)
{
    if (!timer->set)
        return;
    *(timer->previous != NULL ? &timer->previous->next : &timers->first) = timer->next;
    *(timer->next != NULL ? &timer->next->previous : &timers->last) = timer->previous;
    timer->set = false;
}

int64_t ferry__timers_nearest(const ferry__timers *timers)
{
    return timers->first != NULL ? timers->first->deadline : FERRY__NEVER;
}

void ferry__timers_fire(ferry__timers *timers)
{
    if (timers->first == NULL)
        return;
    int64_t now = ferry__clock_now();
    while (timers->first != NULL && timers->first->deadline <= now) {
        ferry__timer *due = timers->first;
        ferry__timers_cancel(timers, due);
        due->fire(due);
    }
}
