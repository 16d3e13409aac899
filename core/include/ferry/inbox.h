/* SPDX-License-Identifier: MIT */
/*
 * Inboxes: where completions wait for a thread of the program's.
 *
 * Every thread that submits or registers a callback has one, made on first use and closed when the
 * thread ends. Nothing runs behind the thread's back: callbacks run when the thread calls
 * ferry_inbox_run, awaits a promise of its own, or awaits several. A thread with an event loop watches
 * ferry_inbox_fd for readability and calls ferry_inbox_run(0) when it is readable.
 *
 * What waits for a thread that does not run its inbox is kept for it: one record for each callback and
 * promise of others that it has made itself. What others send it is bounded (<ferry/listen.h>).
 *
 * A thread that ends (by returning or pthread_exit; exit(3) ends no thread in order) with callbacks
 * still to come loses them (the log hook is told, once a callback); the outcomes themselves stay
 * available to ferry_promise_await elsewhere.
 */
#ifndef FERRY_INBOX_H
#define FERRY_INBOX_H

#include <ferry/api.h>

FERRY_BEGIN

/*
 * Gives the fd that is readable while completions wait for the calling thread, or a time has come
 * that it waits for (ferry_promise_after, and what is built on it). Watch it with poll,
 * epoll or any event loop, level- or edge-triggered, and call ferry_inbox_run when it is readable;
 * do not read, write or close it. It may now and then be readable with nothing to run.
 *
 * Threads: any but ferry's own; each has its own fd, the same on every call, closed when the thread
 * and the last promise that reports to it are gone.
 * @return the fd (close-on-exec); -EMFILE, -ENFILE, -ENOMEM: it could not be made; -EDEADLK: called
 *         on an owner thread, which has no inbox.
 * Source: epoll(7) of an eventfd(2) and a timerfd_create(2).
 * Example: tools/examples/epoll.c; libuv.c, glib.c and raii.cpp beside it.
 */
FERRY_API int ferry_inbox_fd(void);

/*
 * Runs the callbacks that wait for the calling thread, in the order in which their promises settled
 * (of those that had before: of registration), and returns. Callbacks that those callbacks cause are
 * left for the next call, so that it always comes to an end. The steps of promises that were made of
 * others here (<ferry/combine.h>) are such callbacks, too.
 *
 * Threads: any but ferry's own; not inside a callback.
 * @param timeout_ms how long to wait for the first callback if none waits; 0: not at all; -1: no
 *        limit.
 * @return how many ran, 0 if there were none in time; -EDEADLK: inside a callback or on an owner
 *         thread; -ENOMEM: the inbox could not be made; -EINVAL: timeout_ms is below -1.
 */
FERRY_API int ferry_inbox_run(int64_t timeout_ms);

FERRY_END

#endif
