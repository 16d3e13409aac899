/* SPDX-License-Identifier: MIT */
/*
 * A stream's record, and what any thread may do to it without making anything: references, closing,
 * aborting, its status. Files above this one make streams, and do all else with them.
 *
 * References: the program's all together are one of refs, the owner's side is another. When the
 * program's last is given back the stream is closed after what is queued.
 */
#ifndef FERRY_TRANSPORT_STREAM_STREAM_H
#define FERRY_TRANSPORT_STREAM_STREAM_H

#include "actors/owner.h"
#include "core/clock.h"
#include "core/notice.h"
#include "transport/edge/address.h"
#include "transport/limit/admission.h"
#include "transport/limit/limiter.h"
#include "transport/stream/queue.h"
#include "transport/service/service.h"
#include "transport/stream/settings.h"
#include "transport/stream/shown.h"
#include "transport/edge/link.h"

#include <assert.h>
#include <errno.h>
#include <ferry/stream.h>
#include <stddef.h>

/*
 * What only some streams need, as their options say. It lies behind the stream, in its allocation,
 * so that thousands of idle streams are small.
 */

/* A handshake, which comes before all else (transport/send/securing.h). */
typedef struct ferry__securing ferry__securing;
struct ferry__securing {
    ferry_stream *stream;
    ferry__timer timer;
    int64_t deadline;
    bool is_late;

    /* The stream's owner, in its turn: it is over. It has failed: the stream is poisoned. NULL:
     * nobody is told. */
    void (*over)(ferry__securing *securing, int error);
    void *arg; /* over's */
};

/* Watching whether the peer still makes progress, while the sink is full. */
typedef struct ferry__stall {
    ferry_stream *stream;
    ferry__timer timer; /* set while the sink is full: when to look again */
    bool is_due;        /* the time has come */
    bool has_mark;      /* mark and marked_at are of this wait */
    ferry__outlet mark; /* the last look that showed progress, or the first */
    int64_t marked_at;  /* when that was */
} ferry__stall;

/* Sending no faster than a limiter allows. It has memory of its own, as another one may take its
 * place at any time. */
typedef struct ferry__pace {
    ferry__mail mail; /* brings it to the owner; a limiter of NULL: there is to be none */
    ferry_stream *stream;
    ferry__timer timer;         /* when to ask the limiter again */
    ferry__allotment allotment; /* with a reference to the limiter */
    uint64_t free_bytes;        /* how many more bytes the limiter does not count */
} ferry__pace;

/* Any thread. NULL: no memory. @param limiter may be NULL. */
ferry__pace *ferry__pace_create(ferry_stream *stream, ferry_limiter *limiter, uint64_t free_bytes);

/* NULL is fine. It has rested. */
void ferry__pace_free(ferry__pace *pace);

/* A confirmed close: waiting for the peer's end. */
typedef struct ferry__linger {
    ferry_stream *stream;
    ferry__timer timer; /* when it has taken too long */
    uint64_t bytes;     /* input read away since FIN */
    bool timed_out;
    bool was_reset;              /* the connection was over before FIN could be sent */
    bool was_put_off;            /* its first look, by a turn */
    atomic_bool expects_nothing; /* any thread: the peer sends no more, it has ended or said so */
} ferry__linger;

/* Telling the program when the queue crosses its watermarks. */
typedef struct ferry__watermark {
    ferry_stream *stream;
    atomic_bool is_above; /* written by the owner, read by the thread that is told */
    bool told;            /* what the program was told last; its thread's */
    ferry__notice notice; /* without an inbox: told on the owner */
} ferry__watermark;

/* Waiting for the head's source, where that is a pipe or the like. Made with the first one. */
typedef struct ferry__source_watch {
    ferry__watch watch; /* first */
    ferry_stream *stream;
    bool is_cut_short; /* its end, or urgent data, has come: it may give less than it has */
} ferry__source_watch;

/* Batches of small writes: batch.h. How many may be open, or closed and not committed yet. */
enum { FERRY__BATCHES_OPEN = 4 };

/* What each write to a batch counts. */
typedef struct ferry__batch_counts {
    _Atomic uint64_t claims; /* of the batch that is open */
    /* Bytes of each that were committed, less those that were claimed, once that is told and they
     * are not whole by then: modulo 2^16, as all of them are no more. Set to 0 with an opening. */
    _Atomic uint16_t committed[FERRY__BATCHES_OPEN];
} ferry__batch_counts;

/* All else of them. Made with the first write that needs it. */
typedef struct ferry__batches {
    _Atomic(ferry__request *) open[FERRY__BATCHES_OPEN]; /* where writers find them */
    atomic_uint room; /* bytes that the next one is to have room for */
    pthread_mutex_t opening;
    ferry__request *unnumbered; /* the owner's: the first without a number, or NULL */
} ferry__batches;

/* Counts streams, and is told of the end of each. Part of a listener. */
typedef struct ferry__counter ferry__counter;
struct ferry__counter {
    /* The stream's owner, once for each stream: it has ended. Takes the stream's reference. */
    void (*stream_ended)(ferry__counter *counter);

    /* Any thread. Whether nothing comes before a stream has ended. */
    bool (*is_full)(const ferry__counter *counter);
};

/* What code that does not read knows of a reading direction. The first member of its intake. */
typedef struct ferry__incoming ferry__incoming;
struct ferry__incoming {
    void (*free)(ferry__incoming *incoming); /* once, with the stream */
    ferry__room room;                        /* any thread: who waits because too many reads wait */

    /* Written for dumps by the owner, or by the thread that receives meanwhile. */
    ferry__waiting shown;
    _Atomic uint64_t received; /* bytes, so far */

    bool is_in_call; /* the owner's: it is calling on_read */
};

/* The thread that may receive. Counts what has come, and shows that waiting for more begins now. */
static inline void ferry__incoming_count(ferry__incoming *incoming, size_t count, int64_t now)
{
    uint64_t before = atomic_load_explicit(&incoming->received, memory_order_relaxed);
    atomic_store_explicit(&incoming->received, before + count, memory_order_relaxed);
    atomic_store_explicit(&incoming->shown.since, now, memory_order_relaxed);
}

typedef enum __attribute__((packed)) ferry__stream_state {
    FERRY__OPEN,
    FERRY__LINGERING, /* FIN is sent; the peer's is waited for */
    FERRY__DETACHING, /* nothing more is sent or read; what was read has to come back */
    FERRY__SECURING,  /* a handshake comes before all else */
    FERRY__GONE       /* the fd is closed, or the program's again */
} ferry__stream_state;

struct ferry_stream {
    /* Set at adoption. */
    ferry_service *service;        /* a reference */
    ferry__owner *owner;           /* a reference, and a hold until the stream ends */
    ferry__request *close_request; /* made at once: closing needs no memory */
    ferry__settings *settings;     /* a reference */
    ferry__member member;          /* of the service */

    /* Any thread. Submits write to the admission's word and to what is beside it. So nothing that
     * the owner uses all the time is within a cache line of that. */
    atomic_uint refs;
    atomic_uint users; /* the program's references */
    ferry__admission admission;
    ferry__batch_counts batch_counts;
    ferry__mail abort_mail;
    ferry__mail resume_mail;
    _Atomic(void *) data;        /* the program's: ferry_stream_set_data */
    ferry_release *data_release; /* of data; or NULL */
    ferry__peer peer;            /* set at adoption: who is at the other end */
    ferry__counter *counter;     /* who counts it: a reference until it ends. Or NULL */

    /* Any thread; but the owner looks, or writes, each turn. */
    atomic_int poison;        /* written by the owner: the error that poisoned it */
    atomic_bool is_settling;  /* written by the owner: what is not counted any more is settling */
    atomic_uchar abort_cause; /* why it is aborted, a ferry_cause; FERRY_CAUSE_NONE: it is not */
    atomic_bool is_resuming;  /* resume_mail is under way */
    bool has_given_up : 1;    /* the owner's: the peer has stalled; nothing is waited for */
    bool has_come : 1;        /* the owner's: the fd has told of something; reading is due */
    unsigned cancels_due;     /* the owner's: cancels of settled requests, with mail to come */
    uint32_t released_visits; /* the owner's: to give back at the end of this turn */
    _Atomic uint64_t sent_bytes;         /* written by the owner: for ferry_stream_get_status */
    _Atomic(ferry__incoming *) incoming; /* what reading needs; NULL until somebody reads */
    _Atomic(ferry__batches *) batches;   /* NULL until something is written for a batch */
    ferry__link link;             /* transport/edge/link.h says which thread may touch what */
    ferry__shown_head shown_head; /* written by the owner, for dumps */
    ferry__waiting shown_sending; /* written by the owner, for dumps */

    /* The owner's. */
    ferry__task task;
    ferry__queue queue;    /* to be carried out */
    ferry__queue finished; /* carried out, to be settled at the end of this turn */
    uint64_t offset;       /* of the next byte in the stream's order */
    uint64_t next_sequence;
    uint64_t padding; /* zeros owed to the peer, in place of what failed (FERRY_FRAMING_PAD) */
    bool is_shut;     /* the shutdown was carried out */
    bool abort_came;  /* abort_mail was delivered */
    bool was_told_of_reset; /* the kernel tells once: reading it only sees an end of file then */
    ferry__stream_state state;
    bool waits_for_source; /* the head's has nothing for now */
    bool waits_for_sink;   /* it is full: more requests change nothing */
    bool sending_is_due;   /* the next turn is for what is to be sent */
    bool reading_is_due;   /* the next turn is for what is to be read */
    ferry__watch watch;    /* of its fd, both directions; the fd's number stays its name */
    ferry__source_watch *source_watch; /* NULL: none has been needed so far */
    ferry__timer follow_timer;         /* when to look again, where it is a file that grows */
    ferry__queue confirming;           /* accepted, and not yet as far as they are to get */
    ferry__timer confirm_timer;        /* when to look how far they are */
    int64_t confirm_patience_ns;       /* how long the last wait for that was */
    uint64_t released;                 /* admission to give back at the end of this turn */
    uint64_t released_source_bytes;    /* source bytes to give back then */

    /* Each NULL, if the options do not ask for it. */
    ferry__stall *stall;
    ferry__pace *pace;
    ferry__linger *linger;
    ferry__watermark *watermark;
};

/*
 * Gives the inbox that a promise, or a callback, of the calling thread's is for; NULL on an owner,
 * which runs none, and where none is wanted. @return 0, -ENOMEM.
 */
static inline int ferry__find_home(bool wanted, ferry__inbox **ret_home)
{
    *ret_home = NULL;
    if (!wanted || ferry__thread_current()->owner != NULL)
        return 0;
    *ret_home = ferry__inbox_current();
    return *ret_home != NULL ? 0 : -ENOMEM;
}

/* The owner. Says what it does for the stream, if that may take long: a static string; NULL: it is
 * done. */
static inline void ferry__stream_do(const ferry_stream *stream, const char *step)
{
    ferry__activity_do(&stream->owner->activity, step);
}

/* The owner. When this turn began, or what is shown as one. */
static inline int64_t ferry__stream_turn_time(const ferry_stream *stream)
{
    return ferry__activity_since(&stream->owner->activity);
}

/* The owner. Something is about to be done that is no turn, and is shown as one: its receipts need
 * a time, and what it calls may last. The second call: it is done. */
static inline void ferry__stream_begin_turn(ferry_stream *stream)
{
    ferry__activity_begin(&stream->owner->activity, &stream->task, ferry__clock_now());
}

static inline void ferry__stream_end_turn(ferry_stream *stream)
{
    ferry__activity_end(&stream->owner->activity);
}

/* Has a turn for what is to be sent, confirmed or ended. */
static inline void ferry__stream_schedule(ferry_stream *stream)
{
    stream->sending_is_due = true;
    ferry__owner_schedule(stream->owner, &stream->task);
}

/* Has a turn for what is to be read. */
static inline void ferry__stream_schedule_reading(ferry_stream *stream)
{
    stream->reading_is_due = true;
    ferry__owner_schedule(stream->owner, &stream->task);
}

/* The owner. Shows which request is being sent. Called before something that may block, and at the
 * end of a turn. */
static inline void ferry__stream_show_head(ferry_stream *stream)
{
    ferry__show_head(&stream->shown_head, stream->queue.first);
}

static inline void ferry__stream_assert_owner(const ferry_stream *stream)
{
    assert(ferry__owner_is_current(stream->owner) && "only its owner touches a stream");
    (void)stream;
}

/* Of a stream whose bytes are encrypted: it lies just behind it. */
static inline ferry__securing *ferry__stream_securing(ferry_stream *stream)
{
    return (ferry__securing *)(void *)(stream + 1);
}

/* The owner. Whether a direction waits for its fd. */
static inline bool ferry__stream_awaits(const ferry_stream *stream, ferry__direction direction)
{
    return (stream->watch.awaited & direction & (EPOLLIN | EPOLLOUT)) != 0;
}

/* The owner, in a turn or before the next. What the link owes is to be sent: not scheduled, since
 * this turn may be its last. */
static inline void ferry__stream_heed_link(ferry_stream *stream)
{
    stream->sending_is_due |= stream->link.owes;
}

/* The owner, in a turn or before the next. Nothing follows for now that something was held back
 * for. */
static inline void ferry__stream_push(ferry_stream *stream)
{
    ferry__link_push(&stream->link);
    ferry__stream_heed_link(stream);
}

/* Any thread. Whether it was aborted. The cut is made before the abort's mail is posted. */
static inline bool ferry__stream_is_cut(const ferry_stream *stream)
{
    return atomic_load(&stream->link.cut);
}

/* Any thread. Whether nothing more is sent, because a request failed midway. */
static inline bool ferry__stream_is_poisoned(const ferry_stream *stream)
{
    return atomic_load_explicit(&stream->poison, memory_order_relaxed) != 0;
}

/* Any thread. Its peer sends nothing more, not even behind our end. */
static inline void ferry__stream_expect_no_more(ferry_stream *stream)
{
    if (stream->linger != NULL)
        atomic_store_explicit(&stream->linger->expects_nothing, true, memory_order_relaxed);
}

/* Any thread. Whether it may be used: 0; -EINVAL: it is NULL; -ECHILD: it is another process's. */
static inline int ferry__stream_check(const ferry_stream *stream)
{
    if (stream == NULL)
        return -EINVAL;
    return ferry__service_is_foreign(stream->service) ? -ECHILD : 0;
}

/* The stream that something lies in. */
#define FERRY__STREAM_OF(pointer, member)                                                          \
    ((ferry_stream *)(void *)((char *)(pointer)-offsetof(ferry_stream, member)))

ferry_stream *ferry__stream_ref(ferry_stream *stream);
void ferry__stream_unref(ferry_stream *stream);

/* Frees a stream that has no owner and no service, or has them no more. */
void ferry__stream_free(ferry_stream *stream);

/* Any thread. Sets flags of its admission that refuse, for good. Wakes all that wait for room. */
void ferry__stream_let_no_more_in(ferry_stream *stream, uint64_t flags);

/* Any thread. Takes visits that are over from its admission's. */
void ferry__stream_end_visits(ferry_stream *stream, uint32_t visits);

/* Any thread. Aborts the stream, for this cause. With FERRY_CAUSE_DESTROY a peer gets a reset only
 * if it would take a part for the whole. Else it reads an end of file, as after a close. */
void ferry__stream_abort(ferry_stream *stream, ferry_cause cause);

/* Any thread. Whether it has ended: its close is about to settle, or has. */
static inline bool ferry__stream_has_ended(const ferry_stream *stream)
{
    return (atomic_load(&stream->admission.visits) & FERRY__ENDED) != 0;
}

/* Whether nothing is under way: all that was submitted before has settled, a close, too. */
bool ferry__stream_is_quiet(ferry_stream *stream);

#endif
