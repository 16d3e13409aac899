/* SPDX-License-Identifier: MIT */
#include "core/wake.h"

#include "core/cancel.h"

#include "core/clock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

void ferry__futex_wait(atomic_uint *word, unsigned expected, int64_t deadline)
{
    /* A wait with a bitset takes an absolute time, so a restart does not stretch it. */
    struct timespec until = {.tv_sec = deadline / FERRY__NS_PER_S,
                             .tv_nsec = deadline % FERRY__NS_PER_S};
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
                  deadline == FERRY__NEVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

void ferry__futex_wake_all(atomic_uint *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, NULL, NULL, 0);
}

void ferry__wake_init(ferry__wake *wake)
{
    atomic_init(&wake->asleep, FERRY__AWAKE);
    atomic_init(&wake->owed, 0);
    atomic_init(&wake->fd, -1);
}

/* In wake->owed: the thread that closes it sleeps until nothing is owed any more. */
#define CLOSER_WAITS (1u << 31)

/*
 * Takes as long as claimers need for write(2).
 *
 *   closer                                waker
 *   D0 owed |= CLOSER_WAITS               P0 owed -= 1
 *   D1 owed more? sleep while it is just  P1 nothing left, and CLOSER_WAITS? wake
 *      that, again from D1
 *
 * All change one word, so D0 stands before the last P0, which then wakes, or after it, and D1 finds
 * nothing owed. The word changes with each P0: futex(2) lets nobody sleep on an older one.
 */
static void wait_for_rings(ferry__wake *wake)
{
    unsigned owed = atomic_fetch_or(&wake->owed, CLOSER_WAITS) | CLOSER_WAITS;
    for (; owed != CLOSER_WAITS; owed = atomic_load(&wake->owed))
        ferry__futex_wait(&wake->owed, owed, FERRY__NEVER);
}

/* A ring that was owed has been made, or need not be. */
static void pay(ferry__wake *wake)
{
    if (atomic_fetch_sub(&wake->owed, 1) == (CLOSER_WAITS | 1))
        ferry__futex_wake_all(&wake->owed);
}

void ferry__wake_deinit(ferry__wake *wake)
{
    wait_for_rings(wake);
    int fd = atomic_load(&wake->fd);
    if (fd >= 0)
        (void)ferry__close(fd);
    atomic_store(&wake->fd, -1);
}

ferry__bed ferry__wake_claim(ferry__wake *wake, bool urgent)
{
    /* Read first: an awake receiver costs no write to a line that every waker shares. */
    ferry__bed seen = atomic_load(&wake->asleep);
    if (seen == FERRY__AWAKE || (seen >= FERRY__DOZING && !urgent))
        return FERRY__AWAKE;
    /* Owed before it is claimed. So a sleeper whose last announcement was claimed or retracted, and
     * that finds nothing owed, is never rung again. */
    atomic_fetch_add(&wake->owed, 1);
    ferry__bed bed = atomic_exchange(&wake->asleep, FERRY__AWAKE);
    if (bed == FERRY__AWAKE)
        pay(wake);
    return bed;
}

void ferry__wake_disclaim(ferry__wake *wake)
{
    pay(wake);
}

static void ring_fd(int fd)
{
    /* EAGAIN would mean a counter near 2^64: readable already. */
    uint64_t one = 1;
    /* Not write(2) of libc's: that is a point where pthread_cancel may end the thread, with the
     * sleep claimed and nobody rung. */
    while (syscall(SYS_write, fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void ferry__wake_ring(ferry__wake *wake, ferry__bed bed)
{
    if (bed == FERRY__ON_FUTEX)
        ferry__futex_wake_all(&wake->asleep);
    else
        ring_fd(atomic_load(&wake->fd));
    pay(wake);
}

int ferry__wake_fd(ferry__wake *wake)
{
    int fd = atomic_load(&wake->fd);
    if (fd >= 0)
        return fd;
    fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    atomic_store(&wake->fd, fd);
    return fd;
}

void ferry__wake_announce(ferry__wake *wake, ferry__bed bed)
{
    (void)atomic_exchange(&wake->asleep, bed);
}

void ferry__wake_retract(ferry__wake *wake)
{
    atomic_store(&wake->asleep, FERRY__AWAKE);
}

bool ferry__wake_leave_call(ferry__wake *wake)
{
    if (atomic_exchange(&wake->asleep, FERRY__AWAKE) == FERRY__IN_CALL)
        return false;
    wait_for_rings(wake);
    (void)atomic_fetch_and(&wake->owed, ~CLOSER_WAITS);
    return true;
}

void ferry__wake_sleep(ferry__wake *wake, ferry__bed bed, int64_t deadline)
{
    if (bed == FERRY__ON_FUTEX) {
        ferry__futex_wait(&wake->asleep, FERRY__ON_FUTEX, deadline);
        return;
    }
    struct pollfd readable = {.fd = atomic_load(&wake->fd), .events = POLLIN};
    struct timespec left;
    if (deadline != FERRY__NEVER)
        left = ferry__clock_left(deadline);
    FERRY__HOLD_OFF_CANCEL();
    (void)ppoll(&readable, 1, deadline == FERRY__NEVER ? NULL : &left, NULL);
}

void ferry__wake_clear(ferry__wake *wake)
{
    int fd = atomic_load(&wake->fd);
    uint64_t rings;
    if (fd >= 0)
        while (syscall(SYS_read, fd, &rings, sizeof rings) < 0 && errno == EINTR) {
        }
}
