/* SPDX-License-Identifier: MIT */
/*
 * Batches: small writes whose outcomes nobody can learn, side by side in one request.
 *
 * A request of its own takes four hundred bytes more than a small write has, and for each of them
 * several cache lines go from core to core. So writes that follow one another share a request. The
 * first makes a batch and posts it. Each of the next ones, from any thread, claims a place in it,
 * copies its bytes there, and commits them. A batch is closed when its owner is about to send it,
 * when somebody has posted another request, or when it is full. The next write makes another one.
 *
 *   a writer                                   the owner, when the batch's turn has come
 *   C0 claims += its bytes: is there room?     O0 close: claims += more than there is room for
 *      the first without room: K0              K0 if it was open: tell how far it was claimed;
 *   C1 copy                                       committed -= that: 0? W0
 *   C2 committed += its bytes: 0? W0           O1 is that told, and is it whole? If not, say that
 *   W0 its slot is free; it is whole; does        the owner waits, and try O0 and O1 once more
 *      the owner wait? resume the stream       O2 send it
 *
 * Only an addition that finds the claims within the batch means anything: what others add to a full
 * or closed one is lost with the next opening. So whoever takes them beyond it, and nobody else,
 * knows how far it was claimed (K0). A batch is whole once that is told and all of it is committed.
 * It stays until then, so whoever has a claim, or is to tell, may use its memory.
 *
 * Where threads write at a time, each addition waits for a cache line to come from another core. So
 * what is counted lies side by side in the stream: the admission's word, the claims, and what was
 * committed to the batch in each slot.
 *
 * Order is the mailbox's. A batch is opened after it was posted: what is in it comes before all
 * that is posted later. Its owner may wait for it by then, and is resumed, as in K0 and W0. A
 * request is posted, and then closes the batch that is open: what is written after that is in
 * another batch, which is posted later than the request. Opening takes a mutex, so that closing
 * finds a batch either open or not posted yet.
 *
 * tests/models/batch.pml proves this in small.
 *
 * Source: claims by addition, and the first one without room, are those of Aeron's log buffers
 * (github.com/aeron-io/aeron, the publications' term appenders).
 */
#ifndef FERRY_TRANSPORT_STREAM_BATCH_H
#define FERRY_TRANSPORT_STREAM_BATCH_H

#include "transport/stream/stream.h"

/* Any thread. Whether the stream can do without knowing one small write from another. */
static inline bool ferry__batch_is_possible(const ferry_stream *stream)
{
    /* A message is one write. And it is certain what follows a failure. */
    return !stream->link.is_message && stream->settings->options.framing == FERRY_FRAMING_POISON;
}

/*
 * Any thread. Puts a copy of a write that was let in into a batch: 1 to FERRY__SMALL_BYTES.
 * @param deliver what the owner does with the batch. @return 0, -ENOMEM.
 */
typedef void ferry__deliver(ferry__mail *mail, bool receiver_gone);
int ferry__batch_write(ferry_stream *stream, const void *data, size_t length,
                       ferry__deliver *deliver);

/* Of a new stream: no batch is open. */
static inline void ferry__batch_counts_init(ferry__batch_counts *counts)
{
    atomic_init(&counts->claims, FERRY__LARGE_BYTES + 1);
}

/* The steps of a write to a batch that is open, apart, so that a test can stop between them. */
typedef enum ferry__claim {
    FERRY__CLAIMED,
    FERRY__WITHOUT_ROOM,
    FERRY__FIRST_WITHOUT_ROOM /* it alone knows how far the batch was claimed, and has to tell */
} ferry__claim;

/* In ferry__batch_counts.claims: a batch was posted, or is about to be, that will be open. */
#define FERRY__OPENING (UINT64_C(1) << 63)

/* C0. @param ret_claims what it found: the two below need that. */
ferry__claim ferry__batch_claim(ferry_stream *stream, size_t length, uint64_t *ret_claims);

/* C1 and C2. */
void ferry__batch_fill(ferry_stream *stream, ferry__batches *batches, uint64_t claims,
                       const void *data, size_t length);

/* K0 */
void ferry__batch_tell_full(ferry_stream *stream, ferry__batches *batches, uint64_t claims);

/* Any thread. Closes the batch that is open; waits for one that is being opened. */
void ferry__batch_close(ferry_stream *stream, ferry__batches *batches);

/* Any thread that has posted a request to the stream. What is written from now on is behind it. */
static inline void ferry__batch_let_pass(ferry_stream *stream)
{
    ferry__batches *batches = atomic_load(&stream->batches);
    if (batches != NULL)
        ferry__batch_close(stream, batches);
}

/* The rest: the owner. */

/*
 * Closes a batch. Counts its writes in the stream's order, once it is known how many they are.
 * @return whether they are counted. If not, the stream is resumed soon.
 */
bool ferry__batch_count(ferry__request *batch);

/*
 * Closes a batch, and makes a request of it that is prepared. @return whether that is done. If not,
 * a write is still being copied into it, or what is behind it has no number yet. The stream is
 * resumed soon.
 */
bool ferry__batch_take(ferry__request *batch);

/* Whether a request is no batch, or is one that is taken. */
static inline bool ferry__batch_is_taken(ferry__request *request)
{
    return !request->is_batch || ferry__batch_take(request);
}

#endif
