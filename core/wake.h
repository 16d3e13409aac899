/* SPDX-License-Identifier: MIT */
/*
 * Wake-ups: how a thread sleeps until somebody has something for it, at the price of a system call
 * only when it really sleeps.
 *
 *   sleeper                              waker
 *   S1 ferry__wake_announce (asleep=1)   W1 publish (push the mail, set the flag)
 *   S2 look once more; found: _retract   W2 ferry__wake_claim: asleep 1 -> 0? then the duty is ours
 *   S3 ferry__wake_sleep                 W3 ferry__wake_ring
 *
 * S1 before S2 and W1 before W2 are full barriers: either the sleeper sees what was published, or
 * the waker sees it asleep. Only one waker wins the claim. It must ring, soon but not at once:
 * owners collect their duties and ring once a batch. The sleeper may wake by itself meanwhile, find
 * what was published, and come to its end. So closing the wake-up first waits until all rings that
 * are still owed are made. Else they would go to an fd number that somebody else has got.
 *
 * It is a futex word. Where an fd is wanted (an owner's epoll set, a program's event loop) it also
 * gets an eventfd; the sleeper says with each announcement which of the two it sleeps on. A ring
 * for an earlier announcement may come late, and on the other one. It does no harm, and nobody
 * needs it: the sleeper has looked since.
 */
#ifndef FERRY_CORE_WAKE_H
#define FERRY_CORE_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What a sleeper sleeps on. */
typedef enum ferry__bed {
    FERRY__AWAKE, /* nothing: there is nobody to wake */
    FERRY__ON_FUTEX,
    FERRY__ON_FD,  /* its eventfd, in poll(2) or epoll_wait(2) */
    FERRY__DOZING, /* its eventfd, and only for what is urgent: it could do nothing with the rest,
                      and looks for that when something else has woken it */
    FERRY__IN_CALL /* a system call that does its work, also only for what is urgent: the waker
                      knows how to get it out of there */
} ferry__bed;

typedef struct ferry__wake {
    atomic_uint
        asleep;       /* a ferry__bed: announced, and not yet claimed by a waker; the futex word */
    atomic_uint owed; /* rings claimed and not yet made; the futex that closing sleeps on */
    atomic_int fd;    /* the eventfd, or -1 */
} ferry__wake;

void ferry__wake_init(ferry__wake *wake);

/* The sleeper does not sleep any more. Waits for rings that are owed, then closes the eventfd. */
void ferry__wake_deinit(ferry__wake *wake);

/*
 * Any thread. What the caller has to ring: it published, and found the sleeper asleep there.
 * @param urgent whether what it published is also for a sleeper that dozes.
 */
ferry__bed ferry__wake_claim(ferry__wake *wake, bool urgent);

/* Any thread, after a claim that gave this bed, which is not FERRY__IN_CALL. Never blocks. */
void ferry__wake_ring(ferry__wake *wake, ferry__bed bed);

/* Instead of ring, after a claim: the sleeper is told in another way. */
void ferry__wake_disclaim(ferry__wake *wake);

/*
 * Sleeper only. Gives the eventfd, made on the first call; negative errno if it cannot be made.
 * The sleeper must look once more afterwards: an earlier claim may still ring the futex.
 */
int ferry__wake_fd(ferry__wake *wake);

/* Sleeper only. Announces sleep: from here on wakers ring. On its eventfd only where it has one. */
void ferry__wake_announce(ferry__wake *wake, ferry__bed bed);

/* Sleeper only. Takes the announcement back. */
void ferry__wake_retract(ferry__wake *wake);

/*
 * Sleeper only, after announcing FERRY__IN_CALL: its call is over. Waits until whoever claimed it
 * has paid. @return whether somebody did.
 */
bool ferry__wake_leave_call(ferry__wake *wake);

/*
 * Sleeper only, after announcing that bed. Sleeps until rung or until the deadline
 * (ferry__clock_now's time); may also return for no reason.
 */
void ferry__wake_sleep(ferry__wake *wake, ferry__bed bed, int64_t deadline);

/* Sleeper only. Makes the eventfd, if there is one, unreadable until the next ring. */
void ferry__wake_clear(ferry__wake *wake);

/* The two futex(2) operations, for code that waits on a word of its own. */
void ferry__futex_wait(atomic_uint *word, unsigned expected, int64_t deadline);
void ferry__futex_wake_all(atomic_uint *word);

#endif
