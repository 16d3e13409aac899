/* SPDX-License-Identifier: MIT */
#include "transport/read/subscriber.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "core/thread.h"
#include "transport/stream/stream.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#define SUBSCRIBER_OF(mail, member)                                                                \
    ((ferry__subscriber *)(void *)((char *)(mail)-offsetof(ferry__subscriber, member)))

static void deliver_loan(ferry__mail *mail, bool receiver_gone);
static void deliver_end(ferry__mail *mail, bool receiver_gone);

int ferry__subscriber_create(ferry_stream *stream, const ferry_reader *reader, ferry__inbox *home,
                             ferry__subscriber **ret_subscriber)
{
    ferry__subscriber *subscriber = ferry__allocate_zeroed(sizeof *subscriber);
    if (subscriber == NULL)
        return -ENOMEM;
    atomic_init(&subscriber->refs, 1);
    subscriber->stream = ferry__stream_ref(stream);
    (void)ferry_stream_ref(stream);
    subscriber->reader = *reader;
    subscriber->home = home != NULL ? ferry__inbox_ref(home) : NULL;
    subscriber->loan_mail.deliver = deliver_loan;
    subscriber->end_mail.deliver = deliver_end;
    (void)pthread_mutex_init(&subscriber->receiving, NULL);
    *ret_subscriber = subscriber;
    return 0;
}

static ferry__subscriber *ref(ferry__subscriber *subscriber)
{
    atomic_fetch_add_explicit(&subscriber->refs, 1, memory_order_relaxed);
    return subscriber;
}

void ferry__subscriber_unref(ferry__subscriber *subscriber)
{
    if (ferry__refs_drop(&subscriber->refs) != 1)
        return;
    ferry__inbox_unref(subscriber->home);
    ferry__release(subscriber->bytes.data);
    (void)pthread_mutex_destroy(&subscriber->receiving);
    ferry__stream_unref(subscriber->stream);
    ferry__release(subscriber);
}

static void release_arg(const ferry__subscriber *subscriber)
{
    ferry__release_arg(subscriber->reader.release, subscriber->reader.arg);
}

void ferry__subscriber_give_up(ferry__subscriber *subscriber)
{
    release_arg(subscriber);
    ferry__subscriber_discard(subscriber);
}

void ferry__subscriber_replace(ferry__subscriber *subscriber)
{
    ferry_stream *stream = subscriber->stream;
    if (subscriber->home == NULL || subscriber->reader.release == NULL) {
        ferry__subscriber_give_up(subscriber);
        return;
    }
    subscriber->is_replaced = true; /* a loan may use its arg: the end comes behind the last loan */
    ferry__inbox_post(subscriber->home, &subscriber->end_mail, &stream->owner->ringer);
    (void)ferry_stream_unref(stream);
}

void ferry__subscriber_discard(ferry__subscriber *subscriber)
{
    (void)ferry_stream_unref(subscriber->stream);
    ferry__subscriber_unref(subscriber);
}

/* ---- calling --------------------------------------------------------------------------------- */

/* Whether nothing is under way that may change what it is to be called for. */
static bool may_be_called(const ferry__subscriber *subscriber)
{
    ferry_stream *stream = subscriber->stream;
    return subscriber->shots != 0 &&
           atomic_load(subscriber->all_commands) == subscriber->commands &&
           (atomic_load(&stream->admission.word) & FERRY__CLOSED) == 0;
}

size_t ferry__subscriber_offer(ferry__subscriber *subscriber, const unsigned char *data,
                               size_t length)
{
    const ferry_reader *reader = &subscriber->reader;
    subscriber->taken = 0;
    subscriber->was_declined = false;
    while (subscriber->taken < length && !subscriber->was_declined && may_be_called(subscriber)) {
        subscriber->used_shots++;
        if (subscriber->shots > 0)
            subscriber->shots--;
        size_t left = length - subscriber->taken;
        size_t size = left < reader->high_bytes ? left : reader->high_bytes;
        subscriber->was_last = subscriber->at_end && size == left;
        size_t count = reader->on_read(subscriber->stream, data + subscriber->taken, size,
                                       subscriber->was_last, reader->arg);
        subscriber->taken += count < size ? count : size;
        subscriber->was_declined = count == 0;
    }
    return subscriber->taken;
}

/* ---- a loan ---------------------------------------------------------------------------------- */

void ferry__subscriber_lend(ferry__subscriber *subscriber, bool may_receive)
{
    (void)ref(subscriber);
    subscriber->taken = subscriber->consumed = 0;
    subscriber->came = 1;
    subscriber->may_receive = may_receive;
    ferry__inbox_post(subscriber->home, &subscriber->loan_mail, &subscriber->stream->owner->ringer);
}

void ferry__subscriber_forbid(ferry__subscriber *subscriber)
{
    if (!subscriber->may_receive)
        return;
    (void)pthread_mutex_lock(&subscriber->receiving);
    subscriber->may_receive = false;
    (void)pthread_mutex_unlock(&subscriber->receiving);
}

/* What the calls have taken is done with. The memory is kept for what follows. */
static void count_taken(ferry__subscriber *subscriber)
{
    subscriber->bytes.begin += subscriber->taken;
    subscriber->consumed += subscriber->taken;
    subscriber->taken = 0;
}

/* Gives the loan back to the owner, which takes the reference over; unless the stream has ended. */
static void give_back(void *arg)
{
    ferry__subscriber *subscriber = arg;
    ferry_stream *stream = subscriber->stream;
    count_taken(subscriber);                              /* where a call has ended the thread */
    if (subscriber->bytes.capacity != FERRY__LARGE_BYTES) /* else it is a block of the owner's */
        ferry__bytes_take(&subscriber->bytes, 0);
    if (!ferry__admit_message(&stream->admission)) {
        ferry__subscriber_unref(subscriber);
        return;
    }
    ferry__owner_post_last(stream->owner, &subscriber->return_mail);
}

/* Asks the kernel once, for so many bytes behind what is left. @return what it said. */
static ssize_t receive_behind(ferry__subscriber *subscriber, size_t size)
{
    ferry_stream *stream = subscriber->stream;
    ferry__bytes *bytes = &subscriber->bytes;
    if (ferry__bytes_reserve(bytes, size) != 0)
        return -ENOMEM;
    int before = errno; /* the program's */
    ssize_t count = ferry__link_receive(&stream->link, bytes->data + bytes->end, size);
    errno = before;
    if (count <= 0)
        return count;
    bytes->end += (size_t)count;
    subscriber->portion = ferry__portion_after(subscriber->portion, size, (size_t)count);
    ferry__incoming_count(atomic_load(&stream->incoming), (size_t)count, ferry__clock_now());
    return count;
}

/*
 * Receives what follows, and puts the loan behind the thread's other mail. That is done under the
 * mutex, too: once the owner has forbidden it the end may be posted, which is to come last.
 * @return whether something has come.
 */
static bool receive_more(ferry__subscriber *subscriber)
{
    size_t left = ferry__bytes_count(&subscriber->bytes), high = subscriber->reader.high_bytes;
    if (left >= high || !may_be_called(subscriber))
        return false;
    size_t size = high - left < subscriber->portion ? high - left : subscriber->portion;
    FERRY__HOLD_OFF_CANCEL();
    (void)pthread_mutex_lock(&subscriber->receiving);
    subscriber->came = subscriber->may_receive ? receive_behind(subscriber, size) : -ECANCELED;
    bool has_come = subscriber->came > 0;
    if (has_come)
        ferry__inbox_post(subscriber->home, &subscriber->loan_mail, NULL);
    (void)pthread_mutex_unlock(&subscriber->receiving);
    return has_come;
}

static void offer_loan(ferry__subscriber *subscriber)
{
    subscriber->taken = 0;
    subscriber->is_gone = true; /* while the reader is called: it may end its thread */
    pthread_cleanup_push(give_back, subscriber);
    (void)ferry__subscriber_offer(subscriber, ferry__bytes_first(&subscriber->bytes),
                                  ferry__bytes_count(&subscriber->bytes));
    pthread_cleanup_pop(0);
    subscriber->is_gone = false;
    count_taken(subscriber);
}

/* Whether it is bulk that has run dry, maybe for a moment, and the thread may wait for it. */
static bool is_dry(const ferry__subscriber *subscriber)
{
    return subscriber->came == -EAGAIN && subscriber->portion > FERRY__PORTION &&
           ferry__inbox_may_wait(subscriber->home);
}

/* Asks once more. Whether there is no more to wait for: the kernel says what has come, or how it
 * has ended, and that it says once. */
static bool has_news(void *context)
{
    ferry__subscriber *subscriber = context;
    (void)receive_more(subscriber);
    return subscriber->came != -EAGAIN || !ferry__inbox_may_wait(subscriber->home) ||
           !may_be_called(subscriber);
}

/* @return as receive_more. */
static bool look_out(ferry__subscriber *subscriber)
{
    enum { LOOK_NS = 60 * 1000 }; /* as long as the loan takes to the owner and back, or less */
    return is_dry(subscriber) &&
           ferry__lookout_look(&subscriber->lookout, LOOK_NS, has_news, subscriber) &&
           subscriber->came > 0;
}

static void deliver_loan(ferry__mail *mail, bool receiver_gone)
{
    ferry__subscriber *subscriber = SUBSCRIBER_OF(mail, loan_mail);
    if (receiver_gone)
        subscriber->is_gone = true;
    else
        offer_loan(subscriber);
    if (receiver_gone || !(receive_more(subscriber) || look_out(subscriber)))
        give_back(subscriber);
}

/* ---- the end --------------------------------------------------------------------------------- */

/*
 * Whether another reader was set since: then this one is not told, and does not close the stream.
 */
static bool was_replaced(const ferry__subscriber *subscriber)
{
    return atomic_load(subscriber->all_readers) != subscriber->number;
}

static void let_go(void *arg)
{
    ferry__subscriber *subscriber = arg;
    if (subscriber->was_told && !subscriber->reader.keep_open)
        (void)ferry_stream_close(subscriber->stream, NULL);
    release_arg(subscriber);
    (void)ferry_stream_unref(subscriber->stream);
    ferry__subscriber_unref(subscriber);
}

static void tell_end(ferry__subscriber *subscriber)
{
    const ferry_reader *reader = &subscriber->reader;
    pthread_cleanup_push(let_go, subscriber);
    subscriber->was_told = !was_replaced(subscriber);
    if (subscriber->was_told && reader->on_end != NULL)
        reader->on_end(subscriber->stream, subscriber->error, reader->arg);
    pthread_cleanup_pop(1);
}

static void deliver_end(ferry__mail *mail, bool receiver_gone)
{
    ferry__subscriber *subscriber = SUBSCRIBER_OF(mail, end_mail);
    if (subscriber->is_replaced) {
        release_arg(subscriber);
        ferry__subscriber_unref(subscriber);
        return;
    }
    if (!receiver_gone) {
        tell_end(subscriber);
        return;
    }
    subscriber->was_told = !was_replaced(subscriber); /* by what is known here and now */
    if (subscriber->was_told)
        ferry__log(FERRY_LOG_WARNING, "a thread ended before the end of what it read");
    let_go(subscriber);
}

void ferry__subscriber_end(ferry__subscriber *subscriber, int error)
{
    subscriber->error = error;
    if (subscriber->home != NULL) {
        ferry__inbox_post(subscriber->home, &subscriber->end_mail,
                          &subscriber->stream->owner->ringer);
        return;
    }
    (void)ferry__thread_do("calling on_end");
    tell_end(subscriber);
    (void)ferry__thread_do(NULL);
}
