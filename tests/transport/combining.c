/* SPDX-License-Identifier: MIT */
/* Transfers made into others with <ferry/combine.h>, together with the program's own work. */
#include "tests/promises.h"
#include "tests/support.h"

typedef struct job {
    ferry_stream *stream;
    const test_file *file;
    ferry_promise *looked_up; /* the program's own work */
} job;

/* One after the other: own work, then a head, then a file. */
static ferry_promise *send_file(ferry_promise *, ferry_outcome *outcome, void *arg)
{
    const job *self = arg;
    check_eq(outcome->result.error, 0);
    return submit_file(self->stream, ferry_file_at(self->file->path));
}

static ferry_promise *send_head(ferry_promise *, ferry_outcome *outcome, void *arg)
{
    const job *self = arg;
    check_eq(outcome->result.error, 0);
    return submit_write(self->stream, "head", 4);
}

static void *look_up(void *arg)
{
    check_eq(ferry_promise_settle(arg, NULL), 0);
    ferry_promise_unref(arg);
    return NULL;
}

PROMISE_EITHER(combining, own_work_and_transfers_follow_one_another)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    AT_END(file_remove) test_file file = file_make(100 * 1000, 7);
    job self = {.stream = s.stream, .file = &file};
    self.looked_up = make();
    ferry_promise *head = make_then(self.looked_up, send_head, &self);
    ferry_promise *all = make_then(head, send_file, &self);
    ferry_promise_unref(head);
    pthread_t thread = start_thread(look_up, self.looked_up);
    check_outcome(all, .error = 0, .sent = file.size, .stream_offset = 4);
    pthread_join(thread, NULL);
    stage_close_got_bytes(&s, file.size + 4);
}

PROMISE_EITHER(combining, all_of_several_writes_adds_up_their_bytes)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    ferry_promise *writes[8];
    for (unsigned i = 0; i < 8; i++)
        writes[i] = submit_write(s.stream, "12345678", i + 1);
    ferry_promise *all = make_group(ferry_promise_all, writes, 8);
    for (unsigned i = 0; i < 8; i++)
        ferry_promise_unref(writes[i]);
    check_eq(ferry_promise_await(all, -1, NULL), 0);
    uint64_t offset = 0;
    for (unsigned i = 0; i < 8; i++) {
        ferry_result part;
        check_eq(ferry_promise_await(ferry_promise_get_member(all, i), 0, &part), 0);
        check_eq(part.stream_offset, offset);
        offset += part.sent;
    }
    check_eq(outcome(all).sent, 36);
    (void)stage_close_stream(&s);
    stage_end(&s);
}

PROMISE_EITHER(combining, timeout_calls_a_stuck_write_off_and_says_how_much_left)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs), *limited = make_timeout(stuck, 10);
    check_eq(outcome(limited).error, -ETIMEDOUT);
    ferry_result result = outcome(stuck);
    check_eq(result.error, -ECANCELED);
    check_eq(result.sent + result.remaining, STUCK_BYTES);
    check(result.sent > 0);
    ferry_stream_abort(s.stream);
}

PROMISE_EITHER(combining, promises_made_of_others_outlive_their_service)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *parts[2] = {submit_stuck(s.stream, s.theirs), submit_write(s.stream, "x", 1)};
    ferry_promise *settled = make_group(ferry_promise_all_settled, parts, 2);
    ferry_stream_abort(s.stream);
    stage_end(&s);
    for (unsigned i = 0; i < 2; i++)
        ferry_promise_unref(parts[i]);
    check_eq(ferry_promise_await(settled, -1, NULL), 0);
    ferry_result last;
    check_eq(ferry_promise_await(ferry_promise_get_member(settled, 1), 0, &last), 0);
    check_eq(last.error, -ECANCELED);
    check_eq(outcome(settled).error, 0);
}

PROMISE_EITHER(reports, request_has_a_label_and_its_failure_that_nobody_saw_is_reported)
{
    for (unsigned looks = 0; looks < 2; looks++) {
        stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        ferry_promise *failing = submit_file(s.stream, ferry_file_at("/nowhere"));
        unsigned long lines = lines_logged();
        ferry_promise_info info;
        ferry_result result;
        check_eq(ferry_promise_set_label(failing, "upload"), 0);
        check_eq(ferry_promise_await(failing, -1, looks ? &result : NULL), 0);
        check_eq(ferry_promise_get_info(failing, &info), 0);
        check(strcmp(info.label, "upload") == 0 && info.is_settled);
        check(info.created_ns > 0 && info.settled_ns >= info.created_ns);
        ferry_promise_unref(failing);
        stage_end(&s); /* the owner's reference is gone, too */
#ifdef NDEBUG
        check_eq(lines_logged() - lines, 0);
#else
        check_eq(lines_logged() - lines, !looks);
#endif
    }
}

static ferry_promise *never_start(size_t, ferry_outcome *, void *)
{
    abort();
}

static void never_called(ferry_promise *, const ferry_result *, void *)
{
    abort();
}

/* An owner runs no inbox: nothing is made of promises there, and nothing awaited. */
static void try_on_owner(ferry_promise *promise, const ferry_result *, void *arg)
{
    const ferry_retry retry = {.start = never_start};
    const ferry_map map = {.start = never_start, .count = 1};
    ferry_promise *derived;
    check_eq(ferry_promise_then(promise, send_head, arg, &derived), -EDEADLK);
    check_eq(ferry_promise_all(&promise, 1, &derived), -EDEADLK);
    check_eq(ferry_promise_all(NULL, 0, &derived), -EDEADLK);
    check_eq(ferry_promise_timeout(promise, 1, &derived), -EDEADLK);
    check_eq(ferry_promise_after(1, &derived), -EDEADLK);
    check_eq(ferry_promise_retry(&retry, &derived), -EDEADLK);
    check_eq(ferry_promise_map(&map, &derived), -EDEADLK);
    check_eq(ferry_promise_on_cancel(promise, never_called, NULL, NULL), -EDEADLK);
    check_eq(ferry_promise_await_all(&promise, 1, -1), -EDEADLK);
    check_eq(ferry_promise_await_any(&promise, 1, 1, NULL), -EDEADLK);
    ferry_promise *mine = make(); /* which somebody else may await */
    const ferry_outcome outcome = {.value = mine};
    check_eq(ferry_promise_settle(arg, &outcome), 0);
}

/* Pins: no_silent_wait. */
PROMISE_EITHER(no_silent_wait, combining_and_awaiting_many_on_an_owner_is_edeadlk_at_once)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    ferry_promise *tried = make();
    write_calling(s.stream, "x", 1, try_on_owner, tried);
    check_eq(ferry_promise_await(tried, -1, NULL), 0);
    ferry_promise *made_there = ferry_promise_get_value(tried);
    check_eq(ferry_promise_await(made_there, 1, NULL), -ETIMEDOUT);
    check_eq(ferry_promise_settle(made_there, NULL), 0);
    check_eq(outcome(made_there).error, 0);
    ferry_promise_unref(tried);
    (void)stage_close_stream(&s);
    stage_end(&s);
}

/* ---- depth ----------------------------------------------------------------------------------- */

typedef struct relay_race {
    ferry_stream *stream;
    unsigned left; /* writes to submit */
} relay_race;

static void submit_again(ferry_promise *, const ferry_result *result, void *arg)
{
    relay_race *self = arg;
    check_eq(result->error, 0);
    if (self->left == 0)
        return;
    self->left--;
    AT_END(drop_promise) ferry_promise *next = submit_write(self->stream, "x", 1);
    check_eq(ferry_promise_observe(next, submit_again, self, NULL), 0);
}

static void *submit_again_and_again(void *arg)
{
    const ferry_result begin = {0};
    relay_race *self = arg;
    submit_again(NULL, &begin, self);
    while (self->left > 0)
        check(ferry_inbox_run(-1) > 0);
    check_eq(ferry_inbox_run(-1), 1);
    return NULL;
}

PROMISE_EITHER(depth, long_chain_of_callbacks_that_submit_again_runs_on_a_small_stack)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    relay_race self = {.stream = s.stream, .left = LONG};
    run_on_small_stack(submit_again_and_again, &self);
    stage_close_got_bytes(&s, LONG);
}
