/* SPDX-License-Identifier: MIT */
/*
 * A listener's record: references, its close, what it says as a member of its service. acceptor.c
 * is its owners' side, listen.c makes it.
 *
 * A listener has an acceptor for each of its bindings on each of its service's own owners: on the
 * front owner alone with dedicated placement, on every shared owner else. The acceptors of a
 * binding watch one listening fd, each in its own epoll set, and exclusively: a connection wakes
 * one of those that sleep. The others see it once they look at their sets, if it is still there.
 * One of them takes it, and the stream stays with its owner: nothing is handed over.
 *
 * An owner may be the only one that was woken. So its acceptor has its turn before all else; and an
 * acceptor that is not about to look does not watch: while it has left a connection to another,
 * waits for room, or for fds. The fd is watched level-triggered. So what an acceptor has not taken
 * is told again, to it or to another, and it need not accept until there is nobody.
 *
 * For balance, an owner that has some more streams than the least loaded one leaves the connection
 * to that one, and calls it, by mail. Because of the call not everybody leaves a connection: after
 * each leave somebody looks once more, and the least loaded owner never leaves. Nobody calls an
 * owner that is in something long (a callback, a disk). One that was called may get into something
 * long just then. So it has 10 milliseconds; after that the owner that left the connection takes
 * it, or the next. Until then it does not watch, or it would be told of the same connection again
 * and again. Where handshakes follow it watches after a millisecond, and leaves once more if it has
 * to: else it would be idle while the others have more than they can do.
 *
 * The kernel wakes the same one again and again, while it sleeps. So the others get their streams
 * by being called. Short connections may all be one owner's, as long as it sleeps in between.
 *
 * Why not otherwise: without EPOLLEXCLUSIVE each connection wakes all owners, and all but one in
 * vain. SO_REUSEPORT gives each owner a queue of its own, filled by a hash of peers' addresses.
 * With few peers that is uneven, and nobody else can take what is queued for a busy owner.
 *
 * What ends when:
 *   close (any thread)   mail to each acceptor
 *   each acceptor        stops watching, releases its owner; the last one closes the fd
 *   accepting over, and no on_stream on its way to an owner: the close promise settles
 *
 * References: the program's all together are one of refs; the acceptors' together; the close
 * promise's; each stream's that is counted; each on_stream's that is on its way.
 */
#ifndef FERRY_TRANSPORT_REACH_LISTENER_H
#define FERRY_TRANSPORT_REACH_LISTENER_H

#include "core/promise.h"
#include "transport/reach/binding.h"
#include "transport/stream/stream.h"

#include <ferry/listen.h>

/*
 * The most streams that are on their way to the listening thread. That is several times what comes
 * while a thread with an event loop is at something else. If the thread is away for long, they take
 * few fds and little memory.
 */
#define FERRY__MOST_HANDOVERS 256u

/* The most streams that are in a handshake: 30 KB and an fd each, for seconds if a peer is slow. */
#define FERRY__MOST_HANDSHAKES 1024u

/* One binding of a listener's on one owner. */
typedef struct ferry__acceptor {
    /* Any thread. */
    atomic_bool wants_room; /* it stopped at the limit, and waits to be told of room */
    ferry__mail room_mail;  /* posted by the thread that takes wants_room back */
    atomic_bool is_called;  /* call_mail is on its way; or it has ended */
    ferry__mail call_mail;  /* posted by an owner that leaves a connection to it */
    ferry__mail start_mail; /* posted once, as the next one is */
    ferry__mail close_mail;
    _Atomic uint64_t accepted; /* connections that it made streams of; written by the owner */

    /* Set when it is made. */
    ferry_listener *listener;
    ferry__binding *binding; /* of the listener's */
    ferry__owner *owner;     /* a hold until it has ended */

    /* The owner's. */
    ferry__task task;
    ferry__watch watch;
    ferry__timer timer;    /* when to look again, whether it is told or not */
    int64_t patience_ns;   /* how long the last wait for fds or memory was */
    int64_t leaves_until;  /* so long it leaves connections to others; 0: it does not */
    unsigned turns_before; /* of its owner's: before those that are counted */
    bool waits_for_room;   /* wants_room is set, or room_mail is on its way */
    bool has_started; /* start_mail has come; if the service is destroyed, perhaps as the last */
    bool is_closing;  /* close_mail has come */
} ferry__acceptor;

struct ferry_listener {
    /* Any thread. */
    atomic_uint refs;
    atomic_uint users;     /* the program's references */
    atomic_uint accepting; /* acceptors that have not ended */
    atomic_uint unsettled; /* what the close promise waits for: accepting, as one, and each
                              on_stream on its way to an owner */
    atomic_uint telling; /* what may still call on_stream: accepting, as one, and each stream on its
                              way there */
    atomic_uint streams; /* accepted and not ended; kept where there is a limit */
    atomic_uint handovers; /* in a handshake, or on their way to home's thread; kept where there are
                              such */
    atomic_bool is_closing;
    atomic_bool is_short;     /* of fds or memory, and the log was told */
    ferry_promise closed;     /* keeps this memory as well */
    ferry__mail release_mail; /* to home: on_stream's arg is to be released there */

    /* Set when it is made. */
    ferry_service *service; /* a reference */
    ferry__member member;   /* of the service */
    ferry__counter counter; /* of its streams, where there is a limit */
    ferry__calls *calls;
    ferry_listen_options options;
    ferry__settings *settings; /* its streams': a reference */
    ferry__inbox *home;        /* where on_stream is called, a reference; NULL: on owners */
    ferry__bindings bindings;  /* closed by the last acceptor */
    unsigned acceptor_count;
    ferry__acceptor *acceptors; /* those of a binding are in the order of the service's owners */
};

/* Sets up all that cannot fail. */
void ferry__listener_init(ferry_listener *listener);

ferry_listener *ferry__listener_ref(ferry_listener *listener);
void ferry__listener_unref(ferry_listener *listener);

/* One thing less that the close promise waits for. */
void ferry__listener_conclude(ferry_listener *listener);

/* One thing less that may call on_stream; after the last one its arg is released. */
void ferry__listener_stop_telling(ferry_listener *listener);

/* acceptor.c. A stream that it counts has ended. */
void ferry__listener_stream_ended(ferry__counter *counter);
bool ferry__listener_is_full(const ferry__counter *counter);

/* Sets one up; it starts with its first mail. */
void ferry__acceptor_init(ferry__acceptor *acceptor, ferry_listener *listener,
                          ferry__binding *binding, ferry__owner *owner);

#endif
