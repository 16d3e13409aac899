/* SPDX-License-Identifier: MIT */
/*
 * The peer: the receiving end of every comparison, in a process of its own.
 *
 * It takes one connection at a time, throws its bytes away without copying them (MSG_TRUNC) and,
 * when the sender has ended, says how many there were. Both are as cheap as can be. A process, so
 * that its processor time is not the sender's; the same for all, so that it favours nobody; started
 * first, since ferry does not go through a fork.
 */
#ifndef BENCHMARK_PEER_H
#define BENCHMARK_PEER_H

#include "sockets.h"

#include <stdint.h>
#include <sys/types.h>

/*
 * When received bytes wake the process (SO_RCVLOWAT). This decides much: an eager peer reads and
 * acknowledges as bytes come, as programs do that set nothing; a lazy one lets small segments pile
 * up, so that the kernel appends to what it has (Nagle's algorithm), which is the least that a
 * send(2) of few bytes can cost.
 */
typedef enum peer_mood {
    PEER_LAZY,  /* for 256 KiB: the cheapest, and the steadiest */
    PEER_EAGER, /* for every byte */
    PEER_SLOW   /* for every byte; takes 64 KiB, and then rests for 500 us */
} peer_mood;

typedef struct peer {
    pid_t pid;
    int listeners[ROUTES]; /* shared with the process, which accepts from them */
    int counts;            /* reading end of a pipe: one uint64_t for each connection */
    socket_route route;    /* of connections to come */
    _Atomic int *mood;     /* shared with the process: for connections to come */
} peer;

/*
 * Starts the process. It ends with peer_stop, or with the calling process. @return negative errno
 */
int peer_start(peer *ret_peer);

/* How it receives on connections made from now on; lazily at first. */
void peer_set_mood(const peer *p, peer_mood mood);

/* Connects to it. @return the socket, or a negative errno */
int peer_connect(const peer *p);

/*
 * Waits until the peer has read the end of the oldest connection that was not asked about yet.
 * @return 0 if it got expected bytes; -EBADMSG, and says so, if not.
 */
int peer_check(const peer *p, uint64_t expected);

/* Ends the process. @return 0, or a negative errno: it had failed. */
int peer_stop(peer *p);

#endif
