/* SPDX-License-Identifier: MIT */
/*
 * Files to transfer, or to receive into: which one, from where, how much of it.
 *
 * Make one with ferry_file_at or ferry_file_fd, which fill in the defaults (from the current
 * position, to the end), then set what differs:
 *
 *     ferry_file file = ferry_file_at("/srv/data.bin");
 *     file.offset = 4096;
 *     file.length = 100;
 */
#ifndef FERRY_FILE_H
#define FERRY_FILE_H

#include <ferry/fault.h>
#include <ferry/promise.h>
#include <ferry/service.h>

FERRY_BEGIN

/* dirfd: the working directory. The same as AT_FDCWD, which strict C does not declare. */
#define FERRY_CWD (-100)

/*
 * offset: start at the fd's current position, and advance it by what was sent. All who use the same
 * open file share that position, ferry's duplicates included. To send one fd more than once, or to
 * several streams, set offset = 0.
 */
#define FERRY_CURRENT (INT64_C(-1))

/* length: up to the end of the file, as it is when the file is opened (see ferry_file). */
#define FERRY_TO_END (INT64_C(-1))

/*
 * flags: who closes fd. Without either of these two flags ferry takes a duplicate at submit: close
 * yours at will. ferry keeps the duplicate until the request settles. So as many fds are open as
 * requests of files are queued; limit_requests of the stream and its service bounds them. To have
 * many requests share one fd use ferry_file_shared.
 *
 * Mind POSIX record locks (fcntl(2), F_SETLK; lockf(3)): a process loses all locks that it has on a
 * file as soon as it closes any fd of that file. So they are lost when ferry closes its duplicate,
 * the fd that it was given, or the same file that it opened by its path. Open file description
 * locks (F_OFD_SETLK) and flock(2) are not touched by that. With FERRY_FD_BORROW ferry closes
 * nothing.
 */
/* ferry closes the fd, once, when the request settles; not if the submit fails. */
#define FERRY_FD_GIVE 1u
/* The fd stays yours: keep it open until the request settles. */
#define FERRY_FD_BORROW 2u

/*
 * flags: path must not lead outside of dirfd, by "..", by a symbolic link or otherwise (openat2(2),
 * RESOLVE_BENEATH). If it does, the request fails with -EXDEV in phase open.
 */
#define FERRY_FILE_BENEATH 4u

/*
 * flags: the file may still be growing. At its end ferry waits for more, and looks some ten times a
 * second. With FERRY_TO_END it waits until the request is cancelled or its time is up, otherwise
 * until length bytes were there. If the file has become shorter than what was sent, the request
 * fails with -ENODATA.
 */
#define FERRY_FILE_FOLLOW 8u

/*
 * flags: if neither sendfile(2) nor splice(2) can move the bytes, fail with -EOPNOTSUPP, in phase
 * open or source, rather than copy them through a buffer. Small files are not copied either.
 */
#define FERRY_FILE_ZERO_COPY 16u

/*
 * flags: once the range has been sent, look whether the file is what it was when it was opened: its
 * size, its time of modification, its time of change. If not, the request fails with -ESTALE in
 * phase source: its bytes have left, but may be of two versions. A change within the file system's
 * clock tick (some milliseconds) of the opening can go unnoticed. For regular files only, and not
 * with FERRY_FILE_FOLLOW.
 */
#define FERRY_FILE_STABLE 32u

/*
 * flags of a path to receive into, with the meanings that open(2) gives them. CREATE: make the file
 * if there is none (O_CREAT, with mode 0666 less the umask). EXCLUSIVE, only with CREATE: fail with
 * -EEXIST if there is one (O_EXCL). TRUNCATE: empty it first (O_TRUNC).
 */
#define FERRY_FILE_CREATE    64u
#define FERRY_FILE_EXCLUSIVE 128u
#define FERRY_FILE_TRUNCATE  256u

/*
 * Where a failed transfer of a file can be taken up again: which file it was, and from where on it
 * was not sent. These are plain values. Keep them as long as you like, also beyond the process.
 */
typedef struct ferry_resume_token {
    uint64_t device;      /* st_dev */
    uint64_t inode;       /* st_ino */
    uint64_t size;        /* bytes, when it was opened */
    int64_t changed_ns;   /* st_ctime */
    int64_t offset;       /* of the first byte that was not sent */
    uint64_t reserved[2]; /* 0 */
} ferry_resume_token;

/* A file that is opened once and sent by many requests, also at the same time. */
typedef struct ferry_shared_file ferry_shared_file;

/*
 * A range of a file. The file is given by path, by fd, or by shared: exactly one of them, otherwise
 * a submit answers -EINVAL. Begin with one of the functions below, not with zeros: fd 0 is standard
 * input, and length 0 means no bytes.
 *
 * A path is copied at submit. The stream's owner opens it when the request starts; or already while
 * what is queued directly before it leaves, so that both may leave in one segment. If that early
 * opening fails, it is tried again when the request starts. The path is relative to dirfd (which is
 * duplicated at submit) or, with FERRY_CWD, to the working directory at the time of the opening.
 *
 * length 0 means zero bytes: the file is still opened, and its errors are reported.
 *
 * If another process has a lease on the file (fcntl(2), F_SETLEASE), the request waits until it is
 * given back, as open(2) does. A cancel, or timeout_ms, ends that wait. An fd that is open with
 * O_DIRECT may be sent from any byte on: what sendfile(2) refuses of it is copied.
 *
 * If the size is known (a regular file whose size is not 0), a range that ends beyond it fails with
 * -ENODATA in phase source, before its first byte. If it is not known (a pipe, a socket, a
 * character device, most files of /proc), FERRY_TO_END reads until the source ends. A fifo that
 * nobody writes to holds up its stream until the request is called off or the stream is aborted.
 */
typedef struct ferry_file {
    const char *path;          /* or NULL */
    int dirfd;                 /* what path is relative to; or FERRY_CWD */
    int fd;                    /* or a negative number */
    unsigned flags;            /* FERRY_FD_..., FERRY_FILE_... */
    int64_t offset;            /* bytes from the file's start (leaves an fd's position alone), or
                                  FERRY_CURRENT */
    int64_t length;            /* bytes, or FERRY_TO_END */
    ferry_shared_file *shared; /* or NULL. The request takes a reference of its own */
    const ferry_resume_token *resume; /* where to go on: begin at its offset, while offset is
                                         FERRY_CURRENT. If the file is another one, or has changed,
                                         the request fails with -ESTALE in phase open. NULL: at
                                         offset. Borrowed until it was handed to a submit */
    uint64_t reserved[2];             /* 0 */
} ferry_file;

/* The whole of the file that a path names. Borrows path until it was handed to a submit. */
FERRY_API ferry_file ferry_file_at(const char *path);

/* An open file, from its current position to its end. */
FERRY_API ferry_file ferry_file_fd(int fd);

/* A shared file, from its beginning to its end. */
FERRY_API ferry_file ferry_file_shared(ferry_shared_file *shared);

/*
 * Opens a file to be shared. Requests that send it (ferry_file_shared) need no system call to open
 * it, to look at it or to close it. Its size is taken here, once. A request that goes beyond that
 * size fails with -ENODATA, and what the file has grown since is not sent.
 *
 * Threads: any. Blocks for as long as open(2) does. Borrows: file, during this call; its fd, as its
 * flags say (with FERRY_FD_BORROW until the last reference is gone). Gives: a reference.
 * @param file by path or fd, and whole: offset 0 or FERRY_CURRENT, length FERRY_TO_END. flags:
 *        FERRY_FD_GIVE, FERRY_FD_BORROW, FERRY_FILE_BENEATH.
 * @return 0;
 *         -EINVAL: file is NULL or not as said, it is no regular file, or ret_shared is NULL.
 *         -EISDIR: it is a directory.
 *         -ENAMETOOLONG: its path has more than 4095 bytes.
 *         -ENOMEM.
 *         -EAGAIN: another process has a lease on it, and this is an owner's thread or a callback,
 *         which may not wait for that.
 *         Else: what open(2) said.
 */
FERRY_API int ferry_shared_file_open(const ferry_file *file, ferry_shared_file **ret_shared);

typedef struct ferry_open_options {
    ferry_faults *faults; /* what is to go wrong (<ferry/fault.h>): it takes a reference. NULL:
                             nothing */
    uint64_t reserved[4]; /* 0 */
} ferry_open_options;

/*
 * Opens a file to be shared on one of a service's threads: ferry_shared_file_open for a thread that
 * must not block, an event loop's. The promise's value is the shared file:
 *
 *     const ferry_shared_file *shared = ferry_promise_get_value(promise); // NULL: it has failed
 *
 * That is valid as long as the promise, and as what is made of it. To keep it longer, take a
 * reference with ferry_shared_file_ref. The file is opened where a stream's files are. With
 * dedicated placement that delays nobody. With shared placement open(2) delays the streams of one
 * owner, as the opening of a path in a request does. A lease on the file delays nobody.
 *
 * Threads: any, also ferry's own. Never blocks; but it duplicates an fd, or dirfd, here.
 * Borrows: file, its path and options, during this call; its fd, as its flags say (with
 * FERRY_FD_BORROW until the last reference is gone). Gives: a reference to the promise.
 * Settles: on that thread. When the service is stopped or destroyed, with -ECANCELED.
 * Cancel: it settles soon; but an open(2) that blocks comes to its end first.
 * @param file by path or fd, and whole: offset 0 or FERRY_CURRENT, length FERRY_TO_END. flags:
 *        FERRY_FD_GIVE, FERRY_FD_BORROW, FERRY_FILE_BENEATH.
 * @param options NULL: all defaults.
 * @return 0;
 *         -EINVAL: service, file or ret_promise is NULL, or file is not as said.
 *         -E2BIG: file or options has a field that this library does not know.
 *         -ENAMETOOLONG: its path has more than 4095 bytes.
 *         -ENOMEM.
 *         -EBADF, -EMFILE: its fd, or dirfd, could not be duplicated.
 *         -ESHUTDOWN: the service is stopped, or being destroyed.
 *         -ECHILD: the service was made before this process was forked.
 * Outcome: 0; -EINVAL: it is no regular file; -EISDIR: it is a directory; -ECANCELED; -ENOMEM;
 *         -EAGAIN: no thread could be started; else what open(2) said. All in phase open.
 * Example: tests/transport/send/opening.c
 */
FERRY_API int ferry_shared_file_open_on(ferry_service *service, const ferry_file *file,
                                        const ferry_open_options *options,
                                        ferry_promise **ret_promise);

/*
 * Gives the file's size in bytes, when it was opened. Threads: any. @return the size; 0 for NULL.
 */
FERRY_API uint64_t ferry_shared_file_get_size(const ferry_shared_file *shared);

/* Takes one more reference. Threads: any that holds one. @return shared; NULL for NULL. */
FERRY_API ferry_shared_file *ferry_shared_file_ref(ferry_shared_file *shared);

/* Gives one reference back. With the last one the file is closed. Threads: any. @return NULL. */
FERRY_API ferry_shared_file *ferry_shared_file_unref(ferry_shared_file *shared);

FERRY_END

#endif
