/* SPDX-License-Identifier: MIT */
/*
 * Waiting for promises, one or many.
 *
 * A thread that awaits one promise sleeps on its inbox if that is the promise's home, since
 * callbacks are to run meanwhile. Else it sleeps on the promise's own state, a futex word. A thread
 * that awaits several always sleeps on its inbox: when a promise that somebody awaits with others
 * settles, all such threads are rung (core/sleepers.h). The promise's flags say who sleeps where.
 */
#ifndef FERRY_CORE_AWAIT_H
#define FERRY_CORE_AWAIT_H

#include <ferry/promise.h>

/*
 * Any thread that may wait. ferry_promise_await with a deadline instead of a timeout.
 * @return 0, -ETIMEDOUT, -ECHILD.
 */
int ferry__promise_await_until(ferry_promise *promise, int64_t deadline);

/*
 * Waits until the deadline, and runs the calling thread's callbacks meanwhile, wherever the
 * promise's home is.
 * @return 0, -ETIMEDOUT, -ECHILD, -ENOMEM.
 */
int ferry__promise_await_running(ferry_promise *promise, int64_t deadline);

#endif
