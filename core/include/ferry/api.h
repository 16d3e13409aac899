/* SPDX-License-Identifier: MIT */
/*
 * What every public header of ferry shares.
 *
 * Conventions of the whole interface: functions return 0 (or a count) when a call was accepted and
 * a negative errno when it was not; errno itself carries nothing. Out-parameters come last, are
 * named ret_..., and stay untouched on failure. Option structs are valid when
 * zero-initialised, and NULL means "all defaults". Units stand in names: _ms, _ns, _bytes.
 * Every ..._unref and ..._destroy accepts NULL.
 *
 * Threads that end: a thread may end by itself at any time, in its callbacks, too (pthread_exit(3)),
 * but not on ferry's own threads. No call is a point of cancellation: pthread_cancel(3) takes effect
 * before it, or after it, or inside a callback of the program's at a point of that one's own, and never
 * in between, nor in a release or the log hook. So it ends no thread that waits in a call: settle or
 * cancel what that waits for. A thread whose cancelling is asynchronous
 * (PTHREAD_CANCEL_ASYNCHRONOUS) must not call ferry.
 */
#ifndef FERRY_API_H
#define FERRY_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The version of these headers. */
#define FERRY_VERSION "0.1.0"

#define FERRY_API __attribute__((visibility("default")))

#ifdef __cplusplus
#define FERRY_BEGIN extern "C" {
#define FERRY_END   }
#else
#define FERRY_BEGIN
#define FERRY_END
#endif

FERRY_BEGIN

/*
 * Takes back what was handed to ferry. Given memory is data. The arg of a callback comes alone, with
 * data NULL: wherever a callback has an arg it may have a release as well, which is called exactly
 * once, after the last use of arg, whether the callback ran, will not run any more, or never can,
 * since its thread has ended. It runs where the callback would have, or else on the thread that gives
 * up: any, ferry's own included. It must neither block nor end its thread; submitting is fine. A call
 * that returned a negative errno took nothing and releases nothing. A forked child releases nothing
 * that its parent was to.
 */
typedef void ferry_release(void *data, void *arg);

FERRY_END

#endif
