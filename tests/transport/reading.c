/* SPDX-License-Identifier: MIT */
/* Reading: readers and reads, what they are given, in which order, and how it ends. */
#include "tests/support.h"

#include <errno.h>
#include <stdatomic.h>

/* What a reader was called with. */
typedef struct notes {
    unsigned char taken[256];
    size_t count;
    size_t calls;
    size_t least; /* takes nothing below so many bytes, and then so many only; 0: all there is */
    bool saw_end; /* at_end was told */
    int ends;
    int error;
    pthread_t thread;
    atomic_bool is_over;
} notes;

static size_t note_read(ferry_stream *stream, const void *data, size_t length, bool at_end,
                        void *arg)
{
    (void)stream;
    notes *self = arg;
    self->calls++;
    self->saw_end |= at_end;
    self->thread = pthread_self();
    check_eq(self->ends, 0);
    size_t size = self->least == 0 ? length : length >= self->least ? self->least : 0;
    check(self->count + size <= sizeof self->taken);
    memcpy(self->taken + self->count, data, size);
    self->count += size;
    return size;
}

static void note_end(ferry_stream *stream, int error, void *arg)
{
    (void)stream;
    notes *self = arg;
    self->ends++;
    self->error = error;
    atomic_store(&self->is_over, true);
}

static void set_reader(ferry_stream *stream, notes *self, bool on_owner)
{
    const ferry_reader wanted = {
        .on_read = note_read, .on_end = note_end, .arg = self, .on_owner = on_owner};
    check_eq(ferry_stream_set_reader(stream, &wanted), 0);
}

/* Runs this thread's inbox until the end was told. */
static void await_end(notes *self)
{
    while (!atomic_load(&self->is_over))
        (void)ferry_inbox_run(10);
}

static void send_text(int fd, const char *text)
{
    check_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (long long)strlen(text));
}

static ferry_promise *submit_read(ferry_stream *stream, ferry_read read)
{
    ferry_promise *promise;
    check_eq(ferry_stream_read(stream, &read, NULL, &promise), 0);
    return promise;
}

static void read_what_is_sent(ferry_placement placement, bool on_owner)
{
    ferry_service *service = service_start(placement);
    pair both = tcp_pair();
    ferry_stream *stream = stream_adopt(service, both.ours);
    notes seen = {0};
    set_reader(stream, &seen, on_owner);
    send_text(both.theirs, "all of ");
    send_text(both.theirs, "it");
    close(both.theirs);
    await_end(&seen);
    check_eq(seen.count, 9);
    check(memcmp(seen.taken, "all of it", 9) == 0);
    check_eq(seen.ends, 1);
    check_eq(seen.error, 0);
    check(pthread_equal(seen.thread, pthread_self()) == !on_owner);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
}

PROMISE_BOTH(reading, reader_gets_what_the_peer_sends_then_the_end_on_its_own_thread)
{
    read_what_is_sent(placement, false);
}

PROMISE_BOTH(reading, reader_on_the_owner_gets_what_the_peer_sends_then_the_end)
{
    read_what_is_sent(placement, true);
}

static void keep_what_is_not_taken(ferry_placement placement, bool on_owner)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(service, both.ours);
    notes seen = {.least = 4};
    set_reader(stream, &seen, on_owner);
    send_text(both.theirs, "ab");
    send_text(both.theirs, "cdefg");
    send_text(both.theirs, "hij"); /* two fours, and two that are left */
    close(both.theirs);
    await_end(&seen);
    check_eq(seen.count, 8);
    check(memcmp(seen.taken, "abcdefgh", 8) == 0);
    check(seen.saw_end); /* it was told that nothing comes behind the rest */
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
}

PROMISE_BOTH(reading, what_a_reader_does_not_take_comes_again_with_more)
{
    keep_what_is_not_taken(placement, false);
}

PROMISE_BOTH(reading, what_a_reader_on_the_owner_does_not_take_comes_again_with_more)
{
    keep_what_is_not_taken(placement, true);
}

PROMISE_BOTH(reading, reads_take_the_next_bytes_in_the_order_of_their_submits)
{
    ferry_service *service = service_start(placement);
    pair both = tcp_pair();
    ferry_stream *stream = stream_adopt(service, both.ours);
    char exactly[4], line[16], some[16], rest[16];
    ferry_promise *first =
        submit_read(stream, (ferry_read){exactly, sizeof exactly, FERRY_READ_EXACTLY, NULL, 0});
    ferry_promise *second =
        submit_read(stream, (ferry_read){line, sizeof line, FERRY_READ_UNTIL, "\r\n", 2});
    ferry_promise *third =
        submit_read(stream, (ferry_read){some, sizeof some, FERRY_READ_SOME, NULL, 0});
    ferry_promise *fourth =
        submit_read(stream, (ferry_read){rest, sizeof rest, FERRY_READ_TO_END, NULL, 0});
    send_text(both.theirs, "fo");
    send_text(both.theirs, "urline\r");
    send_text(both.theirs, "\n");
    ferry_result result = outcome(first);
    check_eq(result.error, 0);
    check_eq(result.sent, 4);
    check(memcmp(exactly, "four", 4) == 0);
    result = outcome(second);
    check_eq(result.sent, 6);
    check_eq(result.stream_offset, 4);
    check_eq(result.sequence, 1);
    check(memcmp(line, "line\r\n", 6) == 0);
    send_text(both.theirs, "x");
    result = outcome(third);
    check_eq(result.sent, 1);
    check(!result.at_end);
    send_text(both.theirs, "the rest");
    close(both.theirs);
    result = outcome(fourth);
    check_eq(result.sent, 8);
    check(result.at_end);
    check(memcmp(rest, "the rest", 8) == 0);
    result = outcome(submit_read(stream, (ferry_read){some, 1, FERRY_READ_SOME, NULL, 0}));
    check_eq(result.error, 0);
    check_eq(result.sent, 0);
    check(result.at_end);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
}

PROMISE_BOTH(reading, cancelled_read_consumes_nothing)
{
    ferry_service *service = service_start(placement);
    pair both = tcp_pair();
    ferry_stream *stream = stream_adopt(service, both.ours);
    char big[64], small[8];
    ferry_promise *first =
        submit_read(stream, (ferry_read){big, sizeof big, FERRY_READ_EXACTLY, NULL, 0});
    ferry_promise *probe = submit_read(stream, (ferry_read){small, 2, FERRY_READ_EXACTLY, NULL, 0});
    send_text(both.theirs, "abcd");
    wait_until_asleep(); /* some of it is in the first one's memory by now, or not: both are fine */
    check_eq(ferry_promise_cancel(first), 0);
    ferry_result result = outcome(first);
    check_eq(result.error, -ECANCELED);
    check_eq(result.sent, 0);
    check_eq(outcome(probe).sent, 2);
    check(memcmp(small, "ab", 2) == 0);
    check_eq(outcome(submit_read(stream, (ferry_read){small, 2, FERRY_READ_EXACTLY, NULL, 0})).sent,
             2);
    check(memcmp(small, "cd", 2) == 0);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
    close(both.theirs);
}

PROMISE_BOTH(reading, reader_keeps_its_stream_open_until_the_end)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(service, both.ours);
    notes seen = {0};
    set_reader(stream, &seen, false);
    ferry_stream_unref(stream);
    send_text(both.theirs, "still here");
    check_eq(shutdown(both.theirs, SHUT_WR), 0);
    await_end(&seen);
    check_eq(seen.count, 10);
    char scrap;
    check_eq(read(both.theirs, &scrap, 1), 0); /* and then it is closed */
    close(both.theirs);
    ferry_service_destroy(service);
}

PROMISE_BOTH(reading, destroying_the_service_ends_reading_with_ecanceled)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        ferry_service *service = service_start(placement);
        pair both = unix_pair(SOCK_STREAM);
        ferry_stream *stream = stream_adopt(service, both.ours);
        notes seen = {0};
        set_reader(stream, &seen, on_owner);
        char scrap[4];
        ferry_promise *read =
            submit_read(stream, (ferry_read){scrap, 4, FERRY_READ_EXACTLY, NULL, 0});
        send_text(both.theirs, "ab");
        ferry_service_destroy(service);
        check_eq(outcome(read).error, -ECANCELED);
        await_end(&seen);
        check_eq(seen.ends, 1);
        check_eq(seen.error, -ECANCELED);
        ferry_stream_unref(stream);
        close(both.theirs);
    }
}

static size_t echo(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg)
{
    (void)at_end;
    (void)arg;
    check_eq(ferry_stream_write(stream, data, length, NULL, NULL), 0);
    return length;
}

static void answer_on_the_owner(ferry_placement placement)
{
    ferry_service *service = service_start(placement);
    pair both = tcp_pair();
    ferry_stream *stream = stream_adopt(service, both.ours);
    const ferry_reader wanted = {.on_read = echo, .on_owner = true};
    check_eq(ferry_stream_set_reader(stream, &wanted), 0);
    ferry_stream_unref(stream);
    for (unsigned i = 0; i < 1000; i++) {
        char answer[4];
        check_eq(send(both.theirs, &i, sizeof i, MSG_NOSIGNAL), sizeof i);
        check_eq(recv(both.theirs, answer, sizeof answer, MSG_WAITALL), sizeof answer);
        check(memcmp(answer, &i, sizeof i) == 0);
    }
    close(both.theirs);
    check_eq(ferry_service_drain(service, -1), 0);
    ferry_service_destroy(service);
}

PROMISE_BOTH(reading, reader_on_the_owner_may_answer)
{
    answer_on_the_owner(placement);
}
