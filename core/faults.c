/* SPDX-License-Identifier: MIT */
#include "core/faults.h"

#include "core/handover.h"
#include "core/hooks.h"
#include "core/reserved.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    MAX_ERRNO = 4095, /* the kernel's own limit: what a system call can answer */
    POLL_FOR_ROOM = POLLOUT | POLLWRNORM | POLLWRBAND,
};
static const uint32_t EPOLL_FOR_ROOM = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;

static ferry__calls *const real = &ferry__calls_real;

/* ---- deciding -------------------------------------------------------------------------------- */

/* How a call goes on. */
typedef enum course {
    AS_ASKED,
    SHORTENED, /* with one byte, if it is about more */
    AT_END,    /* not at all: it answers 0 */
    FAILED     /* not at all: it answers -1; errno is set */
} course;

static bool takes_room(ferry_fault_call kind)
{
    return kind == FERRY_CALL_WRITE || kind == FERRY_CALL_SENDFILE || kind == FERRY_CALL_SPLICE;
}

static bool has_source(ferry_fault_call kind)
{
    return kind == FERRY_CALL_READ || kind == FERRY_CALL_SENDFILE || kind == FERRY_CALL_SPLICE;
}

/* A stall has a meaning for every kind: counted among FERRY_CALL_ANY, any call can be its first. */
static bool has_meaning(ferry_fault_effect effect, ferry_fault_call kind)
{
    switch (effect) {
    case FERRY_FAULT_SHORT:
        return takes_room(kind) || has_source(kind);
    case FERRY_FAULT_EOF:
        return has_source(kind);
    default:
        return true;
    }
}

static bool covers(const ferry_fault *fault, uint64_t number)
{
    uint64_t times = fault->times != 0 ? fault->times : 1;
    return number >= fault->first && number - fault->first < times;
}

/* Draws the call's numbers. @return the fault that is meant for it, or NULL. */
static const ferry_fault *draw(ferry_faults *faults, ferry_fault_call kind)
{
    uint64_t among_kind = atomic_fetch_add(&faults->made[kind], 1) + 1;
    uint64_t among_all = atomic_fetch_add(&faults->made[FERRY_CALL_ANY], 1) + 1;
    for (size_t i = 0; i < faults->count; i++) {
        const ferry_fault *fault = &faults->script[i];
        if (fault->call != FERRY_CALL_ANY && fault->call != kind)
            continue;
        uint64_t number = fault->call == FERRY_CALL_ANY ? among_all : among_kind;
        if (covers(fault, number) && has_meaning(fault->effect, kind))
            return fault;
    }
    return NULL;
}

static void count_injected(ferry_faults *faults)
{
    (void)atomic_fetch_add(&faults->injected, 1);
}

static course fail(ferry_faults *faults, int error)
{
    count_injected(faults);
    errno = error;
    return FAILED;
}

/* Whether nobody can make room in it any more. Then a write is let through, and says so. After an
 * EAGAIN its caller would wait for an fd that tells of its end at once, again and again. */
static bool has_hung_up(int fd)
{
    struct pollfd end = {.fd = fd};
    return real->poll(real, &end, 1, 0) == 1;
}

/* @param sink_fd the fd that a call takes room from; -1: the call takes no room. */
static course decide(ferry_faults *faults, ferry_fault_call kind, int sink_fd)
{
    const ferry_fault *fault = draw(faults, kind);
    if (fault != NULL && fault->effect == FERRY_FAULT_STALL)
        atomic_store(&faults->is_stalled, true);
    if (takes_room(kind) && atomic_load(&faults->is_stalled) && !has_hung_up(sink_fd))
        return fail(faults, EAGAIN);
    if (fault == NULL)
        return AS_ASKED;
    switch (fault->effect) {
    case FERRY_FAULT_ERROR:
        return fail(faults, fault->error);
    case FERRY_FAULT_SHORT:
        return SHORTENED;
    case FERRY_FAULT_EOF:
        count_injected(faults);
        return AT_END;
    default:
        return AS_ASKED;
    }
}

static bool is_answered(course how)
{
    return how == AT_END || how == FAILED;
}

static ssize_t answer(course how)
{
    return how == AT_END ? 0 : -1;
}

/* For calls that either are made or fail. */
static bool is_refused(ferry__calls *calls, ferry_fault_call kind)
{
    return decide((ferry_faults *)calls, kind, -1) == FAILED;
}

/* ---- shortening ------------------------------------------------------------------------------ */

static size_t shorten(ferry__calls *calls, course how, size_t length)
{
    if (how != SHORTENED || length <= 1)
        return length;
    count_injected((ferry_faults *)calls);
    return 1;
}

/* Whether *ret_byte, their first byte, is to stand for the pieces. */
static bool shorten_pieces(ferry__calls *calls, course how, const struct iovec pieces[],
                           size_t count, struct iovec *ret_byte)
{
    size_t length = 0;
    void *first = NULL;
    for (size_t i = 0; i < count && length <= 1; i++) {
        if (length == 0)
            first = pieces[i].iov_base;
        length += pieces[i].iov_len;
    }
    if (shorten(calls, how, length) == length)
        return false;
    *ret_byte = (struct iovec){.iov_base = first, .iov_len = 1};
    return true;
}

/* ---- data ------------------------------------------------------------------------------------ */

static ssize_t faulty_sendmsg(ferry__calls *calls, int fd, const struct msghdr *message, int flags)
{
    course how = decide((ferry_faults *)calls, FERRY_CALL_WRITE, fd);
    if (is_answered(how))
        return answer(how);
    struct iovec byte;
    struct msghdr sent = *message;
    if (shorten_pieces(calls, how, message->msg_iov, (size_t)message->msg_iovlen, &byte)) {
        sent.msg_iov = &byte;
        sent.msg_iovlen = 1;
    }
    return real->sendmsg(real, fd, &sent, flags);
}

static ssize_t faulty_writev(ferry__calls *calls, int fd, const struct iovec pieces[], int count)
{
    course how = decide((ferry_faults *)calls, FERRY_CALL_WRITE, fd);
    if (is_answered(how))
        return answer(how);
    struct iovec byte;
    if (shorten_pieces(calls, how, pieces, (size_t)count, &byte))
        return real->writev(real, fd, &byte, 1);
    return real->writev(real, fd, pieces, count);
}

static ssize_t faulty_sendfile(ferry__calls *calls, int sink_fd, int source_fd, off_t *offset,
                               size_t length)
{
    course how = decide((ferry_faults *)calls, FERRY_CALL_SENDFILE, sink_fd);
    if (is_answered(how))
        return answer(how);
    return real->sendfile(real, sink_fd, source_fd, offset, shorten(calls, how, length));
}

static ssize_t faulty_splice(ferry__calls *calls, int source_fd, off_t *source_offset, int sink_fd,
                             off_t *sink_offset, size_t length, unsigned flags)
{
    course how = decide((ferry_faults *)calls, FERRY_CALL_SPLICE, sink_fd);
    if (is_answered(how))
        return answer(how);
    return real->splice(real, source_fd, source_offset, sink_fd, sink_offset,
                        shorten(calls, how, length), flags);
}

static ssize_t faulty_preadv2(ferry__calls *calls, int fd, const struct iovec pieces[], int count,
                              off_t offset, int flags)
{
    course how = decide((ferry_faults *)calls, FERRY_CALL_READ, -1);
    if (is_answered(how))
        return answer(how);
    struct iovec byte;
    if (shorten_pieces(calls, how, pieces, (size_t)count, &byte))
        return real->preadv2(real, fd, &byte, 1, offset, flags);
    return real->preadv2(real, fd, pieces, count, offset, flags);
}

static ssize_t faulty_pwritev2(ferry__calls *calls, int fd, const struct iovec pieces[], int count,
                               off_t offset, int flags)
{
    course how = decide((ferry_faults *)calls, FERRY_CALL_WRITE, fd);
    if (is_answered(how))
        return answer(how);
    struct iovec byte;
    if (shorten_pieces(calls, how, pieces, (size_t)count, &byte))
        return real->pwritev2(real, fd, &byte, 1, offset, flags);
    return real->pwritev2(real, fd, pieces, count, offset, flags);
}

static ssize_t faulty_recv(ferry__calls *calls, int fd, void *buffer, size_t size, int flags,
                           int *ret_flags)
{
    course how = decide((ferry_faults *)calls, FERRY_CALL_READ, -1);
    if (is_answered(how))
        return answer(how);
    return real->recv(real, fd, buffer, shorten(calls, how, size), flags, ret_flags);
}

/* ---- opening --------------------------------------------------------------------------------- */

static int faulty_open(ferry__calls *calls, int dirfd, const char *path, int flags, mode_t mode,
                       uint64_t resolve)
{
    if (is_refused(calls, FERRY_CALL_OPEN))
        return -1;
    return real->open(real, dirfd, path, flags, mode, resolve);
}

static int faulty_fstat(ferry__calls *calls, int fd, struct stat *ret_status)
{
    if (is_refused(calls, FERRY_CALL_OPEN))
        return -1;
    return real->fstat(real, fd, ret_status);
}

static int faulty_duplicate(ferry__calls *calls, int fd)
{
    if (is_refused(calls, FERRY_CALL_OPEN))
        return -1;
    return real->duplicate(real, fd);
}

static int faulty_pipe(ferry__calls *calls, int ret_fds[2])
{
    if (is_refused(calls, FERRY_CALL_OPEN))
        return -1;
    return real->pipe(real, ret_fds);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static int faulty_accept(ferry__calls *calls, int fd, struct sockaddr *ret_peer, socklen_t *size)
{
    if (is_refused(calls, FERRY_CALL_ACCEPT))
        return -1;
    return real->accept(real, fd, ret_peer, size);
}

static int faulty_connect(ferry__calls *calls, int fd, const struct sockaddr *peer, socklen_t size)
{
    if (is_refused(calls, FERRY_CALL_CONNECT))
        return -1;
    return real->connect(real, fd, peer, size);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static bool is_stalled(ferry__calls *calls)
{
    return atomic_load(&((ferry_faults *)calls)->is_stalled);
}

static bool any_waits_for_room(const struct pollfd fds[], nfds_t count)
{
    for (nfds_t i = 0; i < count; i++) {
        if ((fds[i].events & POLL_FOR_ROOM) != 0)
            return true;
    }
    return false;
}

/* Waits for everything but room. Writes no events to the array, which is the caller's. */
static int poll_but_for_room(struct pollfd fds[], nfds_t count, int timeout_ms)
{
    struct pollfd *others = ferry__allocate(count * sizeof *others);
    if (others == NULL) {
        errno = ENOMEM;
        return -1;
    }
    for (nfds_t i = 0; i < count; i++) {
        others[i] = fds[i];
        others[i].events &= (short)~POLL_FOR_ROOM;
    }
    int ready = real->poll(real, others, count, timeout_ms);
    int error = errno;
    for (nfds_t i = 0; i < count && ready >= 0; i++)
        fds[i].revents = others[i].revents;
    ferry__release(others);
    errno = error;
    return ready;
}

static int faulty_poll(ferry__calls *calls, struct pollfd fds[], nfds_t count, int timeout_ms)
{
    if (is_refused(calls, FERRY_CALL_POLL))
        return -1;
    if (!is_stalled(calls) || !any_waits_for_room(fds, count))
        return real->poll(real, fds, count, timeout_ms);
    count_injected((ferry_faults *)calls);
    return poll_but_for_room(fds, count, timeout_ms);
}

static int faulty_epoll_create(ferry__calls *calls)
{
    if (is_refused(calls, FERRY_CALL_POLL))
        return -1;
    return real->epoll_create(real);
}

static int faulty_epoll_ctl(ferry__calls *calls, int epoll_fd, int operation, int fd,
                            struct epoll_event *event)
{
    if (is_refused(calls, FERRY_CALL_POLL))
        return -1;
    if (operation == EPOLL_CTL_DEL || !is_stalled(calls) || (event->events & EPOLL_FOR_ROOM) == 0)
        return real->epoll_ctl(real, epoll_fd, operation, fd, event);
    count_injected((ferry_faults *)calls);
    struct epoll_event others = *event;
    others.events &= ~EPOLL_FOR_ROOM;
    return real->epoll_ctl(real, epoll_fd, operation, fd, &others);
}

/* Not numbered: how often an owner wakes up depends on the machine's mood. */
static int faulty_epoll_wait(ferry__calls *calls, int epoll_fd, struct epoll_event events[],
                             int most, int timeout_ms)
{
    (void)calls;
    return real->epoll_wait(real, epoll_fd, events, most, timeout_ms);
}

/* ---- threads --------------------------------------------------------------------------------- */

static int faulty_start_thread(ferry__calls *calls, pthread_t *ret_thread,
                               const pthread_attr_t *attributes, void *(*run)(void *), void *arg)
{
    if (is_refused(calls, FERRY_CALL_THREAD))
        return errno;
    return real->start_thread(real, ret_thread, attributes, run, arg);
}

static const ferry__calls FAULTY = {
    .sendmsg = faulty_sendmsg,
    .writev = faulty_writev,
    .sendfile = faulty_sendfile,
    .splice = faulty_splice,
    .preadv2 = faulty_preadv2,
    .pwritev2 = faulty_pwritev2,
    .recv = faulty_recv,
    .open = faulty_open,
    .fstat = faulty_fstat,
    .duplicate = faulty_duplicate,
    .pipe = faulty_pipe,
    .accept = faulty_accept,
    .connect = faulty_connect,
    .poll = faulty_poll,
    .epoll_create = faulty_epoll_create,
    .epoll_ctl = faulty_epoll_ctl,
    .epoll_wait = faulty_epoll_wait,
    .start_thread = faulty_start_thread,
};

/* ---- the object ------------------------------------------------------------------------------ */

static bool is_errno(int error)
{
    return error != 0 && error >= -MAX_ERRNO && error <= MAX_ERRNO;
}

static bool is_valid(const ferry_fault *fault)
{
    if ((unsigned)fault->call >= FERRY__CALL_KINDS || fault->first == 0)
        return false;
    switch (fault->effect) {
    case FERRY_FAULT_ERROR:
        return is_errno(fault->error);
    case FERRY_FAULT_SHORT:
    case FERRY_FAULT_EOF:
        return true;
    case FERRY_FAULT_STALL:
        return fault->call == FERRY_CALL_ANY || takes_room(fault->call);
    default:
        return false;
    }
}

static int check(const ferry_fault script[], size_t count)
{
    if (script == NULL && count != 0)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (!is_valid(&script[i]))
            return -EINVAL;
        if (FERRY__IS_NEWER(&script[i]))
            return -E2BIG;
    }
    return 0;
}

static void copy_script(ferry_faults *faults, const ferry_fault script[], size_t count)
{
    faults->count = count;
    for (size_t i = 0; i < count; i++) {
        faults->script[i] = script[i];
        if (script[i].effect == FERRY_FAULT_ERROR && script[i].error < 0)
            faults->script[i].error = -script[i].error;
    }
}

int ferry_faults_create(const ferry_fault script[], size_t count, ferry_faults **ret_faults)
{
    int error = ret_faults != NULL ? check(script, count) : -EINVAL;
    if (error != 0)
        return error;
    ferry_faults *faults = ferry__allocate_zeroed(sizeof *faults + count * sizeof script[0]);
    if (faults == NULL)
        return -ENOMEM;
    faults->calls = FAULTY;
    atomic_init(&faults->refs, 1);
    copy_script(faults, script, count);
    *ret_faults = faults;
    return 0;
}

ferry_faults *ferry_faults_ref(ferry_faults *faults)
{
    if (faults != NULL)
        (void)atomic_fetch_add_explicit(&faults->refs, 1, memory_order_relaxed);
    return faults;
}

ferry_faults *ferry_faults_unref(ferry_faults *faults)
{
    if (faults == NULL)
        return NULL;
    unsigned before = ferry__refs_drop(&faults->refs);
    assert(before > 0 && "ferry_faults_unref: more references given back than taken");
    if (before == 1)
        ferry__release(faults);
    return NULL;
}

uint64_t ferry_faults_get_injected(const ferry_faults *faults)
{
    return faults != NULL ? atomic_load(&faults->injected) : 0;
}

uint64_t ferry_faults_get_calls(const ferry_faults *faults, ferry_fault_call call)
{
    if (faults == NULL || (unsigned)call >= FERRY__CALL_KINDS)
        return 0;
    return atomic_load(&faults->made[call]);
}
