/* SPDX-License-Identifier: MIT */
/*
 * An inbox: a thread's mailbox, the wake-up beside it, and what happens once the thread has ended.
 *
 * The thread holds one reference until it ends. Every promise that has this inbox as its home, and
 * every mail under way, hold one each, so a poster never meets freed memory. Most of these are
 * taken and given back by the inbox's own thread. It counts them without atomics, in own_refs, and
 * adds them to what the others have counted when it ends. Until then refs is greater by
 * FERRY__INBOX_ALIVE: nobody finds it 0. (Biased reference counting: Choi, Shull and Torrellas,
 * PACT 2018.)
 *
 * When the thread ends its inbox is closed. A poster that comes later empties it again, and tells
 * each mail that its receiver is gone. Close and post are ordered as sleeper and waker are
 * (core/wake.h): either the closer's last take finds the mail, or the poster finds the inbox
 * closed.
 *
 * A thread's timers are its inbox's. They fire just before its mail is delivered, so that what they
 * settle is delivered with it. When the thread ends all of them fire, as if they were due.
 */
#ifndef FERRY_CORE_INBOX_H
#define FERRY_CORE_INBOX_H

#include "core/bell.h"
#include "core/mailbox.h"
#include "core/spares.h"
#include "core/thread.h"
#include "core/timers.h"
#include "core/wake.h"

typedef struct ferry__inbox {
    /* Any thread. */
    _Atomic uint64_t refs;
    atomic_bool closed; /* the thread has ended */
    ferry__mailbox mailbox;
    ferry__wake wake;

    /* Its own thread. */
    uint64_t own_refs; /* wraps below 0 if it gives back what others took */
    ferry__own_mail own_mail;
    ferry__mail *being_run; /* taken and not run yet: a callback may end the thread */
    bool would_sleep;       /* the run under way does, if nothing comes */
    ferry__pile piles[FERRY__REQUEST_SPARES]; /* of what it let go */
    ferry__timers timers;
    ferry__bell bell; /* open once an event loop has asked for the fd */
} ferry__inbox;

/* What the thread's own reference counts in refs: more than others will ever give back. */
#define FERRY__INBOX_ALIVE (UINT64_C(1) << 62)

/*
 * The inboxes that a thread has posted to and not rung yet, collected so that a batch of
 * completions rings each once. Zero-initialised, it is empty. One thread uses it, and flushes it
 * before it does anything that takes time. The ringer does not claim the wake-up until it is
 * flushed, so another poster can still ring at once.
 */
typedef struct ferry__ringer {
    ferry__inbox *inboxes[16]; /* a reference each; more than 16 threads: flushed in between */
    unsigned count;
} ferry__ringer;

/* The inbox's own thread, which runs it. Whether nothing else is to be run, and it would sleep. */
static inline bool ferry__inbox_may_wait(const ferry__inbox *inbox)
{
    return inbox->would_sleep && inbox->being_run == NULL && inbox->own_mail.first == NULL &&
           ferry__mailbox_is_empty(&inbox->mailbox);
}

/* The calling thread's inbox, made on first use; NULL: no memory. Takes no reference. */
ferry__inbox *ferry__inbox_current(void);

static inline ferry__inbox *ferry__inbox_ref(ferry__inbox *inbox)
{
    if (inbox == ferry__thread_current()->inbox)
        inbox->own_refs++;
    else
        atomic_fetch_add_explicit(&inbox->refs, 1, memory_order_relaxed);
    return inbox;
}

/* For ferry__inbox_unref. */
void ferry__inbox_drop(ferry__inbox *inbox, uint64_t references);

/* NULL is fine. */
static inline void ferry__inbox_unref(ferry__inbox *inbox)
{
    if (inbox == NULL)
        return;
    if (inbox == ferry__thread_current()->inbox)
        inbox->own_refs--;
    else
        ferry__inbox_drop(inbox, 1);
}

/*
 * Any thread that holds a reference. Posts mail and rings: at once, or, with a ringer, when that is
 * flushed.
 */
void ferry__inbox_post(ferry__inbox *inbox, ferry__mail *mail, ferry__ringer *ringer);

/* Any thread that holds a reference. Wakes the inbox's thread without mail: look at your flag. */
void ferry__inbox_ring(ferry__inbox *inbox, ferry__ringer *ringer);

/* Rings what was collected. */
void ferry__ringer_flush(ferry__ringer *ringer);

/* The inbox's own thread. Sets one of its timers, or sets it anew. The second call unsets it. */
void ferry__inbox_set_timer(ferry__inbox *inbox, ferry__timer *timer, int64_t deadline);
void ferry__inbox_cancel_timer(ferry__inbox *inbox, ferry__timer *timer);

/* Any thread that holds a reference. Whether its thread has ended. */
static inline bool ferry__inbox_is_closed(const ferry__inbox *inbox)
{
    return atomic_load(&inbox->closed);
}

/*
 * The inbox's own thread. Runs what waits; if nothing does and done() is false, sleeps until mail,
 * a ring or the deadline, and runs what waits then. Gives how many ran.
 * @param done whether what the caller waits for has happened: asked after announcing sleep.
 */
int ferry__inbox_run(ferry__inbox *inbox, bool (*done)(void *context), void *context,
                     int64_t deadline);

#endif
