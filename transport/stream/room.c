/* SPDX-License-Identifier: MIT */
#include "transport/stream/room.h"

#include "core/clock.h"
#include "core/hooks.h"
#include "core/wake.h"

#include <errno.h>

/* ---- threads --------------------------------------------------------------------------------- */

/* So long a thread waits for room for some requests: from a fast stream many have left by then. */
enum { PATIENCE_NS = FERRY__NS_PER_MS };

void ferry__room_note_refusal(ferry_stream *stream, const ferry__refusal *refusal)
{
    if (refusal->was_counted)
        ferry_stream_wake_generator(stream);
}

/* Whether the time is up. Sleeps until there are news, if it is not. */
static bool wait_for_news(ferry__room *room, unsigned news, int64_t deadline)
{
    if (deadline != FERRY__NEVER && ferry__clock_now() >= deadline)
        return true;
    ferry__futex_wait(&room->news, news, deadline); /* R2 */
    return false;
}

int ferry__room_await_read(ferry_stream *stream, int64_t deadline)
{
    ferry__room *room = &atomic_load(&stream->incoming)->room;
    int error;
    bool is_late;
    atomic_fetch_add(&room->waiters, 1); /* R0 */
    do {
        unsigned news = atomic_load(&room->news);
        error = ferry__admit_read(&stream->admission);
        is_late = error == -EAGAIN && wait_for_news(room, news, deadline);
    } while (error == -EAGAIN && !is_late);
    atomic_fetch_sub(&room->waiters, 1);
    return is_late ? -ETIMEDOUT : error;
}

/* Waits on one room until the request is let in, or another room is the full one. @param waiters
 * what it is counted in meanwhile. */
static int await_one(ferry_stream *stream, ferry__cost cost, uint64_t refused_by, int64_t deadline,
                     ferry__room **room, atomic_uint *waiters)
{
    ferry__room *waited_on = *room;
    int error;
    atomic_fetch_add(waiters, 1); /* R0 */
    for (;;) {
        unsigned news = atomic_load(&waited_on->news);
        ferry__refusal refusal;
        error = ferry__admit(&stream->admission, cost, refused_by, FERRY__BY_OPTIONS, &refusal);
        if (error == 0)
            break;
        ferry__room_note_refusal(stream, &refusal);
        *room = refusal.full;
        if (error != -EAGAIN || *room != waited_on)
            break;
        if (wait_for_news(waited_on, news, deadline)) {
            error = -ETIMEDOUT;
            break;
        }
    }
    atomic_fetch_sub(waiters, 1);
    return error;
}

/* Until when it may: what is left of its time must be for any room. */
static bool may_be_patient(const ferry_stream *stream, const ferry__room *full, int64_t deadline,
                           int64_t *ret_until)
{
    if (full != &stream->admission.room || !atomic_load(&stream->admission.drips))
        return false;
    *ret_until = ferry__clock_now() + PATIENCE_NS;
    return *ret_until < deadline;
}

int ferry__room_await(ferry_stream *stream, ferry__cost cost, uint64_t refused_by,
                      ferry__room *full, int64_t deadline)
{
    int error;
    do {
        error = -ETIMEDOUT;
        int64_t patience;
        if (may_be_patient(stream, full, deadline, &patience))
            error =
                await_one(stream, cost, refused_by, patience, &full, &stream->admission.patient);
        if (error == -ETIMEDOUT)
            error = await_one(stream, cost, refused_by, deadline, &full, &full->waiters);
    } while (error == -EAGAIN);
    return error;
}

/* ---- promises -------------------------------------------------------------------------------- */

/* A promise of room. On the service's list, as an observer of its own, until it settles. */
typedef struct room_promise {
    ferry_promise promise;  /* first */
    ferry_service *service; /* a reference */
    ferry_stream *stream;   /* a reference until it settles */
    ferry__cost wanted;
    bool is_listed; /* under the list's mutex, as the links are */
    struct room_promise *previous;
    struct room_promise *next;
} room_promise;

static void unlist(ferry__total *total, room_promise *waiting)
{
    *(waiting->previous != NULL ? &waiting->previous->next : &total->first_promise) = waiting->next;
    *(waiting->next != NULL ? &waiting->next->previous : &total->last_promise) = waiting->previous;
    waiting->is_listed = false;
    atomic_fetch_sub(&total->room.promises, 1);
    atomic_fetch_sub(&waiting->stream->admission.room.promises, 1);
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

/*
 * Takes those off the list, oldest first, for which there is room, or will never be any. @param of
 * the stream whose promises to look at; NULL: all streams'. @return them, linked by next, with
 * their outcomes in their results.
 */
static room_promise *take_lucky(ferry__total *total, const ferry__admission *of)
{
    room_promise *lucky = NULL, **end = &lucky, *next;
    (void)pthread_mutex_lock(&total->mutex);
    for (room_promise *waiting = total->first_promise; waiting != NULL; waiting = next) {
        next = waiting->next;
        const ferry__admission *its = &waiting->stream->admission;
        if (of != NULL && of != its)
            continue;
        int error = ferry__admission_look(its, waiting->wanted);
        if (error == -EAGAIN)
            continue;
        unlist(total, waiting);
        waiting->promise.result.error = error;
        waiting->next = NULL;
        *end = waiting;
        end = &waiting->next;
    }
    (void)pthread_mutex_unlock(&total->mutex);
    return lucky;
}

static void tell_promises(ferry__total *total, const ferry__admission *of)
{
    for (room_promise *lucky = take_lucky(total, of), *next; lucky != NULL; lucky = next) {
        next = lucky->next;
        settle(lucky, lucky->promise.result.error);
    }
}

static void destroy(ferry_promise *promise)
{
    ferry__service_unref(((room_promise *)(void *)promise)->service);
    ferry__release(promise);
}

/* The thread that takes it off the list settles it. */
static void cancel(ferry_promise *promise)
{
    room_promise *waiting = (room_promise *)(void *)promise;
    ferry__total *total = &waiting->service->total;
    (void)pthread_mutex_lock(&total->mutex);
    bool is_ours = waiting->is_listed;
    if (is_ours)
        unlist(total, waiting);
    (void)pthread_mutex_unlock(&total->mutex);
    if (!is_ours)
        return;
    waiting->promise.result.cause = FERRY_CAUSE_CANCEL;
    settle(waiting, -ECANCELED);
}

/* It stays on the list for its observers. If there are none it leaves the list. */
static void forsake(ferry_promise *promise)
{
    if (ferry__promise_has_one_observer(promise))
        cancel(promise);
}

static const ferry__promise_type room_type = {
    .destroy = destroy, .cancel = cancel, .forsake = forsake};

static void list(ferry__total *total, room_promise *waiting)
{
    (void)pthread_mutex_lock(&total->mutex);
    waiting->is_listed = true;
    waiting->previous = total->last_promise;
    waiting->next = NULL;
    *(waiting->previous != NULL ? &waiting->previous->next : &total->first_promise) = waiting;
    total->last_promise = waiting;
    if (total->tell_promises == NULL)
        total->tell_promises = tell_promises;
    atomic_fetch_add(&waiting->stream->admission.room.promises, 1); /* R0 */
    atomic_fetch_add(&total->room.promises, 1);
    (void)pthread_mutex_unlock(&total->mutex);
}

int ferry_stream_promise_room(ferry_stream *stream, uint64_t memory_bytes, uint64_t file_bytes,
                              ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (stream == NULL || ret_promise == NULL)
        return -EINVAL;
    int error = ferry__stream_check(stream);
    if (error != 0)
        return error;
    if (memory_bytes > FERRY__MOST_BYTES)
        return -EOVERFLOW;
    ferry__inbox *home;
    error = ferry__find_home(true, &home);
    if (error != 0)
        return error;
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
    list(&stream->service->total, waiting);
    tell_promises(&stream->service->total, &stream->admission); /* R1 */
    return 0;
}
