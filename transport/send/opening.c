/* SPDX-License-Identifier: MIT */
/*
 * Shared files as promises: opened where a stream's files are opened, on an owner.
 *
 * As with a connect (transport/reach/connector.c), mail and a timer only note what they want and
 * schedule the task, whose turns do the rest. The promise is what lives: the opening is a part of
 * it, and holds a reference until it has ended. It ends once it has settled and no mail is on its
 * way to it.
 */
#include "core/clock.h"
#include "core/faults.h"
#include "core/hooks.h"
#include "core/own.h"
#include "core/report.h"
#include "core/reserved.h"
#include "transport/edge/source.h"
#include "transport/service/service.h"
#include "transport/stream/stream.h"

#include <errno.h>
#include <string.h>

#define OPENING_OF(pointer, member)                                                                \
    ((opening *)(void *)((char *)(pointer)-offsetof(opening, member)))

/* A lease is given back in anything up to 45 s. */
static const int64_t NEXT_LOOK = 20 * FERRY__NS_PER_MS;

typedef struct opening {
    ferry__own own; /* first: the promise */

    /* Any thread. */
    ferry__mail start_mail;
    ferry__mail cancel_mail;
    ferry__mail abort_mail;
    atomic_bool is_aborted; /* abort_mail was posted; under the service's mutex */
    atomic_bool is_settled; /* written by the owner */

    /* Set at submit. */
    ferry_service *service; /* a reference */
    ferry__member member;   /* of the service, until it settles */
    ferry__owner *owner;    /* a reference and a hold */
    ferry_faults *faults;   /* a reference, or NULL */
    ferry__calls *calls;
    int number; /* the fd that was given; -1: a path was */

    /* The owner's. */
    ferry__source source; /* the file, until it is a shared one */
    ferry__task task;
    ferry__timer again;
    unsigned mails_due; /* that are to come before it may end */
    bool is_cancelled;  /* by its promise, or with its service */
    bool cancel_came;
    bool abort_came;

    char path[]; /* the file's, or "" */
} opening;

/* ---- on the owner ---------------------------------------------------------------------------- */

static void give_back(void *shared)
{
    (void)ferry_shared_file_unref(shared);
}

static ferry_outcome outcome_of(const opening *self, int error, ferry_shared_file *shared)
{
    ferry_cause why = self->cancel_came ? FERRY_CAUSE_CANCEL : FERRY_CAUSE_DESTROY;
    return (ferry_outcome){
        .result = {.error = error,
                   .phase = error != 0 ? FERRY_PHASE_OPEN : FERRY_PHASE_DONE,
                   .cause = error == -ECANCELED ? why : FERRY_CAUSE_NONE},
        .value = shared,
        .release = shared != NULL ? give_back : NULL,
    };
}

static void settle(opening *self, int error, ferry_shared_file *shared)
{
    ferry_outcome outcome = outcome_of(self, error, shared);
    ferry__timers_cancel(&self->owner->timers, &self->again);
    ferry__source_close(&self->source);
    atomic_store(&self->is_settled, true);
    if (ferry__own_settle(&self->own, &outcome, NULL) && !self->cancel_came)
        self->mails_due++;
    ferry__service_forget(self->service, &self->member);
    if (atomic_load(&self->is_aborted) && !self->abort_came)
        self->mails_due++;
}

static void try_to_open(opening *self)
{
    ferry_shared_file *shared = NULL;
    ferry__activity_do(&self->owner->activity, "opening a file");
    int error = ferry__source_share(&self->source, self->calls, &shared);
    ferry__activity_do(&self->owner->activity, NULL);
    if (error == -EAGAIN)
        ferry__timers_set(&self->owner->timers, &self->again, ferry__clock_now() + NEXT_LOOK);
    else
        settle(self, error, shared);
}

static void advance(opening *self)
{
    if (self->is_cancelled)
        settle(self, -ECANCELED, NULL);
    else if (self->owner->start_error != 0) /* and nobody looks at timers */
        settle(self, self->owner->start_error, NULL);
    else if (!ferry__timer_is_set(&self->again))
        try_to_open(self);
}

static ferry__turn take_turn(ferry__task *task)
{
    opening *self = OPENING_OF(task, task);
    if (!self->is_settled)
        advance(self);
    if (self->is_settled && self->mails_due == 0) {
        ferry__owner *owner = self->owner;
        (void)ferry_promise_unref(&self->own.promise);
        ferry__owner_release(owner);
        ferry__owner_unref(owner);
    }
    return FERRY__TURN_OVER;
}

static void schedule(opening *self)
{
    ferry__owner_schedule(self->owner, &self->task);
}

static void deliver_start(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* an owner lives as long as what it drives */
    opening *self = OPENING_OF(mail, start_mail);
    self->mails_due--;
    schedule(self);
}

/* A mail has come that ends it; or that was waited for, since it has ended. */
static void note_end(opening *self, bool *ret_came)
{
    self->is_cancelled = true;
    if (self->is_settled)
        self->mails_due--;
    *ret_came = true;
    schedule(self);
}

static void deliver_cancel(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    opening *self = OPENING_OF(mail, cancel_mail);
    note_end(self, &self->cancel_came);
}

static void deliver_abort(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    opening *self = OPENING_OF(mail, abort_mail);
    note_end(self, &self->abort_came);
}

static void look_again(ferry__timer *timer)
{
    schedule(OPENING_OF(timer, again));
}

/* ---- any thread ------------------------------------------------------------------------------ */

static void cancel(ferry_promise *promise)
{
    opening *self = (opening *)(void *)promise;
    ferry__owner_post_last(self->owner, &self->cancel_mail);
}

static void deinit(ferry__own *own)
{
    opening *self = (opening *)(void *)own;
    ferry_faults_unref(self->faults);
    ferry__service_unref(self->service);
}

static const ferry__own_type opening_type = {
    .promise = {.destroy = ferry__own_destroy, .cancel = cancel},
    .deinit = deinit,
};

static opening *opening_of(const ferry__member *member)
{
    return OPENING_OF((uintptr_t)member, member);
}

static void abort_member(ferry__member *member)
{
    opening *self = opening_of(member);
    if (!atomic_exchange(&self->is_aborted, true))
        ferry__owner_post_last(self->owner, &self->abort_mail);
}

static void ref_member(ferry__member *member)
{
    (void)ferry_promise_ref(&opening_of(member)->own.promise);
}

static void unref_member(ferry__member *member)
{
    (void)ferry_promise_unref(&opening_of(member)->own.promise);
}

static bool is_subject(const ferry__member *member, const void *subject)
{
    return subject == &opening_of(member)->task;
}

static void add_name(const ferry__member *member, ferry__line *line)
{
    const opening *self = opening_of(member);
    ferry__line_add(line, "shared file ");
    if (self->number >= 0)
        ferry__line_add(line, "fd %d", self->number);
    else
        ferry__line_add_word(line, self->path);
}

static bool add_state(ferry__member *member, ferry__line *line)
{
    const opening *self = opening_of(member);
    if (atomic_load(&self->is_settled))
        return false;
    ferry__line_add(line, "is to be opened");
    ferry__line_add_age(line, ferry__promise_created(&self->own.promise));
    return true;
}

static const ferry__owner *own_owner(const ferry__member *member)
{
    const opening *self = opening_of(member);
    return ferry__service_is_dedicated(self->service) ? self->owner : NULL;
}

static const ferry__member_type opening_member = {
    .close = abort_member, /* nothing of it has to be done first */
    .abort = abort_member,
    .ref = ref_member,
    .unref = unref_member,
    .is_subject = is_subject,
    .add_name = add_name,
    .add_state = add_state,
    .own_owner = own_owner,
};

/* ---- at submit ------------------------------------------------------------------------------- */

/* Makes everything but its owner. Takes nothing but memory. */
static int create(ferry_service *service, const ferry_file *file, ferry_faults *faults,
                  opening **ret_opening)
{
    ferry__inbox *home;
    int error = ferry__find_home(true, &home);
    if (error != 0)
        return error;
    const char *path = file->path != NULL ? file->path : "";
    size_t size = strlen(path) + 1;
    opening *self = ferry__allocate_zeroed(sizeof *self + size);
    if (self == NULL)
        return -ENOMEM;
    ferry__own_init(&self->own, home, &opening_type);
    (void)ferry__promise_ref_unshared(&self->own.promise); /* its own, until it has ended */
    self->start_mail.deliver = deliver_start;
    self->cancel_mail.deliver = deliver_cancel;
    self->abort_mail.deliver = deliver_abort;
    self->service = ferry__service_ref(service);
    self->member.type = &opening_member;
    self->faults = ferry_faults_ref(faults);
    self->calls = faults != NULL ? &faults->calls : service->calls;
    self->number = file->path != NULL ? -1 : file->fd;
    self->task.turn = take_turn;
    self->again.fire = look_again;
    self->mails_due = 1; /* start_mail */
    (void)memcpy(self->path, path, size);
    *ret_opening = self;
    return 0;
}

/* Undoes create. */
static void discard(opening *self)
{
    (void)ferry_promise_unref(&self->own.promise);
    (void)ferry_promise_unref(&self->own.promise);
}

/* Gives it its owner and its place in the service: the last that can fail. From then on it may be
 * aborted, and settle. */
static int join(opening *self)
{
    int error = ferry__service_place(self->service, self->calls, &self->owner);
    if (error != 0)
        return error;
    error = ferry__service_remember(self->service, &self->member);
    if (error != 0)
        ferry__service_unplace(self->service, self->owner);
    return error;
}

static int take_and_join(opening *self, const ferry_file *file)
{
    const char *path = file->path != NULL ? self->path : NULL;
    int error = ferry__source_take_whole(&self->source, file, path, self->calls);
    if (error != 0)
        return error;
    error = join(self);
    if (error != 0)
        ferry__source_file.give_back(&self->source);
    return error;
}

static int check(const ferry_service *service, const ferry_open_options *options)
{
    if (ferry__service_is_foreign(service))
        return -ECHILD;
    return FERRY__IS_NEWER(options) ? -E2BIG : 0;
}

int ferry_shared_file_open_on(ferry_service *service, const ferry_file *file,
                              const ferry_open_options *options, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    static const ferry_open_options defaults;
    if (service == NULL || file == NULL || ret_promise == NULL)
        return -EINVAL;
    if (options == NULL)
        options = &defaults;
    opening *self;
    int error = check(service, options);
    if (error == 0)
        error = create(service, file, options->faults, &self);
    if (error != 0)
        return error;
    error = take_and_join(self, file);
    if (error != 0) {
        discard(self);
        return error;
    }
    ferry__owner_post_last(self->owner, &self->start_mail);
    *ret_promise = &self->own.promise;
    return 0;
}
