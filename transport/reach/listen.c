/* SPDX-License-Identifier: MIT */
/* Listening: making a listener, with its bindings and acceptors. */
#include "core/cancel.h"
#include "core/hooks.h"
#include "core/reserved.h"
#include "transport/reach/adopt.h"
#include "transport/reach/listener.h"
#include "transport/service/service.h"

#include <errno.h>
#include <limits.h>

static int check_options(const ferry_listen_options *options)
{
    if (options->on_stream == NULL || options->backlog > INT_MAX || options->unix_mode > 07777)
        return -EINVAL;
    if (FERRY__IS_NEWER(options))
        return -E2BIG;
    return ferry__settings_check(options->stream, NULL);
}

/* Makes everything but its bindings and acceptors. Takes nothing but memory. */
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
    ferry__listener_init(listener);
    listener->service = ferry__service_ref(service);
    listener->counter.stream_ended = ferry__listener_stream_ended;
    listener->counter.is_full = ferry__listener_is_full;
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

/* Takes a hold of an owner for each acceptor. */
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
    /* No acceptor ends before it has got this mail, whatever happens meanwhile. */
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
