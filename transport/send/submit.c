/* SPDX-License-Identifier: MIT */
/* What is to be sent: from any thread into its owner's mail. */
#include "transport/send/submit.h"

#include "core/clock.h"
#include "core/thread.h"
#include "transport/send/carry.h"
#include "transport/send/conditions.h"
#include "transport/send/outcome.h"
#include "transport/send/watermark.h"
#include "transport/service/service.h"
#include "transport/stream/batch.h"
#include "transport/stream/making.h"
#include "transport/stream/room.h"
#include "transport/stream/settle.h"

#include <errno.h>

/* What distinguishes one kind of submit from another. */
typedef struct submission {
    ferry__request_kind kind;
    const ferry_part *parts;
    size_t count;
    ferry__leftover *leftover; /* what the last part's source is to leave; NULL: nothing */
    const ferry_request_options *options;
    uint64_t refused_by; /* admission flags */
    uint64_t set;        /* admission flags to set once nothing can fail any more */
    ferry__limit limited;
} submission;

/* Lets a request in, or waits for the room it needs. */
static int let_in(ferry_stream *stream, const submission *what, ferry__cost cost)
{
    ferry__refusal refusal;
    int error = ferry__admit(&stream->admission, cost, what->refused_by, what->limited, &refusal);
    if (error == 0)
        return 0;
    ferry__room_note_refusal(stream, &refusal);
    int64_t timeout_ms = ferry__request_room_timeout(what->options);
    if (error == -EAGAIN && timeout_ms != 0)
        error = ferry__room_await(stream, cost, what->refused_by, refusal.full,
                                  ferry__clock_deadline(timeout_ms));
    return error;
}

/*
 * A submit that was let in has failed. Once it is not counted any more the owner looks again: it
 * may wait for just that to end the stream, or have seen a watermark reached. The stream may end
 * before the resume, which then does nothing.
 */
static void undo_let_in(ferry_stream *stream, ferry__cost cost)
{
    ferry__admission_give_back(&stream->admission, FERRY__ONE_REQUEST + cost.memory_bytes,
                               cost.source_bytes);
    ferry_stream_wake_generator(stream);
}

/* While the sink is full the owner only has to know of deadlines: all else waits anyway. */
static void post(ferry_stream *stream, ferry__request *request, bool calls_back)
{
    /* The owner may call the program, which may give the last handle back before this returns. */
    ferry_stream *kept = calls_back ? ferry__stream_ref(stream) : NULL;
    if (ferry__request_deadline(request) != FERRY__NEVER)
        ferry__owner_post(stream->owner, &request->mail);
    else
        ferry__owner_post_unhurried(stream->owner, &request->mail);
    ferry__batch_let_pass(stream);
    if (kept != NULL)
        ferry__stream_unref(kept);
}

/* Checks everything, and takes nothing. Asks for the size of files if their bytes are counted. */
static int plan(const ferry_stream *stream, const submission *what, ferry__plan *ret_plan)
{
    int error = ferry__request_plan(stream, what->parts, what->count, what->options, ret_plan);
    if (error != 0 || ret_plan->sources == 0)
        return error;
    if (stream->watermark != NULL || ferry__admission_limits_sources(&stream->admission))
        ret_plan->cost.source_bytes = ferry__request_estimate(what->parts, what->count);
    return 0;
}

static int create_request(ferry_stream *stream, const submission *what, const ferry__plan *plan,
                          ferry__inbox *home, ferry__request **ret_request)
{
    const ferry__request_types *types = what->kind == FERRY__SEND ? &ferry__sent_requests : NULL;
    int error = ferry__request_create(stream, what->kind, types, what->parts, what->count, plan,
                                      what->options, home, ret_request);
    if (error != 0 || what->leftover == NULL || what->count == 0)
        return error;
    ferry__source *last = (*ret_request)->parts[(*ret_request)->part_count - 1].source;
    if (last != NULL)
        last->leftover = what->leftover;
    return 0;
}

/* Checks what every submit must have. */
static int check(ferry_stream *stream, const submission *what)
{
    int error = ferry__stream_check(stream);
    if (error == 0)
        error = ferry__request_check_waiting(what->options);
    if (error != 0)
        return error;
    bool is_refused = (atomic_load_explicit(&stream->admission.word, memory_order_relaxed) &
                       what->refused_by) != 0;
    return is_refused ? -ESHUTDOWN : 0;
}

/* What was let in. */
static int make_and_post(ferry_stream *stream, const submission *what, const ferry__plan *planned,
                         ferry__inbox *home, ferry_promise **ret_promise)
{
    ferry__request *request;
    int error = create_request(stream, what, planned, home, &request);
    if (error != 0) {
        undo_let_in(stream, planned->cost);
        return error;
    }
    if (what->set != 0)
        ferry__stream_let_no_more_in(stream, what->set);
    request->mail.deliver = ferry__stream_deliver_request;
    ferry__request_hand_out(request, what->options, ret_promise);
    ferry__thread_note_submit();
    post(stream, request, planned->calls_back);
    return 0;
}

/* Lets it in, and makes it then: a submit that waits for room, or finds none, holds nothing. */
static int submit(ferry_stream *stream, const submission *what, ferry_promise **ret_promise)
{
    ferry__inbox *home;
    ferry__plan planned;
    int error = check(stream, what);
    if (error == 0)
        error = ferry__find_home(ferry__request_is_reported(what->options, ret_promise), &home);
    if (error == 0)
        error = plan(stream, what, &planned);
    if (error == 0)
        error = let_in(stream, what, planned.cost);
    return error == 0 ? make_and_post(stream, what, &planned, home, ret_promise) : error;
}

/* Whether nobody can learn what becomes of it, and it needs nothing else. */
static bool is_for_batch(const ferry_stream *stream, const void *data, size_t length,
                         const ferry_request_options *options, ferry_promise **ret_promise)
{
    return ret_promise == NULL && stream != NULL && ferry__batch_is_possible(stream) &&
           data != NULL && length - 1 < FERRY__SMALL_BYTES && ferry__request_is_bare(options);
}

static int submit_to_batch(ferry_stream *stream, const void *data, size_t length,
                           const ferry_request_options *options)
{
    const submission what = {.options = options,
                             .refused_by = FERRY__SHUT | FERRY__CLOSED,
                             .limited = FERRY__BY_OPTIONS};
    const ferry__cost cost = {.memory_bytes = length};
    int error = check(stream, &what);
    if (error == 0)
        error = let_in(stream, &what, cost);
    if (error != 0)
        return error;
    /* Who is told of a watermark may give the last handle back before this returns. */
    ferry_stream *kept = stream->watermark != NULL ? ferry__stream_ref(stream) : NULL;
    error = ferry__batch_write(stream, data, length, ferry__stream_deliver_request);
    if (error != 0)
        undo_let_in(stream, cost);
    else
        ferry__thread_note_submit();
    if (kept != NULL) {
        if (ferry__watermark_is_news(kept))
            ferry_stream_wake_generator(kept);
        ferry__stream_unref(kept);
    }
    return error;
}

/* ---- an answer that leaves at once ----------------------------------------------------------- */

/* The owner. Whether it is calling the stream's reader. */
static bool is_in_call(const ferry_stream *stream)
{
    const ferry__incoming *incoming = atomic_load(&stream->incoming);
    return incoming != NULL && incoming->is_in_call;
}

/*
 * Whether it is a write of the stream's reader, on its owner, whose outcome nobody can learn, and
 * that may leave before the reader has returned. So it need not be copied. Smaller ones are rather
 * gathered, and a larger one may have to share its turn.
 */
static bool may_leave_at_once(const ferry_stream *stream, const void *data, size_t length,
                              const ferry_request_options *options, ferry_promise **ret_promise)
{
    return ret_promise == NULL && data != NULL && length > FERRY__SMALL_BYTES && stream != NULL &&
           ferry__owner_is_current(stream->owner) && is_in_call(stream) &&
           ferry__request_is_bare(options) && ferry__batch_is_possible(stream) &&
           length <= ferry__service_chunk(stream->service, stream->owner, stream->link.is_tcp) &&
           ferry__stream_is_clear(stream);
}

/* Makes a request of what has not left. Without memory for that the write has failed midway. */
static int submit_rest(ferry_stream *stream, const submission *what, bool is_all)
{
    ferry__plan planned;
    int error = plan(stream, what, &planned);
    if (error == 0)
        error = make_and_post(stream, what, &planned, NULL, NULL);
    if (error == 0 || is_all)
        return error;
    ferry__stream_poison(stream, error);
    return 0;
}

static int submit_at_once(ferry_stream *stream, const void *data, size_t length,
                          const ferry_request_options *options)
{
    submission what = {.kind = FERRY__SEND,
                       .options = options,
                       .count = 1,
                       .refused_by = FERRY__SHUT | FERRY__CLOSED,
                       .limited = FERRY__BY_OPTIONS};
    int error = check(stream, &what);
    if (error == 0)
        error = let_in(stream, &what, (ferry__cost){.memory_bytes = length});
    if (error != 0)
        return error;
    size_t sent = ferry__stream_send_at_once(stream, data, length);
    bool is_whole = sent == length;
    stream->next_sequence += is_whole;
    if (sent > 0)
        ferry__admission_give_back(&stream->admission, sent + (is_whole ? FERRY__ONE_REQUEST : 0),
                                   0);
    if (is_whole)
        return 0;
    const ferry_part rest = ferry_part_copy((const char *)data + sent, length - sent);
    what.parts = &rest;
    return submit_rest(stream, &what, sent == 0);
}

int ferry_stream_send(ferry_stream *stream, const ferry_part parts[], size_t count,
                      const ferry_request_options *options, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    const submission what = {
        .kind = FERRY__SEND,
        .parts = parts,
        .count = count,
        .options = options,
        .refused_by = FERRY__SHUT | FERRY__CLOSED,
        .limited = FERRY__BY_OPTIONS,
    };
    return submit(stream, &what, ret_promise);
}

int ferry_stream_write(ferry_stream *stream, const void *data, size_t length,
                       const ferry_request_options *options, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (is_for_batch(stream, data, length, options, ret_promise))
        return submit_to_batch(stream, data, length, options);
    if (may_leave_at_once(stream, data, length, options, ret_promise))
        return submit_at_once(stream, data, length, options);
    ferry_part part = ferry_part_copy(data, length);
    return ferry_stream_send(stream, &part, 1, options, ret_promise);
}

int ferry_stream_sendfile(ferry_stream *stream, const ferry_file *file,
                          const ferry_request_options *options, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (file == NULL)
        return -EINVAL;
    ferry_part part = ferry_part_file(*file);
    return ferry_stream_send(stream, &part, 1, options, ret_promise);
}

int ferry__stream_send_relayed(ferry_stream *stream, const ferry_part parts[], size_t count,
                               const ferry_request_options *options, ferry__leftover *leftover,
                               ferry_promise **ret_promise)
{
    const submission what = {
        .kind = FERRY__SEND,
        .parts = parts,
        .count = count,
        .options = options,
        .leftover = leftover,
        .refused_by = FERRY__SHUT | FERRY__CLOSED,
        .limited = FERRY__BY_COUNT,
    };
    return submit(stream, &what, ret_promise);
}

int ferry_stream_set_limiter(ferry_stream *stream, ferry_limiter *limiter)
{
    int error = ferry__stream_check(stream);
    if (error != 0)
        return error;
    if (limiter != NULL && ferry__limiter_is_foreign(limiter))
        return -ECHILD;
    ferry__pace *pace = ferry__pace_create(stream, limiter, 0);
    if (pace == NULL)
        return -ENOMEM;
    pace->mail.deliver = ferry__pace_deliver;
    pace->timer.fire = ferry__pace_timeout;
    error = ferry__admit_errand(&stream->admission);
    if (error != 0) {
        ferry__pace_free(pace);
        return error;
    }
    ferry__owner_post_last(stream->owner, &pace->mail);
    return 0;
}

int ferry_stream_mark(ferry_stream *stream, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    const submission what = {
        .kind = FERRY__SEND, .refused_by = FERRY__CLOSED, .limited = FERRY__BY_COUNT};
    return submit(stream, &what, ret_promise);
}

int ferry_stream_shutdown(ferry_stream *stream, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (stream != NULL && !stream->link.is_socket)
        return -ENOTSOCK;
    const submission what = {.kind = FERRY__SHUTDOWN,
                             .refused_by = FERRY__CLOSED,
                             .set = FERRY__SHUT,
                             .limited = FERRY__BY_COUNT};
    return submit(stream, &what, ret_promise);
}
