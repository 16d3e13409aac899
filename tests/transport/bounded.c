/* SPDX-License-Identifier: MIT */
/* Invariant bounded: queues have limits, and reaching one is an answer, or a wait that ends. */
#include "tests/support.h"

#include <errno.h>

/* ---- limits: a full queue -------------------------------------------------------------------- */

PROMISE_BOTH(bounded, full_queue_is_eagain_and_has_room_again_once_a_request_settled)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream =
        stream_adopt_with(service, both.ours, (ferry_stream_options){.limit_requests = 5});
    ferry_promise *stuck = submit_stuck(stream, both.theirs);
    ferry_promise *last = NULL;
    for (unsigned i = 1; i < 5; i++) {
        ferry_promise_unref(last);
        last = submit_write(stream, "x", 1);
    }
    ferry_promise *refused = NULL;
    check_eq(ferry_stream_write(stream, "x", 1, NULL, &refused), -EAGAIN);
    check(refused == NULL);
    ferry_stream_status status;
    for (unsigned i = 0; i < 3; i++) /* looking leaves nothing behind */
        check_eq(ferry_service_drain(service, 0), -ETIMEDOUT);
    check_eq(ferry_stream_get_status(stream, &status), 0);
    check_eq(status.queued_requests, 5);
    check_eq(status.queued_bytes, STUCK_BYTES + 4);
    ferry_promise *room;
    check_eq(ferry_stream_flush(stream, &room), 0); /* to wait for room needs none */
    reader *peer = reader_start(both.theirs, false);
    check_eq(outcome(room).error, 0);
    check_eq(outcome(last).error, 0);
    check_eq(outcome(stuck).error, 0);
    for (unsigned i = 0; i < 50; i++) /* who learns that it settled finds its room given back */
        for (unsigned n = 0; n < 4; n++)
            check_eq(outcome(submit_write(stream, "x", 1)).error, 0);
    check_eq(close_stream(stream).error, 0); /* close needs no room either */
    reader_join(peer);
    reader_free(peer);
    ferry_service_destroy(service);
}

PROMISE_BOTH(bounded, queued_memory_is_limited_but_one_large_request_is_taken_alone)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream =
        stream_adopt_with(service, both.ours, (ferry_stream_options){.limit_bytes = 1000});
    ferry_promise *stuck = submit_stuck(stream, both.theirs); /* far beyond the limit, alone */
    check_eq(ferry_stream_write(stream, "x", 1, NULL, NULL), -EAGAIN);
    check_eq(ferry_stream_write(stream, "", 0, NULL, NULL), -EAGAIN);
    ferry_stream_abort(stream);
    check_eq(outcome(stuck).error, -ECANCELED);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
    close(both.theirs);
}

/* ---- waiting for room ------------------------------------------------------------------------ */

static const ferry_request_options without_limit = {.room_timeout_ms = -1};

PROMISE_BOTH(bounded, submit_waits_for_room_as_long_as_it_was_told_to)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream =
        stream_adopt_with(service, both.ours, (ferry_stream_options){.limit_requests = 1});
    ferry_promise *stuck = submit_stuck(stream, both.theirs), *promise = NULL;
    const ferry_request_options briefly = {.room_timeout_ms = 5};
    const ferry_request_options wrong = {.room_timeout_ms = -2};
    check_eq(ferry_stream_write(stream, "x", 1, &briefly, &promise), -ETIMEDOUT);
    check_eq(ferry_stream_write(stream, "x", 1, &wrong, &promise), -EINVAL);
    check(promise == NULL);
    reader *peer = reader_start(both.theirs, false);
    check_eq(ferry_stream_write(stream, "x", 1, &without_limit, &promise), 0);
    check_eq(outcome(promise).error, 0);
    check_eq(outcome(stuck).error, 0);
    check_eq(close_stream(stream).error, 0);
    reader_join(peer);
    check_eq(peer->bytes, STUCK_BYTES + 1);
    reader_free(peer);
    ferry_service_destroy(service);
}

enum { CROWD = 6, EACH = 3000 };

static void *write_through_a_narrow_queue(void *arg)
{
    for (unsigned i = 0; i < EACH; i++)
        check_eq(ferry_stream_write(arg, "0123456789", 10, &without_limit, NULL), 0);
    return NULL;
}

PROMISE_BOTH(bounded, crowd_of_waiting_submits_gets_through_a_narrow_queue)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    reader *peer = reader_start(both.theirs, false);
    ferry_stream *stream = stream_adopt_with(
        service, both.ours, (ferry_stream_options){.limit_requests = 3, .limit_bytes = 25});
    pthread_t crowd[CROWD];
    for (unsigned i = 0; i < CROWD; i++)
        check_eq(pthread_create(&crowd[i], NULL, write_through_a_narrow_queue, stream), 0);
    for (unsigned i = 0; i < CROWD; i++)
        pthread_join(crowd[i], NULL);
    check_eq(close_stream(stream).error, 0);
    reader_join(peer);
    check_eq(peer->bytes, CROWD * EACH * 10);
    reader_free(peer);
    ferry_service_destroy(service);
}

static void *wait_for_room(void *arg)
{
    ferry_promise *promise = NULL;
    check_eq(ferry_stream_write(arg, "x", 1, &without_limit, &promise), -ESHUTDOWN);
    check(promise == NULL);
    return NULL;
}

PROMISE_BOTH(bounded, submit_that_waits_for_room_is_eshutdown_when_the_stream_ends)
{
    for (unsigned how = 0; how < 4; how++) {
        ferry_service *service = service_start(placement);
        pair both = unix_pair(SOCK_STREAM);
        ferry_stream *stream =
            stream_adopt_with(service, both.ours, (ferry_stream_options){.limit_requests = 1});
        ferry_promise *stuck = submit_stuck(stream, both.theirs);
        pthread_t waiter;
        check_eq(pthread_create(&waiter, NULL, wait_for_room, stream), 0);
        if (how == 0)
            check_eq(ferry_stream_close(stream, NULL), 0);
        else if (how == 1)
            ferry_stream_abort(stream);
        else if (how == 2)
            check_eq(ferry_stream_shutdown(stream, NULL), 0);
        else
            ferry_service_destroy(service);
        pthread_join(waiter, NULL);
        ferry_stream_abort(stream);
        check_eq(outcome(stuck).error, -ECANCELED);
        ferry_stream_unref(stream);
        if (how < 3)
            ferry_service_destroy(service);
        close(both.theirs);
    }
}

static void try_to_wait_for_room(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise;
    (void)result;
    check_eq(ferry_stream_write(arg, "x", 1, &without_limit, NULL), -EDEADLK);
}

PROMISE_BOTH(no_silent_wait, submit_that_may_wait_is_edeadlk_in_a_callback_and_on_an_owner)
{
    ferry_service *service = service_start(placement);
    pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(service, both.ours);
    const ferry_request_options options = {.on_owner = try_to_wait_for_room,
                                           .on_owner_arg = stream};
    ferry_promise *promise;
    check_eq(ferry_stream_write(stream, "x", 1, &options, &promise), 0);
    check_eq(ferry_promise_then(promise, try_to_wait_for_room, stream), 0);
    check_eq(outcome(promise).error, 0);
    check(ferry_inbox_run(0) >= 0);
    check_eq(close_stream(stream).error, 0);
    ferry_service_destroy(service);
    close(both.theirs);
}
