/* SPDX-License-Identifier: MIT */
/*
 * Ends that lose nothing: what was told as sent arrives, however late it is read, and a stopped
 * service sends all that is queued.
 *
 * A late reader here is one that reads nothing before the service is gone. Its receive buffer is
 * small, so that most of what was sent lies in the sending kernel by then, where a reset would
 * destroy it.
 */
#include "transport/reach/listener.h"
#include "transport/service/service.h"

#include "tests/support.h"

#include <ferry/connect.h>

#include <netinet/in.h>
#include <stddef.h>
#include <sys/un.h>

/* ---- what the tests share -------------------------------------------------------------------- */

/* A socket takes so much of which nothing is read; through a small buffer it takes its time. */
enum { LATE_BYTES = 40000 };

static pair late_pair(void)
{
    pair both = tcp_pair();
    const int small = 4096;
    check_eq(setsockopt(both.theirs, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    return both;
}

/* Closes that are confirmed: in time, and hardly. */
static const ferry_stream_options patient = {.close_timeout_ms = 60000};
static const ferry_stream_options hasty = {.close_timeout_ms = 1};

/* More than ever comes. */
static ferry_promise *submit_endless_read(ferry_stream *stream)
{
    static char memory[16];
    const ferry_read wanted = {.data = memory, .size = sizeof memory, .mode = FERRY_READ_EXACTLY};
    ferry_promise *promise;
    check_eq(ferry_stream_read(stream, &wanted, NULL, &promise), 0);
    return promise;
}

static void check_reset(int fd)
{
    AT_END(free_reader) reader *peer = reader_start(fd, false);
    reader_join(peer);
    check_eq(peer->error, ECONNRESET);
}

static size_t count_streams(ferry_service *service)
{
    return service_status(service).streams;
}

static void note(ferry_promise *, const ferry_result *result, void *arg)
{
    *(int *)arg = result->error;
}

/* ---- stop ------------------------------------------------------------------------------------ */

PROMISE_BOTH(stop, sends_all_that_is_queued_and_each_peer_reads_its_end)
{
    ferry_service *service = service_start(placement);
    enum { STREAMS = 6 };
    ferry_stream *streams[STREAMS];
    reader *peers[STREAMS];
    for (unsigned i = 0; i < STREAMS; i++) {
        pair both = any_pair(i % 2);
        streams[i] = stream_adopt(service, both.ours);
        ferry_promise_unref(submit_content(streams[i], i, 3 << 20));
        peers[i] = reader_start(both.theirs, false);
    }
    check_eq(ferry_service_stop(service, -1), 0);
    check_eq(count_streams(service), 0);
    ferry_service_destroy(service);
    for (unsigned i = 0; i < STREAMS; i++) {
        reader_check_content(peers[i], i, 3 << 20);
        ferry_stream_unref(streams[i]);
    }
}

PROMISE_BOTH(stop, late_reader_has_every_byte)
{
    AT_END(stage_end) stage s = stage_open(placement, late_pair());
    ferry_promise *sent = submit_content(s.stream, 1, LATE_BYTES);
    check_eq(ferry_service_stop(s.service, -1), 0);
    check_eq(ferry_promise_await(sent, 0, NULL), 0);
    check_eq(outcome(sent).sent, LATE_BYTES);
    stage_destroy(&s);
    check_fd_content(stage_take(&s), 1, LATE_BYTES);
}

PROMISE_BOTH(stop, counts_the_streams_that_are_left_and_waits_for_them_again)
{
    AT_END(close_theirs)
    pair idle = unix_pair(SOCK_STREAM);
    pair first = unix_pair(SOCK_STREAM), second = tcp_pair();
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_stream *streams[] = {stream_adopt(service, idle.ours), stream_adopt(service, first.ours),
                               stream_adopt(service, second.ours)};
    ferry_promise *stuck[] = {submit_stuck(streams[1], first.theirs),
                              submit_stuck(streams[2], second.theirs)};
    check(ferry_service_stop(service, 0) >= 2); /* the idle one perhaps as well */
    do                                          /* until that has ended */
        check(ferry_service_stop(service, 20) >= 2);
    while (count_streams(service) > 2);
    check_eq(ferry_service_stop(service, 1), 2);
    reader *peer = reader_start(first.theirs, false);
    check_eq(outcome(stuck[0]).error, 0);
    check_eq(reader_end(peer), STUCK_BYTES);
    peer = reader_start(second.theirs, false);
    check_eq(ferry_service_stop(service, -1), 0);
    check_eq(ferry_service_stop(service, 0), 0);
    check_eq(reader_end(peer), STUCK_BYTES);
    check_eq(outcome(stuck[1]).error, 0);
    for (unsigned i = 0; i < 3; i++)
        ferry_stream_unref(streams[i]);
}

PROMISE_BOTH(stop, what_is_left_when_time_is_up_is_aborted_by_destroy)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_service_stop(s.service, 1), 1);
    ferry_service_status status = service_status(s.service);
    check_eq(status.streams, 1);
    check_eq(status.queued_bytes, STUCK_BYTES);
    stage_destroy(&s);
    check_eq(outcome(stuck).error, -ECANCELED);
    check_reset(stage_take(&s));
}

PROMISE_BOTH(stop, confirmed_close_is_waited_for_and_counts_if_it_fails)
{
    AT_END(stage_end) stage s = stage_open_with(placement, tcp_pair(), patient);
    AT_END(close_theirs) pair broken = tcp_pair();
    AT_END(drop_stream) ferry_stream *other = stream_adopt_with(s.service, broken.ours, hasty);
    check(ferry_service_stop(s.service, 0) > 0);
    check_eq(outcome(submit_close(other)).error, -ETIMEDOUT);
    check_eq(ferry_service_stop(s.service, 1), 2); /* one has not ended, the other not in order */
    stage_hang_up(&s);
    check_eq(ferry_service_stop(s.service, -1), 1);
    check_eq(ferry_service_stop(s.service, 0), 1);
    check_eq(count_streams(s.service), 0);
}

/* Linked with --wrap=ferry__service_forget: where a test holds it up, a stream that has settled its
 * close is a member still. */
static atomic_bool is_held_up;

WRAPPED(void, ferry__service_forget, (ferry_service * service, ferry__member *member))
{
    while (atomic_load(&is_held_up))
        sched_yield();
    __real_ferry__service_forget(service, member);
}

PROMISE_BOTH(stop, stream_counts_from_the_moment_in_which_its_close_has_failed)
{
    AT_END(stage_end) stage s = stage_open_with(placement, tcp_pair(), hasty);
    check(ferry_service_stop(s.service, 0) > 0);
    atomic_store(&is_held_up, true);
    ferry_promise *closed = submit_close(s.stream);
    while (ferry_promise_await(closed, 0, NULL) !=
           0) /* its owner rings nobody before it is let go */
        sched_yield();
    check_eq(ferry_service_stop(s.service, 0), 1);
    atomic_store(&is_held_up, false);
    check_eq(outcome(closed).error, -ETIMEDOUT);
    check_eq(ferry_service_stop(s.service, -1), 1);
}

static void wait_until_it_is_stopped(ferry_promise *, const ferry_result *, void *arg)
{
    const ferry_service *service = arg;
    while (!atomic_load(&service->is_ending))
        sched_yield();
}

PROMISE_BOTH(stop, close_that_is_not_confirmed_counts_also_if_nobody_holds_the_stream)
{
    AT_END(stage_end) stage s = stage_open_with(placement, late_pair(), hasty);
    check_eq(shutdown(s.theirs, SHUT_WR), 0); /* and it reads nothing */
    static const char data[LATE_BYTES];
    write_calling(s.stream, data, sizeof data, wait_until_it_is_stopped, s.service);
    s.stream = ferry_stream_unref(s.stream);
    check_eq(ferry_service_stop(s.service, -1), 1);
}

PROMISE_BOTH(stop, stream_that_the_program_aborts_meanwhile_counts)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_service_stop(s.service, 1), 1);
    ferry_stream_abort(s.stream);
    check_eq(ferry_service_stop(s.service, -1), 1);
    check_eq(count_streams(s.service), 0);
    check_eq(outcome(stuck).error, -ECANCELED);
}

PROMISE_BOTH(stop, poisoned_stream_that_closes_is_in_order_and_so_is_one_that_ended_before)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(close_theirs) pair gone = tcp_pair();
    ferry_stream *aborted = stream_adopt(s.service, gone.ours);
    ferry_stream_abort(aborted);
    check_eq(close_stream(aborted).error, -ECANCELED);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_promise_cancel(stuck), 0);
    check_eq(outcome(stuck).error, -ECANCELED);
    check_eq(stream_status(s.stream).error, -ECANCELED);
    check_eq(ferry_service_stop(s.service, -1), 0);
}

PROMISE_BOTH(stop, read_that_nobody_will_satisfy_does_not_hold_it_up)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    AT_END(close_theirs) pair from = tcp_pair(), to = tcp_pair();
    AT_END(drop_stream) ferry_stream *source = stream_adopt(s.service, from.ours);
    AT_END(drop_stream) ferry_stream *sink = stream_adopt(s.service, to.ours);
    ferry_promise *read = submit_endless_read(s.stream), *relayed;
    check_eq(ferry_stream_relay(source, sink, FERRY_TO_END, 0, NULL, &relayed), 0);
    check_eq(ferry_service_stop(s.service, -1), 0);
    check_eq(outcome(read).error, -ECANCELED);
    int error = outcome(relayed).error; /* as the one end or the other was closed first */
    check(error == -ECANCELED || error == -ESHUTDOWN);
}

static void on_no_stream(ferry_listener *, ferry_stream *stream, void *)
{
    check_eq(ferry_stream_write(stream, "x", 1, NULL, NULL), -ESHUTDOWN);
}

PROMISE_BOTH(stop, nothing_can_begin_any_more)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(close_pair) pair another = unix_pair(SOCK_STREAM);
    ferry_stream *none;
    const ferry_listen_options options = {.on_stream = on_no_stream};
    ferry_listener *listener;
    ferry_promise *promise;
    check_eq(ferry_service_stop(s.service, -1), 0);
    check_eq(ferry_stream_write(s.stream, "x", 1, NULL, NULL), -ESHUTDOWN);
    check_eq(ferry_stream_mark(s.stream, NULL), -ESHUTDOWN);
    check_eq(ferry_stream_adopt(s.service, another.ours, NULL, &none), -ESHUTDOWN);
    check_eq(ferry_listen(s.service, "127.0.0.1:0", &options, &listener), -ESHUTDOWN);
    check_eq(ferry_connect(s.service, "127.0.0.1:1", NULL, &promise), -ESHUTDOWN);
    check_eq(ferry_connect(s.service, "localhost:1", NULL, &promise), -ESHUTDOWN);
    check_eq(ferry_service_drain(s.service, -1), 0);
}

PROMISE_BOTH(stop, answers_what_its_arguments_deserve)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check_eq(ferry_service_stop(NULL, 0), -EINVAL);
    check_eq(ferry_service_stop(s.service, -2), -EINVAL);
    check_eq(ferry_service_stop(s.service, INT64_MIN), -EINVAL);
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0); /* nothing was stopped */
    check_eq(ferry_service_stop(s.service, INT64_MAX), 0);
    check_eq(ferry_service_stop(s.service, -1), 0);
}

static void stop_in_callback(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    check_eq(ferry_service_stop(arg, 0), -EDEADLK);
}

PROMISE_BOTH(stop, is_edeadlk_in_callbacks_and_on_owners)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    write_calling(s.stream, "x", 1, stop_in_callback, s.service);
    ferry_promise *promise = submit_write(s.stream, "x", 1);
    check_eq(ferry_promise_observe(promise, stop_in_callback, s.service, NULL), 0);
    while (ferry_inbox_run(-1) == 0) {
    }
    check_eq(outcome(promise).error, 0);
}

PROMISE(stop, without_memory_for_an_inbox_nothing_is_stopped)
{
    AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    fail_allocation(1);
    check_eq(ferry_service_stop(service, -1), -ENOMEM);
    allow_allocations();
    AT_END(drop_stream) ferry_stream *stream = stream_adopt(service, both.ours);
    check_eq(ferry_service_stop(service, -1), 0);
}

/* A promise of a promise of a write's outcome: its callback comes in three steps. */
static ferry_promise *go_on(ferry_promise *, ferry_outcome *outcome, void *arg)
{
    outcome->result.error = *(int *)arg;
    return NULL;
}

PROMISE_BOTH(stop, runs_this_threads_callbacks_whatever_they_are_made_of)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *sent = submit_stuck(s.stream, s.theirs), *first, *second;
    int error = -EXDEV, told = 0, told_closed = 1;
    check_eq(ferry_promise_then(sent, go_on, &error, &first), 0);
    check_eq(ferry_promise_or_else(first, go_on, &error, &second), 0);
    check_eq(ferry_promise_observe(second, note, &told, NULL), 0);
    ferry_promise *closed = submit_close(s.stream);
    check_eq(ferry_promise_observe(closed, note, &told_closed, NULL), 0);
    stage_let_read(&s);
    check_eq(ferry_service_stop(s.service, -1), 0);
    check_eq(told, -EXDEV);
    check_eq(told_closed, 0);
    ferry_promise_unref(sent);
    ferry_promise_unref(first);
    ferry_promise_unref(second);
    ferry_promise_unref(closed);
}

static void *stop_elsewhere(void *service)
{
    check_eq(ferry_service_stop(service, -1), 0);
    return NULL;
}

PROMISE_BOTH(stop, several_threads_may_stop_at_once)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    pthread_t threads[4];
    start_threads(threads, 4, stop_elsewhere, s.service);
    check_eq(ferry_service_stop(s.service, 1), 1);
    stage_let_read(&s);
    check_eq(ferry_service_stop(s.service, -1), 0);
    join_threads(threads, 4);
    check_eq(outcome(stuck).error, 0);
}

PROMISE_BOTH(stop, thread_may_end_in_a_callback_meanwhile)
{
    AT_END(close_theirs) pair idle = unix_pair(SOCK_STREAM);
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    AT_END(drop_stream) ferry_stream *stream = stream_adopt(s.service, idle.ours);
    end_thread_in(ferry_service_stop, s.service, stream); /* the stuck one holds it up */
    stage_let_read(&s);
    check_eq(ferry_service_stop(s.service, -1), 0);
    check_eq(outcome(stuck).error, 0);
}

/* ---- stop, and where streams come from ------------------------------------------------------- */

typedef struct door {
    atomic_uint told;
    atomic_uint refused; /* of these, writes that came too late */
} door;

static void greet(ferry_listener *, ferry_stream *stream, void *arg)
{
    door *seen = arg;
    int error = ferry_stream_write(stream, "hello", 5, NULL, NULL);
    check(error == 0 || error == -ESHUTDOWN);
    atomic_fetch_add(&seen->refused, error != 0);
    atomic_fetch_add(&seen->told, 1);
}

static ferry_listener *open_door(ferry_service *service, door *seen, bool on_owner)
{
    const ferry_listen_options options = {
        .on_stream = greet, .on_stream_arg = seen, .on_owner = on_owner};
    ferry_listener *listener;
    check_eq(ferry_listen(service, "127.0.0.1:0", &options, &listener), 0);
    return listener;
}

static int knock(const ferry_listener *listener)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, &listener->bindings.list[0].endpoint.address.any,
                listener->bindings.list[0].endpoint.size) == 0)
        return fd;
    check(errno == ECONNREFUSED || errno == ECONNRESET); /* it may be closed meanwhile */
    close(fd);
    return -1;
}

PROMISE_BOTH(stop, listeners_are_closed_though_the_program_still_has_them)
{
    door seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_listener) ferry_listener *listener = open_door(service, &seen, true);
    AT_END(close_fd) int fd = knock(listener);
    while (atomic_load(&seen.told) == 0)
        (void)sched_yield();
    check_eq(ferry_service_stop(service, -1), 0);
    check_eq(knock(listener), -1);
    char got[8];
    check_eq(recv(fd, got, sizeof got, MSG_WAITALL), 5); /* and the end of file */
    ferry_promise *closed;
    check_eq(ferry_listener_close(listener, &closed), 0);
    check_eq(ferry_promise_await(closed, 0, NULL), 0);
    check_eq(outcome(closed).error, 0);
}

PROMISE_BOTH(stop, stream_that_is_still_to_be_told_of_ends_in_order)
{
    door seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_listener) ferry_listener *listener = open_door(service, &seen, false);
    AT_END(close_fd) int fd = knock(listener);
    while (count_streams(service) == 0)
        (void)sched_yield();
    check_eq(ferry_service_stop(service, -1), 0); /* which runs this thread's callbacks */
    check_eq(atomic_load(&seen.told), 1);
    check_eq(atomic_load(&seen.refused), 1);
    char got;
    check_eq(recv(fd, &got, 1, 0), 0);
}

typedef struct visitors {
    const ferry_listener *listener;
    atomic_uint came;
} visitors;

/*
 * Waits until a connection has something to tell. One whose handshake ends just while the listening
 * socket is closed the kernel may forget without a word: it is reset once it says something.
 */
static void wait_for_word(int fd)
{
    enum { PATIENCE_MS = 200 };
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    while (poll(&readable, 1, PATIENCE_MS) == 0)
        (void)send(fd, "?", 1, MSG_NOSIGNAL);
}

/* Comes again and again: each connection is refused, reset, or ends in order. */
static void *visit(void *arg)
{
    visitors *self = arg;
    int fd;
    while ((fd = knock(self->listener)) >= 0) {
        char got[8];
        wait_for_word(fd);
        ssize_t count = recv(fd, got, sizeof got, MSG_WAITALL);
        check(count == 5 || count == 0 || (count < 0 && errno == ECONNRESET));
        close(fd);
        atomic_fetch_add(&self->came, 1);
    }
    return NULL;
}

PROMISE_BOTH(stop, connections_that_come_meanwhile_do_no_harm)
{
    for (unsigned round = 0; round < 20; round++) {
        AT_END(destroy_service) ferry_service *service = service_start(placement);
        door seen = {0};
        AT_END(drop_listener) ferry_listener *listener = open_door(service, &seen, round % 2 == 0);
        visitors crowd = {.listener = listener};
        pthread_t threads[3];
        start_threads(threads, 3, visit, &crowd);
        while (atomic_load(&crowd.came) < 10)
            check(ferry_inbox_run(1) >= 0);
        check_eq(ferry_service_stop(service, -1), 0);
        check_eq(count_streams(service), 0);
        join_threads(threads, 3);
    }
}

PROMISE_BOTH(stop, connect_that_is_under_way_is_called_off)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    /* A unix socket whose backlog is full: it is tried again and again. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[64];
    int length = snprintf(text, sizeof text, "unix:@ferry-test-stop-%d", (int)getpid());
    memcpy(address.sun_path + 1, text + 6, (size_t)length - 6);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)length - 5);
    AT_END(close_fd) int full = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(bind(full, (struct sockaddr *)&address, size), 0);
    check_eq(listen(full, 0), 0);
    AT_END(close_fd) int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(connect(first, (struct sockaddr *)&address, size), 0);
    ferry_promise *connected;
    int told = 0;
    check_eq(ferry_connect(service, text, NULL, &connected), 0);
    check_eq(ferry_promise_observe(connected, note, &told, NULL), 0);
    check_eq(ferry_service_stop(service, -1), 0);
    check_eq(told, -ECANCELED);
    check_eq(outcome(connected).error, -ECANCELED);
}

/* ---- destroy --------------------------------------------------------------------------------- */

PROMISE_BOTH(destroy, late_reader_of_a_stream_with_nothing_queued_has_every_byte)
{
    stage s = stage_open(placement, late_pair());
    check_eq(outcome(submit_content(s.stream, 2, LATE_BYTES)).error, 0);
    ferry_promise *read = submit_endless_read(s.stream); /* which sends nothing */
    stage_destroy(&s);
    check_fd_content(stage_take(&s), 2, LATE_BYTES);
    check_eq(outcome(read).error, -ECANCELED);
    check_eq(stage_close_stream(&s).error, -ECANCELED);
}

PROMISE_BOTH(destroy, late_reader_of_a_close_that_nobody_awaited_has_every_byte)
{
    for (unsigned confirmed = 0; confirmed < 2; confirmed++) {
        stage s = stage_open_with(placement, late_pair(),
                                  (ferry_stream_options){.close_timeout_ms = confirmed * 60000});
        check_eq(outcome(submit_content(s.stream, 3, LATE_BYTES)).error, 0);
        int theirs = stage_take(&s);
        stage_end(&s);
        check_fd_content(theirs, 3, LATE_BYTES);
    }
}

PROMISE_BOTH(destroy, late_reader_whose_close_is_being_confirmed_has_every_byte)
{
    AT_END(stage_end) stage s = stage_open_with(placement, late_pair(), patient);
    check_eq(outcome(submit_content(s.stream, 4, LATE_BYTES)).error, 0);
    ferry_promise *closed = submit_close(s.stream);
    wait_until_asleep(); /* its end of file is sent, and the peer's waited for */
    stage_destroy(&s);
    check_eq(outcome(closed).error, -ECANCELED);
    check_fd_content(stage_take(&s), 4, LATE_BYTES);
}

PROMISE_BOTH(destroy, late_reader_of_what_is_not_acknowledged_yet_has_every_byte)
{
    const ferry_request_options acked = {.completion = FERRY_COMPLETION_ACKED};
    AT_END(stage_end) stage s = stage_open(placement, late_pair());
    unsigned char *content = malloc(LATE_BYTES);
    fill_content(content, LATE_BYTES, 5, 0);
    ferry_promise *promise = submit_write_with(s.stream, content, LATE_BYTES, &acked);
    check_eq(outcome(submit_write(s.stream, "", 0)).error, 0); /* all of it was accepted */
    free(content);
    stage_destroy(&s);
    check_eq(outcome(promise).error, -ECANCELED);
    check_fd_content(stage_take(&s), 5, LATE_BYTES);
}

PROMISE_BOTH(destroy, peer_of_a_stream_with_something_queued_is_reset)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_stream_close(s.stream, NULL), 0);
    stage_destroy(&s);
    check_reset(stage_take(&s));
    check_eq(outcome(stuck).error, -ECANCELED);
}

PROMISE_BOTH(destroy, peer_of_a_poisoned_stream_is_reset)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_promise_cancel(stuck), 0);
    check_eq(outcome(stuck).error, -ECANCELED);
    stage_destroy(&s);
    check_reset(stage_take(&s));
}

PROMISE_BOTH(destroy, peer_of_a_stream_that_was_aborted_before_is_reset)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    check_eq(outcome(submit_write(s.stream, "data", 4)).error, 0);
    ferry_stream_abort(s.stream);
    stage_destroy(&s);
    check_reset(stage_take(&s));
}

/* ---- drain and status ------------------------------------------------------------------------ */

typedef struct chain {
    ferry_stream *stream;
    ferry_promise *last; /* what the last callback has submitted */
    unsigned left;       /* how many more */
} chain;

/* Sends more than the socket takes, again and again, and closes at last. */
static void send_next(ferry_promise *promise, const ferry_result *result, void *arg)
{
    chain *self = arg;
    check_eq(result->error, 0);
    ferry_promise_unref(promise);
    if (self->left-- == 0) {
        check_eq(ferry_stream_close(self->stream, &self->last), 0);
        return;
    }
    ferry_promise *next = submit_content(self->stream, self->left, 1 << 20);
    check_eq(ferry_promise_observe(next, send_next, self, NULL), 0);
}

PROMISE_BOTH(drain, waits_for_what_callbacks_submit_meanwhile_and_for_the_close_they_ask_for)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    chain self = {.stream = s.stream, .left = 5};
    ferry_promise *first = submit_write(self.stream, "x", 1);
    check_eq(ferry_promise_observe(first, send_next, &self, NULL), 0);
    reader *peer = reader_start(stage_take(&s), false);
    check_eq(ferry_service_drain(s.service, -1), 0);
    check(self.last != NULL);
    check_eq(ferry_promise_await(self.last, 0, NULL), 0);
    stage_destroy(&s);
    check_eq(reader_end(peer), (5 << 20) + 1);
    check_eq(outcome(self.last).error, 0);
}

static void *close_elsewhere(void *stream)
{
    ferry_promise_unref(submit_close(stream)); /* whose home is this thread */
    return NULL;
}

static void start_reading(ferry_promise *, const ferry_result *, void *arg)
{
    stage_let_read(arg);
}

PROMISE_BOTH(drain, runs_callbacks_while_only_another_threads_close_is_left)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    AT_END(drop_promise) ferry_promise *due;
    run_to_its_end(close_elsewhere, s.stream);
    /* Only what this callback does lets the close come about. */
    check_eq(ferry_promise_after(1, &due), 0);
    check_eq(ferry_promise_observe(due, start_reading, &s, NULL), 0);
    check_eq(ferry_service_drain(s.service, -1), 0);
    check_eq(outcome(stuck).error, 0);
}

PROMISE_BOTH(drain, queue_that_has_no_room_for_its_mark_is_waited_for)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    /* As if there were two million requests. */
    atomic_fetch_add(&s.stream->admission.word, 2000000 * FERRY__ONE_REQUEST);
    check_eq(ferry_stream_mark(s.stream, NULL), -EAGAIN);
    check_eq(ferry_service_drain(s.service, 0), -ETIMEDOUT);
    check_eq(ferry_service_drain(s.service, 1), -ETIMEDOUT);
    atomic_fetch_sub(&s.stream->admission.word, 2000000 * FERRY__ONE_REQUEST);
    check_eq(ferry_service_drain(s.service, -1), 0);
}

PROMISE_BOTH(status, stream_whose_close_has_settled_is_not_counted)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    for (unsigned i = 0; i < 300; i++) {
        AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
        check_eq(close_stream(stream_adopt(service, both.ours)).error, 0);
        check_eq(count_streams(service), 0);
    }
}
