/* SPDX-License-Identifier: MIT */
/* Reading much, by many, while things fail: every byte arrives once, in its place. */
#include "tests/notes.h"

/* ---- by hash --------------------------------------------------------------------------------- */

enum { MANY = 64 << 20, SEED = 5 };

/* A reader that hashes what it takes. */
typedef struct hasher {
    uint64_t count;
    uint64_t digest;
    size_t most;    /* takes no more at once; 0: all there is */
    size_t slow_us; /* after so many calls it waits a little; 0: never */
    uint64_t calls;
    int error;
    atomic_bool is_over;
} hasher;

static size_t hash(ferry_stream *, const void *data, size_t length, bool, void *arg)
{
    hasher *self = arg;
    size_t size = self->most == 0 || length < self->most ? length : self->most;
    self->digest = digest(self->digest, data, size);
    self->count += size;
    self->calls++;
    if (self->slow_us > 0 && self->calls % 64 == 0)
        usleep((useconds_t)self->slow_us);
    return size;
}

static void end_hash(ferry_stream *, int error, void *arg)
{
    hasher *self = arg;
    self->error = error;
    atomic_store(&self->is_over, true);
}

static void await_hash(hasher *self)
{
    while (!atomic_load(&self->is_over))
        (void)ferry_inbox_run(10);
}

static void hash_many(ferry_placement placement, bool is_tcp, bool on_owner, hasher self)
{
    AT_END(stage_end) stage s = stage_open(placement, any_pair(is_tcp));
    self.digest = DIGEST_BEGIN;
    set_reader(
        s.stream,
        (ferry_reader){.on_read = hash, .on_end = end_hash, .arg = &self, .on_owner = on_owner});
    talker *peer = talker_start(s.theirs, SEED, MANY);
    await_hash(&self);
    talker_join(peer);
    check_eq(self.error, 0);
    check_eq(self.count, MANY);
    check(self.digest == digest_content(DIGEST_BEGIN, SEED, 0, MANY));
}

PROMISE_EITHER(reading_traffic, many_megabytes_arrive_whole_at_a_reader_of_another_thread)
{
    hash_many(placement, true, false, (hasher){0});
}

PROMISE_EITHER(reading_traffic, many_megabytes_arrive_whole_at_a_reader_on_the_owner)
{
    hash_many(placement, true, true, (hasher){0});
}

PROMISE_EITHER(reading_traffic, many_megabytes_arrive_whole_at_slow_readers_that_take_a_little)
{
    hash_many(placement, false, false, (hasher){.most = 10007, .slow_us = 50});
    hash_many(placement, false, true, (hasher){.most = 10007});
}

PROMISE_EITHER(reading_traffic, many_megabytes_arrive_whole_by_reads)
{
    enum { PIECE = 100000, AT_ONCE = 4 };
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    talker *peer = talker_start(s.theirs, SEED, MANY);
    static unsigned char data[AT_ONCE][PIECE];
    ferry_promise *reads[AT_ONCE];
    uint64_t sum = DIGEST_BEGIN, count = 0;
    bool at_end = false;
    for (unsigned i = 0; i < AT_ONCE; i++)
        reads[i] = submit_read(s.stream, (ferry_read){data[i], PIECE, FERRY_READ_SOME});
    for (unsigned i = 0; !at_end; i = (i + 1) % AT_ONCE) {
        ferry_result result = outcome(reads[i]);
        check_eq(result.error, 0);
        check_eq(result.stream_offset, count);
        sum = digest(sum, data[i], result.sent);
        count += result.sent;
        at_end = result.at_end;
        ferry_read_mode mode = i % 2 ? FERRY_READ_SOME : FERRY_READ_EXACTLY;
        reads[i] = submit_read(s.stream, (ferry_read){data[i], PIECE, mode});
    }
    for (unsigned i = 0; i < AT_ONCE; i++)
        check_eq(outcome(reads[i]).sent, 0);
    talker_join(peer);
    check_eq(count, MANY);
    check(sum == digest_content(DIGEST_BEGIN, SEED, 0, MANY));
}

/* ---- both directions ------------------------------------------------------------------------- */

PROMISE_EITHER(reading_traffic, full_sink_does_not_keep_a_stream_from_reading)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        notes seen = {0};
        stage s = stage_open(placement, any_pair(on_owner));
        ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
        notes_set(s.stream, &seen, on_owner);
        for (size_t i = 1; i <= 20; i++) {
            send_text(s.theirs, "x");
            notes_await(&seen, i);
            /* What must wait behind the full sink disturbs nothing. */
            check_eq(ferry_stream_write(s.stream, "y", 1, NULL, NULL), 0);
        }
        char data[4];
        ferry_promise *read = submit_read(s.stream, (ferry_read){data, 4, FERRY_READ_EXACTLY});
        send_text(s.theirs, "read");
        check_eq(outcome(read).sent, 4);
        stage_let_read(&s);
        check_eq(outcome(stuck).error, 0);
        stage_close_got_bytes(&s, STUCK_BYTES + 20);
        notes_await_end(&seen);
    }
}

PROMISE_EITHER(reading_traffic, two_streams_that_both_flood_read_all_that_comes)
{
    AT_END(free_memory) unsigned char *data = malloc(MANY);
    fill_content(data, MANY, SEED, 0);
    uint64_t expected = digest(DIGEST_BEGIN, data, MANY);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        hasher hashers[2] = {{.digest = DIGEST_BEGIN}, {.digest = DIGEST_BEGIN}};
        AT_END(destroy_service) ferry_service *service = service_start(placement);
        pair both = any_pair(is_tcp);
        const int fds[2] = {both.ours, both.theirs};
        ferry_stream *streams[2];
        ferry_promise *sent[2];
        const ferry_part part = ferry_part_borrow(data, MANY);
        for (int i = 0; i < 2; i++)
            streams[i] = stream_adopt_with(service, fds[i],
                                           (ferry_stream_options){.limit_bytes = 2 * (size_t)MANY});
        for (int i = 0; i < 2; i++) {
            check_eq(ferry_stream_send(streams[i], &part, 1, NULL, &sent[i]), 0);
            set_reader(streams[i], (ferry_reader){.on_read = hash,
                                                  .on_end = end_hash,
                                                  .arg = &hashers[i],
                                                  .on_owner = i == 0 || !is_tcp,
                                                  .keep_open = true});
            check_eq(ferry_stream_shutdown(streams[i], NULL), 0);
        }
        for (int i = 0; i < 2; i++) {
            await_hash(&hashers[i]);
            check_eq(hashers[i].error, 0);
            check_eq(hashers[i].count, MANY);
            check(hashers[i].digest == expected);
            check_eq(outcome(sent[i]).sent, MANY);
        }
        for (int i = 0; i < 2; i++)
            ferry_stream_unref(streams[i]);
    }
}

/* ---- failures -------------------------------------------------------------------------------- */

enum { SWEPT = 20000, LINE = 100, PIECE = 5000 };

/* What one run has read, in the order of the bytes. */
typedef struct story {
    unsigned char bytes[SWEPT];
    size_t count;
    bool has_reader;
    int error; /* the first that anything said */
    atomic_int ends;
} story;

static void note_error(story *this, int error)
{
    if (this->error == 0)
        this->error = error;
}

static void note_bytes(story *this, const void *data, size_t size)
{
    check(this->count + size <= sizeof this->bytes);
    memcpy(this->bytes + this->count, data, size);
    this->count += size;
}

static size_t note_some(ferry_stream *, const void *data, size_t length, bool at_end, void *arg)
{
    check_eq(atomic_load(&((story *)arg)->ends), 0);
    if (length < LINE && !at_end)
        return 0;
    size_t size = length < LINE ? length : LINE;
    note_bytes(arg, data, size);
    return size;
}

static void note_last(ferry_stream *, int error, void *arg)
{
    story *this = arg;
    note_error(this, error);
    atomic_fetch_add(&this->ends, 1);
}

static void read_once(story *this, ferry_stream *stream, ferry_read_mode mode, size_t size)
{
    static unsigned char data[PIECE];
    const ferry_read wanted = {data, size, mode, "\xff\xfe", 2};
    ferry_promise *promise;
    int error = ferry_stream_read(stream, &wanted, NULL, &promise);
    if (error != 0) {
        note_error(this, error);
        return;
    }
    ferry_result result = outcome(promise);
    if (result.error == 0)
        check_eq(result.stream_offset, this->count);
    else
        check_eq(result.sent, 0);
    note_bytes(this, data, result.sent);
    if (result.error != -EMSGSIZE)
        note_error(this, result.error);
}

/* Reads, a line's end that does not come in time, a reader for the rest. */
static void live_once(ferry_placement placement, bool on_owner, ferry_faults *faults, story *this)
{
    ferry_service *service;
    const ferry_service_options options = {.placement = placement, .shared_owners = 1};
    if (ferry_service_create(&options, &service) != 0) {
        note_error(this, -ENOMEM);
        return;
    }
    AT_END(close_theirs) pair both = any_pair(on_owner);
    const ferry_stream_options adopted = {.faults = faults};
    ferry_stream *stream;
    int error = ferry_stream_adopt(service, both.ours, &adopted, &stream);
    if (error != 0) {
        note_error(this, error);
        close(both.ours);
        ferry_service_destroy(service);
        return;
    }
    talker *peer = talker_start_slow(both.theirs, SEED, SWEPT, 3000, 0);
    read_once(this, stream, FERRY_READ_EXACTLY, PIECE);
    read_once(this, stream, FERRY_READ_UNTIL, LINE);
    read_once(this, stream, FERRY_READ_SOME, LINE);
    const ferry_reader wanted = {.on_read = note_some,
                                 .on_end = note_last,
                                 .arg = this,
                                 .on_owner = on_owner,
                                 .high_bytes = 2 * LINE};
    error = ferry_stream_set_reader(stream, &wanted);
    if (error != 0)
        note_error(this, error); /* else it is the reader's to note */
    while (error == 0 && atomic_load(&this->ends) == 0)
        (void)ferry_inbox_run(10);
    ferry_stream_unref(stream);
    talker_join(peer);
    ferry_service_destroy(service);
    check_eq(ferry_inbox_run(0), 0);
}

/* What was read is what was sent, from its beginning on;
 * and all of it, if nothing says otherwise. */
static void check_story(const story *this, bool may_be_cut)
{
    static unsigned char content[SWEPT];
    fill_content(content, sizeof content, SEED, 0);
    check(memcmp(this->bytes, content, this->count) == 0);
    if (this->error == 0 && !may_be_cut)
        check_eq(this->count, SWEPT);
    check(atomic_load(&this->ends) <= 1);
}

typedef struct kind {
    ferry_fault_call call;
    ferry_fault_effect effect;
    int error;
    uint64_t times;
} kind;

static const kind kinds[] = {
    {FERRY_CALL_READ, FERRY_FAULT_SHORT, 0, 1},
    {FERRY_CALL_READ, FERRY_FAULT_SHORT, 0, 50},
    {FERRY_CALL_READ, FERRY_FAULT_EOF, 0, 1},
    {FERRY_CALL_READ, FERRY_FAULT_ERROR, EINTR, 1},
    {FERRY_CALL_READ, FERRY_FAULT_ERROR, EINTR, 5},
    {FERRY_CALL_READ, FERRY_FAULT_ERROR, EAGAIN, 1},
    {FERRY_CALL_READ, FERRY_FAULT_ERROR, EAGAIN, 3},
    {FERRY_CALL_READ, FERRY_FAULT_ERROR, ECONNRESET, 1},
    {FERRY_CALL_READ, FERRY_FAULT_ERROR, ECONNRESET, UINT64_MAX},
    {FERRY_CALL_ANY, FERRY_FAULT_ERROR, ENOMEM, 1},
};

static uint64_t sweep(ferry_placement placement, bool on_owner, const kind *which)
{
    uint64_t injected = 0, calls = 1;
    for (uint64_t k = 1; k <= calls; k++) {
        const ferry_fault fault = {which->call, k, which->times, which->effect, which->error};
        AT_END(drop_faults) ferry_faults *faults = faults_of(fault);
        story this = {0};
        live_once(placement, on_owner, faults, &this);
        check_story(&this, which->effect == FERRY_FAULT_EOF);
        bool is_harmless = which->effect == FERRY_FAULT_SHORT || which->error == EINTR ||
                           which->error == EAGAIN || which->effect == FERRY_FAULT_EOF;
        if (is_harmless)
            check_eq(this.error, 0);
        else if (ferry_faults_get_injected(faults) > 0)
            check_eq(this.error, -which->error);
        injected += ferry_faults_get_injected(faults);
        calls = ferry_faults_get_calls(faults, which->call);
    }
    return injected;
}

PROMISE_EITHER(reading_traffic, any_fault_at_any_call_is_told_and_what_was_read_is_a_beginning)
{
    uint64_t injected = 0;
    for (int on_owner = 0; on_owner < 2; on_owner++)
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
            injected += sweep(placement, on_owner, &kinds[i]);
    (void)fprintf(stderr, "reading: %llu faults injected\n", (unsigned long long)injected);
    check(injected > 200);
}

PROMISE_EITHER(reading_traffic, any_failing_allocation_is_told_and_what_was_read_is_a_beginning)
{
    check_eq(ferry_inbox_run(0), 0); /* this thread's inbox is there before memory runs out */
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        shortage memory = {0};
        while (next_allocation_fails(&memory)) {
            story this = {0};
            live_once(placement, on_owner, NULL, &this);
            check_story(&this, false);
            check(this.error == 0 || this.error == -ENOMEM || this.error == -ECANCELED);
        }
        check(memory.failures > 8);
    }
}

/* ---- stress ---------------------------------------------------------------------------------- */

/*
 * What the peers send are records, each with its number in it. Whoever reads takes whole ones, so
 * that each can be ticked off wherever it arrives: reads that are called off take none.
 */
enum { RECORD = 8, RECORDS = 6000, STREAMS = 3, THREADS = 4, STEPS = 300, PENDING = 6, MOST = 20 };

typedef struct course {
    ferry_stream *stream;
    int theirs;
    pthread_t sender;
    atomic_uchar ticks[RECORDS];
    atomic_bool is_over; /* the last reader was told the end */
    int error;
} course;

static void *send_records(void *arg)
{
    const course *self = arg;
    char batch[50 * RECORD + 1];
    for (unsigned i = 0; i < RECORDS;) {
        size_t size = 0;
        for (; size < sizeof batch - 1 && i < RECORDS; size += RECORD, i++)
            snprintf(batch + size, RECORD + 1, "%07u\n", i);
        for (size_t done = 0; done < size;) {
            size_t step = 1 + i % 97 < size - done ? 1 + i % 97 : size - done; /* cut anywhere */
            ssize_t count = send(self->theirs, batch + done, step, MSG_NOSIGNAL);
            check(count > 0);
            done += (size_t)count;
        }
    }
    close(self->theirs);
    return NULL;
}

static void tick(course *self, const void *data, size_t size)
{
    check_eq(size % RECORD, 0);
    const char *records = data;
    unsigned first = size > 0 ? (unsigned)atoi(records) : 0;
    for (size_t i = 0; i < size / RECORD; i++) {
        check_eq(atoi(records + i * RECORD), first + i);
        check_eq(atomic_fetch_add(&self->ticks[first + i], 1), 0);
    }
}

/* Takes some of the whole records: how many depends on the first, as good as chance. */
static size_t take_records(ferry_stream *, const void *data, size_t length, bool, void *arg)
{
    size_t whole = length / RECORD;
    if (whole == 0)
        return 0;
    uint64_t chance = (uint64_t)atoi(data);
    size_t count = random_next(&chance) % (whole + 1);
    if (count == 0)
        count = whole;
    tick(arg, data, count * RECORD);
    return count * RECORD;
}

static size_t take_all_records(ferry_stream *, const void *data, size_t length, bool, void *arg)
{
    size_t size = length / RECORD * RECORD;
    if (size > 0)
        tick(arg, data, size);
    return size;
}

static void end_course(ferry_stream *, int error, void *arg)
{
    course *self = arg;
    self->error = error;
    atomic_store(&self->is_over, true);
}

typedef struct pending {
    ferry_promise *promise;
    course *whose;
    char data[MOST * RECORD];
} pending;

typedef struct worker {
    pthread_t thread;
    course *courses;
    atomic_uint *ready; /* how many have taken all their steps */
    atomic_bool *done;
    uint64_t random;
    pending reads[PENDING];
} worker;

static void finish_read(pending *read)
{
    if (read->promise == NULL)
        return;
    ferry_result result = outcome(read->promise);
    read->promise = NULL;
    check(result.error == 0 || result.error == -ECANCELED || result.error == -ETIMEDOUT);
    check_eq(result.stream_offset % RECORD, 0);
    if (result.error != 0)
        check_eq(result.sent, 0);
    tick(read->whose, read->data, result.sent);
}

static void start_read(worker *self, course *whose, pending *read)
{
    finish_read(read);
    size_t size = (1 + random_next(&self->random) % MOST) * RECORD;
    ferry_read wanted = {read->data, size, FERRY_READ_EXACTLY};
    if (random_next(&self->random) % 3 == 0)
        wanted = (ferry_read){read->data, size, FERRY_READ_UNTIL, "\n", 1};
    const ferry_request_options soon = {.timeout_ms = random_next(&self->random) % 4 == 0};
    read->whose = whose;
    check_eq(ferry_stream_read(whose->stream, &wanted, &soon, &read->promise), 0);
}

static void set_some_reader(worker *self, course *whose)
{
    ferry_reader wanted = {.on_read = take_records, .arg = whose, .keep_open = true};
    wanted.on_owner = random_next(&self->random) % 2;
    wanted.shots = (int64_t)(random_next(&self->random) % 3);
    wanted.high_bytes = 100 + random_next(&self->random) % 1000;
    bool is_none = random_next(&self->random) % 4 == 0;
    check_eq(ferry_stream_set_reader(whose->stream, is_none ? NULL : &wanted), 0);
}

static void take_step(worker *self)
{
    course *whose = &self->courses[random_next(&self->random) % STREAMS];
    pending *read = &self->reads[random_next(&self->random) % PENDING];
    switch (random_next(&self->random) % 8) {
    case 0:
        set_some_reader(self, whose);
        return;
    case 1:
        check_eq(ferry_stream_demand(whose->stream, (int64_t)(random_next(&self->random) % 4) - 1),
                 0);
        return;
    case 2:
        check_eq(ferry_stream_read_within(whose->stream, 60000), 0);
        return;
    case 3:
        if (read->promise != NULL)
            (void)ferry_promise_cancel(read->promise);
        return;
    case 4:
        (void)ferry_inbox_run(0);
        return;
    default:
        start_read(self, whose, read);
    }
}

static void *work(void *arg)
{
    worker *self = arg;
    for (unsigned i = 0; i < STEPS; i++)
        take_step(self);
    for (unsigned i = 0; i < PENDING; i++)
        finish_read(&self->reads[i]);
    atomic_fetch_add(self->ready, 1);
    /* Loans of this thread's readers come back as long as it runs its inbox. */
    while (!atomic_load(self->done))
        (void)ferry_inbox_run(1);
    return NULL;
}

PROMISE_EITHER(reading_traffic, every_record_arrives_once_whoever_asks_for_whatever)
{
    uint64_t seed = random_seed();
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    static course courses[STREAMS];
    static worker workers[THREADS];
    atomic_uint ready = 0;
    atomic_bool done = false;
    for (int i = 0; i < STREAMS; i++) {
        pair both = any_pair(i & 1);
        courses[i].theirs = both.theirs;
        courses[i].stream = stream_adopt(service, both.ours);
        courses[i].sender = start_thread(send_records, &courses[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].courses = courses;
        workers[i].done = &done;
        workers[i].ready = &ready;
        workers[i].random = seed + i;
        workers[i].thread = start_thread(work, &workers[i]);
    }
    while (atomic_load(&ready) < THREADS)
        (void)ferry_inbox_run(1);
    for (int i = 0; i < STREAMS; i++) {
        set_reader(courses[i].stream, (ferry_reader){.on_read = take_all_records,
                                                     .on_end = end_course,
                                                     .arg = &courses[i],
                                                     .on_owner = true});
    }
    for (int i = 0; i < STREAMS; i++) {
        while (!atomic_load(&courses[i].is_over))
            (void)ferry_inbox_run(10);
        check_eq(courses[i].error, 0);
        check_eq(pthread_join(courses[i].sender, NULL), 0);
        ferry_stream_unref(courses[i].stream);
    }
    atomic_store(&done, true);
    for (unsigned i = 0; i < THREADS; i++)
        check_eq(pthread_join(workers[i].thread, NULL), 0);
    for (unsigned i = 0; i < STREAMS * RECORDS; i++)
        check_eq(atomic_load(&courses[i / RECORDS].ticks[i % RECORDS]), 1);
}
