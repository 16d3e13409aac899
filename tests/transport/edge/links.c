/* SPDX-License-Identifier: MIT */
/*
 * A link of another kind than ferry's own (tests/records.h): streams on it do what streams on plain
 * ones do.
 */
#include "tests/notes.h"
#include "tests/records.h"
#include "tests/support.h"

/* More than the sockets take, and no more than that: each byte is changed twice. */
enum { TOO_MUCH = 16 << 20 };

/* ---- what streams do on it ------------------------------------------------------------------- */

static ferry_stream *adopt_with_records(ferry_service *service, int fd)
{
    ferry_stream *stream = stream_adopt(service, fd);
    records_put_on(stream);
    return stream;
}

typedef struct scene {
    ferry_service *service;
    ferry_stream *from;
    ferry_stream *to;
} scene;

static scene set_up_with(ferry_placement placement, int is_tcp, ferry_stream_options options)
{
    pair both = any_pair(is_tcp);
    scene set = {.service = service_start(placement)};
    set.from = stream_adopt_with(set.service, both.ours, options);
    records_put_on(set.from);
    set.to = adopt_with_records(set.service, both.theirs);
    return set;
}

static scene set_up(ferry_placement placement, int is_tcp)
{
    return set_up_with(placement, is_tcp, (ferry_stream_options){0});
}

static void tear_down(scene *set)
{
    ferry_stream_unref(set->from);
    ferry_stream_unref(set->to);
    ferry_service_destroy(set->service);
}

static ferry_promise *read_exactly(ferry_stream *stream, void *data, size_t size)
{
    return submit_read(stream, (ferry_read){data, size, FERRY_READ_EXACTLY, NULL, 0});
}

enum { FILE_BYTES = 300 * 1000, TAIL = 5, ALL = 4 + FILE_BYTES + TAIL };

static void check_all(const unsigned char *came)
{
    check(memcmp(came, "head", 4) == 0);
    check(digest(DIGEST_BEGIN, came + 4, FILE_BYTES) ==
          digest_content(DIGEST_BEGIN, 7, 0, FILE_BYTES));
    check(memcmp(came + 4 + FILE_BYTES, "tail\n", TAIL) == 0);
}

PROMISE_EITHER(links, socket_whose_bytes_are_transformed_cannot_be_detached)
{
    AT_END(tear_down) scene set = set_up(placement, false);
    ferry_promise *none = NULL;
    check_eq(ferry_stream_detach(set.from, &none), -EOPNOTSUPP);
    check(none == NULL);
}

PROMISE_BOTH(links, memory_and_files_come_as_they_were_sent)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(tear_down) scene set = set_up(placement, is_tcp);
        AT_END(file_remove) test_file file = file_make(FILE_BYTES, 7);
        AT_END(free_memory) unsigned char *came = calloc(1, ALL);
        ferry_promise *all = read_exactly(set.to, came, ALL);
        ferry_promise *head = submit_write(set.from, "head", 4);
        ferry_promise *body = submit_file(set.from, ferry_file_at(file.path));
        ferry_promise *tail = submit_write(set.from, "tail\n", TAIL);
        check_eq(outcome(head).sent, 4);
        ferry_result sent = outcome(body);
        check_eq(sent.error, 0);
        check_eq(sent.sent, FILE_BYTES);
        check_eq(sent.method, FERRY_METHOD_COPY);
        check_eq(outcome(tail).stream_offset, 4 + FILE_BYTES);
        check_eq(outcome(all).sent, ALL);
        check_all(came);
    }
}

PROMISE_BOTH(links, what_comes_is_stored_in_a_file_and_its_end_is_told)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(tear_down) scene set = set_up(placement, is_tcp);
        AT_END(file_remove) test_file file = file_make(FILE_BYTES, 7), target = file_make(0, 0);
        ferry_file into = ferry_file_at(target.path);
        into.flags = FERRY_FILE_TRUNCATE;
        ferry_promise *stored = submit_read_to_file(set.to, into);
        check_eq(outcome(submit_file(set.from, ferry_file_at(file.path))).error, 0);
        /* No close: with an answer unread it may be a reset, which takes what is on its way. */
        check_eq(outcome(submit_shutdown(set.from)).error, 0);
        check_outcome(stored, .error = 0, .sent = FILE_BYTES, .at_end = true);
        check(digest_file(DIGEST_BEGIN, target.path, 0, FILE_BYTES) ==
              digest_content(DIGEST_BEGIN, 7, 0, FILE_BYTES));
    }
}

/* More than the sockets hold, both ways at once: each direction waits, with a record begun. */
PROMISE_BOTH(links, full_link_holds_neither_direction_up_for_good)
{
    enum { MUCH = 4 << 20 };
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(tear_down) scene set = set_up(placement, is_tcp);
        AT_END(free_memory)
        unsigned char *content = malloc(MUCH), *there = malloc(MUCH), *back = malloc(MUCH);
        fill_content(content, MUCH, 3, 0);
        ferry_promise *one = submit_write(set.from, content, MUCH);
        ferry_promise *other = submit_write(set.to, content, MUCH);
        ferry_promise *to = read_exactly(set.to, there, MUCH);
        ferry_promise *from = read_exactly(set.from, back, MUCH);
        check_eq(outcome(one).sent, MUCH);
        check_eq(outcome(other).sent, MUCH);
        check_eq(outcome(to).sent, MUCH);
        check_eq(outcome(from).sent, MUCH);
        check(memcmp(content, there, MUCH) == 0);
        check(memcmp(content, back, MUCH) == 0);
    }
}

PROMISE_BOTH(links, reader_gets_all_of_it_and_then_the_end)
{
    notes seen = {0};
    AT_END(tear_down) scene set = set_up(placement, 1);
    notes_set(set.to, &seen, true);
    for (unsigned i = 0; i < 100; i++)
        check_eq(ferry_stream_write(set.from, "twelve bytes", 12, NULL, NULL), 0);
    check_eq(close_stream(set.from).error, 0);
    set.from = NULL;
    notes_await_end(&seen);
    check_eq(seen.error, 0);
    check_eq(atomic_load(&seen.count), 1200);
    check(memcmp(seen.taken, "twelve bytestwelve", 18) == 0);
}

PROMISE_BOTH(links, request_is_confirmed_and_so_is_a_close)
{
    AT_END(tear_down)
    scene set = set_up_with(placement, 1, (ferry_stream_options){.close_timeout_ms = 60 * 1000});
    char came[6];
    ferry_promise *read = read_exactly(set.to, came, 6);
    const ferry_request_options options = {.completion = FERRY_COMPLETION_ACKED};
    check_eq(outcome(submit_write_with(set.from, "acked\n", 6, &options)).error, 0);
    check_eq(outcome(read).sent, 6);
    ferry_promise *closed = submit_close(set.from);
    check(outcome(read_exactly(set.to, came, 1))
              .at_end); /* unread, its end would be a reset's cause */
    check_eq(close_stream(set.to).error, 0);
    set.to = NULL;
    check_eq(outcome(closed).error, 0);
}

PROMISE_BOTH(links, what_waits_for_a_full_link_is_called_off)
{
    AT_END(tear_down) scene set = set_up(placement, 0);
    AT_END(free_memory) char *much = calloc(1, TOO_MUCH);
    ferry_promise *stuck = submit_write(set.from, much, TOO_MUCH);
    ferry_promise *behind = submit_write(set.from, "x", 1);
    wait_readable(set.to->link.fd);
    check_eq(ferry_promise_cancel(behind), 0);
    check_eq(outcome(behind).error, -ECANCELED);
    check_eq(ferry_promise_cancel(stuck), 0);
    ferry_result result = outcome(stuck);
    check_eq(result.error, -ECANCELED);
    check(result.sent < TOO_MUCH && result.sent + result.remaining == TOO_MUCH);
    ferry_stream_abort(set.from);
}

/* ---- what has begun leaves ------------------------------------------------------------------- */

/* Writes so much content that from's link is stuck, in the middle of a record. */
static ferry_promise *submit_stuck_content(scene *set, size_t size)
{
    ferry_promise *stuck = submit_content(set->from, 11, size);
    wait_until_stuck(set->to->link.fd);
    return stuck;
}

/* Whether the stream's peer reads so much of that content, and then a text. */
static void check_content_and_text(ferry_stream *to, uint64_t size, const char *text)
{
    size_t length = strlen(text);
    AT_END(free_memory) unsigned char *came = malloc(size + length);
    check_eq(outcome(read_exactly(to, came, size + length)).error, 0);
    check(digest(DIGEST_BEGIN, came, size) == digest_content(DIGEST_BEGIN, 11, 0, size));
    check(memcmp(came + size, text, length) == 0);
}

/* Calls a request off in the middle of a record. What its result counts arrives, and so does the
 * next write, right behind that. */
static void call_off_and_go_on(scene *set, ferry_promise *stuck, uint64_t size)
{
    check_eq(ferry_promise_cancel(stuck), 0);
    ferry_result result = outcome(stuck);
    check_eq(result.error, -ECANCELED);
    check_eq(result.sent + result.remaining, size);
    ferry_promise *next = submit_write(set->from, "next", 4);
    check_content_and_text(set->to, result.sent, "next");
    check_outcome(next, .error = 0, .stream_offset = result.sent);
}

PROMISE_BOTH(links, record_that_has_begun_leaves_and_is_counted_when_its_request_is_called_off)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        const ferry_stream_options options = {.framing = FERRY_FRAMING_CONTINUE};
        AT_END(tear_down) scene set = set_up_with(placement, is_tcp, options);
        call_off_and_go_on(&set, submit_stuck_content(&set, TOO_MUCH), TOO_MUCH);
    }
}

/* Small requests share a record: it has bytes of some that are not called off. */
PROMISE_BOTH(links, request_in_the_middle_of_a_record_that_has_begun_is_too_late_to_call_off)
{
    enum { SMALL = 100, MANY = 20000 };
    const ferry_stream_options options = {.framing = FERRY_FRAMING_CONTINUE,
                                          .limit_requests = MANY + 1};
    AT_END(tear_down) scene set = set_up_with(placement, 0, options);
    AT_END(free_memory) unsigned char *content = malloc(SMALL * MANY);
    fill_content(content, SMALL * MANY, 11, 0);
    AT_END(free_memory) ferry_promise **all = calloc(MANY, sizeof *all);
    for (unsigned i = 0; i < MANY; i++)
        all[i] = submit_write(set.from, content + (size_t)i * SMALL, SMALL);
    wait_until_stuck(set.to->link.fd);
    for (unsigned i = 0; i < MANY; i++)
        (void)ferry_promise_cancel(all[i]); /* some have settled */
    uint64_t sent = 0;
    for (unsigned i = 0; i < MANY; i++)
        sent += outcome(all[i]).sent;
    ferry_promise *next = submit_write(set.from, "next", 4);
    check_content_and_text(set.to, sent, "next");
    check_eq(outcome(next).stream_offset, sent);
}

PROMISE_BOTH(links, file_that_is_called_off_in_the_middle_of_a_record_counts_what_arrives)
{
    enum { LARGE = 8 << 20 };
    const ferry_stream_options options = {.framing = FERRY_FRAMING_CONTINUE};
    AT_END(tear_down) scene set = set_up_with(placement, 0, options);
    AT_END(file_remove) test_file file = file_make(LARGE, 11);
    ferry_promise *body = submit_file(set.from, ferry_file_at(file.path));
    wait_until_stuck(set.to->link.fd);
    call_off_and_go_on(&set, body, LARGE);
}

PROMISE_BOTH(links, padding_goes_on_behind_a_record_that_has_begun)
{
    AT_END(tear_down)
    scene set = set_up_with(placement, 0, (ferry_stream_options){.framing = FERRY_FRAMING_PAD});
    ferry_promise *stuck = submit_stuck_content(&set, TOO_MUCH);
    check_eq(ferry_promise_cancel(stuck), 0);
    ferry_result result = outcome(stuck);
    ferry_promise *next = submit_write(set.from, "next", 4);
    AT_END(free_memory) unsigned char *came = malloc(TOO_MUCH + 4);
    check_eq(outcome(read_exactly(set.to, came, TOO_MUCH + 4)).error, 0);
    check(digest(DIGEST_BEGIN, came, result.sent) ==
          digest_content(DIGEST_BEGIN, 11, 0, result.sent));
    for (uint64_t i = result.sent; i < TOO_MUCH; i++)
        check_eq(came[i], 0);
    check(memcmp(came + TOO_MUCH, "next", 4) == 0);
    check_eq(outcome(next).stream_offset, TOO_MUCH);
}

/* Nothing is queued any more, and what the link owes leaves all the same; before the end. */
PROMISE_BOTH(links, what_has_begun_leaves_before_a_close_and_with_nothing_queued)
{
    for (int closes = 0; closes < 2; closes++) {
        AT_END(tear_down) scene set = set_up(placement, 0);
        ferry_promise *stuck = submit_stuck_content(&set, TOO_MUCH);
        check_eq(ferry_promise_cancel(stuck), 0);
        ferry_result result = outcome(stuck);
        ferry_promise *closed = closes ? submit_close(set.from) : NULL;
        check_content_and_text(set.to, result.sent, "");
        if (!closes)
            closed = submit_close(set.from);
        check_eq(outcome(closed).error, 0);
        char more;
        check_outcome(read_exactly(set.to, &more, 1), .at_end = true, .sent = 0);
    }
}

PROMISE_BOTH(links, peer_that_takes_nothing_of_what_is_owed_has_stalled)
{
    AT_END(tear_down)
    scene set = set_up_with(placement, 0, (ferry_stream_options){.stall_timeout_ms = 100});
    ferry_promise *stuck = submit_stuck_content(&set, TOO_MUCH);
    ferry_promise *behind = submit_write(set.from, "x", 1);
    (void)ferry_promise_cancel(stuck); /* or else it has stalled before that */
    int error = outcome(stuck).error;
    check(error == -ECANCELED || error == -ETIMEDOUT);
    check_eq(outcome(behind).error, -ECANCELED);
    check_eq(close_stream(set.from).error, 0); /* which waits for nothing either */
    set.from = NULL;
}

/* Sends so much content in records, as a peer without a stream. */
static void send_records(int fd, size_t size)
{
    static record_writer writer;
    writer = (record_writer){0};
    AT_END(free_memory) unsigned char *content = malloc(size);
    fill_content(content, size, 11, 0);
    for (size_t done = 0; done < size;) {
        const struct iovec rest = {content + done, size - done};
        done += record_make(&writer, RECORD_DATA, &rest, 1);
        check_eq(write(fd, writer.bytes, writer.end), writer.end);
        writer.begin = writer.end;
    }
}

/* It is woken for that: nobody writes to the stream. */
PROMISE_BOTH(links, answer_that_receiving_owes_leaves_by_itself)
{
    enum { MUCH = 60 * 1000 };
    AT_END(close_theirs) pair both = any_pair(0);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_stream)
    ferry_stream *stream = adopt_with_records(service, both.ours);
    AT_END(free_memory) unsigned char *came = malloc(MUCH);
    unsigned char answer[RECORD_HEADER];
    ferry_promise *read = read_exactly(stream, came, MUCH);
    send_records(both.theirs, MUCH);
    check_eq(outcome(read).sent, MUCH);
    check_eq(recv(both.theirs, answer, sizeof answer, MSG_WAITALL), RECORD_HEADER);
    check_eq(answer[0], RECORD_NOTE);
}

/* ---- its end --------------------------------------------------------------------------------- */

PROMISE_BOTH(links, end_that_does_not_fit_waits_for_room)
{
    for (int closes = 0; closes < 2; closes++) {
        AT_END(close_theirs) pair both = any_pair(0);
        AT_END(destroy_service) ferry_service *service = service_start(placement);
        AT_END(drop_stream)
        ferry_stream *stream = adopt_with_records(service, both.ours);
        (void)fill_up(both.ours);
        ferry_promise *ended = closes ? submit_close(stream) : submit_shutdown(stream);
        wait_until_asleep();
        check_eq(ferry_promise_await(ended, 0, NULL), -ETIMEDOUT);
        char last[RECORD_HEADER] = "", byte;
        while (read(both.theirs, &byte, 1) == 1) {
            memmove(last, last + 1, sizeof last - 1);
            last[sizeof last - 1] = byte;
        }
        check_eq(outcome(ended).error, 0);
        check_eq(last[0], RECORD_END);
    }
}

PROMISE_BOTH(links, stream_that_is_let_go_says_its_end)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_service *other = service_start(placement);
    pair both = any_pair(1);
    AT_END(drop_stream) ferry_stream *one = adopt_with_records(other, both.ours);
    AT_END(drop_stream) ferry_stream *peer = adopt_with_records(service, both.theirs);
    ferry_service_destroy(other);
    char more;
    check_outcome(read_exactly(peer, &more, 1), .error = 0, .at_end = true);
}

PROMISE_BOTH(links, end_that_was_not_said_is_none)
{
    pair both = any_pair(1);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_stream)
    ferry_stream *stream = adopt_with_records(service, both.ours);
    char more;
    ferry_promise *read = read_exactly(stream, &more, 1);
    close(both.theirs);
    check_eq(outcome(read).error, -ECONNABORTED);
}

/* ---- relays ---------------------------------------------------------------------------------- */

typedef struct relaying {
    ferry_service *service, *other;
    ferry_stream *talker; /* on records, whose peer is */
    ferry_stream *from;   /* this one, relayed */
    ferry_stream *to;     /* to this one, on records or not, whose peer is */
    ferry_stream *reader;
} relaying;

static relaying begin_relaying(ferry_placement placement, bool to_records)
{
    pair in = any_pair(1), out = any_pair(0);
    relaying set = {.service = service_start(placement), .other = service_start(placement)};
    set.talker = adopt_with_records(set.service, in.theirs);
    set.from = adopt_with_records(set.service, in.ours);
    set.to = stream_adopt(set.other, out.ours);
    set.reader = stream_adopt(set.service, out.theirs);
    if (to_records) {
        records_put_on(set.to);
        records_put_on(set.reader);
    }
    return set;
}

static void end_relaying(relaying *set)
{
    ferry_stream_unref(set->talker);
    ferry_stream_unref(set->from);
    ferry_stream_unref(set->to);
    ferry_stream_unref(set->reader);
    ferry_service_destroy(set->service);
    ferry_service_destroy(set->other);
}

static ferry_promise *submit_relay(relaying *set, int64_t length)
{
    ferry_promise *relayed;
    check_eq(ferry_stream_relay(set->from, set->to, length, 0, NULL, &relayed), 0);
    return relayed;
}

PROMISE_BOTH(links, relay_from_such_a_stream_passes_all_on_and_its_end)
{
    enum { MUCH = 3 << 20 };
    for (int to_records = 0; to_records < 2; to_records++) {
        AT_END(end_relaying) relaying set = begin_relaying(placement, to_records != 0);
        ferry_promise *relayed = submit_relay(&set, FERRY_TO_END);
        AT_END(free_memory) unsigned char *came = malloc(MUCH + 1);
        ferry_promise *all =
            submit_read(set.reader, (ferry_read){came, MUCH + 1, FERRY_READ_TO_END, NULL, 0});
        check_eq(outcome(submit_content(set.talker, 12, MUCH)).error, 0);
        check_eq(outcome(submit_shutdown(set.talker)).error, 0);
        check_outcome(relayed, .error = 0, .sent = MUCH, .at_end = true);
        check_eq(outcome(all).sent, MUCH);
        check(digest(DIGEST_BEGIN, came, MUCH) == digest_content(DIGEST_BEGIN, 12, 0, MUCH));
    }
}

/* In to's order: nothing comes between its bytes, however they come. */
PROMISE_BOTH(links, relay_from_such_a_stream_is_one_request_of_the_other)
{
    AT_END(end_relaying) relaying set = begin_relaying(placement, false);
    ferry_promise *relayed = submit_relay(&set, 8);
    char came[16];
    ferry_promise *all =
        submit_read(set.reader, (ferry_read){came, 16, FERRY_READ_EXACTLY, NULL, 0});
    check_eq(outcome(submit_write(set.talker, "1234", 4)).error, 0);
    while (stream_status(set.to).sent_bytes < 4)
        wait_until_asleep();
    ferry_promise *behind = submit_write(set.to, "behind", 6);
    check_eq(outcome(submit_write(set.talker, "5678kept", 8)).error, 0);
    check_eq(outcome(relayed).sent, 8);
    check_eq(outcome(behind).stream_offset, 8);
    check_eq(outcome(submit_write(set.to, "..", 2)).error, 0);
    check_eq(outcome(all).sent, 16);
    check(memcmp(came, "12345678behind..", 16) == 0);
    char kept[4];
    check_eq(outcome(read_exactly(set.from, kept, 4)).sent, 4);
    check(memcmp(kept, "kept", 4) == 0);
}

/* Wherever its bytes are then: sent, taken, under way between the owners, or kept. */
PROMISE_BOTH(links, relay_from_such_a_stream_that_is_called_off_loses_no_byte)
{
    enum { MUCH = 4 << 20 };
    AT_END(end_relaying) relaying set = begin_relaying(placement, false);
    ferry_promise *relayed = submit_relay(&set, FERRY_TO_END);
    ferry_promise *all = submit_content(set.talker, 12, MUCH);
    while (stream_status(set.to).sent_bytes == 0)
        wait_until_asleep();
    wait_until_asleep(); /* its reader reads nothing */
    check_eq(ferry_promise_cancel(relayed), 0);
    ferry_result result = outcome(relayed);
    check_eq(result.error, -ECANCELED);
    uint64_t left = MUCH - result.sent;
    AT_END(free_memory) unsigned char *rest = malloc(left), *passed = malloc(result.sent);
    check_eq(outcome(read_exactly(set.from, rest, left)).sent, left);
    check_eq(outcome(all).sent, MUCH);
    check_eq(outcome(read_exactly(set.reader, passed, result.sent)).sent, result.sent);
    check(digest(DIGEST_BEGIN, passed, result.sent) ==
          digest_content(DIGEST_BEGIN, 12, 0, result.sent));
    check(digest(DIGEST_BEGIN, rest, left) == digest_content(DIGEST_BEGIN, 12, result.sent, left));
}

PROMISE_BOTH(links, relay_from_such_a_stream_tells_why_it_ends_early)
{
    relaying set = begin_relaying(placement, false);
    ferry_promise *relayed = submit_relay(&set, 8);
    check_eq(outcome(submit_write(set.talker, "1234", 4)).error, 0);
    check_eq(outcome(submit_shutdown(set.talker)).error, 0);
    check_outcome(relayed, .error = -ENODATA, .phase = FERRY_PHASE_SOURCE, .sent = 4,
                  .remaining = 4);
    end_relaying(&set);
    set = begin_relaying(placement, false);
    relayed = submit_relay(&set, FERRY_TO_END);
    check_eq(outcome(submit_write(set.talker, "1234", 4)).error, 0);
    ferry_stream_abort(set.talker);
    check_outcome(relayed, .error = -ECONNRESET, .phase = FERRY_PHASE_SOURCE);
    end_relaying(&set);
}

PROMISE_BOTH(links, relay_from_such_a_stream_settles_when_either_is_closed_or_aborted)
{
    for (int way = 0; way < 3; way++) {
        AT_END(end_relaying) relaying set = begin_relaying(placement, false);
        ferry_promise *relayed = submit_relay(&set, FERRY_TO_END);
        check_eq(outcome(submit_write(set.talker, "1234", 4)).error, 0);
        while (stream_status(set.to).sent_bytes < 4)
            wait_until_asleep();
        if (way == 0)
            check_eq(outcome(submit_close(set.from)).error, 0);
        else
            ferry_stream_abort(way == 1 ? set.from : set.to);
        check_eq(outcome(relayed).error, -ECANCELED);
    }
}

PROMISE_BOTH(links, relay_to_such_a_stream_arrives)
{
    AT_END(tear_down) scene set = set_up(placement, 0);
    AT_END(stage_end) stage plain = stage_in(set.service, any_pair(0));
    char came[6];
    ferry_promise *read = read_exactly(set.to, came, 6), *relayed;
    check_eq(ferry_stream_relay(plain.stream, set.from, 6, 0, NULL, &relayed), 0);
    send_text(plain.theirs, "plain\n");
    check_eq(outcome(relayed).sent, 6);
    check_eq(outcome(read).sent, 6);
    check(memcmp(came, "plain\n", 6) == 0);
}
