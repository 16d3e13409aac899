/* SPDX-License-Identifier: MIT */
/* Promises made of several at once: conformance P, row by row. */
#include "tests/promises.h"

enum { PARTS = 4 };

/* Settles some parts before the group is made and the rest later: how many is early. */
static void settle_some(ferry_promise *parts[], const int errors[], unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        if (errors[i] <= 0)
            settle(parts[i], errors[i], UINT64_C(1) << i);
}

/* Expects the same whenever parts settle. errors: 1: never. left: what pending parts come to. */
static void expect_group(grouping *group, const int errors[PARTS], int error, uint64_t sent,
                         int left)
{
    for (unsigned early = 0; early <= PARTS; early++) {
        ferry_promise *parts[PARTS];
        for (unsigned i = 0; i < PARTS; i++)
            parts[i] = make();
        settle_some(parts, errors, 0, early);
        ferry_promise *promise = make_group(group, parts, PARTS);
        check(is_pending(promise));
        settle_some(parts, errors, early, PARTS);
        check(is_pending(promise)); /* never inside the call */
        run_all();
        for (unsigned i = 0; i < PARTS; i++) {
            if (errors[i] > 0) {
                check(ferry_promise_get_member(promise, i) == NULL);
                check_eq(result_of(parts[i]).error, left);
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
    ferry_promise *promise = make_group(ferry_promise_all, NULL, 0);
    check(is_pending(promise)); /* never inside the call, whatever it is made of */
    expect(promise, 0, 0);
    expect(make_group(ferry_promise_all_settled, NULL, 0), 0, 0);
    check_eq(ferry_promise_any(NULL, 0, &promise), -EINVAL);
    check_eq(ferry_promise_race(NULL, 0, &promise), -EINVAL);
}

PROMISE(group, parts_are_given_in_the_order_of_the_arguments)
{
    ferry_promise *parts[PARTS];
    for (unsigned i = 0; i < PARTS; i++)
        parts[i] = make();
    ferry_promise *all = make_group(ferry_promise_all, parts, PARTS);
    for (unsigned i = PARTS; i-- > 0;) {
        run_all();
        for (unsigned j = 0; j < PARTS; j++)
            check(ferry_promise_get_member(all, j) == NULL); /* as long as it is pending */
        settle(parts[i], 0, i);
    }
    for (unsigned i = 0; i < PARTS; i++) {
        drop(parts[i]);
        parts[i] = NULL; /* the array was borrowed, during the call */
    }
    run_all();
    for (unsigned i = 0; i < PARTS; i++)
        check_eq(result_of(ferry_promise_get_member(all, i)).sent, i);
    check(ferry_promise_get_member(all, PARTS) == NULL &&
          ferry_promise_get_member(NULL, 0) == NULL);
    check(ferry_promise_get_member(ferry_promise_get_member(all, 0), 0) ==
          NULL); /* no derived one */
    drop(all);
}

PROMISE(group, first_and_last_are_so_in_time_not_in_the_array)
{
    static const int errors[] = {-EIO, -EPIPE, -EPERM, -ENOENT};
    static grouping *const groups[] = {ferry_promise_all, ferry_promise_race, ferry_promise_any};
    static const unsigned turns[] = {2, 0, 3, 1};
    for (unsigned g = 0; g < 3; g++) {
        ferry_promise *parts[PARTS];
        for (unsigned i = 0; i < PARTS; i++)
            parts[i] = make();
        ferry_promise *promise = make_group(groups[g], parts, PARTS);
        for (unsigned i = 0; i < PARTS; i++) {
            settle(parts[turns[i]], errors[turns[i]], 0);
            drop(parts[turns[i]]);
        }
        expect(promise, errors[groups[g] == ferry_promise_any ? 1 : 2], 0);
    }
}

PROMISE(group, part_that_comes_after_the_group_has_settled_is_not_given)
{
    ferry_promise *parts[2] = {make_settled(0, 1), make_settled(0, 2)};
    ferry_promise *race = make_group(ferry_promise_race, parts, 2);
    run_all();
    check(ferry_promise_get_member(race, 0) == parts[0]);
    check(ferry_promise_get_member(race, 1) == NULL); /* though it had settled: nobody has looked */
    expect(race, 0, 1);
    drop(parts[0]);
    drop(parts[1]);
}

PROMISE(group, only_groups_and_maps_have_parts)
{
    script next = {0};
    AT_END(drop_promise) ferry_promise *first = make_settled(0, 0);
    ferry_promise *derived[2] = {make_then(first, play, &next), make_timeout(first, NEVER_MS)};
    run_all();
    check(ferry_promise_get_member(first, 0) == NULL);
    for (unsigned i = 0; i < 2; i++) {
        check(ferry_promise_get_member(derived[i], 0) == NULL);
        expect(derived[i], 0, 0);
    }
    ferry_promise *none = make_group(ferry_promise_all, NULL, 0);
    run_all();
    check(ferry_promise_get_member(none, 0) == NULL);
    expect(none, 0, 0);
}

PROMISE(group, one_promise_may_be_several_parts)
{
    AT_END(drop_promise)
    ferry_promise *first = make();
    ferry_promise *parts[3] = {first, first, make()};
    ferry_promise *all = make_group(ferry_promise_all, parts, 2);
    ferry_promise *settled = make_group(ferry_promise_all_settled, parts, 3);
    settle(first, 0, 3);
    expect(all, 0, 6);
    call_off(settled);
    expect(parts[2], -ECANCELED, 0);

    ferry_promise *other = make(), *twice[2] = {other, other};
    call_off(make_group(ferry_promise_all_settled, twice, 2));
    expect(other, -ECANCELED, 0);
}

/* Puts a shield in place of a part; the part is the test's alone then. */
static ferry_promise *shield(ferry_promise **part)
{
    ferry_promise *shielded = *part;
    check_eq(ferry_promise_without_cancel(shielded, part), 0);
    return shielded;
}

PROMISE(group, cancelling_it_cancels_its_parts_but_not_what_a_part_shields)
{
    ferry_promise *parts[PARTS];
    for (unsigned i = 0; i < PARTS; i++)
        parts[i] = make();
    ferry_promise *shielded = shield(&parts[3]);
    ferry_promise *all = make_group(ferry_promise_all, parts, PARTS);
    settle(parts[0], 0, 7);
    call_off(all);
    expect(parts[0], 0, 7);
    for (unsigned i = 1; i < PARTS; i++)
        expect(parts[i], -ECANCELED, 0);
    check(is_pending(shielded));
    settle(shielded, 0, 8); /* and its late arrival does no harm */
    expect(shielded, 0, 8);
}

PROMISE(group, what_a_part_shields_is_not_cancelled_with_the_rest_either)
{
    ferry_promise *parts[2] = {make(), make()};
    ferry_promise *shielded = shield(&parts[1]), *race = make_group(ferry_promise_race, parts, 2);
    settle(parts[0], 0, 1);
    expect(race, 0, 1);
    check(is_pending(shielded));
    settle(shielded, 0, 0);
    drop(shielded);
    drop(parts[0]);
    drop(parts[1]);
}

PROMISE(group, without_cancel_settles_as_the_promise_and_shields_it)
{
    AT_END(drop_promise) ferry_promise *first = make();
    ferry_promise *shield = make_shield(first), *other = make_shield(first);
    call_off(shield);
    check(is_pending(first));
    settle(first, -EIO, 4);
    expect(other, -EIO, 4);
}

PROMISE(group, bad_arguments_are_einval_and_touch_nothing)
{
    ferry_promise *promises[2] = {make_settled(0, 0), NULL}, *derived;
    const ferry_chain positive = {.error = 5};
    const ferry_retry no_start = {0};
    const ferry_map no_start_either = {.count = 3};
    check_eq(ferry_promise_all(promises, 2, &derived), -EINVAL);
    check_eq(ferry_promise_all(NULL, 1, &derived), -EINVAL);
    check_eq(ferry_promise_chain(promises[0], NULL, &derived), -EINVAL);
    check_eq(ferry_promise_chain(promises[0], &positive, &derived), -EINVAL);
    check_eq(ferry_promise_chain(NULL, &(ferry_chain){0}, &derived), -EINVAL);
    check_eq(ferry_promise_timeout(promises[0], -1, &derived), -EINVAL);
    check_eq(ferry_promise_timeout(NULL, 1, &derived), -EINVAL);
    check_eq(ferry_promise_after(-1, &derived), -EINVAL);
    check_eq(ferry_promise_retry(&no_start, &derived), -EINVAL);
    check_eq(ferry_promise_map(&no_start_either, &derived), -EINVAL);
    check_eq(ferry_promise_retry(NULL, &derived), -EINVAL);
    check_eq(ferry_promise_map(NULL, &derived), -EINVAL);
    check_eq(ferry_promise_retry(&(ferry_retry){.start = start_trial, .pause_ms = -1}, &derived),
             -EINVAL);
    check_eq(
        ferry_promise_retry(&(ferry_retry){.start = start_trial, .most_pause_ms = -1}, &derived),
        -EINVAL);
    check_eq(ferry_promise_after(1, NULL), -EINVAL);
    check_eq(ferry_promise_without_cancel(NULL, &derived), -EINVAL);
    check_eq(ferry_promise_any(promises, 2, &derived), -EINVAL);
    drop(promises[0]);
}
