/* SPDX-License-Identifier: MIT */
/* Invariant exactly_once: a submit that returned 0 settles once, whatever happens. */
#include "tests/support.h"

enum { COUNT = 200 };

typedef struct tally {
    unsigned accepted;
    unsigned settled;
    unsigned failed;
} tally;

static void count(ferry_promise *, const ferry_result *result, void *arg)
{
    tally *seen = arg;
    seen->settled++;
    seen->failed += result->error != 0;
}

/* Submits something and counts it in if it was accepted. */
static void watch(tally *seen, int accepted, ferry_promise *const *promise)
{
    if (accepted != 0)
        return;
    seen->accepted++;
    check_eq(ferry_promise_observe(*promise, count, seen, NULL), 0);
    ferry_promise_unref(*promise);
}

static void submit_some(ferry_stream *stream, const test_file *file, tally *seen)
{
    char data[100] = "data";
    ferry_file range = ferry_file_fd(file->fd);
    range.offset = 0;
    const ferry_part parts[] = {ferry_part_copy(data, sizeof data), ferry_part_file(range)};
    for (unsigned i = 0; i < COUNT; i++) {
        ferry_promise *promise;
        int accepted = i % 3 == 0   ? ferry_stream_write(stream, data, sizeof data, NULL, &promise)
                       : i % 3 == 1 ? ferry_stream_sendfile(stream, &range, NULL, &promise)
                                    : ferry_stream_send(stream, parts, 2, NULL, &promise);
        watch(seen, accepted, &promise);
    }
}

static void run_until_all_settled(const tally *seen)
{
    while (seen->settled < seen->accepted)
        check(ferry_inbox_run(-1) > 0);
    check_eq(ferry_inbox_run(0), 0);
    check_eq(seen->settled, seen->accepted);
}

/* How the life of a stream may end with requests under way. */
typedef enum ending { BY_CLOSE, BY_ABORT, BY_DESTROY, BY_RESET } ending;

static void end_life(stage *s, ending how)
{
    switch (how) {
    case BY_CLOSE:
        check_eq(ferry_stream_close(s->stream, NULL), 0);
        break;
    case BY_ABORT:
        ferry_stream_abort(s->stream);
        break;
    case BY_DESTROY:
        stage_destroy(s);
        break;
    default:
        wait_readable(s->theirs);
        close_with_reset(stage_take(s));
    }
}

static void end_with_much_under_way(ferry_placement placement, ending how)
{
    tally seen = {0};
    AT_END(file_remove) test_file file = file_make(300000, 1);
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    submit_some(s.stream, &file, &seen);
    check_eq(seen.accepted, COUNT);
    end_life(&s, how);
    if (how == BY_DESTROY)
        check_eq(ferry_inbox_run(0), seen.accepted); /* all is settled when destroy returns */
    run_until_all_settled(&seen);
    check(seen.failed > 0);
}

PROMISE_BOTH(exactly_once, requests_settle_once_when_the_peer_resets)
{
    end_with_much_under_way(placement, BY_RESET);
}

PROMISE_BOTH(exactly_once, requests_settle_once_when_the_stream_is_aborted)
{
    end_with_much_under_way(placement, BY_ABORT);
}

PROMISE_BOTH(exactly_once, requests_settle_once_when_the_service_is_destroyed)
{
    end_with_much_under_way(placement, BY_DESTROY);
}

/* ---- submits that race with the end ---------------------------------------------------------- */

typedef struct racer {
    ferry_stream *stream;
    atomic_bool *go;
    tally seen;
} racer;

static void *submit_in_a_race(void *arg)
{
    racer *self = arg;
    while (!atomic_load(self->go)) {
    }
    int accepted;
    do {
        ferry_promise *promise;
        accepted = ferry_stream_write(self->stream, "x", 1, NULL, &promise);
        watch(&self->seen, accepted, &promise);
    } while (accepted == 0 || accepted == -EAGAIN);
    check_eq(accepted, -ESHUTDOWN);
    run_until_all_settled(&self->seen);
    return NULL;
}

static void race(ferry_placement placement, ending how)
{
    enum { RACERS = 3, ROUNDS = 60 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        atomic_bool go = false;
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        stage_let_read(&s);
        racer racers[RACERS];
        pthread_t threads[RACERS];
        for (unsigned i = 0; i < RACERS; i++) {
            racers[i] = (racer){.stream = s.stream, .go = &go};
            threads[i] = start_thread(submit_in_a_race, &racers[i]);
        }
        atomic_store(&go, true);
        usleep(round * 20); /* the moment of the end varies from round to round */
        end_life(&s, how);
        join_threads(threads, RACERS);
    }
}

PROMISE_BOTH(exactly_once, submits_racing_with_close_are_refused_or_settle)
{
    race(placement, BY_CLOSE);
}

PROMISE_BOTH(exactly_once, submits_racing_with_abort_are_refused_or_settle)
{
    race(placement, BY_ABORT);
}

/* Pins: exactly_once. */
PROMISE_BOTH(exactly_once, submits_racing_with_destroy_are_refused_or_settle)
{
    race(placement, BY_DESTROY);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* One life of a stream with every kind of request. Which of them are refused is up to memory. */
static void live_once(ferry_placement placement, const test_file *file, tally *seen)
{
    ferry_service *service;
    const ferry_service_options options = {.placement = placement, .shared_owners = 1};
    if (ferry_service_create(&options, &service) != 0)
        return;
    pair both = unix_pair(SOCK_STREAM);
    reader *peer = reader_start(both.theirs, false);
    ferry_stream *stream;
    int adopted = ferry_stream_adopt(service, both.ours, NULL, &stream);
    if (adopted != 0) {
        check_eq(adopted, -ENOMEM);
        close(both.ours);
    } else {
        ferry_promise *promise;
        ferry_file range = ferry_file_at(file->path);
        ferry_file pseudo = ferry_file_at("/proc/self/status"); /* is copied, through a buffer */
        watch(seen, ferry_stream_write(stream, "x", 1, NULL, &promise), &promise);
        watch(seen, ferry_stream_sendfile(stream, &range, NULL, &promise), &promise);
        watch(seen, ferry_stream_sendfile(stream, &pseudo, NULL, &promise), &promise);
        watch(seen, ferry_stream_mark(stream, &promise), &promise);
        watch(seen, ferry_stream_shutdown(stream, &promise), &promise);
        ferry_stream_unref(stream);
        int drained = ferry_service_drain(service, -1);
        check(drained == 0 || drained == -ENOMEM);
    }
    ferry_service_destroy(service);
    run_until_all_settled(seen);
    (void)reader_end(peer);
}

/* Pins: exactly_once. */
PROMISE_BOTH(exactly_once, any_failing_allocation_is_refused_or_settles_and_leaks_nothing)
{
    AT_END(file_remove) test_file file = file_make(10000, 1);
    check(ferry_inbox_run(0) == 0); /* this thread's inbox is there before memory runs out */
    shortage memory = {0};
    while (next_allocation_fails(&memory)) {
        tally seen = {0};
        live_once(placement, &file, &seen);
    }
    check(memory.failures > 8);
}
