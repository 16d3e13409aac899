/* SPDX-License-Identifier: MIT */
/*
 * Stalls: noticing a peer that takes no byte any more.
 *
 * While the sink is full its outlet is looked at four times in a timeout. Any difference between two
 * looks is progress, and the time begins anew; so does it with every byte that the sink takes.
 */
#include "core/clock.h"
#include "transport/carry.h"

enum { LOOKS = 4 };

static int64_t timeout_ns(const ferry_stream *stream)
{
    return ferry__clock_span(stream->settings->options.stall_timeout_ms);
}

static void look_again_later(ferry_stream *stream)
{
    ferry__timers_set(&stream->owner->timers, &stream->stall->timer,
                      ferry__clock_later(ferry__clock_now(), timeout_ns(stream) / LOOKS));
}

void ferry__stall_watch(ferry_stream *stream)
{
    if (stream->stall != NULL && !ferry__timer_is_set(&stream->stall->timer))
        look_again_later(stream);
}

void ferry__stall_end(ferry_stream *stream)
{
    ferry__stall *stall = stream->stall;
    if (stall == NULL)
        return;
    ferry__timers_cancel(&stream->owner->timers, &stall->timer);
    stall->is_due = false;
    stall->has_mark = false;
}

bool ferry__stall_is_over(ferry_stream *stream)
{
    ferry__stall *stall = stream->stall;
    if (stall == NULL || !stall->is_due)
        return false;
    stall->is_due = false;
    int64_t now = ferry__clock_now();
    ferry__outlet look = ferry__outlet_look_closely(stream->sink.fd, stream->sink.outlet);
    if (!stall->has_mark || ferry__outlet_has_moved(&stall->mark, &look)) {
        stall->has_mark = true;
        stall->mark = look;
        stall->marked_at = now;
    } else if (now - stall->marked_at >= timeout_ns(stream)) {
        return true;
    }
    look_again_later(stream);
    return false;
}

void ferry__stall_timeout(ferry__timer *timer)
{
    ferry__stall *stall = (ferry__stall *)(void *)((char *)timer - offsetof(ferry__stall, timer));
    stall->is_due = true;
    ferry__stream_schedule(stall->stream);
}
