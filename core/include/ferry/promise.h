/* SPDX-License-Identifier: MIT */
/*
 * Promises: an outcome on its way to whoever wants it.
 *
 * A submit that returned 0 makes a promise that settles exactly once, whatever happens: success,
 * failure, abort, the end of the service. Until then it is pending; from then on its result never
 * changes. A promise is reference-counted and outlives the stream and the service that made it.
 * A program can make promises of its own (ferry_promise_create), and others of those that there are
 * (<ferry/combine.h>).
 *
 * Its home is the thread that submitted the request. There are two ways to learn the outcome:
 *   - ferry_promise_await blocks until it is there (on any thread but ferry's own);
 *   - ferry_promise_then has a callback run on the registering thread, when that thread runs its
 *     inbox (<ferry/inbox.h>), or waits. Callbacks are always asynchronous: never inside the call that
 *     registers them, never inside a submit, never two at once on one thread.
 *
 *   pending --(request ends)--> settled --(home runs its inbox)--> callbacks run, in the order in
 *   which the promises settled
 */
#ifndef FERRY_PROMISE_H
#define FERRY_PROMISE_H

#include <ferry/result.h>

FERRY_BEGIN

typedef struct ferry_promise ferry_promise;

/* A result and, perhaps, something more that came of it. Zero-initialised: success, and no value. */
typedef struct ferry_outcome {
    ferry_result result;
    void *value; /* whatever the promise is for; NULL: nothing */
    void (*release)(
        void *value); /* called once with value, when nothing can ask for it any more; any
                                     thread, which it must neither end nor make wait. NULL: there
                                     is nothing to release */
} ferry_outcome;

/*
 * What ferry calls with an outcome. promise is valid during the call without a reference of the
 * callee's own (take one with ferry_promise_ref to keep it); result likewise.
 */
typedef void ferry_callback(ferry_promise *promise, const ferry_result *result, void *arg);

/*
 * Waits until a promise has settled and gives its result. May be called any number of times, by any
 * number of threads; each gets the same result.
 *
 * On the promise's home thread (the one that submitted or made it) it runs that thread's waiting
 * callbacks while it waits, so that what depends on them makes progress; elsewhere it just waits.
 * With timeout_ms 0 it never waits and runs no callback: a poll, allowed everywhere. When it returns,
 * callbacks of promises that settled earlier may still be waiting: ferry_inbox_run(0) runs them.
 * A signal does not end the wait. To cancel on Ctrl-C poll a signalfd(2) and ferry_inbox_fd instead.
 *
 * Threads: any but ferry's own; not inside a callback (timeout_ms 0 excepted).
 * @param timeout_ms milliseconds to wait; 0: look only; -1: no limit.
 * @param ret_result gets the outcome; may be NULL.
 * @return 0 once it has settled, whatever the outcome is: look at ret_result->error.
 *         -ETIMEDOUT: still pending. -EDEADLK: called on an owner thread or inside a callback.
 *         -ECHILD: pending, and made before this process was forked. -EINVAL: promise is NULL, or
 *         timeout_ms is below -1.
 * Source: futex(2).
 */
FERRY_API int ferry_promise_await(ferry_promise *promise, int64_t timeout_ms,
                                  ferry_result *ret_result);

/*
 * Has a callback run on the calling thread once the promise has settled. Registering on a settled
 * promise is fine: the callback still runs later, never inside this call. Any number of callbacks
 * may be registered, from any threads; those of one thread run in the order of registration.
 *
 * Threads: any but ferry's own. The callback runs inside this thread's own calls of
 * ferry_inbox_run, of ferry_promise_await on a promise whose home it is, and of
 * ferry_promise_await_all and _any, on whatever promises.
 * Borrows: arg must stay valid until the callback has run, or never can: ferry_promise_then_release
 * tells. The promise keeps itself alive until
 * then: the caller may drop its reference at once.
 * If this thread ends first, the callback never runs and the log hook is told; the outcome stays
 * available to ferry_promise_await elsewhere.
 * @return 0; -ENOMEM: nothing was registered; -EINVAL: promise or callback is NULL; -EDEADLK: called
 *         on an owner thread, which runs no inbox; -ECHILD: pending, and made before this process was
 *         forked.
 * Example: tools/examples/first.c
 */
FERRY_API int ferry_promise_then(ferry_promise *promise, ferry_callback *callback, void *arg);

/* Likewise; arg is released (ferry_release) when the callback has run, or never will. */
FERRY_API int ferry_promise_then_release(ferry_promise *promise, ferry_callback *callback, void *arg,
                                         ferry_release *release);

/*
 * Waits until all of some promises have settled; looks at no outcome. While it waits it runs the
 * calling thread's callbacks, wherever the promises' homes are. With timeout_ms 0 it only looks.
 *
 * Threads: any but ferry's own; not inside a callback (timeout_ms 0 excepted).
 * Borrows: the array and its promises, during the call.
 * @param timeout_ms milliseconds to wait for all of them together; 0: look only; -1: no limit.
 * @return 0 once all have settled, and for none; -ETIMEDOUT: one is pending; -ECHILD: one is
 *         pending, and made before this process was forked; -EDEADLK: called on an owner thread or
 *         inside a callback; -EINVAL: a promise is NULL, or timeout_ms is below -1; -ENOMEM: the
 *         thread's inbox could not be made.
 */
FERRY_API int ferry_promise_await_all(ferry_promise *const promises[], size_t count,
                                      int64_t timeout_ms);

/*
 * Likewise, until one of them has settled.
 * @param ret_index gets the place of the first in the array that has; may be NULL.
 * @return as ferry_promise_await_all; -EINVAL also for none; -ECHILD only if none can settle here.
 */
FERRY_API int ferry_promise_await_any(ferry_promise *const promises[], size_t count,
                                      int64_t timeout_ms, size_t *ret_index);

/*
 * Asks for it to be called off. A request settles soon afterwards, once: with -ECANCELED and the
 * exact count of what had left, or as it would have without, if it was faster. A request that still
 * waits for its turn sends no byte and leaves its stream healthy; for one that is under way, whether
 * the peer reads or not, the stream's framing policy says what follows (ferry_stream_options).
 * A promise of the program's own settles with -ECANCELED at once. One that is made of others does
 * when its home runs its inbox, and what it is waiting for is then cancelled too.
 *
 * Threads: any. Never blocks; a request never settles inside the call; callbacks run as ever.
 * @return 0: asked for, now or before; -EALREADY: it has settled; -EOPNOTSUPP: a shutdown or a
 *         close, which cannot be called off (ferry_stream_abort ends a close that lasts);
 *         -EINVAL: promise is NULL; -ECHILD: pending, and made before this process was forked.
 */
FERRY_API int ferry_promise_cancel(ferry_promise *promise);

/*
 * Has a callback run on the calling thread if the promise is cancelled: once it has settled with
 * -ECANCELED. For whoever does the work behind a promise, and is to stop it. The hooks that one
 * thread registers before it settles run in the reverse order of registration, and before its other
 * callbacks; later ones run as any callback. If it settles otherwise they are released without being
 * run.
 *
 * Threads: any but ferry's own. Borrows: arg, until the promise has settled and, if it was
 * cancelled, the hook has run. If this thread ends first, it never runs; and the log hook is told, if
 * the promise is cancelled.
 * @return as ferry_promise_then.
 */
FERRY_API int ferry_promise_on_cancel(ferry_promise *promise, ferry_callback *callback, void *arg);

/* Likewise; arg is released when the hook has run, or never will: if it settles otherwise, on the
 * thread that settles it. */
FERRY_API int ferry_promise_on_cancel_release(ferry_promise *promise, ferry_callback *callback,
                                              void *arg, ferry_release *release);

/* Takes one more reference. Threads: any that holds one. @return promise; NULL for NULL. */
FERRY_API ferry_promise *ferry_promise_ref(ferry_promise *promise);

/*
 * Gives one reference back. Dropping the last one cancels nothing: the request goes on and its
 * callbacks run. Threads: any. @return NULL, so that p = ferry_promise_unref(p) forgets it.
 */
FERRY_API ferry_promise *ferry_promise_unref(ferry_promise *promise);

/* ---- promises of the program's own ----------------------------------------------------------- */

typedef struct ferry_promise_options {
    const char *label; /* for reports: what it is, as by ferry_promise_set_label; NULL: nothing */
    const char *site;  /* where it is made: FERRY_HERE; NULL: not said. Must stay valid */
} ferry_promise_options;

/* The place in the source where this stands, as a string: "serve.c:12". */
#define FERRY_HERE           __FILE__ ":" FERRY_TEXT_(__LINE__)
#define FERRY_TEXT_(line)    FERRY_TEXT_OF_(line)
#define FERRY_TEXT_OF_(line) #line

/*
 * Makes a promise that the program itself settles, so that its own work composes with transfers. The
 * calling thread is its home. One allocation.
 *
 * If the last reference is given back while it is pending nobody can settle it any more: it then
 * settles with -ECANCELED if anybody observes it (a callback, a promise made of it). Those hold none
 * that counts here: whoever is to settle it keeps one. Debug builds tell the log hook.
 *
 * Threads: any; on an owner thread it has no home. Gives: a reference.
 * @param options NULL: all defaults.
 * @return 0; -ENOMEM; -EINVAL: ret_promise is NULL.
 * Example: tests/core/own_promise.c
 */
FERRY_API int ferry_promise_create(const ferry_promise_options *options,
                                   ferry_promise **ret_promise);

/*
 * Settles a promise of the program's own, once, and posts its callbacks: none runs inside the call.
 * After it was cancelled this has no effect and is no error: who does the work need not ask first.
 *
 * Threads: any, all at once: one of them settles it. Who alone may settle it, and nobody cancels it,
 * needs no reference of his own: another thread's keeps it until then, who may give that back as soon
 * as he has the outcome. All others hold one during the call. Borrows: *result, during the call.
 * @param result error is 0 or a negative errno, all else as the program likes; NULL: success.
 * @return 0: settled, or it had been cancelled; -EALREADY: it has settled otherwise, and stays so;
 *         -EINVAL: it is NULL or none that ferry_promise_create made, or the error is positive;
 *         -ECHILD: made before this process was forked.
 */
FERRY_API int ferry_promise_settle(ferry_promise *promise, const ferry_result *result);

/*
 * Likewise with a value (ferry_promise_value). Takes: the value, if it returns 0, to be released with
 * the promise; or at once, if the promise had been cancelled. outcome NULL: success, and no value.
 */
FERRY_API int ferry_promise_settle_with(ferry_promise *promise, const ferry_outcome *outcome);

/*
 * Gives the value that a promise settled with; of one made of others, that of the one whose outcome
 * it has. Stays valid as long as any of these promises. Threads: any.
 * @return NULL if it has none, or is pending, or is NULL.
 */
FERRY_API void *ferry_promise_value(const ferry_promise *promise);

/* ---- diagnostics ----------------------------------------------------------------------------- */

/* What is known of a promise. */
typedef struct ferry_promise_info {
    const char *label; /* or NULL; valid as long as the promise is */
    const char *site;  /* where it was made, or NULL */
    bool is_settled;
    int64_t created_ns; /* when it was made, or its request submitted: of CLOCK_MONOTONIC */
    int64_t settled_ns; /* likewise, when it settled; 0 while it is pending */
} ferry_promise_info;

/* Tells what is known of a promise. Threads: any. @return 0; -EINVAL: one of the two is NULL. */
FERRY_API int ferry_promise_describe(const ferry_promise *promise, ferry_promise_info *ret_info);

/*
 * Names any promise, a request's too (whose options can do that at once), for reports and dumps
 * (ferry_service_dump).
 *
 * Reports: debug builds (made without NDEBUG) tell the log hook of promises that were dropped while
 * they were pending, and of failures that nobody learnt of (by ferry_promise_await with a ret_result,
 * by a callback, a request's on_owner included, by combining) before the last reference was given
 * back. They name the promise by its label and by its site or, where none was given, the place that
 * ferry was called from: "'upload' (program+0x1234) failed with EIO, and nobody looked"; addr2line(1)
 * takes the number.
 *
 * Labels are copied, these and those of all options: 63 bytes of them at most, and whole characters
 * of UTF-8. Labels that were replaced go with their promise, so that who looks never meets one that is
 * gone: change it now and then, not a thousand times.
 *
 * Threads: any, also while others look. Borrows: label, during the call. NULL: none.
 * @return 0; -EINVAL: promise is NULL; -ENOMEM.
 */
FERRY_API int ferry_promise_set_label(ferry_promise *promise, const char *label);

FERRY_END

#endif
