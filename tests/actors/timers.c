/* SPDX-License-Identifier: MIT */
#include "actors/timers.h"

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
    check(!timer->set);
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
