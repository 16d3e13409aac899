/* SPDX-License-Identifier: MIT */
/*
 * A notice: "look, something has changed", for a thread's inbox. It is under way at most once at a
 * time, however often it is posted: who is told looks at what is true then. So a thread that does
 * not run its inbox costs nothing, and never has two callbacks of one notice to run.
 */
#ifndef FERRY_CORE_NOTICE_H
#define FERRY_CORE_NOTICE_H

#include "core/inbox.h"

typedef struct ferry__notice {
    ferry__mail mail;
    ferry__inbox *inbox;   /* where to; a reference */
    atomic_bool is_posted; /* it is under way */

    /* Keeps what is around it, from posting until it was told. */
    void (*hold)(struct ferry__notice *);
    void (*release)(struct ferry__notice *);

    /* The inbox's thread: calls back. May end the thread. Not called if that has ended. */
    void (*tell)(struct ferry__notice *);
} ferry__notice;

/* Sets it up; takes a reference to inbox. Its functions are to be filled in. */
void ferry__notice_init(ferry__notice *notice, ferry__inbox *inbox);
void ferry__notice_deinit(ferry__notice *notice);

/* Any thread, after the change was made. */
void ferry__notice_post(ferry__notice *notice, ferry__ringer *ringer);

#endif
