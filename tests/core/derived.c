/* SPDX-License-Identifier: MIT */
/* What holds whatever promises are made into: threads that end, references, depth, memory. */
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
    check_eq(ferry_promise_and_then(left->parts[0], play, &left->block, &left->derived[0]), 0);
    check_eq(ferry_promise_all(left->parts, 2, NULL, &left->derived[1]), 0);
    check_eq(ferry_promise_timeout(left->parts[1], 1000 * 1000, &left->derived[2]), 0);
    return NULL;
}

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

static ferry_promise *end_the_thread(ferry_promise *settled, ferry_outcome *outcome, void *arg)
{
    (void)settled;
    (void)outcome;
    (void)arg;
    pthread_exit(NULL);
}

static void *end_in_a_block(void *arg)
{
    ferry_promise *first = make_settled(0, 0);
    check_eq(ferry_promise_and_then(first, end_the_thread, NULL, arg), 0);
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

enum { CROWD = 64 };

static void *make_many_and_end(void *arg)
{
    ferry_promise **promises = arg; /* parts, then what is made of them */
    for (unsigned i = 0; i < CROWD; i++)
        check_eq(ferry_promise_all(&promises[i], i + 2 < CROWD ? 2 : 1, NULL, &promises[CROWD + i]),
                 0);
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
            start(&threads[0], settle_half, promises);
        run_to_its_end(make_many_and_end, promises);
        if (!is_early)
            start(&threads[0], settle_half, promises);
        start(&threads[1], settle_half, promises + 1);
        start(&threads[2], cancel_half, promises + CROWD);
        start(&threads[3], cancel_half, promises + CROWD + 1);
        for (unsigned i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        for (unsigned i = 0; i < 2 * CROWD; i++) {
            check(!is_pending(promises[i]));
            drop(promises[i]);
        }
    }
}

/* ---- dropped --------------------------------------------------------------------------------- */

PROMISE(group, part_that_nobody_can_settle_any_more_is_cancelled)
{
    ferry_promise *parts[2] = {make(), make()}, *all, *shield;
    check_eq(ferry_promise_without_cancel(parts[0], &shield), 0);
    check_eq(ferry_promise_all_settled(parts, 2, NULL, &all), 0);
    drop(parts[0]);
    expect(shield, -ECANCELED, 0);
    check(is_pending(all));
    drop(parts[1]);
    expect(all, 0, 0);
}

static void drop_it(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)result;
    (void)arg;
    drop(promise);
}

PROMISE(chain, last_reference_may_be_dropped_in_its_own_callback)
{
    script next = {0};
    ferry_promise *first = make(), *sequence;
    check_eq(ferry_promise_and_then(first, play, &next, &sequence), 0);
    check_eq(ferry_promise_then(sequence, drop_it, NULL), 0);
    settle(first, 0, 0);
    drop(first);
    run_all();
    check_eq(next.runs, 1);
}

/* ---- depth ----------------------------------------------------------------------------------- */

static script each;

/* Each of the one before; nested: a group, which keeps its parts. */
static ferry_promise *pile_up(ferry_promise *promise, bool nested)
{
    for (unsigned i = 0; i < LONG; i++) {
        ferry_promise *upper;
        if (nested)
            check_eq(ferry_promise_all(&promise, 1, NULL, &upper), 0);
        else
            check_eq(ferry_promise_and_then(promise, play, &each, &upper), 0);
        drop(promise);
        promise = upper;
    }
    return promise;
}

static void *settle_cancel_and_drop_piles(void *arg)
{
    (void)arg;
    for (unsigned nested = 0; nested < 2; nested++) {
        ferry_promise *bottom = make(), *top = pile_up(ferry_promise_ref(bottom), nested);
        settle(bottom, 0, 1);
        drop(bottom);
        expect(top, 0, 1); /* and destroyed */

        bottom = make();
        top = pile_up(ferry_promise_ref(bottom), nested);
        check_eq(ferry_promise_cancel(top), 0);
        expect(top, -ECANCELED, 0);
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

/* ---- memory ---------------------------------------------------------------------------------- */

/* Makes one of each; gives the first refusal. */
static int make_one_of_each(ferry_promise *first)
{
    static const int errors[] = {-EIO, 0};
    static trial what;
    static script next;
    what = (trial){.errors = errors, .at_once = true};
    const ferry_retry retry = {.start = start_trial, .arg = &what, .attempts = 2};
    trial items = {.errors = errors + 1, .at_once = true};
    const ferry_map map = {.start = start_trial, .arg = &items, .count = 1};
    ferry_promise *made[5] = {NULL};
    int error = ferry_promise_and_then(first, play, &next, &made[0]);
    if (error == 0)
        error = ferry_promise_all(&first, 1, NULL, &made[1]);
    if (error == 0)
        error = ferry_promise_timeout(first, 1000 * 1000, &made[2]);
    if (error == 0)
        error = ferry_promise_retry(&retry, &made[3]);
    if (error == 0)
        error = ferry_promise_map(&map, &made[4]);
    for (unsigned i = 0; i < 5; i++) {
        if (made[i] == NULL)
            continue;
        ferry_result result;
        check_eq(ferry_promise_await(made[i], -1, &result), 0);
        check(result.error == 0 || result.error == -ENOMEM);
        error = error == 0 ? result.error : error;
        drop(made[i]);
    }
    run_all();
    return error;
}

PROMISE(exactly_once, any_failing_allocation_is_refused_or_an_outcome_and_leaks_nothing)
{
    ferry_promise *first = make_settled(0, 0);
    unsigned long most = allocations_made();
    check_eq(make_one_of_each(first), 0);
    most = allocations_made() - most;
    for (unsigned long n = 1; n <= most; n++) {
        unsigned long before = allocations_made();
        fail_allocation(n);
        int error = make_one_of_each(first);
        allow_allocations();
        check(error == -ENOMEM || allocations_made() - before < n);
    }
    drop(first);
}
