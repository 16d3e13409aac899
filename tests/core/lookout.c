/* SPDX-License-Identifier: MIT */
/* Looking out before a sleep. */
#include "core/lookout.h"
#include "tests/harness.h"

static bool never(void *context)
{
    ++*(unsigned *)context;
    return false;
}

static bool at_once(void *context)
{
    ++*(unsigned *)context;
    return true;
}

/* Whether it looked. */
static bool looks(ferry__lookout *lookout, bool (*has_come)(void *context))
{
    unsigned calls = 0;
    bool came = ferry__lookout_look(lookout, 1, has_come, &calls);
    check_eq(came, calls > 0 && has_come == at_once);
    return calls > 0;
}

/* How many are left out before the next one. */
static unsigned count_left_out(ferry__lookout *lookout, bool (*has_come)(void *context))
{
    unsigned count = 0;
    while (!looks(lookout, has_come))
        count++;
    return count;
}

PROMISE(lookout, more_and_more_are_left_out_while_they_are_in_vain_but_not_all)
{
    ferry__lookout lookout = {0};
    for (unsigned expected = 0; expected < 255; expected = 2 * expected + 1)
        check_eq(count_left_out(&lookout, never), expected);
    for (unsigned i = 0; i < 3; i++)
        check_eq(count_left_out(&lookout, never), 255);
}

PROMISE(lookout, fewer_are_left_out_once_they_are_not_in_vain)
{
    ferry__lookout lookout = {0};
    for (unsigned i = 0; i < 20; i++)
        (void)count_left_out(&lookout, never);
    for (unsigned expected = 255; expected > 0; expected /= 2)
        check_eq(count_left_out(&lookout, at_once), expected);
    check_eq(count_left_out(&lookout, at_once), 0);
}
