/* SPDX-License-Identifier: MIT */
/*
 * Files to transfer: which one, from where, how much of it.
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
 * offset: start at the fd's current position and advance it by what was sent. All who use the same open
 * file share that position, ferry's duplicates included: to send one fd more than once, or to several
 * streams, set offset = 0.
 */
#define FERRY_CURRENT ((int64_t)-1)

/* length: up to the end of the file, as it is when the file is opened (see below). */
#define FERRY_TO_END ((int64_t)-1)

/* flags: who closes fd. Without either, ferry takes a duplicate at submit: close yours at will. */
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
 * A range of a file. Either path names it or fd is one; with both, or neither, a submit answers
 * -EINVAL. Begin with one of the functions below, not with zeros: fd 0 is standard input, and length 0
 * no bytes.
 *
 * A path is copied at submit and opened by the stream's owner when the request starts, or already
 * while the write directly before it leaves, so that both may leave in one segment. It is relative
 * to dirfd (duplicated at submit) or, with FERRY_CWD, to the working directory of that moment. If
 * opening fails early it is tried again when the request starts.
 *
 * length 0 means zero bytes: the file is still opened, and its errors reported.
 *
 * Where the size is known (a regular file whose size is not 0) a range that ends beyond it fails
 * with -ENODATA, phase source, before its first byte. Where it is not (a pipe, a socket, a
 * character device, most files of /proc) FERRY_TO_END reads until the source ends; a fifo that
 * nobody writes to holds up its stream until that is aborted.
 */
typedef struct ferry_file {
    const char *path; /* or NULL */
    int dirfd;        /* what path is relative to; or FERRY_CWD */
    int fd;           /* or a negative number */
    unsigned flags;   /* FERRY_FD_..., FERRY_FILE_... */
    int64_t offset;   /* bytes from the file's start (leaves an fd's position alone), or
                         FERRY_CURRENT */
    int64_t length;   /* bytes, or FERRY_TO_END */
} ferry_file;

/* The whole of the file that a path names. Borrows path until it was handed to a submit. */
static inline ferry_file ferry_file_at(const char *path)
{
    ferry_file file = {path, FERRY_CWD, -1, 0, FERRY_CURRENT, FERRY_TO_END};
    return file;
}

/* An open file, from its current position to its end. */
static inline ferry_file ferry_file_fd(int fd)
{
    ferry_file file = {NULL, FERRY_CWD, fd, 0, FERRY_CURRENT, FERRY_TO_END};
    return file;
}

FERRY_END

#endif
