/* SPDX-License-Identifier: MIT */
/*
 * The system calls that move data, open, connect, poll, or make threads, as a table. Code that
 * needs one of them calls it through the table that it was given. ferry__calls_real goes straight
 * to the system; another table may answer otherwise (core/faults.h). So a failure that the kernel
 * shows once in a million calls can be had at the third, in the very code of the library.
 *
 * A table's functions get it as their first argument, so that it may carry state behind it. They
 * answer as the system call does: -1 and errno. Only start_thread answers a positive errno, as
 * pthread_create(3) does. None retries: the caller sees EINTR, and makes the call again.
 *
 * What only looks, sets options or closes (lseek, getsockopt, shutdown, close) is not in it: none
 * of them can leave anything half done.
 *
 * Threads: any, at once. A table must be valid for as long as anything may call through it.
 */
#ifndef FERRY_CORE_CALLS_H
#define FERRY_CORE_CALLS_H

#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef struct ferry__calls ferry__calls;

struct ferry__calls {
    /* Data. */
    ssize_t (*sendmsg)(ferry__calls *calls, int fd, const struct msghdr *message, int flags);
    ssize_t (*writev)(ferry__calls *calls, int fd, const struct iovec pieces[], int count);
    ssize_t (*sendfile)(ferry__calls *calls, int sink_fd, int source_fd, off_t *offset,
                        size_t length);
    ssize_t (*splice)(ferry__calls *calls, int source_fd, off_t *source_offset, int sink_fd,
                      off_t *sink_offset, size_t length, unsigned flags);
    /* offset -1: from the fd's position, which moves on. */
    ssize_t (*preadv2)(ferry__calls *calls, int fd, const struct iovec pieces[], int count,
                       off_t offset, int flags);
    ssize_t (*pwritev2)(ferry__calls *calls, int fd, const struct iovec pieces[], int count,
                        off_t offset, int flags); /* offset -1: from the fd's position */
    /* @param ret_flags gets recvmsg(2)'s MSG_ flags of what came; NULL: recv(2), which has none. */
    ssize_t (*recv)(ferry__calls *calls, int fd, void *buffer, size_t size, int flags,
                    int *ret_flags);

    /* Opening. */
    /*
     * openat(2); openat2(2) if resolve is not 0. @param mode the mode of a file that O_CREAT makes;
     * else 0.
     */
    int (*open)(ferry__calls *calls, int dirfd, const char *path, int flags, mode_t mode,
                uint64_t resolve);
    int (*fstat)(ferry__calls *calls, int fd, struct stat *ret_status);
    int (*duplicate)(ferry__calls *calls, int fd);    /* close-on-exec */
    int (*pipe)(ferry__calls *calls, int ret_fds[2]); /* close-on-exec and non-blocking */

    /* Connecting. */
    int (*accept)(ferry__calls *calls, int fd, struct sockaddr *ret_peer,
                  socklen_t *size); /* close-on-exec and non-blocking */
    int (*connect)(ferry__calls *calls, int fd, const struct sockaddr *peer, socklen_t size);

    /* Waiting. */
    int (*poll)(ferry__calls *calls, struct pollfd fds[], nfds_t count, int timeout_ms);
    int (*epoll_create)(ferry__calls *calls); /* close-on-exec */
    int (*epoll_ctl)(ferry__calls *calls, int epoll_fd, int operation, int fd,
                     struct epoll_event *event);
    int (*epoll_wait)(ferry__calls *calls, int epoll_fd, struct epoll_event events[], int most,
                      int timeout_ms);

    /* Threads. */
    int (*start_thread)(ferry__calls *calls, pthread_t *ret_thread,
                        const pthread_attr_t *attributes, void *(*run)(void *), void *arg);
};

/* The system itself. Never written to; not const, since another table's functions may write to
 * theirs. */
extern ferry__calls ferry__calls_real;

#endif
