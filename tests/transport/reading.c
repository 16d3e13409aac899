/* SPDX-License-Identifier: MIT */
/* Reads: what they are given, in which order, and how they settle. */
#include "tests/notes.h"

#include <errno.h>

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
