/* SPDX-License-Identifier: MIT */
/* What readers, requests, listeners and connects are handed is released once, whatever happens. */
#include "tests/support.h"

#include <semaphore.h>

/* An arg: counts how often it was used and released; use after release fails. */
typedef struct kept {
    atomic_uint used, released;
} kept;

static void release_kept(void *data, void *arg)
{
    check(data == NULL);
    atomic_fetch_add(&((kept *)arg)->released, 1);
}

static void use(kept *self)
{
    check_eq(atomic_load(&self->released), 0);
    atomic_fetch_add(&self->used, 1);
}

static void wait_until_released(const kept *self)
{
    while (atomic_load(&self->released) == 0) {
        (void)ferry_inbox_run(0);
        sched_yield();
    }
    while (ferry_inbox_run(0) > 0) {
    }
    check_eq(atomic_load(&self->released), 1);
}

/* ---- readers --------------------------------------------------------------------------------- */

static size_t use_on_read(ferry_stream *, const void *, size_t length, bool, void *arg)
{
    use(arg);
    return length;
}

static void use_on_end(ferry_stream *, int, void *arg)
{
    use(arg);
}

static ferry_reader reader_of(kept *arg, bool on_owner)
{
    return (ferry_reader){.on_read = use_on_read,
                          .on_end = use_on_end,
                          .arg = arg,
                          .on_owner = on_owner,
                          .release = release_kept};
}

typedef enum ending { ENDED, CLOSED, ABORTED, REPLACED, REMOVED, DESTROYED, ENDINGS } ending;

static void end_reading(ending how, stage *s, kept *other)
{
    switch (how) {
    case ENDED:
        check_eq(shutdown(s->theirs, SHUT_WR), 0);
        break;
    case CLOSED:
        check_eq(ferry_stream_close(s->stream, NULL), 0);
        break;
    case ABORTED:
        ferry_stream_abort(s->stream);
        break;
    case REPLACED:
        set_reader(s->stream, reader_of(other, true));
        break;
    case REMOVED:
        check_eq(ferry_stream_set_reader(s->stream, NULL), 0);
        break;
    default:
        stage_destroy(s);
        break;
    }
}

PROMISE_EITHER(releases, readers_arg_is_released_however_reading_ends)
{
    for (unsigned on_owner = 0; on_owner < 2; on_owner++) {
        for (ending how = 0; how < ENDINGS; how++) {
            kept arg = {0}, other = {0};
            stage s = stage_open(placement, unix_pair(SOCK_STREAM));
            set_reader(s.stream, reader_of(&arg, on_owner));
            check_eq(write(s.theirs, "abc", 3), 3);
            while (atomic_load(&arg.used) == 0)
                (void)ferry_inbox_run(1);
            check_eq(atomic_load(&arg.released), 0);
            end_reading(how, &s, &other);
            wait_until_released(&arg);
            bool is_told = how != REPLACED && how != REMOVED;
            check_eq(atomic_load(&arg.used), 1u + is_told);
            stage_end(&s);
            check_eq(atomic_load(&arg.released), 1);
            check_eq(atomic_load(&other.released), how == REPLACED);
        }
    }
}

/* A reader, or a listener, that a thread sets and then ends. */
typedef struct departure {
    ferry_stream *stream;
    ferry_service *service;
    ferry_listener *listener;
    kept arg;
} departure;

static void *read_and_end(void *arg)
{
    departure *self = arg;
    set_reader(self->stream, reader_of(&self->arg, false));
    return NULL;
}

PROMISE_EITHER(releases, readers_arg_is_released_when_its_thread_has_ended)
{
    for (unsigned with_bytes = 0; with_bytes < 2; with_bytes++) {
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        departure self = {.stream = s.stream};
        run_to_its_end(read_and_end, &self);
        if (with_bytes)
            check_eq(write(s.theirs, "abc", 3), 3);
        else
            check_eq(ferry_stream_close(s.stream, NULL), 0);
        wait_until_released(&self.arg);
        check_eq(atomic_load(&self.arg.used), 0);
    }
}

static void wait_on_owner(ferry_promise *, const ferry_result *, void *arg)
{
    sem_wait(arg);
}

PROMISE_EITHER(releases, arg_of_a_reader_that_is_replaced_before_it_gets_to_the_owner_is_released)
{
    for (unsigned on_owner = 0; on_owner < 2; on_owner++) {
        kept args[3] = {0};
        sem_t go_on;
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        check_eq(sem_init(&go_on, 0, 0), 0);
        write_calling(s.stream, "x", 1, wait_on_owner, &go_on);
        wait_readable(s.theirs);
        for (unsigned i = 0; i < 3; i++) {
            set_reader(s.stream, reader_of(&args[i], on_owner));
        }
        check_eq(sem_post(&go_on), 0);
        ferry_stream_abort(s.stream);
        for (unsigned i = 0; i < 3; i++)
            wait_until_released(&args[i]);
        check_eq(atomic_load(&args[0].used) + atomic_load(&args[1].used), 0);
    }
}

PROMISE_EITHER(releases, refused_calls_release_nothing)
{
    kept arg = {0};
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_stream *none;
    ferry_listener *listener;
    ferry_reader what = reader_of(&arg, true);
    const ferry_request_options options = {.on_owner_arg = &arg,
                                           .on_owner_release = release_kept,
                                           .on_progress_arg = &arg,
                                           .on_progress_release = release_kept};
    const ferry_stream_options watched = {
        .close_timeout_ms = 1, .on_watermark_arg = &arg, .on_watermark_release = release_kept};
    const ferry_listen_options listens = {
        .on_stream_arg = &arg, .on_stream_release = release_kept, .stream = &watched};
    const ferry_connect_options connects = {
        .stream = &watched, .on_owner_arg = &arg, .on_owner_release = release_kept};
    what.shots = -1;
    check_eq(ferry_stream_set_reader(s.stream, &what), -EINVAL);
    check_eq(ferry_stream_write(s.stream, NULL, 1, &options, NULL), -EINVAL);
    check_eq(ferry_stream_adopt(s.service, -1, &watched, &none), -EBADF);
    check_eq(ferry_listen(s.service, "127.0.0.1:0", &listens, &listener), -EINVAL);
    check_eq(ferry_connect(s.service, "fd:1000000", &connects, NULL), -EBADF);
    stage_close(&s);
    check_eq(atomic_load(&arg.released), 0);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void use_on_owner(ferry_promise *, const ferry_result *, void *arg)
{
    use(arg);
}

static void use_on_progress(ferry_promise *, uint64_t, void *arg)
{
    use(arg);
}

static ferry_request_options options_of(kept args[2])
{
    return (ferry_request_options){.on_owner = use_on_owner,
                                   .on_owner_holds_queue = true,
                                   .on_owner_arg = &args[0],
                                   .on_owner_release = release_kept,
                                   .on_progress = use_on_progress,
                                   .on_progress_arg = &args[1],
                                   .on_progress_release = release_kept};
}

PROMISE_EITHER(releases, requests_args_are_released_whether_sent_cancelled_aborted_or_forgotten)
{
    for (unsigned i = 0; i < 4; i++) {
        kept args[2] = {0};
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        const ferry_request_options options = options_of(args);
        ferry_promise *head = i > 0 ? submit_stuck(s.stream, s.theirs) : NULL, *sent = NULL;
        check_eq(ferry_stream_write(s.stream, "abc", 3, &options, i == 3 ? NULL : &sent), 0);
        if (i == 1)
            check_eq(ferry_promise_cancel(sent), 0);
        else if (i > 1)
            ferry_stream_abort(s.stream);
        wait_until_released(&args[0]);
        wait_until_released(&args[1]);
        check_eq(atomic_load(&args[0].used), 1);
        check_eq(atomic_load(&args[1].used), i == 0);
        ferry_promise_unref(sent);
        ferry_promise_unref(head);
        ferry_stream_abort(s.stream);
    }
}

/* Submits, and ends before it has heard of progress. */
typedef struct submitter {
    ferry_stream *stream;
    kept args[2];
} submitter;

static void *submit_and_end(void *arg)
{
    submitter *self = arg;
    const ferry_request_options options = options_of(self->args);
    check_eq(ferry_stream_write(self->stream, "abc", 3, &options, NULL), 0);
    return NULL;
}

PROMISE_EITHER(releases, progress_arg_is_released_when_its_thread_has_ended)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    submitter self = {.stream = s.stream};
    run_to_its_end(submit_and_end, &self);
    check_eq(stage_close_stream(&s).error, 0);
    wait_until_released(&self.args[0]);
    wait_until_released(&self.args[1]);
    check_eq(atomic_load(&self.args[1].used), 0);
}

/* ---- streams, listeners, connects ------------------------------------------------------------ */

static void use_on_watermark(ferry_stream *, bool, void *arg)
{
    use(arg);
}

static ferry_stream_options watched_by(kept *arg)
{
    return (ferry_stream_options){.high_watermark_bytes = 1,
                                  .on_watermark = use_on_watermark,
                                  .on_watermark_arg = arg,
                                  .on_watermark_release = release_kept};
}

PROMISE_EITHER(releases, watermarks_arg_is_released_with_the_stream)
{
    kept arg = {0};
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), watched_by(&arg));
    check_eq(outcome(submit_write(s.stream, "abc", 3)).error, 0);
    check_eq(atomic_load(&arg.released), 0);
    stage_close(&s);
    wait_until_released(&arg);
}

static void use_on_stream(ferry_listener *, ferry_stream *, void *arg)
{
    use(arg);
}

static void await_close(ferry_listener *listener)
{
    ferry_promise *closed;
    check_eq(ferry_listener_close(listener, &closed), 0);
    check_eq(outcome(closed).error, 0);
}

/* Listens, connects once, closes. */
static void listen_and_connect(ferry_service *service, bool on_owner, bool is_destroyed)
{
    kept args[4] = {0};
    char address[64];
    const ferry_stream_options accepted = watched_by(&args[1]), connected = watched_by(&args[2]);
    const ferry_listen_options listens = {.on_stream = use_on_stream,
                                          .on_stream_arg = &args[0],
                                          .on_stream_release = release_kept,
                                          .on_owner = on_owner,
                                          .stream = &accepted};
    const ferry_connect_options connects = {.stream = &connected,
                                            .on_owner = use_on_owner,
                                            .on_owner_arg = &args[3],
                                            .on_owner_release = release_kept};
    ferry_listener *listener;
    ferry_promise *promise;
    check_eq(ferry_listen(service, "127.0.0.1:0", &listens, &listener), 0);
    check(ferry_listener_get_address(listener, address, sizeof address) > 0);
    check_eq(ferry_connect(service, address, &connects, &promise), 0);
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    while (atomic_load(&args[0].used) == 0)
        (void)ferry_inbox_run(1);
    check_eq(atomic_load(&args[0].released), 0);
    if (is_destroyed)
        ferry_service_destroy(service);
    else
        await_close(listener);
    wait_until_released(&args[0]); /* although there are references to it */
    wait_until_released(&args[3]);
    ferry_promise_unref(promise);
    ferry_listener_unref(listener);
    if (!is_destroyed)
        ferry_service_destroy(service);
    wait_until_released(&args[1]);
    wait_until_released(&args[2]);
    check_eq(atomic_load(&args[0].used), 1);
    check_eq(atomic_load(&args[3].used), 1);
}

PROMISE_EITHER(releases, listeners_and_connects_args_are_released)
{
    for (unsigned i = 0; i < 4; i++)
        listen_and_connect(service_start(placement), i % 2 != 0, i / 2 != 0);
}

static void *listen_and_end(void *arg)
{
    departure *self = arg;
    const ferry_listen_options listens = {
        .on_stream = use_on_stream, .on_stream_arg = &self->arg, .on_stream_release = release_kept};
    check_eq(ferry_listen(self->service, "127.0.0.1:0", &listens, &self->listener), 0);
    return NULL;
}

PROMISE_EITHER(releases, listeners_arg_is_released_when_its_thread_has_ended)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    departure self = {.service = service};
    char address[64];
    ferry_promise *promise;
    run_to_its_end(listen_and_end, &self);
    check(ferry_listener_get_address(self.listener, address, sizeof address) > 0);
    check_eq(ferry_connect(self.service, address, NULL, &promise), 0);
    check_eq(outcome(promise).error, 0);
    await_close(self.listener);
    wait_until_released(&self.arg);
    check_eq(atomic_load(&self.arg.used), 0);
    ferry_listener_unref(self.listener);
}
