/* SPDX-License-Identifier: MIT */
#include "transport/read/intake.h"

#include "core/clock.h"
#include "core/hooks.h"
#include "transport/stream/settle.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static void look_at_deadline(ferry__timer *timer);
static void deliver_asked(ferry__mail *mail, bool receiver_gone);

static void free_intake(ferry__incoming *incoming)
{
    ferry__intake *intake = (ferry__intake *)incoming;
    (void)pthread_mutex_destroy(&intake->mutex);
    ferry__release(intake->kept.data);
    ferry__release(intake->left_over.data);
    ferry__release(intake);
}

ferry__intake *ferry__intake_need(ferry_stream *stream)
{
    ferry__incoming *there = atomic_load(&stream->incoming);
    if (there != NULL)
        return (ferry__intake *)there;
    ferry__intake *intake = ferry__allocate_zeroed(sizeof *intake);
    if (intake == NULL)
        return NULL;
    intake->seen.free = free_intake;
    intake->stream = stream;
    intake->portion = FERRY__PORTION;
    intake->deadline = FERRY__NEVER;
    intake->timer.fire = look_at_deadline;
    intake->asked_mail.deliver = deliver_asked;
    (void)pthread_mutex_init(&intake->mutex, NULL);
    if (atomic_compare_exchange_strong(&stream->incoming, &there, &intake->seen))
        return intake;
    free_intake(&intake->seen); /* another thread was faster */
    return (ferry__intake *)there;
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

/* Between the marks it stays as it was, unless what waits can become less only if more comes. */
static void update_fullness(ferry__intake *intake)
{
    size_t waiting = count_waiting(intake);
    if (waiting >= high_mark(intake))
        intake->is_full = true;
    else if (waiting <= low_mark(intake) || has_declined_all(intake))
        intake->is_full = false;
}

/*
 * Memory for a loan is a block of the owner's, and comes back with the loan. If the other thread
 * freed it, malloc(3) would give it to the kernel and get it anew for each.
 */
static void take_block(ferry__intake *intake, size_t size)
{
    enum { LEAST = 4096 }; /* for less it would be wasted */
    bool is_to_be_lent = intake->subscriber != NULL && intake->subscriber->home != NULL;
    if (!is_to_be_lent || intake->kept.data != NULL || size < LEAST || size > FERRY__LARGE_BYTES)
        return;
    intake->kept.data =
        ferry__owner_take_spare(intake->stream->owner, FERRY__SPARE_LARGE, FERRY__LARGE_BYTES);
    intake->kept.capacity = intake->kept.data != NULL ? FERRY__LARGE_BYTES : 0;
}

/* There may be nothing in it. Memory of a block's size is one, whoever has allocated it. */
static void give_block_back(ferry__bytes *bytes)
{
    if (ferry__bytes_count(bytes) == 0 && bytes->capacity == FERRY__LARGE_BYTES) {
        ferry__spare_give_back(FERRY__SPARE_LARGE, bytes->data);
        *bytes = (ferry__bytes){0};
    }
    ferry__bytes_take(bytes, 0);
}

void ferry__intake_take(ferry__intake *intake, size_t size)
{
    ferry__bytes_take(&intake->kept, size);
    intake->declined = 0;
}

/* Whether what has come may be wanted although reading has ended: by a detach. */
static bool may_be_left(const ferry__intake *intake)
{
    return intake->error != -ESHUTDOWN &&
           (intake->error != -ECANCELED || intake->cause == FERRY_CAUSE_GONE);
}

/* For those that come back when reading has ended. */
static void put_with_left_over(ferry__intake *intake, const void *data, size_t size)
{
    if (may_be_left(intake) && ferry__bytes_prepend(&intake->left_over, data, size) != 0)
        ferry__intake_note_gap(intake);
}

void ferry__intake_put_back(ferry__intake *intake, const void *data, size_t size)
{
    if (size == 0)
        return;
    if (intake->is_over) {
        put_with_left_over(intake, data, size);
        return;
    }
    intake->declined = 0;
    if (ferry__bytes_prepend(&intake->kept, data, size) == 0)
        return;
    ferry__bytes_take(&intake->kept, ferry__bytes_count(&intake->kept));
    ferry__intake_note_gap(intake);
    intake->has_ended = true;
    intake->error = -ENOMEM;
}

void ferry__intake_note_end(ferry__intake *intake, int error)
{
    if (intake->has_ended)
        return;
    intake->has_ended = true;
    intake->error = error;
    if (error == 0)
        ferry__stream_expect_no_more(intake->stream);
    ferry__stream_note_death(intake->stream, error);
}

/* ---- reads ----------------------------------------------------------------------------------- */

static void begin(const ferry__intake *intake, ferry__request *request)
{
    if (request->has_begun)
        return;
    request->has_begun = true;
    request->began_at = ferry__stream_turn_time(intake->stream);
    request->promise.result.stream_offset = intake->offset;
}

static const ferry__read_type *type_of(ferry__request *request)
{
    return ferry__request_read(request)->type;
}

/* The read's own cause, if it was cancelled or a relay's other stream has one. Else the cause why
 * reading has ended, or is about to: an abort may get a call out before its mail has come. */
static ferry_cause cause_of(const ferry__intake *intake, const ferry_result *result, int error)
{
    if (error != -ECANCELED)
        return FERRY_CAUSE_NONE; /* a cancel has come too late */
    if (result->cause != FERRY_CAUSE_NONE)
        return result->cause;
    return intake->cause != FERRY_CAUSE_NONE ? intake->cause
                                             : atomic_load(&intake->stream->abort_cause);
}

static void finish(ferry__intake *intake, ferry__request *request, int error, ferry_phase phase)
{
    ferry_result *result = &request->promise.result;
    begin(intake, request);
    intake->is_waiting &= request != intake->reads.first;
    ferry__queue_remove(&intake->reads, request);
    result->at_end = error == 0 && intake->has_ended && intake->error == 0 &&
                     ferry__bytes_count(&intake->kept) == 0;
    result->cause = cause_of(intake, result, error);
    type_of(request)->conclude(request, error);
    intake->offset += result->sent;
    result->error = error;
    result->phase = phase;
    request->stage = FERRY__FINISHED;
    ferry__stream_add_settling(intake->stream, request);
    intake->stream->released_visits += FERRY__ONE_READ;
}

/* Fails a read. What it has got and does not consume goes back. */
static void fail(ferry__intake *intake, ferry__request *request, int error, ferry_phase phase)
{
    type_of(request)->undo(intake, request);
    finish(intake, request, error, phase);
}

/* What reads of dear types may cost in a turn: a byte that is moved costs 1, and the rest of a read
 * as much as so many. */
enum { MOST_COST = 64 * 1024, COST_OF_A_READ = 8 * 1024 };

/* Whether others have waited for as long as a turn may take. */
static bool is_to_give_way(const ferry_stream *stream)
{
    enum { LONG_NS = 40 * 1000 };
    return ferry__owner_has_more(stream->owner) &&
           ferry__clock_now() - ferry__stream_turn_time(stream) > LONG_NS;
}

/*
 * Gives the first read what there is. OVER: that has finished it, and it is the next one's turn.
 * @param cost of what was fed in this turn: grows.
 */
static ferry__read_state feed_first(ferry__intake *intake, uint64_t *cost)
{
    ferry__request *request = intake->reads.first;
    const ferry__read_type *type = type_of(request);
    begin(intake, request);
    ferry__read_step step = type->feed(intake, request);
    if (step.state == FERRY__READ_HUNGRY &&
        intake->has_ended) /* an end of file completes it, too */
        step = ferry__read_over(intake->error, FERRY_PHASE_SOURCE);
    intake->is_waiting = step.state == FERRY__READ_WAITING;
    if (step.state != FERRY__READ_OVER)
        return step.state;
    if (step.error == 0)
        finish(intake, request, 0, FERRY_PHASE_DONE);
    else
        fail(intake, request, step.error, step.phase);
    if (!type->is_dear)
        return FERRY__READ_OVER;
    *cost += COST_OF_A_READ + request->promise.result.sent;
    bool is_enough = *cost >= MOST_COST || is_to_give_way(intake->stream);
    return is_enough ? FERRY__READ_BUSY : FERRY__READ_OVER;
}

static ferry_phase phase_of(const ferry__request *request)
{
    return request->has_begun ? FERRY_PHASE_SOURCE : FERRY_PHASE_QUEUE;
}

/* Whether others have the read in hand: they are told that it is called off. */
static bool is_passed_on(const ferry__intake *intake, ferry__request *request, int error)
{
    const ferry__read_type *type = type_of(request);
    bool may_be = request == intake->reads.first && type->pass_on != NULL;
    return may_be && type->pass_on(request, error);
}

/* Calls a read off. The next read gets what it has not consumed. */
static void call_off(ferry_stream *stream, ferry__request *request, int error)
{
    ferry__intake *intake = ferry__intake_of(stream);
    if (!is_passed_on(intake, request, error))
        fail(intake, request, error, phase_of(request));
    ferry__stream_schedule_reading(stream);
}

const ferry__request_types ferry__intake_requests = FERRY__REQUEST_TYPES(call_off);

void ferry__intake_go_on(ferry__intake *intake, ferry__request *request, int error,
                         ferry_phase phase)
{
    intake->is_away = false;
    finish(intake, request, error, error != 0 ? phase : FERRY_PHASE_DONE);
    ferry__stream_schedule_reading(intake->stream);
}

void ferry__intake_deliver_read(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    ferry__request *request = ferry__request_of_mail(mail);
    ferry_stream *stream = request->stream;
    ferry__intake *intake = ferry__intake_of(stream);
    request->promise.result.sequence = intake->next_sequence++;
    request->stage = FERRY__QUEUED;
    ferry__queue_append(&intake->reads, request);
    ferry__stream_heed_deadline(stream, request);
    intake->delivered++;
    ferry__stream_schedule_reading(stream);
}

/* ---- the subscriber -------------------------------------------------------------------------- */

static bool is_command_under_way(const ferry__intake *intake)
{
    return atomic_load(&intake->commands) != intake->delivered;
}

/* Whether another reader was set already: that one is told of an end. */
static bool is_reader_under_way(const ferry__intake *intake)
{
    return atomic_load(&intake->readers) != intake->readers_delivered;
}

/* Sets what a call, or a loan, is made with. */
static void instruct(const ferry__intake *intake, ferry__subscriber *subscriber)
{
    subscriber->shots = intake->shots;
    subscriber->used_shots = 0;
    subscriber->wishes = intake->wishes;
    subscriber->resumptions = intake->resumptions;
    subscriber->commands = intake->delivered;
    subscriber->at_end = intake->has_ended;
}

/* Counts the calls that were made. If a demand has arrived meanwhile, that says how many calls are
 * wanted from there on. */
static void count_shots(ferry__intake *intake, const ferry__subscriber *subscriber)
{
    if (intake->shots > 0 && subscriber->wishes == intake->wishes)
        intake->shots -= subscriber->used_shots;
}

/* Notes how many bytes it has declined. If it was resumed since, it is offered them again. */
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
    ferry__stream_do(intake->stream, "calling on_read");
    intake->seen.is_in_call = true;
    size_t taken = ferry__subscriber_offer(subscriber, data, length);
    intake->seen.is_in_call = false;
    ferry__stream_do(intake->stream, NULL);
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

static void deliver_return(ferry__mail *mail, bool receiver_gone);

/* Whether the subscriber's thread is to receive what follows what is lent to it. */
static bool is_to_receive(const ferry__intake *intake)
{
    const ferry_stream *stream = intake->stream;
    const ferry__link *link = &stream->link;
    bool may_have_more =
        intake->came_full && !intake->has_ended && !ferry__stream_awaits(stream, FERRY__RECEIVING);
    /* Other links, and scripts, are their owner's alone. */
    return may_have_more && ferry__link_is_plain(link) && link->calls == &ferry__calls_real;
}

/* Lends with or without leave to receive, for which the owner is not to be woken meanwhile. */
static void post_loan(ferry__intake *intake)
{
    ferry_stream *stream = intake->stream;
    bool may_receive =
        is_to_receive(intake) &&
        ferry__poller_ignore(&stream->owner->poller, &stream->watch, FERRY__RECEIVING) == 0;
    intake->came_full = false;
    ferry__subscriber_lend(intake->subscriber, may_receive);
}

static void lend(ferry__intake *intake)
{
    ferry__subscriber *subscriber = intake->subscriber;
    instruct(intake, subscriber);
    subscriber->portion = intake->portion;
    subscriber->bytes = intake->kept;
    intake->lent = ferry__bytes_count(&intake->kept);
    intake->kept = (ferry__bytes){0};
    intake->declined = 0;
    intake->borrower = subscriber;
    subscriber->return_mail.deliver = deliver_return;
    atomic_store_explicit(&intake->seen.shown.since, ferry__stream_turn_time(intake->stream),
                          memory_order_relaxed); /* for each loan anew */
    post_loan(intake);
}

/* Heeds what the kernel said last, in place of a count. An abort ends the connection on this side:
 * that is no end of the peer's. */
static void heed_end(ferry__intake *intake, ssize_t said)
{
    if (ferry__stream_is_cut(intake->stream))
        return;
    const ferry_stream *stream = intake->stream;
    if (said == 0 && (stream->was_told_of_reset || stream->link.death_kept == ECONNRESET))
        said = -ECONNRESET; /* a call that sent was told of it: the kernel tells once */
    ferry__intake_note_end(intake, (int)said);
}

/* Heeds what the kernel has said to the thread that had the loan. */
static void heed_borrower(ferry__intake *intake, const ferry__subscriber *borrower)
{
    if (!borrower->may_receive)
        return;
    intake->portion = borrower->portion;
    intake->is_drained = borrower->came == -EAGAIN;
    if (borrower->came <= 0 && !intake->is_drained)
        heed_end(intake, borrower->came);
}

/* A loan has come back, with what was not taken of it. */
static void take_back(ferry_stream *stream, ferry__subscriber *borrower)
{
    ferry__intake *intake = ferry__intake_of(stream);
    stream->released_visits += FERRY__ONE_MESSAGE;
    ferry__stream_begin_turn(stream); /* an end has receipts, and the program is told of it */
    size_t left = ferry__bytes_count(&borrower->bytes);
    intake->offset += borrower->consumed;
    heed_borrower(intake, borrower);
    borrower->may_receive = false;
    intake->borrower = NULL;
    intake->lent = 0;
    count_shots(intake, borrower);
    ferry__intake_put_back(intake, ferry__bytes_first(&borrower->bytes), left);
    borrower->bytes.begin += left;
    give_block_back(&borrower->bytes);
    if (borrower == intake->subscriber) {
        note_declined(intake, borrower, left);
        if (borrower->is_gone)
            ferry__intake_abandon(stream, FERRY_CAUSE_GONE);
    }
    ferry__stream_end_turn(stream);
    ferry__stream_schedule_reading(stream);
}

static void deliver_return(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* it was admitted, so the owner is there */
    ferry__subscriber *borrower =
        (ferry__subscriber *)(void *)((char *)mail - offsetof(ferry__subscriber, return_mail));
    take_back(borrower->stream, borrower);
    ferry__subscriber_unref(borrower);
}

static void end_subscription(ferry__intake *intake, int error)
{
    ferry__subscriber *subscriber = intake->subscriber;
    intake->subscriber = NULL;
    ferry__bytes_take(&intake->kept, ferry__bytes_count(&intake->kept));
    ferry__subscriber_end(subscriber, error);
}

/* Whether it is not called any more, as a close or a detach is on its way. A loan would come back
 * at once, again and again. */
static bool is_lent_nothing(const ferry__intake *intake)
{
    return intake->subscriber->home != NULL &&
           (atomic_load(&intake->stream->admission.word) & FERRY__CLOSED) != 0;
}

/* Whether there is something that the subscriber has not seen and may be called for. */
static bool has_news(const ferry__intake *intake)
{
    if (is_lent_nothing(intake))
        return false;
    size_t count = ferry__bytes_count(&intake->kept);
    bool is_new = count > intake->declined || (intake->has_ended && !intake->declined_last);
    return count > 0 && intake->shots != 0 && is_new;
}

/* Whether the subscriber was offered as much as it may be, and has taken none of it. */
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
    /* Bytes that it declined although nothing comes behind them are dropped. Bytes that it was not
     * offered, as it is paused, are not. */
    bool is_done = ferry__bytes_count(&intake->kept) == 0 || intake->declined_last;
    if (is_stuck(intake))
        ferry__intake_end(intake->stream, -EMSGSIZE);
    else if (intake->has_ended && is_done)
        end_subscription(intake, intake->error);
}

/* Whether there is more to do without asking the kernel. */
static bool serve_all(ferry__intake *intake)
{
    ferry__read_state state = FERRY__READ_OVER;
    uint64_t cost = 0;
    while (intake->reads.first != NULL && state == FERRY__READ_OVER)
        state = feed_first(intake, &cost);
    if (intake->reads.first == NULL && intake->subscriber != NULL && !is_command_under_way(intake))
        serve_subscriber(intake);
    return state == FERRY__READ_BUSY;
}

/* Gives what is kept to the reads or the subscriber; but what is on loan comes first. @return
 * whether there is more to do without asking the kernel. */
static bool serve(ferry__intake *intake)
{
    bool again = (intake->borrower == NULL || intake->is_over) && serve_all(intake);
    update_fullness(intake);
    return again;
}

/* Replaces the subscriber. Takes the reference. @param subscriber NULL: there is none any more. */
static void subscribe(ferry__intake *intake, ferry__subscriber *subscriber, unsigned number)
{
    ferry__subscriber *before = intake->subscriber;
    intake->subscriber = subscriber;
    intake->readers_delivered = number;
    intake->declined = 0;
    intake->declined_last = false;
    intake->wishes++;
    intake->is_paused = false;
    if (subscriber != NULL) {
        subscriber->number = number;
        subscriber->all_readers = &intake->readers;
        subscriber->all_commands = &intake->commands;
        intake->shots = subscriber->reader.shots > 0 ? subscriber->reader.shots : -1;
    }
    if (before == NULL)
        return;
    ferry_stream *stream = intake->stream; /* shown as its turn: an arg may be released */
    ferry__stream_begin_turn(stream);
    ferry__subscriber_replace(before);
    ferry__stream_end_turn(stream);
}

static void demand(ferry__intake *intake, int64_t shots)
{
    intake->shots = shots;
    intake->wishes++;
    if (shots != 0 && intake->is_paused) {
        intake->declined = 0;
        intake->resumptions++;
    }
    intake->is_paused = shots == 0;
}

static ferry__asked take_asked(ferry__intake *intake)
{
    (void)pthread_mutex_lock(&intake->mutex);
    ferry__asked asked = intake->asked;
    intake->asked = (ferry__asked){0};
    (void)pthread_mutex_unlock(&intake->mutex);
    return asked;
}

static void deliver_asked(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* it was admitted, so the owner is there */
    ferry__intake *intake =
        (ferry__intake *)(void *)((char *)mail - offsetof(ferry__intake, asked_mail));
    const ferry__asked asked = take_asked(intake);
    if (asked.has_reader)
        subscribe(intake, asked.subscriber, asked.reader_number);
    if (asked.was_paused)
        demand(intake, 0);
    if (asked.has_demand)
        demand(intake, asked.shots);
    if (asked.has_deadline)
        ferry__intake_set_deadline(intake, asked.deadline);
    intake->delivered += asked.commands;
    intake->stream->released_visits += FERRY__ONE_MESSAGE;
    ferry__stream_schedule_reading(intake->stream);
}

/* Reading has ended, but the stream may still be detached: its bytes stay. */
static void leave_over(ferry__intake *intake)
{
    if (ferry__bytes_append(&intake->left_over, ferry__bytes_first(&intake->kept),
                            ferry__bytes_count(&intake->kept)) != 0)
        ferry__intake_note_gap(intake);
    ferry__bytes_take(&intake->kept, ferry__bytes_count(&intake->kept));
}

/* What a read has got and does not consume is left, too. */
static void undo_for_good(ferry__intake *intake, ferry__request *request, int error)
{
    if (error == 0 || !may_be_left(intake))
        return;
    type_of(request)->undo(intake, request);
    leave_over(intake);
}

/* All that waits learns this error; what is kept is dropped, or left. */
static void refuse_all(ferry__intake *intake, int error)
{
    if (may_be_left(intake))
        leave_over(intake);
    for (ferry__request *next, *request = intake->reads.first; request != NULL; request = next) {
        next = request->next;
        if (is_passed_on(intake, request, error))
            continue;
        undo_for_good(intake, request, error);
        finish(intake, request, error, error != 0 ? phase_of(request) : FERRY_PHASE_DONE);
    }
    if (intake->subscriber != NULL && !is_reader_under_way(intake))
        end_subscription(intake, error);
    ferry__bytes_take(&intake->kept, ferry__bytes_count(&intake->kept));
    intake->declined = 0;
}

/* ---- taking in ------------------------------------------------------------------------------- */

/* Whether another thread receives: the one that has the loan. */
static bool is_received_elsewhere(const ferry__intake *intake)
{
    return intake->borrower != NULL && intake->borrower->may_receive;
}

/* Whether the kernel is to be asked for more bytes. */
static bool is_wanted(const ferry__intake *intake)
{
    if (intake->has_ended || intake->is_away || intake->stream->state != FERRY__OPEN ||
        is_received_elsewhere(intake))
        return false;
    if (intake->reads.first != NULL)
        return !intake->is_waiting && (intake->borrower == NULL || !intake->is_full);
    /* A loan may use up all calls: that is known once it has come back. */
    bool may_be_called = intake->shots < 0 || (intake->shots > 0 && intake->borrower == NULL);
    return intake->subscriber != NULL && may_be_called && !intake->is_full;
}

size_t ferry__intake_count_wanted(ferry__request *request)
{
    enum { MOST_READS = 32 }; /* their callbacks are called in one turn */
    size_t all = 0;
    for (unsigned i = 0; request != NULL && i < MOST_READS; i++, request = request->next) {
        const ferry__read_type *type = type_of(request);
        size_t wanted = type->count_wanted != NULL ? type->count_wanted(request) : 0;
        if (wanted == 0 || wanted > FERRY__PORTION - all)
            break;
        all += wanted;
    }
    return all;
}

ssize_t ferry__intake_keep(ferry__intake *intake, size_t size)
{
    take_block(intake, size);
    if (ferry__bytes_reserve(&intake->kept, size) != 0)
        return -ENOMEM;
    ssize_t count =
        ferry__link_receive(&intake->stream->link, intake->kept.data + intake->kept.end, size);
    if (count > 0)
        intake->kept.end += (size_t)count;
    else
        give_block_back(&intake->kept); /* room that was made in vain */
    return count;
}

/* Offers bytes before they are kept, so that only those that are left have to be. */
static ssize_t ask_for_subscriber(ferry__intake *intake)
{
    unsigned char *scratch = ferry__owner_scratch(intake->stream->owner);
    if (scratch == NULL)
        return -ENOMEM;
    size_t high = high_mark(intake);
    size_t size = high < FERRY__SCRATCH_BYTES ? high : FERRY__SCRATCH_BYTES;
    ssize_t count = ferry__link_receive(&intake->stream->link, scratch, size);
    if (count <= 0)
        return count;
    size_t taken = offer(intake, scratch, (size_t)count), left = (size_t)count - taken;
    if (ferry__bytes_append(&intake->kept, scratch + taken, left) != 0) {
        ferry__intake_note_gap(intake);
        ferry__intake_end(intake->stream, -ENOMEM);
    }
    return count;
}

/* Receives behind what is kept: for the subscriber no more than it is to be offered. */
static ssize_t ask_to_keep(ferry__intake *intake)
{
    if (intake->reads.first != NULL)
        return ferry__intake_keep(intake, FERRY__PORTION);
    size_t most = high_mark(intake) - count_waiting(intake); /* not 0: more is wanted */
    size_t size = intake->portion < most ? intake->portion : most;
    ssize_t count = ferry__intake_keep(intake, size);
    if (count <= 0)
        return count;
    intake->portion = ferry__portion_after(intake->portion, size, (size_t)count);
    intake->came_full = (size_t)count == size;
    return count;
}

static ssize_t ask_for_the_first(ferry__intake *intake)
{
    if (intake->borrower != NULL) /* behind the loan */
        return ask_to_keep(intake);
    if (intake->reads.first != NULL)
        return type_of(intake->reads.first)->ask(intake, intake->reads.first);
    if (intake->subscriber->home != NULL || ferry__bytes_count(&intake->kept) > 0)
        return ask_to_keep(intake);
    return ask_for_subscriber(intake);
}

/* Asks the kernel once, unless it has just said it to a borrower. @return whether it has nothing
 * more for now. */
static bool ask_kernel(ferry__intake *intake)
{
    ferry__link *link = &intake->stream->link;
    bool was_drained = intake->is_drained;
    intake->is_drained = intake->came_full = false;
    if (was_drained)
        return true;
    link->is_dry = false; /* nothing may be received from it */
    ssize_t count = ask_for_the_first(intake);
    ferry__stream_heed_link(intake->stream);
    if (count > 0) {
        ferry__incoming_count(&intake->seen, (size_t)count,
                              ferry__stream_turn_time(intake->stream));
        return link->is_dry && !intake->is_cut_short;
    }
    if (count != -EAGAIN)
        heed_end(intake, count);
    return count == -EAGAIN;
}

static void watch(ferry__intake *intake)
{
    ferry_stream *stream = intake->stream;
    int error = ferry__owner_await(stream->owner, &stream->watch, FERRY__RECEIVING);
    if (error != 0)
        ferry__intake_end(stream, error);
}

/*
 * Whether a close is on its way, that may well end the stream before anything else comes: with the
 * answer to its peer's only request, say. Then its fd need not be watched at all. But a call that
 * waits in the kernel would keep the fd from being watched for long.
 */
static bool may_be_put_off(const ferry_stream *stream)
{
    bool is_closed = (atomic_load(&stream->admission.word) & FERRY__CLOSED) != 0;
    return is_closed && stream->close_request->stage == FERRY__POSTED &&
           stream->watch.registered == 0 && stream->link.patience == NULL;
}

bool ferry__intake_is_put_off(const ferry_stream *stream)
{
    const ferry__intake *intake = ferry__intake_of(stream);
    return intake != NULL && intake->is_put_off;
}

void ferry__intake_catch_up(ferry_stream *stream)
{
    ferry__intake *intake = ferry__intake_of(stream);
    if (intake == NULL || !intake->is_put_off)
        return;
    intake->is_put_off = false;
    if (is_wanted(intake))
        watch(intake);
}

bool ferry__intake_take_in(ferry_stream *stream)
{
    ferry__intake *intake = ferry__intake_of(stream);
    if (intake == NULL)
        return false;
    intake->is_put_off = false;
    if (stream->state == FERRY__DETACHING) { /* it came after the detach, or has come back */
        ferry__intake_let_go(stream, -ECANCELED);
        ferry__stream_schedule(stream);
        return false;
    }
    if (stream->owner->start_error != 0) {
        refuse_all(intake, stream->owner->start_error);
        return false; /* the owner has no thread, so nobody polls */
    }
    if (stream->state != FERRY__OPEN) /* it came after the close */
        ferry__intake_end(stream, -ESHUTDOWN);
    if (serve(intake))
        return true;
    if (!is_wanted(intake) || ferry__stream_awaits(stream, FERRY__RECEIVING))
        return false;
    bool is_drained = ask_kernel(intake);
    if (serve(intake))
        return true;
    if (!is_wanted(intake))
        return false;
    intake->is_put_off = may_be_put_off(stream);
    if (intake->is_put_off)
        return false;
    if (!is_drained)
        return true;
    watch(intake);
    return false;
}

void ferry__intake_ready(ferry_stream *stream, uint32_t events)
{
    ferry__intake *intake = ferry__intake_of(stream);
    if (intake == NULL)
        return;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0)
        intake->is_cut_short = true;
    if ((events & ((uint32_t)FERRY__RECEIVING | EPOLLHUP | EPOLLERR)) == 0)
        return;
    stream->has_come = true;
    ferry__stream_schedule_reading(stream);
}

static ferry__wait waits_for(const ferry__intake *intake)
{
    if (intake->borrower != NULL)
        return FERRY__WAITS_FOR_READER;
    if (intake->is_away)
        return FERRY__WAITS_FOR_RELAY;
    bool is_asked = !intake->has_ended && ferry__stream_awaits(intake->stream, FERRY__RECEIVING);
    return is_asked ? FERRY__WAITS_FOR_PEER : FERRY__WAITS_FOR_NOTHING;
}

void ferry__intake_show(ferry_stream *stream)
{
    ferry__intake *intake = ferry__intake_of(stream);
    if (intake != NULL)
        ferry__show_wait(&intake->seen.shown, waits_for(intake), ferry__stream_turn_time(stream));
}

/* ---- the end --------------------------------------------------------------------------------- */

void ferry__intake_end(ferry_stream *stream, int error)
{
    ferry__intake *intake = ferry__intake_of(stream);
    if (intake == NULL)
        return;
    size_t count = ferry__bytes_count(&intake->kept);
    /* If nobody has got the last bytes yet, reading had not come to its end. */
    if (!intake->has_ended || (!intake->is_over && (count > 0 || intake->borrower != NULL)))
        intake->error = error;
    intake->has_ended = true;
    intake->is_over = true;
    if (intake->borrower != NULL)
        ferry__subscriber_forbid(intake->borrower);
    ferry__timers_cancel(&stream->owner->timers, &intake->timer);
    refuse_all(intake, intake->error);
}

void ferry__intake_abandon(ferry_stream *stream, ferry_cause cause)
{
    ferry__intake *intake = ferry__intake_of(stream);
    if (intake == NULL)
        return;
    if (intake->cause == FERRY_CAUSE_NONE)
        intake->cause = cause;
    ferry__intake_end(stream, -ECANCELED);
}

/* ---- letting go ------------------------------------------------------------------------------ */

void ferry__intake_let_go(ferry_stream *stream, int error)
{
    ferry__intake *intake = ferry__intake_of(stream);
    if (intake == NULL)
        return;
    /* If nobody has got the last bytes yet, reading had not come to its end. */
    if (!intake->has_ended || count_waiting(intake) > 0)
        intake->error = error;
    intake->has_ended = true;
    if (intake->cause == FERRY_CAUSE_NONE)
        intake->cause = FERRY_CAUSE_CLOSE;
    if (intake->borrower != NULL)
        ferry__subscriber_forbid(intake->borrower);
    ferry__timers_cancel(&stream->owner->timers, &intake->timer);
    for (ferry__request *next, *request = intake->reads.first; request != NULL; request = next) {
        next = request->next;
        if (!is_passed_on(intake, request, error))
            fail(intake, request, error, phase_of(request));
    }
    ferry__subscriber *subscriber = intake->subscriber;
    if (subscriber == NULL || is_reader_under_way(intake))
        return;
    intake->subscriber = NULL;
    ferry__subscriber_end(subscriber, intake->error);
}

bool ferry__intake_is_back(const ferry_stream *stream)
{
    const ferry__intake *intake = ferry__intake_of(stream);
    return intake == NULL || (intake->borrower == NULL && intake->reads.first == NULL);
}

int ferry__intake_take_all(ferry_stream *stream, ferry__bytes *ret_bytes)
{
    ferry__intake *intake = ferry__intake_of(stream);
    *ret_bytes = (ferry__bytes){0};
    if (intake == NULL)
        return 0;
    leave_over(intake);
    if (intake->has_gap)
        return -ENODATA;
    *ret_bytes = intake->left_over;
    intake->left_over = (ferry__bytes){0};
    return 0;
}

static void look_at_deadline(ferry__timer *timer)
{
    ferry__intake *intake =
        (ferry__intake *)(void *)((char *)timer - offsetof(ferry__intake, timer));
    ferry_stream *stream = intake->stream;
    if (intake->deadline == FERRY__NEVER || intake->has_ended)
        return;
    if (intake->deadline > ferry__clock_now()) { /* the deadline was put off meanwhile */
        ferry__timers_set(&stream->owner->timers, timer, intake->deadline);
        return;
    }
    ferry__stream_begin_turn(stream); /* an end is told */
    ferry__intake_end(stream, -ETIMEDOUT);
    ferry__stream_end_turn(stream);
    ferry__stream_schedule_reading(stream);
}

void ferry__intake_set_deadline(ferry__intake *intake, int64_t deadline)
{
    if (intake->has_ended)
        return;
    intake->deadline = deadline;
    ferry__timer *timer = &intake->timer;
    if (deadline != FERRY__NEVER && (!ferry__timer_is_set(timer) || timer->deadline > deadline))
        ferry__timers_set(&intake->stream->owner->timers, timer, deadline);
}
