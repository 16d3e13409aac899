/* SPDX-License-Identifier: MIT */
#include "transport/edge/link.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/handover.h"
#include "core/libc.h"
#include "core/wake.h"
#include "transport/edge/file.h"
#include "transport/edge/survivor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* link->gate */
enum { OUTSIDE, IN_CALL, CUTTING, CUTTER_LEFT };

enum {
    PIPE_PIECE = FERRY__PAGE, /* splice(2) hands on 16 buffers at a time, which may be small */
    /* Memory that a piece takes beside its bytes: 768 to 832 were seen, and TCP may halve it. */
    PIECE_OVERHEAD = 2048
};

static int get_option(int fd, int level, int name)
{
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
}

static int set_no_delay(int fd, int value)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value);
}

static int set_unsent_bytes(int fd, int bytes)
{
    return setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

static bool has_type(int type)
{
    return type == SOCK_STREAM || type == SOCK_SEQPACKET;
}

static ferry__socket_sort sort_of(int fd, int type, int family)
{
    bool is_tcp = family != AF_UNIX && get_option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP;
    return (ferry__socket_sort){.is_message = type == SOCK_SEQPACKET,
                                .is_tcp = is_tcp,
                                .outlet = ferry__outlet_kind_of_socket(family, is_tcp)};
}

int ferry__socket_sort_of(int fd, ferry__socket_sort *ret_sort)
{
    int type = get_option(fd, SOL_SOCKET, SO_TYPE);
    if (!has_type(type))
        return -ESOCKTNOSUPPORT;
    ferry__socket_sort sort = sort_of(fd, type, get_option(fd, SOL_SOCKET, SO_DOMAIN));
    sort.has_no_delay = sort.is_tcp && get_option(fd, IPPROTO_TCP, TCP_NODELAY) > 0;
    sort.unsent_bytes = sort.is_tcp ? get_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT) : 0;
    *ret_sort = sort;
    return 0;
}

static void set_sort(ferry__link *link, ferry__socket_sort sort)
{
    link->is_socket = true;
    link->is_message = sort.is_message;
    link->is_tcp = sort.is_tcp;
    link->may_linger = sort.may_linger;
    link->has_no_delay = sort.has_no_delay;
    link->original_unsent_bytes = sort.unsent_bytes;
    link->outlet = sort.outlet;
}

/* A peer's address tells the family, too, and that the socket does not listen. */
static int init_socket(ferry__link *link, int type, ferry__peer *ret_peer)
{
    int fd = link->fd;
    if (!has_type(type))
        return -ESOCKTNOSUPPORT;
    ferry__peer_ask(ret_peer, fd);
    bool has_peer = ret_peer->size > 0;
    if (!has_peer && get_option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1)
        return -EINVAL;
    int family = has_peer ? ret_peer->address.any.sa_family : get_option(fd, SOL_SOCKET, SO_DOMAIN);
    set_sort(link, sort_of(fd, type, family));
    bool is_measured = link->outlet != FERRY__OUTLET_OTHER;
    link->guard = is_measured ? FERRY__GUARD_ROOM : FERRY__GUARD_FLAG;
    return 0;
}

void ferry__link_init_known(ferry__link *link, int fd, ferry__socket_sort sort, ferry__calls *calls)
{
    *link = (ferry__link){.fd = fd,
                          .may_be_framed = sort.may_be_framed,
                          .shared_fd = -1,
                          .calls = calls,
                          .type = &ferry__link_plain};
    set_sort(link, sort);
}

/* Gets a description of ferry's own. Whether it could. */
static bool own_description(ferry__link *link, int flags)
{
    unsigned number;
    if (ioctl(link->fd, (ferry__ioctl_request)TIOCGPTN, &number) == 0)
        return false; /* a pty's master: to open it anew would make another pty */
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", link->fd);
    flags &= O_ACCMODE | O_APPEND | O_DIRECT;
    int own = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (own < 0)
        return false; /* there is no /proc, or it is another user's */
    link->shared_fd = link->fd;
    link->fd = own;
    return true;
}

/* For what cannot be opened anew, or need not be. */
static ferry__guard guard_of(const struct stat *status)
{
    enum { MEMORY = 1 }; /* the major number of /dev/null and its like */
    if (S_ISFIFO(status->st_mode))
        return FERRY__GUARD_CALL;
    bool never_waits = S_ISREG(status->st_mode) || S_ISBLK(status->st_mode) ||
                       (S_ISCHR(status->st_mode) && major(status->st_rdev) == MEMORY);
    return never_waits ? FERRY__GUARD_NONE : FERRY__GUARD_FLAG;
}

static int init_other(ferry__link *link)
{
    struct stat status;
    int fd = link->fd, flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &status) < 0)
        return -EBADF;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if ((flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH) != 0)
        return -EBADF;
    link->outlet = ferry__outlet_kind_of(fd);
    link->is_message = S_ISFIFO(status.st_mode) && (flags & O_DIRECT) != 0; /* "packet mode" */
    bool may_be_opened = S_ISFIFO(status.st_mode) || (S_ISCHR(status.st_mode) && isatty(fd));
    if (!may_be_opened || !own_description(link, flags))
        link->guard = guard_of(&status);
    return 0;
}

int ferry__link_init(ferry__link *link, int fd, ferry__calls *calls, ferry__peer *ret_peer)
{
    *link = (ferry__link){.fd = fd,
                          .is_adopted = true,
                          .may_be_framed = true,
                          .shared_fd = -1,
                          .calls = calls,
                          .type = &ferry__link_plain};
    int type = get_option(fd, SOL_SOCKET, SO_TYPE);
    return type >= 0 ? init_socket(link, type, ret_peer) : init_other(link);
}

void ferry__link_set_no_delay(ferry__link *link)
{
    if (!link->is_tcp)
        return;
    bool was_set = link->has_no_delay ||
                   (link->is_adopted && get_option(link->fd, IPPROTO_TCP, TCP_NODELAY) > 0);
    link->sets_no_delay = !was_set && set_no_delay(link->fd, 1) == 0;
    link->has_no_delay = was_set || link->sets_no_delay;
}

int ferry__unsent_limit(uint32_t wanted)
{
    /* A packet over loopback has 64 KiB. If sendfile(2) leaves a part of one over, the kernel keeps
     * that back. If it then takes no more, nothing leaves for 200 ms. */
    enum { LEAST = 128 * 1024 };
    return wanted > LEAST ? (int)wanted : LEAST;
}

void ferry__link_limit_unsent(ferry__link *link, uint32_t bytes)
{
    if (!link->is_tcp || bytes == 0)
        return;
    if (link->is_adopted)
        link->original_unsent_bytes = get_option(link->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT);
    int limit = ferry__unsent_limit(bytes);
    if (link->original_unsent_bytes != limit)
        link->limits_unsent = set_unsent_bytes(link->fd, limit) == 0;
}

void ferry__link_lend_patience(ferry__link *link, ferry__patience *patience)
{
    if (!link->is_socket || !ferry__link_is_stream_socket(link))
        return;
    int flags = link->is_adopted ? fcntl(link->fd, F_GETFL) : 0;
    if (flags < 0 || (flags & O_NONBLOCK) != 0)
        return;
    ferry__patience_init(patience, link->fd, !link->is_adopted);
    link->patience = patience;
}

void ferry__link_commit(ferry__link *link)
{
    if (link->shared_fd >= 0)
        (void)ferry__close(link->shared_fd);
}

/* Called before it is let go of: puts its options back, for others that share it. */
static void put_options_back(const ferry__link *link)
{
    if (link->sets_no_delay)
        (void)set_no_delay(link->fd, 0);
    if (link->limits_unsent)
        (void)set_unsent_bytes(link->fd, link->original_unsent_bytes);
}

void ferry__link_revert(ferry__link *link)
{
    put_options_back(link);
    if (link->shared_fd >= 0)
        (void)ferry__close(link->fd);
}

/* ---- the gate -------------------------------------------------------------------------------- */

static void leave_call(ferry__link *link)
{
    unsigned expected = IN_CALL;
    if (!link->is_socket || atomic_compare_exchange_strong(&link->gate, &expected, OUTSIDE))
        return;
    while (atomic_load(&link->gate) == CUTTING) /* L0: for as long as one shutdown(2) takes */
        ferry__futex_wait(&link->gate, CUTTING, FERRY__NEVER);
    ferry__taken_over(&link->gate);
    atomic_store(&link->gate, OUTSIDE);
}

/* Whether the call may be made; then leave_call must follow it. */
static bool enter_call(ferry__link *link)
{
    /* A0: enter, then look at cut. Pairs with C0: one of the two sees the other. */
    if (link->is_socket)
        (void)atomic_exchange(&link->gate, IN_CALL);
    if (!atomic_load(&link->cut))
        return true;
    leave_call(link);
    return false;
}

void ferry__link_cut(ferry__link *link)
{
    (void)atomic_exchange(&link->cut, true); /* C0: set cut, then look at the gate. Pairs with A0 */
    unsigned expected = IN_CALL;
    if (!atomic_compare_exchange_strong(&link->gate, &expected, CUTTING))
        return;
    (void)shutdown(link->fd, SHUT_RDWR);
    /* C1: leave, then wake. Pairs with L0: futex(2) puts the owner to sleep only where the gate is
     * still CUTTING, and then this wakes it. The caller keeps the memory. */
    ferry__handed_over(&link->gate);
    atomic_store(&link->gate, CUTTER_LEFT);
    ferry__futex_wake_all(&link->gate);
}

/* ---- visits ---------------------------------------------------------------------------------- */

/* In link->visitors: the fd is about to go, and the owner sleeps until nobody is there. */
#define IS_LEAVING (1u << 31)

int ferry__link_visit(ferry__link *link)
{
    if ((atomic_fetch_add(&link->visitors, 1) & IS_LEAVING) == 0)
        return link->fd;
    ferry__link_end_visit(link);
    return -1;
}

void ferry__link_end_visit(ferry__link *link)
{
    if (atomic_fetch_sub(&link->visitors, 1) == (IS_LEAVING | 1))
        ferry__futex_wake_all(&link->visitors);
}

/* All change one word: who comes later finds it set, and who is there is waited for. */
static void wait_for_visitors(ferry__link *link)
{
    unsigned now = atomic_fetch_or(&link->visitors, IS_LEAVING) | IS_LEAVING;
    for (; now != IS_LEAVING; now = atomic_load(&link->visitors))
        ferry__futex_wait(&link->visitors, now, FERRY__NEVER);
}

/* ---- not to wait ----------------------------------------------------------------------------- */

/* Sets O_NONBLOCK for one call, if nothing else keeps it from waiting. @return the flags to put
 * back after it; -1: none. */
static int borrow_flag(const ferry__link *link)
{
    if (link->guard != FERRY__GUARD_FLAG)
        return -1;
    int flags = fcntl(link->fd, F_GETFL);
    bool is_set = flags < 0 || (flags & O_NONBLOCK) != 0;
    return !is_set && fcntl(link->fd, F_SETFL, flags | O_NONBLOCK) == 0 ? flags : -1;
}

/* Leaves errno alone. */
static void give_flag_back(const ferry__link *link, int flags)
{
    int error = errno;
    if (flags >= 0)
        (void)fcntl(link->fd, F_SETFL, flags);
    errno = error;
}

/* Whether the next call may wait after all. */
static bool may_wait(const ferry__link *link)
{
    return link->patience != NULL && link->patience->waits;
}

/* Whether a call would do something at once: send a little, or tell of the end. */
static bool is_ready(int fd)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    return poll(&room, 1, 0) != 0;
}

/* A unix socket looks for room before each piece, and not whether all of it fits. */
static size_t unix_room(int64_t free, size_t piece)
{
    return free > 0 ? ((size_t)free / (piece + PIECE_OVERHEAD) + 1) * piece : 0;
}

/* How much TCP takes before it waits for unsent bytes to leave. */
static size_t cut_to_unsent(int fd, size_t room)
{
    uint32_t limit = ferry__outlet_unsent_limit(fd);
    if (limit == UINT32_MAX)
        return room;
    int64_t left = (int64_t)limit - ferry__outlet_unsent(fd, FERRY__OUTLET_TCP);
    if (left < 0)
        return 0;
    return (uint64_t)left < room ? (size_t)left : room;
}

/* TCP takes pieces of at least a segment, and may split those that it has: this leaves room for
 * that. */
static size_t tcp_room(int fd, int64_t free, uint32_t total, size_t piece)
{
    int64_t usable = free - total / 16;
    if (usable <= 0)
        return 0;
    int segment = get_option(fd, IPPROTO_TCP, TCP_MAXSEG);
    if (segment > 0 && (size_t)segment < piece)
        piece = (size_t)segment;
    size_t room = (size_t)usable / (piece + PIECE_OVERHEAD) * piece;
    if (room == 0) /* the kernel begins a piece as long as any room is left */
        room = (size_t)usable < piece ? (size_t)usable : piece;
    return cut_to_unsent(fd, room);
}

/* Whether the kernel makes packets of what is given to the fd, as it comes. */
static bool makes_packets(const ferry__link *link)
{
    return link->is_tcp && !link->is_framed && ferry__link_is_plain(link);
}

size_t ferry__link_trim(ferry__link *link, size_t size)
{
    return makes_packets(link) ? ferry__segments_trim(&link->segments, link->fd, size) : size;
}

/*
 * Cuts *length to what a socket has room for, so that sendfile(2) and splice(2), which heed
 * O_NONBLOCK only, cannot wait in it. @param piece what the kernel takes at a time, at least.
 * @return whether there is room.
 */
static bool limit_to_room(ferry__link *link, size_t piece, size_t *length)
{
    if (link->guard != FERRY__GUARD_ROOM || may_wait(link))
        return true;
    if (link->is_framed) { /* the kernel keeps bytes that are not counted here, and come first */
        link->guard = FERRY__GUARD_FLAG;
        return true;
    }
    uint32_t memory[SK_MEMINFO_VARS];
    socklen_t size = sizeof memory;
    if (getsockopt(link->fd, SOL_SOCKET, SO_MEMINFO, memory, &size) < 0) {
        link->guard = FERRY__GUARD_FLAG;
        return true;
    }
    uint32_t used = memory[link->is_tcp ? SK_MEMINFO_WMEM_QUEUED : SK_MEMINFO_WMEM_ALLOC];
    int64_t free = (int64_t)memory[SK_MEMINFO_SNDBUF] - used;
    size_t room = link->is_tcp ? tcp_room(link->fd, free, memory[SK_MEMINFO_SNDBUF], piece)
                               : unix_room(free, piece);
    /* TCP's is full but for a rest, which would leave in ever smaller calls. */
    bool is_rest =
        link->is_tcp && !link->is_holding_back && room < *length && room < FERRY__PIECE_BYTES;
    if ((room == 0 || is_rest) && !is_ready(link->fd))
        return false;
    if (room == 0)
        room = 1; /* the call will tell the error that it is ready with */
    if (room < *length)
        *length = ferry__link_trim(link, room);
    return true;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/*
 * The kernel tells only once why a connection has ended: then it is a broken pipe. An errno behind
 * bytes that were sent is kept, since what has moved is told first. From then on it is every
 * call's.
 */
static void keep_error(ferry__link *link, int error)
{
    bool may_be_told_once = error != EAGAIN && error != EPIPE;
    if (may_be_told_once && ferry__link_is_gone(link))
        link->death_kept = (uint8_t)error;
}

static ssize_t send_message(ferry__link *link, const struct iovec pieces[], int count, bool more)
{
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    ssize_t sent = link->calls->sendmsg(link->calls, link->fd, &message, flags | MSG_DONTWAIT);
    if (sent >= 0 || errno != EAGAIN || !may_wait(link))
        return sent;
    size_t most = ferry__patience_most(link->patience);
    if (ferry__bytes_of(pieces, count) > most)
        most = ferry__link_trim(link, most);
    return ferry__patience_send(link->patience, link->calls, pieces, count, most, flags);
}

static ssize_t write_once(ferry__link *link, const struct iovec pieces[], int count, bool more)
{
    if (link->is_socket)
        return send_message(link, pieces, count, more);
    if (link->guard != FERRY__GUARD_CALL)
        return link->calls->writev(link->calls, link->fd, pieces, count);
    ssize_t written = link->calls->pwritev2(link->calls, link->fd, pieces, count, -1, RWF_NOWAIT);
    if (written >= 0 || errno != EOPNOTSUPP)
        return written;
    link->guard = FERRY__GUARD_FLAG; /* Linux before 6.4 */
    errno = EINTR;                   /* once more */
    return -1;
}

static ssize_t write_pieces(ferry__link *link, const struct iovec pieces[], int count, bool more)
{
    if (link->death_kept != 0)
        return -link->death_kept;
    if (!enter_call(link))
        return -ECANCELED;
    ssize_t written;
    do {
        int flags = link->is_socket ? -1 : borrow_flag(link);
        written = write_once(link, pieces, count, more);
        give_flag_back(link, flags);
    } while (written < 0 && errno == EINTR);
    int error = errno;
    leave_call(link);
    link->is_holding_back = more && link->is_tcp;
    return written >= 0 ? written : -error;
}

/* Into a pipe splice(2) does the same, and can be told not to wait. */
static ssize_t sendfile_once(const ferry__link *link, int source_fd, off_t *position, size_t length)
{
    if (link->guard == FERRY__GUARD_CALL)
        return link->calls->splice(link->calls, source_fd, position, link->fd, NULL, length,
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    return link->calls->sendfile(link->calls, link->fd, source_fd, position, length);
}

/*
 * A file of which much is left goes packet by packet. That stops when less than the last packet is
 * left of length: the next call sends that. @return how many bytes; or a negative one, and errno.
 */
static ssize_t sendfile_pieces(ferry__link *link, int source_fd, off_t *position, size_t length)
{
    /* A script of faults counts calls. */
    bool by_packet = link->is_long && makes_packets(link) && link->calls == &ferry__calls_real;
    size_t sent = 0, piece = length;
    ssize_t count;
    do {
        if (by_packet)
            piece = ferry__segments_piece(&link->segments, link->fd, *position, length - sent);
        do
            count = sendfile_once(link, source_fd, position, piece);
        while (count < 0 && errno == EINTR);
        sent += count > 0 ? (size_t)count : 0;
    } while (count == (ssize_t)piece && length - sent >= piece && piece > 0);
    if (sent > 0 && count < 0)
        keep_error(link, errno);
    return sent > 0 ? (ssize_t)sent : count;
}

static ssize_t send_file(ferry__link *link, int source_fd, int64_t *offset, size_t length)
{
    if (link->death_kept != 0)
        return -link->death_kept;
    /* The first of its pages may be a part of one. */
    if (!limit_to_room(link, FERRY__PIECE_BYTES - (size_t)*offset % FERRY__PAGE, &length))
        return -EAGAIN;
    if (!enter_call(link))
        return -ECANCELED;
    off_t position = *offset;
    int flags = borrow_flag(link);
    ssize_t sent = sendfile_pieces(link, source_fd, &position, length);
    give_flag_back(link, flags);
    int error = errno;
    leave_call(link);
    if (sent < 0)
        return -error;
    *offset = position;
    if (sent > 0) /* the kernel takes it for granted that the rest follows: a record waits for it */
        link->is_holding_back = link->is_framed && (size_t)sent < length;
    return sent;
}

static ssize_t splice_out(ferry__link *link, int pipe_fd, size_t length)
{
    if (link->death_kept != 0)
        return -link->death_kept;
    if (!limit_to_room(link, PIPE_PIECE, &length))
        return -EAGAIN;
    if (!enter_call(link))
        return -ECANCELED;
    int flags = borrow_flag(link);
    ssize_t sent;
    do
        sent = link->calls->splice(link->calls, pipe_fd, NULL, link->fd, NULL, length,
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (sent < 0 && errno == EINTR);
    give_flag_back(link, flags);
    int error = errno;
    leave_call(link);
    if (sent > 0)
        link->is_holding_back = false;
    return sent >= 0 ? sent : -error;
}

static ssize_t receive_to_pipe(ferry__link *link, int pipe_fd, size_t length)
{
    /* Asked first: tcp(7) heeds O_NONBLOCK only, and not SPLICE_F_NONBLOCK. */
    struct pollfd readable = {.fd = link->fd, .events = POLLIN};
    if (link->calls->poll(link->calls, &readable, 1, 0) <= 0)
        return -EAGAIN;
    if (!enter_call(link))
        return -ECANCELED;
    ssize_t count;
    do
        count = link->calls->splice(link->calls, link->fd, NULL, pipe_fd, NULL, length,
                                    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (count < 0 && errno == EINTR);
    int error = errno;
    leave_call(link);
    return count >= 0 ? count : -error;
}

static void push(ferry__link *link)
{
    if (link->fd < 0)
        return;
    link->is_holding_back = false;
    /* Setting TCP_NODELAY sends at once what MSG_MORE held back; then it is put back as it was. */
    int original = get_option(link->fd, IPPROTO_TCP, TCP_NODELAY);
    if (set_no_delay(link->fd, 1) == 0 && original == 0)
        (void)set_no_delay(link->fd, 0);
}

static ssize_t receive_with(ferry__link *link, void *data, size_t size, int flags, int *ret_flags)
{
    ssize_t count;
    do
        count =
            link->calls->recv(link->calls, link->fd, data, size, MSG_DONTWAIT | flags, ret_flags);
    while (count < 0 && errno == EINTR);
    return count >= 0 ? count : -errno;
}

/*
 * TCP gives less than was asked for if that is all. A unix socket also does so behind fds, or
 * before bytes of another sender, where it passes credentials: then it says MSG_CTRUNC, as there is
 * no room for them. Urgent bytes that stop it are told by EPOLLPRI, unless the program takes them.
 */
static ssize_t receive(ferry__link *link, void *data, size_t size)
{
    bool is_unix = link->outlet == FERRY__OUTLET_UNIX;
    int flags = 0;
    ssize_t count = receive_with(link, data, size, 0, is_unix ? &flags : NULL);
    bool is_all = count > 0 && (size_t)count < size && (flags & MSG_CTRUNC) == 0;
    link->is_dry = is_all && ferry__link_is_stream_socket(link);
    return count;
}

static ssize_t peek(ferry__link *link)
{
    char first;
    return receive_with(link, &first, 1, MSG_PEEK, NULL);
}

ssize_t ferry__link_discard_input(ferry__link *link, size_t length)
{
    char scrap[16 * 1024];
    return ferry__link_receive(link, scrap, length < sizeof scrap ? length : sizeof scrap);
}

static int share(ferry__link *link)
{
    return ferry__file_duplicate(link->fd, link->calls);
}

static int shut_down(ferry__link *link)
{
    if (!link->is_socket)
        return -ENOTSOCK;
    return shutdown(link->fd, SHUT_WR) == 0 ? 0 : -errno;
}

static int64_t unsent(const ferry__link *link)
{
    return ferry__outlet_unsent(link->fd, link->outlet);
}

static int64_t unacked(const ferry__link *link)
{
    return ferry__outlet_unacked(link->fd, link->outlet);
}

const ferry__link_type ferry__link_plain = {
    .write = write_pieces,
    .sendfile = send_file,
    .splice = splice_out,
    .push = push,
    .receive = receive,
    .peek = peek,
    .receive_to_pipe = receive_to_pipe,
    .share = share,
    .shut_down = shut_down,
    .unsent = unsent,
    .unacked = unacked,
    .may_be_left = true,
};

/* ---- closing --------------------------------------------------------------------------------- */

/* How its SO_LINGER is now. */
static struct linger linger_of(const ferry__link *link)
{
    /* What another may have set is set anew, whatever it is. */
    struct linger now = {.l_onoff = link->may_linger, .l_linger = link->may_linger};
    socklen_t size = sizeof now;
    if (link->is_adopted)
        (void)getsockopt(link->fd, SOL_SOCKET, SO_LINGER, &now, &size);
    return now;
}

/* Closes the fd, SO_LINGER being so for that moment. @return as close(2). */
static int close_lingering(const ferry__link *link, struct linger wanted)
{
    const struct linger before = linger_of(link);
    if (before.l_onoff == wanted.l_onoff && (!wanted.l_onoff || before.l_linger == 0))
        return ferry__close(link->fd);
    int mark = link->is_adopted ? ferry__survivor_mark(link->fd) : -1;
    (void)setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &wanted, sizeof wanted);
    int result = ferry__close(link->fd);
    int error = errno;
    ferry__survivor_set_linger(mark, &before);
    errno = error;
    return result;
}

ssize_t ferry__link_send_last(ferry__link *link, const void *data, size_t size)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t sent =
        link->calls->sendmsg(link->calls, link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent >= 0 ? sent : -errno;
}

/* What others that share the fd, or whoever gets it, find as it was. */
static void put_back(ferry__link *link)
{
    put_options_back(link);
    if (link->patience != NULL)
        ferry__patience_leave(link->patience);
}

int ferry__link_leave(ferry__link *link)
{
    int fd = link->fd;
    wait_for_visitors(link);
    put_back(link);
    link->patience = NULL; /* its fd is about to be somebody else's */
    link->fd = -1;
    return fd;
}

int ferry__link_close(ferry__link *link, ferry__ending ending)
{
    wait_for_visitors(link);
    if (link->type->close != NULL)
        link->type->close(link, ending);
    /* What the kernel keeps it hands on in close(2), as far as there is room, FIN behind it. */
    if (link->is_socket && ending == FERRY__LET_GO && !link->is_adopted && !link->has_no_edge)
        (void)shutdown(link->fd, SHUT_WR);
    if (link->is_adopted)
        put_back(link);
    link->patience = NULL; /* its fd is about to be somebody else's */
    int result = link->is_tcp
                     ? close_lingering(link, (struct linger){.l_onoff = ending == FERRY__RESET})
                     : ferry__close(link->fd);
    link->fd = -1;
    link->owes = false;
    return result == 0 || errno == EINTR ? 0 : -errno;
}
