/* SPDX-License-Identifier: MIT */
/* What callbacks and blocks are handed is released once, whatever becomes of them. */
#include "tests/promises.h"

/* An arg: counts how often it was used and released; use after release fails. */
typedef struct kept {
    script what; /* first: what a block does */
    atomic_uint used, released;
    pthread_t releaser;
} kept;

static void release_kept(void *data, void *arg)
{
    kept *self = arg;
    check(data == NULL);
    self->releaser = pthread_self();
    atomic_fetch_add(&self->released, 1);
}

static void use(kept *self)
{
    check_eq(atomic_load(&self->released), 0);
    atomic_fetch_add(&self->used, 1);
}

static void use_in_callback(ferry_promise *, const ferry_result *, void *arg)
{
    use(arg);
}

static ferry_promise *use_in_block(ferry_promise *, ferry_outcome *, void *arg)
{
    kept *self = arg;
    use(self);
    return self->what.next;
}

static ferry_promise *use_in_start(size_t number, ferry_outcome *outcome, void *arg)
{
    kept *self = arg;
    use(self);
    outcome->result.error = number < 2 ? self->what.error : 0;
    return NULL;
}

static void check_kept(const kept *self, unsigned used, unsigned released)
{
    check_eq(atomic_load(&self->used), used);
    check_eq(atomic_load(&self->released), released);
}

/* ---- observers ------------------------------------------------------------------------------- */

PROMISE(releases, callbacks_arg_is_released_when_it_has_run_each_its_own)
{
    for (unsigned early = 0; early < 2; early++) {
        AT_END(drop_promise) ferry_promise *promise = early ? make_settled(0, 0) : make();
        kept args[3] = {0};
        for (unsigned i = 0; i < 3; i++)
            check_eq(ferry_promise_observe(promise, use_in_callback, &args[i], release_kept), 0);
        if (!early)
            settle(promise, 0, 0);
        for (unsigned i = 0; i < 3; i++)
            check_kept(&args[i], 0, 0); /* not inside a call */
        run_all();
        for (unsigned i = 0; i < 3; i++) {
            check_kept(&args[i], 1, 1);
            check(pthread_equal(args[i].releaser, pthread_self()));
        }
    }
}

PROMISE(releases, hooks_arg_is_released_whether_it_was_cancelled_or_not)
{
    for (unsigned i = 0; i < 3; i++) {
        kept arg = {0};
        AT_END(drop_promise) ferry_promise *promise = make();
        if (i == 2)
            settle(promise, 0, 0);
        check_eq(ferry_promise_on_cancel(promise, use_in_callback, &arg, release_kept), 0);
        if (i == 0)
            check_eq(ferry_promise_cancel(promise), 0);
        else if (i == 1)
            settle(promise, -EIO, 0);
        run_all();
        check_kept(&arg, i == 0, 1);
    }
}

PROMISE(releases, refused_call_releases_nothing)
{
    kept arg = {0};
    ferry_promise *promise = make_settled(0, 0), *none;
    const ferry_chain chain = {
        .on_done = use_in_block, .error = 1, .arg = &arg, .release = release_kept};
    const ferry_retry retry = {.arg = &arg, .release = release_kept};
    const ferry_map map = {.arg = &arg, .release = release_kept};
    check_eq(ferry_promise_observe(NULL, use_in_callback, &arg, release_kept), -EINVAL);
    check_eq(ferry_promise_observe(promise, NULL, &arg, release_kept), -EINVAL);
    check_eq(ferry_promise_on_cancel(promise, NULL, &arg, release_kept), -EINVAL);
    check_eq(ferry_promise_chain(promise, &chain, &none), -EINVAL);
    check_eq(ferry_promise_retry(&retry, &none), -EINVAL);
    check_eq(ferry_promise_map(&map, &none), -EINVAL);
    for (unsigned long n = 1; n <= 3; n++) {
        const ferry_retry repeated = {.start = use_in_start, .arg = &arg, .release = release_kept};
        fail_allocation(n);
        if (ferry_promise_retry(&repeated, &none) == 0) {
            allow_allocations();
            expect(none, 0, 0);
            check_kept(&arg, 1, 1);
            drop(promise);
            return;
        }
        check_kept(&arg, 0, 0);
    }
    check(false);
}

/* ---- threads that end ------------------------------------------------------------------------ */

typedef struct scene {
    ferry_promise *promise;
    kept args[5];
} scene;

static void *register_all_and_end(void *arg)
{
    scene *s = arg;
    const ferry_chain chain = {
        .on_done = use_in_block, .arg = &s->args[2], .release = release_kept};
    const ferry_retry retry = {.start = use_in_start, .arg = &s->args[3], .release = release_kept};
    const ferry_map map = {
        .start = use_in_start, .arg = &s->args[4], .count = 1, .release = release_kept};
    check_eq(ferry_promise_observe(s->promise, use_in_callback, &s->args[0], release_kept), 0);
    check_eq(ferry_promise_on_cancel(s->promise, use_in_callback, &s->args[1], release_kept), 0);
    check_eq(ferry_promise_chain(s->promise, &chain, NULL), 0);
    check_eq(ferry_promise_retry(&retry, NULL), 0);
    check_eq(ferry_promise_map(&map, NULL), 0);
    return NULL;
}

PROMISE(releases, thread_that_ends_before_releases_all_that_it_registered)
{
    for (unsigned early = 0; early < 2; early++) {
        scene s = {.promise = early ? make_settled(0, 0) : make()};
        run_to_its_end(register_all_and_end, &s);
        if (!early)
            settle(s.promise, 0, 0);
        for (unsigned i = 0; i < 5; i++)
            check_kept(&s.args[i], 0, 1);
        drop(s.promise);
    }
}

static void end_thread_in_callback(ferry_promise *, const ferry_result *, void *arg)
{
    use(arg);
    pthread_exit(NULL);
}

static ferry_promise *end_thread_in_block(ferry_promise *, ferry_outcome *, void *arg)
{
    use(arg);
    pthread_exit(NULL);
}

static void *end_in_a_callback(void *arg)
{
    scene *s = arg;
    check_eq(ferry_promise_observe(s->promise, end_thread_in_callback, &s->args[0], release_kept),
             0);
    (void)ferry_inbox_run(-1);
    return NULL;
}

static void *end_in_a_block(void *arg)
{
    scene *s = arg;
    const ferry_chain chain = {
        .on_done = end_thread_in_block, .arg = &s->args[1], .release = release_kept};
    check_eq(ferry_promise_chain(s->promise, &chain, NULL), 0);
    (void)ferry_inbox_run(-1);
    return NULL;
}

PROMISE(releases, callback_or_block_that_ends_its_thread_has_its_arg_released)
{
    scene s = {.promise = make_settled(0, 0)};
    run_to_its_end(end_in_a_callback, &s);
    run_to_its_end(end_in_a_block, &s);
    check_kept(&s.args[0], 1, 1);
    check_kept(&s.args[1], 1, 1);
    drop(s.promise);
}

/* At the end of a thread, when its inbox has closed: ferry makes it another one. */
static void use_promises_once_more(void *)
{
    drop(make_settled(0, 0));
}

static pthread_key_t at_thread_end; /* made after ferry's, and looked at after it */

static void *end_in_a_callback_and_go_on(void *arg)
{
    scene *s = arg;
    check_eq(pthread_setspecific(at_thread_end, arg), 0);
    check_eq(ferry_promise_observe(s->promise, end_thread_in_callback, &s->args[0], NULL), 0);
    (void)ferry_inbox_run(-1);
    return NULL;
}

PROMISE(releases, promise_lives_until_the_end_of_a_thread_that_its_callback_ends_and_no_longer)
{
    scene s = {.promise = make_settled(0, 0)};
    check_eq(pthread_key_create(&at_thread_end, use_promises_once_more), 0);
    run_to_its_end(end_in_a_callback_and_go_on, &s);
    check_kept(&s.args[0], 1, 0);
    drop(s.promise);
    pthread_key_delete(at_thread_end);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

PROMISE(releases, chains_arg_is_released_before_the_sequence_settles_whether_a_block_ran_or_not)
{
    for (int error = 0; error >= -EIO; error -= EIO) {
        kept arg = {0};
        AT_END(drop_promise) ferry_promise *first = make_settled(error, 0);
        arg.what.next = error == 0 ? make_settled(0, 0) : NULL;
        const ferry_chain chain = {.on_done = use_in_block, .arg = &arg, .release = release_kept};
        expect(make_chain(first, chain), error, 0);
        check_kept(&arg, error == 0, 1);
    }
}

PROMISE(releases, chain_that_is_cancelled_has_its_arg_released)
{
    kept arg = {0};
    AT_END(drop_promise) ferry_promise *first = make();
    const ferry_chain chain = {.on_done = use_in_block, .arg = &arg, .release = release_kept};
    call_off(make_chain(first, chain));
    check_kept(&arg, 0, 1);
}

PROMISE(releases, retrys_and_maps_arg_is_released_after_the_last_use)
{
    kept args[2] = {{.what.error = -EIO}, {.what.error = 0}};
    const ferry_retry retry = {.start = use_in_start, .arg = &args[0], .release = release_kept};
    const ferry_map map = {
        .start = use_in_start, .arg = &args[1], .count = 4, .release = release_kept};
    ferry_promise *tried = make_retry(retry), *mapped = make_map(map);
    expect_in_time(tried, 0, 0);
    expect(mapped, 0, 0);
    check_kept(&args[0], 3, 1);
    check_kept(&args[1], 4, 1);
}
