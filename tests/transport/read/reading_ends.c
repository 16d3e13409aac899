/* SPDX-License-Identifier: MIT */
/* How reading ends, and readers do: replaced, told, or with their threads. */
#include "tests/notes.h"

/* ---- how it ends ----------------------------------------------------------------------------- */

PROMISE_EITHER(reading_ends, reader_keeps_its_stream_open_until_the_end)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes_set(s.stream, &seen, false);
    s.stream = ferry_stream_unref(s.stream);
    send_text(s.theirs, "still here");
    check_eq(shutdown(s.theirs, SHUT_WR), 0);
    notes_await_end(&seen);
    check_eq(seen.count, 10);
    char scrap;
    check_eq(read(s.theirs, &scrap, 1), 0); /* and then it is closed */
}

PROMISE_EITHER(reading_ends, destroying_the_service_ends_reading_with_ecanceled)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        notes seen = {0};
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        notes_set(s.stream, &seen, on_owner);
        char scrap[4];
        ferry_promise *read = submit_read(s.stream, (ferry_read){scrap, 4, FERRY_READ_EXACTLY});
        send_text(s.theirs, "ab");
        stage_destroy(&s);
        check_eq(outcome(read).error, -ECANCELED);
        notes_await_end(&seen);
        check_eq(seen.ends, 1);
        check_eq(seen.error, -ECANCELED);
    }
}

/* The peer's last bytes, and then its reset. @param is_written to: then a write is told of it. */
static void reset_by_peer(ferry_placement placement, bool on_owner, bool is_written)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    notes_set_with(s.stream, &seen, (ferry_reader){.on_owner = on_owner, .shots = 1});
    send_text(s.theirs, "x");
    notes_await(&seen, 1);
    run_until_quiet();
    send_text(s.theirs, "last words");
    close_with_reset(stage_take(&s));
    if (is_written)
        check_eq(outcome(submit_write(s.stream, "?", 1)).error, -ECONNRESET);
    check_eq(ferry_stream_demand(s.stream, -1), 0);
    notes_await_end(&seen);
    check_eq(seen.count, 11);
    check_eq(seen.error, -ECONNRESET); /* not an end of file: some of it may be missing */
}

PROMISE_EITHER(reading_ends, reset_is_econnreset_also_where_a_write_was_told_of_it_first)
{
    for (int i = 0; i < 4; i++)
        reset_by_peer(placement, i & 1, i & 2);
}

PROMISE_EITHER(reading_ends, end_of_file_is_one_also_where_a_reset_followed_it)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    send_text(s.theirs, "all of it");
    stage_hang_up(&s);
    /* Nobody is there to read this: the first brings about a reset, one of the next is told. */
    while (outcome(submit_write(s.stream, "?", 1)).error == 0) {
    }
    notes_set(s.stream, &seen, false);
    notes_await_end(&seen);
    check_eq(seen.count, 9);
    check_eq(seen.error, 0);
}

PROMISE_EITHER(reading_ends, end_of_file_is_one_also_after_a_shutdown)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        notes seen = {0};
        AT_END(stage_end) stage s = stage_open(placement, any_pair(is_tcp));
        check_eq(outcome(submit_shutdown(s.stream)).error, 0);
        char byte;
        check_eq(recv(s.theirs, &byte, 1, 0), 0);
        send_text(s.theirs, "answer");
        stage_hang_up(&s); /* both directions have ended: the connection is over */
        notes_set(s.stream, &seen, false);
        notes_await_end(&seen);
        check_eq(seen.count, 6);
        check_eq(seen.error, 0);
    }
}
/* ---- replaced readers ------------------------------------------------------------------------ */

PROMISE_EITHER(reading_ends, reader_that_was_replaced_before_its_end_was_told_is_not_told)
{
    for (int is_none = 0; is_none < 2; is_none++) {
        notes first = {0}, second = {0};
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        notes_set(s.stream, &first, false);
        check_eq(shutdown(s.theirs, SHUT_WR), 0);
        wait_until_asleep(); /* the end is in this thread's inbox */
        if (is_none)
            check_eq(ferry_stream_set_reader(s.stream, NULL), 0);
        else
            notes_set(s.stream, &second, false);
        run_until_quiet();
        check_eq(first.ends, 0);
        check_eq(second.ends, !is_none);
        /* Nor has it closed the stream. */
        check_eq(ferry_stream_demand(s.stream, -1), is_none ? 0 : -ESHUTDOWN);
    }
}

/* ---- threads that end ------------------------------------------------------------------------ */

/* Takes a byte, and ends its thread in the second call. */
static size_t take_one_and_exit(ferry_stream *stream, const void *data, size_t length, bool at_end,
                                void *arg)
{
    notes *self = arg;
    if (self->calls > 0)
        pthread_exit(NULL);
    (void)notes_read(stream, data, length < 2 ? length : 1, at_end, self);
    return 1;
}

typedef struct home {
    ferry_stream *stream;
    notes *seen;
    ferry_read_callback *on_read;
    bool keep_open;
} home;

static void *be_home(void *arg)
{
    const home *self = arg;
    notes_set_with(self->stream, self->seen,
                   (ferry_reader){.on_read = self->on_read, .keep_open = self->keep_open});
    for (;;)
        (void)ferry_inbox_run(-1);
    return NULL;
}

PROMISE_EITHER(reading_ends, thread_that_ends_in_a_call_ends_reading_and_what_it_took_is_taken)
{
    for (int keep_open = 0; keep_open < 2; keep_open++) {
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        notes seen = {0};
        home self = {s.stream, &seen, take_one_and_exit, keep_open};
        send_text(s.theirs, "abc");
        unsigned long lines = lines_logged();
        run_to_its_end(be_home, &self);
        wait_until_asleep();
        check_eq(seen.count, 1);
        check_eq(seen.ends, 0);
        check_eq(lines_logged(), lines + 1);
        char byte;
        const ferry_read one = {&byte, 1, FERRY_READ_SOME};
        if (keep_open) {
            check_outcome(submit_read(s.stream, one), .error = -ECANCELED,
                          .stream_offset = 1); /* the byte that was taken counts */
            check_eq(outcome(submit_write(s.stream, "still open", 10)).error, 0);
        } else {
            check_eq(ferry_stream_read(s.stream, &one, NULL, NULL), -ESHUTDOWN);
        }
    }
}

static void *set_and_end(void *arg)
{
    home *self = arg;
    notes_set(self->stream, self->seen, false);
    return NULL;
}

PROMISE_EITHER(reading_ends, thread_that_has_ended_ends_reading_with_the_next_bytes)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes seen = {0};
    home self = {.stream = s.stream, .seen = &seen};
    run_to_its_end(set_and_end, &self);
    s.stream = ferry_stream_unref(s.stream);
    unsigned long lines = lines_logged();
    send_text(s.theirs, "for nobody");
    char byte;
    check(recv(s.theirs, &byte, 1, 0) <= 0); /* so the stream is closed */
    check_eq(seen.calls, 0);
    check_eq(seen.ends, 0);
    check_eq(lines_logged(), lines + 1);
}

/* ---- without a thread ------------------------------------------------------------------------ */

/* The first so many threads of a dedicated stream cannot be started. */
static stage stage_open_without_thread(uint64_t times)
{
    const ferry_fault none = {
        .call = FERRY_CALL_THREAD, .first = 1, .times = times, .error = EAGAIN};
    AT_END(drop_faults) ferry_faults *faults = faults_of(none);
    const ferry_stream_options options = {.faults = faults};
    stage s = stage_open_with(FERRY_PLACEMENT_DEDICATED, unix_pair(SOCK_STREAM), options);
    return s;
}

PROMISE(reading_ends, without_a_thread_reading_is_eagain_and_the_next_try_may_succeed)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open_without_thread(2);
    send_text(s.theirs, "abc");
    char byte;
    const ferry_read one = {&byte, 1, FERRY_READ_SOME};
    check_outcome(submit_read(s.stream, one), .error = -EAGAIN, .phase = FERRY_PHASE_QUEUE);
    notes_set_with(s.stream, &seen, (ferry_reader){.keep_open = true});
    notes_await_end(&seen);
    check_eq(seen.error, -EAGAIN);
    check_eq(outcome(submit_read(s.stream, one)).sent, 1);
    check_eq(byte, 'a');
}

static void *demand_until_closed(void *arg)
{
    int error;
    do
        error = ferry_stream_demand(arg, -1);
    while (error == 0 || error == -EAGAIN);
    check_eq(error, -ESHUTDOWN);
    return NULL;
}

PROMISE(reading_ends, without_a_thread_whatever_is_asked_meanwhile_does_no_harm)
{
    for (int i = 0; i < 100; i++) {
        notes seen = {0};
        AT_END(stage_end) stage s = stage_open_without_thread(UINT64_MAX);
        AT_END(join_thread) pthread_t thread = start_thread(demand_until_closed, s.stream);
        notes_set(s.stream, &seen, i & 1);
        notes_await_end(&seen);
        check_eq(seen.error, -EAGAIN);
    }
}

/* ---- what on_end may do ---------------------------------------------------------------------- */

PROMISE_EITHER(reading_ends, stream_that_is_kept_open_can_be_written_to_after_the_end)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        notes seen = {0}, again = {0};
        AT_END(stage_end) stage s = stage_open(placement, any_pair(on_owner));
        notes_set_with(s.stream, &seen, (ferry_reader){.on_owner = on_owner, .keep_open = true});
        send_text(s.theirs, "question");
        check_eq(shutdown(s.theirs, SHUT_WR), 0);
        notes_await_end(&seen);
        check_eq(seen.count, 8); /* all of it came first */
        check_eq(seen.error, 0);
        check_eq(outcome(submit_write(s.stream, "answer", 6)).error, 0);
        /* A reader that comes too late is told at once, and this one closes the stream. */
        notes_set(s.stream, &again, on_owner);
        notes_await_end(&again);
        check_eq(again.calls, 0);
        check_eq(again.error, 0);
        char data[7];
        check_eq(recv(s.theirs, data, sizeof data, MSG_WAITALL), 6);
    }
}

static void say_last_word(ferry_stream *stream, int error, void *arg)
{
    check_eq(ferry_stream_write(stream, "too late", 8, NULL, NULL), 0);
    notes_end(stream, error, arg);
}

PROMISE_EITHER(reading_ends, time_that_is_up_is_etimedout_and_a_last_word_arrives)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        notes seen = {0};
        AT_END(stage_end) stage s = stage_open(placement, any_pair(on_owner));
        notes_set_with(s.stream, &seen,
                       (ferry_reader){.on_owner = on_owner, .on_end = say_last_word});
        check_eq(ferry_stream_read_within(s.stream, 30), 0);
        char more[4];
        ferry_promise *read = submit_read(s.stream, (ferry_read){more, 4, FERRY_READ_EXACTLY});
        send_text(s.theirs, "abc"); /* that peers say something is not enough */
        check_eq(outcome(read).error, -ETIMEDOUT);
        notes_await_end(&seen);
        check_eq(seen.error, -ETIMEDOUT);
        char data[9];
        check_eq(recv(s.theirs, data, sizeof data, MSG_WAITALL), 8);
        check(memcmp(data, "too late", 8) == 0);
    }
}

static size_t put_off(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg)
{
    check_eq(ferry_stream_read_within(stream, 60000), 0);
    return notes_read(stream, data, length, at_end, arg);
}

PROMISE_EITHER(reading_ends, time_can_be_put_off_again_and_again_and_switched_off)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        notes seen = {0};
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        check_eq(ferry_stream_read_within(s.stream, 60000), 0);
        notes_set_with(s.stream, &seen, (ferry_reader){.on_owner = on_owner, .on_read = put_off});
        for (size_t i = 1; i <= 20; i++) {
            send_text(s.theirs, "x");
            notes_await(&seen, i);
        }
        check_eq(seen.ends, 0);
        check_eq(ferry_stream_read_within(s.stream, 50), 0);  /* sooner */
        check_eq(ferry_stream_read_within(s.stream, -1), 0);  /* not at all */
        check_eq(ferry_stream_read_within(s.stream, 100), 0); /* later, after all */
        notes_await_end(&seen);
        check_eq(seen.error, -ETIMEDOUT);
    }
}

static void close_stream_first(ferry_stream *stream, int error, void *arg)
{
    check_eq(ferry_stream_close(stream, NULL), 0);
    notes_end(stream, error, arg);
}

PROMISE_EITHER(reading_ends, close_and_abort_end_reading_with_ecanceled_once)
{
    for (int i = 0; i < 8; i++) {
        bool on_owner = i & 1, is_abort = i & 2, is_paused = i & 4;
        notes seen = {0};
        AT_END(stage_end) stage s = stage_open(placement, any_pair(on_owner));
        notes_set_with(
            s.stream, &seen,
            (ferry_reader){.on_owner = on_owner, .on_end = close_stream_first, .shots = 1});
        if (is_paused) {
            send_text(s.theirs, "x");
            notes_await(&seen, 1);
            send_text(s.theirs, "never read");
        }
        if (is_abort)
            ferry_stream_abort(s.stream);
        else
            check_eq(ferry_stream_close(s.stream, NULL), 0);
        notes_await_end(&seen);
        check_eq(seen.error, -ECANCELED);
        run_until_quiet();
        check_eq(seen.ends, 1);
        check_eq(seen.count, is_paused);
    }
}

/* ---- calls that change who is called --------------------------------------------------------- */

enum { HANDS = 8 };

/* A row of readers: each takes a byte and sets the next one, which is called from then on. */
typedef struct hand {
    notes seen;
    bool on_owner;
    bool is_last; /* takes all that is left */
} hand;

static void set_hand(ferry_stream *stream, hand *self);

static size_t take_one_and_hand_on(ferry_stream *stream, const void *data, size_t length,
                                   bool at_end, void *arg)
{
    hand *self = arg;
    if (self->is_last)
        return notes_read(stream, data, length, at_end, &self->seen);
    check_eq(self->seen.calls, 0);
    set_hand(stream, self + 1);
    (void)notes_read(stream, data, 1, at_end, &self->seen);
    return 1;
}

static void end_hand(ferry_stream *stream, int error, void *arg)
{
    notes_end(stream, error, &((hand *)arg)->seen);
}

static void set_hand(ferry_stream *stream, hand *self)
{
    set_reader(stream, (ferry_reader){.on_read = take_one_and_hand_on,
                                      .on_end = end_hand,
                                      .arg = self,
                                      .on_owner = self->on_owner});
}

PROMISE_EITHER(reading_ends, reader_that_replaces_itself_loses_and_doubles_nothing)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        AT_END(stage_end) stage s = stage_open(placement, any_pair(on_owner));
        hand hands[HANDS] = {0};
        for (unsigned i = 0; i < HANDS; i++)
            hands[i].on_owner = on_owner;
        hands[HANDS - 1].is_last = true;
        set_hand(s.stream, &hands[0]);
        send_text(s.theirs, "0123456and more");
        stage_hang_up(&s);
        notes_await_end(&hands[HANDS - 1].seen);
        for (unsigned i = 0; i < HANDS - 1; i++) {
            check_eq(hands[i].seen.calls, 1);
            check_eq(hands[i].seen.taken[0], '0' + (int)i);
            check_eq(hands[i].seen.ends, 0);
        }
        check_eq(hands[HANDS - 1].seen.count, 8);
        check(memcmp(hands[HANDS - 1].seen.taken, "and more", 8) == 0);
    }
}

PROMISE_EITHER(reading_ends, reader_that_is_replaced_from_outside_leaves_the_rest_to_the_next)
{
    for (int i = 0; i < 8; i++) {
        bool first_on_owner = i & 1, second_on_owner = i & 2, is_by_read = i & 4;
        notes first = {.least = 4}, second = {0};
        AT_END(stage_end) stage s = stage_open(placement, any_pair(i & 1));
        notes_set(s.stream, &first, first_on_owner);
        send_text(s.theirs, "abcdefg"); /* three of them it does not take */
        notes_await(&first, 4);
        run_until_quiet();
        char rest[3];
        if (is_by_read) {
            check_eq(ferry_stream_set_reader(s.stream, NULL), 0);
            const ferry_read three = {rest, 3, FERRY_READ_EXACTLY};
            check_eq(outcome(submit_read(s.stream, three)).sent, 3);
            check(memcmp(rest, "efg", 3) == 0);
            check_eq(ferry_stream_close(s.stream, NULL), 0);
        } else {
            notes_set(s.stream, &second, second_on_owner);
            notes_await(&second, 3);
            check(memcmp(second.taken, "efg", 3) == 0);
        }
        stage_hang_up(&s);
        if (!is_by_read)
            notes_await_end(&second);
        run_until_quiet();
        check_eq(first.ends, 0);
        check_eq(first.count, 4);
    }
}

PROMISE_EITHER(reading_ends, loan_that_was_not_looked_at_is_a_reads_once_it_is_called_for)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes_set(s.stream, &seen, false);
    send_text(s.theirs, "abc");
    wait_until_asleep(); /* it is on its way to the reader */
    char data[3];
    const ferry_read three = {data, 3, FERRY_READ_EXACTLY};
    check_eq(outcome(submit_read(s.stream, three)).sent, 3); /* awaiting runs this thread's inbox */
    check(memcmp(data, "abc", 3) == 0);
    check_eq(seen.calls, 0);
    stage_hang_up(&s);
    notes_await_end(&seen);
}

/* Drops the program's handle, and the stream with it. */
static size_t drop_all(ferry_stream *stream, const void *data, size_t length, bool at_end,
                       void *arg)
{
    check_eq(ferry_stream_set_reader(stream, NULL), 0); /* not even the reader keeps it now */
    ferry_stream_unref(stream);
    return notes_read(stream, data, length, at_end, arg);
}

PROMISE_EITHER(reading_ends, call_may_drop_the_last_handle)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        notes seen = {0};
        AT_END(stage_end) stage s = stage_open(placement, any_pair(on_owner));
        notes_set_with(s.stream, &seen, (ferry_reader){.on_owner = on_owner, .on_read = drop_all});
        s.stream = NULL;
        send_text(s.theirs, "x");
        notes_await(&seen, 1);
        char byte;
        check_eq(recv(s.theirs, &byte, 1, 0), 0); /* so it is closed */
        run_until_quiet();
        check_eq(seen.ends, 0);
    }
}

/* On the owner: it has no inbox that a reader could be called from. */
static size_t set_here(ferry_stream *stream, const void *data, size_t length, bool at_end,
                       void *arg)
{
    const ferry_reader here = notes_reader(arg, false);
    check_eq(ferry_stream_set_reader(stream, &here), -EDEADLK);
    check_eq(ferry_inbox_run(0), -EDEADLK);
    return notes_read(stream, data, length, at_end, arg);
}

PROMISE_EITHER(reading_ends, owner_is_no_home_for_a_reader)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes_set_with(s.stream, &seen, (ferry_reader){.on_owner = true, .on_read = set_here});
    send_text(s.theirs, "x");
    stage_hang_up(&s);
    notes_await_end(&seen);
    check_eq(seen.count, 1);
}
