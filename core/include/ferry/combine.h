/* SPDX-License-Identifier: MIT */
/*
 * Promises made of others: one after the other, all or any of several, with a time limit, again and
 * again, over a list.
 *
 * What is made is a promise like any other: await it, observe it, cancel it, make others of it. The
 * thread that makes it is its home; blocks, which are the program's functions, run there when it runs
 * its inbox (<ferry/inbox.h>), never inside the call that makes it, never two at once. It makes no
 * difference whether the promises it is made of have settled before or settle later.
 *
 *   - Making it takes no reference to them from the caller and none that the caller would have to
 *     keep: he may drop his at once, and that of the new promise too. Everything still runs.
 *   - Cancelling it cancels those that it is waiting for, and it settles with -ECANCELED, without
 *     waiting for their outcomes. So does what settles early: those that are left are cancelled. Where
 *     they are made of others in turn, the cancel goes down a level each time their home runs its
 *     inbox. So before memory goes away that a request borrows (a read's, a borrowed part's), await
 *     the request itself; what is made of it may have settled long before.
 *   - A promise that was cancelled (-ECANCELED, of cause cancel or none) takes with it what is to
 *     follow it: no block runs, except one that asks for just that error. -ECANCELED of another
 *     cause (ferry_cause) is a failure like any other: a broken connection is worth another try.
 *   - If the thread ends first, it settles with -ECANCELED as soon as one of those settles (at once,
 *     if it waits for a time), and the log hook is told. The others go on.
 *
 *   what it is made of --(settles)--> the home thread's inbox --(the rule, perhaps a block)--> settles
 *                                                             --> waits for what the block gave
 */
#ifndef FERRY_COMBINE_H
#define FERRY_COMBINE_H

#include <ferry/promise.h>

FERRY_BEGIN

/* ---- one after the other --------------------------------------------------------------------- */

/*
 * What is to happen when a promise has settled. Gives what comes of it in one of two ways: a promise,
 * whose outcome will be it; or NULL, and *outcome, as it leaves it, is it. At first that is the
 * settled promise's own outcome: a block that gives NULL and changes nothing passes it on. A value
 * that it puts there is taken, with its release. An error that it puts there is a negative errno; a
 * positive one becomes -EINVAL. If it gives a promise *outcome is not looked at.
 *
 * A reference to the promise that it gives is taken: who is to settle an own one keeps another. It may
 * have settled before, and may be the settled one itself. One that waits in turn for what the block
 * is part of never settles, nor does that, until one of them is cancelled.
 *
 * May call anything but what waits. May end its thread; then nothing that it gives is looked at.
 */
typedef ferry_promise *ferry_block(ferry_promise *settled, ferry_outcome *outcome, void *arg);

typedef struct ferry_chain {
    ferry_block *on_done;   /* runs if it succeeded; NULL: the outcome is passed on */
    ferry_block *on_failed; /* runs if it failed; NULL: likewise */
    int error;         /* on_failed runs for this negative errno only; 0: for any but a cancel */
    void *arg;         /* handed to the block; must stay valid until it has run, or will not */
    const char *label; /* as ferry_promise_options' */
    ferry_release *release; /* of arg, before the sequence settles; NULL: none */
} ferry_chain;

/*
 * Makes a promise of what follows another: a sequence. At most one of the blocks runs, once.
 *
 * Threads: any but ferry's own. Gives: a reference to the sequence.
 * Cancel: of whatever part of it is pending: the promise before, or what a block gave.
 * @param ret_derived may be NULL: nobody will ask.
 * @return 0; -EINVAL: promise or chain is NULL, or error is positive; -ENOMEM; -EDEADLK: called on an
 *         owner thread, which runs no inbox; -ECHILD: pending, and made before this process was
 *         forked.
 * Outcome: the block's, or the promise's where none ran; -EDEADLK: a block gave its own sequence;
 *          -ECHILD: it gave one that is pending, and of the process before a fork.
 */
FERRY_API int ferry_promise_chain(ferry_promise *promise, const ferry_chain *chain,
                                  ferry_promise **ret_derived);

/* Has a block follow success. As ferry_promise_chain. */
static inline int ferry_promise_and_then(ferry_promise *promise, ferry_block *block, void *arg,
                                         ferry_promise **ret_derived)
{
    const ferry_chain chain = {block, NULL, 0, arg, NULL, NULL};
    return ferry_promise_chain(promise, &chain, ret_derived);
}

/* Has a block follow failure. */
static inline int ferry_promise_or_else(ferry_promise *promise, ferry_block *block, void *arg,
                                        ferry_promise **ret_derived)
{
    const ferry_chain chain = {NULL, block, 0, arg, NULL, NULL};
    return ferry_promise_chain(promise, &chain, ret_derived);
}

/* Has a block follow failure with one error. @param error a negative errno. */
static inline int ferry_promise_catch(ferry_promise *promise, int error, ferry_block *block,
                                      void *arg, ferry_promise **ret_derived)
{
    const ferry_chain chain = {NULL, block, error, arg, NULL, NULL};
    return ferry_promise_chain(promise, &chain, ret_derived);
}

/* Has a block follow in either case. */
static inline int ferry_promise_followed_by(ferry_promise *promise, ferry_block *block, void *arg,
                                            ferry_promise **ret_derived)
{
    const ferry_chain chain = {block, block, 0, arg, NULL, NULL};
    return ferry_promise_chain(promise, &chain, ret_derived);
}

/* ---- several at once ------------------------------------------------------------------------- */

typedef struct ferry_group {
    const char *label;   /* as ferry_promise_options' */
    size_t exempt_count; /* the last so many promises are never cancelled with the group */
} ferry_group;

/*
 * Makes a promise of all of several: it succeeds once all have, with their bytes added up (to
 * UINT64_MAX at most), and fails
 * as the first of them that does; the others are then cancelled. Of none it succeeds.
 * ferry_promise_part gives the outcomes, in the order of the array.
 *
 * Threads: any but ferry's own. Borrows: the array, during the call. Gives: a reference.
 * @param options NULL: all defaults. @param ret_derived may be NULL.
 * @return 0; -EINVAL: a promise is NULL, or more are exempt than there are; -ENOMEM, -EDEADLK,
 *         -ECHILD as ferry_promise_chain. If it is refused nothing happens to the promises.
 */
FERRY_API int ferry_promise_all(ferry_promise *const promises[], size_t count,
                                const ferry_group *options, ferry_promise **ret_derived);

/* Likewise: succeeds as the first that does, and the others are cancelled; fails once all have, as the
 * last of them. @return -EINVAL also for none: it could not succeed. */
FERRY_API int ferry_promise_any(ferry_promise *const promises[], size_t count,
                                const ferry_group *options, ferry_promise **ret_derived);

/* Likewise: settles as the first that does, in whatever way, and the others are cancelled.
 * @return -EINVAL also for none: it would never settle. */
FERRY_API int ferry_promise_race(ferry_promise *const promises[], size_t count,
                                 const ferry_group *options, ferry_promise **ret_derived);

/* Likewise: succeeds once all have settled, in whatever way, with their bytes added up. */
FERRY_API int ferry_promise_all_settled(ferry_promise *const promises[], size_t count,
                                        const ferry_group *options, ferry_promise **ret_derived);

/*
 * Gives one of the promises that a settled group, or a map, was made of, with its outcome; also of a
 * map's item that gave no promise.
 * Threads: any. @return borrowed, for as long as derived is; NULL: derived settled before its outcome
 * had reached the home thread, or there is none of that number, or derived is pending or something
 * else.
 */
FERRY_API ferry_promise *ferry_promise_part(const ferry_promise *derived, size_t index);

/*
 * Makes a promise that settles as another, and whose cancel leaves that one alone.
 * Threads, @return: as ferry_promise_chain.
 */
FERRY_API int ferry_promise_without_cancel(ferry_promise *promise, ferry_promise **ret_derived);

/* ---- time ------------------------------------------------------------------------------------ */

/*
 * Makes a promise that succeeds when a time has passed. The calling thread must run its inbox for
 * it: ferry_inbox_run, and the awaiting calls that run callbacks, wake up in time; ferry_inbox_fd is
 * readable then. If it never does, the time comes only with the thread's end.
 *
 * Threads: any but ferry's own. Gives: a reference.
 * @return 0; -EINVAL: delay_ms is negative, or ret_promise is NULL; -ENOMEM; -EDEADLK: called on an
 *         owner thread.
 * Outcome: -ECANCELED also if the thread ended before.
 */
FERRY_API int ferry_promise_after(int64_t delay_ms, ferry_promise **ret_promise);

/*
 * Makes a promise that settles as another, or fails with -ETIMEDOUT once a time has passed; then the
 * other is cancelled, and may settle later: what it borrows is still in use. If both have come when the calling thread runs its inbox, the outcome counts: so
 * with timeout_ms 0 one that has settled is in time.
 * Threads, @return: as ferry_promise_chain; -EINVAL also if timeout_ms is negative.
 */
FERRY_API int ferry_promise_timeout(ferry_promise *promise, int64_t timeout_ms,
                                    ferry_promise **ret_derived);

/* ---- again and again ------------------------------------------------------------------------- */

/*
 * Starts one attempt, or the work on one item; numbered from 0. Gives a promise, whose reference is
 * taken; or NULL, and *outcome, which at first is success, is what came of it at once. As a
 * ferry_block in all else.
 */
typedef ferry_promise *ferry_start(size_t number, ferry_outcome *outcome, void *arg);

typedef struct ferry_retry {
    ferry_start *start;
    void *arg;             /* handed to start and is_worth */
    size_t attempts;       /* how many at most; 0: no limit */
    int64_t pause_ms;      /* before the second; doubled before each further one */
    int64_t most_pause_ms; /* but never longer; 0: no limit */
    bool (*is_worth)(const ferry_result *result, void *arg); /* whether to try again after such a
                                                                failure; NULL: always */
    const char *label;      /* as ferry_promise_options' */
    ferry_release *release; /* of arg, before the promise settles; NULL: none */
} ferry_retry;

/*
 * Makes a promise of an attempt that is repeated until it succeeds. One that was cancelled is not;
 * one that is -ECANCELED of another cause is, as after any failure.
 *
 * Threads: any but ferry's own. Borrows: *retry, during the call. Gives: a reference.
 * Cancel: of the attempt under way, or of the pause.
 * @return 0; -EINVAL: retry or start is NULL, or a time is negative; -ENOMEM; -EDEADLK.
 * Outcome: as the first attempt that succeeds, or as the last one; -ENOMEM: no memory for a pause;
 *          -EDEADLK, -ECHILD as of ferry_promise_chain.
 */
FERRY_API int ferry_promise_retry(const ferry_retry *retry, ferry_promise **ret_derived);

typedef struct ferry_map {
    ferry_start *start;
    void *arg;         /* handed to start */
    size_t count;      /* of the items */
    size_t at_once;    /* how many may be under way at most; 0: all */
    const char *label; /* as ferry_promise_options' */
    ferry_release *release; /* of arg, before the promise settles; NULL: none */
} ferry_map;

/*
 * Makes a promise of the work on a list of items, begun in order, so many at once: it succeeds once
 * all have, with their bytes added up, and fails as the first that does; then the others are
 * cancelled and none is begun any more. ferry_promise_part gives the outcomes in the items' order.
 *
 * Threads, Borrows, Gives: as ferry_promise_retry.
 * Cancel: of all items that are under way; none is begun any more.
 * @return 0; -EINVAL: map or start is NULL; -ENOMEM; -EDEADLK.
 * Outcome: also -ENOMEM: no memory for what an item came to at once; -EDEADLK, -ECHILD likewise.
 */
FERRY_API int ferry_promise_map(const ferry_map *map, ferry_promise **ret_derived);

FERRY_END

#endif
