/* SPDX-License-Identifier: MIT */
/* Progress: telling the submitting thread how far a request has come, every so many bytes or
 * milliseconds. A notice tells it: never two at once, and always the newest number. */
#include "transport/stream/progress.h"

#include "core/clock.h"
#include "core/hooks.h"
#include "core/thread.h"

#include <stddef.h>

static ferry__progress *progress_of(ferry__notice *notice)
{
    return (ferry__progress *)(void *)((char *)notice - offsetof(ferry__progress, notice));
}

static void hold(ferry__notice *notice)
{
    (void)ferry_promise_ref(progress_of(notice)->promise);
}

/*
 * Gives the arg back, once, when no call comes any more. Not while another notice is under way,
 * which may still call: that one does it then.
 */
static void release_if_over(ferry__progress *progress)
{
    /* In this order: once it is over only the last notice is posted. */
    if (!atomic_load(&progress->is_over) || atomic_load(&progress->notice.is_posted) ||
        !atomic_exchange(&progress->is_over, false))
        return;
    ferry__release_arg(progress->release, progress->arg);
}

static void release(ferry__notice *notice)
{
    ferry__progress *progress = progress_of(notice);
    release_if_over(progress);
    (void)ferry_promise_unref(progress->promise);
}

static void tell(ferry__notice *notice)
{
    ferry__progress *progress = progress_of(notice);
    if (!atomic_exchange(&progress->has_news, false))
        return;
    progress->callback(progress->promise, atomic_load(&progress->sent_bytes), progress->arg);
}

void ferry__progress_init(ferry__progress *progress, ferry_promise *promise,
                          const ferry_request_options *options, ferry__inbox *inbox)
{
    *progress = (ferry__progress){
        .promise = promise,
        .callback = options->on_progress,
        .arg = options->on_progress_arg,
        .release = options->on_progress_release,
        .step_bytes = options->progress_step_bytes,
        .interval_ns = ferry__clock_span(options->progress_interval_ms),
    };
    if (inbox == NULL)
        return;
    ferry__notice_init(&progress->notice, inbox);
    progress->notice.hold = hold;
    progress->notice.release = release;
    progress->notice.tell = tell;
}

static bool is_due(const ferry__progress *progress, uint64_t sent, int64_t now)
{
    if (progress->step_bytes == 0 && progress->interval_ns == 0)
        return true;
    return (progress->step_bytes > 0 && sent - progress->told_bytes >= progress->step_bytes) ||
           (progress->interval_ns > 0 && now - progress->told_at >= progress->interval_ns);
}

void ferry__progress_note(ferry__progress *progress, int64_t began_at, int64_t now,
                          ferry__ringer *ringer)
{
    uint64_t sent = progress->promise->result.sent;
    if (progress->told_at == 0)
        progress->told_at = began_at;
    if (!is_due(progress, sent, now))
        return;
    progress->told_bytes = sent;
    progress->told_at = now;
    atomic_store(&progress->sent_bytes, sent);
    atomic_store(&progress->has_news, true);
    if (progress->notice.inbox != NULL) {
        ferry__notice_post(&progress->notice, ringer);
        return;
    }
    (void)ferry__thread_do("calling on_progress"); /* perhaps on another owner: a relay's */
    tell(&progress->notice);
    (void)ferry__thread_do(NULL);
}

void ferry__progress_end(ferry__progress *progress, ferry__ringer *ringer)
{
    if (progress->release == NULL)
        return;
    atomic_store(&progress->is_over, true);
    if (progress->notice.inbox != NULL)
        ferry__notice_post(&progress->notice, ringer);
    else
        release_if_over(progress);
}
