/* SPDX-License-Identifier: MIT */
#include "core/own.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/hooks.h"
#include "core/report.h"
#include "core/reserved.h"

#include <assert.h>
#include <errno.h>

/* ---- what all of them have ------------------------------------------------------------------- */

void ferry__own_init(ferry__own *own, ferry__inbox *home, const ferry__own_type *type)
{
    assert(type->promise.destroy == ferry__own_destroy);
    ferry__promise_init(&own->promise, home, &type->promise);
    ferry__promise_set_created(&own->promise, ferry__clock_tick());
    own->settled_ns = 0;
    own->value = NULL;
    own->release = NULL;
    own->origin = NULL;
}

/* Whether the program has set a field of a later version in it. */
static bool is_newer(const ferry_outcome *outcome)
{
    return FERRY__IS_NEWER(outcome) || FERRY__IS_NEWER(&outcome->result);
}

bool ferry__own_settle(ferry__own *own, const ferry_outcome *outcome, ferry_promise *origin)
{
    own->promise.result = outcome->result;
    if (outcome->result.error != -ECANCELED) /* a block may have put another error in its place */
        own->promise.result.cause = FERRY_CAUSE_NONE;
    if (outcome->result.error > 0) /* a block's: nobody could tell it from a count */
        own->promise.result.error = -EINVAL;
    if (is_newer(outcome)) /* a block's, too */
        own->promise.result = (ferry_result){.error = -E2BIG, .phase = FERRY_PHASE_QUEUE};
    own->value = outcome->value;
    own->release = outcome->release;
    own->origin = ferry_promise_ref(origin);
    own->settled_ns = ferry__clock_tick();
    return ferry__promise_settle(&own->promise, NULL);
}

ferry__inbox *ferry__own_home(const ferry__own *own)
{
    return atomic_load(&own->promise.home);
}

void ferry__own_post_home(ferry__own *own, ferry__mail *mail)
{
    ferry__inbox *home = ferry__inbox_ref(ferry__own_home(own)); /* all may be gone with the mail */
    (void)ferry_promise_ref(&own->promise);                      /* the mail's */
    ferry__inbox_post(home, mail, NULL);
    ferry__inbox_unref(home);
}

ferry_outcome ferry__own_cancelled(ferry_cause cause)
{
    return (ferry_outcome){
        .result = {.error = -ECANCELED, .phase = FERRY_PHASE_QUEUE, .cause = cause}};
}

ferry_outcome ferry__own_gone(const ferry__own *own)
{
    bool is_cancelled = ferry__promise_is_cancelled(&own->promise);
    return ferry__own_cancelled(is_cancelled ? FERRY_CAUSE_CANCEL : FERRY_CAUSE_GONE);
}

void ferry__own_release_value(void (*release)(void *value), void *value)
{
    if (release == NULL)
        return;
    FERRY__HOLD_OFF_CANCEL(); /* it may well close a file */
    const char *before = ferry__thread_do("calling a release");
    release(value);
    (void)ferry__thread_do(before);
}

/* Those that this thread is about to take apart. */
static _Thread_local ferry__own *to_go;
static _Thread_local bool is_taking_apart;

static void take_apart(ferry__own *own)
{
    const ferry__own_type *type = (const ferry__own_type *)(const void *)own->promise.type;
    if (type->deinit != NULL)
        type->deinit(own);
    ferry__own_release_value(own->release, own->value);
    (void)ferry_promise_unref(own->origin);
    ferry__release(own);
}

void ferry__own_destroy(ferry_promise *promise)
{
    ferry__own *own = (ferry__own *)(void *)promise;
    own->next_to_go = to_go;
    to_go = own;
    if (is_taking_apart)
        return;
    is_taking_apart = true;
    while ((own = to_go) != NULL) {
        to_go = own->next_to_go;
        take_apart(own);
    }
    is_taking_apart = false;
}

static ferry__own *own_of(ferry_promise *promise)
{
    return promise->type->destroy == ferry__own_destroy ? (ferry__own *)(void *)promise : NULL;
}

ferry_promise *ferry__own_origin(ferry_promise *promise)
{
    const ferry__own *own = own_of(promise);
    if (own == NULL)
        return NULL;
    return own->value != NULL && own->origin == NULL ? promise : own->origin;
}

void *ferry_promise_get_value(const ferry_promise *promise)
{
    if (promise == NULL || ferry__promise_poll(promise) != 0)
        return NULL;
    const ferry__own *own = own_of((ferry_promise *)(uintptr_t)promise);
    return own != NULL ? own->value : NULL;
}

int ferry_promise_get_info(const ferry_promise *promise, ferry_promise_info *ret_info)
{
    if (promise == NULL || ret_info == NULL)
        return -EINVAL;
    const ferry__own *own = own_of((ferry_promise *)(uintptr_t)promise);
    bool is_settled = ferry__promise_poll(promise) == 0;
    int64_t created_ns = ferry__promise_created(promise), settled_ns = 0;
    if (is_settled) /* a request's result says how long it took */
        settled_ns = own != NULL
                         ? own->settled_ns
                         : created_ns + promise->result.queued_ns + promise->result.active_ns;
    *ret_info = (ferry_promise_info){
        .label = ferry__promise_label(promise),
        .is_settled = is_settled,
        .created_ns = created_ns,
        .settled_ns = settled_ns,
    };
    return 0;
}

/* ---- those that a program settles ------------------------------------------------------------ */

/* Who settles it: the thread that changes OPEN into another. */
typedef enum claim {
    OPEN,
    SETTLED,   /* by the program */
    CALLED_OFF /* by a cancel, or since nobody was left who could */
} claim;

typedef struct programs_own {
    ferry__own own;    /* first */
    atomic_uint claim; /* any thread */
} programs_own;

static claim settle_as(ferry_promise *promise, claim how, const ferry_outcome *outcome)
{
    programs_own *mine = (programs_own *)(void *)promise;
    unsigned before = OPEN;
    if (atomic_compare_exchange_strong(&mine->claim, &before, how))
        (void)ferry__own_settle(&mine->own, outcome, NULL);
    return (claim)before;
}

static void cancel(ferry_promise *promise)
{
    ferry_outcome outcome = ferry__own_cancelled(FERRY_CAUSE_CANCEL);
    (void)settle_as(promise, CALLED_OFF, &outcome);
}

/* Letting go of the last reference by which it could be settled calls it off. */
static void forsake(ferry_promise *promise)
{
    ferry__promise_report_dropped(promise);
    cancel(promise);
}

static const ferry__own_type programs_type = {
    .promise = {.destroy = ferry__own_destroy, .cancel = cancel, .forsake = forsake},
};

static ferry__inbox *home_here(void)
{
    return ferry__thread_current()->owner == NULL ? ferry__inbox_current() : NULL;
}

int ferry_promise_create(ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (ret_promise == NULL)
        return -EINVAL;
    ferry__inbox *home = home_here();
    if (home == NULL && ferry__thread_current()->owner == NULL)
        return -ENOMEM;
    programs_own *mine = ferry__allocate(sizeof *mine);
    if (mine == NULL)
        return -ENOMEM;
    ferry__own_init(&mine->own, home, &programs_type);
    atomic_init(&mine->claim, OPEN);
    *ret_promise = &mine->own.promise;
    return 0;
}

int ferry_promise_settle(ferry_promise *promise, const ferry_outcome *outcome)
{
    static const ferry_outcome success;
    if (outcome == NULL)
        outcome = &success;
    if (promise == NULL || promise->type != &programs_type.promise || outcome->result.error > 0)
        return -EINVAL;
    if (is_newer(outcome))
        return -E2BIG;
    if (ferry__promise_poll(promise) == -ECHILD)
        return -ECHILD;
    /* Kept: a thread that learns of the outcome may give back the caller's reference, too. */
    ferry_promise *kept = ferry__promise_is_kept_here(promise) ? NULL : ferry_promise_ref(promise);
    claim before = settle_as(promise, SETTLED, outcome);
    (void)ferry_promise_unref(kept);
    switch (before) {
    case OPEN:
        return 0;
    case CALLED_OFF:
        ferry__own_release_value(outcome->release, outcome->value);
        return 0;
    default:
        return -EALREADY;
    }
}

ferry_promise *ferry__own_create_settled(const ferry_outcome *outcome)
{
    ferry_promise *promise;
    if (ferry_promise_create(&promise) != 0)
        return NULL;
    (void)settle_as(promise, SETTLED, outcome);
    return promise;
}
