/* SPDX-License-Identifier: MIT */
/* Back-pressure: what is counted, what full means, and how those learn of room who wait for it. */
#include "tests/support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>

/* ---- what the tests are made of -------------------------------------------------------------- */

/* A request of no bytes that holds up its stream until it is opened. */
typedef struct gate {
    atomic_bool is_open;
} gate;

static int64_t stand_in_the_way(void *buffer, size_t size, void *arg)
{
    (void)buffer;
    (void)size;
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
    ferry_stream_resume(stream);
}

static int64_t generate_zeros(void *buffer, size_t size, void *arg)
{
    (void)arg;
    memset(buffer, 0, size);
    return (int64_t)size;
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

static ferry_stream_status status_of(ferry_stream *stream)
{
    ferry_stream_status status;
    check_eq(ferry_stream_get_status(stream, &status), 0);
    return status;
}

static ferry_service *limited_service(ferry_service_options options)
{
    ferry_service *service;
    options.shared_owners = 2;
    check_eq(ferry_service_create(&options, &service), 0);
    return service;
}

static void check_nothing_queued(ferry_service *service)
{
    ferry_service_status status;
    check_eq(ferry_service_drain(service, -1), 0);
    check_eq(ferry_service_get_status(service, &status), 0);
    check_eq(status.queued_requests, 0);
    check_eq(status.queued_bytes, 0);
    check_eq(status.queued_file_bytes, 0);
}

/* Streams whose peers read. */
typedef struct line {
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
    reader_join(ended->peer);
    uint64_t bytes = ended->peer->bytes;
    reader_free(ended->peer);
    return bytes;
}

/* A thread that submits, and waits for room as long as it takes. */
typedef struct waiter {
    pthread_t thread;
    ferry_stream *stream;
    ferry_part part;
    int expected; /* what the submit is to come to */
    atomic_bool is_there;
} waiter;

static const ferry_request_options without_limit = {.room_timeout_ms = -1};

static void *wait_for_room(void *arg)
{
    waiter *self = arg;
    check_eq(pthread_setname_np(pthread_self(), "ferry-waiter"), 0);
    atomic_store(&self->is_there, true);
    check_eq(ferry_stream_send(self->stream, &self->part, 1, &without_limit, NULL), self->expected);
    return NULL;
}

/* Returns once it sleeps: its name makes wait_until_asleep look at it. */
static void waiter_start(waiter *self, ferry_stream *stream, ferry_part part, int expected)
{
    self->stream = stream;
    self->part = part;
    self->expected = expected;
    atomic_init(&self->is_there, false);
    check_eq(pthread_create(&self->thread, NULL, wait_for_room, self), 0);
    while (!atomic_load(&self->is_there))
        sched_yield();
    wait_until_asleep();
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

PROMISE_BOTH(bounded, queued_file_bytes_are_limited_whatever_they_come_from)
{
    ferry_service *service = service_start(placement);
    line only = line_start(service, (ferry_stream_options){.limit_file_bytes = 1000});
    test_file file = file_make(700, 1);
    submit_gate(only.stream, &only.gate);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        ferry_part part = six_hundred(kind, &file);
        ferry_promise *taken, *fits, *refused = NULL;
        check_eq(ferry_stream_send(only.stream, &part, 1, NULL, &taken), 0);
        check_eq(status_of(only.stream).queued_file_bytes, 600);
        check_eq(ferry_stream_send(only.stream, &part, 1, NULL, &refused), -EAGAIN);
        check(refused == NULL);
        check_eq(try_zeros(only.stream, 401, NULL), -EAGAIN);
        fits = submit_zeros(only.stream, 400);
        check_eq(status_of(only.stream).queued_file_bytes, 1000);
        check_eq(try_write(only.stream, 10), 0); /* memory has its own limit */
        cancel(fits);
        cancel(taken);
        check_eq(status_of(only.stream).queued_file_bytes, 0);
    }
    open_gate(only.stream, &only.gate);
    check_nothing_queued(service);
    check_eq(line_end(&only), KINDS * 10);
    file_remove(&file);
    ferry_service_destroy(service);
}

PROMISE_BOTH(bounded, one_large_file_is_taken_where_no_file_bytes_are_queued)
{
    for (unsigned by_service = 0; by_service < 2; by_service++) {
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
        ferry_service_destroy(service);
    }
}

static void must_not_be_released(void *data, void *arg)
{
    (void)data;
    (void)arg;
    check(false);
}

PROMISE_BOTH(custody, submit_that_is_refused_for_want_of_room_takes_nothing)
{
    ferry_service *service = service_start(placement);
    line only = line_start(service, (ferry_stream_options){.limit_requests = 2});
    test_file file = file_make(10, 1);
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
    check_eq(status_of(only.stream).queued_file_bytes, 0);
    open_gate(only.stream, &only.gate);
    check_eq(line_end(&only), 1);
    file_remove(&file);
    ferry_service_destroy(service);
}

/* ---- limits of a service --------------------------------------------------------------------- */

PROMISE_BOTH(bounded, service_limits_count_all_its_streams_together)
{
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
    ferry_service_status status;
    check_eq(ferry_service_get_status(service, &status), 0);
    check_eq(status.streams, 2);
    check_eq(status.queued_requests, 6);
    check_eq(status.queued_bytes, 1000);
    check_eq(status.queued_file_bytes, 2000);
    ferry_promise *quiet;
    check_eq(ferry_stream_flush(one.stream, &quiet), 0); /* to wait for room needs none */
    open_gate(one.stream, &one.gate);
    check_eq(outcome(quiet).error, 0);
    check_eq(try_zeros(other.stream, 500, NULL), 0); /* what one gave back is another's */
    open_gate(other.stream, &other.gate);
    check_eq(outcome(zeros_of_other).error, 0);
    check_nothing_queued(service);
    check_eq(line_end(&one), 1100);
    check_eq(line_end(&other), 2400);
    ferry_service_destroy(service);
}

PROMISE_BOTH(bounded, submit_sleeps_until_another_stream_gives_the_services_room_back)
{
    for (unsigned which = 0; which < 3; which++) {
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
        check_eq(status_of(other.stream).queued_requests, 0);
        open_gate(one.stream, &one.gate);
        waiter_join(&waits);
        check_eq(line_end(&one), 10);
        check_eq(line_end(&other), 7);
        ferry_service_destroy(service);
    }
}

PROMISE_BOTH(bounded, submit_of_a_file_sleeps_while_its_stream_is_full)
{
    for (unsigned by_bytes = 0; by_bytes < 2; by_bytes++) {
        ferry_service *service = service_start(placement);
        line only = line_start(service, (ferry_stream_options){
                                            .limit_requests = by_bytes ? 0 : 2,
                                            .limit_file_bytes = by_bytes ? 10 : 0,
                                        });
        submit_gate(only.stream, &only.gate);
        check_eq(try_zeros(only.stream, 10, NULL), 0);
        waiter waits;
        waiter_start(&waits, only.stream, ferry_part_generate(generate_zeros, NULL, 7, NULL), 0);
        open_gate(only.stream, &only.gate);
        waiter_join(&waits);
        check_eq(line_end(&only), 17);
        ferry_service_destroy(service);
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

PROMISE_BOTH(bounded, submit_that_waits_for_the_services_room_is_eshutdown_when_its_stream_ends)
{
    for (unsigned way = 0; way < WAYS; way++) {
        ferry_service *service =
            limited_service((ferry_service_options){.placement = placement, .limit_requests = 1});
        pair one = unix_pair(SOCK_STREAM), other = unix_pair(SOCK_STREAM);
        ferry_stream *full = stream_adopt(service, one.ours);
        ferry_stream *ending = stream_adopt(service, other.ours);
        gate shut;
        submit_gate(full, &shut);
        waiter waits;
        waiter_start(&waits, ending, ferry_part_copy(zeros, 1), -ESHUTDOWN);
        refuse_from_now_on(way, service, ending);
        waiter_join(&waits);
        if (way != DESTROY) {
            check_eq(status_of(full).queued_requests, 1);
            ferry_service_destroy(service);
        }
        ferry_stream_unref(full);
        ferry_stream_unref(ending);
        close(one.theirs);
        close(other.theirs);
    }
}
