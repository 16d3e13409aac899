/* SPDX-License-Identifier: MIT */
/*
 * Reads into a file: spliced from the socket into a pipe of ours, and from there into the target.
 * What is kept already is written from memory, first. So is what splice(2) cannot move, and what is
 * hardly worth a pipe: then the kernel is asked for bytes to be kept, which go the same way.
 *
 * The pipe is empty whenever the kernel is asked, and filled only while nothing is kept. So the
 * bytes in it come before all that is kept later. They go back there if they cannot be stored.
 */
#include "core/cancel.h"
#include "core/clock.h"
#include "core/libc.h"
#include "transport/read/intake.h"
#include "transport/service/service.h"
#include "transport/stream/stream.h"
#include "transport/edge/target.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* To receive and write so much in all, or less than MUCH at once, is cheaper than to splice it. */
enum { MOST_RECEIVED = 128 * 1024, MUCH = 16 * 1024 };

/* The particulars of one. */
typedef struct storing {
    ferry__read read; /* first */
    ferry__target target;
    int64_t length;        /* bytes, or FERRY_TO_END */
    bool is_open;          /* the target is */
    bool by_copy;          /* splice(2) cannot do it */
    bool is_refused;       /* splice(2) cannot do it, and nothing else was allowed */
    bool has_copied;       /* it has asked for bytes to be kept, since splice(2) cannot do it */
    bool is_to_be_spliced; /* what comes next is worth it: a guess, by what came last */
    int pipe[2];           /* read and write end; -1 until needed */
    size_t piped;          /* bytes in it */
    ferry__timer again;    /* the target takes nothing now: when to ask it anew */
    int64_t patience_ns;   /* how long the last such wait was */
    ferry__request *request;
    char path[]; /* in the request's allocation */
} storing;

static const ferry__read_type into_file; /* below; wanted: a ferry_file */

static storing *storing_of(ferry__request *request)
{
    return (storing *)(void *)ferry__request_read(request);
}

/* ---- at submit ------------------------------------------------------------------------------- */

/* Time to ask the target once more. */
static void look_again(ferry__timer *timer)
{
    storing *self = (storing *)(void *)((char *)timer - offsetof(storing, again));
    ferry__stream_schedule_reading(self->request->stream);
}

static int take(storing *self, const ferry_file *file, size_t path_size, ferry__calls *calls)
{
    const char *path = file->path != NULL ? memcpy(self->path, file->path, path_size) : NULL;
    self->length = file->length;
    self->is_open = self->by_copy = self->is_refused = self->has_copied = false;
    self->is_to_be_spliced = file->length > MOST_RECEIVED;
    self->pipe[0] = self->pipe[1] = -1;
    self->piped = 0;
    self->patience_ns = 0;
    self->again = (ferry__timer){.fire = look_again};
    return ferry__target_take(&self->target, file, path, calls);
}

static int check(const void *wanted, const ferry_request_options *options)
{
    const ferry_file *file = wanted;
    if (options != NULL && options->completion != FERRY_COMPLETION_ACCEPTED)
        return -EINVAL;
    if (file->path != NULL && strnlen(file->path, PATH_MAX) == PATH_MAX)
        return -ENAMETOOLONG;
    return ferry__target_check(file);
}

static int create(ferry_stream *stream, const void *wanted, const ferry_request_options *options,
                  ferry__inbox *home, ferry__request **ret_request)
{
    const ferry_file *file = wanted;
    size_t path_size = file->path != NULL ? strlen(file->path) + 1 : 0;
    ferry__request *request;
    int error = ferry__read_create(stream, &into_file, sizeof(storing) + path_size, options, home,
                                   &request);
    if (error != 0)
        return error;
    storing_of(request)->request = request;
    error = take(storing_of(request), file, path_size, stream->link.calls);
    if (error != 0) {
        (void)ferry_promise_unref(&request->promise);
        return error;
    }
    *ret_request = request;
    return 0;
}

int ferry_stream_read_to_file(ferry_stream *stream, const ferry_file *file,
                              const ferry_request_options *options, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    if (file == NULL)
        return -EINVAL;
    return ferry__stream_submit_read(stream, &into_file, file, options, ret_promise);
}

/* ---- storing --------------------------------------------------------------------------------- */

/* How much may be moved at once, of what it still wants. */
static size_t portion(const ferry__request *request, const storing *self)
{
    const ferry_stream *stream = request->stream;
    size_t chunk = ferry__service_chunk(stream->service, stream->owner, false);
    if (self->length == FERRY_TO_END)
        return chunk;
    uint64_t left = (uint64_t)self->length - request->promise.result.sent;
    return left < chunk ? (size_t)left : chunk;
}

static void account(ferry__request *request, size_t count, ferry_method method)
{
    ferry_stream *stream = request->stream;
    ferry_result *result = &request->promise.result;
    result->sent += count;
    if (result->method < method)
        result->method = method;
    ferry__request_note_progress(request, ferry__stream_turn_time(stream), &stream->owner->ringer);
}

/* Moves the bytes in the pipe to what is kept, which is empty. */
static void empty_pipe(ferry__intake *intake, storing *self)
{
    assert(self->piped == 0 || ferry__bytes_count(&intake->kept) == 0);
    int error = ferry__pipe_empty_into(&intake->kept, self->pipe[0], self->piped,
                                       intake->stream->link.calls);
    self->piped = 0;
    ferry__intake_take(intake, 0); /* nobody has seen it yet; or the room was not needed */
    if (error == 0)
        return;
    ferry__intake_note_gap(intake);
    ferry__intake_note_end(intake, error);
}

static bool may_copy(const storing *self)
{
    return (self->target.flags & FERRY_FILE_ZERO_COPY) == 0;
}

/* Goes on by copying, at the same byte. */
static void copy_instead(ferry__intake *intake, storing *self)
{
    self->is_refused = !may_copy(self);
    self->by_copy = true;
    self->has_copied |= self->piped > 0;
    empty_pipe(intake, self);
}

static bool is_refusal(int error)
{
    return error == -EINVAL || error == -ENOSYS || error == -EOPNOTSUPP || error == -ESPIPE;
}

/* @return how many bytes of the pipe were stored; 0: it is empty now; or a negative errno. */
static ssize_t store_piped(ferry__intake *intake, ferry__request *request)
{
    storing *self = storing_of(request);
    if (self->piped == 0)
        return 0;
    ssize_t count =
        ferry__target_splice(&self->target, self->pipe[0], self->piped, intake->stream->link.calls);
    if (count > 0) {
        self->piped -= (size_t)count;
        account(request, (size_t)count, FERRY_METHOD_SPLICE);
    } else if (is_refusal((int)count)) {
        copy_instead(intake, self);
        return 0;
    }
    return count;
}

/* @return how many of the bytes kept were stored; or a negative errno. */
static ssize_t store_kept(ferry__intake *intake, ferry__request *request)
{
    storing *self = storing_of(request);
    size_t size = ferry__bytes_count(&intake->kept), most = portion(request, self);
    if (size == 0)
        return 0;
    ssize_t count = ferry__target_write(&self->target, ferry__bytes_first(&intake->kept),
                                        size < most ? size : most, intake->stream->link.calls);
    if (count > 0) {
        ferry__intake_take(intake, (size_t)count);
        account(request, (size_t)count, self->has_copied ? FERRY_METHOD_COPY : FERRY_METHOD_MEMORY);
    }
    return count;
}

/* ---- as the intake calls it ------------------------------------------------------------------ */

static bool is_complete(const ferry__request *request, const storing *self)
{
    return self->length != FERRY_TO_END && request->promise.result.sent == (uint64_t)self->length;
}

static int open_target(ferry__request *request, storing *self)
{
    if (self->is_open)
        return 0;
    ferry__stream_do(request->stream, "opening files");
    int error = ferry__target_open(&self->target, request->stream->link.calls);
    self->is_open = error == 0;
    return error;
}

/* Writing has failed. Some files tell only now that they have no places. */
static ferry__read_step give_up(int error)
{
    return ferry__read_over(error, error == -ESPIPE ? FERRY_PHASE_OPEN : FERRY_PHASE_SINK);
}

/* The target is full for now, or somebody has a lease on it: open(2) and write(2) would wait. */
static ferry__read_step wait_for_target(storing *self)
{
    enum { SOON = FERRY__NS_PER_MS, LATEST = 50 * FERRY__NS_PER_MS };
    ferry__timers_set(&self->request->stream->owner->timers, &self->again,
                      ferry__clock_back_off(&self->patience_ns, SOON, LATEST));
    return ferry__read_is(FERRY__READ_WAITING);
}

static ferry__read_step feed(ferry__intake *intake, ferry__request *request)
{
    storing *self = storing_of(request);
    if (ferry__timer_is_set(&self->again))
        return ferry__read_is(FERRY__READ_WAITING);
    int error = open_target(request, self);
    if (error == -EAGAIN)
        return wait_for_target(self);
    if (error != 0)
        return ferry__read_over(error, FERRY_PHASE_OPEN);
    if (is_complete(request, self))
        return ferry__read_over(0, FERRY_PHASE_DONE);
    ferry__stream_do(intake->stream, "storing what came");
    ssize_t count = store_piped(intake, request);
    if (self->is_refused)
        return ferry__read_over(-EOPNOTSUPP, FERRY_PHASE_SINK);
    if (count == 0)
        count = store_kept(intake, request);
    if (count == -EAGAIN)
        return wait_for_target(self);
    if (count < 0)
        return give_up((int)count);
    self->patience_ns = 0;
    if (is_complete(request, self))
        return ferry__read_over(0, FERRY_PHASE_DONE);
    bool has_more = self->piped > 0 || ferry__bytes_count(&intake->kept) > 0;
    return ferry__read_is(has_more ? FERRY__READ_BUSY : FERRY__READ_HUNGRY);
}

static bool is_small(const storing *self)
{
    return self->length != FERRY_TO_END && self->length <= MOST_RECEIVED;
}

/* Whether what it asks for next is received and written. */
static bool is_to_be_received(const storing *self)
{
    return ferry__link_is_plain(&self->request->stream->link) && may_copy(self) && !self->by_copy &&
           !self->is_to_be_spliced;
}

/* What is spliced does not come with what others want. */
static size_t count_wanted(ferry__request *request)
{
    const storing *self = storing_of(request);
    return is_small(self) && is_to_be_received(self) ? portion(request, self) : 0;
}

/* Asks for bytes to be written. @return whether there was memory for them. */
static bool receive_some(ferry__intake *intake, ferry__request *request, size_t size,
                         ssize_t *ret_count)
{
    storing *self = storing_of(request);
    size_t wanted = ferry__intake_count_wanted(request);
    size_t most = is_small(self) || size < MUCH ? size : MUCH;
    if (wanted > most)
        most = wanted;
    if (ferry__bytes_reserve(&intake->kept, most) != 0)
        return false;
    *ret_count = ferry__intake_keep(intake, most);
    self->is_to_be_spliced = *ret_count >= MUCH && !is_small(self);
    return true;
}

static int make_pipe(storing *self, size_t wanted, ferry__calls *calls)
{
    if (self->pipe[0] >= 0)
        return 0;
    if (TEMP_FAILURE_RETRY(calls->pipe(calls, self->pipe)) < 0)
        return -errno;
    if (wanted > FERRY__PIPE_BYTES)
        ferry__pipe_grow(self->pipe[1]);
    return 0;
}

/* @return how many bytes are in the pipe now; 0: that is for recv(2) to say; a negative errno. */
static ssize_t fill_pipe(ferry__intake *intake, ferry__request *request, size_t size)
{
    storing *self = storing_of(request);
    ferry__link *link = &intake->stream->link;
    if (!ferry__link_is_plain(link) || make_pipe(self, size, link->calls) != 0) {
        copy_instead(intake, self);
        return 0;
    }
    ssize_t count = ferry__link_receive_to_pipe(link, self->pipe[1], size);
    self->is_to_be_spliced = count >= MUCH;
    if (count > 0)
        self->piped = (size_t)count;
    else if (is_refusal((int)count))
        copy_instead(intake, self);
    bool is_said = count > 0 || (count < 0 && count != -EAGAIN && !self->by_copy);
    return is_said ? count : 0;
}

/*
 * The same if nothing may be copied: recv(2) only looks. Then splice(2) is asked once more, as
 * bytes may have come since. If it still gives nothing, it cannot.
 */
static ssize_t look_instead(ferry__intake *intake, ferry__request *request, size_t size)
{
    ssize_t there = ferry__link_peek(&intake->stream->link);
    if (there <= 0)
        return there;
    ssize_t count = fill_pipe(intake, request, size);
    if (count != 0)
        return count;
    storing_of(request)->is_refused = true;
    return -EAGAIN;
}

/*
 * If splice(2) has nothing to give, recv(2) has the last word. At urgent data splice(2) says for
 * ever that there is nothing, or that it is the end; recv(2) passes over it.
 */
static ssize_t ask(ferry__intake *intake, ferry__request *request)
{
    storing *self = storing_of(request);
    size_t size = portion(request, self);
    ssize_t count = 0;
    if (is_to_be_received(self) && receive_some(intake, request, size, &count))
        return count;
    if (!self->by_copy)
        count = fill_pipe(intake, request, size);
    if (count != 0)
        return count;
    if (self->is_refused)
        return -EAGAIN;
    if (!may_copy(self))
        return look_instead(intake, request, size);
    enum { MOST = 4 * FERRY__PORTION }; /* more gains nothing, and is memory */
    count = ferry__intake_keep(intake, size < MOST ? size : MOST);
    self->has_copied |= self->by_copy && count > 0;
    return count;
}

static void undo(ferry__intake *intake, ferry__request *request)
{
    empty_pipe(intake, storing_of(request));
}

static void conclude(ferry__request *request, int error)
{
    (void)error;
    storing *self = storing_of(request);
    ferry_result *result = &request->promise.result;
    if (self->length != FERRY_TO_END)
        result->remaining = (uint64_t)self->length - result->sent;
    ferry__timers_cancel(&request->stream->owner->timers, &self->again);
    ferry__stream_do(request->stream, "closing files");
    ferry__target_close(&self->target);
    for (unsigned end = 0; end < 2; end++) {
        if (self->pipe[end] >= 0)
            (void)ferry__close(self->pipe[end]);
    }
}

static const ferry__read_type into_file = {
    .check = check,
    .create = create,
    .feed = feed,
    .ask = ask,
    .count_wanted = count_wanted,
    .undo = undo,
    .conclude = conclude,
    .is_dear = true,
};
