/* SPDX-License-Identifier: MIT */
#include "transport/edge/sink.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/handover.h"
#include "core/wake.h"
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

/* sink->gate */
enum { OUTSIDE, IN_CALL, CUTTING, CUTTER_LEFT };

enum {
    PAGE = 4096,            /* or larger */
    FILE_PIECE = 16 * PAGE, /* what sendfile(2) hands on at a time */
    PIPE_PIECE = PAGE,      /* splice(2): as many buffers, which may be small */
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

int ferry__socket_sort_of(int fd, ferry__socket_sort *ret_sort)
{
    int type = get_option(fd, SOL_SOCKET, SO_TYPE);
    if (type != SOCK_STREAM && type != SOCK_SEQPACKET)
        return -ESOCKTNOSUPPORT;
    bool is_tcp = get_option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP;
    *ret_sort = (ferry__socket_sort){
        .is_message = type == SOCK_SEQPACKET,
        .is_tcp = is_tcp,
        .has_no_delay = is_tcp && get_option(fd, IPPROTO_TCP, TCP_NODELAY) > 0,
        .unsent_bytes = is_tcp ? get_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT) : 0,
        .outlet = ferry__outlet_kind_of(fd),
    };
    return 0;
}

static void set_sort(ferry__sink *sink, ferry__socket_sort sort)
{
    sink->is_socket = true;
    sink->is_message = sort.is_message;
    sink->is_tcp = sort.is_tcp;
    sink->has_no_delay = sort.has_no_delay;
    sink->original_unsent_bytes = sort.unsent_bytes;
    sink->outlet = sort.outlet;
}

static int init_socket(ferry__sink *sink)
{
    ferry__socket_sort sort;
    int error = ferry__socket_sort_of(sink->fd, &sort);
    if (error != 0)
        return error;
    if (get_option(sink->fd, SOL_SOCKET, SO_ACCEPTCONN) == 1)
        return -EINVAL;
    set_sort(sink, sort);
    bool is_measured = sort.outlet == FERRY__OUTLET_TCP || sort.outlet == FERRY__OUTLET_UNIX;
    sink->guard = is_measured ? FERRY__GUARD_ROOM : FERRY__GUARD_FLAG;
    return 0;
}

void ferry__sink_init_known(ferry__sink *sink, int fd, ferry__socket_sort sort, ferry__calls *calls)
{
    *sink = (ferry__sink){.fd = fd, .shared_fd = -1, .calls = calls};
    set_sort(sink, sort);
}

/* Gets a description of ferry's own. Whether it could. */
static bool own_description(ferry__sink *sink, int flags)
{
    unsigned number;
    if (ioctl(sink->fd, TIOCGPTN, &number) == 0)
        return false; /* a pty's master: to open it anew would make another pty */
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", sink->fd);
    flags &= O_ACCMODE | O_APPEND | O_DIRECT;
    int own = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (own < 0)
        return false; /* there is no /proc, or it is another user's */
    sink->shared_fd = sink->fd;
    sink->fd = own;
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

int ferry__sink_init(ferry__sink *sink, int fd, ferry__calls *calls)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &status) < 0)
        return -EBADF;
    if (S_ISDIR(status.st_mode))
        return -EISDIR;
    if ((flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH) != 0)
        return -EBADF;
    *sink = (ferry__sink){.fd = fd, .is_adopted = true, .shared_fd = -1, .calls = calls};
    if (S_ISSOCK(status.st_mode))
        return init_socket(sink);
    sink->outlet = ferry__outlet_kind_of(fd);
    sink->is_message = S_ISFIFO(status.st_mode) && (flags & O_DIRECT) != 0; /* "packet mode" */
    bool may_be_opened = S_ISFIFO(status.st_mode) || (S_ISCHR(status.st_mode) && isatty(fd));
    if (!may_be_opened || !own_description(sink, flags))
        sink->guard = guard_of(&status);
    return 0;
}

void ferry__sink_set_no_delay(ferry__sink *sink)
{
    if (sink->is_tcp && !sink->has_no_delay)
        sink->has_no_delay = sink->sets_no_delay = set_no_delay(sink->fd, 1) == 0;
}

int ferry__unsent_limit(uint32_t wanted)
{
    /* A packet over loopback has 64 KiB. Whatever of one sendfile(2) has left over the kernel keeps
     * back, and if it then takes no more, nothing leaves for 200 ms. */
    enum { LEAST = 128 * 1024 };
    return wanted > LEAST ? (int)wanted : LEAST;
}

void ferry__sink_limit_unsent(ferry__sink *sink, uint32_t bytes)
{
    int limit = ferry__unsent_limit(bytes);
    if (sink->is_tcp && bytes != 0 && sink->original_unsent_bytes != limit)
        sink->limits_unsent = set_unsent_bytes(sink->fd, limit) == 0;
}

void ferry__sink_commit(ferry__sink *sink)
{
    if (sink->shared_fd >= 0)
        (void)ferry__close(sink->shared_fd);
}

/* Before it is let go of: its options, for those who share it. */
static void put_options_back(const ferry__sink *sink)
{
    if (sink->sets_no_delay)
        (void)set_no_delay(sink->fd, 0);
    if (sink->limits_unsent)
        (void)set_unsent_bytes(sink->fd, sink->original_unsent_bytes);
}

void ferry__sink_revert(ferry__sink *sink)
{
    put_options_back(sink);
    if (sink->shared_fd >= 0)
        (void)ferry__close(sink->fd);
}

/* ---- the gate -------------------------------------------------------------------------------- */

static void leave_call(ferry__sink *sink)
{
    unsigned expected = IN_CALL;
    if (!sink->is_socket || atomic_compare_exchange_strong(&sink->gate, &expected, OUTSIDE))
        return;
    while (atomic_load(&sink->gate) == CUTTING) /* L0: for as long as one shutdown(2) takes */
        ferry__futex_wait(&sink->gate, CUTTING, FERRY__NEVER);
    ferry__taken_over(&sink->gate);
    atomic_store(&sink->gate, OUTSIDE);
}

/* Whether the call may be made; then leave_call must follow it. */
static bool enter_call(ferry__sink *sink)
{
    /* A0: enter, then look at cut. Pairs with C0: one of the two sees the other. */
    if (sink->is_socket)
        (void)atomic_exchange(&sink->gate, IN_CALL);
    if (!atomic_load(&sink->cut))
        return true;
    leave_call(sink);
    return false;
}

void ferry__sink_cut(ferry__sink *sink)
{
    (void)atomic_exchange(&sink->cut, true); /* C0: set cut, then look at the gate. Pairs with A0 */
    unsigned expected = IN_CALL;
    if (!atomic_compare_exchange_strong(&sink->gate, &expected, CUTTING))
        return;
    (void)shutdown(sink->fd, SHUT_RDWR);
    /* C1: leave, then wake. Pairs with L0: futex(2) puts the owner to sleep only where the gate is
     * still CUTTING, and then this wakes it. The caller keeps the memory. */
    ferry__handed_over(&sink->gate);
    atomic_store(&sink->gate, CUTTER_LEFT);
    ferry__futex_wake_all(&sink->gate);
}

/* ---- not to wait ----------------------------------------------------------------------------- */

/* Sets O_NONBLOCK for one call, where nothing else keeps it from waiting. @return the flags to put
 * back after it; -1: none. */
static int borrow_flag(const ferry__sink *sink)
{
    if (sink->guard != FERRY__GUARD_FLAG)
        return -1;
    int flags = fcntl(sink->fd, F_GETFL);
    bool is_set = flags < 0 || (flags & O_NONBLOCK) != 0;
    return !is_set && fcntl(sink->fd, F_SETFL, flags | O_NONBLOCK) == 0 ? flags : -1;
}

/* Leaves errno alone. */
static void give_flag_back(const ferry__sink *sink, int flags)
{
    int error = errno;
    if (flags >= 0)
        (void)fcntl(sink->fd, F_SETFL, flags);
    errno = error;
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

/* What TCP takes before it waits for what is unsent to leave. */
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

/* TCP takes pieces of a segment at least, and may split those that it has: a part is left for that. */
static size_t tcp_room(int fd, int64_t free, uint32_t total, size_t piece)
{
    int64_t usable = free - total / 16;
    if (usable <= 0)
        return 0;
    int segment = get_option(fd, IPPROTO_TCP, TCP_MAXSEG);
    if (segment > 0 && (size_t)segment < piece)
        piece = (size_t)segment;
    size_t room = (size_t)usable / (piece + PIECE_OVERHEAD) * piece;
    if (room == 0) /* one piece is begun, if at all, while there is room left */
        room = (size_t)usable < piece ? (size_t)usable : piece;
    return cut_to_unsent(fd, room);
}

/*
 * Cuts *length to what a socket has room for, so that sendfile(2) and splice(2), which heed O_NONBLOCK
 * only, cannot wait in it. @param piece what the kernel takes at a time, at least. @return whether
 * there is room.
 */
static bool limit_to_room(ferry__sink *sink, size_t piece, size_t *length)
{
    if (sink->guard != FERRY__GUARD_ROOM)
        return true;
    uint32_t memory[SK_MEMINFO_VARS];
    socklen_t size = sizeof memory;
    if (getsockopt(sink->fd, SOL_SOCKET, SO_MEMINFO, memory, &size) < 0) {
        sink->guard = FERRY__GUARD_FLAG;
        return true;
    }
    uint32_t used = memory[sink->is_tcp ? SK_MEMINFO_WMEM_QUEUED : SK_MEMINFO_WMEM_ALLOC];
    int64_t free = (int64_t)memory[SK_MEMINFO_SNDBUF] - used;
    size_t room = sink->is_tcp ? tcp_room(sink->fd, free, memory[SK_MEMINFO_SNDBUF], piece)
                               : unix_room(free, piece);
    if (room == 0 && !is_ready(sink->fd))
        return false;
    if (room == 0)
        room = 1; /* for the call to tell what it is ready for: an error */
    *length = room < *length ? room : *length;
    return true;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static ssize_t write_once(ferry__sink *sink, const struct iovec pieces[], int count, bool more)
{
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0);
    if (sink->is_socket)
        return sink->calls->sendmsg(sink->calls, sink->fd, &message, flags);
    if (sink->guard != FERRY__GUARD_CALL)
        return sink->calls->writev(sink->calls, sink->fd, pieces, count);
    ssize_t written = sink->calls->pwritev2(sink->calls, sink->fd, pieces, count, -1, RWF_NOWAIT);
    if (written >= 0 || errno != EOPNOTSUPP)
        return written;
    sink->guard = FERRY__GUARD_FLAG; /* Linux before 6.4 */
    errno = EINTR;                   /* once more */
    return -1;
}

ssize_t ferry__sink_write(ferry__sink *sink, const struct iovec pieces[], int count, bool more)
{
    if (!enter_call(sink))
        return -ECANCELED;
    ssize_t written;
    do {
        int flags = sink->is_socket ? -1 : borrow_flag(sink);
        written = write_once(sink, pieces, count, more);
        give_flag_back(sink, flags);
    } while (written < 0 && errno == EINTR);
    int error = errno;
    leave_call(sink);
    sink->is_holding_back = more && sink->is_tcp;
    return written >= 0 ? written : -error;
}

/* Into a pipe splice(2) does the same, and can be told not to wait. */
static ssize_t sendfile_once(const ferry__sink *sink, int source_fd, off_t *position, size_t length)
{
    if (sink->guard == FERRY__GUARD_CALL)
        return sink->calls->splice(sink->calls, source_fd, position, sink->fd, NULL, length,
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    return sink->calls->sendfile(sink->calls, sink->fd, source_fd, position, length);
}

ssize_t ferry__sink_sendfile(ferry__sink *sink, int source_fd, int64_t *offset, size_t length)
{
    /* The first of its pages may be a part of one. */
    if (!limit_to_room(sink, FILE_PIECE - (size_t)*offset % PAGE, &length))
        return -EAGAIN;
    if (!enter_call(sink))
        return -ECANCELED;
    off_t position = *offset;
    int flags = borrow_flag(sink);
    ssize_t sent;
    do
        sent = sendfile_once(sink, source_fd, &position, length);
    while (sent < 0 && errno == EINTR);
    give_flag_back(sink, flags);
    int error = errno;
    leave_call(sink);
    if (sent < 0)
        return -error;
    *offset = position;
    if (sent > 0)
        sink->is_holding_back = false;
    return sent;
}

ssize_t ferry__sink_splice(ferry__sink *sink, int pipe_fd, size_t length)
{
    if (!limit_to_room(sink, PIPE_PIECE, &length))
        return -EAGAIN;
    if (!enter_call(sink))
        return -ECANCELED;
    int flags = borrow_flag(sink);
    ssize_t sent;
    do
        sent = sink->calls->splice(sink->calls, pipe_fd, NULL, sink->fd, NULL, length,
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (sent < 0 && errno == EINTR);
    give_flag_back(sink, flags);
    int error = errno;
    leave_call(sink);
    if (sent > 0)
        sink->is_holding_back = false;
    return sent >= 0 ? sent : -error;
}

ssize_t ferry__sink_splice_input(ferry__sink *sink, int pipe_fd, size_t length)
{
    /* Asked first: tcp(7) heeds O_NONBLOCK only, and not SPLICE_F_NONBLOCK. */
    struct pollfd readable = {.fd = sink->fd, .events = POLLIN};
    if (sink->calls->poll(sink->calls, &readable, 1, 0) <= 0)
        return -EAGAIN;
    if (!enter_call(sink))
        return -ECANCELED;
    ssize_t count;
    do
        count = sink->calls->splice(sink->calls, sink->fd, NULL, pipe_fd, NULL, length,
                                    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (count < 0 && errno == EINTR);
    int error = errno;
    leave_call(sink);
    return count >= 0 ? count : -error;
}

void ferry__sink_push(ferry__sink *sink)
{
    if (!sink->is_holding_back || sink->fd < 0)
        return;
    sink->is_holding_back = false;
    /* Setting TCP_NODELAY sends at once what MSG_MORE held back; then it is put back as it was. */
    int original = get_option(sink->fd, IPPROTO_TCP, TCP_NODELAY);
    if (set_no_delay(sink->fd, 1) == 0 && original == 0)
        (void)set_no_delay(sink->fd, 0);
}

ssize_t ferry__sink_discard_input(ferry__sink *sink, size_t length)
{
    char scrap[16 * 1024];
    ssize_t count;
    do
        count = sink->calls->recv(sink->calls, sink->fd, scrap,
                                  length < sizeof scrap ? length : sizeof scrap, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    return count >= 0 ? count : -errno;
}

int ferry__sink_shutdown(ferry__sink *sink)
{
    return shutdown(sink->fd, SHUT_WR) == 0 ? 0 : -errno;
}

/* Closes the fd, SO_LINGER being so for that moment. @return as close(2). */
static int close_lingering(const ferry__sink *sink, struct linger wanted)
{
    struct linger before = {0};
    socklen_t size = sizeof before;
    if (sink->is_adopted)
        (void)getsockopt(sink->fd, SOL_SOCKET, SO_LINGER, &before, &size);
    bool is_so = before.l_onoff == wanted.l_onoff && (!wanted.l_onoff || before.l_linger == 0);
    if (sink->is_adopted && is_so)
        return ferry__close(sink->fd);
    int mark = sink->is_adopted ? ferry__survivor_mark(sink->fd) : -1;
    (void)setsockopt(sink->fd, SOL_SOCKET, SO_LINGER, &wanted, sizeof wanted);
    int result = ferry__close(sink->fd);
    int error = errno;
    ferry__survivor_set_linger(mark, &before);
    errno = error;
    return result;
}

int ferry__sink_close(ferry__sink *sink, ferry__ending ending)
{
    bool ends_sending =
        ending == FERRY__END_SENDING || (ending == FERRY__LET_GO && !sink->is_adopted);
    if (sink->is_socket && ends_sending)
        (void)shutdown(sink->fd, SHUT_WR);
    if (sink->is_adopted)
        put_options_back(sink);
    int result = sink->is_tcp
                     ? close_lingering(sink, (struct linger){.l_onoff = ending == FERRY__RESET})
                     : ferry__close(sink->fd);
    sink->fd = -1;
    return result == 0 || errno == EINTR ? 0 : -errno;
}
