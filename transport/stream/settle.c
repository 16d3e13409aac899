/* SPDX-License-Identifier: MIT */
#include "transport/stream/settle.h"

#include "core/clock.h"
#include "core/hooks.h"

#include <errno.h>

void ferry__stream_poison(ferry_stream *stream, int error)
{
    if (!ferry__stream_is_poisoned(stream))
        atomic_store(&stream->poison, error);
}

void ferry__stream_note_death(ferry_stream *stream, int error)
{
    bool is_over = error == -EPIPE || error == -ECONNRESET || error == -ECONNABORTED ||
                   error == -ETIMEDOUT || error == -ENOTCONN;
    if (is_over && atomic_load_explicit(&stream->link.death, memory_order_relaxed) == 0)
        atomic_store(&stream->link.death, (short)error);
}

/* ---- calling off ----------------------------------------------------------------------------- */

/* Whether it has come, and its outcome is not known yet. */
static bool may_be_called_off(const ferry__request *request)
{
    return request->stage == FERRY__QUEUED || request->stage == FERRY__CONFIRMING;
}

void ferry__stream_call_off(ferry_stream *stream, ferry__request *request, int error)
{
    if (stream->abort_came || !may_be_called_off(request))
        return;
    if (error == -ECANCELED)
        request->promise.result.cause = FERRY_CAUSE_CANCEL;
    ferry__stream_begin_turn(stream); /* it has a receipt, and what it lets go of may last */
    ((const ferry__request_type *)request->promise.type)->call_off(stream, request, error);
    ferry__stream_end_turn(stream);
    ferry__stream_schedule(stream);
}

static void out_of_time(ferry__timer *timer)
{
    ferry__extras *extras =
        (ferry__extras *)(void *)((char *)timer - offsetof(ferry__extras, deadline_timer));
    ferry__stream_call_off(extras->request->stream, extras->request, -ETIMEDOUT);
}

void ferry__stream_set_deadline(ferry_stream *stream, ferry__extras *extras)
{
    extras->deadline_timer.fire = out_of_time;
    ferry__timers_set(&stream->owner->timers, &extras->deadline_timer,
                      extras->deadline_timer.deadline);
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
        ferry__stream_call_off(stream, request, -ECANCELED);
    }
    (void)ferry_promise_unref(&request->promise);
}

void ferry__request_cancel(ferry_promise *promise)
{
    ferry__request *request = (ferry__request *)(void *)promise;
    (void)ferry_promise_ref(promise); /* the mail's */
    request->cancel_mail.deliver = deliver_cancel;
    ferry__owner_post_last(request->stream->owner, &request->cancel_mail);
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
    ferry__stream_show_head(stream); /* the callback may last, and this request is sent */
    ferry__stream_do(stream, "calling on_owner");
    ferry__promise_tell(&request->promise, request->on_owner, request->on_owner_arg);
    ferry__stream_do(stream, NULL);
}

/*
 * Called before it settles: a thread that awaits it finds the call over, and the arg released. Not
 * inlined, so that the compiler inlines ferry__stream_settle, which every small write goes through.
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
    if (request->extras != NULL && request->extras->progress != NULL)
        ferry__progress_end(request->extras->progress, ringer);
    (void)ferry_promise_unref(&request->promise);
}

/* Gives room back first: a thread that learns that a request is done may submit another at once. */
void ferry__stream_settle_finished(ferry_stream *stream)
{
    atomic_store_explicit(&stream->sent_bytes, stream->offset - stream->padding,
                          memory_order_relaxed);
    /* Q0: announced before it is not counted any more; pairs with ferry__stream_is_quiet. */
    atomic_store(&stream->is_settling, stream->finished.first != NULL || stream->padding > 0);
    if (stream->released > 0)
        ferry__admission_give_back(&stream->admission, stream->released,
                                   stream->released_source_bytes);
    stream->released = 0;
    stream->released_source_bytes = 0;
    if (stream->released_visits > 0)
        ferry__stream_end_visits(stream, stream->released_visits);
    stream->released_visits = 0;
    if (stream->finished.first == NULL)
        return;
    int64_t now = ferry__clock_now();
    while (stream->finished.first != NULL)
        ferry__stream_settle(stream, ferry__queue_take_first(&stream->finished), now);
    atomic_store(&stream->is_settling, stream->padding > 0);
}
