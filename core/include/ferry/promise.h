/* SPDX-License-Identifier: MIT */
/*
 * Promises: an outcome on its way to whoever wants it.
 *
 * A submit that returned 0 makes a promise that settles exactly once, whatever happens: success,
 * failure, abort, the end of the service. Until then it is pending. From then on its result never
 * changes. A promise is reference-counted, and outlives the stream and the service that made it.
 * A program can make promises of its own (ferry_promise_create), and make promises of other
 * promises (<ferry/combine.h>).
 *
 * A promise's home is the thread that submitted the request. There are two ways to learn the
 * outcome:
 *   - ferry_promise_await blocks until the promise has settled (on any thread but ferry's own);
 * - ferry_promise_observe has a callback run on the thread that registers it, when that thread runs
 *     its inbox (<ferry/inbox.h>) or waits. Callbacks are always asynchronous. They never run
 *     inside the call that registers them, never inside a submit, never two at once on one thread.
 *
 *   pending --(request ends)--> settled --(home runs its inbox)--> callbacks run, in the order in
 *   which the promises settled
 */
#ifndef FERRY_PROMISE_H
#define FERRY_PROMISE_H

#include <ferry/result.h>

FERRY_BEGIN

typedef struct ferry_promise ferry_promise;

/* A result and, perhaps, a value that came of it. Zero-initialised: success, and no value. */
typedef struct ferry_outcome {
    ferry_result result;
    void *value; /* whatever the promise is for; NULL: nothing */
    void (*release)(
        void *value);     /* called once with value, when nobody can ask for it any more. It runs
                                     on any thread, and must neither end that thread nor make it
                                     wait. NULL: there is nothing to release */
    uint64_t reserved[2]; /* 0 */
} ferry_outcome;

/*
 * Tells an outcome to the program. promise and result are valid during the call. To keep the
 * promise take a reference with ferry_promise_ref; to keep the result copy it.
 */
typedef void ferry_callback(ferry_promise *promise, const ferry_result *result, void *arg);

/*
 * Waits until a promise has settled, and gives its result. It may be called any number of times, by
 * any number of threads. Each gets the same result.
 *
 * On the promise's home thread (the one that submitted or made it) the call runs that thread's
 * waiting callbacks while it waits, so that what depends on them makes progress. Elsewhere it just
 * waits. With timeout_ms 0 it never waits and runs no callback: that is a poll, and is allowed
 * everywhere. When the call returns, callbacks of promises that settled earlier may still be
 * waiting; ferry_inbox_run(0) runs them.
 * A signal does not end the wait. To cancel on Ctrl-C poll a signalfd(2) and ferry_inbox_get_fd
 * instead.
 *
 * Threads: any but ferry's own; not inside a callback. With timeout_ms 0: any, and anywhere.
 * @param timeout_ms milliseconds to wait; 0: look only; -1: no limit.
 * @param ret_result gets the outcome; may be NULL.
 * @return 0: it has settled. That is no success of the request: look at ret_result->error.
 *         -ETIMEDOUT: it is still pending.
 *         -EDEADLK: called on an owner thread or inside a callback, with a timeout that is not 0.
 *         -ECHILD: it is pending, and was made before this process was forked.
 *         -EINVAL: promise is NULL, or timeout_ms is below -1.
 * Source: futex(2).
 */
FERRY_API int ferry_promise_await(ferry_promise *promise, int64_t timeout_ms,
                                  ferry_result *ret_result);

/*
 * Has a callback run on the calling thread once the promise has settled. If it has settled already,
 * the callback still runs later, never inside this call. Any number of callbacks may be registered,
 * from any threads. The callbacks of one thread run in the order of registration.
 *
 * Threads: any but ferry's own. The callback runs inside this thread's own calls: of
 * ferry_inbox_run, of ferry_promise_await on a promise whose home is this thread, and of
 * ferry_promise_await_all and ferry_promise_await_any on any promises.
 * Takes: arg, if the call returns 0: release is called with it once, when the callback has run or
 * never will run. The promise keeps itself alive until then: the caller may drop its reference at
 * once.
 * If this thread ends first, the callback never runs and the log hook is told. The outcome stays
 * available to ferry_promise_await elsewhere.
 * @param release of arg; NULL: nothing is to be released. The first observer of a promise that has
 *        none takes no allocation.
 * @return 0;
 *         -ENOMEM: nothing was registered.
 *         -EINVAL: promise or callback is NULL.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 *         -ECHILD: it is pending, and was made before this process was forked.
 * Example: tools/examples/first.c
 */
FERRY_API int ferry_promise_observe(ferry_promise *promise, ferry_callback *callback, void *arg,
                                    ferry_release *release);

/*
 * Waits until all of several promises have settled. It looks at no outcome. While it waits it runs
 * the calling thread's callbacks, wherever the promises' homes are. With timeout_ms 0 it only
 * looks.
 *
 * Threads: any but ferry's own; not inside a callback. With timeout_ms 0: any, and anywhere.
 * Borrows: the array and its promises, during the call.
 * @param timeout_ms milliseconds to wait for all of them together; 0: look only; -1: no limit.
 * @return 0: all have settled, or there are none.
 *         -ETIMEDOUT: one is still pending.
 *         -ECHILD: one is pending, and was made before this process was forked.
 *         -EDEADLK: called on an owner thread or inside a callback, with a timeout that is not 0.
 *         -EINVAL: a promise is NULL, or timeout_ms is below -1.
 *         -ENOMEM: the thread's inbox could not be made.
 */
FERRY_API int ferry_promise_await_all(ferry_promise *const promises[], size_t count,
                                      int64_t timeout_ms);

/*
 * Waits until one of several promises has settled. It looks at no outcome. While it waits it runs
 * the calling thread's callbacks, wherever the promises' homes are. With timeout_ms 0 it only
 * looks.
 *
 * Threads: any but ferry's own; not inside a callback. With timeout_ms 0: any, and anywhere.
 * Borrows: the array and its promises, during the call.
 * @param timeout_ms milliseconds to wait; 0: look only; -1: no limit.
 * @param ret_index gets the index of the first promise in the array that has settled; may be NULL.
 * @return 0: one has settled.
 *         -ETIMEDOUT: all are still pending.
 *         -ECHILD: none of them can settle here: all were made before this process was forked.
 *         -EDEADLK: called on an owner thread or inside a callback, with a timeout that is not 0.
 *         -EINVAL: count is 0, a promise is NULL, or timeout_ms is below -1.
 *         -ENOMEM: the thread's inbox could not be made.
 */
FERRY_API int ferry_promise_await_any(ferry_promise *const promises[], size_t count,
                                      int64_t timeout_ms, size_t *ret_index);

/*
 * Asks for a promise to be called off.
 *
 * A request settles soon afterwards, once: with -ECANCELED and the exact count of what had left,
 * or, if it was faster, with the outcome that it would have had anyway. A request that still waits
 * for its turn sends no byte and leaves its stream healthy. For a request that is under way,
 * whether the peer reads or not, the stream's framing policy says what follows
 * (ferry_stream_options). A promise of the program's own settles with -ECANCELED at once. A promise
 * that is made of others settles when its home runs its inbox; the promises that it waits for are
 * then cancelled, too.
 *
 * Threads: any. Never blocks. A request never settles inside the call. Callbacks run as ever.
 * @return 0: it was asked for, by this call or an earlier one.
 *         -EALREADY: it has settled.
 *         -EOPNOTSUPP: a shutdown or a close cannot be called off. ferry_stream_abort ends a close
 *         that lasts.
 *         -EINVAL: promise is NULL.
 *         -ECHILD: it is pending, and was made before this process was forked.
 */
FERRY_API int ferry_promise_cancel(ferry_promise *promise);

/*
 * Has a callback run on the calling thread if the promise is cancelled: once it has settled with
 * -ECANCELED. It is for code that does the work behind a promise, and has to stop that work.
 *
 * The callbacks that one thread registers so before the promise settles run in the reverse order of
 * registration, and before that thread's other callbacks. Those that are registered later run in
 * the order of all callbacks. If the promise settles otherwise they do not run.
 *
 * Threads: any but ferry's own.
 * Takes: arg, if the call returns 0: release is called with it once, when the callback has run or
 * never will run. If the promise settles otherwise, that is on the thread that settles it.
 * If this thread ends first, the callback never runs. The log hook is told, if the promise is
 * cancelled.
 * @param release of arg; NULL: nothing is to be released.
 * @return 0;
 *         -ENOMEM: nothing was registered.
 *         -EINVAL: promise or callback is NULL.
 *         -EDEADLK: called on an owner thread, which runs no inbox.
 *         -ECHILD: it is pending, and was made before this process was forked.
 */
FERRY_API int ferry_promise_on_cancel(ferry_promise *promise, ferry_callback *callback, void *arg,
                                      ferry_release *release);

/* Takes one more reference. Threads: any that holds one. @return promise; NULL for NULL. */
FERRY_API ferry_promise *ferry_promise_ref(ferry_promise *promise);

/*
 * Gives one reference back. Dropping the last one cancels nothing: the request goes on, and its
 * callbacks run. Threads: any. @return NULL, so that p = ferry_promise_unref(p) forgets it.
 */
FERRY_API ferry_promise *ferry_promise_unref(ferry_promise *promise);

/* ---- promises of the program's own ----------------------------------------------------------- */

/*
 * Makes a promise that the program itself settles, so that its own work composes with transfers.
 * The calling thread is its home. It takes one allocation.
 *
 * Observers (callbacks, and promises made of this one) do not keep it settleable. Keep a reference
 * until you have settled it. If the last reference is given back while the promise is pending,
 * nobody can settle it any more: it then settles with -ECANCELED, if anybody observes it. Debug
 * builds tell the log hook.
 *
 * Threads: any. On an owner thread the promise has no home. Gives: a reference.
 * @return 0; -ENOMEM; -EINVAL: ret_promise is NULL.
 * Example: tests/core/own_promise.c
 */
FERRY_API int ferry_promise_create(ferry_promise **ret_promise);

/*
 * Settles a promise of the program's own, once, and posts its callbacks. None of them runs inside
 * the call. After the promise was cancelled the call has no other effect than to release the value,
 * and is no error: the code that does the work need not ask first.
 *
 *     ferry_promise_settle(promise, NULL);
 *     ferry_promise_settle(promise, &(ferry_outcome){.result.error = -EIO});
 *     ferry_promise_settle(promise, &(ferry_outcome){.value = answer, .release = free});
 *
 * Threads: any, also several at once: one of them settles it.
 * Takes: the value, if the call returns 0. It is released with the promise; or at once, if the
 * promise had been cancelled. ferry_promise_get_value gives it.
 * Borrows: *outcome, during the call. And a reference: if you are the only one who can settle the
 * promise and nobody can cancel it, you may rely on another thread's reference; that thread may
 * drop it once it sees the outcome. Otherwise hold your own reference during the call.
 * @param outcome its result's error is 0 or a negative errno, all else as the program likes; NULL:
 *        success, and no value.
 * @return 0: settled, or it had been cancelled.
 *         -EALREADY: it has settled otherwise, and stays so.
 *         -EINVAL: promise is NULL, or was not made by ferry_promise_create, or the error is
 *         positive.
 *         -ECHILD: it was made before this process was forked.
 */
FERRY_API int ferry_promise_settle(ferry_promise *promise, const ferry_outcome *outcome);

/*
 * Gives the value that a promise settled with. A promise that is made of others has the value of
 * the promise whose outcome it has. The value stays valid as long as any of these promises.
 *
 * Threads: any. Never blocks.
 * @return NULL: it has no value, or is pending, or is NULL.
 */
FERRY_API void *ferry_promise_get_value(const ferry_promise *promise);

/* ---- diagnostics ----------------------------------------------------------------------------- */

/* What is known of a promise. */
typedef struct ferry_promise_info {
    const char *label; /* or NULL; valid as long as the promise is */
    bool is_settled;
    int64_t created_ns; /* when it was made, or its request submitted: of CLOCK_MONOTONIC; if it is
                           no request's, as of that clock's last tick, some milliseconds ago */
    int64_t settled_ns; /* when it settled, in the same way; 0 while it is pending */
    uint64_t reserved[4]; /* 0 */
} ferry_promise_info;

/*
 * Tells what is known of a promise. Threads: any. Never blocks.
 * @return 0; -EINVAL: promise or ret_info is NULL.
 */
FERRY_API int ferry_promise_get_info(const ferry_promise *promise, ferry_promise_info *ret_info);

/*
 * Names a promise, for reports and dumps (ferry_service_dump). It may be any promise. A request can
 * also be named by its options, for it may have no promise.
 *
 * Reports: debug builds (made without NDEBUG) tell the log hook of promises that were dropped while
 * they were pending. They also tell of failures that nobody had learnt of when the last reference
 * was given back. A failure is learnt of by ferry_promise_await with a ret_result, by a callback (a
 * request's on_owner included), or by combining. A report names the promise by its label, and by
 * the place that ferry was called from: "'upload' (program+0x1234) failed with EIO, and nobody
 * looked". addr2line(1) takes the number.
 *
 * Labels are copied, these and those of options: at most 63 bytes of them, and whole characters
 * of UTF-8. A label that is replaced is kept until its promise goes, so that a thread that looks
 * never meets one that is gone. So change a label now and then, not a thousand times.
 *
 * Threads: any, also while other threads look. Borrows: label, during the call.
 * @param label NULL: none.
 * @return 0; -EINVAL: promise is NULL; -ENOMEM.
 */
FERRY_API int ferry_promise_set_label(ferry_promise *promise, const char *label);

FERRY_END

#endif
