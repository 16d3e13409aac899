/* SPDX-License-Identifier: MIT */
#include "transport/reach/member.h"

#include "core/await.h"
#include "core/clock.h"
#include "core/sum.h"
#include "transport/stream/stream.h"

#include <ferry/error.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

static ferry_stream *stream_of(const ferry__member *member)
{
    return (ferry_stream *)(void *)((uintptr_t)member - offsetof(ferry_stream, member));
}

/* ---- what it says of itself ------------------------------------------------------------------ */

static void add_head(const ferry__shown_head *shown, ferry__line *line)
{
    uint64_t number = atomic_load_explicit(&shown->number, memory_order_acquire);
    if (number == FERRY__NO_HEAD)
        return;
    uint64_t words[FERRY__SHOWN_NAME_BYTES / sizeof(uint64_t)];
    for (size_t i = 0; i < FERRY__SHOWN_NAME_BYTES / sizeof(uint64_t); i++)
        words[i] = atomic_load_explicit(&shown->name[i], memory_order_relaxed);
    ferry__line_add(line, "; sends request %" PRIu64, number);
    ferry__line_add_label(line, (const char *)words);
    ferry__line_add_age(line, atomic_load_explicit(&shown->since, memory_order_relaxed));
}

static void add_wait(const ferry__waiting *shown, const char *who, ferry__line *line)
{
    static const char *const names[] = {
        [FERRY__WAITS_FOR_SINK] = "its sink",
        [FERRY__WAITS_FOR_SOURCE] = "its source",
        [FERRY__WAITS_FOR_LIMITER] = "its limiter",
        [FERRY__WAITS_FOR_CONFIRMATION] = "confirmation",
        [FERRY__WAITS_FOR_END] = "its peer's end",
        [FERRY__WAITS_FOR_PEER] = "its peer",
        [FERRY__WAITS_FOR_HANDSHAKE] = "the handshake",
        [FERRY__WAITS_FOR_READER] = "its reader",
        [FERRY__WAITS_FOR_RELAY] = "a relay",
    };
    unsigned what = atomic_load_explicit(&shown->what, memory_order_acquire);
    if (what == FERRY__WAITS_FOR_NOTHING)
        return;
    ferry__line_add(line, "; %s for %s", who, names[what]);
    ferry__line_add_age(line, atomic_load_explicit(&shown->since, memory_order_relaxed));
}

static void add_queue(const ferry_stream *stream, const ferry_stream_status *status,
                      ferry__line *line)
{
    ferry__line_add_queue(line, status->queued_requests, status->queued_bytes,
                          status->queued_file_bytes);
    ferry__line_add(line, "; ");
    ferry__line_add_count(line, status->sent_bytes, "byte");
    ferry__line_add(line, " sent");
    if (ferry__stream_is_poisoned(stream))
        ferry__line_add(line, "; poisoned by %s", ferry_error_name(status->error));
    else if (status->error != 0)
        ferry__line_add(line, "; its connection is over: %s", ferry_error_name(status->error));
    if ((atomic_load(&stream->admission.word) & FERRY__CLOSED) != 0)
        ferry__line_add(line, "; closing");
}

static bool add_state(ferry__member *member, ferry__line *line)
{
    ferry_stream *stream = stream_of(member);
    if (ferry__stream_has_ended(stream))
        return false;
    ferry_stream_status status;
    (void)ferry_stream_get_status(stream, &status);
    add_queue(stream, &status, line);
    add_head(&stream->shown_head, line);
    add_wait(&stream->shown_sending, "waits", line);
    const ferry__incoming *incoming = atomic_load_explicit(&stream->incoming, memory_order_acquire);
    if (incoming == NULL)
        return true;
    ferry__line_add(line, "; ");
    ferry__line_add_count(line, status.received_bytes, "byte");
    ferry__line_add(line, " received");
    if (status.pending_reads > 0) {
        ferry__line_add(line, ", ");
        ferry__line_add_count(line, status.pending_reads, "read");
        ferry__line_add(line, " pending");
    }
    add_wait(&incoming->shown, "reading waits", line);
    return true;
}

static void add_name(const ferry__member *member, ferry__line *line)
{
    const ferry_stream *stream = stream_of(member);
    char peer[128];
    ferry__line_add(line, "stream fd %d", stream->watch.fd);
    if (ferry__peer_format(&stream->peer, peer, sizeof peer) > 0) {
        ferry__line_add(line, ", ");
        ferry__line_add_word(line, peer);
    }
    ferry__line_add_label(line, stream->settings->options.label);
}

static bool is_subject(const ferry__member *member, const void *subject)
{
    return subject == &stream_of(member)->task;
}

static void add_status(ferry__member *member, ferry_service_status *sum)
{
    ferry_stream *stream = stream_of(member);
    if (ferry__stream_has_ended(stream))
        return;
    ferry_stream_status status;
    (void)ferry_stream_get_status(stream, &status);
    sum->queued_bytes += status.queued_bytes;
    sum->queued_file_bytes = ferry__sum(sum->queued_file_bytes, status.queued_file_bytes);
    sum->queued_requests += status.queued_requests;
    sum->pending_reads += status.pending_reads;
    sum->streams++;
}

static const ferry__owner *own_owner(const ferry__member *member)
{
    const ferry_stream *stream = stream_of(member);
    return ferry__service_is_dedicated(stream->service) ? stream->owner : NULL;
}

/* ---- draining -------------------------------------------------------------------------------- */

static void drop_promise(void *promise)
{
    (void)ferry_promise_unref(promise);
}

/* For a promise that nobody else waits for. */
static void call_off(void *promise)
{
    (void)ferry_promise_cancel(promise);
    (void)ferry_promise_unref(promise);
}

/* @param drop called with the promise afterwards, also if a callback ends the thread. */
static int await_and(void (*drop)(void *promise), ferry_promise *promise, int64_t deadline)
{
    int error;
    pthread_cleanup_push(drop, promise);
    error = ferry__promise_await_running(promise, deadline);
    pthread_cleanup_pop(1);
    return error;
}

/* Waits for room for a mark: a million requests leave none. */
static int await_room(ferry_stream *stream, int64_t deadline)
{
    ferry_promise *room;
    int error = ferry_stream_promise_room(stream, 0, 0, &room);
    return error != 0 ? error : await_and(call_off, room, deadline);
}

/*
 * Waits for all that the stream was given so far. The mark is taken back when time is up: else each
 * call would leave one in a queue that is stuck. @return also -EAGAIN: there is no room for a mark.
 */
static int await_mark(ferry_stream *stream, int64_t deadline)
{
    ferry_promise *mark;
    int error = ferry_stream_mark(stream, &mark);
    if (error == -ESHUTDOWN)
        return await_and(drop_promise, ferry_promise_ref(&stream->close_request->promise),
                         deadline);
    return error != 0 ? error : await_and(call_off, mark, deadline);
}

static int drain(ferry__member *member, int64_t deadline)
{
    ferry_stream *stream = stream_of(member);
    while (!ferry__stream_is_quiet(stream)) {
        if (ferry__clock_now() >= deadline)
            return -ETIMEDOUT; /* no time to wait: nobody is woken for a mere look */
        int error = await_mark(stream, deadline);
        if (error != -EAGAIN)
            return error;
        error = await_room(stream, deadline);
        if (error != 0)
            return error;
    }
    return 0;
}

/* ---- ending and keeping it ------------------------------------------------------------------- */

static void close_member(ferry__member *member)
{
    (void)ferry_stream_close(stream_of(member), NULL);
}

static void abort_member(ferry__member *member)
{
    ferry__stream_abort(stream_of(member), FERRY_CAUSE_DESTROY);
}

static void ref_member(ferry__member *member)
{
    (void)ferry__stream_ref(stream_of(member));
}

static void unref_member(ferry__member *member)
{
    ferry__stream_unref(stream_of(member));
}

const ferry__member_type ferry__stream_member = {
    .close = close_member,
    .abort = abort_member,
    .ref = ref_member,
    .unref = unref_member,
    .is_subject = is_subject,
    .add_name = add_name,
    .add_state = add_state,
    .drain = drain,
    .add_status = add_status,
    .own_owner = own_owner,
};
