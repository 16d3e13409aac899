/* SPDX-License-Identifier: MIT */
/* Invariant bounded: queues have limits, and reaching one is an answer, or a wait that ends. */
#include "core/hooks.h"
#include "tests/notes.h"
#include "transport/stream/stream.h"

#include <semaphore.h>
#include <sys/mman.h>

static stage open_narrow(ferry_placement placement, uint32_t limit_requests)
{
    return stage_open_with(placement, unix_pair(SOCK_STREAM),
                           (ferry_stream_options){.limit_requests = limit_requests});
}

/* ---- limits: a full queue -------------------------------------------------------------------- */

/* Pins: bounded. */
PROMISE_EITHER(bounded, full_queue_is_eagain_and_has_room_again_once_a_request_settled)
{
    stage s = open_narrow(placement, 5);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    ferry_promise *last = NULL;
    for (unsigned i = 1; i < 5; i++) {
        ferry_promise_unref(last);
        last = submit_write(s.stream, "x", 1);
    }
    ferry_promise *refused = NULL;
    check_eq(ferry_stream_write(s.stream, "x", 1, NULL, &refused), -EAGAIN);
    check(refused == NULL);
    for (unsigned i = 0; i < 3; i++) /* looking leaves nothing behind */
        check_eq(ferry_service_drain(s.service, 0), -ETIMEDOUT);
    ferry_stream_status status = stream_status(s.stream);
    check_eq(status.queued_requests, 5);
    check_eq(status.queued_bytes, STUCK_BYTES + 4);
    ferry_promise *room = submit_mark(s.stream); /* to wait for room needs none */
    stage_let_read(&s);
    check_eq(outcome(room).error, 0);
    check_eq(outcome(last).error, 0);
    check_eq(outcome(stuck).error, 0);
    for (unsigned i = 0; i < 50; i++) /* who learns that it settled finds its room given back */
        for (unsigned n = 0; n < 4; n++)
            check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    stage_close(&s); /* close needs no room either */
}

PROMISE_EITHER(bounded, queued_memory_is_limited_but_one_large_request_is_taken_alone)
{
    AT_END(stage_end)
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.limit_bytes = 1000});
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs); /* far beyond the limit, alone */
    check_eq(ferry_stream_write(s.stream, "x", 1, NULL, NULL), -EAGAIN);
    check_eq(ferry_stream_write(s.stream, "", 0, NULL, NULL), -EAGAIN);
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
}

static int try_largest(ferry_stream *stream)
{
    const ferry_part part = ferry_part_generate(wait_for_the_word, NULL, INT64_MAX, NULL);
    return ferry_stream_send(stream, &part, 1, NULL, NULL);
}

/* As large as sizes can be, and what turns out to be so only once it is open. */
PROMISE_EITHER(bounded, counts_of_files_end_at_the_largest_number)
{
    const ferry_service_options options = {
        .placement = placement, .shared_owners = 2, .limit_file_bytes = UINT64_MAX};
    atomic_bool word = false;
    AT_END(destroy_service) ferry_service *service = service_start_with(options);
    AT_END(stage_end) stage s = stage_in(service, unix_pair(SOCK_STREAM));
    AT_END(stage_end) stage another = stage_in(service, unix_pair(SOCK_STREAM));
    const ferry_part gate = ferry_part_generate(wait_for_the_word, &word, FERRY_TO_END, NULL);
    check_eq(ferry_stream_send(s.stream, &gate, 1, NULL, NULL), 0);
    AT_END(close_fd) int file = memfd_create("grows", MFD_CLOEXEC);
    check(file >= 0);
    const ferry_file grows = ferry_file_fd(file);
    check_eq(ferry_stream_sendfile(s.stream, &grows, NULL, NULL), 0);
    check_eq(try_largest(s.stream), 0);
    check_eq(try_largest(s.stream), 0);
    check_eq(ftruncate(file, INT64_MAX), 0);
    atomic_store(&word, true);
    ferry_stream_wake_generator(s.stream);
    wait_readable(s.theirs); /* it is open, and counted */
    check(stream_status(s.stream).queued_file_bytes == UINT64_MAX);
    check_eq(try_largest(another.stream), -EAGAIN);
    check(service_status(service).queued_file_bytes == UINT64_MAX);
    ferry_stream_abort(s.stream);
    check_eq(stage_close_stream(&s).error, -ECANCELED);
    check(atomic_load(&service->total.source_bytes) == 0);
    ferry_stream_abort(another.stream);
}

/* Each stream counts to the end, and so does their sum. */
PROMISE_EITHER(bounded, status_of_a_service_adds_up_to_the_largest_number)
{
    enum { STREAMS = 3 };
    atomic_bool word = false;
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    stage stages[STREAMS];
    const ferry_part gate = ferry_part_generate(wait_for_the_word, &word, FERRY_TO_END, NULL);
    for (unsigned i = 0; i < STREAMS; i++) {
        stages[i] = stage_in(service, unix_pair(SOCK_STREAM));
        check_eq(ferry_stream_send(stages[i].stream, &gate, 1, NULL, NULL), 0);
        check_eq(try_largest(stages[i].stream), 0);
    }
    check(service_status(service).queued_file_bytes == UINT64_MAX);
    for (unsigned i = 0; i < STREAMS; i++) {
        ferry_stream_abort(stages[i].stream);
        stage_end(&stages[i]);
    }
}

/* As by a program that looks after its streams with a short timeout. */
PROMISE_EITHER(bounded, drain_that_times_out_leaves_nothing_in_the_queue)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    for (unsigned i = 0; i < 10; i++)
        check_eq(ferry_service_drain(s.service, 5), -ETIMEDOUT);
    ferry_promise *last = submit_mark(s.stream);
    check_eq(ferry_promise_cancel(last), 0); /* once that is through, so are the others */
    check_eq(outcome(last).error, -ECANCELED);
    check_eq(stream_status(s.stream).queued_requests, 1);
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
}

/* ---- waiting for room ------------------------------------------------------------------------ */

static const ferry_request_options without_limit = {.room_timeout_ms = -1};

PROMISE_EITHER(bounded, submit_waits_for_room_as_long_as_it_was_told_to)
{
    stage s = open_narrow(placement, 1);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs), *promise = NULL;
    const ferry_request_options briefly = {.room_timeout_ms = 5};
    const ferry_request_options wrong = {.room_timeout_ms = -2};
    check_eq(ferry_stream_write(s.stream, "x", 1, &briefly, &promise), -ETIMEDOUT);
    check_eq(ferry_stream_write(s.stream, "x", 1, &wrong, &promise), -EINVAL);
    check(promise == NULL);
    stage_let_read(&s);
    check_eq(outcome(submit_write_with(s.stream, "x", 1, &without_limit)).error, 0);
    check_eq(outcome(stuck).error, 0);
    stage_close_got_bytes(&s, STUCK_BYTES + 1);
}

enum { CROWD = 6, EACH = 3000 };

static void *write_through_a_narrow_queue(void *arg)
{
    for (unsigned i = 0; i < EACH; i++)
        check_eq(ferry_stream_write(arg, "0123456789", 10, &without_limit, NULL), 0);
    return NULL;
}

/* Pins: bounded. */
PROMISE_EITHER(bounded, crowd_of_waiting_submits_gets_through_a_narrow_queue)
{
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.limit_requests = 3, .limit_bytes = 25});
    stage_let_read(&s);
    pthread_t crowd[CROWD];
    start_threads(crowd, CROWD, write_through_a_narrow_queue, s.stream);
    join_threads(crowd, CROWD);
    stage_close_got_bytes(&s, CROWD * EACH * 10);
}

static void *wait_for_room(void *arg)
{
    ferry_promise *promise = NULL;
    check_eq(ferry_stream_write(arg, "x", 1, &without_limit, &promise), -ESHUTDOWN);
    check(promise == NULL);
    return NULL;
}

PROMISE_EITHER(bounded, submit_that_waits_for_room_is_eshutdown_when_the_stream_ends)
{
    for (unsigned how = 0; how < 4; how++) {
        AT_END(stage_end) stage s = open_narrow(placement, 1);
        ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
        pthread_t waiter = start_thread(wait_for_room, s.stream);
        if (how == 0)
            check_eq(ferry_stream_close(s.stream, NULL), 0);
        else if (how == 1)
            ferry_stream_abort(s.stream);
        else if (how == 2)
            check_eq(ferry_stream_shutdown(s.stream, NULL), 0);
        else
            stage_destroy(&s);
        pthread_join(waiter, NULL);
        ferry_stream_abort(s.stream);
        check_eq(outcome(stuck).error, -ECANCELED);
    }
}

static void try_to_wait_for_room(ferry_promise *, const ferry_result *, void *arg)
{
    check_eq(ferry_stream_write(arg, "x", 1, &without_limit, NULL), -EDEADLK);
}

PROMISE_EITHER(no_silent_wait, submit_that_may_wait_is_edeadlk_in_a_callback_and_on_an_owner)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    const ferry_request_options options = calling_on_owner(try_to_wait_for_room, s.stream);
    ferry_promise *promise = submit_write_with(s.stream, "x", 1, &options);
    check_eq(ferry_promise_observe(promise, try_to_wait_for_room, s.stream, NULL), 0);
    check_eq(outcome(promise).error, 0);
    check(ferry_inbox_run(0) >= 0);
}

/* ---- let in first, made then ----------------------------------------------------------------- */

enum { LARGE = 16 << 20, WAITERS = 40 };

typedef struct wish {
    ferry_stream *stream;
    const char *memory; /* LARGE bytes */
    int fd;
} wish;

/* A copy, a duplicate, and what would be the stream's. */
static int send_all_kinds(const wish *self, const ferry_request_options *options)
{
    ferry_file given = ferry_file_fd(self->fd);
    given.flags = FERRY_FD_GIVE;
    const ferry_part parts[] = {
        ferry_part_copy(self->memory, LARGE),
        ferry_part_file(ferry_file_fd(self->fd)),
        ferry_part_file(given),
        ferry_part_give((void *)(uintptr_t)self->memory, 1, must_not_be_released, NULL),
        ferry_part_generate(generate_nothing, NULL, 10, must_not_be_released),
    };
    return ferry_stream_send(self->stream, parts, sizeof parts / sizeof parts[0], options, NULL);
}

static void *wait_with_all_kinds(void *arg)
{
    check_eq(send_all_kinds(arg, &without_limit), -ESHUTDOWN);
    return NULL;
}

static void await_waiters(ferry_stream *stream, unsigned count)
{
    while (atomic_load(&stream->admission.room.waiters) < count)
        sched_yield();
}

PROMISE_EITHER(bounded, submit_that_waits_or_is_refused_holds_no_memory_and_no_fd)
{
    AT_END(file_remove) test_file file = file_make(10, 1);
    AT_END(free_memory) char *memory = malloc(LARGE);
    check(memory != NULL);
    AT_END(stage_end)
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.limit_bytes = 1 << 20});
    wish wanted = {s.stream, memory, file.fd};
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    unsigned long allocations = allocations_made();
    long bytes = bytes_outstanding();
    unsigned fds = count_fds();
    for (unsigned i = 0; i < 100; i++) {
        check_eq(ferry_stream_write(wanted.stream, memory, LARGE, NULL, NULL), -EAGAIN);
        check_eq(send_all_kinds(&wanted, NULL), -EAGAIN);
    }
    pthread_t waiters[WAITERS];
    start_threads(waiters, WAITERS, wait_with_all_kinds, &wanted);
    await_waiters(wanted.stream, WAITERS);
    check_eq(allocations_made(), allocations);
    check_eq(bytes_outstanding(), bytes);
    check_eq(count_fds(), fds);
    ferry_stream_abort(wanted.stream);
    join_threads(waiters, WAITERS);
    check_eq(outcome(stuck).error, -ECANCELED);
}

PROMISE_EITHER(bounded, what_can_never_be_let_in_does_not_wait_for_room)
{
    AT_END(stage_end) stage s = open_narrow(placement, 1);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    ferry_part parts[] = {ferry_part_borrow("", (size_t)INT64_MAX),
                          ferry_part_borrow("", (size_t)INT64_MAX)};
    check_eq(ferry_stream_send(s.stream, parts, 2, &without_limit, NULL), -EOVERFLOW);
    check_eq(ferry_stream_send(s.stream, parts, 1, &without_limit, NULL), -EOVERFLOW);
    check_eq(ferry_stream_write(s.stream, NULL, 1, &without_limit, NULL), -EINVAL);
    parts[0] = ferry_part_generate(NULL, NULL, 1, NULL);
    check_eq(ferry_stream_send(s.stream, parts, 1, &without_limit, NULL), -EINVAL);
    parts[0] = ferry_part_generate(generate_nothing, NULL, -7, NULL);
    check_eq(ferry_stream_send(s.stream, parts, 1, &without_limit, NULL), -EINVAL);
    ferry_file file = ferry_file_at("/dev/null");
    file.offset = file.length = INT64_MAX;
    check_eq(ferry_stream_sendfile(s.stream, &file, &without_limit, NULL), -EOVERFLOW);
    file = ferry_file_at("/dev/null");
    file.flags = ~0u;
    check_eq(ferry_stream_sendfile(s.stream, &file, &without_limit, NULL), -EINVAL);
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
}

/* An allocation of about so many bytes takes until it is told how it ends (-Wl,--wrap). */
enum { SLOW = 9 << 20 }; /* more than is copied in pieces */
static sem_t slow_began, slow_may_end;
static atomic_bool slow_fails;

WRAPPED(void *, ferry__allocate, (size_t size))
{
    if (size < SLOW || size > SLOW + 1000)
        return __real_ferry__allocate(size);
    sem_post(&slow_began);
    check_eq(sem_wait(&slow_may_end), 0);
    return atomic_load(&slow_fails) ? NULL : __real_ferry__allocate(size);
}

typedef struct slow_submit {
    pthread_t thread;
    ferry_stream *stream;
    bool is_read;
    ferry_promise *promise;
    int answer;
} slow_submit;

static void *submit_slowly(void *arg)
{
    static char memory[SLOW];
    slow_submit *self = arg;
    const ferry_read until = {memory, SLOW, FERRY_READ_UNTIL, memory, SLOW};
    self->answer = self->is_read
                       ? ferry_stream_read(self->stream, &until, NULL, NULL)
                       : ferry_stream_write(self->stream, memory, SLOW, NULL, &self->promise);
    return NULL;
}

/* It is let in, and being made when this returns. */
static void begin_slowly(slow_submit *self, ferry_stream *stream, bool is_read, bool fails)
{
    *self = (slow_submit){.stream = stream, .is_read = is_read};
    sem_init(&slow_began, 0, 0);
    sem_init(&slow_may_end, 0, 0);
    atomic_store(&slow_fails, fails);
    self->thread = start_thread(submit_slowly, self);
    check_eq(sem_wait(&slow_began), 0);
}

static int end_slowly(slow_submit *self)
{
    sem_post(&slow_may_end);
    check_eq(pthread_join(self->thread, NULL), 0);
    return self->answer;
}

static void *write_when_there_is_room(void *arg)
{
    check_eq(ferry_stream_write(arg, "x", 1, &without_limit, NULL), 0);
    return NULL;
}

PROMISE_EITHER(bounded, submit_that_fails_after_it_was_let_in_gives_its_room_to_those_who_wait)
{
    AT_END(stage_close) stage s = open_narrow(placement, 1);
    slow_submit failing;
    begin_slowly(&failing, s.stream, false, true);
    check_eq(ferry_stream_write(s.stream, "x", 1, NULL, NULL), -EAGAIN);
    ferry_promise *room;
    check_eq(ferry_stream_promise_room(s.stream, 1, 0, &room), 0);
    pthread_t waiter = start_thread(write_when_there_is_room, s.stream);
    await_waiters(s.stream, 1);
    check_eq(end_slowly(&failing), -ENOMEM);
    check_eq(pthread_join(waiter, NULL), 0);
    check_eq(outcome(room).error, 0);
    check_eq(ferry_service_drain(s.service, -1), 0);
    ferry_stream_status status = stream_status(s.stream);
    check_eq(status.queued_requests, 0);
    check_eq(status.queued_bytes, 0);
    char byte;
    check_eq(recv(s.theirs, &byte, 1, 0), 1);
}

/* The owner has closed the fd by then, and waits for the submit:
 * without a word it would for ever. */
static void close_meanwhile(ferry_placement placement, bool is_read, bool fails)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    slow_submit slow;
    begin_slowly(&slow, s.stream, is_read, fails);
    ferry_promise *closed = submit_close(s.stream);
    char byte;
    check_eq(recv(s.theirs, &byte, 1, 0), 0);
    wait_until_asleep();
    check_eq(ferry_promise_await(closed, 0, NULL), -ETIMEDOUT);
    check_eq(end_slowly(&slow), fails ? -ENOMEM : 0);
    check_eq(outcome(closed).error, 0);
    if (slow.promise != NULL)
        check_eq(outcome(slow.promise).error, -ESHUTDOWN);
}

PROMISE_EITHER(bounded, stream_that_is_closed_while_a_submit_is_made_ends)
{
    close_meanwhile(placement, false, true);
    close_meanwhile(placement, false, false);
    close_meanwhile(placement, true, true);
    close_meanwhile(placement, true, false);
}
