/* SPDX-License-Identifier: MIT */
/* Readers: what they are called with, on which thread, how often, and how it ends. */
#include "tests/notes.h"

#include <errno.h>

static void read_what_is_sent(ferry_placement placement, bool on_owner)
{
    ferry_service *service = service_start(placement);
    pair both = tcp_pair();
    ferry_stream *stream = stream_adopt(service, both.ours);
    notes seen = {0};
    notes_set(stream, &seen, on_owner);
    send_text(both.theirs, "all of ");
    send_text(both.theirs, "it");
    close(both.theirs);
    notes_await_end(&seen);
    check_eq(seen.count, 9);
    check(memcmp(seen.taken, "all of it", 9) == 0);
    check_eq(seen.ends, 1);
    check_eq(seen.error, 0);
    check(pthread_equal(seen.thread, pthread_self()) == !on_owner);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
}

PROMISE_BOTH(readers, reader_gets_what_the_peer_sends_then_the_end_on_its_own_thread)
{
    read_what_is_sent(placement, false);
}

PROMISE_BOTH(readers, reader_on_the_owner_gets_what_the_peer_sends_then_the_end)
{
    read_what_is_sent(placement, true);
}

static void keep_what_is_not_taken(ferry_placement placement, bool on_owner)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(service, both.ours);
    notes seen = {.least = 4};
    notes_set(stream, &seen, on_owner);
    send_text(both.theirs, "ab");
    send_text(both.theirs, "cdefg");
    send_text(both.theirs, "hij"); /* two fours, and two that are left */
    close(both.theirs);
    notes_await_end(&seen);
    check_eq(seen.count, 8);
    check(memcmp(seen.taken, "abcdefgh", 8) == 0);
    check(seen.saw_end); /* it was told that nothing comes behind the rest */
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
}

PROMISE_BOTH(readers, what_a_reader_does_not_take_comes_again_with_more)
{
    keep_what_is_not_taken(placement, false);
}

PROMISE_BOTH(readers, what_a_reader_on_the_owner_does_not_take_comes_again_with_more)
{
    keep_what_is_not_taken(placement, true);
}

PROMISE_BOTH(readers, reader_keeps_its_stream_open_until_the_end)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(service, both.ours);
    notes seen = {0};
    notes_set(stream, &seen, false);
    ferry_stream_unref(stream);
    send_text(both.theirs, "still here");
    check_eq(shutdown(both.theirs, SHUT_WR), 0);
    notes_await_end(&seen);
    check_eq(seen.count, 10);
    char scrap;
    check_eq(read(both.theirs, &scrap, 1), 0); /* and then it is closed */
    close(both.theirs);
    ferry_service_destroy(service);
}

PROMISE_BOTH(readers, destroying_the_service_ends_reading_with_ecanceled)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        ferry_service *service = service_start(placement);
        pair both = unix_pair(SOCK_STREAM);
        ferry_stream *stream = stream_adopt(service, both.ours);
        notes seen = {0};
        notes_set(stream, &seen, on_owner);
        char scrap[4];
        ferry_promise *read =
            submit_read(stream, (ferry_read){scrap, 4, FERRY_READ_EXACTLY, NULL, 0});
        send_text(both.theirs, "ab");
        ferry_service_destroy(service);
        check_eq(outcome(read).error, -ECANCELED);
        notes_await_end(&seen);
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

PROMISE_BOTH(readers, reader_on_the_owner_may_answer)
{
    answer_on_the_owner(placement);
}
