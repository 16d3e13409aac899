/* SPDX-License-Identifier: MIT */
/* pthread_cancel: no call is a point of cancellation.
 * A thread that is to be cancelled makes them all. */
#include "tests/notes.h"
#include "tests/support.h"

/* What the calls need, made before:
 * each call of libc's that makes it may be such a point itself. */
typedef struct scene {
    ferry_placement placement;
    pair first, second;
    int pipe[2];
    int directory;
    test_file file;
    char stored[80];
    const char *reached; /* the last call that returned */
} scene;

static void scene_open(scene *s, ferry_placement placement)
{
    *s = (scene){.placement = placement, .reached = "nothing"};
    s->first = unix_pair(SOCK_STREAM);
    s->second = unix_pair(SOCK_STREAM);
    s->file = file_make(1000, 5);
    check_eq(pipe2(s->pipe, O_CLOEXEC), 0);
    s->directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(s->stored, sizeof s->stored, "%s.stored", s->file.path);
    check_eq(write(s->first.theirs, "abcdef", 6), 6);
    check_eq(write(s->second.theirs, "abcdef", 6), 6);
}

static void scene_close(scene *s)
{
    close(s->first.theirs);
    close(s->second.theirs);
    close(s->pipe[0]);
    close(s->pipe[1]);
    close(s->directory);
    unlink(s->stored);
    file_remove(&s->file);
}

/* Runs a body on a thread of its own, which ends by being cancelled. */
static void run_to_its_cancellation(void *(*body)(void *), void *arg)
{
    void *result;
    check_eq(pthread_join(start_thread(body, arg), &result), 0);
    check(result == PTHREAD_CANCELED);
}

/* Runs cancelled: whatever is asked of it takes place all the same. */
static void run_cancelled(void *(*function)(void *), scene *s)
{
    run_to_its_cancellation(function, s);
    check_eq(strcmp(s->reached, "the end"), 0);
}

static void *end(scene *s)
{
    s->reached = "the end";
    pthread_testcancel();
    return NULL;
}

static void await(ferry_promise *promise, int error)
{
    check_eq(outcome(promise).error, error);
}

static void no_line(const char *, void *) {}

static void on_stream(ferry_listener *, ferry_stream *, void *arg)
{
    ++*(unsigned *)arg;
}

/* ---- services, streams, requests ------------------------------------------------------------- */

static void send_and_receive(scene *s, ferry_stream *stream)
{
    char memory[3];
    ferry_promise *stored_part;
    ferry_shared_file *shared;
    const ferry_file whole = ferry_file_at(s->file.path), stored = ferry_file_at(s->stored);
    ferry_file by_fd = ferry_file_fd(s->file.fd), part = stored;
    by_fd.offset = 0;
    part.length = 3;
    part.flags = FERRY_FILE_CREATE;
    await(submit_write(stream, "abc", 3), 0);
    await(submit_file(stream, by_fd), 0);
    check_eq(ferry_shared_file_open(&whole, &shared), 0);
    ferry_shared_file_unref(shared);
    s->reached = "sending";
    await(submit_read(stream, (ferry_read){memory, 3, FERRY_READ_EXACTLY}), 0);
    check_eq(ferry_stream_read_to_file(stream, &part, NULL, &stored_part), 0);
    await(stored_part, 0);
    set_reader(stream, (ferry_reader){.on_read = take_all, .keep_open = true});
    check_eq(ferry_stream_read_within(stream, 1), 0);
    check_eq(ferry_stream_demand(stream, 1), 0);
    await(submit_mark(stream), 0);
    s->reached = "receiving";
}

/* What is refused gives back what it had duplicated. */
static void be_refused(scene *s, ferry_stream *stream)
{
    static char much[8 << 20];
    ferry_file by_fd = ferry_file_fd(s->file.fd);
    by_fd.offset = 0;
    const ferry_request_options patient = {.room_timeout_ms = 1};
    const ferry_part parts[] = {ferry_part_file(by_fd), ferry_part_file(ferry_file_fd(-1))};
    ferry_promise *stuck, *room;
    check_eq(ferry_stream_send(stream, parts, 2, NULL, NULL), -EINVAL);
    check_eq(ferry_stream_write(stream, much, sizeof much, NULL, &stuck), 0);
    check_eq(ferry_stream_sendfile(stream, &by_fd, NULL, NULL), -EAGAIN);
    check_eq(ferry_stream_sendfile(stream, &by_fd, &patient, NULL), -ETIMEDOUT);
    check_eq(ferry_stream_promise_room(stream, 1, 0, &room), 0);
    check_eq(ferry_promise_await(room, 1, NULL), -ETIMEDOUT);
    ferry_promise_unref(room);
    ferry_stream_abort(stream);
    await(stuck, -ECANCELED);
    s->reached = "being refused";
}

static void *make_all_calls(void *arg)
{
    scene *s = arg;
    ferry_service *service;
    ferry_stream *stream, *other, *into_pipe, *none;
    ferry_stream_status status;
    const ferry_service_options options = {.placement = s->placement};
    const ferry_stream_options narrow = {.limit_requests = 1};
    check_eq(pthread_cancel(pthread_self()), 0);
    check(ferry_inbox_get_fd() >= 0); /* from now on it is what waiting waits for */
    check_eq(ferry_service_create(&options, &service), 0);
    check_eq(ferry_stream_adopt(service, s->first.ours, NULL, &stream), 0);
    check_eq(ferry_stream_adopt(service, s->second.ours, &narrow, &other), 0);
    check_eq(ferry_stream_adopt(service, s->pipe[1], NULL, &into_pipe), 0);
    check_eq(ferry_stream_adopt(service, s->directory, NULL, &none), -EISDIR);
    s->reached = "adopting";
    send_and_receive(s, stream);
    be_refused(s, other);
    check_eq(ferry_stream_get_status(stream, &status), 0);
    check_eq(ferry_service_dump(service, no_line, NULL), 0);
    check_eq(ferry_inbox_run(5) >= 0, 1);
    check_eq(ferry_service_drain(service, -1), 0);
    s->reached = "draining";
    await(submit_close(stream), 0);
    ferry_stream_unref(stream);
    ferry_stream_unref(other);
    ferry_stream_unref(into_pipe);
    ferry_service_destroy(service);
    return end(s);
}

PROMISE_BOTH(cancelling, no_call_of_a_services_or_a_streams_is_a_point_of_cancellation)
{
    AT_END(scene_close) scene s;
    scene_open(&s, placement);
    run_cancelled(make_all_calls, &s);
    s.pipe[1] = open("/dev/null", O_WRONLY | O_CLOEXEC); /* it was taken */
}

/* ---- listening, connecting ------------------------------------------------------------------- */

static void *listen_and_connect(void *arg)
{
    scene *s = arg;
    ferry_service *service;
    ferry_listener *listener, *none;
    ferry_promise *connected, *closed;
    char address[64];
    unsigned streams = 0;
    const ferry_service_options options = {.placement = s->placement};
    const ferry_listen_options listens = {.on_stream = on_stream, .on_stream_arg = &streams};
    check_eq(pthread_cancel(pthread_self()), 0);
    check(ferry_inbox_get_fd() >= 0);
    check_eq(ferry_service_create(&options, &service), 0);
    check_eq(ferry_listen(service, "localhost:0", &listens, &listener), 0);
    check(ferry_listener_get_address(listener, address, sizeof address) > 0);
    check_eq(ferry_listen(service, address, &listens, &none), -EADDRINUSE);
    check_eq(ferry_connect(service, address, NULL, &connected), 0);
    check_eq(ferry_connect(service, "fd:1000000", NULL, NULL), -EBADF);
    check_eq(ferry_promise_await_any(&connected, 1, -1, NULL), 0);
    await(connected, 0);
    while (streams == 0)
        check(ferry_inbox_run(-1) >= 0);
    check_eq(ferry_listener_close(listener, &closed), 0);
    await(closed, 0);
    ferry_listener_unref(listener);
    ferry_service_destroy(service);
    return end(s);
}

PROMISE_BOTH(cancelling, no_call_of_a_listeners_or_a_connects_is_a_point_of_cancellation)
{
    scene s = {.placement = placement, .reached = "nothing"};
    run_cancelled(listen_and_connect, &s);
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static void be_cancelled(ferry_promise *, const ferry_result *, void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
    pthread_testcancel();
}

static void count_release(void *, void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 16);
}

static void *await_with_a_callback(void *counts)
{
    ferry_promise *promise;
    check_eq(ferry_promise_create(&promise), 0);
    check_eq(ferry_promise_settle(promise, NULL), 0);
    check_eq(ferry_promise_observe(promise, be_cancelled, counts, count_release), 0);
    check_eq(ferry_promise_observe(promise, be_cancelled, counts, count_release), 0);
    ferry_promise_unref(promise);
    check_eq(pthread_cancel(pthread_self()), 0);
    (void)ferry_inbox_run(-1);
    return NULL; /* never */
}

PROMISE(cancelling, callback_may_be_a_point_of_cancellation_and_loses_nothing)
{
    atomic_uint counts = 0;
    run_to_its_cancellation(await_with_a_callback, &counts);
    check_eq(atomic_load(&counts), 1 + 2 * 16); /* one ran; both were released */
}

static void close_a_file(void *, void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
    pthread_testcancel(); /* as fclose(3), or close(2), is */
}

static void close_its_file(void *value)
{
    close_a_file(NULL, value);
}

static ferry_promise *pass_on(ferry_promise *, ferry_outcome *, void *)
{
    return NULL;
}

static void *have_args_released(void *counts)
{
    const ferry_chain chain = {.on_done = pass_on, .arg = counts, .release = close_a_file};
    const ferry_outcome valued = {.value = counts, .release = close_its_file};
    ferry_promise *promise, *derived;
    check_eq(ferry_promise_create(&promise), 0);
    check_eq(ferry_promise_settle(promise, &valued), 0);
    check_eq(ferry_promise_chain(promise, &chain, &derived), 0);
    check_eq(pthread_cancel(pthread_self()), 0);
    check_eq(ferry_promise_await(derived, -1, NULL), 0);
    ferry_promise_unref(derived);
    ferry_promise_unref(promise);
    atomic_fetch_add((atomic_uint *)counts, 16);
    pthread_testcancel();
    return NULL; /* never */
}

PROMISE(cancelling, release_is_no_point_of_cancellation)
{
    atomic_uint counts = 0;
    run_to_its_cancellation(have_args_released, &counts);
    check_eq(atomic_load(&counts), 2 + 16); /* the chain's arg and the value; and it got there */
}
