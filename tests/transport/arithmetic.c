/* SPDX-License-Identifier: MIT */
/* Invariant arithmetic: exact counts and contiguous receipts. */
#include "tests/support.h"

/* Pins: arithmetic. */
PROMISE_BOTH(arithmetic, receipts_are_contiguous_and_add_up_to_what_the_peer_reads)
{
    enum { COUNT = 500 };
    AT_END(file_remove) test_file file = file_make(40000, 3);
    stage s = stage_open(placement, tcp_pair());
    stage_let_read(&s);
    uint64_t random = random_seed();
    ferry_promise *promises[COUNT];
    uint64_t planned[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        planned[i] = random_next(&random) % 20000;
        ferry_file range = ferry_file_fd(file.fd);
        range.offset = (int64_t)(random_next(&random) % 20000);
        range.length = (int64_t)planned[i];
        static const char data[20000];
        promises[i] = random_next(&random) % 2 == 0 ? submit_write(s.stream, data, planned[i])
                                                    : submit_file(s.stream, range);
    }
    uint64_t offset = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        ferry_result result = outcome(promises[i]);
        check_eq(result.error, 0);
        check_eq(result.sequence, i);
        check_eq(result.stream_offset, offset);
        check_eq(result.sent, planned[i]);
        check_eq(result.remaining, 0);
        check(result.queued_ns >= 0 && result.active_ns >= 0);
        offset += result.sent;
    }
    ferry_stream_status status = stream_status(s.stream);
    check_eq(status.sent_bytes, offset);
    check_eq(status.queued_requests, 0);
    check_eq(status.queued_bytes, 0);
    check_eq(status.error, 0);
    stage_close_got_bytes(&s, offset);
}

static void abort_midway(ferry_placement placement, pair both)
{
    AT_END(stage_end) stage s = stage_open(placement, both);
    check_eq(outcome(submit_write(s.stream, "head", 4)).error, 0);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    ferry_promise *behind = submit_write(s.stream, "tail", 4);
    ferry_stream_abort(s.stream);
    ferry_result cut = outcome(stuck);
    check_eq(cut.error, -ECANCELED);
    check(cut.sent > 0 && cut.remaining > 0);
    check_eq(cut.sent + cut.remaining, STUCK_BYTES);
    check_eq(cut.stream_offset, 4);
    check_outcome(behind, .error = -ECANCELED, .phase = FERRY_PHASE_QUEUE, .sent = 0,
                  .remaining = 4, .stream_offset = 4 + cut.sent);
}

/* Pins: arithmetic. */
PROMISE_BOTH(arithmetic, aborted_write_says_exactly_how_much_left)
{
    abort_midway(placement, unix_pair(SOCK_STREAM));
    abort_midway(placement, tcp_pair());
}

PROMISE_BOTH(arithmetic, count_of_an_aborted_file_is_what_a_unix_peer_reads)
{
    AT_END(file_remove) test_file file = file_make(8 << 20, 5);
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_file(s.stream, ferry_file_at(file.path));
    wait_readable(s.theirs);
    wait_until_asleep();
    ferry_stream_abort(s.stream);
    ferry_result cut = outcome(stuck);
    check_eq(cut.error, -ECANCELED);
    check_eq(cut.sent + cut.remaining, file.size);
    reader *peer = reader_start(stage_take(&s), false);
    reader_check_content(peer, 5, cut.sent);
}
