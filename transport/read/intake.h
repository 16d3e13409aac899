/* SPDX-License-Identifier: MIT */
/*
 * Intake: the reading direction of a stream, on its owner. It takes in what the kernel has when
 * somebody wants it, gives it to the reads (transport/read/read.h) in their order, and what they
 * leave to the subscriber (transport/read/subscriber.h).
 *
 * A stream has none until somebody reads: any thread may make it. All else that any thread asks
 * (reading.c) comes by mail. One such mail is under way at most: the newest wish of each kind
 * counts. `commands` counts the wishes that may change who is to be served, reads too; `delivered`
 * counts those that have arrived. While they differ something is under way, and the subscriber is
 * not called. So it makes no difference that a wish may overtake reads.
 *
 * The kernel is asked once a turn at most, until it has nothing more. Then its next edge is waited
 * for. A short count from a TCP or unix socket says as much (is_dry of ferry__link), unless an end
 * of file or urgent data may have cut it short.
 */
#ifndef FERRY_TRANSPORT_READ_INTAKE_H
#define FERRY_TRANSPORT_READ_INTAKE_H

#include "transport/edge/bytes.h"
#include "transport/read/read.h"
#include "transport/stream/stream.h"
#include "transport/read/subscriber.h"

#include <pthread.h>

/* How much may wait to be taken, where the program has not said. */
enum { FERRY__DEFAULT_HIGH = 64 * 1024 };

/*
 * What was asked of an intake, beside reads, and has not come into force yet. Under its mutex. The
 * mail is counted in the stream's visits: the stream does not end before it has arrived.
 */
typedef struct ferry__asked {
    bool is_posted;                /* asked_mail is under way */
    bool has_reader;               /* set_reader: */
    bool has_demand;               /* after that, demand: */
    bool was_paused;               /* before the last one, or by it */
    bool has_deadline;             /* read_within: */
    ferry__subscriber *subscriber; /* a reference, or NULL: none is wanted any more */
    int64_t shots;
    int64_t deadline;
    unsigned commands;      /* so many calls of those that count as commands */
    unsigned reader_number; /* what readers was, at the last set_reader */
} ferry__asked;

struct ferry__intake {
    ferry__incoming seen; /* first */

    /* Any thread. */
    atomic_uint commands; /* posted so far */
    atomic_uint readers;  /* how many of them set a reader, or none */
    pthread_mutex_t mutex;
    ferry__asked asked; /* under mutex */
    ferry__mail asked_mail;

    /* Set when it is made. */
    ferry_stream *stream; /* whose it is */

    /* The owner's. */
    unsigned delivered;         /* commands, so far */
    unsigned readers_delivered; /* readers, so far: the number of the last */
    bool is_cut_short;          /* a short count does not say that there is nothing more */
    bool came_full;             /* the kernel gave all that was asked for: it may have more */
    bool is_drained;            /* a borrower has found that there is nothing more */
    bool has_gap;               /* bytes that had come are lost: a detach would have to give them */
    bool is_away;      /* the first read has the direction in other hands: nothing is read */
    bool is_full;      /* so much waits to be taken that nothing more is read for now */
    bool has_ended;    /* nothing more comes */
    bool is_over;      /* and the bytes that had come are not to be had either */
    int error;         /* why it has ended; 0: the peer's end of file */
    ferry_cause cause; /* why, if error is -ECANCELED */
    ferry__queue reads;
    ferry__bytes kept;      /* come and not taken, beside what is on loan */
    ferry__bytes left_over; /* come and not taken before reading ended, for a detach; then kept */
    size_t portion;         /* how much is asked for at once, for the subscriber */
    size_t declined;        /* how many of them the subscriber has seen and not taken */
    bool declined_last;     /* it was told then that nothing comes behind them */
    ferry__subscriber *subscriber; /* a reference; NULL: none */
    ferry__subscriber *borrower;   /* whose loan is out; NULL: nobody's */
    size_t lent;                   /* bytes of that */
    int64_t shots;                 /* calls that the subscriber still wants; -1: no limit */
    unsigned wishes;               /* how often it has said anew how many calls it wants */
    bool is_paused;                /* the last time it said that it wants none */
    bool is_waiting;               /* the first read waits for something else than bytes */
    bool is_put_off;               /* the fd is to be watched, unless a close comes first */
    unsigned resumptions;          /* how often a pause has come to an end */
    uint64_t offset;               /* of the next byte in what the peer sent */
    uint64_t next_sequence;
    int64_t deadline;   /* when reading ends with -ETIMEDOUT */
    ferry__timer timer; /* set for no later than that */
};

/* How reads are called off. */
extern const ferry__request_types ferry__intake_requests;

/* Any thread. The stream's intake, made if there is none; NULL: no memory for it. */
ferry__intake *ferry__intake_need(ferry_stream *stream);

/* Any thread. The stream's intake; NULL: it has none. */
static inline ferry__intake *ferry__intake_of(const ferry_stream *stream)
{
    return (ferry__intake *)atomic_load_explicit(&stream->incoming, memory_order_acquire);
}

/* The rest: the owner only. A stream that is passed need not have an intake. */

/* Its share of a turn. Whether it can go on at once. */
bool ferry__intake_take_in(ferry_stream *stream);

/* The fd has something, or has come to an end. */
void ferry__intake_ready(ferry_stream *stream, uint32_t events);

/* Whether the fd is to be watched, unless a close comes first. */
bool ferry__intake_is_put_off(const ferry_stream *stream);

/* Has it watched now, if that was put off. */
void ferry__intake_catch_up(ferry_stream *stream);

/* Shows what it waits for, at the end of a turn. */
void ferry__intake_show(ferry_stream *stream);

/* Nothing more is read: all that waits for bytes learns this error, and what is kept is dropped. */
void ferry__intake_end(ferry_stream *stream, int error);

/* Ends reading with -ECANCELED, for this cause. */
void ferry__intake_abandon(ferry_stream *stream, ferry_cause cause);

/* Nothing more is read. All that waits learns this error; what has come and was not taken stays. */
void ferry__intake_let_go(ferry_stream *stream, int error);

/* Whether all that was lent, or handed over, has come back since. */
bool ferry__intake_is_back(const ferry_stream *stream);

/* Gives what has come and was not taken. It is the caller's. @return 0; -ENODATA: some of it is
 * lost. */
int ferry__intake_take_all(ferry_stream *stream, ferry__bytes *ret_bytes);

/* Bytes that had come are lost. */
static inline void ferry__intake_note_gap(ferry__intake *intake)
{
    intake->has_gap = true;
}

/* A read has arrived. */
void ferry__intake_deliver_read(ferry__mail *mail, bool receiver_gone);

/* @param deadline FERRY__NEVER: none. */
void ferry__intake_set_deadline(ferry__intake *intake, int64_t deadline);

/* For the kinds of reads: */

/* Takes so many bytes of what is kept. */
void ferry__intake_take(ferry__intake *intake, size_t size);

/* Puts bytes that were not consumed in front of what is kept. If there is no memory for them
 * reading ends, and what is kept is dropped: nothing may be read behind a gap. */
void ferry__intake_put_back(ferry__intake *intake, const void *data, size_t size);

/* Nothing more comes from the kernel, because of this error; what is kept is still to be had. */
void ferry__intake_note_end(ferry__intake *intake, int error);

/* The first read, which was away, is over, and what it gave back is kept: goes on with the next. */
void ferry__intake_go_on(ferry__intake *intake, ferry__request *request, int error,
                         ferry_phase phase);

/*
 * How many bytes a read and small ones behind it want, as far as that is known. So much may come
 * with one call. No more: bytes that no read wants stay in the kernel.
 */
size_t ferry__intake_count_wanted(ferry__request *request);

/* Asks the kernel once, into memory behind what is kept; as a read's ask. */
ssize_t ferry__intake_keep(ferry__intake *intake, size_t size);

#endif
