/* SPDX-License-Identifier: MIT */
#include "transport/stream/request.h"

#include "core/hooks.h"
#include "core/reserved.h"
#include "core/thread.h"

#include <errno.h>
#include <stddef.h>

void ferry__request_destroy(ferry_promise *promise)
{
    ferry__spare_give_back(promise->spare_kind, promise);
}

void ferry__request_destroy_with_progress(ferry_promise *promise)
{
    ferry__notice_deinit(&((ferry__request *)(void *)promise)->extras->progress->notice);
    ferry__request_destroy(promise);
}

int ferry__request_check_options(const ferry_request_options *options)
{
    if (options == NULL)
        return 0;
    if (options->timeout_ms < 0 || options->progress_interval_ms < 0 ||
        (unsigned)options->completion > FERRY_COMPLETION_ACKED)
        return -EINVAL;
    return FERRY__IS_NEWER(options) ? -E2BIG : 0;
}

bool ferry__request_is_bare(const ferry_request_options *options)
{
    return options == NULL ||
           (options->timeout_ms == 0 && options->completion == FERRY_COMPLETION_ACCEPTED &&
            options->on_owner == NULL && options->on_owner_release == NULL &&
            options->on_progress == NULL && options->on_progress_release == NULL &&
            options->progress_interval_ms == 0 && options->label == NULL &&
            !FERRY__IS_NEWER(options));
}

int ferry__request_check_waiting(const ferry_request_options *options)
{
    int64_t timeout_ms = ferry__request_room_timeout(options);
    if (timeout_ms < -1)
        return -EINVAL;
    return timeout_ms != 0 && ferry__thread_may_not_wait() ? -EDEADLK : 0;
}

ferry__request *ferry__request_of_mail(ferry__mail *mail)
{
    return (ferry__request *)(void *)((char *)mail - offsetof(ferry__request, mail));
}
