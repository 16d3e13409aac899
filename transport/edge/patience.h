/* SPDX-License-Identifier: MIT */
/*
 * Calls that wait in the kernel. An owner that has one stream only need not be woken to go on
 * sending it: it sleeps in sendfile(2) itself, on a socket that blocks, for as long as bytes move.
 * Such a call comes out of it
 *
 *   - by itself, once the socket has taken nothing for FERRY__PATIENCE_MS: SO_SNDTIMEO. The kernel
 *     begins that time anew with each piece of FERRY__PIECE_BYTES that it hands on, and with each
 *     part of one, where the socket's buffer is small;
 *   - when another thread wants it out. That thread sets O_NONBLOCK, which sendfile(2) and
 *     splice(2) look at before each piece, so the wait that the call is in is its last. sendmsg(2)
 *     looks only once, and is never given more than one piece to wait with.
 *
 * In both cases the count is exact, and the connection is healthy.
 *
 * Both belong to the socket, which others may share. The time limit is set when the first call is
 * to wait. It is put back once nothing is left to send, before that is told. The flag is set while
 * a call waits, and taken back when that has returned. A socket that is non-blocking when it is
 * adopted never waits. One of ferry's own making is non-blocking, but for such calls.
 *
 * Threads: the owner's, but for the exit.
 */
#ifndef FERRY_TRANSPORT_EDGE_PATIENCE_H
#define FERRY_TRANSPORT_EDGE_PATIENCE_H

#include "actors/owner.h"
#include "core/calls.h"
#include "transport/edge/segments.h"

#include <sys/time.h>

enum { FERRY__PATIENCE_MS = 30 };

typedef struct ferry__patience {
    ferry__exit exit;         /* what gets a call out; first */
    int fd;                   /* the socket */
    atomic_bool has_set_flag; /* O_NONBLOCK, to get the call out */
    bool is_own;              /* ferry made the socket: nobody else has it */
    bool is_blocking;         /* an own one, at the moment */
    bool has_limit;           /* SO_SNDTIMEO is ferry's */
    bool waits;               /* the next call may wait */
    struct timeval original;  /* SO_SNDTIMEO, as it was */
    size_t message_bytes;     /* what sendmsg(2) may wait with: one piece */

    /* Of the stream's turns (transport/send/blocking.h). */
    bool is_wanted;   /* the socket was full: the next call is to wait */
    bool has_waited;  /* the last one was allowed to, */
    bool was_got_out; /* and another thread got it out */
    bool has_mark;    /* mark was taken, and no byte has left since */
    int64_t mark;     /* what was still on its way then */
} ferry__patience;

/* @param patience zeroed. @param is_own ferry has made the socket, and nobody else has it. */
void ferry__patience_init(ferry__patience *patience, int fd, bool is_own);

/* From here to ferry__patience_end calls wait. @return whether they do. */
bool ferry__patience_begin(ferry__patience *patience);

/* @param was_got_out as ferry__owner_leave_call says: nobody sets the flag any more. */
void ferry__patience_end(ferry__patience *patience, bool was_got_out);

/* The most that one call of sendmsg(2) may wait with. */
size_t ferry__patience_most(ferry__patience *patience);

/* Sends so much of these pieces at most, and waits. @param most as ferry__patience_most says, or
 * less. @return as sendmsg(2). */
ssize_t ferry__patience_send(ferry__patience *patience, ferry__calls *calls,
                             const struct iovec pieces[], int count, size_t most, int flags);

/* No call is to wait for a while: the socket is as it came. */
void ferry__patience_rest(ferry__patience *patience);

/* No call is made any more, and somebody else may have the socket: it is as it came. */
void ferry__patience_leave(ferry__patience *patience);

#endif
