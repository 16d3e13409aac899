/* SPDX-License-Identifier: MIT */
#include "core/timers.h"

#include "core/clock.h"

#include <stddef.h>

static bool is_nearer(const ferry__timer *one, const ferry__timer *other)
{
    return one->deadline < other->deadline ||
           (one->deadline == other->deadline && one->order < other->order);
}

/* Hangs a heap, which may be empty, where *referrer is. */
static void hang(ferry__timer **referrer, ferry__timer *root)
{
    *referrer = root;
    if (root != NULL)
        root->referrer = referrer;
}

/* Puts one heap below the other's root. Neither is empty, or has siblings. */
static ferry__timer *meld(ferry__timer *one, ferry__timer *other)
{
    ferry__timer *upper = is_nearer(other, one) ? other : one;
    ferry__timer *lower = upper == one ? other : one;
    hang(&lower->sibling, upper->child);
    hang(&upper->child, lower);
    return upper;
}

/* Takes the first heap off a list of siblings. */
static ferry__timer *take_first(ferry__timer **siblings)
{
    ferry__timer *first = *siblings;
    *siblings = first->sibling;
    first->sibling = NULL;
    return first;
}

/*
 * Makes one heap of a list of siblings: in pairs from the first to the last, then the pairs from
 * the last to the first, which is what the amortised costs rest on. Loops, since there may be as
 * many siblings as timers.
 */
static ferry__timer *meld_siblings(ferry__timer *siblings)
{
    ferry__timer *pairs = NULL; /* the last one first */
    while (siblings != NULL) {
        ferry__timer *pair = take_first(&siblings);
        if (siblings != NULL)
            pair = meld(pair, take_first(&siblings));
        pair->sibling = pairs;
        pairs = pair;
    }
    if (pairs == NULL)
        return NULL;
    ferry__timer *root = take_first(&pairs);
    while (pairs != NULL)
        root = meld(root, take_first(&pairs));
    return root;
}

void ferry__timers_set(ferry__timers *timers, ferry__timer *timer, int64_t deadline)
{
    ferry__timers_cancel(timers, timer);
    timer->deadline = deadline;
    timer->order = timers->settings++;
    timer->child = NULL;
    timer->sibling = NULL;
    hang(&timers->root, timers->root != NULL ? meld(timers->root, timer) : timer);
}

void ferry__timers_cancel(ferry__timers *timers, ferry__timer *timer)
{
    if (!ferry__timer_is_set(timer))
        return;
    hang(timer->referrer, timer->sibling);
    timer->referrer = NULL;
    ferry__timer *below = meld_siblings(timer->child);
    if (below != NULL)
        hang(&timers->root, timers->root != NULL ? meld(timers->root, below) : below);
}

int64_t ferry__timers_nearest(const ferry__timers *timers)
{
    return timers->root != NULL ? timers->root->deadline : FERRY__NEVER;
}

void ferry__timers_fire(ferry__timers *timers)
{
    if (timers->root == NULL)
        return;
    int64_t now = ferry__clock_now();
    while (timers->root != NULL && timers->root->deadline <= now) {
        ferry__timer *due = timers->root;
        ferry__timers_cancel(timers, due);
        due->fire(due);
    }
}
