/* SPDX-License-Identifier: MIT */
/*
 * Limiters: how many bytes per second may leave, of one stream or of many together.
 *
 * A limiter is a token bucket. All streams that use it share its rate: they take turns, first come
 * first served, and what one does not use is the others'. A limiter may have a parent, whose rate
 * its streams share with those of the parent's other children: a limit for each client within one
 * for all clients, for instance. A stream then moves only what each limiter of the chain lets it.
 *
 * Life: ferry_limiter_create -> given to streams, or to other limiters as their parent ->
 * ferry_limiter_unref, at any time: whoever uses it has a reference of its own. The rate may be
 * changed while streams use it, also to no limit at all and back.
 *
 * How exact: over some seconds the rate is kept within one per cent, as long as threads wake no
 * later than the burst lasts: what they miss beyond it is lost. At any moment, burst_bytes and one
 * turn of each stream may be ahead of it; a turn is what the rate gives a stream in 20 to 50 ms, at
 * most 1 MiB. A message socket sends whole messages: what one exceeds its turn by, it waits for
 * afterwards.
 */
#ifndef FERRY_LIMITER_H
#define FERRY_LIMITER_H

#include <ferry/api.h>

FERRY_BEGIN

typedef struct ferry_limiter ferry_limiter;

typedef struct ferry_limiter_options {
    uint64_t bytes_per_s;  /* 0: no limit of its own, its parent's still holds; at most 2^50 */
    uint64_t burst_bytes;  /* how much may leave at once after idling; 0: what the rate gives in
                              20 ms. Raised to what it gives in 5 ms, since threads wake late,
                              and to 1; at most 2^50 */
    ferry_limiter *parent; /* which limiter holds as well; NULL: none */
} ferry_limiter_options;

/*
 * Makes a limiter, with a full burst.
 *
 * Threads: any. Takes: a reference of its own to the parent. Gives: a reference to a limiter.
 * @param options NULL: no limit yet.
 * @return 0; -ENOMEM; -EINVAL: ret_limiter is NULL, an option is out of its range, or it would be
 *         the ninth of a chain; -ECHILD: options->parent was made before this process was forked.
 */
FERRY_API int ferry_limiter_create(const ferry_limiter_options *options,
                                   ferry_limiter **ret_limiter);

/*
 * Changes the rate, for all streams that use the limiter: also for those that wait, within 50 ms.
 * What was saved up of the burst stays; after a time without a limit there is nothing saved, and
 * nothing to be made up for.
 *
 * Threads: any. Never blocks for longer than a few memory accesses take.
 * @param bytes_per_s bytes per second, 0: no limit; @param burst_bytes likewise as in the options.
 * @return 0; -EINVAL: limiter is NULL, or a number is out of its range; -ECHILD: it was made
 *         before this process was forked.
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
