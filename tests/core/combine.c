/* SPDX-License-Identifier: MIT */
/* Promises made of others, one after the other or several at once: conformance P, row by row. */
#include "tests/promises.h"

/* ---- sequences ------------------------------------------------------------------------------- */

PROMISE(chain, block_follows_success_or_failure_and_gives_a_value)
{
    for (unsigned early = 0; early < 2; early++) { /* settled before, or later: the same */
        for (int error = 0; error >= -EIO; error -= EIO) {
            script done = {.more = 1}, failed = {.more = 2}, either = {.more = 4, .error = -EPERM};
            ferry_promise *first = make(), *and_then, *or_else, *followed_by;
            if (early)
                settle(first, error, 8);
            check_eq(ferry_promise_and_then(first, play, &done, &and_then), 0);
            check_eq(ferry_promise_or_else(first, play, &failed, &or_else), 0);
            check_eq(ferry_promise_followed_by(first, play, &either, &followed_by), 0);
            check(is_pending(and_then) && done.runs + failed.runs + either.runs == 0);
            if (!early)
                settle(first, error, 8);
            check_eq(done.runs + failed.runs + either.runs, 0); /* not inside the call */
            expect(and_then, error, error == 0 ? 9 : 8);
            expect(or_else, 0, error == 0 ? 8 : 10);
            expect(followed_by, -EPERM, 12);
            check_eq(done.runs, error == 0);
            check_eq(failed.runs, error != 0);
            check_eq(either.runs, 1);
            drop(first);
        }
    }
}

PROMISE(chain, block_gives_another_promise_which_is_waited_for)
{
    for (unsigned early = 0; early < 2; early++) {
        ferry_promise *first = make_settled(0, 0), *sequence;
        script next = {.next = early ? make_settled(-EPIPE, 5) : make()};
        ferry_promise *second = ferry_promise_ref(next.next);
        check_eq(ferry_promise_and_then(first, play, &next, &sequence), 0);
        if (!early) {
            run_all();
            check(is_pending(sequence));
            settle(second, -EPIPE, 5);
        }
        expect(sequence, -EPIPE, 5);
        drop(first);
        drop(second);
    }
}

PROMISE(chain, catch_is_by_error_and_passes_on_all_others)
{
    static const int errors[] = {0, -EIO, -ENOENT, -ECANCELED};
    for (unsigned i = 0; i < 4; i++) {
        script caught = {.more = 1};
        ferry_promise *first = make_settled(errors[i], 0), *sequence;
        check_eq(ferry_promise_catch(first, -ENOENT, play, &caught, &sequence), 0);
        bool is_caught = errors[i] == -ENOENT;
        expect(sequence, is_caught ? 0 : errors[i], is_caught);
        check_eq(caught.runs, is_caught);
        drop(first);
    }
}

PROMISE(chain, on_a_cancelled_promise_is_cancelled_and_runs_no_block)
{
    script done = {0}, failed = {0}, either = {0}, asked_for = {0};
    ferry_promise *first = make(), *derived[4];
    check_eq(ferry_promise_and_then(first, play, &done, &derived[0]), 0);
    check_eq(ferry_promise_or_else(first, play, &failed, &derived[1]), 0);
    check_eq(ferry_promise_cancel(first), 0);
    check_eq(ferry_promise_followed_by(first, play, &either, &derived[2]), 0);
    check_eq(ferry_promise_catch(first, -ECANCELED, play, &asked_for, &derived[3]), 0);
    for (unsigned i = 0; i < 3; i++)
        expect(derived[i], -ECANCELED, 0);
    expect(derived[3], 0, 0);
    check_eq(done.runs + failed.runs + either.runs, 0);
    check_eq(asked_for.runs, 1);
    drop(first);
}

PROMISE(chain, cancelling_a_sequence_cancels_whichever_part_is_pending)
{
    script next = {.next = make()};
    ferry_promise *first = make(), *second = ferry_promise_ref(next.next), *sequence;
    check_eq(ferry_promise_and_then(first, play, &next, &sequence), 0);
    settle(first, 0, 0);
    run_all();
    check_eq(ferry_promise_cancel(sequence), 0);
    expect(sequence, -ECANCELED, 0);
    expect(second, -ECANCELED, 0); /* the second part was pending */
    drop(first);

    script never = {0};
    first = make();
    ferry_promise *middle;
    check_eq(ferry_promise_and_then(first, play, &never, &middle), 0);
    check_eq(ferry_promise_and_then(middle, play, &never, &sequence), 0);
    check_eq(ferry_promise_cancel(sequence), 0);
    expect(sequence, -ECANCELED, 0);
    expect(middle, -ECANCELED, 0); /* all the way down */
    expect(first, -ECANCELED, 0);
    check_eq(never.runs, 0);
}

static void *cancel_on_thread(void *promise)
{
    check_eq(ferry_promise_cancel(promise), 0);
    return NULL;
}

PROMISE(chain, cancel_may_come_from_any_thread)
{
    script never = {0};
    ferry_promise *first = make(), *sequence;
    check_eq(ferry_promise_and_then(first, play, &never, &sequence), 0);
    pthread_t thread;
    check_eq(pthread_create(&thread, NULL, cancel_on_thread, sequence), 0);
    check_eq(ferry_promise_await(sequence, -1, NULL), 0);
    pthread_join(thread, NULL);
    expect(sequence, -ECANCELED, 0);
    expect(first, -ECANCELED, 0);
}

PROMISE(chain, dropping_the_sequence_breaks_neither_the_first_promise_nor_the_block)
{
    script next = {0};
    ferry_promise *first = make(), *sequence;
    check_eq(ferry_promise_and_then(first, play, &next, &sequence), 0);
    drop(sequence);
    check_eq(ferry_promise_and_then(first, play, &next, NULL), 0);
    check(is_pending(first));
    settle(first, 0, 3);
    expect(first, 0, 3);
    check_eq(next.runs, 2);
}

PROMISE(chain, block_that_gives_its_own_sequence_is_edeadlk)
{
    script next = {0};
    ferry_promise *first = make_settled(0, 0), *sequence;
    check_eq(ferry_promise_and_then(first, play, &next, &sequence), 0);
    next.next = ferry_promise_ref(sequence);
    expect(sequence, -EDEADLK, 0);
    drop(first);
}

static ferry_promise *wait_in_vain(ferry_promise *settled, ferry_outcome *outcome, void *arg)
{
    (void)outcome;
    check_eq(ferry_promise_await(settled, -1, NULL), -EDEADLK);
    check_eq(ferry_promise_await_all(&settled, 1, -1), -EDEADLK);
    check_eq(ferry_inbox_run(0), -EDEADLK);
    ++*(unsigned *)arg;
    return NULL;
}

PROMISE(no_silent_wait, waiting_inside_a_block_is_edeadlk_at_once)
{
    unsigned runs = 0;
    ferry_promise *first = make_settled(0, 0);
    check_eq(ferry_promise_and_then(first, wait_in_vain, &runs, NULL), 0);
    run_all();
    check_eq(runs, 1);
    drop(first);
}

static unsigned released;

static ferry_promise *put_value(ferry_promise *settled, ferry_outcome *outcome, void *arg)
{
    (void)settled;
    outcome->value = arg;
    outcome->release = note_release;
    return NULL;
}

PROMISE(chain, value_is_passed_on_and_lives_as_long_as_any_promise_that_has_it)
{
    unsigned other = 0;
    script same = {0};
    ferry_promise *first = make(), *second, *third, *last;
    check_eq(ferry_promise_and_then(first, play, &same, &second), 0);
    check_eq(ferry_promise_race(&second, 1, NULL, &third), 0);
    check_eq(ferry_promise_and_then(third, put_value, &other, &last), 0);
    const ferry_outcome outcome = {.value = &released, .release = note_release};
    check_eq(ferry_promise_settle_with(first, &outcome), 0);
    drop(first);
    drop(second);
    run_all();
    check(ferry_promise_value(third) == &released);
    check_eq(released, 0);
    drop(third);
    check_eq(released, 1);
    check(ferry_promise_value(last) == &other);
    check_eq(other, 0);
    drop(last);
    check_eq(other, 1);
}

/* ---- groups ---------------------------------------------------------------------------------- */

enum { PARTS = 4 };

/* Settles some parts before the group is made and the rest later: how many is early. */
static void settle_some(ferry_promise *parts[], const int errors[], unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        if (errors[i] <= 0)
            settle(parts[i], errors[i], UINT64_C(1) << i);
}

typedef int make_group(ferry_promise *const[], size_t, const ferry_group *, ferry_promise **);

/* Expects the same whenever parts settle. errors: 1: never. left: what pending parts come to. */
static void expect_group(make_group *group, const int errors[PARTS], int error, uint64_t sent,
                         int left)
{
    for (unsigned early = 0; early <= PARTS; early++) {
        ferry_promise *parts[PARTS], *promise;
        for (unsigned i = 0; i < PARTS; i++)
            parts[i] = make();
        settle_some(parts, errors, 0, early);
        check_eq(group(parts, PARTS, NULL, &promise), 0);
        check(is_pending(promise));
        settle_some(parts, errors, early, PARTS);
        check(is_pending(promise)); /* never inside the call */
        run_all();
        for (unsigned i = 0; i < PARTS; i++) {
            ferry_result result;
            if (errors[i] > 0) {
                check(ferry_promise_part(promise, i) == NULL);
                check_eq(ferry_promise_await(parts[i], 0, &result), 0);
                check_eq(result.error, left);
            }
            drop(parts[i]);
        }
        expect(promise, error, sent);
    }
}

PROMISE(group, all_succeeds_with_all_bytes_once_all_have)
{
    expect_group(ferry_promise_all, (const int[]){0, 0, 0, 0}, 0, 15, 0);
}

PROMISE(group, all_fails_as_the_first_failure_and_cancels_the_rest)
{
    expect_group(ferry_promise_all, (const int[]){0, -EIO, 1, -EPIPE}, -EIO, 2, -ECANCELED);
    expect_group(ferry_promise_all, (const int[]){1, 1, -ECANCELED, 1}, -ECANCELED, 4, -ECANCELED);
}

PROMISE(group, any_succeeds_as_the_first_success_and_cancels_the_rest)
{
    expect_group(ferry_promise_any, (const int[]){-EIO, 1, 0, 0}, 0, 4, -ECANCELED);
}

PROMISE(group, any_fails_as_the_last_once_all_have_failed)
{
    expect_group(ferry_promise_any, (const int[]){-EIO, -EPIPE, -ECANCELED, -EPERM}, -EPERM, 8, 0);
}

PROMISE(group, race_settles_as_the_first_and_cancels_the_rest)
{
    expect_group(ferry_promise_race, (const int[]){1, 1, -EPIPE, 0}, -EPIPE, 4, -ECANCELED);
    expect_group(ferry_promise_race, (const int[]){1, 0, 1, -EIO}, 0, 2, -ECANCELED);
}

PROMISE(group, all_settled_succeeds_once_all_have_settled_in_whatever_way)
{
    expect_group(ferry_promise_all_settled, (const int[]){-EIO, 0, -ECANCELED, 0}, 0, 15, 0);
}

PROMISE(group, of_none_all_is_done_and_any_and_race_are_refused)
{
    ferry_promise *promise;
    check_eq(ferry_promise_all(NULL, 0, NULL, &promise), 0);
    check(is_pending(promise)); /* never inside the call, whatever it is made of */
    expect(promise, 0, 0);
    check_eq(ferry_promise_all_settled(NULL, 0, NULL, &promise), 0);
    expect(promise, 0, 0);
    check_eq(ferry_promise_any(NULL, 0, NULL, &promise), -EINVAL);
    check_eq(ferry_promise_race(NULL, 0, NULL, &promise), -EINVAL);
}

PROMISE(group, parts_are_given_in_the_order_of_the_arguments)
{
    ferry_promise *parts[PARTS], *all;
    for (unsigned i = 0; i < PARTS; i++)
        parts[i] = make();
    check_eq(ferry_promise_all(parts, PARTS, NULL, &all), 0);
    check(ferry_promise_part(all, 0) == NULL); /* pending */
    for (unsigned i = PARTS; i-- > 0;)
        settle(parts[i], 0, i);
    for (unsigned i = 0; i < PARTS; i++)
        drop(parts[i]);
    run_all();
    for (unsigned i = 0; i < PARTS; i++) {
        ferry_result result;
        check_eq(ferry_promise_await(ferry_promise_part(all, i), 0, &result), 0);
        check_eq(result.sent, i);
    }
    check(ferry_promise_part(all, PARTS) == NULL && ferry_promise_part(NULL, 0) == NULL);
    check(ferry_promise_part(ferry_promise_part(all, 0), 0) == NULL); /* no derived one */
    drop(all);
}

PROMISE(group, cancelling_it_cancels_its_parts_but_not_the_exempt)
{
    ferry_promise *parts[PARTS], *all;
    for (unsigned i = 0; i < PARTS; i++)
        parts[i] = make();
    const ferry_group exempt = {.exempt_count = 1};
    check_eq(ferry_promise_all(parts, PARTS, &exempt, &all), 0);
    settle(parts[0], 0, 7);
    check_eq(ferry_promise_cancel(all), 0);
    expect(all, -ECANCELED, 0);
    expect(parts[0], 0, 7);
    expect(parts[1], -ECANCELED, 0);
    expect(parts[2], -ECANCELED, 0);
    check(is_pending(parts[3]));
    settle(parts[3], 0, 8); /* and its late arrival does no harm */
    expect(parts[3], 0, 8);
}

PROMISE(group, exempt_part_is_not_cancelled_with_the_rest_either)
{
    ferry_promise *parts[2] = {make(), make()}, *race;
    const ferry_group exempt = {.exempt_count = 1};
    check_eq(ferry_promise_race(parts, 2, &exempt, &race), 0);
    settle(parts[0], 0, 1);
    expect(race, 0, 1);
    check(is_pending(parts[1]));
    settle(parts[1], 0, 0);
    drop(parts[0]);
    drop(parts[1]);
}

PROMISE(group, without_cancel_settles_as_the_promise_and_shields_it)
{
    ferry_promise *first = make(), *shield, *other;
    check_eq(ferry_promise_without_cancel(first, &shield), 0);
    check_eq(ferry_promise_without_cancel(first, &other), 0);
    check_eq(ferry_promise_cancel(shield), 0);
    expect(shield, -ECANCELED, 0);
    check(is_pending(first));
    settle(first, -EIO, 4);
    expect(other, -EIO, 4);
    drop(first);
}

PROMISE(group, bad_arguments_are_einval_and_touch_nothing)
{
    ferry_promise *promises[2] = {make_settled(0, 0), NULL}, *derived;
    const ferry_group too_many = {.exempt_count = 2};
    const ferry_chain positive = {.error = 5};
    const ferry_retry no_start = {0};
    const ferry_map no_start_either = {.count = 3};
    check_eq(ferry_promise_all(promises, 2, NULL, &derived), -EINVAL);
    check_eq(ferry_promise_all(NULL, 1, NULL, &derived), -EINVAL);
    check_eq(ferry_promise_all(promises, 1, &too_many, &derived), -EINVAL);
    check_eq(ferry_promise_chain(promises[0], NULL, &derived), -EINVAL);
    check_eq(ferry_promise_chain(promises[0], &positive, &derived), -EINVAL);
    check_eq(ferry_promise_chain(NULL, &(ferry_chain){0}, &derived), -EINVAL);
    check_eq(ferry_promise_timeout(promises[0], -1, &derived), -EINVAL);
    check_eq(ferry_promise_timeout(NULL, 1, &derived), -EINVAL);
    check_eq(ferry_promise_after(-1, &derived), -EINVAL);
    check_eq(ferry_promise_retry(&no_start, &derived), -EINVAL);
    check_eq(ferry_promise_map(&no_start_either, &derived), -EINVAL);
    drop(promises[0]);
}
