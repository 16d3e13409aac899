/* SPDX-License-Identifier: MIT */
/* From a request's arrival at its stream's owner to its outcome. It settles then: settle.c. */
#include "core/clock.h"
#include "transport/carry.h"
#include "transport/intake.h"
#include "transport/settle.h"

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
        ferry__stream_add_finished(stream, request);
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
        ferry__confirm_conclude(stream, request, error);
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
