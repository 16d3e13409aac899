/* SPDX-License-Identifier: MIT */
/*
 * What can be made of promises: the rules of derived promises (core/derived.h), and the calls that
 * make them. Each rule says what becomes of a part that has settled; none of them cares for
 * cancelling, threads that end, or memory.
 *
 * The shortest passes the part's outcome on. It is all of race and without_cancel, and what every
 * other rule does in the end.
 */
#include "core/derived.h"
#include "core/reserved.h"
#include "core/sum.h"

#include <errno.h>

/* ---- rules that others are made of ----------------------------------------------------------- */

static bool pass_on(ferry__derived *derived, size_t index, ferry_outcome *outcome)
{
    (void)derived;
    (void)index;
    (void)outcome;
    return true;
}

static bool fail_with(ferry_outcome *outcome, int error)
{
    *outcome = (ferry_outcome){.result = {.error = error, .phase = FERRY_PHASE_QUEUE}};
    return true;
}

/* A block has given this outcome, and nobody gets it. */
static void release_value(const ferry_outcome *outcome)
{
    ferry__own_release_value(outcome->release, outcome->value);
}

/* Waits for a promise whose reference it takes; from then on another rule looks. */
static bool wait_for(ferry__derived *derived, size_t index, ferry_promise *promise,
                     ferry__rule *rule, ferry_outcome *outcome)
{
    derived->rule = rule;
    int error = ferry__derived_wait(derived, index, promise);
    (void)ferry_promise_unref(promise);
    return error != 0 && fail_with(outcome, error);
}

/* A program's own results may have any numbers. */
static void count(ferry__derived *derived, const ferry_result *result)
{
    derived->sum.sent = ferry__sum(derived->sum.sent, result->sent);
    derived->sum.remaining = ferry__sum(derived->sum.remaining, result->remaining);
}

/* Succeeds with the bytes of all that was counted, unless something is still to come. */
static bool sum_up(const ferry__derived *derived, ferry_outcome *outcome)
{
    *outcome = (ferry_outcome){.result = derived->sum};
    return derived->waiting == 0;
}

/* ---- making them ----------------------------------------------------------------------------- */

/* Gives a derived promise to a caller who wants it. */
static int hand_out(ferry_promise *promise, ferry_promise **ret_derived)
{
    if (ret_derived != NULL)
        *ret_derived = promise;
    else
        (void)ferry_promise_unref(promise);
    return 0;
}

static int check_parts(ferry_promise *const promises[], size_t number)
{
    if (promises == NULL && number > 0)
        return -EINVAL;
    for (size_t i = 0; i < number; i++)
        if (promises[i] == NULL)
            return -EINVAL;
    for (size_t i = 0; i < number; i++)
        if (ferry__promise_poll(promises[i]) == -ECHILD)
            return -ECHILD;
    return 0;
}

/* Makes one of promises that are checked, which waits for none of them yet. */
static int create_of(ferry__rule *rule, ferry_promise *const promises[], size_t number,
                     ferry__derived **ret_derived)
{
    int error = check_parts(promises, number);
    return error != 0 ? error : ferry__derived_create(rule, number > 0 ? number : 1, ret_derived);
}

static void wait_for_all(ferry__derived *derived, ferry_promise *const promises[])
{
    for (size_t i = 0; i < derived->tie_count; i++)
        (void)ferry__derived_wait(derived, i, promises[i]); /* checked before */
}

/* Makes one that begins, on its home thread, without waiting for anything: a part has settled. */
static int begin(ferry__derived *derived, ferry_promise **ret_derived)
{
    static const ferry_outcome nothing;
    ferry_promise *start = ferry__own_create_settled(&nothing);
    if (start == NULL) {
        (void)ferry_promise_unref(&derived->own.promise);
        return -ENOMEM;
    }
    (void)ferry__derived_wait(derived, 0, start);
    (void)ferry_promise_unref(start);
    return hand_out(&derived->own.promise, ret_derived);
}

/* ---- one after the other --------------------------------------------------------------------- */

/* Whether somebody wanted it called off: then no catch and no retry does anything about it. */
static bool is_cancel(const ferry_result *result)
{
    return result->error == -ECANCELED &&
           (result->cause == FERRY_CAUSE_CANCEL || result->cause == FERRY_CAUSE_NONE);
}

static ferry_block *choose_block(const ferry_chain *chain, const ferry_result *result)
{
    if (result->error == 0)
        return chain->on_done;
    bool is_meant = chain->error != 0 ? result->error == chain->error : !is_cancel(result);
    return is_meant ? chain->on_failed : NULL;
}

static bool follow(ferry__derived *derived, size_t index, ferry_outcome *outcome)
{
    const ferry_chain *chain = &derived->memory.chain;
    ferry_block *block = choose_block(chain, &outcome->result);
    if (block == NULL)
        return true;
    ferry_promise *next = block(derived->ties[index].observer.promise, outcome, chain->arg);
    return next == NULL || wait_for(derived, index, next, pass_on, outcome);
}

int ferry_promise_chain(ferry_promise *promise, const ferry_chain *chain,
                        ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    if (chain == NULL || chain->error > 0)
        return -EINVAL;
    if (FERRY__IS_NEWER(chain))
        return -E2BIG;
    ferry__derived *derived;
    int error = create_of(follow, &promise, 1, &derived);
    if (error != 0)
        return error;
    derived->memory.chain = *chain;
    derived->arg = chain->arg;
    derived->release = chain->release;
    wait_for_all(derived, &promise);
    return hand_out(&derived->own.promise, ret_derived);
}

int ferry_promise_then(ferry_promise *promise, ferry_block *block, void *arg,
                       ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    const ferry_chain chain = {.on_done = block, .arg = arg};
    return ferry_promise_chain(promise, &chain, ret_derived);
}

int ferry_promise_or_else(ferry_promise *promise, ferry_block *block, void *arg,
                          ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    return ferry_promise_catch(promise, 0, block, arg, ret_derived);
}

int ferry_promise_catch(ferry_promise *promise, int error, ferry_block *block, void *arg,
                        ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    const ferry_chain chain = {.on_failed = block, .error = error, .arg = arg};
    return ferry_promise_chain(promise, &chain, ret_derived);
}

int ferry_promise_followed_by(ferry_promise *promise, ferry_block *block, void *arg,
                              ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    const ferry_chain chain = {.on_done = block, .on_failed = block, .arg = arg};
    return ferry_promise_chain(promise, &chain, ret_derived);
}

/* ---- several at once ------------------------------------------------------------------------- */

static bool look_for_failure(ferry__derived *derived, size_t index, ferry_outcome *outcome)
{
    (void)index;
    if (outcome->result.error != 0)
        return true;
    count(derived, &outcome->result);
    return sum_up(derived, outcome);
}

static bool look_for_success(ferry__derived *derived, size_t index, ferry_outcome *outcome)
{
    (void)index;
    return outcome->result.error == 0 || derived->waiting == 0;
}

static bool look_for_the_last(ferry__derived *derived, size_t index, ferry_outcome *outcome)
{
    (void)index;
    count(derived, &outcome->result);
    return sum_up(derived, outcome);
}

static int group(ferry__rule *rule, ferry_promise *const promises[], size_t number,
                 ferry_promise **ret_derived)
{
    ferry__derived *derived;
    int error = create_of(rule, promises, number, &derived);
    if (error != 0)
        return error;
    derived->keeps_parts = number > 0;
    if (number == 0)
        return begin(derived, ret_derived);
    wait_for_all(derived, promises);
    return hand_out(&derived->own.promise, ret_derived);
}

int ferry_promise_all(ferry_promise *const promises[], size_t number, ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    return group(look_for_failure, promises, number, ret_derived);
}

int ferry_promise_any(ferry_promise *const promises[], size_t number, ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    return number == 0 ? -EINVAL : group(look_for_success, promises, number, ret_derived);
}

int ferry_promise_race(ferry_promise *const promises[], size_t number, ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    return number == 0 ? -EINVAL : group(pass_on, promises, number, ret_derived);
}

int ferry_promise_all_settled(ferry_promise *const promises[], size_t number,
                              ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    return group(look_for_the_last, promises, number, ret_derived);
}

/* Makes one that has the outcome of another. Exempt, patient: see ferry__tie, ferry__derived. */
static int stand_for(ferry_promise *promise, bool is_exempt, bool is_patient,
                     ferry_promise **ret_derived)
{
    ferry__derived *derived;
    int error = create_of(pass_on, &promise, 1, &derived);
    if (error != 0)
        return error;
    derived->ties[0].is_exempt = is_exempt;
    derived->is_patient = is_patient;
    wait_for_all(derived, &promise);
    return hand_out(&derived->own.promise, ret_derived);
}

int ferry_promise_without_cancel(ferry_promise *promise, ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    return stand_for(promise, true, false, ret_derived);
}

int ferry_promise_when_quiet(ferry_promise *promise, ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    return stand_for(promise, false, true, ret_derived);
}

/* ---- time ------------------------------------------------------------------------------------ */

enum { TIMED, TIMER, TIMED_PARTS }; /* the two parts of a timeout */

static bool watch_time(ferry__derived *derived, size_t index, ferry_outcome *outcome)
{
    (void)derived;
    return index == TIMED || fail_with(outcome, -ETIMEDOUT);
}

int ferry_promise_timeout(ferry_promise *promise, int64_t timeout_ms, ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    ferry_promise *parts[TIMED_PARTS] = {[TIMED] = promise};
    ferry__derived *derived;
    int error = check_parts(&promise, 1);
    if (error == 0)
        error = ferry_promise_after(timeout_ms, &parts[TIMER]);
    if (error != 0)
        return error;
    error = ferry__derived_create(watch_time, TIMED_PARTS, &derived);
    if (error == 0) {
        derived->ties[TIMER].is_time = true;
        wait_for_all(derived, parts);
    } else {
        (void)ferry_promise_cancel(parts[TIMER]);
    }
    (void)ferry_promise_unref(parts[TIMER]);
    return error == 0 ? hand_out(&derived->own.promise, ret_derived) : error;
}

/* ---- again ----------------------------------------------------------------------------------- */

static ferry__rule attempt, judge;

static bool is_worth_another(const ferry__derived *derived, const ferry_result *result)
{
    const ferry_retry *options = &derived->memory.retry.options;
    return result->error != 0 && !is_cancel(result) &&
           derived->memory.retry.attempts != options->attempts &&
           (options->is_worth == NULL || options->is_worth(result, options->arg));
}

static int64_t next_pause(ferry__derived *derived)
{
    int64_t pause = derived->memory.retry.pause_ms, twice;
    int64_t most = derived->memory.retry.options.most_pause_ms;
    if (__builtin_mul_overflow(pause, 2, &twice))
        twice = pause;
    if (most > 0 && pause > most)
        pause = most;
    derived->memory.retry.pause_ms = twice;
    return pause;
}

/* An attempt is over. */
static bool judge(ferry__derived *derived, size_t index, ferry_outcome *outcome)
{
    if (!is_worth_another(derived, &outcome->result))
        return true;
    release_value(outcome); /* of an attempt that came to its end at once */
    ferry_promise *pause;
    int error = ferry_promise_after(next_pause(derived), &pause);
    return error != 0 ? fail_with(outcome, error)
                      : wait_for(derived, index, pause, attempt, outcome);
}

/* A pause is over. */
static bool attempt(ferry__derived *derived, size_t index, ferry_outcome *outcome)
{
    const ferry_retry *options = &derived->memory.retry.options;
    *outcome = (ferry_outcome){0};
    ferry_promise *next = options->start(derived->memory.retry.attempts++, outcome, options->arg);
    return next == NULL ? judge(derived, index, outcome)
                        : wait_for(derived, index, next, judge, outcome);
}

int ferry_promise_retry(const ferry_retry *retry, ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    if (retry == NULL || retry->start == NULL || retry->pause_ms < 0 || retry->most_pause_ms < 0)
        return -EINVAL;
    if (FERRY__IS_NEWER(retry))
        return -E2BIG;
    ferry__derived *derived;
    int error = ferry__derived_create(attempt, 1, &derived);
    if (error != 0)
        return error;
    derived->memory.retry.options = *retry;
    derived->arg = retry->arg;
    derived->release = retry->release;
    derived->memory.retry.pause_ms = retry->pause_ms;
    return begin(derived, ret_derived);
}

/* ---- over a list ----------------------------------------------------------------------------- */

/* The promise of what an item came to at once; then it is like any other. Takes the value. */
static ferry_promise *settle_item(const ferry_outcome *outcome)
{
    ferry_promise *item = ferry__own_create_settled(outcome);
    if (item == NULL)
        release_value(outcome);
    return item;
}

/* Begins the work on the next item; if that fails at once it is the last one. @return whether to
 * settle, since it could not even be waited for. */
static bool start_item(ferry__derived *derived, ferry__rule *rule, ferry_outcome *outcome)
{
    ferry_map *options = &derived->memory.map.options;
    size_t number = derived->memory.map.started++;
    *outcome = (ferry_outcome){0};
    ferry_promise *item = options->start(number, outcome, options->arg);
    if (item == NULL && outcome->result.error != 0)
        options->count = derived->memory.map.started;
    if (item == NULL && (item = settle_item(outcome)) == NULL)
        return fail_with(outcome, -ENOMEM);
    return wait_for(derived, number, item, rule, outcome);
}

/* An item is done. */
static bool go_on(ferry__derived *derived, size_t index, ferry_outcome *outcome)
{
    (void)index;
    derived->keeps_parts = true; /* from here on the parts are items */
    if (outcome->result.error != 0)
        return true;
    count(derived, &outcome->result);
    if (derived->memory.map.started < derived->memory.map.options.count &&
        start_item(derived, go_on, outcome))
        return true;
    return sum_up(derived, outcome);
}

static bool start_first_items(ferry__derived *derived, size_t index, ferry_outcome *outcome)
{
    (void)index;
    const ferry_map *options = &derived->memory.map.options;
    while (derived->memory.map.started < options->count &&
           (options->at_once == 0 || derived->waiting < options->at_once))
        if (start_item(derived, go_on, outcome))
            return true;
    return sum_up(derived, outcome);
}

int ferry_promise_map(const ferry_map *map, ferry_promise **ret_derived)
{
    FERRY__REPORT_CALLER();
    if (map == NULL || map->start == NULL)
        return -EINVAL;
    if (FERRY__IS_NEWER(map))
        return -E2BIG;
    ferry__derived *derived;
    int error = ferry__derived_create(start_first_items, map->count > 0 ? map->count : 1, &derived);
    if (error != 0)
        return error;
    derived->memory.map.options = *map;
    derived->arg = map->arg;
    derived->release = map->release;
    return begin(derived, ret_derived);
}
