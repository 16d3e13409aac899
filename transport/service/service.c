/* SPDX-License-Identifier: MIT */
#include "transport/service/service.h"

#include "actors/processors.h"
#include "core/cancel.h"
#include "core/await.h"
#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "core/reserved.h"
#include "core/thread.h"

#include <ferry/inbox.h>

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>

/* Limits of the options, and their defaults. */
enum {
    MOST_OWNERS = 1024,
    DEFAULT_STACK = 256 * 1024, /* small enough for thousands, large enough for callbacks */
    /* Where nobody else waits for a turn, as large as still pays off: 2 to 3 % over 1 MiB. */
    DEFAULT_DEDICATED_CHUNK = 4 * 1024 * 1024,
    DEFAULT_SHARED_CHUNK = 1024 * 1024, /* for fair turns; 64 KiB would cost 10 to 30 % */
};
static const size_t MOST_SIZE = 1u << 30;

/* ---- references ------------------------------------------------------------------------------ */

ferry_service *ferry__service_ref(ferry_service *service)
{
    atomic_fetch_add_explicit(&service->refs, 1, memory_order_relaxed);
    return service;
}

void ferry__service_unref(ferry_service *service)
{
    if (ferry__refs_drop(&service->refs) != 1)
        return;
    for (unsigned i = 0; i < service->owner_count; i++)
        ferry__owner_unref(service->owners[i]);
    (void)pthread_mutex_destroy(&service->mutex);
    ferry__total_deinit(&service->total);
    ferry__release(service->owners);
    ferry__release(service);
}

/* ---- creating -------------------------------------------------------------------------------- */

/* It is a part of its service, which each call that awaits it keeps. */
static void destroy_emptied(ferry_promise *promise)
{
    (void)promise;
}

static const ferry__promise_type emptied_type = {.destroy = destroy_emptied};

static int check_options(const ferry_service_options *options)
{
    if ((options->placement != FERRY_PLACEMENT_DEDICATED &&
         options->placement != FERRY_PLACEMENT_SHARED) ||
        options->shared_owners > MOST_OWNERS || options->stack_bytes > MOST_SIZE ||
        options->chunk_bytes > MOST_SIZE)
        return -EINVAL;
    return FERRY__IS_NEWER(options) ? -E2BIG : 0;
}

static unsigned default_owners(void)
{
    unsigned processors = ferry__usable_processors();
    return processors < MOST_OWNERS ? processors : MOST_OWNERS;
}

static ferry_service_options with_defaults(ferry_service_options options)
{
    if (options.placement == FERRY_PLACEMENT_DEDICATED)
        options.shared_owners = 1; /* the front owner */
    else if (options.shared_owners == 0)
        options.shared_owners = default_owners();
    if (options.stack_bytes == 0)
        options.stack_bytes = DEFAULT_STACK;
    if (options.chunk_bytes == 0)
        options.chunk_bytes = options.placement == FERRY_PLACEMENT_DEDICATED
                                  ? DEFAULT_DEDICATED_CHUNK
                                  : DEFAULT_SHARED_CHUNK;
    return options;
}

size_t ferry__service_chunk(const ferry_service *service, const ferry__owner *owner, bool over_tcp)
{
    /* Some 15 to 40 us. Through a unix socket less than this costs speed. */
    enum { HURRIED = 256 * 1024, HURRIED_TCP = 64 * 1024 };
    size_t chunk = service->options.chunk_bytes, hurried = over_tcp ? HURRIED_TCP : HURRIED;
    return chunk > hurried && ferry__owner_is_hurried(owner) ? hurried : chunk;
}

static ferry__limits limits_of(const ferry_service_options *options)
{
    return (ferry__limits){
        .requests = options->limit_requests,
        .memory_bytes = options->limit_bytes,
        .source_bytes = options->limit_file_bytes,
    };
}

/* Lets go of owners that run: they end with their last stream. */
static void release_owners(ferry_service *service)
{
    for (unsigned i = 0; i < service->owner_count; i++)
        ferry__owner_stop(service->owners[i]);
    for (unsigned i = 0; i < service->owner_count; i++)
        ferry__owner_join(service->owners[i]);
}

static ferry__thread_hook hook_of(const ferry_service *service)
{
    return (ferry__thread_hook){service->options.on_thread_start,
                                service->options.on_thread_start_arg};
}

static int start_owner(const ferry_service *service, unsigned number, ferry__owner **ret_owner)
{
    char name[24];
    if (ferry__service_is_dedicated(service))
        (void)snprintf(name, sizeof name, "ferry-front");
    else
        (void)snprintf(name, sizeof name, "ferry-owner-%u", number);
    ferry__owner *owner;
    int error =
        ferry__owner_create(name, service->options.stack_bytes, NULL, service->calls, &owner);
    if (error != 0)
        return error;
    owner->hook = hook_of(service);
    error = ferry__owner_need_poller(owner);
    if (error == 0)
        error = ferry__owner_start(owner, service->options.inherit_scheduling);
    if (error != 0) {
        ferry__owner_abandon(owner);
        ferry__owner_unref(owner);
        return error;
    }
    *ret_owner = owner;
    return 0;
}

int ferry_service_create(const ferry_service_options *options, ferry_service **ret_service)
{
    FERRY__HOLD_OFF_CANCEL();
    static const ferry_service_options defaults;
    if (ret_service == NULL)
        return -EINVAL;
    int error = check_options(options != NULL ? options : &defaults);
    if (error != 0)
        return error;
    ferry_service *service = ferry__allocate_zeroed(sizeof *service);
    if (service == NULL)
        return -ENOMEM;
    atomic_init(&service->refs, 1);
    (void)pthread_mutex_init(&service->mutex, NULL);
    ferry__promise_init(&service->emptied, NULL, &emptied_type);
    service->generation = ferry__process_generation();
    service->calls = &ferry__calls_real;
    service->options = with_defaults(options != NULL ? *options : defaults);
    ferry__total_init(&service->total, limits_of(&service->options));
    service->owners =
        ferry__allocate_zeroed(service->options.shared_owners * sizeof(ferry__owner *));
    error = service->owners != NULL ? 0 : -ENOMEM;
    while (error == 0 && service->owner_count < service->options.shared_owners) {
        error = start_owner(service, service->owner_count, &service->owners[service->owner_count]);
        if (error == 0)
            service->owner_count++;
    }
    if (error != 0) {
        release_owners(service);
        ferry__service_unref(service);
        return error;
    }
    *ret_service = service;
    return 0;
}

/* ---- owners ---------------------------------------------------------------------------------- */

/* The owner with the least to do. Two adopters at once may choose the same: no harm. */
static ferry__owner *least_loaded(const ferry_service *service)
{
    ferry__owner *best = service->owners[0];
    for (unsigned i = 1; i < service->owner_count; i++) {
        if (ferry__owner_load(service->owners[i]) < ferry__owner_load(best))
            best = service->owners[i];
    }
    return best;
}

/*
 * The calling owner, if it is one of these and has hardly more to do than the others: what it makes
 * in a callback mostly goes with what it was called for, as a proxy's two connections do. On
 * another owner each message between them would wake a thread.
 */
static ferry__owner *choose(const ferry_service *service)
{
    ferry__owner *least = least_loaded(service);
    for (unsigned i = 0; i < service->owner_count; i++) {
        ferry__owner *owner = service->owners[i];
        if (ferry__owner_is_current(owner))
            return ferry__owner_has_hardly_more(owner, least) ? owner : least;
    }
    return least;
}

int ferry__service_make_owner(ferry_service *service, const char *name, size_t stack_bytes,
                              ferry__calls *calls, ferry__owner **ret_owner)
{
    if (stack_bytes < service->options.stack_bytes)
        stack_bytes = service->options.stack_bytes;
    (void)pthread_mutex_lock(&service->mutex);
    int error = -ESHUTDOWN;
    if (!service->is_ending)
        error = ferry__owner_create(name, stack_bytes, service->owners[0], calls, ret_owner);
    (void)pthread_mutex_unlock(&service->mutex);
    if (error == 0)
        (*ret_owner)->hook = hook_of(service);
    return error;
}

int ferry__service_choose_owner(ferry_service *service, ferry__owner **ret_owner)
{
    (void)pthread_mutex_lock(&service->mutex);
    bool is_ending = service->is_ending;
    if (!is_ending) {
        *ret_owner = choose(service);
        ferry__owner_hold(*ret_owner);
    }
    (void)pthread_mutex_unlock(&service->mutex);
    return is_ending ? -ESHUTDOWN : 0;
}

int ferry__service_hold_owners(ferry_service *service)
{
    (void)pthread_mutex_lock(&service->mutex);
    bool is_ending = service->is_ending;
    for (unsigned i = 0; i < service->owner_count && !is_ending; i++)
        ferry__owner_hold(service->owners[i]);
    (void)pthread_mutex_unlock(&service->mutex);
    return is_ending ? -ESHUTDOWN : 0;
}

int ferry__service_place(ferry_service *service, ferry__calls *calls, ferry__owner **ret_owner)
{
    if (ferry__service_is_dedicated(service)) {
        char name[24];
        (void)snprintf(name, sizeof name, "ferry-%u", atomic_fetch_add(&service->names_given, 1));
        int error = ferry__service_make_owner(service, name, 0, calls, ret_owner);
        if (error == 0)
            ferry__owner_keep_thread(*ret_owner);
        return error;
    }
    int error = ferry__service_choose_owner(service, ret_owner);
    if (error == 0)
        (void)ferry__owner_ref(*ret_owner);
    return error;
}

void ferry__service_unplace(ferry_service *service, ferry__owner *owner)
{
    if (ferry__service_is_dedicated(service))
        ferry__owner_abandon(owner);
    else
        ferry__owner_release(owner);
    ferry__owner_unref(owner);
}

/* ---- members --------------------------------------------------------------------------------- */

static void list(ferry_service *service, ferry__member *member)
{
    member->previous = NULL;
    member->next = service->first_member;
    if (member->next != NULL)
        member->next->previous = member;
    service->first_member = member;
    service->member_count++;
}

int ferry__service_remember(ferry_service *service, ferry__member *member)
{
    (void)pthread_mutex_lock(&service->mutex);
    bool is_ending = service->is_ending;
    if (!is_ending)
        list(service, member);
    (void)pthread_mutex_unlock(&service->mutex);
    return is_ending ? -ESHUTDOWN : 0;
}

/* Under the mutex. Whether nobody is left, and nobody will come. */
static bool is_emptied(const ferry_service *service)
{
    return service->is_ending && service->first_member == NULL;
}

void ferry__service_begin_disorder(ferry_service *service)
{
    (void)pthread_mutex_lock(&service->mutex);
}

void ferry__service_end_disorder(ferry_service *service, bool has_ended)
{
    service->disordered += service->is_ending && has_ended;
    (void)pthread_mutex_unlock(&service->mutex);
}

void ferry__service_forget(ferry_service *service, ferry__member *member)
{
    (void)pthread_mutex_lock(&service->mutex);
    *(member->previous != NULL ? &member->previous->next : &service->first_member) = member->next;
    if (member->next != NULL)
        member->next->previous = member->previous;
    service->member_count--;
    bool is_last = is_emptied(service);
    (void)pthread_mutex_unlock(&service->mutex);
    if (is_last)
        (void)ferry__promise_settle(&service->emptied, NULL);
}

bool ferry__service_keep_members(ferry_service *service, ferry__kept_members *ret_kept)
{
    (void)pthread_mutex_lock(&service->mutex);
    size_t count = 0;
    ferry__member **members =
        ferry__allocate((service->member_count + 1) * sizeof(ferry__member *)); /* + 1: never 0 */
    ferry__member *member = members != NULL ? service->first_member : NULL;
    for (; member != NULL; member = member->next) {
        member->type->ref(member);
        members[count++] = member;
    }
    (void)pthread_mutex_unlock(&service->mutex);
    *ret_kept = (ferry__kept_members){members, count};
    return members != NULL;
}

void ferry__service_let_go(void *kept)
{
    const ferry__kept_members *all = kept;
    for (size_t i = 0; i < all->count; i++)
        all->members[i]->type->unref(all->members[i]);
    ferry__release(all->members);
}

/* Has every member end, and lets nobody else become one. @param end the close or the abort of a
 * member's type. */
static void end_all(ferry_service *service, void (*end)(ferry__member *member))
{
    (void)pthread_mutex_lock(&service->mutex);
    bool was_ending = service->is_ending;
    service->is_ending = true;
    /* It posts mail, and no member leaves the list in this loop: the mutex is held. */
    for (ferry__member *member = service->first_member; member != NULL; member = member->next)
        end(member);
    bool is_empty = !was_ending && is_emptied(service);
    (void)pthread_mutex_unlock(&service->mutex);
    if (is_empty)
        (void)ferry__promise_settle(&service->emptied, NULL);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Whether a call that waits may do so. */
static int check_waiting(const ferry_service *service, int64_t timeout_ms)
{
    if (service == NULL || timeout_ms < -1)
        return -EINVAL;
    if (ferry__thread_may_not_wait())
        return -EDEADLK;
    if (ferry__service_is_foreign(service))
        return -ECHILD;
    return ferry__inbox_current() != NULL ? 0 : -ENOMEM;
}

static bool is_over(int64_t deadline)
{
    return deadline != FERRY__NEVER && ferry__clock_now() >= deadline;
}

/* Runs the callbacks that wait, and those that they cause, while there is time. */
static void run_callbacks(int64_t deadline)
{
    while (!is_over(deadline) && ferry_inbox_run(0) > 0) {
    }
}

/* ---- draining -------------------------------------------------------------------------------- */

static int drain_members(const ferry__kept_members *kept, int64_t deadline)
{
    int error = 0;
    for (size_t i = 0; i < kept->count && error == 0; i++) {
        if (kept->members[i]->type->drain != NULL)
            error = kept->members[i]->type->drain(kept->members[i], deadline);
    }
    return error;
}

/* Waits for what all streams were given so far. */
static int drain_all(ferry_service *service, int64_t deadline)
{
    ferry__kept_members kept;
    if (!ferry__service_keep_members(service, &kept))
        return -ENOMEM;
    int error;
    pthread_cleanup_push(ferry__service_let_go, &kept); /* a callback may end the thread */
    error = drain_members(&kept, deadline);
    pthread_cleanup_pop(1);
    return error;
}

int ferry_service_drain(ferry_service *service, int64_t timeout_ms)
{
    int error = check_waiting(service, timeout_ms);
    int64_t deadline = ferry__clock_deadline(timeout_ms);
    unsigned seen = ferry__thread_current()->submits - 1;
    while (error == 0 && seen != ferry__thread_current()->submits) {
        seen = ferry__thread_current()->submits;
        error = drain_all(service, deadline);
        if (error == 0)
            run_callbacks(deadline); /* those of what was waited for: they may submit more */
    }
    return error;
}

/* ---- status ---------------------------------------------------------------------------------- */

/* Under the mutex. */
static ferry_service_status sum_up(const ferry_service *service)
{
    ferry_service_status sum = {0};
    for (ferry__member *member = service->first_member; member != NULL; member = member->next) {
        if (member->type->add_status != NULL)
            member->type->add_status(member, &sum);
    }
    return sum;
}

int ferry_service_get_status(ferry_service *service, ferry_service_status *ret_status)
{
    if (service == NULL || ret_status == NULL)
        return -EINVAL;
    if (ferry__service_is_foreign(service))
        return -ECHILD;
    (void)pthread_mutex_lock(&service->mutex);
    *ret_status = sum_up(service);
    (void)pthread_mutex_unlock(&service->mutex);
    return 0;
}

/* ---- stopping -------------------------------------------------------------------------------- */

/*
 * Every member is closed, and nobody joins any more. So the end of the last one is the end of all.
 * Streams that do not end in order are counted as they go; those that have not ended, at the end.
 */

static void close_member(ferry__member *member)
{
    member->type->close(member);
}

/* How many streams have not ended, or not in order. */
static int count_disorder(ferry_service *service)
{
    (void)pthread_mutex_lock(&service->mutex);
    size_t count = service->disordered + sum_up(service).streams;
    (void)pthread_mutex_unlock(&service->mutex);
    return count < INT_MAX ? (int)count : INT_MAX;
}

int ferry_service_stop(ferry_service *service, int64_t timeout_ms)
{
    FERRY__REPORT_CALLER();
    int error = check_waiting(service, timeout_ms);
    if (error != 0)
        return error;
    int64_t deadline = ferry__clock_deadline(timeout_ms);
    end_all(service, close_member);
    error = ferry__promise_await_running(&service->emptied, deadline);
    if (error == -ECHILD)
        return error;
    run_callbacks(deadline); /* those that the last of them has told, too */
    return count_disorder(service);
}

/* ---- destroying ------------------------------------------------------------------------------ */

static void abort_member(ferry__member *member)
{
    member->type->abort(member);
}

void ferry_service_destroy(ferry_service *service)
{
    if (service == NULL || ferry__service_is_foreign(service))
        return;
    assert(ferry__thread_current()->owner == NULL &&
           "ferry_service_destroy: a service cannot be destroyed on its own threads");
    if (ferry__thread_current()->owner != NULL) {
        ferry__log(FERRY_LOG_ERROR, "ferry_service_destroy was called on one of ferry's threads");
        return;
    }
    end_all(service, abort_member);
    release_owners(service);
    ferry__release_arg(service->options.on_thread_start_release,
                       service->options.on_thread_start_arg);
    ferry__service_unref(service);
}
