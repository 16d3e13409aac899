/* SPDX-License-Identifier: MIT */
/* From a request's arrival at its stream's owner to its outcome. Then it settles: settle.c. */
#include "transport/send/outcome.h"
#include "transport/read/intake.h"
#include "transport/send/conditions.h"
#include "transport/stream/batch.h"
#include "transport/stream/making.h"
#include "transport/stream/settle.h"

#include <errno.h>

/* ---- arriving -------------------------------------------------------------------------------- */

static void give_number(ferry_stream *stream, ferry__request *request)
{
    request->promise.result.sequence = stream->next_sequence++;
    request->stage = FERRY__QUEUED;
    ferry__stream_heed_deadline(stream, request);
}

/* Whether what comes behind a request can have its number. */
static bool is_counted(ferry__request *request)
{
    return request == NULL ||
           (request->stage != FERRY__POSTED && (!request->is_batch || ferry__batch_count(request)));
}

void ferry__stream_enqueue(ferry_stream *stream, ferry__request *request)
{
    ferry__request *last = stream->queue.last;
    ferry__queue_append(&stream->queue, request);
    if (is_counted(last)) {
        give_number(stream, request);
        return;
    }
    ferry__batches *batches = atomic_load(&stream->batches);
    if (batches->unnumbered == NULL)
        batches->unnumbered = request;
}

void ferry__stream_number_late(ferry_stream *stream)
{
    ferry__batches *batches = atomic_load(&stream->batches);
    ferry__request *request;
    while (batches != NULL && (request = batches->unnumbered) != NULL &&
           is_counted(request->previous)) {
        batches->unnumbered = request->next;
        give_number(stream, request);
        if (request->cancel_came)
            ferry__stream_call_off(stream, request, -ECANCELED);
    }
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

/* Invariant framing: if it failed midway the peer cannot tell where the next one would begin. */
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
    ferry__stream_push(stream);
    bool is_whole = ferry__request_find_part(request) == NULL;
    if (request->promise.result.sent > 0 && !is_whole)
        keep_framing(stream, request, has_known_length(request));
}

/* Whether anything is set up for waiting for the head's source: for most heads nothing is. */
static bool is_source_known(const ferry_stream *stream)
{
    return (stream->source_watch != NULL && stream->source_watch->watch.registered != 0) ||
           ferry__timer_is_set(&stream->follow_timer) || stream->waits_for_source;
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

/* Lets it settle now or, if that is wanted, once it is confirmed. */
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
    /* Before its fd is closed: else the epoll set would keep it. */
    if (stream->source_watch != NULL)
        ferry__poller_unwatch(&stream->owner->poller, &stream->source_watch->watch);
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

int ferry_promise_get_resume_token(const ferry_promise *promise, ferry_resume_token *ret_token)
{
    if (promise == NULL || ret_token == NULL || promise->type->cancel != ferry__request_cancel)
        return -EINVAL;
    int error = ferry_promise_await((ferry_promise *)(uintptr_t)promise, 0, NULL);
    if (error != 0)
        return -EBUSY;
    const ferry__request *request = (const ferry__request *)(const void *)promise;
    if (promise->result.error == 0 || request->current == request->part_count)
        return -ENODATA;
    const ferry__part *part = &request->parts[request->current];
    if (part->source == NULL || !part->source->has_identity)
        return -ENODATA;
    *ret_token = part->source->identity;
    ret_token->offset += (int64_t)part->sent;
    return 0;
}
