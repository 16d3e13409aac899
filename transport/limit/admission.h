/* SPDX-License-Identifier: MIT */
/*
 * Admission: what is let into a stream, and who is told when there is room again.
 *
 * Three things are counted of what is to be sent: requests, bytes of memory, and bytes of sources
 * as far as they are known. They are counted for each stream and, if its service has limits, for
 * all its streams together. Two words of a stream count what was let in, one for each direction, so
 * that neither can refuse the other. What is counted is then posted to the owner, so the words also
 * cover mail that is still to come.
 *   word    what is to be sent: requests that have not settled and bytes of memory in them; and
 *           flags. Nothing gets in once it is closed, so then it only falls. A plain submit changes
 *           nothing else.
 *   visits  everything else that posts to the owner: reads that have not settled, and messages
 *           (abort, resume, what is asked of reading, a loan that comes back). Of each message one
 *           is under way at most, so that no limit ever refuses one.
 * A stream ends (E0 in closing.c) when it is closed, word counts nothing, and visits goes from
 * nothing to FERRY__ENDED in one step. The stream waits for all that has got into visits. What
 * comes later is refused, and nothing gets into word any more. So nobody will post to its owner
 * again.
 *
 * A submit is let in before it copies, allocates or duplicates anything. So a submit that waits for
 * room, or is refused, holds nothing. A submit that fails after that gives its room back.
 *
 * A submit that finds no room waits on the room that is full (room.c): the stream's, the service's,
 * or that for reads. A thread waits on the room's futex word, a promise in the service's list. A
 * thread that gives room back, or sets a flag that refuses, looks whether somebody waits. Where one
 * was woken for hardly any room, the next one is patient for a millisecond: it is woken for room
 * for some requests, and not for each that leaves. Else each file that leaves a full queue would
 * cost a futex(2) each way, and two changes of threads.
 *
 *   waits                                       gives
 *   R0 waiters + 1, or patient + 1              N0 count given back, or flag set
 *   R1 look once more whether there is room     N1 waiters there? news + 1, wake; settle promises
 *   R2 sleep, unless there were news
 *
 * R0 before R1 and N0 before N1 are full barriers: either the one side sees the room, or the other
 * side sees the waiter.
 */
#ifndef FERRY_TRANSPORT_LIMIT_ADMISSION_H
#define FERRY_TRANSPORT_LIMIT_ADMISSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* ferry__admission.word: 40 bits of bytes, 21 of requests, 2 of flags. */
#define FERRY__ONE_REQUEST   (UINT64_C(1) << 40)
#define FERRY__MEMORY_MASK   (FERRY__ONE_REQUEST - 1)
#define FERRY__REQUESTS_MASK (((UINT64_C(1) << 21) - 1) << 40)
#define FERRY__SHUT          (UINT64_C(1) << 61) /* no more data: the writing direction ends */
#define FERRY__CLOSED        (UINT64_C(1) << 62) /* no more requests: it is to be closed */

/* ferry__admission.visits: 14 bits of messages, 17 of reads, a flag. */
#define FERRY__ONE_MESSAGE   UINT32_C(1)
#define FERRY__ONE_READ      (UINT32_C(1) << 14)
#define FERRY__MESSAGES_MASK (FERRY__ONE_READ - 1)
#define FERRY__READS_MASK    (((UINT32_C(1) << 17) - 1) << 14)
#define FERRY__ENDED         (UINT32_C(1) << 31) /* not even an abort: nobody listens any more */

/* The most that options may ask for: half of what the word counts. */
#define FERRY__MOST_REQUESTS UINT32_C(1000000)
#define FERRY__MOST_BYTES    (UINT64_C(1) << 39)

/* How many bytes of memory a small write has, at most. */
#define FERRY__SMALL_BYTES UINT64_C(4096)

/* The most reads that may wait. As many as requests by default. */
#define FERRY__MOST_READS UINT32_C(65536)

/* The most errands that may be under way; of messages of other kinds there are some ten. */
#define FERRY__MOST_ERRANDS UINT32_C(4096)

/* Where waiting is done. */
typedef struct ferry__room {
    atomic_uint waiters;  /* threads that wait here for any room */
    atomic_uint news;     /* changes when there may be room: their futex word */
    atomic_uint promises; /* promises of room that wait, in the service's list */
} ferry__room;

/* How much may be in at once. */
typedef struct ferry__limits {
    uint64_t requests;
    uint64_t memory_bytes;
    uint64_t source_bytes; /* 0: no limit */
} ferry__limits;

/* What a request takes. */
typedef struct ferry__cost {
    uint64_t memory_bytes;
    uint64_t source_bytes;
} ferry__cost;

typedef struct ferry__admission ferry__admission;

/* All that the streams of one service have let in together. Any thread. */
typedef struct ferry__total ferry__total;
struct ferry__total {
    /* Set when it is made. */
    ferry__limits limits; /* of each, 0: no limit */
    bool is_limited;      /* there is one: else nothing is counted here */

    _Atomic uint64_t requests;
    _Atomic uint64_t memory_bytes;
    _Atomic uint64_t source_bytes;
    ferry__room room; /* who waits because of these limits */

    /* Promises of room, all its streams', oldest first: room.c's, under the mutex. */
    pthread_mutex_t mutex;
    struct room_promise *first_promise;
    struct room_promise *last_promise;
    /*
     * Set before the first is counted. Settles the promises for which there is room. @param of the
     * stream whose promises to look at; NULL: all streams'.
     */
    void (*tell_promises)(ferry__total *total, const ferry__admission *of);
};

/* What one stream has let in. Any thread. */
struct ferry__admission {
    /* Set when it is made. */
    const ferry__limits *limits;
    ferry__total *total; /* its service's */

    _Atomic uint64_t source_bytes; /* of sources, as far as known */
    ferry__room room;              /* who waits because this stream is full */
    atomic_uint patient;           /* threads that wait in that room for more than a little */
    _Atomic uint32_t visits;
    atomic_bool drips;     /* who waited for room was woken for little: the next one is patient */
    _Atomic uint64_t word; /* the last: beside what a stream counts of its small writes */
};

/* What bounds the queue for a request. */
typedef enum ferry__limit {
    FERRY__BY_OPTIONS, /* data: the stream's options, and its service's */
    FERRY__BY_COUNT,   /* markers and the like: they are needed most when the queue is full */
} ferry__limit;

/* Why a request was not let in. */
typedef struct ferry__refusal {
    ferry__room *full; /* -EAGAIN: where to wait */
    bool was_counted;  /* it was, for a moment: the owner may have seen that, so it looks again */
} ferry__refusal;

void ferry__total_init(ferry__total *total, ferry__limits limits);
void ferry__total_deinit(ferry__total *total);

/* The rest: any thread, if nothing else is said. */

/*
 * Counts a request in, unless the stream has one of the flags in refused_by. @param ret_refusal set
 * where it is refused. @return 0, -ESHUTDOWN, -EAGAIN, -EOVERFLOW.
 */
int ferry__admit(ferry__admission *admission, ferry__cost cost, uint64_t refused_by,
                 ferry__limit limited, ferry__refusal *ret_refusal);

/* Counts the close in, and closes. Whether it was open. */
bool ferry__admit_close(ferry__admission *admission);

/* Counts a read in. @return 0, -ESHUTDOWN, -EAGAIN. */
int ferry__admit_read(ferry__admission *admission);

/* Counts a message in, of which one is under way at most. Whether it may be posted: the stream has
 * not ended. */
bool ferry__admit_message(ferry__admission *admission);

/* Counts an errand in: a message of which there may be several. Like that it is one visit.
 * @return 0; -ESHUTDOWN; -EAGAIN: FERRY__MOST_ERRANDS are under way. */
int ferry__admit_errand(ferry__admission *admission);

/* Whether data of this cost would be let in: 0, -EAGAIN, -ESHUTDOWN. */
int ferry__admission_look(const ferry__admission *admission, ferry__cost cost);

/* Whether a limit counts bytes of sources: then submits have to know them. */
static inline bool ferry__admission_limits_sources(const ferry__admission *admission)
{
    return admission->limits->source_bytes > 0 || admission->total->limits.source_bytes > 0;
}

/* Sets flags that refuse, for good. The caller wakes the threads that wait for room for a read. */
void ferry__admission_refuse(ferry__admission *admission, uint64_t flags);

/* Gives back what was admitted, once. @param word what to take from that. */
void ferry__admission_give_back(ferry__admission *admission, uint64_t word, uint64_t source_bytes);

/*
 * The owner. A source has turned out to have another length: counts the difference. @return what
 * it is counted for now; less than its length if a count would go beyond its end.
 */
uint64_t ferry__admission_recount(ferry__admission *admission, uint64_t before, uint64_t now);

/* There may be room: wakes the threads that wait there. */
void ferry__room_wake(ferry__room *room);

#endif
