/* SPDX-License-Identifier: MIT */
/*
 * A source: the file range of one part, from submit (take) over the moment its request starts
 * (open) to its end (close). Between open and close the owner moves its bytes (transport/move.h).
 *
 * FERRY_CURRENT: open reserves the range by moving the fd's position to its end, so that the next
 * part that reads the same fd finds its own; settle_position moves it back to what was really sent, where
 * that is less. (More, where the end was not known beforehand.)
 */
#ifndef FERRY_TRANSPORT_SOURCE_H
#define FERRY_TRANSPORT_SOURCE_H

#include "core/calls.h"

#include <ferry/file.h>
#include <ferry/result.h>

typedef struct ferry__source {
    /* What was asked for. */
    const char *path; /* in the request's own memory; NULL: fd */
    int dirfd;        /* ferry's own, or FERRY_CWD */
    int fd;           /* -1 until opened, for a path */
    unsigned flags;
    int64_t asked_offset;
    int64_t asked_length;

    /* The owner's, once opened. */
    bool is_seekable;        /* read at offset; else from where its fd stands, with read(2) */
    bool is_open_ended;      /* read until it ends: its size is not known */
    bool is_copied;          /* sendfile refused it: read and write */
    int64_t offset;          /* of the next byte to read */
    int64_t reserved_from;   /* the fd's position was moved from here; -1: it was not */
    uint64_t reserved_bytes; /* and by this much */
    unsigned char *buffer;   /* copying: bytes read and not yet sent; NULL until needed */
    size_t buffer_begin;
    size_t buffer_end;
} ferry__source;

/*
 * At submit. Checks what was asked and takes the fds. @param path its path's copy, in the request.
 * @return 0, or the errnos of ferry_stream_sendfile, with nothing taken.
 */
int ferry__source_take(ferry__source *source, const ferry_file *file, const char *path,
                       ferry__calls *calls);

/* After a later failure of the same submit: takes it back, leaving a given fd to the caller. */
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

/* Bytes of an open-ended source that were read and not sent: planned, as far as can be known. */
uint64_t ferry__source_unsent(const ferry__source *source);

/* When its request settles, before any source of it is closed: moves a position that was reserved
 * to what was sent. @param sent how many of its bytes left. */
void ferry__source_settle_position(ferry__source *source, uint64_t sent);

/* When its request settles, opened or not. */
void ferry__source_close(ferry__source *source);

#endif
