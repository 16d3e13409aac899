/* SPDX-License-Identifier: MIT */
#include "core/promise.h"

#include "core/hooks.h"
#include "core/report.h"
#include "core/sleepers.h"
#include "core/thread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

/* What a list of observers points to once it is closed: registrations post for themselves. */
static ferry__observer closed_mark;

void ferry__promise_set_home(ferry_promise *promise, ferry__inbox *home)
{
    ferry__inbox *none = NULL;
    (void)ferry__inbox_ref(home);
    if (!atomic_compare_exchange_strong(&promise->home, &none, home))
        ferry__inbox_unref(home);
}

int ferry__promise_poll(const ferry_promise *promise)
{
    if (ferry__promise_is_settled(promise) || promise == ferry__thread_current()->told)
        return 0;
    return ferry__promise_is_ours(promise) ? -ETIMEDOUT : -ECHILD;
}

/* ---- what debug builds report ---------------------------------------------------------------- */

#ifdef NDEBUG
void ferry__promise_report_dropped(const ferry_promise *promise)
{
    (void)promise;
}

static void report_end(const ferry_promise *promise)
{
    (void)promise;
}
#else
static ferry__report_name name_of(const ferry_promise *promise)
{
    return (ferry__report_name){
        .label = ferry__promise_label(promise),
        .caller = promise->caller,
    };
}

void ferry__promise_report_dropped(const ferry_promise *promise)
{
    const ferry__report_name name = name_of(promise);
    ferry__report_dropped(&name);
}

static bool is_failure_unseen(const ferry_promise *promise, unsigned state)
{
    int error = promise->result.error;
    return error != 0 && error != -ECANCELED &&
           (state & (FERRY__WAS_SEEN | FERRY__IS_CANCELLED)) == 0;
}

/* Its last reference is gone. */
static void report_end(const ferry_promise *promise)
{
    unsigned state = atomic_load(&promise->state);
    const ferry__report_name name = name_of(promise);
    if ((state & FERRY__IS_SETTLED) != 0) {
        if (is_failure_unseen(promise, state))
            ferry__report_failed(&name, promise->result.error);
    } else if (promise->type->forsake != NULL) { /* the program was to settle it */
        ferry__report_dropped(&name);
    }
}
#endif

/* ---- references ------------------------------------------------------------------------------ */

ferry_promise *ferry_promise_ref(ferry_promise *promise)
{
    if (promise != NULL)
        atomic_fetch_add_explicit(&promise->refs, FERRY__ONE_REFERENCE, memory_order_relaxed);
    return promise;
}

/* Whether these are all there are, and the caller's: nobody can take another. */
static bool are_last(const ferry_promise *promise, uint64_t references)
{
    /* Pairs with the release in every unref: what the others did with it is over. */
    if (atomic_load_explicit(&promise->refs, memory_order_acquire) != references)
        return false;
    ferry__taken_over(&promise->refs);
    return true;
}

bool ferry__promise_is_forgotten(const ferry_promise *promise)
{
    return are_last(promise, FERRY__ONE_REFERENCE);
}

/* Counts references down. O1: what was done with them is over. @return how many there were. */
static uint64_t count_down(ferry_promise *promise, uint64_t references)
{
    ferry__handed_over(&promise->refs);
    return atomic_fetch_sub_explicit(&promise->refs, references, memory_order_acq_rel);
}

static bool is_last_but_observers(uint64_t refs)
{
    uint64_t observers = refs >> 32, all = (uint32_t)refs;
    return observers > 0 && all - observers == 1;
}

/*
 * Gives a reference to a pending promise back by a compare-and-swap. So, if several threads let go
 * of it at once, one of them knows that it is the last. @return the references before.
 */
static uint64_t let_go(ferry_promise *promise)
{
    ferry__handed_over(&promise->refs);
    uint64_t refs = atomic_load_explicit(&promise->refs, memory_order_acquire);
    while (!is_last_but_observers(refs)) {
        if (atomic_compare_exchange_weak_explicit(&promise->refs, &refs,
                                                  refs - FERRY__ONE_REFERENCE, memory_order_acq_rel,
                                                  memory_order_acquire))
            return refs;
    }
    if (ferry__promise_poll(promise) == -ETIMEDOUT)
        promise->type->forsake(promise);
    return count_down(promise, FERRY__ONE_REFERENCE);
}

static void destroy(ferry_promise *promise)
{
    ferry__taken_over(&promise->refs);
    report_end(promise);
    ferry__inbox_unref(atomic_load(&promise->home));
    ferry__label_free(atomic_load_explicit(&promise->label, memory_order_relaxed));
    promise->type->destroy(promise);
}

ferry_promise *ferry_promise_unref(ferry_promise *promise)
{
    if (promise == NULL)
        return NULL;
    /* A reference that is the only one is not counted down: nobody can take another. */
    uint64_t before = FERRY__ONE_REFERENCE;
    if (!ferry__promise_is_forgotten(promise)) {
        if (promise->type->forsake != NULL && !ferry__promise_is_settled(promise))
            before = let_go(promise);
        else
            before = count_down(promise, FERRY__ONE_REFERENCE);
    }
    assert((uint32_t)before > 0 && "ferry_promise_unref: more references given back than taken");
    if (before == FERRY__ONE_REFERENCE)
        destroy(promise);
    return NULL;
}

void ferry__promise_unobserve(ferry_promise *promise)
{
    if (are_last(promise, FERRY__ONE_OBSERVER) ||
        count_down(promise, FERRY__ONE_OBSERVER) == FERRY__ONE_OBSERVER)
        destroy(promise);
}

/* ---- observers ------------------------------------------------------------------------------- */

/* Hands an observer of a settled promise to its thread. The mail may be gone when this returns. */
static void observer_post(ferry__observer *observer, ferry__ringer *ringer)
{
    ferry__inbox *inbox = ferry__inbox_ref(observer->inbox);
    ferry__inbox_post(inbox, &observer->mail, ringer);
    ferry__inbox_unref(inbox);
}

/* @return how many references there were before, observers' and others. */
static uint64_t count_observer(ferry_promise *promise)
{
    uint64_t before =
        atomic_fetch_add_explicit(&promise->refs, FERRY__ONE_OBSERVER, memory_order_acquire);
    ferry__taken_over(&promise->refs);
    return before;
}

/* Puts one that is counted into a list. */
static void list_observer(ferry_promise *promise, ferry__observers *list, ferry__observer *observer)
{
    observer->promise = promise;
    ferry__observer *newest = atomic_load(list);
    do {
        if (newest == &closed_mark) {
            ferry__taken_over(promise);
            observer_post(observer, NULL);
            return;
        }
        observer->next = newest;
    } while (!atomic_compare_exchange_weak(list, &newest, observer));
}

void ferry__promise_enlist(ferry_promise *promise, ferry__observers *list,
                           ferry__observer *observer)
{
    (void)count_observer(promise);
    list_observer(promise, list, observer);
}

void ferry__promise_observe(ferry_promise *promise, ferry__observer *observer)
{
    ferry__promise_enlist(promise, &promise->observers, observer);
}

/* An observer that has an allocation of its own. first_observer has none, and no release. */
typedef struct further_observer {
    ferry__observer observer; /* first */
    ferry_release *release;   /* of its arg, or NULL */
} further_observer;

static void callback_release(void *arg)
{
    ferry__observer *observer = arg;
    ferry_promise *promise = observer->promise;
    if (observer != &promise->first_observer)
        ferry__release_arg(((further_observer *)(void *)observer)->release, observer->arg);
    ferry__inbox_unref(observer->inbox);
    if (observer != &promise->first_observer)
        ferry__release(observer);
    ferry__promise_unobserve(promise);
}

static void call_back(ferry__observer *observer)
{
    ferry__promise_note_seen(observer->promise);
    observer->callback(observer->promise, &observer->promise->result, observer->arg);
}

/* The callback may end its thread. If there is nothing of the program's to release, the inbox
 * releases the observer then. Else it is done before the thread's stack is gone. */
static void call_back_guarded(ferry__observer *observer)
{
    ferry__thread *thread = ferry__thread_current();
    if (observer == &observer->promise->first_observer) {
        thread->if_ended_arg = observer;
        thread->if_ended = callback_release;
        call_back(observer);
        thread->if_ended = NULL;
    } else {
        pthread_cleanup_push(callback_release, observer);
        call_back(observer);
        pthread_cleanup_pop(0);
    }
}

/* On the observer's thread; where that has ended, only releases the observer. */
static void callback_deliver(ferry__mail *mail, bool receiver_gone)
{
    ferry__observer *observer = (ferry__observer *)mail;
    if (receiver_gone)
        ferry__log(FERRY_LOG_WARNING,
                   "a thread ended before a callback that it had registered could run");
    else
        call_back_guarded(observer);
    callback_release(observer);
}

/* For an observer that is told of a cancel alone. */
static void on_cancel_deliver(ferry__mail *mail, bool receiver_gone)
{
    ferry__observer *observer = (ferry__observer *)mail;
    if (observer->promise->result.error == -ECANCELED)
        callback_deliver(mail, receiver_gone);
    else
        callback_release(observer); /* registered when it had settled */
}

static bool is_on_cancel(const ferry__observer *observer)
{
    return observer->mail.deliver == on_cancel_deliver;
}

static void on_cancel_post(ferry__observer *observer, ferry__ringer *ringer)
{
    if (observer->promise->result.error == -ECANCELED)
        observer_post(observer, ringer);
    else
        callback_release(observer);
}

/* Posts those that are for a cancel, the newest first, then the others, the oldest first. */
static void post_all(ferry__observer *newest, ferry__ringer *ringer)
{
    ferry__observer *others = NULL, *next; /* next: read before the mail is out of our hands */
    for (ferry__observer *observer = newest; observer != NULL; observer = next) {
        next = observer->next;
        if (is_on_cancel(observer)) {
            on_cancel_post(observer, ringer);
        } else {
            observer->next = others;
            others = observer;
        }
    }
    for (ferry__observer *observer = others; observer != NULL; observer = next) {
        next = observer->next;
        observer_post(observer, ringer);
    }
}

void ferry__promise_tell(ferry_promise *promise, ferry_callback *callback, void *arg)
{
    ferry__promise_note_seen(promise);
    ferry__thread *thread = ferry__thread_current();
    thread->told = promise;
    callback(promise, &promise->result, arg);
    thread->told = NULL;
}

/* Whether it is a callback that this thread has registered. */
static bool is_callback_here(const ferry__observer *observer)
{
    return __atomic_load_n(&observer->mail.deliver, __ATOMIC_RELAXED) == callback_deliver &&
           __atomic_load_n(&observer->inbox, __ATOMIC_RELAXED) == ferry__thread_current()->inbox;
}

bool ferry__promise_is_kept_here(const ferry_promise *promise)
{
    /* Another one could be gone by now: somebody else may settle it, too. Then this one may just be
     * taken by another thread, and is not this thread's before and after. */
    const ferry__observer *first = &promise->first_observer;
    return atomic_load(&promise->observers) == first && is_callback_here(first);
}

/*
 * Posts the observers and closes their list: posted first, closed last. A thread that finds the
 * list closed posts for itself; what it registered earlier must stand before that in its inbox.
 * Both in one step where nobody else has registered anything: this thread registers nothing now.
 */
static void close_list(ferry__observers *list, ferry__ringer *ringer)
{
    ferry__observer *newest = atomic_load(list);
    for (;;) {
        bool is_closed = newest == NULL || (newest->next == NULL && is_callback_here(newest));
        ferry__observer *next = is_closed ? &closed_mark : NULL;
        if (!atomic_compare_exchange_strong(list, &newest, next))
            continue;
        post_all(newest, ringer);
        if (is_closed)
            return;
        newest = NULL;
    }
}

/* Releases that are called meanwhile, whoever's, must not run what keeps the promise. */
void ferry__observers_close(ferry__observers *list, ferry__ringer *ringer)
{
    ferry__thread *thread = ferry__thread_current();
    bool before = thread->in_callback;
    thread->in_callback = true;
    close_list(list, ringer);
    thread->in_callback = before;
}

bool ferry__promise_settle(ferry_promise *promise, ferry__ringer *ringer)
{
    /*
     * S0: publishes the result, then learns who waits. Pairs with H0, E0 and M0: a thread that
     * announced that it waits is seen here, or sees before it sleeps that the promise has settled.
     */
    ferry__handed_over(promise);
    unsigned before = atomic_fetch_or(&promise->state, FERRY__IS_SETTLED);
    assert((before & FERRY__IS_SETTLED) == 0 && "a promise settles once");
    if (before & FERRY__AWAITED_HOME)
        ferry__inbox_ring(atomic_load(&promise->home), ringer);
    if (before & FERRY__AWAITED_ELSEWHERE)
        ferry__futex_wake_all(&promise->state);
    if (before & FERRY__AWAITED_WITH_OTHERS)
        ferry__sleepers_ring();
    ferry__observers_close(&promise->observers, ringer);
    return (before & FERRY__IS_CANCELLED) != 0;
}

/* ---- the program's calls --------------------------------------------------------------------- */

int ferry_promise_cancel(ferry_promise *promise)
{
    if (promise == NULL)
        return -EINVAL;
    int error = ferry__promise_poll(promise);
    if (error != -ETIMEDOUT)
        return error == 0 ? -EALREADY : error;
    if (promise->type->cancel == NULL)
        return -EOPNOTSUPP;
    /*
     * C0: pairs with S0. Either the settling thread sees the wish, and waits for it to arrive, or
     * it is seen here that there is nothing to call off any more.
     */
    unsigned before = atomic_fetch_or(&promise->state, FERRY__IS_CANCELLED);
    if ((before & FERRY__IS_SETTLED) != 0)
        return -EALREADY;
    if ((before & FERRY__IS_CANCELLED) == 0)
        promise->type->cancel(promise);
    return 0;
}

static ferry__observer *further_create(ferry_release *release)
{
    further_observer *further = ferry__allocate(sizeof *further);
    if (further == NULL)
        return NULL;
    further->release = release;
    return &further->observer;
}

/*
 * Makes an observer that is counted. If no other is counted, first_observer is free: an earlier
 * user of it was counted until it had done with it. O0: pairs with O1.
 */
static ferry__observer *observer_create(ferry_promise *promise, ferry_release *release)
{
    bool is_alone = count_observer(promise) >> 32 == 0; /* O0 */
    if (is_alone && release == NULL)
        return &promise->first_observer;
    ferry__observer *observer = further_create(release);
    if (observer == NULL)
        (void)count_down(promise, FERRY__ONE_OBSERVER); /* never the last: the caller has one */
    return observer;
}

/* Registers a callback that is delivered so. */
static int register_callback(ferry_promise *promise, ferry_callback *callback, void *arg,
                             ferry_release *release, void (*deliver)(ferry__mail *, bool))
{
    if (promise == NULL || callback == NULL)
        return -EINVAL;
    if (ferry__thread_current()->owner != NULL)
        return -EDEADLK;
    if (ferry__promise_poll(promise) == -ECHILD)
        return -ECHILD;
    ferry__inbox *inbox = ferry__inbox_current();
    if (inbox == NULL)
        return -ENOMEM;
    ferry__observer *observer = observer_create(promise, release);
    if (observer == NULL)
        return -ENOMEM;
    /* Pairs with the look in ferry__promise_is_kept_here. */
    __atomic_store_n(&observer->mail.deliver, deliver, __ATOMIC_RELAXED);
    __atomic_store_n(&observer->inbox, ferry__inbox_ref(inbox), __ATOMIC_RELAXED);
    observer->callback = callback;
    observer->arg = arg;
    list_observer(promise, &promise->observers, observer);
    return 0;
}

int ferry_promise_observe(ferry_promise *promise, ferry_callback *callback, void *arg,
                          ferry_release *release)
{
    return register_callback(promise, callback, arg, release, callback_deliver);
}

int ferry_promise_on_cancel(ferry_promise *promise, ferry_callback *callback, void *arg,
                            ferry_release *release)
{
    return register_callback(promise, callback, arg, release, on_cancel_deliver);
}

int ferry_promise_set_label(ferry_promise *promise, const char *label)
{
    if (promise == NULL)
        return -EINVAL;
    ferry__label *added, *newest = atomic_load_explicit(&promise->label, memory_order_acquire);
    const char *wanted = label != NULL ? label : "";
    if (newest == NULL ? label == NULL : strncmp(newest->text, wanted, FERRY__LABEL_BYTES) == 0)
        return 0; /* it is called that already */
    int error = ferry__label_create(wanted, &added);
    if (error != 0)
        return error;
    do
        added->replaced = newest;
    while (!atomic_compare_exchange_weak_explicit(&promise->label, &newest, added,
                                                  memory_order_acq_rel, memory_order_acquire));
    return 0;
}
