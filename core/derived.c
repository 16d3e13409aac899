/* SPDX-License-Identifier: MIT */
#include "core/derived.h"

#include "core/hooks.h"
#include "core/thread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

/* ---- being quiet ----------------------------------------------------------------------------- */

/* Whether something that a settled part was made of has not settled. After a fork nothing of the
 * parent's is under way here. */
static bool has_left(const ferry_promise *part)
{
    return (atomic_load(&part->state) & FERRY__SETTLES_EARLY) != 0 && ferry__promise_is_ours(part);
}

/* Whether being quiet depends on that tie's part. */
static bool counts(const ferry__tie *tie)
{
    return !tie->is_time && !tie->is_circular;
}

/* One less is left. @param is_shared whether other threads may do the same now. */
static void leave(ferry__derived *derived, bool is_shared)
{
    size_t before;
    if (is_shared) {
        before = atomic_fetch_sub(&derived->left, 1);
    } else {
        before = atomic_load_explicit(&derived->left, memory_order_relaxed);
        atomic_store_explicit(&derived->left, before - 1, memory_order_relaxed);
    }
    if (before == 1 && has_left(&derived->own.promise))
        ferry__observers_close(&derived->quiet_observers, NULL);
}

static void settle_early(ferry__derived *derived)
{
    (void)atomic_fetch_or(&derived->own.promise.state, FERRY__SETTLES_EARLY);
}

/* Has the tie's mail come once more, when its part is quiet. */
static void wait_for_quiet(ferry__tie *tie)
{
    ferry__derived *part = (ferry__derived *)(void *)tie->observer.promise;
    (void)ferry_promise_ref(&tie->derived->own.promise); /* the tie's */
    ferry__promise_enlist(&part->own.promise, &part->quiet_observers, &tie->observer);
}

/* ---- settling -------------------------------------------------------------------------------- */

static void cancel_waiting(ferry__derived *derived)
{
    for (size_t i = 0; i < derived->tie_count && derived->waiting > 0; i++)
        for (const ferry__tie *tie = &derived->ties[i]; tie != NULL; tie = tie->further)
            if (tie->is_waiting && !tie->is_exempt)
                (void)ferry_promise_cancel(tie->observer.promise);
}

/* On the home thread. @param origin whose value the outcome has; NULL: it is given. */
static void settle(ferry__derived *derived, const ferry_outcome *outcome, ferry_promise *origin)
{
    derived->is_settled = true;
    ferry__release_arg(derived->release, derived->arg); /* no block runs any more */
    if (atomic_load_explicit(&derived->left, memory_order_relaxed) > 1)
        settle_early(derived);
    (void)ferry__own_settle(&derived->own, outcome, origin);
    cancel_waiting(derived);
    leave(derived, false);
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
    settle_early(derived);
    (void)ferry__own_settle(&derived->own, &outcome, NULL);
    leave(derived, true);
}

/* ---- a part has settled ---------------------------------------------------------------------- */

/* A tie on its way through deliver. */
typedef struct delivery {
    ferry__tie *tie;
    ferry__derived *derived;
    ferry_promise *part;
    bool is_kept;  /* the tie keeps the reference to the part */
    bool is_owing; /* the tie is to have mail again */
} delivery;

static bool apply_rule(ferry__derived *derived, const ferry__tie *tie, ferry_outcome *outcome)
{
    derived->is_in_rule = true;
    bool settles = derived->rule(derived, tie->index, outcome);
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
    tie->is_waiting = false;
    derived->waiting--;
    if (derived->is_settled)
        return;
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
    if (this->is_owing)
        wait_for_quiet(this->tie); /* another thread may have the tie from here on */
    if (!this->is_kept)
        ferry__promise_unobserve(this->part);
    (void)ferry_promise_unref(&this->derived->own.promise); /* the tie's */
}

/* The tie's part has settled; or it is quiet, where the tie was owing. */
static void deliver(ferry__mail *mail, bool receiver_gone)
{
    ferry__tie *tie = (ferry__tie *)(void *)mail;
    delivery this = {.tie = tie, .derived = tie->derived, .part = tie->observer.promise};
    bool was_owing = tie->is_owing;
    tie->is_owing = this.is_owing = !was_owing && counts(tie) && has_left(this.part);
    pthread_cleanup_push(finish_delivery, &this);
    ferry__promise_note_seen(this.part);
    if (!tie->is_owing && counts(tie))
        leave(this.derived, receiver_gone);
    if (receiver_gone)
        give_up(this.derived);
    else if (this.derived->is_patient ? !tie->is_owing : !was_owing)
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
    } else if (derived->is_patient) {
        cancel_waiting(derived);
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

static void free_further(ferry__tie *tie)
{
    for (ferry__tie *further; (further = tie->further) != NULL;) {
        tie->further = further->further;
        ferry__release(further);
    }
}

static void deinit(ferry__own *own)
{
    ferry__derived *derived = (ferry__derived *)(void *)own;
    for (size_t i = 0; i < derived->tie_count; i++) {
        drop_kept(&derived->ties[i]);
        free_further(&derived->ties[i]);
    }
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
    atomic_init(&derived->left, 1); /* itself */
    *ret_derived = derived;
    return 0;
}

/* A tie of that number that owes nothing. @return NULL: out of memory. */
static ferry__tie *find_tie(ferry__derived *derived, size_t index)
{
    ferry__tie *tie = &derived->ties[index];
    while (tie->is_owing) {
        if (tie->further == NULL)
            tie->further = ferry__allocate_zeroed(sizeof *tie);
        if ((tie = tie->further) == NULL)
            return NULL;
    }
    return tie;
}

/* How many ties are looked at for a circle, which is a mistake: a block is to cost little. */
enum { MOST_LOOKS = 64 };

/* Whether a promise waits for another, over promises of one thread. @param looks how many may be
 * taken. */
static bool leads_to(const ferry_promise *from, const ferry__derived *to, unsigned *looks)
{
    const ferry__derived *self = (const ferry__derived *)(const void *)from;
    if (from->type != &derived_type.promise ||
        ferry__own_home(&self->own) != ferry__own_home(&to->own))
        return false;
    bool found = self == to;
    for (size_t i = 0; i < self->tie_count && !found; i++) {
        const ferry__tie *tie = &self->ties[i];
        for (; tie != NULL && !found; tie = tie->further) {
            if (*looks == 0)
                return false;
            --*looks;
            found =
                (tie->is_waiting || tie->is_owing) && leads_to(tie->observer.promise, to, looks);
        }
    }
    return found;
}

static void begin_waiting(ferry__derived *derived, ferry__tie *tie)
{
    size_t left = atomic_load_explicit(&derived->left, memory_order_relaxed);
    if (counts(tie))
        atomic_store_explicit(&derived->left, left + 1, memory_order_relaxed);
    tie->is_waiting = true;
    derived->waiting++;
}

int ferry__derived_wait(ferry__derived *derived, size_t index, ferry_promise *part)
{
    if (part == &derived->own.promise)
        return -EDEADLK;
    if (ferry__promise_poll(part) == -ECHILD)
        return -ECHILD;
    ferry__tie *tie = find_tie(derived, index);
    if (tie == NULL)
        return -ENOMEM;
    assert(!tie->is_waiting && tie->kept == NULL);
    tie->observer.mail.deliver = deliver;
    tie->observer.inbox = ferry__own_home(&derived->own);
    tie->derived = derived;
    tie->index = index;
    unsigned looks = MOST_LOOKS;
    tie->is_circular = derived->is_in_rule && leads_to(part, derived, &looks);
    begin_waiting(derived, tie);
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
