/* SPDX-License-Identifier: MIT */
/*
 * Watermarks: the owner looks at the level of the queue at the beginning and the end of each turn,
 * and sends a notice to the thread that adopted the stream when it has crossed one. A write that
 * joins a batch brings no turn. So its thread looks, too.
 *
 *   the owner                                a writer
 *   L0 load the level                        N0 add to the level
 *   L1 store is_above, if that has changed   N1 load is_above: false, and the level is high: wake
 *   and again from L0, until it has not
 *
 * All four are sequentially consistent. So a writer whose level L0 has not seen finds what L1
 * stores, or L0 sees it the next time. tests/models/watermark.pml proves it.
 */
#include "transport/send/watermark.h"

#include "core/sum.h"
#include "core/thread.h"

#include <errno.h>

static ferry__watermark *watermark_of(ferry__notice *notice)
{
    return (ferry__watermark *)(void *)((char *)notice - offsetof(ferry__watermark, notice));
}

static void hold(ferry__notice *notice)
{
    (void)ferry__stream_ref(watermark_of(notice)->stream);
}

static void release(ferry__notice *notice)
{
    ferry__stream_unref(watermark_of(notice)->stream);
}

static void tell(ferry__notice *notice)
{
    ferry__watermark *watermark = watermark_of(notice);
    ferry_stream *stream = watermark->stream;
    bool is_above = atomic_load(&watermark->is_above);
    if (is_above == watermark->told)
        return; /* the level has crossed back */
    watermark->told = is_above;
    stream->settings->options.on_watermark(stream, is_above,
                                           stream->settings->options.on_watermark_arg);
}

int ferry__watermark_init(ferry_stream *stream)
{
    if (stream->settings->options.watermark_on_owner || ferry__thread_current()->owner != NULL)
        return 0;
    ferry__inbox *inbox = ferry__inbox_current();
    if (inbox == NULL)
        return -ENOMEM;
    ferry__notice *notice = &stream->watermark->notice;
    ferry__notice_init(notice, inbox);
    notice->hold = hold;
    notice->release = release;
    notice->tell = tell;
    return 0;
}

/* Whether the queue is above, with hysteresis. */
static bool is_above(const ferry_stream *stream)
{
    const ferry__admission *admission = &stream->admission;
    uint64_t memory = atomic_load(&admission->word) & FERRY__MEMORY_MASK;
    uint64_t level = ferry__sum(memory, atomic_load(&admission->source_bytes));
    const ferry_stream_options *options = &stream->settings->options;
    uint64_t high = options->high_watermark_bytes;
    /* A level on the high mark is above, also if the marks are equal: else it would alternate. */
    return level >= high ||
           (atomic_load(&stream->watermark->is_above) && level > options->low_watermark_bytes);
}

static void tell_or_post(ferry_stream *stream)
{
    ferry__notice *notice = &stream->watermark->notice;
    if (notice->inbox != NULL) {
        ferry__notice_post(notice, &stream->owner->ringer);
        return;
    }
    ferry__stream_do(stream, "calling on_watermark");
    tell(notice);
    ferry__stream_do(stream, NULL);
}

void ferry__watermark_look(ferry_stream *stream)
{
    atomic_bool *noted = &stream->watermark->is_above;
    for (bool now; (now = is_above(stream)) != atomic_load(noted);) {
        atomic_store(noted, now);
        tell_or_post(stream);
    }
}

bool ferry__watermark_is_news(const ferry_stream *stream)
{
    return !atomic_load(&stream->watermark->is_above) && is_above(stream);
}
