/* SPDX-License-Identifier: MIT */
/* Promises that follow another: conformance P, row by row. */
#include "tests/promises.h"

PROMISE(chain, block_follows_success_or_failure_and_gives_a_value)
{
    for (unsigned early = 0; early < 2; early++) { /* settled before, or later: the same */
        for (int error = 0; error >= -EIO; error -= EIO) {
            script done = {.more = 1}, failed = {.more = 2}, either = {.more = 4, .error = -EPERM};
            AT_END(drop_promise) ferry_promise *first = make();
            if (early)
                settle(first, error, 8);
            ferry_promise *and_then = make_then(first, play, &done);
            ferry_promise *or_else = make_or_else(first, play, &failed);
            ferry_promise *followed_by = make_followed_by(first, play, &either);
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
        }
    }
}

PROMISE(chain, block_gives_another_promise_which_is_waited_for)
{
    for (unsigned early = 0; early < 2; early++) {
        AT_END(drop_promise) ferry_promise *first = make_settled(0, 0);
        script next = {.next = early ? make_settled(-EPIPE, 5) : make()};
        AT_END(drop_promise) ferry_promise *second = ferry_promise_ref(next.next);
        ferry_promise *sequence = make_then(first, play, &next);
        if (!early) {
            run_all();
            check(is_pending(sequence));
            settle(second, -EPIPE, 5);
        }
        expect(sequence, -EPIPE, 5);
    }
}

PROMISE(chain, catch_is_by_error_and_passes_on_all_others)
{
    static const int errors[] = {0, -EIO, -ENOENT, -ECANCELED};
    for (unsigned i = 0; i < 4; i++) {
        script caught = {.more = 1};
        AT_END(drop_promise) ferry_promise *first = make_settled(errors[i], 0);
        bool is_caught = errors[i] == -ENOENT;
        expect(make_catch(first, -ENOENT, play, &caught), is_caught ? 0 : errors[i], is_caught);
        check_eq(caught.runs, is_caught);
    }
}

/* A settled promise of such a cause. */
static ferry_promise *make_called_off(ferry_cause cause)
{
    const ferry_outcome outcome = {.result = {.error = -ECANCELED, .cause = cause}};
    ferry_promise *promise = make();
    check_eq(ferry_promise_settle(promise, &outcome), 0);
    return promise;
}

PROMISE(chain, failure_that_nobody_wanted_is_handled_and_a_cancel_is_passed_on)
{
    for (ferry_cause cause = FERRY_CAUSE_NONE; cause <= FERRY_CAUSE_GONE; cause++) {
        bool is_cancel = cause == FERRY_CAUSE_NONE || cause == FERRY_CAUSE_CANCEL;
        script any = {0}, just_that = {0};
        AT_END(drop_promise) ferry_promise *first = make_called_off(cause);
        ferry_promise *or_else = make_or_else(first, play, &any);
        ferry_promise *caught = make_catch(first, -ECANCELED, play, &just_that);
        expect(or_else, is_cancel ? -ECANCELED : 0, 0);
        expect(caught, 0, 0);
        check_eq(any.runs, !is_cancel);
        check_eq(just_that.runs, 1);
    }
}

PROMISE(chain, outcome_of_a_cancel_says_so)
{
    ferry_promise *first = make(), *forsaken = make();
    script never = {0};
    ferry_promise *sequence = make_then(first, play, &never), *followed = make_shield(forsaken);
    ferry_promise *timed = make_after(NEVER_MS);
    check_eq(ferry_promise_cancel(sequence), 0);
    check_eq(ferry_promise_cancel(timed), 0);
    drop(forsaken); /* only what was made of it observes it any more */
    run_all();
    check_eq(result_of(sequence).cause, FERRY_CAUSE_CANCEL);
    check_eq(result_of(first).cause, FERRY_CAUSE_CANCEL);
    check_eq(result_of(timed).cause, FERRY_CAUSE_CANCEL);
    check_eq(result_of(followed).cause, FERRY_CAUSE_CANCEL);
    drop(first), drop(sequence), drop(timed), drop(followed);
}

PROMISE(chain, catches_follow_one_another_each_for_its_own_error)
{
    script not_there = {.error = -EIO}, broken = {.more = 1}, again = {0};
    AT_END(drop_promise) ferry_promise *first = make_settled(-ENOENT, 0);
    ferry_promise *second = make_catch(first, -ENOENT, play, &not_there);
    ferry_promise *third = make_catch(second, -ENOENT, play, &again);
    ferry_promise *last = make_catch(third, -EIO, play, &broken);
    expect(last, 0, 1);
    expect(third, -EIO, 0);
    expect(second, -EIO, 0);
    check_eq(not_there.runs + broken.runs, 2);
    check_eq(again.runs, 0);
}

/* Two blocks of one chain. Each does what would call for the other, at once or by a promise. */
typedef struct opposites {
    bool at_once;
    unsigned runs;
} opposites;

static ferry_promise *come_to(int error, ferry_outcome *outcome, opposites *what)
{
    what->runs++;
    outcome->result.error = error;
    return what->at_once ? NULL : make_settled(error, 0);
}

static ferry_promise *fail(ferry_promise *, ferry_outcome *outcome, void *arg)
{
    return come_to(-EPERM, outcome, arg);
}

static ferry_promise *mend(ferry_promise *, ferry_outcome *outcome, void *arg)
{
    return come_to(0, outcome, arg);
}

PROMISE(chain, one_of_its_blocks_runs_once_whatever_that_comes_to)
{
    for (unsigned at_once = 0; at_once < 2; at_once++) {
        opposites what = {.at_once = at_once};
        const ferry_chain chain = {.on_done = fail, .on_failed = mend, .arg = &what};
        ferry_promise *done = make_settled(0, 0), *failed = make_settled(-EIO, 0);
        expect(make_chain(done, chain), -EPERM, 0);
        check_eq(what.runs, 1);
        expect(make_chain(failed, chain), 0, 0);
        check_eq(what.runs, 2);
        drop(done);
        drop(failed);
    }
}

PROMISE(chain, on_a_cancelled_promise_is_cancelled_and_runs_no_block)
{
    script done = {0}, failed = {0}, either = {0}, asked_for = {0};
    AT_END(drop_promise) ferry_promise *first = make();
    ferry_promise *derived[4];
    derived[0] = make_then(first, play, &done);
    derived[1] = make_or_else(first, play, &failed);
    check_eq(ferry_promise_cancel(first), 0);
    derived[2] = make_followed_by(first, play, &either);
    derived[3] = make_catch(first, -ECANCELED, play, &asked_for);
    for (unsigned i = 0; i < 3; i++)
        expect(derived[i], -ECANCELED, 0);
    expect(derived[3], 0, 0);
    check_eq(done.runs + failed.runs + either.runs, 0);
    check_eq(asked_for.runs, 1);
}

PROMISE(chain, cancelling_a_sequence_cancels_whichever_part_is_pending)
{
    script next = {.next = make()};
    ferry_promise *first = make(), *second = ferry_promise_ref(next.next);
    ferry_promise *sequence = make_then(first, play, &next);
    settle(first, 0, 0);
    run_all();
    call_off(sequence);
    expect(second, -ECANCELED, 0); /* the second part was pending */
    drop(first);

    script never = {0};
    first = make();
    ferry_promise *middle = make_then(first, play, &never);
    sequence = make_then(middle, play, &never);
    call_off(sequence);
    expect(middle, -ECANCELED, 0); /* all the way down */
    expect(first, -ECANCELED, 0);
    check_eq(never.runs, 0);
}

PROMISE(chain, block_that_gives_what_is_cancelled_leaves_a_cancelled_sequence)
{
    for (unsigned by = 0; by < 3; by++) { /* before, later, without a promise */
        script next = {.next = by < 2 ? make() : NULL, .error = -ECANCELED}, never = {0};
        AT_END(drop_promise)
        ferry_promise *first = make_settled(0, 0), *second = ferry_promise_ref(next.next);
        if (by == 0)
            check_eq(ferry_promise_cancel(second), 0);
        ferry_promise *sequence = make_then(first, play, &next);
        ferry_promise *more = make_or_else(sequence, play, &never);
        run_all();
        if (by == 1)
            check_eq(ferry_promise_cancel(second), 0);
        expect(sequence, -ECANCELED, 0);
        expect(more, -ECANCELED, 0);
        check_eq(never.runs, 0);
    }
}

/* Cancels its own sequence, and drops it where it is the only one to hold it. */
typedef struct self_destroyer {
    ferry_promise *sequence;
    ferry_promise *next; /* NULL: succeeds at once */
    bool drops;
} self_destroyer;

static ferry_promise *destroy_own_sequence(ferry_promise *, ferry_outcome *, void *arg)
{
    self_destroyer *self = arg;
    check_eq(ferry_promise_cancel(self->sequence), 0);
    check(is_pending(self->sequence));
    if (self->drops)
        drop(self->sequence);
    return ferry_promise_ref(self->next);
}

PROMISE(chain, block_may_cancel_its_own_sequence_and_so_what_it_gives)
{
    self_destroyer self = {.next = make()};
    AT_END(drop_promise) ferry_promise *first = make_settled(0, 0);
    self.sequence = make_then(first, destroy_own_sequence, &self);
    expect(self.sequence, -ECANCELED, 0);
    expect(self.next, -ECANCELED, 0);

    self.next = NULL; /* then it is too late: the block was faster */
    self.sequence = make_then(first, destroy_own_sequence, &self);
    expect(self.sequence, 0, 0);
}

PROMISE(chain, block_may_drop_the_last_reference_to_its_own_sequence)
{
    for (unsigned gives = 0; gives < 2; gives++) {
        self_destroyer self = {.next = gives ? make() : NULL, .drops = true};
        ferry_promise *first = make_settled(0, 0);
        self.sequence = make_then(first, destroy_own_sequence, &self);
        drop(first);
        run_all();
        if (gives)
            expect(self.next, -ECANCELED, 0);
    }
}

PROMISE(chain, hooks_of_whichever_part_is_pending_run_in_reverse_order_and_no_others)
{
    order_count = 0;
    script next = {.next = make()};
    AT_END(drop_promise)
    ferry_promise *first = make();
    ferry_promise *second = ferry_promise_ref(next.next);
    ferry_promise *sequence = make_then(first, play, &next);
    check_eq(ferry_promise_on_cancel(first, note, (void *)9, NULL), 0);
    check_eq(ferry_promise_on_cancel(second, note, (void *)4, NULL), 0);
    check_eq(ferry_promise_on_cancel(second, note, (void *)3, NULL), 0);
    check_eq(ferry_promise_on_cancel(sequence, note, (void *)2, NULL), 0);
    check_eq(ferry_promise_on_cancel(sequence, note, (void *)1, NULL), 0);
    settle(first, 0, 0);
    run_all();
    check_eq(ferry_promise_cancel(sequence), 0);
    check_eq(order_count, 0);
    expect(sequence, -ECANCELED, 0);
    expect(second, -ECANCELED, 0);
    check_eq(order_count, 4);
    for (unsigned i = 0; i < 4; i++)
        check_eq(order[i], i + 1);
}

PROMISE(chain, what_reaches_the_home_first_of_outcome_and_cancel_counts)
{
    for (unsigned cancel_first = 0; cancel_first < 2; cancel_first++) {
        script next = {.more = 1};
        ferry_promise *first = make(), *sequence = make_then(first, play, &next);
        if (cancel_first)
            check_eq(ferry_promise_cancel(sequence), 0);
        settle(first, 0, 3);
        if (!cancel_first)
            check_eq(ferry_promise_cancel(sequence), 0);
        check_eq(ferry_promise_cancel(sequence), 0); /* once more: the same */
        expect(sequence, cancel_first ? -ECANCELED : 0, cancel_first ? 0 : 4);
        check_eq(next.runs, !cancel_first);
        expect(first, 0, 3);
    }
}

static void *cancel_on_thread(void *promise)
{
    check_eq(ferry_promise_cancel(promise), 0);
    return NULL;
}

PROMISE(chain, cancel_may_come_from_any_thread)
{
    script never = {0};
    ferry_promise *first = make(), *sequence = make_then(first, play, &never);
    pthread_t thread = start_thread(cancel_on_thread, sequence);
    check_eq(ferry_promise_await(sequence, -1, NULL), 0);
    pthread_join(thread, NULL);
    expect(sequence, -ECANCELED, 0);
    expect(first, -ECANCELED, 0);
}

PROMISE(chain, dropping_the_sequence_breaks_neither_the_first_promise_nor_the_block)
{
    script next = {0};
    ferry_promise *first = make(), *sequence = make_then(first, play, &next);
    drop(sequence);
    check_eq(ferry_promise_then(first, play, &next, NULL), 0);
    check(is_pending(first));
    settle(first, 0, 3);
    expect(first, 0, 3);
    check_eq(next.runs, 2);
}

PROMISE(chain, block_that_gives_its_own_sequence_is_edeadlk)
{
    script next = {0};
    AT_END(drop_promise) ferry_promise *first = make_settled(0, 0);
    ferry_promise *sequence = make_then(first, play, &next);
    next.next = ferry_promise_ref(sequence);
    expect(sequence, -EDEADLK, 0);
}

PROMISE(chain, block_may_give_the_promise_that_it_follows)
{
    for (int error = 0; error >= -EIO; error -= EIO) {
        AT_END(drop_promise) ferry_promise *first = make_settled(error, 5);
        script same = {.next = ferry_promise_ref(first)};
        expect(make_followed_by(first, play, &same), error, 5);
        check_eq(same.runs, 1);
    }
}

PROMISE(chain, sequence_that_waits_for_what_waits_for_it_ends_by_a_cancel)
{
    for (unsigned which = 0; which < 2; which++) {
        AT_END(drop_promise)
        ferry_promise *first = make();
        ferry_promise *ends[2]; /* the sequence, and what is made of it */
        script next = {0};
        ends[0] = make_then(first, play, &next);
        ends[1] = make_group(ferry_promise_race, &ends[0], 1);
        next.next = ferry_promise_ref(ends[1]);
        settle(first, 0, 0);
        run_all();
        check(is_pending(ends[0]) && is_pending(ends[1]));
        check_eq(ferry_promise_cancel(ends[which]), 0);
        expect(ends[0], -ECANCELED, 0);
        expect(ends[1], -ECANCELED, 0);
    }
}

PROMISE(chain, promise_whose_only_reference_a_block_gives_is_cancelled)
{
    script next = {.next = make()};
    AT_END(drop_promise) ferry_promise *first = make_settled(0, 0);
    expect(make_then(first, play, &next), -ECANCELED, 0); /* nobody is left who could settle it */
}

PROMISE(chain, block_that_gives_what_is_pending_in_the_parent_process_is_echild)
{
    AT_END(drop_promise) ferry_promise *parents = make();
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        script next = {.next = parents};
        ferry_promise *first = make_settled(0, 0);
        expect(make_then(first, play, &next), -ECHILD, 0);
        _exit(0);
    }
    await_child(child);
    settle(parents, 0, 0);
}

static ferry_promise *wait_in_vain(ferry_promise *settled, ferry_outcome *, void *arg)
{
    check_eq(ferry_promise_await(settled, -1, NULL), -EDEADLK);
    check_eq(ferry_promise_await_all(&settled, 1, -1), -EDEADLK);
    check_eq(ferry_inbox_run(0), -EDEADLK);
    ++*(unsigned *)arg;
    return NULL;
}

/* Pins: no_silent_wait. */
PROMISE(no_silent_wait, waiting_inside_a_block_is_edeadlk_at_once)
{
    unsigned runs = 0;
    AT_END(drop_promise) ferry_promise *first = make_settled(0, 0);
    check_eq(ferry_promise_then(first, wait_in_vain, &runs, NULL), 0);
    run_all();
    check_eq(runs, 1);
}

static unsigned released;

static ferry_promise *put_value(ferry_promise *, ferry_outcome *outcome, void *arg)
{
    outcome->value = arg;
    outcome->release = note_release;
    return NULL;
}

PROMISE(chain, value_is_passed_on_and_lives_as_long_as_any_promise_that_has_it)
{
    unsigned other = 0;
    script same = {0};
    ferry_promise *first = make(), *second = make_then(first, play, &same);
    ferry_promise *third = make_group(ferry_promise_race, &second, 1);
    ferry_promise *last = make_then(third, put_value, &other);
    const ferry_outcome outcome = {.value = &released, .release = note_release};
    check_eq(ferry_promise_settle(first, &outcome), 0);
    drop(first);
    drop(second);
    run_all();
    check(ferry_promise_get_value(third) == &released);
    check_eq(released, 0);
    drop(third);
    check_eq(released, 1);
    check(ferry_promise_get_value(last) == &other);
    check_eq(other, 0);
    drop(last);
    check_eq(other, 1);
}
