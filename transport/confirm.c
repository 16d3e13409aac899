/* SPDX-License-Identifier: MIT */
/*
 * Confirming: requests whose bytes the kernel has accepted, but which are to settle only once the
 * bytes have left this host, or the peer's kernel has them.
 *
 * No event tells of that, so the sink's outlet is looked at: at once, then after 1 ms, and ever less
 * often up to every 50 ms. Of all bytes ever accepted the last ones are those still in the outlet: a
 * request's have got through when no more are in there than were accepted after it.
 *
 * A marker that comes while others are being confirmed waits here for them: it promises that all
 * before it has settled.
 */
#include "core/clock.h"
#include "transport/carry.h"

#include <errno.h>

enum { SOONEST_NS = FERRY__NS_PER_MS, LATEST_NS = 50 * FERRY__NS_PER_MS };

static ferry_completion level_of(const ferry__request *request)
{
    return request->extras != NULL ? request->extras->completion : FERRY_ACCEPTED;
}

bool ferry__confirm_is_wanted(const ferry_stream *stream, const ferry__request *request)
{
    if (request->kind != FERRY__SEND)
        return false;
    if (request->part_count == 0)
        return stream->confirming.first != NULL;
    /* One that is empty marks a place: what lies before it is to be confirmed. */
    return level_of(request) != FERRY_ACCEPTED && request->promise.result.error == 0 &&
           stream->sink.outlet != FERRY__OUTLET_OTHER;
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
    int64_t inside[FERRY_ACKED + 1]; /* by level; -1: not asked yet */
    int verdict; /* on what is not confirmed: -EAGAIN, or why it never will be; 0: not asked yet */
} look;

static int64_t bytes_inside(const ferry_stream *stream, ferry_completion level, look *now)
{
    const ferry__sink *sink = &stream->sink;
    if (now->inside[level] == -1)
        now->inside[level] = level == FERRY_DRAINED ? ferry__outlet_unsent(sink->fd, sink->outlet)
                                                    : ferry__outlet_unacked(sink->fd, sink->outlet);
    return now->inside[level];
}

static int verdict(const ferry_stream *stream, look *now)
{
    if (now->verdict == 0)
        now->verdict =
            ferry__outlet_is_gone(stream->sink.fd, stream->sink.outlet) ? -ECONNRESET : -EAGAIN;
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

void ferry__confirm_look(ferry_stream *stream)
{
    look now = {{-1, -1, -1}, 0};
    ferry__request *next;
    for (ferry__request *request = stream->confirming.first; request != NULL; request = next) {
        next = request->next;
        int error = look_at(stream, request, &now);
        if (error != -EAGAIN)
            ferry__stream_conclude_confirming(stream, request, error);
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
        ferry__stream_conclude_confirming(stream, stream->confirming.first, error);
    }
    ferry__timers_cancel(&stream->owner->timers, &stream->confirm_timer);
}

void ferry__stream_confirm_timeout(ferry__timer *timer)
{
    ferry__stream_schedule(STREAM_OF(timer, confirm_timer));
}
