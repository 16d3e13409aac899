/* SPDX-License-Identifier: MIT */
/* What tests of promises need again and again: own ones, blocks, threads that end. */
#ifndef FERRY_TESTS_PROMISES_H
#define FERRY_TESTS_PROMISES_H

#include "tests/harness.h"

/* ---- promises of the test's own -------------------------------------------------------------- */

static inline ferry_promise *make(void)
{
    ferry_promise *promise;
    check_eq(ferry_promise_create(&promise), 0);
    return promise;
}

static inline void settle(ferry_promise *promise, int error, uint64_t sent)
{
    const ferry_outcome outcome = {.result = {.error = error, .sent = sent}};
    check_eq(ferry_promise_settle(promise, &outcome), 0);
}

static inline ferry_promise *make_settled(int error, uint64_t sent)
{
    ferry_promise *promise = make();
    settle(promise, error, sent);
    return promise;
}

static inline void drop(ferry_promise *promise)
{
    ferry_promise_unref(promise);
}

/* ---- promises made of others ----------------------------------------------------------------- */

static inline ferry_promise *make_then(ferry_promise *first, ferry_block *block, void *arg)
{
    ferry_promise *derived;
    check_eq(ferry_promise_then(first, block, arg, &derived), 0);
    return derived;
}

static inline ferry_promise *make_or_else(ferry_promise *first, ferry_block *block, void *arg)
{
    ferry_promise *derived;
    check_eq(ferry_promise_or_else(first, block, arg, &derived), 0);
    return derived;
}

static inline ferry_promise *make_catch(ferry_promise *first, int error, ferry_block *block,
                                        void *arg)
{
    ferry_promise *derived;
    check_eq(ferry_promise_catch(first, error, block, arg, &derived), 0);
    return derived;
}

static inline ferry_promise *make_followed_by(ferry_promise *first, ferry_block *block, void *arg)
{
    ferry_promise *derived;
    check_eq(ferry_promise_followed_by(first, block, arg, &derived), 0);
    return derived;
}

static inline ferry_promise *make_chain(ferry_promise *first, ferry_chain chain)
{
    ferry_promise *derived;
    check_eq(ferry_promise_chain(first, &chain, &derived), 0);
    return derived;
}

/* ferry_promise_all, _any, _race or _all_settled; and one of so many parts by it. */
typedef int grouping(ferry_promise *const parts[], size_t count, ferry_promise **ret_derived);

static inline ferry_promise *make_group(grouping *group, ferry_promise *const parts[], size_t count)
{
    ferry_promise *derived;
    check_eq(group(parts, count, &derived), 0);
    return derived;
}

static inline ferry_promise *make_shield(ferry_promise *first)
{
    ferry_promise *derived;
    check_eq(ferry_promise_without_cancel(first, &derived), 0);
    return derived;
}

static inline ferry_promise *make_when_quiet(ferry_promise *first)
{
    ferry_promise *derived;
    check_eq(ferry_promise_when_quiet(first, &derived), 0);
    return derived;
}

/* A time that does not come. */
enum { NEVER_MS = 1000 * 1000 };

static inline ferry_promise *make_timeout(ferry_promise *first, int64_t timeout_ms)
{
    ferry_promise *derived;
    check_eq(ferry_promise_timeout(first, timeout_ms, &derived), 0);
    return derived;
}

static inline ferry_promise *make_after(int64_t delay_ms)
{
    ferry_promise *promise;
    check_eq(ferry_promise_after(delay_ms, &promise), 0);
    return promise;
}

/* What they are made with is borrowed during the call. */
static inline ferry_promise *make_retry(ferry_retry retry)
{
    ferry_promise *promise;
    check_eq(ferry_promise_retry(&retry, &promise), 0);
    return promise;
}

static inline ferry_promise *make_map(ferry_map map)
{
    ferry_promise *promise;
    check_eq(ferry_promise_map(&map, &promise), 0);
    return promise;
}

/* ---- outcomes -------------------------------------------------------------------------------- */

/* Runs this thread's callbacks, and those that they cause, until none waits. */
static inline void run_all(void)
{
    while (ferry_inbox_run(0) > 0) {
    }
}

static inline bool is_pending(ferry_promise *promise)
{
    return ferry_promise_await(promise, 0, NULL) == -ETIMEDOUT;
}

static inline ferry_result result_of(ferry_promise *promise)
{
    ferry_result result;
    check_eq(ferry_promise_await(promise, 0, &result), 0);
    return result;
}

/* Runs what waits, expects an outcome, gives the reference back. */
static inline void expect(ferry_promise *promise, int error, uint64_t sent)
{
    run_all();
    ferry_result result = result_of(promise);
    check_eq(result.error, error);
    check_eq(result.sent, sent);
    drop(promise);
}

/* The same of what comes in its time. */
static inline void expect_in_time(ferry_promise *promise, int error, uint64_t sent)
{
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    expect(promise, error, sent);
}

/* Cancels it, expects that it settles so, gives the reference back. */
static inline void call_off(ferry_promise *promise)
{
    check_eq(ferry_promise_cancel(promise), 0);
    expect(promise, -ECANCELED, 0);
}

/* A callback: notes arg, a number, in the order of running. */
static unsigned order[8], order_count;

static inline void note(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise;
    (void)result;
    check(order_count < sizeof order / sizeof order[0]);
    order[order_count++] = (unsigned)(uintptr_t)arg;
}

/* A value's release: counts in the value itself. */
static inline void note_release(void *value)
{
    ++*(unsigned *)value;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* What a block does, and how often it ran. */
typedef struct script {
    ferry_promise *next; /* to give; NULL: the outcome, changed thus: */
    int error;
    uint64_t more; /* added to what was sent */
    unsigned runs;
} script;

static inline ferry_promise *play(ferry_promise *settled, ferry_outcome *outcome, void *arg)
{
    script *what = arg;
    check(!is_pending(settled));
    what->runs++;
    outcome->result.error = what->error;
    outcome->result.sent += what->more;
    return what->next;
}

/* What attempts, or items, come to. */
typedef struct trial {
    const int *errors; /* of each; 1: a promise that the test settles */
    bool at_once;      /* without a promise */
    unsigned *value;   /* which an outcome at once also has, released by note_release; NULL: none */
    unsigned started;
    unsigned most_pending;
    unsigned settled;
    ferry_promise *pending[16];
} trial;

static inline ferry_promise *start_trial(size_t number, ferry_outcome *outcome, void *arg)
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
    outcome->value = what->value;
    outcome->release = what->value != NULL ? note_release : NULL;
    return NULL;
}

/* ---- threads --------------------------------------------------------------------------------- */

/* How long chains are, that are to come out on a small stack. */
enum { LONG = 100 * 1000 };

/* 64 KiB, where a stack may be as small: aarch64's have twice that at least. */
static inline size_t small_stack(void)
{
    size_t wanted = 64 * 1024, least = (size_t)sysconf(_SC_THREAD_STACK_MIN);
    return wanted > least ? wanted : least;
}

static inline void run_on_small_stack(void *(*body)(void *), void *arg)
{
    pthread_attr_t attributes;
    pthread_t thread;
    check_eq(pthread_attr_init(&attributes), 0);
    check_eq(pthread_attr_setstacksize(&attributes, small_stack()), 0);
    check_eq(pthread_create(&thread, &attributes, body, arg), 0);
    check_eq(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

#endif
