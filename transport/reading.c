/* SPDX-License-Identifier: MIT */
/* The reading direction's face to any thread: what is asked of it goes to the owner by mail. */
#include "core/clock.h"
#include "core/hooks.h"
#include "core/thread.h"
#include "transport/intake.h"
#include "transport/service.h"
#include "transport/stream.h"

#include <errno.h>
#include <stddef.h>

/* One thing asked of a stream's intake that settles nothing. */
typedef struct command {
    ferry__mail mail;
    ferry_stream *stream;
    void (*carry_out)(ferry__intake *intake, const struct command *command);
    bool is_counted; /* it may change who is to be served: nobody is called while it is under way */
    ferry__subscriber *subscriber; /* set_reader: a reference, or NULL */
    int64_t number;                /* demand: shots; read_within: a deadline */
} command;

static int check_readable(const ferry_stream *stream)
{
    if (stream == NULL)
        return -EINVAL;
    if (ferry__service_is_foreign(stream->service))
        return -ECHILD;
    /* A stream of bytes would lose where messages end. */
    return stream->sink.is_socket && !stream->sink.is_message ? 0 : -ENOTSOCK;
}

static void deliver(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* it was admitted, so the owner is there */
    command *what = (command *)mail;
    ferry__intake *intake = atomic_load(&what->stream->intake);
    what->carry_out(intake, what);
    ferry__intake_note_command(intake, what->is_counted);
    ferry__release(what);
}

static void carry_out_subscribe(ferry__intake *intake, const command *what)
{
    ferry__intake_subscribe(intake, what->subscriber);
}

/* Posts a command. @return 0, or the errnos of ferry_stream_demand. */
static int post(ferry_stream *stream, command wanted)
{
    static const ferry__cost nothing;
    ferry__intake *intake = ferry__intake_need(stream);
    if (intake == NULL)
        return -ENOMEM;
    command *posted = ferry__allocate(sizeof *posted);
    if (posted == NULL)
        return -ENOMEM;
    *posted = wanted;
    posted->mail.deliver = deliver;
    posted->stream = stream;
    int error = ferry__admit(stream, nothing, FERRY__CLOSED, 0, FERRY__BY_COUNT);
    if (error != 0) {
        ferry__release(posted);
        return error;
    }
    /* Before it is posted: whoever is called now knows. */
    if (wanted.carry_out == carry_out_subscribe)
        (void)atomic_fetch_add(&intake->readers, 1);
    if (wanted.is_counted)
        (void)atomic_fetch_add(&intake->commands, 1);
    /* What it causes may give the last handle back, before the post has returned. */
    ferry__owner *owner = ferry__owner_ref(stream->owner);
    ferry__owner_post(owner, &posted->mail);
    ferry__owner_unref(owner);
    return 0;
}

/* ---- readers --------------------------------------------------------------------------------- */

static int check_reader(const ferry_reader *reader)
{
    if (reader->on_read == NULL || reader->shots < 0)
        return -EINVAL;
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
    command what = {.carry_out = carry_out_subscribe, .is_counted = true};
    if (reader != NULL)
        error = create_subscriber(stream, reader, &what.subscriber);
    if (error == 0)
        error = post(stream, what);
    if (error != 0 && what.subscriber != NULL)
        ferry__subscriber_discard(what.subscriber);
    return error;
}

static void carry_out_demand(ferry__intake *intake, const command *what)
{
    ferry__intake_demand(intake, what->number);
}

int ferry_stream_demand(ferry_stream *stream, int64_t shots)
{
    int error = check_readable(stream);
    if (error == 0 && shots < -1)
        error = -EINVAL;
    if (error != 0)
        return error;
    return post(stream,
                (command){.carry_out = carry_out_demand, .is_counted = true, .number = shots});
}

static void carry_out_deadline(ferry__intake *intake, const command *what)
{
    ferry__intake_set_deadline(intake, what->number);
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
        return post(stream, (command){.carry_out = carry_out_deadline, .number = deadline});
    if ((atomic_load(&stream->admission) & FERRY__CLOSED) != 0)
        return -ESHUTDOWN;
    ferry__intake *intake = ferry__intake_need(stream);
    if (intake == NULL)
        return -ENOMEM;
    ferry__intake_set_deadline(intake, deadline);
    return 0;
}
