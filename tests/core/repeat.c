/* SPDX-License-Identifier: MIT */
/* Promises of a time, and of work that is done again and again. */
#include "core/clock.h"
#include "tests/promises.h"

#include <poll.h>

/* ---- time ------------------------------------------------------------------------------------ */

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    return poll(&readable, 1, timeout_ms) == 1;
}

PROMISE(timeout, passes_the_outcome_on_if_that_is_in_time)
{
    for (unsigned early = 0; early < 2; early++) {
        AT_END(drop_promise)
        ferry_promise *first = early ? make_settled(-EIO, 3) : make();
        ferry_promise *limited = make_timeout(first, NEVER_MS);
        if (!early)
            settle(first, -EIO, 3);
        expect(limited, -EIO, 3);
        run_all(); /* its timer is unset: else the census would find it */
    }
}

PROMISE(timeout, is_etimedout_and_cancels_the_promise_when_time_is_up)
{
    ferry_promise *first = make(), *limited = make_timeout(first, 2);
    expect_in_time(limited, -ETIMEDOUT, 0);
    expect(first, -ECANCELED, 0);
}

PROMISE(timeout, of_no_time_passes_on_what_has_settled_and_fails_what_is_pending)
{
    AT_END(drop_promise)
    ferry_promise *settled = make_settled(0, 3);
    ferry_promise *pending = make();
    ferry_promise *in_time = make_timeout(settled, 0), *late = make_timeout(pending, 0);
    check(is_pending(in_time) && is_pending(late)); /* never inside the call */
    expect(in_time, 0, 3);
    expect(late, -ETIMEDOUT, 0);
    expect(pending, -ECANCELED, 0);
}

PROMISE(timeout, outcome_counts_where_both_it_and_the_time_have_come)
{
    AT_END(drop_promise) ferry_promise *first = make();
    int fd = ferry_inbox_get_fd();
    ferry_promise *limited = make_timeout(first, 1);
    check(is_readable(fd, -1)); /* the time has come, and nobody has looked */
    settle(first, 0, 3);
    expect(limited, 0, 3);
}

PROMISE(timeout, cancelled_is_cancelled_with_its_promise_and_its_timer)
{
    ferry_promise *first = make(), *limited = make_timeout(first, NEVER_MS);
    call_off(limited);
    expect(first, -ECANCELED, 0);
}

PROMISE(after, settles_not_before_its_time_and_nearest_first)
{
    static const int64_t delays[] = {8, 2, 5};
    ferry_promise *promises[3];
    int64_t earliest[3], latest[3]; /* when each is due: a busy machine may be long in making one */
    for (unsigned i = 0; i < 3; i++) {
        earliest[i] = ferry__clock_now() + delays[i] * FERRY__NS_PER_MS;
        promises[i] = make_after(delays[i]);
        latest[i] = ferry__clock_now() + delays[i] * FERRY__NS_PER_MS;
    }
    size_t first;
    check_eq(ferry_promise_await_any(promises, 3, -1, &first), 0);
    for (unsigned i = 0; i < 3; i++)
        check(latest[i] >= earliest[first] || !is_pending(promises[i]));
    for (unsigned i = 0; i < 3; i++) {
        check_eq(ferry_promise_await(promises[i], -1, NULL), 0);
        check(ferry__clock_now() >= earliest[i]);
        expect(promises[i], 0, 0);
    }
}

/* Has runs counted up in so much time. */
static void count_after(int64_t delay_ms, unsigned *runs)
{
    AT_END(drop_promise) ferry_promise *soon = make_after(delay_ms);
    check_eq(ferry_promise_observe(soon, count_up, runs, NULL), 0);
}

PROMISE(after, inbox_fd_is_readable_once_a_time_has_come_and_not_before)
{
    unsigned runs = 0;
    ferry_promise *late = make_after(NEVER_MS); /* before there is an fd */
    int fd = ferry_inbox_get_fd();
    check(!is_readable(fd, 0));
    for (unsigned i = 1; i <= 3; i++) {
        count_after(2, &runs);
        check(is_readable(fd, -1));
        while (runs < i) {
            check(is_readable(fd, -1));
            check(ferry_inbox_run(0) >= 0);
        }
        check(!is_readable(fd, 0));
    }
    call_off(late);
    check(!is_readable(fd, 5));
}

PROMISE(after, inbox_run_that_waits_wakes_up_for_it)
{
    unsigned runs = 0;
    for (unsigned with_fd = 0; with_fd < 2; with_fd++) {
        if (with_fd)
            check(ferry_inbox_get_fd() >= 0);
        count_after(2, &runs);
        check_eq(ferry_inbox_run(-1), 1);
        check_eq(runs, with_fd + 1);
    }
}

PROMISE(after, delay_beyond_all_time_never_comes_and_can_be_cancelled)
{
    check(ferry_inbox_get_fd() >= 0);
    ferry_promise *never = make_after(INT64_MAX);
    check_eq(ferry_inbox_run(5), 0);
    check_eq(ferry_promise_cancel(never), 0);
    check_eq(ferry_promise_cancel(never), 0); /* again: asked for before */
    expect(never, -ECANCELED, 0);
}

/* A thread that has promises of times, and does not run its inbox. */
typedef struct sleepyhead {
    ferry_promise *first;
    ferry_promise *made[2];
    pthread_barrier_t barrier; /* when it has made them; then when it may end */
} sleepyhead;

static void *make_and_sleep(void *arg)
{
    sleepyhead *self = arg;
    self->made[0] = make_after(0);
    self->made[1] = make_timeout(self->first, 0);
    pthread_barrier_wait(&self->barrier);
    pthread_barrier_wait(&self->barrier);
    return NULL;
}

PROMISE(after, time_of_a_thread_that_never_runs_its_inbox_comes_only_with_its_end)
{
    sleepyhead self = {.first = make()};
    check_eq(pthread_barrier_init(&self.barrier, NULL, 2), 0);
    pthread_t thread = start_thread(make_and_sleep, &self);
    pthread_barrier_wait(&self.barrier);
    check_eq(ferry_promise_await_any(self.made, 2, 5, NULL), -ETIMEDOUT);
    pthread_barrier_wait(&self.barrier);
    check_eq(ferry_promise_await_all(self.made, 2, -1), 0);
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < 2; i++) {
        check_eq(result_of(self.made[i]).cause, FERRY_CAUSE_GONE);
        expect(self.made[i], -ECANCELED, 0);
    }
    check(is_pending(self.first)); /* that goes on */
    settle(self.first, 0, 0);
    drop(self.first);
    pthread_barrier_destroy(&self.barrier);
}

/* ---- again and again ------------------------------------------------------------------------- */

PROMISE(retry, is_repeated_until_it_succeeds_or_attempts_run_out)
{
    static const int errors[] = {-EIO, -EPIPE, -EIO, 0};
    for (unsigned attempts = 1; attempts <= 5; attempts++) {
        trial what = {.errors = errors, .at_once = attempts % 2 != 0};
        ferry_retry retry = {.start = start_trial, .arg = &what, .attempts = attempts};
        ferry_promise *promise;
        check_eq(ferry_promise_retry(&retry, &promise), 0);
        retry = (ferry_retry){0};  /* it was borrowed, during the call */
        check_eq(what.started, 0); /* not inside the call */
        check_eq(ferry_promise_await(promise, -1, NULL), 0);
        unsigned expected = attempts < 4 ? attempts : 4;
        check_eq(what.started, expected);
        expect(promise, errors[expected - 1], expected);
    }
}

static bool is_eio(const ferry_result *result, void *)
{
    return result->error == -EIO;
}

PROMISE(retry, ends_with_what_is_not_worth_another_attempt_and_with_cancelled_ones)
{
    static const int errors[][3] = {{-EIO, -EPIPE, 0}, {-EIO, -ECANCELED, 0}};
    for (unsigned i = 0; i < 2; i++) {
        trial what = {.errors = errors[i]};
        const ferry_retry retry = {
            .start = start_trial, .arg = &what, .is_worth = i == 0 ? is_eio : NULL};
        expect_in_time(make_retry(retry), errors[i][1], 2);
    }
}

PROMISE(retry, pauses_double_up_to_the_limit)
{
    static const int errors[] = {-EIO, -EIO, -EIO, -EIO, 0};
    trial what = {.errors = errors};
    const ferry_retry retry = {
        .start = start_trial, .arg = &what, .pause_ms = 2, .most_pause_ms = 5};
    int64_t begin = ferry__clock_now();
    ferry_promise *promise = make_retry(retry);
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    check(ferry__clock_now() - begin >= (2 + 4 + 5 + 5) * FERRY__NS_PER_MS);
    expect(promise, 0, 5);
}

PROMISE(retry, pause_is_never_longer_than_the_limit_however_long_it_has_become)
{
    static const int errors[] = {-EIO, -EIO, -EIO, 0};
    static const int64_t pauses[] = {1000 * 1000, INT64_MAX}; /* which would not come to an end */
    for (unsigned i = 0; i < 2; i++) {
        trial what = {.errors = errors};
        const ferry_retry retry = {
            .start = start_trial, .arg = &what, .pause_ms = pauses[i], .most_pause_ms = 1};
        expect_in_time(make_retry(retry), 0, 4);
    }
}

PROMISE(retry, cancelled_cancels_the_attempt_under_way_or_the_pause)
{
    static const int pending[] = {1}, failing[] = {-EIO, -EIO};
    trial what = {.errors = pending};
    ferry_retry retry = {.start = start_trial, .arg = &what, .pause_ms = NEVER_MS};
    ferry_promise *promise = make_retry(retry);
    run_all();
    call_off(promise);
    expect(what.pending[0], -ECANCELED, 0);

    what = (trial){.errors = failing};
    promise = make_retry(retry);
    run_all();
    check_eq(what.started, 1);
    call_off(promise);
    check_eq(what.started, 1);
}

PROMISE(retry, releases_the_value_of_an_attempt_that_is_followed_by_another)
{
    static const int errors[] = {-EIO, -EIO, 0};
    unsigned released = 0;
    trial what = {.errors = errors, .at_once = true, .value = &released};
    ferry_promise *promise = make_retry((ferry_retry){.start = start_trial, .arg = &what});
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    check_eq(released, 2);
    check(ferry_promise_get_value(promise) == &released);
    expect(promise, 0, 3);
    check_eq(released, 3);
}

static ferry_promise *give_itself(size_t, ferry_outcome *, void *arg)
{
    return ferry_promise_ref(*(ferry_promise **)arg);
}

PROMISE(retry, or_map_that_is_given_to_itself_is_edeadlk)
{
    ferry_promise *itself;
    const ferry_retry retry = {.start = give_itself, .arg = &itself, .attempts = 1};
    const ferry_map map = {.start = give_itself, .arg = &itself, .count = 2};
    itself = make_retry(retry);
    expect(itself, -EDEADLK, 0);
    itself = make_map(map);
    expect(itself, -EDEADLK, 0);
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
    ferry_map map = {.start = start_trial, .arg = &what, .count = 6, .at_once = 3};
    ferry_promise *promise;
    check_eq(ferry_promise_map(&map, &promise), 0);
    map = (ferry_map){0};      /* it was borrowed, during the call */
    check_eq(what.started, 0); /* not inside the call */
    run_all();
    for (unsigned i = 0; i < 6; i++) {
        check_eq(what.started, i + 3 < 6 ? i + 3 : 6);
        check(is_pending(promise));
        finish_item(&what, turns[i], 0);
    }
    check_eq(what.most_pending, 3);
    for (unsigned i = 0; i < 6; i++)
        check_eq(result_of(ferry_promise_get_member(promise, i)).sent, i + 1);
    expect(promise, 0, 21);
}

PROMISE(map, failure_starts_none_after_and_cancels_the_others)
{
    static const int errors[] = {1, 1, 1, 1};
    trial what = {.errors = errors};
    const ferry_map map = {.start = start_trial, .arg = &what, .count = 4, .at_once = 2};
    ferry_promise *promise = make_map(map);
    run_all();
    finish_item(&what, 1, -EIO);
    expect(promise, -EIO, 2);
    check_eq(what.started, 2);
    expect(what.pending[0], -ECANCELED, 0);

    static const int at_once[] = {0, -EPIPE, 0, 0};
    what = (trial){.errors = at_once, .at_once = true};
    expect(make_map(map), -EPIPE, 2);
    check_eq(what.started, 2);
}

PROMISE(map, cancelled_cancels_what_is_under_way_and_starts_none_after)
{
    static const int errors[] = {1, 1, 1, 1};
    trial what = {.errors = errors};
    const ferry_map map = {.start = start_trial, .arg = &what, .count = 4, .at_once = 2};
    ferry_promise *promise = make_map(map);
    run_all();
    call_off(promise);
    check_eq(what.started, 2);
    expect(what.pending[0], -ECANCELED, 0);
    expect(what.pending[1], -ECANCELED, 0);
}

PROMISE(map, gives_each_item_it_came_to_as_a_part_whether_that_gave_a_promise_or_not)
{
    static const int errors[] = {0, 0, -EPIPE, 0};
    for (unsigned first = 0; first < 3; first++) {
        unsigned released = 0, items = 3 - first;
        trial what = {.errors = errors + first, .at_once = true, .value = &released};
        ferry_promise *promise =
            make_map((ferry_map){.start = start_trial, .arg = &what, .count = items + 1});
        run_all();
        check_eq(what.started, items); /* the failure starts none after */
        check(ferry_promise_get_value(promise) == &released);
        for (unsigned i = 0; i < items; i++) {
            ferry_promise *part = ferry_promise_get_member(promise, i);
            check_eq(result_of(part).error, errors[first + i]);
            check(ferry_promise_get_value(part) == &released);
        }
        check(ferry_promise_get_member(promise, items) == NULL);
        check_eq(released, 0);
        expect(promise, -EPIPE, items);
        check_eq(released, items);
    }
}

PROMISE(map, of_more_items_than_there_is_memory_for_is_enomem)
{
    trial what = {0};
    const ferry_map map = {.start = start_trial, .arg = &what, .count = SIZE_MAX};
    ferry_promise *promise;
    check_eq(ferry_promise_map(&map, &promise), -ENOMEM);
    check_eq(what.started, 0);
}

PROMISE(map, of_values_of_settled_promises_and_of_nothing_succeeds)
{
    static const int errors[] = {0, 0, 0, 0, 0, 0, 0};
    for (unsigned at_once = 0; at_once < 10; at_once++) { /* also more than there are */
        trial what = {.errors = errors, .at_once = at_once % 2 != 0};
        ferry_map map = {.start = start_trial, .arg = &what, .count = 7, .at_once = at_once};
        expect(make_map(map), 0, 28);
        check_eq(what.started, 7);
        map.count = 0;
        ferry_promise *promise = make_map(map);
        run_all();
        check(ferry_promise_get_member(promise, 0) == NULL);
        expect(promise, 0, 0);
        check_eq(what.started, 7);
    }
}
