/* SPDX-License-Identifier: MIT */
/* -ECANCELED always says why; and what was not cancelled by anybody may be tried again. */
#include "tests/support.h"

#include <semaphore.h>
#include <sys/un.h>

static void check_cause(ferry_promise *promise, ferry_cause cause)
{
    check_outcome(promise, .error = -ECANCELED, .cause = cause);
}

static ferry_promise *submit_read(ferry_stream *stream, void *data, size_t size)
{
    const ferry_read what = {.data = data, .size = size, .mode = FERRY_READ_EXACTLY};
    ferry_promise *promise;
    check_eq(ferry_stream_read(stream, &what, NULL, &promise), 0);
    return promise;
}

static ferry_promise *submit_relay(ferry_stream *from, ferry_stream *to)
{
    ferry_promise *promise;
    check_eq(ferry_stream_relay(from, to, FERRY_TO_END, 0, NULL, &promise), 0);
    return promise;
}

/* A stream with a head that is stuck, a write behind it, and a read. */
typedef struct scene {
    stage on;
    ferry_promise *head, *behind, *read;
} scene;

static scene scene_open(ferry_placement placement)
{
    static char memory[16];
    scene s = {.on = stage_open(placement, unix_pair(SOCK_STREAM))};
    s.head = submit_stuck(s.on.stream, s.on.theirs);
    s.behind = submit_write(s.on.stream, "x", 1);
    s.read = submit_read(s.on.stream, memory, sizeof memory);
    return s;
}

static void scene_close(scene *s)
{
    stage_end(&s->on);
}

PROMISE_EITHER(causes, cancel_is_cancel_and_what_waits_behind_a_poisoned_head_is_broken)
{
    AT_END(scene_close) scene s = scene_open(placement);
    check_eq(ferry_promise_cancel(s.read), 0);
    check_cause(s.read, FERRY_CAUSE_CANCEL);
    check_eq(ferry_promise_cancel(s.head), 0); /* midway */
    check_cause(s.head, FERRY_CAUSE_CANCEL);
    check_cause(s.behind, FERRY_CAUSE_BROKEN);
}

PROMISE_EITHER(causes, connection_that_breaks_is_an_error_of_the_head_and_a_cause_behind_it)
{
    AT_END(scene_close) scene s = scene_open(placement);
    check_eq(ferry_promise_cancel(s.read), 0);
    ferry_promise_unref(s.read);
    stage_hang_up(&s.on);
    ferry_result head = outcome(s.head);
    check(head.error == -EPIPE || head.error == -ECONNRESET);
    check_eq(head.cause, FERRY_CAUSE_NONE);
    check_cause(s.behind, FERRY_CAUSE_BROKEN);
}

PROMISE_EITHER(causes, abort_is_abort_of_all_that_was_under_way)
{
    AT_END(scene_close) scene s = scene_open(placement);
    ferry_stream_abort(s.on.stream);
    ferry_promise *closed = submit_close(s.on.stream);
    check_cause(s.head, FERRY_CAUSE_ABORT);
    check_cause(s.behind, FERRY_CAUSE_ABORT);
    check_cause(s.read, FERRY_CAUSE_ABORT);
    check_cause(closed, FERRY_CAUSE_ABORT);
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0) {
    }
}

/* Holds its owner in a turn until it is told to go on. */
typedef struct doorman {
    sem_t is_there, may_go;
} doorman;

static void doorman_init(doorman *self)
{
    check_eq(sem_init(&self->is_there, 0, 0), 0);
    check_eq(sem_init(&self->may_go, 0, 0), 0);
}

static void hold_owner(ferry_promise *, const ferry_result *, void *arg)
{
    doorman *self = arg;
    check_eq(sem_post(&self->is_there), 0);
    wait_for(&self->may_go);
}

static void hold_by(doorman *self, ferry_stream *stream)
{
    doorman_init(self);
    write_calling(stream, "x", 1, hold_owner, self);
}

/* The owner is between the round's mail and the stream's turn when both are posted: it sees the cut
 * before it has got either. */
PROMISE(causes,
        what_was_submitted_before_an_abort_is_called_off_by_it_and_cancelled_before_it_by_that)
{
    doorman outer, inner;
    AT_END(destroy_service)
    ferry_service *service = service_of_one_owner(FERRY_PLACEMENT_SHARED);
    AT_END(close_theirs) pair first = unix_pair(SOCK_STREAM), second = unix_pair(SOCK_STREAM);
    AT_END(drop_stream) ferry_stream *other = stream_adopt(service, first.ours);
    AT_END(drop_stream) ferry_stream *stream = stream_adopt(service, second.ours);
    ferry_promise *head = submit_stuck(stream, second.theirs);
    ferry_promise *behind = submit_write(stream, "x", 1);
    hold_by(&outer, other);
    wait_for(&outer.is_there);
    hold_by(&inner, other); /* in the next round, both have a turn: */
    ferry_stream_wake_generator(stream);
    check_eq(sem_post(&outer.may_go), 0);
    wait_for(&inner.is_there);
    ferry_promise *last = submit_write(stream, "y", 1);
    check_eq(ferry_promise_cancel(behind), 0);
    ferry_stream_abort(stream);
    check_eq(sem_post(&inner.may_go), 0);
    check_cause(head, FERRY_CAUSE_ABORT);
    check_cause(behind, FERRY_CAUSE_CANCEL);
    check_cause(last, FERRY_CAUSE_ABORT);
}

PROMISE_EITHER(causes, destroy_is_destroy_of_all_that_was_under_way)
{
    AT_END(scene_close) scene s = scene_open(placement);
    ferry_promise *closed = submit_close(s.on.stream);
    stage_destroy(&s.on);
    check_cause(s.head, FERRY_CAUSE_DESTROY);
    check_cause(s.behind, FERRY_CAUSE_DESTROY);
    check_cause(s.read, FERRY_CAUSE_DESTROY);
    check_cause(closed, FERRY_CAUSE_DESTROY);
}

PROMISE_EITHER(causes, abort_of_what_waits_for_confirmation_is_abort)
{
    const ferry_request_options acked = {.completion = FERRY_COMPLETION_ACKED};
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *sent = submit_write_with(s.stream, "x", 1, &acked);
    wait_readable(s.theirs);
    ferry_stream_abort(s.stream);
    check_cause(sent, FERRY_CAUSE_ABORT);
}

PROMISE_EITHER(causes, read_of_a_stream_that_is_closed_is_close)
{
    char memory[16];
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *read = submit_read(s.stream, memory, sizeof memory);
    stage_close(&s);
    check_cause(read, FERRY_CAUSE_CLOSE);
}

/* ---- relays ---------------------------------------------------------------------------------- */

PROMISE_EITHER(causes, relay_has_the_cause_of_whichever_stream_called_it_off)
{
    static const ferry_cause causes[] = {FERRY_CAUSE_CANCEL, FERRY_CAUSE_CLOSE, FERRY_CAUSE_ABORT,
                                         FERRY_CAUSE_BROKEN};
    for (unsigned i = 0; i < 4; i++) {
        AT_END(scene_close) scene to = scene_open(placement);
        AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
        AT_END(drop_stream) ferry_stream *from = stream_adopt(to.on.service, both.ours);
        ferry_promise *relayed = submit_relay(from, to.on.stream);
        check_eq(write(both.theirs, "abc", 3), 3);
        wait_until_asleep();
        if (causes[i] == FERRY_CAUSE_CANCEL)
            check_eq(ferry_promise_cancel(relayed), 0);
        else if (causes[i] == FERRY_CAUSE_CLOSE)
            check_eq(ferry_stream_close(from, NULL), 0);
        else if (causes[i] == FERRY_CAUSE_ABORT)
            ferry_stream_abort(to.on.stream);
        else
            check_eq(ferry_promise_cancel(to.head), 0); /* which poisons to */
        check_cause(relayed, causes[i]);
        ferry_promise_unref(to.head);
        ferry_promise_unref(to.behind);
        ferry_promise_unref(to.read);
    }
}

/* ---- what is no stream's --------------------------------------------------------------------- */

PROMISE_EITHER(causes, promise_of_room_that_is_cancelled_is_cancel)
{
    const ferry_stream_options narrow = {.limit_requests = 1};
    AT_END(stage_end) stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), narrow);
    ferry_promise *head = submit_stuck(s.stream, s.theirs), *room;
    check_eq(ferry_stream_promise_room(s.stream, 1, 0, &room), 0);
    check_eq(ferry_promise_cancel(room), 0);
    check_cause(room, FERRY_CAUSE_CANCEL);
    ferry_promise_unref(head);
    ferry_stream_abort(s.stream);
}

/* A listening socket that nobody can connect to for now; its address in text. */
static int full_listener(char *text, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, 60, "ferry-causes-%ld-%d", (long)getpid(), rand());
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(bind(listening, (struct sockaddr *)&address, bytes), 0);
    check_eq(listen(listening, 0), 0);
    snprintf(text, size, "unix:@%.*s", length, address.sun_path + 1);
    return listening;
}

PROMISE_EITHER(causes, connect_is_cancelled_or_goes_with_its_service)
{
    char address[160];
    AT_END(close_fd) int listening = full_listener(address, sizeof address);
    ferry_service *service = service_start(placement);
    ferry_promise *first, *cancelled, *destroyed;
    check_eq(ferry_connect(service, address, NULL, &first), 0);
    check_eq(outcome(first).error, 0); /* that is the one that fits */
    check_eq(ferry_connect(service, address, NULL, &cancelled), 0);
    check_eq(ferry_connect(service, address, NULL, &destroyed), 0);
    check_eq(ferry_promise_cancel(cancelled), 0);
    check_cause(cancelled, FERRY_CAUSE_CANCEL);
    ferry_service_destroy(service);
    check_cause(destroyed, FERRY_CAUSE_DESTROY);
}

static void *set_reader_and_end(void *stream)
{
    set_reader(stream, (ferry_reader){.on_read = take_all, .keep_open = true});
    return NULL;
}

PROMISE_EITHER(causes, read_after_the_readers_thread_has_ended_is_gone)
{
    char memory[16];
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    run_to_its_end(set_reader_and_end, s.stream);
    check_eq(write(s.theirs, "abc", 3), 3); /* on loan to nobody */
    wait_until_asleep();
    check_cause(submit_read(s.stream, memory, sizeof memory), FERRY_CAUSE_GONE);
}

static void *make_and_end(void *arg)
{
    doorman *self = arg;
    ferry_promise **made = (ferry_promise **)(void *)(self + 1);
    check_eq(ferry_promise_after(1000000, &made[0]), 0);
    check_eq(ferry_promise_after(1000000, &made[1]), 0);
    check_eq(ferry_promise_without_cancel(made[0], &made[2]), 0);
    check_eq(ferry_promise_without_cancel(made[1], &made[3]), 0);
    check_eq(sem_post(&self->is_there), 0);
    wait_for(&self->may_go);
    return NULL;
}

PROMISE(causes, cancel_that_the_ended_thread_has_not_heard_of_is_cancel)
{
    struct {
        doorman door;
        ferry_promise *made[4]; /* two that take time, and what is made of them */
    } s;
    doorman_init(&s.door);
    pthread_t thread = start_thread(make_and_end, &s);
    wait_for(&s.door.is_there);
    check_eq(ferry_promise_cancel(s.made[0]), 0);
    check_eq(ferry_promise_cancel(s.made[2]), 0);
    check_eq(sem_post(&s.door.may_go), 0);
    check_eq(pthread_join(thread, NULL), 0);
    check_cause(s.made[0], FERRY_CAUSE_CANCEL);
    check_cause(s.made[1], FERRY_CAUSE_GONE);
    check_cause(s.made[2], FERRY_CAUSE_CANCEL);
    check_cause(s.made[3], FERRY_CAUSE_GONE);
}

/* ---- again ----------------------------------------------------------------------------------- */

/* Two transfers over one connection, which breaks; each begins anew over another. */
typedef struct transfer {
    ferry_stream **stream;
    ferry_promise *first; /* of the first attempt, which is made already */
    unsigned attempts;
} transfer;

static ferry_promise *start_transfer(size_t number, ferry_outcome *outcome, void *arg)
{
    transfer *self = arg;
    ferry_promise *sent = self->first;
    self->attempts++;
    if (number > 0)
        outcome->result.error = ferry_stream_write(*self->stream, "x", 1, NULL, &sent);
    return sent;
}

PROMISE_EITHER(causes, retry_tries_again_what_waited_behind_a_connection_that_broke)
{
    AT_END(scene_close) scene s = scene_open(placement);
    check_eq(ferry_promise_cancel(s.read), 0);
    ferry_promise_unref(s.read);
    AT_END(close_theirs) pair fresh = unix_pair(SOCK_STREAM);
    AT_END(drop_stream) ferry_stream *second = stream_adopt(s.on.service, fresh.ours);
    transfer both[2] = {{.stream = &second, .first = s.head},
                        {.stream = &second, .first = s.behind}};
    ferry_promise *tried[2];
    for (unsigned i = 0; i < 2; i++) {
        const ferry_retry retry = {.start = start_transfer, .arg = &both[i]};
        check_eq(ferry_promise_retry(&retry, &tried[i]), 0);
    }
    check_eq(ferry_inbox_run(-1), 2); /* both attempts are under way */
    stage_hang_up(&s.on);
    for (unsigned i = 0; i < 2; i++) {
        check_eq(outcome(tried[i]).error, 0);
        check_eq(both[i].attempts, 2);
    }
}

PROMISE_EITHER(causes, retry_gives_up_what_was_cancelled)
{
    AT_END(scene_close) scene s = scene_open(placement);
    transfer self = {.stream = &s.on.stream, .first = ferry_promise_ref(s.behind)};
    const ferry_retry retry = {.start = start_transfer, .arg = &self};
    ferry_promise *tried;
    check_eq(ferry_promise_retry(&retry, &tried), 0);
    check_eq(ferry_inbox_run(-1), 1);
    check_eq(ferry_promise_cancel(s.behind), 0);
    check_cause(s.behind, FERRY_CAUSE_CANCEL);
    check_cause(tried, FERRY_CAUSE_CANCEL);
    check_eq(self.attempts, 1);
    ferry_promise_unref(s.head);
    ferry_promise_unref(s.read);
    ferry_stream_abort(s.on.stream);
}
