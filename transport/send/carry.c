/* SPDX-License-Identifier: MIT */
/*
 * A stream's turns: one carries out as much as one system call moves, settles what that completed,
 * and ends the stream once it is closed and nothing is left to settle.
 */
#include "transport/send/carry.h"

#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "transport/read/intake.h"
#include "transport/send/blocking.h"
#include "transport/send/closing.h"
#include "transport/send/conditions.h"
#include "transport/send/move.h"
#include "transport/send/outcome.h"
#include "transport/send/securing.h"
#include "transport/send/watermark.h"
#include "transport/service/service.h"
#include "transport/stream/batch.h"
#include "transport/stream/making.h"
#include "transport/stream/settle.h"

#include <errno.h>
#include <sys/epoll.h>

/* ---- a turn ---------------------------------------------------------------------------------- */

/* Why the head is not to be carried out at all; 0: it is. */
static int refusal(const ferry_stream *stream, const ferry__request *request)
{
    if (stream->state != FERRY__OPEN)
        return -ESHUTDOWN;
    if (request->kind == FERRY__CLOSE)
        return 0;
    if (ferry__stream_is_poisoned(stream))
        return -ECANCELED;
    if (request->kind == FERRY__SEND && stream->owner->start_error != 0)
        return stream->owner->start_error;
    /* It was admitted before the shutdown, and posted after it. It counts as later. */
    return stream->is_shut && request->part_count > 0 ? -ESHUTDOWN : 0;
}

/* Whether the request that finished last has an on_owner, which is called before anything else. */
static bool is_callback_due(const ferry_stream *stream)
{
    return stream->finished.last != NULL && stream->finished.last->is_told_first;
}

/* Whether the fd must stay until what it has accepted is confirmed. */
static bool waits_to_close(const ferry_stream *stream)
{
    return stream->confirming.first != NULL && stream->queue.first != NULL &&
           stream->queue.first->kind == FERRY__CLOSE;
}

/* One of its files cannot be opened yet: somebody has a lease on it, and was asked to give it back.
 * open(2) would wait for that, and hold up others. */
static void wait_for_lease(ferry_stream *stream, ferry__request *request)
{
    enum { LOOK = 20 * FERRY__NS_PER_MS }; /* a lease is given back in anything up to 45 s */
    ferry__request_undo_open(request);
    ferry__stream_push(stream);
    stream->waits_for_source = true;
    ferry__timers_set(&stream->owner->timers, &stream->follow_timer, ferry__clock_now() + LOOK);
}

/* Another thread is about to finish a write into it, and resumes the stream then. */
static void wait_for_batch(ferry_stream *stream)
{
    ferry__stream_push(stream);
    stream->waits_for_source = true;
}

/* Whether it was; else the link owes something of it. */
static bool shut_down(ferry_stream *stream, ferry__request *request)
{
    int error = ferry__link_shut_down(&stream->link);
    if (error == -EAGAIN)
        return false;
    stream->is_shut = true;
    ferry__stream_finish(stream, request, error, error != 0 ? FERRY_PHASE_CLOSE : FERRY_PHASE_DONE);
    return true;
}

/* Carries out all that moves no bytes. Gives the part whose bytes are next, or NULL: there is none
 * now, or the link owes something first. */
static ferry__part *find_next_part(ferry_stream *stream)
{
    ferry__request *request;
    while ((request = stream->queue.first) != NULL && !is_callback_due(stream) &&
           !waits_to_close(stream)) {
        if (!ferry__batch_is_taken(request)) {
            wait_for_batch(stream);
            return NULL;
        }
        int error = refusal(stream, request);
        if (error != 0) {
            if (error == -ECANCELED)
                request->promise.result.cause = FERRY_CAUSE_BROKEN;
            ferry__stream_refuse(stream, request, error);
            continue;
        }
        ferry__stream_begin(stream, request);
        switch (request->kind) {
        case FERRY__CLOSE:
            if (!ferry__closing_start(stream))
                return NULL;
            continue;
        case FERRY__SHUTDOWN:
            if (!shut_down(stream, request))
                return NULL;
            continue;
        case FERRY__SEND:
        case FERRY__READ: /* never here: it has a queue of its own */
            break;
        }
        if (!request->is_prepared)
            ferry__stream_show_head(stream);
        error = ferry__request_prepare(request);
        if (error == -EAGAIN && request->prepare_phase == FERRY_PHASE_OPEN) {
            wait_for_lease(stream, request);
            return NULL;
        }
        if (error != 0) {
            ferry__stream_finish(stream, request, error, request->prepare_phase);
            continue;
        }
        ferry__part *part = ferry__request_find_part(request);
        if (part != NULL)
            return part;
        ferry__stream_finish(stream, request, 0, FERRY_PHASE_DONE);
    }
    return NULL;
}

/* Counts bytes that the sink took for one part. @return how many were its. */
static uint64_t account_to_part(ferry_stream *stream, ferry__request *request, ferry__part *part,
                                uint64_t bytes)
{
    bool is_open_ended = part->source != NULL && part->source->is_open_ended;
    uint64_t its = is_open_ended || bytes < part->left ? bytes : part->left;
    part->sent += its;
    part->left -= is_open_ended ? 0 : its;
    request->promise.result.sent += its;
    stream->offset += its;
    return its;
}

/* A part has ended. @return 0, or an errno if its source was to be stable and was not. */
static int check_ended(const ferry_stream *stream, const ferry__part *part)
{
    if (part->left > 0 || part->source->is_open_ended)
        return 0;
    return ferry__source_check_stable(part->source, stream->link.calls);
}

/* Notes how bytes of a part left. Those of a file that could go by sendfile(2), and left as memory,
 * were peeked at: only now does it move on. */
static void note_method(ferry__request *request, ferry__part *part, uint64_t bytes,
                        ferry_method method)
{
    ferry__source *source = part->source;
    if (source != NULL && source->way == FERRY__BY_SENDFILE && method == FERRY_METHOD_MEMORY) {
        ferry__source_pass(source, bytes);
        method = FERRY_METHOD_COPY;
    }
    if (request->promise.result.method < method)
        request->promise.result.method = method;
}

/* Counts bytes that the link took for the requests that they belong to, from the head on. All of
 * these are prepared, since moving joins no others. */
static void account(ferry_stream *stream, uint64_t bytes, ferry_method method)
{
    while (bytes > 0) {
        ferry__request *request = stream->queue.first;
        ferry__stream_begin(stream, request);
        ferry__part *part = ferry__request_find_part(request);
        int error = 0;
        if (part != NULL) {
            uint64_t its = account_to_part(stream, request, part, bytes);
            note_method(request, part, its, method);
            bytes -= its;
            if (part->source != NULL)
                error = check_ended(stream, part);
        }
        bool is_over = error != 0 || ferry__request_find_part(request) == NULL;
        if (part != NULL && (is_over || bytes == 0)) /* once a call, however many parts it took */
            ferry__request_note_progress(request, ferry__stream_turn_time(stream),
                                         &stream->owner->ringer);
        if (is_over)
            ferry__stream_finish(stream, request, error,
                                 error != 0 ? FERRY_PHASE_SOURCE : FERRY_PHASE_DONE);
    }
}

/* Counts bytes that the link has begun, and that are not to be written again: they leave. They are
 * of the padding, of the head's source, or of the memory of one or more requests. */
static void account_begun(ferry_stream *stream)
{
    uint64_t bytes = ferry__link_owe(&stream->link);
    if (bytes == 0)
        return;
    ferry__pace_use(stream, bytes);
    if (stream->padding > 0) {
        stream->padding -= bytes;
        return;
    }
    const ferry__part *part = ferry__request_find_part(stream->queue.first);
    bool is_copied = part != NULL && part->source != NULL;
    if (is_copied)
        part->source->buffer_begin += bytes;
    account(stream, bytes, is_copied ? FERRY_METHOD_COPY : FERRY_METHOD_MEMORY);
}

/* Calls a request off, wherever it stands. If all of it has begun that comes too late. */
static void call_off(ferry_stream *stream, ferry__request *request, int error)
{
    if (request->stage == FERRY__CONFIRMING) {
        ferry__confirm_conclude(stream, request, error);
        return;
    }
    account_begun(stream);
    if (request->stage == FERRY__QUEUED)
        ferry__stream_finish(stream, request, error, ferry__stream_phase_of(stream, request));
    else
        request->promise.result.cause = FERRY_CAUSE_NONE;
}

const ferry__request_types ferry__sent_requests = FERRY__REQUEST_TYPES(call_off);

/* Fails what the link owes, or else the padding, or else the head. */
static void fail_head(ferry_stream *stream, int error, ferry_phase phase)
{
    if (stream->padding > 0 || stream->link.owes) {
        stream->link.owes = false;
        ferry__stream_drop_padding(stream);
        ferry__stream_poison(stream, error);
    } else {
        ferry__stream_finish(stream, stream->queue.first, error, phase);
    }
}

/* The stream is set aside until an fd is ready, unless that failed. Whether it can go on at once
 * instead. */
static bool is_ready_anyway(ferry_stream *stream, int error, ferry_phase phase)
{
    if (error == 0)
        return false;
    if (error != -EPERM) /* EPERM: a regular file, always ready */
        fail_head(stream, error, phase);
    return true;
}

/* Nothing is to be written for now, but what was written may still have to get to the peer. */
static void end_stall_unless_confirming(ferry_stream *stream)
{
    if (stream->confirming.first != NULL)
        ferry__stall_watch(stream);
    else
        ferry__stall_end(stream);
}

/* Whether a part is spliced from a pipe of the program's. While splice(2) waits it holds the pipe's
 * lock, so it is not let wait. @param part NULL: padding, or what the link owes. */
static bool is_pipe(const ferry__part *part)
{
    return part != NULL && part->source != NULL && part->source->way == FERRY__BY_SPLICE;
}

/* Whether the epoll set need not be asked anew: it was the sink that said it is full, and an edge
 * tells when it is not. A splice from a pipe may have meant that the pipe was empty. @param part
 * NULL: padding, or what the link owes. */
static bool comes_with_edge(const ferry_stream *stream, const ferry__part *part)
{
    return !is_pipe(part) && ferry__link_is_stream_socket(&stream->link);
}

/* Without an epoll set, for want of fds, or where no event comes: looks again soon. */
static void look_at_sink_later(ferry_stream *stream)
{
    enum { LOOK = 20 * FERRY__NS_PER_MS };
    ferry__timers_set(&stream->owner->timers, &stream->follow_timer, ferry__clock_now() + LOOK);
}

static bool wait_for_sink(ferry_stream *stream, const ferry__part *part)
{
    if (!is_pipe(part) && ferry__blocking_goes_on(stream))
        return true;
    ferry__pace_rest(stream);
    ferry__stall_watch(stream);
    bool has_no_set = stream->link.patience != NULL && ferry__owner_need_poller(stream->owner) != 0;
    if (has_no_set || stream->link.has_no_edge) {
        look_at_sink_later(stream);
        return false;
    }
    uint32_t events = FERRY__SENDING;
    if (stream->link.is_held_up)
        events |= FERRY__RECEIVING;
    int error = comes_with_edge(stream, part)
                    ? ferry__owner_await(stream->owner, &stream->watch, events)
                    : ferry__owner_watch(stream->owner, &stream->watch, events);
    if (is_ready_anyway(stream, error, FERRY_PHASE_SINK))
        return true;
    /* Not if there are watermarks: each request may be the one that reaches a mark. Nor if the
     * stream is poisoned: each request is refused at once. */
    stream->waits_for_sink = stream->watermark == NULL && !ferry__stream_is_poisoned(stream);
    ferry__owner_doze(stream->owner, stream->waits_for_sink);
    return false;
}

/* Sets the time of the next look at a file that may grow: soon after it has grown, else later. */
static void look_again_later(ferry_stream *stream, ferry__source *source)
{
    enum { SOON = 10 * FERRY__NS_PER_MS, LATEST = 100 * FERRY__NS_PER_MS };
    ferry__timers_set(&stream->owner->timers, &stream->follow_timer,
                      ferry__clock_back_off(&source->patience_ns, SOON, LATEST));
}

static void be_source_ready(ferry__watch *watch, uint32_t events)
{
    ferry__source_watch *self = (ferry__source_watch *)(void *)watch;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0)
        self->is_cut_short = true;
    ferry__stream_schedule(self->stream);
}

/* NULL: no memory. */
static ferry__watch *need_source_watch(ferry_stream *stream)
{
    if (stream->source_watch == NULL) {
        stream->source_watch = ferry__allocate(sizeof *stream->source_watch);
        if (stream->source_watch == NULL)
            return NULL;
        *stream->source_watch = (ferry__source_watch){
            .watch = {.fd = -1, .calls = stream->link.calls, .ready = be_source_ready},
            .stream = stream};
    }
    return &stream->source_watch->watch;
}

static bool wait_until_readable(ferry_stream *stream, int fd)
{
    ferry__watch *watch = need_source_watch(stream);
    if (watch == NULL)
        return is_ready_anyway(stream, -ENOMEM, FERRY_PHASE_SOURCE);
    if (watch->fd != fd) { /* the next part: another source */
        ferry__poller_unwatch(&stream->owner->poller, watch);
        stream->source_watch->is_cut_short = false;
    }
    watch->fd = fd;
    int error = ferry__owner_await(stream->owner, watch, FERRY__RECEIVING);
    return is_ready_anyway(stream, error, FERRY_PHASE_SOURCE);
}

static bool wait_for_source(ferry_stream *stream, ferry__source *source)
{
    ferry__stream_push(stream); /* nothing follows for now */
    ferry__pace_rest(stream);
    stream->waits_for_source = true;
    if (source->dry == FERRY__DRY_UNTIL_READABLE)
        return wait_until_readable(stream, source->fd);
    if (source->dry == FERRY__DRY_UNTIL_LATER)
        look_again_later(stream, source);
    return false;
}

/* A source whose size was not known has come to its end. */
static void end_open_ended(ferry_stream *stream, ferry__part *part)
{
    part->source->is_open_ended = false;
    int error = check_ended(stream, part);
    if (error != 0)
        ferry__stream_finish(stream, stream->queue.first, error, FERRY_PHASE_SOURCE);
}

/* A move has failed. */
static void note_failure(ferry_stream *stream, const ferry__move *move)
{
    if (move->phase == FERRY_PHASE_SINK && !ferry__stream_is_cut(stream))
        ferry__stream_note_death(stream, move->error);
    stream->was_told_of_reset |= move->phase == FERRY_PHASE_SINK && move->error == -ECONNRESET;
}

/* All mail that was posted before has come if there is none now. */
bool ferry__stream_is_clear(const ferry_stream *stream)
{
    const ferry__link *link = &stream->link;
    bool is_plain = ferry__link_is_plain(link) && !link->is_message && link->patience == NULL;
    bool is_idle = stream->queue.first == NULL && stream->finished.first == NULL &&
                   stream->confirming.first == NULL && stream->padding == 0;
    bool may_send = stream->state == FERRY__OPEN && !stream->is_shut && stream->pace == NULL &&
                    !ferry__stream_is_poisoned(stream) &&
                    !ferry__stream_awaits(stream, FERRY__SENDING);
    return is_plain && is_idle && may_send && ferry__mailbox_is_empty(&stream->owner->mailbox);
}

size_t ferry__stream_send_at_once(ferry_stream *stream, const void *data, size_t length)
{
    const struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};
    ssize_t sent = ferry__link_write(&stream->link, &piece, 1, false);
    if (sent < 0 && sent != -EAGAIN) {
        const ferry__move failed = ferry__move_failed((int)sent, FERRY_PHASE_SINK);
        note_failure(stream, &failed);
    }
    if (sent <= 0)
        return 0;
    stream->offset += (uint64_t)sent;
    return (size_t)sent;
}

/*
 * Whether the source has just given all that it has for now, and all of that was sent. Then it need
 * not be asked in vain: what comes next is an edge. It is waited for in this turn, since an edge
 * that nobody waits for is lost.
 */
static bool is_drained(const ferry_stream *stream, const ferry__part *part)
{
    const ferry__source *source = part->source;
    const ferry__source_watch *watch = stream->source_watch;
    bool is_unsure = watch != NULL && watch->watch.fd == source->fd && watch->is_cut_short;
    return source->is_drained && source->buffer_begin == source->buffer_end && !is_unsure;
}

/* Counts what has moved. @return whether to go on at once. */
static bool conclude_bytes(ferry_stream *stream, ferry__part *part, const ferry__move *move)
{
    const ferry__request *head = stream->queue.first;
    ferry__blocking_note_move(stream);
    ferry__pace_use(stream, move->bytes);
    if (part->source != NULL)
        part->source->patience_ns = 0;
    account(stream, move->bytes, move->method);
    bool has_ended = stream->queue.first != head || ferry__part_has_ended(part);
    return has_ended || part->source == NULL || !is_drained(stream, part) ||
           wait_for_source(stream, part->source);
}

/* Draws the consequences of a move. @return whether to go on at once. */
static bool conclude(ferry_stream *stream, ferry__part *part, const ferry__move *move)
{
    if (move->outcome == FERRY__MOVED_SINK_FULL)
        return wait_for_sink(stream, part);
    if (move->outcome == FERRY__MOVED_SOURCE_DRY)
        end_stall_unless_confirming(stream);
    else
        ferry__stall_end(stream);
    switch (move->outcome) {
    case FERRY__MOVED_BYTES:
        return conclude_bytes(stream, part, move);
    case FERRY__MOVED_TO_END:
        end_open_ended(stream, part);
        return true;
    case FERRY__MOVED_SOURCE_DRY:
        return wait_for_source(stream, part->source);
    case FERRY__MOVED_FAILED:
        note_failure(stream, move);
        if (!ferry__stream_is_cut(stream)) /* else an abort did it, which settles the request */
            ferry__stream_finish(stream, stream->queue.first, move->error, move->phase);
        return true;
    case FERRY__MOVED_SINK_FULL:
        break;
    }
    return false;
}

/* Sends what the link owes. @return whether to go on at once. */
static bool pay(ferry_stream *stream)
{
    int error = stream->owner->start_error; /* without a thread nobody waits for room */
    if (error == 0)
        error = ferry__link_flush(&stream->link);
    if (error == -EAGAIN)
        return wait_for_sink(stream, NULL);
    ferry__stall_end(stream);
    if (error != 0 && !ferry__stream_is_cut(stream)) {
        const ferry__move failed = ferry__move_failed(error, FERRY_PHASE_SINK);
        note_failure(stream, &failed);
        fail_head(stream, error, FERRY_PHASE_SINK);
    }
    return true;
}

/* Draws the consequences of sending zeros that are owed. @return whether to go on at once. */
static bool conclude_padding(ferry_stream *stream, const ferry__move *move)
{
    if (move->outcome == FERRY__MOVED_SINK_FULL)
        return wait_for_sink(stream, NULL);
    ferry__stall_end(stream);
    if (move->outcome == FERRY__MOVED_BYTES) {
        ferry__blocking_note_move(stream);
        ferry__pace_use(stream, move->bytes);
        stream->padding -= move->bytes;
    } else if (!ferry__stream_is_cut(stream)) {
        note_failure(stream, move);
        fail_head(stream, move->error, FERRY_PHASE_SINK);
    }
    return true;
}

/* Moves bytes of a part, or else of the padding. */
static ferry__move move_some(ferry_stream *stream, ferry__part *part, size_t chunk)
{
    bool may_wait = !is_pipe(part) && ferry__blocking_begin(stream, &chunk);
    ferry__move move = part == NULL ? ferry__move_zeros(stream, stream->padding, chunk)
                                    : ferry__move_part(stream, part, chunk);
    if (may_wait)
        ferry__blocking_end(stream);
    return move;
}

/* Nothing is to be sent. @return whether to go on at once. */
static bool rest(ferry_stream *stream)
{
    ferry__pace_rest(stream);
    end_stall_unless_confirming(stream);
    if (stream->waits_for_source) /* for a lease */
        return false;
    if (stream->confirming.first != NULL)
        return stream->queue.first != NULL && !waits_to_close(stream);
    return stream->queue.first != NULL || ferry__closing_go_on(stream);
}

/*
 * Whether there is more to carry out. If not the stream rests at once. With a turn of its own for
 * that it would stand behind the streams that always have more to do, and the next request, too.
 */
static bool has_more(ferry_stream *stream)
{
    return stream->queue.first != NULL || stream->padding > 0 || stream->link.owes || rest(stream);
}

/* A close goes with the last bytes: they may be held back for it. @return as has_more. */
static bool go_on(ferry_stream *stream)
{
    const ferry__request *next = stream->queue.first;
    bool may_close = stream->padding == 0 && !stream->link.owes;
    if (may_close && next != NULL && next->kind == FERRY__CLOSE)
        (void)find_next_part(stream);
    return has_more(stream);
}

static bool carry_out(ferry_stream *stream)
{
    stream->waits_for_source = false; /* what it waits for is found out anew */
    ferry__part *part = stream->padding > 0 ? NULL : find_next_part(stream);
    if (stream->link.owes)
        return pay(stream);
    if (part == NULL && stream->padding == 0)
        return rest(stream);
    size_t most = ferry__service_chunk(stream->service, stream->owner, stream->link.is_tcp);
    size_t chunk = ferry__pace_ask(stream, most);
    if (chunk == 0) {
        /* Else it was full, and has not said that it has room. */
        if (!ferry__stream_awaits(stream, FERRY__SENDING))
            end_stall_unless_confirming(stream);
        return false;
    }
    if (part != NULL)
        ferry__stream_show_head(stream);
    ferry__move move = move_some(stream, part, chunk);
    bool goes_on = part != NULL ? conclude(stream, part, &move) : conclude_padding(stream, &move);
    return goes_on && go_on(stream);
}

/* The peer has stalled: whatever the framing policy, nothing more will get through. A head that the
 * stream no longer carries out is not what it stalled on. */
static void give_up(ferry_stream *stream)
{
    account_begun(stream);
    stream->link.owes = false;
    stream->has_given_up = true;
    ferry__request *head = stream->queue.first;
    bool is_known = head != NULL && ferry__batch_is_taken(head);
    bool is_carried_out = stream->padding == 0 && !ferry__stream_is_poisoned(stream);
    if (is_carried_out && is_known && head->kind == FERRY__SEND)
        ferry__stream_finish(stream, head, -ETIMEDOUT, FERRY_PHASE_SINK);
    ferry__stream_drop_padding(stream);
    ferry__confirm_give_up(stream, -ETIMEDOUT, FERRY_CAUSE_NONE);
    ferry__stream_poison(stream, -ETIMEDOUT);
}

/* @return whether to go on at once: a close waited for confirmation, and need not any more. */
static bool look_at_confirming(ferry_stream *stream)
{
    bool waited = waits_to_close(stream);
    ferry__confirm_look(stream);
    return waited && !waits_to_close(stream);
}

/* From here on each request that arrives has a turn again. */
static void stop_waiting_for_sink(ferry_stream *stream)
{
    stream->waits_for_sink = false;
    ferry__owner_doze(stream->owner, false);
}

/* The sending direction's share of a turn. @return whether it can go on at once. */
static bool send_some(ferry_stream *stream)
{
    stop_waiting_for_sink(stream);
    if (ferry__stall_is_over(stream))
        give_up(stream);
    /* Requests that were called off meanwhile settle first: each may have an on_owner. */
    bool again = stream->finished.first != NULL || carry_out(stream);
    if (stream->confirming.first != NULL)
        again |= look_at_confirming(stream);
    return again || ferry__stall_is_due(stream);
}

/* Whether its next turn closes it. */
static bool closes_next(const ferry_stream *stream)
{
    const ferry__request *head = stream->queue.first;
    return stream->sending_is_due && head != NULL && head->kind == FERRY__CLOSE;
}

/* Whether a question is to leave before its answer is looked for. */
static bool asks_first(const ferry_stream *stream)
{
    bool is_closed = (atomic_load(&stream->admission.word) & FERRY__CLOSED) != 0;
    return stream->sending_is_due && stream->reading_is_due && !stream->has_come && !is_closed;
}

static void give_share_of_reading(ferry_stream *stream)
{
    stream->reading_is_due = false;
    if (ferry__intake_take_in(stream))
        stream->reading_is_due = true;
}

/* One share for each direction that has something to do. */
static void give_shares(ferry_stream *stream)
{
    bool reads = stream->reading_is_due, sends = stream->sending_is_due;
    bool was_put_off = ferry__intake_is_put_off(stream), reads_last = asks_first(stream);
    stream->reading_is_due = stream->sending_is_due = stream->has_come = false;
    if (ferry__stream_is_cut(stream)) {
        stop_waiting_for_sink(stream);
        /* Not before its mail has come: then all that was submitted before it has come, too. */
        if (stream->abort_came)
            ferry__closing_abort(stream);
        return;
    }
    if (stream->state == FERRY__SECURING) {
        ferry__securing_go_on(stream);
        return;
    }
    if (reads && !reads_last)
        give_share_of_reading(stream);
    stream->reading_is_due |= reads_last; /* seen by could_wait (blocking.c): no call blocks */
    if (sends && send_some(stream))
        stream->sending_is_due = true;
    if (reads_last)
        give_share_of_reading(stream);
    /* Mail brings no other turn where the sink is full. */
    if ((was_put_off && !closes_next(stream)) || stream->waits_for_sink)
        ferry__intake_catch_up(stream);
}

static ferry__wait waits_for(const ferry_stream *stream)
{
    if (stream->sending_is_due)
        return FERRY__WAITS_FOR_NOTHING;
    if (stream->state == FERRY__SECURING)
        return FERRY__WAITS_FOR_HANDSHAKE;
    if (stream->queue.first == NULL && stream->padding == 0 && !stream->link.owes) {
        if (stream->confirming.first != NULL)
            return FERRY__WAITS_FOR_CONFIRMATION;
        return stream->state == FERRY__LINGERING ? FERRY__WAITS_FOR_END : FERRY__WAITS_FOR_NOTHING;
    }
    if (stream->waits_for_source)
        return FERRY__WAITS_FOR_SOURCE;
    if (ferry__stream_awaits(stream, FERRY__SENDING))
        return FERRY__WAITS_FOR_SINK;
    if (stream->pace != NULL && ferry__timer_is_set(&stream->pace->timer))
        return FERRY__WAITS_FOR_LIMITER;
    return stream->confirming.first != NULL ? FERRY__WAITS_FOR_CONFIRMATION
                                            : FERRY__WAITS_FOR_NOTHING;
}

/* Shows what both directions are at, for dumps. */
static void show(ferry_stream *stream)
{
    ferry__stream_show_head(stream);
    ferry__show_wait(&stream->shown_sending, waits_for(stream), ferry__stream_turn_time(stream));
    ferry__intake_show(stream);
}

ferry__turn ferry__stream_turn(ferry__task *task)
{
    ferry_stream *stream = FERRY__STREAM_OF(task, task);
    ferry__stream_assert_owner(stream);
    if (stream->watermark != NULL)
        ferry__watermark_look(stream);
    give_shares(stream);
    if (!stream->sending_is_due || stream->queue.first == NULL)
        ferry__blocking_rest(stream);
    ferry__stream_settle_finished(stream);
    show(stream);
    if (stream->watermark != NULL)
        ferry__watermark_look(stream);
    if (ferry__closing_try_end(stream))
        return FERRY__TURN_OVER;
    return stream->sending_is_due || stream->reading_is_due ? FERRY__TURN_AGAIN : FERRY__TURN_OVER;
}

/* ---- what schedules a turn ------------------------------------------------------------------- */

void ferry__stream_deliver_request(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* an owner lives as long as its streams admit requests */
    ferry__request *request = ferry__request_of_mail(mail);
    /* It was written on the submitter's core. It gets here while other mail is delivered. */
    __builtin_prefetch(request->parts);
    ferry_stream *stream = request->stream;
    if (request->is_batch)
        ferry__owner_let_gather(stream->owner);
    ferry__stream_enqueue(stream, request);
    if (!stream->waits_for_sink)
        ferry__stream_schedule(stream);
}

void ferry__stream_deliver_abort(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    ferry_stream *stream = FERRY__STREAM_OF(mail, abort_mail);
    stream->abort_came = true;
    stream->released_visits += FERRY__ONE_MESSAGE;
    ferry__stream_schedule(stream);
}

void ferry__stream_deliver_resume(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    ferry_stream *stream = FERRY__STREAM_OF(mail, resume_mail);
    /* Pairs with every resume, also if it posts nothing: what it made ready is there now. */
    (void)atomic_exchange(&stream->is_resuming, false);
    ferry__taken_over(&stream->is_resuming);
    ferry__owner_let_gather(stream->owner); /* nobody's question: a batch is whole, for one */
    stream->released_visits += FERRY__ONE_MESSAGE;
    ferry__stream_number_late(stream);
    ferry__stream_schedule(stream);
}

void ferry__stream_look_again(ferry__timer *timer)
{
    ferry__stream_schedule(FERRY__STREAM_OF(timer, follow_timer));
}

void ferry__stream_ready(ferry__watch *watch, uint32_t events)
{
    ferry_stream *stream = FERRY__STREAM_OF(watch, watch);
    ferry__intake_ready(stream, events);
    if ((events & ((uint32_t)FERRY__SENDING | EPOLLERR | EPOLLHUP)) != 0 ||
        stream->state == FERRY__LINGERING || stream->state == FERRY__SECURING ||
        stream->link.is_held_up)
        ferry__stream_schedule(stream);
}
