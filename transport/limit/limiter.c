/* SPDX-License-Identifier: MIT */
#include "transport/limit/limiter.h"

#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "core/reserved.h"
#include "core/sum.h"
#include "core/thread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

/* Where on a track, in nano-bytes: rate times time without rounding, and room for 292 years of it.
 * */
typedef __int128 position;

#define NANO ((position)FERRY__NS_PER_S)

/* Before any position that a track comes to: all of the burst is there. */
#define LONG_AGO (-((position)1 << 120))

#define MOST_BYTES (UINT64_C(1) << 50)

enum {
    /* A waiting stream looks at least this often, so that it hears of new rates. */
    LOOK_NS = 50 * FERRY__NS_PER_MS,

    /* How often each member of a track has its turn: seldom enough to cost nothing, often enough
     * for an even flow. Many members have turns less often, so that there is one turn in SPACING_NS
     * at most; but not less often than they look anyway. */
    ROUND_NS = 20 * FERRY__NS_PER_MS,
    SPACING_NS = 1 * FERRY__NS_PER_MS,
    LONGEST_ROUND_NS = LOOK_NS,

    /* The default burst: a turn. The least: as long as a thread may wake late, to keep the rate. */
    BURST_NS = ROUND_NS,
    LEAST_BURST_NS = 5 * FERRY__NS_PER_MS,

    /* More at once would not cost less, and a stream that stalls keeps it from others. */
    LARGEST_QUANTUM = 1024 * 1024
};

struct ferry_limiter {
    atomic_uint refs; /* any thread */

    /* Set when it is made. */
    uint32_t generation;   /* of the process that made it (core/thread.h) */
    unsigned depth;        /* how many parents it has, one above the other */
    ferry_limiter *parent; /* a reference; NULL: none */

    /* Written under the mutex, read by any thread. */
    _Atomic uint64_t bytes_per_s; /* 0: unlimited, and there is no track */
    atomic_uint era;              /* how often the rate was changed */

    pthread_mutex_t mutex;

    /* Under the mutex. */
    uint64_t burst_bytes; /* at least 1 where there is a track, else 0 */
    uint64_t members;     /* allotments that have asked, and not returned */
    uint64_t waiting;     /* bytes that are reserved and have not had their turn */
    int64_t track_began;  /* when allowed was 0 */
    position reserved;    /* how far the track is given out */
};

/* ---- a track: all under its mutex ------------------------------------------------------------ */

static uint64_t rate_of(const ferry_limiter *limiter)
{
    return atomic_load_explicit(&limiter->bytes_per_s, memory_order_relaxed);
}

static uint32_t era_of(const ferry_limiter *limiter)
{
    return atomic_load_explicit(&limiter->era, memory_order_relaxed);
}

static position nano_bytes(uint64_t bytes)
{
    return (position)bytes * NANO;
}

static position larger(position one, position other)
{
    return one > other ? one : other;
}

static position smaller(position one, position other)
{
    return one < other ? one : other;
}

static position allowed_at(const ferry_limiter *limiter, int64_t now)
{
    return (position)(now - limiter->track_began) * rate_of(limiter);
}

/* Reserves the next bytes of the track. @return when their turn comes. */
static int64_t track_reserve(ferry_limiter *limiter, uint64_t bytes, int64_t now)
{
    uint64_t rate = rate_of(limiter);
    if (rate == 0)
        return now;
    position allowed = allowed_at(limiter, now);
    position start = larger(limiter->reserved, allowed - nano_bytes(limiter->burst_bytes));
    limiter->reserved = start + nano_bytes(bytes);
    limiter->waiting += bytes;
    if (limiter->reserved <= allowed)
        return now;
    position wait = (limiter->reserved - allowed + rate - 1) / rate;
    return wait < FERRY__NEVER - now ? now + (int64_t)wait : FERRY__NEVER;
}

/* Moves what is given out: ahead by bytes that were moved unasked, back by those not used. */
static void track_shift(ferry_limiter *limiter, position by)
{
    if (rate_of(limiter) != 0)
        limiter->reserved += by;
}

static void track_stop_waiting(ferry_limiter *limiter, uint64_t bytes)
{
    if (rate_of(limiter) != 0)
        limiter->waiting -= bytes;
}

/* How far the bytes that had their turn are ahead of allowed; less than 0: some burst is left. */
static position track_lead(const ferry_limiter *limiter, int64_t now)
{
    position had_its_turn = limiter->reserved - nano_bytes(limiter->waiting);
    return larger(had_its_turn - allowed_at(limiter, now), -nano_bytes(limiter->burst_bytes));
}

static void track_restart(ferry_limiter *limiter, uint64_t bytes_per_s, uint64_t burst_bytes,
                          int64_t now)
{
    uint64_t before = rate_of(limiter);
    position lead = track_lead(limiter, now);
    if (bytes_per_s == 0)
        lead = 0;
    else if (lead > 0 && bytes_per_s < before)
        lead = lead / before * bytes_per_s; /* it takes as long to make up for as before */
    limiter->track_began = now;
    limiter->reserved = lead;
    limiter->waiting = 0;
    limiter->burst_bytes = burst_bytes;
    atomic_store_explicit(&limiter->bytes_per_s, bytes_per_s, memory_order_relaxed);
    atomic_fetch_add_explicit(&limiter->era, 1, memory_order_relaxed);
}

/* ---- limiters -------------------------------------------------------------------------------- */

static bool are_in_range(uint64_t bytes_per_s, uint64_t burst_bytes)
{
    return bytes_per_s <= MOST_BYTES && burst_bytes <= MOST_BYTES;
}

static uint64_t bytes_in(uint64_t bytes_per_s, int64_t span_ns)
{
    return (uint64_t)((position)bytes_per_s * span_ns / NANO);
}

/* The burst that an option of so many bytes asks for. */
static uint64_t effective_burst(uint64_t bytes_per_s, uint64_t asked)
{
    if (bytes_per_s == 0)
        return 0;
    uint64_t least = bytes_in(bytes_per_s, asked == 0 ? BURST_NS : LEAST_BURST_NS);
    uint64_t burst = asked > least ? asked : least;
    return burst > 0 ? burst : 1;
}

bool ferry__limiter_is_foreign(const ferry_limiter *limiter)
{
    return limiter->generation != ferry__process_generation();
}

static int check_parent(const ferry_limiter *parent)
{
    if (parent == NULL)
        return 0;
    if (ferry__limiter_is_foreign(parent))
        return -ECHILD;
    return parent->depth + 1 < FERRY__LIMITER_DEPTH ? 0 : -EINVAL;
}

int ferry_limiter_create(const ferry_limiter_options *options, ferry_limiter **ret_limiter)
{
    static const ferry_limiter_options defaults = {0};
    if (options == NULL)
        options = &defaults;
    if (ret_limiter == NULL || !are_in_range(options->bytes_per_s, options->burst_bytes))
        return -EINVAL;
    if (FERRY__IS_NEWER(options))
        return -E2BIG;
    int error = check_parent(options->parent);
    if (error != 0)
        return error;
    ferry_limiter *limiter = ferry__allocate_zeroed(sizeof *limiter);
    if (limiter == NULL)
        return -ENOMEM;
    atomic_init(&limiter->refs, 1);
    limiter->generation = ferry__process_generation();
    limiter->parent = ferry_limiter_ref(options->parent);
    limiter->depth = limiter->parent != NULL ? limiter->parent->depth + 1 : 0;
    atomic_init(&limiter->bytes_per_s, options->bytes_per_s);
    limiter->burst_bytes = effective_burst(options->bytes_per_s, options->burst_bytes);
    limiter->reserved = LONG_AGO;
    (void)pthread_mutex_init(&limiter->mutex, NULL); /* cannot fail on Linux */
    *ret_limiter = limiter;
    return 0;
}

int ferry__limiter_set_rate_at(ferry_limiter *limiter, uint64_t bytes_per_s, uint64_t burst_bytes,
                               int64_t now)
{
    if (limiter == NULL || !are_in_range(bytes_per_s, burst_bytes))
        return -EINVAL;
    if (ferry__limiter_is_foreign(limiter))
        return -ECHILD;
    uint64_t burst = effective_burst(bytes_per_s, burst_bytes);
    pthread_mutex_lock(&limiter->mutex);
    if (rate_of(limiter) != bytes_per_s || limiter->burst_bytes != burst)
        track_restart(limiter, bytes_per_s, burst, now);
    pthread_mutex_unlock(&limiter->mutex);
    return 0;
}

int ferry_limiter_set_rate(ferry_limiter *limiter, uint64_t bytes_per_s, uint64_t burst_bytes)
{
    return ferry__limiter_set_rate_at(limiter, bytes_per_s, burst_bytes, ferry__clock_now());
}

ferry_limiter *ferry_limiter_ref(ferry_limiter *limiter)
{
    if (limiter != NULL)
        atomic_fetch_add_explicit(&limiter->refs, 1, memory_order_relaxed);
    return limiter;
}

/* Gives one reference back. @return the parent to go on with, if it was the last. */
static ferry_limiter *unref_one(ferry_limiter *limiter)
{
    unsigned before = ferry__refs_drop(&limiter->refs);
    assert(before > 0 && "ferry_limiter_unref: more references given back than taken");
    if (before != 1)
        return NULL;
    assert(limiter->members == 0 && "a stream gives its allotment back before its limiter");
    ferry_limiter *parent = limiter->parent;
    (void)pthread_mutex_destroy(&limiter->mutex);
    ferry__release(limiter);
    return parent;
}

ferry_limiter *ferry_limiter_unref(ferry_limiter *limiter)
{
    while (limiter != NULL)
        limiter = unref_one(limiter);
    return NULL;
}

/* ---- chains ---------------------------------------------------------------------------------- */

/* Any thread, without a mutex. */
static bool is_limited(const ferry_limiter *chain)
{
    for (const ferry_limiter *level = chain; level != NULL; level = level->parent)
        if (rate_of(level) != 0)
            return true;
    return false;
}

static void lock(ferry_limiter *chain)
{
    for (ferry_limiter *level = chain; level != NULL; level = level->parent)
        pthread_mutex_lock(&level->mutex);
}

static void unlock(ferry_limiter *chain)
{
    for (ferry_limiter *level = chain; level != NULL; level = level->parent)
        pthread_mutex_unlock(&level->mutex);
}

/* How often the members of the chain have their turns: by the track with the most. */
static int64_t round_of(const ferry_limiter *chain)
{
    uint64_t most = 0;
    for (const ferry_limiter *level = chain; level != NULL; level = level->parent)
        if (rate_of(level) != 0 && level->members > most)
            most = level->members;
    if (most >= LONGEST_ROUND_NS / SPACING_NS)
        return LONGEST_ROUND_NS;
    int64_t span = (int64_t)most * SPACING_NS;
    return span > ROUND_NS ? span : ROUND_NS;
}

/* The share of one member in what a track gives in a round. */
static position given_by(const ferry_limiter *level, int64_t round)
{
    return (position)rate_of(level) * round / NANO / level->members;
}

/* The share of one member in the burst that is left; less than 0: the track is given out ahead. */
static position left_by(const ferry_limiter *level, int64_t now)
{
    position lead = track_lead(level, now) + nano_bytes(level->waiting);
    return -lead / NANO / level->members;
}

/*
 * How much a stream reserves at once: what the scarcest track of its chain gives it in a round. So
 * a stream with a low limit of its own keeps that limit in a group whose members take more a turn.
 * If every track still has some burst, the stream takes its share of that at once instead. It does
 * not if that share is as little as a thread finds that merely woke late: few turns keep the rate
 * as well as many small ones.
 */
static uint64_t quantum(const ferry_limiter *chain, int64_t now)
{
    int64_t round = round_of(chain);
    position given = LARGEST_QUANTUM, left = LARGEST_QUANTUM;
    for (const ferry_limiter *level = chain; level != NULL; level = level->parent) {
        if (rate_of(level) == 0)
            continue;
        given = smaller(given, given_by(level, round));
        left = smaller(left, left_by(level, now));
    }
    position quantum = left >= given * LEAST_BURST_NS / ROUND_NS ? left : given;
    return quantum > 0 ? (uint64_t)quantum : 1;
}

/* ---- allotments ------------------------------------------------------------------------------ */

/* Whether level is still in the era in which the allotment last reserved. */
static bool is_of_this_era(const ferry__allotment *allotment, const ferry_limiter *level)
{
    return allotment->eras[level->depth] == era_of(level);
}

/* Without a mutex: whether a rate was changed since. */
static bool is_void(const ferry__allotment *allotment)
{
    for (const ferry_limiter *level = allotment->limiter; level != NULL; level = level->parent)
        if (!is_of_this_era(allotment, level))
            return true;
    return false;
}

static void join(ferry__allotment *allotment)
{
    if (allotment->is_member)
        return;
    for (ferry_limiter *level = allotment->limiter; level != NULL; level = level->parent)
        level->members++;
    allotment->is_member = true;
}

/* Gives up its place in each track, and what it was granted. If a track's rate was changed since,
 * neither is there any more. */
static void withdraw(ferry__allotment *allotment)
{
    for (ferry_limiter *level = allotment->limiter; level != NULL; level = level->parent) {
        if (!is_of_this_era(allotment, level))
            continue;
        track_stop_waiting(level, allotment->reserved);
        track_shift(level, -nano_bytes(allotment->reserved) - nano_bytes(allotment->granted));
    }
    allotment->reserved = 0;
    allotment->granted = 0;
}

/* How many bytes it takes to move so many: the debt comes first. */
static uint64_t with_debt(const ferry__allotment *allotment, uint64_t wanted)
{
    return ferry__sum(wanted, allotment->debt);
}

/* Takes a new place in each track of the chain. */
static void reserve(ferry__allotment *allotment, uint64_t wanted, int64_t now)
{
    lock(allotment->limiter);
    join(allotment);
    withdraw(allotment);
    uint64_t most = quantum(allotment->limiter, now), needed = with_debt(allotment, wanted);
    allotment->reserved = needed < most ? needed : most;
    allotment->turn_at = now;
    for (ferry_limiter *level = allotment->limiter; level != NULL; level = level->parent) {
        int64_t turn_at = track_reserve(level, allotment->reserved, now);
        if (turn_at > allotment->turn_at)
            allotment->turn_at = turn_at;
        allotment->eras[level->depth] = era_of(level);
    }
    unlock(allotment->limiter);
}

/* Its turn has come. */
static void take_turn(ferry__allotment *allotment)
{
    lock(allotment->limiter);
    for (ferry_limiter *level = allotment->limiter; level != NULL; level = level->parent) {
        if (is_of_this_era(allotment, level)) {
            track_stop_waiting(level, allotment->reserved);
        } else { /* the rate was changed just now, and the new track does not know of the piece */
            track_shift(level, nano_bytes(allotment->reserved));
            allotment->eras[level->depth] = era_of(level);
        }
    }
    unlock(allotment->limiter);
    uint64_t paid = allotment->debt < allotment->reserved ? allotment->debt : allotment->reserved;
    allotment->debt -= paid;
    allotment->granted = allotment->reserved - paid;
    allotment->reserved = 0;
}

/* Gets a piece that may be moved. @return whether there is one. */
static bool get_granted(ferry__allotment *allotment, uint64_t wanted, int64_t now)
{
    for (;;) {
        bool has_none = allotment->granted == 0 && allotment->reserved == 0;
        if (has_none || is_void(allotment))
            reserve(allotment, wanted, now);
        if (allotment->granted > 0)
            return true;
        if (now < allotment->turn_at)
            return false;
        take_turn(allotment); /* and perhaps again: this one may have paid a debt */
    }
}

uint64_t ferry__allotment_ask(ferry__allotment *allotment, uint64_t wanted, int64_t now,
                              int64_t *ret_when)
{
    assert(wanted > 0);
    allotment->is_free = !is_limited(allotment->limiter);
    if (allotment->is_free) {
        ferry__allotment_return(allotment);
        return wanted;
    }
    if (!get_granted(allotment, wanted, now)) {
        int64_t look = now + LOOK_NS;
        *ret_when = allotment->turn_at < look ? allotment->turn_at : look;
        return 0;
    }
    return wanted < allotment->granted ? wanted : allotment->granted;
}

void ferry__allotment_use(ferry__allotment *allotment, uint64_t bytes)
{
    if (allotment->is_free)
        return;
    uint64_t covered = bytes < allotment->granted ? bytes : allotment->granted;
    allotment->granted -= covered;
    allotment->debt += bytes - covered;
}

void ferry__allotment_return(ferry__allotment *allotment)
{
    if (!allotment->is_member)
        return;
    lock(allotment->limiter);
    withdraw(allotment);
    for (ferry_limiter *level = allotment->limiter; level != NULL; level = level->parent) {
        level->members--;
        if (is_of_this_era(allotment, level)) /* nobody else is there to pay */
            track_shift(level, nano_bytes(allotment->debt));
    }
    unlock(allotment->limiter);
    allotment->debt = 0;
    allotment->is_member = false;
}
