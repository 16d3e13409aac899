/* SPDX-License-Identifier: MIT */
/* Reads: what they are given, in which order, and how they settle. */
#include "tests/notes.h"
#include "transport/stream/stream.h"

#include <fcntl.h>

PROMISE_EITHER(reading, reads_take_the_next_bytes_in_the_order_of_their_submits)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    char exactly[4], line[16], some[16], rest[16];
    ferry_promise *first =
        submit_read(s.stream, (ferry_read){exactly, sizeof exactly, FERRY_READ_EXACTLY});
    ferry_promise *second =
        submit_read(s.stream, (ferry_read){line, sizeof line, FERRY_READ_UNTIL, "\r\n", 2});
    ferry_promise *third = submit_read(s.stream, (ferry_read){some, sizeof some, FERRY_READ_SOME});
    ferry_promise *fourth =
        submit_read(s.stream, (ferry_read){rest, sizeof rest, FERRY_READ_TO_END});
    send_text(s.theirs, "fo");
    send_text(s.theirs, "urline\r");
    send_text(s.theirs, "\n");
    check_outcome(first, .error = 0, .sent = 4);
    check(memcmp(exactly, "four", 4) == 0);
    check_outcome(second, .sent = 6, .stream_offset = 4, .sequence = 1);
    check(memcmp(line, "line\r\n", 6) == 0);
    send_text(s.theirs, "x");
    check_outcome(third, .sent = 1, .at_end = false);
    send_text(s.theirs, "the rest");
    stage_hang_up(&s);
    check_outcome(fourth, .sent = 8, .at_end = true);
    check(memcmp(rest, "the rest", 8) == 0);
    check_outcome(submit_read(s.stream, (ferry_read){some, 1, FERRY_READ_SOME}), .error = 0,
                  .sent = 0, .at_end = true);
}

/* So reads that wait never hold more than memory that the program has set aside for them. */
PROMISE_EITHER(reading, delimiter_that_does_not_fit_is_not_kept_and_never_found)
{
    enum { LONG = 1 << 20 };
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    char data[8], *delimiter = calloc(LONG, 1);
    check(delimiter != NULL);
    wait_until_asleep();
    long before = bytes_outstanding();
    ferry_promise *read =
        submit_read(s.stream, (ferry_read){data, sizeof data, FERRY_READ_UNTIL, delimiter, LONG});
    check(bytes_outstanding() - before < LONG);
    free(delimiter);
    check_eq(write(s.theirs, "\0\0\0\0\0\0\0\0", sizeof data), sizeof data);
    check_eq(outcome(read).error, -EMSGSIZE);
}

PROMISE_EITHER(reading, cancelled_read_consumes_nothing)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    char big[64], small[8];
    ferry_promise *first = submit_read(s.stream, (ferry_read){big, sizeof big, FERRY_READ_EXACTLY});
    ferry_promise *probe = submit_read(s.stream, (ferry_read){small, 2, FERRY_READ_EXACTLY});
    send_text(s.theirs, "abcd");
    wait_until_asleep(); /* some of it is in the first one's memory by now, or not: both are fine */
    check_eq(ferry_promise_cancel(first), 0);
    check_outcome(first, .error = -ECANCELED, .sent = 0);
    check_eq(outcome(probe).sent, 2);
    check(memcmp(small, "ab", 2) == 0);
    check_eq(outcome(submit_read(s.stream, (ferry_read){small, 2, FERRY_READ_EXACTLY})).sent, 2);
    check(memcmp(small, "cd", 2) == 0);
}

/* The last call of the two finds nothing more. */
PROMISE_EITHER(reading, small_reads_that_are_queued_share_a_call)
{
    enum { READS = 20, SIZE = 100 };
    AT_END(drop_faults) ferry_faults *faults = faults_none();
    AT_END(stage_end)
    stage s = stage_open_with(placement, tcp_pair(), (ferry_stream_options){.faults = faults});
    unsigned char sent[READS * SIZE], got[READS * SIZE];
    ferry_promise *promises[READS];
    for (unsigned i = 0; i < READS; i++)
        promises[i] = submit_read(s.stream, (ferry_read){got + i * SIZE, SIZE, FERRY_READ_EXACTLY});
    wait_until_asleep();
    uint64_t before = ferry_faults_get_calls(faults, FERRY_CALL_READ);
    fill_content(sent, sizeof sent, 1, 0);
    check_eq(write(s.theirs, sent, sizeof sent), sizeof sent);
    for (unsigned i = 0; i < READS; i++)
        check_outcome(promises[i], .error = 0, .sent = SIZE, .stream_offset = i * SIZE);
    check(memcmp(sent, got, sizeof sent) == 0);
    wait_until_asleep();
    check(ferry_faults_get_calls(faults, FERRY_CALL_READ) - before <= 2);
}

/* A program that goes on with its own duplicate of the socket finds the rest there. */
PROMISE_EITHER(reading, small_reads_leave_in_the_kernel_what_none_of_them_wants)
{
    ONLY_ON_PLAIN_LINKS("a record comes whole");
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(close_fd) int own = fcntl(s.stream->link.fd, F_DUPFD_CLOEXEC, 0);
    char data[3][8], rest[16];
    ferry_promise *promises[3];
    for (unsigned i = 0; i < 3; i++)
        promises[i] = submit_read(s.stream, (ferry_read){data[i], 8, FERRY_READ_EXACTLY});
    wait_until_asleep();
    send_text(s.theirs, "one-----two-----three---the rest");
    for (unsigned i = 0; i < 3; i++)
        check_outcome(promises[i], .error = 0, .sent = 8);
    check(memcmp(data, "one-----two-----three---", sizeof data) == 0);
    check_eq(recv(own, rest, sizeof rest, MSG_DONTWAIT), 8);
    check(memcmp(rest, "the rest", 8) == 0);
}

PROMISE_EITHER(reading, small_reads_need_no_memory_for_sharing_a_call)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    char first[4], second[4];
    ferry_promise *one = submit_read(s.stream, (ferry_read){first, 4, FERRY_READ_EXACTLY});
    ferry_promise *two = submit_read(s.stream, (ferry_read){second, 4, FERRY_READ_EXACTLY});
    wait_until_asleep();
    fail_allocation(1);
    send_text(s.theirs, "abcdefgh");
    check_outcome(one, .error = 0, .sent = 4);
    check_outcome(two, .error = 0, .sent = 4);
    allow_allocations();
    check(memcmp(first, "abcd", 4) == 0 && memcmp(second, "efgh", 4) == 0);
}

/* ---- when a read is complete ----------------------------------------------------------------- */

/* A stream, and memory to read into. */
typedef struct scene {
    stage on;
    char data[64];
} scene;

static scene scene_begin(ferry_placement placement, int is_tcp)
{
    return (scene){.on = stage_open(placement, any_pair(is_tcp))};
}

static void scene_end(scene *this)
{
    stage_end(&this->on);
}

static ferry_promise *submit(scene *this, ferry_read_mode mode, size_t size)
{
    return submit_read(this->on.stream, (ferry_read){this->data, size, mode});
}

static ferry_promise *submit_until(scene *this, const char *delimiter, size_t size)
{
    const ferry_read read = {this->data, size, FERRY_READ_UNTIL, delimiter, strlen(delimiter)};
    return submit_read(this->on.stream, read);
}

/* It succeeded, with this. */
static ferry_result gives(scene *this, ferry_promise *promise, const char *text)
{
    ferry_result result = outcome(promise);
    check_eq(result.error, 0);
    check_eq(result.phase, FERRY_PHASE_DONE);
    check_eq(result.sent, strlen(text));
    check(memcmp(this->data, text, strlen(text)) == 0);
    return result;
}

/* It failed, and consumed nothing. */
static void fails(ferry_promise *promise, int error, ferry_phase phase)
{
    check_outcome(promise, .error = error, .phase = phase, .sent = 0, .at_end = false);
}

PROMISE_EITHER(reading, read_of_no_bytes_is_complete_at_once_unless_it_is_to_the_end)
{
    AT_END(scene_end) scene this = scene_begin(placement, 1);
    const ferry_read some = {NULL, 0, FERRY_READ_SOME};
    gives(&this, submit_read(this.on.stream, some), "");
    gives(&this, submit(&this, FERRY_READ_EXACTLY, 0), "");
    ferry_promise *to_end = submit(&this, FERRY_READ_TO_END, 0);
    wait_until_asleep();
    check_eq(ferry_promise_await(to_end, 0, NULL), -ETIMEDOUT);
    send_text(this.on.theirs, "x");
    fails(to_end, -EMSGSIZE, FERRY_PHASE_SOURCE);
    fails(submit_until(&this, "x", 0), -EMSGSIZE, FERRY_PHASE_SOURCE);
    gives(&this, submit(&this, FERRY_READ_SOME, 2), "x");
    stage_hang_up(&this.on);
    check(gives(&this, submit(&this, FERRY_READ_TO_END, 0), "").at_end);
}

PROMISE_EITHER(reading, delimiter_is_found_in_whatever_pieces_it_comes)
{
    static const char sent[] = "ab-ababaabac-abac|rest";
    for (size_t step = 1; step < sizeof sent; step++) {
        AT_END(scene_end) scene this = scene_begin(placement, 0);
        ferry_promise *false_starts = submit_until(&this, "abac", sizeof this.data);
        for (size_t i = 0; i < sizeof sent - 1; i += step) {
            size_t left = sizeof sent - 1 - i;
            check(send(this.on.theirs, sent + i, step < left ? step : left, 0) > 0);
            if (step < 4)
                wait_until_asleep();
        }
        gives(&this, false_starts, "ab-ababaabac");
        gives(&this, submit_until(&this, "-", 2), "-");
        gives(&this, submit_until(&this, "abac|", 5), "abac|"); /* it fits just so */
        gives(&this, submit(&this, FERRY_READ_EXACTLY, 4), "rest");
    }
}

PROMISE_EITHER(reading, read_into_too_little_memory_is_emsgsize_and_takes_nothing)
{
    AT_END(scene_end) scene this = scene_begin(placement, 1);
    send_text(this.on.theirs, "abcdef\n");
    fails(submit_until(&this, "\n", 6), -EMSGSIZE, FERRY_PHASE_SOURCE);
    fails(submit(&this, FERRY_READ_TO_END, 6), -EMSGSIZE, FERRY_PHASE_SOURCE);
    fails(submit_until(&this, "f\n", 6), -EMSGSIZE, FERRY_PHASE_SOURCE);
    ferry_result result = gives(&this, submit_until(&this, "\n", 7), "abcdef\n");
    check_eq(result.stream_offset, 0);
    send_text(this.on.theirs, "1234567");
    ferry_promise *to_end = submit(&this, FERRY_READ_TO_END, 7);
    stage_hang_up(&this.on);
    check(gives(&this, to_end, "1234567").at_end); /* full, but the end came */
}

PROMISE_EITHER(reading, end_of_file_completes_every_read_with_what_there_is)
{
    for (ferry_read_mode mode = FERRY_READ_SOME; mode <= FERRY_READ_TO_END; mode++) {
        AT_END(scene_end) scene this = scene_begin(placement, mode & 1);
        ferry_read wanted = {this.data, 10, mode, "\n", 1};
        if (mode != FERRY_READ_SOME)
            send_text(this.on.theirs, "part");
        ferry_promise *promise = submit_read(this.on.stream, wanted);
        wait_until_asleep();
        stage_hang_up(&this.on);
        ferry_result result = gives(&this, promise, mode != FERRY_READ_SOME ? "part" : "");
        check(result.at_end);
        check_eq(result.remaining, mode == FERRY_READ_EXACTLY ? 6 : 0);
        /* And every later one, with nothing. */
        result = gives(&this, submit_read(this.on.stream, wanted), "");
        check(result.at_end);
    }
}

PROMISE_EITHER(reading, read_that_takes_the_last_bytes_knows_of_the_end_or_the_next_does)
{
    AT_END(scene_end) scene this = scene_begin(placement, 0);
    send_text(this.on.theirs, "abcd");
    gives(&this, submit(&this, FERRY_READ_EXACTLY, 3), "abc");
    stage_hang_up(&this.on);
    ferry_result last = gives(&this, submit(&this, FERRY_READ_SOME, 10), "d");
    if (!last.at_end)
        check(gives(&this, submit(&this, FERRY_READ_SOME, 10), "").at_end);
}

PROMISE_EITHER(reading, error_fails_the_read_and_what_had_come_is_the_next_ones)
{
    AT_END(scene_end) scene this = scene_begin(placement, 1);
    ferry_promise *exactly = submit(&this, FERRY_READ_EXACTLY, 10);
    send_text(this.on.theirs, "abc");
    wait_until_asleep(); /* it is in that read's memory */
    close_with_reset(stage_take(&this.on));
    fails(exactly, -ECONNRESET, FERRY_PHASE_SOURCE);
    fails(submit_until(&this, "\n", 10), -ECONNRESET, FERRY_PHASE_SOURCE);
    gives(&this, submit(&this, FERRY_READ_SOME, 10), "abc");
    fails(submit(&this, FERRY_READ_SOME, 10), -ECONNRESET, FERRY_PHASE_SOURCE);
}

/* ---- calling off ----------------------------------------------------------------------------- */

PROMISE_EITHER(reading, read_that_is_out_of_time_consumes_nothing)
{
    AT_END(scene_end) scene this = scene_begin(placement, 1);
    ferry_request_options soon = {.timeout_ms = 30};
    const ferry_read exactly = {this.data, 10, FERRY_READ_EXACTLY};
    ferry_result result = {.phase = FERRY_PHASE_QUEUE};
    send_text(this.on.theirs, "abc");
    /* On a busy machine its time may be up before it has begun. */
    for (; result.phase == FERRY_PHASE_QUEUE; soon.timeout_ms *= 2) {
        ferry_promise *first, *behind;
        check_eq(ferry_stream_read(this.on.stream, &exactly, &soon, &first), 0);
        check_eq(ferry_stream_read(this.on.stream, &exactly, &soon, &behind), 0);
        result = outcome(first);
        check_eq(result.error, -ETIMEDOUT);
        check_eq(result.sent, 0);
        /* Had it begun? The first is out of time first. */
        check_outcome(behind, .error = -ETIMEDOUT, .sent = 0);
    }
    check_eq(result.phase, FERRY_PHASE_SOURCE);
    result = gives(&this, submit(&this, FERRY_READ_SOME, 10), "abc");
    check_eq(result.stream_offset, 0);
}

PROMISE_EITHER(reading, any_queued_read_can_be_cancelled_and_the_others_do_not_notice)
{
    AT_END(scene_end) scene this = scene_begin(placement, 0);
    char other[2][8];
    ferry_promise *reads[5];
    for (unsigned i = 0; i < 5; i++) {
        char *where = i % 2 == 1 ? other[i / 2] : this.data;
        const ferry_read four = {where, 4, FERRY_READ_EXACTLY};
        reads[i] = submit_read(this.on.stream, four);
    }
    send_text(this.on.theirs, "ab");
    wait_until_asleep();
    for (unsigned i = 0; i < 5; i += 2) {
        check_eq(ferry_promise_cancel(reads[i]), 0);
        fails(reads[i], -ECANCELED, i == 0 ? FERRY_PHASE_SOURCE : FERRY_PHASE_QUEUE);
    }
    send_text(this.on.theirs, "cdefgh");
    check_eq(outcome(reads[1]).sent, 4);
    check_eq(outcome(reads[3]).stream_offset, 4);
    check(memcmp(other[0], "abcd", 4) == 0);
    check(memcmp(other[1], "efgh", 4) == 0);
}

PROMISE_EITHER(reading, close_abort_and_destroy_cancel_reads)
{
    for (int how = 0; how < 3; how++) {
        AT_END(scene_end) scene this = scene_begin(placement, 1);
        ferry_promise *first = submit(&this, FERRY_READ_EXACTLY, 10);
        ferry_promise *second = submit(&this, FERRY_READ_EXACTLY, 10);
        send_text(this.on.theirs, "abc");
        wait_until_asleep();
        if (how == 0)
            check_eq(ferry_stream_close(this.on.stream, NULL), 0);
        else if (how == 1)
            ferry_stream_abort(this.on.stream);
        else
            stage_destroy(&this.on);
        fails(first, -ECANCELED, FERRY_PHASE_SOURCE);
        fails(second, -ECANCELED, FERRY_PHASE_QUEUE);
    }
}

PROMISE_EITHER(reading, read_that_cannot_be_put_back_leaves_an_error_and_no_gap)
{
    unsigned failed = 0;
    for (unsigned n = 1; n < 8; n++) {
        AT_END(scene_end) scene this = scene_begin(placement, 0);
        gives(&this, submit(&this, FERRY_READ_SOME, 0), ""); /* its thread is there */
        ferry_promise *to_end = submit(&this, FERRY_READ_TO_END, 4);
        wait_until_asleep();
        fail_allocation(n);
        send_text(this.on.theirs, "abcdef");
        ferry_result result = outcome(to_end);
        allow_allocations();
        check(result.error == -EMSGSIZE || result.error == -ENOMEM);
        result = outcome(submit(&this, FERRY_READ_EXACTLY, 2));
        if (result.error == 0)
            check(memcmp(this.data, "ab", 2) == 0);
        else
            check_eq(result.error, -ENOMEM);
        failed += result.error != 0;
    }
    check(failed > 0);
}

/* ---- whose turn it is ------------------------------------------------------------------------ */

PROMISE_EITHER(reading, reads_are_served_before_the_reader)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        notes seen = {0};
        AT_END(scene_end) scene this = scene_begin(placement, on_owner);
        notes_set(this.on.stream, &seen, on_owner);
        ferry_promise *first = submit(&this, FERRY_READ_EXACTLY, 3);
        send_text(this.on.theirs, "abcdef");
        gives(&this, first, "abc");
        notes_await(&seen, 3); /* what the read has left */
        ferry_promise *second = submit_until(&this, "\n", 10);
        send_text(this.on.theirs, "line\nand more");
        gives(&this, second, "line\n");
        notes_await(&seen, 11);
        check(memcmp(seen.taken, "defand more", 11) == 0);
        stage_hang_up(&this.on);
        notes_await_end(&seen);
    }
}

typedef struct turn_taker {
    scene *scene;
    char data[4];
    _Atomic(bool) has_submitted;
    ferry_result result;
} turn_taker;

static void *submit_and_wait(void *arg)
{
    turn_taker *self = arg;
    const ferry_read four = {self->data, 4, FERRY_READ_EXACTLY};
    ferry_promise *promise = submit_read(self->scene->on.stream, four);
    atomic_store(&self->has_submitted, true);
    self->result = outcome(promise);
    return NULL;
}

PROMISE_EITHER(reading, reads_of_several_threads_are_served_in_the_order_of_their_submits)
{
    enum { THREADS = 6 };
    AT_END(scene_end) scene this = scene_begin(placement, 1);
    turn_taker takers[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        takers[i] = (turn_taker){.scene = &this};
        threads[i] = start_thread(submit_and_wait, &takers[i]);
        while (!atomic_load(&takers[i].has_submitted))
            sched_yield();
    }
    send_text(this.on.theirs, "000011112222333344445555");
    for (unsigned i = 0; i < THREADS; i++) {
        check_eq(pthread_join(threads[i], NULL), 0);
        check_eq(takers[i].result.stream_offset, 4 * i);
        check_eq(takers[i].data[0], '0' + (int)i);
    }
}

static void read_one_and_echo(scene *this);

static void echo(ferry_promise *, const ferry_result *result, void *arg)
{
    scene *this = arg;
    if (result->at_end || result->error != 0)
        return;
    check_eq(ferry_stream_write(this->on.stream, this->data, result->sent, NULL, NULL), 0);
    read_one_and_echo(this);
}

static void read_one_and_echo(scene *this)
{
    const ferry_request_options options = calling_on_owner(echo, this);
    const ferry_read one = {this->data, 1, FERRY_READ_SOME};
    check_eq(ferry_stream_read(this->on.stream, &one, &options, NULL), 0);
}

PROMISE_EITHER(reading, callback_on_the_owner_may_read_on)
{
    AT_END(scene_end) scene this = scene_begin(placement, 1);
    read_one_and_echo(&this);
    send_text(this.on.theirs, "echoed by the byte");
    char back[18];
    check_eq(recv(this.on.theirs, back, sizeof back, MSG_WAITALL), sizeof back);
    check(memcmp(back, "echoed by the byte", sizeof back) == 0);
    check_eq(shutdown(this.on.theirs, SHUT_WR), 0);
    check_eq(close_stream(ferry_stream_ref(this.on.stream)).error, 0);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void check_all_reading_is(ferry_stream *stream, int error)
{
    notes seen = {0};
    const ferry_reader wanted = notes_reader(&seen, false);
    char byte;
    const ferry_read one = {&byte, 1, FERRY_READ_SOME};
    check_eq(ferry_stream_set_reader(stream, &wanted), error);
    check_eq(ferry_stream_demand(stream, 1), error);
    check_eq(ferry_stream_read_within(stream, 1), error);
    check_eq(ferry_stream_read(stream, &one, NULL, NULL), error);
}

PROMISE_EITHER(reading, closed_stream_refuses_all_reading)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check_eq(close_stream(ferry_stream_ref(s.stream)).error, 0);
    check_all_reading_is(s.stream, -ESHUTDOWN);
    check_eq(ferry_stream_set_reader(s.stream, NULL), -ESHUTDOWN);
}

PROMISE_EITHER(reading, pipes_and_sockets_of_messages_are_enotsock)
{
    AT_END(stage_end) stage pipe = stage_open(placement, pipe_pair());
    check_all_reading_is(pipe.stream, -ENOTSOCK);
    AT_END(stage_end) stage messages = stage_open(placement, unix_pair(SOCK_SEQPACKET));
    check_all_reading_is(messages.stream, -ENOTSOCK);
}

PROMISE(reading, what_makes_no_sense_is_einval)
{
    AT_END(scene_end) scene this = scene_begin(FERRY_PLACEMENT_SHARED, 0);
    notes seen = {0};
    const ferry_reader good = notes_reader(&seen, false);
    const ferry_reader bad[] = {
        {.on_read = NULL},
        {.on_read = notes_read, .shots = -1},
        {.on_read = notes_read, .low_bytes = 65537}, /* above the default of the other */
        {.on_read = notes_read, .low_bytes = 65537, .high_bytes = 65536},
    };
    check_eq(ferry_stream_set_reader(NULL, &good), -EINVAL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_eq(ferry_stream_set_reader(this.on.stream, &bad[i]), -EINVAL);
    check_eq(ferry_stream_demand(NULL, 1), -EINVAL);
    check_eq(ferry_stream_demand(this.on.stream, -2), -EINVAL);
    check_eq(ferry_stream_read_within(NULL, 1), -EINVAL);
    check_eq(ferry_stream_read_within(this.on.stream, -2), -EINVAL);
    const ferry_read fine = {this.data, 1, FERRY_READ_SOME};
    const ferry_read wrong[] = {
        {NULL, 1, FERRY_READ_SOME},
        {this.data, 1, (ferry_read_mode)(FERRY_READ_TO_END + 1), NULL, 0},
        {this.data, 1, FERRY_READ_UNTIL, NULL, 1},
        {this.data, 1, FERRY_READ_UNTIL, "x", 0},
    };
    check_eq(ferry_stream_read(NULL, &fine, NULL, NULL), -EINVAL);
    check_eq(ferry_stream_read(this.on.stream, NULL, NULL, NULL), -EINVAL);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        check_eq(ferry_stream_read(this.on.stream, &wrong[i], NULL, NULL), -EINVAL);
    const ferry_request_options completion = {.completion = FERRY_COMPLETION_DRAINED};
    check_eq(ferry_stream_read(this.on.stream, &fine, &completion, NULL), -EINVAL);
    const ferry_request_options negative = {.timeout_ms = -1};
    check_eq(ferry_stream_read(this.on.stream, &fine, &negative, NULL), -EINVAL);
}

PROMISE_EITHER(reading, after_fork_all_reading_is_echild)
{
    AT_END(scene_end) scene this = scene_begin(placement, 0);
    gives(&this, submit(&this, FERRY_READ_SOME, 0), "");
    pid_t child = fork();
    if (child == 0) {
        check_all_reading_is(this.on.stream, -ECHILD);
        _exit(0);
    }
    await_child(child);
}
