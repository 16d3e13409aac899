/* SPDX-License-Identifier: MIT */
/*
 * Inboxes: where completions wait for a thread of the program's.
 *
 * Every thread that submits or registers a callback has an inbox. It is made on first use, and
 * closed when the thread ends. Nothing runs behind the thread's back: callbacks run when the thread
 * calls ferry_inbox_run, awaits a promise of its own, or awaits several promises. A thread with an
 * event loop watches ferry_inbox_get_fd for readability, and calls ferry_inbox_run(0) when it is
 * readable.
 *
 * What waits for a thread that does not run its inbox is kept for it. That is one record for each
 * callback that the thread has registered, and for each promise that it has made of others. Streams
 * that a listener hands to the thread are bounded (<ferry/listen.h>).
 *
 * A thread ends by returning or by pthread_exit(3). (exit(3) ends no thread in order.) If callbacks
 * are still to come then, they are lost, and the log hook is told once for each. The outcomes stay
 * available to ferry_promise_await on other threads.
 */
#ifndef FERRY_INBOX_H
#define FERRY_INBOX_H

#include <ferry/api.h>

FERRY_BEGIN

/*
 * Gives the fd that is readable while completions wait for the calling thread. It is also readable
 * when a time has come that the thread waits for (ferry_promise_after, and what is built on it).
 * Watch it with poll, epoll or any event loop, level- or edge-triggered, and call ferry_inbox_run
 * when it is readable. Do not read, write or close it. Now and then it may be readable with nothing
 * to run.
 *
 * Threads: any but ferry's own. Each thread has its own fd, and gets the same one on every call. It
 * is closed when the thread and the last promise that reports to it are gone.
 * @return the fd (close-on-exec), or
 *         -EMFILE, -ENFILE, -ENOMEM: it could not be made.
 *         -EDEADLK: called on an owner thread, which has no inbox.
 * Source: epoll(7) of an eventfd(2) and a timerfd_create(2).
 * Example: tools/examples/epoll.c; libuv.c, glib.c and raii.cpp beside it.
 */
FERRY_API int ferry_inbox_get_fd(void);

/*
 * Runs the callbacks that wait for the calling thread, and returns. They run in the order in which
 * their promises settled. A callback on a promise that had settled before runs in the order of
 * registration. Callbacks that are caused by these callbacks are left for the next call, so that
 * each call comes to an end. The steps of promises that this thread made of others
 * (<ferry/combine.h>) are such callbacks, too.
 *
 * Threads: any but ferry's own; not inside a callback.
 * @param timeout_ms how many milliseconds to wait for the first callback, if none waits; 0: not at
 *        all; -1: no limit.
 * @return how many ran, 0 if there were none in time; or
 *         -EDEADLK: called inside a callback or on an owner thread.
 *         -ENOMEM: the inbox could not be made.
 *         -EINVAL: timeout_ms is below -1.
 */
FERRY_API int ferry_inbox_run(int64_t timeout_ms);

FERRY_END

#endif
