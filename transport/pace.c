/* SPDX-License-Identifier: MIT */
/* Pace: how much of a stream may leave now, by its limiters. Each chunk is asked for before it is
 * moved, so the rate holds for sendfile as for anything else. */
#include "core/clock.h"
#include "transport/carry.h"

size_t ferry__pace_ask(ferry_stream *stream, size_t wanted)
{
    if (stream->allotment.limiter == NULL)
        return wanted;
    if (stream->free_bytes > 0)
        return wanted < stream->free_bytes ? wanted : (size_t)stream->free_bytes;
    int64_t when = 0;
    uint64_t granted = ferry__allotment_ask(&stream->allotment, wanted, ferry__clock_now(), &when);
    if (granted == 0) {
        ferry__sink_push(&stream->sink); /* nothing follows for now */
        ferry__timers_set(&stream->owner->timers, &stream->pace_timer, when);
    }
    return (size_t)granted;
}

void ferry__pace_use(ferry_stream *stream, uint64_t bytes)
{
    if (stream->allotment.limiter == NULL)
        return;
    uint64_t freely = bytes < stream->free_bytes ? bytes : stream->free_bytes;
    stream->free_bytes -= freely;
    if (bytes > freely)
        ferry__allotment_use(&stream->allotment, bytes - freely);
}

void ferry__pace_rest(ferry_stream *stream)
{
    if (stream->allotment.limiter == NULL)
        return;
    ferry__timers_cancel(&stream->owner->timers, &stream->pace_timer);
    ferry__allotment_return(&stream->allotment);
}

void ferry__stream_pace_timeout(ferry__timer *timer)
{
    ferry__stream_schedule(STREAM_OF(timer, pace_timer));
}
