/* SPDX-License-Identifier: MIT */
/*
 * Promises that settle when a time has come: a timer of the home thread's inbox. The timer holds a
 * reference until it has fired or was unset, which only the home thread does; when that ends, its
 * inbox fires all timers.
 */
#include "core/clock.h"
#include "core/hooks.h"
#include "core/own.h"
#include "core/thread.h"

#include <ferry/combine.h>

#include <errno.h>

typedef struct delay {
    ferry__own own; /* first */
    ferry__timer timer;
    ferry__mail cancel_mail; /* posted by the thread that cancels it */
} delay;

static delay *delay_of_timer(ferry__timer *timer)
{
    return (delay *)(void *)((char *)timer - offsetof(delay, timer));
}

static delay *delay_of_mail(ferry__mail *mail)
{
    return (delay *)(void *)((char *)mail - offsetof(delay, cancel_mail));
}

static void settle(delay *waiting, const ferry_outcome *outcome)
{
    (void)ferry__own_settle(&waiting->own, outcome, NULL);
    (void)ferry_promise_unref(&waiting->own.promise); /* the timer's */
}

static void fire(ferry__timer *timer)
{
    delay *waiting = delay_of_timer(timer);
    ferry_outcome outcome = {0};
    if (ferry__inbox_is_closed(ferry__own_home(&waiting->own)))
        outcome = ferry__own_gone(&waiting->own); /* its time has not come */
    settle(waiting, &outcome);
}

static void deliver_cancel(ferry__mail *mail, bool receiver_gone)
{
    delay *waiting = delay_of_mail(mail);
    if (!receiver_gone && ferry__timer_is_set(&waiting->timer)) {
        ferry_outcome outcome = ferry__own_cancelled(FERRY_CAUSE_CANCEL);
        ferry__inbox_cancel_timer(ferry__own_home(&waiting->own), &waiting->timer);
        settle(waiting, &outcome);
    }
    (void)ferry_promise_unref(&waiting->own.promise); /* the mail's */
}

static void cancel(ferry_promise *promise)
{
    delay *waiting = (delay *)(void *)promise;
    ferry__own_post_home(&waiting->own, &waiting->cancel_mail);
}

static const ferry__own_type delay_type = {
    .promise = {.destroy = ferry__own_destroy, .cancel = cancel},
};

int ferry_promise_after(int64_t delay_ms, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (delay_ms < 0 || ret_promise == NULL)
        return -EINVAL;
    if (ferry__thread_current()->owner != NULL)
        return -EDEADLK;
    ferry__inbox *home = ferry__inbox_current();
    delay *waiting = home != NULL ? ferry__allocate(sizeof *waiting) : NULL;
    if (waiting == NULL)
        return -ENOMEM;
    ferry__own_init(&waiting->own, home, &delay_type);
    waiting->timer = (ferry__timer){.fire = fire};
    waiting->cancel_mail.deliver = deliver_cancel;
    *ret_promise = ferry__promise_ref_unshared(&waiting->own.promise); /* one is the timer's */
    ferry__inbox_set_timer(home, &waiting->timer, ferry__clock_deadline(delay_ms));
    return 0;
}
