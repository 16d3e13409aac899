/* SPDX-License-Identifier: MIT */
#include "core/notice.h"

#include "core/handover.h"

#include <pthread.h>

static void release(void *arg)
{
    ferry__notice *notice = arg;
    notice->release(notice);
}

static void deliver(ferry__mail *mail, bool receiver_gone)
{
    ferry__notice *notice = (ferry__notice *)mail;
    /* Not under way any more before it looks: what changes from here on is posted anew. */
    (void)atomic_exchange(&notice->is_posted, false);
    ferry__taken_over(&notice->is_posted);
    pthread_cleanup_push(release, notice); /* the callback may end its thread */
    if (!receiver_gone)
        notice->tell(notice);
    pthread_cleanup_pop(1);
}

void ferry__notice_init(ferry__notice *notice, ferry__inbox *inbox)
{
    notice->mail.deliver = deliver;
    notice->inbox = ferry__inbox_ref(inbox);
    atomic_init(&notice->is_posted, false);
}

void ferry__notice_deinit(ferry__notice *notice)
{
    ferry__inbox_unref(notice->inbox);
    notice->inbox = NULL;
}

void ferry__notice_post(ferry__notice *notice, ferry__ringer *ringer)
{
    ferry__handed_over(&notice->is_posted);
    if (atomic_exchange(&notice->is_posted, true))
        return;
    ferry__inbox *inbox = ferry__inbox_ref(notice->inbox); /* the notice may be told, and gone */
    notice->hold(notice);
    ferry__inbox_post(inbox, &notice->mail, ringer);
    ferry__inbox_unref(inbox);
}
