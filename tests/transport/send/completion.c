/* SPDX-License-Identifier: MIT */
/* When a request has succeeded: accepted, drained, acked.
 * And the close that lingers for the same. */
#include "tests/support.h"

#include <linux/filter.h>
#include <sys/ioctl.h>

enum {
    SIZE = 1000,       /* fits anywhere, with what the kernel adds to it */
    LARGE = 300 << 10, /* more than a narrow peer takes, less than our socket does */
    LOOK_MS = 120      /* looks are at most 50 ms apart: after so long there were two */
};

static const unsigned char data[LARGE];

/* ---- what the tests are made of -------------------------------------------------------------- */

/* A TCP connection of which our end takes LARGE at once, and the peer's does not. */
static pair narrow_pair(void)
{
    pair both = tcp_pair();
    set_socket_option(both.theirs, SOL_SOCKET, SO_RCVBUF, 32 << 10);
    set_socket_option(both.ours, SOL_SOCKET, SO_SNDBUF, 1 << 20);
    return both;
}

static ferry_promise *write_until(ferry_stream *stream, size_t size, ferry_completion completion)
{
    const ferry_request_options options = {.completion = completion};
    return submit_write_with(stream, data, size, &options);
}

/* Once all that can leave has left, and it was looked at again and again. */
static void check_stays_pending(ferry_promise *promise)
{
    wait_until_asleep();
    check_eq(ferry_promise_await(promise, LOOK_MS, NULL), -ETIMEDOUT);
}

static void check_sent(ferry_promise *promise, uint64_t sent)
{
    check_outcome(promise, .error = 0, .phase = FERRY_PHASE_DONE, .sent = sent, .remaining = 0);
}

/* It did not succeed, although all its bytes had left. */
static void check_given_up(ferry_promise *promise, int error, uint64_t sent)
{
    check_outcome(promise, .error = error, .phase = FERRY_PHASE_SINK, .sent = sent, .remaining = 0);
}

static void check_healthy(ferry_stream *stream)
{
    check_eq(stream_status(stream).error, 0);
    check_sent(submit_write(stream, "next", 4), 4);
}

/* From now on the peer's kernel is deaf to us: what we send is lost, and sent again and again. */
static void deafen(int theirs)
{
    struct sock_filter drop_all = {.code = BPF_RET | BPF_K, .k = 0};
    const struct sock_fprog program = {.len = 1, .filter = &drop_all};
    check_eq(setsockopt(theirs, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
}

static void undeafen(int theirs)
{
    set_socket_option(theirs, SOL_SOCKET, SO_DETACH_FILTER, 0); /* whatever the value */
}

/* ---- levels ---------------------------------------------------------------------------------- */

static void levels_wait_for_reading(ferry_placement placement, pair both, uint64_t size)
{
    AT_END(stage_close) stage s = stage_open(placement, both);
    ferry_promise *acked = write_until(s.stream, size, FERRY_COMPLETION_ACKED);
    ferry_promise *drained = write_until(s.stream, SIZE, FERRY_COMPLETION_DRAINED);
    check_sent(write_until(s.stream, SIZE, FERRY_COMPLETION_ACCEPTED),
               SIZE); /* overtakes: nobody reads */
    check_stays_pending(acked);
    check_eq(ferry_promise_await(drained, 0, NULL), -ETIMEDOUT);
    read_away(s.theirs, size + 2 * SIZE);
    check_sent(acked, size);
    check_sent(drained, SIZE);
}

PROMISE_EITHER(completion, drained_and_acked_wait_until_a_unix_peer_or_pipe_has_read)
{
    levels_wait_for_reading(placement, unix_pair(SOCK_STREAM), SIZE);
    levels_wait_for_reading(placement, unix_pair(SOCK_STREAM), 50000);
    levels_wait_for_reading(placement, pipe_pair(), SIZE);
}

PROMISE_EITHER(completion, drained_and_acked_wait_while_a_tcp_peers_window_is_closed)
{
    levels_wait_for_reading(placement, narrow_pair(), LARGE);
}

PROMISE_EITHER(completion, tcp_peers_kernel_is_enough_for_acked)
{
    ONLY_ON_PLAIN_LINKS("it counts what the kernel has");
    AT_END(stage_close) stage s = stage_open(placement, tcp_pair());
    check_sent(write_until(s.stream, SIZE, FERRY_COMPLETION_DRAINED), SIZE);
    check_sent(write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED), SIZE);
    int unread;
    check_eq(ioctl(s.theirs, FIONREAD, &unread), 0);
    check_eq(unread, 2 * SIZE);
}

/* Pins: honest_done. */
PROMISE_EITHER(completion, drained_is_sent_and_acked_is_received)
{
    AT_END(stage_close) stage s = stage_open(placement, tcp_pair());
    deafen(s.theirs);
    ferry_promise *acked = write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED);
    check_sent(write_until(s.stream, SIZE, FERRY_COMPLETION_DRAINED), SIZE);
    check_stays_pending(acked);
    undeafen(s.theirs);
    check_sent(acked, SIZE);
}

PROMISE_EITHER(completion, is_not_delayed_by_what_was_accepted_after_it)
{
    AT_END(stage_close) stage s = stage_open(placement, narrow_pair());
    ferry_promise *first = write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED);
    ferry_promise *large = write_until(s.stream, LARGE, FERRY_COMPLETION_ACKED);
    check_sent(first, SIZE);
    check_stays_pending(large);
    read_away(s.theirs, SIZE + LARGE);
    check_sent(large, LARGE);
}

PROMISE_EITHER(completion, messages_files_and_generated_memory_are_confirmed_too)
{
    AT_END(file_remove) test_file file = file_make(SIZE, 5);
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_SEQPACKET));
    const ferry_part parts[] = {ferry_part_copy(data, 10),
                                ferry_part_file(ferry_file_at(file.path))};
    const ferry_request_options options = {.completion = FERRY_COMPLETION_ACKED};
    ferry_promise *promise = submit_parts(s.stream, parts, 2, &options);
    check_stays_pending(promise);
    char message[2 * SIZE];
    for (uint64_t left = 10 + SIZE; left > 0;) {
        ssize_t count = recv(s.theirs, message, sizeof message, 0);
        check(count > 0);
        left -= (uint64_t)count;
    }
    check_sent(promise, 10 + SIZE);
}

PROMISE_EITHER(completion, peer_that_closes_a_unix_socket_unread_has_thrown_it_away)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *acked = write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED);
    wait_readable(s.theirs);
    stage_hang_up(&s);
    check_sent(acked, SIZE);
    (void)stage_close_stream(&s);
}

PROMISE_EITHER(completion, all_levels_are_the_same_where_there_is_no_peer)
{
    AT_END(file_remove) test_file file = file_make(0, 1);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    int fds[] = {open("/dev/null", O_WRONLY | O_CLOEXEC), open(file.path, O_WRONLY | O_CLOEXEC)};
    for (unsigned i = 0; i < 2; i++) {
        ferry_stream *stream = stream_adopt(service, fds[i]);
        check_sent(write_until(stream, SIZE, FERRY_COMPLETION_DRAINED), SIZE);
        check_sent(write_until(stream, SIZE, FERRY_COMPLETION_ACKED), SIZE);
        check_eq(close_stream(stream).error, 0);
    }
}

PROMISE_EITHER(completion, nothing_to_send_is_nothing_to_confirm)
{
    AT_END(file_remove) test_file empty = file_make(0, 1);
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    const ferry_request_options options = {.completion = FERRY_COMPLETION_ACKED};
    check_sent(submit_file_with(s.stream, ferry_file_at(empty.path), &options), 0);
    check_sent(write_until(s.stream, 0, FERRY_COMPLETION_ACKED), 0);
}

PROMISE_EITHER(completion, what_lies_before_an_empty_one_is_confirmed)
{
    AT_END(stage_close) stage s = stage_open(placement, narrow_pair());
    check_sent(write_until(s.stream, LARGE, FERRY_COMPLETION_ACCEPTED), LARGE);
    ferry_promise *marker = write_until(s.stream, 0, FERRY_COMPLETION_ACKED);
    check_stays_pending(marker);
    read_away(s.theirs, LARGE);
    check_sent(marker, 0);
}

PROMISE_EITHER(completion, request_that_fails_is_not_confirmed_first)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    const ferry_request_options options = {.completion = FERRY_COMPLETION_ACKED};
    ferry_promise *promise = submit_file_with(s.stream, ferry_file_at("/nonexistent"), &options);
    check_eq(outcome(promise).error, -ENOENT);
}

PROMISE(completion, unknown_level_is_refused)
{
    AT_END(stage_close) stage s = stage_open(FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM));
    const ferry_request_options options = {.completion = (ferry_completion)3};
    ferry_promise *promise = NULL;
    check_eq(ferry_stream_write(s.stream, data, 1, &options, &promise), -EINVAL);
    check(promise == NULL);
}

/* ---- what goes on meanwhile ------------------------------------------------------------------ */

PROMISE_EITHER(completion, what_comes_after_leaves_meanwhile)
{
    ONLY_ON_PLAIN_LINKS("it counts what the kernel has");
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *acked = write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED);
    check_sent(write_until(s.stream, SIZE, FERRY_COMPLETION_ACCEPTED), SIZE);
    int unread;
    check_eq(ioctl(s.theirs, FIONREAD, &unread), 0);
    check_eq(unread, 2 * SIZE);
    check_eq(outcome(submit_shutdown(s.stream)).error, 0);
    check_eq(ferry_promise_await(acked, 0, NULL), -ETIMEDOUT);
    read_away(s.theirs, 2 * SIZE);
    check_sent(acked, SIZE);
}

PROMISE_EITHER(completion, flush_drain_and_close_wait_for_confirmation)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *acked = write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED);
    ferry_promise *flushed = submit_mark(s.stream);
    check_eq(ferry_service_drain(s.service, LOOK_MS), -ETIMEDOUT);
    ferry_promise *closed = submit_close(s.stream);
    check_stays_pending(closed);
    check_eq(ferry_promise_await(flushed, 0, NULL), -ETIMEDOUT);
    check_eq(ferry_promise_await(acked, 0, NULL), -ETIMEDOUT);
    read_away(s.theirs, SIZE);
    check_eq(outcome(closed).error, 0);
    check_eq(ferry_promise_await(flushed, 0, NULL), 0);
    check_eq(ferry_promise_await(acked, 0, NULL), 0);
    check_eq(outcome(flushed).error, 0);
    check_sent(acked, SIZE);
    check_eq(ferry_service_drain(s.service, -1), 0);
}

PROMISE_EITHER(completion, dropping_the_stream_closes_it_once_all_is_confirmed)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *acked = write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED);
    s.stream = ferry_stream_unref(s.stream);
    check_stays_pending(acked);
    read_away(s.theirs, SIZE);
    check_sent(acked, SIZE);
    check_eq(read(s.theirs, &(char){0}, 1), 0);
}

PROMISE_EITHER(completion, flush_of_a_poisoned_stream_waits_for_what_is_being_confirmed)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *acked = write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_promise_cancel(stuck), 0);
    ferry_result cut = outcome(stuck);
    check_eq(cut.error, -ECANCELED);
    check(cut.sent > 0);
    ferry_promise *flushed = submit_mark(s.stream);
    check_stays_pending(flushed);
    check_eq(ferry_promise_await(acked, 0, NULL), -ETIMEDOUT);
    read_away(s.theirs, SIZE + cut.sent);
    check_sent(acked, SIZE);
    check_eq(outcome(flushed).error, -ECANCELED);
}

static void many_are_confirmed(ferry_placement placement, pair both)
{
    enum { COUNT = 2000 };
    AT_END(stage_close) stage s = stage_open_to_reader(placement, both);
    ferry_promise *promises[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        promises[i] = write_until(s.stream, 1 + i % 300, FERRY_COMPLETION_ACKED);
    for (unsigned i = 0; i < COUNT; i++)
        check_sent(promises[i], 1 + i % 300);
}

PROMISE_EITHER(completion, thousands_in_a_row_are_all_confirmed)
{
    many_are_confirmed(placement, tcp_pair());
    many_are_confirmed(placement, unix_pair(SOCK_STREAM));
}

/* ---- when it is not confirmed ---------------------------------------------------------------- */

PROMISE_EITHER(completion, cancel_ends_the_waiting_and_leaves_the_stream_healthy)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *acked = write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED);
    wait_until_stuck(s.theirs); /* accepted, and being confirmed */
    check_eq(ferry_promise_cancel(acked), 0);
    check_given_up(acked, -ECANCELED, SIZE);
    check_healthy(s.stream);
    acked = write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED);
    ferry_promise *closed = submit_close(s.stream);
    check_stays_pending(closed);
    check_eq(ferry_promise_cancel(acked), 0); /* which is all that the close waited for */
    check_given_up(acked, -ECANCELED, SIZE);
    check_eq(outcome(closed).error, 0);
}

PROMISE_EITHER(completion, timeout_holds_for_the_waiting)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_request_options options = {.completion = FERRY_COMPLETION_DRAINED, .timeout_ms = 30};
    for (ferry_result first = {0}; first.sent == 0; options.timeout_ms *= 2) {
        ferry_promise *promise = submit_write_with(s.stream, data, SIZE, &options);
        check_eq(ferry_promise_await(promise, -1, &first), 0);
        if (first.sent > 0)
            check_given_up(promise, -ETIMEDOUT, SIZE);
        else /* the machine is busy: its time was up before its turn */
            check_eq(outcome(promise).error, -ETIMEDOUT);
    }
    check_healthy(s.stream);
}

PROMISE_EITHER(completion, reset_before_confirmation_is_econnreset)
{
    static const ferry_completion levels[] = {FERRY_COMPLETION_DRAINED, FERRY_COMPLETION_ACKED};
    for (unsigned i = 0; i < 2; i++) {
        AT_END(stage_close) stage s = stage_open(placement, narrow_pair());
        ferry_promise *promise = write_until(s.stream, LARGE, levels[i]);
        check_stays_pending(promise);
        close_with_reset(stage_take(&s));
        check_given_up(promise, -ECONNRESET, LARGE);
    }
}

/* The zeros that are still owed when the connection breaks must not count as accepted. */
PROMISE_EITHER(completion, padding_that_never_left_confirms_nothing)
{
    AT_END(stage_end)
    stage s = stage_open_with(placement, narrow_pair(),
                              (ferry_stream_options){.framing = FERRY_FRAMING_PAD});
    ferry_promise *acked = write_until(s.stream, LARGE, FERRY_COMPLETION_ACKED);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_promise_cancel(stuck), 0);
    ferry_result cut = outcome(stuck);
    check_eq(cut.error, -ECANCELED);
    check(cut.sent > 0 && cut.remaining > LARGE);
    close_with_reset(stage_take(&s));
    check_given_up(acked, -ECONNRESET, LARGE);
    check_eq(close_stream(ferry_stream_ref(s.stream)).error, 0);
    check(stream_status(s.stream).sent_bytes < LARGE + STUCK_BYTES);
}

PROMISE_EITHER(completion, abort_and_destroy_cancel_what_is_being_confirmed)
{
    for (unsigned destroys = 0; destroys < 2; destroys++) {
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        ferry_promise *acked = write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED);
        wait_until_stuck(s.theirs);
        stage_destroy_or_abort(&s, destroys);
        check_given_up(acked, -ECANCELED, SIZE);
    }
}

/* ---- custody --------------------------------------------------------------------------------- */

static atomic_uint released;

static void count_release(void *given, void *)
{
    free(given);
    atomic_fetch_add(&released, 1);
}

PROMISE_EITHER(completion, given_memory_and_fds_are_released_once_however_it_ends)
{
    enum { CONFIRMED, CANCELLED, ABORTED, ENDS };
    AT_END(file_remove) test_file file = file_make(SIZE, 5);
    for (unsigned end = 0; end < ENDS; end++) {
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        ferry_file given = ferry_file_fd(duplicate(file.fd));
        given.flags = FERRY_FD_GIVE;
        given.offset = 0;
        const ferry_part parts[] = {ferry_part_give(calloc(1, SIZE), SIZE, count_release, NULL),
                                    ferry_part_file(given)};
        const ferry_request_options options = {.completion = FERRY_COMPLETION_ACKED};
        atomic_store(&released, 0);
        ferry_promise *promise = submit_parts(s.stream, parts, 2, &options);
        wait_readable(s.theirs);
        if (end == CONFIRMED)
            read_away(s.theirs, 2 * SIZE);
        else if (end == CANCELLED)
            check_eq(ferry_promise_cancel(promise), 0);
        else
            ferry_stream_abort(s.stream);
        check_eq(outcome(promise).error, end == CONFIRMED ? 0 : -ECANCELED);
        check_eq(atomic_load(&released), 1);
        check_eq(fcntl(given.fd, F_GETFD), -1);
        (void)stage_close_stream(&s);
    }
}

/* ---- lingering close ------------------------------------------------------------------------- */

static ferry_stream_options lingering(int64_t timeout_ms)
{
    return (ferry_stream_options){.close_timeout_ms = timeout_ms,
                                  .close_mode = FERRY_CLOSE_LINGERING};
}

PROMISE_EITHER(linger, ends_when_the_peers_kernel_has_everything_though_the_peer_stays)
{
    AT_END(stage_end) stage s = stage_open_with(placement, tcp_pair(), lingering(60000));
    check_eq(write(s.theirs, "nobody reads this", 17), 17);
    check_eq(ferry_stream_write(s.stream, data, SIZE, NULL, NULL), 0);
    check_eq(stage_close_stream(&s).error, 0);
    read_away(s.theirs, SIZE); /* its input was read away, so this is no reset */
    check_eq(read(s.theirs, &(char){0}, 1), 0);
}

static void linger_until_read(ferry_placement placement, pair both, uint64_t size)
{
    AT_END(stage_end) stage s = stage_open_with(placement, both, lingering(60000));
    check_sent(submit_write(s.stream, data, size), size);
    ferry_promise *closed = submit_close(s.stream);
    check_stays_pending(closed);
    read_away(s.theirs, size);
    check_eq(outcome(closed).error, 0);
    check_eq(read(s.theirs, &(char){0}, 1), 0);
}

PROMISE_EITHER(linger, waits_for_what_the_peers_kernel_has_not_taken)
{
    linger_until_read(placement, narrow_pair(), LARGE);
    ONLY_ON_PLAIN_LINKS("of a unix socket all has to be read, the record that says the end, too");
    linger_until_read(placement, unix_pair(SOCK_STREAM), SIZE);
}

PROMISE_EITHER(linger, waits_until_the_peers_kernel_has_the_fin)
{
    AT_END(stage_end) stage s = stage_open_with(placement, tcp_pair(), lingering(60000));
    check_sent(write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED), SIZE);
    deafen(s.theirs);
    ferry_promise *closed = submit_close(s.stream);
    check_stays_pending(closed);
    undeafen(s.theirs);
    check_eq(outcome(closed).error, 0);
}

PROMISE_EITHER(linger, goes_on_after_the_peer_has_ended_its_direction)
{
    AT_END(stage_end) stage s = stage_open_with(placement, narrow_pair(), lingering(60000));
    check_sent(submit_write(s.stream, data, LARGE), LARGE);
    check_eq(shutdown(s.theirs, SHUT_WR), 0);
    ferry_promise *closed = submit_close(s.stream);
    check_stays_pending(closed);
    read_away(s.theirs, LARGE);
    check_eq(outcome(closed).error, 0);
}

static void check_close_failed(ferry_promise *closed, int error)
{
    check_outcome(closed, .error = error, .phase = FERRY_PHASE_CLOSE);
}

PROMISE_EITHER(linger, is_bounded_in_time)
{
    AT_END(stage_end) stage s = stage_open_with(placement, narrow_pair(), lingering(30));
    check_eq(ferry_stream_write(s.stream, data, LARGE, NULL, NULL), 0);
    check_close_failed(submit_close(s.stream), -ETIMEDOUT);
}

PROMISE_EITHER(linger, is_bounded_in_bytes)
{
    AT_END(stage_end)
    stage s = stage_open_with(placement, narrow_pair(),
                              (ferry_stream_options){.close_timeout_ms = 60000,
                                                     .close_bytes = SIZE,
                                                     .close_mode = FERRY_CLOSE_LINGERING});
    check_sent(submit_write(s.stream, data, LARGE), LARGE);
    check_eq(write(s.theirs, data, SIZE + 1), SIZE + 1);
    check_close_failed(submit_close(s.stream), -EMSGSIZE);
}

PROMISE_EITHER(linger, names_a_reset_while_it_waits_also_after_the_peers_end)
{
    for (unsigned ended = 0; ended < 2; ended++) {
        AT_END(stage_end) stage s = stage_open_with(placement, narrow_pair(), lingering(60000));
        check_sent(submit_write(s.stream, data, LARGE), LARGE);
        if (ended)
            check_eq(shutdown(s.theirs, SHUT_WR), 0);
        ferry_promise *closed = submit_close(s.stream);
        check_stays_pending(closed);
        close_with_reset(stage_take(&s));
        check_close_failed(closed, -ECONNRESET);
    }
}

/* Everything was acknowledged before, but the FIN never will be: also where a failed write has
 * already been told of the reset. */
PROMISE_EITHER(linger, names_a_reset_that_came_before_it)
{
    for (unsigned told = 0; told < 2; told++) {
        pair both = tcp_pair();
        AT_END(close_fd) int watch = duplicate(both.ours);
        AT_END(stage_end) stage s = stage_open_with(placement, both, lingering(60000));
        check_sent(write_until(s.stream, SIZE, FERRY_COMPLETION_ACKED), SIZE);
        close_with_reset(stage_take(&s));
        wait_readable(watch);
        if (told)
            check_eq(outcome(submit_write(s.stream, data, 1)).error, -ECONNRESET);
        check_close_failed(submit_close(s.stream), -ECONNRESET);
    }
}

PROMISE_EITHER(linger, abort_and_destroy_end_it)
{
    for (unsigned destroys = 0; destroys < 2; destroys++) {
        AT_END(stage_end) stage s = stage_open_with(placement, narrow_pair(), lingering(60000));
        check_sent(submit_write(s.stream, data, LARGE), LARGE);
        ferry_promise *closed = submit_close(s.stream);
        check_stays_pending(closed);
        stage_destroy_or_abort(&s, destroys);
        check_close_failed(closed, -ECANCELED);
    }
}
