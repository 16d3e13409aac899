/* SPDX-License-Identifier: MIT */
/*
 * A limiter's inside, and what a stream has to do with it: its allotment.
 *
 * A limiter is a track of bytes. `allowed` moves along it at the rate. `reserved` is how far it was
 * given out. A stream that wants bytes reserves the next piece of the track, and may move them once
 * allowed has come to the end of that piece. So streams that wait have turns in the order in which
 * they asked, each knows when its own comes, and none wakes up for another's. What nobody reserves
 * is lost, but for the burst: reserved never lags behind by more than that.
 *
 *           |<-- burst -->|
 *     ------[=============|====A====][===B===]-------> bytes
 *                         ^ allowed          ^ reserved
 *
 * With parents, a piece of the same size is reserved on each track of the chain, all at once. Its
 * turn comes when it has come on every track. quantum() in limiter.c says how large a piece is. A
 * message may be larger than its turn. The rest is the debt of that allotment: turns that move
 * nothing pay it, so that the others keep their shares.
 *
 * Bytes that are given back unused move reserved back, so the next stream that asks gets them. No
 * place in the track changes by that, and never do more bytes leave than allowed says.
 *
 * A change of the rate begins a new era of the track. All that is reserved or granted and not used
 * is void then. Its owner looks at least every 50 ms, and reserves anew.
 *
 * Threads: an allotment is its owner's. The chain's mutexes are taken from the child to its
 * parents, for some arithmetic twice a turn. To ask in between, or without any limit, only reads
 * atomics.
 */
#ifndef FERRY_TRANSPORT_LIMIT_LIMITER_H
#define FERRY_TRANSPORT_LIMIT_LIMITER_H

#include <ferry/limiter.h>

/* The most limiters in a chain. */
#define FERRY__LIMITER_DEPTH 8

/* What one stream has been allotted and has not used yet. Zero-initialised but for limiter. */
typedef struct ferry__allotment {
    ferry_limiter *limiter;              /* a reference; NULL: unlimited */
    uint64_t reserved;                   /* bytes whose turn has not come; 0: none */
    int64_t turn_at;                     /* when it comes, if no rate changes */
    uint64_t granted;                    /* bytes that may be moved now */
    uint64_t debt;                       /* bytes moved beyond what was granted, not paid yet */
    uint32_t eras[FERRY__LIMITER_DEPTH]; /* each limiter's, by its depth, when it reserved last */
    bool is_member;                      /* it is counted among those that share the chain */
    bool is_free;                        /* there was no limit when it asked last */
} ferry__allotment;

/*
 * How many bytes may be moved now: up to wanted, which is at least 1. 0: none yet. Then *ret_when
 * is when to ask again, at most 50 ms from now, so that a new rate is heard of. Else it is
 * untouched.
 */
uint64_t ferry__allotment_ask(ferry__allotment *allotment, uint64_t wanted, int64_t now,
                              int64_t *ret_when);

/* Bytes were moved: usually at most what was granted, but a message leaves as a whole. */
void ferry__allotment_use(ferry__allotment *allotment, uint64_t bytes);

/* Gives back what was not used. Called when there is nothing to send for now, when nothing can
 * leave, and before a stream that ends gives its reference back. Cheap if nothing is left over. */
void ferry__allotment_return(ferry__allotment *allotment);

/* ferry_limiter_set_rate, at a given time. */
int ferry__limiter_set_rate_at(ferry_limiter *limiter, uint64_t bytes_per_s, uint64_t burst_bytes,
                               int64_t now);

/* Whether it belongs to another process: this one was forked since. */
bool ferry__limiter_is_foreign(const ferry_limiter *limiter);

#endif
