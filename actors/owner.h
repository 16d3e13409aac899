/* SPDX-License-Identifier: MIT */
/*
 * Owners: the actor threads. An owner has a mailbox, tasks that take turns, timers and an epoll
 * set; whatever is given to it is touched by its thread alone.
 *
 *   loop: take all mail at once and deliver it
 *         -> one turn to each runnable task, and after each ring the inboxes that got something
 *         -> fire timers -> sleep until mail, readiness or a timer
 *
 * A task with little to do is not to wait for those that always have more. So a round that takes
 * long looks for mail between turns, too, and tasks that mail has woken have their turn ahead of
 * those that were runnable before: FERRY__MOST_AHEAD of them, then one that has waited.
 *
 * An owner lives as long as somebody holds it. Each task that it owns is a hold, and so is each
 * object that may still give it tasks. When the last hold is released its thread ends.
 *
 * A supervised owner (a dedicated one) starts no thread until its first mail. It begins as a
 * sleeper whose waker does not ring, but asks the supervisor to start the thread. When the thread
 * has ended the supervisor keeps its thread for another owner, or joins it. If no thread can be
 * made the supervisor lets the tasks take their turns on its own thread, and start_error tells them
 * to refuse their work. After that the owner is a sleeper again, and the next mail is another try.
 * In such a turn nothing may be waited for: the supervisor looks at neither the owner's timers nor
 * its epoll set.
 *
 * A turn that blocks stops mail and timers. So another thread must be able to get it out (by the
 * gate of a stream's fd), and a turn that needs a timer must not block. The task of a supervised
 * owner delays nobody else, and may wait in a system call as part of its work: not beyond the next
 * timer, and where what is urgent gets it out (ferry__owner_enter_call).
 */
#ifndef FERRY_ACTORS_OWNER_H
#define FERRY_ACTORS_OWNER_H

#include "actors/activity.h"
#include "actors/poller.h"
#include "actors/worker.h"
#include "core/inbox.h"
#include "core/mailbox.h"
#include "core/spares.h"
#include "core/timers.h"

#include <pthread.h>

typedef struct ferry__owner ferry__owner;

typedef enum ferry__turn {
    FERRY__TURN_AGAIN, /* there is more to do: another turn, after everybody else's */
    FERRY__TURN_OVER   /* nothing to do until it is scheduled again */
} ferry__turn;

/* Something that takes turns on an owner. Embedded in what it runs. */
typedef struct ferry__task {
    ferry__turn (*turn)(struct ferry__task *); /* one bounded piece of work; may free the task if it
                                                  says TURN_OVER */
    struct ferry__task *next;                  /* in the owner's row */
    bool scheduled;                            /* it is in a row, */
    bool is_first;                             /* and nothing goes ahead of it */
    unsigned char turns_ahead; /* 0: it has not gone ahead; else if it is over within so many turns
                                  the others are to hurry */
} ferry__task;

/* How many tasks that mail has woken go ahead of one that has waited: so many small turns take
 * about as long as one large one. */
enum { FERRY__MOST_AHEAD = 8 };

/* Tasks in a row, oldest first. */
typedef struct ferry__task_row {
    ferry__task *first;
    ferry__task *last;
} ferry__task_row;

/* How to get an owner out of a system call that it waits in. */
typedef struct ferry__exit ferry__exit;
struct ferry__exit {
    /* Any thread, which posts something urgent; once at most for each such call. Never blocks. */
    void (*get_out)(ferry__exit *self);
};

/* What an owner keeps: blocks, and threads. Apart from it, as idle owners without a thread may be
 * many. */
typedef struct ferry__spares {
    ferry__shelf shelves[FERRY__SPARE_BUFFER]; /* for those who post to it; of buffers none */
    ferry__pile piles[FERRY__SPARE_KINDS];     /* its thread's: put there after every turn */
    ferry__parking parking;                    /* for bytes that have come, of any of its streams */
    ferry__crew crew;                          /* threads of owners that it has supervised */
    ferry__timer crew_timer;                   /* when to look at it */
} ferry__spares;

/* What the program wants done on each thread. */
typedef struct ferry__thread_hook {
    void (*start)(const char *name, void *arg); /* or NULL */
    void *arg;
} ferry__thread_hook;

struct ferry__owner {
    /* Any thread. */
    atomic_uint refs;   /* keeps the memory */
    atomic_uint holds;  /* keeps the thread */
    atomic_uint ending; /* tasks that only wait for their end; written by its thread */
    atomic_bool has_thread;
    ferry__mailbox mailbox;
    ferry__wake wake;
    _Atomic(ferry__spares *) spares; /* made with its thread; NULL: it keeps none */

    /* Set when it is made. */
    char name[16];      /* the thread's; 15 characters is what the kernel keeps */
    size_t stack_bytes; /* that its thread can use */
    ferry__owner
        *supervisor;     /* starts and joins it; holds one of its holds. NULL: its maker does */
    ferry__calls *calls; /* what its thread is started, and its epoll set used, through */

    ferry__mail stop_mail;   /* the maker's last */
    ferry__thread_hook hook; /* called where it takes up its work; set before its first mail */

    bool keeps_thread; /* set before its first mail: its thread is kept for the next one */

    /* The supervisor's; or its maker's. */
    pthread_t thread;
    ferry__worker *worker;       /* of a supervised one: its thread, once it has come to its end */
    ferry__mail supervisor_mail; /* "start me", later "join me": never both at once */

    ferry__activity activity; /* any thread looks at it */
    ferry__exit *exit;        /* set while it is in a call; for whoever has claimed it there */

    /* The owner's thread. */
    ferry__task_row runnable;
    ferry__task_row ahead; /* of those: what mail has woken meanwhile; empty between rounds */
    unsigned room_ahead;   /* how many more may join them */
    unsigned turns;        /* how many it has given */
    int64_t went_ahead_at; /* when one did that was soon over, last; 0: never */
    ferry__timers timers;
    ferry__poller poller;
    int64_t looked_at;         /* when its fds were last looked at */
    ferry__ringer ringer;      /* flushed after every turn */
    int start_error;           /* 0, or why no thread could be started for this round */
    void *scratch;             /* NULL until needed */
    ferry__timer spares_timer; /* frees what is on all, a second after the first was piled up */
    bool looks_out;            /* before it sleeps: the last mail came alone, and was a question */
    bool may_doze;             /* its only task could do nothing with mail that is not urgent */
};

/*
 * Makes an owner with one reference and one hold, both the caller's, and no thread.
 * @param supervisor NULL: call ferry__owner_start and, after the last release, ferry__owner_join.
 * @param calls stays valid as long as the owner's last task, or its maker's hold.
 */
int ferry__owner_create(const char *name, size_t stack_bytes, ferry__owner *supervisor,
                        ferry__calls *calls, ferry__owner **ret_owner);

/* Any thread. */
ferry__owner *ferry__owner_ref(ferry__owner *owner);
void ferry__owner_unref(ferry__owner *owner);

/*
 * Starts the thread of an owner that has no supervisor.
 * @param keeps_policy it has the caller's scheduling policy, also a real-time one.
 * @return 0, or pthread_create's error, negated.
 */
int ferry__owner_start(ferry__owner *owner, bool keeps_policy);

/*
 * Its maker, once, for an owner that runs and has no supervisor: releases the maker's hold, so that
 * the thread ends with the last task.
 */
void ferry__owner_stop(ferry__owner *owner);

/* Undoes ferry__owner_create for an owner that never got a thread or mail. The reference stays. */
void ferry__owner_abandon(ferry__owner *owner);

/* Waits until the thread of an owner that has no supervisor has ended. */
void ferry__owner_join(ferry__owner *owner);

/*
 * Before the first mail of a supervised owner, whose thread is like all that its supervisor starts:
 * once the owner has ended its thread is kept for another one of which this was said, too.
 */
void ferry__owner_keep_thread(ferry__owner *owner);

/*
 * Any thread. How much it has to do, beside others: its tasks, but for those that only wait for
 * their end, and throw away what still comes.
 */
unsigned ferry__owner_load(const ferry__owner *owner);

/* Any thread. Whether it has hardly more to do than another: so little that it shows in no balance,
 * and enough that a few go to the same before the other is woken. */
bool ferry__owner_has_hardly_more(const ferry__owner *owner, const ferry__owner *other);

/* The owner. A task of its has begun to wait for nothing but its end; or that wait is over. */
void ferry__owner_begin_ending(ferry__owner *owner);
void ferry__owner_end_ending(ferry__owner *owner);

/* Any thread that knows of another hold. One more reason to live. */
void ferry__owner_hold(ferry__owner *owner);

/*
 * Any thread that holds a reference. Takes a hold, though there may be no other any more.
 * @return whether it could. If not, the owner has ended, or is about to.
 */
bool ferry__owner_try_hold(ferry__owner *owner);

/* Any thread that has a hold to give back and a reference to keep. The last one ends the thread. */
void ferry__owner_release(ferry__owner *owner);

/* Any thread that holds a reference. The mail is delivered on the owner's thread. */
void ferry__owner_post(ferry__owner *owner, ferry__mail *mail);

/*
 * Any thread. The mail is delivered on the owner's thread. What it causes there may give the last
 * reference to the owner back before the post has returned: this keeps one meanwhile.
 */
void ferry__owner_post_last(ferry__owner *owner, ferry__mail *mail);

/*
 * Any thread that holds a reference. The mail is delivered on the owner's thread; an owner that
 * dozes is not woken for it (ferry__owner_doze).
 */
void ferry__owner_post_unhurried(ferry__owner *owner, ferry__mail *mail);

/*
 * Any thread. A block for a mail to this owner and what is around it; NULL: there is no memory. The
 * thread that lets it go gives it back (ferry__spare_give_back), and keeps some: a thread of the
 * program's of the kinds for requests. FERRY__NO_SPARE is allocated, and freed.
 * @param owner may be NULL then. @param kind not FERRY__SPARE_BUFFER.
 */
void *ferry__owner_take_spare(ferry__owner *owner, ferry__spare_kind kind, size_t size);

/*
 * Any thread. Whether it has a thread; and whether that thread sleeps for want of work, or is about
 * to.
 */
bool ferry__owner_has_thread(const ferry__owner *owner);
bool ferry__owner_is_asleep(const ferry__owner *owner);

/* Whether the calling thread is the one that may touch what this owner owns. */
bool ferry__owner_is_current(const ferry__owner *owner);

/* The rest: the owner's thread only. */

/* While mail is delivered. What it brings grows until it is taken: the owner need not look for
 * more before it sleeps. */
static inline void ferry__owner_let_gather(ferry__owner *owner)
{
    owner->looks_out = false;
}

/* Gives the task a turn, if it does not wait for one already. */
void ferry__owner_schedule(ferry__owner *owner, ferry__task *task);

/* The same, but before all others. For a watch's ready. */
void ferry__owner_schedule_first(ferry__owner *owner, ferry__task *task);

/* In a turn: whether other tasks wait for theirs. Else the owner looks at its fds next. */
bool ferry__owner_has_more(const ferry__owner *owner);

/* How many turns it has given so far, this one included. It counts round. */
static inline unsigned ferry__owner_turns(const ferry__owner *owner)
{
    return owner->turns;
}

/*
 * In a turn: whether tasks with little to do have gone ahead of others just now. Then turns are to
 * be short.
 */
bool ferry__owner_is_hurried(const ferry__owner *owner);

/*
 * Makes the epoll set, if there is none: then watching cannot fail for want of fds. Also allowed
 * before the owner has got its first mail. @return 0, or a negative errno.
 */
int ferry__owner_need_poller(ferry__owner *owner);

/*
 * Says whether the owner may sleep through unhurried mail, while one of its fds is watched. Only
 * for a supervised owner, which has one task: one of several tasks knows nothing of the others'.
 */
void ferry__owner_doze(ferry__owner *owner, bool allowed);

/*
 * Says that the next system call may wait in the kernel: what is posted from here on and is urgent
 * gets it out, by exit. Only for a supervised owner, in its task's turn.
 * @return false: there is mail already, so the call must not wait. Then nothing was said.
 */
bool ferry__owner_enter_call(ferry__owner *owner, ferry__exit *exit);

/* The call has returned. @return whether it was got out: exit's function has returned, too. */
bool ferry__owner_leave_call(ferry__owner *owner);

/* When its next timer fires, spare memory's aside: that can wait. FERRY__NEVER: there is none. */
int64_t ferry__owner_next_timer(ferry__owner *owner);

/* Calls ferry__poller_watch. Makes the epoll set first, if there is none. */
int ferry__owner_watch(ferry__owner *owner, ferry__watch *watch, uint32_t events);

/* Calls ferry__poller_await. Makes the epoll set first, if there is none. */
int ferry__owner_await(ferry__owner *owner, ferry__watch *watch, uint32_t events);

/*
 * Memory for the length of a turn, to read into before it is known how much of it will be kept.
 * @return FERRY__SCRATCH_BYTES of it, the same each time; NULL if there is none.
 */
enum { FERRY__SCRATCH_BYTES = 64 * 1024 };
void *ferry__owner_scratch(ferry__owner *owner);

#endif
