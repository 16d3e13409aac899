/* SPDX-License-Identifier: MIT */
/*
 * A source: where the bytes of one part come from that are not in memory: a file range, a pipe, a
 * socket, a generator; from submit (take) over the moment its request starts (open) to its end
 * (close). Between open and close the owner moves its bytes (transport/send/move.h).
 *
 * FERRY_CURRENT: open reserves the range by moving the fd's position to its end, so that the next
 * part that reads the same fd finds its own; settle_position moves it back to what was really sent,
 * where that is less. (More, where the end was not known beforehand.)
 */
#ifndef FERRY_TRANSPORT_EDGE_SOURCE_H
#define FERRY_TRANSPORT_EDGE_SOURCE_H

#include "core/calls.h"
#include "transport/edge/bytes.h"

#include <ferry/part.h>
#include <ferry/result.h>
#include <stdatomic.h>
#include <stdbool.h>

/* How its bytes get into the sink. */
typedef enum ferry__way {
    FERRY__BY_SENDFILE,
    FERRY__BY_SPLICE, /* it is a pipe */
    FERRY__BY_PIPE,   /* it is a socket: spliced into a pipe of ours, and from there */
    FERRY__BY_COPY    /* through the buffer */
} ferry__way;

/* For whoever goes on reading where a source did: what it has taken out of its fd and not sent, when
 * its request settles; and a count of all that it takes out. */
typedef struct ferry__leftover {
    _Atomic uint64_t *taken; /* set beforehand */
    ferry__bytes bytes;
    int error; /* why some of it is lost, behind those; 0: nothing is */
} ferry__leftover;

typedef struct ferry__source {
    /* What was asked for. */
    const char *path; /* in the request's own memory; NULL: fd */
    int dirfd;        /* ferry's own, or FERRY_CWD */
    int fd;           /* -1 until opened, for a path; -1 for a generator */
    unsigned flags;
    int64_t asked_offset;
    int64_t asked_length;
    ferry_shared_file *shared;  /* a reference, or NULL */
    ferry_resume_token resumed; /* the token that was given, */
    bool is_resumed;            /* if one was */
    ferry_generator *generate;  /* a generator; else NULL */
    ferry_release *release;     /* a generator's */
    void *arg;                  /* likewise */

    /* The owner's, once opened. */
    bool is_seekable;   /* read at offset; else from where its fd stands */
    bool is_open_ended; /* read until it ends: its size is not known */
    bool has_identity;  /* it is a regular file: identity and modified_ns say which */
    ferry__way way;
    int64_t offset;              /* of the next byte to read */
    int64_t reserved_from;       /* the fd's position was moved from here; -1: it was not */
    uint64_t reserved_bytes;     /* and by this much */
    ferry_resume_token identity; /* as it was opened; offset: of its first byte to send */
    int64_t modified_ns;         /* st_mtime, likewise */
    int pipe[2];                 /* BY_PIPE: read and write end; -1 until needed */
    size_t piped;                /* BY_PIPE: bytes in it */
    unsigned char *buffer;       /* copying: bytes read and not yet sent; NULL until needed */
    size_t buffer_begin;
    size_t buffer_end;
    bool is_direct;            /* its fd is open with O_DIRECT, which takes whole blocks only */
    ferry__leftover *leftover; /* set at submit: where to put what is left over; NULL: nowhere */
    int64_t patience_ns;       /* following: how long the last wait before a look was */
} ferry__source;

/* At submit, before anything is taken. Checks what is asked for. @return 0, -EINVAL, -EOVERFLOW. */
int ferry__source_check(const ferry_file *file);

/*
 * At submit, once it is checked. Takes the fds. @param path its path's copy, in the request.
 * @return 0, or the errnos of ferry_stream_sendfile, with nothing taken.
 */
int ferry__source_take(ferry__source *source, const ferry_file *file, const char *path,
                       ferry__calls *calls);

/* Likewise, for a generator part. */
void ferry__source_take_generator(ferry__source *source, const ferry_part *part);

/* At submit, where files are counted. How many bytes it is to be: its length or, to its end, what that
 * would be if it were opened now; 0 where that is not known, which costs a system call, two where it
 * begins at the fd's position. */
uint64_t ferry__source_estimate(const ferry_file *file);

/* After a later failure of the same submit: takes it back, leaving what was given to the caller. */
void ferry__source_give_back(ferry__source *source);

/*
 * On the owner, as its request starts. Opens and checks. @param ret_length gets how many bytes are
 * planned; 0 for an open-ended source.
 * @return 0, or an errno to settle with; ret_phase then gets the phase.
 */
int ferry__source_open(ferry__source *source, ferry__calls *calls, uint64_t *ret_length,
                       ferry_phase *ret_phase);

/* Undoes what open did, if it did: to be opened again. */
void ferry__source_undo_open(ferry__source *source);

/*
 * Reads or generates up to size bytes into its empty buffer, of FERRY__BUFFER_BYTES. @return how
 * many; 0: it has ended; -EAGAIN: it is dry; another negative errno.
 */
enum {
    FERRY__BUFFER_BYTES = 64 * 1024
}; /* larger gains nothing; and it is one SEQPACKET message,
                                             as sendfile cuts them */
ssize_t ferry__source_fill(ferry__source *source, size_t size, ferry__calls *calls);

/* So many bytes have come out of its fd. */
static inline void ferry__source_note_taken(const ferry__source *source, size_t count)
{
    if (source->leftover != NULL)
        atomic_fetch_add_explicit(source->leftover->taken, count, memory_order_relaxed);
}

/* Whether it has nothing now, as opposed to: not any more. Never blocks. */
bool ferry__source_is_dry(const ferry__source *source, ferry__calls *calls);

/* Following: what 0 bytes read mean: 0: wait; or the errno to fail with. */
int ferry__source_check_growth(ferry__source *source, ferry__calls *calls);

/* When all of it was sent: 0, or -ESTALE where it was to be stable and was not. */
int ferry__source_check_stable(const ferry__source *source, ferry__calls *calls);

/* Bytes of an open-ended source that were read and not sent: planned, as far as can be known. */
uint64_t ferry__source_unsent(const ferry__source *source);

/* When its request settles, before any source of it is closed: moves a position that was reserved
 * to what was sent. @param sent how many of its bytes left. */
void ferry__source_settle_position(ferry__source *source, uint64_t sent);

/* Appends what is in a pipe, so much, to bytes. @return 0, or why the rest of it is lost. */
int ferry__pipe_empty_into(ferry__bytes *bytes, int pipe_fd, size_t piped, ferry__calls *calls);

/* Likewise: puts what is left over where that was asked for. */
void ferry__source_rescue(ferry__source *source, ferry__calls *calls);

/* When its request settles, opened or not. */
void ferry__source_close(ferry__source *source);

#endif
