/* SPDX-License-Identifier: MIT */
/* Promises made of others: conformance P, row by row; then threads that end, memory, depth, time. */
#include "core/promise.h"

#include "core/clock.h"
#include "core/hooks.h"
#include "tests/harness.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>

static ferry_promise *make(void)
{
    ferry_promise *promise;
    check_eq(ferry_promise_create(NULL, &promise), 0);
    return promise;
}

static void settle(ferry_promise *promise, int error, uint64_t sent)
{
    const ferry_result result = {.error = error, .sent = sent};
    check_eq(ferry_promise_settle(promise, &result), 0);
}

static ferry_promise *make_settled(int error, uint64_t sent)
{
    ferry_promise *promise = make();
    settle(promise, error, sent);
    return promise;
}

static void run_all(void)
{
    while (ferry_inbox_run(0) > 0) {
    }
}

static bool is_pending(ferry_promise *promise)
{
    return ferry_promise_await(promise, 0, NULL) == -ETIMEDOUT;
}

/* Runs what waits, expects an outcome, gives the reference back. */
static void expect(ferry_promise *promise, int error, uint64_t sent)
{
    run_all();
    ferry_result result;
    check_eq(ferry_promise_await(promise, 0, &result), 0);
    check_eq(result.error, error);
    check_eq(result.sent, sent);
    ferry_promise_unref(promise);
}

static void drop(ferry_promise *promise)
{
    ferry_promise_unref(promise);
}

/* ---- sequences ------------------------------------------------------------------------------- */

/* What a test's block does, and how often it ran. */
typedef struct script {
    ferry_promise *next; /* to give; NULL: the outcome, changed thus: */
    int error;
    uint64_t more; /* added to what was sent */
    unsigned runs;
} script;

static ferry_promise *play(ferry_promise *settled, ferry_outcome *outcome, void *arg)
{
    script *what = arg;
    check(!is_pending(settled));
    what->runs++;
    outcome->result.error = what->error;
    outcome->result.sent += what->more;
    return what->next;
}

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

static void note_release(void *value)
{
    ++*(unsigned *)value;
}

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

/* ---- time ------------------------------------------------------------------------------------ */

PROMISE(timeout, passes_the_outcome_on_if_that_is_in_time)
{
    for (unsigned early = 0; early < 2; early++) {
        ferry_promise *first = early ? make_settled(-EIO, 3) : make(), *limited;
        check_eq(ferry_promise_timeout(first, 1000 * 1000, &limited), 0);
        if (!early)
            settle(first, -EIO, 3);
        expect(limited, -EIO, 3);
        run_all(); /* its timer is unset: else the census would find it */
        drop(first);
    }
}

PROMISE(timeout, is_etimedout_and_cancels_the_promise_when_time_is_up)
{
    ferry_promise *first = make(), *limited;
    check_eq(ferry_promise_timeout(first, 2, &limited), 0);
    check_eq(ferry_promise_await(limited, -1, NULL), 0);
    expect(limited, -ETIMEDOUT, 0);
    expect(first, -ECANCELED, 0);
}

PROMISE(timeout, cancelled_is_cancelled_with_its_promise_and_its_timer)
{
    ferry_promise *first = make(), *limited;
    check_eq(ferry_promise_timeout(first, 1000 * 1000, &limited), 0);
    check_eq(ferry_promise_cancel(limited), 0);
    expect(limited, -ECANCELED, 0);
    expect(first, -ECANCELED, 0);
}

PROMISE(after, settles_not_before_its_time_and_nearest_first)
{
    static const int64_t delays[] = {8, 2, 5};
    ferry_promise *promises[3];
    int64_t begin = ferry__clock_now();
    for (unsigned i = 0; i < 3; i++)
        check_eq(ferry_promise_after(delays[i], &promises[i]), 0);
    size_t first;
    check_eq(ferry_promise_await_any(promises, 3, -1, &first), 0);
    check_eq(first == 1 || !is_pending(promises[1]), 1);
    for (unsigned i = 0; i < 3; i++) {
        check_eq(ferry_promise_await(promises[i], -1, NULL), 0);
        check(ferry__clock_now() - begin >= delays[i] * FERRY__NS_PER_MS);
        expect(promises[i], 0, 0);
    }
}

static void count_up(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise;
    (void)result;
    ++*(unsigned *)arg;
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    return poll(&readable, 1, timeout_ms) == 1;
}

PROMISE(after, inbox_fd_is_readable_once_a_time_has_come_and_not_before)
{
    unsigned runs = 0;
    ferry_promise *soon, *late;
    check_eq(ferry_promise_after(1000 * 1000, &late), 0); /* before there is an fd */
    int fd = ferry_inbox_fd();
    check(!is_readable(fd, 0));
    for (unsigned i = 1; i <= 3; i++) {
        check_eq(ferry_promise_after(2, &soon), 0);
        check_eq(ferry_promise_then(soon, count_up, &runs), 0);
        drop(soon);
        check(is_readable(fd, -1));
        while (runs < i) {
            check(is_readable(fd, -1));
            check(ferry_inbox_run(0) >= 0);
        }
        check(!is_readable(fd, 0));
    }
    check_eq(ferry_promise_cancel(late), 0);
    expect(late, -ECANCELED, 0);
    check(!is_readable(fd, 5));
}

PROMISE(after, inbox_run_that_waits_wakes_up_for_it)
{
    unsigned runs = 0;
    ferry_promise *soon;
    for (unsigned with_fd = 0; with_fd < 2; with_fd++) {
        if (with_fd)
            check(ferry_inbox_fd() >= 0);
        check_eq(ferry_promise_after(2, &soon), 0);
        check_eq(ferry_promise_then(soon, count_up, &runs), 0);
        drop(soon);
        check_eq(ferry_inbox_run(-1), 1);
        check_eq(runs, with_fd + 1);
    }
}

/* ---- again and again ------------------------------------------------------------------------- */

/* What attempts, or items, come to. */
typedef struct trial {
    const int *errors; /* of each; 1: a promise that the test settles */
    bool at_once;      /* without a promise */
    unsigned started;
    unsigned most_pending;
    unsigned settled;
    ferry_promise *pending[16];
} trial;

static ferry_promise *start_trial(size_t number, ferry_outcome *outcome, void *arg)
{
    trial *what = arg;
    check_eq(number, what->started++);
    check_eq(outcome->result.error, 0);
    if (what->started - what->settled > what->most_pending)
        what->most_pending = what->started - what->settled;
    int error = what->errors[number];
    if (error > 0)
        return ferry_promise_ref(what->pending[number] = make());
    if (!what->at_once)
        return make_settled(error, number + 1);
    outcome->result.error = error;
    outcome->result.sent = number + 1;
    return NULL;
}

PROMISE(retry, is_repeated_until_it_succeeds_or_attempts_run_out)
{
    static const int errors[] = {-EIO, -EPIPE, -EIO, 0};
    for (unsigned attempts = 1; attempts <= 5; attempts++) {
        trial what = {.errors = errors, .at_once = attempts % 2 != 0};
        const ferry_retry retry = {.start = start_trial, .arg = &what, .attempts = attempts};
        ferry_promise *promise;
        check_eq(ferry_promise_retry(&retry, &promise), 0);
        check_eq(what.started, 0); /* not inside the call */
        check_eq(ferry_promise_await(promise, -1, NULL), 0);
        unsigned expected = attempts < 4 ? attempts : 4;
        check_eq(what.started, expected);
        expect(promise, errors[expected - 1], expected);
    }
}

static bool is_eio(const ferry_result *result, void *arg)
{
    (void)arg;
    return result->error == -EIO;
}

PROMISE(retry, ends_with_what_is_not_worth_another_attempt_and_with_cancelled_ones)
{
    static const int errors[][3] = {{-EIO, -EPIPE, 0}, {-EIO, -ECANCELED, 0}};
    for (unsigned i = 0; i < 2; i++) {
        trial what = {.errors = errors[i]};
        const ferry_retry retry = {
            .start = start_trial, .arg = &what, .is_worth = i == 0 ? is_eio : NULL};
        ferry_promise *promise;
        check_eq(ferry_promise_retry(&retry, &promise), 0);
        check_eq(ferry_promise_await(promise, -1, NULL), 0);
        expect(promise, errors[i][1], 2);
    }
}

PROMISE(retry, pauses_double_up_to_a_limit)
{
    static const int errors[] = {-EIO, -EIO, -EIO, -EIO, 0};
    trial what = {.errors = errors};
    const ferry_retry retry = {
        .start = start_trial, .arg = &what, .pause_ms = 2, .most_pause_ms = 5};
    ferry_promise *promise;
    int64_t begin = ferry__clock_now();
    check_eq(ferry_promise_retry(&retry, &promise), 0);
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    check(ferry__clock_now() - begin >= (2 + 4 + 5 + 5) * FERRY__NS_PER_MS);
    expect(promise, 0, 5);
}

PROMISE(retry, cancelled_cancels_the_attempt_under_way_or_the_pause)
{
    static const int pending[] = {1}, failing[] = {-EIO, -EIO};
    trial what = {.errors = pending};
    ferry_retry retry = {.start = start_trial, .arg = &what, .pause_ms = 1000 * 1000};
    ferry_promise *promise;
    check_eq(ferry_promise_retry(&retry, &promise), 0);
    run_all();
    check_eq(ferry_promise_cancel(promise), 0);
    expect(promise, -ECANCELED, 0);
    expect(what.pending[0], -ECANCELED, 0);

    what = (trial){.errors = failing};
    check_eq(ferry_promise_retry(&retry, &promise), 0);
    run_all();
    check_eq(what.started, 1);
    check_eq(ferry_promise_cancel(promise), 0);
    expect(promise, -ECANCELED, 0);
    check_eq(what.started, 1);
}

static void finish_item(trial *what, unsigned number, int error)
{
    what->settled++;
    settle(what->pending[number], error, number + 1);
    drop(what->pending[number]);
    run_all();
}

PROMISE(map, keeps_at_most_so_many_under_way_and_the_order_of_results)
{
    static const int errors[] = {1, 1, 1, 1, 1, 1};
    static const unsigned turns[] = {2, 0, 1, 4, 5, 3};
    trial what = {.errors = errors};
    const ferry_map map = {.start = start_trial, .arg = &what, .count = 6, .at_once = 3};
    ferry_promise *promise;
    check_eq(ferry_promise_map(&map, &promise), 0);
    check_eq(what.started, 0); /* not inside the call */
    run_all();
    for (unsigned i = 0; i < 6; i++) {
        check_eq(what.started, i + 3 < 6 ? i + 3 : 6);
        check(is_pending(promise));
        finish_item(&what, turns[i], 0);
    }
    check_eq(what.most_pending, 3);
    for (unsigned i = 0; i < 6; i++) {
        ferry_result result;
        check_eq(ferry_promise_await(ferry_promise_part(promise, i), 0, &result), 0);
        check_eq(result.sent, i + 1);
    }
    expect(promise, 0, 21);
}

PROMISE(map, failure_starts_none_after_and_cancels_the_others)
{
    static const int errors[] = {1, 1, 1, 1};
    trial what = {.errors = errors};
    const ferry_map map = {.start = start_trial, .arg = &what, .count = 4, .at_once = 2};
    ferry_promise *promise;
    check_eq(ferry_promise_map(&map, &promise), 0);
    run_all();
    finish_item(&what, 1, -EIO);
    expect(promise, -EIO, 2);
    check_eq(what.started, 2);
    expect(what.pending[0], -ECANCELED, 0);

    static const int at_once[] = {0, -EPIPE, 0, 0};
    what = (trial){.errors = at_once, .at_once = true};
    check_eq(ferry_promise_map(&map, &promise), 0);
    expect(promise, -EPIPE, 2);
    check_eq(what.started, 2);
}

PROMISE(map, of_values_of_settled_promises_and_of_nothing_succeeds)
{
    static const int errors[] = {0, 0, 0, 0, 0, 0, 0};
    for (unsigned at_once = 0; at_once < 8; at_once++) {
        trial what = {.errors = errors, .at_once = at_once % 2 != 0};
        ferry_map map = {.start = start_trial, .arg = &what, .count = 7, .at_once = at_once};
        ferry_promise *promise;
        check_eq(ferry_promise_map(&map, &promise), 0);
        expect(promise, 0, 28);
        map.count = 0;
        check_eq(ferry_promise_map(&map, &promise), 0);
        expect(promise, 0, 0);
    }
}

/* ---- threads that end ------------------------------------------------------------------------ */

static void run_to_its_end(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    check_eq(pthread_create(&thread, NULL, body, arg), 0);
    check_eq(pthread_join(thread, NULL), 0);
}

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

static void start(pthread_t *thread, void *(*body)(void *), void *arg)
{
    check_eq(pthread_create(thread, NULL, body, arg), 0);
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

enum { DEEP = 100 * 1000, SMALL_STACK = 64 * 1024 };

static script each;

/* Each of the one before; nested: a group, which keeps its parts. */
static ferry_promise *pile_up(ferry_promise *promise, bool nested)
{
    for (unsigned i = 0; i < DEEP; i++) {
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
    check_eq(each.runs, DEEP);
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

static void run_on_small_stack(void *(*body)(void *), void *arg)
{
    pthread_attr_t attributes;
    pthread_t thread;
    check_eq(pthread_attr_init(&attributes), 0);
    check_eq(pthread_attr_setstacksize(&attributes, SMALL_STACK), 0);
    check_eq(pthread_create(&thread, &attributes, body, arg), 0);
    check_eq(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
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
