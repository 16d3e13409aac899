/* SPDX-License-Identifier: MIT */
/* Waiting until all has settled that a promise was ever made of, whatever kind it is of. */
#include "tests/core/owned.h"
#include "tests/promises.h"

/* ---- what takes its time to be called off ---------------------------------------------------- */

static void note_cancel(ferry_promise *) {}

/* As a request's: a cancel is asked for, and settles it later. */
static ferry_promise *make_slow(void)
{
    static const ferry__promise_type slow = {.destroy = destroy_owned, .cancel = note_cancel};
    return make_owned_of(NULL, &slow);
}

/* Takes the reference. */
static void end_slow(ferry_promise *slow)
{
    slow->result = (ferry_result){.error = -ECANCELED, .cause = FERRY_CAUSE_CANCEL};
    ferry__promise_settle(slow, NULL);
    drop(slow);
}

/* ---- what is expected of all ----------------------------------------------------------------- */

/*
 * Expects that a promise settles with an error, but is not quiet before slow ends. One who asks for
 * that has asked before, another asks afterwards. Takes all references.
 */
static void expect_left(ferry_promise *promise, ferry_promise *slow, int error)
{
    ferry_promise *before = make_when_quiet(promise);
    run_all();
    check_eq(result_of(promise).error, error);
    ferry_promise *after = make_when_quiet(promise);
    drop(promise);
    run_all();
    check(is_pending(before) && is_pending(after));
    check(is_pending(slow) && ferry__promise_is_cancelled(slow));
    end_slow(slow);
    expect(before, error, 0);
    expect(after, error, 0);
}

/* The same of one that is cancelled, once what it waits for is under way. */
static void expect_left_by_cancel(ferry_promise *promise, ferry_promise *slow)
{
    run_all();
    check_eq(ferry_promise_cancel(promise), 0);
    expect_left(promise, slow, -ECANCELED);
}

PROMISE(quiet, what_is_made_of_nothing_is_quiet_once_it_has_settled)
{
    ferry_promise *own = make(), *quiet = make_when_quiet(own);
    run_all();
    check(is_pending(quiet));
    settle(own, -EIO, 3);
    expect(quiet, -EIO, 3);
    quiet = make_when_quiet(own);
    check(is_pending(quiet)); /* never inside the call */
    expect(quiet, -EIO, 3);
    drop(own);
}

PROMISE(quiet, timeout_that_is_over_waits_for_what_it_timed)
{
    ferry_promise *slow = make_slow(), *timed = make_timeout(slow, 0);
    check_eq(ferry_promise_await(timed, -1, NULL), 0);
    expect_left(timed, slow, -ETIMEDOUT);
}

PROMISE(quiet, timeout_that_has_its_outcome_does_not_wait_for_its_time)
{
    ferry_promise *own = make(), *timed = make_timeout(own, NEVER_MS);
    ferry_promise *quiet = make_when_quiet(timed);
    settle(own, 0, 7);
    drop(own);
    drop(timed);
    expect(quiet, 0, 7);
}

PROMISE(quiet, cancelled_chain_waits_for_the_promise_before_and_for_what_a_block_gave)
{
    for (unsigned is_second = 0; is_second < 2; is_second++) {
        ferry_promise *slow = make_slow(), *first = is_second ? make_settled(0, 0) : NULL;
        script next = {.next = is_second ? ferry_promise_ref(slow) : NULL};
        ferry_promise *chain = make_then(is_second ? first : slow, play, &next);
        drop(first);
        expect_left_by_cancel(chain, slow);
        check_eq(next.runs, is_second);
    }
}

PROMISE(quiet, cancelled_group_waits_for_its_members)
{
    static grouping *const groups[] = {ferry_promise_all, ferry_promise_any, ferry_promise_race,
                                       ferry_promise_all_settled};
    for (unsigned i = 0; i < 4; i++) {
        ferry_promise *parts[2] = {make(), make_slow()};
        expect_left_by_cancel(make_group(groups[i], parts, 2), parts[1]);
        drop(parts[0]);
    }
}

PROMISE(quiet, group_that_is_decided_waits_for_the_others)
{
    ferry_promise *parts[2] = {make_settled(-EIO, 0), make_slow()};
    expect_left(make_group(ferry_promise_all, parts, 2), parts[1], -EIO);
    parts[1] = make_slow();
    expect_left(make_group(ferry_promise_race, parts, 2), parts[1], -EIO);
    drop(parts[0]);
    parts[0] = make_settled(0, 0);
    parts[1] = make_slow();
    expect_left(make_group(ferry_promise_any, parts, 2), parts[1], 0);
    drop(parts[0]);
}

static ferry_promise *give_it(size_t number, ferry_outcome *outcome, void *arg)
{
    if (number == 0)
        return ferry_promise_ref(arg);
    outcome->result.error = -EIO;
    return NULL;
}

PROMISE(quiet, cancelled_retry_and_map_wait_for_what_is_under_way)
{
    ferry_promise *slow = make_slow();
    expect_left_by_cancel(make_retry((ferry_retry){.start = give_it, .arg = slow}), slow);
    slow = make_slow();
    ferry_map map = {.start = give_it, .arg = slow, .count = 1};
    expect_left_by_cancel(make_map(map), slow);
    slow = make_slow();
    map = (ferry_map){.start = give_it, .arg = slow, .count = 2};
    expect_left(make_map(map), slow, -EIO); /* an item has failed */
}

enum { ATTEMPTS = 4 };

/* The attempts but the last one are timed out, and leave something. */
static ferry_promise *start_timed(size_t number, ferry_outcome *outcome, void *arg)
{
    ferry_promise **slow = arg;
    if (number == ATTEMPTS - 1)
        return NULL;
    check_eq(outcome->result.error, 0);
    ferry_promise *timed = make_timeout(slow[number], 0);
    return timed;
}

PROMISE(quiet, retry_goes_on_at_once_and_waits_for_what_each_attempt_has_left)
{
    ferry_promise *slow[ATTEMPTS - 1];
    for (unsigned i = 0; i < ATTEMPTS - 1; i++)
        slow[i] = make_slow();
    const ferry_retry retry = {.start = start_timed, .arg = slow, .attempts = ATTEMPTS};
    ferry_promise *done = make_retry(retry), *quiet = make_when_quiet(done);
    expect_in_time(done, 0, 0);
    for (unsigned i = 0; i < ATTEMPTS - 1; i++) {
        check(is_pending(quiet));
        end_slow(slow[(i + 1) % (ATTEMPTS - 1)]); /* in any order */
        run_all();
    }
    expect(quiet, 0, 0);
}

PROMISE(quiet, without_cancel_waits_for_what_it_has_left_alone)
{
    ferry_promise *own = make(), *shield = make_shield(own), *quiet = make_when_quiet(shield);
    call_off(shield);
    check(is_pending(quiet) && is_pending(own));
    settle(own, 0, 5);
    drop(own);
    expect(quiet, -ECANCELED, 0);
}

PROMISE(quiet, levels_below_count_however_many)
{
    ferry_promise *slow = make_slow(), *parts[2] = {slow, make()};
    script next = {0};
    ferry_promise *all = make_group(ferry_promise_all, parts, 2), *shield = make_shield(all);
    ferry_promise *chain = make_or_else(shield, play, &next);
    ferry_promise *timed = make_timeout(chain, NEVER_MS);
    settle(parts[1], -EIO, 0); /* all fails, the chain mends it, the timeout has its outcome */
    drop(parts[1]);
    drop(all);
    drop(shield);
    drop(chain);
    expect_left(timed, slow, 0);
    check_eq(next.runs, 1);
}

PROMISE(quiet, cancel_is_passed_on_and_settles_it_once_all_is_quiet)
{
    ferry_promise *slow = make_slow();
    script next = {0};
    ferry_promise *chain = make_then(slow, play, &next), *quiet = make_when_quiet(chain);
    check_eq(ferry_promise_cancel(quiet), 0);
    run_all();
    check_eq(result_of(chain).error, -ECANCELED);
    check(is_pending(quiet) && ferry__promise_is_cancelled(slow));
    check_eq(ferry_promise_cancel(quiet), 0); /* once more: nothing is left to call off */
    drop(chain);
    run_all();
    end_slow(slow);
    expect(quiet, -ECANCELED, 0);
}

PROMISE(quiet, others_are_made_of_it_as_of_any_promise)
{
    ferry_promise *slow = make_slow();
    script next = {.error = 0, .more = 9};
    ferry_promise *timed = make_timeout(slow, 0), *quiet = make_when_quiet(timed);
    ferry_promise *chain = make_or_else(quiet, play, &next), *last = make_when_quiet(chain);
    check_eq(ferry_promise_await(timed, -1, NULL), 0);
    run_all();
    check_eq(next.runs, 0);
    end_slow(slow);
    expect(last, 0, 9);
    drop(timed);
    drop(quiet);
    drop(chain);
}

PROMISE(quiet, value_is_passed_on)
{
    unsigned released = 0;
    ferry_promise *own = make();
    const ferry_outcome outcome = {.value = &released, .release = note_release};
    check_eq(ferry_promise_settle(own, &outcome), 0);
    ferry_promise *quiet = make_when_quiet(own);
    drop(own);
    run_all();
    check(ferry_promise_get_value(quiet) == &released);
    check_eq(released, 0);
    drop(quiet);
    check_eq(released, 1);
}

/* ---- threads, processes ---------------------------------------------------------------------- */

typedef struct legacy {
    ferry_promise *parts[2];
    ferry_promise *all;
    ferry_promise *shield;
} legacy;

static void *make_and_end(void *arg)
{
    legacy *left = arg;
    left->all = make_group(ferry_promise_all, left->parts, 2);
    left->shield = make_shield(left->all);
    return NULL;
}

PROMISE(quiet, what_a_thread_that_ended_has_made_becomes_quiet_all_the_same)
{
    legacy left = {.parts = {make(), make_slow()}};
    run_to_its_end(make_and_end, &left);
    ferry_promise *quiet = make_when_quiet(left.shield);
    settle(left.parts[0], 0, 0);
    expect(left.shield, -ECANCELED, 0);
    check(is_pending(quiet));
    end_slow(left.parts[1]);
    expect(quiet, -ECANCELED, 0);
    drop(left.parts[0]);
    drop(left.all);
}

PROMISE(quiet, nothing_of_the_parent_process_is_waited_for_in_a_child)
{
    ferry_promise *slow = make_slow(), *timed = make_timeout(slow, 0), *quiet;
    check_eq(ferry_promise_await(timed, -1, NULL), 0);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        check_eq(ferry_promise_when_quiet(slow, &quiet), -ECHILD);
        expect(make_when_quiet(timed), -ETIMEDOUT, 0);
        _exit(0);
    }
    await_child(child);
    end_slow(slow);
    drop(timed);
    run_all();
}

PROMISE(quiet, without_a_promise_it_is_einval)
{
    ferry_promise *quiet = NULL;
    check_eq(ferry_promise_when_quiet(NULL, &quiet), -EINVAL);
    check(quiet == NULL);
}

/* ---- depth, racing --------------------------------------------------------------------------- */

static void *pile_up_and_settle(void *arg)
{
    ferry_promise *slow = make_slow(), *top = ferry_promise_ref(slow), *next;
    for (unsigned i = 0; i < LONG; i++) {
        next = make_shield(top);
        check_eq(ferry_promise_cancel(next), 0);
        drop(top);
        top = next;
    }
    next = make_when_quiet(top);
    expect(top, -ECANCELED, 0);
    check(is_pending(next));
    end_slow(slow);
    expect(next, -ECANCELED, 0);
    return arg;
}

PROMISE(quiet, long_chain_becomes_quiet_on_a_small_stack)
{
    run_on_small_stack(pile_up_and_settle, NULL);
}

enum { RACERS = 2000 };

static ferry_promise *first[RACERS], *derived[RACERS];

static void *settle_all(void *arg)
{
    for (unsigned i = 0; i < RACERS; i++)
        settle(first[i], 0, 0);
    return arg;
}

static void *ask_for_all(void *arg)
{
    for (unsigned i = 0; i < RACERS; i++) {
        ferry_promise *quiet = make_when_quiet(derived[i]);
        check_eq(ferry_promise_await(quiet, -1, NULL), 0);
        check(!is_pending(first[i]) && !is_pending(derived[i]));
        drop(quiet);
    }
    return arg;
}

PROMISE(quiet, several_threads_may_ask_while_it_becomes_so)
{
    pthread_t threads[3];
    for (unsigned i = 0; i < RACERS; i++) {
        first[i] = make();
        derived[i] = make_shield(first[i]);
        if (i % 2 == 0)
            check_eq(ferry_promise_cancel(derived[i]), 0);
    }
    threads[0] = start_thread(settle_all, NULL);
    start_threads(threads + 1, 2, ask_for_all, NULL);
    check_eq(ferry_promise_await_all(derived, RACERS, -1), 0);
    check_eq(ferry_promise_await_all(first, RACERS, -1), 0);
    run_all();
    join_threads(threads, 3);
    for (unsigned i = 0; i < RACERS; i++) {
        drop(first[i]);
        drop(derived[i]);
    }
}
