/* SPDX-License-Identifier: MIT */
/* What holds whatever promises are made into: threads that end, references, depth, memory. */
#include "tests/core/owned.h"
#include "tests/promises.h"

/* ---- threads that end ------------------------------------------------------------------------ */

typedef struct legacy {
    ferry_promise *parts[2];
    ferry_promise *derived[3];
    script block;
} legacy;

static void *make_and_end(void *arg)
{
    legacy *left = arg;
    left->derived[0] = make_then(left->parts[0], play, &left->block);
    left->derived[1] = make_group(ferry_promise_all, left->parts, 2);
    left->derived[2] = make_timeout(left->parts[1], NEVER_MS);
    return NULL;
}

/* Pins: home. */
PROMISE(home, promises_made_by_a_thread_that_ended_are_cancelled_and_the_log_is_told)
{
    legacy left = {.parts = {make(), make()}};
    unsigned long lines = lines_logged();
    run_to_its_end(make_and_end, &left);
    expect(left.derived[2], -ECANCELED, 0); /* at once: it waited for a time */
    check(is_pending(left.derived[0]) && is_pending(left.derived[1]) && is_pending(left.parts[1]));
    settle(left.parts[0], 0, 0);
    expect(left.derived[0], -ECANCELED, 0);
    expect(left.derived[1], -ECANCELED, 0);
    check_eq(left.block.runs, 0);
    check_eq(lines_logged() - lines, 3);
    check(is_pending(left.parts[1])); /* what is still under way goes on */
    settle(left.parts[1], 0, 0);
    drop(left.parts[0]);
    drop(left.parts[1]);
}

PROMISE(home, cancel_after_the_thread_ended_settles_and_leaves_the_parts)
{
    legacy left = {.parts = {make(), make()}};
    run_to_its_end(make_and_end, &left);
    for (unsigned i = 0; i < 2; i++)
        check_eq(ferry_promise_cancel(left.derived[i]), 0);
    for (unsigned i = 0; i < 3; i++)
        expect(left.derived[i], -ECANCELED, 0);
    for (unsigned i = 0; i < 2; i++) {
        settle(left.parts[i], 0, 0);
        drop(left.parts[i]);
    }
}

static void *pause_and_end(void *arg)
{
    static const int errors[] = {-EIO, 0};
    trial what = {.errors = errors};
    const ferry_retry retry = {.start = start_trial, .arg = &what, .pause_ms = NEVER_MS};
    check_eq(ferry_promise_retry(&retry, arg), 0);
    run_all();
    check_eq(what.started, 1);
    return NULL;
}

PROMISE(home, pause_of_a_thread_that_ended_is_over_and_no_attempt_follows)
{
    ferry_promise *promise;
    unsigned long lines = lines_logged();
    run_to_its_end(pause_and_end, &promise);
    expect(promise, -ECANCELED, 0);
    check_eq(lines_logged() - lines, 1);
}

static ferry_promise *end_the_thread(ferry_promise *, ferry_outcome *, void *)
{
    pthread_exit(NULL);
}

static void *end_in_a_block(void *arg)
{
    ferry_promise *first = make_settled(0, 0);
    check_eq(ferry_promise_then(first, end_the_thread, NULL, arg), 0);
    drop(first);
    check_eq(ferry_inbox_run(-1), 0);
    return NULL;
}

PROMISE(home, block_may_end_its_thread_and_its_promise_is_cancelled)
{
    ferry_promise *sequence;
    run_to_its_end(end_in_a_block, &sequence);
    expect(sequence, -ECANCELED, 0);
}

static ferry_promise *end_at_the_second(size_t number, ferry_outcome *, void *arg)
{
    if (number == 1)
        pthread_exit(NULL);
    return ferry_promise_ref(arg);
}

typedef struct testament {
    ferry_promise *item;
    ferry_promise *made;
} testament;

static void *end_amid_items(void *arg)
{
    testament *left = arg;
    const ferry_map map = {.start = end_at_the_second, .arg = left->item, .count = 3};
    left->made = make_map(map);
    check_eq(ferry_inbox_run(-1), 0);
    return NULL;
}

PROMISE(home, map_may_end_its_thread_and_items_under_way_go_on)
{
    testament left = {.item = make()};
    run_to_its_end(end_amid_items, &left);
    check_eq(result_of(left.made).error, -ECANCELED);
    check(is_pending(left.item));
    settle(left.item, 0, 0);
    expect(left.made, -ECANCELED, 0); /* as before */
    drop(left.item);
}

enum { CROWD = 64 };

static void *make_many_and_end(void *arg)
{
    ferry_promise **promises = arg; /* parts, then what is made of them */
    for (unsigned i = 0; i < CROWD; i++)
        promises[CROWD + i] = make_group(ferry_promise_all, &promises[i], i + 2 < CROWD ? 2 : 1);
    return NULL;
}

/* Every other one, from the first or the second on. */
static void *settle_half(void *arg)
{
    for (unsigned i = 0; i < CROWD; i += 2)
        check_eq(ferry_promise_settle(((ferry_promise **)arg)[i], NULL), 0);
    return NULL;
}

static void *cancel_half(void *arg)
{
    for (unsigned i = 0; i < CROWD; i += 2)
        (void)ferry_promise_cancel(((ferry_promise **)arg)[i]);
    return NULL;
}

PROMISE(exactly_once, thread_may_end_while_what_it_made_is_settled_and_cancelled)
{
    for (unsigned round = 0; round < 400; round++) {
        ferry_promise *promises[2 * CROWD];
        pthread_t threads[4];
        for (unsigned i = 0; i < CROWD; i++)
            promises[i] = make();
        bool is_early = round % 2 != 0; /* before it ends, or after */
        if (is_early)
            threads[0] = start_thread(settle_half, promises);
        run_to_its_end(make_many_and_end, promises);
        if (!is_early)
            threads[0] = start_thread(settle_half, promises);
        threads[1] = start_thread(settle_half, promises + 1);
        threads[2] = start_thread(cancel_half, promises + CROWD);
        threads[3] = start_thread(cancel_half, promises + CROWD + 1);
        join_threads(threads, 4);
        for (unsigned i = 0; i < 2 * CROWD; i++) {
            check(!is_pending(promises[i]));
            drop(promises[i]);
        }
    }
}

/* ---- dropped --------------------------------------------------------------------------------- */

PROMISE(group, part_that_nobody_can_settle_any_more_is_cancelled)
{
    ferry_promise *parts[2] = {make(), make()}, *shield = make_shield(parts[0]);
    ferry_promise *all = make_group(ferry_promise_all_settled, parts, 2);
    drop(parts[0]);
    expect(shield, -ECANCELED, 0);
    check(is_pending(all));
    drop(parts[1]);
    expect(all, 0, 0);
}

static void drop_it(ferry_promise *promise, const ferry_result *, void *)
{
    drop(promise);
}

PROMISE(chain, last_reference_may_be_dropped_in_its_own_callback)
{
    script next = {0};
    ferry_promise *first = make(), *sequence = make_then(first, play, &next);
    check_eq(ferry_promise_observe(sequence, drop_it, NULL, NULL), 0);
    settle(first, 0, 0);
    drop(first);
    run_all();
    check_eq(next.runs, 1);
}

/* ---- what cannot be cancelled ---------------------------------------------------------------- */

PROMISE(group, settles_at_once_when_it_is_cancelled_though_a_part_cannot_be)
{
    AT_END(drop_promise) ferry_promise *part = make_owned(NULL);
    check_eq(ferry_promise_cancel(part), -EOPNOTSUPP);
    ferry_promise *all = make_group(ferry_promise_all, &part, 1);
    call_off(all);
    check(is_pending(part));
    ferry__promise_settle(part, NULL);
    run_all();
}

/* ---- racing ---------------------------------------------------------------------------------- */

enum { RACERS = 2000 };

typedef struct racetrack {
    ferry_promise *first[RACERS];   /* a reference for whoever settles them, one who cancels them */
    ferry_promise *derived[RACERS]; /* a reference each for two who cancel and drop them */
} racetrack;

static void *settle_first(void *arg)
{
    racetrack *all = arg;
    for (unsigned i = 0; i < RACERS; i++) {
        int error = ferry_promise_settle(all->first[i], NULL);
        check(error == 0 || error == -EALREADY);
        drop(all->first[i]);
    }
    return NULL;
}

static void *cancel_first(void *arg)
{
    racetrack *all = arg;
    for (unsigned i = 0; i < RACERS; i++) {
        if (i % 3 == 0)
            (void)ferry_promise_cancel(all->first[i]);
        drop(all->first[i]);
    }
    return NULL;
}

static void *cancel_derived(void *arg)
{
    racetrack *all = arg;
    for (unsigned i = 0; i < RACERS; i++) {
        if (i % 2 == 0)
            (void)ferry_promise_cancel(all->derived[i]);
        drop(all->derived[i]);
    }
    return NULL;
}

/* Pins: exactly_once. */
PROMISE(exactly_once, cancel_settling_and_the_last_drop_race_on_four_threads)
{
    static racetrack all;
    static void *(*const racers[])(void *) = {settle_first, cancel_first, cancel_derived,
                                              cancel_derived};
    unsigned told = 0;
    script next = {0};
    for (unsigned i = 0; i < RACERS; i++) {
        all.first[i] = ferry_promise_ref(make());
        all.derived[i] = make_followed_by(all.first[i], play, &next);
        (void)ferry_promise_ref(all.derived[i]);
        check_eq(ferry_promise_observe(all.first[i], count_up, &told, NULL), 0);
        check_eq(ferry_promise_observe(all.derived[i], count_up, &told, NULL), 0);
    }
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        threads[i] = start_thread(racers[i], &all);
    while (told < 2 * RACERS)
        check(ferry_inbox_run(-1) > 0);
    join_threads(threads, 4);
    run_all();
    check_eq(told, 2 * RACERS); /* each settled once, and told once */
    check(next.runs <= RACERS);
}

/* ---- depth ----------------------------------------------------------------------------------- */

static script each;

/* Each of the one before; nested: a group, which keeps its parts. */
static ferry_promise *pile_up(ferry_promise *promise, bool nested)
{
    for (unsigned i = 0; i < LONG; i++) {
        ferry_promise *upper =
            nested ? make_group(ferry_promise_all, &promise, 1) : make_then(promise, play, &each);
        drop(promise);
        promise = upper;
    }
    return promise;
}

static void *settle_cancel_and_drop_piles(void *)
{
    for (unsigned nested = 0; nested < 2; nested++) {
        ferry_promise *bottom = make(), *top = pile_up(ferry_promise_ref(bottom), nested);
        settle(bottom, 0, 1);
        drop(bottom);
        expect(top, 0, 1); /* and destroyed */

        bottom = make();
        top = pile_up(ferry_promise_ref(bottom), nested);
        call_off(top);
        expect(bottom, -ECANCELED, 0);

        drop(pile_up(make(), nested)); /* its bottom, too */
        run_all();
    }
    check_eq(each.runs, LONG);
    return NULL;
}

static void *pile_up_and_end(void *arg)
{
    ferry_promise **ends = arg;
    ends[1] = pile_up(ferry_promise_ref(ends[0]), true);
    return NULL;
}

static void *settle_what_the_dead_left(void *arg)
{
    ferry_promise **ends = arg;
    settle(ends[0], 0, 1);
    expect(ends[1], -ECANCELED, 0);
    return NULL;
}

PROMISE(depth, long_chain_settles_is_cancelled_and_destroyed_on_a_small_stack)
{
    run_on_small_stack(settle_cancel_and_drop_piles, NULL);
}

PROMISE(depth, long_chain_of_a_thread_that_ended_unwinds_on_a_small_stack)
{
    ferry_promise *ends[2] = {make()};
    run_to_its_end(pile_up_and_end, ends);
    run_on_small_stack(settle_what_the_dead_left, ends);
    drop(ends[0]);
}

static void drop_value(void *value)
{
    ferry_promise_unref(value);
}

static void *drop_russian_dolls(void *arg)
{
    ferry_promise *innermost = make_settled(0, 0), *doll = innermost;
    for (unsigned i = 0; i < LONG; i++) {
        const ferry_outcome outcome = {.value = doll, .release = drop_value};
        doll = make();
        check_eq(ferry_promise_settle(doll, &outcome), 0);
    }
    drop(doll);
    return arg;
}

PROMISE(depth, long_chain_of_promises_that_are_values_is_destroyed_on_a_small_stack)
{
    run_on_small_stack(drop_russian_dolls, NULL);
}

static ferry_promise *start_failing(size_t number, ferry_outcome *outcome, void *arg)
{
    bool at_once = *(bool *)arg;
    int error = number + 1 < LONG ? -EIO : 0;
    if (!at_once)
        return make_settled(error, 1);
    outcome->result = (ferry_result){.error = error, .sent = 1};
    return NULL;
}

static ferry_promise *start_succeeding(size_t, ferry_outcome *outcome, void *arg)
{
    bool at_once = *(bool *)arg;
    if (!at_once)
        return make_settled(0, 1);
    outcome->result.sent = 1;
    return NULL;
}

static void *repeat_for_long(void *arg)
{
    for (unsigned i = 0; i < 4; i++) {
        bool at_once = i % 2 != 0;
        const ferry_map map = {
            .start = start_succeeding, .arg = &at_once, .count = LONG, .at_once = i / 2};
        expect(make_map(map), 0, LONG);
    }
    for (unsigned i = 0; i < 2; i++) {
        bool at_once = i != 0;
        const ferry_retry retry = {.start = start_failing, .arg = &at_once};
        expect_in_time(make_retry(retry), 0, 1);
    }
    return arg;
}

PROMISE(depth, long_map_and_many_attempts_run_on_a_small_stack)
{
    run_on_small_stack(repeat_for_long, NULL);
}

/* ---- memory ---------------------------------------------------------------------------------- */

enum { WAYS = 14 };

/* What the promise is made with, and what the values that went into it have come to. */
static script next;
static trial what;
static unsigned released;

/* A block gives a promise while something is left of the one that it follows. */
static int follow_what_settles_early(ferry_promise *first, ferry_promise **ret_promise)
{
    ferry_promise *parts[2] = {first}, *race;
    int error = ferry_promise_after(1000 * 1000, &parts[1]);
    if (error != 0)
        return error;
    error = ferry_promise_race(parts, 2, &race);
    if (error != 0)
        (void)ferry_promise_cancel(parts[1]);
    drop(parts[1]);
    if (error != 0)
        return error;
    error = ferry_promise_then(race, play, &next, ret_promise);
    drop(race);
    return error;
}

/* Makes one thing of first, which comes to its end without waiting for anything else. */
static int make_one(unsigned way, ferry_promise *first, ferry_promise **ret_promise)
{
    static const int errors[] = {-EIO, 0, 0};
    released = 0;
    next = (script){.next = way == 1 || way == 13 ? first : NULL};
    what = (trial){.errors = errors + way % 2, .at_once = true, .value = &released};
    const ferry_retry retry = {.start = start_trial, .arg = &what, .attempts = 3};
    const ferry_map map = {.start = start_trial, .arg = &what, .count = 2, .at_once = 1};
    ferry_promise *parts[] = {first, first};
    switch (way) {
    case 0:
    case 1:
        return ferry_promise_then(first, play, &next, ret_promise);
    case 2:
        return ferry_promise_all(parts, 2, ret_promise);
    case 3:
        return ferry_promise_any(parts, 2, ret_promise);
    case 4:
        return ferry_promise_race(parts, 2, ret_promise);
    case 5:
        return ferry_promise_all_settled(NULL, 0, ret_promise);
    case 6:
        return ferry_promise_without_cancel(first, ret_promise);
    case 7:
        return ferry_promise_timeout(first, 1000 * 1000, ret_promise);
    case 8:
    case 9: /* with a pause between, and without */
        return ferry_promise_retry(&retry, ret_promise);
    case 10:
    case 11: /* that fails, and that does not */
        return ferry_promise_map(&map, ret_promise);
    case 12:
        return ferry_promise_when_quiet(first, ret_promise);
    case 13:
        return follow_what_settles_early(first, ret_promise);
    default:
        return -ENOSYS;
    }
}

/* Makes it and observes it twice. @return the first refusal, or what it came to. */
static int observe_one(unsigned way, ferry_promise *first)
{
    ferry_promise *promise;
    ferry_result result;
    unsigned told = 0, hooked = 0;
    int error = make_one(way, first, &promise);
    if (error != 0)
        return error;
    error = ferry_promise_on_cancel(promise, count_up, &hooked, NULL);
    int second_error = ferry_promise_observe(promise, count_up, &told, NULL);
    check_eq(ferry_promise_await(promise, -1, &result), 0);
    drop(promise);
    run_all();
    check_eq(told, second_error == 0);
    check_eq(hooked, 0);
    return error != 0 ? error : second_error != 0 ? second_error : result.error;
}

/* Likewise, and lets go of what it was made with. */
static int try_one(unsigned way, ferry_promise *first)
{
    (void)ferry_promise_ref(first); /* the block's, perhaps */
    int error = observe_one(way, first);
    if (next.next == NULL || next.runs == 0)
        drop(first);
    run_all();
    check_eq(released, what.started);
    return error;
}

PROMISE(exactly_once, any_failing_allocation_is_refused_or_an_outcome_and_leaks_nothing)
{
    AT_END(drop_promise) ferry_promise *first = make_settled(0, 0);
    for (unsigned way = 0; way < WAYS; way++) {
        int without = try_one(way, first);
        check_eq(without, way == 10 ? -EIO : 0);
        long outstanding = allocations_outstanding();
        unsigned long n = 0, before;
        do {
            before = allocations_made();
            fail_allocation(++n);
            int error = try_one(way, first);
            bool has_failed = allocations_made() - before >= n;
            allow_allocations();
            check_eq(error, has_failed ? -ENOMEM : without);
            check_eq(allocations_outstanding(), outstanding);
        } while (allocations_made() - before >= n);
        check(n > 2); /* what it is made of, and the second observer, at least */
    }
}
