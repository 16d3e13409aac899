/* SPDX-License-Identifier: MIT */
/* Reads into the program's memory. */
#include "core/reserved.h"
#include "transport/read/intake.h"
#include "transport/stream/stream.h"

#include <errno.h>
#include <string.h>

/* The particulars of one. */
typedef struct filling {
    ferry__read read;    /* first */
    unsigned char *data; /* where it goes: the program's memory */
    size_t size;
    ferry_read_mode mode;
    size_t filled;  /* bytes in it */
    size_t scanned; /* of what is kept: no delimiter begins there */
    size_t delimiter_length;
    unsigned char delimiter[]; /* in the request's allocation */
} filling;

static const ferry__read_type into_memory; /* below; wanted: a ferry_read */

static filling *filling_of(ferry__request *request)
{
    return (filling *)(void *)ferry__request_read(request);
}

/* ---- at submit ------------------------------------------------------------------------------- */

static int check(const void *what, const ferry_request_options *options)
{
    const ferry_read *wanted = what;
    if ((wanted->data == NULL && wanted->size > 0) || (unsigned)wanted->mode > FERRY_READ_TO_END ||
        (wanted->mode == FERRY_READ_UNTIL &&
         (wanted->delimiter == NULL || wanted->delimiter_length == 0)))
        return -EINVAL;
    if (options != NULL &&
        (options->completion != FERRY_COMPLETION_ACCEPTED || options->on_progress != NULL))
        return -EINVAL;
    if (FERRY__IS_NEWER(wanted))
        return -E2BIG;
    return wanted->delimiter_length > PTRDIFF_MAX / 2 ? -ENOMEM : 0;
}

static int create(ferry_stream *stream, const void *what, const ferry_request_options *options,
                  ferry__inbox *home, ferry__request **ret_request)
{
    const ferry_read *wanted = what;
    size_t delimiter_length = wanted->mode == FERRY_READ_UNTIL ? wanted->delimiter_length : 0;
    /*
     * A delimiter that does not fit is never looked for. So the copy is no larger than the
     * program's own memory, which bounds the reads that wait.
     */
    size_t copied = delimiter_length <= wanted->size ? delimiter_length : 0;
    int error = ferry__read_create(stream, &into_memory, sizeof(filling) + copied, options, home,
                                   ret_request);
    if (error != 0)
        return error;
    filling *self = filling_of(*ret_request);
    self->data = wanted->data;
    self->size = wanted->size;
    self->mode = wanted->mode;
    self->filled = 0;
    self->scanned = 0;
    self->delimiter_length = delimiter_length;
    if (copied > 0)
        memcpy(self->delimiter, wanted->delimiter, copied);
    return 0;
}

int ferry_stream_read(ferry_stream *stream, const ferry_read *read,
                      const ferry_request_options *options, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (read == NULL)
        return -EINVAL;
    return ferry__stream_submit_read(stream, &into_memory, read, options, ret_promise);
}

/* ---- on the owner ---------------------------------------------------------------------------- */

/* Moves so much of what is kept to where the read wants it. */
static void fill(ferry__intake *intake, filling *self, size_t most)
{
    size_t count = ferry__bytes_count(&intake->kept);
    size_t room = self->size - self->filled;
    size_t size = count < most ? count : most;
    size = size < room ? size : room;
    if (size == 0)
        return;
    memcpy(self->data + self->filled, ferry__bytes_first(&intake->kept), size);
    self->filled += size;
    ferry__intake_take(intake, size);
}

/* How many of the bytes kept there are up to the end of the delimiter; 0: it has not come. */
static size_t find_delimiter(const ferry__intake *intake, filling *self)
{
    const unsigned char *first = ferry__bytes_first(&intake->kept);
    size_t count = ferry__bytes_count(&intake->kept);
    if (count < self->delimiter_length || self->delimiter_length > self->size)
        return 0;
    const unsigned char *found = memmem(first + self->scanned, count - self->scanned,
                                        self->delimiter, self->delimiter_length);
    self->scanned = count - self->delimiter_length + 1;
    return found != NULL ? (size_t)(found - first) + self->delimiter_length : 0;
}

/* 0: it is complete; -EAGAIN: not yet; -EMSGSIZE: it cannot be. */
static int feed_until(ferry__intake *intake, filling *self)
{
    size_t size = find_delimiter(intake, self);
    size_t count = ferry__bytes_count(&intake->kept);
    if (size > self->size || (size == 0 && count > 0 && count >= self->size))
        return -EMSGSIZE;
    if (size > 0 || intake->has_ended)
        fill(intake, self, size > 0 ? size : count);
    return size > 0 ? 0 : -EAGAIN;
}

/*
 * Gives it the bytes that its mode wants. @return 0: it is complete; -EAGAIN: not yet; or another
 * negative errno.
 */
static int feed_by_mode(ferry__intake *intake, filling *self)
{
    if (self->mode == FERRY_READ_UNTIL)
        return feed_until(intake, self);
    fill(intake, self, SIZE_MAX);
    if (self->mode == FERRY_READ_TO_END)
        return ferry__bytes_count(&intake->kept) > 0 ? -EMSGSIZE : -EAGAIN;
    bool is_enough = self->mode == FERRY_READ_SOME && self->filled > 0;
    return is_enough || self->filled == self->size ? 0 : -EAGAIN;
}

static ferry__read_step feed(ferry__intake *intake, ferry__request *request)
{
    int error = feed_by_mode(intake, filling_of(request));
    if (error == -EAGAIN)
        return ferry__read_is(FERRY__READ_HUNGRY);
    return ferry__read_over(error, FERRY_PHASE_SOURCE);
}

/* More than a little is rather received into its memory. */
static size_t count_wanted(ferry__request *request)
{
    enum { LITTLE = 4096 };
    const filling *self = filling_of(request);
    size_t room = self->size - self->filled;
    return self->mode != FERRY_READ_UNTIL && room < LITTLE ? room : 0;
}

/* Asks for bytes: straight into its memory, if nothing has to be looked at first and no other small
 * read waits. */
static ssize_t ask(ferry__intake *intake, ferry__request *request)
{
    filling *self = filling_of(request);
    size_t room = self->size - self->filled;
    if (self->mode == FERRY_READ_UNTIL || room == 0 || ferry__bytes_count(&intake->kept) > 0)
        return ferry__intake_keep(intake, FERRY__PORTION);
    size_t wanted = ferry__intake_count_wanted(request);
    if (wanted > room && ferry__bytes_reserve(&intake->kept, wanted) == 0)
        return ferry__intake_keep(intake, wanted);
    ssize_t count = ferry__link_receive(&intake->stream->link, self->data + self->filled, room);
    if (count > 0)
        self->filled += (size_t)count;
    return count;
}

static void undo(ferry__intake *intake, ferry__request *request)
{
    filling *self = filling_of(request);
    ferry__intake_put_back(intake, self->data, self->filled);
}

/* It consumes all it wanted, or nothing. */
static void conclude(ferry__request *request, int error)
{
    filling *self = filling_of(request);
    ferry_result *result = &request->promise.result;
    if (error != 0)
        self->filled = 0;
    result->sent = self->filled;
    result->method = self->filled > 0 ? FERRY_METHOD_MEMORY : FERRY_METHOD_NONE;
    if (self->mode == FERRY_READ_EXACTLY)
        result->remaining = self->size - self->filled;
}

static const ferry__read_type into_memory = {
    .check = check,
    .create = create,
    .feed = feed,
    .ask = ask,
    .count_wanted = count_wanted,
    .undo = undo,
    .conclude = conclude,
};
