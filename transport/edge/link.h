/* SPDX-License-Identifier: MIT */
/*
 * A link: a stream's fd, and the one place that makes system calls on it, both ways. A table of
 * functions says how bytes get through it. Plain links (sockets, pipes, files) move them as they
 * are. Another kind may transform them, and calls the plain functions beneath its own. The code
 * that uses a link sees no difference.
 *
 * Such a kind makes other bytes of those that are written: more of them, and more at a time than
 * the fd takes. What it has made has to leave, or the peer understands nothing that follows. So a
 * link holds bytes in two ways:
 *
 *   begun  taken, and not answered: write has said -EAGAIN, or fewer than were taken. The same
 *          bytes are written again, and answered once the fd has all that was made of them. So
 *          "sent" means the same of every link.
 *   owed   nobody writes them any more: what they are part of was called off (owe), or they were
 *          held back (push), or they are the link's own words: an answer to its peer, or its end.
 *          They count as sent. While it owes, write, sendfile and splice are not called.
 *
 * Both may be so at once: then flush sends all, and the next write answers what was begun.
 * tests/records.c is such a kind, as small as one can be.
 *
 * No call on it waits, unless its owner has asked for that (transport/edge/patience.h). Where it is
 * full it answers -EAGAIN, and its owner waits for room in its epoll set, where it hears mail and
 * timers as well. What may block is the other side, the disk.
 *
 * O_NONBLOCK cannot see to that: it belongs to the open file description, and other processes or
 * another stream may share that. They would see it set, also after this process was killed, and may
 * clear it at any moment. So it is left alone (ferry__guard). A socket is given no more than it has
 * room for. A pipe is called with flags of the call, or opened anew.
 *
 * What ferry sets, who else sees it, and what becomes of it:
 *
 *   O_NONBLOCK of a terminal or device     all that share it; for one call at a time, and put back
 *   O_NONBLOCK of an inherited listening   all that share it; set for good, since others of ferry's
 *     socket (transport/reach/binding.h)     may rely on it, and set again before each accept4(2)
 *   TCP_NODELAY, TCP_NOTSENT_LOWAT         all that share the socket, while the stream is open, if
 *                                            its options ask for it; put back before it is closed
 *   SO_SNDTIMEO, O_NONBLOCK of a socket    all that share it, while a dedicated owner waits for
 *                                            room in it; put back (transport/edge/patience.h)
 *   SO_LINGER                              nobody: set for close(2) only, and put back if the
 *                                            socket survives that (transport/edge/survivor.h)
 *   shutdown(2) at a close or shutdown     all that share the socket: the program asks for it
 *   the position of a file                 all that share it, if FERRY_CURRENT asks for that
 *
 * A killed process leaves those of "for good", the options, and a flag if it was killed within the
 * call. Nobody shares the sockets, pipes and files that ferry makes itself.
 *
 * One case is left: somebody else fills a socket's room in the moment between asking and sending.
 * Then sendfile(2) blocks, as it has no MSG_DONTWAIT. The gate lets another thread get such a call
 * out, by shutdown(2), and never lets it touch the fd at any other time:
 *
 *   owner: OUTSIDE -> IN_CALL, then look at cut     cutter: set cut, then IN_CALL -> CUTTING?
 *          the system call                                  shutdown(2)
 *          IN_CALL -> OUTSIDE, or sleep while CUTTING       CUTTING -> CUTTER_LEFT, wake
 *
 * Both first steps are full barriers: either the owner sees that it is cut, or the cutter sees it
 * in the call. The owner leaves only after the cutter has, so the fd is not closed under the
 * cutter. It sleeps until then: the gate is a futex. Beside an owner that spins, a cutter of lower
 * priority would never come to its end.
 * A cut is final: there is no way to get one call out and go on.
 */
#ifndef FERRY_TRANSPORT_EDGE_LINK_H
#define FERRY_TRANSPORT_EDGE_LINK_H

#include "core/calls.h"
#include "core/shared.h"
#include "transport/edge/address.h"
#include "transport/edge/outlet.h"
#include "transport/edge/patience.h"
#include "transport/edge/segments.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>
#include <sys/uio.h>

/* What keeps a call from waiting. */
typedef enum __attribute__((packed)) ferry__guard {
    FERRY__GUARD_NONE, /* nothing has to: a file; or O_NONBLOCK, in a description of ferry's own */
    FERRY__GUARD_ROOM, /* a socket that others may share: no more is sent than there is room for */
    FERRY__GUARD_CALL, /* a pipe that others share: RWF_NOWAIT, SPLICE_F_NONBLOCK */
    FERRY__GUARD_FLAG  /* anything else that others may share: O_NONBLOCK, for one call at a time */
} ferry__guard;

typedef struct ferry__link_type ferry__link_type;

typedef struct ferry__link {
    /* Any thread. */
    atomic_uint gate;     /* link.c's states; a futex */
    atomic_uint visitors; /* other threads that ask something of the fd: link.c */

    /* Set when it is made. */
    ferry__calls *calls; /* the system, or a script of faults */
    const ferry__link_type *type;
    void *state;               /* its type's; a plain one has none */
    ferry__patience *patience; /* NULL: no call on it ever waits */
    atomic_bool cut;           /* any thread: no call is to begin any more */
    bool is_socket;
    bool is_message; /* SEQPACKET, O_DIRECT pipe: one write, one message */
    bool is_tcp;
    bool has_no_delay;         /* TCP_NODELAY was set before, or now is */
    bool sets_no_delay;        /* it was set here: what reverts takes it back */
    bool is_adopted;           /* the program made it, and may have duplicates of it */
    bool limits_unsent;        /* TCP_NOTSENT_LOWAT was set here */
    bool may_linger;           /* ferry made it, but it may have got SO_LINGER from another */
    ferry__outlet_kind outlet; /* how to ask how far its bytes have come */
    atomic_short
        death; /* written by the owner: the errno that told of its connection's end; or 0 */
    int original_unsent_bytes; /* what limits_unsent has changed, as it was before */
    int shared_fd; /* what was adopted, where fd is a description of ferry's own; else -1 */

    /* The owner's. */
    ferry__guard guard;
    bool is_holding_back : 1; /* the last write said that more follows */
    bool ends_behind : 1;     /* what is written now is followed by the sending direction's end */
    bool owes : 1;            /* its type has bytes to send that nobody writes: flush */
    bool is_held_up : 1;      /* it has said -EAGAIN to sending since it has to receive first */
    bool may_be_framed : 1;   /* the program may have set TCP_ULP, to kernel TLS */
    bool is_framed : 1;       /* its type has done so, and sends by way of it */
    bool is_long : 1;         /* what is sent now is of a file of which much is left */
    bool has_no_edge : 1;     /* its type owes what no event tells of: it is looked at again */
    bool is_dry; /* when its type last received, nothing more had come: it is known; also another
                    thread, in the owner's stead */
    uint8_t death_kept; /* the errno of its end, if bytes of the same row were told instead */
    ferry__segments segments;
    int fd; /* -1 once closed */
} ferry__link;

/* What sort of socket it is. Sockets that a listening one accepts are of its own sort. */
typedef struct ferry__socket_sort {
    bool is_message;
    bool is_tcp;
    /* Accepted sockets inherit these from the listening one. */
    bool may_linger;    /* SO_LINGER: not where ferry made that one */
    bool has_no_delay;  /* TCP_NODELAY */
    int unsent_bytes;   /* TCP_NOTSENT_LOWAT */
    bool may_be_framed; /* a callback of the program's had it in its hands */
    ferry__outlet_kind outlet;
} ferry__socket_sort;

/* Looks at a socket. @return 0; -ESOCKTNOSUPPORT: it is a datagram or raw socket. */
int ferry__socket_sort_of(int fd, ferry__socket_sort *ret_sort);

/* For a socket of ferry's own making, non-blocking from birth: there is nothing to look at. */
void ferry__link_init_known(ferry__link *link, int fd, ferry__socket_sort sort,
                            ferry__calls *calls);

/*
 * Looks at fd, which stays as it is. @param ret_peer zeroed; left so where there is no peer.
 * @return 0, or an errno of ferry_stream_adopt.
 */
int ferry__link_init(ferry__link *link, int fd, ferry__calls *calls, ferry__peer *ret_peer);

/* Has small writes leave at once, if they do not anyway. */
void ferry__link_set_no_delay(ferry__link *link);

/* What is set if at most so many unsent bytes are asked for: enough for a packet to be whole. */
int ferry__unsent_limit(uint32_t wanted);

/* Has the kernel hold about so many unsent bytes at most; 0: as it does anyway. */
void ferry__link_limit_unsent(ferry__link *link, uint32_t bytes);

/* For a type's close: sends what fits at once, also where it was cut. @return as a write. */
FERRY__SHARED ssize_t ferry__link_send_last(ferry__link *link, const void *data, size_t size);

/*
 * Lets its calls wait in the kernel when asked to, if it is such a link: a TCP or unix socket of
 * bytes that blocks, or that ferry has made. @param patience zeroed; valid as long as the link.
 */
void ferry__link_lend_patience(ferry__link *link, ferry__patience *patience);

/* One of the two follows ferry__link_init: it takes fd for good, or leaves it as it was. Type and
 * state are set before the stream joins its service. Until then the code that made the state frees
 * it. */
void ferry__link_commit(ferry__link *link);
void ferry__link_revert(ferry__link *link);

/* Any thread. Gets a blocked call out, and lets no other begin. */
void ferry__link_cut(ferry__link *link);

/*
 * Any thread that keeps the stream. Gives the fd, to ask something of the socket: the owner does
 * not let go of it before the visit has ended, so that is to be soon. @return -1: it has already.
 */
int ferry__link_visit(ferry__link *link);
void ferry__link_end_visit(ferry__link *link);

/* What the fd's close means to the peer. */
typedef enum ferry__ending {
    FERRY__END_SENDING, /* an end of file: the sending direction was shut down before */
    FERRY__LET_GO,      /* an end of file, but a duplicate of an adopted socket may go on */
    FERRY__RESET        /* a TCP peer gets RST, unless a duplicate is left */
} ferry__ending;

/*
 * A direction of a link, as the events that it waits for once it has answered -EAGAIN. Receiving
 * never waits for room: what a kind has to send for that, it owes. Sending waits for what comes
 * only while the link is held up: it was told half of something. Whichever direction then gets the
 * rest, sending goes on: after a receive the link owes, be it nothing.
 */
typedef enum ferry__direction {
    FERRY__SENDING = EPOLLOUT,
    FERRY__RECEIVING = EPOLLIN | EPOLLRDHUP | EPOLLPRI
} ferry__direction;

/*
 * A kind of link: constant, one for each. The owner only; but receive of a plain link also another
 * thread, in its stead (transport/read/subscriber.h). Functions that move bytes answer a count,
 * or a negative errno: -EAGAIN if that direction has to wait, -ECANCELED if the link was cut. EINTR
 * never shows. NULL is fine for what is in brackets.
 */
struct ferry__link_type {
    /*
     * [Before anything else is asked of it: goes on with its handshake, as far as it gets without
     * waiting: one step of arithmetic.
     * @param given_up 0; or why there will be none: it is noted, and nothing else done.
     * @return 0: it is over; -EAGAIN: it waits for what comes and, if it owes something, for room;
     *         or another negative errno, and then it owes what it has to say of that.]
     */
    int (*shake_hands)(ferry__link *link, int given_up);

    /*
     * Sends memory. @param more whether more follows at once: the two may leave together. If it
     * is the end (ends_behind), the fd has these bytes before, since they count as sent.
     * @return how many bytes: never more than pieces has, those that were begun before included;
     *         and never 0. The caller writes what is begun again, in the same order, though perhaps
     *         less of it at a time; or it calls owe, or close. So a kind keeps what it has made: it
     *         cannot count on the same memory or length.
     */
    ssize_t (*write)(ferry__link *link, const struct iovec pieces[], int count, bool more);

    /* Sends a range of a file. @param offset advanced by what was sent; the fd's own position
     * stays. @return also -EOPNOTSUPP: it cannot, and the bytes have to be written. */
    ssize_t (*sendfile)(ferry__link *link, int source_fd, int64_t *offset, size_t length);

    /* Sends what is in a pipe. -EAGAIN: it has to wait, or the pipe is empty. @return also
     * -EOPNOTSUPP. */
    ssize_t (*splice)(ferry__link *link, int pipe_fd, size_t length);

    /* Lets bytes out that were held back for others that do not follow after all. The link owes
     * those that cannot leave at once. */
    void (*push)(ferry__link *link);

    /* [Bytes that are begun will not be written again: the link owes them. @return how many they
     * are: they count as written. 0, if a call has failed since: they will not leave. A kind
     * without this begins nothing: small files are read for a write, and for the next one read
     * again.] */
    size_t (*owe)(ferry__link *link);

    /* [Sends what it owes. @return 0: it owes nothing any more; -EAGAIN; or another negative
     * errno.] */
    int (*flush)(ferry__link *link);

    /*
     * Receives into memory. -EAGAIN: nothing is left inside the link either. The link owes the
     * answers that its peer wants, so many at most; where there would be more it fails.
     * @return also 0: the peer has said its end. Where its kind has a word for that, an fd that
     *         ends without it is -ECONNABORTED. An error that is final is answered each time.
     */
    ssize_t (*receive)(ferry__link *link, void *data, size_t size);

    /* Looks at one byte, to see whether something has come. @return as receive. */
    ssize_t (*peek)(ferry__link *link);

    /* Receives into a pipe. -EAGAIN: nothing has come, or urgent data is in the way, or the pipe is
     * full. @return also -EOPNOTSUPP. */
    ssize_t (*receive_to_pipe)(ferry__link *link, int pipe_fd, size_t length);

    /* Gives an fd, close-on-exec, from which others can read what receive would give. @return it,
     * or a negative errno; -EOPNOTSUPP: there is none, and what comes is received to be passed
     * on. */
    int (*share)(ferry__link *link);

    /* Ends the sending direction, behind all that it owes. @return 0, and from then on it
     * owes nothing any more: what it would answer is dropped; -EAGAIN: it owes something still, and
     * is asked again once that has left; or another negative errno. */
    int (*shut_down)(ferry__link *link);

    /* Count bytes, as they were written: those that have not left this host; those that have not
     * arrived. They may say more, as long as they come to 0. @return how many, or a negative errno
     * (transport/edge/outlet.h). */
    int64_t (*unsent)(const ferry__link *link);
    int64_t (*unacked)(const ferry__link *link);

    /* [It is closed. Says so to its peer, if that is wanted and can be done at once. Lets go of its
     * state.] */
    void (*close)(ferry__link *link, ferry__ending ending);

    /* [Any thread: its stream is freed, or could not be made. Frees what close has left of its
     * state, for others to look at.] */
    void (*forget)(ferry__link *link);

    bool may_be_left; /* its fd is of use without it: it may be given back to the program */
};

static inline size_t ferry__bytes_of(const struct iovec pieces[], int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    return size;
}

/* For kinds whose bytes only memory can hold, beside the fd: what they cannot do. */

static inline ssize_t ferry__link_cannot_sendfile(ferry__link *link, int source_fd, int64_t *offset,
                                                  size_t length)
{
    (void)link, (void)source_fd, (void)offset, (void)length;
    return -EOPNOTSUPP;
}

/* Neither out of a pipe nor into one. */
static inline ssize_t ferry__link_cannot_splice(ferry__link *link, int pipe_fd, size_t length)
{
    (void)link, (void)pipe_fd, (void)length;
    return -EOPNOTSUPP;
}

static inline int ferry__link_cannot_share(ferry__link *link)
{
    (void)link;
    return -EOPNOTSUPP;
}

/* The owner. @return how much of size bytes to send at once, where others follow at once. */
size_t ferry__link_trim(ferry__link *link, size_t size);

/* The owner. Lets go of the fd, with its options as they were. Its kind may be left. @return it */
int ferry__link_leave(ferry__link *link);

/* Sockets, pipes, files: link.c. */
extern FERRY__SHARED const ferry__link_type ferry__link_plain;

/* The owner only. They call the type's functions. */

static inline void ferry__link_forget(ferry__link *link)
{
    if (link->type != NULL && link->type->forget != NULL)
        link->type->forget(link);
}

static inline ssize_t ferry__link_write(ferry__link *link, const struct iovec pieces[], int count,
                                        bool more)
{
    return link->type->write(link, pieces, count, more);
}

static inline ssize_t ferry__link_sendfile(ferry__link *link, int source_fd, int64_t *offset,
                                           size_t length)
{
    return link->type->sendfile(link, source_fd, offset, length);
}

static inline ssize_t ferry__link_splice(ferry__link *link, int pipe_fd, size_t length)
{
    return link->type->splice(link, pipe_fd, length);
}

static inline void ferry__link_push(ferry__link *link)
{
    if (link->is_holding_back)
        link->type->push(link);
}

static inline ssize_t ferry__link_receive(ferry__link *link, void *data, size_t size)
{
    return link->type->receive(link, data, size);
}

static inline ssize_t ferry__link_peek(ferry__link *link)
{
    return link->type->peek(link);
}

/* Whether it is ferry's own, whose bytes are the fd's, and which splices. */
static inline bool ferry__link_is_plain(const ferry__link *link)
{
    return link->type == &ferry__link_plain;
}

static inline ssize_t ferry__link_receive_to_pipe(ferry__link *link, int pipe_fd, size_t length)
{
    return link->type->receive_to_pipe(link, pipe_fd, length);
}

static inline int ferry__link_share(ferry__link *link)
{
    return link->type->share(link);
}

static inline size_t ferry__link_owe(ferry__link *link)
{
    return link->type->owe != NULL ? link->type->owe(link) : 0;
}

/* Where it owes something. */
static inline int ferry__link_flush(ferry__link *link)
{
    return link->type->flush(link);
}

static inline int ferry__link_shut_down(ferry__link *link)
{
    return link->type->shut_down(link);
}

static inline int64_t ferry__link_unsent(const ferry__link *link)
{
    return link->type->unsent(link);
}

static inline int64_t ferry__link_unacked(const ferry__link *link)
{
    return link->type->unacked(link);
}

/*
 * Whether it is a TCP or unix stream socket. With these an edge of epoll(7) comes with the room,
 * after the link has said that it is full. A terminal or a device may do as it likes.
 */
static inline bool ferry__link_is_stream_socket(const ferry__link *link)
{
    bool is_known = link->outlet == FERRY__OUTLET_TCP || link->outlet == FERRY__OUTLET_UNIX;
    return is_known && !link->is_message;
}

/* The outlet's questions (transport/edge/outlet.h), about the fd, whatever the link's type. */
static inline ferry__outlet ferry__link_look(const ferry__link *link)
{
    return ferry__outlet_look(link->fd, link->outlet);
}

static inline ferry__outlet ferry__link_look_closely(const ferry__link *link, uint32_t peer,
                                                     const ferry__survey *survey)
{
    return ferry__outlet_look_closely(link->fd, link->outlet, peer, survey);
}

static inline bool ferry__link_is_gone(const ferry__link *link)
{
    return ferry__outlet_is_gone(link->fd, link->outlet);
}

/* Reads away up to length bytes of input; 0 at its end. */
ssize_t ferry__link_discard_input(ferry__link *link, size_t length);

/*
 * Closes the fd. It never waits: the program's SO_LINGER is not honoured. A duplicate has its
 * options as they were. The fd is gone whatever this answers.
 */
int ferry__link_close(ferry__link *link, ferry__ending ending);

#endif
