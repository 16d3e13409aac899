/* SPDX-License-Identifier: MIT */
/* Invariant order: what was submitted first leaves first. */
#include "tests/support.h"

/* Numbered records of four bytes, so that order shows in what the peer reads. */
static void write_number(ferry_stream *stream, uint32_t number)
{
    check_eq(ferry_stream_write(stream, &number, sizeof number, NULL, NULL), 0);
}

static uint32_t number_at(const reader *peer, size_t index)
{
    uint32_t number;
    memcpy(&number, peer->kept + index * sizeof number, sizeof number);
    return number;
}

/* Pins: order. */
PROMISE_BOTH(order, submits_of_one_thread_keep_program_order)
{
    enum { COUNT = 20000 };
    stage s = stage_open(placement, tcp_pair());
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    for (uint32_t i = 0; i < COUNT; i++)
        write_number(s.stream, i);
    stage_close(&s);
    reader_join(peer);
    check_eq(peer->bytes, COUNT * sizeof(uint32_t));
    for (uint32_t i = 0; i < COUNT; i++)
        check_eq(number_at(peer, i), i);
}

/* Two threads that hand the turn to each other: each submit begins after the other's returned. */
typedef struct turns {
    ferry_stream *stream;
    atomic_uint next;
    unsigned total;
} turns;

typedef struct turn_taker {
    turns *shared;
    unsigned parity;
} turn_taker;

static void *take_turns(void *arg)
{
    const turn_taker *self = arg;
    turns *shared = self->shared;
    for (unsigned i = self->parity; i < shared->total; i += 2) {
        while (atomic_load(&shared->next) != i)
            sched_yield();
        write_number(shared->stream, i);
        atomic_store(&shared->next, i + 1);
    }
    return NULL;
}

/* Pins: order. */
PROMISE_BOTH(order, submit_that_began_after_another_threads_returned_leaves_after_it)
{
    enum { COUNT = 4000 };
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    turns shared = {.stream = s.stream, .total = COUNT};
    turn_taker takers[2] = {{&shared, 0}, {&shared, 1}};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++)
        threads[i] = start_thread(take_turns, &takers[i]);
    join_threads(threads, 2);
    stage_close(&s);
    reader_join(peer);
    for (uint32_t i = 0; i < COUNT; i++)
        check_eq(number_at(peer, i), i);
}

/* A callback on the owner submits: it must not overtake what other threads queued before. */
static void submit_more(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    write_number(arg, UINT32_MAX);
}

PROMISE_BOTH(order, owners_own_submits_do_not_overtake_queued_ones)
{
    enum { COUNT = 1000 };
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    const ferry_request_options options = calling_on_owner(submit_more, s.stream);
    check_eq(ferry_stream_write(s.stream, "", 0, &options, NULL), 0);
    for (uint32_t i = 0; i < COUNT; i++)
        write_number(s.stream, i);
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    check_eq(outcome(stuck).error, 0);
    check_eq(outcome(submit_mark(s.stream)).error,
             0); /* the callback has run, so its write is queued */
    stage_close(&s);
    reader_join(peer);
    check_eq(peer->bytes, STUCK_BYTES + (COUNT + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < COUNT; i++)
        check_eq(number_at(peer, STUCK_BYTES / 4 + i), i);
    check_eq(number_at(peer, STUCK_BYTES / 4 + COUNT), UINT32_MAX);
}

/* ---- compounds ------------------------------------------------------------------------------- */

enum { SENDERS = 4, COMPOUNDS = 300, PART = 700 };

typedef struct sender {
    ferry_stream *stream;
    test_file *file;
    unsigned char letter;
} sender;

static void *send_compounds(void *arg)
{
    const sender *self = arg;
    char head[PART], tail[PART];
    memset(head, self->letter, sizeof head);
    memset(tail, self->letter + 1, sizeof tail);
    ferry_file file = ferry_file_fd(self->file->fd);
    file.offset = 0;
    for (unsigned i = 0; i < COMPOUNDS; i++) {
        const ferry_part parts[] = {ferry_part_copy(head, sizeof head), ferry_part_file(file),
                                    ferry_part_copy(tail, sizeof tail)};
        check_eq(ferry_stream_send(self->stream, parts, 3, NULL, NULL), 0);
    }
    return NULL;
}

static void check_all(const unsigned char *data, size_t size, unsigned char value)
{
    for (size_t i = 0; i < size; i++)
        check_eq(data[i], value);
}

/* Pins: order. */
PROMISE_BOTH(order, parts_of_a_compound_are_contiguous_among_many_threads)
{
    AT_END(file_remove) test_file file = file_make(PART, 11);
    unsigned char content[PART];
    fill_content(content, PART, 11, 0);
    stage s = stage_open(placement, tcp_pair());
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    sender senders[SENDERS];
    pthread_t threads[SENDERS];
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (sender){s.stream, &file, (unsigned char)('A' + 2 * i)};
        threads[i] = start_thread(send_compounds, &senders[i]);
    }
    join_threads(threads, SENDERS);
    stage_close(&s);
    reader_join(peer);
    check_eq(peer->bytes, SENDERS * COMPOUNDS * 3 * PART);
    for (const unsigned char *at = peer->kept; at < peer->kept + peer->bytes; at += 3 * PART) {
        check_all(at, PART, at[0]);
        check(memcmp(at + PART, content, PART) == 0);
        check_all(at + 2 * PART, PART, (unsigned char)(at[0] + 1));
    }
}
