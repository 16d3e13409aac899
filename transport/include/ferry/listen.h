/* SPDX-License-Identifier: MIT */
/*
 * Listening: every connection that comes to an address becomes a stream.
 *
 * Life: ferry_listen -> on_stream, once for each connection (on_accept may refuse it before) ->
 * ferry_listener_close -> ferry_listener_unref. Streams that were accepted live on when their
 * listener is closed, or gone.
 *
 * Addresses, here and in ferry_connect:
 *   HOST:PORT  [V6]:PORT       a host by name or number, a port by number or service name
 *   :PORT  *:PORT              all interfaces, IPv4 and IPv6 alike (ferry_connect: this host)
 *   unix:/path  unix:@name     a unix socket by path, or by abstract name
 *   fd:N                       a socket that is there already: a listening one for ferry_listen, a
 *                              connected one for ferry_connect
 *   systemd:N  systemd:NAME    ferry_listen only: a socket that the service manager has passed, by
 *                              its place (from 0 on) or its name (FileDescriptorName=)
 * Port 0 is any port that is free: ferry_listener_get_address tells which.
 *
 * Who accepts: with dedicated placement the service's front owner accepts, and each stream gets an
 * owner of its own. With shared placement all owners watch the same socket, and a stream stays on
 * the owner that accepted it. An owner with more streams than another leaves a connection to that
 * one, unless that one is held up, in a callback for instance.
 *
 * What goes wrong while accepting ends no listener. A connection that was over before it was
 * accepted is passed over in silence. When fds or memory have run out, accepting pauses for 10
 * milliseconds to a second at a time, and the log hook is told once. It goes on by itself when
 * there are some again.
 */
#ifndef FERRY_LISTEN_H
#define FERRY_LISTEN_H

#include <ferry/result.h>
#include <ferry/stream.h>

FERRY_BEGIN

typedef struct ferry_listener ferry_listener;

/*
 * Tells of a stream that was accepted. Both arguments are valid during the call. To keep the stream
 * take a reference: a stream that nobody keeps is closed when the call returns. On an owner the
 * call must not block, and cannot wait. It may submit and close. It may listen and connect, if the
 * address needs no look-up of a name.
 */
typedef void ferry_stream_callback(ferry_listener *listener, ferry_stream *stream, void *arg);

/*
 * Looks at a connection before it is a stream. It may refuse it, or change what its stream is to
 * be: so each client can have a limiter, a time limit and a label of its own.
 *
 * It is called on one of the service's threads, also if on_stream is called elsewhere, and on
 * several of them at once. It must not block, and cannot wait.
 * @param fd the connection. It may be asked and set up (getpeername(2), SO_PEERCRED in unix(7),
 *        setsockopt(2)). It must not be read, written or closed, nor kept.
 * @param options those of the listener's streams. What is changed holds for this stream only. What
 *        it points to must be valid when the call has returned: ferry takes its references just
 *        after it. ferry_accept_set_label copies a label at once. on_watermark_release is NULL; if
 *        it is set it releases this stream's on_watermark_arg.
 * @param arg on_stream_arg.
 * @return 0: it becomes a stream. Anything else: it is closed at once, and on_stream hears nothing
 *         of it. If the options are out of range it is closed as well, and the log hook is told.
 */
typedef int ferry_accept_callback(ferry_listener *listener, int fd, ferry_stream_options *options,
                                  void *arg);

/*
 * Names the stream that an on_accept is asked about, for reports and dumps. The label is copied, as
 * those of promises are (ferry_promise_set_label): so it may stand on the call's own stack.
 *
 * Threads: inside an on_accept. Borrows: label, during the call.
 * @param options what that on_accept was given.
 * @param label NULL: none.
 * @return 0; -EINVAL: options is not what an on_accept of this thread was given.
 * Example: tests/transport/reach/listening.c
 */
FERRY_API int ferry_accept_set_label(ferry_stream_options *options, const char *label);

typedef struct ferry_listen_options {
    ferry_stream_callback *on_stream; /* required */
    void *on_stream_arg;

    /*
     * Where on_stream is called. true: on the accepted stream's owner, with no detour over another
     * thread. false: on the thread that calls ferry_listen, when it runs its inbox. If that thread
     * has ended the streams are closed, and the log hook is told. If an owner calls ferry_listen,
     * it is always the stream's owner. At most 256 streams are on their way to a thread. While the
     * thread does not run its inbox accepting pauses then, and further connections wait in the
     * kernel's backlog.
     */
    bool on_owner;

    /*
     * The options of every accepted stream; NULL: all defaults. They are copied. on_watermark runs
     * on the stream's owner. faults are for accepting, too.
     */
    const ferry_stream_options *stream;

    unsigned backlog; /* how many connections may wait in the kernel; 0: as many as it allows */

    /*
     * How many accepted streams may be there that have not ended; 0: no limit. At the limit
     * accepting pauses until a stream has ended.
     */
    unsigned limit_streams;

    unsigned unix_mode; /* permissions of a unix socket's path; 0: as the umask has it */
    bool only_v6;       /* [::] and all interfaces: IPv6 only, no IPv4 */

    ferry_phase *ret_phase; /* gets the step that failed: see ferry_listen. May be NULL */

    /* Releases on_stream_arg, once it is not needed any more; NULL: nothing to release. */
    ferry_release *on_stream_release;

    ferry_accept_callback *on_accept; /* or NULL: each connection becomes a stream */
    uint64_t reserved[8];             /* 0 */
} ferry_listen_options;

/*
 * Listens at an address, and hands each connection to on_stream.
 *
 * A name that stands for several addresses is listened at on all of them that this host has, at one
 * port: clients may try any. If one of them is taken, the call fails.
 *
 * If no process listens at a unix socket's path any more, the path is replaced. If several try that
 * at once, one of them does it; there is a file PATH.ferry-lock meanwhile. Closing removes the
 * path, if it is still the one that was made. So a relative path needs the same working directory
 * then.
 *
 * An inherited socket (fd:N, systemd:N) is ferry's from then on. It is made close-on-exec, and its
 * path is left alone. It is made non-blocking, and stays so when it is closed: other listeners may
 * share it, also in other processes, and would block for ever. It does no harm if somebody clears
 * that flag meanwhile. The environment is read (sd_listen_fds(3)), and never changed.
 *
 * Threads: any. Blocks while a host or service that is given by name is looked up; never with
 * numbers, unix sockets and fds. Borrows: address and options, during this call. Takes: an
 * inherited fd, unless the call fails. Gives: a reference to a listener.
 * @return 0, or an errno, and *options->ret_phase tells the step that failed:
 *   queue (refused before anything was done):
 *     -EINVAL         service, address, options, on_stream or ret_listener is NULL, an option (of
 *                     the streams, too) is out of its range, or the address is malformed
 *     -ENAMETOOLONG   a host, name or path is too long
 *     -ENOMEM
 *     -ECHILD         the service was made before this process was forked
 *     -ESHUTDOWN      the service is stopped, or is being destroyed
 *   resolve: what <ferry/error.h> lists
 *   socket:
 *     -ENXIO          the service manager has passed no such socket
 *     -EBADF          the fd is not open
 *     -ENOTSOCK       the fd is no socket
 *     -ESOCKTNOSUPPORT  the fd is a datagram socket
 *     -EINVAL         the fd does not listen; FERRY_FRAMING_PAD or tls is set for a message socket;
 *                     or tls is a client's, or says what was received of one client
 *     -EMFILE, -ENFILE, -EAFNOSUPPORT, ...  what socket(2) said
 *   bind:
 *     -EADDRINUSE     somebody listens there, or is just about to; or the path is something else
 *                     than a socket, or must not be removed
 *     -EADDRNOTAVAIL, -EACCES, -ENOENT, ...  what bind(2), chmod(2) said
 *   listen: what listen(2) said
 * Source: bind(2), listen(2), accept4(2), getaddrinfo(3), ipv6(7), unix(7).
 */
FERRY_API int ferry_listen(ferry_service *service, const char *address,
                           const ferry_listen_options *options, ferry_listener **ret_listener);

/*
 * Tells where a listener listens: "127.0.0.1:4711", "[::]:4711", "unix:/path", "unix:@name". If it
 * has several addresses it tells the first one. Also once it is closed.
 *
 * Threads: any. Never blocks.
 * @param buffer gets at most size bytes, NUL included.
 * @return the length of the whole text without its NUL, as snprintf(3) gives it: size or more means
 *         that it was cut short.
 *         -EINVAL: listener is NULL, or buffer is NULL while size is not 0.
 */
FERRY_API int ferry_listener_get_address(ferry_listener *listener, char *buffer, size_t size);

/*
 * Stops listening. Connections that wait to be accepted are lost. Streams that were accepted live
 * on. Closing again is fine: it gives the same promise.
 *
 * Threads: any, on_stream included. Never blocks. Cancel: -EOPNOTSUPP.
 * Settles: when nothing is accepted any more, on_stream does not run on any owner any more, and the
 * socket is closed. It always is, also with its service. Streams that wait in the listening
 * thread's inbox are still told of when that thread runs it.
 * @param ret_promise may be NULL.
 * @return 0;
 *         -EINVAL: listener is NULL.
 *         -ENOMEM.
 *         -ECHILD: it was made before this process was forked.
 * Outcome: 0; phase close: what close(2) said.
 */
FERRY_API int ferry_listener_close(ferry_listener *listener, ferry_promise **ret_promise);

/* Takes one more reference. Threads: any that holds one. @return listener; NULL for NULL. */
FERRY_API ferry_listener *ferry_listener_ref(ferry_listener *listener);

/*
 * Gives one reference back; the last one closes the listener. Threads: any.
 * @return NULL, so that l = ferry_listener_unref(l) forgets it.
 */
FERRY_API ferry_listener *ferry_listener_unref(ferry_listener *listener);

FERRY_END

#endif
