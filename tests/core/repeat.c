/* SPDX-License-Identifier: MIT */
/* Promises of a time, and of work that is done again and again. */
#include "core/clock.h"
#include "tests/promises.h"

#include <poll.h>

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
