/* SPDX-License-Identifier: MIT */
/* Pace: how much of a stream may leave now, by its limiters. Each chunk is asked for before it is
 * moved, so the rate holds for sendfile as for anything else. */
#include "core/clock.h"
#include "transport/carry.h"

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
        ferry__sink_push(&stream->sink); /* nothing follows for now */
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
