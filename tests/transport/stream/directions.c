/* SPDX-License-Identifier: MIT */
/* A stream's two directions are counted apart: what is asked of one never refuses the other. */
#include "tests/notes.h"
#include "transport/stream/stream.h"

#include <linux/sockios.h>
#include <semaphore.h>
#include <sys/ioctl.h>

static const ferry_stream_options narrow = {.limit_requests = 1};

static ferry_promise *submit_some(ferry_stream *stream, char *byte)
{
    return submit_read(stream, (ferry_read){byte, 1, FERRY_READ_SOME});
}

/* What a read comes to that waits for as long as there is no room. */
static int read_patiently(ferry_stream *stream)
{
    static char byte;
    const ferry_request_options patient = {.room_timeout_ms = -1};
    const ferry_read some = {&byte, 1, FERRY_READ_SOME};
    return ferry_stream_read(stream, &some, &patient, NULL);
}

/* ---- order ----------------------------------------------------------------------------------- */

/* A question and the read of its answer, that an owner's callback submits. */
typedef struct question {
    ferry_stream *stream;
    ferry_faults *counting;
    uint64_t reads_before; /* calls that looked for the answer before the question was made */
    char answer;
    ferry_promise *answered;
    sem_t asked;
} question;

static int64_t make_question(void *buffer, size_t size, void *arg)
{
    question *self = arg;
    check(size > 0);
    *(char *)buffer = '?';
    self->reads_before = ferry_faults_get_calls(self->counting, FERRY_CALL_READ);
    return 1;
}

static void ask_and_read(ferry_promise *, const ferry_result *, void *arg)
{
    question *self = arg;
    const ferry_part part = ferry_part_generate(make_question, self, 1, NULL);
    check_eq(ferry_stream_send(self->stream, &part, 1, NULL, NULL), 0);
    const ferry_read some = {&self->answer, 1, FERRY_READ_SOME};
    check_eq(ferry_stream_read(self->stream, &some, NULL, &self->answered), 0);
    sem_post(&self->asked);
}

PROMISE_BOTH(directions, question_leaves_before_its_answer_is_looked_for)
{
    AT_END(drop_faults) ferry_faults *faults = faults_none();
    AT_END(stage_close)
    stage s = stage_open_with(placement, tcp_pair(), (ferry_stream_options){.faults = faults});
    question asking = {.stream = s.stream, .counting = faults};
    sem_init(&asking.asked, 0, 0);
    const ferry_request_options options = {.on_owner = ask_and_read, .on_owner_arg = &asking};
    check_eq(ferry_stream_write(s.stream, "!", 1, &options, NULL), 0);
    check_eq(sem_wait(&asking.asked), 0);
    char asked[2];
    check_eq(recv(s.theirs, asked, 2, MSG_WAITALL), 2);
    check_eq(asked[1], '?');
    send_text(s.theirs, "a");
    check_eq(outcome(asking.answered).sent, 1);
    check_eq(asking.reads_before, 0);
    check_eq(asking.answer, 'a');
}

/* The next call that sends a file says when it is made, or has sent, and waits until it may go on
 * (--wrap). */
enum { NOT_HELD, BEFORE_IT_SENDS, ONCE_IT_HAS_SENT };
static atomic_int next_call;
static sem_t call_began, call_may_go_on;

static void hold_call(void)
{
    sem_post(&call_began);
    check_eq(sem_wait(&call_may_go_on), 0);
}

WRAPPED(ssize_t, sendfile64, (int out, int in, off_t *offset, size_t count))
{
    int when = atomic_exchange(&next_call, NOT_HELD);
    if (when == BEFORE_IT_SENDS)
        hold_call();
    ssize_t sent = __real_sendfile64(out, in, offset, count);
    if (when == ONCE_IT_HAS_SENT)
        hold_call();
    return sent;
}

static void init_holding(void)
{
    sem_init(&call_began, 0, 0);
    sem_init(&call_may_go_on, 0, 0);
}

/* While the call is held. It shuts the connection down on this side, so that the call comes out. */
static void abort_in_call(ferry_stream *stream)
{
    check_eq(sem_wait(&call_began), 0);
    ferry_stream_abort(stream);
}

/* A file, and the read of all that the peer answers, that an owner's callback submits. */
typedef struct upload {
    ferry_stream *stream;
    const char *path;
    char answer[16];
    ferry_promise *sent;
    ferry_promise *answered;
} upload;

static void send_and_read_all(ferry_promise *, const ferry_result *, void *arg)
{
    upload *self = arg;
    const ferry_file file = ferry_file_at(self->path);
    check_eq(ferry_stream_sendfile(self->stream, &file, NULL, &self->sent), 0);
    const ferry_read all = {self->answer, sizeof self->answer, FERRY_READ_TO_END};
    atomic_store(&next_call, BEFORE_IT_SENDS);
    check_eq(ferry_stream_read(self->stream, &all, NULL, &self->answered), 0);
}

PROMISE_BOTH(directions, abort_while_a_question_leaves_is_no_end_of_the_peers)
{
    AT_END(file_remove) test_file file = file_make(1 << 20, 1);
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    upload self = {.stream = s.stream, .path = file.path};
    init_holding();
    const ferry_request_options options = {.on_owner = send_and_read_all, .on_owner_arg = &self};
    check_eq(ferry_stream_write(s.stream, "!", 1, &options, NULL), 0);
    abort_in_call(s.stream);
    sem_post(&call_may_go_on);
    check_eq(outcome(self.sent).error, -ECANCELED);
    check_eq(outcome(self.answered).error, -ECANCELED);
}

static void send_and_close(ferry_promise *, const ferry_result *, void *arg)
{
    upload *self = arg;
    const ferry_file file = ferry_file_at(self->path);
    atomic_store(&next_call, ONCE_IT_HAS_SENT);
    check_eq(ferry_stream_sendfile(self->stream, &file, NULL, &self->sent), 0);
    check_eq(ferry_stream_close(self->stream, &self->answered), 0);
}

/* The peer's kernel has all of it, and the peer has not ended. */
PROMISE_BOTH(directions, abort_while_the_last_bytes_leave_confirms_no_close)
{
    enum { SIZE = 20000 }; /* more than is read and written, and less than the socket takes */
    AT_END(file_remove) test_file file = file_make(SIZE, 1);
    AT_END(stage_end)
    stage s = stage_open_with(placement, tcp_pair(),
                              (ferry_stream_options){.close_timeout_ms = 100 * 1000});
    AT_END(close_fd) int ours = duplicate(s.stream->link.fd);
    upload self = {.stream = s.stream, .path = file.path};
    init_holding();
    const ferry_request_options options = {.on_owner = send_and_close, .on_owner_arg = &self};
    check_eq(ferry_stream_write(s.stream, "!", 1, &options, NULL), 0);
    abort_in_call(s.stream);
    for (int unacked = 1; unacked > 0;)
        check_eq(ioctl(ours, SIOCOUTQ, &unacked), 0);
    sem_post(&call_may_go_on);
    check_eq(outcome(self.sent).sent, SIZE);
    check_eq(outcome(self.answered).error, -ECANCELED);
}

/* The other stream goes on, and its peer is told of no end. */
PROMISE(directions, abort_while_a_call_sends_is_no_end_for_a_relay)
{
    AT_END(file_remove) test_file file = file_make(1 << 20, 1);
    AT_END(stage_end) stage from = stage_open(FERRY_PLACEMENT_DEDICATED, tcp_pair());
    AT_END(close_theirs) pair both = tcp_pair();
    AT_END(drop_stream) ferry_stream *to = stream_adopt(from.service, both.ours);
    ferry_promise *relayed;
    check_eq(ferry_stream_relay(from.stream, to, FERRY_TO_END, 0, NULL, &relayed), 0);
    wait_until_asleep();
    init_holding();
    atomic_store(&next_call, BEFORE_IT_SENDS);
    ferry_promise *sent = submit_file(from.stream, ferry_file_at(file.path));
    abort_in_call(from.stream);
    wait_until_asleep(); /* the other stream's owner has seen the end */
    sem_post(&call_may_go_on);
    check_eq(outcome(sent).error, -ECANCELED);
    check_eq(outcome(relayed).error, -ECANCELED);
    check_eq(outcome(submit_write(to, "x", 1)).error, 0);
    char byte = 0;
    check_eq(recv(both.theirs, &byte, 1, 0), 1);
    check_eq(byte, 'x');
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void keep_apart(ferry_service *service, ferry_stream_options options)
{
    AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
    AT_END(drop_stream) ferry_stream *stream = stream_adopt_with(service, both.ours, options);
    char byte;
    ferry_promise *read = submit_some(stream, &byte);
    check_eq(outcome(submit_write(stream, "x", 1)).error, 0);
    check_eq(stream_status(stream).queued_requests, 0);
    check_eq(stream_status(stream).pending_reads, 1);
    ferry_promise *stuck = submit_stuck(stream, both.theirs);
    check_eq(ferry_stream_write(stream, "x", 1, NULL, NULL), -EAGAIN);
    check_eq(read_patiently(stream), 0); /* no room is needed: it returns */
    check_eq(stream_status(stream).queued_requests, 1);
    check_eq(stream_status(stream).pending_reads, 2);
    ferry_service_status sum = service_status(service);
    check_eq(sum.queued_requests, 1);
    check_eq(sum.pending_reads, 2);
    send_text(both.theirs, "y");
    check_eq(outcome(read).sent, 1); /* while the other direction is full */
    check_eq(ferry_stream_write(stream, "x", 1, NULL, NULL), -EAGAIN);
    check_eq(stream_status(stream).received_bytes, 1);
    ferry_stream_abort(stream);
    check_eq(outcome(stuck).error, -ECANCELED);
}

PROMISE_BOTH(directions, pending_read_refuses_no_write_and_a_full_queue_no_read)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    keep_apart(service, narrow);
}

PROMISE_BOTH(directions, limits_of_a_service_are_those_of_sending)
{
    const ferry_service_options options = {
        .placement = placement, .shared_owners = 1, .limit_requests = 1};
    AT_END(destroy_service) ferry_service *service;
    check_eq(ferry_service_create(&options, &service), 0);
    keep_apart(service, (ferry_stream_options){0});
}

/* Whatever is asked just before, and is still under way: nothing is queued. */
PROMISE_BOTH(directions, what_is_asked_of_reading_refuses_no_write)
{
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), narrow);
    notes seen = {0};
    notes_set(s.stream, &seen, true);
    for (unsigned i = 0; i < 1000; i++) {
        check_eq(ferry_stream_demand(s.stream, -1), 0);
        check_eq(ferry_stream_read_within(s.stream, 100000), 0);
        ferry_stream_wake_generator(s.stream);
        if (i % 10 == 0)
            notes_set(s.stream, &seen, i % 20 == 0); /* its loans, too */
        send_text(s.theirs, "q");
        check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
        char byte;
        check_eq(recv(s.theirs, &byte, 1, 0), 1);
    }
    notes_await(&seen, 1000);
    check_eq(stream_status(s.stream).queued_requests, 0);
    check_eq(stream_status(s.stream).received_bytes, 1000);
    stage_close(&s);
    notes_await_end(&seen);
}

/* ---- bounds of its own ----------------------------------------------------------------------- */

enum { MOST_READS = 65536 };

static void *read_as_soon_as_there_is_room(void *arg)
{
    check_eq(read_patiently(arg), 0);
    return NULL;
}

/* @param arg a reference. */
static void *read_in_vain(void *arg)
{
    check_eq(read_patiently(arg), -ESHUTDOWN);
    (void)ferry_stream_unref(arg);
    return NULL;
}

PROMISE_BOTH(directions, reads_have_a_bound_of_their_own_and_wait_for_it)
{
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), narrow);
    static char byte;
    const ferry_read some = {&byte, 1, FERRY_READ_SOME};
    ferry_promise *first = submit_some(s.stream, &byte);
    for (unsigned i = 1; i < MOST_READS; i++)
        check_eq(ferry_stream_read(s.stream, &some, NULL, NULL), 0);
    wait_until_asleep();
    long before = bytes_outstanding();
    unsigned long allocations = allocations_made();
    const ferry_request_options briefly = {.room_timeout_ms = 5};
    check_eq(ferry_stream_read(s.stream, &some, NULL, NULL), -EAGAIN);
    check_eq(ferry_stream_read(s.stream, &some, &briefly, NULL), -ETIMEDOUT);
    check_eq(allocations_made(), allocations);
    check_eq(bytes_outstanding(), before);
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    check_eq(ferry_stream_demand(s.stream, -1), 0);
    AT_END(join_thread) pthread_t waiter = start_thread(read_as_soon_as_there_is_room, s.stream);
    check_eq(ferry_promise_cancel(first), 0);
    check_eq(outcome(first).error, -ECANCELED);
    check_eq(pthread_join(waiter, NULL), 0);
    check_eq(ferry_stream_read(s.stream, &some, NULL, NULL), -EAGAIN);
    waiter = start_thread(read_in_vain, ferry_stream_ref(s.stream));
    stage_close(&s);
}

/* Holds up an owner. */
typedef struct hold {
    sem_t is_held;
    sem_t may_go_on;
} hold;

static void wait_on_owner(ferry_promise *, const ferry_result *, void *arg)
{
    hold *self = arg;
    sem_post(&self->is_held);
    check_eq(sem_wait(&self->may_go_on), 0);
}

static void hold_up(ferry_stream *stream, hold *self)
{
    sem_init(&self->is_held, 0, 0);
    sem_init(&self->may_go_on, 0, 0);
    write_calling(stream, "x", 1, wait_on_owner, self);
    check_eq(sem_wait(&self->is_held), 0);
}

static void let_go_on(ferry_stream *stream, hold *self)
{
    ferry_promise *over = submit_mark(stream);
    sem_post(&self->may_go_on);
    check_eq(outcome(over).error, 0);
    sem_destroy(&self->is_held);
    sem_destroy(&self->may_go_on);
}

static size_t read_never(ferry_stream *, const void *, size_t, bool, void *)
{
    check(false);
    return 0;
}

/* The owner is held up meanwhile. What comes of it is what the last calls asked for. */
PROMISE_BOTH(directions, what_is_asked_of_reading_takes_no_memory_however_often)
{
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), narrow);
    notes seen = {0};
    notes_set(s.stream, &seen, true);
    hold held;
    hold_up(s.stream, &held);
    send_text(s.theirs, "abc");
    long before = 0;
    for (unsigned i = 0; i < 10000; i++) {
        set_reader(s.stream, (ferry_reader){.on_read = read_never, .on_owner = true});
        check_eq(ferry_stream_set_reader(s.stream, NULL), 0);
        set_reader(s.stream, notes_reader(&seen, true));
        check_eq(ferry_stream_demand(s.stream, 1), 0);
        check_eq(ferry_stream_demand(s.stream, 0), 0);
        check_eq(ferry_stream_read_within(s.stream, 0), 0);
        check_eq(ferry_stream_read_within(s.stream, -1), 0);
        check_eq(ferry_stream_demand(s.stream, 7), 0);
        if (i == 0)
            before = bytes_outstanding();
    }
    check_eq(bytes_outstanding(), before);
    check_eq(stream_status(s.stream).queued_requests, 0);
    let_go_on(s.stream, &held);
    notes_await(&seen, 3);
    check_eq(seen.ends, 0); /* the deadline was put off in time */
    check(memcmp(seen.taken, "abc", 3) == 0);
    stage_close(&s);
    notes_await_end(&seen);
    check_eq(seen.ends, 1);
}

/* A pause and its end, asked for in one go: what was declined before is offered again. */
PROMISE_BOTH(directions, pause_that_is_over_before_the_owner_hears_of_it_is_still_one)
{
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), narrow);
    notes seen = {.least = 4};
    notes_set(s.stream, &seen, true);
    send_text(s.theirs, "ab");
    while (seen.calls == 0)
        sched_yield();
    for (unsigned i = 0; i < 100; i++) {
        hold held;
        hold_up(s.stream, &held);
        size_t calls = seen.calls;
        check_eq(ferry_stream_demand(s.stream, 0), 0);
        check_eq(ferry_stream_demand(s.stream, -1), 0);
        let_go_on(s.stream, &held);
        while (seen.calls == calls)
            sched_yield();
    }
    stage_close(&s);
    notes_await_end(&seen);
}

/* ---- what is received ------------------------------------------------------------------------ */

static void await_received(ferry_stream *stream, uint64_t bytes)
{
    while (stream_status(stream).received_bytes < bytes)
        sched_yield();
    check_eq(stream_status(stream).received_bytes, bytes);
}

PROMISE_BOTH(status, received_bytes_are_all_that_came_whoever_got_them)
{
    notes seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM), other = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(service, both.ours);
    AT_END(drop_stream) ferry_stream *to = stream_adopt(service, other.ours);
    check_eq(stream_status(stream).received_bytes, 0);
    char bytes[4];
    send_text(both.theirs, "1234");
    check_eq(outcome(submit_read(stream, (ferry_read){bytes, 4, FERRY_READ_EXACTLY})).error, 0);
    check_eq(stream_status(stream).received_bytes, 4);
    AT_END(file_remove) test_file file = file_make(10, 1);
    ferry_file target = ferry_file_at(file.path);
    target.length = 5;
    ferry_promise *promise;
    check_eq(ferry_stream_read_to_file(stream, &target, NULL, &promise), 0);
    send_text(both.theirs, "12345");
    check_eq(outcome(promise).sent, 5);
    check_eq(stream_status(stream).received_bytes, 9);
    check_eq(ferry_stream_relay(stream, to, FERRY_TO_END, 0, NULL, &promise), 0);
    send_text(both.theirs, "123456");
    await_received(stream, 15); /* while the relay is under way */
    check_eq(stream_status(to).received_bytes, 0);
    check_eq(ferry_promise_cancel(promise), 0);
    check_eq(outcome(promise).error, -ECANCELED);
    notes_set(stream, &seen, true);
    send_text(both.theirs, "1");
    notes_await(&seen, 1);
    await_received(stream, 16); /* counted once the reader has returned */
    check_eq(stream_status(stream).pending_reads, 0);
    check_eq(close_stream(stream).error, 0);
    notes_await_end(&seen);
    ferry_stream_abort(to);
}
