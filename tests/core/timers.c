/* SPDX-License-Identifier: MIT */
#include "core/timers.h"

#include "core/clock.h"
#include "tests/harness.h"

typedef struct alarm_clock {
    ferry__timer timer;
    ferry__timers *timers;
    unsigned number;
    bool again; /* sets itself once more when it fires */
} alarm_clock;

static unsigned fired[16], fired_count;

static void ring(ferry__timer *timer)
{
    alarm_clock *self = (alarm_clock *)timer;
    check(!ferry__timer_is_set(timer));
    fired[fired_count++] = self->number;
    if (self->again) {
        self->again = false;
        ferry__timers_set(self->timers, timer, FERRY__NEVER - 1);
    }
}

PROMISE(timers, due_timers_fire_in_the_order_of_their_deadlines)
{
    ferry__timers timers = {0};
    static const int64_t deadlines[] = {50, 20, 90, 20, 10};
    static const unsigned expected[] = {4, 1, 3, 0, 2}; /* equal ones in the order of setting */
    alarm_clock clocks[5];
    for (unsigned i = 0; i < 5; i++) {
        clocks[i] = (alarm_clock){.timer = {.fire = ring}, .timers = &timers, .number = i};
        ferry__timers_set(&timers, &clocks[i].timer, deadlines[i]);
    }
    check_eq(ferry__timers_nearest(&timers), 10);
    ferry__timers_fire(&timers);
    check_eq(fired_count, 5);
    for (unsigned i = 0; i < 5; i++)
        check_eq(fired[i], expected[i]);
    check_eq(ferry__timers_nearest(&timers), FERRY__NEVER);
}

PROMISE(timers, timers_that_are_not_due_cancelled_or_moved_away_do_not_fire)
{
    ferry__timers timers = {0};
    alarm_clock clocks[4];
    for (unsigned i = 0; i < 4; i++) {
        clocks[i] = (alarm_clock){.timer = {.fire = ring}, .timers = &timers, .number = i};
        ferry__timers_set(&timers, &clocks[i].timer, 10 + i);
    }
    ferry__timers_cancel(&timers, &clocks[0].timer);
    ferry__timers_cancel(&timers, &clocks[0].timer);
    ferry__timers_set(&timers, &clocks[1].timer, FERRY__NEVER - 5);
    ferry__timers_cancel(&timers, &clocks[3].timer);
    ferry__timers_fire(&timers);
    check_eq(fired_count, 1);
    check_eq(fired[0], 2);
    check_eq(ferry__timers_nearest(&timers), FERRY__NEVER - 5);
}

PROMISE(timers, timer_may_set_itself_again_when_it_fires)
{
    ferry__timers timers = {0};
    alarm_clock one = {.timer = {.fire = ring}, .timers = &timers, .again = true};
    ferry__timers_set(&timers, &one.timer, 1);
    ferry__timers_fire(&timers);
    check_eq(fired_count, 1);
    check_eq(ferry__timers_nearest(&timers), FERRY__NEVER - 1);
}

/* ---- against a model ------------------------------------------------------------------------- */

enum { MODELLED = 200, MODEL_STEPS = 20000 };

typedef struct modelled {
    ferry__timer timer;
    int64_t deadline; /* what the model says of it, as the next two */
    unsigned order;
    bool set;
} modelled;

/* The timers, and all that is known of them without a heap. */
static struct model {
    ferry__timers timers;
    modelled each[MODELLED];
    unsigned settings;
    uint64_t random;
} model;

static uint64_t any_below(uint64_t limit)
{
    return random_next(&model.random) % limit;
}

static modelled *any(void)
{
    return &model.each[any_below(MODELLED)];
}

/* A few deadlines that all have come, or a few that never do: many are equal. */
static int64_t past(void)
{
    return (int64_t)any_below(20);
}

static int64_t future(void)
{
    return FERRY__NEVER - 1 - (int64_t)any_below(20);
}

static void set(modelled *one, int64_t deadline)
{
    one->deadline = deadline;
    one->order = model.settings++;
    one->set = true;
    ferry__timers_set(&model.timers, &one->timer, deadline);
}

static void cancel(modelled *one)
{
    one->set = false;
    ferry__timers_cancel(&model.timers, &one->timer);
}

static modelled *expected_next(void)
{
    modelled *next = NULL;
    for (modelled *one = model.each; one < model.each + MODELLED; one++)
        if (one->set && (next == NULL || one->deadline < next->deadline ||
                         (one->deadline == next->deadline && one->order < next->order)))
            next = one;
    return next;
}

static void check_nearest(void)
{
    const modelled *next = expected_next();
    check_eq(ferry__timers_nearest(&model.timers), next != NULL ? next->deadline : FERRY__NEVER);
}

/* Fires as expected, then meddles with others, which may be due in the same batch. */
static void fire_modelled(ferry__timer *timer)
{
    modelled *self = (modelled *)timer;
    check(self == expected_next());
    check(!ferry__timer_is_set(timer));
    self->set = false;
    switch (any_below(6)) {
    case 0:
        set(self, future());
        break;
    case 1:
        set(any(), past());
        break;
    case 2:
        set(any(), future());
        break;
    case 3:
        cancel(any());
        cancel(any());
        break;
    default:
        break;
    }
    check_nearest();
}

PROMISE(timers, any_mix_of_setting_cancelling_and_firing_does_what_a_plain_list_would)
{
    model.random = random_seed();
    for (unsigned i = 0; i < MODELLED; i++)
        model.each[i].timer.fire = fire_modelled;
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        uint64_t what = any_below(100);
        if (what < 50)
            set(any(), past());
        else if (what < 70)
            set(any(), future());
        else if (what < 99)
            cancel(any());
        else
            ferry__timers_fire(&model.timers);
        check_nearest();
    }
    ferry__timers_fire(&model.timers);
    const modelled *next = expected_next();
    check(next == NULL || next->deadline > ferry__clock_now());
}

/* ---- many ------------------------------------------------------------------------------------ */

enum { MANY = 100000 };

static const alarm_clock *rung_last;
static unsigned rung_count;

static void ring_in_order(ferry__timer *timer)
{
    const alarm_clock *self = (const alarm_clock *)timer;
    check(rung_last == NULL || rung_last->timer.deadline < timer->deadline ||
          (rung_last->timer.deadline == timer->deadline && rung_last->number < self->number));
    rung_last = self;
    rung_count++;
}

PROMISE(timers, hundred_thousand_timers_in_any_order_fire_in_theirs)
{
    ferry__timers timers = {0};
    uint64_t random = random_seed();
    alarm_clock *clocks = calloc(MANY, sizeof *clocks);
    check(clocks != NULL);
    for (unsigned i = 0; i < MANY; i++) {
        clocks[i].number = i;
        clocks[i].timer.fire = ring_in_order;
        ferry__timers_set(&timers, &clocks[i].timer, (int64_t)(random_next(&random) % MANY));
    }
    for (unsigned i = 0; i < MANY; i += 2)
        ferry__timers_cancel(&timers, &clocks[i].timer);
    ferry__timers_fire(&timers);
    check_eq(rung_count, MANY / 2);
    check_eq(ferry__timers_nearest(&timers), FERRY__NEVER);
    free(clocks);
}

PROMISE(timers, deadlines_that_cannot_come_are_never)
{
    check_eq(ferry__clock_deadline(-1), FERRY__NEVER);
    check_eq(ferry__clock_deadline(INT64_MAX), FERRY__NEVER);
    check_eq(ferry__clock_deadline(INT64_MAX / 1000000), FERRY__NEVER);
    int64_t soon = ferry__clock_deadline(1000);
    check(soon > ferry__clock_now() && soon <= ferry__clock_now() + FERRY__NS_PER_S);
    struct timespec left = ferry__clock_left(ferry__clock_now() - 5);
    check(left.tv_sec == 0 && left.tv_nsec == 0);
}
