/* SPDX-License-Identifier: MIT */
/*
 * A link of another kind than ferry's own: its bytes go over the wire in records, each with its
 * length before it, and changed by a key stream. Streams on such links do what streams on plain
 * ones do.
 */
#include "tests/notes.h"
#include "transport/stream/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

/* ---- the kind -------------------------------------------------------------------------------- */

enum { HEADER = 2, MOST = 1000 };

typedef struct record_link {
    /* A record on its way out: the link has promised so many bytes of it to whoever wrote them. */
    unsigned char out[HEADER + MOST];
    size_t out_begin, out_end;
    size_t promised;
    uint64_t out_position; /* in the key stream */

    /* A record that comes, and what the last one had in it. */
    unsigned char coming[HEADER + MOST];
    size_t coming_count;
    unsigned char in[MOST];
    size_t in_begin, in_end;
    uint64_t in_position;
} record_link;

static unsigned char key(uint64_t position)
{
    return (unsigned char)(position * 131 + (position >> 8) + 17);
}

static record_link *self_of(const ferry__link *link)
{
    return link->state;
}

static void begin_record(record_link *self, const struct iovec pieces[], int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        const unsigned char *data = pieces[i].iov_base;
        for (size_t j = 0; j < pieces[i].iov_len && size < MOST; j++)
            self->out[HEADER + size++] = data[j] ^ key(self->out_position++);
    }
    self->out[0] = (unsigned char)(size >> 8);
    self->out[1] = (unsigned char)size;
    self->out_begin = 0;
    self->out_end = HEADER + size;
    self->promised = size;
}

/* Answers once the whole record has left; until then whoever writes waits, with the same bytes. */
static ssize_t write_record(ferry__link *link, const struct iovec pieces[], int count, bool more)
{
    (void)more;
    record_link *self = self_of(link);
    if (self->promised == 0)
        begin_record(self, pieces, count);
    while (self->out_begin < self->out_end) {
        const struct iovec rest = {.iov_base = self->out + self->out_begin,
                                   .iov_len = self->out_end - self->out_begin};
        ssize_t written = ferry__link_plain.write(link, &rest, 1, false);
        if (written < 0)
            return written;
        self->out_begin += (size_t)written;
    }
    ssize_t written = (ssize_t)self->promised;
    self->promised = 0;
    return written;
}

/* How many bytes the record that comes still lacks, as far as is known. */
static size_t lacking(const record_link *self)
{
    if (self->coming_count < HEADER)
        return HEADER - self->coming_count;
    return HEADER + ((size_t)self->coming[0] << 8 | self->coming[1]) - self->coming_count;
}

static void open_record(record_link *self)
{
    self->in_begin = 0;
    self->in_end = self->coming_count - HEADER;
    for (size_t i = 0; i < self->in_end; i++)
        self->in[i] = self->coming[HEADER + i] ^ key(self->in_position++);
    self->coming_count = 0;
}

/* @return as a type's receive, with the next record's bytes in. */
static ssize_t receive_record(ferry__link *link)
{
    record_link *self = self_of(link);
    while (self->in_begin == self->in_end) {
        ssize_t count =
            ferry__link_plain.receive(link, self->coming + self->coming_count, lacking(self));
        if (count == 0 && self->coming_count > 0)
            return -EPROTO;
        if (count <= 0)
            return count;
        self->coming_count += (size_t)count;
        if (lacking(self) == 0)
            open_record(self);
    }
    return 1;
}

static ssize_t receive(ferry__link *link, void *data, size_t size)
{
    record_link *self = self_of(link);
    ssize_t result = receive_record(link);
    if (result <= 0)
        return result;
    size_t there = self->in_end - self->in_begin, count = there < size ? there : size;
    memcpy(data, self->in + self->in_begin, count);
    self->in_begin += count;
    return (ssize_t)count;
}

static ssize_t send_nothing(ferry__link *link, int source_fd, int64_t *offset, size_t length)
{
    (void)link, (void)source_fd, (void)offset, (void)length;
    return -EOPNOTSUPP;
}

static ssize_t splice_nothing(ferry__link *link, int pipe_fd, size_t length)
{
    (void)link, (void)pipe_fd, (void)length;
    return -EOPNOTSUPP;
}

static int share_nothing(ferry__link *link)
{
    (void)link;
    return -EOPNOTSUPP;
}

static void push_nothing(ferry__link *link)
{
    (void)link;
}

static int shut_down(ferry__link *link)
{
    return ferry__link_plain.shut_down(link);
}

/* Sending, it is woken by what comes as well: any direction may wait for anything. */
static uint32_t awaits(const ferry__link *link, ferry__direction direction)
{
    uint32_t events = ferry__link_plain.awaits(link, direction);
    return direction == FERRY__SENDING ? events | ferry__link_plain.awaits(link, FERRY__RECEIVING)
                                       : events;
}

static int64_t unsent(const ferry__link *link)
{
    return ferry__link_plain.unsent(link);
}

static int64_t unacked(const ferry__link *link)
{
    return ferry__link_plain.unacked(link);
}

static void let_go(ferry__link *link)
{
    free(link->state);
    link->state = NULL;
}

static const ferry__link_type records = {
    .write = write_record,
    .sendfile = send_nothing,
    .splice = splice_nothing,
    .push = push_nothing,
    .receive = receive,
    .peek = receive_record,
    .receive_to_pipe = splice_nothing,
    .share = share_nothing,
    .shut_down = shut_down,
    .awaits = awaits,
    .unsent = unsent,
    .unacked = unacked,
    .close = let_go,
};

/* Before anything is asked of the stream: its owner has not looked at its link yet. */
static ferry_stream *adopt_with_records(ferry_service *service, int fd,
                                        ferry_stream_options options)
{
    ferry_stream *stream = stream_adopt_with(service, fd, options);
    stream->link.type = &records;
    stream->link.state = calloc(1, sizeof(record_link));
    check(stream->link.state != NULL);
    return stream;
}

/* ---- what streams do on it ------------------------------------------------------------------- */

typedef struct scene {
    ferry_service *service;
    ferry_stream *from;
    ferry_stream *to;
} scene;

static scene set_up(ferry_placement placement, int is_tcp, ferry_stream_options options)
{
    pair both = any_pair(is_tcp);
    scene set = {.service = service_start(placement)};
    set.from = adopt_with_records(set.service, both.ours, options);
    set.to = adopt_with_records(set.service, both.theirs, (ferry_stream_options){0});
    return set;
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

PROMISE_BOTH(links, memory_and_files_come_as_they_were_sent)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        scene set = set_up(placement, is_tcp, (ferry_stream_options){0});
        test_file file = file_make(FILE_BYTES, 7);
        unsigned char *came = calloc(1, ALL);
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
        free(came);
        file_remove(&file);
        tear_down(&set);
    }
}

PROMISE_BOTH(links, what_comes_is_stored_in_a_file_and_its_end_is_told)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        scene set = set_up(placement, is_tcp, (ferry_stream_options){0});
        test_file file = file_make(FILE_BYTES, 7), target = file_make(0, 0);
        ferry_file into = ferry_file_at(target.path);
        into.flags = FERRY_FILE_TRUNCATE;
        ferry_promise *stored;
        check_eq(ferry_stream_receive(set.to, &into, NULL, &stored), 0);
        check_eq(outcome(submit_file(set.from, ferry_file_at(file.path))).error, 0);
        check_eq(close_stream(set.from).error, 0);
        set.from = NULL;
        ferry_result result = outcome(stored);
        check_eq(result.error, 0);
        check_eq(result.sent, FILE_BYTES);
        check(result.at_end);
        check(digest_file(DIGEST_BEGIN, target.path, 0, FILE_BYTES) ==
              digest_content(DIGEST_BEGIN, 7, 0, FILE_BYTES));
        file_remove(&file);
        file_remove(&target);
        tear_down(&set);
    }
}

/* More than the sockets hold, both ways at once: each direction waits, with a record begun. */
PROMISE_BOTH(links, full_link_holds_neither_direction_up_for_good)
{
    enum { MUCH = 4 << 20 };
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        scene set = set_up(placement, is_tcp, (ferry_stream_options){0});
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
        free(content);
        free(there);
        free(back);
        tear_down(&set);
    }
}

PROMISE_BOTH(links, reader_gets_all_of_it_and_then_the_end)
{
    scene set = set_up(placement, 1, (ferry_stream_options){0});
    notes seen = {0};
    notes_set(set.to, &seen, true);
    for (unsigned i = 0; i < 100; i++)
        check_eq(ferry_stream_write(set.from, "twelve bytes", 12, NULL, NULL), 0);
    check_eq(close_stream(set.from).error, 0);
    set.from = NULL;
    notes_await_end(&seen);
    check_eq(seen.error, 0);
    check_eq(atomic_load(&seen.count), 1200);
    check(memcmp(seen.taken, "twelve bytestwelve", 18) == 0);
    tear_down(&set);
}

PROMISE_BOTH(links, request_is_confirmed_and_so_is_a_close)
{
    scene set = set_up(placement, 1, (ferry_stream_options){.close_timeout_ms = 60 * 1000});
    char came[6];
    ferry_promise *read = read_exactly(set.to, came, 6);
    const ferry_request_options options = {.completion = FERRY_ACKED};
    ferry_promise *acked;
    check_eq(ferry_stream_write(set.from, "acked\n", 6, &options, &acked), 0);
    check_eq(outcome(acked).error, 0);
    check_eq(outcome(read).sent, 6);
    ferry_promise *closed;
    check_eq(ferry_stream_close(set.from, &closed), 0);
    check_eq(close_stream(set.to).error, 0);
    set.to = NULL;
    check_eq(outcome(closed).error, 0);
    tear_down(&set);
}

PROMISE_BOTH(links, what_waits_for_a_full_link_is_called_off)
{
    scene set = set_up(placement, 0, (ferry_stream_options){0});
    char *much = calloc(1, STUCK_BYTES);
    ferry_promise *stuck = submit_write(set.from, much, STUCK_BYTES);
    ferry_promise *behind = submit_write(set.from, "x", 1);
    wait_readable(set.to->link.fd);
    check_eq(ferry_promise_cancel(behind), 0);
    check_eq(outcome(behind).error, -ECANCELED);
    check_eq(ferry_promise_cancel(stuck), 0);
    ferry_result result = outcome(stuck);
    check_eq(result.error, -ECANCELED);
    check(result.sent < STUCK_BYTES && result.sent + result.remaining == STUCK_BYTES);
    ferry_stream_abort(set.from);
    free(much);
    tear_down(&set);
}

PROMISE_BOTH(links, relay_to_such_a_stream_arrives_and_from_one_is_refused)
{
    pair out = any_pair(0);
    scene set = set_up(placement, 0, (ferry_stream_options){0});
    ferry_stream *plain = stream_adopt(set.service, out.ours);
    char came[6];
    ferry_promise *read = read_exactly(set.to, came, 6), *relayed;
    check_eq(ferry_stream_relay(plain, set.from, 6, 0, NULL, &relayed), 0);
    send_text(out.theirs, "plain\n");
    check_eq(outcome(relayed).sent, 6);
    check_eq(outcome(read).sent, 6);
    check(memcmp(came, "plain\n", 6) == 0);
    check_eq(ferry_stream_relay(set.to, plain, 6, 0, NULL, &relayed), 0);
    check_eq(outcome(relayed).error, -EOPNOTSUPP);
    ferry_stream_unref(plain);
    close(out.theirs);
    tear_down(&set);
}
