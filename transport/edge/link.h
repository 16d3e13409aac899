/* SPDX-License-Identifier: MIT */
/*
 * A sink: the fd that a stream writes to, and the one place that makes system calls on it.
 *
 * No call on it waits: where it is full it answers -EAGAIN, and its owner waits for room in its epoll
 * set, where it hears mail and timers as well. What may block is the other side, the disk.
 *
 * O_NONBLOCK cannot see to that: it belongs to the open file description, which other processes may
 * share, or another stream. They would see it set, also after this process was killed, and may clear
 * it at any moment. So it is left alone (ferry__guard): what is asked of a socket is as much as it has
 * room for, a pipe is called with flags of the call, or opened anew.
 *
 * What ferry sets, who else sees it, and what becomes of it:
 *
 *   O_NONBLOCK of a terminal or device     whoever shares it; for one call at a time, and put back
 *   O_NONBLOCK of an inherited listening   whoever shares it; set for good, since others of ferry's may
 *     socket (transport/reach/binding.h)           rely on it, and set again before each accept4(2)
 *   TCP_NODELAY, TCP_NOTSENT_LOWAT         whoever shares the socket, while the stream is open, if its
 *                                            options ask for it; put back before it is closed
 *   SO_LINGER                              nobody: set for close(2) only, and put back where the socket
 *                                            survives that (transport/edge/survivor.h)
 *   shutdown(2) at a close or shutdown     all who share the socket: it is what they ask for
 *   the position of a file                 whoever shares it, where FERRY_CURRENT asks for that
 *
 * What a killed process leaves of these: those of "for good", the options, and a flag if it was killed
 * within the call. Sockets, pipes and files that ferry makes itself nobody shares.
 *
 * The gate is for what is left: a socket whose room somebody else fills in the moment between asking
 * and sending, blocks sendfile(2), which has no MSG_DONTWAIT. It lets another thread get such a call
 * out, by shutdown(2), and never lets it touch the fd at any other time:
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
#ifndef FERRY_TRANSPORT_EDGE_SINK_H
#define FERRY_TRANSPORT_EDGE_SINK_H

#include "core/calls.h"
#include "transport/edge/outlet.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* What keeps a call from waiting. */
typedef enum ferry__guard {
    FERRY__GUARD_NONE, /* nothing need: a file; or O_NONBLOCK, in a description of ferry's own */
    FERRY__GUARD_ROOM, /* a socket that others may share: no more is sent than there is room for */
    FERRY__GUARD_CALL, /* a pipe that others share: RWF_NOWAIT, SPLICE_F_NONBLOCK */
    FERRY__GUARD_FLAG  /* anything else that others may share: O_NONBLOCK, for one call at a time */
} ferry__guard;

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
    bool is_adopted;           /* it was made by the program, who may have duplicates of it */
    bool limits_unsent;        /* TCP_NOTSENT_LOWAT was set here; likewise, */
    int original_unsent_bytes; /* to what it was before */
    ferry__outlet_kind outlet; /* how to ask how far its bytes have come */
    ferry__calls *calls;       /* the system, or a script of faults */
    int shared_fd; /* what was adopted, where fd is a description of ferry's own; else -1 */

    /* The owner's. */
    ferry__guard guard;
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

/* Looks at fd, which stays as it is. @return 0, or the errnos of ferry_stream_adopt. */
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

/* What the fd's close means to the peer. */
typedef enum ferry__ending {
    FERRY__END_SENDING, /* an end of file, also while duplicates are left */
    FERRY__LET_GO,      /* likewise, but a duplicate of an adopted socket may go on */
    FERRY__RESET        /* a TCP peer gets RST, unless a duplicate is left */
} ferry__ending;

/*
 * Closes the fd. It never waits: the program's SO_LINGER is not honoured. Who holds a duplicate finds
 * its options as they were. The fd is gone whatever this answers.
 */
int ferry__sink_close(ferry__sink *sink, ferry__ending ending);

#endif
