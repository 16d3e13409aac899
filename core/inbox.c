/* SPDX-License-Identifier: MIT */
#include "core/inbox.h"

#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "core/thread.h"

#include <ferry/inbox.h>

#include <errno.h>
#include <pthread.h>

/* So many spares of each kind a thread of the program's keeps as long as it lives: 240 KiB at most,
 * which is not much beside its stack. */
enum { MOST_SPARES = 64 };

static pthread_key_t thread_end;
static pthread_once_t thread_end_once = PTHREAD_ONCE_INIT;
static int thread_end_error;

/* What this thread has to give back, of whatever inboxes. */
static _Thread_local ferry__mailbox undeliverable;
static _Thread_local bool is_giving_back;

/*
 * Tells each mail that its receiver is gone. A mail may then post another one to an inbox that is
 * closed, too, and so on. Those are put aside, lest a long chain of promises make a deep stack.
 */
static void discard_chain(ferry__mail *chain)
{
    for (ferry__mail *mail; (mail = ferry__mail_next(&chain)) != NULL;)
        ferry__mailbox_push(&undeliverable, mail);
    if (is_giving_back)
        return;
    is_giving_back = true;
    while ((chain = ferry__mailbox_take(&undeliverable)) != NULL)
        for (ferry__mail *mail; (mail = ferry__mail_next(&chain)) != NULL;)
            mail->deliver(mail, true);
    is_giving_back = false;
}

static void discard_mail(ferry__inbox *inbox)
{
    discard_chain(ferry__mailbox_take(&inbox->mailbox));
}

static void fire_all(ferry__timers *timers)
{
    for (ferry__timer *timer; (timer = timers->root) != NULL;) {
        ferry__timers_cancel(timers, timer);
        timer->fire(timer);
    }
}

/* A callback may have ended the thread. Once: what releases do may bring another inbox. */
static void end_callback(ferry__thread *thread)
{
    void (*if_ended)(void *arg) = thread->if_ended;
    thread->if_ended = NULL;
    if (if_ended != NULL)
        if_ended(thread->if_ended_arg);
    thread->in_callback = false;
}

static void close_inbox(void *arg)
{
    ferry__inbox *inbox = arg;
    ferry__thread *thread = ferry__thread_current();
    end_callback(thread);
    thread->inbox = NULL;
    atomic_store(&inbox->closed, true);
    discard_chain(inbox->being_run);
    discard_chain(ferry__own_mail_take(&inbox->own_mail));
    fire_all(&inbox->timers);
    discard_mail(inbox);
    ferry__piles_use(NULL, 0);
    for (ferry__spare_kind kind = 0; kind < FERRY__REQUEST_SPARES; kind++)
        ferry__pile_free(kind, &inbox->piles[kind]);
    ferry__inbox_drop(inbox, FERRY__INBOX_ALIVE - inbox->own_refs);
}

static void watch_thread_ends(void)
{
    thread_end_error = pthread_key_create(&thread_end, close_inbox);
}

static ferry__inbox *inbox_create(void)
{
    (void)ferry__process_generation(); /* from here on, a fork is noticed */
    (void)pthread_once(&thread_end_once, watch_thread_ends);
    if (thread_end_error != 0)
        return NULL;
    ferry__inbox *inbox = ferry__allocate_zeroed(sizeof *inbox);
    if (inbox == NULL)
        return NULL;
    atomic_init(&inbox->refs, FERRY__INBOX_ALIVE);
    ferry__wake_init(&inbox->wake);
    ferry__bell_init(&inbox->bell);
    for (ferry__spare_kind kind = 0; kind < FERRY__REQUEST_SPARES; kind++)
        inbox->piles[kind].most = MOST_SPARES;
    if (pthread_setspecific(thread_end, inbox) != 0) {
        ferry__release(inbox);
        return NULL;
    }
    return inbox;
}

ferry__inbox *ferry__inbox_current(void)
{
    ferry__thread *thread = ferry__thread_current();
    if (thread->inbox == NULL && (thread->inbox = inbox_create()) != NULL)
        ferry__piles_use(thread->inbox->piles, FERRY__REQUEST_SPARES);
    return thread->inbox;
}

void ferry__inbox_drop(ferry__inbox *inbox, uint64_t references)
{
    ferry__handed_over(&inbox->refs);
    if (atomic_fetch_sub_explicit(&inbox->refs, references, memory_order_acq_rel) != references)
        return;
    ferry__taken_over(&inbox->refs);
    ferry__wake_deinit(&inbox->wake);
    ferry__bell_deinit(&inbox->bell);
    ferry__release(inbox);
}

static void ring(ferry__inbox *inbox)
{
    ferry__bed bed = ferry__wake_claim(&inbox->wake, true);
    if (bed != FERRY__AWAKE)
        ferry__wake_ring(&inbox->wake, bed);
}

/* What its thread sleeps on: once it has an fd, event loops sleep on that. */
static ferry__bed bed_of(const ferry__inbox *inbox)
{
    return atomic_load(&inbox->wake.fd) >= 0 ? FERRY__ON_FD : FERRY__ON_FUTEX;
}

/*
 * A thread that rings itself does not sleep; it only has to make the fd readable that its event
 * loop sleeps on.
 */
static bool needs_no_ring(const ferry__inbox *inbox)
{
    return inbox == ferry__thread_current()->inbox && bed_of(inbox) == FERRY__ON_FUTEX;
}

void ferry__inbox_ring(ferry__inbox *inbox, ferry__ringer *ringer)
{
    if (needs_no_ring(inbox))
        return;
    if (ringer == NULL) {
        ring(inbox);
        return;
    }
    if (ringer->count > 0 && ringer->inboxes[ringer->count - 1] == inbox)
        return; /* most batches are for one thread */
    if (ringer->count == sizeof ringer->inboxes / sizeof ringer->inboxes[0])
        ferry__ringer_flush(ringer);
    ringer->inboxes[ringer->count++] = ferry__inbox_ref(inbox);
}

void ferry__inbox_post(ferry__inbox *inbox, ferry__mail *mail, ferry__ringer *ringer)
{
    if (inbox == ferry__thread_current()->inbox) {
        ferry__mailbox_push_own(&inbox->mailbox, &inbox->own_mail, mail);
    } else {
        ferry__mailbox_push(&inbox->mailbox, mail);
        if (atomic_load(&inbox->closed)) {
            discard_mail(inbox);
            return;
        }
    }
    ferry__inbox_ring(inbox, ringer);
}

void ferry__ringer_flush(ferry__ringer *ringer)
{
    for (unsigned i = 0; i < ringer->count; i++) {
        ring(ringer->inboxes[i]);
        ferry__inbox_unref(ringer->inboxes[i]);
    }
    ringer->count = 0;
}

static void set_alarm(ferry__inbox *inbox)
{
    if (inbox->bell.fd >= 0)
        ferry__bell_set_alarm(&inbox->bell, ferry__timers_nearest(&inbox->timers));
}

void ferry__inbox_set_timer(ferry__inbox *inbox, ferry__timer *timer, int64_t deadline)
{
    ferry__timers_set(&inbox->timers, timer, deadline);
    set_alarm(inbox);
}

void ferry__inbox_cancel_timer(ferry__inbox *inbox, ferry__timer *timer)
{
    ferry__timers_cancel(&inbox->timers, timer);
    set_alarm(inbox);
}

static int64_t earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

/* @param mail what was taken */
static int run_mail(ferry__inbox *inbox, ferry__mail *mail)
{
    int count = 0;
    ferry__thread *thread = ferry__thread_current();
    thread->in_callback = true;
    inbox->being_run = mail;
    for (; (mail = ferry__mail_next(&inbox->being_run)) != NULL; count++)
        mail->deliver(mail, false);
    thread->in_callback = false;
    return count;
}

/* Runs what is due and what has come. Announced before the look: what is posted later rings, and so
 * makes the fd readable. */
static int run_what_waits(ferry__inbox *inbox, ferry__bed bed)
{
    ferry__timers_fire(&inbox->timers);
    set_alarm(inbox);
    ferry__wake_clear(&inbox->wake);
    ferry__wake_announce(&inbox->wake, bed);
    return run_mail(inbox, ferry__mailbox_take_with(&inbox->mailbox, &inbox->own_mail));
}

/* The same, for a thread that stays awake: nobody has to ring it. */
static int run_awake(ferry__inbox *inbox)
{
    ferry__timers_fire(&inbox->timers);
    bool is_alone = ferry__mailbox_looks_empty(&inbox->mailbox);
    return run_mail(inbox, is_alone ? ferry__own_mail_take(&inbox->own_mail)
                                    : ferry__mailbox_take_with(&inbox->mailbox, &inbox->own_mail));
}

/* What a thread that stays awake waits for. */
typedef struct awaited {
    ferry__inbox *inbox;
    bool (*done)(void *context);
    void *context;
} awaited;

static bool has_come(void *context)
{
    const awaited *what = context;
    return !ferry__mailbox_is_empty(&what->inbox->mailbox) || what->done(what->context);
}

/* Without an fd. @return as ferry__inbox_run; 0: it has to sleep, or done() says true. */
static int look_out(ferry__inbox *inbox, bool (*done)(void *context), void *context)
{
    awaited what = {inbox, done, context};
    bool came =
        ferry__lookout_look(&ferry__thread_current()->lookout, FERRY__LOOKOUT_NS, has_come, &what);
    return came ? run_awake(inbox) : 0;
}

int ferry__inbox_run(ferry__inbox *inbox, bool (*done)(void *context), void *context,
                     int64_t deadline)
{
    ferry__bed bed = bed_of(inbox);
    inbox->would_sleep = deadline != 0;
    if (bed == FERRY__ON_FUTEX) {
        int count = run_awake(inbox);
        if (count > 0 || deadline == 0)
            return count;
        count = look_out(inbox, done, context);
        if (count > 0 || done(context))
            return count;
    }
    int count = run_what_waits(inbox, bed);
    while (count == 0 && !done(context) && deadline != 0 &&
           (deadline == FERRY__NEVER || ferry__clock_now() < deadline)) {
        ferry__wake_sleep(&inbox->wake, bed,
                          earlier(deadline, ferry__timers_nearest(&inbox->timers)));
        count = run_what_waits(inbox, bed);
    }
    /* Without an fd nobody waits for a ring between two calls: posters need no system call then. */
    if (bed_of(inbox) == FERRY__ON_FUTEX)
        ferry__wake_retract(&inbox->wake);
    return count;
}

int ferry_inbox_get_fd(void)
{
    if (ferry__thread_current()->owner != NULL)
        return -EDEADLK;
    ferry__inbox *inbox = ferry__inbox_current();
    if (inbox == NULL)
        return -ENOMEM;
    if (inbox->bell.fd >= 0)
        return inbox->bell.fd;
    int error = ferry__bell_open(&inbox->bell, &inbox->wake);
    if (error != 0)
        return error;
    set_alarm(inbox);
    /* What was posted before there was an fd is announced by it too. */
    ferry__wake_announce(&inbox->wake, FERRY__ON_FD);
    if (inbox->own_mail.first != NULL || !ferry__mailbox_is_empty(&inbox->mailbox))
        ring(inbox);
    return inbox->bell.fd;
}

static bool never_done(void *context)
{
    (void)context;
    return false;
}

int ferry_inbox_run(int64_t timeout_ms)
{
    if (timeout_ms < -1)
        return -EINVAL;
    if (ferry__thread_may_not_wait())
        return -EDEADLK;
    ferry__inbox *inbox = ferry__inbox_current();
    if (inbox == NULL)
        return -ENOMEM;
    return ferry__inbox_run(inbox, never_done, NULL,
                            timeout_ms == 0 ? 0 : ferry__clock_deadline(timeout_ms));
}
