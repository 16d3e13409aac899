/* SPDX-License-Identifier: MIT */
#include "core/calls.h"

#include "core/libc.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

static ssize_t real_sendmsg(ferry__calls *calls, int fd, const struct msghdr *message, int flags)
{
    (void)calls;
    const struct iovec *piece = message->msg_iov;
    if (message->msg_iovlen == 1 && message->msg_control == NULL &&
        message->msg_name == NULL) /* it costs less */
        return send(fd, piece->iov_base, piece->iov_len, flags);
    return sendmsg(fd, message, flags);
}

static ssize_t real_writev(ferry__calls *calls, int fd, const struct iovec pieces[], int count)
{
    (void)calls;
    return writev(fd, pieces, count);
}

static ssize_t real_sendfile(ferry__calls *calls, int sink_fd, int source_fd, off_t *offset,
                             size_t length)
{
    (void)calls;
    return sendfile(sink_fd, source_fd, offset, length);
}

static ssize_t real_splice(ferry__calls *calls, int source_fd, off_t *source_offset, int sink_fd,
                           off_t *sink_offset, size_t length, unsigned flags)
{
    (void)calls;
    return splice(source_fd, source_offset, sink_fd, sink_offset, length, flags);
}

static ssize_t real_preadv2(ferry__calls *calls, int fd, const struct iovec pieces[], int count,
                            off_t offset, int flags)
{
    (void)calls;
    return ferry__preadv2(fd, pieces, count, offset, flags);
}

static ssize_t real_pwritev2(ferry__calls *calls, int fd, const struct iovec pieces[], int count,
                             off_t offset, int flags)
{
    (void)calls;
    return ferry__pwritev2(fd, pieces, count, offset, flags);
}

static ssize_t real_recv(ferry__calls *calls, int fd, void *buffer, size_t size, int flags,
                         int *ret_flags)
{
    (void)calls;
    if (ret_flags == NULL)
        return recv(fd, buffer, size, flags);
    struct iovec piece = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    ssize_t count = recvmsg(fd, &message, flags);
    if (count >= 0)
        *ret_flags = message.msg_flags;
    return count;
}

static int real_open(ferry__calls *calls, int dirfd, const char *path, int flags, mode_t mode,
                     uint64_t resolve)
{
    (void)calls;
    if (resolve == 0)
        return openat(dirfd, path, flags, mode);
    struct open_how how = {.flags = (unsigned)flags, .mode = mode, .resolve = resolve};
    return (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how); /* glibc has no wrapper */
}

static int real_fstat(ferry__calls *calls, int fd, struct stat *ret_status)
{
    (void)calls;
    return fstat(fd, ret_status);
}

static int real_duplicate(ferry__calls *calls, int fd)
{
    (void)calls;
    return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int real_pipe(ferry__calls *calls, int ret_fds[2])
{
    (void)calls;
    return pipe2(ret_fds, O_CLOEXEC | O_NONBLOCK);
}

static int real_accept(ferry__calls *calls, int fd, struct sockaddr *ret_peer, socklen_t *size)
{
    (void)calls;
    return accept4(fd, ret_peer, size, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static int real_connect(ferry__calls *calls, int fd, const struct sockaddr *peer, socklen_t size)
{
    (void)calls;
    return connect(fd, peer, size);
}

static int real_poll(ferry__calls *calls, struct pollfd fds[], nfds_t count, int timeout_ms)
{
    (void)calls;
    return poll(fds, count, timeout_ms);
}

static int real_epoll_create(ferry__calls *calls)
{
    (void)calls;
    return epoll_create1(EPOLL_CLOEXEC);
}

static int real_epoll_ctl(ferry__calls *calls, int epoll_fd, int operation, int fd,
                          struct epoll_event *event)
{
    (void)calls;
    return epoll_ctl(epoll_fd, operation, fd, event);
}

static int real_epoll_wait(ferry__calls *calls, int epoll_fd, struct epoll_event events[], int most,
                           int timeout_ms)
{
    (void)calls;
    return epoll_wait(epoll_fd, events, most, timeout_ms);
}

static int real_start_thread(ferry__calls *calls, pthread_t *ret_thread,
                             const pthread_attr_t *attributes, void *(*run)(void *), void *arg)
{
    (void)calls;
    return pthread_create(ret_thread, attributes, run, arg);
}

ferry__calls ferry__calls_real = {
    .sendmsg = real_sendmsg,
    .writev = real_writev,
    .sendfile = real_sendfile,
    .splice = real_splice,
    .preadv2 = real_preadv2,
    .pwritev2 = real_pwritev2,
    .recv = real_recv,
    .open = real_open,
    .fstat = real_fstat,
    .duplicate = real_duplicate,
    .pipe = real_pipe,
    .accept = real_accept,
    .connect = real_connect,
    .poll = real_poll,
    .epoll_create = real_epoll_create,
    .epoll_ctl = real_epoll_ctl,
    .epoll_wait = real_epoll_wait,
    .start_thread = real_start_thread,
};
