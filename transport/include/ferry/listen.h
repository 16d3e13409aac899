/* SPDX-License-Identifier: MIT */
/*
 * Listening: every connection that comes to an address becomes a stream.
 *
 * Life: ferry_listen -> on_stream, once for each connection -> ferry_listener_close ->
 * ferry_listener_unref. Streams that were accepted live on when their listener is closed, or gone.
 *
 * Addresses, here and in ferry_connect:
 *   HOST:PORT  [V6]:PORT       a host by name or number, a port by number or service name
 *   :PORT  *:PORT              all interfaces, IPv4 and IPv6 alike (ferry_connect: this host)
 *   unix:/path  unix:@name     a unix socket by path, or by abstract name
 *   fd:N                       a socket that is there already: a listening one for ferry_listen, a
 *                              connected one for ferry_connect
 *   systemd:N  systemd:NAME    ferry_listen: one that the service manager has passed, by its place
 *                              (from 0 on) or its name (FileDescriptorName=)
 * Port 0 is any that is free: ferry_listener_get_address tells which.
 *
 * Who accepts: with dedicated placement the service's front owner, and each stream gets an owner of
 * its own. With shared placement all owners watch the same socket, and a stream stays on the owner
 * that accepted it. An owner with more streams than another leaves a connection to that one, unless it
 * is held up, in a callback for instance.
 *
 * What goes wrong while accepting ends no listener. A connection that was over before it was
 * accepted is passed over in silence; where fds or memory have run out accepting pauses for 10
 * milliseconds to a second at a time, the log hook is told once, and it goes on by itself when
 * there are some again.
 */
#ifndef FERRY_LISTEN_H
#define FERRY_LISTEN_H

#include <ferry/result.h>
#include <ferry/stream.h>

FERRY_BEGIN

typedef struct ferry_listener ferry_listener;

/*
 * Told of each stream that was accepted. Both arguments are valid during the call: whoever keeps
 * the stream takes a reference; a stream that nobody keeps is closed when the call returns. On an
 * owner it must not block, and cannot wait; submitting, closing, and listening or connecting by
 * number are fine.
 */
typedef void ferry_stream_callback(ferry_listener *listener, ferry_stream *stream, void *arg);

typedef struct ferry_listen_options {
    ferry_stream_callback *on_stream; /* required */
    void *on_stream_arg;

    /*
     * Where on_stream is called: on the accepted stream's owner, with no detour over another
     * thread; else on the thread that listens, when that runs its inbox. If that thread has ended
     * the streams are closed, and the log hook is told. Always on the owner if an owner listens.
     * At most 256 streams are on their way to a thread: while it does not run its inbox accepting
     * pauses, and further connections wait in the kernel's backlog.
     */
    bool on_owner;

    /*
     * Of every accepted stream; NULL: all defaults. Copied. on_watermark runs on the stream's
     * owner; faults are for accepting, too.
     */
    const ferry_stream_options *stream;

    unsigned backlog; /* connections that wait to be accepted; 0: as many as the system allows */

    /* Streams accepted and not ended; 0: no limit. At it accepting pauses until one has ended. */
    unsigned limit_streams;

    unsigned unix_mode; /* permissions of a unix socket's path; 0: as the umask has it */
    bool only_v6;       /* [::] and all interfaces: no IPv4 */

    ferry_phase *ret_phase; /* gets the step that failed: see ferry_listen. May be NULL */

    /* Of on_stream_arg, once on_stream is not called any more; NULL: none. */
    ferry_release *on_stream_release;
} ferry_listen_options;

/*
 * Listens at an address, and hands each connection to on_stream.
 *
 * A name that stands for several addresses is listened at on all of them that this host has, at one
 * port: clients may try any. If one of them is taken it fails.
 *
 * A unix socket's path that no process listens at any more is replaced, by one of those who try it at
 * once: there is a file PATH.ferry-lock meanwhile. Closing removes the path, if it is still the one
 * that was made. So a relative path needs the same working directory then.
 * An inherited socket (fd:N, systemd:N) is ferry's from then on: close-on-exec, and its path is left
 * alone. It is made non-blocking, and stays so when it is closed: other listeners may share it, also of
 * other processes, and would block for ever. Who clears that flag meanwhile does no harm. The
 * environment is read (sd_listen_fds(3)), never changed.
 *
 * Threads: any. Blocks while a host or service that is given by name is looked up; with numbers,
 * unix sockets and fds never. Borrows: address and options, during this call. Takes: an inherited
 * fd, unless it fails. Gives: a reference to a listener.
 * @return 0, or with *options->ret_phase
 *   queue (refused before anything was done):
 *     -EINVAL         service, address, options, on_stream or ret_listener is NULL, an option out
 *                     of its range (ferry_stream_adopt's too), or a malformed address
 *     -ENAMETOOLONG   a host, name or path that is too long
 *     -ENOMEM, -ECHILD; -ESHUTDOWN: the service is stopped, or being destroyed
 *   resolve: as <ferry/status.h> says
 *   socket:
 *     -ENXIO          no such socket was passed by the service manager
 *     -EBADF, -ENOTSOCK, -ESOCKTNOSUPPORT  the fd is not open, no socket, a datagram socket
 *     -EINVAL         it does not listen; or FERRY_FRAMING_PAD for a message socket
 *     -EMFILE, -ENFILE, -EAFNOSUPPORT, ...  what socket(2) said
 *   bind:
 *     -EADDRINUSE     somebody listens there, or is just about to, or the path is something else
 *                     than a socket, or must not be removed
 *     -EADDRNOTAVAIL, -EACCES, -ENOENT, ...  what bind(2), chmod(2) said
 *   listen: what listen(2) said
 * Source: bind(2), listen(2), accept4(2), getaddrinfo(3), ipv6(7), unix(7).
 */
FERRY_API int ferry_listen(ferry_service *service, const char *address,
                           const ferry_listen_options *options, ferry_listener **ret_listener);

/*
 * Tells where a listener listens: "127.0.0.1:4711", "[::]:4711", "unix:/path", "unix:@name". Of
 * several addresses, the first. Also once it is closed.
 *
 * Threads: any. Never blocks.
 * @param buffer gets at most size bytes, NUL included.
 * @return the length of all of it without its NUL, as snprintf(3): size or more means that it was
 *         cut short; -EINVAL: listener is NULL, or buffer is NULL while size is not 0.
 */
FERRY_API int ferry_listener_get_address(ferry_listener *listener, char *buffer, size_t size);

/*
 * Stops listening. Connections that wait to be accepted are lost; streams that were accepted live
 * on. Closing again is fine: it gives the same promise.
 *
 * Threads: any, on_stream included. Never blocks. Cancel: -EOPNOTSUPP.
 * Settles: when nothing is accepted any more, on_stream does not run on any owner any more, and the
 * socket is closed, which it always is, also with its service. Streams that wait in the listening
 * thread's inbox are still told of when that runs it.
 * @return 0; -EINVAL, -ENOMEM, -ECHILD.
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
