/* SPDX-License-Identifier: MIT */
#include "transport/reach/adopt.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/faults.h"
#include "core/hooks.h"
#include "transport/reach/member.h"
#include "transport/send/carry.h"
#include "transport/send/closing.h"
#include "transport/send/conditions.h"
#include "transport/send/securing.h"
#include "transport/send/watermark.h"
#include "transport/stream/batch.h"
#include "transport/stream/making.h"

#include <errno.h>

_Static_assert(_Alignof(ferry__stall) == _Alignof(ferry_stream) &&
                   _Alignof(ferry__linger) == _Alignof(ferry_stream) &&
                   _Alignof(ferry__securing) == _Alignof(ferry_stream) &&
                   _Alignof(ferry__watermark) == _Alignof(ferry_stream) &&
                   _Alignof(ferry__patience) == _Alignof(ferry_stream),
               "each may lie behind any other");

/* The pieces behind the stream that its options ask for. */
typedef struct pieces {
    /* Bytes of each; 0: it is not asked for. */
    size_t securing, stall, linger, watermark, patience;
} pieces;

static pieces choose_pieces(const ferry_service *service, const ferry_stream_options *options)
{
    /* Watermarks are looked at with each request that comes. */
    bool may_wait = ferry__service_is_dedicated(service) && options->on_watermark == NULL &&
                    options->tls == NULL;
    return (pieces){
        .securing = options->tls != NULL ? sizeof(ferry__securing) : 0,
        .stall = options->stall_timeout_ms > 0 ? sizeof(ferry__stall) : 0,
        .linger = options->close_timeout_ms > 0 ? sizeof(ferry__linger) : 0,
        .watermark = options->on_watermark != NULL ? sizeof(ferry__watermark) : 0,
        .patience = may_wait ? sizeof(ferry__patience) : 0,
    };
}

static void *take_piece(char **memory, size_t size)
{
    char *piece = *memory;
    *memory += size;
    return size > 0 ? piece : NULL;
}

static void set_up_securing(ferry_stream *stream, ferry__securing *securing)
{
    enum { DEFAULT_MS = 10 * 1000 };
    int64_t timeout_ms = stream->settings->options.tls->handshake_timeout_ms;
    securing->stream = stream;
    securing->timer.fire = ferry__securing_timeout;
    securing->deadline = ferry__clock_deadline(timeout_ms > 0 ? timeout_ms : DEFAULT_MS);
    stream->state = FERRY__SECURING;
}

/* @return what may become its link's patience; NULL: it has none. */
static ferry__patience *set_up_pieces(ferry_stream *stream, const pieces *wanted)
{
    char *memory = (char *)(stream + 1);
    ferry__securing *securing = take_piece(&memory, wanted->securing); /* the first */
    if (securing != NULL)
        set_up_securing(stream, securing);
    if ((stream->stall = take_piece(&memory, wanted->stall)) != NULL) {
        stream->stall->stream = stream;
        stream->stall->timer.fire = ferry__stall_timeout;
    }
    if ((stream->linger = take_piece(&memory, wanted->linger)) != NULL) {
        stream->linger->stream = stream;
        stream->linger->timer.fire = ferry__linger_timeout;
    }
    if ((stream->watermark = take_piece(&memory, wanted->watermark)) != NULL)
        stream->watermark->stream = stream;
    return take_piece(&memory, wanted->patience);
}

static ferry_stream *allocate(const pieces *wanted)
{
    return ferry__allocate_zeroed(sizeof(ferry_stream) + wanted->securing + wanted->stall +
                                  wanted->linger + wanted->watermark + wanted->patience);
}

/* Its pace and its close request, where those have memory of their own. */
static int create_parts(ferry_stream *stream, const ferry_stream_options *options)
{
    const ferry__plan plan = {.size = sizeof(ferry__request)};
    if (options->limiter != NULL) {
        stream->pace = ferry__pace_create(stream, options->limiter, options->limiter_free_bytes);
        if (stream->pace == NULL)
            return -ENOMEM;
        stream->pace->timer.fire = ferry__pace_timeout;
    }
    int error = ferry__request_create(stream, FERRY__CLOSE, NULL, NULL, 0, &plan, NULL, NULL,
                                      &stream->close_request);
    if (error != 0)
        ferry__pace_free(stream->pace);
    return error;
}

/* Makes everything but its owner. Takes nothing but memory. */
static int create(const ferry_service *service, ferry__settings *settings,
                  ferry_stream **ret_stream, ferry__patience **ret_patience)
{
    const pieces wanted = choose_pieces(service, &settings->options);
    ferry_stream *stream = allocate(&wanted);
    if (stream == NULL)
        return -ENOMEM;
    int error = create_parts(stream, &settings->options);
    if (error != 0) {
        ferry__release(stream);
        return error;
    }
    ferry__request *close_request = stream->close_request;
    (void)ferry__promise_ref_unshared(&close_request->promise); /* one to settle, one to hand out */
    /* For an abort, which submits no close. */
    ferry__promise_set_created(&close_request->promise, ferry__clock_now());
    close_request->mail.deliver = ferry__stream_deliver_request;
    atomic_init(&stream->refs, 2);
    ferry__batch_counts_init(&stream->batch_counts);
    atomic_init(&stream->users, 1);
    stream->settings = ferry__settings_ref(settings);
    stream->admission.limits = &settings->limits;
    stream->member.type = &ferry__stream_member;
    atomic_init(&stream->shown_head.number, FERRY__NO_HEAD);
    stream->abort_mail.deliver = ferry__stream_deliver_abort;
    stream->resume_mail.deliver = ferry__stream_deliver_resume;
    stream->follow_timer.fire = ferry__stream_look_again;
    stream->task.turn = ferry__stream_turn;
    stream->watch.ready = ferry__stream_ready;
    stream->confirm_timer.fire = ferry__stream_confirm_timeout;
    *ret_patience = set_up_pieces(stream, &wanted);
    *ret_stream = stream;
    return 0;
}

/* Undoes create. */
static void discard(ferry_stream *stream)
{
    (void)ferry_promise_unref(&stream->close_request->promise);
    ferry__stream_free(stream);
}

ferry__calls *ferry__stream_choose_calls(const ferry__settings *settings,
                                         const ferry_service *service)
{
    ferry_faults *faults = settings->options.faults;
    return faults != NULL ? &faults->calls : service->calls;
}

/* @param owner the calling one, if that is to be its owner; NULL: one is chosen. */
static int place(ferry_stream *stream, ferry_service *service, ferry__owner *owner)
{
    if (owner == NULL)
        return ferry__service_place(service, stream->link.calls, &stream->owner);
    ferry__owner_hold(owner);
    stream->owner = ferry__owner_ref(owner);
    return 0;
}

/* Gives it its owner, its place in the service, and what telling needs. The last that can fail. */
static int join(ferry_stream *stream, ferry_service *service, ferry__owner *owner)
{
    int error = stream->watermark != NULL ? ferry__watermark_init(stream) : 0;
    if (error == 0)
        error = place(stream, service, owner);
    if (error != 0)
        return error;
    /* Where it is needed for sure it is made now: so waiting cannot fail for want of fds later. */
    bool is_needed = stream->link.patience == NULL || stream->linger != NULL;
    error = is_needed ? ferry__owner_need_poller(stream->owner) : 0;
    if (error != 0)
        goto undo_place;
    stream->watch.fd = stream->link.fd;
    stream->watch.calls = stream->link.calls;
    stream->service = ferry__service_ref(service);
    stream->admission.total = &service->total;
    error = ferry__service_remember(service, &stream->member);
    if (error == 0)
        return 0;
    ferry__service_unref(service);
undo_place:
    ferry__service_unplace(service, stream->owner);
    return error;
}

/* Checks that the fd is what the options need. */
static int check_link(const ferry__link *link, const ferry_stream_options *options)
{
    bool needs_socket = options->close_timeout_ms > 0 || options->tls != NULL;
    if (needs_socket && !link->is_socket)
        return -ENOTSOCK;
    if (options->tls != NULL && link->is_message)
        return -EPROTONOSUPPORT;
    return options->framing == FERRY_FRAMING_PAD && link->is_message ? -EINVAL : 0;
}

static void set_tcp_options(ferry__link *link, const ferry_stream_options *options)
{
    if (options->no_delay)
        ferry__link_set_no_delay(link);
    ferry__link_limit_unsent(link, options->notsent_lowat_bytes);
}

/* Has its link encrypt, if its options say so. @param handshake NULL: nobody waits for it. */
static int secure(ferry_stream *stream, const ferry__handshake *handshake)
{
    const ferry__secure *wanted = stream->settings->secure;
    if (wanted == NULL)
        return 0;
    if (handshake != NULL) {
        ferry__stream_securing(stream)->over = handshake->over;
        ferry__stream_securing(stream)->arg = handshake->arg;
    }
    return wanted->type->put_on(wanted, handshake != NULL ? handshake->host : NULL, &stream->link);
}

/* Any thread. Has the handshake begin, if there is to be one. */
static void begin(ferry_stream *stream)
{
    if (stream->settings->secure != NULL)
        ferry_stream_wake_generator(stream);
}

int ferry__stream_adopt_fd(ferry_service *service, int fd, ferry__settings *settings,
                           const ferry__handshake *handshake, ferry_stream **ret_stream)
{
    ferry_stream *stream;
    ferry__patience *patience;
    int error = create(service, settings, &stream, &patience);
    if (error != 0)
        return error;
    error = ferry__link_init(&stream->link, fd, ferry__stream_choose_calls(settings, service),
                             &stream->peer);
    if (error != 0)
        goto undo_create;
    error = check_link(&stream->link, &settings->options);
    if (error != 0)
        goto undo_link;
    set_tcp_options(&stream->link, &settings->options);
    if (patience != NULL)
        ferry__link_lend_patience(&stream->link, patience);
    error = secure(stream, handshake);
    if (error == 0)
        error = join(stream, service, NULL);
    if (error != 0)
        goto undo_link;
    ferry__link_commit(&stream->link);
    *ret_stream = stream;
    begin(stream);
    return 0;

undo_link:
    ferry__link_revert(&stream->link);
undo_create:
    discard(stream);
    return error;
}

static int adopt(ferry_service *service, int fd, const ferry_stream_options *options,
                 ferry_stream **ret_stream)
{
    if (service == NULL || ret_stream == NULL)
        return -EINVAL;
    if (ferry__service_is_foreign(service))
        return -ECHILD;
    int error = ferry__settings_check(options, NULL);
    if (error != 0)
        return error;
    ferry__settings *settings = ferry__settings_create(options);
    if (settings == NULL)
        return -ENOMEM;
    error = ferry__stream_adopt_fd(service, fd, settings, NULL, ret_stream);
    if (error == 0)
        ferry__settings_commit(settings);
    ferry__settings_unref(settings);
    return error;
}

int ferry__stream_adopt_connected(ferry_service *service, const ferry__connected *connected,
                                  ferry__settings *settings, ferry_stream **ret_stream)
{
    ferry_stream *stream;
    ferry__patience *patience;
    int error = create(service, settings, &stream, &patience);
    if (error != 0)
        return error;
    ferry__link_init_known(&stream->link, connected->fd, connected->sort,
                           ferry__stream_choose_calls(settings, service));
    set_tcp_options(&stream->link, &settings->options);
    if (patience != NULL)
        ferry__link_lend_patience(&stream->link, patience);
    ferry__peer_set(&stream->peer, connected->peer);
    stream->counter = connected->counter;
    error = secure(stream, connected->handshake);
    if (error == 0)
        error = join(stream, service, connected->owner);
    if (error != 0) {
        discard(stream);
        return error;
    }
    *ret_stream = stream;
    begin(stream);
    return 0;
}

int ferry_stream_adopt(ferry_service *service, int fd, const ferry_stream_options *options,
                       ferry_stream **ret_stream)
{
    FERRY__HOLD_OFF_CANCEL(); /* a pipe, or a terminal, is opened anew */
    return adopt(service, fd, options, ret_stream);
}
