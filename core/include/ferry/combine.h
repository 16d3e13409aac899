/* SPDX-License-Identifier: MIT */
/*
 * Promises made of others: one after the other, all or any of several, with a time limit, again and
 * again, over a list.
 *
 * What is made is a promise like any other: await it, observe it, cancel it, make others of it. The
 * thread that makes it is its home. Blocks, which are the program's functions, run there, when that
 * thread runs its inbox (<ferry/inbox.h>). They never run inside the call that makes the promise,
 * and never two at once. It makes no difference whether the promises that it is made of have
 * settled before or settle later.
 *
 *   - References: the call takes none of the caller's. He may drop his references to the promises
 *     at once, and that to the new promise, too. Everything still runs.
 *   - Cancelling the new promise cancels those that it waits for. It settles with -ECANCELED,
 *     without waiting for their outcomes. A promise that settles early also cancels those that are
 *     left. If those are made of others in turn, the cancel goes down one level each time their
 *     home runs its inbox. So what is made of a request may have settled long before it. Before
 *     memory goes away that a request borrows (a read's, a borrowed part's), await the request
 *     itself, or what is made of it by ferry_promise_when_quiet.
 *   - A promise that was cancelled (-ECANCELED, with the cause cancel or none) takes with it what
 *     is to follow it: no block runs, except one that asks for just that error. -ECANCELED with
 *     another cause (ferry_cause) is a failure like any other: a broken connection is worth another
 *     try.
 *   - If the home thread ends first, the promise settles with -ECANCELED as soon as one of those
 *     that it waits for settles; or at once, if it waits for a time. The log hook is told. The
 *     others go on.
 *
 *   what it is made of --(settles)--> the home thread's inbox --(the rule, perhaps a block)-->
 *     settles; or waits for what the block gave
 */
#ifndef FERRY_COMBINE_H
#define FERRY_COMBINE_H

#include <ferry/promise.h>

FERRY_BEGIN

/* ---- one after the other --------------------------------------------------------------------- */

/*
 * Says what comes of a promise that has settled. It returns a promise, and the sequence settles as
 * that does; or NULL, and the sequence settles with *outcome.
 *
 * *outcome is at first the settled promise's own outcome: a block that returns NULL and changes
 * nothing passes it on. A value that the block puts there is taken, with its release. An error that
 * it puts there is a negative errno; a positive one becomes -EINVAL. A field that this library does
 * not know makes it -E2BIG. If the block returns a promise, *outcome is not looked at.
 *
 * Takes: a reference to the promise that it returns. If that is a promise of the program's own,
 * keep another reference to settle it with. The promise may have settled before, and may be the
 * settled one itself. Do not return a promise that waits for this sequence: neither would settle
 * until one of them is cancelled.
 *
 * It may call anything but what waits. It may end its thread; then nothing that it gives is looked
 * at.
 */
typedef ferry_promise *ferry_block(ferry_promise *settled, ferry_outcome *outcome, void *arg);

typedef struct ferry_chain {
    ferry_block *on_done;   /* runs if it succeeded; NULL: the outcome is passed on */
    ferry_block *on_failed; /* runs if it failed; NULL: the outcome is passed on */
    int error; /* on_failed runs for this negative errno only; 0: for any but a cancel */
    void *arg; /* handed to the block; must stay valid until it has run, or will not */
    ferry_release *release; /* of arg, before the sequence settles; NULL: none */
    uint64_t reserved[2];   /* 0 */
} ferry_chain;

/*
 * Makes a sequence: a promise of what follows another promise. At most one of the blocks runs,
 * once.
 *
 * Threads: any but ferry's own. Borrows: *chain, during the call. Gives: a reference to the
 * sequence.
 * Cancel: cancels the part of it that is pending: the promise before, or what a block gave.
 * @param ret_derived may be NULL: nobody will ask.
 * @return 0;
 *         -EINVAL: promise or chain is NULL, or error is positive.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 *         -ECHILD: promise is pending, and was made before this process was forked.
 * Outcome: the block's; if none ran, the promise's. Also
 *         -EDEADLK: a block gave its own sequence.
 *         -ECHILD: a block gave a promise that is pending, and was made before this process was
 *         forked.
 *         -ENOMEM: promise had settled before all that it was made of, a block gave another, and
 *         there was no memory to wait for both.
 */
FERRY_API int ferry_promise_chain(ferry_promise *promise, const ferry_chain *chain,
                                  ferry_promise **ret_derived);

/*
 * Has a block follow success: a ferry_promise_chain with on_done alone.
 * @return 0; -EINVAL: promise is NULL; -ENOMEM; -EDEADLK: on an owner thread; -ECHILD: after a
 *         fork.
 */
FERRY_API int ferry_promise_then(ferry_promise *promise, ferry_block *block, void *arg,
                                 ferry_promise **ret_derived);

/*
 * Has a block follow failure, but for a cancel: a ferry_promise_chain with on_failed alone.
 * @return 0; -EINVAL: promise is NULL; -ENOMEM; -EDEADLK: on an owner thread; -ECHILD: after a
 *         fork.
 */
FERRY_API int ferry_promise_or_else(ferry_promise *promise, ferry_block *block, void *arg,
                                    ferry_promise **ret_derived);

/*
 * Has a block follow failure with one error: a ferry_promise_chain with on_failed and error.
 * @param error a negative errno; 0: any but a cancel.
 * @return 0; -EINVAL: promise is NULL, or error is positive; -ENOMEM; -EDEADLK: on an owner thread;
 *         -ECHILD: after a fork.
 */
FERRY_API int ferry_promise_catch(ferry_promise *promise, int error, ferry_block *block, void *arg,
                                  ferry_promise **ret_derived);

/*
 * Has a block follow success or failure, but for a cancel: a ferry_promise_chain with both blocks.
 * @return 0; -EINVAL: promise is NULL; -ENOMEM; -EDEADLK: on an owner thread; -ECHILD: after a
 *         fork.
 */
FERRY_API int ferry_promise_followed_by(ferry_promise *promise, ferry_block *block, void *arg,
                                        ferry_promise **ret_derived);

/* ---- several at once ------------------------------------------------------------------------- */

/*
 * Makes a promise of all of several promises. It succeeds once all of them have, with their bytes
 * added up (to UINT64_MAX at most). It fails as the first of them that fails; the others are then
 * cancelled. Of no promises it succeeds. ferry_promise_get_member gives the outcomes, in the order
 * of the array.
 *
 * Threads: any but ferry's own. Borrows: the array, during the call. Gives: a reference.
 * @param ret_derived may be NULL.
 * @return 0; or a negative errno, and nothing has happened to the promises:
 *         -EINVAL: a promise is NULL.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 *         -ECHILD: a promise is pending, and was made before this process was forked.
 */
FERRY_API int ferry_promise_all(ferry_promise *const promises[], size_t count,
                                ferry_promise **ret_derived);

/*
 * Makes a promise of any of several promises. It succeeds as the first of them that succeeds; the
 * others are then cancelled. It fails once all of them have failed, as the last of them.
 * ferry_promise_get_member gives the outcomes, in the order of the array.
 *
 * Threads: any but ferry's own. Borrows: the array, during the call. Gives: a reference.
 * @param ret_derived may be NULL.
 * @return 0; or a negative errno, and nothing has happened to the promises:
 *         -EINVAL: count is 0 (it could not succeed), or a promise is NULL.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 *         -ECHILD: a promise is pending, and was made before this process was forked.
 */
FERRY_API int ferry_promise_any(ferry_promise *const promises[], size_t count,
                                ferry_promise **ret_derived);

/*
 * Makes a promise of the first of several promises. It settles as the first of them that settles,
 * in whatever way; the others are then cancelled. ferry_promise_get_member gives the outcomes, in
 * the order of the array.
 *
 * Threads: any but ferry's own. Borrows: the array, during the call. Gives: a reference.
 * @param ret_derived may be NULL.
 * @return 0; or a negative errno, and nothing has happened to the promises:
 *         -EINVAL: count is 0 (it would never settle), or a promise is NULL.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 *         -ECHILD: a promise is pending, and was made before this process was forked.
 */
FERRY_API int ferry_promise_race(ferry_promise *const promises[], size_t count,
                                 ferry_promise **ret_derived);

/*
 * Makes a promise of the end of several promises. It succeeds once all of them have settled, in
 * whatever way, with their bytes added up (to UINT64_MAX at most). Of no promises it succeeds.
 * ferry_promise_get_member gives the outcomes, in the order of the array.
 *
 * Threads: any but ferry's own. Borrows: the array, during the call. Gives: a reference.
 * @param ret_derived may be NULL.
 * @return 0; or a negative errno, and nothing has happened to the promises:
 *         -EINVAL: a promise is NULL.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 *         -ECHILD: a promise is pending, and was made before this process was forked.
 */
FERRY_API int ferry_promise_all_settled(ferry_promise *const promises[], size_t count,
                                        ferry_promise **ret_derived);

/*
 * Gives one of the promises that a settled group, or a settled map, was made of, with its outcome.
 * A map's item that gave no promise has one here, too.
 *
 * Threads: any. Never blocks.
 * @return the promise, borrowed for as long as derived is; NULL: derived settled before this
 *         outcome had reached the home thread, or there is none of that index, or derived is
 *         pending, or is neither a group nor a map.
 */
FERRY_API ferry_promise *ferry_promise_get_member(const ferry_promise *derived, size_t index);

/*
 * Makes a promise that settles as another does, and whose cancel leaves the other alone. Put it
 * into a group in place of a promise that the group is not to cancel.
 *
 * Threads: any but ferry's own. Gives: a reference.
 * @param ret_derived may be NULL.
 * @return 0;
 *         -EINVAL: promise is NULL.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 *         -ECHILD: promise is pending, and was made before this process was forked.
 */
FERRY_API int ferry_promise_without_cancel(ferry_promise *promise, ferry_promise **ret_derived);

/*
 * Makes a promise that settles as another does, but not before that is quiet: until it and all that
 * it was made of have settled, parts that it does not wait for any more included. Then no request
 * below it uses what it had borrowed.
 *
 *     ferry_promise_timeout(read, 1000, &timed);
 *     ferry_promise_when_quiet(timed, &quiet);
 *     ferry_promise_await(quiet, -1, &result); // -ETIMEDOUT, perhaps; in any case:
 *     free(buffer);                            // the read is over
 *
 * It may be made at any time, also of a promise that has settled long before. A promise that is
 * made of nothing (a request's, one of the program's own) is quiet once it has settled.
 *
 * All threads that made promises below must run their inboxes. A part that was not cancelled
 * (ferry_promise_without_cancel), or cannot be, is waited for as well. After a fork nothing of the
 * parent process is waited for in the child.
 *
 * Threads: any but ferry's own. Gives: a reference.
 * Cancel: cancels the other promise. It does not settle before that is quiet.
 * @param ret_derived may be NULL.
 * @return 0;
 *         -EINVAL: promise is NULL.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 *         -ECHILD: promise is pending, and was made before this process was forked.
 * Example: tests/core/quiet.c
 */
FERRY_API int ferry_promise_when_quiet(ferry_promise *promise, ferry_promise **ret_derived);

/* ---- time ------------------------------------------------------------------------------------ */

/*
 * Makes a promise that succeeds when a time has passed. The calling thread must run its inbox for
 * it: ferry_inbox_run, and the awaiting calls that run callbacks, wake up in time;
 * ferry_inbox_get_fd is readable then. If the thread never does, the time comes only with the
 * thread's end.
 *
 * Dropping it does not end it: it stays in memory until its time has come. Cancel it first, and it
 * goes when the thread next runs its inbox.
 *
 * Threads: any but ferry's own. Gives: a reference.
 * @param delay_ms milliseconds from now.
 * @return 0;
 *         -EINVAL: delay_ms is negative, or ret_promise is NULL.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 * Outcome: 0; -ECANCELED: it was cancelled, or the thread ended before the time had passed.
 */
FERRY_API int ferry_promise_after(int64_t delay_ms, ferry_promise **ret_promise);

/*
 * Makes a promise that settles as another does, or fails with -ETIMEDOUT once a time has passed.
 * Then the other is cancelled. It may settle later: what it borrows is still in use
 * (ferry_promise_when_quiet). If both the outcome and the time have come when the calling thread
 * runs its inbox, the outcome counts. So with timeout_ms 0 a promise that has settled is in time.
 *
 * Threads: any but ferry's own. Gives: a reference.
 * Cancel: cancels the other promise.
 * @param timeout_ms milliseconds from now.
 * @param ret_derived may be NULL.
 * @return 0;
 *         -EINVAL: promise is NULL, or timeout_ms is negative.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 *         -ECHILD: promise is pending, and was made before this process was forked.
 */
FERRY_API int ferry_promise_timeout(ferry_promise *promise, int64_t timeout_ms,
                                    ferry_promise **ret_derived);

/* ---- again and again ------------------------------------------------------------------------- */

/*
 * Starts one attempt, or the work on one item. It returns a promise, and the attempt settles as
 * that does; or NULL, and *outcome is what came of it at once. *outcome is at first success.
 *
 * A value that it puts into *outcome is taken, with its release. An error that it puts there is a
 * negative errno; a positive one becomes -EINVAL.
 * Takes: a reference to the promise that it returns. If that is a promise of the program's own,
 * keep another reference to settle it with.
 * It may call anything but what waits. It may end its thread; then nothing that it gives is looked
 * at.
 * @param number which attempt or item it is, from 0.
 */
typedef ferry_promise *ferry_start_callback(size_t number, ferry_outcome *outcome, void *arg);

typedef struct ferry_retry {
    ferry_start_callback *start;
    void *arg;             /* handed to start and is_worth */
    size_t attempts;       /* how many at most; 0: no limit */
    int64_t pause_ms;      /* before the second; doubled before each further one */
    int64_t most_pause_ms; /* but never longer; 0: no limit */
    bool (*is_worth)(const ferry_result *result, void *arg); /* whether to try again after such a
                                                                failure; NULL: always */
    ferry_release *release; /* of arg, before the promise settles; NULL: none */
    uint64_t reserved[2];   /* 0 */
} ferry_retry;

/*
 * Makes a promise of an attempt that is repeated until it succeeds. An attempt that was cancelled
 * is not repeated. One that settled with -ECANCELED of another cause is, as after any failure.
 *
 * Threads: any but ferry's own. Borrows: *retry, during the call. Gives: a reference.
 * Cancel: cancels the attempt that is under way, or the pause.
 * @param ret_derived may be NULL.
 * @return 0;
 *         -EINVAL: retry or start is NULL, or a time is negative.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 * Outcome: that of the first attempt that succeeds, or of the last one. Also
 *         -ENOMEM: there was no memory for a pause, or for one attempt beside what is left of
 *         another.
 *         -EDEADLK: start gave the promise that is being made.
 *         -ECHILD: start gave a promise that is pending, and was made before this process was
 *         forked.
 */
FERRY_API int ferry_promise_retry(const ferry_retry *retry, ferry_promise **ret_derived);

typedef struct ferry_map {
    ferry_start_callback *start;
    void *arg;              /* handed to start */
    size_t count;           /* of the items */
    size_t at_once;         /* how many may be under way at most; 0: all */
    ferry_release *release; /* of arg, before the promise settles; NULL: none */
    uint64_t reserved[2];   /* 0 */
} ferry_map;

/*
 * Makes a promise of the work on a list of items. The items are begun in order, and so many are
 * under way at once. The promise succeeds once all items have, with their bytes added up. It fails
 * as the first item that fails; then the others are cancelled, and none is begun any more.
 * ferry_promise_get_member gives the outcomes, in the order of the items.
 *
 * Threads: any but ferry's own. Borrows: *map, during the call. Gives: a reference.
 * Cancel: cancels all items that are under way; none is begun any more.
 * @param ret_derived may be NULL.
 * @return 0;
 *         -EINVAL: map or start is NULL.
 *         -ENOMEM.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 * Outcome: as said above. Also
 *         -ENOMEM: there was no memory for what an item came to at once.
 *         -EDEADLK: start gave the promise that is being made.
 *         -ECHILD: start gave a promise that is pending, and was made before this process was
 *         forked.
 */
FERRY_API int ferry_promise_map(const ferry_map *map, ferry_promise **ret_derived);

FERRY_END

#endif
