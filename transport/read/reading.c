/* SPDX-License-Identifier: MIT */
/*
 * The reading direction's face to any thread. A wish goes to the owner by mail. One such mail is
 * under way at most: later wishes join it. So a wish is never refused, and takes no memory, however
 * far behind the owner is.
 */
#include "core/clock.h"
#include "core/reserved.h"
#include "core/thread.h"
#include "transport/read/intake.h"
#include "transport/stream/making.h"
#include "transport/stream/room.h"

#include <errno.h>
#include <stddef.h>

/* A stream of bytes would lose where messages end. */
static bool has_bytes_to_read(const ferry_stream *stream)
{
    return stream->link.is_socket && !stream->link.is_message;
}

static int check_readable(const ferry_stream *stream)
{
    int error = ferry__stream_check(stream);
    return error == 0 && !has_bytes_to_read(stream) ? -ENOTSOCK : error;
}

/* Merges two wishes: the newest of each kind counts. Gives the reader that never gets to the owner,
 * or NULL. */
static ferry__subscriber *merge(ferry__asked *asked, const ferry__asked *wanted)
{
    ferry__subscriber *replaced = NULL;
    if (wanted->has_reader) {
        replaced = asked->subscriber;
        asked->has_reader = true;
        asked->subscriber = wanted->subscriber;
        asked->has_demand = asked->was_paused = false; /* a new reader says what it wants */
    }
    if (wanted->has_demand) {
        asked->has_demand = true;
        asked->was_paused |= wanted->shots == 0;
        asked->shots = wanted->shots;
    }
    if (wanted->has_deadline) {
        asked->has_deadline = true;
        asked->deadline = wanted->deadline;
    }
    return replaced;
}

/* Counts a wish: each call that is made from now on knows of it. Under the mutex. */
static void count(ferry__intake *intake, const ferry__asked *wanted)
{
    if (wanted->has_reader)
        intake->asked.reader_number = atomic_fetch_add(&intake->readers, 1) + 1;
    if (wanted->has_reader || wanted->has_demand) {
        (void)atomic_fetch_add(&intake->commands, 1);
        intake->asked.commands++;
    }
}

/* Has the mail carry it, unless nothing can be asked any more. Under the mutex. */
static int add_to_mail(ferry__intake *intake, const ferry__asked *wanted,
                       ferry__subscriber **ret_replaced, bool *ret_is_first)
{
    *ret_is_first = !intake->asked.is_posted;
    if (*ret_is_first && !ferry__admit_message(&intake->stream->admission))
        return -ESHUTDOWN;
    intake->asked.is_posted = true;
    *ret_replaced = merge(&intake->asked, wanted);
    count(intake, wanted);
    return 0;
}

/* Asks something of the stream's intake. @return 0, or the errnos of ferry_stream_demand. */
static int ask(ferry_stream *stream, const ferry__asked *wanted)
{
    if ((atomic_load(&stream->admission.word) & FERRY__CLOSED) != 0)
        return -ESHUTDOWN;
    ferry__intake *intake = ferry__intake_need(stream);
    if (intake == NULL)
        return -ENOMEM;
    ferry__subscriber *replaced = NULL;
    bool is_first;
    (void)pthread_mutex_lock(&intake->mutex);
    int error = add_to_mail(intake, wanted, &replaced, &is_first);
    (void)pthread_mutex_unlock(&intake->mutex);
    if (error == 0 && is_first)
        ferry__owner_post_last(stream->owner, &intake->asked_mail);
    if (replaced != NULL)
        ferry__subscriber_give_up(replaced);
    return error;
}

/* ---- readers --------------------------------------------------------------------------------- */

static int check_reader(const ferry_reader *reader)
{
    if (reader->on_read == NULL || reader->shots < 0)
        return -EINVAL;
    if (FERRY__IS_NEWER(reader))
        return -E2BIG;
    size_t high = reader->high_bytes != 0 ? reader->high_bytes : FERRY__DEFAULT_HIGH;
    return reader->low_bytes > high ? -EINVAL : 0;
}

static ferry_reader with_defaults(ferry_reader reader)
{
    if (reader.high_bytes == 0)
        reader.high_bytes = FERRY__DEFAULT_HIGH;
    if (reader.low_bytes == 0)
        reader.low_bytes = reader.high_bytes / 2;
    return reader;
}

/* Where it is to be called. NULL: on the owner. */
static int find_home(const ferry_reader *reader, ferry__inbox **ret_home)
{
    *ret_home = NULL;
    if (reader->on_owner)
        return 0;
    if (ferry__thread_current()->owner != NULL)
        return -EDEADLK;
    *ret_home = ferry__inbox_current();
    return *ret_home != NULL ? 0 : -ENOMEM;
}

static int create_subscriber(ferry_stream *stream, const ferry_reader *reader,
                             ferry__subscriber **ret_subscriber)
{
    int error = check_reader(reader);
    ferry__inbox *home;
    if (error == 0)
        error = find_home(reader, &home);
    if (error != 0)
        return error;
    ferry_reader complete = with_defaults(*reader);
    return ferry__subscriber_create(stream, &complete, home, ret_subscriber);
}

int ferry_stream_set_reader(ferry_stream *stream, const ferry_reader *reader)
{
    int error = check_readable(stream);
    if (error != 0)
        return error;
    ferry__asked wanted = {.has_reader = true};
    if (reader != NULL)
        error = create_subscriber(stream, reader, &wanted.subscriber);
    if (error == 0)
        error = ask(stream, &wanted);
    if (error != 0 && wanted.subscriber != NULL)
        ferry__subscriber_discard(wanted.subscriber);
    return error;
}

int ferry_stream_demand(ferry_stream *stream, int64_t shots)
{
    int error = check_readable(stream);
    if (error == 0 && shots < -1)
        error = -EINVAL;
    if (error != 0)
        return error;
    return ask(stream, &(ferry__asked){.has_demand = true, .shots = shots});
}

int ferry_stream_read_within(ferry_stream *stream, int64_t timeout_ms)
{
    int error = check_readable(stream);
    if (error == 0 && timeout_ms < -1)
        error = -EINVAL;
    if (error != 0)
        return error;
    int64_t deadline = ferry__clock_deadline(timeout_ms);
    if (!ferry__owner_is_current(stream->owner))
        return ask(stream, &(ferry__asked){.has_deadline = true, .deadline = deadline});
    if ((atomic_load(&stream->admission.word) & FERRY__CLOSED) != 0)
        return -ESHUTDOWN;
    ferry__intake *intake = ferry__intake_need(stream);
    if (intake == NULL)
        return -ENOMEM;
    ferry__intake_set_deadline(intake, deadline);
    return 0;
}

/* ---- reads ----------------------------------------------------------------------------------- */

static bool is_closed(const ferry_stream *stream)
{
    return (atomic_load(&stream->admission.word) & FERRY__CLOSED) != 0;
}

/* Checks what every read must have. */
static int check(const ferry_stream *stream, const ferry_request_options *options)
{
    if (stream == NULL)
        return -EINVAL;
    if (!has_bytes_to_read(stream))
        return -ENOTSOCK;
    int error = ferry__stream_check(stream);
    if (error == 0)
        error = ferry__request_check_waiting(options);
    return error == 0 && is_closed(stream) ? -ESHUTDOWN : error;
}

static int let_in(ferry_stream *stream, const ferry_request_options *options)
{
    int64_t timeout_ms = ferry__request_room_timeout(options);
    int error = ferry__admit_read(&stream->admission);
    if (error == -EAGAIN && timeout_ms != 0)
        error = ferry__room_await_read(stream, ferry__clock_deadline(timeout_ms));
    return error;
}

int ferry__read_create(ferry_stream *stream, const ferry__read_type *type, size_t size,
                       const ferry_request_options *options, ferry__inbox *home,
                       ferry__request **ret_request)
{
    int error = ferry__request_create_read(stream, &ferry__intake_requests, size, options, home,
                                           ret_request);
    if (error == 0)
        ferry__request_read(*ret_request)->type = type;
    return error;
}

/* The owner may call the program, which may give the last handle back before the post returns. */
static void post(ferry_stream *stream, ferry__request *request, bool calls_back)
{
    ferry__owner *kept = calls_back ? ferry__owner_ref(stream->owner) : NULL;
    atomic_fetch_add(&ferry__intake_of(stream)->commands, 1);
    ferry__owner_post(stream->owner, &request->mail);
    ferry__owner_unref(kept);
}

int ferry__stream_submit_read(ferry_stream *stream, const ferry__read_type *type,
                              const void *wanted, const ferry_request_options *options,
                              ferry_promise **ret_promise)
{
    ferry__inbox *home;
    int error = check(stream, options);
    if (error == 0)
        error = ferry__find_home(ferry__request_is_reported(options, ret_promise), &home);
    if (error == 0)
        error = ferry__request_check_options(options);
    if (error == 0)
        error = type->check(wanted, options);
    if (error == 0 && ferry__intake_need(stream) == NULL)
        error = -ENOMEM;
    if (error == 0)
        error = let_in(stream, options);
    if (error != 0)
        return error;
    ferry__request *request;
    error = type->create(stream, wanted, options, home, &request);
    if (error != 0) {
        ferry__stream_end_visits(stream, FERRY__ONE_READ);
        /* The owner may wait for just this to end the stream. */
        ferry_stream_wake_generator(stream);
        return error;
    }
    request->mail.deliver = ferry__intake_deliver_read;
    ferry__request_hand_out(request, options, ret_promise);
    post(stream, request, options != NULL);
    return 0;
}
