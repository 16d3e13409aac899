/* SPDX-License-Identifier: MIT */
/*
 * A mailbox: any thread posts, one thread takes all there is, oldest first.
 *
 * It is libck's ck_stack: a push is one compare-and-swap, a take is one exchange of the head with
 * NULL followed by a reversal of what was there. Since takes never pop single nodes there is no ABA
 * problem, a node may be freed as soon as it was taken, and order is exact: if one push returned
 * before another began, on any threads, it is taken first.
 *
 *                 may run at the same time as
 *   push          push, take, anything
 *   take          push; also take (each node goes to exactly one of them)
 *
 * A mail is embedded in what it announces; posting allocates nothing and cannot fail.
 *
 * mailbox.c is the one file that uses libck. Its inline assembly is invisible to ThreadSanitizer,
 * so that file is built without it and tells it about each hand-over by name instead
 * (core/handover.h).
 */
#ifndef FERRY_CORE_MAILBOX_H
#define FERRY_CORE_MAILBOX_H

#include <stdbool.h>

/* One thing to hand to another thread. In at most one mailbox at a time. */
typedef struct ferry__mail {
    void *link; /* mailbox.c's; nobody else looks */

    /*
     * What the receiver does with it, on the receiver's thread. With receiver_gone the receiver has
     * ended: release what the mail holds, run nothing; that may then be on any thread.
     */
    void (*deliver)(struct ferry__mail *mail, bool receiver_gone);
} ferry__mail;

/* Zero-initialised, it is empty. */
typedef struct ferry__mailbox {
    void *stack[2]; /* a ck_stack: the newest mail, and libck's unused generation */
} ferry__mailbox;

/*
 * What a mailbox's thread posts to itself, oldest first, at the price of no atomic step. All of it
 * was posted before all that is in the mailbox. Zero-initialised, it is empty.
 */
typedef struct ferry__own_mail {
    ferry__mail *first;
    ferry__mail *last; /* if there is a first */
} ferry__own_mail;

/*
 * Posts mail. Never blocks. What the caller wrote before is visible to the thread that takes the
 * mail. What the caller reads after cannot have been read before: a full barrier (pairs with
 * take's).
 */
void ferry__mailbox_push(ferry__mailbox *mailbox, ferry__mail *mail);

/* The mailbox's thread. Posts mail to itself: among its own, unless others' is there already. */
void ferry__mailbox_push_own(ferry__mailbox *mailbox, ferry__own_mail *own, ferry__mail *mail);

/*
 * Takes all that was posted, as a chain for ferry__mail_next; NULL if there is nothing. What the
 * caller wrote before is visible to every push that this take does not see.
 */
ferry__mail *ferry__mailbox_take(ferry__mailbox *mailbox);

/* Whether a take would find nothing. Ordered as a take is, after what the caller wrote before. */
bool ferry__mailbox_is_empty(const ferry__mailbox *mailbox);

/* The same for a thread that does not sleep yet: it may miss what is just being posted. */
bool ferry__mailbox_looks_empty(const ferry__mailbox *mailbox);

/* The mailbox's thread. Takes its own mail alone; or that, and then all that is in the mailbox as
 * ferry__mailbox_take does. As one chain. */
ferry__mail *ferry__own_mail_take(ferry__own_mail *own);
ferry__mail *ferry__mailbox_take_with(ferry__mailbox *mailbox, ferry__own_mail *own);

/* Takes the oldest mail off a chain that a take gave; NULL at its end. */
ferry__mail *ferry__mail_next(ferry__mail **chain);

#endif
