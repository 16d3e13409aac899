/* SPDX-License-Identifier: MIT */
/*
 * Calling off: a request that is cancelled, or whose time is up, settles soon, once, and with the
 * exact count, wherever it stands; those behind it follow as the framing policy says.
 */
#include "tests/support.h"

#include <time.h>

/* ---- a request that no socket takes whole ---------------------------------------------------- */

enum { BIG = 16 << 20, SEED = 77 };

typedef enum way { BY_MEMORY, BY_SENDFILE, BY_COPY, WAYS } way;

/* A stream whose peer does not read yet, and a big request's content in memory and in a file. */
typedef struct scene {
    ferry_service *service;
    ferry_faults *faults;
    ferry_stream *stream;
    int theirs;
    test_file file;
    unsigned char *memory;
} scene;

static scene scene_open_with(ferry_placement placement, pair both, ferry_stream_options options)
{
    scene s = {.service = service_start(placement),
               .theirs = both.theirs,
               .file = file_make(BIG, SEED),
               .memory = malloc(BIG)};
    fill_content(s.memory, BIG, SEED, 0);
    s.faults = ferry_faults_ref(options.faults);
    s.stream = stream_adopt_with(s.service, both.ours, options);
    return s;
}

static scene scene_open(ferry_placement placement)
{
    return scene_open_with(placement, unix_pair(SOCK_STREAM), (ferry_stream_options){0});
}

/* With sendfile refusing for good where the way is to copy. */
static scene scene_open_for(ferry_placement placement, pair both, way by)
{
    const ferry_fault refuses = {FERRY_CALL_SENDFILE, 1, UINT64_MAX, FERRY_FAULT_ERROR, EINVAL};
    AT_END(drop_faults) ferry_faults *faults = by == BY_COPY ? faults_of(refuses) : NULL;
    return scene_open_with(placement, both, (ferry_stream_options){.faults = faults});
}

/* The peer and the stream are left to the test. */
static void scene_close(scene *s)
{
    ferry_service_destroy(s->service);
    ferry_faults_unref(s->faults);
    file_remove(&s->file);
    free(s->memory);
}

static ferry_promise *submit_big(scene *s, way by, const ferry_request_options *options)
{
    const ferry_part part = by == BY_MEMORY ? ferry_part_borrow(s->memory, BIG)
                                            : ferry_part_file(ferry_file_at(s->file.path));
    return submit_parts(s->stream, &part, 1, options);
}

/* When this returns some of it has left and the rest cannot. */
static ferry_promise *submit_head(scene *s, way by)
{
    ferry_promise *head = submit_big(s, by, NULL);
    wait_until_stuck(s->theirs);
    return head;
}

static void check_unsent(ferry_result result, int error, uint64_t remaining)
{
    check_eq(result.error, error);
    check_eq(result.phase, FERRY_PHASE_QUEUE);
    check_eq(result.method, FERRY_METHOD_NONE);
    check_eq(result.sent, 0);
    check_eq(result.remaining, remaining);
}

static void check_cut(ferry_result result, int error, way by)
{
    const ferry_method methods[] = {FERRY_METHOD_MEMORY, file_method(), FERRY_METHOD_COPY};
    check_eq(result.error, error);
    check_eq(result.phase, FERRY_PHASE_SINK);
    check_eq(result.method, methods[by]);
    check(result.sent > 0);
    check_eq(result.sent + result.remaining, BIG);
}

/* Closes the stream, which does not wait for the peer to read. That reads on to the end then, and
 * has got nothing but the first so many bytes of the content. */
static void close_and_check_peer_got(scene *s, uint64_t size)
{
    reader *peer = reader_start_if_owed(s->theirs);
    check_eq(close_stream(s->stream).error, 0);
    reader_check_content(reader_start_unless(peer, s->theirs), SEED, size);
}

/* ---- queued ---------------------------------------------------------------------------------- */

static void count_release(void *, void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

PROMISE_BOTH(calling_off, queued_request_sends_no_byte_and_settles_though_the_head_is_stuck)
{
    atomic_uint releases = 0;
    AT_END(scene_close) scene s = scene_open(placement);
    ferry_file given = ferry_file_fd(open(s.file.path, O_RDONLY | O_CLOEXEC));
    given.flags = FERRY_FD_GIVE;
    given.length = 1000;
    const ferry_part parts[] = {ferry_part_give(s.memory, 100, count_release, &releases),
                                ferry_part_file(given)};
    ferry_promise *head = submit_head(&s, BY_MEMORY);
    ferry_promise *before = submit_content(s.stream, 1, 30000);
    ferry_promise *compound = submit_parts(s.stream, parts, 2, NULL);
    ferry_promise *between = submit_content(s.stream, 2, 30000);
    ferry_promise *write = submit_content(s.stream, 3, 3000);
    ferry_promise *marker = submit_mark(s.stream);
    ferry_promise *after = submit_content(s.stream, 4, 30000);
    ferry_promise *cancelled[] = {compound, write, marker};
    static const uint64_t sizes[] = {1100, 3000, 0}, sequences[] = {2, 4, 5};
    for (unsigned i = 0; i < 3; i++)
        check_eq(ferry_promise_cancel(cancelled[i]), 0);
    for (unsigned i = 0; i < 3; i++) {
        ferry_result result = outcome(cancelled[i]);
        check_unsent(result, -ECANCELED, sizes[i]);
        check_eq(result.sequence, sequences[i]);
    }
    check_eq(atomic_load(&releases), 1);
    check_eq(ferry_promise_await(head, 0, NULL), -ETIMEDOUT);
    check_eq(stream_status(s.stream).error, 0);

    reader *peer = reader_start(s.theirs, false);
    ferry_promise *sent[] = {head, before, between, after, submit_content(s.stream, 5, 10)};
    static const uint64_t numbers[] = {0, 1, 3, 6, 7};
    uint64_t offset = 0;
    for (unsigned i = 0; i < 5; i++) {
        ferry_result result = outcome(sent[i]);
        check_eq(result.error, 0);
        check_eq(result.sequence, numbers[i]);
        check_eq(result.stream_offset, offset);
        offset += result.sent;
    }
    check_eq(close_stream(s.stream).error, 0);
    uint64_t expected = digest_content(DIGEST_BEGIN, SEED, 0, BIG);
    expected = digest_content(expected, 1, 0, 30000);
    expected = digest_content(expected, 2, 0, 30000);
    expected = digest_content(expected, 4, 0, 30000);
    expected = digest_content(expected, 5, 0, 10);
    reader_check(peer, offset, expected);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

PROMISE_BOTH(calling_off, twenty_thousand_queued_requests_are_called_off_within_seconds)
{
    enum { COUNT = 20000 };
    AT_END(scene_close) scene s = scene_open(placement);
    ferry_promise *head = submit_head(&s, BY_MEMORY);
    ferry_promise **promises = malloc(COUNT * sizeof *promises);
    for (unsigned i = 0; i < COUNT; i++)
        promises[i] = submit_write(s.stream, "0123456789", 10);
    double begin = seconds_now();
    for (unsigned i = COUNT; i-- > 0;) /* last first: where a search from the front takes longest */
        check_eq(ferry_promise_cancel(promises[i]), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        ferry_result result = outcome(promises[i]);
        check_unsent(result, -ECANCELED, 10);
        check_eq(result.sequence, i + 1);
    }
    check(seconds_now() - begin < 10); /* it takes milliseconds; quadratic would show */
    free(promises);
    ferry_stream_status status = stream_status(s.stream);
    check_eq(status.queued_requests, 1);
    check_eq(status.queued_bytes, BIG);
    check_eq(ferry_promise_cancel(head), 0);
    ferry_result cut = outcome(head);
    close_and_check_peer_got(&s, cut.sent);
}

/* ---- under way ------------------------------------------------------------------------------- */

static void cancel_in_flight(ferry_placement placement, pair both, way by)
{
    AT_END(scene_close) scene s = scene_open_for(placement, both, by);
    ferry_promise *head = submit_head(&s, by);
    ferry_promise *behind = submit_write(s.stream, "behind", 6);
    check_eq(ferry_promise_cancel(head), 0);
    ferry_result cut = outcome(head); /* the peer reads nothing: it would wait for ever */
    check_cut(cut, -ECANCELED, by);
    check_unsent(outcome(behind), -ECANCELED, 6);
    check_unsent(outcome(submit_write(s.stream, "later", 5)), -ECANCELED, 5);
    ferry_stream_status status = stream_status(s.stream);
    check_eq(status.error, -ECANCELED);
    check_eq(status.sent_bytes, cut.sent);
    check_eq(status.queued_requests, 0);
    check_eq(status.queued_bytes, 0);
    close_and_check_peer_got(&s, cut.sent);
}

PROMISE_BOTH(calling_off, request_in_flight_to_a_unix_peer_that_reads_nothing_is_counted_exactly)
{
    for (way by = BY_MEMORY; by < WAYS; by++)
        cancel_in_flight(placement, unix_pair(SOCK_STREAM), by);
}

/* Pins: bounded_in_time. */
PROMISE_BOTH(calling_off, request_in_flight_to_a_tcp_peer_that_reads_nothing_is_counted_exactly)
{
    for (way by = BY_MEMORY; by < WAYS; by++)
        cancel_in_flight(placement, tcp_pair(), by);
}

PROMISE_BOTH(calling_off, request_that_waits_for_a_dry_pipe_settles_in_phase_source)
{
    AT_END(scene_close) scene s = scene_open(placement);
    AT_END(close_pair) pair pipe = pipe_pair();
    check_eq(write(pipe.ours, s.memory, 100), 100);
    ferry_promise *dry = submit_file(s.stream, ferry_file_fd(pipe.theirs));
    wait_until_stuck(s.theirs);
    check_eq(ferry_promise_cancel(dry), 0);
    check_outcome(dry, .error = -ECANCELED, .phase = FERRY_PHASE_SOURCE, .sent = 100);
    close_and_check_peer_got(&s, 100);
}

static void cancel_that(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    check_eq(ferry_promise_cancel(atomic_load((_Atomic(ferry_promise *) *)arg)), 0);
}

PROMISE_BOTH(calling_off, request_can_be_cancelled_on_the_owner_itself)
{
    AT_END(scene_close) scene s = scene_open(placement);
    ferry_promise *head = submit_head(&s, BY_MEMORY);
    _Atomic(ferry_promise *) target = NULL;
    const ferry_request_options options = calling_on_owner(cancel_that, &target);
    ferry_promise *first = submit_write_with(s.stream, "x", 1, &options);
    atomic_store(&target, submit_big(&s, BY_SENDFILE, NULL));
    read_away(s.theirs, BIG + 1); /* all before the target, and nothing of it */
    check_eq(outcome(head).error, 0);
    check_eq(outcome(first).error, 0);
    ferry_result cut = outcome(atomic_load(&target));
    check_eq(cut.error, -ECANCELED);
    close_and_check_peer_got(&s, cut.sent);
}

/* ---- what cancelling answers ----------------------------------------------------------------- */

PROMISE_BOTH(calling_off, cancel_says_what_cannot_be_called_off)
{
    AT_END(scene_close) scene s = scene_open(placement);
    check_eq(ferry_promise_cancel(NULL), -EINVAL);
    ferry_promise *settled = submit_write(s.stream, "x", 1);
    check_eq(ferry_promise_await(settled, -1, NULL), 0);
    check_eq(ferry_promise_cancel(settled), -EALREADY);
    ferry_promise_unref(settled);
    check_eq(recv(s.theirs, (char[1]){0}, 1, 0), 1);

    ferry_promise *head = submit_head(&s, BY_MEMORY);
    ferry_promise *shut = submit_shutdown(s.stream);
    ferry_promise *closed = submit_close(s.stream);
    check_eq(ferry_promise_cancel(shut), -EOPNOTSUPP);
    check_eq(ferry_promise_cancel(closed), -EOPNOTSUPP);
    check_eq(ferry_promise_cancel(head), 0);
    int again = ferry_promise_cancel(head); /* twice, unless it has settled already */
    check(again == 0 || again == -EALREADY);
    ferry_result cut = outcome(head);
    check_eq(cut.error, -ECANCELED);
    check_eq(outcome(shut).error, -ECANCELED); /* behind what poisoned the stream */
    reader *peer = reader_start_if_owed(s.theirs);
    check_eq(ferry_promise_await(closed, -1, NULL), 0);
    check_eq(ferry_promise_cancel(closed), -EALREADY);
    check_eq(outcome(closed).error, 0);
    ferry_stream_unref(s.stream);
    reader_check_content(reader_start_unless(peer, s.theirs), SEED, cut.sent);
}

typedef struct hold {
    ferry_promise *promise;
    unsigned cancels;
} hold;

static void cancel_several_times(ferry_promise *promise, const ferry_result *, void *arg)
{
    (void)promise;
    hold *target = arg;
    for (unsigned i = 0; i < target->cancels; i++) /* its own thread runs this: it cannot settle */
        check_eq(ferry_promise_cancel(target->promise), 0);
}

PROMISE_BOTH(calling_off, cancelling_again_is_zero_for_as_long_as_it_is_pending)
{
    hold target = {.cancels = 3};
    AT_END(scene_close) scene s = scene_open(placement);
    const ferry_request_options options = calling_on_owner(cancel_several_times, &target);
    ferry_promise *head = submit_head(&s, BY_MEMORY);
    ferry_promise *first = submit_write_with(s.stream, "x", 1, &options);
    target.promise = submit_big(&s, BY_MEMORY, NULL);
    check_eq(ferry_promise_cancel(head), 0);
    check_eq(outcome(head).error, -ECANCELED);
    check_eq(outcome(target.promise).error, -ECANCELED);
    check_eq(outcome(first).error, -ECANCELED);
    reader *peer = reader_start_if_owed(s.theirs);
    check_eq(close_stream(s.stream).error, 0);
    (void)reader_end(reader_start_unless(peer, s.theirs));
}

PROMISE_BOTH(calling_off, cancel_in_a_forked_child_is_echild_and_touches_nothing)
{
    AT_END(scene_close) scene s = scene_open(placement);
    ferry_promise *settled = submit_write(s.stream, "x", 1);
    check_eq(ferry_promise_await(settled, -1, NULL), 0);
    check_eq(recv(s.theirs, (char[1]){0}, 1, 0), 1);
    ferry_promise *head = submit_head(&s, BY_MEMORY);
    pid_t child = fork();
    if (child == 0) {
        bool right =
            ferry_promise_cancel(head) == -ECHILD && ferry_promise_cancel(settled) == -EALREADY;
        _exit(right ? 0 : 1);
    }
    await_child(child);
    ferry_promise_unref(settled);
    reader *peer = reader_start(s.theirs, false);
    check_eq(outcome(head).error, 0);
    check_eq(close_stream(s.stream).error, 0);
    check_eq(reader_end(peer), BIG);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

/* Pins: bounded_in_time. */
PROMISE_BOTH(calling_off, deadline_of_a_queued_request_passes_though_the_head_is_stuck)
{
    AT_END(scene_close) scene s = scene_open(placement);
    const ferry_request_options soon = {.timeout_ms = 30}, sooner = {.timeout_ms = 1};
    ferry_promise *head = submit_head(&s, BY_MEMORY);
    double began = seconds_now();
    ferry_promise *late = submit_write_with(s.stream, "late", 4, &soon);
    ferry_promise *earlier = submit_write_with(s.stream, "early", 5, &sooner);
    ferry_promise *after = submit_write(s.stream, "", 0);
    ferry_result result = outcome(earlier);
    check_unsent(result, -ETIMEDOUT, 5);
    check_eq(result.sequence, 2);
    result = outcome(late);
    check_unsent(result, -ETIMEDOUT, 4);
    check_eq(result.sequence, 1);
    check(seconds_now() - began >= 0.030);
    check_eq(stream_status(s.stream).error, 0);
    check_eq(ferry_promise_await(head, 0, NULL), -ETIMEDOUT);
    ferry_promise *closed = submit_close(s.stream);
    ferry_stream_unref(s.stream);
    check_fd_content(s.theirs, SEED, BIG);
    check_eq(outcome(head).error, 0);
    check_eq(outcome(after).error, 0);
    check_eq(outcome(closed).error, 0);
}

PROMISE_BOTH(calling_off, deadline_of_a_request_in_flight_is_counted_exactly)
{
    for (way by = BY_MEMORY; by < WAYS; by++) {
        AT_END(scene_close)
        scene s =
            scene_open_for(placement, by == BY_COPY ? tcp_pair() : unix_pair(SOCK_STREAM), by);
        const ferry_request_options options = {.timeout_ms = 500};
        double began = seconds_now();
        ferry_promise *head = submit_big(&s, by, &options);
        ferry_promise *behind = submit_write(s.stream, "behind", 6);
        ferry_result cut = outcome(head);
        check_cut(cut, -ETIMEDOUT, by);
        check(seconds_now() - began >= 0.5);
        check_unsent(outcome(behind), -ECANCELED, 6);
        check_eq(stream_status(s.stream).error, -ETIMEDOUT);
        close_and_check_peer_got(&s, cut.sent);
    }
}

PROMISE_BOTH(calling_off, deadline_that_is_kept_changes_nothing)
{
    AT_END(scene_close) scene s = scene_open(placement);
    static const ferry_request_options long_ones[] = {{.timeout_ms = 3600 * 1000},
                                                      {.timeout_ms = INT64_MAX}};
    reader *peer = reader_start(s.theirs, false);
    uint64_t expected = DIGEST_BEGIN;
    for (unsigned i = 0; i < 2; i++) {
        for (way by = BY_MEMORY; by < BY_COPY; by++) {
            check_eq(outcome(submit_big(&s, by, &long_ones[i])).error, 0);
            expected = digest_content(expected, SEED, 0, BIG);
        }
    }
    ferry_promise *unset = (ferry_promise *)&s;
    const ferry_request_options negative = {.timeout_ms = -1};
    check_eq(ferry_stream_write(s.stream, "x", 1, &negative, &unset), -EINVAL);
    check(unset == (ferry_promise *)&s);
    check_eq(close_stream(s.stream).error, 0);
    reader_check(peer, UINT64_C(4) * BIG, expected);
}

/* ---- races ----------------------------------------------------------------------------------- */

enum { CROWD = 3, COUNT = 48, ROUNDS = 60, MOST = 100000 };

typedef enum ending { CLOSE, ABORT, DESTROY, DROP, ENDINGS } ending;

/* One round: requests on a stream, and threads that call them off while they are carried out. */
typedef struct race {
    ferry_promise *promises[COUNT];
    uint64_t sizes[COUNT];
    atomic_bool was_asked[COUNT]; /* a cancel was answered with 0 */
    unsigned callbacks[COUNT];
    pthread_barrier_t start;
} race;

typedef struct canceller {
    race *race;
    uint64_t random;
} canceller;

static void *cancel_at_random(void *arg)
{
    canceller *self = arg;
    (void)pthread_barrier_wait(&self->race->start);
    for (unsigned n = 0; n < COUNT; n++) {
        unsigned i = (unsigned)(random_next(&self->random) % COUNT);
        ferry_promise *promise = ferry_promise_ref(self->race->promises[i]);
        int error = ferry_promise_cancel(promise);
        ferry_promise_unref(promise);
        check(error == 0 || error == -EALREADY);
        if (error == 0)
            atomic_store(&self->race->was_asked[i], true);
    }
    return NULL;
}

/* What the peer is to have got: of each request as much as its result says, in their order. */
static uint64_t check_results(race *all, ending how, uint64_t *ret_bytes)
{
    uint64_t expected = DIGEST_BEGIN, bytes = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        while (all->callbacks[i] == 0)
            check(ferry_inbox_run(-1) >= 0);
        ferry_result result = outcome(all->promises[i]);
        check_eq(result.sequence, i);
        check_eq(result.sent + result.remaining, all->sizes[i]);
        check(result.error == 0 || result.error == -ECANCELED);
        check((result.error == 0) == (result.remaining == 0 && result.phase == FERRY_PHASE_DONE));
        if (result.error != 0 && (how == CLOSE || how == DROP))
            check(atomic_load(&all->was_asked[i]));
        if (result.sent > 0)
            check_eq(result.stream_offset, bytes);
        expected = digest_content(expected, i, 0, result.sent);
        bytes += result.sent;
    }
    check(ferry_inbox_run(0) >= 0);
    for (unsigned i = 0; i < COUNT; i++)
        check_eq(all->callbacks[i], 1);
    *ret_bytes = bytes;
    return expected;
}

static void submit_all(race *all, ferry_stream *stream, uint64_t *random)
{
    for (unsigned i = 0; i < COUNT; i++) {
        all->sizes[i] = 1 + random_next(random) % (i % 4 == 0 ? MOST : 200);
        all->promises[i] = submit_content(stream, i, all->sizes[i]);
        check_eq(ferry_promise_observe(all->promises[i], count_up, &all->callbacks[i], NULL), 0);
    }
}

static stage begin_to_race(ferry_placement placement)
{
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.framing = FERRY_FRAMING_CONTINUE});
    stage_let_read(&s);
    return s;
}

static void end_stream(stage *s, ending how)
{
    if (how == CLOSE)
        check_eq(ferry_stream_close(s->stream, NULL), 0);
    else if (how == ABORT)
        ferry_stream_abort(s->stream);
    else if (how == DESTROY)
        stage_destroy(s);
    s->stream = ferry_stream_unref(s->stream);
}

static void race_once(ferry_placement placement, ending how, uint64_t *random)
{
    AT_END(stage_end) stage s = begin_to_race(placement);
    AT_END(free_memory) race *all = calloc(1, sizeof *all);
    check_eq(pthread_barrier_init(&all->start, NULL, CROWD + 1), 0);
    submit_all(all, s.stream, random);
    canceller crowd[CROWD];
    pthread_t threads[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i] = (canceller){.race = all, .random = random_next(random)};
        threads[i] = start_thread(cancel_at_random, &crowd[i]);
    }
    (void)pthread_barrier_wait(&all->start);
    end_stream(&s, how);
    join_threads(threads, CROWD);
    uint64_t bytes, expected = check_results(all, how, &bytes);
    if (OVER_RECORDS && (how == ABORT || how == DESTROY)) /* which drop what is owed */
        (void)reader_end(s.peer);
    else
        reader_check(s.peer, bytes, expected);
    s.peer = NULL;
    pthread_barrier_destroy(&all->start);
}

/* Pins: exactly_once. */
PROMISE_BOTH(calling_off, race_of_cancel_completion_and_end_settles_once_with_the_right_count)
{
    uint64_t random = random_seed();
    for (unsigned round = 0; round < ROUNDS; round++)
        race_once(placement, (ending)(round % ENDINGS), &random);
}

PROMISE_BOTH(calling_off, promise_may_be_dropped_right_after_its_cancel)
{
    uint64_t random = random_seed();
    for (unsigned round = 0; round < ROUNDS; round++) {
        AT_END(stage_end) stage s = begin_to_race(placement);
        for (unsigned i = 0; i < 100; i++) {
            AT_END(drop_promise)
            ferry_promise *promise =
                submit_content(s.stream, i, 1 + random_next(&random) % (i % 8 == 0 ? MOST : 20));
            int error = ferry_promise_cancel(promise);
            check(error == 0 || error == -EALREADY);
        }
        ending how = (ending)(round % ENDINGS);
        uint64_t sent = 0;
        if (how == CLOSE) {
            check_eq(ferry_service_drain(s.service, -1), 0);
            ferry_stream_status status = stream_status(s.stream);
            check_eq(status.queued_requests, 0);
            check_eq(status.queued_bytes, 0);
            check_eq(status.error, 0);
            sent = status.sent_bytes;
        }
        end_stream(&s, how);
        uint64_t got = reader_end(s.peer);
        s.peer = NULL;
        if (how == CLOSE)
            check_eq(got, sent);
    }
}

/* ---- callbacks on the owner ------------------------------------------------------------------ */

/* Keeps the owner until all is submitted, and all deadlines are over; then it has nothing. */
static int64_t dawdle(void *, size_t, void *arg)
{
    const atomic_bool *is_all_submitted = arg;
    while (!atomic_load(is_all_submitted))
        sched_yield();
    usleep(100 * 1000);
    return -EAGAIN;
}

typedef struct witness {
    int theirs;
    bool came_first;
} witness;

static void look_for_bytes(ferry_promise *, const ferry_result *result, void *arg)
{
    witness *self = arg;
    char byte;
    check_eq(result->error, -ETIMEDOUT);
    self->came_first = recv(self->theirs, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

PROMISE_BOTH(calling_off,
             callback_on_the_owner_comes_before_what_follows_whatever_else_is_called_off)
{
    atomic_bool is_all_submitted = false;
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    witness told = {.theirs = s.theirs};
    const ferry_request_options soon = {.timeout_ms = 50};
    const ferry_request_options heard = {.timeout_ms = 50,
                                         .on_owner = look_for_bytes,
                                         .on_owner_holds_queue = true,
                                         .on_owner_arg = &told};
    ferry_part dry = ferry_part_generate(dawdle, &is_all_submitted, 5, NULL);
    ferry_promise *sent[] = {
        submit_parts(s.stream, &dry, 1, &soon), submit_write_with(s.stream, "heard", 5, &heard),
        submit_write_with(s.stream, "other", 5, &soon), submit_write(s.stream, "after", 5)};
    atomic_store(&is_all_submitted, true);
    for (unsigned i = 0; i < 3; i++)
        check_eq(outcome(sent[i]).error, -ETIMEDOUT);
    check_eq(outcome(sent[3]).error, 0);
    check(told.came_first);
}

static void cancel_other(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise, (void)result;
    _Atomic(ferry_promise *) *other = arg;
    (void)ferry_promise_cancel(atomic_load(other));
}

PROMISE_BOTH(calling_off, request_that_is_cancelled_once_the_connection_broke_has_sent_nothing)
{
    _Atomic(ferry_promise *) second = NULL;
    const ferry_request_options options = {.on_owner = cancel_other, .on_owner_arg = &second};
    AT_END(free_memory) unsigned char *zeros = calloc(1, STUCK_BYTES);
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    ferry_promise *first = submit_write_with(s.stream, zeros, STUCK_BYTES, &options);
    atomic_store(&second, submit_write(s.stream, "x", 1));
    wait_until_stuck(s.theirs);
    close_with_reset(stage_take(&s));
    check_eq(outcome(first).error, -ECONNRESET);
    check_outcome(atomic_load(&second), .error = -ECANCELED, .sent = 0);
}
