/* SPDX-License-Identifier: MIT */
#include "actors/worker.h"

#include "core/clock.h"
#include "core/handover.h"
#include "core/wake.h"

/*
 * Connections that come and go are mostly few at a time for each thread that accepts them. Where
 * many come at once, the next ones may come as soon. A worker that sleeps takes 8 KiB of memory,
 * and 16 KiB of the kernel's. To dismiss one takes some 50 us, in which nothing is accepted.
 */
enum { KEPT_FOR_LONG = 16, MOST_KEPT = 256, DISMISSED_AT_ONCE = 8 };

/* ferry__worker.order */
enum { WAIT, HIRED, DISMISSED };

/* H0. The worker may be gone before it is woken: then nobody is. */
static void give_order(ferry__worker *worker, unsigned order)
{
    ferry__handed_over(worker);
    atomic_store(&worker->order, order);
    ferry__futex_wake_all(&worker->order);
}

void ferry__worker_dismiss(ferry__worker *worker)
{
    pthread_t thread = worker->thread;
    give_order(worker, DISMISSED);
    (void)pthread_join(thread, NULL);
}

bool ferry__crew_keep(ferry__crew *crew, ferry__worker *worker)
{
    if (crew->count < MOST_KEPT) {
        worker->next = crew->first;
        crew->first = worker;
        crew->count++;
    } else {
        ferry__worker_dismiss(worker);
    }
    return crew->count > KEPT_FOR_LONG;
}

static ferry__worker *take_first(ferry__crew *crew)
{
    ferry__worker *worker = crew->first;
    if (worker != NULL) {
        crew->first = worker->next;
        crew->count--;
        if (crew->fewest > crew->count)
            crew->fewest = crew->count;
    }
    return worker;
}

bool ferry__crew_look(ferry__crew *crew)
{
    unsigned many = crew->fewest > KEPT_FOR_LONG ? crew->fewest - KEPT_FOR_LONG : 0;
    if (many > DISMISSED_AT_ONCE)
        many = DISMISSED_AT_ONCE;
    for (; many > 0; many--)
        ferry__worker_dismiss(take_first(crew));
    crew->fewest = crew->count;
    return crew->count > KEPT_FOR_LONG;
}

bool ferry__crew_hire(ferry__crew *crew, struct ferry__owner *owner)
{
    ferry__worker *worker = take_first(crew);
    if (worker == NULL)
        return false;
    worker->owner = owner;
    give_order(worker, HIRED);
    return true;
}

void ferry__crew_dismiss(ferry__crew *crew)
{
    for (ferry__worker *worker; (worker = take_first(crew)) != NULL;)
        ferry__worker_dismiss(worker);
}

struct ferry__owner *ferry__worker_await(ferry__worker *worker)
{
    unsigned order;
    while ((order = atomic_load(&worker->order)) == WAIT) /* H1 */
        ferry__futex_wait(&worker->order, WAIT, FERRY__NEVER);
    ferry__taken_over(worker);
    atomic_store(&worker->order, WAIT);
    return order == HIRED ? worker->owner : NULL;
}
