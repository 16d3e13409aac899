/* SPDX-License-Identifier: MIT */
/*
 * What every public header of ferry shares.
 *
 * Conventions of the whole interface: a function returns 0 (or a count) if the call was accepted,
 * and a negative errno if it was not. errno itself carries nothing. Out-parameters come last, are
 * named ret_..., and stay untouched on failure. Option structs are valid when they are
 * zero-initialised, and NULL means "all defaults". Units stand in names: _ms, _ns, _bytes. Every
 * ..._unref and ..._destroy accepts NULL.
 *
 * Structs grow: each one that a program and ferry hand to one another ends with `reserved`, where
 * later versions will have more fields. It must be 0, as it is in a struct that was initialised. If
 * it is not, the program uses a field that the library does not know yet. The call then answers
 * -E2BIG, and takes nothing. In what ferry fills in it is 0. So programs go on with newer
 * libraries, without being compiled again.
 *
 * Threads that end: a thread of the program's may end by itself at any time (pthread_exit(3)), also
 * in its callbacks. ferry's own threads must not be ended, so callbacks that run on them return.
 *
 * Threads that are cancelled: no call is a point of cancellation. pthread_cancel(3) takes effect
 * before a call, after it, or inside a callback of the program's, at a cancellation point of the
 * callback's own. It takes effect neither in a release nor in the log hook. So it ends no thread
 * that waits in a call: settle or cancel what the thread waits for. A thread whose cancelling is
 * asynchronous (PTHREAD_CANCEL_ASYNCHRONOUS) must not call ferry.
 */
#ifndef FERRY_API_H
#define FERRY_API_H

#if !defined(__SIZEOF_POINTER__) || __SIZEOF_POINTER__ < 8
#error "ferry is for 64-bit machines"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The version of these headers, and whether it is at least another one. */
#define FERRY_VERSION       "0.1.0"
#define FERRY_VERSION_MAJOR 0
#define FERRY_VERSION_MINOR 1
#define FERRY_VERSION_PATCH 0
#define FERRY_VERSION_AT_LEAST(major, minor, patch)                                                \
    (FERRY_VERSION_MAJOR > (major) ||                                                              \
     (FERRY_VERSION_MAJOR == (major) &&                                                            \
      (FERRY_VERSION_MINOR > (minor) ||                                                            \
       (FERRY_VERSION_MINOR == (minor) && FERRY_VERSION_PATCH >= (patch)))))

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
 * Tells the version of the library that runs: it may be newer than the headers that a program was
 * compiled with. Threads: any. @return such as "0.1.0"; constant.
 */
FERRY_API const char *ferry_version(void);

/*
 * Takes back what was handed to ferry: given memory, or the arg of a callback.
 *
 * Given memory is data. The arg of a callback comes alone, with data NULL. Wherever a callback has
 * an arg, it may have a release as well. The release is called exactly once, after the last use of
 * arg: the callback has run, will not run any more, or never can, since its thread has ended.
 *
 * Threads: it runs where the callback would have run, or on the thread that gives the callback up.
 * That may be any thread, ferry's own included. It must not block, run its thread's inbox
 * or end its thread. It may submit.
 * A call that returned a negative errno took nothing, and releases nothing. A forked child releases
 * nothing that its parent is to release.
 */
typedef void ferry_release(void *data, void *arg);

FERRY_END

#endif
