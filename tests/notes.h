/* SPDX-License-Identifier: MIT */
/* A reader that notes what it is called with, and the words for what tests of reading do all
 * day. */
#ifndef FERRY_TESTS_NOTES_H
#define FERRY_TESTS_NOTES_H

#include "tests/support.h"

typedef struct notes {
    /* Set by the test, before it is a reader's. */
    size_t least;   /* takes nothing below so many bytes, and then so many only; 0: all there is */
    char delimiter; /* takes what is up to it, nothing before it has come; 0: it has none */

    /* The reader's thread's, until is_over is seen. */
    unsigned char taken[256]; /* the first of what was taken */
    size_t longest;           /* what was offered at once */
    bool saw_end;             /* at_end was told */
    int error;                /* of on_end */
    pthread_t thread;         /* of the last call */

    /* Any thread. */
    atomic_size_t count; /* bytes taken */
    atomic_size_t calls; /* of on_read */
    atomic_int ends;     /* calls of on_end */
    atomic_bool is_over;
} notes;

ferry_read_callback notes_read;
ferry_end_callback notes_end;

/* A reader of them, for more to be set. */
ferry_reader notes_reader(notes *self, bool on_owner);
void notes_set(ferry_stream *stream, notes *self, bool on_owner);

/* With more said of the reader; what that leaves open is the notes'. */
void notes_set_with(ferry_stream *stream, notes *self, ferry_reader wanted);

/* Run this thread's inbox until so much was taken, or the end was told. */
void notes_await(notes *self, size_t count);
void notes_await_end(notes *self);

/* Runs this thread's inbox until ferry's threads sleep and nothing waits in it. */
void run_until_quiet(void);

void send_text(int fd, const char *text);

ferry_promise *submit_read(ferry_stream *stream, ferry_read read);

/* Sends to a peer that does not read, until its socket is full for now. @return how many bytes. */
size_t fill_up(int fd);

#endif
