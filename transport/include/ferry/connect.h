/* SPDX-License-Identifier: MIT */
/*
 * Connecting: a promise of a stream.
 *
 * ferry_connect -> the promise settles -> ferry_promise_get_stream. Addresses are as in
 * <ferry/listen.h>. Where a name has several they are all tried, IPv6 and IPv4 in turn: the next
 * one when one fails, or has not answered in 250 milliseconds; the first connection wins and the
 * others are closed (RFC 8305).
 */
#ifndef FERRY_CONNECT_H
#define FERRY_CONNECT_H

#include <ferry/promise.h>
#include <ferry/stream.h>

FERRY_BEGIN

typedef struct ferry_connect_options {
    /*
     * Of the stream; NULL: all defaults. Copied. on_watermark runs on the stream's owner; faults
     * are for connecting, too.
     */
    const ferry_stream_options *stream;

    /* For all of it, resolving and trying every address: milliseconds; 0: no limit but the
     * kernel's. */
    int64_t timeout_ms;

    /* Called on the owner that connects when it has settled, as in ferry_request_options. */
    ferry_callback *on_owner;
    void *on_owner_arg;

    ferry_release *on_owner_release; /* of on_owner_arg, on that owner, behind that call; or NULL */
} ferry_connect_options;

/*
 * Connects to an address, and makes a stream of the connection.
 *
 * A host or service by name is looked up on a thread of its own, which is there only meanwhile.
 * What is under way there cannot be interrupted: a cancel or a timeout settles the promise at once,
 * but ferry_service_destroy waits for getaddrinfo(3) to return. A unix socket whose backlog is full
 * is tried again and again.
 *
 * Nothing but the system bounds how many are under way, and what it refuses is an outcome: each has a
 * few KB, a socket for each address that it tries at once, and that thread. A promise that is dropped
 * ends none of this. ferry_promise_map has so many at once as you like.
 *
 * Threads: any. Never blocks. Borrows: address and options, during this call. Takes: the fd of
 * fd:N, unless it is refused; it is close-on-exec from then on, and closed if the outcome is a
 * failure.
 * Settles: when it is connected, or has failed. A connection that nobody asks for, since the
 * promise was dropped before it settled, is closed.
 * Cancel: it settles with -ECANCELED, and all its sockets are closed.
 * @param options NULL: all defaults. @param ret_promise may be NULL.
 * @return 0
 *   -EINVAL        service or address is NULL, an option is out of its range (ferry_stream_adopt's
 *                  too), the address is malformed, or systemd:
 *   -ENAMETOOLONG  a host or path that is too long
 *   -EBADF         fd:N is not open
 *   -ENOMEM, -ECHILD; -ESHUTDOWN: the service is stopped, or being destroyed
 * Outcome: 0, and ferry_promise_get_stream gives the stream; or
 *   phase resolve  as <ferry/status.h> says; -EAGAIN also: no thread could be started
 *   phase socket   the errnos of socket(2), and of ferry_stream_adopt: what a stream needs could
 *                  not be made
 *   phase connect  what connect(2) said of the address that came closest (-ECONNREFUSED, rather
 *                  than -ENETUNREACH of another), also where TCP would be
 *                  connected to itself, nobody listening there; -ENOENT: no such path; -EAFNOSUPPORT, ...
 *   phase queue, resolve, connect  -ETIMEDOUT: timeout_ms was up, or the kernel's own time;
 *                  -ECANCELED: cancelled, or the service stopped or destroyed
 * Source: connect(2), getaddrinfo(3), RFC 8305.
 */
FERRY_API int ferry_connect(ferry_service *service, const char *address,
                            const ferry_connect_options *options, ferry_promise **ret_promise);

/*
 * Gives the stream of a ferry_connect that has succeeded. May be asked for more than once, and by
 * several threads. The promise has a reference of its own: as long as it is kept the stream is not
 * closed by dropping references.
 *
 * Threads: any, callbacks included. Never blocks. Gives: a reference to the stream.
 * @return 0; -EBUSY: it has not settled; -ENODATA: it failed; -EINVAL: an argument is NULL, or the
 *         promise is not of ferry_connect.
 */
FERRY_API int ferry_promise_get_stream(ferry_promise *promise, ferry_stream **ret_stream);

FERRY_END

#endif
