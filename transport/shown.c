/* SPDX-License-Identifier: MIT */
/* Both sides of what is shown of a stream: its owner's, and that of whoever looks. */
#include "transport/shown.h"

#include "transport/carry.h"
#include "transport/intake.h"

#include <ferry/status.h>

#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>

/* ---- the owner's ----------------------------------------------------------------------------- */

enum { NAME_BYTES = sizeof((ferry__shown_head *)0)->name };

/* The path of the file that it sends, or that comes soon: behind an answer's head. NULL: none. */
static const char *path_of(const ferry__request *request)
{
    enum { SOON = 4 };
    size_t left = request->part_count - request->current;
    const ferry__part *part = request->parts + request->current;
    for (size_t i = 0; i < left && i < SOON; i++)
        if (part[i].source != NULL && part[i].source->path != NULL)
            return part[i].source->path;
    return NULL;
}

/* The end of a path, as much as fits. */
static const char *end_of(const char *path)
{
    size_t length = strlen(path);
    if (length < NAME_BYTES)
        return path;
    path += length - NAME_BYTES + 1;
    while (ferry__text_is_inside(path))
        path++;
    return path;
}

static void show_name(ferry__shown_head *shown, const char *name)
{
    uint64_t words[NAME_BYTES / sizeof(uint64_t)] = {0};
    memcpy(words, name, ferry__text_fit(name, NAME_BYTES - 1));
    for (size_t i = 0; i < NAME_BYTES / sizeof(uint64_t); i++)
        atomic_store_explicit(&shown->name[i], words[i], memory_order_relaxed);
}

/* What it is called: by its label or, without one, by a path. */
static void name_head(ferry__shown_head *shown, const ferry__request *head)
{
    shown->label = ferry__promise_label(&head->promise);
    shown->part = head->current;
    const char *path = shown->label == NULL ? path_of(head) : NULL;
    show_name(shown, shown->label != NULL ? shown->label : path != NULL ? end_of(path) : "");
}

/* Whether it is still called the same. */
static bool is_named(const ferry__shown_head *shown, const ferry__request *head)
{
    return shown->part == head->current && shown->label == ferry__promise_label(&head->promise);
}

void ferry__stream_show_head(ferry_stream *stream)
{
    ferry__shown_head *shown = &stream->shown_head;
    const ferry__request *head = stream->queue.first;
    if (head != NULL && !head->has_begun)
        head = NULL;
    uint64_t number = head != NULL ? head->promise.result.sequence : FERRY__NO_HEAD;
    if (atomic_load_explicit(&shown->number, memory_order_relaxed) == number &&
        (head == NULL || is_named(shown, head)))
        return;
    if (head != NULL) {
        name_head(shown, head);
        atomic_store_explicit(&shown->since, head->began_at, memory_order_relaxed);
    }
    atomic_store_explicit(&shown->number, number, memory_order_release);
}

static ferry__wait sending_waits_for(const ferry_stream *stream)
{
    if (stream->sending_is_due)
        return FERRY__WAITS_FOR_NOTHING;
    if (stream->queue.first == NULL && stream->padding == 0) {
        if (stream->confirming.first != NULL)
            return FERRY__WAITS_FOR_CONFIRMATION;
        return stream->state == FERRY__LINGERING ? FERRY__WAITS_FOR_END : FERRY__WAITS_FOR_NOTHING;
    }
    if (stream->waits_for_source)
        return FERRY__WAITS_FOR_SOURCE;
    if ((stream->watch.awaited & EPOLLOUT) != 0)
        return FERRY__WAITS_FOR_SINK;
    if (stream->pace != NULL && ferry__timer_is_set(&stream->pace->timer))
        return FERRY__WAITS_FOR_LIMITER;
    return stream->confirming.first != NULL ? FERRY__WAITS_FOR_CONFIRMATION
                                            : FERRY__WAITS_FOR_NOTHING;
}

static ferry__wait receiving_waits_for(const ferry__intake *intake)
{
    if (intake->borrower != NULL)
        return FERRY__WAITS_FOR_READER;
    if (intake->is_away)
        return FERRY__WAITS_FOR_RELAY;
    bool is_asked = !intake->has_ended && (intake->stream->watch.awaited & EPOLLIN) != 0;
    return is_asked ? FERRY__WAITS_FOR_PEER : FERRY__WAITS_FOR_NOTHING;
}

static void show_wait(ferry__waiting *shown, ferry__wait what, int64_t now)
{
    if (atomic_load_explicit(&shown->what, memory_order_relaxed) == what)
        return;
    atomic_store_explicit(&shown->since, now, memory_order_relaxed);
    atomic_store_explicit(&shown->what, what, memory_order_release);
}

void ferry__stream_show(ferry_stream *stream)
{
    ferry__stream_show_head(stream);
    show_wait(&stream->shown_sending, sending_waits_for(stream), stream->turn_began_at);
    ferry__intake *intake = atomic_load_explicit(&stream->intake, memory_order_acquire);
    if (intake != NULL)
        show_wait(&intake->shown, receiving_waits_for(intake), stream->turn_began_at);
}

/* ---- whoever looks --------------------------------------------------------------------------- */

static void add_head(const ferry__shown_head *shown, ferry__line *line)
{
    uint64_t number = atomic_load_explicit(&shown->number, memory_order_acquire);
    if (number == FERRY__NO_HEAD)
        return;
    uint64_t words[NAME_BYTES / sizeof(uint64_t)];
    for (size_t i = 0; i < NAME_BYTES / sizeof(uint64_t); i++)
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
        ferry__line_add(line, "; poisoned by %s", ferry_status_name(status->error));
    else if (status->error != 0)
        ferry__line_add(line, "; its connection is over: %s", ferry_status_name(status->error));
    if ((atomic_load(&stream->admission) & FERRY__CLOSED) != 0)
        ferry__line_add(line, "; closing");
}

static bool add_state(ferry__member *member, ferry__line *line)
{
    ferry_stream *stream = ferry__stream_of_member(member);
    if (ferry__stream_has_ended(stream))
        return false;
    ferry_stream_status status;
    (void)ferry_stream_get_status(stream, &status);
    add_queue(stream, &status, line);
    add_head(&stream->shown_head, line);
    add_wait(&stream->shown_sending, "waits", line);
    const ferry__intake *intake = atomic_load_explicit(&stream->intake, memory_order_acquire);
    if (intake == NULL)
        return true;
    ferry__line_add(line, "; ");
    ferry__line_add_count(line, status.received_bytes, "byte");
    ferry__line_add(line, " received");
    if (status.pending_reads > 0) {
        ferry__line_add(line, ", ");
        ferry__line_add_count(line, status.pending_reads, "read");
        ferry__line_add(line, " pending");
    }
    add_wait(&intake->shown, "reading waits", line);
    return true;
}

static const ferry_stream *stream_of(const ferry__member *member)
{
    return ferry__stream_of_member((ferry__member *)(uintptr_t)member);
}

static void add_name(const ferry__member *member, ferry__line *line)
{
    const ferry_stream *stream = stream_of(member);
    char peer[128];
    ferry__line_add(line, "stream fd %d", stream->number);
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

/* ---- a member -------------------------------------------------------------------------------- */

static void close_member(ferry__member *member)
{
    (void)ferry_stream_close(ferry__stream_of_member(member), NULL);
}

static void abort_member(ferry__member *member)
{
    ferry__stream_abort(ferry__stream_of_member(member), FERRY_CAUSE_DESTROY);
}

static void ref_member(ferry__member *member)
{
    (void)ferry__stream_ref(ferry__stream_of_member(member));
}

static void unref_member(ferry__member *member)
{
    ferry__stream_unref(ferry__stream_of_member(member));
}

const ferry__member_type ferry__stream_member = {
    .is_stream = true,
    .close = close_member,
    .abort = abort_member,
    .ref = ref_member,
    .unref = unref_member,
    .is_subject = is_subject,
    .add_name = add_name,
    .add_state = add_state,
};
