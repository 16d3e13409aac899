/* SPDX-License-Identifier: MIT */
/*
 * Relays: reads whose bytes go to another stream. When its turn has come the whole direction goes
 * with it, as one request of the other stream: what was kept is lent, and a duplicate of the fd is
 * its source (transport/edge/source.h). So the bytes are spliced, and the two streams' limits,
 * order and framing are what they always are.
 *
 *   from's owner                                     to's owner
 *   feed: lends, duplicates, submits       ──▶       carries it out, as any request
 *   nothing is read meanwhile                        note_outcome, once it has settled: passes the
 *                                                    end on
 *   deliver_return: takes back what was    ◀──       posts the return
 *   not sent, settles the relay
 *
 * What the request had taken out of the socket and could not send is left over (ferry__leftover),
 * and read by whoever reads next: however a relay ends, no byte is lost.
 *
 * A relay holds a program's reference to both streams until it is over. The request gets in beyond
 * to's limits: an owner cannot wait for room, there is one for each stream that is read from, and
 * its bytes wait with their sender.
 */
#include "core/cancel.h"
#include "core/clock.h"
#include "transport/read/intake.h"
#include "transport/service/service.h"
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
    ferry_promise *inner; /* to's request, a reference, while it is away */
    ferry__bytes kept;    /* what was kept, while it is away */
    size_t lent;          /* of that: so many bytes are the request's */
    ferry__leftover
        left; /* what it had taken beside, and not sent. to's owner's while it is away */
    ferry_result outcome; /* the request's. Likewise */
    ferry__mail return_mail;
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
        .left.taken = &atomic_load(&stream->incoming)->received,
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

/* The peer of from has ended: so does what to's peer reads. */
static void pass_end_on(relay *self)
{
    int error = ferry_stream_shutdown(self->asked.to, NULL);
    if (error == 0 || error == -ENOTSOCK || error == -ESHUTDOWN)
        return; /* it has no directions, or this one has ended */
    self->outcome.error = error;
    self->outcome.phase = FERRY_PHASE_CLOSE;
}

static void note_outcome(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise;
    ferry__request *request = arg;
    relay *self = relay_of(request);
    self->outcome = *result;
    if (result->error == 0 && self->asked.length == FERRY_TO_END &&
        (self->asked.flags & FERRY_RELAY_KEEP_OPEN) == 0)
        pass_end_on(self);
    ferry__owner_post_last(request->stream->owner, &self->return_mail);
}

/* Its progress is the relay's. */
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
        .on_owner = note_outcome,
        .on_owner_arg = request,
        .label = ferry__promise_label(&request->promise),
    };
    if (request->extras == NULL)
        return options;
    options.completion = request->extras->completion;
    if (request->extras->progress.callback != NULL) {
        options.on_progress = note_progress;
        options.on_progress_arg = request;
    }
    return options;
}

/* Submits to's request. @param fd what the bytes that are not lent come from; or a negative
 * number. */
static int submit(ferry__request *request, const void *lent, int fd)
{
    relay *self = relay_of(request);
    ferry_part parts[2];
    size_t count = 0;
    if (self->lent > 0)
        parts[count++] = ferry_part_borrow(lent, self->lent);
    if (fd >= 0) {
        ferry_file rest = ferry_file_fd(fd);
        rest.flags = FERRY_FD_GIVE;
        if (self->asked.length != FERRY_TO_END)
            rest.length = self->asked.length - (int64_t)self->lent;
        parts[count++] = ferry_part_file(rest);
    }
    const ferry_request_options options = options_of(request);
    return ferry__stream_send_relayed(self->asked.to, parts, count, &options, &self->left,
                                      &self->inner);
}

/* Hands the direction over. @return 0, or an errno with nothing changed. */
static int hand_over(ferry__intake *intake, ferry__request *request, ferry_phase *ret_phase)
{
    relay *self = relay_of(request);
    ferry_stream *from = intake->stream;
    size_t count = ferry__bytes_count(&intake->kept);
    bool is_enough = self->asked.length != FERRY_TO_END && (uint64_t)self->asked.length <= count;
    self->lent = is_enough ? (size_t)self->asked.length : count;
    int fd = -1;
    if (!is_enough && intake->has_ended) {
        *ret_phase = FERRY_PHASE_SOURCE; /* before its first byte, as of a file that is too short */
        int error = self->asked.length != FERRY_TO_END ? -ENODATA : 0;
        error = intake->error != 0 ? intake->error : error;
        if (error != 0)
            return error;
    } else if (!is_enough) {
        *ret_phase = FERRY_PHASE_OPEN;
        fd = ferry__link_share(&from->link);
        if (fd < 0)
            return fd;
    }
    *ret_phase = FERRY_PHASE_QUEUE;
    int error = submit(request, ferry__bytes_first(&intake->kept), fd);
    if (error != 0) {
        if (fd >= 0)
            (void)ferry__close(fd);
        return error;
    }
    self->kept = intake->kept;
    intake->kept = (ferry__bytes){0};
    intake->is_away = true;
    if (!ferry__stream_awaits(from, FERRY__SENDING)) /* what comes meanwhile is to wake others */
        ferry__poller_unwatch(&from->owner->poller, &from->watch);
    return 0;
}

static ferry__read_step feed(ferry__intake *intake, ferry__request *request)
{
    ferry_phase phase;
    int error = intake->is_away ? 0 : hand_over(intake, request, &phase);
    return error == 0 ? ferry__read_is(FERRY__READ_AWAY) : ferry__read_over(error, phase);
}

static void pass_on(ferry__request *request, int error)
{
    relay *self = relay_of(request);
    if (self->called_off == 0)
        self->called_off = error;
    (void)ferry_promise_cancel(self->inner);
}

/* What was not sent is the intake's again: of what it had kept, or of what came behind. */
static void take_back(ferry__intake *intake, relay *self)
{
    uint64_t sent = self->outcome.sent;
    ferry__bytes_take(&self->kept, sent < self->lent ? (size_t)sent : self->lent);
    bool is_kept = ferry__bytes_count(&self->kept) > 0;
    ferry__bytes *rest = is_kept ? &self->kept : &self->left.bytes;
    if (intake->is_over) {
        ferry__bytes_take(rest, ferry__bytes_count(rest));
        return;
    }
    assert(ferry__bytes_count(&intake->kept) == 0 && "nothing is read while it is away");
    intake->kept = *rest;
    *rest = (ferry__bytes){0};
    ferry__intake_take(intake, 0); /* all of it is news */
    if (self->left.error != 0)
        ferry__intake_note_end(intake, self->left.error);
}

/* What the socket has told the request, it tells nobody else again. */
static bool is_end_of_reading(const ferry_result *outcome)
{
    return outcome->phase == FERRY_PHASE_SOURCE && outcome->error != -ENODATA &&
           outcome->error != -ECANCELED;
}

static void deliver_return(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* from has not ended: the relay has not settled */
    relay *self = (relay *)(void *)((char *)mail - offsetof(relay, return_mail));
    ferry__request *request =
        (ferry__request *)(void *)((char *)self - offsetof(ferry__request, parts));
    ferry__intake *intake = ferry__intake_of(request->stream);
    self->inner = ferry_promise_unref(self->inner);
    take_back(intake, self);
    if (is_end_of_reading(&self->outcome))
        ferry__intake_note_end(intake, self->outcome.error);
    bool is_called_off = self->outcome.error == -ECANCELED && self->called_off != 0;
    if (!is_called_off && self->outcome.error == -ECANCELED)
        request->promise.result.cause = self->outcome.cause;
    ferry__intake_go_on(intake, request, is_called_off ? self->called_off : self->outcome.error,
                        self->outcome.phase);
}

/* It has never been away: nothing was taken. */
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
    result->sent = self->outcome.sent;
    result->method = self->outcome.method;
    result->remaining = to_end ? 0 : (uint64_t)self->asked.length - result->sent;
    result->at_end = error == 0 && to_end;
    (void)ferry_stream_unref(self->asked.to);
    (void)ferry_stream_unref(request->stream);
}

static const ferry__read_type to_stream = {
    .check = check,
    .create = create,
    .feed = feed,
    .undo = undo,
    .conclude = conclude,
    .pass_on = pass_on,
};
