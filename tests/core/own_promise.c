/* SPDX-License-Identifier: MIT */
/* Promises that a program settles itself: settling, values, hooks, reports. */
#include "tests/promises.h"

#include "core/hooks.h"

#include <dlfcn.h>

/* ---- settling -------------------------------------------------------------------------------- */

PROMISE(own_promise, is_pending_then_done_or_failed_or_cancelled_and_keeps_its_result)
{
    static const int errors[] = {0, -EIO};
    for (unsigned i = 0; i < 2; i++) {
        AT_END(drop_promise) ferry_promise *promise = make();
        check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
        const ferry_outcome given = {.result = {.error = errors[i], .sent = 7, .sequence = 9}};
        check_eq(ferry_promise_settle(promise, &given), 0);
        for (unsigned look = 0; look < 2; look++) {
            ferry_result result = result_of(promise);
            check_eq(result.error, errors[i]);
            check_eq(result.sent, 7);
            check_eq(result.sequence, 9);
        }
        check_eq(ferry_promise_cancel(promise), -EALREADY);
    }
    AT_END(drop_promise) ferry_promise *promise = make();
    check_eq(ferry_promise_cancel(promise), 0);
    check_eq(result_of(promise).error, -ECANCELED);
    check_eq(ferry_promise_cancel(promise), -EALREADY);
}

PROMISE(own_promise, settling_twice_is_refused_and_changes_nothing)
{
    AT_END(drop_promise) ferry_promise *promise = make();
    settle(promise, -EPIPE, 0);
    check_eq(ferry_promise_settle(promise, NULL), -EALREADY);
    check_eq(result_of(promise).error, -EPIPE);
}

static unsigned released;

PROMISE(own_promise, settling_after_cancel_is_ignored_and_releases_the_value)
{
    ferry_promise *promise = make();
    check_eq(ferry_promise_cancel(promise), 0);
    const ferry_outcome outcome = {.value = &released, .release = note_release};
    check_eq(ferry_promise_settle(promise, &outcome), 0);
    check_eq(released, 1);
    check_eq(ferry_promise_settle(promise, NULL), 0);
    check_eq(result_of(promise).error, -ECANCELED);
    check(ferry_promise_get_value(promise) == NULL);
    ferry_promise_unref(promise);
    check_eq(released, 1);
}

PROMISE(own_promise, value_lives_as_long_as_the_promise_and_is_released_once)
{
    ferry_promise *promise = make();
    check(ferry_promise_get_value(promise) == NULL);
    const ferry_outcome outcome = {.value = &released, .release = note_release};
    check_eq(ferry_promise_settle(promise, &outcome), 0);
    check_eq(ferry_promise_settle(promise, &outcome), -EALREADY); /* and not taken */
    check(ferry_promise_get_value(promise) == &released);
    check_eq(released, 0);
    ferry_promise_unref(promise);
    check_eq(released, 1);
}

PROMISE(own_promise, settled_with_nothing_has_succeeded_and_has_no_value)
{
    for (unsigned way = 0; way < 3; way++) {
        const ferry_outcome nothing = {0};
        AT_END(drop_promise) ferry_promise *promise = make();
        check_eq(way == 0   ? ferry_promise_settle(promise, NULL)
                 : way == 1 ? ferry_promise_settle(promise, NULL)
                            : ferry_promise_settle(promise, &nothing),
                 0);
        check_eq(result_of(promise).error, 0);
        check_eq(result_of(promise).phase, FERRY_PHASE_DONE);
        check(ferry_promise_get_value(promise) == NULL);
    }
}

PROMISE(own_promise, only_an_own_promise_can_be_settled)
{
    ferry_promise *first = make(), *derived = make_shield(first), *after = make_after(0);
    check_eq(ferry_promise_settle(derived, NULL), -EINVAL);
    check_eq(ferry_promise_settle(after, NULL), -EINVAL);
    settle(first, 0, 0);
    drop(first);
    expect(derived, 0, 0);
    expect(after, 0, 0);
}

PROMISE(own_promise, bad_arguments_are_einval)
{
    AT_END(drop_promise) ferry_promise *promise = make();
    const ferry_outcome positive = {.result.error = EIO};
    size_t index;
    check_eq(ferry_promise_create(NULL), -EINVAL);
    check_eq(ferry_promise_settle(NULL, NULL), -EINVAL);
    check_eq(ferry_promise_settle(promise, &positive), -EINVAL);
    check_eq(ferry_promise_on_cancel(promise, NULL, NULL, NULL), -EINVAL);
    check_eq(ferry_promise_on_cancel(NULL, count_up, NULL, NULL), -EINVAL);
    check_eq(ferry_promise_set_label(NULL, "x"), -EINVAL);
    ferry_promise_info info;
    check_eq(ferry_promise_get_info(promise, NULL), -EINVAL);
    check_eq(ferry_promise_get_info(NULL, &info), -EINVAL);
    check_eq(ferry_promise_await_all(NULL, 1, 0), -EINVAL);
    check_eq(ferry_promise_await_all(&promise, 1, -2), -EINVAL);
    check_eq(ferry_promise_await_any(&promise, 0, 0, &index), -EINVAL);
    check(ferry_promise_get_value(NULL) == NULL);
    settle(promise, 0, 0);
}

PROMISE(own_promise, without_memory_is_enomem)
{
    ferry_promise *promise;
    check(ferry_inbox_run(0) == 0); /* the inbox is there */
    fail_allocation(1);
    check_eq(ferry_promise_create(&promise), -ENOMEM);
    allow_allocations();
}

PROMISE(own_promise, with_one_callback_is_one_allocation)
{
    check(ferry_inbox_run(0) == 0);
    unsigned runs = 0;
    unsigned long before = allocations_made();
    ferry_promise *promise = make();
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
    settle(promise, 0, 0);
    check_eq(runs, 0); /* never inside the call */
    check_eq(ferry_inbox_run(0), 1);
    ferry_promise_unref(promise);
    check_eq(runs, 1);
    check_eq(allocations_made() - before, 1);
}

/* Settles the promises whose number is a multiple of step, and cancels the others. */
typedef struct rival {
    ferry_promise **promises;
    unsigned step;
} rival;

static void *settle_and_cancel(void *arg)
{
    const rival *self = arg;
    for (unsigned i = 0; self->promises[i] != NULL; i++) {
        int error = i % self->step != 0 ? ferry_promise_cancel(self->promises[i])
                                        : ferry_promise_settle(self->promises[i], NULL);
        check(error == 0 || error == -EALREADY);
        ferry_promise_unref(self->promises[i]);
    }
    return NULL;
}

/* Pins: exactly_once. */
PROMISE(exactly_once, own_promise_settles_once_however_threads_settle_and_cancel_it)
{
    enum { COUNT = 3000 };
    static ferry_promise *promises[COUNT + 1];
    unsigned runs = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        promises[i] = ferry_promise_ref(make());
        check_eq(ferry_promise_observe(promises[i], count_up, &runs, NULL), 0);
    }
    rival one = {promises, 2}, other = {promises, 3};
    pthread_t threads[2] = {start_thread(settle_and_cancel, &one),
                            start_thread(settle_and_cancel, &other)};
    while (runs < COUNT)
        check(ferry_inbox_run(-1) > 0);
    join_threads(threads, 2);
    check_eq(ferry_inbox_run(0), 0);
    check_eq(runs, COUNT);
}

static void *settle_without_a_reference(void *promise)
{
    settle(promise, 0, 0);
    return NULL;
}

PROMISE(own_promise, may_be_settled_on_the_reference_of_whoever_waits_for_it)
{
    for (unsigned i = 0; i < 1000; i++) {
        ferry_promise *promise = make();
        AT_END(join_thread) pthread_t thread = start_thread(settle_without_a_reference, promise);
        if (i % 2 != 0)
            check_eq(ferry_promise_await(promise, -1, NULL), 0);
        else
            check_eq(ferry_promise_await_all(&promise, 1, -1), 0);
        drop(promise); /* while the other may still be in its call */
    }
}

PROMISE(own_promise, of_a_parent_process_is_echild_in_its_child)
{
    ferry_promise *promise = make();
    unsigned runs = 0;
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        bool right = ferry_promise_settle(promise, NULL) == -ECHILD &&
                     ferry_promise_cancel(promise) == -ECHILD &&
                     ferry_promise_await_all(&promise, 1, -1) == -ECHILD &&
                     ferry_promise_await_any(&promise, 1, -1, NULL) == -ECHILD &&
                     ferry_promise_without_cancel(promise, NULL) == -ECHILD &&
                     ferry_promise_observe(promise, count_up, &runs, NULL) == -ECHILD &&
                     ferry_promise_on_cancel(promise, count_up, &runs, NULL) == -ECHILD;
        unsigned long lines = lines_logged();
        ferry_promise_unref(promise); /* and nobody is told, nor is it reported as dropped */
        _exit(right && ferry_inbox_run(0) == 0 && lines_logged() == lines ? 0 : 1);
    }
    await_child(child);
    settle(promise, 0, 0);
    check_eq(ferry_inbox_run(0), 1);
    ferry_promise_unref(promise);
}

/* ---- dropped --------------------------------------------------------------------------------- */

static void expect_cancelled(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, -ECANCELED);
    ++*(unsigned *)arg;
}

PROMISE(own_promise, dropped_while_pending_settles_as_cancelled_for_those_who_observe_it)
{
    unsigned runs = 0;
    ferry_promise *promise = make();
    check_eq(ferry_promise_observe(promise, expect_cancelled, &runs, NULL), 0);
    check_eq(ferry_promise_observe(promise, expect_cancelled, &runs, NULL), 0);
    ferry_promise_unref(promise);
    check_eq(ferry_inbox_run(0), 2);
    check_eq(runs, 2);
}

enum { DROPS = 3000 };

/* Promises that two threads drop: each at the same time as the other. */
typedef struct dropping {
    ferry_promise *promises[DROPS];
    atomic_uint come[2]; /* how many each thread is about to have dropped */
    atomic_uint threads; /* that have begun */
} dropping;

static void *drop_in_step(void *arg)
{
    dropping *all = arg;
    unsigned me = atomic_fetch_add(&all->threads, 1);
    for (unsigned i = 0; i < DROPS; i++) {
        atomic_store(&all->come[me], i + 1);
        for (unsigned looks = 0; atomic_load(&all->come[1 - me]) <= i; looks++)
            if (looks > 1000) /* the other needs this processor, perhaps */
                sched_yield();
        ferry_promise_unref(all->promises[i]);
    }
    return NULL;
}

PROMISE(own_promise, dropped_by_two_threads_at_once_is_noticed)
{
    static dropping all;
    unsigned runs = 0;
    for (unsigned i = 0; i < DROPS; i++) {
        all.promises[i] = ferry_promise_ref(make());
        check_eq(ferry_promise_observe(all.promises[i], expect_cancelled, &runs, NULL), 0);
    }
    pthread_t threads[2];
    start_threads(threads, 2, drop_in_step, &all);
    join_threads(threads, 2);
    run_all();
    check_eq(runs, DROPS);
}

/* ---- hooks ----------------------------------------------------------------------------------- */

PROMISE(on_cancel, hooks_run_in_reverse_order_before_callbacks_and_not_inside_the_cancel)
{
    AT_END(drop_promise) ferry_promise *promise = make();
    check_eq(ferry_promise_observe(promise, note, (void *)4, NULL), 0);
    check_eq(ferry_promise_on_cancel(promise, note, (void *)3, NULL), 0);
    check_eq(ferry_promise_on_cancel(promise, note, (void *)2, NULL), 0);
    check_eq(ferry_promise_observe(promise, note, (void *)5, NULL), 0);
    check_eq(ferry_promise_on_cancel(promise, note, (void *)1, NULL), 0);
    check_eq(ferry_promise_cancel(promise), 0);
    check_eq(order_count, 0);
    check_eq(ferry_inbox_run(0), 5);
    for (unsigned i = 0; i < 5; i++)
        check_eq(order[i], i + 1);
    check_eq(ferry_promise_on_cancel(promise, note, (void *)6, NULL), 0); /* late: still told */
    check_eq(ferry_inbox_run(0), 1);
    check_eq(order[5], 6);
}

PROMISE(on_cancel, hooks_are_released_unrun_once_the_promise_is_ready)
{
    static const int errors[] = {0, -EIO};
    for (unsigned i = 0; i < 2; i++) {
        AT_END(drop_promise) ferry_promise *promise = make();
        long before = allocations_outstanding();
        for (unsigned hook = 0; hook < 3; hook++)
            check_eq(ferry_promise_on_cancel(promise, note, NULL, NULL), 0);
        settle(promise, errors[i], 0);
        check_eq(allocations_outstanding(), before);
        check_eq(ferry_promise_on_cancel(promise, note, NULL, NULL), 0);
        (void)ferry_inbox_run(0);
        check_eq(order_count, 0);
        (void)result_of(promise);
    }
}

static void *hook_and_end(void *arg)
{
    check_eq(ferry_promise_on_cancel(arg, note, NULL, NULL), 0);
    return NULL;
}

PROMISE(on_cancel, hooks_of_a_thread_that_ended_are_told_to_the_log_if_it_is_cancelled)
{
    for (unsigned cancelled = 0; cancelled < 2; cancelled++) {
        AT_END(drop_promise) ferry_promise *promise = make();
        run_to_its_end(hook_and_end, promise);
        unsigned long lines = lines_logged();
        if (cancelled)
            check_eq(ferry_promise_cancel(promise), 0);
        else
            settle(promise, 0, 0);
        check_eq(lines_logged() - lines, cancelled);
        check_eq(order_count, 0);
    }
}

/* ---- long chains ----------------------------------------------------------------------------- */

static unsigned submitted;

static void submit_again(ferry_promise *, const ferry_result *, void *arg)
{
    if (++submitted == LONG)
        return;
    AT_END(drop_promise) ferry_promise *next = make_settled(0, 0);
    check_eq(ferry_promise_observe(next, submit_again, arg, NULL), 0);
}

static void *submit_again_and_again(void *arg)
{
    ferry_promise *first = make_settled(0, 0);
    check_eq(ferry_promise_observe(first, submit_again, arg, NULL), 0);
    ferry_promise_unref(first);
    while (submitted < LONG)
        check_eq(ferry_inbox_run(-1), 1);
    return NULL;
}

PROMISE(own_promise, long_chain_of_callbacks_that_submit_again_runs_on_a_small_stack)
{
    run_on_small_stack(submit_again_and_again, NULL);
}

/* ---- reports --------------------------------------------------------------------------------- */

/* What the log hook is told in debug builds, and only there. */
static void expect_lines(unsigned long before, unsigned long in_debug)
{
#ifdef NDEBUG
    in_debug = 0;
#endif
    check_eq(lines_logged() - before, in_debug);
}

PROMISE(reports, promise_dropped_while_pending_is_reported_in_debug_builds)
{
    unsigned long before = lines_logged();
    ferry_promise_unref(make());
    expect_lines(before, 1);
    unsigned runs = 0;
    ferry_promise *promise = make();
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
    ferry_promise_unref(promise);
    expect_lines(before, 2);
    check_eq(ferry_inbox_run(0), 1);
    expect_lines(before, 2);
}

PROMISE(reports, failure_that_nobody_looked_at_is_reported_in_debug_builds)
{
    unsigned long before = lines_logged();
    unsigned runs = 0;
    for (unsigned way = 0; way < 4; way++) {
        ferry_promise *promise = make_settled(-EIO, 0);
        if (way == 0)
            (void)result_of(promise);
        else if (way == 1)
            check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
        else if (way == 2)
            check_eq(ferry_promise_all_settled(&promise, 1, NULL), 0);
        ferry_promise_unref(promise);
        run_all();
    }
    expect_lines(before, 1); /* the last, at which nobody looked */
    drop(make_settled(-ECANCELED, 0));
    expect_lines(before, 1);
}

PROMISE(reports, looking_without_asking_for_the_result_is_not_looking)
{
    unsigned long before = lines_logged();
    ferry_promise *promise = make_settled(-EIO, 0);
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    check_eq(ferry_promise_await_all(&promise, 1, -1), 0);
    drop(promise);
    expect_lines(before, 1);
}

PROMISE(reports, failure_of_what_was_made_of_others_is_the_one_that_is_reported)
{
    unsigned long before = lines_logged();
    ferry_promise *promise = make_settled(-EIO, 0), *sequence = make_shield(promise);
    drop(promise);
    run_all();
    expect_lines(before, 0);
    drop(sequence);
    run_all();
    expect_lines(before, 1);
}

static ferry_promise *succeed(size_t, ferry_outcome *, void *)
{
    return NULL;
}

/* One of each kind that is made of others. */
static void make_each(ferry_promise *first, ferry_promise *ret_made[4])
{
    ret_made[0] = make_chain(first, (ferry_chain){0});
    ret_made[1] = make_group(ferry_promise_all, &first, 1);
    ret_made[2] = make_retry((ferry_retry){.start = succeed});
    ret_made[3] = make_map((ferry_map){.start = succeed});
}

PROMISE(reports, what_is_made_of_others_has_label_and_times_too)
{
    static const char *const labels[] = {"chain", "group", "retry", "map"};
    AT_END(drop_promise) ferry_promise *first = make_settled(0, 0);
    ferry_promise *made[4];
    make_each(first, made);
    ferry_promise_info before[4], after;
    for (unsigned i = 0; i < 4; i++) {
        check_eq(ferry_promise_set_label(made[i], labels[i]), 0);
        check_eq(ferry_promise_get_info(made[i], &before[i]), 0);
        check(strcmp(before[i].label, labels[i]) == 0);
        check(!before[i].is_settled && before[i].created_ns > 0 && before[i].settled_ns == 0);
    }
    run_all();
    for (unsigned i = 0; i < 4; i++) {
        check_eq(ferry_promise_get_info(made[i], &after), 0);
        check(after.is_settled && after.settled_ns >= before[i].created_ns);
        check_eq(after.created_ns, before[i].created_ns);
        drop(made[i]);
    }
}

/* A label that is gone, and would be seen to be, as soon as the call has returned. */
static char *short_lived(const char *text)
{
    return strdup(text);
}

static void end_life(char *label)
{
    memset(label, 'Z', strlen(label));
    free(label);
}

static void check_label(const ferry_promise *promise, const char *label)
{
    ferry_promise_info info;
    check_eq(ferry_promise_get_info(promise, &info), 0);
    check((info.label == NULL) == (label == NULL));
    check(label == NULL || strcmp(info.label, label) == 0);
}

PROMISE(reports, labels_are_copied_whatever_promise_they_name)
{
    AT_END(drop_promise) ferry_promise *first = make_settled(0, 0);
    ferry_promise *made[5] = {make()};
    make_each(first, made + 1);
    char *label = short_lived("mine");
    for (unsigned i = 0; i < 5; i++)
        check_eq(ferry_promise_set_label(made[i], label), 0);
    end_life(label);
    settle(made[0], 0, 0);
    run_all();
    for (unsigned i = 0; i < 5; i++) {
        check_label(made[i], "mine");
        drop(made[i]);
    }
}

PROMISE(reports, label_that_was_replaced_is_still_there_for_who_has_looked_before)
{
    AT_END(drop_promise) ferry_promise *promise = make_settled(0, 0);
    ferry_promise_info before;
    char *label = short_lived("one");
    check_label(promise, NULL);
    check_eq(ferry_promise_set_label(promise, NULL), 0);
    check_eq(ferry_promise_set_label(promise, label), 0);
    end_life(label);
    check_eq(ferry_promise_get_info(promise, &before), 0);
    check_eq(ferry_promise_set_label(promise, "another"), 0);
    check_label(promise, "another");
    check_eq(ferry_promise_set_label(promise, NULL), 0);
    check_label(promise, NULL);
    check(strcmp(before.label, "one") == 0);
}

PROMISE(reports, label_is_cut_at_63_bytes_and_a_whole_character)
{
    AT_END(drop_promise) ferry_promise *promise = make_settled(0, 0);
    char label[101] = {0};
    memset(label, 'a', 100);
    check_eq(ferry_promise_set_label(promise, label), 0);
    label[63] = '\0';
    check_label(promise, label);
    unsigned long made = allocations_made();
    check_eq(ferry_promise_set_label(promise, label), 0); /* the same: nothing is added */
    check_eq(allocations_made(), made);
    memcpy(label + 61, "\xe2\x82\xac", 4); /* three bytes of one character, the last beyond */
    check_eq(ferry_promise_set_label(promise, label), 0);
    label[61] = '\0';
    check_label(promise, label);
}

PROMISE(reports, label_without_memory_is_enomem_and_changes_nothing)
{
    AT_END(drop_promise) ferry_promise *promise = make_settled(0, 0);
    check_eq(ferry_promise_set_label(promise, "one"), 0);
    fail_allocation(1);
    check_eq(ferry_promise_set_label(promise, "two"), -ENOMEM);
    allow_allocations();
    check_label(promise, "one");
}

static void *relabel(void *promise)
{
    char label[16];
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(label, sizeof label, "label %u", i);
        check_eq(ferry_promise_set_label(promise, label), 0);
    }
    return NULL;
}

PROMISE(reports, labels_are_set_by_several_threads_while_others_look)
{
    AT_END(drop_promise) ferry_promise *promise = make_settled(0, 0);
    pthread_t threads[2];
    start_threads(threads, 2, relabel, promise);
    for (unsigned i = 0; i < 1000; i++) {
        ferry_promise_info info;
        check_eq(ferry_promise_get_info(promise, &info), 0);
        check(info.label == NULL || strncmp(info.label, "label ", 6) == 0);
    }
    join_threads(threads, 2);
    check_label(promise, "label 999");
}

PROMISE(reports, label_and_times_are_kept)
{
    char label[] = "upload 1";
    ferry_promise *promise = make();
    ferry_promise_info info;
    check_eq(ferry_promise_set_label(promise, label), 0);
    memset(label, 'x', strlen(label));
    check_eq(ferry_promise_get_info(promise, &info), 0);
    check(strcmp(info.label, "upload 1") == 0);
    check(!info.is_settled && info.created_ns > 0 && info.settled_ns == 0);
    settle(promise, 0, 0);
    check_eq(ferry_promise_get_info(promise, &info), 0);
    check(info.is_settled && info.settled_ns >= info.created_ns);
    check_eq(ferry_promise_set_label(promise, "other"), 0);
    check_eq(ferry_promise_get_info(promise, &info), 0);
    check(strcmp(info.label, "other") == 0);
    ferry_promise_unref(promise);
}

#ifndef NDEBUG
__attribute__((noinline)) static void drop_from_here(void)
{
    AT_END(drop_promise) ferry_promise *promise;
    check_eq(ferry_promise_create(&promise), 0);
    check_eq(ferry_promise_set_label(promise, "lost"), 0);
}

/* Makes a promise that fails, of another: by a call that makes more calls inside. */
__attribute__((noinline)) static void fail_from_here(void)
{
    ferry_promise *failed = make(), *derived;
    settle(failed, -EIO, 0);
    check_eq(ferry_promise_without_cancel(failed, &derived), 0);
    ferry_promise_unref(failed);
    check(ferry_inbox_run(0) > 0);
    ferry_promise_unref(derived);
}

/* Whether the last report names a place in a function of this program. */
static bool names_a_place_in(void (*function)(void))
{
    Dl_info module;
    const char *place = strstr(last_line_logged(), "+0x");
    check(place != NULL && dladdr((const void *)(uintptr_t)function, &module) != 0);
    size_t begin = (uintptr_t)function - (uintptr_t)module.dli_fbase;
    size_t offset = strtoul(strstr(place, "0x"), NULL, 16);
    enum { LONGEST = 1000 }; /* sanitized, too */
    return offset > begin && offset - begin < LONGEST;
}

PROMISE(reports, promise_is_named_by_its_label_and_by_the_place_that_made_it)
{
    drop_from_here();
    check(strncmp(last_line_logged(), "'lost' (", 8) == 0);
    check(names_a_place_in(drop_from_here));
    fail_from_here();
    check(names_a_place_in(fail_from_here));
}
#endif
