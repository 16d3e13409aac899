/* SPDX-License-Identifier: MIT */
/*
 * Watermarks: the owner looks at the level of the queue at the beginning and the end of each turn,
 * and sends a notice to the thread that adopted the stream when it has crossed one.
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

void ferry__watermark_look(ferry_stream *stream)
{
    ferry__watermark *watermark = stream->watermark;
    bool now = is_above(stream);
    if (now == atomic_load(&watermark->is_above))
        return;
    atomic_store(&watermark->is_above, now);
    if (watermark->notice.inbox != NULL) {
        ferry__notice_post(&watermark->notice, &stream->owner->ringer);
        return;
    }
    ferry__stream_do(stream, "calling on_watermark");
    tell(&watermark->notice);
    ferry__stream_do(stream, NULL);
}
