/* SPDX-License-Identifier: MIT */
/*
 * Many threads, few streams, mixed requests: every byte and every order checked at the far end.
 *
 * A request carries its own label: thread and number, then content that its label determines. The
 * peer parses the stream back into requests, checks each one's bytes, and that each thread's
 * numbers come in order; the receipts must agree with where it found them.
 */
#include "tests/support.h"

enum {
    THREADS = 8,
    STREAMS = 3,
    REQUESTS = 10000, /* of each thread */
    MOST_BODY = 3000,
    FILE_SIZE = 64 * 1024,
    KEPT = 64, /* promises a thread keeps to look at, of each so many requests */
};

typedef struct label {
    uint32_t magic;
    uint16_t thread;
    uint16_t is_file; /* the body is of the common file, from offset on */
    uint32_t number;
    uint32_t offset;
    uint32_t length;
} label;

static const uint32_t MAGIC = 0xfe44199a;

typedef struct parcel {
    ferry_promise *promise;
    label label;
} parcel;

typedef struct poster {
    unsigned number;
    uint64_t random;
    const test_file *file;
    ferry_stream **streams;
    uint64_t sent[STREAMS]; /* what this thread's requests add up to */
    unsigned callbacks;
    unsigned expected_callbacks;
} poster;

typedef struct parser {
    int fd;
    uint64_t bytes;
    uint32_t next[THREADS]; /* the least number that may come next from each thread */
    unsigned requests;
} parser;

/* ---- the far end ----------------------------------------------------------------------------- */

static bool read_exactly(parser *self, void *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t count = read(self->fd, (char *)data + done, size - done);
        check(count >= 0);
        if (count == 0) {
            check_eq(done, 0);
            return false;
        }
        done += (size_t)count;
    }
    self->bytes += size;
    return true;
}

static uint64_t body_seed(const label *head)
{
    return ((uint64_t)head->thread << 32) + head->number;
}

static void *parse(void *arg)
{
    parser *self = arg;
    label head;
    static _Thread_local unsigned char body[FILE_SIZE], expected[FILE_SIZE];
    while (read_exactly(self, &head, sizeof head)) {
        check_eq(head.magic, MAGIC);
        check(head.thread < THREADS && head.length <= FILE_SIZE);
        check(head.number >= self->next[head.thread]);
        self->next[head.thread] = head.number + 1;
        check(head.length == 0 || read_exactly(self, body, head.length));
        fill_content(expected, head.length, head.is_file ? 77 : body_seed(&head),
                     head.is_file ? head.offset : 0);
        check(memcmp(body, expected, head.length) == 0);
        self->requests++;
    }
    close(self->fd);
    return NULL;
}

/* ---- posting --------------------------------------------------------------------------------- */

static void note_callback(ferry_promise *, const ferry_result *result, void *arg)
{
    poster *self = arg;
    check_eq(result->error, 0);
    self->callbacks++;
}

/* Tries until the queue has room: its limit is small here, so that it is met. */
static ferry_promise *submit(ferry_stream *stream, const ferry_part parts[], size_t count)
{
    for (;;) {
        ferry_promise *promise;
        int error = ferry_stream_send(stream, parts, count, NULL, &promise);
        if (error == 0)
            return promise;
        check_eq(error, -EAGAIN);
        check_eq(outcome(submit_mark(stream)).error, 0);
    }
}

static ferry_promise *submit_memory(poster *self, ferry_stream *stream, label *head)
{
    head->length = (uint32_t)(random_next(&self->random) % MOST_BODY);
    unsigned char *data = malloc(sizeof *head + head->length);
    memcpy(data, head, sizeof *head);
    fill_content(data + sizeof *head, head->length, body_seed(head), 0);
    if (random_next(&self->random) % 2 == 0) {
        const ferry_part given = ferry_part_give(data, sizeof *head + head->length, NULL, NULL);
        return submit(stream, &given, 1);
    }
    const ferry_part parts[] = {
        ferry_part_copy(data, sizeof *head), ferry_part_copy(data + sizeof *head, head->length / 2),
        ferry_part_copy(data + sizeof *head + head->length / 2, head->length - head->length / 2)};
    ferry_promise *promise = submit(stream, parts, 3);
    free(data);
    return promise;
}

static ferry_promise *submit_range(poster *self, ferry_stream *stream, label *head)
{
    head->is_file = 1;
    head->offset = (uint32_t)(random_next(&self->random) % FILE_SIZE);
    head->length = (uint32_t)(random_next(&self->random) % (FILE_SIZE - head->offset));
    ferry_file range = random_next(&self->random) % 2 == 0 ? ferry_file_at(self->file->path)
                                                           : ferry_file_fd(self->file->fd);
    range.offset = head->offset;
    range.length = head->length;
    const ferry_part parts[] = {ferry_part_copy(head, sizeof *head), ferry_part_file(range)};
    return submit(stream, parts, 2);
}

static void check_receipt(const parcel *sent)
{
    check_outcome(sent->promise, .error = 0, .sent = sizeof(label) + sent->label.length,
                  .remaining = 0);
}

static void *post(void *arg)
{
    poster *self = arg;
    parcel kept[KEPT] = {0};
    for (unsigned i = 0; i < REQUESTS; i++) {
        unsigned which = (unsigned)(random_next(&self->random) % STREAMS);
        parcel *slot = &kept[i % KEPT];
        if (slot->promise != NULL)
            check_receipt(slot);
        slot->label = (label){.magic = MAGIC, .thread = (uint16_t)self->number, .number = i};
        slot->promise = random_next(&self->random) % 16 == 0
                            ? submit_range(self, self->streams[which], &slot->label)
                            : submit_memory(self, self->streams[which], &slot->label);
        self->sent[which] += sizeof(label) + slot->label.length;
        if (random_next(&self->random) % 4 == 0) {
            check_eq(ferry_promise_observe(slot->promise, note_callback, self, NULL), 0);
            self->expected_callbacks++;
        }
    }
    for (unsigned i = 0; i < KEPT; i++)
        check_receipt(&kept[i]);
    while (self->callbacks < self->expected_callbacks)
        check(ferry_inbox_run(-1) > 0);
    return NULL;
}

PROMISE_BOTH(stress, many_threads_mixed_requests_every_byte_and_order_checked)
{
    const ferry_service_options options = {
        .placement = placement, .shared_owners = 2, .chunk_bytes = 50000};
    AT_END(file_remove) test_file file = file_make(FILE_SIZE, 77);
    unsigned requests = 0;
    AT_END(destroy_service) ferry_service *service;
    check_eq(ferry_service_create(&options, &service), 0);
    ferry_stream *streams[STREAMS];
    parser parsers[STREAMS] = {0};
    pthread_t parsing[STREAMS], posting[THREADS];
    for (unsigned i = 0; i < STREAMS; i++) {
        pair both = any_pair(i % 2 == 0);
        streams[i] =
            stream_adopt_with(service, both.ours, (ferry_stream_options){.limit_requests = 300});
        parsers[i].fd = both.theirs;
        parsing[i] = start_thread(parse, &parsers[i]);
    }
    static poster posters[THREADS];
    uint64_t seed = random_seed();
    for (unsigned i = 0; i < THREADS; i++) {
        posters[i] = (poster){.number = i, .random = seed + i, .file = &file, .streams = streams};
        posting[i] = start_thread(post, &posters[i]);
    }
    join_threads(posting, THREADS);
    for (unsigned i = 0; i < STREAMS; i++) {
        check_eq(close_stream(streams[i]).error, 0);
        pthread_join(parsing[i], NULL);
        uint64_t sent = 0;
        for (unsigned p = 0; p < THREADS; p++)
            sent += posters[p].sent[i];
        check_eq(parsers[i].bytes, sent);
        requests += parsers[i].requests;
    }
    check_eq(requests, THREADS * REQUESTS);
}
