/* SPDX-License-Identifier: MIT */
/*
 * Connecting: a promise of a stream.
 *
 * Life: ferry_connect -> the promise settles -> ferry_promise_get_stream.
 *
 * <ferry/listen.h> says how addresses are written. If a name has several addresses they are all
 * tried, IPv6 and IPv4 in turn. The next one is tried when one fails, or has not answered in 250
 * milliseconds. The first connection wins, and the others are closed (RFC 8305).
 */
#ifndef FERRY_CONNECT_H
#define FERRY_CONNECT_H

#include <ferry/promise.h>
#include <ferry/stream.h>

FERRY_BEGIN

/*
 * Sets up a socket before it is connected: options (setsockopt(2)), or an address (bind(2)). It
 * runs on the owner that connects, once for each address that is tried. It must not block, and must
 * not close the fd or keep it.
 * @return 0; or a negative errno, with which this address fails in phase socket. -ECANCELED,
 *         -ESHUTDOWN and what is no errno count as -EINVAL.
 */
typedef int ferry_socket_callback(int fd, void *arg);

typedef struct ferry_connect_options {
    /*
     * The options of the stream; NULL: all defaults. They are copied. on_watermark runs on the
     * stream's owner. faults are for connecting, too.
     */
    const ferry_stream_options *stream;

    /*
     * How many milliseconds all of it may take, resolving the name and trying every address; 0: no
     * limit but the kernel's.
     */
    int64_t timeout_ms;

    /*
     * Called on the owner that connects when the outcome is there, before the promise settles for
     * other threads. It must not block, and it cannot wait: ferry_promise_await answers -EDEADLK
     * there, unless its timeout is 0. It may submit.
     */
    ferry_callback *on_owner;
    void *on_owner_arg;

    ferry_release *on_owner_release; /* of on_owner_arg: on that owner, after that call; or NULL */

    /*
     * From which address of this host to connect: a number, and a port or 0 ("192.0.2.1:0",
     * "[2001:db8::1]:0"); NULL: the kernel chooses. Peers of the other family are then not tried:
     * they fail with -EAFNOSUPPORT. It is copied. Not for fd:N.
     */
    const char *source;

    ferry_socket_callback *on_socket; /* or NULL. Not for fd:N */
    void *on_socket_arg;
    ferry_release *on_socket_release; /* of on_socket_arg: before the promise settles; or NULL */
    uint64_t reserved[8];             /* 0 */
} ferry_connect_options;

/*
 * Connects to an address, and makes a stream of the connection.
 *
 * A host or service that is given by name is looked up on a thread of its own, which is there only
 * meanwhile. getaddrinfo(3) cannot be interrupted: a cancel or a timeout settles the promise at
 * once, but ferry_service_destroy waits for getaddrinfo(3) to return. A unix socket whose backlog
 * is full is tried again and again.
 *
 * A connect to one address, without callbacks and TLS, is begun by the calling thread if no promise
 * of another connect of its service is there. So one to this machine has mostly settled when the
 * call returns. All others are the owners', side by side. connect(2) does not wait for the peer.
 * But it looks up the path of a unix socket, which may wait on a slow file system.
 *
 * Only the system bounds how many connects are under way; what it refuses is an outcome. Each
 * connect has a few KB, a socket for each address that it tries at once, and the thread that looks
 * the name up. Dropping the promise ends none of this. Use ferry_promise_map to have so many at
 * once as you like.
 *
 * Threads: any. Never blocks. Borrows: address and options, during this call. Takes: the fd of
 * fd:N, unless the call fails; it is close-on-exec from then on, and is closed if the outcome is a
 * failure.
 * Settles: when it is connected, or has failed. If the promise was dropped before it settled nobody
 * can ask for the connection, and it is closed.
 * Cancel: it settles with -ECANCELED, and all its sockets are closed.
 * @param options NULL: all defaults.
 * @param ret_promise may be NULL.
 * @return 0, or
 *   -EINVAL        service or address is NULL, an option (of the stream, too) is out of its range,
 *                  the address is malformed, or it is systemd:N or systemd:NAME; or source is no
 *                  number and port
 *   -ENAMETOOLONG  a host or path is too long
 *   -EBADF         fd:N is not open
 *   -ENOMEM
 *   -ECHILD        the service was made before this process was forked
 *   -ESHUTDOWN     the service is stopped, or is being destroyed
 * Outcome: 0, and ferry_promise_get_stream gives the stream; or
 *   phase resolve  what <ferry/error.h> lists; also -EAGAIN: no thread could be started
 *   phase socket   what socket(2), on_socket, or bind(2) to source said; or what ferry_stream_adopt
 *                  can return: what a stream needs could not be made
 *   phase connect  what connect(2) said of the address that came closest: -ECONNREFUSED of one
 *                  rather than -ENETUNREACH of another. -ECONNREFUSED also means that nobody
 *                  listens, and TCP would have connected to itself. -ENOENT: there is no such path.
 *                  -EAFNOSUPPORT, ...
 *   any of these, and phase queue
 *                  -ETIMEDOUT: timeout_ms was up, or the kernel's own time; -ECANCELED: it was
 *                  cancelled, or the service was stopped or destroyed
 * Source: connect(2), getaddrinfo(3), RFC 8305.
 */
FERRY_API int ferry_connect(ferry_service *service, const char *address,
                            const ferry_connect_options *options, ferry_promise **ret_promise);

/*
 * Gives the stream of a ferry_connect that has succeeded. It may be called more than once, and by
 * several threads. The promise has a reference of its own to the stream: as long as the promise is
 * kept, dropping references does not close the stream.
 *
 * Threads: any, callbacks included. Never blocks. Gives: a reference to the stream.
 * @return 0;
 *         -EBUSY: the promise has not settled.
 *         -ENODATA: it failed.
 *         -EINVAL: an argument is NULL, or the promise is not of ferry_connect.
 */
FERRY_API int ferry_promise_get_stream(ferry_promise *promise, ferry_stream **ret_stream);

FERRY_END

#endif
