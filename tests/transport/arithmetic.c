/* SPDX-License-Identifier: MIT */
/* Invariant arithmetic: exact counts and contiguous receipts. */
#include "tests/support.h"

#include <errno.h>

/* Pins: arithmetic. */
PROMISE_BOTH(arithmetic, receipts_are_contiguous_and_add_up_to_what_the_peer_reads)
{
    enum { COUNT = 500 };
    ferry_service *service = service_start(placement);
    test_file file = file_make(40000, 3);
    pair both = tcp_pair();
    reader *peer = reader_start(both.theirs, false);
    ferry_stream *stream = stream_adopt(service, both.ours);
    uint64_t random = random_seed();
    ferry_promise *promises[COUNT];
    uint64_t planned[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        planned[i] = random_next(&random) % 20000;
        ferry_file range = ferry_file_fd(file.fd);
        range.offset = (int64_t)(random_next(&random) % 20000);
        range.length = (int64_t)planned[i];
        static const char data[20000];
        promises[i] = random_next(&random) % 2 == 0 ? submit_write(stream, data, planned[i])
                                                    : submit_file(stream, range);
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
    ferry_stream_status status;
    check_eq(ferry_stream_get_status(stream, &status), 0);
    check_eq(status.sent_bytes, offset);
    check_eq(status.queued_requests, 0);
    check_eq(status.queued_bytes, 0);
    check_eq(status.error, 0);
    check_eq(close_stream(stream).error, 0);
    reader_join(peer);
    check_eq(peer->bytes, offset);
    reader_free(peer);
    file_remove(&file);
    ferry_service_destroy(service);
}

static void abort_midway(ferry_placement placement, pair both)
{
    ferry_service *service = service_start(placement);
    ferry_stream *stream = stream_adopt(service, both.ours);
    check_eq(outcome(submit_write(stream, "head", 4)).error, 0);
    ferry_promise *stuck = submit_stuck(stream, both.theirs);
    ferry_promise *behind = submit_write(stream, "tail", 4);
    ferry_stream_abort(stream);
    ferry_result cut = outcome(stuck), unsent = outcome(behind);
    check_eq(cut.error, -ECANCELED);
    check(cut.sent > 0 && cut.remaining > 0);
    check_eq(cut.sent + cut.remaining, STUCK_BYTES);
    check_eq(cut.stream_offset, 4);
    check_eq(unsent.error, -ECANCELED);
    check_eq(unsent.phase, FERRY_PHASE_QUEUE);
    check_eq(unsent.sent, 0);
    check_eq(unsent.remaining, 4);
    check_eq(unsent.stream_offset, 4 + cut.sent);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
    close(both.theirs);
}

/* Pins: arithmetic. */
PROMISE_BOTH(arithmetic, aborted_write_says_exactly_how_much_left)
{
    abort_midway(placement, unix_pair(SOCK_STREAM));
    abort_midway(placement, tcp_pair());
}

PROMISE_BOTH(arithmetic, count_of_an_aborted_file_is_what_a_unix_peer_reads)
{
    ferry_service *service = service_start(placement);
    test_file file = file_make(8 << 20, 5);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(service, both.ours);
    ferry_promise *stuck = submit_file(stream, ferry_file_at(file.path));
    wait_readable(both.theirs);
    wait_until_asleep();
    ferry_stream_abort(stream);
    ferry_result cut = outcome(stuck);
    check_eq(cut.error, -ECANCELED);
    check_eq(cut.sent + cut.remaining, file.size);
    reader *peer = reader_start(both.theirs, false);
    reader_join(peer);
    check_eq(peer->bytes, cut.sent);
    check_eq(peer->digest, digest_content(DIGEST_BEGIN, 5, 0, cut.sent));
    reader_free(peer);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
    file_remove(&file);
}
