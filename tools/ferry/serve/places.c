/* SPDX-License-Identifier: MIT */
#include "places.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { LOOKED_AT = 1024 }; /* connections, for the longest idle one: a few microseconds */

TAILQ_HEAD(line, seat);

struct places {
    struct server *server;
    unsigned limit;       /* 0: none */
    pthread_mutex_t lock; /* of what follows */
    struct line taken;    /* connections that have a place */
    struct line waiting;  /* those that have none yet, first come first */
    unsigned count;       /* of taken */
    unsigned asked;       /* how many of taken are asked to leave */
    atomic_uint waits;    /* how many wait: looked at without the lock */
};

struct places *places_create(struct server *server, unsigned limit)
{
    struct places *places = calloc(1, sizeof *places);
    if (places == NULL)
        return NULL;
    places->server = server;
    places->limit = limit;
    TAILQ_INIT(&places->taken);
    TAILQ_INIT(&places->waiting);
    (void)pthread_mutex_init(&places->lock, NULL);
    return places;
}

void places_free(struct places *places)
{
    if (places == NULL)
        return;
    (void)pthread_mutex_destroy(&places->lock);
    free(places);
}

struct server *places_server(const struct places *places)
{
    return places->server;
}

unsigned places_limit(const struct places *places)
{
    return places->limit;
}

size_t places_count_unfinished(struct places *places)
{
    const struct seat *seat;
    size_t count = 0;
    (void)pthread_mutex_lock(&places->lock);
    TAILQ_FOREACH(seat, &places->taken, line)
    count += seat->calls->has_answers(seat);
    (void)pthread_mutex_unlock(&places->lock);
    return count;
}

/* ---- who is to leave ------------------------------------------------------------------------- */

static bool is_longer_idle(struct seat *seat, const struct seat *best, int64_t best_ns)
{
    int64_t since_ns = atomic_load(&seat->idle_since_ns);
    return !seat->is_asked && since_ns != 0 && (best == NULL || since_ns < best_ns);
}

/* Connections that were looked at go to the end, so that the others have their turn, too. */
static struct seat *find_longest_idle(struct places *places, int64_t *ret_since_ns)
{
    struct seat *best = NULL;
    for (unsigned i = 0; i < places->count && i < LOOKED_AT; i++) {
        struct seat *seat = TAILQ_FIRST(&places->taken);
        TAILQ_REMOVE(&places->taken, seat, line);
        TAILQ_INSERT_TAIL(&places->taken, seat, line);
        if (!is_longer_idle(seat, best, *ret_since_ns))
            continue;
        best = seat;
        *ret_since_ns = atomic_load_explicit(&seat->idle_since_ns, memory_order_relaxed);
    }
    return best;
}

/* Asks as many to leave as wait, if there are so many. */
static void ask_to_leave(struct places *places)
{
    while (places->asked < atomic_load(&places->waits)) {
        int64_t since_ns = 0;
        struct seat *seat = find_longest_idle(places, &since_ns);
        if (seat == NULL)
            return;
        seat->is_asked = true;
        seat->asked_ns = since_ns;
        places->asked++;
        seat->calls->ask_to_leave(seat);
    }
}

bool places_is_to_leave(struct seat *seat)
{
    return atomic_load_explicit(&seat->idle_since_ns, memory_order_relaxed) == seat->asked_ns;
}

static void forget_asking(struct places *places, struct seat *seat)
{
    places->asked -= seat->is_asked;
    seat->is_asked = false;
}

void places_stay(struct seat *seat)
{
    struct places *places = seat->places;
    (void)pthread_mutex_lock(&places->lock);
    forget_asking(places, seat);
    ask_to_leave(places);
    (void)pthread_mutex_unlock(&places->lock);
}

void places_is_idle(struct seat *seat)
{
    enum { TIMES = 1024 }; /* in nanoseconds a moment, and more than fit in one tick */
    struct places *places = seat->places;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    int64_t now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + 1;
    /* S0: an idle connection says so before it looks whether anybody waits. */
    atomic_store(&seat->idle_since_ns, now_ns + seat->times++ % TIMES);
    if (atomic_load(&places->waits) == 0)
        return;
    (void)pthread_mutex_lock(&places->lock);
    ask_to_leave(places);
    (void)pthread_mutex_unlock(&places->lock);
}

/* ---- coming and going ------------------------------------------------------------------------ */

static void take(struct places *places, struct seat *seat)
{
    seat->is_taken = true;
    places->count++;
    TAILQ_INSERT_TAIL(&places->taken, seat, line);
}

static void wait_in_line(struct places *places, struct seat *seat)
{
    TAILQ_INSERT_TAIL(&places->waiting, seat, line);
    atomic_fetch_add(&places->waits, 1); /* before it looks for idle ones: pairs with S0 */
    ask_to_leave(places);
}

static void take_out_of_line(struct places *places, struct seat *seat)
{
    TAILQ_REMOVE(&places->waiting, seat, line);
    atomic_fetch_sub(&places->waits, 1);
}

bool places_enter(struct places *places, struct seat *seat, const struct seat_calls *calls)
{
    seat->calls = calls;
    seat->places = places;
    (void)pthread_mutex_lock(&places->lock);
    bool has_place = places->limit == 0 || places->count < places->limit;
    if (has_place)
        take(places, seat);
    else
        wait_in_line(places, seat);
    (void)pthread_mutex_unlock(&places->lock);
    return has_place;
}

static void seat_next(struct places *places)
{
    struct seat *seat = TAILQ_FIRST(&places->waiting);
    if (seat == NULL)
        return;
    take_out_of_line(places, seat);
    take(places, seat);
    seat->calls->be_seated(seat);
}

void places_leave(struct seat *seat)
{
    struct places *places = seat->places;
    if (places == NULL)
        return;
    (void)pthread_mutex_lock(&places->lock);
    if (seat->is_taken) {
        TAILQ_REMOVE(&places->taken, seat, line);
        places->count--;
        forget_asking(places, seat); /* its answer may still come */
        seat_next(places);
    } else {
        take_out_of_line(places, seat);
    }
    (void)pthread_mutex_unlock(&places->lock);
}
