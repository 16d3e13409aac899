/* SPDX-License-Identifier: MIT */
/*
 * What C libraries differ in: musl lacks some of what glibc has. All other code uses what both
 * have, and asks for neither.
 */
#ifndef FERRY_CORE_LIBC_H
#define FERRY_CORE_LIBC_H

#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008 /* <linux/fs.h>, which <sys/mount.h> does not go with */
#endif

#ifndef TEMP_FAILURE_RETRY
#define TEMP_FAILURE_RETRY(call)                                                                   \
    __extension__({                                                                                \
        long answer;                                                                               \
        do                                                                                         \
            answer = (long)(call);                                                                 \
        while (answer == -1 && errno == EINTR);                                                    \
        answer;                                                                                    \
    })
#endif

/* Of a mutex that is held for a moment only: spin before sleeping, where that can be said. */
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
#define FERRY__BRIEF_MUTEX PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
#else
#define FERRY__BRIEF_MUTEX PTHREAD_MUTEX_INITIALIZER
#endif

#ifdef __GLIBC__

typedef unsigned long ferry__ioctl_request;

static inline ssize_t ferry__preadv2(int fd, const struct iovec pieces[], int count, off_t offset,
                                     int flags)
{
    return preadv2(fd, pieces, count, offset, flags);
}

static inline ssize_t ferry__pwritev2(int fd, const struct iovec pieces[], int count, off_t offset,
                                      int flags)
{
    return pwritev2(fd, pieces, count, offset, flags);
}

/* An errno in words, which are constant and in English. */
static inline const char *ferry__error_words(int error)
{
    return strerrordesc_np(error);
}

#else

typedef int ferry__ioctl_request;

/* musl has these two since 1.2.5. The second half of an offset is for 32-bit machines. */
static inline ssize_t ferry__preadv2(int fd, const struct iovec pieces[], int count, off_t offset,
                                     int flags)
{
    return syscall(SYS_preadv2, fd, pieces, count, offset, 0L, flags);
}

static inline ssize_t ferry__pwritev2(int fd, const struct iovec pieces[], int count, off_t offset,
                                      int flags)
{
    return syscall(SYS_pwritev2, fd, pieces, count, offset, 0L, flags);
}

/* The locale C is constant there: nothing is allocated. */
static inline const char *ferry__error_words(int error)
{
    return strerror_l(error, newlocale(LC_ALL_MASK, "C", (locale_t)0));
}

#endif

#endif
