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

#include <ferry/api.h>

FERRY_BEGIN

/* dirfd: the working directory. The same as AT_FDCWD, which strict C does not declare. */
#define FERRY_CWD (-100)

/*
 * offset: start at the fd's current position and advance it by what was sent. All who use the same
 * open file share that position, ferry's duplicates included: to send one fd more than once, or to
 * several streams, set offset = 0.
 */
#define FERRY_CURRENT (INT64_C(-1))

/* length: up to the end of the file, as it is when the file is opened (see below). */
#define FERRY_TO_END (INT64_C(-1))

/*
 * flags: who closes fd. Without either, ferry takes a duplicate at submit: close yours at will.
 * It has that until the request settles, so as many are open as requests of files are queued: what
 * bounds them is limit_requests of the stream and its service. Many requests of one file share one fd
 * by ferry_file_shared.
 *
 * Mind POSIX record locks (fcntl(2), F_SETLK; lockf(3)): a process loses all those that it has on a file
 * as soon as it closes any fd of that file. So ferry drops them when it closes its duplicate, the fd that
 * it was given, or the same file opened by its path. Open file description locks (F_OFD_SETLK) and
 * flock(2) are not touched by that; with FERRY_FD_BORROW ferry closes nothing.
 */
/* Ferry closes it, once, when the request settles; not if the submit fails. */
#define FERRY_FD_GIVE 1u
/* It stays yours; keep it open until the request settles. */
#define FERRY_FD_BORROW 2u

/*
 * flags: path must not lead outside dirfd, by "..", by a symbolic link or otherwise (openat2(2),
 * RESOLVE_BENEATH); if it does the request fails with -EXDEV in phase open.
 */
#define FERRY_FILE_BENEATH 4u

/*
 * flags: the file may still be growing. At its end ferry waits for more, looking some ten times a
 * second: with FERRY_TO_END until the request is cancelled or out of time, otherwise until length
 * bytes were there. A file that has become shorter than what was sent fails with -ENODATA.
 */
#define FERRY_FILE_FOLLOW 8u

/*
 * flags: fail with -EOPNOTSUPP, phase open or source, rather than copy through a buffer what
 * neither sendfile(2) nor splice(2) can move.
 */
#define FERRY_FILE_ZERO_COPY 16u

/*
 * flags: once the range has been sent, look whether the file is what it was when it was opened:
 * size, time of modification, time of change. If it is not the request fails with -ESTALE, phase
 * source: its bytes have left, but may be of two versions. Changes within the file system's clock
 * tick (some milliseconds) of the opening can go unnoticed. Regular files only, and not with
 * FERRY_FILE_FOLLOW.
 */
#define FERRY_FILE_STABLE 32u

/*
 * flags of a path to receive into, as open(2) has them: make the file if there is none (O_CREAT, mode
 * 0666 less the umask); fail with -EEXIST if there is one (O_EXCL; only with FERRY_FILE_CREATE);
 * empty it first (O_TRUNC).
 */
#define FERRY_FILE_CREATE    64u
#define FERRY_FILE_EXCLUSIVE 128u
#define FERRY_FILE_TRUNCATE  256u

/*
 * Where a failed transfer of a file can be taken up again: which file it was, and from where on it
 * was not sent. Plain values, to be kept as long as you like, also beyond the process.
 */
typedef struct ferry_resume_token {
    uint64_t device;    /* st_dev */
    uint64_t inode;     /* st_ino */
    uint64_t size;      /* bytes, when it was opened */
    int64_t changed_ns; /* st_ctime */
    int64_t offset;     /* of the first byte that was not sent */
} ferry_resume_token;

/* A file that is opened once and sent by many requests, at once if need be. */
typedef struct ferry_shared_file ferry_shared_file;

/*
 * A range of a file. Either path names it, fd is one, or shared; with more of them, or none, a
 * submit answers -EINVAL. Begin with one of the functions below, not with zeros: fd 0 is standard
 * input, and length 0 no bytes.
 *
 * A path is copied at submit and opened by the stream's owner when the request starts, or already
 * while the write directly before it leaves, so that both may leave in one segment. It is relative
 * to dirfd (duplicated at submit) or, with FERRY_CWD, to the working directory of that moment. If
 * opening fails early it is tried again when the request starts.
 *
 * length 0 means zero bytes: the file is still opened, and its errors reported.
 *
 * A file on which another process has a lease (fcntl(2), F_SETLEASE) is waited for, as by open(2); a
 * cancel, or timeout_ms, ends that. An fd that is open with O_DIRECT may be sent from any byte on:
 * what sendfile(2) refuses of it is copied.
 *
 * Where the size is known (a regular file whose size is not 0) a range that ends beyond it fails
 * with -ENODATA, phase source, before its first byte. Where it is not (a pipe, a socket, a
 * character device, most files of /proc) FERRY_TO_END reads until the source ends; a fifo that
 * nobody writes to holds up its stream until that is aborted.
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
    const ferry_resume_token *resume; /* or NULL: begin at its offset, offset being FERRY_CURRENT;
                                         refuse with -ESTALE, phase open, a file that is another or
                                         has changed. Borrowed until it was handed to a submit */
} ferry_file;

/* The whole of the file that a path names. Borrows path until it was handed to a submit. */
static inline ferry_file ferry_file_at(const char *path)
{
    ferry_file file = {path, FERRY_CWD, -1, 0, FERRY_CURRENT, FERRY_TO_END, NULL, NULL};
    return file;
}

/* An open file, from its current position to its end. */
static inline ferry_file ferry_file_fd(int fd)
{
    ferry_file file = {NULL, FERRY_CWD, fd, 0, FERRY_CURRENT, FERRY_TO_END, NULL, NULL};
    return file;
}

/* A shared file, from its beginning to its end. */
static inline ferry_file ferry_file_shared(ferry_shared_file *shared)
{
    ferry_file file = {NULL, FERRY_CWD, -1, 0, 0, FERRY_TO_END, shared, NULL};
    return file;
}

/*
 * Opens a file to be shared. Requests that send it (ferry_file_shared) need no system call to open,
 * look at or close it. Its size is taken here, once: a request that goes beyond it fails with
 * -ENODATA, and what it has grown since is not sent.
 *
 * Threads: any. Blocks for as long as open(2) does. Borrows: file, during this call; its fd
 * according to its flags (with FERRY_FD_BORROW until the last reference is gone). Gives: a
 * reference.
 * @param file by path or fd, whole: offset 0 or FERRY_CURRENT, length FERRY_TO_END. Of its flags
 *        FERRY_FD_..., FERRY_FILE_BENEATH.
 * @return 0; -EINVAL: not so, or no regular file; -EISDIR; -ENAMETOOLONG; -ENOMEM; what open(2)
 *         said; -EAGAIN: another process has a lease on it, and this is an owner's thread or a callback,
 *         which may not wait for that.
 */
FERRY_API int ferry_shared_file_open(const ferry_file *file, ferry_shared_file **ret_shared);

/* Its size in bytes, when it was opened. Threads: any. @return 0 for NULL, too. */
FERRY_API uint64_t ferry_shared_file_size(const ferry_shared_file *shared);

/* Takes one more reference. Threads: any that holds one. @return shared; NULL for NULL. */
FERRY_API ferry_shared_file *ferry_shared_file_ref(ferry_shared_file *shared);

/* Gives one reference back; with the last one it is closed. Threads: any. @return NULL. */
FERRY_API ferry_shared_file *ferry_shared_file_unref(ferry_shared_file *shared);

FERRY_END

#endif
