/* SPDX-License-Identifier: MIT */
/*
 * Admission: what is let into a stream's queue, and how those wait who are not.
 *
 * Three things are counted of what is to be sent, per stream and, where a service has limits, per
 * service: requests, bytes of memory, and bytes of sources as far as they are known. A stream's
 * requests and memory are one word (transport/stream.h), so that a plain submit is one
 * compare-and-swap. Reads are counted apart, and have a bound of their own.
 *
 * A submit is let in before it copies, allocates or duplicates anything: who waits for room, or is
 * refused, holds nothing. What fails after that gives its room back.
 *
 * Who finds no room waits on a room: the stream's, the service's or the intake's (for reads),
 * whichever is full; a thread on its futex word, a promise in the service's list. Whoever gives room back, or sets a flag that
 * refuses, looks whether somebody waits.
 *
 *   waits                                       gives
 *   R0 waiters + 1                              N0 count given back, or flag set
 *   R1 look once more whether there is room     N1 waiters there? news + 1, wake; settle promises
 *   R2 sleep, unless there were news
 *
 * R0 before R1 and N0 before N1 are full barriers: room is seen by the one or the waiter by the other.
 */
#ifndef FERRY_TRANSPORT_ADMISSION_H
#define FERRY_TRANSPORT_ADMISSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ferry_service;
struct ferry_stream;

/* Where waiting is done. */
typedef struct ferry__room {
    atomic_uint waiters;  /* threads that wait here */
    atomic_uint news;     /* changes when there may be room: their futex word */
    atomic_uint promises; /* promises of room that wait, in the service's list */
} ferry__room;

/* What is counted beside a stream's admission word. */
typedef struct ferry__counts {
    _Atomic uint64_t requests;
    _Atomic uint64_t memory_bytes;
    _Atomic uint64_t source_bytes;
} ferry__counts;

/* What a request takes. */
typedef struct ferry__cost {
    uint64_t memory_bytes;
    uint64_t source_bytes;
} ferry__cost;

/* What bounds the queue for a request. */
typedef enum ferry__limit {
    FERRY__BY_OPTIONS, /* data: the stream's options, and its service's */
    FERRY__BY_COUNT,   /* markers and the like, which are wanted most when the queue is full */
    FERRY__UNLIMITED   /* close, abort and such: once a stream each */
} ferry__limit;

/*
 * Any thread. Counts a request in, unless the stream has one of the flags in refused_by, and sets
 * more flags with it. @return 0, -ESHUTDOWN, -EAGAIN, -EOVERFLOW.
 */
int ferry__admit(struct ferry_stream *stream, ferry__cost cost, uint64_t refused_by, uint64_t set,
                 ferry__limit limited);

/* Likewise for data, waiting for room until the deadline: -ETIMEDOUT instead of -EAGAIN. */
int ferry__admit_in_time(struct ferry_stream *stream, ferry__cost cost, uint64_t refused_by,
                         int64_t deadline);

/* Any thread. Counts a read in, of a stream that has an intake. @return 0, -ESHUTDOWN, -EAGAIN. */
int ferry__admit_read(struct ferry_stream *stream);

/* Likewise, waiting for room until the deadline: -ETIMEDOUT instead of -EAGAIN. */
int ferry__admit_read_in_time(struct ferry_stream *stream, int64_t deadline);

/* Any thread. Counts a message in. Whether it may be posted: the stream has not ended. */
bool ferry__admit_message(struct ferry_stream *stream);

/* Any thread. Sets flags that refuse, for good. */
void ferry__admission_refuse(struct ferry_stream *stream, uint64_t flags);

/* The owner. Gives back what was admitted. @param word what to take from the admission word. */
void ferry__admission_give_back(struct ferry_stream *stream, uint64_t word, uint64_t source_bytes);

/* Likewise. @param visits what to take from that word. */
void ferry__admission_end_visits(struct ferry_stream *stream, uint32_t visits);

/* Any thread: what was admitted comes to nothing, and is not posted. */
void ferry__admission_undo(struct ferry_stream *stream, ferry__cost cost);
void ferry__admission_undo_read(struct ferry_stream *stream);

/* The owner. A source has turned out to be of another length: counts the difference. @return what it is
 * counted for now: less than that where the counts would go beyond their end. */
uint64_t ferry__admission_recount(struct ferry_stream *stream, uint64_t before, uint64_t now);

/* Whether submits have to know how many bytes a file has, because they count. */
bool ferry__admission_counts_files(const struct ferry_stream *stream);

#endif
