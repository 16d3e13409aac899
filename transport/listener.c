/* SPDX-License-Identifier: MIT */
/* A listener's face to any thread. */
#include "transport/listener.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "transport/service.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>

#define LISTENER_OF(pointer, member)                                                               \
    ((ferry_listener *)(void *)((char *)(pointer)-offsetof(ferry_listener, member)))

/* ---- references ------------------------------------------------------------------------------ */

ferry_listener *ferry__listener_ref(ferry_listener *listener)
{
    atomic_fetch_add_explicit(&listener->refs, 1, memory_order_relaxed);
    return listener;
}

void ferry__listener_unref(ferry_listener *listener)
{
    if (ferry__refs_drop(&listener->refs) != 1)
        return;
    ferry__release(listener->acceptors);
    ferry__settings_unref(listener->settings);
    ferry__inbox_unref(listener->home);
    ferry__service_unref(listener->service);
    ferry__release(listener);
}

ferry_listener *ferry_listener_ref(ferry_listener *listener)
{
    if (listener != NULL)
        atomic_fetch_add_explicit(&listener->users, 1, memory_order_relaxed);
    return listener;
}

ferry_listener *ferry_listener_unref(ferry_listener *listener)
{
    if (listener == NULL)
        return NULL;
    unsigned before = ferry__refs_drop(&listener->users);
    assert(before > 0 && "ferry_listener_unref: more references given back than taken");
    if (before == 1) {
        (void)ferry_listener_close(listener, NULL);
        (void)ferry_promise_unref(&listener->closed); /* nobody can ask for it any more */
        ferry__listener_unref(listener);
    }
    return NULL;
}

static void destroy_promise(ferry_promise *promise)
{
    ferry__listener_unref(LISTENER_OF(promise, closed));
}

static const ferry__promise_type closed_type = {.destroy = destroy_promise};

/* ---- listening ------------------------------------------------------------------------------- */

static int check_options(const ferry_listen_options *options)
{
    if (options->on_stream == NULL || options->backlog > INT_MAX || options->unix_mode > 07777)
        return -EINVAL;
    return ferry__settings_check(options->stream, NULL);
}

static void start_closing(ferry_listener *listener)
{
    if (atomic_exchange(&listener->is_closing, true))
        return;
    ferry__promise_set_created(&listener->closed, ferry__clock_now());
    (void)ferry__listener_ref(listener); /* what this causes may give the last handle back */
    for (unsigned i = 0; i < listener->acceptor_count; i++)
        ferry__owner_post(listener->acceptors[i].owner, &listener->acceptors[i].close_mail);
    ferry__listener_unref(listener);
}

static void close_member(ferry__member *member)
{
    start_closing(LISTENER_OF(member, member));
}

static void ref_member(ferry__member *member)
{
    (void)ferry__listener_ref(LISTENER_OF(member, member));
}

static void unref_member(ferry__member *member)
{
    ferry__listener_unref(LISTENER_OF(member, member));
}

static const ferry_listener *listener_of(const ferry__member *member)
{
    return LISTENER_OF((uintptr_t)member, member);
}

static bool is_subject(const ferry__member *member, const void *subject)
{
    const ferry_listener *listener = listener_of(member);
    for (unsigned i = 0; i < listener->acceptor_count; i++) {
        if (subject == &listener->acceptors[i].task)
            return true;
    }
    return false;
}

static void add_name(const ferry__member *member, ferry__line *line)
{
    char address[128];
    (void)ferry__endpoint_format(&listener_of(member)->bindings.list[0].endpoint, address,
                                 sizeof address);
    ferry__line_add(line, "listener %s", address);
    ferry__line_add_label(line, listener_of(member)->settings->options.label);
}

static bool add_state(ferry__member *member, ferry__line *line)
{
    ferry_listener *listener = LISTENER_OF(member, member);
    if (atomic_load(&listener->accepting) == 0)
        return false;
    uint64_t accepted = 0;
    for (unsigned i = 0; i < listener->acceptor_count; i++)
        accepted += atomic_load_explicit(&listener->acceptors[i].accepted, memory_order_relaxed);
    ferry__line_add(line, "%" PRIu64 " accepted", accepted);
    if (listener->options.limit_streams > 0)
        ferry__line_add(line, ", %u of %u open", atomic_load(&listener->streams),
                        listener->options.limit_streams);
    if (atomic_load(&listener->is_short))
        ferry__line_add(line, "; out of fds or memory");
    if (atomic_load(&listener->is_closing))
        ferry__line_add(line, "; closing");
    return true;
}

static const ferry__member_type listener_member = {
    .close = close_member,
    .abort = close_member,
    .ref = ref_member,
    .unref = unref_member,
    .is_subject = is_subject,
    .add_name = add_name,
    .add_state = add_state,
};

static void release_arg(const ferry_listener *listener)
{
    ferry__release_arg(listener->options.on_stream_release, listener->options.on_stream_arg);
}

static void deliver_release(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* then it is given back here */
    ferry_listener *listener = LISTENER_OF(mail, release_mail);
    release_arg(listener);
    ferry__listener_unref(listener);
}

void ferry__listener_stop_telling(ferry_listener *listener)
{
    if (atomic_fetch_sub(&listener->telling, 1) != 1 || listener->options.on_stream_release == NULL)
        return;
    if (listener->home == NULL) {
        release_arg(listener);
        return;
    }
    ferry__inbox *home = ferry__inbox_ref(listener->home); /* it may be gone with the mail */
    (void)ferry__listener_ref(listener);
    ferry__inbox_post(home, &listener->release_mail, NULL);
    ferry__inbox_unref(home);
}

/* Everything but its bindings and acceptors. Takes nothing but memory. */
static int create(ferry_service *service, const ferry_listen_options *options,
                  ferry_listener **ret_listener)
{
    ferry__inbox *home;
    int error = ferry__find_home(!options->on_owner, &home);
    if (error != 0)
        return error;
    ferry__settings *settings = ferry__settings_create(options->stream);
    ferry_listener *listener = ferry__allocate_zeroed(sizeof *listener);
    if (settings == NULL || listener == NULL) {
        ferry__settings_unref(settings);
        ferry__release(listener);
        return -ENOMEM;
    }
    atomic_init(&listener->refs, 3); /* the program's, the acceptors', the promise's */
    atomic_init(&listener->users, 1);
    atomic_init(&listener->unsettled, 1);
    atomic_init(&listener->telling, 1);
    listener->release_mail.deliver = deliver_release;
    ferry__promise_init(&listener->closed, NULL, &closed_type);
    (void)ferry__promise_ref_unshared(&listener->closed); /* one to settle, one to hand out */
    listener->service = ferry__service_ref(service);
    listener->member.type = &listener_member;
    listener->counter.stream_ended = ferry__listener_stream_ended;
    listener->options = *options;
    listener->settings = settings;
    listener->calls = ferry__stream_choose_calls(listener->settings, service);
    listener->home = home != NULL ? ferry__inbox_ref(home) : NULL;
    *ret_listener = listener;
    return 0;
}

/* Undoes create. */
static void discard(ferry_listener *listener)
{
    (void)ferry_promise_unref(&listener->closed);
    (void)ferry_promise_unref(&listener->closed);
    ferry__listener_unref(listener);
    ferry__listener_unref(listener);
}

/* Gives it its bindings. */
static int bind_to(ferry_listener *listener, const ferry__address *address, ferry_phase *ret_phase)
{
    int error = ferry__bindings_open(address, &listener->options, &listener->bindings, ret_phase);
    if (error != 0)
        return error;
    *ret_phase = FERRY_PHASE_SOCKET;
    error = ferry__settings_check(&listener->settings->options, &listener->bindings.list[0].sort);
    if (error != 0)
        ferry__bindings_revert(&listener->bindings);
    return error;
}

static void release_owners(const ferry_listener *listener, unsigned bindings)
{
    for (unsigned i = 0; i < bindings * listener->service->owner_count; i++)
        ferry__owner_release(listener->acceptors[i].owner);
}

/* For each acceptor one. */
static int hold_owners(const ferry_listener *listener)
{
    for (unsigned i = 0; i < listener->bindings.count; i++) {
        int error = ferry__service_hold_owners(listener->service);
        if (error != 0) {
            release_owners(listener, i);
            return error;
        }
    }
    return 0;
}

static int make_acceptors(ferry_listener *listener)
{
    ferry_service *service = listener->service;
    unsigned owners = service->owner_count, count = owners * listener->bindings.count;
    listener->acceptors = ferry__allocate_zeroed(count * sizeof listener->acceptors[0]);
    if (listener->acceptors == NULL)
        return -ENOMEM;
    listener->acceptor_count = count;
    atomic_init(&listener->accepting, count);
    for (unsigned i = 0; i < count; i++)
        ferry__acceptor_init(&listener->acceptors[i], listener,
                             &listener->bindings.list[i / owners], service->owners[i % owners]);
    return 0;
}

/* Gives it its owners and its place in the service: the last that can fail. */
static int join(ferry_listener *listener)
{
    int error = make_acceptors(listener);
    if (error == 0)
        error = hold_owners(listener);
    if (error != 0)
        return error;
    error = ferry__service_remember(listener->service, &listener->member);
    if (error != 0)
        release_owners(listener, listener->bindings.count);
    return error;
}

static void start(ferry_listener *listener)
{
    ferry__bindings_commit(&listener->bindings);
    /* Whatever happens meanwhile, no acceptor ends before it has got this. */
    for (unsigned i = 0; i < listener->acceptor_count; i++)
        ferry__owner_post(listener->acceptors[i].owner, &listener->acceptors[i].start_mail);
}

static int listen_at(ferry_service *service, const char *text, const ferry_listen_options *options,
                     ferry_phase *ret_phase, ferry_listener **ret_listener)
{
    *ret_phase = FERRY_PHASE_QUEUE;
    if (service == NULL || text == NULL || options == NULL || ret_listener == NULL)
        return -EINVAL;
    if (ferry__service_is_foreign(service))
        return -ECHILD;
    ferry__address address;
    int error = check_options(options);
    if (error == 0)
        error = ferry__address_parse(text, &address);
    if (error != 0)
        return error;
    ferry_listener *listener;
    error = create(service, options, &listener);
    if (error != 0)
        return error;
    error = bind_to(listener, &address, ret_phase);
    if (error != 0)
        goto undo_create;
    *ret_phase = FERRY_PHASE_QUEUE;
    error = join(listener);
    if (error != 0)
        goto undo_bind;
    ferry__settings_commit(listener->settings);
    start(listener);
    *ret_listener = listener;
    return 0;

undo_bind:
    ferry__bindings_revert(&listener->bindings);
undo_create:
    discard(listener);
    return error;
}

int ferry_listen(ferry_service *service, const char *address, const ferry_listen_options *options,
                 ferry_listener **ret_listener)
{
    FERRY__REPORT_CALLER();
    FERRY__HOLD_OFF_CANCEL(); /* while a name is looked up */
    ferry_phase phase;
    int error = listen_at(service, address, options, &phase, ret_listener);
    if (error != 0 && options != NULL && options->ret_phase != NULL)
        *options->ret_phase = phase;
    return error;
}

int ferry_listener_get_address(ferry_listener *listener, char *buffer, size_t size)
{
    if (listener == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    return ferry__endpoint_format(&listener->bindings.list[0].endpoint, buffer, size);
}

/* ---- closing --------------------------------------------------------------------------------- */

void ferry__listener_conclude(ferry_listener *listener)
{
    if (ferry__refs_drop(&listener->unsettled) != 1)
        return;
    listener->closed.result.active_ns =
        ferry__clock_now() - ferry__promise_created(&listener->closed);
    (void)ferry__promise_settle(&listener->closed, NULL);
    ferry__service_forget(listener->service, &listener->member, true);
    (void)ferry_promise_unref(&listener->closed);
    ferry__listener_unref(listener); /* the acceptors' */
}

int ferry_listener_close(ferry_listener *listener, ferry_promise **ret_promise)
{
    if (listener == NULL)
        return -EINVAL;
    if (ferry__service_is_foreign(listener->service))
        return -ECHILD;
    ferry__inbox *home;
    int error = ferry__find_home(ret_promise != NULL, &home);
    if (error != 0)
        return error;
    if (home != NULL)
        ferry__promise_set_home(&listener->closed, home);
    if (ret_promise != NULL)
        *ret_promise = ferry_promise_ref(&listener->closed);
    start_closing(listener);
    return 0;
}
