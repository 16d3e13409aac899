/* SPDX-License-Identifier: MIT */
/* Back-pressure: what is counted, what full means, and how those learn of room who wait for it. */
#include "tests/support.h"

/* ---- what the tests are made of -------------------------------------------------------------- */

/* A request of no bytes that holds up its stream until it is opened. */
typedef struct gate {
    atomic_bool is_open;
} gate;

static int64_t stand_in_the_way(void *, size_t, void *arg)
{
    return atomic_load(&((gate *)arg)->is_open) ? 0 : -EAGAIN;
}

static int try_gate(ferry_stream *stream, gate *shut, ferry_promise **ret_promise)
{
    const ferry_part part = ferry_part_generate(stand_in_the_way, shut, FERRY_TO_END, NULL);
    return ferry_stream_send(stream, &part, 1, NULL, ret_promise);
}

static void submit_gate(ferry_stream *stream, gate *shut)
{
    atomic_init(&shut->is_open, false);
    check_eq(try_gate(stream, shut, NULL), 0);
}

static void open_gate(ferry_stream *stream, gate *shut)
{
    atomic_store(&shut->is_open, true);
    ferry_stream_wake_generator(stream);
}

static int try_zeros(ferry_stream *stream, int64_t length, ferry_promise **ret_promise)
{
    const ferry_part part = ferry_part_generate(generate_zeros, NULL, length, NULL);
    return ferry_stream_send(stream, &part, 1, NULL, ret_promise);
}

static ferry_promise *submit_zeros(ferry_stream *stream, int64_t length)
{
    ferry_promise *promise;
    check_eq(try_zeros(stream, length, &promise), 0);
    return promise;
}

static const char zeros[4096];

static int try_write(ferry_stream *stream, size_t length)
{
    return ferry_stream_write(stream, zeros, length, NULL, NULL);
}

static void cancel(ferry_promise *promise)
{
    check_eq(ferry_promise_cancel(promise), 0);
    check_eq(outcome(promise).error, -ECANCELED);
}

static ferry_service *limited_service(ferry_service_options options)
{
    options.shared_owners = 2;
    return service_start_with(options);
}

static void check_nothing_queued(ferry_service *service)
{
    check_eq(ferry_service_drain(service, -1), 0);
    ferry_service_status status = service_status(service);
    check_eq(status.queued_requests, 0);
    check_eq(status.queued_bytes, 0);
    check_eq(status.queued_file_bytes, 0);
}

/* Streams whose peers read. */
typedef struct line {
    ferry_service *service; /* of one that has a service of its own */
    ferry_stream *stream;
    reader *peer;
    gate gate;
} line;

static line line_start(ferry_service *service, ferry_stream_options options)
{
    pair both = unix_pair(SOCK_STREAM);
    line made = {.peer = reader_start(both.theirs, true)};
    made.stream = stream_adopt_with(service, both.ours, options);
    return made;
}

/* @return how many bytes its peer got. */
static uint64_t line_end(line *ended)
{
    check_eq(close_stream(ended->stream).error, 0);
    return reader_end(ended->peer);
}

static line line_open(ferry_placement placement, ferry_stream_options options)
{
    ferry_service *service = service_start(placement);
    line made = line_start(service, options);
    made.service = service;
    return made;
}

static uint64_t line_close(line *ended)
{
    uint64_t bytes = line_end(ended);
    ferry_service_destroy(ended->service);
    return bytes;
}

/* A thread that submits, and waits for room as long as it takes. */
typedef struct waiter {
    pthread_t thread;
    ferry_stream *stream;
    ferry_part part;
    int expected; /* what the submit is to come to */
} waiter;

static const ferry_request_options without_limit = {.room_timeout_ms = -1};

static void *wait_for_room(void *arg)
{
    waiter *self = arg;
    check_eq(ferry_stream_send(self->stream, &self->part, 1, &without_limit, NULL), self->expected);
    return NULL;
}

/* Returns once it sleeps. */
static void waiter_start(waiter *self, ferry_stream *stream, ferry_part part, int expected)
{
    self->stream = stream;
    self->part = part;
    self->expected = expected;
    self->thread = start_sleeper(wait_for_room, self);
}

static void waiter_join(waiter *self)
{
    check_eq(pthread_join(self->thread, NULL), 0);
}

/* ---- limits of a stream ---------------------------------------------------------------------- */

enum { KINDS = 5 };

/* A request of 600 bytes of a source, in one of five ways. */
static ferry_part six_hundred(unsigned kind, const test_file *file)
{
    ferry_file wanted = ferry_file_at(file->path);
    switch (kind) {
    case 0: /* a length */
        wanted.length = 600;
        return ferry_part_file(wanted);
    case 1: /* to its end, by path */
        wanted.offset = 100;
        return ferry_part_file(wanted);
    case 2: /* from an fd's position to its end */
        check_eq(lseek(file->fd, 100, SEEK_SET), 100);
        return ferry_part_file(ferry_file_fd(file->fd));
    case 3: /* from an offset of an fd to its end */
        wanted = ferry_file_fd(file->fd);
        wanted.offset = 100;
        return ferry_part_file(wanted);
    default:
        return ferry_part_generate(generate_zeros, NULL, 600, NULL);
    }
}

PROMISE_EITHER(bounded, queued_file_bytes_are_limited_whatever_they_come_from)
{
    line only = line_open(placement, (ferry_stream_options){.limit_file_bytes = 1000});
    AT_END(file_remove) test_file file = file_make(700, 1);
    submit_gate(only.stream, &only.gate);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        ferry_part part = six_hundred(kind, &file);
        ferry_promise *taken, *fits, *refused = NULL;
        check_eq(ferry_stream_send(only.stream, &part, 1, NULL, &taken), 0);
        check_eq(stream_status(only.stream).queued_file_bytes, 600);
        check_eq(ferry_stream_send(only.stream, &part, 1, NULL, &refused), -EAGAIN);
        check(refused == NULL);
        check_eq(try_zeros(only.stream, 401, NULL), -EAGAIN);
        fits = submit_zeros(only.stream, 400);
        check_eq(stream_status(only.stream).queued_file_bytes, 1000);
        check_eq(try_write(only.stream, 10), 0); /* memory has its own limit */
        cancel(fits);
        cancel(taken);
        check_eq(stream_status(only.stream).queued_file_bytes, 0);
    }
    open_gate(only.stream, &only.gate);
    check_nothing_queued(only.service);
    check_eq(line_close(&only), KINDS * 10);
}

PROMISE_EITHER(bounded, one_large_file_is_taken_where_no_file_bytes_are_queued)
{
    for (unsigned by_service = 0; by_service < 2; by_service++) {
        AT_END(destroy_service)
        ferry_service *service = limited_service((ferry_service_options){
            .placement = placement, .limit_file_bytes = by_service ? 100 : 0});
        line only =
            line_start(service, (ferry_stream_options){.limit_file_bytes = by_service ? 0 : 100});
        submit_gate(only.stream, &only.gate);
        check_eq(try_write(only.stream, 1000), 0);
        ferry_promise *large = submit_zeros(only.stream, 5000);
        check_eq(try_zeros(only.stream, 1, NULL), -EAGAIN);
        check_eq(try_write(only.stream, 1000), 0);
        check_eq(try_zeros(only.stream, 0, NULL), 0); /* no bytes, no matter */
        open_gate(only.stream, &only.gate);
        check_eq(outcome(large).error, 0);
        check_eq(outcome(submit_zeros(only.stream, 100)).error, 0);
        check_eq(line_end(&only), 7100);
    }
}

PROMISE_EITHER(custody, submit_that_is_refused_for_want_of_room_takes_nothing)
{
    line only = line_open(placement, (ferry_stream_options){.limit_requests = 2});
    AT_END(file_remove) test_file file = file_make(10, 1);
    submit_gate(only.stream, &only.gate);
    check_eq(try_write(only.stream, 1), 0);
    char memory[1];
    ferry_file given = ferry_file_fd(file.fd);
    given.flags = FERRY_FD_GIVE;
    const ferry_part parts[] = {
        ferry_part_generate(generate_zeros, NULL, 10, must_not_be_released),
        ferry_part_file(given),
        ferry_part_give(memory, 1, must_not_be_released, NULL),
    };
    unsigned fds = count_fds();
    check_eq(ferry_stream_send(only.stream, parts, 3, NULL, NULL), -EAGAIN);
    check_eq(count_fds(), fds);
    check_eq(stream_status(only.stream).queued_file_bytes, 0);
    open_gate(only.stream, &only.gate);
    check_eq(line_close(&only), 1);
}

/* ---- limits of a service --------------------------------------------------------------------- */

/* Pins: bounded. */
PROMISE_EITHER(bounded, service_limits_count_all_its_streams_together)
{
    AT_END(destroy_service)
    ferry_service *service = limited_service((ferry_service_options){.placement = placement,
                                                                     .limit_requests = 6,
                                                                     .limit_bytes = 1000,
                                                                     .limit_file_bytes = 2000});
    line one = line_start(service, (ferry_stream_options){0});
    line other = line_start(service, (ferry_stream_options){0});
    submit_gate(one.stream, &one.gate);
    submit_gate(other.stream, &other.gate);
    check_eq(try_write(one.stream, 600), 0);
    check_eq(try_write(other.stream, 401), -EAGAIN);
    ferry_promise *zeros_of_other = submit_zeros(other.stream, 1500);
    check_eq(try_zeros(one.stream, 501, NULL), -EAGAIN);
    check_eq(try_write(other.stream, 400), 0);
    check_eq(try_zeros(one.stream, 500, NULL), 0); /* the sixth */
    check_eq(try_gate(one.stream, &one.gate, NULL), -EAGAIN);
    check_eq(try_write(other.stream, 0), -EAGAIN);
    ferry_service_status status = service_status(service);
    check_eq(status.streams, 2);
    check_eq(status.queued_requests, 6);
    check_eq(status.queued_bytes, 1000);
    check_eq(status.queued_file_bytes, 2000);
    ferry_promise *quiet = submit_mark(one.stream); /* to wait for room needs none */
    open_gate(one.stream, &one.gate);
    check_eq(outcome(quiet).error, 0);
    check_eq(try_zeros(other.stream, 500, NULL), 0); /* what one gave back is another's */
    open_gate(other.stream, &other.gate);
    check_eq(outcome(zeros_of_other).error, 0);
    check_nothing_queued(service);
    check_eq(line_end(&one), 1100);
    check_eq(line_end(&other), 2400);
}

PROMISE_EITHER(bounded, submit_sleeps_until_another_stream_gives_the_services_room_back)
{
    for (unsigned which = 0; which < 3; which++) {
        AT_END(destroy_service)
        ferry_service *service = limited_service((ferry_service_options){
            .placement = placement,
            .limit_requests = which == 0 ? 2 : 0,
            .limit_bytes = which == 1 ? 10 : 0,
            .limit_file_bytes = which == 2 ? 10 : 0,
        });
        line one = line_start(service, (ferry_stream_options){0});
        line other = line_start(service, (ferry_stream_options){0});
        submit_gate(one.stream, &one.gate);
        if (which == 2)
            check_eq(try_zeros(one.stream, 10, NULL), 0);
        else
            check_eq(try_write(one.stream, 10), 0);
        waiter waits;
        waiter_start(&waits, other.stream,
                     which == 2 ? ferry_part_generate(generate_zeros, NULL, 7, NULL)
                                : ferry_part_copy(zeros, 7),
                     0);
        check_eq(stream_status(other.stream).queued_requests, 0);
        open_gate(one.stream, &one.gate);
        waiter_join(&waits);
        check_eq(line_end(&one), 10);
        check_eq(line_end(&other), 7);
    }
}

PROMISE_EITHER(bounded, submit_of_a_file_sleeps_while_its_stream_is_full)
{
    for (unsigned by_bytes = 0; by_bytes < 2; by_bytes++) {
        line only = line_open(placement, (ferry_stream_options){
                                             .limit_requests = by_bytes ? 0 : 2,
                                             .limit_file_bytes = by_bytes ? 10 : 0,
                                         });
        submit_gate(only.stream, &only.gate);
        check_eq(try_zeros(only.stream, 10, NULL), 0);
        waiter waits;
        waiter_start(&waits, only.stream, ferry_part_generate(generate_zeros, NULL, 7, NULL), 0);
        open_gate(only.stream, &only.gate);
        waiter_join(&waits);
        check_eq(line_close(&only), 17);
    }
}

/* The ways in which a stream comes not to take any more. */
enum { CLOSE, SHUTDOWN, ABORT, DESTROY, WAYS };

static void refuse_from_now_on(unsigned way, ferry_service *service, ferry_stream *stream)
{
    switch (way) {
    case CLOSE:
        check_eq(ferry_stream_close(stream, NULL), 0);
        break;
    case SHUTDOWN:
        check_eq(ferry_stream_shutdown(stream, NULL), 0);
        break;
    case ABORT:
        ferry_stream_abort(stream);
        break;
    default:
        ferry_service_destroy(service);
    }
}

PROMISE_EITHER(bounded, submit_that_waits_for_the_services_room_is_eshutdown_when_its_stream_ends)
{
    for (unsigned way = 0; way < WAYS; way++) {
        ferry_service *service =
            limited_service((ferry_service_options){.placement = placement, .limit_requests = 2});
        AT_END(close_theirs) pair one = unix_pair(SOCK_STREAM), other = unix_pair(SOCK_STREAM);
        ferry_stream *full = stream_adopt(service, one.ours);
        AT_END(drop_stream) ferry_stream *ending = stream_adopt(service, other.ours);
        gate shut, shut_too;
        submit_gate(full, &shut);
        submit_gate(ending, &shut_too); /* the end is behind it, and does not come */
        waiter waits;
        waiter_start(&waits, ending, ferry_part_copy(zeros, 1), -ESHUTDOWN);
        refuse_from_now_on(way, service, ending);
        waiter_join(&waits);
        if (way != DESTROY) {
            check_eq(stream_status(full).queued_requests, 1);
            ferry_service_destroy(service);
        }
        ferry_stream_unref(full);
    }
}

/* ---- a crowd --------------------------------------------------------------------------------- */

enum { LINES = 3, CROWD = 6, EACH = 600 };

typedef struct crowd {
    ferry_service *service;
    line lines[LINES];
    char path[64]; /* a file whose size changes all the time */
    atomic_uint number;
    atomic_ulong accepted;
    atomic_ulong settled;
    _Atomic uint64_t sent;
    uint64_t seed;
} crowd;

static void note_settled(ferry_promise *, const ferry_result *result, void *arg)
{
    crowd *self = arg;
    (void)atomic_fetch_add(&self->sent, result->sent);
    (void)atomic_fetch_add(&self->settled, 1);
}

static ferry_part any_part(const crowd *self, uint64_t random)
{
    ferry_file file = ferry_file_at(self->path);
    switch (random % 5) {
    case 0:
        return ferry_part_copy(zeros, random / 8 % 20);
    case 1:
        return ferry_part_file(file);
    case 2:
        file.length = 50;
        return ferry_part_file(file);
    case 3:
        return ferry_part_file(ferry_file_at("/tmp/ferry-test-that-is-missing"));
    default:
        return ferry_part_generate(generate_zeros, NULL, (int64_t)(random / 8 % 200), NULL);
    }
}

/* Waits for room or not, changes its mind or not. */
static void submit_any(crowd *self, uint64_t *random)
{
    const ferry_request_options options = {
        .on_owner = note_settled,
        .on_owner_holds_queue = true,
        .on_owner_arg = self,
        .room_timeout_ms = random_next(random) % 4 == 0 ? 0 : -1,
    };
    const ferry_part parts[] = {any_part(self, random_next(random)),
                                any_part(self, random_next(random))};
    ferry_promise *promise;
    int error = ferry_stream_send(self->lines[random_next(random) % LINES].stream, parts,
                                  1 + random_next(random) % 2, &options, &promise);
    check(error == 0 || (error == -EAGAIN && options.room_timeout_ms == 0));
    if (error != 0)
        return;
    (void)atomic_fetch_add(&self->accepted, 1);
    if (random_next(random) % 3 == 0)
        (void)ferry_promise_cancel(promise);
    ferry_promise_unref(promise);
}

static void *submit_many(void *arg)
{
    crowd *self = arg;
    unsigned number = atomic_fetch_add(&self->number, 1);
    uint64_t random = self->seed + number;
    for (unsigned i = 0; i < EACH; i++) {
        if (number == 0)
            check_eq(truncate(self->path, (off_t)(random_next(&random) % 150)), 0);
        submit_any(self, &random);
    }
    return NULL;
}

/* All of a service's room can be taken, and not more: its counts have not drifted. */
static void check_room_is_whole(crowd *self)
{
    gate *shut = &self->lines[0].gate;
    submit_gate(self->lines[0].stream, shut);
    check_eq(try_write(self->lines[0].stream, 26), 0); /* alone */
    check_eq(try_write(self->lines[1].stream, 0), -EAGAIN);
    open_gate(self->lines[0].stream, shut);
    check_eq(ferry_stream_mark(self->lines[0].stream, NULL), 0);
    for (unsigned i = 0; i < LINES; i++)
        check_eq(outcome(submit_mark(self->lines[i].stream)).error, 0);
    submit_gate(self->lines[1].stream, &self->lines[1].gate);
    check_eq(try_write(self->lines[1].stream, 25), 0);
    check_eq(try_zeros(self->lines[1].stream, 300, NULL), 0);
    check_eq(try_write(self->lines[2].stream, 1), -EAGAIN);
    check_eq(try_zeros(self->lines[2].stream, 1, NULL), -EAGAIN);
    submit_gate(self->lines[0].stream, shut); /* the fourth */
    check_eq(try_gate(self->lines[2].stream, shut, NULL), -EAGAIN);
    open_gate(self->lines[0].stream, shut);
    open_gate(self->lines[1].stream, &self->lines[1].gate);
}

/* Has all of them do the same within a service's narrow limits. When this returns nothing is queued
 * any more. */
static void crowd_run(crowd *self, ferry_placement placement, ferry_stream_options options,
                      void *(*body)(void *))
{
    self->seed = random_seed();
    self->service = limited_service((ferry_service_options){
        .placement = placement, .limit_requests = 4, .limit_bytes = 25, .limit_file_bytes = 300});
    for (unsigned i = 0; i < LINES; i++)
        self->lines[i] = line_start(self->service, options);
    pthread_t threads[CROWD];
    start_threads(threads, CROWD, body, self);
    join_threads(threads, CROWD);
    check_nothing_queued(self->service);
}

/* Checks that so much came, beside what is sent here. */
static void crowd_end(crowd *self, uint64_t sent)
{
    check_room_is_whole(self);
    check_nothing_queued(self->service);
    uint64_t came = 0;
    for (unsigned i = 0; i < LINES; i++)
        came += line_end(&self->lines[i]);
    check_eq(came, sent + 26 + 25 + 300);
    ferry_service_destroy(self->service);
}

PROMISE_EITHER(bounded, crowd_gets_through_narrow_limits_and_leaves_them_as_they_were)
{
    static crowd self;
    AT_END(file_remove) test_file file = file_make(150, 1);
    memcpy(self.path, file.path, sizeof self.path);
    const ferry_stream_options options = {
        .framing = FERRY_FRAMING_CONTINUE, .limit_requests = 3, .limit_file_bytes = 250};
    crowd_run(&self, placement, options, submit_many);
    check_eq(atomic_load(&self.settled), atomic_load(&self.accepted));
    crowd_end(&self, atomic_load(&self.sent));
}

/* Tries without waiting, so that many are refused by the stream after the service let them pass. */
static void *jostle(void *arg)
{
    crowd *self = arg;
    uint64_t random = self->seed + atomic_fetch_add(&self->number, 1);
    for (unsigned i = 0; i < 20 * EACH; i++) {
        bool is_file = random_next(&random) % 2 == 0;
        int error = is_file ? try_zeros(self->lines[0].stream, 1, NULL)
                            : try_write(self->lines[0].stream, 1);
        check(error == 0 || error == -EAGAIN);
        if (error == 0)
            (void)atomic_fetch_add(&self->accepted, 1);
    }
    return NULL;
}

PROMISE_EITHER(bounded, submits_that_were_refused_are_not_counted)
{
    static crowd self;
    crowd_run(&self, placement, (ferry_stream_options){.limit_requests = 3}, jostle);
    crowd_end(&self, atomic_load(&self.accepted));
}

/* ---- promises of room ------------------------------------------------------------------------ */

static ferry_promise *promise_room(ferry_stream *stream, uint64_t memory, uint64_t file_bytes)
{
    ferry_promise *promise;
    check_eq(ferry_stream_promise_room(stream, memory, file_bytes, &promise), 0);
    return promise;
}

static void check_pending(ferry_promise *promise)
{
    check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
}

PROMISE_EITHER(room, promise_settles_at_once_where_there_is_room)
{
    AT_END(destroy_service)
    ferry_service *service = limited_service(
        (ferry_service_options){.placement = placement, .limit_bytes = 10, .limit_file_bytes = 10});
    line only = line_start(service, (ferry_stream_options){.limit_file_bytes = 10});
    ferry_promise *room = promise_room(only.stream, 500, 500); /* a large one alone is taken */
    ferry_result result;
    check_eq(ferry_promise_await(room, 0, &result), 0);
    check_eq(result.error, 0);
    check_eq(result.phase, FERRY_PHASE_DONE);
    check_eq(ferry_promise_cancel(room), -EALREADY);
    ferry_promise_unref(room);
    submit_gate(only.stream, &only.gate);
    check_eq(try_zeros(only.stream, 500, NULL), 0);
    check_eq(outcome(promise_room(only.stream, 10, 0)).error, 0); /* memory does not mind files */
    room = promise_room(only.stream, 0, 1);
    check_pending(room);
    open_gate(only.stream, &only.gate);
    check_eq(outcome(room).error, 0);
    check_eq(line_end(&only), 500);
}

/* What fills a queue, and what a request then finds no room for:
 * of the stream or of the service. */
PROMISE_EITHER(room, promise_settles_once_there_is_room_and_not_before)
{
    for (unsigned which = 0; which < 6; which++) {
        const uint64_t most = 100;
        const bool requests = which % 3 == 0, memory = which % 3 == 1, files = which % 3 == 2;
        ferry_service_options narrow_service = {.placement = placement};
        ferry_stream_options narrow = {0};
        if (which < 3) {
            narrow.limit_requests = requests ? 2 : 0;
            narrow.limit_bytes = memory ? most : 0;
            narrow.limit_file_bytes = files ? most : 0;
        } else {
            narrow_service.limit_requests = requests ? 2 : 0;
            narrow_service.limit_bytes = memory ? most : 0;
            narrow_service.limit_file_bytes = files ? most : 0;
        }
        AT_END(destroy_service) ferry_service *service = limited_service(narrow_service);
        line one = line_start(service, narrow), other = line_start(service, narrow);
        ferry_stream *wanted = which < 3 ? one.stream : other.stream;
        submit_gate(one.stream, &one.gate);
        check_eq(memory ? try_write(one.stream, 60) : try_zeros(one.stream, 60, NULL), 0);
        ferry_promise *room = promise_room(wanted, memory ? 41 : 0, files ? 41 : 0);
        if (!requests)
            check_eq(outcome(promise_room(wanted, memory ? 40 : 0, files ? 40 : 0)).error, 0);
        check_pending(room);
        open_gate(one.stream, &one.gate);
        check_eq(outcome(room).error, 0);
        check_eq(outcome(submit_mark(one.stream)).error, 0);
        check_eq(memory ? try_write(wanted, 41) : try_zeros(wanted, 41, NULL), 0);
        check_eq(line_end(&one) + line_end(&other), 101);
    }
}

PROMISE_EITHER(room, promise_is_eshutdown_when_its_stream_ends_and_outlives_stream_and_service)
{
    for (unsigned way = 0; way < 2 * WAYS; way++) {
        bool by_service = way >= WAYS;
        ferry_service *service = limited_service(
            (ferry_service_options){.placement = placement, .limit_requests = by_service ? 1 : 0});
        AT_END(close_theirs) pair one = unix_pair(SOCK_STREAM), other = unix_pair(SOCK_STREAM);
        const ferry_stream_options narrow = {.limit_requests = 1};
        ferry_stream *full = stream_adopt_with(service, one.ours, narrow);
        ferry_stream *ending = stream_adopt_with(service, other.ours, narrow);
        gate shut;
        submit_gate(by_service ? full : ending, &shut);
        ferry_promise *room = promise_room(ending, 1, 0);
        check_pending(room);
        refuse_from_now_on(way % WAYS, service, ending);
        check_eq(ferry_promise_await(room, -1, NULL), 0); /* what is queued need not move */
        ferry_promise *late = promise_room(ending, 1, 0);
        ferry_stream_unref(ending);
        ferry_stream_unref(full);
        if (way % WAYS != DESTROY)
            ferry_service_destroy(service);
        check_outcome(room, .error = -ESHUTDOWN, .phase = FERRY_PHASE_QUEUE);
        check_eq(outcome(late).error, -ESHUTDOWN);
    }
}

PROMISE_EITHER(room, promise_can_be_cancelled_and_the_others_go_on_waiting)
{
    line only = line_open(placement, (ferry_stream_options){.limit_requests = 1});
    submit_gate(only.stream, &only.gate);
    ferry_promise *rooms[5];
    for (unsigned i = 0; i < 5; i++)
        rooms[i] = promise_room(only.stream, 1, 0);
    cancel(rooms[2]);
    cancel(rooms[0]);
    cancel(rooms[4]);
    check_pending(rooms[1]);
    check_pending(rooms[3]);
    open_gate(only.stream, &only.gate);
    check_eq(outcome(rooms[1]).error, 0);
    check_eq(outcome(rooms[3]).error, 0);
    check_eq(line_close(&only), 0);
}

static void count_call(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    ++*(unsigned *)arg;
}

/* By programs that ask again and again, as with a short timeout. */
PROMISE_EITHER(room, promise_that_is_dropped_is_kept_only_for_its_callbacks)
{
    line only = line_open(placement, (ferry_stream_options){.limit_requests = 1});
    submit_gate(only.stream, &only.gate);
    ferry_promise *kept = promise_room(only.stream, 1, 0);
    ferry_promise *observed = promise_room(only.stream, 1, 0);
    unsigned calls = 0;
    check_eq(ferry_promise_observe(observed, count_call, &calls, NULL), 0);
    ferry_promise_unref(observed);
    wait_until_asleep();
    long before = allocations_outstanding();
    for (unsigned i = 0; i < 100; i++)
        ferry_promise_unref(promise_room(only.stream, 1, 0));
    check_eq(allocations_outstanding(), before);
    check_pending(kept);
    open_gate(only.stream, &only.gate);
    check_eq(outcome(kept).error, 0);
    while (calls == 0)
        (void)ferry_inbox_run(-1);
    check_eq(calls, 1);
    check_eq(line_close(&only), 0);
}

typedef struct sequence {
    unsigned count;
    unsigned seen[8];
} sequence;

typedef struct sequenced {
    sequence *all;
    unsigned number;
} sequenced;

static void note_order(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    sequenced *self = arg;
    self->all->seen[self->all->count++] = self->number;
}

PROMISE_EITHER(room, promises_settle_oldest_first)
{
    line only = line_open(placement, (ferry_stream_options){.limit_requests = 1});
    submit_gate(only.stream, &only.gate);
    sequence all = {0};
    sequenced each[8];
    for (unsigned i = 0; i < 8; i++) {
        each[i] = (sequenced){&all, i};
        AT_END(drop_promise) ferry_promise *room = promise_room(only.stream, i, 0);
        check_eq(ferry_promise_observe(room, note_order, &each[i], NULL), 0);
    }
    open_gate(only.stream, &only.gate);
    while (all.count < 8)
        check(ferry_inbox_run(-1) >= 0);
    for (unsigned i = 0; i < 8; i++)
        check_eq(all.seen[i], i);
    check_eq(line_close(&only), 0);
}

static int64_t hold_up_the_owner(void *, size_t, void *arg)
{
    while (!atomic_load(&((gate *)arg)->is_open))
        sched_yield();
    return 0;
}

PROMISE(room, promise_settles_when_a_file_turns_out_to_be_smaller)
{
    for (unsigned by_service = 0; by_service < 2; by_service++) {
        const ferry_service_options options = {.placement = FERRY_PLACEMENT_SHARED,
                                               .shared_owners = 1,
                                               .limit_file_bytes = by_service ? 600 : 0};
        AT_END(destroy_service) ferry_service *service = service_start_with(options);
        line busy = line_start(service, (ferry_stream_options){0});
        line only =
            line_start(service, (ferry_stream_options){.limit_file_bytes = by_service ? 0 : 600});
        AT_END(file_remove) test_file file = file_make(600, 1);
        atomic_init(&busy.gate.is_open, false);
        const ferry_part part =
            ferry_part_generate(hold_up_the_owner, &busy.gate, FERRY_TO_END, NULL);
        check_eq(ferry_stream_send(busy.stream, &part, 1, NULL, NULL), 0);
        ferry_file followed = ferry_file_at(file.path);
        followed.flags = FERRY_FILE_FOLLOW; /* counts for its size until it is open, then for 0 */
        ferry_promise *never = submit_file(only.stream, followed);
        ferry_promise *room = promise_room(only.stream, 0, 1);
        check_pending(room);
        open_gate(busy.stream, &busy.gate);
        check_eq(outcome(room).error, 0);
        cancel(never);
        ferry_stream_abort(only.stream); /* some of it may have left */
        (void)close_stream(only.stream);
        (void)reader_end(only.peer);
        check_eq(line_end(&busy), 0);
    }
}

PROMISE(room, promise_with_bad_arguments_is_refused)
{
    line only = line_open(FERRY_PLACEMENT_SHARED, (ferry_stream_options){0});
    ferry_promise *room = NULL;
    check_eq(ferry_stream_promise_room(NULL, 1, 1, &room), -EINVAL);
    check_eq(ferry_stream_promise_room(only.stream, 1, 1, NULL), -EINVAL);
    check_eq(ferry_stream_promise_room(only.stream, UINT64_MAX, 1, &room), -EOVERFLOW);
    fail_allocation(1);
    check_eq(ferry_stream_promise_room(only.stream, 1, 1, &room), -ENOMEM);
    allow_allocations();
    check(room == NULL);
    check_eq(line_close(&only), 0);
}

/* One thread's promises of room are cancelled, or let go of, by another while room comes and
 * goes. */
typedef struct race {
    ferry_promise *_Atomic contested;
    atomic_bool is_over;
    bool only_drops;
} race;

static void *call_off_what_comes(void *arg)
{
    race *self = arg;
    while (!atomic_load(&self->is_over)) {
        AT_END(drop_promise) ferry_promise *promise = atomic_exchange(&self->contested, NULL);
        if (promise == NULL)
            continue;
        int error = self->only_drops ? 0 : ferry_promise_cancel(promise);
        check(error == 0 || error == -EALREADY);
    }
    return NULL;
}

static void race_for_room(ferry_placement placement, bool only_drops)
{
    enum { ROUNDS = 3000 };
    AT_END(destroy_service)
    ferry_service *service =
        limited_service((ferry_service_options){.placement = placement, .limit_requests = 1});
    line only = line_start(service, (ferry_stream_options){.limit_requests = 1});
    race self = {.only_drops = only_drops};
    pthread_t other = start_thread(call_off_what_comes, &self);
    unsigned taken = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        taken += try_write(only.stream, 1) == 0;
        AT_END(drop_promise) ferry_promise *room = promise_room(only.stream, 1, 0);
        ferry_promise_unref(atomic_exchange(&self.contested, ferry_promise_ref(room)));
        if (only_drops)
            continue;
        int error = outcome(ferry_promise_ref(room)).error;
        check(error == 0 || error == -ECANCELED);
    }
    atomic_store(&self.is_over, true);
    join_thread(&other);
    ferry_promise_unref(atomic_load(&self.contested));
    check_eq(line_end(&only), taken);
}

PROMISE_EITHER(room, promise_that_is_cancelled_while_room_comes_settles_once)
{
    race_for_room(placement, false);
}

PROMISE_EITHER(room, promise_that_is_dropped_while_room_comes_leaves_nothing_behind)
{
    race_for_room(placement, true);
}

/* ---- a producer that never waits ------------------------------------------------------------- */

enum { PRODUCERS = 2, REQUESTS = 10000 };

typedef struct producer {
    ferry_stream *stream;
    uint32_t number;
    uint32_t next;
    unsigned waits; /* how often it found no room */
} producer;

typedef struct item {
    uint32_t producer;
    uint32_t number;
} item;

static void produce(producer *self);

static void on_room(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    produce(arg);
}

static void produce(producer *self)
{
    for (; self->next < REQUESTS; self->next++) {
        const item made = {self->number, self->next};
        int error = ferry_stream_write(self->stream, &made, sizeof made, NULL, NULL);
        if (error != 0) {
            check_eq(error, -EAGAIN);
            self->waits++;
            ferry_promise *room = promise_room(self->stream, sizeof made, 0);
            check_eq(ferry_promise_observe(room, on_room, self, NULL), 0);
            ferry_promise_unref(room);
            return;
        }
    }
}

static void *produce_all(void *arg)
{
    producer *self = arg;
    produce(self);
    while (self->next < REQUESTS)
        check(ferry_inbox_run(-1) >= 0);
    return NULL;
}

/* Pins: bounded. */
PROMISE_EITHER(room, producers_that_wait_for_promises_lose_nothing)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    line only = line_start(service, (ferry_stream_options){.limit_requests = 10});
    producer all[PRODUCERS];
    pthread_t threads[PRODUCERS];
    submit_gate(only.stream, &only.gate); /* so that there is no room for a while, surely */
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        all[i] = (producer){.stream = only.stream, .number = i};
        threads[i] = start_thread(produce_all, &all[i]);
    }
    while (stream_status(only.stream).queued_requests < 10)
        sched_yield();
    open_gate(only.stream, &only.gate);
    unsigned waits = 0;
    join_threads(threads, PRODUCERS);
    for (unsigned i = 0; i < PRODUCERS; i++)
        waits += all[i].waits;
    check(waits > 0);
    check_eq(close_stream(only.stream).error, 0);
    reader_join(only.peer);
    check_eq(only.peer->bytes, PRODUCERS * REQUESTS * sizeof(item));
    uint32_t next[PRODUCERS] = {0};
    const item *items = (const item *)(const void *)only.peer->kept;
    for (unsigned i = 0; i < PRODUCERS * REQUESTS; i++) {
        check(items[i].producer < PRODUCERS);
        check_eq(items[i].number, next[items[i].producer]++);
    }
    reader_free(only.peer);
}

/* ---- watermarks ------------------------------------------------------------------------------ */

/* What was told. Its thread's, unless it was told on an owner. */
typedef struct told {
    pthread_t thread; /* where it is to be told */
    atomic_uint up;
    atomic_uint down;
} told;

static void note_watermark(ferry_stream *stream, bool is_above, void *arg)
{
    told *self = arg;
    check(stream != NULL);
    check(pthread_equal(pthread_self(), self->thread));
    check_eq(self->up - self->down, is_above ? 0 : 1); /* they alternate */
    *(is_above ? &self->up : &self->down) += 1;
}

static ferry_stream_options watched(told *self, uint64_t high, uint64_t low)
{
    self->thread = pthread_self();
    return (ferry_stream_options){.high_watermark_bytes = high,
                                  .low_watermark_bytes = low,
                                  .on_watermark = note_watermark,
                                  .on_watermark_arg = self};
}

/* Returns when the owner has looked at the queue as it is now, and all that it told was told: what
 * settles does so in a turn, cancelled or not, and the second turn begins after the first one's
 * last look. */
static void let_it_look(ferry_stream *stream)
{
    for (unsigned i = 0; i < 2; i++) {
        ferry_promise *marker = submit_write(stream, "", 0);
        (void)ferry_promise_cancel(marker);
        check(outcome(marker).sequence > 0);
    }
    check(ferry_inbox_run(0) >= 0);
}

static void check_told(const told *seen, unsigned up, unsigned down)
{
    check_eq(seen->up, up);
    check_eq(seen->down, down);
}

/* The same, once the owner has looked. */
static void look_and_check_told(ferry_stream *stream, const told *seen, unsigned up, unsigned down)
{
    let_it_look(stream);
    check_told(seen, up, down);
}

PROMISE_EITHER(watermark, is_told_once_up_and_once_down_and_not_in_between)
{
    told seen = {0};
    line only = line_open(placement, watched(&seen, 100, 40));
    submit_gate(only.stream, &only.gate);
    let_it_look(only.stream);
    ferry_promise *forty = submit_write(only.stream, zeros, 40);
    ferry_promise *most = submit_write(only.stream, zeros, 59);
    look_and_check_told(only.stream, &seen, 0, 0); /* 99 */
    ferry_promise *last = submit_write(only.stream, zeros, 1);
    look_and_check_told(only.stream, &seen, 1, 0); /* 100 */
    ferry_promise *more = submit_write(only.stream, zeros, 500);
    let_it_look(only.stream);
    cancel(more);
    cancel(most);
    look_and_check_told(only.stream, &seen, 1, 0); /* 41 */
    more = submit_write(only.stream, zeros, 100);
    let_it_look(only.stream);
    cancel(more);
    look_and_check_told(only.stream, &seen, 1, 0); /* 141, and 41 again */
    cancel(last);
    look_and_check_told(only.stream, &seen, 1, 1); /* 40 */
    last = submit_write(only.stream, zeros, 59);
    look_and_check_told(only.stream, &seen, 1, 1); /* 99 */
    more = submit_write(only.stream, zeros, 1);
    look_and_check_told(only.stream, &seen, 2, 1); /* 100 */
    open_gate(only.stream, &only.gate);
    check_eq(outcome(forty).error, 0);
    check_eq(outcome(last).error, 0);
    check_eq(outcome(more).error, 0);
    look_and_check_told(only.stream, &seen, 2, 2);
    check_eq(line_close(&only), 100);
}

/* Such a write brings its owner no mail. */
PROMISE_EITHER(watermark, is_told_when_writes_that_share_a_request_reach_it)
{
    told seen = {0};
    line only = line_open(placement, watched(&seen, 100, 40));
    submit_gate(only.stream, &only.gate);
    let_it_look(only.stream);
    for (unsigned i = 1; i <= 100; i++) {
        check_eq(ferry_stream_write(only.stream, zeros, 1, NULL, NULL), 0);
        wait_until_asleep();
        check(ferry_inbox_run(0) >= 0);
        check_told(&seen, i == 100, 0);
    }
    open_gate(only.stream, &only.gate);
    check_eq(outcome(submit_mark(only.stream)).error, 0); /* they have left */
    look_and_check_told(only.stream, &seen, 1, 1);
    check_eq(line_close(&only), 100);
}

PROMISE_EITHER(watermark, equal_marks_do_not_alternate_while_the_queue_stays_on_them)
{
    told seen = {0};
    line only = line_open(placement, watched(&seen, 100, 100));
    submit_gate(only.stream, &only.gate);
    ferry_promise *most = submit_write(only.stream, zeros, 99);
    ferry_promise *last = submit_write(only.stream, zeros, 1);
    for (unsigned i = 0; i < 10; i++) {
        look_and_check_told(only.stream, &seen, 1, 0);
    }
    cancel(last);
    look_and_check_told(only.stream, &seen, 1, 1);
    cancel(most);
    open_gate(only.stream, &only.gate);
    check_eq(line_close(&only), 0);
}

PROMISE_EITHER(watermark, cancelling_is_enough_to_be_told_that_the_queue_is_below)
{
    told seen = {0};
    line only = line_open(placement, watched(&seen, 100, 0));
    submit_gate(only.stream, &only.gate);
    ferry_promise *most = submit_write(only.stream, zeros, 100);
    while (seen.up == 0)
        check(ferry_inbox_run(-1) >= 0);
    cancel(most);
    while (seen.down == 0) /* nothing else happens to the stream */
        check(ferry_inbox_run(-1) >= 0);
    check_told(&seen, 1, 1);
    open_gate(only.stream, &only.gate);
    check_eq(line_close(&only), 0);
}

PROMISE_EITHER(watermark, files_count_beside_memory)
{
    AT_END(file_remove) test_file file = file_make(700, 1);
    told seen = {0};
    line only = line_open(placement, watched(&seen, 650, 50));
    submit_gate(only.stream, &only.gate);
    ferry_promise *memory = submit_write(only.stream, zeros, 50);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        ferry_part part = six_hundred(kind, &file);
        ferry_promise *promise = submit_parts(only.stream, &part, 1, NULL);
        look_and_check_told(only.stream, &seen, kind + 1, kind);
        cancel(promise);
        look_and_check_told(only.stream, &seen, kind + 1, kind + 1);
    }
    open_gate(only.stream, &only.gate);
    check_eq(outcome(memory).error, 0);
    check_eq(line_close(&only), 50);
}

/* Runs its inbox for a while, and is told nothing there: note_watermark looks at the thread. */
static void *run_inbox(void *arg)
{
    AT_END(drop_promise) ferry_promise *promise = submit_write(arg, zeros, 100);
    AT_END(drop_promise) ferry_promise *marker = submit_mark(arg);
    let_it_look(arg);
    check(ferry_inbox_run(0) >= 0);
    return NULL;
}

PROMISE_EITHER(watermark, is_told_on_the_adopting_thread_when_that_runs_its_inbox)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    told seen = {0};
    line only = line_start(service, watched(&seen, 100, 0));
    submit_gate(only.stream, &only.gate);
    run_to_its_end(run_inbox, only.stream);
    check_told(&seen, 0, 0);
    check(ferry_inbox_run(0) >= 1);
    check_told(&seen, 1, 0);
    open_gate(only.stream, &only.gate);
    check_eq(line_end(&only), 100);
    check(ferry_inbox_run(0) >= 0);
    check_told(&seen, 1, 1); /* the handle is gone; it is told nevertheless */
}

PROMISE_EITHER(watermark, there_and_back_again_is_not_told)
{
    ferry_service *service = service_start(placement);
    told seen = {0};
    line only = line_start(service, watched(&seen, 100, 0));
    submit_gate(only.stream, &only.gate);
    run_to_its_end(run_inbox, only.stream);
    open_gate(only.stream, &only.gate);
    check_eq(ferry_stream_close(only.stream, NULL), 0);
    reader_join(only.peer);
    ferry_service_destroy(service); /* awaits no promise: no inbox runs */
    check(ferry_inbox_run(0) >= 0);
    check_told(&seen, 0, 0);
    ferry_stream_unref(only.stream);
    reader_free(only.peer);
}

/* Adopts another stream on the owner of the first one. */
typedef struct adopter {
    ferry_service *service;
    int fd;
    ferry_stream *stream;
    told seen;
} adopter;

static void note_on_owner(ferry_stream *stream, bool is_above, void *arg)
{
    adopter *self = arg;
    check(stream == self->stream);
    check_eq(ferry_inbox_get_fd(), -EDEADLK); /* it is an owner */
    (void)atomic_fetch_add(is_above ? &self->seen.up : &self->seen.down, 1);
}

static void adopt_on_owner(ferry_promise *, const ferry_result *, void *arg)
{
    adopter *self = arg;
    self->stream = stream_adopt_with(self->service, self->fd,
                                     (ferry_stream_options){.high_watermark_bytes = 100,
                                                            .on_watermark = note_on_owner,
                                                            .on_watermark_arg = self});
}

/* Up and down once; then the stream ends. */
static void cross_the_mark(adopter *self)
{
    gate shut;
    submit_gate(self->stream, &shut);
    ferry_promise *most = submit_write(self->stream, zeros, 100);
    look_and_check_told(self->stream, &self->seen, 1, 0);
    cancel(most);
    look_and_check_told(self->stream, &self->seen, 1, 1);
    open_gate(self->stream, &shut);
    check_eq(close_stream(self->stream).error, 0);
}

PROMISE_EITHER(watermark, is_told_on_the_owner_where_an_owner_adopted)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    line only = line_start(service, (ferry_stream_options){0});
    pair both = unix_pair(SOCK_STREAM);
    reader *peer = reader_start(both.theirs, false);
    adopter self = {.service = service, .fd = both.ours};
    const ferry_request_options options = calling_on_owner(adopt_on_owner, &self);
    check_eq(ferry_stream_write(only.stream, "x", 1, &options, NULL), 0);
    check_eq(line_end(&only), 1); /* settled after the callback ran */
    cross_the_mark(&self);
    (void)reader_end(peer);
}

PROMISE_EITHER(watermark, is_told_on_the_owner_where_the_options_say_so)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    reader *peer = reader_start(both.theirs, false);
    adopter self = {0};
    self.stream = stream_adopt_with(service, both.ours,
                                    (ferry_stream_options){.high_watermark_bytes = 100,
                                                           .on_watermark = note_on_owner,
                                                           .on_watermark_arg = &self,
                                                           .watermark_on_owner = true});
    cross_the_mark(&self);
    (void)reader_end(peer);
}

typedef struct guest {
    ferry_service *service;
    line line;
    told seen;
    bool runs_inbox;
} guest;

static void end_this_thread(ferry_stream *stream, bool is_above, void *arg)
{
    note_watermark(stream, is_above, arg);
    pthread_exit(NULL);
}

static void *adopt_and_end(void *arg)
{
    guest *self = arg;
    ferry_stream_options options = watched(&self->seen, 100, 0);
    options.on_watermark = end_this_thread;
    self->line = line_start(self->service, options);
    submit_gate(self->line.stream, &self->line.gate);
    check_eq(try_write(self->line.stream, 100), 0);
    while (self->runs_inbox)
        check(ferry_inbox_run(-1) >= 0);
    return NULL;
}

PROMISE_EITHER(watermark, thread_that_ends_or_is_ended_by_what_it_is_told_is_not_missed)
{
    for (unsigned runs_inbox = 0; runs_inbox < 2; runs_inbox++) {
        guest self = {.service = service_start(placement), .runs_inbox = runs_inbox};
        run_to_its_end(adopt_and_end, &self);
        look_and_check_told(self.line.stream, &self.seen, runs_inbox, 0);
        for (unsigned i = 0; i < 3; i++) {
            ferry_promise *more = submit_write(self.line.stream, zeros, 200);
            let_it_look(self.line.stream);
            cancel(more);
            let_it_look(self.line.stream);
        }
        open_gate(self.line.stream, &self.line.gate);
        check_eq(line_end(&self.line), 100);
        check_told(&self.seen, runs_inbox, 0);
        ferry_service_destroy(self.service);
    }
}

/* Submits, and changes its mind, across the marks all the time. */
static void *cross_the_marks(void *arg)
{
    crowd *self = arg;
    uint64_t random = self->seed + atomic_fetch_add(&self->number, 1);
    const ferry_request_options options = {.room_timeout_ms = -1};
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t size = random_next(&random) % 300;
        ferry_part part = random_next(&random) % 2 == 0
                              ? ferry_part_copy(zeros, size)
                              : ferry_part_generate(generate_zeros, NULL, (int64_t)size, NULL);
        AT_END(drop_promise)
        ferry_promise *promise = submit_parts(self->lines[0].stream, &part, 1, &options);
        if (random_next(&random) % 4 == 0)
            (void)ferry_promise_cancel(promise);
        if (random_next(&random) % 16 == 0)
            check_eq(ferry_promise_await(promise, -1, NULL), 0);
    }
    (void)atomic_fetch_add(&self->settled, 1);
    return NULL;
}

PROMISE_EITHER(watermark, alternates_under_load_and_ends_below)
{
    static crowd self;
    self.seed = random_seed();
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    told seen = {0};
    ferry_stream_options options = watched(&seen, 400, 100);
    options.framing = FERRY_FRAMING_CONTINUE;
    options.limit_requests = 8;
    options.limit_file_bytes = 500;
    self.lines[0] = line_start(service, options);
    pthread_t threads[CROWD];
    start_threads(threads, CROWD, cross_the_marks, &self);
    while (atomic_load(&self.settled) < CROWD)
        check(ferry_inbox_run(1) >= 0);
    join_threads(threads, CROWD);
    check_nothing_queued(service);
    let_it_look(self.lines[0].stream);
    check(seen.up > 0);
    check_eq(seen.up, seen.down);
    (void)line_end(&self.lines[0]);
}

static void must_not_be_told(ferry_stream *, bool, void *)
{
    check(false);
}

PROMISE(watermark, marks_that_make_no_sense_are_einval)
{
    const ferry_stream_options wrong[] = {
        {.low_watermark_bytes = 1},
        {.high_watermark_bytes = 9, .low_watermark_bytes = 10},
        {.on_watermark = must_not_be_told},
        {.on_watermark = must_not_be_told, .high_watermark_bytes = 9, .low_watermark_bytes = 10},
    };
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ferry_stream *stream = NULL;
        check_eq(ferry_stream_adopt(service, both.ours, &wrong[i], &stream), -EINVAL);
        check(stream == NULL);
    }
    check_eq(write(both.ours, "x", 1), 1); /* it was not taken */
    close(both.ours);
}

/* ---- looking at the queue -------------------------------------------------------------------- */

PROMISE_EITHER(status, queued_file_bytes_are_what_is_known_of_each_kind)
{
    for (unsigned limited = 0; limited < 2; limited++) {
        AT_END(destroy_service) ferry_service *service = service_start(placement);
        AT_END(file_remove) test_file file = file_make(700, 1);
        line only =
            line_start(service, (ferry_stream_options){.limit_file_bytes = limited ? 1000000 : 0});
        submit_gate(only.stream, &only.gate);
        for (unsigned kind = 0; kind < KINDS; kind++) {
            bool is_known = limited || kind == 0 || kind == 4; /* else nobody has to look */
            ferry_part part = six_hundred(kind, &file);
            ferry_promise *promise = submit_parts(only.stream, &part, 1, NULL);
            check_eq(stream_status(only.stream).queued_file_bytes, is_known ? 600 : 0);
            cancel(promise);
            check_eq(stream_status(only.stream).queued_file_bytes, 0);
        }
        AT_END(close_pair) pair pipe = pipe_pair();
        const ferry_part unknown[] = {
            ferry_part_generate(generate_zeros, NULL, FERRY_TO_END, NULL),
            ferry_part_file(ferry_file_fd(pipe.theirs)),
            ferry_part_file(ferry_file_at("/tmp/ferry-test-that-is-missing")),
            ferry_part_file(ferry_file_at("/proc/self/status")),
        };
        ferry_promise *promise = submit_parts(only.stream, unknown, 4, NULL);
        check_eq(stream_status(only.stream).queued_file_bytes, 0);
        cancel(promise);
        open_gate(only.stream, &only.gate);
        check_nothing_queued(service);
        check_eq(line_end(&only), 0);
    }
}

PROMISE_EITHER(status, queued_file_bytes_are_corrected_once_a_file_is_open)
{
    enum { LARGE = 8 << 20 };
    for (unsigned way = 0; way < 4; way++) {
        AT_END(file_remove) test_file file = file_make(600, 1);
        AT_END(stage_end)
        stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                                  (ferry_stream_options){.limit_file_bytes = 1000000});
        gate shut;
        submit_gate(s.stream, &shut);
        ferry_file wanted = ferry_file_at(file.path);
        wanted.flags = way == 1 ? FERRY_FILE_FOLLOW : 0;
        ferry_promise *promise = submit_file(s.stream, wanted);
        check_eq(stream_status(s.stream).queued_file_bytes, 600);
        check_eq(truncate(file.path, way == 2 ? 100 : LARGE), 0);
        if (way == 3)
            check_eq(unlink(file.path), 0);
        open_gate(s.stream, &shut);
        if (way < 2) { /* stuck in the socket, or it waits for more */
            wait_until_stuck(s.theirs);
            check_eq(stream_status(s.stream).queued_file_bytes, way == 0 ? LARGE : 0);
            check_eq(try_zeros(s.stream, 1000000, NULL), way == 0 ? -EAGAIN : 0);
            ferry_stream_abort(s.stream);
        }
        check_eq(outcome(promise).error, way < 2 ? -ECANCELED : way == 3 ? -ENOENT : 0);
        check_nothing_queued(s.service);
        check_eq(stream_status(s.stream).queued_file_bytes, 0);
    }
}

PROMISE_EITHER(status, arguments_that_are_null_are_einval)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_service_status status;
    check_eq(ferry_service_get_status(NULL, &status), -EINVAL);
    check_eq(ferry_service_get_status(service, NULL), -EINVAL);
    check_eq(service_status(service).streams, 0);
}
