/* SPDX-License-Identifier: MIT */
/*
 * Invariant framing: after a failure midway the peer gets what the stream's policy says, and
 * nothing else; a failure before the first byte costs nothing but the request.
 */
#include "tests/support.h"

/* ---- any policy ------------------------------------------------------------------------------ */

/* Pins: framing. */
PROMISE_EITHER(framing, request_that_fails_midway_poisons_the_stream)
{
    AT_END(file_remove) test_file file = file_make(8 << 20, 5);
    stage s = stage_open(placement, tcp_pair());
    ferry_promise *cut_short = submit_file(s.stream, ferry_file_at(file.path));
    ferry_promise *write_behind = submit_write(s.stream, "behind", 6);
    ferry_promise *file_behind = submit_file(s.stream, ferry_file_fd(file.fd));
    wait_until_stuck(s.theirs);
    check_eq(truncate(file.path, 100), 0);
    stage_let_read(&s);
    ferry_result cut = outcome(cut_short);
    check_eq(cut.error, -ENODATA);
    check_eq(cut.phase, FERRY_PHASE_SOURCE);
    check(cut.sent > 0);
    check_eq(cut.sent + cut.remaining, file.size);
    ferry_promise *behind[] = {write_behind, file_behind, submit_write(s.stream, "later", 5)};
    for (unsigned i = 0; i < 3; i++) {
        check_outcome(behind[i], .error = -ECANCELED, .phase = FERRY_PHASE_QUEUE, .sent = 0);
    }
    check_eq(stream_status(s.stream).error, -ENODATA); /* says what happened to it */
    stage_close_got_bytes(&s, cut.sent);               /* and closes like any other */
}

/* Pins: framing. */
PROMISE_EITHER(framing, request_that_fails_before_its_first_byte_leaves_the_stream_healthy)
{
    stage s = stage_open_to_reader(placement, tcp_pair());
    const ferry_part parts[] = {ferry_part_copy("head ", 5),
                                ferry_part_file(ferry_file_at("/nowhere/at/all")),
                                ferry_part_copy("tail ", 5)};
    ferry_promise *before = submit_write(s.stream, "before ", 7);
    ferry_promise *compound = submit_parts(s.stream, parts, 3, NULL);
    ferry_promise *after = submit_write(s.stream, "after", 5);
    check_eq(outcome(before).error, 0);
    check_outcome(compound, .error = -ENOENT, .phase = FERRY_PHASE_OPEN, .sent = 0,
                  .remaining = 10); /* what of it could be known */
    check_eq(outcome(after).error, 0);
    stage_close_got_text(&s, "before after");
}

/* ---- the policies ---------------------------------------------------------------------------- */

enum { BIG = 12 << 20, SEED = 5 };

/* How the request in the middle fails after its first bytes. */
typedef enum failure { CUT_SHORT, UNREADABLE, CANCELLED, FAILURES } failure;

static const int errors[] = {-ENODATA, -EIO, -ECANCELED};

/* A stream that was told its policy, whose peer does not read yet. */
typedef struct scene {
    ferry_service *service;
    ferry_stream *stream;
    int theirs;
    test_file file;
} scene;

/* A turn moves so little that the second one is made while there is room. */
static scene scene_open(ferry_placement placement, pair both, ferry_stream_options options)
{
    const ferry_service_options small_turns = {
        .placement = placement, .shared_owners = 2, .chunk_bytes = 16 * 1024};
    ferry_service *service = service_start_with(small_turns);
    return (scene){.service = service,
                   .stream = stream_adopt_with(service, both.ours, options),
                   .theirs = both.theirs,
                   .file = file_make(BIG, SEED)};
}

static scene scene_open_padding(ferry_placement placement, pair both)
{
    return scene_open(placement, both, (ferry_stream_options){.framing = FERRY_FRAMING_PAD});
}

/* The second sendfile, or read, fails, or none. */
static scene scene_open_failing(ferry_placement placement, pair both, ferry_framing framing,
                                failure how)
{
    bool is_read = file_method() == FERRY_METHOD_COPY;
    const ferry_fault script = {.call = is_read ? FERRY_CALL_READ : FERRY_CALL_SENDFILE,
                                .first = 2,
                                .effect = how == CUT_SHORT ? FERRY_FAULT_EOF : FERRY_FAULT_ERROR,
                                .error = EIO};
    AT_END(drop_faults) ferry_faults *faults;
    check_eq(ferry_faults_create(&script, how == CANCELLED ? 0 : 1, &faults), 0);
    return scene_open(placement, both,
                      (ferry_stream_options){.framing = framing, .faults = faults});
}

static void scene_close(scene *s)
{
    ferry_service_destroy(s->service);
    file_remove(&s->file);
}

static ferry_stream_status status_of(const scene *s)
{
    return stream_status(s->stream);
}

/* Cancels a request when some of it has left and the rest cannot. */
static ferry_result cancel_midway(const scene *s, ferry_promise *promise)
{
    wait_until_stuck(s->theirs);
    check_eq(ferry_promise_cancel(promise), 0);
    return outcome(promise);
}

static ferry_result cancel_file_midway(const scene *s)
{
    return cancel_midway(s, submit_file(s->stream, ferry_file_at(s->file.path)));
}

static uint64_t digest_zeros(uint64_t so_far, uint64_t size)
{
    static const unsigned char zeros[4096];
    for (; size > 0; size -= size < sizeof zeros ? size : sizeof zeros)
        so_far = digest(so_far, zeros, size < sizeof zeros ? (size_t)size : sizeof zeros);
    return so_far;
}

/* A compound request of "head", the file, "tail" fails in the file; what was queued behind it, and
 * what is submitted later, are subject to the policy. */
static void fail_midway(ferry_placement placement, pair both, ferry_framing framing, failure how)
{
    AT_END(scene_close) scene s = scene_open_failing(placement, both, framing, how);
    const ferry_part parts[] = {ferry_part_copy("head", 4),
                                ferry_part_file(ferry_file_at(s.file.path)),
                                ferry_part_copy("tail", 4)};
    ferry_promise *before = submit_write(s.stream, "before", 6);
    ferry_promise *compound = submit_parts(s.stream, parts, 3, NULL);
    ferry_promise *later[3] = {submit_write(s.stream, "behind", 6)};
    ferry_file range = ferry_file_at(s.file.path);
    range.offset = 1000;
    range.length = 5;
    later[1] = submit_file(s.stream, range);
    check_eq(outcome(before).error, 0);
    ferry_result cut = how == CANCELLED ? cancel_midway(&s, compound) : outcome(compound);
    check_eq(cut.error, errors[how]);
    check_eq(cut.phase, how == CANCELLED ? FERRY_PHASE_SINK : FERRY_PHASE_SOURCE);
    check_eq(cut.stream_offset, 6);
    check(cut.sent > 4);
    check_eq(cut.sent + cut.remaining, BIG + 8);
    later[2] = submit_write(s.stream, "later", 5);

    reader *peer = reader_start(s.theirs, false);
    bool goes_on = framing != FERRY_FRAMING_POISON;
    uint64_t padding = framing == FERRY_FRAMING_PAD ? cut.remaining : 0;
    uint64_t offset = 6 + cut.sent + padding;
    for (unsigned i = 0; i < 3; i++) {
        ferry_result result = outcome(later[i]);
        check_eq(result.error, goes_on ? 0 : -ECANCELED);
        check_eq(result.sent, goes_on ? (i == 0 ? 6 : 5) : 0);
        check_eq(result.sequence, i + 2);
        check_eq(result.stream_offset, offset);
        offset += result.sent;
    }
    check_eq(status_of(&s).error, goes_on ? 0 : errors[how]);
    check_eq(status_of(&s).sent_bytes, offset);
    check_eq(close_stream(s.stream).error, 0);
    uint64_t expected = digest(DIGEST_BEGIN, "beforehead", 10);
    expected = digest_content(expected, SEED, 0, cut.sent - 4);
    expected = digest_zeros(expected, padding);
    if (goes_on) {
        expected = digest(expected, "behind", 6);
        expected = digest_content(expected, SEED, 1000, 5);
        expected = digest(expected, "later", 5);
    }
    reader_check(peer, offset, expected);
}

static void fail_in_all_ways(ferry_placement placement, ferry_framing framing)
{
    for (failure how = CUT_SHORT; how < FAILURES; how++) {
        fail_midway(placement, unix_pair(SOCK_STREAM), framing, how);
        fail_midway(placement, tcp_pair(), framing, how);
    }
}

PROMISE_EITHER(framing, poison_sends_nothing_more_however_it_failed)
{
    fail_in_all_ways(placement, FERRY_FRAMING_POISON);
}

/* Pins: framing. */
PROMISE_EITHER(framing, pad_sends_zeros_in_place_of_the_rest_then_the_next_request_whole)
{
    fail_in_all_ways(placement, FERRY_FRAMING_PAD);
}

/* Pins: framing. */
PROMISE_EITHER(framing, continue_sends_the_next_request_directly_behind)
{
    fail_in_all_ways(placement, FERRY_FRAMING_CONTINUE);
}

PROMISE(framing, unknown_policy_is_einval)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_DEDICATED);
    AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = NULL;
    ferry_stream_options options = {.framing = (ferry_framing)3};
    check_eq(ferry_stream_adopt(service, both.ours, &options, &stream), -EINVAL);
    check(stream == NULL);
    close(both.ours);
}

/* ---- padding --------------------------------------------------------------------------------- */

static void refuse_padding(ferry_service *service, int fd)
{
    static const ferry_stream_options options = {.framing = FERRY_FRAMING_PAD};
    ferry_stream *stream = NULL;
    check_eq(ferry_stream_adopt(service, fd, &options, &stream), -EINVAL);
    check(stream == NULL);
    close(fd); /* still ours */
}

PROMISE_EITHER(framing, pad_is_einval_where_each_write_is_a_message)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_SEQPACKET);
    int ends[2];
    check_eq(pipe2(ends, O_CLOEXEC | O_DIRECT), 0);
    refuse_padding(service, both.ours);
    refuse_padding(service, ends[1]);
    close(both.theirs);
    close(ends[0]);
}

/* A pipe that holds 100 bytes and stays open. */
static pair pipe_make(void)
{
    unsigned char data[100];
    fill_content(data, sizeof data, SEED, 0);
    pair made = pipe_pair();
    check_eq(write(made.ours, data, sizeof data), sizeof data);
    return made;
}

PROMISE_EITHER(framing, pad_poisons_where_the_planned_length_is_not_known)
{
    AT_END(scene_close) scene s = scene_open_padding(placement, unix_pair(SOCK_STREAM));
    AT_END(close_pair) pair pipe = pipe_make();
    ferry_result cut = cancel_midway(&s, submit_file(s.stream, ferry_file_fd(pipe.theirs)));
    check_eq(cut.error, -ECANCELED);
    check_eq(cut.phase, FERRY_PHASE_SOURCE);
    check_eq(cut.sent, 100);
    check_eq(outcome(submit_write(s.stream, "later", 5)).error, -ECANCELED);
    check_eq(status_of(&s).error, -ECANCELED);
    check_eq(status_of(&s).sent_bytes, 100);
    check_eq(close_stream(s.stream).error, 0);
    check_fd_content(s.theirs, SEED, 100);
}

PROMISE_EITHER(framing, pad_fills_up_a_range_of_a_pipe)
{
    AT_END(scene_close) scene s = scene_open_padding(placement, unix_pair(SOCK_STREAM));
    AT_END(close_pair) pair pipe = pipe_make();
    ferry_file range = ferry_file_fd(pipe.theirs);
    range.length = 1000;
    ferry_result cut = cancel_midway(&s, submit_file(s.stream, range));
    check_eq(cut.sent, 100);
    check_eq(cut.remaining, 900);
    check_outcome(submit_write(s.stream, "later", 5), .error = 0, .stream_offset = 1000);
    check_eq(close_stream(s.stream).error, 0);
    reader *peer = reader_start(s.theirs, false);
    uint64_t expected = digest_zeros(digest_content(DIGEST_BEGIN, SEED, 0, 100), 900);
    reader_check(peer, 1005, digest(expected, "later", 5));
}

static void check_padded(reader *peer, const ferry_result *cut)
{
    uint64_t expected = digest_content(DIGEST_BEGIN, SEED, 0, cut->sent);
    reader_check(peer, cut->sent + cut->remaining, digest_zeros(expected, cut->remaining));
}

static void close_while_owed(ferry_placement placement, pair both, bool shuts)
{
    AT_END(scene_close) scene s = scene_open_padding(placement, both);
    ferry_result cut = cancel_file_midway(&s);
    ferry_promise *shut = shuts ? submit_shutdown(s.stream) : NULL;
    ferry_promise *closed = submit_close(s.stream);
    check_eq(ferry_promise_await(closed, 0, NULL), -ETIMEDOUT); /* the peer has to read first */
    reader *peer = reader_start(s.theirs, false);
    check_eq(outcome(closed).error, 0);
    if (shuts)
        check_eq(outcome(shut).error, 0);
    ferry_stream_unref(s.stream);
    check_padded(peer, &cut);
}

PROMISE_EITHER(framing, padding_leaves_before_the_end_of_file_does)
{
    for (unsigned shuts = 0; shuts < 2; shuts++) {
        close_while_owed(placement, unix_pair(SOCK_STREAM), shuts);
        close_while_owed(placement, tcp_pair(), shuts);
    }
}

PROMISE_EITHER(framing, drain_waits_for_padding)
{
    AT_END(scene_close) scene s = scene_open_padding(placement, unix_pair(SOCK_STREAM));
    ferry_result cut = cancel_file_midway(&s);
    for (unsigned i = 0; i < 3; i++)
        check_eq(ferry_service_drain(s.service, 0), -ETIMEDOUT);
    check_eq(status_of(&s).queued_requests, 0); /* it is no request's any more */
    check_eq(ferry_service_drain(s.service, 20), -ETIMEDOUT);
    check(status_of(&s).sent_bytes < BIG);
    reader *peer = reader_start(s.theirs, false);
    check_eq(ferry_service_drain(s.service, -1), 0);
    check_eq(status_of(&s).sent_bytes, BIG);
    check_eq(status_of(&s).error, 0);
    check_eq(close_stream(s.stream).error, 0);
    check_padded(peer, &cut);
}

/* What the peer got is what the status counts: of the padding only what the kernel has accepted. */
static void check_counted(scene *s, const ferry_result *cut)
{
    AT_END(free_reader) reader *peer = reader_start(s->theirs, false);
    reader_join(peer);
    check(peer->bytes >= cut->sent && peer->bytes < BIG);
    check_eq(status_of(s).sent_bytes, peer->bytes);
    uint64_t expected = digest_content(DIGEST_BEGIN, SEED, 0, cut->sent);
    check_eq(peer->digest, digest_zeros(expected, peer->bytes - cut->sent));
}

PROMISE_EITHER(framing, abort_while_padding_is_owed_ends_the_stream_and_counts_what_left)
{
    ONLY_ON_PLAIN_LINKS("what a link owes is dropped");
    AT_END(scene_close) scene s = scene_open_padding(placement, unix_pair(SOCK_STREAM));
    ferry_result cut = cancel_file_midway(&s);
    ferry_promise *behind = submit_write(s.stream, "behind", 6);
    ferry_promise *closed = submit_close(s.stream);
    wait_until_asleep();
    check(status_of(&s).sent_bytes < BIG);
    ferry_stream_abort(s.stream);
    check_outcome(behind, .error = -ECANCELED, .phase = FERRY_PHASE_QUEUE);
    check_eq(outcome(closed).error, -ECANCELED);
    check_counted(&s, &cut);
    ferry_stream_unref(s.stream);
}

PROMISE_EITHER(framing, service_may_end_while_padding_is_owed)
{
    ONLY_ON_PLAIN_LINKS("what a link owes is dropped");
    AT_END(scene_close) scene s = scene_open_padding(placement, unix_pair(SOCK_STREAM));
    ferry_result cut = cancel_file_midway(&s);
    ferry_promise *behind = submit_write(s.stream, "behind", 6);
    ferry_service_destroy(s.service);
    s.service = NULL;
    check_eq(outcome(behind).error, -ECANCELED);
    check_counted(&s, &cut);
    ferry_stream_unref(s.stream);
}

PROMISE_EITHER(framing, peer_that_hangs_up_on_the_padding_poisons_the_stream)
{
    AT_END(scene_close) scene s = scene_open_padding(placement, unix_pair(SOCK_STREAM));
    ferry_result cut = cancel_file_midway(&s);
    ferry_promise *behind = submit_write(s.stream, "behind", 6);
    close(s.theirs);
    check_eq(outcome(behind).error, -ECANCELED);
    check(status_of(&s).error == -EPIPE || status_of(&s).error == -ECONNRESET);
    check(status_of(&s).sent_bytes >= cut.sent && status_of(&s).sent_bytes < BIG);
    check_eq(close_stream(s.stream).error, 0);
}

/* @return whether it was cancelled before the peer was given up, which a busy machine may not
 * do. */
static bool stalls_on_the_padding(ferry_placement placement, int64_t stall_timeout_ms)
{
    scene s = scene_open(
        placement, unix_pair(SOCK_STREAM),
        (ferry_stream_options){.framing = FERRY_FRAMING_PAD, .stall_timeout_ms = stall_timeout_ms});
    ferry_promise *head = submit_file(s.stream, ferry_file_at(s.file.path));
    wait_until_stuck(s.theirs);
    (void)ferry_promise_cancel(head);
    ferry_result cut = outcome(head);
    check_eq(outcome(submit_write(s.stream, "behind", 6)).error, -ECANCELED);
    check_eq(status_of(&s).error, -ETIMEDOUT);
    check_eq(outcome(submit_close(s.stream)).error, 0);
    if (cut.error != -ETIMEDOUT) {
        check_eq(cut.error, -ECANCELED);
        check_counted(&s, &cut);
    } else {
        close(s.theirs);
    }
    ferry_stream_unref(s.stream);
    scene_close(&s);
    return cut.error != -ETIMEDOUT;
}

PROMISE_EITHER(framing, peer_that_stalls_on_the_padding_poisons_the_stream)
{
    ONLY_ON_PLAIN_LINKS("what a link owes is dropped");
    int64_t stall_timeout_ms = 400;
    while (!stalls_on_the_padding(placement, stall_timeout_ms))
        stall_timeout_ms *= 2;
}
