/* SPDX-License-Identifier: MIT */
#include "transport/reach/listener.h"

#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "transport/service/service.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
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

/* ---- closing --------------------------------------------------------------------------------- */

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

void ferry__listener_conclude(ferry_listener *listener)
{
    if (ferry__refs_drop(&listener->unsettled) != 1)
        return;
    listener->closed.result.active_ns =
        ferry__clock_now() - ferry__promise_created(&listener->closed);
    (void)ferry__promise_settle(&listener->closed, NULL);
    ferry__service_forget(listener->service, &listener->member);
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

/* ---- a member of its service ----------------------------------------------------------------- */

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

/* ---- its beginning --------------------------------------------------------------------------- */

void ferry__listener_init(ferry_listener *listener)
{
    atomic_init(&listener->refs, 3); /* the program's, the acceptors', the promise's */
    atomic_init(&listener->users, 1);
    atomic_init(&listener->unsettled, 1);
    atomic_init(&listener->telling, 1);
    listener->release_mail.deliver = deliver_release;
    ferry__promise_init(&listener->closed, NULL, &closed_type);
    (void)ferry__promise_ref_unshared(&listener->closed); /* one to settle, one to hand out */
    listener->member.type = &listener_member;
}

int ferry_listener_get_address(ferry_listener *listener, char *buffer, size_t size)
{
    if (listener == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    return ferry__endpoint_format(&listener->bindings.list[0].endpoint, buffer, size);
}
