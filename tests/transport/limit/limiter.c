/* SPDX-License-Identifier: MIT */
/* Limiters, on a clock of the test's own: nothing here sleeps or measures. */
#include "transport/limit/limiter.h"

#include "core/clock.h"
#include "tests/support.h"

enum {
    MS = FERRY__NS_PER_MS,
    CHUNK = 256 * 1024,   /* what a stream would like to move at once */
    LATEST_NS = 2 * MS,   /* how late its thread wakes at most */
    FREE_TURN_NS = 1 * MS /* how long moving a chunk takes where there is no limit */
};

#define S (INT64_C(1000) * MS)

static void check_within(uint64_t got, uint64_t expected, unsigned percent)
{
    uint64_t slack = expected / 100 * percent + 1; /* a byte, at the lowest rates */
    if (got + slack < expected || got > expected + slack)
        check_eq(got, expected);
}

/* ---- simulated streams ----------------------------------------------------------------------- */

typedef struct member {
    ferry__allotment allotment;
    uint64_t message; /* it moves as much whenever it may move anything; 0: what it may */
    bool gives_up;    /* it never moves anything, but returns what it is granted, or waits for */
    uint64_t moved;
    uint64_t asked; /* how often */
    int64_t next;   /* when it asks again */
} member;

static uint64_t lateness; /* the state of the threads' waking late */

/* A stream with an endless file and a sink that takes all: moves what it may at this time. */
static void member_run(member *self, int64_t now)
{
    uint64_t bytes;
    do {
        self->next = now + FREE_TURN_NS;
        self->asked++;
        bytes = ferry__allotment_ask(&self->allotment, CHUNK, now, &self->next);
        check(bytes <= CHUNK && self->next > now && self->next <= now + 50 * MS);
        if (self->gives_up) {
            ferry__allotment_return(&self->allotment);
            return;
        }
        if (bytes > 0 && self->message > 0)
            bytes = self->message;
        ferry__allotment_use(&self->allotment, bytes);
        self->moved += bytes;
    } while (bytes > 0 && !self->allotment.is_free);
    self->next += (int64_t)(random_next(&lateness) % LATEST_NS);
}

/* All that have one limiter, or one above theirs. */
typedef struct group {
    unsigned count;
    member members[1000];
} group;

static group group_make(unsigned count, ferry_limiter *limiter)
{
    group made = {.count = count};
    lateness = random_seed();
    for (unsigned i = 0; i < count; i++)
        made.members[i].allotment.limiter = limiter;
    return made;
}

static void group_end(group *self)
{
    for (unsigned i = 0; i < self->count; i++)
        ferry__allotment_return(&self->members[i].allotment);
}

static member *next_of(group *self)
{
    member *next = self->members;
    for (member *one = next; one < self->members + self->count; one++)
        if (one->next < next->next)
            next = one;
    return next;
}

static uint64_t moved_by(const group *self)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < self->count; i++)
        sum += self->members[i].moved;
    return sum;
}

/* Lets them run up to a time. @return what they moved in all. */
static uint64_t run_until(group *self, int64_t until)
{
    uint64_t before = moved_by(self);
    for (member *next; (next = next_of(self))->next < until;)
        member_run(next, next->next);
    return moved_by(self) - before;
}

/* All that may be moved at one time. */
static uint64_t take_whole(ferry__allotment *allotment, int64_t now)
{
    uint64_t sum = 0;
    int64_t when;
    for (uint64_t bytes; (bytes = ferry__allotment_ask(allotment, CHUNK, now, &when)) > 0;) {
        ferry__allotment_use(allotment, bytes);
        sum += bytes;
    }
    return sum;
}

/* ---- one stream ------------------------------------------------------------------------------ */

PROMISE(limiter, stream_moves_at_the_rate_within_a_per_cent_whatever_the_rate)
{
    static const uint64_t rates[] = {1,     3,       20,       100,        999,
                                     10000, 1000000, 12345678, 1000000000, UINT64_C(1) << 35};
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(rates[i], 0, NULL);
        AT_END(group_end) group one = group_make(1, limiter);
        check_within(run_until(&one, 5 * S), 5 * rates[i], 1);
    }
}

PROMISE(limiter, waiting_stream_asks_about_fifty_times_a_second)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 0, NULL);
    AT_END(group_end) group one = group_make(1, limiter);
    (void)run_until(&one, 5 * S);
    check(one.members[0].asked < 5 * 2 * 50 + 10); /* once in vain, once not */
}

PROMISE(limiter, burst_leaves_at_once_after_idling_and_no_more)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 300000, NULL);
    ferry__allotment allotment = {.limiter = limiter};
    check_eq(take_whole(&allotment, 0), 300000); /* it is there from the beginning */
    check_eq(take_whole(&allotment, 0), 0);
    check_eq(take_whole(&allotment, 100 * MS), 100000);
    ferry__allotment_return(&allotment);
    check_eq(take_whole(&allotment, 200 * MS), 100000); /* part of it */
    ferry__allotment_return(&allotment);
    check_eq(take_whole(&allotment, 100 * S), 300000); /* no more than all */
    ferry__allotment_return(&allotment);
}

PROMISE(limiter, burst_is_what_the_rate_gives_in_20_ms_or_at_least_in_5)
{
    static const struct {
        uint64_t bytes_per_s, asked, burst;
    } cases[] = {{1000000, 0, 20000}, {1000000, 1, 5000}, {10, 0, 1}, {10, 1, 1}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        AT_END(drop_limiter)
        ferry_limiter *limiter = limiter_make(cases[i].bytes_per_s, cases[i].asked, NULL);
        ferry__allotment allotment = {.limiter = limiter};
        check_eq(take_whole(&allotment, 0), cases[i].burst);
        ferry__allotment_return(&allotment);
    }
}

PROMISE(limiter, greatest_rate_and_burst_overflow_nothing)
{
    uint64_t most = UINT64_C(1) << 50;
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(most, most, NULL);
    ferry__allotment allotment = {.limiter = limiter};
    int64_t when, late = FERRY__NEVER / 2;
    check_eq(ferry__allotment_ask(&allotment, UINT64_MAX, 0, &when), 1024 * 1024);
    ferry__allotment_use(&allotment, UINT64_C(1) << 30);
    check_eq(ferry__allotment_ask(&allotment, UINT64_MAX, late, &when), 1024 * 1024);
    check_eq(ferry__limiter_set_rate_at(limiter, 1, most, late), 0);
    check_eq(ferry__allotment_ask(&allotment, 1, late, &when), 1);
    ferry__allotment_return(&allotment);
}

/* ---- groups ---------------------------------------------------------------------------------- */

PROMISE(limiter, members_of_a_group_get_equal_shares_of_its_rate)
{
    static const uint64_t rates[] = {1000000, 1000, 1000000000};
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(rates[i], 0, NULL);
        AT_END(group_end) group all = group_make(10, limiter);
        check_within(run_until(&all, 5 * S), 5 * rates[i], 1);
        for (unsigned n = 0; n < 10; n++)
            check_within(all.members[n].moved, 5 * rates[i] / 10, 10);
    }
}

PROMISE(limiter, members_of_a_crowd_get_equal_shares_once_all_have_asked)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(10000000, 0, NULL);
    AT_END(group_end) group all = group_make(1000, limiter);
    check_within(run_until(&all, 1 * S), 10000000, 3);
    for (unsigned i = 0; i < 1000; i++)
        all.members[i].moved = 0;
    check_within(run_until(&all, 6 * S), 5 * 10000000, 1);
    for (unsigned i = 0; i < 1000; i++)
        check_within(all.members[i].moved, 5 * 10000, 10);
}

PROMISE(limiter, waiting_members_have_their_turns_in_the_order_in_which_they_asked)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 0, NULL);
    ferry__allotment each[10];
    int64_t before = 0, when;
    for (unsigned i = 0; i < 10; i++) {
        each[i] = (ferry__allotment){.limiter = limiter};
        (void)take_whole(&each[i], 0); /* now each waits */
        check(each[i].turn_at > before);
        before = each[i].turn_at;
    }
    for (unsigned i = 0; i < 10; i++) {
        int64_t turn_at = each[i].turn_at;
        check_eq(ferry__allotment_ask(&each[i], CHUNK, turn_at - 1, &when), 0);
        check_eq(when, turn_at);
        check(ferry__allotment_ask(&each[i], CHUNK, turn_at, &when) > 0);
    }
    for (unsigned i = 0; i < 10; i++)
        ferry__allotment_return(&each[i]);
}

PROMISE(limiter, share_that_a_limited_member_does_not_use_is_the_others)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 0, NULL);
    AT_END(drop_limiter) ferry_limiter *low = limiter_make(50000, 0, limiter);
    AT_END(drop_limiter) ferry_limiter *lower = limiter_make(1000, 0, limiter);
    AT_END(group_end) group all = group_make(4, limiter);
    all.members[0].allotment.limiter = low;
    all.members[1].allotment.limiter = lower;
    check_within(run_until(&all, 5 * S), 5 * 1000000, 1);
    check_within(all.members[0].moved, 5 * 50000, 1);
    check_within(all.members[1].moved, 5 * 1000, 1);
    check_within(all.members[2].moved, 5 * (1000000 - 50000 - 1000) / 2, 5);
}

PROMISE(limiter, member_with_a_low_limit_keeps_its_rate_in_a_crowd)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(10000000, 0, NULL);
    AT_END(drop_limiter) ferry_limiter *low = limiter_make(10000, 0, limiter);
    AT_END(group_end) group all = group_make(200, limiter);
    all.members[0].allotment.limiter = low; /* a fifth of its share */
    check_within(run_until(&all, 5 * S), 5 * 10000000, 1);
    check_within(all.members[0].moved, 5 * 10000, 5);
}

PROMISE(limiter, every_limit_of_a_chain_holds)
{
    AT_END(drop_limiter) ferry_limiter *all = limiter_make(300000, 0, NULL);
    AT_END(drop_limiter) ferry_limiter *unlimited = limiter_make(0, 0, all);
    AT_END(drop_limiter) ferry_limiter *one = limiter_make(200000, 0, unlimited);
    AT_END(drop_limiter) ferry_limiter *other = limiter_make(500000, 0, unlimited);
    group two = group_make(2, one);
    check_within(run_until(&two, 5 * S), 5 * 200000, 1); /* one of them, within all */
    group_end(&two);
    AT_END(group_end) group three = group_make(3, other);
    three.members[0].allotment.limiter = one;
    for (unsigned i = 0; i < 3; i++)
        three.members[i].next = 5 * S;
    check_within(run_until(&three, 10 * S), 5 * 300000, 1); /* all together */
    check_within(three.members[0].moved, 5 * 100000, 10);
}

PROMISE(limiter, stalled_members_do_not_slow_the_others)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 0, NULL);
    AT_END(group_end) group all = group_make(10, limiter);
    (void)run_until(&all, 1 * S);
    for (unsigned i = 5; i < 10; i++) /* they wait, hold what they are granted, and do not come */
        all.members[i].next = FERRY__NEVER;
    int64_t when;
    check(ferry__allotment_ask(&all.members[5].allotment, CHUNK, 3 * S / 2, &when) > 0);
    check_within(run_until(&all, 6 * S), 5 * 1000000, 1);
}

PROMISE(limiter, what_is_given_back_is_the_others_and_raises_no_rate)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 0, NULL);
    AT_END(group_end) group all = group_make(20, limiter);
    for (unsigned i = 2; i < 20; i++)
        all.members[i].gives_up = true;
    check_within(run_until(&all, 5 * S), 5 * 1000000, 1);
    check_within(all.members[0].moved, 5 * 1000000 / 2, 10);
}

PROMISE(limiter, grant_given_back_late_lets_no_more_than_the_burst_leave)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 50000, NULL);
    ferry__allotment holders[20], other = {.limiter = limiter};
    int64_t when, now = 0;
    for (unsigned i = 0; i < 20; i++, now += S) {
        holders[i] = (ferry__allotment){.limiter = limiter};
        check(ferry__allotment_ask(&holders[i], CHUNK, now, &when) > 0);
    }
    (void)take_whole(&other, now);
    ferry__allotment_return(&other);
    for (unsigned i = 0; i < 20; i++)
        ferry__allotment_return(&holders[i]);
    check_eq(take_whole(&other, now), 50000);
    check_eq(take_whole(&other, now + 20 * MS), 20000);
    ferry__allotment_return(&other);
}

PROMISE(limiter, message_beyond_its_turn_is_waited_for_by_its_own_stream)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 0, NULL);
    AT_END(group_end) group all = group_make(2, limiter);
    all.members[0].message = 64 * 1024;
    check_within(run_until(&all, 5 * S), 5 * 1000000, 2); /* a message in two windows */
    check_within(all.members[0].moved, 5 * 1000000 / 2, 10);
}

PROMISE(limiter, message_beyond_its_turn_is_paid_by_the_group_when_its_stream_idles)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 0, NULL);
    ferry__allotment one = {.limiter = limiter}, other = {.limiter = limiter};
    int64_t when;
    check_eq(ferry__allotment_ask(&one, CHUNK, 0, &when), 20000); /* the burst */
    ferry__allotment_use(&one, 20000 + 500000);
    ferry__allotment_return(&one);
    check_eq(take_whole(&other, 500 * MS), 0);
    check_eq(other.turn_at, 520 * MS);
    check_eq(take_whole(&other, 520 * MS), 20000);
    ferry__allotment_return(&other);
}

/* ---- live changes ---------------------------------------------------------------------------- */

PROMISE(limiter, new_rate_holds_for_waiting_streams_within_50_ms)
{
    static const uint64_t rates[] = {1000000, 10000, 10000000, 100000, 1000000000, 1000, 1000000};
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 0, NULL);
    ferry_limiter *each[10];
    group all = group_make(10, NULL);
    for (unsigned i = 0; i < 10; i++)
        all.members[i].allotment.limiter = each[i] = limiter_make(0, 0, limiter);
    int64_t now = 0;
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        check_eq(ferry__limiter_set_rate_at(limiter, rates[i], 0, now), 0);
        (void)run_until(&all, now + 50 * MS + LATEST_NS);
        for (unsigned n = 0; n < 10; n++)
            check(!all.members[n].allotment.reserved || all.members[n].next < now + 110 * MS);
        (void)run_until(&all, now + 1 * S);
        check_within(run_until(&all, now + 6 * S), 5 * rates[i], 1);
        now += 6 * S;
    }
    group_end(&all);
    for (unsigned i = 0; i < 10; i++)
        ferry_limiter_unref(each[i]);
}

PROMISE(limiter, lower_rate_is_not_exceeded_by_what_was_reserved_or_granted_before)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000000, 0, NULL);
    ferry__allotment waits = {.limiter = limiter}, holds = {.limiter = limiter};
    int64_t when;
    check_eq(ferry__allotment_ask(&holds, UINT64_MAX, 0, &when), 1024 * 1024);
    (void)take_whole(&waits, 0);
    check_eq(ferry__limiter_set_rate_at(limiter, 1000, 0, 0), 0);
    check(take_whole(&waits, 0) + take_whole(&holds, 0) <= 20); /* a burst */
    check(take_whole(&waits, 20 * MS) + take_whole(&holds, 20 * MS) <= 20);
    check_eq(ferry__limiter_set_rate_at(limiter, 1000000000, 0, 20 * MS), 0);
    check_within(take_whole(&waits, 30 * MS), 10000000, 15); /* but for a turn that is not over */
    ferry__allotment_return(&waits);
    ferry__allotment_return(&holds);
}

PROMISE(limiter, rate_that_changes_all_the_time_is_kept_on_average)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000000, 0, NULL);
    AT_END(group_end) group all = group_make(10, limiter);
    int64_t now = 0;
    for (; now < 5 * S; now += 3 * MS) {
        uint64_t rate = (now / MS) % 2 == 0 ? 1100000 : 900000;
        check_eq(ferry__limiter_set_rate_at(limiter, rate, 0, now), 0);
        (void)run_until(&all, now + 3 * MS);
    }
    check_within(moved_by(&all), 5 * 1000000, 1);
}

PROMISE(limiter, time_without_a_limit_leaves_neither_debt_nor_surplus)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(100000, 0, NULL);
    AT_END(group_end) group all = group_make(3, limiter);
    (void)run_until(&all, 1 * S);
    check_eq(ferry__limiter_set_rate_at(limiter, 0, 0, 1 * S), 0);
    check(run_until(&all, 2 * S) > 3 * 300 * (uint64_t)CHUNK); /* as fast as they can */
    check_eq(ferry__limiter_set_rate_at(limiter, 100000, 0, 2 * S), 0);
    int64_t when;
    for (unsigned i = 0; i < 3; i++)
        check_eq(ferry__allotment_ask(&all.members[i].allotment, CHUNK, 2 * S, &when), 0);
    check_within(run_until(&all, 7 * S), 5 * 100000, 1);
}

/* ---- no limit -------------------------------------------------------------------------------- */

PROMISE(limiter, without_any_limit_all_may_be_moved_and_nothing_is_owed)
{
    AT_END(drop_limiter)
    ferry_limiter *above = limiter_make(0, 0, NULL);
    AT_END(drop_limiter) ferry_limiter *below = limiter_make(0, 5, above);
    ferry__allotment none = {0}, unlimited = {.limiter = below};
    ferry__allotment *both[] = {&none, &unlimited};
    for (unsigned i = 0; i < 2; i++) {
        int64_t when = 77;
        check(ferry__allotment_ask(both[i], UINT64_MAX, 0, &when) == UINT64_MAX);
        ferry__allotment_use(both[i], UINT64_MAX);
        check(ferry__allotment_ask(both[i], 1, 0, &when) == 1);
        ferry__allotment_use(both[i], 1);
        ferry__allotment_return(both[i]);
        check_eq(when, 77);
    }
    check_eq(ferry__limiter_set_rate_at(above, 1000, 0, 0), 0);
    int64_t when;
    check_eq(ferry__allotment_ask(&unlimited, 10, 0, &when), 0);
    check_eq(when, 10 * MS);
    check_eq(ferry__allotment_ask(&unlimited, 10, when, &when), 10);
    ferry__allotment_return(&unlimited);
}

/* ---- threads --------------------------------------------------------------------------------- */

enum { THREADS = 4, THREAD_STREAMS = 5, ROUNDS = 3000 };

static _Atomic int64_t common_clock;

typedef struct runner {
    pthread_t thread;
    group group;
} runner;

static void *run_runner(void *arg)
{
    runner *self = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        member *one = &self->group.members[i % THREAD_STREAMS];
        int64_t now = atomic_fetch_add(&common_clock, MS / 10), when;
        uint64_t bytes = ferry__allotment_ask(&one->allotment, 1 + i, now, &when);
        if (bytes > 0)
            ferry__allotment_use(&one->allotment, i % 7 == 0 ? 2 * bytes : (bytes + 1) / 2);
        if (i % 11 == 0)
            ferry__allotment_return(&one->allotment);
    }
    group_end(&self->group);
    return NULL;
}

PROMISE(limiter, many_threads_may_use_a_limiter_while_its_rate_changes)
{
    AT_END(drop_limiter) ferry_limiter *above = limiter_make(1000000, 0, NULL);
    AT_END(drop_limiter) ferry_limiter *below = limiter_make(500000, 0, above);
    static runner runners[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        runners[i].group = group_make(THREAD_STREAMS, above);
        for (unsigned n = 1; n < THREAD_STREAMS; n += 2)
            runners[i].group.members[n].allotment.limiter = below;
        runners[i].thread = start_thread(run_runner, &runners[i]);
    }
    for (unsigned i = 0; i < 500; i++) {
        int64_t now = atomic_load(&common_clock);
        check_eq(ferry__limiter_set_rate_at(i % 3 == 0 ? below : above, i % 5 * 1000000, 0, now),
                 0);
        sched_yield();
    }
    for (unsigned i = 0; i < THREADS; i++)
        check_eq(pthread_join(runners[i].thread, NULL), 0);
}

/* ---- arguments and references ---------------------------------------------------------------- */

PROMISE(limiter, numbers_out_of_range_and_null_are_einval)
{
    uint64_t most = UINT64_C(1) << 50;
    const ferry_limiter_options bad[] = {{.bytes_per_s = most + 1}, {.burst_bytes = most + 1}};
    ferry_limiter *limiter = NULL;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_eq(ferry_limiter_create(&bad[i], &limiter), -EINVAL);
    check_eq(ferry_limiter_create(NULL, NULL), -EINVAL);
    check(limiter == NULL);
    check_eq(ferry_limiter_set_rate(NULL, 1, 1), -EINVAL);
    check(ferry_limiter_ref(NULL) == NULL && ferry_limiter_unref(NULL) == NULL);
    check_eq(ferry_limiter_create(NULL, &limiter), 0);
    check_eq(ferry_limiter_set_rate(limiter, most + 1, 0), -EINVAL);
    check_eq(ferry_limiter_set_rate(limiter, 0, most + 1), -EINVAL);
    check_eq(ferry_limiter_set_rate(limiter, most, most), 0);
    check(ferry_limiter_ref(limiter) == limiter);
    check(ferry_limiter_unref(limiter) == NULL && ferry_limiter_unref(limiter) == NULL);
    fail_allocation(1);
    check_eq(ferry_limiter_create(NULL, &limiter), -ENOMEM);
    allow_allocations();
}

PROMISE(limiter, chain_has_at_most_eight_and_keeps_its_parents)
{
    ferry_limiter *limiter = NULL;
    for (unsigned i = 0; i < 8; i++) {
        ferry_limiter *below = limiter_make(1000, 0, limiter);
        ferry_limiter_unref(limiter);
        limiter = below;
    }
    ferry_limiter *ninth = NULL;
    const ferry_limiter_options options = {.parent = limiter};
    check_eq(ferry_limiter_create(&options, &ninth), -EINVAL);
    check(ninth == NULL);
    ferry__allotment allotment = {.limiter = limiter};
    check_eq(take_whole(&allotment, 0), 20);
    ferry__allotment_return(&allotment);
    ferry_limiter_unref(limiter);
}

static int try_in_child(ferry_limiter *limiter)
{
    ferry_limiter *below, *own;
    const ferry_limiter_options options = {.parent = limiter};
    return ferry_limiter_set_rate(limiter, 5, 5) == -ECHILD &&
                   ferry_limiter_create(&options, &below) == -ECHILD &&
                   ferry_limiter_create(NULL, &own) == 0 && ferry_limiter_set_rate(own, 5, 5) == 0
               ? 0
               : 1;
}

PROMISE(limiter, limiter_of_the_parent_is_echild_in_a_forked_process)
{
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(1000, 0, NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(try_in_child(limiter));
    await_child(child);
}
