/* SPDX-License-Identifier: MIT */
/* Who waits for room in a full queue is not woken for each request that leaves, and waits no longer
 * than a millisecond for that. */
#include "tests/support.h"
#include "transport/stream/stream.h"

/* ---- who is woken, and when ------------------------------------------------------------------ */

typedef struct queue {
    ferry__limits limits;
    ferry__total total;
    ferry__admission admission;
    unsigned news; /* what was seen last */
} queue;

static void let_in(queue *self)
{
    ferry__refusal refusal;
    check_eq(ferry__admit(&self->admission, (ferry__cost){1, 0}, 0, FERRY__BY_OPTIONS, &refusal),
             0);
}

/* A full one. */
static void queue_init(queue *self, uint32_t requests)
{
    self->limits = (ferry__limits){.requests = requests, .memory_bytes = 1 << 20};
    ferry__total_init(&self->total, (ferry__limits){0});
    self->admission = (ferry__admission){.limits = &self->limits, .total = &self->total};
    for (uint32_t i = 0; i < requests; i++)
        let_in(self);
    self->news = 0;
}

/* Lets so many leave, one by one. @return whether somebody was woken. */
static bool leave(queue *self, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ferry__admission_give_back(&self->admission, FERRY__ONE_REQUEST + 1, 0);
    unsigned before = self->news;
    self->news = atomic_load(&self->admission.room.news);
    return self->news != before;
}

PROMISE(patience, thread_is_woken_for_any_room_and_the_next_one_for_some)
{
    queue full;
    queue_init(&full, 1000);
    atomic_store(&full.admission.room.waiters, 1);
    check(leave(&full, 1));
    check(atomic_load(&full.admission.drips));
    let_in(&full);
    atomic_store(&full.admission.room.waiters, 0);
    atomic_store(&full.admission.patient, 1);
    check(!leave(&full, 63));
    check(leave(&full, 1));
    check(!atomic_load(&full.admission.drips));
    ferry__total_deinit(&full.total);
}

PROMISE(patience, thread_is_woken_for_half_of_a_short_queue)
{
    for (uint32_t most = 1; most <= 5; most++) {
        queue full;
        queue_init(&full, most);
        atomic_store(&full.admission.patient, 1);
        uint32_t half = most - most / 2;
        check(!leave(&full, half - 1));
        check(leave(&full, 1));
        ferry__total_deinit(&full.total);
    }
}

PROMISE(patience, thread_is_woken_when_nothing_is_let_in_any_more)
{
    queue full;
    queue_init(&full, 1000);
    atomic_store(&full.admission.patient, 1);
    ferry__admission_refuse(&full.admission, FERRY__SHUT);
    check(leave(&full, 0));
    ferry__total_deinit(&full.total);
}

/* ---- its end --------------------------------------------------------------------------------- */

static void *write_one(void *stream)
{
    const ferry_request_options without_limit = {.room_timeout_ms = -1};
    check_eq(ferry_stream_write(stream, "x", 1, &without_limit, NULL), 0);
    return NULL;
}

/* Nothing else leaves: the queue stands still. */
PROMISE_EITHER(patience, ends_and_one_request_that_leaves_makes_room)
{
    enum { REQUESTS = 200, WAITS = 5 };
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.limit_requests = REQUESTS});
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs), *queued[WAITS];
    for (unsigned i = 0; i < WAITS; i++)
        queued[i] = submit_write(s.stream, "x", 1);
    for (unsigned i = 1 + WAITS; i < REQUESTS; i++)
        ferry_promise_unref(submit_write(s.stream, "x", 1));
    for (unsigned i = 0; i < WAITS; i++) {
        pthread_t thread = start_sleeper(write_one, s.stream);
        check_eq(ferry_promise_cancel(queued[i]), 0);
        check_eq(outcome(queued[i]).error, -ECANCELED);
        check_eq(pthread_join(thread, NULL), 0);
    }
    check(atomic_load(&s.stream->admission.drips)); /* so some of them were patient */
    stage_let_read(&s);
    check_eq(outcome(stuck).error, 0);
    stage_close_got_bytes(&s, STUCK_BYTES + REQUESTS - 1);
}
