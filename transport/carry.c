/* SPDX-License-Identifier: MIT */
/*
 * The owner's side of a stream: one turn carries out as much as one system call moves, settles what
 * that completed, and ends the stream once it is closed and nothing is left to settle.
 */
#include "core/clock.h"
#include "transport/move.h"
#include "transport/service.h"
#include "transport/stream.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>

#define STREAM_OF(pointer, member)                                                                 \
    ((ferry_stream *)(void *)((char *)(pointer)-offsetof(ferry_stream, member)))

static void assert_owner(const ferry_stream *stream)
{
    assert(ferry__owner_is_current(stream->owner) && "only its owner touches a stream");
    (void)stream;
}

/* ---- queues ---------------------------------------------------------------------------------- */

static void append(ferry__queue *queue, ferry__request *request)
{
    request->next = NULL;
    *(queue->last != NULL ? &queue->last->next : &queue->first) = request;
    queue->last = request;
}

static ferry__request *remove_first(ferry__queue *queue)
{
    ferry__request *request = queue->first;
    if (request != NULL && (queue->first = request->next) == NULL)
        queue->last = NULL;
    return request;
}

/* ---- beginning and finishing requests -------------------------------------------------------- */

/* Gives a request its receipt: its turn has come. */
static void begin(ferry_stream *stream, ferry__request *request)
{
    if (request->has_begun)
        return;
    request->has_begun = true;
    request->began_at = stream->turn_began_at;
    request->promise.result.sequence = stream->next_sequence++;
    request->promise.result.stream_offset = stream->offset;
}

static bool is_poisoned(const ferry_stream *stream)
{
    return atomic_load_explicit(&stream->poison, memory_order_relaxed) != 0;
}

static void forget_source_watch(ferry_stream *stream)
{
    ferry__poller_unwatch(&stream->owner->poller, &stream->source_watch);
}

/* Takes the head off the queue with its outcome; it settles at the end of the turn. Only ever the
 * head: receipts are given in the queue's order. */
static void finish(ferry_stream *stream, int error, ferry_phase phase)
{
    assert_owner(stream);
    ferry__request *request = remove_first(&stream->queue);
    begin(stream, request);
    ferry_result *result = &request->promise.result;
    result->error = error;
    result->phase = phase;
    forget_source_watch(stream); /* before its fd is closed: else epoll keeps it */
    ferry__request_release_parts(request);
    if (error != 0) {
        ferry__sink_push(&stream->sink);
        /* Invariant framing: the peer cannot tell where the next request's bytes would begin. */
        if (result->sent > 0)
            atomic_store(&stream->poison, error);
    }
    append(&stream->finished, request);
    stream->released += FERRY__ONE_REQUEST + request->memory_bytes;
}

/* Whether anybody may learn the outcome: a promise's holders, or the program's callback here. */
static bool is_observable(const ferry__request *request)
{
    return request->on_owner != NULL || !ferry__promise_is_forgotten(&request->promise);
}

static void publish(ferry_stream *stream, ferry__request *request, int64_t now)
{
    ferry_result *result = &request->promise.result;
    result->queued_ns = request->began_at - request->submitted_at;
    result->active_ns = now - request->began_at;
    ferry__promise_settle(&request->promise, &stream->owner->ringer);
    if (request->on_owner != NULL)
        request->on_owner(&request->promise, result, request->on_owner_arg);
}

static void settle(ferry_stream *stream, ferry__request *request, int64_t now)
{
    if (is_observable(request))
        publish(stream, request, now);
    (void)ferry_promise_unref(&request->promise);
}

/* Room is given back first: who learns that a request is done may at once submit another. */
static void settle_finished(ferry_stream *stream)
{
    atomic_store_explicit(&stream->sent_bytes, stream->offset, memory_order_relaxed);
    /* Q0: announced before it is not counted any more; pairs with ferry__stream_is_quiet. */
    atomic_store(&stream->is_settling, stream->finished.first != NULL);
    if (stream->released > 0) {
        atomic_fetch_sub(&stream->admission, stream->released);
        ferry__stream_tell_room(stream);
    }
    stream->released = 0;
    if (stream->finished.first == NULL)
        return;
    int64_t now = ferry__clock_now();
    for (ferry__request *request; (request = remove_first(&stream->finished)) != NULL;)
        settle(stream, request, now);
    atomic_store(&stream->is_settling, false);
}

/* ---- closing --------------------------------------------------------------------------------- */

static ferry_result *close_result(ferry_stream *stream)
{
    return &stream->close_request->promise.result;
}

/* Closes the fd. @param error the outcome of closing, if there is one before close(2) is asked. */
static void close_sink(ferry_stream *stream, int error, bool reset)
{
    ferry__timers_cancel(&stream->owner->timers, &stream->close_timer);
    ferry__poller_unwatch(&stream->owner->poller, &stream->sink_watch);
    int close_error = ferry__sink_close(&stream->sink, reset);
    close_result(stream)->error = error != 0 ? error : close_error;
    close_result(stream)->phase =
        close_result(stream)->error != 0 ? FERRY_PHASE_CLOSE : FERRY_PHASE_DONE;
    stream->state = FERRY__GONE;
}

/* Begins a confirmed close. Whether it could. */
static bool start_lingering(ferry_stream *stream)
{
    if (stream->options.close_timeout_ms == 0 || stream->owner->start_error != 0)
        return false;
    int error = ferry__sink_shutdown(&stream->sink);
    if (error != 0 && error != -ENOTCONN) /* ENOTCONN: it is over; reading tells how */
        return false;
    ferry__timers_set(&stream->owner->timers, &stream->close_timer,
                      ferry__clock_deadline(stream->options.close_timeout_ms));
    stream->state = FERRY__LINGERING;
    return true;
}

/* The close request's turn has come: everything before it was carried out. */
static void start_closing(ferry_stream *stream)
{
    ferry__request *request = remove_first(&stream->queue);
    begin(stream, request);
    stream->released += FERRY__ONE_REQUEST;
    if (!start_lingering(stream))
        close_sink(stream, 0, false);
}

/* Reads the peer's last words away. Whether to go on at once. */
static bool linger(ferry_stream *stream)
{
    uint64_t allowed = stream->options.close_bytes - stream->lingered_bytes;
    ssize_t count = ferry__sink_discard_input(&stream->sink, (size_t)allowed + 1);
    if (count > 0) {
        stream->lingered_bytes += (uint64_t)count;
        if ((uint64_t)count <= allowed)
            return true;
        close_sink(stream, -EMSGSIZE, false);
    } else if (count == 0) {
        close_sink(stream, 0, false);
    } else if (count != -EAGAIN) {
        close_sink(stream, (int)count, false);
    } else if (stream->close_timed_out) {
        close_sink(stream, -ETIMEDOUT, false);
    } else {
        int error = ferry__owner_watch(stream->owner, &stream->sink_watch, EPOLLIN | EPOLLRDHUP);
        if (error != 0)
            close_sink(stream, error, false);
    }
    return false;
}

/* What the head is at. */
static ferry_phase phase_of_head(const ferry_stream *stream)
{
    if (!stream->queue.first->has_begun)
        return FERRY_PHASE_QUEUE;
    return stream->source_watch.is_armed ? FERRY_PHASE_SOURCE : FERRY_PHASE_SINK;
}

/* Abort: everything queued is called off, the fd goes at once. */
static void call_off(ferry_stream *stream)
{
    while (stream->queue.first != NULL) {
        if (stream->queue.first->kind == FERRY__CLOSE) {
            begin(stream, remove_first(&stream->queue));
            stream->released += FERRY__ONE_REQUEST;
        } else {
            finish(stream, -ECANCELED, phase_of_head(stream));
        }
    }
    if (stream->state != FERRY__GONE)
        close_sink(stream, -ECANCELED, true);
}

/*
 * Ends the stream if nothing can come any more. Whether it has: then it may be freed already.
 * E0: the flag goes up only while nobody is admitted; pairs with every admission in stream.c.
 */
static bool try_end(ferry_stream *stream)
{
    uint64_t admission = atomic_load(&stream->admission);
    if (stream->state != FERRY__GONE || (admission & FERRY__REQUESTS_MASK) != 0 ||
        !atomic_compare_exchange_strong(&stream->admission, &admission, admission | FERRY__ENDED))
        return false;
    ferry__request *close_request = stream->close_request;
    begin(stream, close_request); /* an abort closes without it */
    settle(stream, close_request, ferry__clock_now());
    ferry__service_forget(stream->service, stream);
    ferry__owner_release(stream->owner);
    ferry__stream_unref(stream);
    return true;
}

/* ---- a turn ---------------------------------------------------------------------------------- */

/* Whether it was aborted: the cut is made before the abort's mail is posted. */
static bool is_cut(const ferry_stream *stream)
{
    return atomic_load(&stream->sink.cut);
}

/* Why the head is not to be carried out at all; 0: it is. */
static int refusal(const ferry_stream *stream, const ferry__request *request)
{
    if (stream->state != FERRY__OPEN)
        return -ESHUTDOWN;
    if (request->kind == FERRY__CLOSE)
        return 0;
    if (is_poisoned(stream))
        return -ECANCELED;
    if (request->kind == FERRY__SEND && stream->owner->start_error != 0)
        return stream->owner->start_error;
    /* Admitted before the shutdown, and posted after it: as if it had come later altogether. */
    return stream->is_shut && request->part_count > 0 ? -ESHUTDOWN : 0;
}

/* Whether what finished last wants to have its say on the owner before anything else is done. */
static bool is_callback_due(const ferry_stream *stream)
{
    return stream->finished.last != NULL && stream->finished.last->on_owner != NULL;
}

/* Carries out whatever moves no bytes. Gives the part whose bytes are next, or NULL. */
static ferry__part *find_next_part(ferry_stream *stream)
{
    ferry__request *request;
    while ((request = stream->queue.first) != NULL && !is_callback_due(stream)) {
        int error = refusal(stream, request);
        if (error != 0) {
            finish(stream, error, FERRY_PHASE_QUEUE);
            continue;
        }
        begin(stream, request);
        switch (request->kind) {
        case FERRY__CLOSE:
            start_closing(stream);
            continue;
        case FERRY__SHUTDOWN:
            stream->is_shut = true;
            error = ferry__sink_shutdown(&stream->sink);
            finish(stream, error, error != 0 ? FERRY_PHASE_CLOSE : FERRY_PHASE_DONE);
            continue;
        case FERRY__SEND:
            break;
        }
        error = ferry__request_prepare(request);
        if (error != 0) {
            finish(stream, error, request->prepare_phase);
            continue;
        }
        ferry__part *part = ferry__request_find_part(request);
        if (part != NULL)
            return part;
        finish(stream, 0, FERRY_PHASE_DONE);
    }
    return NULL;
}

/* Gives bytes that the sink took to one part. @return how many were its. */
static uint64_t account_to_part(ferry_stream *stream, ferry__request *request, ferry__part *part,
                                uint64_t bytes)
{
    bool is_open_ended = part->is_file && part->source.is_open_ended;
    uint64_t its = is_open_ended || bytes < part->left ? bytes : part->left;
    part->sent += its;
    part->left -= is_open_ended ? 0 : its;
    request->promise.result.sent += its;
    stream->offset += its;
    return its;
}

/* Gives bytes that the sink took to the requests they belong to, from the head on: all of them are
 * prepared, since moving joins no others. */
static void account(ferry_stream *stream, uint64_t bytes, ferry_method method)
{
    while (bytes > 0) {
        ferry__request *request = stream->queue.first;
        begin(stream, request);
        ferry__part *part = ferry__request_find_part(request);
        if (part != NULL) {
            bytes -= account_to_part(stream, request, part, bytes);
            if (request->promise.result.method < method)
                request->promise.result.method = method;
        }
        if (ferry__request_find_part(request) == NULL)
            finish(stream, 0, FERRY_PHASE_DONE);
    }
}

/* Sets the stream aside until fd changes. Whether it can go on at once instead. */
static bool wait_for(ferry_stream *stream, ferry__watch *watch, int fd, uint32_t events,
                     ferry_phase phase)
{
    if (watch->fd != fd) /* the next part: another source */
        ferry__poller_unwatch(&stream->owner->poller, watch);
    watch->fd = fd;
    int error = ferry__owner_watch(stream->owner, watch, events);
    if (error == 0)
        return false;
    if (error != -EPERM) /* EPERM: a regular file, always ready */
        finish(stream, error, phase);
    return true;
}

/* Draws the consequences of a move. Whether to go on at once. */
static bool conclude(ferry_stream *stream, ferry__part *part, const ferry__move *move)
{
    switch (move->outcome) {
    case FERRY__MOVED_BYTES:
        account(stream, move->bytes, move->method);
        return true;
    case FERRY__MOVED_TO_END:
        part->source.is_open_ended = false;
        return true;
    case FERRY__MOVED_SINK_FULL:
        return wait_for(stream, &stream->sink_watch, stream->sink.fd, EPOLLOUT, FERRY_PHASE_SINK);
    case FERRY__MOVED_SOURCE_DRY:
        ferry__sink_push(&stream->sink); /* nothing follows for now */
        return wait_for(stream, &stream->source_watch, part->source.fd, EPOLLIN,
                        FERRY_PHASE_SOURCE);
    case FERRY__MOVED_FAILED:
        if (!is_cut(stream)) /* else the failure is the abort's doing, and settled as such */
            finish(stream, move->error, move->phase);
        return true;
    }
    return false;
}

static bool carry_out(ferry_stream *stream)
{
    ferry__part *part = find_next_part(stream);
    if (part == NULL)
        return stream->queue.first != NULL || (stream->state == FERRY__LINGERING && linger(stream));
    size_t chunk = stream->service->options.chunk_bytes;
    ferry__move move =
        part->is_file ? ferry__move_file(stream, part, chunk) : ferry__move_memory(stream, chunk);
    return conclude(stream, part, &move);
}

ferry__turn ferry__stream_turn(ferry__task *task)
{
    ferry_stream *stream = STREAM_OF(task, task);
    assert_owner(stream);
    stream->turn_began_at = ferry__clock_now();
    bool again = false;
    if (is_cut(stream))
        call_off(stream);
    else
        again = carry_out(stream);
    settle_finished(stream);
    if (try_end(stream))
        return FERRY__TURN_OVER;
    return again ? FERRY__TURN_AGAIN : FERRY__TURN_OVER;
}

/* ---- what schedules a turn ------------------------------------------------------------------- */

static void schedule(ferry_stream *stream)
{
    ferry__owner_schedule(stream->owner, &stream->task);
}

void ferry__stream_deliver_request(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* an owner lives as long as its streams admit requests */
    ferry__request *request = ferry__request_of_mail(mail);
    /* Written on the submitter's core: on its way here while the other mail is delivered. */
    __builtin_prefetch(request->parts);
    append(&request->stream->queue, request);
    schedule(request->stream);
}

void ferry__stream_deliver_abort(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    ferry_stream *stream = STREAM_OF(mail, abort_mail);
    stream->released += FERRY__ONE_REQUEST;
    schedule(stream);
}

void ferry__stream_sink_ready(ferry__watch *watch)
{
    schedule(STREAM_OF(watch, sink_watch));
}

void ferry__stream_source_ready(ferry__watch *watch)
{
    schedule(STREAM_OF(watch, source_watch));
}

void ferry__stream_close_timeout(ferry__timer *timer)
{
    ferry_stream *stream = STREAM_OF(timer, close_timer);
    stream->close_timed_out = true;
    schedule(stream);
}
