/* SPDX-License-Identifier: MIT */
/* close, confirmed close, abort, half-close. */
#include "tests/support.h"

enum { FOR_HOURS = 3600 * 1000 };

static ferry_stream_options confirming(int64_t timeout_ms, uint64_t close_bytes)
{
    return (ferry_stream_options){.close_timeout_ms = timeout_ms, .close_bytes = close_bytes};
}

PROMISE_BOTH(close, closes_after_everything_queued)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    ferry_promise *last = submit_write(s.stream, "last", 4);
    ferry_promise *closed = submit_close(s.stream);
    check_eq(ferry_promise_await(closed, 0, NULL), -ETIMEDOUT);
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    check_eq(outcome(closed).error, 0);
    check_eq(ferry_promise_await(last, 0, NULL), 0);
    check_eq(outcome(last).error, 0);
    check_eq(outcome(stuck).error, 0);
    reader_join(peer);
    check_eq(peer->bytes, STUCK_BYTES + 4);
    check(memcmp(peer->kept + STUCK_BYTES, "last", 4) == 0);
}

PROMISE_BOTH(close, is_idempotent_and_each_call_gives_the_same_promise)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *first = submit_close(s.stream), *second = submit_close(s.stream);
    check(first == second);
    check_eq(outcome(first).error, 0);
    ferry_promise *third = submit_close(s.stream); /* after its end, too */
    check(third == second);
    check_eq(outcome(second).error, 0);
    check_eq(outcome(third).error, 0);
}

PROMISE_BOTH(close, submit_after_close_is_eshutdown)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs), *promise = NULL;
    ferry_file file = ferry_file_at("/etc/passwd");
    check_eq(ferry_stream_close(s.stream, NULL), 0);
    check_eq(ferry_stream_write(s.stream, "x", 1, NULL, &promise), -ESHUTDOWN);
    check_eq(ferry_stream_sendfile(s.stream, &file, NULL, &promise), -ESHUTDOWN);
    check_eq(ferry_stream_mark(s.stream, &promise), -ESHUTDOWN);
    check_eq(ferry_stream_shutdown(s.stream, &promise), -ESHUTDOWN);
    check(promise == NULL);
    stage_let_read(&s);
    check_eq(outcome(stuck).error, 0);
    stage_close_got_bytes(&s, STUCK_BYTES);
}

PROMISE_BOTH(close, peer_reads_the_end_even_while_a_duplicate_of_the_socket_is_open)
{
    pair both = unix_pair(SOCK_STREAM);
    AT_END(close_fd) int other = duplicate(both.ours); /* as a forked child may have one */
    AT_END(stage_end) stage s = stage_open(placement, both);
    check_eq(ferry_stream_write(s.stream, "data", 4, NULL, NULL), 0);
    check_eq(stage_close_stream(&s).error, 0);
    char data[10];
    check_eq(recv(s.theirs, data, sizeof data, MSG_WAITALL), 4);
}

/* ---- half-close ------------------------------------------------------------------------------ */

PROMISE_BOTH(close, shutdown_ends_the_writing_direction_after_what_is_queued)
{
    pair both = tcp_pair();
    AT_END(close_fd) int other = duplicate(both.ours); /* keeps the connection beyond the stream */
    AT_END(stage_close) stage s = stage_open(placement, both);
    check_eq(ferry_stream_write(s.stream, "data", 4, NULL, NULL), 0);
    ferry_promise *shut = submit_shutdown(s.stream);
    check_eq(ferry_stream_write(s.stream, "x", 1, NULL, NULL), -ESHUTDOWN);
    ferry_promise *flushed = submit_mark(s.stream), *again = submit_shutdown(s.stream);
    check_eq(outcome(shut).error, 0);
    check_eq(outcome(flushed).error, 0);
    check_eq(outcome(again).error, 0);
    char data[10];
    check_eq(recv(s.theirs, data, sizeof data, MSG_WAITALL), 4); /* and the end of file */
    check_eq(write(s.theirs, "reply", 5), 5);                    /* the other direction stands */
    check_eq(recv(other, data, sizeof data, 0), 5);
}

/* ---- confirmed close ------------------------------------------------------------------------- */

/* The pain it is for: input that nobody read turns close(2) into a reset, and eats the tail. */
PROMISE_BOTH(close, confirmed_close_brings_the_tail_home_past_unread_input)
{
    enum { SIZE = 4 << 20 };
    AT_END(file_remove) test_file file = file_make(SIZE, 2);
    AT_END(stage_end) stage s = stage_open_with(placement, tcp_pair(), confirming(60000, 0));
    check_eq(write(s.theirs, "nobody reads this", 17), 17);
    ferry_file range = ferry_file_at(file.path);
    check_eq(ferry_stream_sendfile(s.stream, &range, NULL, NULL), 0);
    ferry_promise *closed = submit_close(s.stream);
    reader *peer = reader_start_slow(stage_take(&s), 100000, 500);
    check_eq(outcome(closed).error, 0);
    reader_check_content(peer, 2, SIZE);
}

PROMISE_BOTH(close, confirmed_close_settles_only_once_the_peer_has_ended)
{
    AT_END(stage_end)
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), confirming(60000, 0));
    check_eq(ferry_stream_write(s.stream, "data", 4, NULL, NULL), 0);
    ferry_promise *closed = submit_close(s.stream);
    char data[10];
    check_eq(recv(s.theirs, data, sizeof data, MSG_WAITALL), 4); /* FIN has come */
    check_eq(ferry_promise_await(closed, 0, NULL), -ETIMEDOUT);
    check_eq(write(s.theirs, "last words", 10), 10);
    check_eq(ferry_promise_await(closed, 0, NULL), -ETIMEDOUT);
    stage_hang_up(&s);
    check_eq(outcome(closed).error, 0);
}

enum { MUCH = 60 * 1000 };

/* Our kernel takes MUCH at once, and the peer's little. */
static pair uneven_pair(void)
{
    enum { LITTLE = 4096 };
    pair both = tcp_pair();
    set_socket_option(both.theirs, SOL_SOCKET, SO_RCVBUF, LITTLE);
    set_socket_option(both.ours, SOL_SOCKET, SO_SNDBUF, 4 * MUCH);
    return both;
}

/* It asks, ends its direction, and reads the answer when it likes: what of that the kernel alone
 * still has when the fd is closed, it may drop where memory is short. */
PROMISE_BOTH(close, confirmed_close_waits_for_a_peer_that_ended_first_to_have_everything)
{
    AT_END(file_remove) test_file file = file_make(MUCH, 2);
    pair both = uneven_pair();
    check_eq(shutdown(both.theirs, SHUT_WR), 0);
    AT_END(stage_end) stage s = stage_open_with(placement, both, confirming(60000, 0));
    ferry_promise *sent = submit_file(s.stream, ferry_file_at(file.path));
    ferry_promise *closed = submit_close(s.stream);
    check_eq(outcome(sent).error, 0); /* the kernel has it all; the peer's does not */
    check_eq(ferry_promise_await(closed, 50, NULL), -ETIMEDOUT);
    reader *peer = reader_start(stage_take(&s), true);
    check_eq(outcome(closed).error, 0);
    reader_check_content(peer, 2, MUCH);
}

PROMISE_BOTH(close, confirmed_close_waits_for_nothing_of_a_peer_that_says_no_more)
{
    pair both = unix_pair(SOCK_STREAM);
    AT_END(stage_end) stage s = stage_open_with(placement, both, confirming(FOR_HOURS, 0));
    check_eq(ferry_stream_expect_no_more(s.stream), 0);
    check_eq(ferry_stream_expect_no_more(s.stream), 0);
    check_eq(ferry_stream_write(s.stream, "data", 4, NULL, NULL), 0);
    s.stream = ferry_stream_unref(s.stream); /* nobody can ask for the close any more */
    struct pollfd gone = {.fd = s.theirs};   /* its other end is closed, not only shut */
    check_eq(poll(&gone, 1, -1), 1);
    char data[10];
    check_eq(recv(s.theirs, data, sizeof data, MSG_WAITALL), 4);
}

PROMISE_BOTH(close, promised_close_still_waits_until_a_peer_that_says_no_more_has_everything)
{
    AT_END(file_remove) test_file file = file_make(MUCH, 2);
    pair both = uneven_pair();
    AT_END(stage_end) stage s = stage_open_with(placement, both, confirming(FOR_HOURS, 0));
    ferry_promise *sent = submit_file(s.stream, ferry_file_at(file.path));
    check_eq(ferry_stream_expect_no_more(s.stream), 0);
    ferry_promise *closed = submit_close(s.stream);
    check_eq(outcome(sent).error, 0); /* the kernel has it all; the peer's does not */
    check_eq(ferry_promise_await(closed, 50, NULL), -ETIMEDOUT);
    read_away(s.theirs, MUCH);
    check_eq(outcome(closed).error, 0); /* and the peer has not ended */
}

PROMISE_BOTH(close, peer_that_says_no_more_and_resets_is_named)
{
    AT_END(stage_end) stage s = stage_open_with(placement, tcp_pair(), confirming(FOR_HOURS, 0));
    check_eq(outcome(submit_write(s.stream, "data", 4)).error, 0);
    check_eq(ferry_stream_expect_no_more(s.stream), 0);
    AT_END(close_fd) int watch = duplicate(s.ours);
    close_with_reset(stage_take(&s));
    struct pollfd gone = {.fd = watch};
    check_eq(poll(&gone, 1, -1), 1);
    check_eq(stage_close_stream(&s).error, -ECONNRESET);
}

/* What it leaves unread its kernel counts as taken, once it is gone. */
PROMISE_BOTH(close, peer_that_says_no_more_and_leaves_bytes_unread_is_named)
{
    pair both = unix_pair(SOCK_STREAM);
    AT_END(stage_end) stage s = stage_open_with(placement, both, confirming(FOR_HOURS, 0));
    check_eq(outcome(submit_write(s.stream, "data", 4)).error, 0);
    check_eq(ferry_stream_expect_no_more(s.stream), 0);
    ferry_promise *closed = submit_close(s.stream);
    char data[2];
    check_eq(recv(s.theirs, data, sizeof data, 0), 2);
    check_eq(ferry_promise_await(closed, 0, NULL), -ETIMEDOUT);
    stage_hang_up(&s);
    check_eq(outcome(closed).error, -ECONNRESET);
}

PROMISE_BOTH(close,
             reference_that_is_left_still_waits_until_a_peer_that_says_no_more_has_everything)
{
    pair both = unix_pair(SOCK_STREAM);
    AT_END(stage_end) stage s = stage_open_with(placement, both, confirming(FOR_HOURS, 0));
    check_eq(ferry_stream_expect_no_more(s.stream), 0);
    check_eq(ferry_stream_write(s.stream, "data", 4, NULL, NULL), 0);
    check_eq(ferry_stream_close(s.stream, NULL), 0);
    wait_until_asleep();
    check_eq(write(s.theirs, "x", 1), 1); /* it is there still, and reads that away */
    read_away(s.theirs, 4);
    check_eq(outcome(submit_close(s.stream)).error, 0);
}

/* Without close_timeout_ms it changes nothing. */
PROMISE_BOTH(close, saying_that_a_peer_says_no_more_changes_no_other_close)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check_eq(ferry_stream_expect_no_more(s.stream), 0);
    check_eq(ferry_stream_write(s.stream, "data", 4, NULL, NULL), 0);
    check_eq(outcome(submit_close(s.stream)).error, 0);
    char data[10];
    check_eq(recv(s.theirs, data, sizeof data, MSG_WAITALL), 4);
    check_eq(ferry_stream_expect_no_more(s.stream), 0); /* it has ended */
}

PROMISE_BOTH(close, confirmed_close_is_bounded_in_time)
{
    AT_END(stage_end)
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), confirming(30, 0));
    check_outcome(submit_close(s.stream), .error = -ETIMEDOUT, .phase = FERRY_PHASE_CLOSE);
}

PROMISE_BOTH(close, confirmed_close_is_bounded_in_bytes)
{
    for (unsigned extra = 0; extra < 2; extra++) {
        AT_END(stage_end)
        stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), confirming(60000, 5000));
        static const char data[5001];
        check_eq(write(s.theirs, data, 5000 + extra), 5000 + extra);
        shutdown(s.theirs, SHUT_WR);
        check_eq(stage_close_stream(&s).error, extra == 0 ? 0 : -EMSGSIZE);
    }
}

PROMISE_BOTH(close, confirmed_close_names_the_peers_reset)
{
    AT_END(stage_end) stage s = stage_open_with(placement, tcp_pair(), confirming(60000, 0));
    ferry_promise *closed = submit_close(s.stream);
    char data;
    check_eq(recv(s.theirs, &data, 1, 0), 0);
    close_with_reset(stage_take(&s));
    check_eq(outcome(closed).error, -ECONNRESET);
}

PROMISE_BOTH(close, confirmed_close_names_a_reset_that_came_before_it)
{
    pair both = tcp_pair();
    AT_END(close_fd) int watch = duplicate(both.ours);
    AT_END(stage_end) stage s = stage_open_with(placement, both, confirming(60000, 0));
    check_eq(outcome(submit_write(s.stream, "data", 4)).error, 0);
    close_with_reset(stage_take(&s));
    struct pollfd gone = {.fd = watch};
    check_eq(poll(&gone, 1, -1), 1);
    check_eq(stage_close_stream(&s).error, -ECONNRESET);
}

PROMISE_BOTH(close, programs_so_linger_does_not_block_an_owner)
{
    pair both = tcp_pair();
    const struct linger for_ages = {.l_onoff = 1, .l_linger = 100000};
    check_eq(setsockopt(both.ours, SOL_SOCKET, SO_LINGER, &for_ages, sizeof for_ages), 0);
    AT_END(stage_close) stage s = stage_open(placement, both);
    static const char data[1 << 20];
    check_eq(outcome(submit_write(s.stream, data, sizeof data)).error, 0); /* which nobody reads */
}

PROMISE_BOTH(close, abort_ends_a_confirmed_close_that_waits)
{
    AT_END(stage_end)
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), confirming(60000, 0));
    ferry_promise *closed = submit_close(s.stream);
    char data;
    check_eq(recv(s.theirs, &data, 1, 0), 0);
    ferry_stream_abort(s.stream);
    check_eq(outcome(closed).error, -ECANCELED);
}

/* ---- abort ----------------------------------------------------------------------------------- */

static void abort_blocked(ferry_placement placement, pair both, bool by_file, int expected_error)
{
    AT_END(file_remove) test_file file = file_make(16 << 20, 3);
    AT_END(stage_end) stage s = stage_open(placement, both);
    ferry_promise *stuck;
    if (by_file) {
        stuck = submit_file(s.stream, ferry_file_at(file.path));
        wait_until_stuck(s.theirs);
    } else {
        stuck = submit_stuck(s.stream, s.theirs);
    }
    ferry_promise *behind = submit_write(s.stream, "behind", 6);
    ferry_promise *closed = submit_close(s.stream);
    ferry_stream_abort(s.stream);
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
    check_eq(outcome(behind).error, -ECANCELED);
    check_eq(outcome(closed).error, -ECANCELED);
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), false);
    reader_join(peer);
    check_eq(peer->error, expected_error);
}

PROMISE_BOTH(abort, gets_a_blocked_call_out_and_resets_a_tcp_peer)
{
    abort_blocked(placement, tcp_pair(), false, ECONNRESET);
    abort_blocked(placement, tcp_pair(), true, ECONNRESET);
}

PROMISE_BOTH(abort, gets_a_blocked_call_out_on_unix_sockets_and_pipes)
{
    abort_blocked(placement, unix_pair(SOCK_STREAM), false, 0);
    abort_blocked(placement, unix_pair(SOCK_STREAM), true, 0);
    abort_blocked(placement, pipe_pair(), false, 0);
    abort_blocked(placement, pipe_pair(), true, 0);
}

PROMISE_BOTH(abort, gets_a_transfer_out_that_waits_for_its_source)
{
    AT_END(close_pair) pair pipe = pipe_pair();
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check_eq(write(pipe.ours, "some", 4), 4);
    ferry_promise *stuck = submit_file(s.stream, ferry_file_fd(pipe.theirs));
    wait_until_stuck(s.theirs);
    ferry_stream_abort(s.stream);
    check_outcome(stuck, .error = -ECANCELED, .sent = 4);
}

PROMISE_BOTH(abort, of_an_idle_or_ended_stream_is_harmless)
{
    AT_END(stage_end) stage idle = stage_open(placement, tcp_pair());
    AT_END(stage_end) stage ended = stage_in(idle.service, tcp_pair());
    ferry_stream_abort(idle.stream);
    check_eq(stage_close_stream(&idle).error, -ECANCELED);
    char data;
    check_eq(recv(idle.theirs, &data, 1, 0), -1);
    check_eq(errno, ECONNRESET);
    check_eq(outcome(submit_close(ended.stream)).error, 0);
    ferry_stream_abort(ended.stream);
    ferry_stream_abort(NULL);
}
