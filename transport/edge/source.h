/* SPDX-License-Identifier: MIT */
/*
 * A source: where the bytes of one part come from, if they are not in memory. It lives from the
 * submit (take) over the moment its request starts (open) to its end (close). Between open and
 * close the owner moves its bytes into the stream's link.
 *
 * A table of functions says what kind it is. To add one: a file with its table, a line in
 * transport/stream/making.c that names the kind of part it is made of, and its fields here. A kind
 * must have all functions that are not in brackets. Its move may be ferry__source_copy, which moves
 * what fill gives.
 */
#ifndef FERRY_TRANSPORT_EDGE_SOURCE_H
#define FERRY_TRANSPORT_EDGE_SOURCE_H

#include "core/calls.h"
#include "transport/edge/bytes.h"
#include "transport/edge/moved.h"
#include "transport/edge/link.h"

#include <ferry/part.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct ferry__source ferry__source;

/* What a source needs of its request. */
typedef struct ferry__source_needs {
    size_t store_bytes; /* memory, to keep something in */
    int64_t length;     /* how many bytes it is to be; 0: that is found out later */
} ferry__source_needs;

/* A kind of source: constant, one for each. */
typedef struct ferry__source_type {
    /* Any thread, at submit, before anything is taken. Checks what is asked for. @return 0, or an
     * errno of ferry_stream_send. */
    int (*plan)(const ferry_part *wanted, ferry__source_needs *ret_needs);

    /* Any thread, at submit, if bytes of sources are counted. How many bytes it is to be; 0: that
     * cannot be told now. It may make system calls. */
    uint64_t (*estimate)(const ferry_part *wanted);

    /*
     * Any thread, at submit, once it is let in. Fills it in, every field, taking all it holds: fds
     * that it has not are -1.
     * @param store memory in the request, as planned; moves on.
     * @return 0, or an errno of ferry_stream_send, with nothing taken.
     */
    int (*take)(ferry__source *source, const ferry_part *wanted, unsigned char **store,
                ferry__calls *calls);

    /* A later step of the same submit has failed: undoes take. The caller keeps what it gave. */
    void (*give_back)(ferry__source *source);

    /* The rest: the owner only. Those whose comment is in brackets may be NULL. */

    /*
     * Its request starts. Opens and checks. @param ret_length gets how many bytes are planned; 0
     * for an open-ended source.
     * @return 0, or an errno to settle with; ret_phase then gets the phase.
     */
    int (*open)(ferry__source *source, ferry__calls *calls, uint64_t *ret_length,
                ferry_phase *ret_phase);

    /* [Undoes that, if it was done: to be opened again.] */
    void (*undo_open)(ferry__source *source);

    /*
     * Moves some of its bytes into the link; ferry__source_copy will do. @param wanted how many the
     * part still wants; SIZE_MAX: all there are. @param chunk the most to move at once.
     */
    ferry__move (*move)(ferry__source *source, ferry__link *link, size_t wanted, size_t chunk);

    /*
     * [Reads its next bytes into memory, and does not move on: only if all size of them are there
     * at once. @return whether they are.]
     */
    bool (*peek)(ferry__source *source, void *memory, size_t size, ferry__calls *calls);

    /* Gives up to size bytes in its buffer. @return how many; 0: it has ended; -EAGAIN: it is dry;
     * another negative errno. */
    ssize_t (*fill)(ferry__source *source, size_t size, ferry__calls *calls);

    /* [Says what it means that fill gave 0. @return 0: its end; -EAGAIN: it may get more; or the
     * errno to fail with.] */
    int (*look_at_end)(ferry__source *source, ferry__calls *calls);

    /* [All of it was sent. @return 0, or an errno if it was to be stable and was not.] */
    int (*check_stable)(const ferry__source *source, ferry__calls *calls);

    /* [Its request settles; no source of that is closed yet. Puts the fd's position where it
     * belongs. @param sent how many of its bytes left.] */
    void (*settle_position)(ferry__source *source, uint64_t sent);

    /* Its request settles, opened or not. Closes and releases all it holds. */
    void (*close)(ferry__source *source);

    const char *step; /* what its owner does while it moves: a static string, for dumps */
    bool calls_back;  /* its owner may call the program because of it */
} ferry__source_type;

/* A range of a file, a pipe, a socket: source_file.c. */
extern const ferry__source_type ferry__source_file;

/* What a function of the program's makes: source_generator.c. */
extern const ferry__source_type ferry__source_generator;

/* What a source that is dry waits for. */
typedef enum ferry__dry {
    FERRY__DRY_UNTIL_READABLE, /* its fd, which epoll(7) takes: no regular file, no memfd */
    FERRY__DRY_UNTIL_LATER,    /* nothing tells when it has more: it is looked at again */
    FERRY__DRY_UNTIL_RESUMED   /* the program says so: ferry_stream_wake_generator */
} ferry__dry;

/* How a file's bytes get into the link. */
typedef enum ferry__way {
    FERRY__BY_SENDFILE,
    FERRY__BY_SPLICE, /* it is a pipe */
    FERRY__BY_PIPE, /* it is a socket: spliced into a pipe of ours, and from there; but little at a
                         time is received and written */
    FERRY__BY_COPY  /* through the buffer */
} ferry__way;

/* What a source has taken out of its fd and not sent when its request settles, for others to read;
 * and a count of all that it takes out. */
typedef struct ferry__leftover {
    _Atomic uint64_t *taken; /* set beforehand, as is_tcp */
    bool is_tcp;             /* the fd is a plain TCP socket */
    ferry__bytes bytes;
    int error; /* why bytes behind these are lost; 0: none are */
} ferry__leftover;

struct ferry__source {
    const ferry__source_type *type;

    /* What was asked for. */
    const char
        *path; /* what it is called in dumps; a file's, in the request's own memory; or NULL */
    int64_t asked_length;
    unsigned flags; /* a ferry_file's */

    /* A file's. */
    int dirfd; /* ferry's own, or FERRY_CWD */
    int fd; /* what DRY_UNTIL_READABLE watches; -1 until opened, for a path; -1 for a generator */
    int64_t asked_offset;
    ferry_shared_file *shared;  /* a reference, or NULL */
    ferry_resume_token resumed; /* the token that was given */
    bool is_resumed;            /* one was given */
    int mode;                   /* of the fd that was given: its F_GETFL */

    /* A generator's. */
    ferry_generator *generate;
    ferry_release *release; /* or NULL */
    void *arg;

    /* The owner's, once opened. */
    bool is_open_ended; /* read until it ends: its size is not known */
    ferry__dry dry;
    unsigned char *buffer; /* copying: bytes read and not yet sent; NULL until needed */
    size_t buffer_begin;
    size_t buffer_end;
    ferry__leftover *leftover; /* set at submit: where to put what is left over; NULL: nowhere */
    int64_t patience_ns;       /* DRY_UNTIL_LATER: how long the last wait before a look was */

    /* The owner's, once opened: a file's. */
    bool is_seekable;   /* read at offset; else at its fd's position */
    bool has_identity;  /* it is a regular file: identity and modified_ns say which */
    bool is_unpeekable; /* it was not all in memory: not to be looked for again */
    bool is_direct;     /* its fd is open with O_DIRECT, which takes whole blocks only */
    ferry__way way;
    int64_t offset;              /* of the next byte to read */
    int64_t reserved_from;       /* the fd's position was moved from here; -1: it was not */
    uint64_t reserved_bytes;     /* how far it was moved */
    ferry_resume_token identity; /* as it was opened; offset: of its first byte to send */
    int64_t modified_ns;         /* st_mtime, as it was opened */
    int pipe[2];                 /* BY_PIPE: read and write end; -1 until needed */
    size_t piped;                /* BY_PIPE: bytes in it */
    bool is_pipe_large;          /* BY_PIPE: it was full once, and asked to grow */
    bool is_much;                /* BY_PIPE: what came last was no little */
    bool is_drained; /* BY_PIPE: what came just now was less than there was room for, which TCP says
                        of all that it has */
};

enum {
    /*
     * With what TLS adds to it, it goes in one packet of 64 KiB, the largest that loopback has and
     * that TCP hands to a network card. What does not fit is a packet of its own: each costs. Nor
     * is it more than a SEQPACKET message, as sendfile(2) cuts them.
     */
    FERRY__BUFFER_BYTES = 60 * 1024,
    FERRY__BLOCK_BYTES = 4096 /* a whole one for O_DIRECT: the buffer has one more */
};

/* The owner only, all of these. */

/* Undoes open, if it was opened: it can be opened again. */
void ferry__source_undo_open(ferry__source *source);

/* Moves bytes into the link by way of the buffer. Parameters as a type's move. */
ferry__move ferry__source_copy(ferry__source *source, ferry__link *link, size_t wanted,
                               size_t chunk);

/* Calls its peek. */
static inline bool ferry__source_peek(ferry__source *source, void *memory, size_t size,
                                      ferry__calls *calls)
{
    return source->type->peek != NULL && source->type->peek(source, memory, size, calls);
}

/* So many bytes that were peeked at have left. */
static inline void ferry__source_pass(ferry__source *source, uint64_t bytes)
{
    source->offset += (int64_t)bytes;
}

/* Whether opening it takes no fd, and moves no fd's position. */
static inline bool ferry__source_is_at_hand(const ferry__source *source)
{
    return source->path == NULL && source->asked_offset != FERRY_CURRENT;
}

/* What a move comes to if the source gave no byte. */
ferry__move ferry__source_at_end(ferry__source *source, ferry__calls *calls);

/* So many bytes have come out of its fd. */
static inline void ferry__source_note_taken(const ferry__source *source, size_t count)
{
    if (source->leftover != NULL)
        atomic_fetch_add_explicit(source->leftover->taken, count, memory_order_relaxed);
}

/* Called when all of it was sent. @return 0; -ESTALE: it was to be stable, and was not. */
static inline int ferry__source_check_stable(const ferry__source *source, ferry__calls *calls)
{
    return source->type->check_stable != NULL ? source->type->check_stable(source, calls) : 0;
}

/* Bytes of an open-ended source that were read and not sent: planned, as far as can be known. */
uint64_t ferry__source_unsent(const ferry__source *source);

/* Called when its request settles; no source of that is closed yet. Puts the fd's position where it
 * belongs, and what is left over where that was asked for. @param sent how many bytes left. */
void ferry__source_settle(ferry__source *source, uint64_t sent, ferry__calls *calls);

/* Called when its request settles, opened or not. If that never started: on any thread. */
void ferry__source_close(ferry__source *source);

/* What a pipe of ours has room for, and what ferry__pipe_grow asks for: the most that is granted
 * without privileges. */
enum { FERRY__PIPE_BYTES = 64 * 1024, FERRY__LARGE_PIPE_BYTES = 1 << 20 };

/* Makes it so large, for fewer calls; where that is not granted it stays as it is. */
void ferry__pipe_grow(int pipe_fd);

/* Appends what is in a pipe, so much, to bytes. @return 0, or why the rest of it is lost. */
int ferry__pipe_empty_into(ferry__bytes *bytes, int pipe_fd, size_t piped, ferry__calls *calls);

/* ---- a file by itself, without a part: shared_file.c ---- */

/* Any thread. Checks it, as plan does. @return 0, -EINVAL, -EOVERFLOW. */
int ferry__source_check_file(const ferry_file *file);

/* Any thread. Takes it, as take does. @param path its path, which must stay. */
int ferry__source_take_file(ferry__source *source, const ferry_file *file, const char *path,
                            ferry__calls *calls);

/*
 * Any thread. Checks and takes a file that is to be shared as a whole.
 * @return 0, or an errno of ferry_shared_file_open, with nothing taken.
 */
int ferry__source_take_whole(ferry__source *source, const ferry_file *file, const char *path,
                             ferry__calls *calls);

/*
 * Opens it and makes a shared file of it. Afterwards the source is to be closed, or given back.
 * @return 0; -EAGAIN: somebody has a lease on it, so try again; or another errno.
 */
int ferry__source_share(ferry__source *source, ferry__calls *calls, ferry_shared_file **ret_shared);

#endif
