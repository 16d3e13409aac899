/* SPDX-License-Identifier: MIT */
/* Transfers made into others with <ferry/combine.h>, together with the program's own work. */
#include "tests/support.h"

#include <errno.h>

typedef struct job {
    ferry_stream *stream;
    const test_file *file;
    ferry_promise *looked_up; /* the program's own work */
} job;

/* One after the other: own work, then a head, then a file. */
static ferry_promise *send_file(ferry_promise *settled, ferry_outcome *outcome, void *arg)
{
    const job *self = arg;
    (void)settled;
    check_eq(outcome->result.error, 0);
    return submit_file(self->stream, ferry_file_at(self->file->path));
}

static ferry_promise *send_head(ferry_promise *settled, ferry_outcome *outcome, void *arg)
{
    const job *self = arg;
    (void)settled;
    check_eq(outcome->result.error, 0);
    return submit_write(self->stream, "head", 4);
}

static void *look_up(void *arg)
{
    check_eq(ferry_promise_settle(arg, NULL), 0);
    ferry_promise_unref(arg);
    return NULL;
}

PROMISE_BOTH(combining, own_work_and_transfers_follow_one_another)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    reader *peer = reader_start(both.theirs, true);
    test_file file = file_make(100 * 1000, 7);
    job self = {.stream = stream_adopt(service, both.ours), .file = &file};
    check_eq(ferry_promise_create(NULL, &self.looked_up), 0);
    ferry_promise *head, *all;
    check_eq(ferry_promise_and_then(self.looked_up, send_head, &self, &head), 0);
    check_eq(ferry_promise_and_then(head, send_file, &self, &all), 0);
    ferry_promise_unref(head);
    pthread_t thread;
    check_eq(pthread_create(&thread, NULL, look_up, self.looked_up), 0);
    ferry_result result = outcome(all);
    check_eq(result.error, 0);
    check_eq(result.sent, file.size);
    check_eq(result.stream_offset, 4);
    pthread_join(thread, NULL);
    (void)close_stream(self.stream);
    reader_join(peer);
    check_eq(peer->bytes, file.size + 4);
    reader_free(peer);
    file_remove(&file);
    ferry_service_destroy(service);
}

PROMISE_BOTH(combining, all_of_several_writes_adds_up_their_bytes)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    reader *peer = reader_start(both.theirs, false);
    ferry_stream *stream = stream_adopt(service, both.ours);
    ferry_promise *writes[8], *all;
    for (unsigned i = 0; i < 8; i++)
        writes[i] = submit_write(stream, "12345678", i + 1);
    check_eq(ferry_promise_all(writes, 8, NULL, &all), 0);
    for (unsigned i = 0; i < 8; i++)
        ferry_promise_unref(writes[i]);
    check_eq(ferry_promise_await(all, -1, NULL), 0);
    uint64_t offset = 0;
    for (unsigned i = 0; i < 8; i++) {
        ferry_result part;
        check_eq(ferry_promise_await(ferry_promise_part(all, i), 0, &part), 0);
        check_eq(part.stream_offset, offset);
        offset += part.sent;
    }
    check_eq(outcome(all).sent, 36);
    (void)close_stream(stream);
    reader_join(peer);
    reader_free(peer);
    ferry_service_destroy(service);
}

PROMISE_BOTH(combining, timeout_calls_a_stuck_write_off_and_says_how_much_left)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(service, both.ours);
    ferry_promise *stuck = submit_stuck(stream, both.theirs), *limited;
    check_eq(ferry_promise_timeout(stuck, 10, &limited), 0);
    check_eq(outcome(limited).error, -ETIMEDOUT);
    ferry_result result = outcome(stuck);
    check_eq(result.error, -ECANCELED);
    check_eq(result.sent + result.remaining, STUCK_BYTES);
    check(result.sent > 0);
    ferry_stream_abort(stream);
    ferry_stream_unref(stream);
    close(both.theirs);
    ferry_service_destroy(service);
}

PROMISE_BOTH(combining, promises_made_of_others_outlive_their_service)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(service, both.ours);
    ferry_promise *parts[2] = {submit_stuck(stream, both.theirs), submit_write(stream, "x", 1)};
    ferry_promise *settled;
    check_eq(ferry_promise_all_settled(parts, 2, NULL, &settled), 0);
    ferry_stream_abort(stream);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
    for (unsigned i = 0; i < 2; i++)
        ferry_promise_unref(parts[i]);
    check_eq(ferry_promise_await(settled, -1, NULL), 0);
    ferry_result last;
    check_eq(ferry_promise_await(ferry_promise_part(settled, 1), 0, &last), 0);
    check_eq(last.error, -ECANCELED);
    check_eq(outcome(settled).error, 0);
    close(both.theirs);
}

/* An owner runs no inbox: nothing is made of promises there, and nothing awaited. */
static void try_on_owner(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)result;
    ferry_promise *derived, *mine;
    check_eq(ferry_promise_and_then(promise, send_head, arg, &derived), -EDEADLK);
    check_eq(ferry_promise_all(&promise, 1, NULL, &derived), -EDEADLK);
    check_eq(ferry_promise_after(1, &derived), -EDEADLK);
    check_eq(ferry_promise_await_all(&promise, 1, -1), -EDEADLK);
    check_eq(ferry_promise_await_any(&promise, 1, 1, NULL), -EDEADLK);
    check_eq(ferry_promise_create(NULL, &mine), 0); /* which somebody else may await */
    check_eq(ferry_promise_settle(mine, NULL), 0);
    ferry_promise_unref(mine);
    check_eq(ferry_promise_settle(arg, NULL), 0);
}

PROMISE_BOTH(no_silent_wait, combining_and_awaiting_many_on_an_owner_is_edeadlk_at_once)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    reader *peer = reader_start(both.theirs, false);
    ferry_stream *stream = stream_adopt(service, both.ours);
    ferry_promise *tried;
    check_eq(ferry_promise_create(NULL, &tried), 0);
    const ferry_request_options options = {.on_owner = try_on_owner, .on_owner_arg = tried};
    check_eq(ferry_stream_write(stream, "x", 1, &options, NULL), 0);
    check_eq(outcome(tried).error, 0);
    (void)close_stream(stream);
    reader_join(peer);
    reader_free(peer);
    ferry_service_destroy(service);
}
