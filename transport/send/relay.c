/* SPDX-License-Identifier: MIT */
/*
 * Relays: reads whose bytes go to another stream. When a relay's turn has come the whole direction
 * becomes one request of the other stream. What was kept is lent to it, and a duplicate of the fd
 * is its source (transport/edge/source.h). So the bytes are spliced, and the two streams' limits,
 * order and framing are what they always are. Where the link of from gives its bytes to nobody else
 * it is read on, and the request's source is a channel (transport/send/channel.h).
 *
 *   from's owner                                     to's owner
 *   feed: lends, duplicates, submits       ──▶       carries it out, as any request
 *   nothing is read meanwhile                        note_result, once it has settled: passes the
 *                                                    end on
 *   deliver_return: takes back what was    ◀──       posts the return
 *   not sent, settles the relay
 *
 * Bytes that the request has taken out of the socket and could not send are left over
 * (ferry__leftover). The next read gets them: however a relay ends, no byte is lost.
 *
 * A relay holds a program's reference to both streams until it is over. The request is let in
 * beyond to's limits. An owner cannot wait for room. There is one such request for each stream that
 * is read from, and its bytes wait with their sender.
 */
#include "core/cancel.h"
#include "core/clock.h"
#include "transport/read/intake.h"
#include "transport/service/service.h"
#include "transport/send/channel.h"
#include "transport/send/submit.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <unistd.h>

/* What was asked for. */
typedef struct order {
    ferry_stream *to;
    int64_t length;
    unsigned flags;
} order;

/* The particulars of one. */
typedef struct relay {
    ferry__read read; /* first */
    order asked;
    int called_off;       /* why to's request was cancelled; 0: it was not */
    ferry_promise *inner; /* to's request, a reference, while there is one */
    ferry__bytes kept;    /* what was kept, while it is away */
    size_t lent;          /* how many of these bytes are lent to the request */
    ferry__leftover
        left;            /* what it had taken beside, and not sent. to's owner's while it is away */
    ferry_result result; /* the request's. to's owner's while it is away, too */
    ferry__mail return_mail;
    bool has_channel; /* the request's bytes come by it, and the direction is not away */
    ferry__channel channel;
} relay;

static const ferry__read_type to_stream; /* below; wanted: an order */

static relay *relay_of(ferry__request *request)
{
    return (relay *)(void *)ferry__request_read(request);
}

static void deliver_return(ferry__mail *mail, bool receiver_gone);

/* ---- at submit ------------------------------------------------------------------------------- */

static int check(const void *wanted, const ferry_request_options *options)
{
    (void)options;
    const order *asked = wanted;
    if (asked->to == NULL || (asked->length < 0 && asked->length != FERRY_TO_END) ||
        (asked->flags & ~FERRY_RELAY_KEEP_OPEN) != 0)
        return -EINVAL;
    return ferry__service_is_foreign(asked->to->service) ? -ECHILD : 0;
}

static int create(ferry_stream *stream, const void *wanted, const ferry_request_options *options,
                  ferry__inbox *home, ferry__request **ret_request)
{
    const order *asked = wanted;
    int error = ferry__read_create(stream, &to_stream, sizeof(relay), options, home, ret_request);
    if (error != 0)
        return error;
    relay *self = relay_of(*ret_request);
    *self = (relay){
        .read = self->read,
        .asked = *asked,
        .left = {.taken = &atomic_load(&stream->incoming)->received,
                 .is_tcp = stream->link.is_tcp && ferry__link_is_plain(&stream->link)},
        .return_mail.deliver = deliver_return,
    };
    (void)ferry_stream_ref(stream);
    (void)ferry_stream_ref(asked->to);
    return 0;
}

int ferry_stream_relay(ferry_stream *from, ferry_stream *to, int64_t length, unsigned flags,
                       const ferry_request_options *options, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    const order asked = {to, length, flags};
    return ferry__stream_submit_read(from, &to_stream, &asked, options, ret_promise);
}

/* ---- on to's owner --------------------------------------------------------------------------- */

/* The peer of from has ended: ends what to's peer reads. */
static void pass_end_on(relay *self)
{
    int error = ferry_stream_shutdown(self->asked.to, NULL);
    if (error == 0 || error == -ENOTSOCK || error == -ESHUTDOWN)
        return; /* it has no directions, or this one has ended */
    self->result.error = error;
    self->result.phase = FERRY_PHASE_CLOSE;
}

/* An abort of from ends its connection on this side: that is no end of the peer's. */
static void heed_abort(const ferry_stream *from, relay *self)
{
    ferry_result *result = &self->result;
    bool has_seen_end =
        result->error == -ENODATA || (result->error == 0 && self->asked.length == FERRY_TO_END);
    if (!has_seen_end || !ferry__stream_is_cut(from))
        return;
    result->error = -ECANCELED;
    result->phase = FERRY_PHASE_SOURCE;
    result->cause = atomic_load(&from->abort_cause);
}

static void note_result(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise;
    ferry__request *request = arg;
    relay *self = relay_of(request);
    self->result = *result;
    heed_abort(request->stream, self);
    if (self->result.error == 0 && self->asked.length == FERRY_TO_END &&
        (self->asked.flags & FERRY_RELAY_KEEP_OPEN) == 0)
        pass_end_on(self);
    ferry__owner_post_last(request->stream->owner, &self->return_mail);
}

/* The request's progress is the relay's. */
static void note_progress(ferry_promise *promise, uint64_t sent_bytes, void *arg)
{
    (void)promise;
    ferry__request *request = arg;
    request->promise.result.sent = sent_bytes;
    ferry__request_note_progress(request, ferry__clock_now(),
                                 &relay_of(request)->asked.to->owner->ringer);
}

/* ---- on from's owner ------------------------------------------------------------------------- */

static ferry_request_options options_of(ferry__request *request)
{
    ferry_request_options options = {
        .on_owner = note_result,
        .on_owner_holds_queue = true,
        .on_owner_arg = request,
        .label = ferry__promise_label(&request->promise),
    };
    if (request->extras == NULL)
        return options;
    options.completion = request->extras->completion;
    if (ferry__request_tells_progress(request)) {
        options.on_progress = note_progress;
        options.on_progress_arg = request;
    }
    return options;
}

/* Submits to's request. @param rest what comes behind the lent bytes; NULL: nothing. */
static int submit(ferry__request *request, const void *lent, const ferry_part *rest)
{
    relay *self = relay_of(request);
    ferry_part parts[2];
    size_t count = 0;
    if (self->lent > 0)
        parts[count++] = ferry_part_borrow(lent, self->lent);
    if (rest != NULL)
        parts[count++] = *rest;
    const ferry_request_options options = options_of(request);
    return ferry__stream_send_relayed(self->asked.to, parts, count, &options, &self->left,
                                      &self->inner);
}

/* What comes behind the lent bytes: from's fd, or what from goes on to receive. By a channel
 * nothing is lent: what is kept is the first that is put. @return 0, or an errno with nothing
 * changed. */
static int find_rest(ferry__intake *intake, relay *self, ferry_part *ret_rest)
{
    int fd = ferry__link_share(&intake->stream->link);
    if (fd == -EOPNOTSUPP) {
        self->has_channel = true;
        self->lent = 0;
        ferry__channel_open(&self->channel, intake->stream, self->asked.to);
        *ret_rest =
            ferry_part_generate(ferry__channel_take, &self->channel, self->asked.length, NULL);
        return 0;
    }
    if (fd < 0)
        return fd;
    ferry_file file = ferry_file_fd(fd);
    file.flags = FERRY_FD_GIVE;
    if (self->asked.length != FERRY_TO_END)
        file.length = self->asked.length - (int64_t)self->lent;
    *ret_rest = ferry_part_file(file);
    return 0;
}

static void drop_rest(relay *self, const ferry_part *rest)
{
    if (self->has_channel)
        (void)ferry__channel_close(&self->channel);
    else
        (void)ferry__close(rest->file.fd);
    self->has_channel = false;
}

/* Nothing is kept or read until it is back. */
static void go_away(ferry__intake *intake, relay *self)
{
    ferry_stream *from = intake->stream;
    self->kept = intake->kept;
    intake->kept = (ferry__bytes){0};
    intake->is_away = true;
    if (!ferry__stream_awaits(from, FERRY__SENDING)) /* what comes meanwhile is to wake others */
        ferry__poller_unwatch(&from->owner->poller, &from->watch);
}

/* From has ended: as of a file that is too short, before its first byte. */
static int check_ended(const ferry__intake *intake, const relay *self)
{
    if (intake->error != 0)
        return intake->error;
    return self->asked.length != FERRY_TO_END ? -ENODATA : 0;
}

/* Hands the direction over. @return 0, or an errno with nothing changed. */
static int hand_over(ferry__intake *intake, ferry__request *request, ferry_phase *ret_phase)
{
    relay *self = relay_of(request);
    size_t count = ferry__bytes_count(&intake->kept);
    bool is_enough = self->asked.length != FERRY_TO_END && (uint64_t)self->asked.length <= count;
    bool has_rest = !is_enough && !intake->has_ended;
    ferry_part rest;
    self->lent = is_enough ? (size_t)self->asked.length : count;
    *ret_phase = has_rest ? FERRY_PHASE_OPEN : FERRY_PHASE_SOURCE;
    int error = 0;
    if (has_rest)
        error = find_rest(intake, self, &rest);
    else if (!is_enough)
        error = check_ended(intake, self);
    if (error != 0)
        return error;
    *ret_phase = FERRY_PHASE_QUEUE;
    error = submit(request, ferry__bytes_first(&intake->kept), has_rest ? &rest : NULL);
    if (error == 0 && !self->has_channel)
        go_away(intake, self);
    else if (error != 0 && has_rest)
        drop_rest(self, &rest);
    return error;
}

/* Puts what has come, and says when nothing more comes. */
static ferry__read_step feed_channel(ferry__intake *intake, relay *self)
{
    bool has_some = ferry__bytes_count(&intake->kept) > 0;
    if (has_some && !ferry__channel_put(&self->channel, &intake->kept))
        return ferry__read_is(FERRY__READ_WAITING);
    ferry__intake_take(intake, 0); /* all that comes now is news */
    if (!intake->has_ended)
        return ferry__read_is(FERRY__READ_HUNGRY);
    ferry__channel_end(&self->channel, intake->error);
    return ferry__read_is(FERRY__READ_WAITING); /* for the request to settle */
}

static ferry__read_step feed(ferry__intake *intake, ferry__request *request)
{
    relay *self = relay_of(request);
    ferry_phase phase;
    int error = self->inner == NULL ? hand_over(intake, request, &phase) : 0;
    if (error != 0)
        return ferry__read_over(error, phase);
    return self->has_channel ? feed_channel(intake, self) : ferry__read_is(FERRY__READ_AWAY);
}

/* For what is put next, while the channel has not been emptied. */
static ssize_t ask(ferry__intake *intake, ferry__request *request)
{
    enum { MOST = 4 * FERRY__PORTION }; /* more gains nothing, and is memory */
    (void)request;
    return ferry__intake_keep(intake, MOST);
}

static bool pass_on(ferry__request *request, int error)
{
    relay *self = relay_of(request);
    if (self->inner == NULL)
        return false;
    if (self->called_off == 0)
        self->called_off = error;
    (void)ferry_promise_cancel(self->inner);
    return true;
}

static void drop(ferry__bytes *bytes)
{
    ferry__bytes_take(bytes, ferry__bytes_count(bytes));
}

/* Gives the intake the bytes that were not sent, before those that have come since: those that the
 * request had taken, and those that it had not. */
static void take_back_from_channel(ferry__intake *intake, relay *self)
{
    ferry__bytes rest = ferry__channel_close(&self->channel);
    ferry__intake_put_back(intake, ferry__bytes_first(&rest), ferry__bytes_count(&rest));
    ferry__intake_put_back(intake, ferry__bytes_first(&self->left.bytes),
                           ferry__bytes_count(&self->left.bytes));
    drop(&rest);
    drop(&self->left.bytes);
}

/* Gives the intake the bytes that were not sent: those that it had kept, and those behind them. */
static void take_back(ferry__intake *intake, relay *self)
{
    uint64_t sent = self->result.sent;
    ferry__bytes_take(&self->kept, sent < self->lent ? (size_t)sent : self->lent);
    bool is_kept = ferry__bytes_count(&self->kept) > 0;
    ferry__bytes *rest = is_kept ? &self->kept : &self->left.bytes;
    if (intake->is_over) {
        ferry__intake_put_back(intake, ferry__bytes_first(rest), ferry__bytes_count(rest));
        drop(rest);
        return;
    }
    assert(ferry__bytes_count(&intake->kept) == 0 && "nothing is read while it is away");
    intake->kept = *rest;
    *rest = (ferry__bytes){0};
    ferry__intake_take(intake, 0); /* all of it is news */
}

/* Whether the socket has told the request of an end: it tells nobody else again. */
static bool is_end_of_reading(const ferry_result *told)
{
    return told->phase == FERRY_PHASE_SOURCE && told->error != -ENODATA &&
           told->error != -ECANCELED;
}

static void deliver_return(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* from has not ended: the relay has not settled */
    relay *self = (relay *)(void *)((char *)mail - offsetof(relay, return_mail));
    ferry__request *request =
        (ferry__request *)(void *)((char *)self - offsetof(ferry__request, parts));
    ferry__intake *intake = ferry__intake_of(request->stream);
    self->inner = ferry_promise_unref(self->inner);
    if (self->has_channel)
        take_back_from_channel(intake, self);
    else
        take_back(intake, self);
    if (self->left.error != 0)
        ferry__intake_note_gap(intake);
    if (self->left.error != 0 && !intake->is_over)
        ferry__intake_note_end(intake, self->left.error);
    if (is_end_of_reading(&self->result) && !self->has_channel)
        ferry__intake_note_end(intake, self->result.error);
    bool is_called_off = self->result.error == -ECANCELED && self->called_off != 0;
    if (!is_called_off && self->result.error == -ECANCELED)
        request->promise.result.cause = self->result.cause;
    ferry__intake_go_on(intake, request, is_called_off ? self->called_off : self->result.error,
                        self->result.phase);
}

/* Does nothing: it has never been away, and has taken nothing. */
static void undo(ferry__intake *intake, ferry__request *request)
{
    (void)intake;
    (void)request;
}

static void conclude(ferry__request *request, int error)
{
    relay *self = relay_of(request);
    ferry_result *result = &request->promise.result;
    bool to_end = self->asked.length == FERRY_TO_END;
    result->sent = self->result.sent;
    result->method = self->result.method;
    result->remaining = to_end ? 0 : (uint64_t)self->asked.length - result->sent;
    result->at_end = error == 0 && to_end;
    (void)ferry_stream_unref(self->asked.to);
    (void)ferry_stream_unref(request->stream);
}

static const ferry__read_type to_stream = {
    .check = check,
    .create = create,
    .feed = feed,
    .ask = ask,
    .undo = undo,
    .conclude = conclude,
    .pass_on = pass_on,
};
