/* SPDX-License-Identifier: MIT */
/*
 * Promises: the outcome of one request, on its way to whoever wants it.
 *
 * A submit that returned 0 makes a promise that settles exactly once, whatever happens: success,
 * failure, abort, the end of the service. Until then it is pending; from then on its result never
 * changes. A promise is reference-counted and outlives the stream and the service that made it.
 *
 * Its home is the thread that submitted the request. There are two ways to learn the outcome:
 *   - ferry_promise_await blocks until it is there (on any thread but ferry's own);
 *   - ferry_promise_then has a callback run on the registering thread, when that thread runs its
 *     inbox (<ferry/inbox.h>). Callbacks are always asynchronous: never inside the call that
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

/*
 * What ferry calls with an outcome. promise is valid during the call without a reference of the
 * callee's own (take one with ferry_promise_ref to keep it); result likewise.
 */
typedef void ferry_callback(ferry_promise *promise, const ferry_result *result, void *arg);

/*
 * Waits until a promise has settled and gives its result. May be called any number of times, by any
 * number of threads; each gets the same result.
 *
 * On the promise's home thread (the one that submitted) it runs that thread's waiting callbacks
 * while it waits, so that what depends on callbacks makes progress; elsewhere it just waits.
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
 * ferry_inbox_run, or of ferry_promise_await on a promise whose home it is.
 * Borrows: arg must stay valid until the callback has run. The promise keeps itself alive until
 * then: the caller may drop its reference at once.
 * If this thread ends first, the callback never runs and the log hook is told; the outcome stays
 * available to ferry_promise_await elsewhere.
 * @return 0; -ENOMEM: nothing was registered; -EINVAL: promise or callback is NULL; -EDEADLK: called
 *         on an owner thread, which runs no inbox; -ECHILD: pending, and made before this process was
 *         forked.
 * Example: tools/examples/first.c
 */
FERRY_API int ferry_promise_then(ferry_promise *promise, ferry_callback *callback, void *arg);

/*
 * Asks for a request to be called off. It settles soon afterwards, once: with -ECANCELED and the
 * exact count of what had left, or as it would have without, if it was faster. A request that still
 * waits for its turn sends no byte and leaves its stream healthy; for one that is under way, whether
 * the peer reads or not, the stream's framing policy says what follows (ferry_stream_options).
 *
 * Threads: any. Never blocks, never settles inside the call; callbacks run as ever.
 * @return 0: asked for, now or before; -EALREADY: it has settled; -EOPNOTSUPP: a shutdown or a
 *         close, which cannot be called off (ferry_stream_abort ends a close that lasts);
 *         -EINVAL: promise is NULL; -ECHILD: pending, and made before this process was forked.
 */
FERRY_API int ferry_promise_cancel(ferry_promise *promise);

/* Takes one more reference. Threads: any that holds one. @return promise; NULL for NULL. */
FERRY_API ferry_promise *ferry_promise_ref(ferry_promise *promise);

/*
 * Gives one reference back. Dropping the last one cancels nothing: the request goes on and its
 * callbacks run. Threads: any. @return NULL, so that p = ferry_promise_unref(p) forgets it.
 */
FERRY_API ferry_promise *ferry_promise_unref(ferry_promise *promise);

FERRY_END

#endif
