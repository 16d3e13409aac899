/* SPDX-License-Identifier: MIT */
#include "transport/send/securing.h"

#include "transport/read/intake.h"
#include "transport/send/outcome.h"
#include "transport/stream/batch.h"
#include "transport/stream/settle.h"

#include <errno.h>

/* It is over: whoever waits for that is told, once. */
static void end(ferry_stream *stream, int error)
{
    ferry__securing *self = ferry__stream_securing(stream);
    ferry__timers_cancel(&stream->owner->timers, &self->timer);
    stream->state = FERRY__OPEN;
    if (self->over != NULL)
        self->over(self, error);
}

/* Whether nothing is wanted of the stream any more: there is nothing to be sent before its end. */
static bool is_in_vain(const ferry_stream *stream)
{
    return stream->queue.first != NULL && stream->queue.first->kind == FERRY__CLOSE;
}

/* Whoever waits in the queue's head learns why. What stands behind it is called off in its turn. */
static void fail(ferry_stream *stream, int error)
{
    if (is_in_vain(stream)) {
        ferry__intake_abandon(stream, FERRY_CAUSE_CLOSE);
        return;
    }
    ferry__stream_poison(stream, error);
    ferry__request *head = stream->queue.first;
    if (head != NULL && head->kind == FERRY__SEND && ferry__batch_is_taken(head))
        ferry__stream_finish(stream, head, error, FERRY_PHASE_SECURE);
    ferry__intake_end(stream, error);
}

static void conclude(ferry_stream *stream, int error)
{
    /* What is inside the link by now has no edge any more. */
    if (stream->watch.registered != 0)
        ferry__poller_unwatch(&stream->owner->poller, &stream->watch);
    stream->sending_is_due = stream->reading_is_due = true;
    if (error != 0 && !ferry__stream_is_cut(stream)) /* else an abort did it, which settles all */
        fail(stream, error);
    end(stream, error);
}

/* Why there will be no handshake; 0: it goes on. */
static int refusal(ferry_stream *stream)
{
    if (stream->owner->start_error != 0) /* without a thread nobody waits for the peer */
        return stream->owner->start_error;
    if (ferry__stream_securing(stream)->is_late)
        return -ETIMEDOUT;
    return is_in_vain(stream) ? -ECANCELED : 0;
}

/* @return as shake_hands. */
static int shake_hands(ferry_stream *stream, int given_up)
{
    ferry__stream_do(stream, "a step of the handshake");
    int result = stream->link.type->shake_hands(&stream->link, given_up);
    ferry__stream_do(stream, NULL);
    return result;
}

/* @return -EAGAIN, or another negative errno. */
static int wait(ferry_stream *stream)
{
    uint32_t events = stream->link.owes ? FERRY__RECEIVING | FERRY__SENDING : FERRY__RECEIVING;
    int error = ferry__owner_await(stream->owner, &stream->watch, events);
    return error != 0 ? shake_hands(stream, error) : -EAGAIN;
}

void ferry__securing_go_on(ferry_stream *stream)
{
    ferry__securing *self = ferry__stream_securing(stream);
    if (!ferry__timer_is_set(&self->timer) && !self->is_late)
        ferry__timers_set(&stream->owner->timers, &self->timer, self->deadline);
    int result = shake_hands(stream, refusal(stream));
    if (result == -EAGAIN)
        result = wait(stream);
    if (result != -EAGAIN)
        conclude(stream, result);
}

void ferry__securing_call_off(ferry_stream *stream)
{
    if (stream->state != FERRY__SECURING)
        return;
    (void)shake_hands(stream, -ECANCELED);
    end(stream, -ECANCELED);
}

void ferry__securing_timeout(ferry__timer *timer)
{
    ferry__securing *self =
        (ferry__securing *)(void *)((char *)timer - offsetof(ferry__securing, timer));
    self->is_late = true;
    ferry__stream_schedule(self->stream);
}
