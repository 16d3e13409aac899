/* SPDX-License-Identifier: MIT */
/*
 * Requests: what a submit makes, a mailbox carries and an owner carries out.
 *
 * A request, its promise, its parts, its copied memory and its paths are one allocation, freed with
 * the promise's last reference. What its parts hold (fds, given buffers) is released earlier, just
 * before it settles.
 *
 *   any thread: plan -> admitted -> create -> posted
 *   owner:      begin (receipt) -> prepare (perhaps ahead of its turn) -> bytes move -> finish
 *               -> settled
 *
 * It may finish before its turn, or midway: cancelled (by mail of its own) or out of time.
 */
#ifndef FERRY_TRANSPORT_STREAM_REQUEST_H
#define FERRY_TRANSPORT_STREAM_REQUEST_H

#include "core/clock.h"
#include "core/promise.h"
#include "core/timers.h"
#include "transport/limit/admission.h"
#include "transport/stream/progress.h"
#include "transport/edge/source.h"

/* One part under way. */
typedef struct ferry__part {
    uint64_t sent;         /* bytes that left */
    uint64_t left;         /* planned bytes that did not yet; 0 for an open-ended source */
    ferry__source *source; /* in the request's allocation; NULL: it is memory */
    struct {
        const unsigned char *data; /* its first byte */
        ferry_release *release;    /* for given memory and large copies; else NULL */
        void *release_arg;
    } memory;
} ferry__part;

typedef enum __attribute__((packed)) ferry__request_kind {
    FERRY__SEND,     /* parts, or none: a marker */
    FERRY__SHUTDOWN, /* end the writing direction */
    FERRY__CLOSE,    /* the stream's own, one each */
    FERRY__READ      /* in the other direction: it has a queue, and an order, of its own */
} ferry__request_kind;

/* Where a request is on its way. */
typedef enum __attribute__((packed)) ferry__stage {
    FERRY__POSTED,     /* not yet with its owner */
    FERRY__QUEUED,     /* in its stream's queue */
    FERRY__CONFIRMING, /* accepted by the kernel, and to be confirmed */
    FERRY__FINISHED,   /* its outcome is known */
    FERRY__SETTLED     /* its outcome is published */
} ferry__stage;

/* What only few requests need. In the request's allocation, if its options ask for it. */
typedef struct ferry__extras {
    struct ferry__request *request;
    ferry__timer deadline_timer; /* its deadline, set at submit: for all of it, or FERRY__NEVER */
    ferry_completion completion;
    ferry_release *on_owner_release; /* or NULL */
    ferry__progress *progress;       /* behind it; NULL: nobody wants to know */
} ferry__extras;

/*
 * The fields are in the order in which they are used. A request comes from another core. So the
 * owner fetches fewer cache lines of it if few of them are needed when it is delivered.
 */
typedef struct ferry__request {
    ferry_promise promise; /* first: a promise is its request, in memory of its kind */

    /* Delivering. */
    ferry__mail mail;                /* set at submit, as the stream and the extras are */
    ferry_stream *stream;            /* valid until it settles */
    ferry__extras *extras;           /* or NULL */
    struct ferry__request *next;     /* the owner's: in the stream's queue, then in another one */
    struct ferry__request *previous; /* the owner's: in that queue */
    ferry__stage stage;              /* the owner's */

    /* Set at submit. */
    ferry__request_kind kind;
    bool is_told_first : 1; /* on_owner is called before what follows is sent */
    bool is_batch : 1;      /* several writes (batch.h): not prepared before it is taken */

    /* The owner's: carrying out. */
    bool cancel_came : 1; /* cancel_mail was delivered */
    bool is_prepared : 1; /* its sources are open, or prepare_error says why not */
    bool has_begun : 1;   /* its receipt is given */
    ferry_phase prepare_phase;
    int prepare_error;
    uint32_t current;    /* the first part with bytes to come */
    uint32_t part_count; /* set at submit */
    int64_t began_at;

    /* Set at submit. */
    ferry_callback *on_owner;
    union {
        void *on_owner_arg;
        struct ferry__detached *detached; /* a close's, where it is a detach; else NULL */
    };
    uint64_t admitted;       /* what it counts for in its stream's admission word */
    uint64_t source_bytes;   /* what it counts for there; the owner corrects that */
    ferry__mail cancel_mail; /* posted by the thread that cancels it */

    _Alignas(16) ferry__part parts[]; /* a read has none: its particulars are here */
} ferry__request;

/* So that nobody else's malloc(3) sees its memory again. */
_Static_assert(sizeof(ferry__request) + sizeof(ferry__part) + sizeof(ferry__extras) + 64 <=
                   FERRY__SPARE_BYTES,
               "a write of 64 bytes that has a time limit fits into the smallest block");

/* A payload 8 bytes off that costs small writes 5 % of their time: it lies behind the parts. */
_Static_assert(sizeof(ferry__request) % 16 == 0, "a copied payload begins at a multiple of 16");

/* Its promise's type: constant, one for each direction and each way to free its memory. */
typedef struct ferry__request_type {
    ferry__promise_type promise; /* first */

    /* Its owner. Called when it is cancelled, or out of time, while it waits or is carried out. */
    void (*call_off)(ferry_stream *stream, ferry__request *request, int error);
} ferry__request_type;

/*
 * The types of a direction's requests: telling of progress has one of its own. Else giving a
 * promise back would look into the request, and each small write would fetch a line that is in
 * nobody's cache any more.
 */
typedef struct ferry__request_types {
    ferry__request_type any;
    ferry__request_type with_progress;
} ferry__request_types;

void ferry__request_destroy(ferry_promise *promise);
void ferry__request_destroy_with_progress(ferry_promise *promise);

/* What options say of any request; NULL: nothing. */

/* Checks them. @return 0, -EINVAL. */
int ferry__request_check_options(const ferry_request_options *options);

/* How long the submit may wait for room. */
static inline int64_t ferry__request_room_timeout(const ferry_request_options *options)
{
    return options != NULL ? options->room_timeout_ms : 0;
}

/* Whether they ask for nothing but that. */
bool ferry__request_is_bare(const ferry_request_options *options);

/* Whether it may, on this thread. @return 0, -EINVAL, -EDEADLK. */
int ferry__request_check_waiting(const ferry_request_options *options);

/* Whether the submitting thread is to hear of it. */
static inline bool ferry__request_is_reported(const ferry_request_options *options,
                                              ferry_promise **ret_promise)
{
    return ret_promise != NULL || (options != NULL && (options->on_progress != NULL ||
                                                       options->on_progress_release != NULL));
}

/*
 * Called before it is posted. Notes when it was submitted, and hands its promise out, if somebody
 * is to have it.
 */
static inline void ferry__request_hand_out(ferry__request *request,
                                           const ferry_request_options *options,
                                           ferry_promise **ret_promise)
{
    if (ferry__request_is_reported(options, ret_promise) || request->on_owner != NULL)
        /* Dear beside a small write: only if seen. */
        ferry__promise_set_created(&request->promise, ferry__clock_now());
    if (ret_promise != NULL)
        *ret_promise = ferry__promise_ref_unshared(&request->promise);
}

static inline bool ferry__part_has_ended(const ferry__part *part)
{
    return part->left == 0 && !(part->source != NULL && part->source->is_open_ended);
}

/* Finds the part whose bytes come next, passing over parts that have ended; NULL: none is left.
 * Only for a request that is prepared. */
static inline ferry__part *ferry__request_find_part(ferry__request *request)
{
    for (; request->current < request->part_count; request->current++) {
        ferry__part *part = &request->parts[request->current];
        if (!ferry__part_has_ended(part))
            return part;
    }
    return NULL;
}

/* Whether the program wants to know how far it is. */
static inline bool ferry__request_tells_progress(const ferry__request *request)
{
    return request->extras != NULL && request->extras->progress != NULL &&
           request->extras->progress->callback != NULL;
}

/* When it is out of time; or FERRY__NEVER. */
static inline int64_t ferry__request_deadline(const ferry__request *request)
{
    return request->extras != NULL ? request->extras->deadline_timer.deadline : FERRY__NEVER;
}

/* The owner, when some of its bytes have moved: tells how far it is, if anybody wants to know. */
static inline void ferry__request_note_progress(ferry__request *request, int64_t now,
                                                ferry__ringer *ringer)
{
    if (ferry__request_tells_progress(request))
        ferry__progress_note(request->extras->progress, request->began_at, now, ringer);
}

/* The request that a mail is of. */
ferry__request *ferry__request_of_mail(ferry__mail *mail);

#endif
