/* SPDX-License-Identifier: MIT */
#include "transport/intake.h"

#include "core/clock.h"
#include "core/hooks.h"
#include "transport/carry.h"
#include "transport/service.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    READABLE = EPOLLIN | EPOLLRDHUP | EPOLLPRI,
    PORTION = 16 * 1024 /* what is asked of the kernel where it is to be kept */
};

static void look_at_deadline(ferry__timer *timer);

ferry__intake *ferry__intake_need(ferry_stream *stream)
{
    ferry__intake *there = atomic_load(&stream->intake);
    if (there != NULL)
        return there;
    ferry__intake *intake = ferry__allocate_zeroed(sizeof *intake);
    if (intake == NULL)
        return NULL;
    intake->stream = stream;
    intake->deadline = FERRY__NEVER;
    intake->timer.fire = look_at_deadline;
    if (atomic_compare_exchange_strong(&stream->intake, &there, intake))
        return intake;
    ferry__release(intake); /* another thread was faster */
    return there;
}

void ferry__intake_free(ferry__intake *intake)
{
    if (intake == NULL)
        return;
    ferry__release(intake->kept.data);
    ferry__release(intake);
}

static ferry__intake *intake_of(ferry_stream *stream)
{
    return atomic_load_explicit(&stream->intake, memory_order_acquire);
}

/* ---- what is kept ---------------------------------------------------------------------------- */

static size_t high_mark(const ferry__intake *intake)
{
    return intake->subscriber != NULL ? intake->subscriber->reader.high_bytes : FERRY__DEFAULT_HIGH;
}

static size_t low_mark(const ferry__intake *intake)
{
    return intake->subscriber != NULL ? intake->subscriber->reader.low_bytes
                                      : FERRY__DEFAULT_HIGH / 2;
}

static size_t count_waiting(const ferry__intake *intake)
{
    return ferry__bytes_count(&intake->kept) + intake->lent;
}

/* Whether the subscriber waits for what comes behind. */
static bool has_declined_all(const ferry__intake *intake)
{
    return intake->declined > 0 && intake->declined == ferry__bytes_count(&intake->kept);
}

/* Between the marks it stays as it was; unless what waits will not become less without more. */
static void update_fullness(ferry__intake *intake)
{
    size_t waiting = count_waiting(intake);
    if (waiting >= high_mark(intake))
        intake->is_full = true;
    else if (waiting <= low_mark(intake) || has_declined_all(intake))
        intake->is_full = false;
}

static void take_kept(ferry__intake *intake, size_t size)
{
    ferry__bytes_take(&intake->kept, size);
    intake->declined = 0;
}

/* Nothing more comes from the kernel; what is kept is still to be had. */
static void note_end(ferry__intake *intake, int error)
{
    if (intake->has_ended)
        return;
    intake->has_ended = true;
    intake->error = error;
}

/* ---- reads ----------------------------------------------------------------------------------- */

static void begin(const ferry__intake *intake, ferry__request *request)
{
    if (request->has_begun)
        return;
    request->has_begun = true;
    request->began_at = intake->stream->turn_began_at;
    request->promise.result.stream_offset = intake->offset;
}

static void finish(ferry__intake *intake, ferry__request *request, int error, ferry_phase phase)
{
    const ferry__reading *reading = ferry__request_reading(request);
    ferry_result *result = &request->promise.result;
    begin(intake, request);
    ferry__queue_remove(&intake->reads, request);
    result->sent = reading->filled;
    result->method = reading->filled > 0 ? FERRY_METHOD_MEMORY : FERRY_METHOD_NONE;
    if (reading->mode == FERRY_READ_EXACTLY)
        result->remaining = reading->size - reading->filled;
    result->at_end = error == 0 && intake->has_ended && intake->error == 0 &&
                     ferry__bytes_count(&intake->kept) == 0;
    intake->offset += reading->filled;
    ferry__stream_finish_read(intake->stream, request, error, phase);
}

/* Without memory for it there is a gap: nothing behind it may be read. */
static void put_back(ferry__intake *intake, const void *data, size_t size)
{
    intake->declined = 0;
    if (ferry__bytes_prepend(&intake->kept, data, size) == 0)
        return;
    intake->has_ended = true;
    intake->error = -ENOMEM;
    ferry__bytes_take(&intake->kept, ferry__bytes_count(&intake->kept));
}

/* What it has got goes back: it consumes nothing. */
static void fail(ferry__intake *intake, ferry__request *request, int error, ferry_phase phase)
{
    ferry__reading *reading = ferry__request_reading(request);
    if (reading->filled > 0)
        put_back(intake, reading->data, reading->filled);
    reading->filled = 0;
    finish(intake, request, error, phase);
}

/* Moves what is kept to where the read wants it. */
static void fill(ferry__intake *intake, ferry__reading *reading, size_t most)
{
    size_t count = ferry__bytes_count(&intake->kept);
    size_t room = reading->size - reading->filled;
    size_t size = count < most ? count : most;
    size = size < room ? size : room;
    if (size == 0)
        return;
    memcpy(reading->data + reading->filled, ferry__bytes_first(&intake->kept), size);
    reading->filled += size;
    take_kept(intake, size);
}

/* How many of the bytes kept are up to the delimiter and with it; 0: it has not come. */
static size_t find_delimiter(const ferry__intake *intake, ferry__reading *reading)
{
    const unsigned char *first = ferry__bytes_first(&intake->kept);
    size_t count = ferry__bytes_count(&intake->kept);
    if (count < reading->delimiter_length)
        return 0;
    const unsigned char *found = memmem(first + reading->scanned, count - reading->scanned,
                                        reading->delimiter, reading->delimiter_length);
    reading->scanned = count - reading->delimiter_length + 1;
    return found != NULL ? (size_t)(found - first) + reading->delimiter_length : 0;
}

/* Gives the read what there is for it: 0: it is complete; -EAGAIN: not yet; -EMSGSIZE: it cannot be. */
static int feed(ferry__intake *intake, ferry__reading *reading)
{
    if (reading->mode == FERRY_READ_UNTIL) {
        size_t size = find_delimiter(intake, reading);
        size_t count = ferry__bytes_count(&intake->kept);
        if (size > reading->size || (size == 0 && count > 0 && count >= reading->size))
            return -EMSGSIZE;
        if (size > 0 || intake->has_ended)
            fill(intake, reading, size > 0 ? size : count);
        return size > 0 ? 0 : -EAGAIN;
    }
    fill(intake, reading, SIZE_MAX);
    if (reading->mode == FERRY_READ_TO_END)
        return ferry__bytes_count(&intake->kept) > 0 ? -EMSGSIZE : -EAGAIN;
    bool is_enough = reading->mode == FERRY_READ_SOME && reading->filled > 0;
    return is_enough || reading->filled == reading->size ? 0 : -EAGAIN;
}

/* Gives the first read what there is. Whether it was finished by that. */
static bool satisfy(ferry__intake *intake)
{
    ferry__request *request = intake->reads.first;
    begin(intake, request);
    int error = feed(intake, ferry__request_reading(request));
    if (error == -EAGAIN && !intake->has_ended)
        return false;
    if (error == -EAGAIN)
        error = intake->error; /* the end completes it, too, if it is one */
    if (error == 0)
        finish(intake, request, 0, FERRY_PHASE_DONE);
    else
        fail(intake, request, error, FERRY_PHASE_SOURCE);
    return true;
}

static ferry_phase phase_of(const ferry__request *request)
{
    return request->has_begun ? FERRY_PHASE_SOURCE : FERRY_PHASE_QUEUE;
}

void ferry__intake_call_off(ferry_stream *stream, ferry__request *request, int error)
{
    fail(intake_of(stream), request, error, phase_of(request));
    ferry__stream_schedule_reading(stream);
}

void ferry__intake_deliver_read(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    ferry__request *request = ferry__request_of_mail(mail);
    ferry_stream *stream = request->stream;
    ferry__intake *intake = intake_of(stream);
    request->promise.result.sequence = intake->next_sequence++;
    request->stage = FERRY__QUEUED;
    ferry__queue_append(&intake->reads, request);
    if (request->extras != NULL && request->extras->deadline != FERRY__NEVER)
        ferry__timers_set(&stream->owner->timers, &request->extras->deadline_timer,
                          request->extras->deadline);
    intake->delivered++;
    ferry__stream_schedule_reading(stream);
}

/* ---- the subscriber -------------------------------------------------------------------------- */

static bool is_command_under_way(const ferry__intake *intake)
{
    return atomic_load(&intake->commands) != intake->delivered;
}

/* Whether it is replaced already, and the next one to be told of an end. */
static bool is_reader_under_way(const ferry__intake *intake)
{
    return atomic_load(&intake->readers) != intake->readers_delivered;
}

/* What a call, or a loan, is made with. */
static void instruct(const ferry__intake *intake, ferry__subscriber *subscriber)
{
    subscriber->shots = intake->shots;
    subscriber->used_shots = 0;
    subscriber->wishes = intake->wishes;
    subscriber->resumptions = intake->resumptions;
    subscriber->commands = intake->delivered;
    subscriber->at_end = intake->has_ended;
}

/* What came of it. A demand that has arrived meanwhile says how many calls are wanted from there on. */
static void count_shots(ferry__intake *intake, const ferry__subscriber *subscriber)
{
    if (intake->shots > 0 && subscriber->wishes == intake->wishes)
        intake->shots -= subscriber->used_shots;
}

/* What it declined before it was resumed it is to be offered again. */
static void note_declined(ferry__intake *intake, const ferry__subscriber *subscriber, size_t left)
{
    bool was_declined = subscriber->was_declined && subscriber->resumptions == intake->resumptions;
    intake->declined = was_declined ? left : 0;
    intake->declined_last = was_declined && subscriber->was_last;
}

/* Offers memory that is not kept yet. @return how many bytes of it were taken. */
static size_t offer(ferry__intake *intake, const unsigned char *data, size_t length)
{
    ferry__subscriber *subscriber = intake->subscriber;
    instruct(intake, subscriber);
    size_t taken = ferry__subscriber_offer(subscriber, data, length);
    count_shots(intake, subscriber);
    intake->offset += taken;
    note_declined(intake, subscriber, length - taken);
    return taken;
}

static void offer_kept(ferry__intake *intake)
{
    size_t taken =
        offer(intake, ferry__bytes_first(&intake->kept), ferry__bytes_count(&intake->kept));
    ferry__bytes_take(&intake->kept, taken);
}

static void lend(ferry__intake *intake)
{
    ferry__subscriber *subscriber = intake->subscriber;
    instruct(intake, subscriber);
    subscriber->bytes = intake->kept;
    intake->lent = ferry__bytes_count(&intake->kept);
    intake->kept = (ferry__bytes){0};
    intake->declined = 0;
    intake->borrower = subscriber;
    ferry__subscriber_lend(subscriber);
}

void ferry__intake_take_back(ferry_stream *stream, ferry__subscriber *borrower)
{
    ferry__intake *intake = intake_of(stream);
    stream->released += FERRY__ONE_REQUEST;
    stream->turn_began_at = ferry__clock_now(); /* this is no turn: for the receipts of an end */
    size_t left = ferry__bytes_count(&borrower->bytes);
    intake->offset += intake->lent - left;
    intake->borrower = NULL;
    intake->lent = 0;
    count_shots(intake, borrower);
    if (!intake->is_over &&
        ferry__bytes_prepend(&intake->kept, ferry__bytes_first(&borrower->bytes), left) != 0)
        ferry__intake_end(stream, -ENOMEM);
    ferry__bytes_take(&borrower->bytes, left);
    if (borrower == intake->subscriber) {
        note_declined(intake, borrower, left);
        if (borrower->is_gone)
            ferry__intake_end(stream, -ECANCELED);
    }
    ferry__stream_schedule_reading(stream);
}

static void end_subscription(ferry__intake *intake, int error)
{
    ferry__subscriber *subscriber = intake->subscriber;
    intake->subscriber = NULL;
    ferry__bytes_take(&intake->kept, ferry__bytes_count(&intake->kept));
    ferry__subscriber_end(subscriber, error);
}

/* Whether there is something that the subscriber has not seen, and it may be called. */
static bool has_news(const ferry__intake *intake)
{
    size_t count = ferry__bytes_count(&intake->kept);
    bool is_new = count > intake->declined || (intake->has_ended && !intake->declined_last);
    return count > 0 && intake->shots != 0 && is_new;
}

/* Whether the subscriber has taken nothing of as much as it may be offered. */
static bool is_stuck(const ferry__intake *intake)
{
    return has_declined_all(intake) && intake->declined >= high_mark(intake) &&
           !intake->declined_last;
}

/* Gives the subscriber what is kept, and then the end. */
static void serve_subscriber(ferry__intake *intake)
{
    if (has_news(intake) && !is_stuck(intake)) {
        if (intake->subscriber->home != NULL) {
            lend(intake);
            return;
        }
        offer_kept(intake);
        if (is_command_under_way(intake))
            return;
    }
    /* What it has declined although nothing comes behind it is dropped; what it could not be called
     * for, being paused, is not. */
    bool is_done = ferry__bytes_count(&intake->kept) == 0 || intake->declined_last;
    if (is_stuck(intake))
        ferry__intake_end(intake->stream, -EMSGSIZE);
    else if (intake->has_ended && is_done)
        end_subscription(intake, intake->error);
}

static void serve_all(ferry__intake *intake)
{
    while (intake->reads.first != NULL && satisfy(intake)) {
    }
    if (intake->reads.first == NULL && intake->subscriber != NULL && !is_command_under_way(intake))
        serve_subscriber(intake);
}

/* Gives what is kept to whoever wants it; but what is on loan comes first. */
static void serve(ferry__intake *intake)
{
    if (intake->borrower == NULL || intake->is_over)
        serve_all(intake);
    update_fullness(intake);
}

void ferry__intake_note_command(ferry__intake *intake, bool was_counted)
{
    intake->delivered += was_counted;
    intake->stream->released += FERRY__ONE_REQUEST;
    ferry__stream_schedule_reading(intake->stream);
}

void ferry__intake_subscribe(ferry__intake *intake, ferry__subscriber *subscriber)
{
    ferry__subscriber *before = intake->subscriber;
    intake->subscriber = subscriber;
    intake->readers_delivered++;
    intake->declined = 0;
    intake->declined_last = false;
    intake->wishes++;
    intake->is_paused = false;
    if (subscriber != NULL) {
        subscriber->number = intake->readers_delivered;
        intake->shots = subscriber->reader.shots > 0 ? subscriber->reader.shots : -1;
    }
    if (before != NULL)
        ferry__subscriber_discard(before);
}

void ferry__intake_demand(ferry__intake *intake, int64_t shots)
{
    intake->shots = shots;
    intake->wishes++;
    if (shots != 0 && intake->is_paused) {
        intake->declined = 0;
        intake->resumptions++;
    }
    intake->is_paused = shots == 0;
}

/* Whatever waits learns this error; what is kept is dropped. */
static void refuse_all(ferry__intake *intake, int error)
{
    for (ferry__request *request; (request = intake->reads.first) != NULL;) {
        ferry__request_reading(request)->filled = 0;
        finish(intake, request, error, error != 0 ? phase_of(request) : FERRY_PHASE_DONE);
    }
    if (intake->subscriber != NULL && !is_reader_under_way(intake))
        end_subscription(intake, error);
    ferry__bytes_take(&intake->kept, ferry__bytes_count(&intake->kept));
    intake->declined = 0;
}

/* ---- taking in ------------------------------------------------------------------------------- */

/* Whether more bytes are wanted of the kernel. */
static bool is_wanted(const ferry__intake *intake)
{
    if (intake->has_ended || intake->stream->state != FERRY__OPEN)
        return false;
    if (intake->reads.first != NULL)
        return intake->borrower == NULL || !intake->is_full;
    /* Whether a loan leaves calls to be made is known once it has come back. */
    bool may_be_called = intake->shots < 0 || (intake->shots > 0 && intake->borrower == NULL);
    return intake->subscriber != NULL && may_be_called && !intake->is_full;
}

/* Where what comes next is to go. */
typedef struct place {
    unsigned char *data;
    size_t size;
    ferry__reading *reading; /* straight into its memory */
    bool is_scratch;         /* to be offered, and only what is left is kept */
} place;

/* A read may want more than the subscriber is to be offered. */
static place kept_place(ferry__intake *intake)
{
    size_t size = PORTION, waiting = count_waiting(intake), high = high_mark(intake);
    if (intake->reads.first == NULL && high - waiting < size)
        size = high - waiting; /* not 0: nothing is wanted of the kernel then */
    if (ferry__bytes_reserve(&intake->kept, size) != 0)
        return (place){0};
    return (place){.data = intake->kept.data + intake->kept.end, .size = size};
}

static place find_place(ferry__intake *intake)
{
    if (ferry__bytes_count(&intake->kept) > 0 || intake->borrower != NULL)
        return kept_place(intake);
    if (intake->reads.first != NULL) {
        ferry__reading *reading = ferry__request_reading(intake->reads.first);
        size_t room = reading->size - reading->filled;
        if (reading->mode == FERRY_READ_UNTIL || room == 0)
            return kept_place(intake);
        return (place){.data = reading->data + reading->filled, .size = room, .reading = reading};
    }
    if (intake->subscriber->home != NULL)
        return kept_place(intake);
    size_t high = high_mark(intake);
    return (place){.data = ferry__owner_scratch(intake->stream->owner),
                   .size = high < FERRY__SCRATCH_BYTES ? high : FERRY__SCRATCH_BYTES,
                   .is_scratch = true};
}

static ssize_t receive(const ferry_stream *stream, const place *where)
{
    ferry__calls *calls = stream->sink.calls;
    ssize_t count;
    do
        count = calls->recv(calls, stream->sink.fd, where->data, where->size, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    return count >= 0 ? count : -errno;
}

/* What has come is where it was to go. */
static void account(ferry__intake *intake, const place *where, size_t count)
{
    if (where->reading != NULL) {
        where->reading->filled += count;
        return;
    }
    if (!where->is_scratch) {
        intake->kept.end += count;
        return;
    }
    size_t taken = offer(intake, where->data, count);
    if (taken < count &&
        ferry__bytes_append(&intake->kept, where->data + taken, count - taken) != 0)
        ferry__intake_end(intake->stream, -ENOMEM);
}

/* Asks the kernel once. Whether it has nothing more for now. */
static bool ask_kernel(ferry__intake *intake)
{
    ferry_stream *stream = intake->stream;
    place where = find_place(intake);
    if (where.data == NULL) {
        ferry__intake_end(stream, -ENOMEM);
        return false;
    }
    ssize_t count = receive(stream, &where);
    if (count > 0) {
        account(intake, &where, (size_t)count);
        return stream->sink.is_tcp && !intake->is_cut_short && (size_t)count < where.size;
    }
    ferry__bytes_take(&intake->kept, 0); /* room that was made in vain */
    if (count == 0 && stream->was_told_of_reset)
        count = -ECONNRESET; /* the write that was told took it away */
    if (count != -EAGAIN)
        note_end(intake, (int)count);
    return count == -EAGAIN;
}

bool ferry__intake_take_in(ferry_stream *stream)
{
    ferry__intake *intake = intake_of(stream);
    if (intake == NULL)
        return false;
    if (stream->owner->start_error != 0) {
        refuse_all(intake, stream->owner->start_error);
        return false; /* without a thread nobody polls for what may be wanted after all */
    }
    if (stream->state != FERRY__OPEN) /* it came after the close */
        ferry__intake_end(stream, -ESHUTDOWN);
    serve(intake);
    if (!is_wanted(intake) || (stream->watch.awaited & EPOLLIN) != 0)
        return false;
    bool is_drained = ask_kernel(intake);
    serve(intake);
    if (!is_wanted(intake))
        return false;
    if (!is_drained)
        return true;
    int error = ferry__owner_await(stream->owner, &stream->watch, READABLE);
    if (error != 0)
        ferry__intake_end(stream, error);
    return false;
}

void ferry__intake_ready(ferry_stream *stream, uint32_t events)
{
    ferry__intake *intake = intake_of(stream);
    if (intake == NULL)
        return;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0)
        intake->is_cut_short = true;
    if ((events & (READABLE | EPOLLHUP | EPOLLERR)) != 0)
        ferry__stream_schedule_reading(stream);
}

/* ---- the end --------------------------------------------------------------------------------- */

void ferry__intake_end(ferry_stream *stream, int error)
{
    ferry__intake *intake = intake_of(stream);
    if (intake == NULL)
        return;
    size_t count = ferry__bytes_count(&intake->kept);
    /* Whose last bytes nobody has got yet, that had not come to its end. */
    if (!intake->has_ended || (!intake->is_over && (count > 0 || intake->borrower != NULL)))
        intake->error = error;
    intake->has_ended = true;
    intake->is_over = true;
    ferry__timers_cancel(&stream->owner->timers, &intake->timer);
    refuse_all(intake, intake->error);
}

static void look_at_deadline(ferry__timer *timer)
{
    ferry__intake *intake =
        (ferry__intake *)(void *)((char *)timer - offsetof(ferry__intake, timer));
    ferry_stream *stream = intake->stream;
    if (intake->deadline == FERRY__NEVER || intake->has_ended)
        return;
    if (intake->deadline > ferry__clock_now()) { /* it was put off meanwhile */
        ferry__timers_set(&stream->owner->timers, timer, intake->deadline);
        return;
    }
    stream->turn_began_at = ferry__clock_now();
    ferry__intake_end(stream, -ETIMEDOUT);
    ferry__stream_schedule_reading(stream);
}

void ferry__intake_set_deadline(ferry__intake *intake, int64_t deadline)
{
    if (intake->has_ended)
        return;
    intake->deadline = deadline;
    ferry__timer *timer = &intake->timer;
    if (deadline != FERRY__NEVER && (!timer->set || timer->deadline > deadline))
        ferry__timers_set(&intake->stream->owner->timers, timer, deadline);
}
