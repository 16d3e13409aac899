/* SPDX-License-Identifier: MIT */
/* When pthread_create fails: requests settle, streams can be closed, and the next try may
 * succeed. */
#include "tests/support.h"

/* Linked with --wrap=pthread_create. Only ferry's own calls are to fail: the test sets how many. */

static atomic_int failures; /* how many calls are still to fail; negative: all */

WRAPPED(int, pthread_create,
        (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg))
{
    int left = atomic_load(&failures);
    if (left != 0) {
        if (left > 0)
            atomic_fetch_sub(&failures, 1);
        return EAGAIN;
    }
    return __real_pthread_create(thread, attributes, run, arg);
}

PROMISE(no_threads, service_that_cannot_start_its_threads_is_eagain_and_leaks_nothing)
{
    for (unsigned placement = 0; placement < 2; placement++) {
        const ferry_service_options options = {.placement = (ferry_placement)placement,
                                               .shared_owners = 3};
        ferry_service *service = NULL;
        atomic_store(&failures, -1);
        check_eq(ferry_service_create(&options, &service), -EAGAIN);
        atomic_store(&failures, 0);
        check(service == NULL);
    }
}

PROMISE(no_threads, requests_settle_with_eagain_and_later_ones_get_another_try)
{
    AT_END(stage_end) stage s = stage_open(FERRY_PLACEMENT_DEDICATED, unix_pair(SOCK_STREAM));
    unsigned long lines = lines_logged();
    atomic_store(&failures, -1);
    for (unsigned i = 0; i < 3; i++) {
        check_outcome(submit_write(s.stream, "lost", 4), .error = -EAGAIN,
                      .phase = FERRY_PHASE_QUEUE, .sent = 0, .remaining = 4);
    }
    check(lines_logged() > lines);
    atomic_store(&failures, 0);
    check_eq(outcome(submit_write(s.stream, "sent", 4)).error, 0);
    check_eq(stage_close_stream(&s).error, 0);
    char data[10];
    check_eq(recv(s.theirs, data, sizeof data, MSG_WAITALL), 4);
}

PROMISE(no_threads, shutdown_close_abort_and_destroy_need_no_thread)
{
    ferry_service *service = service_start(FERRY_PLACEMENT_DEDICATED);
    atomic_store(&failures, -1);
    AT_END(close_theirs) pair first = unix_pair(SOCK_STREAM), second = unix_pair(SOCK_STREAM);
    AT_END(close_theirs) pair third = unix_pair(SOCK_STREAM);
    ferry_stream *to_close = stream_adopt(service, first.ours);
    check_eq(outcome(submit_shutdown(to_close)).error, 0);
    char data;
    check_eq(recv(first.theirs, &data, 1, 0), 0); /* the end of file that was asked for */
    check_eq(close_stream(to_close).error, 0);
    ferry_stream *to_abort = stream_adopt(service, second.ours);
    ferry_stream_abort(to_abort);
    check_eq(close_stream(to_abort).error, -ECANCELED);
    ferry_stream *left_open = stream_adopt(service, third.ours);
    ferry_service_destroy(service);
    ferry_stream_unref(left_open);
    atomic_store(&failures, 0);
}

/* A callback that answers -EAGAIN with the same request must not keep the front owner for
 * itself. */
typedef struct stubborn {
    ferry_stream *stream;
    atomic_uint tries;
    atomic_bool succeeded;
} stubborn;

static void try_again(ferry_promise *, const ferry_result *result, void *arg)
{
    stubborn *self = arg;
    atomic_fetch_add(&self->tries, 1);
    if (result->error == -EAGAIN)
        write_calling(self->stream, "x", 1, try_again, self);
    else
        atomic_store(&self->succeeded, result->error == 0);
}

PROMISE(no_threads, callback_that_submits_again_gets_another_start_not_an_endless_loop)
{
    AT_END(stage_end) stage s = stage_open(FERRY_PLACEMENT_DEDICATED, unix_pair(SOCK_STREAM));
    stubborn self = {.stream = s.stream};
    atomic_store(&failures, 3);
    write_calling(self.stream, "x", 1, try_again, &self);
    char data;
    check_eq(recv(s.theirs, &data, 1, 0), 1);
    check_eq(stage_close_stream(&s).error, 0);
    check_eq(atomic_load(&self.tries), 4);
    check(atomic_load(&self.succeeded));
}

PROMISE(no_threads, submits_racing_with_failed_starts_settle_each)
{
    stage s = stage_open(FERRY_PLACEMENT_DEDICATED, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    atomic_store(&failures, 500);
    unsigned sent = 0;
    for (unsigned i = 0; i < 2000; i++) {
        ferry_promise *first = submit_write(s.stream, "x", 1),
                      *second = submit_write(s.stream, "x", 1);
        ferry_result results[] = {outcome(first), outcome(second)};
        for (unsigned n = 0; n < 2; n++) {
            check(results[n].error == 0 || results[n].error == -EAGAIN);
            sent += results[n].error == 0;
        }
    }
    check(sent > 0);
    stage_close_got_bytes(&s, sent);
}
