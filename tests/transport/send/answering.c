/* SPDX-License-Identifier: MIT */
/* Answers of a reader on the owner: larger ones leave before it returns, and stay in order. */
#include "core/mailbox.h"
#include "tests/support.h"

/* Every hop of whatever kind is one push to a mailbox: counted on its way (-Wl,--wrap). */
static atomic_uint hops;

WRAPPED(void, ferry__mailbox_push, (ferry__mailbox * mailbox, ferry__mail *mail))
{
    atomic_fetch_add(&hops, 1);
    __real_ferry__mailbox_push(mailbox, mail);
}

enum { LARGE = 16 * 1024, LARGER_THAN_A_PIECE = 100 * 1000, MOST = 2 << 20 };

static unsigned char content[MOST]; /* of all answers, one behind the other */

/* A reader that answers each byte. */
typedef struct answers {
    stage s;
    const size_t *sizes; /* of one byte's answers; ends with 0 */
    size_t size;         /* of all so far */
    bool stops;          /* between two answers: */
    atomic_bool has_stopped, may_go_on;
} answers;

static void stop(answers *self)
{
    atomic_store(&self->has_stopped, true);
    while (!atomic_load(&self->may_go_on))
        sched_yield();
}

static size_t answer(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg)
{
    (void)data, (void)at_end;
    answers *self = arg;
    for (size_t times = 0; times < length; times++) {
        for (const size_t *size = self->sizes; *size > 0; self->size += *size++) {
            if (size > self->sizes && self->stops)
                stop(self);
            check_eq(ferry_stream_write(stream, content + self->size, *size, NULL, NULL), 0);
        }
    }
    return length;
}

static void put_away(answers *self)
{
    stage_end(&self->s);
}

static void begin(answers *self, const size_t sizes[])
{
    self->s = stage_open(FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM));
    self->sizes = sizes;
    fill_content(content, sizeof content, 1, 0);
    const ferry_reader wanted = {.on_read = answer, .arg = self, .on_owner = true};
    check_eq(ferry_stream_set_reader(self->s.stream, &wanted), 0);
}

static void ask(const answers *self, size_t times)
{
    static const char bytes[100];
    check_eq(send(self->s.theirs, bytes, times, MSG_NOSIGNAL), (long long)times);
}

static void check_arrives(const answers *self, const void *expected, size_t size)
{
    static unsigned char got[MOST];
    check_eq(recv(self->s.theirs, got, size, MSG_WAITALL), (long long)size);
    check(memcmp(got, expected, size) == 0);
}

PROMISE(answering, large_answer_takes_no_hop_and_no_memory)
{
    AT_END(put_away) answers a = {0};
    begin(&a, (const size_t[]){LARGE, 0});
    unsigned hops_before = 0;
    unsigned long allocations = 0;
    for (unsigned i = 0; i < 20; i++) {
        ask(&a, 1);
        check_arrives(&a, content + (size_t)i * LARGE, LARGE);
        wait_until_asleep();
        if (i == 0) { /* the owner has its memory to read into */
            hops_before = atomic_load(&hops);
            allocations = allocations_made();
        }
    }
    check_eq(atomic_load(&hops), hops_before);
    check_eq(allocations_made(), allocations);
    check_eq(stream_status(a.s.stream).sent_bytes, 20 * LARGE);
}

PROMISE(answering, answers_of_all_sizes_stay_in_order)
{
    AT_END(put_away) answers a = {0};
    begin(&a, (const size_t[]){LARGE, 10, LARGE, 5000, 1, 0});
    enum { TIMES = 3, ALL = TIMES * (2 * LARGE + 10 + 5000 + 1) };
    ask(&a, TIMES);
    check_arrives(&a, content, ALL);
    check_outcome(submit_write(a.s.stream, "x", 1), .sent = 1, .stream_offset = ALL);
}

PROMISE(answering, answers_that_the_socket_does_not_take_at_once_leave_later)
{
    AT_END(put_away) answers a = {0};
    begin(&a, (const size_t[]){LARGER_THAN_A_PIECE, 0});
    for (unsigned i = 0; i < 4; i++) {
        ask(&a, 4);
        wait_until_asleep(); /* the socket is full */
        check_arrives(&a, content + (size_t)i * 4 * LARGER_THAN_A_PIECE, 4 * LARGER_THAN_A_PIECE);
    }
}

PROMISE(answering, answer_stays_behind_what_another_thread_wrote_before)
{
    AT_END(put_away) answers a = {.stops = true};
    begin(&a, (const size_t[]){LARGE, LARGE, 0});
    ask(&a, 1);
    while (!atomic_load(&a.has_stopped))
        sched_yield();
    check_eq(ferry_stream_write(a.s.stream, "x", 1, NULL, NULL), 0);
    ask(&a, 1); /* its turn is also that of what is queued by then */
    atomic_store(&a.may_go_on, true);
    check_arrives(&a, content, LARGE);
    check_arrives(&a, "x", 1);
    check_arrives(&a, content + LARGE, 3 * LARGE);
}

PROMISE(answering, answer_of_which_a_part_had_left_fails_midway_without_memory)
{
    AT_END(put_away) answers a = {0};
    begin(&a, (const size_t[]){LARGER_THAN_A_PIECE, 0});
    ask(&a, 1);
    check_arrives(&a, content, LARGER_THAN_A_PIECE);
    wait_until_asleep();
    fail_allocation(1);
    ask(&a, 10); /* there is no memory for what the socket does not take */
    wait_until_asleep();
    allow_allocations();
    check_outcome(submit_write(a.s.stream, "x", 1), .error = -ECANCELED,
                  .cause = FERRY_CAUSE_BROKEN);
}
