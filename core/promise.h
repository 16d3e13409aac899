/* SPDX-License-Identifier: MIT */
/*
 * The making and settling side of promises.
 *
 * A promise is the first member of the request it belongs to, or of a ferry__own (core/own.h), so
 * that both are one allocation; destroy frees the whole. One thread settles it, once, or drops it
 * if nobody can learn the outcome any more. All others await, observe, ref and unref.
 *
 *   settle                                   await at home / elsewhere / then
 *   1 write result                           1 state |= who waits, or push an observer
 *   2 state |= SETTLED (exchange-like)       2 SETTLED there? then read result
 *   3 ring home, wake futex, as state says   3 sleep, again from 2
 *   4 close the list of observers, post them
 *
 * Observers hold references of their own, which are counted apart. A holder of any other reference
 * may settle the promise, or have it settled. When the last of those goes and only observers are
 * left, none of them would ever hear anything: the promise's type may then settle it (forsake).
 */
#ifndef FERRY_CORE_PROMISE_H
#define FERRY_CORE_PROMISE_H

#include "core/handover.h"
#include "core/inbox.h"
#include "core/label.h"
#include "core/report.h"
#include "core/thread.h"

#include <ferry/promise.h>

/* Somebody who is told: the mail that carries the outcome to its thread. */
typedef struct ferry__observer {
    ferry__mail mail;             /* posted to inbox when the promise settles */
    struct ferry__observer *next; /* in the promise's list, newest first */
    ferry_promise *promise;       /* an observer's reference, given back on delivery */
    ferry__inbox *inbox;          /* where to; the observer's maker keeps the reference */

    /* Set if ferry_promise_observe or ferry_promise_on_cancel made it. */
    ferry_callback *callback;
    void *arg;
} ferry__observer;

/* What a promise is part of: constant, one for each kind. */
typedef struct ferry__promise_type {
    void (*destroy)(ferry_promise *); /* frees what is around it */
    /*
     * Any thread, at most once, while it has not settled. Passes the wish on to the thread that
     * settles it. That thread learns from ferry__promise_settle that the wish was uttered, and has
     * to expect it. NULL: it cannot be cancelled.
     */
    void (*cancel)(ferry_promise *);
    /*
     * Any thread. Called while the promise is pending and only observers will be left, once the
     * caller has given back the reference that it still has. It may be called more than once. NULL:
     * somebody always holds a reference until the promise has settled.
     */
    void (*forsake)(ferry_promise *);
} ferry__promise_type;

/* promise->refs: all references, and how many of them are observers'. */
#define FERRY__ONE_REFERENCE UINT64_C(1)
#define FERRY__ONE_OBSERVER  ((UINT64_C(1) << 32) | FERRY__ONE_REFERENCE)

/* promise->state */
enum {
    FERRY__IS_SETTLED = 1,          /* result is there, and constant */
    FERRY__AWAITED_HOME = 2,        /* the home thread may sleep on its inbox for it */
    FERRY__AWAITED_ELSEWHERE = 4,   /* other threads may sleep on the state itself */
    FERRY__AWAITED_WITH_OTHERS = 8, /* others may sleep on their inboxes for it (sleepers.h) */
    FERRY__IS_CANCELLED = 16,       /* somebody asked for it to be called off */
    FERRY__WAS_SEEN = 32,           /* in debug builds: somebody has learnt the outcome */
    FERRY__SETTLES_EARLY = 64       /* set before it settles: what it is made of has not, not all of
                                       it. A derived promise (core/derived.h) */
};

/* A promise knows so much of its process's generation: another one is 16 million forks away. */
#define FERRY__GENERATIONS UINT32_C(0xffffff)
_Static_assert(FERRY__NO_SPARE <= UINT8_MAX, "a promise can note each kind of block");

/* Those who are to be told, the newest first; or a mark: what they wait for is there. */
typedef _Atomic(ferry__observer *) ferry__observers;

struct ferry_promise {
    /* Any thread. */
    _Atomic uint64_t refs;
    atomic_uint state;            /* flags; the futex word of those who await elsewhere */
    uint32_t generation : 24;     /* of the process that made it (core/thread.h) */
    uint32_t spare_kind : 8;      /* which kind of block its memory is, if its maker uses them */
    ferry__observers observers;   /* of its outcome */
    _Atomic(ferry__inbox *) home; /* the submitting thread's, a reference; NULL: it reports nowhere.
                                     Set at most once */

    const ferry__promise_type *type; /* what it is part of; set when it is made */
    _Atomic(ferry__label *) label;   /* what the program calls it, and did; or NULL */
    _Atomic int64_t created_ns;      /* when it was made or submitted; 0: nobody can ask for it */
#ifndef NDEBUG
    const void *caller; /* set when it is made: where the program called from; NULL: unknown */
#endif

    /* A registered callback: most promises have one, and it costs no allocation. In use as long as
     * refs counts the observer that found no other there. */
    ferry__observer first_observer;

    /* The settling thread's until it settles, then constant. */
    ferry_result result;
};

/* Debug builds. The first notes which call made it; the second, that somebody knows the outcome. */
#ifdef NDEBUG
static inline void ferry__promise_note_caller(ferry_promise *promise)
{
    (void)promise;
}

static inline void ferry__promise_note_seen(ferry_promise *promise)
{
    (void)promise;
}
#else
static inline void ferry__promise_note_caller(ferry_promise *promise)
{
    promise->caller = ferry__report_caller();
}

static inline void ferry__promise_note_seen(ferry_promise *promise)
{
    /* Read first: a store to a line that others may be reading would cost. */
    if ((atomic_load(&promise->state) & FERRY__WAS_SEEN) == 0)
        atomic_fetch_or(&promise->state, FERRY__WAS_SEEN);
}
#endif

/*
 * Makes a pending promise with one reference.
 * @param home the submitting thread's inbox, to which it takes a reference; may be NULL.
 */
static inline void ferry__promise_init(ferry_promise *promise, ferry__inbox *home,
                                       const ferry__promise_type *type)
{
    atomic_init(&promise->refs, FERRY__ONE_REFERENCE);
    atomic_init(&promise->state, 0);
    atomic_init(&promise->observers, NULL);
    promise->generation = ferry__process_generation() & FERRY__GENERATIONS;
    atomic_init(&promise->home, home != NULL ? ferry__inbox_ref(home) : NULL);
    promise->type = type;
    atomic_init(&promise->label, NULL);
    atomic_init(&promise->created_ns, 0);
    ferry__promise_note_caller(promise);
    promise->result = (ferry_result){0};
}

/* Whether it was made here, and not by a process that this one was forked from. */
static inline bool ferry__promise_is_ours(const ferry_promise *promise)
{
    return promise->generation == (ferry__process_generation() & FERRY__GENERATIONS);
}

/* Any thread. What the program calls it, valid as long as it is; NULL: nothing. */
static inline const char *ferry__promise_label(const ferry_promise *promise)
{
    return ferry__label_text(atomic_load_explicit(&promise->label, memory_order_acquire));
}

/* Says when it was made. Called before anybody can ask for that; if it is not, nobody can. */
static inline void ferry__promise_set_created(ferry_promise *promise, int64_t now)
{
    atomic_store_explicit(&promise->created_ns, now, memory_order_relaxed);
}

static inline int64_t ferry__promise_created(const ferry_promise *promise)
{
    return atomic_load_explicit(&promise->created_ns, memory_order_relaxed);
}

/*
 * Takes an observer's reference, to a promise that no other thread has seen yet. It is for the code
 * that is to settle it: the type's forsake is then called when the program has let go of the
 * promise.
 */
static inline void ferry__promise_watch_unshared(ferry_promise *promise)
{
    uint64_t before = atomic_load_explicit(&promise->refs, memory_order_relaxed);
    atomic_store_explicit(&promise->refs, before + FERRY__ONE_OBSERVER, memory_order_relaxed);
}

/* Takes one more reference, to a promise that no other thread has seen yet. */
static inline ferry_promise *ferry__promise_ref_unshared(ferry_promise *promise)
{
    /* No atomic addition: there is nobody to race with, and it is dear beside a small write. */
    uint64_t before = atomic_load_explicit(&promise->refs, memory_order_relaxed);
    atomic_store_explicit(&promise->refs, before + FERRY__ONE_REFERENCE, memory_order_relaxed);
    return promise;
}

/* Whether the caller's reference is the only one: nobody awaits it, observes it or can begin to. */
bool ferry__promise_is_forgotten(const ferry_promise *promise);

/* For a type's forsake. Whether there is a single observer: the one that was to settle it. */
static inline bool ferry__promise_has_one_observer(const ferry_promise *promise)
{
    return atomic_load_explicit(&promise->refs, memory_order_acquire) >> 32 == 1;
}

/* Debug builds: reports that nobody is left who could settle it. */
void ferry__promise_report_dropped(const ferry_promise *promise);

/* Any thread. Gives a promise that has no home one, taking a reference; otherwise does nothing. */
void ferry__promise_set_home(ferry_promise *promise, ferry__inbox *home);

/* Any thread. Whether it has settled: then its result is constant. */
static inline bool ferry__promise_is_settled(const ferry_promise *promise)
{
    bool is_settled = (atomic_load(&promise->state) & FERRY__IS_SETTLED) != 0;
    if (is_settled)
        ferry__taken_over(promise);
    return is_settled;
}

/* Any thread. Whether somebody has asked for it to be called off. */
static inline bool ferry__promise_is_cancelled(const ferry_promise *promise)
{
    return (atomic_load(&promise->state) & FERRY__IS_CANCELLED) != 0;
}

/* Any thread. 0 if it has settled; -ETIMEDOUT: not yet; -ECHILD: it never will, in this process. */
int ferry__promise_poll(const ferry_promise *promise);

/*
 * Any thread. Has an observer's mail posted to its inbox once the promise has settled, at once if
 * it has. The observer gets a reference; mail.deliver gives that back with
 * ferry__promise_unobserve. The caller sets mail.deliver and inbox.
 */
void ferry__promise_observe(ferry_promise *promise, ferry__observer *observer);
void ferry__promise_unobserve(ferry_promise *promise);

/*
 * The same for a list of observers that a promise's type has beside that of its outcome. One thread
 * closes it, once: posts them all, and from then on each at once.
 */
void ferry__promise_enlist(ferry_promise *promise, ferry__observers *list,
                           ferry__observer *observer);
void ferry__observers_close(ferry__observers *list, ferry__ringer *ringer);

/*
 * The settling thread, before it settles it: calls a callback of the program's with the outcome,
 * for which it counts as settled.
 */
void ferry__promise_tell(ferry_promise *promise, ferry_callback *callback, void *arg);

/*
 * The settling thread, once: publishes promise->result, wakes who awaits it and posts the
 * callbacks. Collects the wake-ups in ringer, or rings at once if that is NULL.
 * @return whether somebody asked before for it to be cancelled: type->cancel was called, is being
 * called, or is about to be.
 */
bool ferry__promise_settle(ferry_promise *promise, ferry__ringer *ringer);

/*
 * Any thread, before it may settle the promise. Whether a callback of its own keeps the promise
 * until this thread runs its inbox, whoever settles it.
 */
bool ferry__promise_is_kept_here(const ferry_promise *promise);

#endif
