/* SPDX-License-Identifier: MIT */
/*
 * Limiters: how many bytes per second may leave, of one stream or of many together.
 *
 * A limiter is a token bucket. All streams that use it share its rate: they take turns, first come
 * first served, and what one stream does not use the others may use. A limiter may have a parent.
 * Its streams share the parent's rate with the streams of the parent's other children: for instance
 * a limit for each client, within a limit for all clients. A stream then moves only what each
 * limiter of the chain lets it move.
 *
 * Life: ferry_limiter_create -> given to streams, or to other limiters as their parent ->
 * ferry_limiter_unref, at any time, since each user has a reference of its own. The rate may be
 * changed while streams use it, also to no limit at all and back.
 *
 * How exact: over some seconds the rate is kept within one per cent, as long as threads wake no
 * later than the burst lasts. What they miss beyond that is lost. At any moment burst_bytes and one
 * turn of each stream may be ahead of the rate. A turn is what the rate gives a stream in 20 to 50
 * ms, at most 1 MiB. A message socket sends whole messages: if a message exceeds its turn, the
 * stream waits for the rest afterwards.
 */
#ifndef FERRY_LIMITER_H
#define FERRY_LIMITER_H

#include <ferry/api.h>

FERRY_BEGIN

typedef struct ferry_limiter ferry_limiter;

typedef struct ferry_limiter_options {
    uint64_t bytes_per_s;  /* bytes per second; 0: no limit of its own, but its parent's; at most
                              2^50 */
    uint64_t burst_bytes;  /* how much may leave at once after idling; 0: what the rate gives in
                              20 ms. Less than it gives in 5 ms is raised to that, since threads
                              wake late; at least 1, at most 2^50 */
    ferry_limiter *parent; /* a limiter that holds as well; NULL: none */
    uint64_t reserved[4];  /* 0 */
} ferry_limiter_options;

/*
 * Makes a limiter, with a full burst.
 *
 * Threads: any. Takes: a reference of its own to the parent. Gives: a reference to a limiter.
 * @param options NULL: no limit yet.
 * @return 0;
 *         -ENOMEM.
 *         -EINVAL: ret_limiter is NULL, an option is out of its range, or it would be the ninth
 *         limiter of a chain.
 *         -ECHILD: options->parent was made before this process was forked.
 */
FERRY_API int ferry_limiter_create(const ferry_limiter_options *options,
                                   ferry_limiter **ret_limiter);

/*
 * Changes the rate, for all streams that use the limiter. For streams that wait it counts within 50
 * ms. What was saved up of the burst stays. After a time without a limit nothing is saved up, and
 * nothing has to be made up for.
 *
 * Threads: any. Never blocks for longer than a few memory accesses take.
 * @param bytes_per_s bytes per second; 0: no limit; at most 2^50.
 * @param burst_bytes how much may leave at once after idling; 0: what the rate gives in 20 ms; at
 *        most 2^50.
 * @return 0;
 *         -EINVAL: limiter is NULL, or a number is out of its range.
 *         -ECHILD: it was made before this process was forked.
 */
FERRY_API int ferry_limiter_set_rate(ferry_limiter *limiter, uint64_t bytes_per_s,
                                     uint64_t burst_bytes);

/* Takes one more reference. Threads: any that holds one. @return limiter; NULL for NULL. */
FERRY_API ferry_limiter *ferry_limiter_ref(ferry_limiter *limiter);

/*
 * Gives one reference back; with the last one the limiter is gone. Threads: any.
 * @return NULL, so that l = ferry_limiter_unref(l) forgets it.
 */
FERRY_API ferry_limiter *ferry_limiter_unref(ferry_limiter *limiter);

FERRY_END

#endif
