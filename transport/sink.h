/* SPDX-License-Identifier: MIT */
/*
 * A sink: the fd that a stream writes to, and the one place that makes system calls on it.
 *
 * It is non-blocking: where it is full it answers -EAGAIN, and its owner waits for room in its
 * epoll set, where it hears mail and timers as well. What may block is the other side, the disk.
 *
 * O_NONBLOCK belongs to the open file description, which others may share: other processes, or
 * another stream, and any of them may clear it. A pipe or terminal is therefore opened anew, for a
 * description of ferry's own. A socket cannot be; its memory is sent with MSG_DONTWAIT, and its
 * sendfile and splice, which would block where somebody cleared the flag, are behind a gate.
 *
 * The gate lets another thread get a blocked call out, by shutdown(2), and never lets it touch the
 * fd at any other time:
 *
 *   owner: OUTSIDE -> IN_CALL, then look at cut     cutter: set cut, then IN_CALL -> CUTTING?
 *          the system call                                  shutdown(2)
 *          IN_CALL -> OUTSIDE, or sleep while CUTTING       CUTTING -> CUTTER_LEFT, wake
 *
 * Both first steps are full barriers: either the owner sees that it is cut, or the cutter sees it
 * in the call. The owner leaves only after the cutter has, so the fd is not closed under it. It sleeps
 * until then, the gate being a futex: a cutter of lower priority would never come to its end beside
 * an owner that spins.
 * A cut is final: there is no way to get one call out and go on.
 */
#ifndef FERRY_TRANSPORT_SINK_H
#define FERRY_TRANSPORT_SINK_H

#include "core/calls.h"
#include "transport/outlet.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef struct ferry__sink {
    /* Any thread. */
    atomic_uint gate; /* sink.c's states; a futex */
    atomic_bool cut;  /* no call is to begin any more */

    /* Set when it is made. */
    bool is_socket;
    bool is_message; /* SEQPACKET, O_DIRECT pipe: one write, one message */
    bool is_tcp;
    bool has_no_delay;         /* TCP_NODELAY was set before, or now is */
    bool sets_no_delay;        /* it was set here: what reverts takes it back */
    bool limits_unsent;        /* TCP_NOTSENT_LOWAT was set here; likewise, */
    int original_unsent_bytes; /* to what it was before */
    ferry__outlet_kind outlet; /* how to ask how far its bytes have come */
    ferry__calls *calls;       /* the system, or a script of faults */
    int original_flags;        /* O_NONBLOCK as it was before, put back at the end */
    int shared_fd; /* what was adopted, where fd is a description of ferry's own; else -1 */

    /* The owner's. */
    int fd;               /* -1 once closed */
    bool is_holding_back; /* the last write said that more follows */
} ferry__sink;

/* What sort of socket it is; those that a listening one gives are of its own sort. */
typedef struct ferry__socket_sort {
    bool is_message;
    bool is_tcp;
    /* What a listening socket accepts inherits. */
    bool has_no_delay; /* TCP_NODELAY */
    int unsent_bytes;  /* TCP_NOTSENT_LOWAT */
    ferry__outlet_kind outlet;
} ferry__socket_sort;

/* Looks at a socket. @return 0; -ESOCKTNOSUPPORT: it is a datagram or raw socket. */
int ferry__socket_sort_of(int fd, ferry__socket_sort *ret_sort);

/* For a socket of ferry's own making, non-blocking from birth: there is nothing to look at. */
void ferry__sink_init_known(ferry__sink *sink, int fd, ferry__socket_sort sort,
                            ferry__calls *calls);

/* Looks at fd and makes it non-blocking. @return 0, or the errnos of ferry_stream_adopt, with the fd
 * as it was. */
int ferry__sink_init(ferry__sink *sink, int fd, ferry__calls *calls);

/* Has what little is written leave at once, where that is not so anyway. */
void ferry__sink_set_no_delay(ferry__sink *sink);

/* What is set where so many unsent bytes are asked for at most: enough for a packet to be whole. */
int ferry__unsent_limit(uint32_t wanted);

/* Has the kernel hold about so many unsent bytes at most; 0: as it does anyway. */
void ferry__sink_limit_unsent(ferry__sink *sink, uint32_t bytes);

/* Then either takes fd for good, or leaves it as it was. */
void ferry__sink_commit(ferry__sink *sink);
void ferry__sink_revert(ferry__sink *sink);

/* Any thread. Gets a blocked call out, and lets no other begin. */
void ferry__sink_cut(ferry__sink *sink);

/* The rest: the owner only. They answer a count, or a negative errno: -EAGAIN where the sink is
 * full, -ECANCELED where it was cut. EINTR never shows. */

/* @param more that more follows at once: it may be held back to leave together. */
ssize_t ferry__sink_write(ferry__sink *sink, const struct iovec pieces[], int count, bool more);

/* @param offset advanced by what was sent; the fd's own position stays. */
ssize_t ferry__sink_sendfile(ferry__sink *sink, int source_fd, int64_t *offset, size_t length);

/* From a pipe. -EAGAIN: the sink is full, or the pipe empty. */
ssize_t ferry__sink_splice(ferry__sink *sink, int pipe_fd, size_t length);

/* What has come, into a pipe. -EAGAIN: nothing has, or urgent data is in the way, or the pipe is full. */
ssize_t ferry__sink_splice_input(ferry__sink *sink, int pipe_fd, size_t length);

/* Lets out what was held back for something that does not follow after all. */
void ferry__sink_push(ferry__sink *sink);

/* Reads away up to length bytes of input; 0 at its end. */
ssize_t ferry__sink_discard_input(ferry__sink *sink, size_t length);

int ferry__sink_shutdown(ferry__sink *sink);

/*
 * Closes the fd; with reset a TCP peer gets RST. Without, it never waits: the program's SO_LINGER
 * is switched off. The fd is gone whatever this answers.
 */
int ferry__sink_close(ferry__sink *sink, bool reset);

#endif
