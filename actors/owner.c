/* SPDX-License-Identifier: MIT */
#include "actors/owner.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "core/thread.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum {
    LONG_NS = 20 * 1000, /* after some small turns, or a large one, mail is looked for */
    HURRY_NS = 10 * FERRY__NS_PER_MS, /* a small task's next mail comes within that */
    FEW_TURNS = 2                     /* that a small task takes: a head, say, and a file */
};

#define OWNER_OF(mail, member)                                                                     \
    ((ferry__owner *)(void *)((char *)(mail)-offsetof(ferry__owner, member)))

static void supervise(ferry__mail *mail, bool receiver_gone);
static void free_spares(ferry__timer *timer);
static void look_at_crew(ferry__timer *timer);
static void stop(ferry__mail *mail, bool receiver_gone);

int ferry__owner_create(const char *name, size_t stack_bytes, ferry__owner *supervisor,
                        ferry__calls *calls, ferry__owner **ret_owner)
{
    ferry__owner *owner = ferry__allocate_zeroed(sizeof *owner);
    if (owner == NULL)
        return -ENOMEM;
    atomic_init(&owner->refs, 1);
    atomic_init(&owner->holds, 1);
    ferry__wake_init(&owner->wake);
    (void)snprintf(owner->name, sizeof owner->name, "%s", name);
    owner->stack_bytes = stack_bytes;
    owner->calls = calls;
    owner->poller = FERRY__POLLER_CLOSED;
    owner->stop_mail.deliver = stop;
    owner->supervisor_mail.deliver = supervise;
    owner->spares_timer.fire = free_spares;
    if (supervisor != NULL) {
        owner->supervisor = ferry__owner_ref(supervisor);
        ferry__owner_hold(supervisor);
        (void)ferry__owner_ref(owner); /* the supervisor's, until it has joined the thread */
        ferry__wake_announce(&owner->wake, FERRY__ON_FUTEX);
    }
    *ret_owner = owner;
    return 0;
}

/* @return whether nothing is left: else somebody has claimed a shelf just now. */
static bool free_piles(ferry__owner *owner)
{
    ferry__spares *spares = atomic_load(&owner->spares);
    if (spares == NULL)
        return true;
    bool is_bare = true;
    ferry__parking_free(&spares->parking);
    for (ferry__spare_kind kind = 0; kind < FERRY__SPARE_KINDS; kind++) {
        ferry__pile_free(kind, &spares->piles[kind]);
        if (kind < FERRY__SPARE_BUFFER)
            is_bare &= ferry__shelf_free(kind, &spares->shelves[kind]);
    }
    return is_bare;
}

ferry__owner *ferry__owner_ref(ferry__owner *owner)
{
    atomic_fetch_add_explicit(&owner->refs, 1, memory_order_relaxed);
    return owner;
}

void ferry__owner_unref(ferry__owner *owner)
{
    if (owner == NULL || ferry__refs_drop(&owner->refs) != 1)
        return;
    ferry__owner_unref(owner->supervisor);
    (void)free_piles(owner);
    ferry__release(atomic_load(&owner->spares));
    ferry__release(owner->scratch);
    ferry__release(owner);
}

bool ferry__owner_is_current(const ferry__owner *owner)
{
    return ferry__thread_current()->owner == owner;
}

bool ferry__owner_has_thread(const ferry__owner *owner)
{
    return atomic_load(&owner->has_thread);
}

bool ferry__owner_is_asleep(const ferry__owner *owner)
{
    ferry__bed bed = atomic_load(&owner->wake.asleep);
    return bed != FERRY__AWAKE && bed != FERRY__IN_CALL;
}

unsigned ferry__owner_load(const ferry__owner *owner)
{
    unsigned holds = atomic_load(&owner->holds), ending = atomic_load(&owner->ending);
    return holds > ending ? holds - ending : 0; /* they are not of one moment */
}

bool ferry__owner_has_hardly_more(const ferry__owner *owner, const ferry__owner *other)
{
    enum { SLACK = 4 };
    return ferry__owner_load(owner) <= ferry__owner_load(other) + SLACK;
}

void ferry__owner_begin_ending(ferry__owner *owner)
{
    atomic_fetch_add(&owner->ending, 1);
}

void ferry__owner_end_ending(ferry__owner *owner)
{
    atomic_fetch_sub(&owner->ending, 1);
}

void ferry__owner_hold(ferry__owner *owner)
{
    unsigned before = atomic_fetch_add(&owner->holds, 1);
    assert(before > 0 && "an owner that has ended cannot be held");
    (void)before;
}

bool ferry__owner_try_hold(ferry__owner *owner)
{
    unsigned before = atomic_load(&owner->holds);
    while (before > 0 && !atomic_compare_exchange_weak(&owner->holds, &before, before + 1)) {
    }
    return before > 0;
}

/* Wakes the owner if it sleeps, or has it started if it never was. One that posts to itself does
 * not sleep, though it may have announced that: it looks for mail once more before it does. But it
 * may be about to wait in a call. */
static void rouse(ferry__owner *owner, bool urgent)
{
    ferry__bed bed = ferry__wake_claim(&owner->wake, urgent);
    if (bed == FERRY__AWAKE)
        return;
    if (bed == FERRY__IN_CALL) {
        owner->exit->get_out(owner->exit);
    } else if (owner->supervisor != NULL && !atomic_load(&owner->has_thread)) {
        ferry__owner_post(owner->supervisor, &owner->supervisor_mail);
    } else if (!ferry__owner_is_current(owner)) {
        ferry__wake_ring(&owner->wake, bed);
        return;
    }
    ferry__wake_disclaim(&owner->wake);
}

void ferry__owner_release(ferry__owner *owner)
{
    /* L0: pairs with L1: it is seen asleep here, or sees that nobody holds it any more. */
    if (atomic_fetch_sub(&owner->holds, 1) == 1)
        rouse(owner, true);
}

void ferry__owner_post(ferry__owner *owner, ferry__mail *mail)
{
    ferry__mailbox_push(&owner->mailbox, mail);
    rouse(owner, true);
}

void ferry__owner_post_last(ferry__owner *owner, ferry__mail *mail)
{
    (void)ferry__owner_ref(owner);
    ferry__owner_post(owner, mail);
    ferry__owner_unref(owner);
}

void ferry__owner_post_unhurried(ferry__owner *owner, ferry__mail *mail)
{
    ferry__mailbox_push(&owner->mailbox, mail);
    rouse(owner, false);
}

void ferry__owner_doze(ferry__owner *owner, bool allowed)
{
    assert(ferry__owner_is_current(owner) && "only an owner says when it dozes");
    owner->may_doze = allowed && owner->supervisor != NULL;
}

static void row_append(ferry__task_row *row, ferry__task *task)
{
    task->next = NULL;
    *(row->last != NULL ? &row->last->next : &row->first) = task;
    row->last = task;
}

static void row_prepend(ferry__task_row *row, ferry__task *task)
{
    task->next = row->first;
    row->first = task;
    if (row->last == NULL)
        row->last = task;
}

static ferry__task *row_take_first(ferry__task_row *row)
{
    ferry__task *task = row->first;
    row->first = task->next;
    if (row->first == NULL)
        row->last = NULL;
    return task;
}

void ferry__owner_schedule(ferry__owner *owner, ferry__task *task)
{
    assert(ferry__owner_is_current(owner) && "only an owner schedules its tasks");
    if (task->scheduled)
        return;
    task->scheduled = true;
    if (owner->room_ahead == 0) {
        row_append(&owner->runnable, task);
    } else {
        owner->room_ahead--;
        row_append(&owner->ahead, task);
    }
}

void ferry__owner_schedule_first(ferry__owner *owner, ferry__task *task)
{
    assert(ferry__owner_is_current(owner) && "only an owner schedules its tasks");
    if (task->scheduled)
        return;
    task->scheduled = task->is_first = true;
    row_prepend(&owner->runnable, task);
}

bool ferry__owner_has_more(const ferry__owner *owner)
{
    return owner->runnable.first != NULL || owner->ahead.first != NULL;
}

bool ferry__owner_is_hurried(const ferry__owner *owner)
{
    return owner->went_ahead_at != 0 &&
           ferry__activity_since(&owner->activity) - owner->went_ahead_at < HURRY_NS;
}

int ferry__owner_need_poller(ferry__owner *owner)
{
    if (owner->poller.epoll_fd >= 0)
        return 0;
    int wake_fd = ferry__wake_fd(&owner->wake);
    return wake_fd < 0 ? wake_fd : ferry__poller_open(&owner->poller, wake_fd, owner->calls);
}

bool ferry__owner_enter_call(ferry__owner *owner, ferry__exit *exit)
{
    assert(ferry__owner_is_current(owner) && "only an owner waits in calls of its own");
    assert(owner->supervisor != NULL && "others would wait for it");
    owner->exit = exit;
    ferry__wake_announce(&owner->wake, FERRY__IN_CALL);
    if (ferry__mailbox_is_empty(&owner->mailbox))
        return true;
    (void)ferry__wake_leave_call(&owner->wake);
    return false;
}

bool ferry__owner_leave_call(ferry__owner *owner)
{
    return ferry__wake_leave_call(&owner->wake);
}

int ferry__owner_watch(ferry__owner *owner, ferry__watch *watch, uint32_t events)
{
    assert(ferry__owner_is_current(owner) && "only an owner watches its fds");
    assert(owner->start_error == 0 && "without a thread nobody polls");
    int error = ferry__owner_need_poller(owner);
    return error != 0 ? error : ferry__poller_watch(&owner->poller, watch, events);
}

int ferry__owner_await(ferry__owner *owner, ferry__watch *watch, uint32_t events)
{
    if (watch->registered == 0)
        return ferry__owner_watch(owner, watch, events);
    return ferry__poller_await(&owner->poller, watch, events);
}

void *ferry__owner_scratch(ferry__owner *owner)
{
    assert(ferry__owner_is_current(owner) && "only an owner uses its scratch memory");
    if (owner->scratch == NULL)
        owner->scratch = ferry__allocate(FERRY__SCRATCH_BYTES);
    return owner->scratch;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

void *ferry__owner_take_spare(ferry__owner *owner, ferry__spare_kind kind, size_t size)
{
    if (kind == FERRY__NO_SPARE)
        return ferry__allocate(size);
    ferry__spares *spares = atomic_load_explicit(&owner->spares, memory_order_acquire);
    return ferry__spare_take_here(kind, spares != NULL ? &spares->shelves[kind] : NULL, size);
}

/*
 * An owner keeps so many spares of a kind at once: all those of a queue of 1,024 writes, which one
 * sendmsg(2) takes; but 4 MiB at most. Twice as many may lie on its shelves.
 */
static unsigned most_spares(ferry__spare_kind kind)
{
    enum { WRITES = 1024, BYTES = 4 << 20 };
    size_t most = BYTES / ferry__spare_bytes(kind);
    return most < WRITES ? (unsigned)most : WRITES;
}

/* Whoever starts its thread, before. Without memory it keeps none. */
static void make_spares(ferry__owner *owner)
{
    if (atomic_load(&owner->spares) != NULL)
        return;
    ferry__spares *spares = ferry__allocate_zeroed(sizeof *spares);
    for (ferry__spare_kind kind = 0; spares != NULL && kind < FERRY__SPARE_KINDS; kind++)
        spares->piles[kind].most = most_spares(kind);
    if (spares != NULL)
        spares->crew_timer.fire = look_at_crew;
    atomic_store(&owner->spares, spares);
}

/* The owner's thread keeps blocks there from now on. @param spares NULL: it frees them. */
static void use_spares(ferry__spares *spares)
{
    ferry__piles_use(spares != NULL ? spares->piles : NULL, FERRY__SPARE_KINDS);
    ferry__thread_current()->parking = spares != NULL ? &spares->parking : NULL;
}

static void keep_spares(ferry__owner *owner)
{
    ferry__timers_set(&owner->timers, &owner->spares_timer, ferry__clock_now() + FERRY__NS_PER_S);
}

/* What was let go goes to those who submit. */
static void put_spares(ferry__owner *owner)
{
    ferry__spares *spares = atomic_load_explicit(&owner->spares, memory_order_relaxed);
    if (spares == NULL)
        return;
    bool has_any = spares->parking.block != NULL;
    for (ferry__spare_kind kind = 0; kind < FERRY__SPARE_KINDS; kind++) {
        if (spares->piles[kind].first == NULL)
            continue;
        has_any = true;
        if (kind < FERRY__SPARE_BUFFER)
            ferry__pile_put(&spares->piles[kind], &spares->shelves[kind]);
    }
    if (has_any && !ferry__timer_is_set(&owner->spares_timer))
        keep_spares(owner);
}

static void free_spares(ferry__timer *timer)
{
    ferry__owner *owner = OWNER_OF(timer, spares_timer);
    if (!free_piles(owner))
        keep_spares(owner);
}

/* For an owner whose thread ends, or that has none: there will be no timer. */
static void drop_spares(ferry__owner *owner)
{
    ferry__timers_cancel(&owner->timers, &owner->spares_timer);
    (void)free_piles(owner);
}

int64_t ferry__owner_next_timer(ferry__owner *owner)
{
    ferry__timer *spares = &owner->spares_timer;
    int64_t nearest = ferry__timers_nearest(&owner->timers), due = spares->deadline;
    if (!ferry__timer_is_set(spares) || nearest != due)
        return nearest;
    ferry__timers_cancel(&owner->timers, spares);
    nearest = ferry__timers_nearest(&owner->timers);
    ferry__timers_set(&owner->timers, spares, due);
    return nearest;
}

/* ---- threads that are kept ------------------------------------------------------------------- */

static void look_at_crew_soon(ferry__owner *owner)
{
    enum { SOON = FERRY__NS_PER_S / 8 };
    ferry__timers_set(&owner->timers, &atomic_load(&owner->spares)->crew_timer,
                      ferry__clock_now() + SOON);
}

static void look_at_crew(ferry__timer *timer)
{
    ferry__spares *spares =
        (ferry__spares *)(void *)((char *)timer - offsetof(ferry__spares, crew_timer));
    if (ferry__crew_look(&spares->crew))
        look_at_crew_soon(ferry__thread_current()->owner);
}

/* Its supervisor's thread. @return whether there was one that waited. */
static bool hire(ferry__owner *owner)
{
    ferry__spares *spares = atomic_load(&owner->supervisor->spares);
    return spares != NULL && ferry__crew_hire(&spares->crew, owner);
}

/* @return whether it could. */
static bool keep_worker(ferry__owner *owner, ferry__worker *worker)
{
    ferry__spares *spares = atomic_load(&owner->spares);
    if (spares == NULL)
        return false;
    bool are_many = ferry__crew_keep(&spares->crew, worker);
    if (are_many && !ferry__timer_is_set(&spares->crew_timer))
        look_at_crew_soon(owner);
    return true;
}

static void dismiss_crew(ferry__owner *owner)
{
    ferry__spares *spares = atomic_load(&owner->spares);
    if (spares != NULL)
        ferry__crew_dismiss(&spares->crew);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static bool deliver_mail(ferry__owner *owner)
{
    ferry__mail *chain = ferry__mailbox_take(&owner->mailbox);
    unsigned count = 0;
    if (chain != NULL)
        owner->looks_out = true;
    for (ferry__mail *mail; (mail = ferry__mail_next(&chain)) != NULL; count++)
        mail->deliver(mail, false);
    if (count > 1)
        owner->looks_out = false;
    return count > 0;
}

static void give_turn(ferry__owner *owner, ferry__task *task, int64_t now)
{
    unsigned char turns_ahead = task->turns_ahead;
    task->scheduled = task->is_first = false;
    task->turns_ahead = 0;
    owner->turns++;
    ferry__activity_begin(&owner->activity, task, now);
    if (task->turn(task) == FERRY__TURN_AGAIN) {
        task->turns_ahead = turns_ahead > 0 ? turns_ahead - 1 : 0;
        ferry__owner_schedule(owner, task);
    } else if (turns_ahead > 0) {
        owner->went_ahead_at = now;
    }
    ferry__activity_end(&owner->activity);
    /* A thread that waits for what this turn settled need not wait for the others' turns. */
    ferry__ringer_flush(&owner->ringer);
    put_spares(owner);
}

/*
 * Delivers mail while others wait for their turns: what it wakes goes ahead of them. Not in a round
 * that only refuses: what its callbacks submit is for another start. @return the time by now.
 */
static int64_t let_ahead(ferry__owner *owner, int64_t now)
{
    if (owner->start_error != 0 || ferry__mailbox_is_empty(&owner->mailbox))
        return now;
    owner->room_ahead = FERRY__MOST_AHEAD;
    (void)deliver_mail(owner);
    owner->room_ahead = 0;
    now = ferry__clock_now(); /* what has just come may be younger: its turn is not before that */
    while (owner->ahead.first != NULL) {
        ferry__task *task = row_take_first(&owner->ahead);
        task->turns_ahead = FEW_TURNS;
        give_turn(owner, task, now);
        now = ferry__clock_now();
    }
    return now;
}

/* One turn to each task that was runnable when the round began. */
static void give_turns(ferry__owner *owner)
{
    ferry__task *last = owner->runnable.last;
    int64_t looked_at = 0;
    for (bool more = last != NULL; more;) {
        int64_t now = ferry__clock_now();
        if (now - looked_at >= LONG_NS && !owner->runnable.first->is_first)
            looked_at = now = let_ahead(owner, now);
        ferry__task *task = row_take_first(&owner->runnable);
        more = task != last;
        give_turn(owner, task, now);
    }
}

/* Where nothing but mail can come a futex will do: it is the cheaper of the two. */
static ferry__bed choose_bed(const ferry__owner *owner)
{
    if (owner->poller.awaiting == 0)
        return FERRY__ON_FUTEX;
    return owner->may_doze ? FERRY__DOZING : FERRY__ON_FD;
}

static void wait_for_fds(ferry__owner *owner, int64_t deadline)
{
    ferry__poller_wait(&owner->poller, deadline);
    owner->looked_at = ferry__clock_now();
}

static void sleep_in(ferry__owner *owner, ferry__bed bed)
{
    int64_t deadline = ferry__timers_nearest(&owner->timers);
    if (bed == FERRY__ON_FUTEX)
        ferry__wake_sleep(&owner->wake, bed, deadline);
    else
        wait_for_fds(owner, deadline);
}

static bool has_mail(void *owner)
{
    return !ferry__mailbox_is_empty(&((ferry__owner *)owner)->mailbox);
}

/* Who sent the last mail, and nothing else, may send the next as soon as that is answered. Behind
 * several there is no such hurry: more of them come at a time if the owner sleeps meanwhile. */
static bool look_out(ferry__owner *owner)
{
    bool does = owner->looks_out && atomic_load(&owner->holds) > 0;
    owner->looks_out = false;
    return does && ferry__lookout_look(&ferry__thread_current()->lookout, FERRY__LOOKOUT_NS,
                                       has_mail, owner);
}

/* @return whether it slept; if not, there was something else to do by then. */
static bool sleep_until_needed(ferry__owner *owner)
{
    assert(owner->ringer.count == 0 && "inboxes are rung before the owner sleeps");
    ferry__bed bed = choose_bed(owner);
    if (bed == FERRY__ON_FUTEX && look_out(owner))
        return false;
    ferry__wake_announce(&owner->wake, bed); /* L1 */
    bool may_sleep =
        !deliver_mail(owner) && owner->runnable.first == NULL && atomic_load(&owner->holds) > 0;
    if (may_sleep)
        sleep_in(owner, bed);
    ferry__wake_retract(&owner->wake);
    return may_sleep;
}

static void run_round(ferry__owner *owner)
{
    if (owner->runnable.first == NULL)
        (void)deliver_mail(owner);
    give_turns(owner); /* else it looks for mail */
    ferry__timers_fire(&owner->timers);
    put_spares(owner); /* of mail and timers */
}

/* While turns are due. Not after each small one: beside that it is dear to look at fds. */
static void look_at_fds(ferry__owner *owner)
{
    if (ferry__clock_now() - owner->looked_at >= LONG_NS)
        wait_for_fds(owner, 0);
}

static void go_on(ferry__owner *owner)
{
    bool has_slept = owner->runnable.first == NULL && sleep_until_needed(owner);
    if (!has_slept && owner->poller.awaiting > 0)
        look_at_fds(owner);
}

/* Whose a thread is that has no owner to work for any more. */
static char nobody;

static void run_to_its_end(ferry__owner *owner)
{
    ferry__thread_current()->owner = owner;
    ferry__thread_current()->step = &owner->activity.step;
    (void)pthread_setname_np(pthread_self(), owner->name);
    if (owner->hook.start != NULL)
        owner->hook.start(owner->name, owner->hook.arg);
    use_spares(atomic_load(&owner->spares));
    while (atomic_load(&owner->holds) > 0) {
        run_round(owner);
        if (atomic_load(&owner->holds) > 0)
            go_on(owner);
    }
    use_spares(NULL);
    ferry__thread_current()->step = NULL; /* steps are told to nobody: the owner may be gone */
    drop_spares(owner);
    ferry__thread_current()->owner = &nobody; /* that memory may soon be another owner's */
}

/*
 * Invariant guest: a signal of the host's is handled by the host's threads. A thread begins with
 * all signals blocked (start_blocked), and lets in what its own faults raise. SIGPIPE, which
 * sendfile(2) raises, stays pending and dies with the thread.
 */
static void let_faults_in(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t mask;
    (void)sigemptyset(&mask);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        (void)sigaddset(&mask, faults[i]);
    (void)pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
}

static void *run(void *arg)
{
    ferry__owner *owner = arg;
    let_faults_in();
    run_to_its_end(owner);
    dismiss_crew(owner);
    return NULL;
}

/* What supervised owners run on, one after the other. */
static void *work(void *arg)
{
    ferry__worker self = {.thread = pthread_self()};
    ferry__own_memory(&self, sizeof self);
    let_faults_in();
    for (ferry__owner *owner = arg; owner != NULL; owner = ferry__worker_await(&self)) {
        run_to_its_end(owner);
        owner->worker = &self;
        ferry__owner_post(owner->supervisor, &owner->supervisor_mail);
    }
    return NULL;
}

/* ---- starting and ending --------------------------------------------------------------------- */

static size_t overhead_bytes; /* how much of a thread's stack the C library takes */
static pthread_once_t overhead_once = PTHREAD_ONCE_INIT;

/*
 * glibc takes a host's static TLS, which may be large, out of the stack that was asked for. Only a
 * function that it does not declare tells how much that is. musl gives as much as was asked for.
 * The thread that makes the first service looks it up, and no owner: dlsym(3) takes the loader's
 * lock, and a thread that has this lock may wait for an owner.
 */
static void learn_overhead(void)
{
    size_t (*least_stack)(const pthread_attr_t *) =
        (size_t(*)(const pthread_attr_t *))dlsym(RTLD_DEFAULT, "__pthread_get_minstack");
    pthread_attr_t defaults;
    if (least_stack != NULL && pthread_attr_init(&defaults) == 0) {
        overhead_bytes = least_stack(&defaults);
        (void)pthread_attr_destroy(&defaults);
    } else {
        long least = sysconf(_SC_THREAD_STACK_MIN);
        overhead_bytes = least > 0 ? (size_t)least : 0;
    }
}

/* The size of a stack of which so much can be used, and at least what the loop needs. */
static size_t stack_for(size_t wanted)
{
    enum { LEAST = 64 * 1024 }; /* the loop's own deepest call needs about 24 KiB */
    (void)pthread_once(&overhead_once, learn_overhead);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (wanted > LEAST ? wanted : LEAST) + overhead_bytes;
    long least = sysconf(_SC_THREAD_STACK_MIN); /* 128 KiB on aarch64 */
    if (least > 0 && size < (size_t)least)
        size = (size_t)least;
    return (size + page - 1) / page * page;
}

/*
 * Whether a thread made here would get a real-time policy. Other policies are inherited: a thread
 * may not even be allowed to leave one that is meant for the background.
 */
static bool is_real_time(void)
{
    int policy;
    struct sched_param unused;
    return pthread_getschedparam(pthread_self(), &policy, &unused) == 0 &&
           (policy == SCHED_FIFO || policy == SCHED_RR);
}

static int be_ordinary(pthread_attr_t *attributes)
{
    static const struct sched_param none = {0};
    int error = pthread_attr_setinheritsched(attributes, PTHREAD_EXPLICIT_SCHED);
    if (error == 0)
        error = pthread_attr_setschedpolicy(attributes, SCHED_OTHER);
    return error == 0 ? pthread_attr_setschedparam(attributes, &none) : error;
}

/* A thread begins with its maker's mask. No handler of the host's ever runs on an owner's. */
static int start_blocked(ferry__owner *owner, const pthread_attr_t *attributes)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = owner->calls->start_thread(owner->calls, &owner->thread, attributes,
                                           owner->supervisor != NULL ? work : run, owner);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

int ferry__owner_start(ferry__owner *owner, bool keeps_policy)
{
    make_spares(owner);
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0)
        return -error;
    error = pthread_attr_setstacksize(&attributes, stack_for(owner->stack_bytes));
    if (error == 0 && !keeps_policy && is_real_time())
        error = be_ordinary(&attributes);
    if (error == 0) {
        atomic_store(&owner->has_thread, true); /* before it can look for itself */
        error = start_blocked(owner, &attributes);
        if (error != 0)
            atomic_store(&owner->has_thread, false);
    }
    (void)pthread_attr_destroy(&attributes);
    return -error;
}

static void stop(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    ferry__owner_release(OWNER_OF(mail, stop_mail));
}

void ferry__owner_stop(ferry__owner *owner)
{
    ferry__owner_post(owner, &owner->stop_mail);
}

/* Nobody sleeps or polls here any more. Handles of its streams may live on, but not its fds. */
static void close_fds(ferry__owner *owner)
{
    ferry__wake_deinit(&owner->wake);
    ferry__poller_close(&owner->poller);
}

void ferry__owner_join(ferry__owner *owner)
{
    FERRY__HOLD_OFF_CANCEL();
    (void)pthread_join(owner->thread, NULL);
    close_fds(owner);
}

/* On the supervisor's thread, in the owner's name: every task refuses what it was given. */
static void refuse_work(ferry__owner *owner, int error)
{
    ferry__log(FERRY_LOG_ERROR, "no thread for %s: pthread_create failed with error %d",
               owner->name, -error);
    ferry__thread *thread = ferry__thread_current();
    void *self = thread->owner;
    thread->owner = owner;
    owner->start_error = error;
    (void)deliver_mail(owner); /* once: what callbacks submit now is for another start */
    while (owner->runnable.first != NULL)
        give_turns(owner);
    owner->start_error = 0;
    thread->owner = self;
    drop_spares(owner);
}

/*
 * Makes it a sleeper again. Mail that came before the announcement woke nobody, so it is a reason
 * for another start, behind the supervisor's other work.
 */
static void await_another_start(ferry__owner *owner)
{
    ferry__wake_announce(&owner->wake, FERRY__ON_FUTEX);
    if (!ferry__mailbox_is_empty(&owner->mailbox))
        rouse(owner, true);
}

/* Ends a supervised owner, on the supervisor's thread. */
static void lay_down(ferry__owner *owner)
{
    close_fds(owner);
    ferry__owner_release(owner->supervisor);
    ferry__owner_unref(owner);
}

void ferry__owner_abandon(ferry__owner *owner)
{
    atomic_store(&owner->holds, 0);
    if (owner->supervisor != NULL)
        lay_down(owner);
    else
        close_fds(owner);
}

void ferry__owner_keep_thread(ferry__owner *owner)
{
    assert(owner->supervisor != NULL && "nobody keeps the thread of another");
    owner->keeps_thread = true;
}

/* On a thread that was kept, or a new one; a script may have something to say about that. */
static int start_supervised(ferry__owner *owner)
{
    if (owner->keeps_thread && owner->calls == &ferry__calls_real) {
        make_spares(owner);
        atomic_store(&owner->has_thread, true); /* before it can look for itself */
        if (hire(owner))
            return 0;
    }
    return ferry__owner_start(owner, true); /* the supervisor's policy: that was chosen */
}

/* It has come to its end. */
static void take_thread_back(ferry__owner *owner)
{
    if (!owner->keeps_thread || !keep_worker(owner->supervisor, owner->worker))
        ferry__worker_dismiss(owner->worker);
}

static void supervise(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* a supervisor outlives the owners that it supervises: they hold it */
    ferry__owner *owner = OWNER_OF(mail, supervisor_mail);
    if (atomic_load(&owner->has_thread)) {
        take_thread_back(owner);
        lay_down(owner);
        return;
    }
    int error = start_supervised(owner);
    if (error == 0)
        return;
    refuse_work(owner, error);
    if (atomic_load(&owner->holds) == 0)
        lay_down(owner);
    else
        await_another_start(owner);
}
