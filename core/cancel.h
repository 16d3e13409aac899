/* SPDX-License-Identifier: MIT */
/*
 * No call of ferry's is a point where pthread_cancel(3) may end the thread (<ferry/api.h>): it
 * would be ended in the middle of things. So what libc makes such a point is called by other ways,
 * or with cancelling held off.
 */
#ifndef FERRY_CORE_CANCEL_H
#define FERRY_CORE_CANCEL_H

#include <pthread.h>
#include <unistd.h>

static inline int ferry__cancel_hold_off(void)
{
    int before;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static inline void ferry__cancel_let_on(const int *before)
{
    (void)pthread_setcancelstate(*before, NULL);
}

/* The first statement of a block: as long as that lasts the thread is not cancelled. */
#define FERRY__HOLD_OFF_CANCEL()                                                                   \
    __attribute__((cleanup(ferry__cancel_let_on), unused)) const int cancel_before =               \
        ferry__cancel_hold_off()

/* close(2), and no point of cancellation. */
static inline int ferry__close(int fd)
{
    FERRY__HOLD_OFF_CANCEL(); /* no system call by number: ThreadSanitizer would not see it */
    return close(fd);
}

#endif
