/* SPDX-License-Identifier: MIT */
#include "core/derived.h"

#include "core/hooks.h"
#include "core/thread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

/* ---- settling -------------------------------------------------------------------------------- */

static void cancel_waiting(ferry__derived *derived)
{
    for (size_t i = 0; i < derived->tie_count && derived->waiting > 0; i++) {
        const ferry__tie *tie = &derived->ties[i];
        if (tie->is_waiting && !tie->is_exempt)
            (void)ferry_promise_cancel(tie->observer.promise);
    }
}

/* On the home thread. @param origin whose value the outcome has; NULL: it is given. */
static void settle(ferry__derived *derived, const ferry_outcome *outcome, ferry_promise *origin)
{
    derived->is_settled = true;
    ferry__release_arg(derived->release, derived->arg); /* no block runs any more */
    ferry__own_settle(&derived->own, outcome, origin);
    cancel_waiting(derived);
}

/* On any thread, since the home thread has ended or is ending in a block. */
static void give_up(ferry__derived *derived)
{
    if (atomic_exchange(&derived->is_given_up, true) || derived->is_settled)
        return;
    derived->is_settled = true;
    ferry__log(FERRY_LOG_WARNING, "a thread ended before a promise that it had made of others "
                                  "could settle: cancelled");
    ferry_outcome outcome = ferry__own_gone(&derived->own);
    ferry__release_arg(derived->release, derived->arg);
    ferry__own_settle(&derived->own, &outcome, NULL);
}

/* ---- a part has settled ---------------------------------------------------------------------- */

/* A tie on its way through deliver. */
typedef struct delivery {
    ferry__derived *derived;
    ferry_promise *part;
    bool is_kept; /* the tie keeps the reference to the part */
} delivery;

static bool apply_rule(ferry__derived *derived, const ferry__tie *tie, ferry_outcome *outcome)
{
    derived->is_in_rule = true;
    bool settles = derived->rule(derived, (size_t)(tie - derived->ties), outcome);
    derived->is_in_rule = false;
    return settles;
}

static void keep_part(delivery *this, ferry__tie *tie)
{
    if (!this->derived->keeps_parts || tie->is_waiting)
        return; /* not wanted, or the tie waits for another now */
    tie->kept = this->part;
    this->is_kept = true;
}

static void look_at_part(delivery *this, ferry__tie *tie)
{
    ferry__derived *derived = this->derived;
    if (derived->is_settled)
        return;
    tie->is_waiting = false;
    derived->waiting--;
    ferry_outcome outcome = {.result = this->part->result,
                             .value = ferry_promise_get_value(this->part)};
    const void *value = outcome.value;
    bool settles = apply_rule(derived, tie, &outcome);
    keep_part(this, tie);
    bool is_parts = outcome.value == value && outcome.release == NULL;
    if (settles)
        settle(derived, &outcome, is_parts ? ferry__own_origin(this->part) : NULL);
}

static void finish_delivery(void *arg)
{
    delivery *this = arg;
    if (this->derived->is_in_rule)
        give_up(this->derived); /* a block has ended its thread */
    if (!this->is_kept)
        ferry__promise_unobserve(this->part);
    (void)ferry_promise_unref(&this->derived->own.promise); /* the tie's */
}

static void deliver(ferry__mail *mail, bool receiver_gone)
{
    ferry__tie *tie = (ferry__tie *)(void *)mail;
    delivery this = {.derived = tie->derived, .part = tie->observer.promise};
    pthread_cleanup_push(finish_delivery, &this);
    ferry__promise_note_seen(this.part);
    if (receiver_gone)
        give_up(this.derived);
    else
        look_at_part(&this, tie);
    pthread_cleanup_pop(1);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

static void deliver_cancel(ferry__mail *mail, bool receiver_gone)
{
    ferry__derived *derived =
        (ferry__derived *)(void *)((char *)mail - offsetof(ferry__derived, cancel_mail));
    if (receiver_gone) {
        give_up(derived);
    } else if (!derived->is_settled) {
        ferry_outcome outcome = ferry__own_cancelled(FERRY_CAUSE_CANCEL);
        settle(derived, &outcome, NULL);
    }
    (void)ferry_promise_unref(&derived->own.promise); /* the mail's */
}

static void cancel(ferry_promise *promise)
{
    ferry__derived *derived = (ferry__derived *)(void *)promise;
    ferry__own_post_home(&derived->own, &derived->cancel_mail);
}

/* ---- making one ------------------------------------------------------------------------------ */

static void drop_kept(ferry__tie *tie)
{
    if (tie->kept != NULL)
        ferry__promise_unobserve(tie->kept);
    tie->kept = NULL;
}

static void deinit(ferry__own *own)
{
    ferry__derived *derived = (ferry__derived *)(void *)own;
    for (size_t i = 0; i < derived->tie_count; i++)
        drop_kept(&derived->ties[i]);
}

static const ferry__own_type derived_type = {
    .promise = {.destroy = ferry__own_destroy, .cancel = cancel},
    .deinit = deinit,
};

int ferry__derived_create(ferry__rule *rule, size_t tie_count, ferry__derived **ret_derived)
{
    if (ferry__thread_current()->owner != NULL)
        return -EDEADLK;
    ferry__inbox *home = ferry__inbox_current();
    size_t ties_size, size;
    if (home == NULL || __builtin_mul_overflow(tie_count, sizeof(ferry__tie), &ties_size) ||
        __builtin_add_overflow(ties_size, sizeof(ferry__derived), &size))
        return -ENOMEM;
    ferry__derived *derived = ferry__allocate_zeroed(size);
    if (derived == NULL)
        return -ENOMEM;
    ferry__own_init(&derived->own, home, &derived_type);
    derived->rule = rule;
    derived->cancel_mail.deliver = deliver_cancel;
    derived->tie_count = tie_count;
    *ret_derived = derived;
    return 0;
}

int ferry__derived_wait(ferry__derived *derived, size_t index, ferry_promise *part)
{
    ferry__tie *tie = &derived->ties[index];
    assert(!tie->is_waiting && tie->kept == NULL);
    if (part == &derived->own.promise)
        return -EDEADLK;
    if (ferry__promise_poll(part) == -ECHILD)
        return -ECHILD;
    tie->observer.mail.deliver = deliver;
    tie->observer.inbox = ferry__own_home(&derived->own);
    tie->derived = derived;
    tie->is_waiting = true;
    derived->waiting++;
    (void)ferry_promise_ref(&derived->own.promise);
    ferry__promise_observe(part, &tie->observer);
    return 0;
}

ferry_promise *ferry_promise_get_member(const ferry_promise *promise, size_t index)
{
    if (promise == NULL || promise->type != &derived_type.promise ||
        !ferry__promise_is_settled(promise))
        return NULL;
    const ferry__derived *derived = (const ferry__derived *)(const void *)promise;
    return index < derived->tie_count ? derived->ties[index].kept : NULL;
}
