/* SPDX-License-Identifier: MIT */
/*
 * pthread_cancel(3) ends a thread in no call of ferry's (<ferry/api.h>): it would end it in the
 * middle of things. libc makes many system calls such points. ferry makes these calls in another
 * way, or holds cancelling off meanwhile.
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

/* The first statement of a block. The thread is not cancelled while the block lasts. */
#define FERRY__HOLD_OFF_CANCEL()                                                                   \
    __attribute__((cleanup(ferry__cancel_let_on), unused)) const int cancel_before =               \
        ferry__cancel_hold_off()

/* close(2), but no point of cancellation. */
static inline int ferry__close(int fd)
{
    FERRY__HOLD_OFF_CANCEL(); /* no system call by number: ThreadSanitizer would not see it */
    return close(fd);
}

#endif
