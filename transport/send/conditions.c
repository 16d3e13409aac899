/* SPDX-License-Identifier: MIT */
/*
 * What a stream's turns go by beside its link and its sources.
 *
 * Pace: how much its limiters let leave now. A turn asks for each chunk before it moves it, so the
 * rate holds for sendfile as for anything else.
 *
 * Stalls: noticing a peer that takes no byte any more. While the sink is full its outlet is looked
 * at four times in a timeout. Any difference between two looks is progress: the time begins anew.
 * It also begins anew with every byte that the sink takes. A close look at a unix peer is dear if
 * there are many sockets. It is taken only when the time begins, and when it is up. Looks fall on
 * multiples of a part of the timeout, so that many streams look at once. If many of an owner's are
 * to look, one survey of all unix sockets answers all.
 *
 * Confirming: the kernel has accepted a request's bytes, but the request is to settle only once
 * they have left this host, or the peer's kernel has them. No event tells of that. So the outlet is
 * looked at, first at once, then after 1 ms, then ever less often, at least every 50 ms. A request
 * is confirmed when no more bytes are in the outlet than were accepted after the request's last
 * one. A marker that comes while others are being confirmed waits here for them: it promises that
 * all before it has settled.
 */
#include "transport/send/conditions.h"

#include "core/clock.h"
#include "transport/stream/settle.h"

#include <errno.h>

enum {
    LOOKS = 4,                        /* at a peer, in the time that it may stall */
    MOMENTS = 32,                     /* in that time, in which looks fall */
    MANY = 16,                        /* so many questions take as long as a survey */
    SOONEST_NS = FERRY__NS_PER_MS,    /* a look at what is to be confirmed, */
    LATEST_NS = 50 * FERRY__NS_PER_MS /* and the others */
};

/* ---- pace ------------------------------------------------------------------------------------ */

size_t ferry__pace_ask(ferry_stream *stream, size_t wanted)
{
    ferry__pace *pace = stream->pace;
    if (pace == NULL)
        return wanted;
    if (pace->free_bytes > 0)
        return wanted < pace->free_bytes ? wanted : (size_t)pace->free_bytes;
    int64_t when = 0;
    uint64_t granted = ferry__allotment_ask(&pace->allotment, wanted, ferry__clock_now(), &when);
    if (granted == 0) {
        ferry__stream_push(stream); /* nothing follows for now */
        ferry__timers_set(&stream->owner->timers, &pace->timer, when);
    }
    return (size_t)granted;
}

void ferry__pace_use(ferry_stream *stream, uint64_t bytes)
{
    ferry__pace *pace = stream->pace;
    if (pace == NULL)
        return;
    uint64_t freely = bytes < pace->free_bytes ? bytes : pace->free_bytes;
    pace->free_bytes -= freely;
    if (bytes > freely)
        ferry__allotment_use(&pace->allotment, bytes - freely);
}

void ferry__pace_rest(ferry_stream *stream)
{
    ferry__pace *pace = stream->pace;
    if (pace == NULL)
        return;
    ferry__timers_cancel(&stream->owner->timers, &pace->timer);
    ferry__allotment_return(&pace->allotment);
}

void ferry__pace_timeout(ferry__timer *timer)
{
    ferry__pace *pace = (ferry__pace *)(void *)((char *)timer - offsetof(ferry__pace, timer));
    ferry__stream_schedule(pace->stream);
}

void ferry__pace_deliver(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* it was admitted, so the owner is there */
    ferry__pace *pace = (ferry__pace *)(void *)mail;
    ferry_stream *stream = pace->stream;
    stream->released_visits += FERRY__ONE_MESSAGE;
    ferry__pace_rest(stream);
    if (stream->pace != NULL)
        pace->free_bytes = stream->pace->free_bytes;
    ferry__pace_free(stream->pace);
    stream->pace = pace;
    if (pace->allotment.limiter == NULL) {
        ferry__pace_free(pace);
        stream->pace = NULL;
    }
    ferry__stream_schedule(stream);
}

/* ---- stalls ---------------------------------------------------------------------------------- */

static int64_t stall_ns(const ferry_stream *stream)
{
    return ferry__clock_span(stream->settings->options.stall_timeout_ms);
}

/* What an owner's streams share while some are to look at their peers. It is the thread's. */
static _Thread_local struct {
    unsigned due; /* so many are to look */
    ferry__survey survey;
} looks = {.survey = FERRY__SURVEY_NONE};

/* The first of the moments, which are the same for all, that is so far off. */
static int64_t moment_after(int64_t now, int64_t timeout_ns)
{
    int64_t step = timeout_ns / MOMENTS, earliest = ferry__clock_later(now, timeout_ns / LOOKS);
    return ferry__clock_later(earliest, step - 1 - (earliest - 1) % step);
}

static void look_at_peer_later(ferry_stream *stream)
{
    ferry__timers_set(&stream->owner->timers, &stream->stall->timer,
                      moment_after(ferry__clock_now(), stall_ns(stream)));
}

void ferry__stall_watch(ferry_stream *stream)
{
    ferry__stall *stall = stream->stall;
    if (stall != NULL && !stall->is_due && !ferry__timer_is_set(&stall->timer))
        look_at_peer_later(stream);
}

/* It has looked, or need not any more. */
static void end_due(ferry__stall *stall)
{
    if (!stall->is_due)
        return;
    stall->is_due = false;
    if (--looks.due == 0)
        ferry__survey_drop(&looks.survey);
}

void ferry__stall_end(ferry_stream *stream)
{
    ferry__stall *stall = stream->stall;
    if (stall == NULL)
        return;
    ferry__timers_cancel(&stream->owner->timers, &stall->timer);
    end_due(stall);
    stall->has_mark = false;
    stall->mark.peer = 0; /* a datagram socket may be given another */
}

/* It was to look at this moment. Whether it can: a survey that goes on, or is worth it, comes
 * before. */
static bool may_look(ferry_stream *stream, int64_t moment)
{
    ferry__survey *survey = &looks.survey;
    if (stream->link.outlet != FERRY__OUTLET_UNIX)
        return true;
    if (!ferry__survey_go_on(survey, ferry__owner_scratch(stream->owner), FERRY__SCRATCH_BYTES))
        return false;
    if (survey->began_at >= moment || looks.due < MANY)
        return true;
    ferry__survey_begin(survey, ferry__clock_now());
    return false;
}

/* By a survey, if there is one that is not older than the moment at which it was to look. */
static ferry__outlet look_closely(const ferry_stream *stream, int64_t moment)
{
    const ferry__survey *survey = &looks.survey;
    return ferry__link_look_closely(&stream->link, stream->stall->mark.peer,
                                    survey->began_at >= moment ? survey : NULL);
}

/* Whether a cheap look does not do: it tells enough only of a unix peer that was looked at before,
 * whose time is not up, and if it shows no difference. */
static bool needs_close_look(const ferry_stream *stream, bool is_up)
{
    const ferry__stall *stall = stream->stall;
    if (is_up || !stall->has_mark || stream->link.outlet != FERRY__OUTLET_UNIX)
        return true;
    ferry__outlet look = ferry__link_look(&stream->link);
    return ferry__outlet_has_moved(&stall->mark, &look);
}

/* The peer has got further, or is looked at for the first time: it may stall for so long again. */
static void set_mark(ferry__stall *stall, ferry__outlet look)
{
    stall->has_mark = true;
    stall->mark = look;
    stall->marked_at = ferry__clock_now();
}

/* Looks closely. @return whether nothing has moved since the last time. */
static bool has_stalled(ferry_stream *stream, int64_t moment)
{
    ferry__stall *stall = stream->stall;
    ferry__outlet look = look_closely(stream, moment);
    if (stall->has_mark && !ferry__outlet_has_moved(&stall->mark, &look))
        return true;
    set_mark(stall, look);
    return false;
}

bool ferry__stall_is_over(ferry_stream *stream)
{
    ferry__stall *stall = stream->stall;
    if (stall == NULL || !stall->is_due)
        return false;
    int64_t moment = stall->timer.deadline;
    bool is_up = stall->has_mark && moment - stall->marked_at >= stall_ns(stream);
    bool has_ended = false;
    if (needs_close_look(stream, is_up)) {
        if (!may_look(stream, moment))
            return false;
        has_ended = has_stalled(stream, moment) && is_up;
    }
    end_due(stall);
    if (!has_ended)
        look_at_peer_later(stream);
    return has_ended;
}

bool ferry__stall_is_due(const ferry_stream *stream)
{
    return stream->stall != NULL && stream->stall->is_due;
}

void ferry__stall_timeout(ferry__timer *timer)
{
    ferry__stall *stall = (ferry__stall *)(void *)((char *)timer - offsetof(ferry__stall, timer));
    stall->is_due = true;
    looks.due++;
    ferry__stream_schedule(stall->stream);
}

/* ---- confirming ------------------------------------------------------------------------------ */

static ferry_completion level_of(const ferry__request *request)
{
    return request->extras != NULL ? request->extras->completion : FERRY_COMPLETION_ACCEPTED;
}

bool ferry__confirm_is_wanted(const ferry_stream *stream, const ferry__request *request)
{
    if (request->kind != FERRY__SEND)
        return false;
    if (request->part_count == 0)
        return stream->confirming.first != NULL;
    /* One that is empty marks a place: what lies before it is to be confirmed. */
    return level_of(request) != FERRY_COMPLETION_ACCEPTED && request->promise.result.error == 0 &&
           stream->link.outlet != FERRY__OUTLET_OTHER;
}

void ferry__confirm_look_later(ferry_stream *stream)
{
    ferry__timers_set(&stream->owner->timers, &stream->confirm_timer,
                      ferry__clock_back_off(&stream->confirm_patience_ns, SOONEST_NS, LATEST_NS));
}

void ferry__confirm_wait(ferry_stream *stream)
{
    stream->confirm_patience_ns = 0;
    ferry__confirm_look_later(stream);
}

/* What the outlet says, asked once a look, and only what somebody wants to know. */
typedef struct look {
    int64_t inside[FERRY_COMPLETION_ACKED + 1]; /* by level; -1: not asked yet */
    int verdict; /* on what is not confirmed: -EAGAIN, or why it never will be; 0: not asked yet */
} look;

static int64_t bytes_inside(const ferry_stream *stream, ferry_completion level, look *now)
{
    const ferry__link *link = &stream->link;
    if (now->inside[level] == -1)
        now->inside[level] = level == FERRY_COMPLETION_DRAINED ? ferry__link_unsent(link)
                                                               : ferry__link_unacked(link);
    return now->inside[level];
}

static int verdict(const ferry_stream *stream, look *now)
{
    if (now->verdict == 0)
        now->verdict = ferry__link_is_gone(&stream->link) ? -ECONNRESET : -EAGAIN;
    return now->verdict;
}

/* How a request stands: -EAGAIN: not yet; else its outcome. */
static int look_at(const ferry_stream *stream, const ferry__request *request, look *now)
{
    if (request->part_count == 0)
        return request == stream->confirming.first ? request->promise.result.error : -EAGAIN;
    int64_t inside = bytes_inside(stream, level_of(request), now);
    if (inside < 0)
        return (int)inside;
    const ferry_result *result = &request->promise.result;
    uint64_t accepted_after =
        stream->offset - stream->padding - result->stream_offset - result->sent;
    return (uint64_t)inside <= accepted_after ? 0 : verdict(stream, now);
}

void ferry__confirm_conclude(ferry_stream *stream, ferry__request *request, int error)
{
    ferry__queue_remove(&stream->confirming, request);
    request->stage = FERRY__FINISHED;
    ferry_result *result = &request->promise.result;
    if (error != result->error) {
        ferry__stream_note_death(stream, error == -ECONNRESET ? error : 0);
        result->error = error;
        result->phase = FERRY_PHASE_SINK;
    }
    ferry__stream_add_finished(stream, request);
}

void ferry__confirm_look(ferry_stream *stream)
{
    look now = {{-1, -1, -1}, 0};
    ferry__request *next;
    for (ferry__request *request = stream->confirming.first; request != NULL; request = next) {
        next = request->next;
        int error = look_at(stream, request, &now);
        if (error != -EAGAIN)
            ferry__confirm_conclude(stream, request, error);
    }
    if (stream->confirming.first == NULL)
        ferry__timers_cancel(&stream->owner->timers, &stream->confirm_timer);
    else if (!ferry__timer_is_set(&stream->confirm_timer))
        ferry__confirm_look_later(stream);
}

void ferry__confirm_give_up(ferry_stream *stream, int error, ferry_cause cause)
{
    while (stream->confirming.first != NULL) {
        stream->confirming.first->promise.result.cause = cause;
        ferry__confirm_conclude(stream, stream->confirming.first, error);
    }
    ferry__timers_cancel(&stream->owner->timers, &stream->confirm_timer);
}

void ferry__stream_confirm_timeout(ferry__timer *timer)
{
    ferry__stream_schedule(FERRY__STREAM_OF(timer, confirm_timer));
}
