/* SPDX-License-Identifier: MIT */
#include "transport/limit/admission.h"

#include "core/wake.h"

#include <errno.h>

void ferry__total_init(ferry__total *total, ferry__limits limits)
{
    total->limits = limits;
    total->is_limited = limits.requests > 0 || limits.memory_bytes > 0 || limits.source_bytes > 0;
    (void)pthread_mutex_init(&total->mutex, NULL);
}

void ferry__total_deinit(ferry__total *total)
{
    (void)pthread_mutex_destroy(&total->mutex);
}

/* ---- counting -------------------------------------------------------------------------------- */

static uint64_t requests_in(uint64_t word)
{
    return (word & FERRY__REQUESTS_MASK) / FERRY__ONE_REQUEST;
}

/* A single request may exceed a limit where nothing is queued: else it could never be sent. */
static bool is_too_much(uint64_t queued, uint64_t more, uint64_t most)
{
    return queued > 0 && (more > most || queued > most - more);
}

/*
 * The same for bytes of sources. A request without any is never too much. If there is no limit, the
 * limit is what can be counted: a file may say that it has 2^63 bytes.
 */
static bool is_too_much_file(uint64_t queued, uint64_t more, uint64_t most)
{
    return more > 0 && is_too_much(queued, more, most > 0 ? most : UINT64_MAX);
}

static bool exceeds_stream(const ferry__admission *admission, uint64_t word, ferry__cost cost,
                           ferry__limit limited)
{
    if (limited == FERRY__BY_COUNT) /* far from the word's flags */
        return requests_in(word) >= FERRY__MOST_REQUESTS + FERRY__MOST_REQUESTS / 2;
    return requests_in(word) >= admission->limits->requests ||
           is_too_much(word & FERRY__MEMORY_MASK, cost.memory_bytes,
                       admission->limits->memory_bytes);
}

static bool is_one_too_many(uint64_t queued, uint64_t more, uint64_t most)
{
    return most > 0 && queued + more > most;
}

static bool is_too_much_memory(uint64_t queued, uint64_t more, uint64_t most)
{
    return most > 0 && is_too_much(queued, more, most);
}

static bool exceeds_total(const ferry__total *total, ferry__cost cost)
{
    const ferry__limits *limits = &total->limits;
    return is_one_too_many(atomic_load(&total->requests), 1, limits->requests) ||
           is_too_much_memory(atomic_load(&total->memory_bytes), cost.memory_bytes,
                              limits->memory_bytes) ||
           is_too_much_file(atomic_load(&total->source_bytes), cost.source_bytes,
                            limits->source_bytes);
}

/* Whether the stream would let a request in: 0, -EAGAIN, -ESHUTDOWN. Touches nothing. */
static int look_at_stream(const ferry__admission *admission, ferry__cost cost, uint64_t refused_by,
                          ferry__limit limited)
{
    uint64_t word = atomic_load(&admission->word);
    if ((word & refused_by) != 0)
        return -ESHUTDOWN;
    bool is_full = exceeds_stream(admission, word, cost, limited) ||
                   (limited == FERRY__BY_OPTIONS &&
                    is_too_much_file(atomic_load(&admission->source_bytes), cost.source_bytes,
                                     admission->limits->source_bytes));
    return is_full ? -EAGAIN : 0;
}

int ferry__admission_look(const ferry__admission *admission, ferry__cost cost)
{
    int error = look_at_stream(admission, cost, FERRY__SHUT | FERRY__CLOSED, FERRY__BY_OPTIONS);
    return error == 0 && exceeds_total(admission->total, cost) ? -EAGAIN : error;
}

static void take_from_total(ferry__total *total, uint64_t requests, ferry__cost cost)
{
    atomic_fetch_sub(&total->requests, requests);
    atomic_fetch_sub(&total->memory_bytes, cost.memory_bytes);
    atomic_fetch_sub(&total->source_bytes, cost.source_bytes);
}

/* ---- telling who waits ----------------------------------------------------------------------- */

static void wake(ferry__room *room)
{
    atomic_fetch_add(&room->news, 1);
    ferry__futex_wake_all(&room->news);
}

void ferry__room_wake(ferry__room *room)
{
    if (atomic_load(&room->waiters) > 0)
        wake(room);
}

/* @param of the stream whose promises to look at; NULL: all streams'. */
static void tell_promises(ferry__room *room, ferry__total *total, const ferry__admission *of)
{
    if (atomic_load(&room->promises) > 0)
        total->tell_promises(total, of);
}

static void tell_total(ferry__total *total)
{
    ferry__room_wake(&total->room);
    tell_promises(&total->room, total, NULL);
}

/* Whether a patient thread can submit a few at once, or never again. Bytes have no part in this.
 * What is copied for a thread is to be memory that was freed just now, so it waits for no more. */
static bool is_worth_waking(const ferry__admission *admission)
{
    enum { SOME = 64 };
    uint64_t most = admission->limits->requests, half = most - most / 2;
    uint64_t word = atomic_load(&admission->word);
    return (word & (FERRY__SHUT | FERRY__CLOSED)) != 0 ||
           requests_in(word) <= most - (half < SOME ? half : SOME);
}

/* N1. There may be room in the stream. */
static void tell_stream(ferry__admission *admission)
{
    ferry__room *room = &admission->room;
    bool has_waiters = atomic_load(&room->waiters) > 0;
    if (has_waiters || atomic_load(&admission->patient) > 0) {
        bool is_little = !is_worth_waking(admission);
        if (has_waiters || !is_little) {
            atomic_store_explicit(&admission->drips, is_little, memory_order_relaxed);
            wake(room);
        }
    }
    tell_promises(room, admission->total, admission);
}

/* The same, in the service, too. */
static void tell_senders(ferry__admission *admission)
{
    tell_stream(admission);
    if (admission->total->is_limited)
        tell_total(admission->total);
}

void ferry__admission_refuse(ferry__admission *admission, uint64_t flags)
{
    (void)atomic_fetch_or(&admission->word, flags);
    tell_senders(admission);
}

void ferry__admission_give_back(ferry__admission *admission, uint64_t word, uint64_t source_bytes)
{
    if (admission->total->is_limited)
        take_from_total(admission->total, requests_in(word),
                        (ferry__cost){word & FERRY__MEMORY_MASK, source_bytes});
    if (source_bytes > 0)
        atomic_fetch_sub(&admission->source_bytes, source_bytes);
    atomic_fetch_sub(&admission->word, word);
    tell_senders(admission);
}

/* Counts in what can be counted. @return how much that is. */
static uint64_t add_some(_Atomic uint64_t *count, uint64_t more)
{
    uint64_t before = atomic_load(count), some;
    do
        some = more < UINT64_MAX - before ? more : UINT64_MAX - before;
    while (!atomic_compare_exchange_weak(count, &before, before + some));
    return some;
}

static uint64_t count_more(ferry__admission *admission, uint64_t more)
{
    _Atomic uint64_t *of_all = &admission->total->source_bytes;
    if (!admission->total->is_limited)
        return add_some(&admission->source_bytes, more);
    uint64_t by_all = add_some(of_all, more);
    uint64_t by_both = add_some(&admission->source_bytes, by_all);
    atomic_fetch_sub(of_all, by_all - by_both);
    return by_both;
}

uint64_t ferry__admission_recount(ferry__admission *admission, uint64_t before, uint64_t now)
{
    if (now > before)
        return before + count_more(admission, now - before);
    atomic_fetch_sub(&admission->source_bytes, before - now);
    if (admission->total->is_limited)
        atomic_fetch_sub(&admission->total->source_bytes, before - now);
    tell_senders(admission);
    return now;
}

/* ---- admitting ------------------------------------------------------------------------------- */

/*
 * A reservation that is rolled back must wake those who wait: somebody may have been refused
 * because of it. That would wake us, too, if we wait, again and again. So everything is checked
 * first, and rolled back only after a race was lost.
 */

/* Counts in, unless it is too much. */
static bool reserve(_Atomic uint64_t *count, uint64_t more, uint64_t most,
                    bool (*exceeds)(uint64_t queued, uint64_t more, uint64_t most))
{
    uint64_t before = atomic_load(count);
    do {
        if (exceeds(before, more, most))
            return false;
    } while (!atomic_compare_exchange_weak(count, &before, before + more));
    return true;
}

/* Counts source bytes in, on the stream. Before its word, whose count covers it. */
static bool reserve_source_bytes(ferry__admission *admission, uint64_t bytes, ferry__limit limited)
{
    uint64_t most = limited == FERRY__BY_OPTIONS ? admission->limits->source_bytes : 0;
    return reserve(&admission->source_bytes, bytes, most, is_too_much_file);
}

static bool reserve_in_total(ferry__total *total, ferry__cost cost, ferry__limit limited)
{
    const ferry__limits *limits = &total->limits;
    if (limited != FERRY__BY_OPTIONS) {
        if (!reserve(&total->source_bytes, cost.source_bytes, UINT64_MAX, is_too_much_file))
            return false;
        atomic_fetch_add(&total->requests, 1);
        atomic_fetch_add(&total->memory_bytes, cost.memory_bytes);
        return true;
    }
    if (exceeds_total(total, cost) ||
        !reserve(&total->requests, 1, limits->requests, is_one_too_many))
        return false;
    ferry__cost counted = {0};
    if (reserve(&total->memory_bytes, cost.memory_bytes, limits->memory_bytes,
                is_too_much_memory)) {
        counted.memory_bytes = cost.memory_bytes;
        if (reserve(&total->source_bytes, cost.source_bytes, limits->source_bytes,
                    is_too_much_file))
            return true;
    }
    take_from_total(total, 1, counted);
    tell_total(total);
    return false;
}

static int check_word(const ferry__admission *admission, uint64_t word, ferry__cost cost,
                      uint64_t refused_by, ferry__limit limited)
{
    if ((word & refused_by) != 0)
        return -ESHUTDOWN;
    return exceeds_stream(admission, word, cost, limited) ? -EAGAIN : 0;
}

/*
 * Compare-and-swap, not add and undo: a count that is there for a moment only would keep a closed
 * stream from ending. The same holds for visits. Pairs with E0 in closing.c.
 */
static int admit_to_word(ferry__admission *admission, ferry__cost cost, uint64_t refused_by,
                         ferry__limit limited)
{
    uint64_t before = atomic_load(&admission->word); /* R1 */
    do {
        int error = check_word(admission, before, cost, refused_by, limited);
        if (error != 0)
            return error;
    } while (!atomic_compare_exchange_weak(&admission->word, &before,
                                           before + FERRY__ONE_REQUEST + cost.memory_bytes));
    return 0;
}

/*
 * The same for a small write, of which many threads may have many. An addition never fails, as a
 * compare-and-swap does where threads meet. So it is added, and taken back if it was too much or
 * too late. A look before makes that rare. It cannot keep others out where there is room, except
 * those that come at that very moment.
 */
static int add_to_word(ferry__admission *admission, ferry__cost cost, uint64_t refused_by,
                       ferry__limit limited, ferry__refusal *ret_refusal)
{
    uint64_t more = FERRY__ONE_REQUEST + cost.memory_bytes;
    int error = check_word(admission, atomic_load(&admission->word), cost, refused_by, limited);
    if (error != 0)
        return error;
    error = check_word(admission, atomic_fetch_add(&admission->word, more), cost, refused_by,
                       limited); /* R1 */
    if (error == 0)
        return 0;
    atomic_fetch_sub(&admission->word, more);
    ret_refusal->was_counted = true;
    tell_stream(admission);
    return error;
}

/* By the stream alone. */
static int admit_to_stream(ferry__admission *admission, ferry__cost cost, uint64_t refused_by,
                           ferry__limit limited, ferry__refusal *ret_refusal)
{
    if (cost.source_bytes > 0) {
        int error = look_at_stream(admission, cost, refused_by, limited);
        if (error != 0)
            return error;
        if (!reserve_source_bytes(admission, cost.source_bytes, limited))
            return -EAGAIN;
    }
    int error = admit_to_word(admission, cost, refused_by, limited);
    if (error != 0 && cost.source_bytes > 0) {
        atomic_fetch_sub(&admission->source_bytes, cost.source_bytes);
        ret_refusal->was_counted = true;
        tell_stream(admission);
    }
    return error;
}

/*
 * By the service's limits first, since that can be undone without harm. Not inlined: a plain write
 * would have to save the registers that it needs.
 */
__attribute__((noinline)) static int admit(ferry__admission *admission, ferry__cost cost,
                                           uint64_t refused_by, ferry__limit limited,
                                           ferry__refusal *ret_refusal)
{
    *ret_refusal = (ferry__refusal){.full = &admission->room};
    if (cost.memory_bytes > FERRY__MOST_BYTES)
        return -EOVERFLOW;
    ferry__total *total = admission->total;
    if (total->is_limited) {
        int error = look_at_stream(admission, cost, refused_by, limited);
        if (error != 0)
            return error; /* also if all are full: a thread that waits for that learns of a close */
        if (!reserve_in_total(total, cost, limited)) {
            ret_refusal->full = &total->room;
            return -EAGAIN;
        }
    }
    int error = admit_to_stream(admission, cost, refused_by, limited, ret_refusal);
    if (error != 0 && total->is_limited) {
        take_from_total(total, 1, cost);
        tell_total(total);
    }
    return error;
}

int ferry__admit(ferry__admission *admission, ferry__cost cost, uint64_t refused_by,
                 ferry__limit limited, ferry__refusal *ret_refusal)
{
    if (cost.source_bytes != 0 || admission->total->is_limited ||
        cost.memory_bytes > FERRY__MOST_BYTES)
        return admit(admission, cost, refused_by, limited, ret_refusal);
    *ret_refusal = (ferry__refusal){.full = &admission->room};
    return cost.memory_bytes <= FERRY__SMALL_BYTES /* nothing else is counted */
               ? add_to_word(admission, cost, refused_by, limited, ret_refusal)
               : admit_to_word(admission, cost, refused_by, limited);
}

bool ferry__admit_close(ferry__admission *admission)
{
    uint64_t before = atomic_load(&admission->word);
    do {
        if ((before & FERRY__CLOSED) != 0)
            return false;
    } while (!atomic_compare_exchange_weak(&admission->word, &before,
                                           (before + FERRY__ONE_REQUEST) | FERRY__CLOSED));
    if (admission->total->is_limited)
        atomic_fetch_add(&admission->total->requests, 1);
    return true;
}

static int look_for_read(const ferry__admission *admission, uint32_t visits)
{
    if ((atomic_load(&admission->word) & FERRY__CLOSED) != 0 || (visits & FERRY__ENDED) != 0)
        return -ESHUTDOWN;
    return (visits & FERRY__READS_MASK) / FERRY__ONE_READ >= FERRY__MOST_READS ? -EAGAIN : 0;
}

/* If a close comes in between the owner refuses the read, as if it had come after the close. */
int ferry__admit_read(ferry__admission *admission)
{
    uint32_t before = atomic_load(&admission->visits); /* R1 */
    do {
        int error = look_for_read(admission, before);
        if (error != 0)
            return error;
    } while (!atomic_compare_exchange_weak(&admission->visits, &before, before + FERRY__ONE_READ));
    return 0;
}

bool ferry__admit_message(ferry__admission *admission)
{
    uint32_t before = atomic_load(&admission->visits);
    do {
        if ((before & FERRY__ENDED) != 0)
            return false;
    } while (
        !atomic_compare_exchange_weak(&admission->visits, &before, before + FERRY__ONE_MESSAGE));
    return true;
}

int ferry__admit_errand(ferry__admission *admission)
{
    uint32_t before = atomic_load(&admission->visits);
    do {
        if ((before & FERRY__ENDED) != 0)
            return -ESHUTDOWN;
        if ((before & FERRY__MESSAGES_MASK) >= FERRY__MOST_ERRANDS)
            return -EAGAIN;
    } while (
        !atomic_compare_exchange_weak(&admission->visits, &before, before + FERRY__ONE_MESSAGE));
    return 0;
}
