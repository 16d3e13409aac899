/* SPDX-License-Identifier: MIT */
/* How a stream ends: closed after what is queued, perhaps confirmed by the peer; detached; or
 * aborted. */
#include "transport/send/closing.h"

#include "core/clock.h"
#include "transport/read/intake.h"
#include "transport/send/conditions.h"
#include "transport/send/outcome.h"
#include "transport/send/securing.h"
#include "transport/service/service.h"
#include "transport/stream/batch.h"
#include "transport/stream/detached.h"
#include "transport/stream/settle.h"

#include <errno.h>
#include <sys/epoll.h>

static ferry_result *close_result(ferry_stream *stream)
{
    return &stream->close_request->promise.result;
}

/* Nothing more is done with the fd, and nothing of it is waited for. */
static void leave_link_alone(ferry_stream *stream)
{
    if (stream->state == FERRY__LINGERING)
        ferry__owner_end_ending(stream->owner);
    if (stream->linger != NULL)
        ferry__timers_cancel(&stream->owner->timers, &stream->linger->timer);
    ferry__timers_cancel(&stream->owner->timers, &stream->confirm_timer);
    ferry__timers_cancel(&stream->owner->timers, &stream->follow_timer);
    ferry__pace_rest(stream);
    ferry__stall_end(stream);
    ferry__poller_unwatch(&stream->owner->poller, &stream->watch);
}

/* Closes the fd. @param error the outcome of closing, if there is one before close(2) is asked. */
static void close_link(ferry_stream *stream, int error, ferry__ending ending)
{
    leave_link_alone(stream);
    ferry__stream_do(stream, "closing its fd");
    int close_error = ferry__link_close(&stream->link, ending);
    close_result(stream)->error = error != 0 ? error : close_error;
    close_result(stream)->phase =
        close_result(stream)->error != 0 ? FERRY_PHASE_CLOSE : FERRY_PHASE_DONE;
    stream->state = FERRY__GONE;
}

/* Whether anybody has asked for the outcome. */
static bool is_asked_for(const ferry_stream *stream)
{
    enum { OWN = 2 * FERRY__ONE_REFERENCE }; /* the stream's own, and one to settle */
    return atomic_load_explicit(&stream->close_request->promise.refs, memory_order_relaxed) > OWN;
}

/* Whether anybody wants to know at once that it has ended. */
static bool is_waited_for(const ferry_stream *stream)
{
    const ferry__counter *counter = stream->counter;
    return is_asked_for(stream) || (counter != NULL && counter->is_full(counter));
}

/* Whether anybody has asked, or may. Whoever may ask is looked for first: he may ask, and go, in
 * between. A service that is stopped counts those that were not confirmed. */
static bool may_be_asked_for(const ferry_stream *stream)
{
    return atomic_load(&stream->users) > 0 || is_asked_for(stream) ||
           atomic_load(&stream->service->is_ending);
}

/* Whether the peer sends nothing more, that a reset would answer: it has ended, or has said so. */
static bool says_no_more(const ferry_stream *stream)
{
    return atomic_load_explicit(&stream->linger->expects_nothing, memory_order_relaxed);
}

/* Whether closing takes nothing from such a peer, and nobody can ask whether its kernel has
 * everything by then. */
static bool need_not_wait(const ferry_stream *stream)
{
    return says_no_more(stream) && !may_be_asked_for(stream);
}

/* Whether to look for the peer's end in a while. By then it has often come: so nothing is asked in
 * vain, and an fd that is not watched yet need not be. */
static bool may_look_later(const ferry_stream *stream)
{
    return stream->watch.registered == 0 && !is_waited_for(stream) && !says_no_more(stream);
}

/* Begins a confirmed close. @param error what shutting down came to. @return whether it could. */
static bool start_lingering(ferry_stream *stream, int error)
{
    ferry__linger *linger = stream->linger;
    if (linger == NULL || stream->owner->start_error != 0)
        return false;
    if (error != 0 && error != -ENOTCONN) /* ENOTCONN: the connection is over; reading tells how */
        return false;
    if (error == 0 && need_not_wait(stream))
        return false;
    linger->was_reset = error != 0 && !stream->is_shut; /* nothing else ends it before its FIN */
    ferry__timers_set(&stream->owner->timers, &linger->timer,
                      ferry__clock_deadline(stream->settings->options.close_timeout_ms));
    stream->confirm_patience_ns = 0;
    stream->state = FERRY__LINGERING;
    ferry__owner_begin_ending(stream->owner);
    if (may_look_later(stream))
        ferry__confirm_look_later(stream);
    return true;
}

static void take_close_request(ferry_stream *stream)
{
    ferry__stream_begin(stream, stream->close_request);
    ferry__stream_dequeue(stream, stream->close_request);
    stream->released += FERRY__ONE_REQUEST;
}

/* What a close comes to that cannot be confirmed. @param error why: what shutting down came to. */
static int outcome_without_lingering(const ferry_stream *stream, int error)
{
    if (stream->linger == NULL || stream->settings->is_kindly_closed)
        return 0;
    if (error == -EAGAIN)
        return -ETIMEDOUT;
    return error == -EPIPE ? -ECONNRESET : error; /* a write was told of it, and that only once */
}

/* ---- detaching ------------------------------------------------------------------------------- */

/* Its turn has come: all that was to be sent before is with the kernel. */
static void start_detaching(ferry_stream *stream)
{
    ferry__stream_push(stream);
    take_close_request(stream);
    ferry__intake_let_go(stream, -ECANCELED);
    stream->state = FERRY__DETACHING;
}

static void give_back(ferry_stream *stream)
{
    ferry__detached *left = stream->close_request->detached;
    leave_link_alone(stream);
    atomic_store(&left->fd, ferry__link_leave(&stream->link));
    close_result(stream)->phase = FERRY_PHASE_DONE;
    stream->state = FERRY__GONE;
}

/* Gives the connection back, once all that was read from it is here again. */
static void detach(ferry_stream *stream)
{
    if (!ferry__intake_is_back(stream))
        return;
    int error = ferry__intake_take_all(stream, &stream->close_request->detached->unread);
    if (error != 0)
        close_link(stream, error, FERRY__RESET);
    else
        give_back(stream);
}

/* ---- closing --------------------------------------------------------------------------------- */

/* What has ended already is not ended once more, unless a confirmed close asks how it is. */
static int shut_down(ferry_stream *stream)
{
    return stream->is_shut && stream->linger == NULL ? 0 : ferry__link_shut_down(&stream->link);
}

bool ferry__closing_start(ferry_stream *stream)
{
    if (stream->close_request->detached != NULL) {
        start_detaching(stream);
        return true;
    }
    int error = shut_down(stream);
    bool may_wait = !stream->has_given_up && stream->owner->start_error == 0;
    if (error == -EAGAIN && may_wait)
        return false;
    take_close_request(stream);
    ferry__intake_abandon(stream, FERRY_CAUSE_CLOSE);
    if (!start_lingering(stream, error))
        close_link(stream, outcome_without_lingering(stream, error),
                   error == -EAGAIN ? FERRY__RESET : FERRY__END_SENDING);
    return true;
}

/* Closes it after lingering. If the program has not asked for that, what it came to is nothing to
 * it. */
static void end_lingering(ferry_stream *stream, int error)
{
    close_link(stream, stream->settings->is_kindly_closed ? 0 : error, FERRY__END_SENDING);
}

/* Looks once more, as nothing is unacked: what a peer has left unread when it closes is not counted
 * any more. @return 0, or what the connection came to. */
static int find_reset(ferry_stream *stream)
{
    ssize_t next = ferry__link_peek(&stream->link);
    return next < 0 && next != -EAGAIN ? (int)next : 0;
}

/* Waits for more of the peer's last words, or until its kernel has all of ours. The peer's end
 * alone does not say that it has read everything: it may have come long before ours. */
static void linger_on(ferry_stream *stream, bool has_ended)
{
    if (stream->linger->was_reset && has_ended) { /* a write was told of it, so reading is not */
        end_lingering(stream, -ECONNRESET);
        return;
    }
    if (has_ended && need_not_wait(stream)) {
        end_lingering(stream, 0);
        return;
    }
    bool may_be_over =
        says_no_more(stream) || stream->settings->options.close_mode == FERRY_CLOSE_LINGERING;
    if (may_be_over && ferry__link_unacked(&stream->link) == 0) {
        end_lingering(stream, find_reset(stream));
        return;
    }
    if (may_be_over)
        ferry__confirm_look_later(stream);
    int error = 0;
    if (stream->linger->timed_out)
        error = -ETIMEDOUT;
    else if (has_ended && ferry__link_is_gone(&stream->link))
        error = -ECONNRESET;
    else if (!has_ended)
        error = ferry__owner_await(stream->owner, &stream->watch, FERRY__RECEIVING);
    if (error != 0)
        end_lingering(stream, error);
}

static bool linger(ferry_stream *stream)
{
    ferry__linger *self = stream->linger;
    if (stream->watch.registered == 0 && ferry__timer_is_set(&stream->confirm_timer) &&
        !self->timed_out)
        return false;
    if (!self->was_reset && need_not_wait(stream)) {
        end_lingering(stream, 0);
        return false;
    }
    /* Who is told of the last bytes at the end of this turn may let go of the stream. */
    if (says_no_more(stream) && !self->was_put_off) {
        self->was_put_off = true;
        return true;
    }
    bool must_read = self->was_reset || says_no_more(stream); /* epoll may not have told yet */
    if (!must_read && ferry__stream_awaits(stream, FERRY__RECEIVING)) {
        linger_on(stream, false);
        return false;
    }
    uint64_t allowed = stream->settings->options.close_bytes - self->bytes;
    ssize_t count = ferry__link_discard_input(&stream->link, (size_t)allowed + 1);
    if (count > 0) {
        self->bytes += (uint64_t)count;
        if ((uint64_t)count <= allowed && !self->timed_out)
            return true;
        end_lingering(stream, self->timed_out ? -ETIMEDOUT : -EMSGSIZE);
    } else if (count == 0 && ferry__stream_is_cut(stream)) {
        return false; /* an abort has ended it on this side, and its mail comes */
    } else if (count == 0 || count == -EAGAIN) {
        if (count == 0)
            ferry__stream_expect_no_more(stream);
        linger_on(stream, count == 0);
    } else {
        end_lingering(stream, (int)count);
    }
    return false;
}

bool ferry__closing_go_on(ferry_stream *stream)
{
    if (stream->state == FERRY__DETACHING)
        detach(stream);
    return stream->state == FERRY__LINGERING && linger(stream);
}

void ferry__linger_timeout(ferry__timer *timer)
{
    ferry__linger *linger =
        (ferry__linger *)(void *)((char *)timer - offsetof(ferry__linger, timer));
    linger->timed_out = true;
    ferry__stream_schedule(linger->stream);
}

/* Whether anything is left that has bytes to send. */
static bool has_more_to_send(const ferry_stream *stream)
{
    const ferry__request *request = stream->queue.first;
    while (request != NULL && (request->kind != FERRY__SEND || request->part_count == 0))
        request = request->next;
    return request != NULL || stream->padding > 0;
}

/* Whether a peer that reads an end of file now would take a part for the whole. */
static bool cuts_off(const ferry_stream *stream)
{
    return atomic_load(&stream->abort_cause) != FERRY_CAUSE_DESTROY ||
           ferry__stream_is_poisoned(stream) || has_more_to_send(stream) || stream->link.owes;
}

void ferry__closing_abort(ferry_stream *stream)
{
    ferry__ending ending = cuts_off(stream) ? FERRY__RESET : FERRY__LET_GO;
    ferry_cause cause = atomic_load(&stream->abort_cause);
    ferry__securing_call_off(stream);
    for (ferry__request *request; (request = stream->queue.first) != NULL;) {
        if (request->kind == FERRY__CLOSE) {
            take_close_request(stream);
            continue;
        }
        if (!ferry__batch_is_taken(request))
            break; /* the stream is resumed, and comes back here */
        request->promise.result.cause = cause;
        ferry__stream_finish(stream, request, -ECANCELED, ferry__stream_phase_of(stream, request));
    }
    ferry__stream_drop_padding(stream);
    ferry__confirm_give_up(stream, -ECANCELED, cause);
    ferry__intake_abandon(stream, cause);
    if (stream->state == FERRY__GONE)
        return;
    close_result(stream)->cause = cause;
    close_link(stream, -ECANCELED, ending);
}

/* E0: the stream is gone, so it was closed before, and nothing is added to its admission any more.
 * The flag goes up only while nobody visits. Pairs with every admission in admission.c. @return
 * whether it is up. */
static bool raise_ended(ferry_stream *stream)
{
    uint32_t nobody = 0;
    return atomic_compare_exchange_strong(&stream->admission.visits, &nobody, FERRY__ENDED);
}

/* The same for one that has not ended in order, which a stop counts. */
static bool raise_ended_in_disorder(ferry_stream *stream)
{
    ferry__service_begin_disorder(stream->service);
    bool has_ended = raise_ended(stream);
    ferry__service_end_disorder(stream->service, has_ended);
    return has_ended;
}

bool ferry__closing_try_end(ferry_stream *stream)
{
    if (stream->state != FERRY__GONE || stream->cancels_due > 0 ||
        (atomic_load(&stream->admission.word) & FERRY__REQUESTS_MASK) != 0)
        return false;
    bool is_in_order = close_result(stream)->error == 0;
    if (!(is_in_order ? raise_ended(stream) : raise_ended_in_disorder(stream)))
        return false;
    ferry__request *close_request = stream->close_request;
    if (close_request->stage == FERRY__POSTED) /* an abort closes without it */
        close_request->promise.result.sequence = stream->next_sequence++;
    ferry__stream_begin(stream, close_request);
    if (stream->counter != NULL)
        stream->counter->stream_ended(stream->counter);
    ferry__stream_settle(stream, close_request, ferry__clock_now());
    ferry__service_forget(stream->service, &stream->member);
    ferry__owner_release(stream->owner);
    ferry__stream_unref(stream);
    return true;
}
