/* SPDX-License-Identifier: MIT */
/*
 * An outlet: what lies between an fd and the program that reads at its other end. Only asks; never
 * moves a byte, changes nothing of the fd, and never waits.
 *
 * It is there to tell a slow peer from one that has stopped. Seen from the fd alone the two look
 * the same for long: a unix socket frees its queue a whole buffer at a time (36 KiB of a large
 * write, 64 KiB of a file), and TCP opens a closed window again only once a good part of the
 * receive buffer is free (64 KiB on loopback, and more as the buffer grows). If a peer reads 1 KiB
 * ten times a second, nothing of that shows for four to ten seconds at a time. But the kernel tells
 * how many bytes the peer's socket holds unread, for any socket of this host, by sock_diag(7),
 * without any privilege. So there are two ways to look:
 *
 *             own queue, acknowledgements, window    the peer's unread bytes
 *   cheap     yes                                    pipes
 *   closely   yes                                    pipes; unix and TCP peers, to the byte
 *
 * A close look makes and closes a socket. For a unix peer it also walks through all unix sockets of
 * the network namespace, and once more to find out which one the peer is. So it is for the moment
 * before a stream is given up, and remembers the peer. Who looks at many takes a survey first
 * (transport/edge/diag.h). A close look tells no more than the cheap one if the peer is on another
 * host, in another network namespace or behind address translation, or if sock_diag is missing or
 * refused (kernel without unix_diag or tcp_diag, sandbox, no fd left).
 *
 * Two looks are compared by ferry__outlet_has_moved. What we write between them counts as movement
 * too, so compare looks of a time in which nothing could be written. Two cheap looks that do not
 * differ say nothing of a peer on this host: only two close ones, with a time between, do.
 */
#ifndef FERRY_TRANSPORT_EDGE_OUTLET_H
#define FERRY_TRANSPORT_EDGE_OUTLET_H

#include "transport/edge/diag.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum __attribute__((packed)) ferry__outlet_kind {
    FERRY__OUTLET_OTHER, /* terminals, files, rare sockets: has a queue if it says so */
    FERRY__OUTLET_PIPE,
    FERRY__OUTLET_UNIX,
    FERRY__OUTLET_TCP
} ferry__outlet_kind;

/* Plain values, as of one moment. An error of a call stands in its field, negative. */
typedef struct ferry__outlet {
    int64_t unacked;      /* ferry__outlet_unacked */
    int64_t unsent;       /* ferry__outlet_unsent */
    uint64_t acked;       /* TCP: all that the peer's kernel has acknowledged, ever; else 0 */
    uint64_t window_edge; /* TCP: where its window ends, counted as acked is; else 0 */
    int64_t unread;       /* bytes in the peer's receive queue, FIN too; -1: not known */
    uint32_t peer;        /* unix: the inode of the peer's socket; 0: not known */
} ferry__outlet;

/* What fd is. That does not change while fd is open. */
ferry__outlet_kind ferry__outlet_kind_of(int fd);
ferry__outlet_kind ferry__outlet_kind_of_socket(int family, bool is_tcp);

/*
 * Counts what was given to fd and has not arrived. TCP: bytes that the peer's kernel has not
 * acknowledged; FIN counts as a byte, and what a reset left behind stays counted. Pipe: bytes that
 * are not read. Unix: the memory that unread bytes take, which is more than they are; 0 once all is
 * read, or thrown away by the peer's close(2).
 * @return the count, 0 if fd has no queue, or a negative errno.
 */
int64_t ferry__outlet_unacked(int fd, ferry__outlet_kind kind);

/* Counts bytes that have not left this host. TCP: not sent even once; others: as unacked. */
int64_t ferry__outlet_unsent(int fd, ferry__outlet_kind kind);

/* TCP: from how many unsent bytes on the kernel takes no more of them; UINT32_MAX: from any. Of one
 * that has no TCP_NOTSENT_LOWAT it is the system's, as that was when it was first asked for. */
uint32_t ferry__outlet_unsent_limit(int fd);

/* A few system calls, on fd alone. */
ferry__outlet ferry__outlet_look(int fd, ferry__outlet_kind kind);

/* Also asks for the peer's unread bytes. @param peer as an earlier look gave it; 0: it is asked
 * for. @param survey a unix peer is looked for here first; or NULL. Then the peer's unread bytes
 * are as of the survey. */
ferry__outlet ferry__outlet_look_closely(int fd, ferry__outlet_kind kind, uint32_t peer,
                                         const ferry__survey *survey);

/* Whether something got further between two looks at one fd. Unread bytes are compared only if both
 * looks know them, so that a cheap look may be compared with a close one. */
bool ferry__outlet_has_moved(const ferry__outlet *before, const ferry__outlet *now);

/* Whether fd is a TCP socket whose connection is over: reset, timed out, or closed by both sides
 * with all acknowledged. Other fds: false. */
bool ferry__outlet_is_gone(int fd, ferry__outlet_kind kind);

#endif
