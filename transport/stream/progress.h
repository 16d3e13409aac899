/* SPDX-License-Identifier: MIT */
/* Telling the program how far a request is. */
#ifndef FERRY_TRANSPORT_STREAM_PROGRESS_H
#define FERRY_TRANSPORT_STREAM_PROGRESS_H

#include "core/notice.h"
#include "core/promise.h"

#include <ferry/stream.h>

typedef struct ferry__progress {
    ferry_progress_callback *callback; /* NULL: it is for its release only */
    void *arg;
    ferry_promise *promise; /* whose it is */
    ferry_release *release; /* of arg, or NULL */
    uint64_t step_bytes;
    int64_t interval_ns;
    _Atomic uint64_t sent_bytes; /* what there is to tell */
    atomic_bool has_news;        /* it was not told yet */
    atomic_bool is_over;         /* it has settled: arg is to be released */
    uint64_t told_bytes;         /* the owner's: when it posted last */
    int64_t told_at;             /* the owner's: that time */
    ferry__notice notice;        /* without an inbox: told on the owner */
} ferry__progress;

/* At submit. @param inbox the submitting thread's; NULL: an owner submits. */
void ferry__progress_init(ferry__progress *progress, ferry_promise *promise,
                          const ferry_request_options *options, ferry__inbox *inbox);

/*
 * The owner, when some of its bytes have left: its result says how many. @param began_at when its
 * turn came.
 */
void ferry__progress_note(ferry__progress *progress, int64_t began_at, int64_t now,
                          ferry__ringer *ringer);

/* The owner, once, when the request has settled: arg is released behind the last call. */
void ferry__progress_end(ferry__progress *progress, ferry__ringer *ringer);

#endif
