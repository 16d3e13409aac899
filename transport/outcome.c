/* SPDX-License-Identifier: MIT */
/* From a request's arrival at its stream's owner to its outcome. */
#include "core/clock.h"
#include "core/hooks.h"
#include "transport/carry.h"
#include "transport/intake.h"

#include <errno.h>

void ferry__stream_enqueue(ferry_stream *stream, ferry__request *request)
{
    request->promise.result.sequence = stream->next_sequence++;
    request->stage = FERRY__QUEUED;
    ferry__queue_append(&stream->queue, request);
}

void ferry__stream_dequeue(ferry_stream *stream, ferry__request *request)
{
    ferry__queue_remove(&stream->queue, request);
    request->stage = FERRY__FINISHED;
}

/* ---- beginning and finishing ----------------------------------------------------------------- */

void ferry__stream_poison(ferry_stream *stream, int error)
{
    if (!ferry__stream_is_poisoned(stream))
        atomic_store(&stream->poison, error);
}

void ferry__stream_note_death(ferry_stream *stream, int error)
{
    bool is_over = error == -EPIPE || error == -ECONNRESET || error == -ECONNABORTED ||
                   error == -ETIMEDOUT || error == -ENOTCONN;
    if (is_over && atomic_load_explicit(&stream->death, memory_order_relaxed) == 0)
        atomic_store(&stream->death, error);
}

void ferry__stream_drop_padding(ferry_stream *stream)
{
    stream->offset -= stream->padding;
    stream->padding = 0;
}

/* Whether it is known how many bytes were to be sent. */
static bool has_known_length(const ferry__request *request)
{
    for (size_t i = 0; i < request->part_count; i++) {
        if (request->parts[i].source != NULL && request->parts[i].source->is_open_ended)
            return false;
    }
    return true;
}

/* Invariant framing: it failed midway, so the peer cannot tell where the next one would begin. */
static void keep_framing(ferry_stream *stream, const ferry__request *request, bool known_length)
{
    const ferry_result *result = &request->promise.result;
    switch (stream->settings->options.framing) {
    case FERRY_FRAMING_CONTINUE:
        return;
    case FERRY_FRAMING_PAD:
        if (!known_length)
            break;
        stream->padding += result->remaining;
        stream->offset += result->remaining;
        return;
    case FERRY_FRAMING_POISON:
        break;
    }
    ferry__stream_poison(stream, result->error);
}

__attribute__((cold)) static void fail(ferry_stream *stream, ferry__request *request)
{
    ferry__sink_push(&stream->sink);
    bool is_whole = ferry__request_find_part(request) == NULL;
    if (request->promise.result.sent > 0 && !is_whole)
        keep_framing(stream, request, has_known_length(request));
}

/* Whether anything is set up for waiting for the head's source: for most heads nothing is. */
static bool is_source_known(const ferry_stream *stream)
{
    return stream->source_watch.registered != 0 || ferry__timer_is_set(&stream->follow_timer) ||
           stream->waits_for_source;
}

/* Its outcome is known: it settles at the end of the turn. */
static void add_settling(ferry_stream *stream, ferry__request *request)
{
    if (request->extras != NULL)
        ferry__timers_cancel(&stream->owner->timers, &request->extras->deadline_timer);
    ferry__queue_append(&stream->finished, request);
}

/* Likewise, of what is sent; and its room is given back then. */
static void add_finished(ferry_stream *stream, ferry__request *request)
{
    add_settling(stream, request);
    stream->released += FERRY__ONE_REQUEST + request->cost.memory_bytes;
    stream->released_source_bytes += request->cost.source_bytes;
}

static void add_confirming(ferry_stream *stream, ferry__request *request)
{
    request->stage = FERRY__CONFIRMING;
    ferry__queue_append(&stream->confirming, request);
    ferry__confirm_wait(stream);
}

/* Gives a request that leaves the queue its result, and lets go of what it was made of. */
static void conclude(ferry_stream *stream, ferry__request *request, int error, ferry_phase phase)
{
    ferry__stream_assert_owner(stream);
    ferry__stream_begin(stream, request);
    if (request == stream->queue.first && is_source_known(stream))
        ferry__stream_forget_source(stream);
    ferry__stream_dequeue(stream, request);
    request->promise.result.error = error;
    request->promise.result.phase = phase;
    ferry__request_release_parts(request);
    if (error != 0)
        fail(stream, request);
}

/* Lets it settle now, or once it is confirmed, where that is wanted. */
static void hand_on(ferry_stream *stream, ferry__request *request, bool may_wait)
{
    /* Asked here first: most requests are no markers, and have no extras. */
    bool is_plain = request->extras == NULL && request->part_count > 0;
    if (may_wait && !is_plain && ferry__confirm_is_wanted(stream, request))
        add_confirming(stream, request);
    else
        add_finished(stream, request);
}

void ferry__stream_finish(ferry_stream *stream, ferry__request *request, int error,
                          ferry_phase phase)
{
    conclude(stream, request, error, phase);
    hand_on(stream, request, error == 0);
}

void ferry__stream_refuse(ferry_stream *stream, ferry__request *request, int error)
{
    conclude(stream, request, error, FERRY_PHASE_QUEUE);
    hand_on(stream, request, true);
}

void ferry__stream_finish_read(ferry_stream *stream, ferry__request *request, int error,
                               ferry_phase phase)
{
    request->stage = FERRY__FINISHED;
    request->promise.result.error = error;
    request->promise.result.phase = phase;
    add_settling(stream, request);
    stream->released_visits += FERRY__ONE_READ;
}

void ferry__stream_conclude_confirming(ferry_stream *stream, ferry__request *request, int error)
{
    ferry__queue_remove(&stream->confirming, request);
    request->stage = FERRY__FINISHED;
    ferry_result *result = &request->promise.result;
    if (error != result->error) {
        ferry__stream_note_death(stream, error == -ECONNRESET ? error : 0);
        result->error = error;
        result->phase = FERRY_PHASE_SINK;
    }
    add_finished(stream, request);
}

void ferry__stream_forget_source(ferry_stream *stream)
{
    /* Before its fd is closed: else epoll keeps it. */
    ferry__poller_unwatch(&stream->owner->poller, &stream->source_watch);
    ferry__timers_cancel(&stream->owner->timers, &stream->follow_timer);
    stream->waits_for_source = false;
}

ferry_phase ferry__stream_phase_of(const ferry_stream *stream, const ferry__request *request)
{
    if (!request->has_begun)
        return FERRY_PHASE_QUEUE;
    if (!request->is_prepared) /* or it cannot be opened yet */
        return FERRY_PHASE_OPEN;
    return stream->waits_for_source ? FERRY_PHASE_SOURCE : FERRY_PHASE_SINK;
}

/* ---- calling off ----------------------------------------------------------------------------- */

/* Not before it has come, nor once its outcome is known. */
static bool may_be_called_off(const ferry__request *request)
{
    return request->stage == FERRY__QUEUED || request->stage == FERRY__CONFIRMING;
}

/* Wherever it stands; not if its outcome is known already, or an abort is about to give it. */
static void call_off(ferry_stream *stream, ferry__request *request, int error)
{
    if (stream->abort_came || !may_be_called_off(request))
        return;
    if (error == -ECANCELED)
        request->promise.result.cause = FERRY_CAUSE_CANCEL;
    stream->turn_began_at = ferry__clock_now(); /* this is no turn: for its receipt */
    /* But shown as one: what it lets go of may last. */
    ferry__activity_begin(&stream->owner->activity, &stream->task, stream->turn_began_at);
    if (request->stage == FERRY__CONFIRMING)
        ferry__stream_conclude_confirming(stream, request, error);
    else if (request->stage == FERRY__QUEUED && request->kind == FERRY__READ)
        ferry__intake_call_off(stream, request, error);
    else
        ferry__stream_finish(stream, request, error, ferry__stream_phase_of(stream, request));
    ferry__activity_end(&stream->owner->activity);
    ferry__stream_schedule(stream);
}

void ferry__request_deadline(ferry__timer *timer)
{
    ferry__extras *extras =
        (ferry__extras *)(void *)((char *)timer - offsetof(ferry__extras, deadline_timer));
    call_off(extras->request->stream, extras->request, -ETIMEDOUT);
}

/* On the owner. The stream has not ended: it waits for cancels that settling has heard of. */
static void deliver_cancel(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    ferry__request *request =
        (ferry__request *)(void *)((char *)mail - offsetof(ferry__request, cancel_mail));
    ferry_stream *stream = request->stream;
    request->cancel_came = true;
    if (request->stage == FERRY__SETTLED) {
        stream->cancels_due--;
        ferry__stream_schedule(stream);
    } else {
        call_off(stream, request, -ECANCELED);
    }
    (void)ferry_promise_unref(&request->promise);
}

void ferry__request_cancel(ferry_promise *promise)
{
    ferry__request *request = (ferry__request *)(void *)promise;
    /* The stream does not end before the mail was delivered, but at once then: the post may still be
     * looking at the owner. */
    ferry__owner *owner = ferry__owner_ref(request->stream->owner);
    (void)ferry_promise_ref(promise); /* the mail's */
    request->cancel_mail.deliver = deliver_cancel;
    ferry__owner_post(owner, &request->cancel_mail);
    ferry__owner_unref(owner);
}

/* ---- settling -------------------------------------------------------------------------------- */

/* Whether anybody may learn the outcome: a promise's holders, or the program's callback here. */
static bool is_observable(const ferry__request *request)
{
    return request->on_owner != NULL || !ferry__promise_is_forgotten(&request->promise);
}

static void note_times(ferry__request *request, int64_t now)
{
    ferry_result *result = &request->promise.result;
    result->queued_ns = request->began_at - ferry__promise_created(&request->promise);
    result->active_ns = now - request->began_at;
}

static void call_on_owner(ferry_stream *stream, ferry__request *request)
{
    ferry__stream_show_head(stream); /* it may last, and this one is sent */
    ferry__stream_do(stream, "calling on_owner");
    ferry__promise_tell(&request->promise, request->on_owner, request->on_owner_arg);
    ferry__stream_do(stream, NULL);
}

/*
 * Before it settles: who awaits it finds that call over, and the arg released. Not inlined: it would
 * keep ferry__stream_settle from being, which every small write goes through.
 */
__attribute__((noinline)) static void tell_owner(ferry_stream *stream, ferry__request *request)
{
    if (request->on_owner != NULL)
        call_on_owner(stream, request);
    if (request->extras != NULL)
        ferry__release_arg(request->extras->on_owner_release, request->on_owner_arg);
}

void ferry__stream_settle(ferry_stream *stream, ferry__request *request, int64_t now)
{
    ferry__ringer *ringer = &stream->owner->ringer;
    bool observable = is_observable(request);
    request->stage = FERRY__SETTLED;
    if (observable)
        note_times(request, now);
    if (request->on_owner != NULL || request->extras != NULL)
        tell_owner(stream, request);
    if (observable && ferry__promise_settle(&request->promise, ringer) && !request->cancel_came)
        stream->cancels_due++;
    if (request->extras != NULL)
        ferry__progress_end(&request->extras->progress, ringer);
    (void)ferry_promise_unref(&request->promise);
}

/* Room is given back first: who learns that a request is done may at once submit another. */
void ferry__stream_settle_finished(ferry_stream *stream)
{
    atomic_store_explicit(&stream->sent_bytes, stream->offset - stream->padding,
                          memory_order_relaxed);
    /* Q0: announced before it is not counted any more; pairs with ferry__stream_is_quiet. */
    atomic_store(&stream->is_settling, stream->finished.first != NULL || stream->padding > 0);
    if (stream->released > 0)
        ferry__admission_give_back(stream, stream->released, stream->released_source_bytes);
    stream->released = 0;
    stream->released_source_bytes = 0;
    if (stream->released_visits > 0)
        ferry__admission_end_visits(stream, stream->released_visits);
    stream->released_visits = 0;
    if (stream->finished.first == NULL)
        return;
    int64_t now = ferry__clock_now();
    while (stream->finished.first != NULL)
        ferry__stream_settle(stream, ferry__queue_take_first(&stream->finished), now);
    atomic_store(&stream->is_settling, stream->padding > 0);
}
