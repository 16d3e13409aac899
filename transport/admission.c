/* SPDX-License-Identifier: MIT */
#include "transport/admission.h"

#include "core/clock.h"
#include "core/hooks.h"
#include "core/thread.h"
#include "transport/intake.h"
#include "transport/service.h"
#include "transport/stream.h"

#include <errno.h>
#include <stddef.h>

/* ---- counting -------------------------------------------------------------------------------- */

static uint64_t requests_in(uint64_t admission)
{
    return (admission & FERRY__REQUESTS_MASK) / FERRY__ONE_REQUEST;
}

/* A single request may exceed a limit where nothing is queued: else it could never be sent. */
static bool is_too_much(uint64_t queued, uint64_t more, uint64_t most)
{
    return queued > 0 && (more > most || queued > most - more);
}

/* Likewise for bytes of sources: a request without any does not mind. No limit is what can be counted:
 * a file may say that it has 2^63 bytes. */
static bool is_too_much_file(uint64_t queued, uint64_t more, uint64_t most)
{
    return more > 0 && is_too_much(queued, more, most > 0 ? most : UINT64_MAX);
}

static bool exceeds_stream(const ferry_stream *stream, uint64_t admission, ferry__cost cost,
                           ferry__limit limited)
{
    if (limited == FERRY__BY_COUNT) /* far from the word's flags */
        return requests_in(admission) >= FERRY__MOST_REQUESTS + FERRY__MOST_REQUESTS / 2;
    return requests_in(admission) >= stream->settings->options.limit_requests ||
           is_too_much(admission & FERRY__MEMORY_MASK, cost.memory_bytes,
                       stream->settings->options.limit_bytes);
}

static bool is_one_too_many(uint64_t queued, uint64_t more, uint64_t most)
{
    return most > 0 && queued + more > most;
}

static bool is_too_much_memory(uint64_t queued, uint64_t more, uint64_t most)
{
    return most > 0 && is_too_much(queued, more, most);
}

static bool exceeds_service(const ferry_service *service, ferry__cost cost)
{
    const ferry__counts *counts = &service->counts;
    const ferry_service_options *limits = &service->options;
    return is_one_too_many(atomic_load(&counts->requests), 1, limits->limit_requests) ||
           is_too_much_memory(atomic_load(&counts->memory_bytes), cost.memory_bytes,
                              limits->limit_bytes) ||
           is_too_much_file(atomic_load(&counts->source_bytes), cost.source_bytes,
                            limits->limit_file_bytes);
}

/* Whether the stream would let a request in: 0, -EAGAIN, -ESHUTDOWN. Touches nothing. */
static int look_at_stream(const ferry_stream *stream, ferry__cost cost, uint64_t refused_by,
                          ferry__limit limited)
{
    uint64_t admission = atomic_load(&stream->admission);
    if ((admission & refused_by) != 0)
        return -ESHUTDOWN;
    bool is_full =
        (limited != FERRY__UNLIMITED && exceeds_stream(stream, admission, cost, limited)) ||
        (limited == FERRY__BY_OPTIONS &&
         is_too_much_file(atomic_load(&stream->source_bytes), cost.source_bytes,
                          stream->settings->options.limit_file_bytes));
    return is_full ? -EAGAIN : 0;
}

static void take_counts(ferry__counts *counts, uint64_t requests, ferry__cost cost)
{
    atomic_fetch_sub(&counts->requests, requests);
    atomic_fetch_sub(&counts->memory_bytes, cost.memory_bytes);
    atomic_fetch_sub(&counts->source_bytes, cost.source_bytes);
}

bool ferry__admission_counts_files(const ferry_stream *stream)
{
    return stream->settings->options.limit_file_bytes > 0 ||
           stream->settings->options.on_watermark != NULL ||
           stream->service->options.limit_file_bytes > 0;
}

/* ---- telling who waits ----------------------------------------------------------------------- */

/* A promise of room. On the service's list, as an observer of its own, until it settles. */
typedef struct room_promise {
    ferry_promise promise;  /* first */
    ferry_service *service; /* a reference */
    ferry_stream *stream;   /* a reference until it settles */
    ferry__cost wanted;
    bool is_listed; /* under the service's room_mutex, as the links are */
    struct room_promise *previous;
    struct room_promise *next;
} room_promise;

/* Whether a request of this cost would be let in: 0, -EAGAIN, -ESHUTDOWN. */
static int find_room(const ferry_stream *stream, ferry__cost wanted)
{
    int error = look_at_stream(stream, wanted, FERRY__SHUT | FERRY__CLOSED, FERRY__BY_OPTIONS);
    return error == 0 && exceeds_service(stream->service, wanted) ? -EAGAIN : error;
}

static void unlist(ferry_service *service, room_promise *waiting)
{
    *(waiting->previous != NULL ? &waiting->previous->next : &service->first_room_promise) =
        waiting->next;
    *(waiting->next != NULL ? &waiting->next->previous : &service->last_room_promise) =
        waiting->previous;
    waiting->is_listed = false;
    atomic_fetch_sub(&service->room.promises, 1);
    atomic_fetch_sub(&waiting->stream->room.promises, 1);
}

static void settle(room_promise *waiting, int error)
{
    ferry_stream *stream = waiting->stream; /* read before the promise is out of our hands */
    waiting->promise.result.error = error;
    waiting->promise.result.phase = error == 0 ? FERRY_PHASE_DONE : FERRY_PHASE_QUEUE;
    waiting->promise.result.active_ns =
        ferry__clock_now() - ferry__promise_created(&waiting->promise);
    (void)ferry__promise_settle(&waiting->promise, NULL);
    ferry__promise_unobserve(&waiting->promise); /* the list's */
    ferry__stream_unref(stream);
}

/* Takes off the list, oldest first, those for whom there is room, or will never be any. @param stream
 * whose to look at; NULL: everybody's. @return them, linked by next, outcomes in their results. */
static room_promise *take_lucky(ferry_service *service, const ferry_stream *stream)
{
    room_promise *lucky = NULL, **end = &lucky, *next;
    (void)pthread_mutex_lock(&service->room_mutex);
    for (room_promise *waiting = service->first_room_promise; waiting != NULL; waiting = next) {
        next = waiting->next;
        if (stream != NULL && waiting->stream != stream)
            continue;
        int error = find_room(waiting->stream, waiting->wanted);
        if (error == -EAGAIN)
            continue;
        unlist(service, waiting);
        waiting->promise.result.error = error;
        waiting->next = NULL;
        *end = waiting;
        end = &waiting->next;
    }
    (void)pthread_mutex_unlock(&service->room_mutex);
    return lucky;
}

static void tell_promises(ferry_service *service, const ferry_stream *stream)
{
    for (room_promise *lucky = take_lucky(service, stream), *next; lucky != NULL; lucky = next) {
        next = lucky->next;
        settle(lucky, lucky->promise.result.error);
    }
}

/* N1. @param stream whose promises to look at; NULL: everybody's. */
static void tell(ferry__room *room, ferry_service *service, const ferry_stream *stream)
{
    if (atomic_load(&room->waiters) > 0) {
        atomic_fetch_add(&room->news, 1);
        ferry__futex_wake_all(&room->news);
    }
    if (atomic_load(&room->promises) > 0)
        tell_promises(service, stream);
}

/* There may be room. */
static void tell_senders(ferry_stream *stream)
{
    tell(&stream->room, stream->service, stream);
    if (stream->service->is_limited)
        tell(&stream->service->room, stream->service, NULL);
}

/* Likewise for reads. */
static void tell_readers(ferry_stream *stream)
{
    ferry__intake *intake = atomic_load(&stream->intake);
    if (intake != NULL)
        tell(&intake->room, stream->service, NULL);
}

void ferry__admission_refuse(ferry_stream *stream, uint64_t flags)
{
    (void)atomic_fetch_or(&stream->admission, flags);
    tell_senders(stream);
    tell_readers(stream);
}

void ferry__admission_give_back(ferry_stream *stream, uint64_t word, uint64_t source_bytes)
{
    ferry_service *service = stream->service;
    if (service->is_limited)
        take_counts(&service->counts, requests_in(word),
                    (ferry__cost){word & FERRY__MEMORY_MASK, source_bytes});
    if (source_bytes > 0)
        atomic_fetch_sub(&stream->source_bytes, source_bytes);
    atomic_fetch_sub(&stream->admission, word);
    tell_senders(stream);
}

void ferry__admission_end_visits(ferry_stream *stream, uint32_t visits)
{
    atomic_fetch_sub(&stream->visits, visits);
    if ((visits & FERRY__READS_MASK) != 0)
        tell_readers(stream);
}

/*
 * The owner looks again once it is not counted any more: it may wait for just that to end the stream,
 * or have seen a watermark reached. The stream may end before the resume: that does nothing then.
 */
void ferry__admission_undo(ferry_stream *stream, ferry__cost cost)
{
    ferry__admission_give_back(stream, FERRY__ONE_REQUEST + cost.memory_bytes, cost.source_bytes);
    ferry_stream_resume(stream);
}

void ferry__admission_undo_read(ferry_stream *stream)
{
    ferry__admission_end_visits(stream, FERRY__ONE_READ);
    ferry_stream_resume(stream);
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

static uint64_t count_more(ferry_stream *stream, uint64_t more)
{
    _Atomic uint64_t *of_service = &stream->service->counts.source_bytes;
    if (!stream->service->is_limited)
        return add_some(&stream->source_bytes, more);
    uint64_t by_service = add_some(of_service, more);
    uint64_t by_both = add_some(&stream->source_bytes, by_service);
    atomic_fetch_sub(of_service, by_service - by_both);
    return by_both;
}

uint64_t ferry__admission_recount(ferry_stream *stream, uint64_t before, uint64_t now)
{
    if (now > before)
        return before + count_more(stream, now - before);
    atomic_fetch_sub(&stream->source_bytes, before - now);
    if (stream->service->is_limited)
        atomic_fetch_sub(&stream->service->counts.source_bytes, before - now);
    tell_senders(stream);
    return now;
}

/* ---- admitting ------------------------------------------------------------------------------- */

/*
 * What is undone after a refusal has to be told: somebody else may have been refused because of it.
 * That wakes him who undoes, too, where he waits. So all of it is looked at first, and undone only
 * where others were faster: else whoever waits would wake himself again and again.
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

/* Counts source bytes in, on the stream. Before its admission word, whose count covers it. */
static bool reserve_source_bytes(ferry_stream *stream, uint64_t bytes, ferry__limit limited)
{
    uint64_t most = limited == FERRY__BY_OPTIONS ? stream->settings->options.limit_file_bytes : 0;
    return reserve(&stream->source_bytes, bytes, most, is_too_much_file);
}

static bool reserve_in_service(ferry_service *service, ferry__cost cost, ferry__limit limited)
{
    ferry__counts *counts = &service->counts;
    const ferry_service_options *limits = &service->options;
    if (limited != FERRY__BY_OPTIONS) {
        if (!reserve(&counts->source_bytes, cost.source_bytes, UINT64_MAX, is_too_much_file))
            return false;
        atomic_fetch_add(&counts->requests, 1);
        atomic_fetch_add(&counts->memory_bytes, cost.memory_bytes);
        return true;
    }
    if (exceeds_service(service, cost) ||
        !reserve(&counts->requests, 1, limits->limit_requests, is_one_too_many))
        return false;
    ferry__cost counted = {0};
    if (reserve(&counts->memory_bytes, cost.memory_bytes, limits->limit_bytes,
                is_too_much_memory)) {
        counted.memory_bytes = cost.memory_bytes;
        if (reserve(&counts->source_bytes, cost.source_bytes, limits->limit_file_bytes,
                    is_too_much_file))
            return true;
    }
    take_counts(counts, 1, counted);
    tell(&service->room, service, NULL);
    return false;
}

/*
 * Compare-and-swap, not add and undo: a count that is there for a moment only would keep a closed
 * stream from ending, and nobody would tell it afterwards. So it is with visits, too. Pairs with E0 in
 * closing.c.
 */
static int admit_to_word(ferry_stream *stream, ferry__cost cost, uint64_t refused_by, uint64_t set,
                         ferry__limit limited)
{
    uint64_t before = atomic_load(&stream->admission); /* R1 */
    do {
        if ((before & refused_by) != 0)
            return -ESHUTDOWN;
        if (limited != FERRY__UNLIMITED && exceeds_stream(stream, before, cost, limited))
            return -EAGAIN;
    } while (!atomic_compare_exchange_weak(
        &stream->admission, &before, (before + FERRY__ONE_REQUEST + cost.memory_bytes) | set));
    return 0;
}

/* By the stream alone. */
static int admit_to_stream(ferry_stream *stream, ferry__cost cost, uint64_t refused_by,
                           uint64_t set, ferry__limit limited)
{
    if (cost.source_bytes > 0) {
        int error = look_at_stream(stream, cost, refused_by, limited);
        if (error != 0)
            return error;
        if (!reserve_source_bytes(stream, cost.source_bytes, limited))
            return -EAGAIN;
    }
    int error = admit_to_word(stream, cost, refused_by, set, limited);
    if (error != 0 && cost.source_bytes > 0) {
        atomic_fetch_sub(&stream->source_bytes, cost.source_bytes);
        tell(&stream->room, stream->service, stream);
        if (stream->settings->options.on_watermark != NULL)
            ferry_stream_resume(stream); /* the owner may have seen these bytes: to look again */
    }
    return error;
}

/* By its service first, which can be undone without harm. @param ret_full where there is no room. Not
 * inlined: what it keeps in registers, a plain write would have to save. */
__attribute__((noinline)) static int admit(ferry_stream *stream, ferry__cost cost,
                                           uint64_t refused_by, uint64_t set, ferry__limit limited,
                                           ferry__room **ret_full)
{
    if (cost.memory_bytes > FERRY__MOST_BYTES)
        return -EOVERFLOW;
    *ret_full = &stream->room;
    ferry_service *service = stream->service;
    if (service->is_limited) {
        int error = look_at_stream(stream, cost, refused_by, limited);
        if (error != 0)
            return error; /* also where the service is full: who waits for that learns of a close */
        if (!reserve_in_service(service, cost, limited)) {
            *ret_full = &service->room;
            return -EAGAIN;
        }
    }
    int error = admit_to_stream(stream, cost, refused_by, set, limited);
    if (error != 0 && service->is_limited) {
        take_counts(&service->counts, 1, cost);
        tell(&service->room, service, NULL);
    }
    return error;
}

int ferry__admit(ferry_stream *stream, ferry__cost cost, uint64_t refused_by, uint64_t set,
                 ferry__limit limited)
{
    if (cost.source_bytes == 0 && !stream->service->is_limited &&
        cost.memory_bytes <= FERRY__MOST_BYTES)
        return admit_to_word(stream, cost, refused_by, set, limited); /* nothing else is counted */
    ferry__room *full;
    return admit(stream, cost, refused_by, set, limited, &full);
}

static int look_for_read(const ferry_stream *stream, uint32_t visits)
{
    if ((atomic_load(&stream->admission) & FERRY__CLOSED) != 0 || (visits & FERRY__ENDED) != 0)
        return -ESHUTDOWN;
    return (visits & FERRY__READS_MASK) / FERRY__ONE_READ >= FERRY__MOST_READS ? -EAGAIN : 0;
}

/* A close that comes in between has the owner refuse it: as if it had come later altogether. */
int ferry__admit_read(ferry_stream *stream)
{
    uint32_t before = atomic_load(&stream->visits); /* R1 */
    do {
        int error = look_for_read(stream, before);
        if (error != 0)
            return error;
    } while (!atomic_compare_exchange_weak(&stream->visits, &before, before + FERRY__ONE_READ));
    return 0;
}

bool ferry__admit_message(ferry_stream *stream)
{
    uint32_t before = atomic_load(&stream->visits);
    do {
        if ((before & FERRY__ENDED) != 0)
            return false;
    } while (!atomic_compare_exchange_weak(&stream->visits, &before, before + FERRY__ONE_MESSAGE));
    return true;
}

/* Whether the time is up. Sleeps until there are news, if it is not. */
static bool wait_for_news(ferry__room *room, unsigned news, int64_t deadline)
{
    if (deadline != FERRY__NEVER && ferry__clock_now() >= deadline)
        return true;
    ferry__futex_wait(&room->news, news, deadline); /* R2 */
    return false;
}

int ferry__admit_read_in_time(ferry_stream *stream, int64_t deadline)
{
    ferry__room *room = &atomic_load(&stream->intake)->room;
    int error;
    bool is_late;
    atomic_fetch_add(&room->waiters, 1); /* R0 */
    do {
        unsigned news = atomic_load(&room->news);
        error = ferry__admit_read(stream);
        is_late = error == -EAGAIN && wait_for_news(room, news, deadline);
    } while (error == -EAGAIN && !is_late);
    atomic_fetch_sub(&room->waiters, 1);
    return is_late ? -ETIMEDOUT : error;
}

/* Waits on one room until the request is let in, or another room is the full one. */
static int admit_by_room(ferry_stream *stream, ferry__cost cost, uint64_t refused_by,
                         int64_t deadline, ferry__room **room)
{
    ferry__room *waited_on = *room;
    int error;
    atomic_fetch_add(&waited_on->waiters, 1); /* R0 */
    for (;;) {
        unsigned news = atomic_load(&waited_on->news);
        error = admit(stream, cost, refused_by, 0, FERRY__BY_OPTIONS, room);
        if (error != -EAGAIN || *room != waited_on)
            break;
        if (wait_for_news(waited_on, news, deadline)) {
            error = -ETIMEDOUT;
            break;
        }
    }
    atomic_fetch_sub(&waited_on->waiters, 1);
    return error;
}

int ferry__admit_in_time(ferry_stream *stream, ferry__cost cost, uint64_t refused_by,
                         int64_t deadline)
{
    ferry__room *full = &stream->room;
    int error;
    do
        error = admit_by_room(stream, cost, refused_by, deadline, &full);
    while (error == -EAGAIN);
    return error;
}

/* ---- promises of room ------------------------------------------------------------------------ */

static void destroy(ferry_promise *promise)
{
    ferry__service_unref(((room_promise *)(void *)promise)->service);
    ferry__release(promise);
}

/* Whoever takes it off the list settles it. */
static void cancel(ferry_promise *promise)
{
    room_promise *waiting = (room_promise *)(void *)promise;
    ferry_service *service = waiting->service;
    (void)pthread_mutex_lock(&service->room_mutex);
    bool is_ours = waiting->is_listed;
    if (is_ours)
        unlist(service, waiting);
    (void)pthread_mutex_unlock(&service->room_mutex);
    if (!is_ours)
        return;
    waiting->promise.result.cause = FERRY_CAUSE_CANCEL;
    settle(waiting, -ECANCELED);
}

/* Kept for those who are to be called back; with nobody left to tell it leaves the list. */
static void forsake(ferry_promise *promise)
{
    if (ferry__promise_has_one_observer(promise))
        cancel(promise);
}

static const ferry__promise_type room_type = {
    .destroy = destroy, .cancel = cancel, .forsake = forsake};

static void list(ferry_service *service, room_promise *waiting)
{
    (void)pthread_mutex_lock(&service->room_mutex);
    waiting->is_listed = true;
    waiting->previous = service->last_room_promise;
    waiting->next = NULL;
    *(waiting->previous != NULL ? &waiting->previous->next : &service->first_room_promise) =
        waiting;
    service->last_room_promise = waiting;
    atomic_fetch_add(&waiting->stream->room.promises, 1); /* R0 */
    atomic_fetch_add(&service->room.promises, 1);
    (void)pthread_mutex_unlock(&service->room_mutex);
}

int ferry_stream_promise_room(ferry_stream *stream, uint64_t memory_bytes, uint64_t file_bytes,
                              ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (stream == NULL || ret_promise == NULL)
        return -EINVAL;
    if (ferry__service_is_foreign(stream->service))
        return -ECHILD;
    if (memory_bytes > FERRY__MOST_BYTES)
        return -EOVERFLOW;
    ferry__inbox *home = NULL;
    if (ferry__thread_current()->owner == NULL && (home = ferry__inbox_current()) == NULL)
        return -ENOMEM;
    room_promise *waiting = ferry__allocate_zeroed(sizeof *waiting);
    if (waiting == NULL)
        return -ENOMEM;
    ferry__promise_init(&waiting->promise, home, &room_type);
    ferry__promise_set_created(&waiting->promise, ferry__clock_now());
    waiting->stream = ferry__stream_ref(stream);
    waiting->service = ferry__service_ref(stream->service);
    waiting->wanted = (ferry__cost){memory_bytes, file_bytes};
    ferry__promise_watch_unshared(&waiting->promise); /* the list's */
    *ret_promise = &waiting->promise;
    list(stream->service, waiting);
    tell_promises(stream->service, stream); /* R1 */
    return 0;
}
