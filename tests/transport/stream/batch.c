/* SPDX-License-Identifier: MIT */
/* Small writes whose outcomes nobody can learn share requests. Nobody notices but by the speed. */
#include "transport/stream/batch.h"
#include "tests/support.h"

static void forget(ferry_stream *stream, const void *data, size_t length)
{
    check_eq(ferry_stream_write(stream, data, length, NULL, NULL), 0);
}

/* ---- their place among other requests -------------------------------------------------------- */

static void check_numbers(const reader *peer, uint32_t count)
{
    check_eq(peer->bytes, count * sizeof count);
    for (uint32_t i = 0; i < count; i++)
        check(memcmp(peer->kept + i * sizeof i, &i, sizeof i) == 0);
}

/* Pins: order, arithmetic. */
PROMISE_BOTH(batch, forgotten_writes_have_their_place_and_their_numbers_among_others)
{
    enum { COUNT = 5000 };
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    uint64_t random = random_seed();
    for (uint32_t i = 0; i < COUNT; i++) {
        if (random_next(&random) % 8 != 0) {
            forget(s.stream, &i, sizeof i);
            continue;
        }
        check_outcome(submit_write(s.stream, &i, sizeof i), .error = 0, .sequence = i,
                      .stream_offset = i * sizeof i);
    }
    stage_close(&s);
    reader_join(peer);
    check_numbers(peer, COUNT);
}

/* Two threads that hand the turn to each other. One forgets its writes, the other does not. */
typedef struct turns {
    ferry_stream *stream;
    uint32_t total;
    atomic_uint next;
} turns;

static void await_turn(turns *shared, uint32_t turn)
{
    while (atomic_load(&shared->next) != turn)
        sched_yield();
}

static void *forget_every_other(void *arg)
{
    turns *shared = arg;
    for (uint32_t i = 0; i < shared->total; i += 2) {
        await_turn(shared, i);
        forget(shared->stream, &i, sizeof i);
        atomic_store(&shared->next, i + 1);
    }
    return NULL;
}

/* Pins: order. */
PROMISE_BOTH(batch, forgotten_write_stands_behind_what_another_thread_had_submitted)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    turns shared = {.stream = s.stream, .total = 4000};
    pthread_t other = start_thread(forget_every_other, &shared);
    for (uint32_t i = 1; i < shared.total; i += 2) {
        await_turn(&shared, i);
        ferry_promise_unref(submit_write(s.stream, &i, sizeof i));
        atomic_store(&shared.next, i + 1);
    }
    pthread_join(other, NULL);
    stage_close(&s);
    reader_join(peer);
    check_numbers(peer, shared.total);
}

/* ---- many threads ---------------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 20000 };

typedef struct record {
    uint32_t thread, number;
} record;

typedef struct forgetter {
    ferry_stream *stream;
    uint32_t thread;
} forgetter;

static void *forget_records(void *arg)
{
    const forgetter *self = arg;
    const ferry_request_options patient = {.room_timeout_ms = -1};
    for (uint32_t i = 0; i < EACH; i++) {
        record next = {self->thread, i};
        check_eq(ferry_stream_write(self->stream, &next, sizeof next, &patient, NULL), 0);
    }
    return NULL;
}

static void check_records(const reader *peer)
{
    uint32_t next[THREADS] = {0};
    check_eq(peer->bytes, THREADS * EACH * sizeof(record));
    for (size_t at = 0; at < peer->bytes; at += sizeof(record)) {
        record got;
        memcpy(&got, peer->kept + at, sizeof got);
        check(got.thread < THREADS);
        check_eq(got.number, next[got.thread]++);
    }
}

/* Pins: order, exactly_once. */
PROMISE_BOTH(batch, forgotten_writes_of_many_threads_leave_whole_once_and_each_threads_in_order)
{
    const ferry_stream_options narrow = {.limit_requests = 700};
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), narrow);
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    pthread_t threads[THREADS];
    forgetter all[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        all[i] = (forgetter){s.stream, i};
        threads[i] = start_thread(forget_records, &all[i]);
    }
    join_threads(threads, THREADS);
    stage_close(&s);
    reader_join(peer);
    check_records(peer);
}

static atomic_uint let_in;

static void *forget_until_refused(void *arg)
{
    while (ferry_stream_write(arg, "x", 1, NULL, NULL) == 0)
        atomic_fetch_add(&let_in, 1);
    return NULL;
}

static void hold_to_limit(ferry_service_options of_all, ferry_stream_options of_one)
{
    enum { LIMIT = 1000 };
    AT_END(destroy_service) ferry_service *service = service_start_with(of_all);
    stage s = stage_in_with(service, unix_pair(SOCK_STREAM), of_one);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    pthread_t threads[THREADS];
    atomic_store(&let_in, 1); /* the stuck one */
    start_threads(threads, THREADS, forget_until_refused, s.stream);
    join_threads(threads, THREADS);
    check_eq(atomic_load(&let_in), LIMIT);
    stage_let_read(&s);
    check_eq(outcome(stuck).error, 0);
    stage_close_got_bytes(&s, STUCK_BYTES + LIMIT - 1);
    ferry_service_status left = service_status(service);
    check(left.queued_requests == 0 && left.queued_bytes == 0);
}

/* Pins: bounded. */
PROMISE_BOTH(batch, limits_of_requests_hold_to_the_last_write_however_many_threads_there_are)
{
    const ferry_service_options all = {.placement = placement},
                                narrow = {.placement = placement, .limit_requests = 1000};
    hold_to_limit(all, (ferry_stream_options){.limit_requests = 1000});
    hold_to_limit(narrow, (ferry_stream_options){0});
}

/* ---- a thread that is stopped in the middle of a write --------------------------------------- */

/* A stream with a batch that waits behind a stuck request, and the step that a thread took. */
typedef struct middle {
    stage s;
    ferry_promise *stuck;
    ferry__batches *batches;
    uint64_t claims;
} middle;

enum { CLAIMED_BYTES = 3 };

static middle get_stuck(ferry_placement placement)
{
    middle m = {.s = stage_open(placement, unix_pair(SOCK_STREAM))};
    m.stuck = submit_stuck(m.s.stream, m.s.theirs);
    return m;
}

/* @param length more than there is room for: nobody tells yet how far the batch was claimed. */
static void claim(middle *m, size_t length, ferry__claim expected)
{
    forget(m->s.stream, "a", 1);
    m->batches = atomic_load(&m->s.stream->batches);
    check_eq(ferry__batch_claim(m->s.stream, length, &m->claims), expected);
}

static void let_in_claimed(middle *m)
{
    ferry__refusal refusal;
    check_eq(ferry__admit(&m->s.stream->admission, (ferry__cost){CLAIMED_BYTES, 0}, 0,
                          FERRY__BY_OPTIONS, &refusal),
             0);
}

static middle stop_before_copying(ferry_placement placement)
{
    middle m = get_stuck(placement);
    claim(&m, CLAIMED_BYTES, FERRY__CLAIMED);
    let_in_claimed(&m);
    return m;
}

static middle stop_before_telling(ferry_placement placement)
{
    middle m = get_stuck(placement);
    claim(&m, FERRY__LARGE_BYTES + 1, FERRY__FIRST_WITHOUT_ROOM);
    return m;
}

static void go_on_copying(middle *m)
{
    ferry__batch_fill(m->s.stream, m->batches, m->claims, "bcd", CLAIMED_BYTES);
}

static void go_on_telling(middle *m)
{
    ferry__batch_tell_full(m->s.stream, m->batches, m->claims);
}

/* Lets the stuck request pass, and all that can be sent behind it. */
static reader *read_on(middle *m)
{
    reader *peer = reader_start(stage_take(&m->s), true);
    check_eq(outcome(m->stuck).error, 0);
    wait_until_asleep();
    return peer;
}

static void check_tail(middle *m, reader *peer, const char *tail)
{
    stage_close(&m->s);
    reader_join(peer);
    check_eq(peer->bytes, STUCK_BYTES + strlen(tail));
    check(memcmp(peer->kept + STUCK_BYTES, tail, strlen(tail)) == 0);
    reader_free(peer);
}

PROMISE_BOTH(batch, write_that_is_being_copied_is_waited_for_and_nothing_overtakes_it)
{
    middle m = stop_before_copying(placement);
    ferry_promise *behind = submit_write(m.s.stream, "e", 1);
    forget(m.s.stream, "f", 1);
    reader *peer = read_on(&m);
    check_eq(ferry_promise_await(behind, 0, NULL), -ETIMEDOUT);
    go_on_copying(&m);
    check_eq(outcome(behind).sequence, 3);
    check_tail(&m, peer, "abcdef");
}

PROMISE_BOTH(batch, what_stands_behind_writes_not_counted_yet_is_numbered_and_called_off_later)
{
    middle m = stop_before_telling(placement);
    const ferry_request_options hurried = {.timeout_ms = 1};
    ferry_promise *behind = submit_write(m.s.stream, "b", 1), *late;
    check_eq(ferry_stream_write(m.s.stream, "x", 1, &hurried, &late), 0);
    ferry_promise *cancelled = submit_write(m.s.stream, "y", 1);
    check_eq(ferry_promise_cancel(cancelled), 0);
    forget(m.s.stream, "c", 1);
    ferry_promise *last = submit_write(m.s.stream, "d", 1);
    wait_until_asleep();
    check_eq(ferry_promise_await(cancelled, 0, NULL), -ETIMEDOUT);
    go_on_telling(&m);
    ferry_result result = outcome(cancelled);
    check(result.error == -ECANCELED && result.cause == FERRY_CAUSE_CANCEL && result.sequence == 4);
    result = outcome(late);
    check(result.error == -ETIMEDOUT && result.sequence == 3);
    reader *peer = read_on(&m);
    check_eq(outcome(behind).sequence, 2);
    check_eq(outcome(last).sequence, 6);
    check_tail(&m, peer, "abcd");
}

static void tell_instead(void *, void *arg)
{
    go_on_telling(arg);
}

/* When it settles: a number that comes later changes nothing here. */
static void note_sequence(ferry_promise *, const ferry_result *result, void *arg)
{
    *(uint64_t *)arg = result->sequence;
}

/* In one turn a request fails, which tells how many writes are behind it, and these are sent. */
PROMISE_EITHER(batch, what_stands_behind_writes_that_are_counted_within_a_turn_has_its_number)
{
    middle m = get_stuck(placement);
    char unsent = 0;
    const ferry_part parts[] = {ferry_part_give(&unsent, 1, tell_instead, &m),
                                ferry_part_file(ferry_file_at("/no/such/file"))};
    check_eq(ferry_stream_send(m.s.stream, parts, 2, NULL, NULL), 0);
    claim(&m, FERRY__LARGE_BYTES + 1, FERRY__FIRST_WITHOUT_ROOM);
    uint64_t sequence = 0;
    write_calling(m.s.stream, "b", 1, note_sequence, &sequence);
    wait_until_asleep();
    check_tail(&m, read_on(&m), "ab");
    check_eq(sequence, 3);
}

/* Each in a batch of its own: what can be claimed at a time. Another one is posted as it is. */
PROMISE_EITHER(batch, write_is_sent_in_its_turn_while_writes_to_many_batches_are_being_copied)
{
    middle m = get_stuck(placement);
    uint64_t claims[FERRY__BATCHES_OPEN];
    for (unsigned i = 0; i < FERRY__BATCHES_OPEN; i++) {
        claim(&m, CLAIMED_BYTES, FERRY__CLAIMED);
        let_in_claimed(&m);
        claims[i] = m.claims;
        check_eq(ferry_stream_mark(m.s.stream, NULL), 0); /* what is written now is behind it */
    }
    forget(m.s.stream, "e", 1);
    forget(m.s.stream, "f", 1);
    ferry_promise *last = submit_write(m.s.stream, "g", 1);
    reader *peer = read_on(&m);
    for (unsigned i = FERRY__BATCHES_OPEN; i-- > 0;) {
        check_eq(ferry_promise_await(last, 0, NULL), -ETIMEDOUT);
        m.claims = claims[i];
        go_on_copying(&m);
    }
    check_eq(outcome(last).sequence, 1 + 3 * FERRY__BATCHES_OPEN + 2);
    check_tail(&m, peer, "abcdabcdabcdabcdefg");
}

/* ---- a callback that gives the last handle back ---------------------------------------------- */

static void let_stream_go(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    ferry_stream_unref(arg);
}

static void *write_and_drop(void *arg)
{
    write_calling(arg, "b", 1, let_stream_go, arg);
    return NULL;
}

/* It waits for a writer that is about to open a batch. Meanwhile the stream comes to its end. */
PROMISE_EITHER(batch, submit_is_safe_if_its_callback_gives_the_last_handle_back_before_it_returns)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    reader *peer = reader_start(stage_take(&s), true);
    forget(s.stream, "a", 1);
    wait_until_asleep();
    ferry__batches *batches = atomic_load(&s.stream->batches);
    pthread_mutex_lock(&batches->opening);
    atomic_fetch_or(&s.stream->batch_counts.claims, FERRY__OPENING);
    pthread_t submitter = start_thread(write_and_drop, s.stream);
    reader_check_text(peer, "ab");
    wait_until_asleep();
    pthread_mutex_unlock(&batches->opening); /* still there */
    pthread_join(submitter, NULL);
    s.stream = NULL;
}

/* ---- aborts ---------------------------------------------------------------------------------- */

static void check_abort(middle *m, void (*go_on)(middle *m))
{
    ferry_promise *behind = submit_write(m->s.stream, "e", 1);
    ferry_promise *closed = submit_close(m->s.stream);
    ferry_stream_abort(m->s.stream);
    check_eq(outcome(m->stuck).error, -ECANCELED);
    wait_until_asleep();
    check_eq(ferry_promise_await(closed, 0, NULL), -ETIMEDOUT);
    go_on(m);
    check_eq(outcome(behind).error, -ECANCELED);
    check_eq(outcome(closed).error, -ECANCELED);
    stage_end(&m->s);
}

PROMISE_BOTH(batch, abort_waits_for_a_write_that_is_being_copied)
{
    middle m = stop_before_copying(placement);
    check_abort(&m, go_on_copying);
}

PROMISE_BOTH(batch, abort_waits_for_writes_that_are_not_counted_yet)
{
    middle m = stop_before_telling(placement);
    check_abort(&m, go_on_telling);
}
