/* SPDX-License-Identifier: MIT */
/* A stream's face to any thread. */
#include "transport/stream.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/faults.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "core/thread.h"
#include "transport/read.h"
#include "transport/service.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

/* ---- adopting -------------------------------------------------------------------------------- */

_Static_assert(_Alignof(ferry__stall) == _Alignof(ferry_stream) &&
                   _Alignof(ferry__pace) == _Alignof(ferry_stream) &&
                   _Alignof(ferry__linger) == _Alignof(ferry_stream) &&
                   _Alignof(ferry__watermark) == _Alignof(ferry_stream),
               "each may lie behind any other");

/* What the options ask for, behind the stream. */
typedef struct pieces {
    size_t stall, pace, linger, watermark; /* bytes of each: none where it is not asked for */
} pieces;

static pieces choose_pieces(const ferry_stream_options *options)
{
    return (pieces){
        .stall = options->stall_timeout_ms > 0 ? sizeof(ferry__stall) : 0,
        .pace = options->limiter != NULL ? sizeof(ferry__pace) : 0,
        .linger = options->close_timeout_ms > 0 ? sizeof(ferry__linger) : 0,
        .watermark = options->on_watermark != NULL ? sizeof(ferry__watermark) : 0,
    };
}

static void *take_piece(char **memory, size_t size)
{
    char *piece = *memory;
    *memory += size;
    return size > 0 ? piece : NULL;
}

static void set_up_pieces(ferry_stream *stream, const pieces *wanted)
{
    const ferry_stream_options *options = &stream->settings->options;
    char *memory = (char *)(stream + 1);
    if ((stream->stall = take_piece(&memory, wanted->stall)) != NULL) {
        stream->stall->stream = stream;
        stream->stall->timer.fire = ferry__stall_timeout;
    }
    if ((stream->pace = take_piece(&memory, wanted->pace)) != NULL) {
        stream->pace->stream = stream;
        stream->pace->timer.fire = ferry__pace_timeout;
        stream->pace->allotment.limiter = options->limiter;
        stream->pace->free_bytes = options->limiter_free_bytes;
    }
    if ((stream->linger = take_piece(&memory, wanted->linger)) != NULL) {
        stream->linger->stream = stream;
        stream->linger->timer.fire = ferry__linger_timeout;
    }
    if ((stream->watermark = take_piece(&memory, wanted->watermark)) != NULL)
        stream->watermark->stream = stream;
}

static ferry_stream *allocate(const pieces *wanted)
{
    return ferry__allocate_zeroed(sizeof(ferry_stream) + wanted->stall + wanted->pace +
                                  wanted->linger + wanted->watermark);
}

/* Everything but its owner. Takes nothing but memory. */
static int create(ferry__settings *settings, ferry_stream **ret_stream)
{
    const pieces wanted = choose_pieces(&settings->options);
    ferry_stream *stream = allocate(&wanted);
    if (stream == NULL)
        return -ENOMEM;
    const ferry__plan plan = {.size = sizeof(ferry__request)};
    int error = ferry__request_create(stream, FERRY__CLOSE, NULL, 0, &plan, NULL, NULL,
                                      &stream->close_request);
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
    atomic_init(&stream->users, 1);
    stream->settings = ferry__settings_ref(settings);
    stream->member.type = &ferry__stream_member;
    atomic_init(&stream->shown_head.number, FERRY__NO_HEAD);
    stream->abort_mail.deliver = ferry__stream_deliver_abort;
    stream->resume_mail.deliver = ferry__stream_deliver_resume;
    stream->follow_timer.fire = ferry__stream_look_again;
    stream->task.turn = ferry__stream_turn;
    stream->watch.ready = ferry__stream_ready;
    stream->source_watch.ready = ferry__stream_source_ready;
    stream->confirm_timer.fire = ferry__stream_confirm_timeout;
    set_up_pieces(stream, &wanted);
    *ret_stream = stream;
    return 0;
}

static void free_stream(ferry_stream *stream)
{
    ferry__intake_free(atomic_load(&stream->intake));
    if (stream->watermark != NULL)
        ferry__watermark_deinit(stream);
    ferry__settings_unref(stream->settings);
    (void)ferry_promise_unref(&stream->close_request->promise);
    ferry__release(stream);
}

/* Undoes create. */
static void discard(ferry_stream *stream)
{
    (void)ferry_promise_unref(&stream->close_request->promise);
    free_stream(stream);
}

ferry__calls *ferry__stream_choose_calls(const ferry__settings *settings,
                                         const ferry_service *service)
{
    ferry_faults *faults = settings->options.faults;
    return faults != NULL ? &faults->calls : service->calls;
}

/* @param owner the calling one, where that is to be its owner; NULL: whichever. */
static int place(ferry_stream *stream, ferry_service *service, ferry__owner *owner)
{
    if (owner == NULL)
        return ferry__service_place(service, stream->sink.calls, &stream->owner);
    ferry__owner_hold(owner);
    stream->owner = ferry__owner_ref(owner);
    return 0;
}

/* Gives it its owner, its place in the service, and what telling needs: the last that can fail. */
static int join(ferry_stream *stream, ferry_service *service, ferry__owner *owner)
{
    int error = stream->watermark != NULL ? ferry__watermark_init(stream) : 0;
    if (error == 0)
        error = place(stream, service, owner);
    if (error != 0)
        return error;
    /* The epoll set is made now, so that waiting cannot fail for want of fds later. */
    error = ferry__owner_need_poller(stream->owner);
    if (error != 0)
        goto undo_place;
    stream->watch.fd = stream->number = stream->sink.fd;
    stream->watch.calls = stream->source_watch.calls = stream->sink.calls;
    stream->service = ferry__service_ref(service);
    error = ferry__service_remember(service, &stream->member);
    if (error == 0)
        return 0;
    ferry__service_unref(service);
undo_place:
    ferry__service_unplace(service, stream->owner);
    return error;
}

/* What the options ask of the fd that it is to be. */
static int check_sink(const ferry__sink *sink, const ferry_stream_options *options)
{
    if (options->close_timeout_ms > 0 && !sink->is_socket)
        return -ENOTSOCK;
    return options->framing == FERRY_FRAMING_PAD && sink->is_message ? -EINVAL : 0;
}

static void set_tcp_options(ferry__sink *sink, const ferry_stream_options *options)
{
    if (options->no_delay)
        ferry__sink_set_no_delay(sink);
    ferry__sink_limit_unsent(sink, options->limit_unsent_bytes);
}

int ferry__stream_adopt_fd(ferry_service *service, int fd, ferry__settings *settings,
                           ferry_stream **ret_stream)
{
    ferry_stream *stream;
    int error = create(settings, &stream);
    if (error != 0)
        return error;
    error = ferry__sink_init(&stream->sink, fd, ferry__stream_choose_calls(settings, service));
    if (error != 0)
        goto undo_create;
    error = check_sink(&stream->sink, &settings->options);
    if (error != 0)
        goto undo_sink;
    set_tcp_options(&stream->sink, &settings->options);
    if (stream->sink.is_socket)
        ferry__peer_ask(&stream->peer, fd);
    error = join(stream, service, NULL);
    if (error != 0)
        goto undo_sink;
    ferry__sink_commit(&stream->sink);
    *ret_stream = stream;
    return 0;

undo_sink:
    ferry__sink_revert(&stream->sink);
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
    error = ferry__stream_adopt_fd(service, fd, settings, ret_stream);
    if (error == 0)
        ferry__settings_commit(settings);
    ferry__settings_unref(settings);
    return error;
}

int ferry__stream_adopt_connected(ferry_service *service, const ferry__connected *connected,
                                  ferry__settings *settings, ferry_stream **ret_stream)
{
    ferry_stream *stream;
    int error = create(settings, &stream);
    if (error != 0)
        return error;
    ferry__sink_init_known(&stream->sink, connected->fd, connected->sort,
                           ferry__stream_choose_calls(settings, service));
    set_tcp_options(&stream->sink, &settings->options);
    ferry__peer_set(&stream->peer, connected->peer);
    stream->counter = connected->counter;
    error = join(stream, service, connected->owner);
    if (error != 0) {
        discard(stream);
        return error;
    }
    *ret_stream = stream;
    return 0;
}

int ferry_stream_adopt(ferry_service *service, int fd, const ferry_stream_options *options,
                       ferry_stream **ret_stream)
{
    FERRY__HOLD_OFF_CANCEL(); /* a pipe, or a terminal, is opened anew */
    return adopt(service, fd, options, ret_stream);
}

/* ---- references ------------------------------------------------------------------------------ */

ferry_stream *ferry__stream_ref(ferry_stream *stream)
{
    atomic_fetch_add_explicit(&stream->refs, 1, memory_order_relaxed);
    return stream;
}

void ferry__stream_unref(ferry_stream *stream)
{
    if (ferry__refs_drop(&stream->refs) != 1)
        return;
    ferry__owner_unref(stream->owner);
    ferry__service_unref(stream->service);
    free_stream(stream);
}

ferry_stream *ferry_stream_ref(ferry_stream *stream)
{
    /* A callback may be handed a stream whose last handle another thread has just given back: it is
     * closed then, and may be kept all the same. */
    if (stream != NULL && atomic_fetch_add_explicit(&stream->users, 1, memory_order_relaxed) == 0)
        (void)ferry__stream_ref(stream);
    return stream;
}

ferry_stream *ferry_stream_unref(ferry_stream *stream)
{
    FERRY__REPORT_CALLER();
    if (stream == NULL)
        return NULL;
    unsigned before = ferry__refs_drop(&stream->users);
    assert(before > 0 && "ferry_stream_unref: more references given back than taken");
    if (before == 1) {
        (void)ferry_stream_close(stream, NULL);
        ferry__stream_unref(stream);
    }
    return NULL;
}

bool ferry__stream_is_quiet(ferry_stream *stream)
{
    /* Q1: in this order; what is not counted any more was announced as settling before (Q0). */
    uint64_t admission = atomic_load(&stream->admission);
    if (ferry__stream_has_ended(stream))
        return ferry__promise_is_settled(&stream->close_request->promise); /* the last to */
    return (admission & (FERRY__REQUESTS_MASK | FERRY__CLOSED)) == 0 &&
           !atomic_load(&stream->is_settling);
}

/* ---- submitting ------------------------------------------------------------------------------ */

static int check_usable(const ferry_stream *stream)
{
    if (stream == NULL)
        return -EINVAL;
    return ferry__service_is_foreign(stream->service) ? -ECHILD : 0;
}

int ferry__find_home(bool wanted, ferry__inbox **ret_home)
{
    *ret_home = NULL;
    if (!wanted || ferry__thread_current()->owner != NULL)
        return 0;
    *ret_home = ferry__inbox_current();
    return *ret_home != NULL ? 0 : -ENOMEM;
}

/* What distinguishes one kind of submit from another. */
typedef struct submission {
    ferry__request_kind kind;
    const ferry_part *parts;
    size_t count;
    const ferry__read_type *read; /* instead of parts: a kind of read, */
    const void *wanted;           /* and what it is made by */
    ferry__leftover *leftover;    /* what the last part's source is to leave; NULL: nothing */
    const ferry_request_options *options;
    uint64_t refused_by; /* admission flags */
    uint64_t set;        /* likewise: once nothing can fail any more */
    ferry__limit limited;
} submission;

/* How long the submit may wait for room, as asked for. */
static int64_t room_timeout(const submission *what)
{
    return what->options != NULL ? what->options->room_timeout_ms : 0;
}

static int check_waiting(const submission *what)
{
    int64_t timeout_ms = room_timeout(what);
    if (timeout_ms < -1)
        return -EINVAL;
    return timeout_ms != 0 && ferry__thread_may_not_wait() ? -EDEADLK : 0;
}

static int let_read_in(ferry_stream *stream, const submission *what)
{
    int error = ferry__admit_read(stream);
    if (error == -EAGAIN && room_timeout(what) != 0)
        error = ferry__admit_read_in_time(stream, ferry__clock_deadline(room_timeout(what)));
    return error;
}

/* Lets a request in, or waits for the room it needs. */
static int let_in(ferry_stream *stream, const submission *what, ferry__cost cost)
{
    if (what->read != NULL)
        return let_read_in(stream, what);
    int error = ferry__admit(stream, cost, what->refused_by, 0, what->limited);
    if (error == -EAGAIN && room_timeout(what) != 0)
        error = ferry__admit_in_time(stream, cost, what->refused_by,
                                     ferry__clock_deadline(room_timeout(what)));
    return error;
}

/* It comes to nothing after all. */
static void undo_let_in(ferry_stream *stream, const submission *what, ferry__cost cost)
{
    if (what->read != NULL)
        ferry__admission_undo_read(stream);
    else
        ferry__admission_undo(stream, cost);
}

/* Whether the submitting thread is to hear of it. */
static bool is_reported(const submission *what, ferry_promise **ret_promise)
{
    return ret_promise != NULL ||
           (what->options != NULL &&
            (what->options->on_progress != NULL || what->options->on_progress_release != NULL));
}

/* What the owner then calls may give the last handle back, before the post has returned. */
static void post_mail(ferry_stream *stream, ferry__mail *mail)
{
    ferry__owner *owner = ferry__owner_ref(stream->owner);
    ferry__owner_post(owner, mail);
    ferry__owner_unref(owner);
}

/* Only a deadline has to be known while the sink is full: the rest waits behind the head anyway. */
static void post(ferry_stream *stream, ferry__request *request, bool calls_back)
{
    ferry__owner *owner = stream->owner;
    ferry__owner *kept = calls_back ? ferry__owner_ref(owner) : NULL; /* as above */
    if (request->kind == FERRY__READ)
        atomic_fetch_add(&atomic_load(&stream->intake)->commands, 1);
    if (request->kind == FERRY__READ ||
        (request->extras != NULL && request->extras->deadline != FERRY__NEVER))
        ferry__owner_post(owner, &request->mail);
    else
        ferry__owner_post_unhurried(owner, &request->mail);
    ferry__owner_unref(kept);
}

/* Checks everything, and takes nothing. */
static int plan(ferry_stream *stream, const submission *what, ferry__plan *ret_plan)
{
    if (what->read == NULL)
        return ferry__request_plan(stream, what->parts, what->count, what->options, ret_plan);
    *ret_plan = (ferry__plan){.calls_back = what->options != NULL};
    int error = ferry__request_check_options(what->options);
    if (error == 0)
        error = what->read->check(what->wanted, what->options);
    if (error != 0)
        return error;
    return ferry__intake_need(stream) != NULL ? 0 : -ENOMEM;
}

static int create_request(ferry_stream *stream, const submission *what, const ferry__plan *plan,
                          ferry__inbox *home, ferry__request **ret_request)
{
    if (what->read != NULL)
        return what->read->create(stream, what->wanted, what->options, home, ret_request);
    int error = ferry__request_create(stream, what->kind, what->parts, what->count, plan,
                                      what->options, home, ret_request);
    if (error != 0 || what->leftover == NULL || what->count == 0)
        return error;
    ferry__source *last = (*ret_request)->parts[what->count - 1].source;
    if (last != NULL)
        last->leftover = what->leftover;
    return 0;
}

/* What no submit may be made with. */
static int check(ferry_stream *stream, const submission *what)
{
    int error = check_usable(stream);
    if (error == 0)
        error = check_waiting(what);
    if (error != 0)
        return error;
    bool is_refused =
        (atomic_load_explicit(&stream->admission, memory_order_relaxed) & what->refused_by) != 0;
    return is_refused ? -ESHUTDOWN : 0;
}

/* Let in first, made then: who waits for room, or finds none, holds nothing. */
static int submit(ferry_stream *stream, const submission *what, ferry_promise **ret_promise)
{
    ferry__inbox *home;
    ferry__plan planned;
    int error = check(stream, what);
    if (error == 0)
        error = ferry__find_home(is_reported(what, ret_promise), &home);
    if (error == 0)
        error = plan(stream, what, &planned);
    if (error == 0)
        error = let_in(stream, what, planned.cost);
    if (error != 0)
        return error;
    ferry__request *request;
    error = create_request(stream, what, &planned, home, &request);
    if (error != 0) {
        undo_let_in(stream, what, planned.cost);
        return error;
    }
    if (what->set != 0)
        ferry__admission_refuse(stream, what->set);
    request->mail.deliver =
        what->read != NULL ? ferry__intake_deliver_read : ferry__stream_deliver_request;
    if (is_reported(what, ret_promise) || request->on_owner != NULL)
        /* Dear beside a small write: only if seen. */
        ferry__promise_set_created(&request->promise, ferry__clock_now());
    if (ret_promise != NULL)
        *ret_promise = ferry__promise_ref_unshared(&request->promise);
    if (what->read == NULL) /* which nobody waits for without being asked to */
        ferry__thread_note_submit();
    post(stream, request, planned.calls_back);
    return 0;
}

int ferry_stream_send(ferry_stream *stream, const ferry_part parts[], size_t count,
                      const ferry_request_options *options, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    const submission what = {
        .kind = FERRY__SEND,
        .parts = parts,
        .count = count,
        .options = options,
        .refused_by = FERRY__SHUT | FERRY__CLOSED,
        .limited = FERRY__BY_OPTIONS,
    };
    return submit(stream, &what, ret_promise);
}

int ferry_stream_write(ferry_stream *stream, const void *data, size_t length,
                       const ferry_request_options *options, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    ferry_part part = ferry_part_copy(data, length);
    return ferry_stream_send(stream, &part, 1, options, ret_promise);
}

int ferry_stream_sendfile(ferry_stream *stream, const ferry_file *file,
                          const ferry_request_options *options, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (file == NULL)
        return -EINVAL;
    ferry_part part = ferry_part_file(*file);
    return ferry_stream_send(stream, &part, 1, options, ret_promise);
}

int ferry__stream_send_relayed(ferry_stream *stream, const ferry_part parts[], size_t count,
                               const ferry_request_options *options, ferry__leftover *leftover,
                               ferry_promise **ret_promise)
{
    const submission what = {
        .kind = FERRY__SEND,
        .parts = parts,
        .count = count,
        .options = options,
        .leftover = leftover,
        .refused_by = FERRY__SHUT | FERRY__CLOSED,
        .limited = FERRY__BY_COUNT,
    };
    return submit(stream, &what, ret_promise);
}

int ferry_stream_flush(ferry_stream *stream, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    const submission what = {
        .kind = FERRY__SEND, .refused_by = FERRY__CLOSED, .limited = FERRY__BY_COUNT};
    return submit(stream, &what, ret_promise);
}

int ferry_stream_shutdown(ferry_stream *stream, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (stream != NULL && !stream->sink.is_socket)
        return -ENOTSOCK;
    const submission what = {.kind = FERRY__SHUTDOWN,
                             .refused_by = FERRY__CLOSED,
                             .set = FERRY__SHUT,
                             .limited = FERRY__BY_COUNT};
    return submit(stream, &what, ret_promise);
}

int ferry__stream_submit_read(ferry_stream *stream, const ferry__read_type *type,
                              const void *wanted, const ferry_request_options *options,
                              ferry_promise **ret_promise)
{
    if (stream == NULL)
        return -EINVAL;
    if (!stream->sink.is_socket || stream->sink.is_message)
        return -ENOTSOCK;
    const submission what = {.kind = FERRY__READ,
                             .read = type,
                             .wanted = wanted,
                             .options = options,
                             .refused_by = FERRY__CLOSED,
                             .limited = FERRY__BY_OPTIONS};
    return submit(stream, &what, ret_promise);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static const ferry__cost nothing;

int ferry_stream_close(ferry_stream *stream, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    int error = check_usable(stream);
    if (error != 0)
        return error;
    ferry__inbox *home;
    error = ferry__find_home(ret_promise != NULL, &home);
    if (error != 0)
        return error;
    ferry__request *request = stream->close_request;
    if (home != NULL)
        ferry__promise_set_home(&request->promise, home);
    if (ret_promise != NULL)
        *ret_promise = ferry_promise_ref(&request->promise);
    if (ferry__admit(stream, nothing, FERRY__CLOSED, FERRY__CLOSED, FERRY__UNLIMITED) == 0) {
        ferry__promise_set_created(&request->promise, ferry__clock_now());
        ferry__promise_note_caller(&request->promise);
        ferry__admission_refuse(stream, FERRY__CLOSED);
        ferry__thread_note_submit();
        post_mail(stream, &request->mail);
    }
    return 0;
}

void ferry__stream_abort(ferry_stream *stream, ferry_cause cause)
{
    unsigned char none = FERRY_CAUSE_NONE;
    if (!atomic_compare_exchange_strong(&stream->abort_cause, &none, (unsigned char)cause))
        return;
    if (!ferry__admit_message(stream))
        return; /* it has ended already */
    ferry__admission_refuse(stream, FERRY__CLOSED);
    ferry__sink_cut(&stream->sink);
    post_mail(stream, &stream->abort_mail);
}

void ferry_stream_abort(ferry_stream *stream)
{
    if (check_usable(stream) == 0)
        ferry__stream_abort(stream, FERRY_CAUSE_ABORT);
}

void ferry_stream_resume(ferry_stream *stream)
{
    if (check_usable(stream) != 0)
        return;
    ferry__handed_over(&stream->is_resuming);
    if (atomic_exchange(&stream->is_resuming, true))
        return;
    if (ferry__admit_message(stream))
        post_mail(stream, &stream->resume_mail);
}

int ferry_stream_get_peer(ferry_stream *stream, char *buffer, size_t size)
{
    if (stream == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    if (!stream->sink.is_socket)
        return -ENOTSOCK;
    return ferry__peer_format(&stream->peer, buffer, size);
}

/* Whatever was first to end its sending, where a request's failing tells more. */
static int error_of(ferry_stream *stream)
{
    int poison = atomic_load(&stream->poison);
    return poison != 0 ? poison : atomic_load(&stream->death);
}

int ferry_stream_get_status(ferry_stream *stream, ferry_stream_status *ret_status)
{
    if (stream == NULL || ret_status == NULL)
        return -EINVAL;
    uint64_t admission = atomic_load(&stream->admission);
    uint32_t visits = atomic_load(&stream->visits);
    const ferry__intake *intake = atomic_load(&stream->intake);
    *ret_status = (ferry_stream_status){
        .sent_bytes = atomic_load_explicit(&stream->sent_bytes, memory_order_relaxed),
        .queued_bytes = admission & FERRY__MEMORY_MASK,
        .queued_file_bytes = atomic_load(&stream->source_bytes),
        .queued_requests = (uint32_t)((admission & FERRY__REQUESTS_MASK) / FERRY__ONE_REQUEST),
        .pending_reads = (visits & FERRY__READS_MASK) / FERRY__ONE_READ,
        .received_bytes =
            intake != NULL ? atomic_load_explicit(&intake->received, memory_order_relaxed) : 0,
        .error = error_of(stream),
    };
    return 0;
}
