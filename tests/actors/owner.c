/* SPDX-License-Identifier: MIT */
/* The owner loop, with tasks of the test's instead of streams. */
#include "actors/owner.h"

#include "core/clock.h"
#include "tests/harness.h"

#include <poll.h>
#include <sys/epoll.h>

/* A task that is sent work by mail, and does one piece a turn. */
typedef struct worker {
    ferry__task task;
    ferry__mail mail;
    ferry__owner *owner;
    unsigned turns_left;
    unsigned number;
    unsigned *order; /* every turn's worker, in a row */
    unsigned *count;
    atomic_bool done;
} worker;

static ferry__turn work(ferry__task *task)
{
    worker *self = (worker *)task;
    check(ferry__owner_is_current(self->owner));
    if (self->order != NULL)
        self->order[(*self->count)++] = self->number;
    if (--self->turns_left > 0)
        return FERRY__TURN_AGAIN;
    ferry__owner_release(self->owner);
    atomic_store(&self->done, true);
    return FERRY__TURN_OVER;
}

static void begin_work(ferry__mail *mail, bool)
{
    worker *self = (worker *)(void *)((char *)mail - offsetof(worker, mail));
    ferry__owner_schedule(self->owner, &self->task);
}

static void give(ferry__owner *owner, worker *task)
{
    task->owner = owner;
    task->task.turn = work;
    task->mail.deliver = begin_work;
    ferry__owner_hold(owner);
    ferry__owner_post(owner, &task->mail);
}

static ferry__owner *owner_start(void)
{
    ferry__owner *owner;
    check_eq(ferry__owner_create("ferry-test", 0, NULL, &ferry__calls_real, &owner), 0);
    check_eq(ferry__owner_start(owner, false), 0);
    return owner;
}

static void owner_end(ferry__owner *owner)
{
    ferry__owner_stop(owner);
    ferry__owner_join(owner);
    ferry__owner_unref(owner);
}

static atomic_bool is_at_gate, gate_open;

static void wait_at_gate(ferry__mail *, bool)
{
    atomic_store(&is_at_gate, true);
    while (!atomic_load(&gate_open))
        sched_yield();
}

/* Keeps the owner where it is until the gate opens: all mail of meanwhile then comes at once. */
static void stop_at_gate(ferry__owner *owner, ferry__mail *gate)
{
    gate->deliver = wait_at_gate;
    ferry__owner_post(owner, gate);
    while (!atomic_load(&is_at_gate))
        sched_yield();
}

PROMISE(owner, runnable_tasks_get_one_turn_each_in_a_round)
{
    ferry__owner *owner = owner_start();
    unsigned order[9], count = 0;
    worker workers[3] = {0};
    ferry__mail gate;
    stop_at_gate(owner, &gate);
    for (unsigned i = 0; i < 3; i++) {
        workers[i] = (worker){.turns_left = 3, .number = i, .order = order, .count = &count};
        give(owner, &workers[i]);
    }
    atomic_store(&gate_open, true);
    owner_end(owner);
    check_eq(count, 9);
    for (unsigned i = 0; i < 9; i++)
        check_eq(order[i], i % 3);
}

/* ---- small tasks beside large ones ----------------------------------------------------------- */

enum { TURNS = 100, SMALL = 12 };

/* Large tasks always have more to do. In each of their turns mail comes for all small ones. */
typedef struct crowd {
    ferry__owner *owner;
    struct member {
        ferry__task task;
        ferry__mail mail;
        struct crowd *crowd;
        bool is_posted; /* its mail has not arrived yet */
    } large[3], small[SMALL];
    unsigned small_ones;
    unsigned small_turns;   /* of those that count them */
    unsigned turns;         /* of large ones */
    unsigned hurried;       /* of those: how many were to be short */
    char order[16 * TURNS]; /* L: a large one's turn; s: a small one's */
    size_t length;
} crowd;

static void wake_member(ferry__mail *mail, bool)
{
    struct member *self = (struct member *)(void *)((char *)mail - offsetof(struct member, mail));
    self->is_posted = false;
    ferry__owner_schedule(self->crowd->owner, &self->task);
}

static void wake_small_ones(crowd *all)
{
    for (struct member *one = all->small; one < all->small + all->small_ones; one++) {
        if (!one->is_posted)
            ferry__owner_post(all->owner, &one->mail);
        one->is_posted = true;
    }
}

static ferry__turn take_small_turn(ferry__task *task)
{
    crowd *all = ((struct member *)(void *)task)->crowd;
    all->order[all->length++] = 's';
    return FERRY__TURN_OVER;
}

/* Long enough for mail to be looked for after it. */
static void let_time_pass(void)
{
    int64_t until = ferry__clock_now() + 100 * 1000;
    while (ferry__clock_now() < until) {
    }
}

static ferry__turn take_large_turn(ferry__task *task)
{
    crowd *all = ((struct member *)(void *)task)->crowd;
    if (all->turns == TURNS) {
        ferry__owner_release(all->owner);
        return FERRY__TURN_OVER;
    }
    all->turns++;
    all->order[all->length++] = 'L';
    all->hurried += ferry__owner_is_hurried(all->owner);
    wake_small_ones(all);
    let_time_pass();
    return FERRY__TURN_AGAIN;
}

/* It has more to do each time, as a transfer has. */
static ferry__turn take_unending_turn(ferry__task *task)
{
    (void)take_small_turn(task);
    return FERRY__TURN_AGAIN;
}

static crowd *run_crowd_with(unsigned large, unsigned small, ferry__turn (*turn)(ferry__task *))
{
    crowd *all = calloc(1, sizeof *all);
    all->owner = owner_start();
    all->small_ones = small;
    for (unsigned i = 0; i < small; i++)
        all->small[i] = (struct member){{.turn = turn}, {.deliver = wake_member}, all, false};
    ferry__mail gate;
    stop_at_gate(all->owner, &gate);
    for (unsigned i = 0; i < large; i++) {
        all->large[i] =
            (struct member){{.turn = take_large_turn}, {.deliver = wake_member}, all, false};
        ferry__owner_hold(all->owner);
        ferry__owner_post(all->owner, &all->large[i].mail);
    }
    atomic_store(&gate_open, true);
    owner_end(all->owner);
    check_eq(all->turns, TURNS);
    return all;
}

static crowd *run_crowd(unsigned large, unsigned small)
{
    return run_crowd_with(large, small, take_small_turn);
}

PROMISE(owner, what_mail_wakes_has_its_turn_before_those_that_have_more_to_do)
{
    AT_END(free_memory) crowd *all = run_crowd(3, 1);
    for (unsigned i = 0; i < 2 * TURNS; i++)
        check_eq(all->order[i], i % 2 == 0 ? 'L' : 's');
    check(all->hurried > 0);
}

PROMISE(owner, few_go_ahead_of_one_that_waits)
{
    AT_END(free_memory) crowd *all = run_crowd(2, SMALL);
    const char begin[] = "LssssssssLssssssssLssssssssssssL";
    check(strncmp(all->order, begin, strlen(begin)) == 0);
}

PROMISE(owner, nobody_is_hurried_where_nobody_goes_ahead)
{
    AT_END(free_memory) crowd *all = run_crowd(3, 0);
    check_eq(all->hurried, 0);
}

/* Its first turn sends a head, say. */
static ferry__turn take_one_of_two_turns(ferry__task *task)
{
    crowd *all = ((struct member *)(void *)task)->crowd;
    bool is_first = all->small_turns++ % 2 == 0;
    (void)take_small_turn(task);
    return is_first ? FERRY__TURN_AGAIN : FERRY__TURN_OVER;
}

PROMISE(owner, what_is_over_with_its_second_turn_hurries_others_too)
{
    AT_END(free_memory) crowd *all = run_crowd_with(3, 1, take_one_of_two_turns);
    check(all->hurried > 0);
}

PROMISE(owner, nobody_is_hurried_where_what_goes_ahead_is_as_large)
{
    AT_END(free_memory) crowd *all = run_crowd_with(3, 1, take_unending_turn);
    check_eq(all->hurried, 0);
}

static ferry__turn take_only_turn(ferry__task *task)
{
    crowd *all = ((struct member *)(void *)task)->crowd;
    all->order[all->length++] = task == &all->small[0].task ? 's' : '1';
    ferry__owner_release(all->owner);
    return FERRY__TURN_OVER;
}

static void let_be_first(ferry__mail *mail, bool)
{
    struct member *self = (struct member *)(void *)((char *)mail - offsetof(struct member, mail));
    ferry__owner_schedule_first(self->crowd->owner, &self->task);
    wake_small_ones(self->crowd); /* their mail lies there before its turn */
}

PROMISE(owner, what_mail_wakes_does_not_go_ahead_of_what_is_to_be_first)
{
    AT_END(free_memory) crowd *all = calloc(1, sizeof *all);
    all->owner = owner_start();
    all->small_ones = 1;
    all->small[0] = (struct member){{.turn = take_only_turn}, {.deliver = wake_member}, all, false};
    all->large[0] =
        (struct member){{.turn = take_only_turn}, {.deliver = let_be_first}, all, false};
    ferry__owner_hold(all->owner);
    ferry__owner_hold(all->owner); /* one for each turn */
    ferry__owner_post(all->owner, &all->large[0].mail);
    owner_end(all->owner);
    check_eq(all->length, 2);
    check(all->order[0] == '1' && all->order[1] == 's');
}

/* ---- its life -------------------------------------------------------------------------------- */

PROMISE(owner, thread_lives_until_the_last_hold_is_released)
{
    ferry__owner *owner = owner_start();
    worker workers[50] = {0};
    for (unsigned i = 0; i < 50; i++) {
        workers[i].turns_left = 1000;
        give(owner, &workers[i]);
    }
    owner_end(owner);
    for (unsigned i = 0; i < 50; i++)
        check(atomic_load(&workers[i].done));
}

PROMISE(owner, last_hold_released_by_another_thread_ends_a_sleeping_owner)
{
    for (unsigned round = 0; round < 200; round++) {
        ferry__owner *owner = owner_start();
        ferry__owner_hold(owner);
        ferry__owner_stop(owner);
        while (atomic_load(&owner->holds) > 1)
            sched_yield();
        for (volatile unsigned spin = 0; spin < round * 20; spin++) {
        } /* its thread may be anywhere on its way to sleep, or asleep */
        ferry__owner_release(owner);
        ferry__owner_join(owner);
        ferry__owner_unref(owner);
    }
}

PROMISE(owner, supervised_owner_starts_with_its_first_mail_and_is_joined_by_its_supervisor)
{
    ferry__owner *front = owner_start(), *owner;
    unsigned threads = count_threads();
    check_eq(ferry__owner_create("ferry-dedicated", 0, front, &ferry__calls_real, &owner), 0);
    check_eq(count_threads(), threads);
    worker task = {.turns_left = 5};
    give(owner, &task);
    ferry__owner_stop(owner);
    ferry__owner_unref(owner);
    owner_end(front); /* ends only when the other has ended and was joined */
    check(atomic_load(&task.done));
}

/* ---- threads that are kept ------------------------------------------------------------------- */

static ferry__owner *supervised_start(ferry__owner *front, worker *task)
{
    ferry__owner *owner;
    check_eq(ferry__owner_create("ferry-dedicated", 0, front, &ferry__calls_real, &owner), 0);
    ferry__owner_keep_thread(owner);
    *task = (worker){.turns_left = 1};
    give(owner, task);
    return owner;
}

static void supervised_end(ferry__owner *owner)
{
    ferry__owner_stop(owner);
    ferry__owner_unref(owner);
}

/* All that a front owner has supervised have ended: only its maker holds it. */
static void wait_until_alone(ferry__owner *front)
{
    while (atomic_load(&front->holds) > 1)
        sched_yield();
}

PROMISE(owner, thread_of_one_that_has_ended_runs_the_next)
{
    ferry__owner *front = owner_start();
    unsigned threads = count_threads();
    for (unsigned i = 0; i < 20; i++) {
        worker task;
        supervised_end(supervised_start(front, &task));
        wait_until_alone(front);
        check(atomic_load(&task.done));
        check_eq(count_threads(), threads + 1);
    }
    owner_end(front);
    wait_for_threads(threads - 1);
}

/* How many more looks at the threads that are kept there are (-Wl,--wrap). */
static atomic_uint looks_left;

WRAPPED(bool, ferry__crew_look, (ferry__crew * crew))
{
    if (atomic_load(&looks_left) == 0)
        return true;
    atomic_fetch_sub(&looks_left, 1);
    return __real_ferry__crew_look(crew);
}

/* Threads that were made (-Wl,--wrap). */
static atomic_uint threads_made;

WRAPPED(int, pthread_create,
        (pthread_t * ret_thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg))
{
    atomic_fetch_add(&threads_made, 1);
    return __real_pthread_create(ret_thread, attributes, run, arg);
}

/* So many owners run side by side, to their end. @return how many threads were made for them. */
static unsigned run_at_once(ferry__owner *front, unsigned many)
{
    ferry__owner *owners[300];
    worker tasks[300];
    atomic_store(&threads_made, 0);
    for (unsigned i = 0; i < many; i++)
        owners[i] = supervised_start(front, &tasks[i]);
    for (unsigned i = 0; i < many; i++) {
        while (!atomic_load(&tasks[i].done))
            sched_yield();
    }
    for (unsigned i = 0; i < many; i++)
        supervised_end(owners[i]);
    wait_until_alone(front);
    return atomic_load(&threads_made);
}

PROMISE(owner, threads_of_many_that_ended_are_kept_for_as_many_and_all_end_with_their_supervisor)
{
    enum { MANY = 270, MOST = 256 };
    atomic_store(&looks_left, 0);
    ferry__owner *front = owner_start();
    unsigned threads = count_threads();
    check_eq(run_at_once(front, MANY), MANY);
    wait_for_threads(threads + MOST);
    check_eq(run_at_once(front, MOST), 0);
    owner_end(front);
    wait_for_threads(threads - 1);
}

/* How far the clock is ahead of what it is. */
static _Atomic int64_t skew_ns;

WRAPPED(int64_t, ferry__clock_now, (void))
{
    return __real_ferry__clock_now() + atomic_load(&skew_ns);
}

/* Comes again until there are no looks left, or none is due any more. Each round begins a second
 * later. */
static void let_looks_pass(ferry__mail *mail, bool)
{
    ferry__owner *owner = ferry__thread_current()->owner;
    bool is_due = ferry__timer_is_set(&atomic_load(&owner->spares)->crew_timer);
    if (is_due && atomic_load(&looks_left) > 0) {
        atomic_fetch_add(&skew_ns, FERRY__NS_PER_S);
        ferry__owner_post(owner, mail);
        return;
    }
    ferry__owner_release(owner);
}

/* So many looks at what is kept. */
static void look(ferry__owner *front, unsigned looks)
{
    ferry__mail passing = {.deliver = let_looks_pass};
    atomic_store(&looks_left, looks);
    ferry__owner_hold(front);
    ferry__owner_post(front, &passing);
    wait_until_alone(front);
    atomic_store(&looks_left, 0);
}

PROMISE(owner, threads_that_are_not_needed_for_a_while_end_a_few_at_a_time_but_for_a_few)
{
    enum { FEW = 16, AT_ONCE = 8 };
    atomic_store(&looks_left, 0);
    ferry__owner *front = owner_start();
    unsigned threads = count_threads();
    check_eq(run_at_once(front, 60), 60);
    look(front, 1); /* until then all were needed */
    wait_for_threads(threads + 60);
    check_eq(run_at_once(front, 30), 0);
    look(front, 1); /* thirty were not */
    wait_for_threads(threads + 60 - AT_ONCE);
    look(front, 100);
    wait_for_threads(threads + FEW);
    owner_end(front);
    wait_for_threads(threads - 1);
    atomic_store(&skew_ns, 0);
}

PROMISE(owner, abandoned_owner_leaves_nothing)
{
    ferry__owner *front = owner_start(), *owner;
    check_eq(ferry__owner_create("ferry-dedicated", 0, front, &ferry__calls_real, &owner), 0);
    check_eq(ferry__owner_need_poller(owner), 0);
    ferry__owner_abandon(owner);
    ferry__owner_unref(owner);
    owner_end(front);
}

/* ---- readiness ------------------------------------------------------------------------------- */

typedef struct pipe_watch {
    ferry__watch watch;
    ferry__mail mail;
    ferry__owner *owner;
    atomic_uint calls;
} pipe_watch;

static void note_ready(ferry__watch *watch, uint32_t events)
{
    check((events & EPOLLIN) != 0);
    pipe_watch *self = (pipe_watch *)watch;
    check(ferry__owner_is_current(self->owner));
    atomic_fetch_add(&self->calls, 1);
}

static void arm(ferry__mail *mail, bool)
{
    pipe_watch *self = (pipe_watch *)(void *)((char *)mail - offsetof(pipe_watch, mail));
    check_eq(ferry__owner_watch(self->owner, &self->watch, EPOLLIN), 0);
    check_eq(ferry__owner_watch(self->owner, &self->watch, EPOLLIN), 0); /* once is enough */
}

static void await_calls(pipe_watch *watching, unsigned expected)
{
    while (atomic_load(&watching->calls) < expected)
        sched_yield();
}

PROMISE(owner, armed_watch_is_told_once_of_what_was_there_before_and_of_what_comes_later)
{
    ferry__owner *owner = owner_start();
    int fds[2];
    char byte;
    check_eq(pipe(fds), 0);
    check_eq(write(fds[1], "x", 1), 1);
    pipe_watch watching = {
        .watch = {.fd = fds[0], .calls = &ferry__calls_real, .ready = note_ready},
        .mail = {.deliver = arm},
        .owner = owner};
    ferry__owner_post(owner, &watching.mail);
    await_calls(&watching, 1);
    ferry__owner_post(owner, &watching.mail); /* it is still there: told again, once armed again */
    await_calls(&watching, 2);
    check_eq(read(fds[0], &byte, 1), 1);
    ferry__owner_post(owner, &watching.mail); /* now there is nothing: told of what comes */
    check_eq(write(fds[1], "y", 1), 1);
    await_calls(&watching, 3);
    close(fds[0]); /* the only copy: which takes it out of the epoll set */
    close(fds[1]);
    owner_end(owner);
    check_eq(atomic_load(&watching.calls), 3);
}

/* ---- buffers --------------------------------------------------------------------------------- */

/* Gives back what it has taken, and takes it again. */
static void take_buffers(ferry__mail *, bool)
{
    void *first = ferry__buffer_take(), *second = ferry__buffer_take();
    memset(first, 1, FERRY__BUFFER_ROOM); /* all of it is there */
    memset(second, 1, FERRY__BUFFER_ROOM);
    ferry__buffer_give_back(first);
    ferry__buffer_give_back(second);
    unsigned long made = allocations_made();
    check(ferry__buffer_take() == second);
    check(ferry__buffer_take() == first);
    check_eq(allocations_made(), made);
    ferry__buffer_give_back(first);
    ferry__buffer_give_back(second);
    ferry__buffer_give_back(NULL);
}

/* What it keeps goes with it: the harness counts. */
PROMISE(owner, thread_keeps_buffers_that_it_gives_back)
{
    ferry__owner *owner = owner_start();
    ferry__mail mail = {.deliver = take_buffers};
    ferry__owner_post(owner, &mail);
    owner_end(owner);
}

static void keep_a_buffer(ferry__mail *, bool)
{
    ferry__buffer_give_back(ferry__buffer_take());
}

static void fire_nothing(ferry__timer *timer)
{
    (void)timer;
}

/* Comes again until the round in which the buffer was kept is over. */
static void ask_for_timer(ferry__mail *mail, bool)
{
    ferry__owner *owner = ferry__thread_current()->owner;
    if (!ferry__timer_is_set(&owner->spares_timer)) {
        ferry__owner_post(owner, mail);
        return;
    }
    int64_t due = owner->spares_timer.deadline;
    check_eq(ferry__owner_next_timer(owner), FERRY__NEVER);
    ferry__timer other = {.fire = fire_nothing};
    ferry__timers_set(&owner->timers, &other, due + 1);
    check_eq(ferry__owner_next_timer(owner), due + 1);
    ferry__timers_set(&owner->timers, &other, due - 1);
    check_eq(ferry__owner_next_timer(owner), due - 1);
    ferry__timers_cancel(&owner->timers, &other);
    check(ferry__timer_is_set(&owner->spares_timer));
    check_eq(owner->spares_timer.deadline, due);
    ferry__owner_release(owner);
}

PROMISE(owner, call_that_waits_is_not_cut_short_for_spare_memory)
{
    ferry__owner *owner = owner_start();
    ferry__owner_hold(owner);
    ferry__mail keep = {.deliver = keep_a_buffer}, ask = {.deliver = ask_for_timer};
    ferry__owner_post(owner, &keep);
    ferry__owner_post(owner, &ask);
    owner_end(owner);
}

static void park(ferry__mail *, bool)
{
    size_t large = 1 << 20, small = 100, medium = 300000;
    void *first = ferry__parking_take(&large);
    ferry__parking_give_back(first, large);
    void *second = ferry__parking_take(&small);
    check(second != first); /* it would be wasted */
    check_eq(small, 100);
    ferry__parking_give_back(second, small); /* too little to be kept */
    void *third = ferry__parking_take(&medium);
    check(third != first);
    ferry__parking_give_back(third, medium); /* less than what is there */
    unsigned long made = allocations_made();
    size_t about = 600000;
    check(ferry__parking_take(&about) == first);
    check_eq(about, large);
    check_eq(allocations_made(), made);
    ferry__parking_give_back(first, about);
    ferry__parking_give_back(NULL, 0);
}

/* What it keeps goes with it: the harness counts. */
PROMISE(owner, thread_parks_the_largest_block_for_what_needs_half_of_it_or_more)
{
    ferry__owner *owner = owner_start();
    ferry__mail mail = {.deliver = park};
    ferry__owner_post(owner, &mail);
    owner_end(owner);
}

PROMISE(owner, thread_that_is_no_owners_frees_buffers)
{
    void *buffer = ferry__buffer_take();
    check(buffer != NULL);
    ferry__buffer_give_back(buffer);
    fail_allocation(1);
    check(ferry__buffer_take() == NULL);
    allow_allocations();
}

/* ---- mail to oneself ------------------------------------------------------------------------- */

static atomic_uint rings; /* by owners */

WRAPPED(void, ferry__wake_ring, (ferry__wake * wake, ferry__bed bed))
{
    if (ferry__thread_current()->owner != NULL)
        atomic_fetch_add(&rings, 1);
    __real_ferry__wake_ring(wake, bed);
}

/* A task posts one mail, and that, which comes when the owner has announced that it sleeps, the
 * other. */
static struct {
    ferry__mail begin, one, other;
    ferry__task task;
    ferry__owner *owner;
    atomic_bool has_come;
} echo;

static void come_back(ferry__mail *, bool)
{
    atomic_store(&echo.has_come, true);
}

static void post_other(ferry__mail *, bool)
{
    echo.other.deliver = come_back;
    ferry__owner_post(echo.owner, &echo.other);
}

static ferry__turn post_one(ferry__task *)
{
    echo.one.deliver = post_other;
    ferry__owner_let_gather(echo.owner); /* it does not look out for it */
    ferry__owner_post(echo.owner, &echo.one);
    return FERRY__TURN_OVER;
}

static void schedule_it(ferry__mail *, bool)
{
    echo.task.turn = post_one;
    ferry__owner_schedule(echo.owner, &echo.task);
}

PROMISE(owner, one_that_posts_to_itself_wakes_nobody_and_misses_nothing)
{
    echo.owner = owner_start();
    echo.begin.deliver = schedule_it;
    ferry__owner_post(echo.owner, &echo.begin);
    while (!atomic_load(&echo.has_come))
        (void)sched_yield();
    owner_end(echo.owner);
    check_eq(atomic_load(&rings), 0);
}

/* How often it was asked for. */
typedef struct way_out {
    ferry__exit exit;
    unsigned asked;
} way_out;

static void come_out(ferry__exit *exit)
{
    ((way_out *)(void *)exit)->asked++;
}

/* As a generator does that is asked for bytes before the call is made. */
static ferry__turn post_before_call(ferry__task *)
{
    way_out out = {.exit.get_out = come_out};
    check(ferry__owner_enter_call(echo.owner, &out.exit));
    echo.other.deliver = come_back;
    ferry__owner_post(echo.owner, &echo.other);
    check_eq(out.asked, 1);
    check(ferry__owner_leave_call(echo.owner));
    return FERRY__TURN_OVER;
}

static void schedule_call(ferry__mail *, bool)
{
    echo.task.turn = post_before_call;
    ferry__owner_schedule(echo.owner, &echo.task);
}

PROMISE(owner, one_that_posts_to_itself_when_it_is_about_to_wait_in_a_call_gets_out)
{
    ferry__owner *front = owner_start();
    check_eq(ferry__owner_create("ferry-dedicated", 0, front, &ferry__calls_real, &echo.owner), 0);
    echo.begin.deliver = schedule_call;
    ferry__owner_post(echo.owner, &echo.begin);
    while (!atomic_load(&echo.has_come))
        (void)sched_yield();
    supervised_end(echo.owner);
    owner_end(front);
}
