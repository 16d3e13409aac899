/* SPDX-License-Identifier: MIT */
/* detach: the connection is the program's again, and no byte of it is lost. */
#include "tests/support.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/time.h>

/* ---- helpers --------------------------------------------------------------------------------- */

static ferry_promise *submit_detach(ferry_stream *stream)
{
    ferry_promise *promise;
    check_eq(ferry_stream_detach(stream, &promise), 0);
    return promise;
}

/* Waits for a detach, which must succeed, and takes the fd. What was not read must be this text. */
static int take(ferry_promise *detached, const char *unread)
{
    const void *data;
    size_t size;
    check_outcome(ferry_promise_ref(detached), .error = 0, .phase = FERRY_PHASE_DONE);
    check_eq(ferry_promise_get_unread(detached, &data, &size), 0);
    check_eq(size, strlen(unread));
    check(size == 0 || memcmp(data, unread, size) == 0);
    int fd = ferry_promise_get_fd(detached);
    check(fd >= 0);
    ferry_promise_unref(detached);
    return fd;
}

/* The same at once. */
static int detach(ferry_stream *stream, const char *unread)
{
    return take(submit_detach(stream), unread);
}

/* A detach that must fail so: there is no fd, and the peer reads an end or a reset. */
static void check_called_off(ferry_promise *detached, int error)
{
    const void *data;
    size_t size;
    check_outcome(ferry_promise_ref(detached), .error = error, .phase = FERRY_PHASE_CLOSE);
    check_eq(ferry_promise_get_fd(detached), -ENODATA);
    check_eq(ferry_promise_get_unread(detached, &data, &size), -ENODATA);
    ferry_promise_unref(detached);
}

static void say(int fd, const char *text)
{
    check_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hear(int fd, const char *text)
{
    char got[64];
    check(strlen(text) <= sizeof got);
    check_eq(recv(fd, got, strlen(text), MSG_WAITALL), strlen(text));
    check(memcmp(got, text, strlen(text)) == 0);
}

/* Both ends go on to speak with each other, and hang up. */
static void check_goes_on(int ours, int theirs)
{
    say(ours, "question");
    hear(theirs, "question");
    say(theirs, "answer");
    hear(ours, "answer");
    close(ours);
    check_eq(recv(theirs, &(char){0}, 1, 0), 0);
}

/* ---- the connection -------------------------------------------------------------------------- */

PROMISE_BOTH(detaching, connection_comes_back_behind_all_that_is_queued)
{
    enum { SIZE = 3 << 20 };
    AT_END(file_remove) test_file file = file_make(SIZE, 7);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(stage_end) stage s = stage_open(placement, any_pair(is_tcp));
        ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
        ferry_promise *sent = submit_file(s.stream, ferry_file_at(file.path));
        check_eq(ferry_stream_write(s.stream, "last", 4, NULL, NULL), 0);
        ferry_promise *detached = submit_detach(s.stream);
        check_eq(ferry_promise_await(detached, 0, NULL), -ETIMEDOUT);
        check_eq(ferry_promise_get_fd(detached), -EBUSY);
        check_eq(ferry_promise_cancel(detached), -EOPNOTSUPP);
        AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
        int fd = take(detached, "");
        check_eq(fd, s.ours);
        check_eq(ferry_promise_await(sent, 0, NULL), 0);
        check_eq(outcome(sent).sent, SIZE);
        check_eq(outcome(stuck).error, 0);
        say(fd, "more");
        close(fd);
        reader_join(peer);
        check_eq(peer->bytes, STUCK_BYTES + SIZE + 8);
        check_eq(digest(DIGEST_BEGIN, peer->kept + STUCK_BYTES, SIZE),
                 digest_content(DIGEST_BEGIN, 7, 0, SIZE));
        check(memcmp(peer->kept + STUCK_BYTES + SIZE, "lastmore", 8) == 0);
    }
}

PROMISE_BOTH(detaching, peer_notices_nothing_and_both_go_on)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(stage_end) stage s = stage_open(placement, any_pair(is_tcp));
        check_eq(ferry_stream_write(s.stream, "hello", 5, NULL, NULL), 0);
        int fd = detach(s.stream, "");
        hear(s.theirs, "hello");
        stage other = stage_open(placement, (pair){fd, duplicate(fd)});
        check_eq(outcome(submit_write(other.stream, "again", 5)).error, 0); /* adopted anew */
        hear(s.theirs, "again");
        check_eq(detach(other.stream, ""), fd);
        stage_end(&other);
        check_goes_on(fd, s.theirs);
    }
}

PROMISE_BOTH(detaching, acknowledged_request_is_waited_for)
{
    const ferry_request_options acked = {.completion = FERRY_COMPLETION_ACKED};
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    ferry_promise *sent = submit_write_with(s.stream, "x", 1, &acked);
    AT_END(close_fd) int fd = detach(s.stream, "");
    check_eq(ferry_promise_await(sent, 0, NULL), 0);
    check_eq(outcome(sent).error, 0);
}

/* What others see of a socket. */
typedef struct look {
    int flags, fd_flags, no_delay, unsent;
    struct timeval timeout;
    struct linger linger;
} look;

static look look_at(int fd)
{
    look seen;
    memset(&seen, 0, sizeof seen);
    seen.flags = fcntl(fd, F_GETFL);
    seen.fd_flags = fcntl(fd, F_GETFD);
    seen.no_delay = socket_option(fd, IPPROTO_TCP, TCP_NODELAY);
    seen.unsent = socket_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT);
    socklen_t size = sizeof seen.timeout;
    check_eq(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &seen.timeout, &size), 0);
    size = sizeof seen.linger;
    check_eq(getsockopt(fd, SOL_SOCKET, SO_LINGER, &seen.linger, &size), 0);
    return seen;
}

PROMISE_BOTH(detaching, flags_and_options_are_as_they_came)
{
    static const ferry_stream_options set = {.no_delay = true, .notsent_lowat_bytes = 200000};
    for (int is_nonblocking = 0; is_nonblocking < 2; is_nonblocking++) {
        pair both = tcp_pair();
        const struct linger linger = {1, 5};
        check_eq(fcntl(both.ours, F_SETFL, is_nonblocking ? O_NONBLOCK : 0), 0);
        check_eq(setsockopt(both.ours, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
        look before = look_at(both.ours);
        AT_END(stage_end) stage s = stage_open_with(placement, both, set);
        ferry_promise *stuck = submit_stuck(s.stream, s.theirs); /* so it has waited for room */
        ferry_promise *detached = submit_detach(s.stream);
        reader *peer = reader_start(stage_take(&s), false);
        int fd = take(detached, "");
        look after = look_at(fd);
        check(memcmp(&before, &after, sizeof before) == 0);
        check_eq(outcome(stuck).error, 0);
        close(fd);
        check_eq(reader_end(peer), STUCK_BYTES);
    }
}

PROMISE_BOTH(detaching, connection_of_a_poisoned_stream_comes_back_too)
{
    AT_END(file_remove) test_file file = file_make(1 << 20, 3);
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_file beyond = ferry_file_at(file.path);
    beyond.length = 2 << 20; /* the file is too short: that shows midway */
    reader *peer = reader_start(stage_take(&s), false);
    ferry_promise *failed = submit_file(s.stream, beyond);
    int fd = detach(s.stream, "");
    ferry_result result = outcome(failed);
    check_eq(result.error, -ENODATA);
    close(fd);
    check_eq(reader_end(peer), result.sent);
}

/* ---- what had come --------------------------------------------------------------------------- */

static size_t take_nothing(ferry_stream *, const void *, size_t length, bool, void *arg)
{
    atomic_store((atomic_size_t *)arg, length);
    return 0;
}

static size_t take_one(ferry_stream *stream, const void *data, size_t length, bool at_end,
                       void *arg)
{
    take_nothing(stream, data, length, at_end, arg);
    return 1;
}

static atomic_int end_error;

static void note_end(ferry_stream *, int error, void *)
{
    atomic_store(&end_error, error);
}

PROMISE_BOTH(detaching, bytes_that_a_reader_did_not_take_are_given)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        atomic_size_t seen = 0;
        AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
        atomic_store(&end_error, 1);
        set_reader(s.stream, (ferry_reader){.on_read = take_nothing,
                                            .on_end = note_end,
                                            .arg = &seen,
                                            .on_owner = on_owner});
        say(s.theirs, "abc");
        while (atomic_load(&seen) < 3)
            check(ferry_inbox_run(10) >= 0);
        int fd = detach(s.stream, "abc");
        while (atomic_load(&end_error) == 1)
            check(ferry_inbox_run(10) >= 0);
        check_eq(atomic_load(&end_error), -ECANCELED);
        check_goes_on(fd, s.theirs);
    }
}

PROMISE_BOTH(detaching, what_is_on_its_way_to_a_reader_comes_back_first)
{
    atomic_size_t seen = 0;
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    set_reader(s.stream, (ferry_reader){.on_read = take_one, .arg = &seen});
    say(s.theirs, "abc");
    wait_until_asleep(); /* it waits in this thread's inbox now */
    ferry_promise *detached = submit_detach(s.stream);
    wait_until_asleep();
    check_eq(ferry_promise_await(detached, 0, NULL), -ETIMEDOUT);
    check_goes_on(take(detached, "abc"), s.theirs); /* awaiting runs the inbox */
    check_eq(atomic_load(&seen), 0);                /* a closed stream's reader is not called */
}

PROMISE_BOTH(detaching, bytes_are_given_also_if_reading_had_ended_for_want_of_time)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    atomic_size_t seen = 0;
    atomic_store(&end_error, 1);
    set_reader(s.stream, (ferry_reader){.on_read = take_nothing,
                                        .on_end = note_end,
                                        .arg = &seen,
                                        .on_owner = true,
                                        .keep_open = true});
    say(s.theirs, "abc");
    while (atomic_load(&seen) < 3)
        sched_yield();
    check_eq(ferry_stream_read_within(s.stream, 1), 0);
    while (atomic_load(&end_error) == 1)
        sched_yield();
    check_eq(atomic_load(&end_error), -ETIMEDOUT);
    check_goes_on(detach(s.stream, "abc"), s.theirs);
}

PROMISE_BOTH(detaching, bytes_are_given_also_of_a_read_that_ran_out_of_time)
{
    char memory[8];
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    const ferry_read exactly = {memory, 5, FERRY_READ_EXACTLY, NULL, 0};
    ferry_promise *first, *second;
    check_eq(ferry_stream_read(s.stream, &exactly, NULL, &first), 0);
    check_eq(ferry_stream_read(s.stream, &exactly, NULL, &second), 0);
    say(s.theirs, "12345678");
    check_eq(outcome(first).sent, 5);
    wait_until_asleep(); /* the second has got some of its bytes */
    check_eq(ferry_stream_read_within(s.stream, 1), 0);
    check_eq(outcome(second).error, -ETIMEDOUT);
    check_goes_on(detach(s.stream, "678"), s.theirs);
}

/* Sets a reader, has some bytes on their way to it, and ends. */
static void *read_and_end(void *arg)
{
    static atomic_size_t seen;
    const stage *s = arg;
    set_reader(s->stream, (ferry_reader){.on_read = take_one, .arg = &seen, .keep_open = true});
    say(s->theirs, "abc");
    wait_until_asleep();
    return NULL;
}

PROMISE_BOTH(detaching, bytes_are_given_also_if_the_readers_thread_has_ended)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    run_to_its_end(read_and_end, &s);
    check_goes_on(detach(s.stream, "abc"), s.theirs);
}

PROMISE_BOTH(detaching, reader_elsewhere_is_left_alone_while_it_waits_for_what_is_queued)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    atomic_size_t seen = 0;
    set_reader(s.stream, (ferry_reader){.on_read = take_one, .arg = &seen});
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    ferry_promise *detached = submit_detach(s.stream);
    say(s.theirs, "abc");
    unsigned loans = 0;
    for (unsigned i = 0; i < 20; i++) {
        wait_until_asleep();
        loans += ferry_inbox_run(0) > 0;
    }
    check(loans <= 1); /* one may have been on its way */
    reader *peer = reader_start(dup(s.theirs), false);
    int fd = take(detached, "abc");
    check_eq(outcome(stuck).error, 0);
    close(fd);
    check_eq(reader_end(peer), STUCK_BYTES);
}

PROMISE_BOTH(detaching, read_that_is_not_complete_has_consumed_nothing)
{
    char memory[8], delimited[8];
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    const ferry_read exactly = {memory, 5, FERRY_READ_EXACTLY, NULL, 0};
    const ferry_read until = {delimited, sizeof delimited, FERRY_READ_UNTIL, "\n", 1};
    ferry_promise *first, *second, *third;
    say(s.theirs, "12345678");
    check_eq(ferry_stream_read(s.stream, &exactly, NULL, &first), 0);
    check_eq(outcome(first).sent, 5);
    check_eq(ferry_stream_read(s.stream, &exactly, NULL, &second), 0);
    check_eq(ferry_stream_read(s.stream, &until, NULL, &third), 0);
    wait_until_asleep(); /* the second has got some of its bytes */
    check_goes_on(detach(s.stream, "678"), s.theirs);
    check_outcome(second, .error = -ECANCELED, .cause = FERRY_CAUSE_CLOSE);
    check_eq(outcome(third).error, -ECANCELED);
}

/* @param within reading ends before the detach, for want of time */
static void relay_and_detach(ferry_placement placement, bool within)
{
    enum { SIZE = 8 << 20 };
    AT_END(stage_end) stage from = stage_open(placement, tcp_pair());
    AT_END(stage_end) stage to = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *relayed;
    check_eq(ferry_stream_relay(from.stream, to.stream, FERRY_TO_END, 0, NULL, &relayed), 0);
    talker *peer = talker_start(from.theirs, 5, SIZE);
    wait_until_stuck(to.theirs); /* nobody reads what it sends */
    if (within) {
        check_eq(ferry_stream_read_within(from.stream, 1), 0);
        check_eq(ferry_promise_await(relayed, -1, NULL), 0);
    }
    AT_END(drop_promise) ferry_promise *detached = submit_detach(from.stream);
    check_eq(outcome(ferry_promise_ref(detached)).error, 0);
    const void *unread;
    size_t size;
    check_eq(ferry_promise_get_unread(detached, &unread, &size), 0);
    int fd = ferry_promise_get_fd(detached);
    ferry_result result = outcome(relayed);
    check_eq(result.error, within ? -ETIMEDOUT : -ECANCELED);
    /* What was relayed, what is given and what the socket still has are all that the peer sent. */
    uint64_t all = digest_content(DIGEST_BEGIN, 5, 0, result.sent);
    all = digest(all, unread, size);
    AT_END(free_reader) reader *rest = reader_start(fd, true);
    talker_join(peer);
    reader_join(rest);
    check_eq(result.sent + size + rest->bytes, SIZE);
    check_eq(digest(all, rest->kept, rest->bytes), digest_content(DIGEST_BEGIN, 5, 0, SIZE));
    ferry_stream_abort(to.stream);
}

PROMISE_BOTH(detaching, bytes_of_a_relay_that_did_not_leave_come_back)
{
    relay_and_detach(placement, false);
    relay_and_detach(placement, true);
}

PROMISE_BOTH(detaching, bytes_that_a_file_has_not_got_come_back)
{
    AT_END(file_remove) test_file file = file_make(0, 1);
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    ferry_file target = ferry_file_at(file.path);
    target.length = 100;
    ferry_promise *stored = submit_read_to_file(s.stream, target);
    say(s.theirs, "stored");
    while (stream_status(s.stream).received_bytes < 6)
        sched_yield();
    wait_until_asleep();
    ferry_promise *detached = submit_detach(s.stream);
    ferry_result result = outcome(stored);
    check_eq(result.error, -ECANCELED);
    check_goes_on(take(detached, &"stored"[result.sent]), s.theirs);
}

/* ---- what follows ---------------------------------------------------------------------------- */

PROMISE_BOTH(detaching, submit_after_it_is_eshutdown_and_a_close_gives_its_promise)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *detached = submit_detach(s.stream), *promise = NULL;
    check_eq(ferry_stream_write(s.stream, "x", 1, NULL, &promise), -ESHUTDOWN);
    check_eq(ferry_stream_detach(s.stream, &promise), -ESHUTDOWN);
    check_eq(ferry_stream_demand(s.stream, 1), -ESHUTDOWN);
    check(promise == NULL);
    AT_END(drop_promise) ferry_promise *closed = submit_close(s.stream);
    check(closed == detached);
    s.stream = ferry_stream_unref(s.stream);
    check_goes_on(take(detached, ""), s.theirs);
}

PROMISE_BOTH(detaching, fd_is_taken_once_and_closed_with_its_promise_if_nobody_takes_it)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(stage_end) stage other = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *detached = submit_detach(s.stream);
    check_eq(ferry_promise_await(detached, -1, NULL), 0);
    int fd = ferry_promise_get_fd(detached);
    check_eq(fd, s.ours);
    check_eq(ferry_promise_get_fd(detached), -ENODATA);
    ferry_promise_unref(detached);
    check_goes_on(fd, s.theirs);
    detached = submit_detach(other.stream);
    check_eq(ferry_promise_await(detached, -1, NULL), 0);
    check_eq(recv(other.theirs, &(char){0}, 1, MSG_DONTWAIT), -1); /* it is open */
    ferry_promise_unref(detached);
    other.stream = ferry_stream_unref(other.stream);
    check_eq(recv(other.theirs, &(char){0}, 1, 0), 0);
}

PROMISE_BOTH(detaching, abort_and_destroy_call_it_off)
{
    for (int destroys = 0; destroys < 2; destroys++) {
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
        ferry_promise *detached = submit_detach(s.stream);
        stage_destroy_or_abort(&s, destroys);
        check_called_off(detached, -ECANCELED);
        check_eq(outcome(stuck).error, -ECANCELED);
    }
}

PROMISE_BOTH(detaching, abort_calls_it_off_also_while_a_reader_keeps_bytes)
{
    atomic_size_t seen = 0;
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    set_reader(s.stream, (ferry_reader){.on_read = take_one, .arg = &seen});
    say(s.theirs, "abc");
    wait_until_asleep();
    ferry_promise *detached = submit_detach(s.stream);
    wait_until_asleep();
    ferry_stream_abort(s.stream);
    check_called_off(detached, -ECANCELED);
}

static void note_place(ferry_listener *, ferry_stream *stream, void *arg)
{
    atomic_store((_Atomic(ferry_stream *) *)arg, ferry_stream_ref(stream));
}

PROMISE_BOTH(detaching, accepted_connection_makes_room_for_another)
{
    _Atomic(ferry_stream *) accepted = NULL;
    ferry_service *service = service_start(placement);
    const ferry_listen_options options = {
        .on_stream = note_place, .on_stream_arg = &accepted, .on_owner = true, .limit_streams = 1};
    ferry_listener *listener;
    char address[64];
    check_eq(ferry_listen(service, "127.0.0.1:0", &options, &listener), 0);
    check(ferry_listener_get_address(listener, address, sizeof address) > 0);
    for (unsigned i = 0; i < 3; i++) {
        ferry_promise *connected;
        ferry_stream *client;
        check_eq(ferry_connect(service, address, NULL, &connected), 0);
        check_eq(ferry_promise_await(connected, -1, NULL), 0);
        check_eq(ferry_promise_get_stream(connected, &client), 0);
        ferry_promise_unref(connected);
        while (atomic_load(&accepted) == NULL)
            sched_yield();
        int server = detach(atomic_load(&accepted), "");
        ferry_stream_unref(atomic_exchange(&accepted, NULL));
        AT_END(close_fd) int theirs = detach(client, "");
        ferry_stream_unref(client);
        check((fcntl(server, F_GETFL) & O_NONBLOCK) != 0);
        check((fcntl(server, F_GETFD) & FD_CLOEXEC) != 0);
        check_eq(fcntl(server, F_SETFL, 0), 0);
        check_eq(fcntl(theirs, F_SETFL, 0), 0);
        check_goes_on(server, theirs);
    }
    ferry_service_destroy(service);
    ferry_listener_unref(listener);
}

/* ---- refused --------------------------------------------------------------------------------- */

PROMISE_EITHER(detaching, bad_input_is_refused)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(stage_end) stage pipe = stage_open(placement, pipe_pair());
    const void *data;
    size_t size;
    ferry_promise *promise = NULL, *written = submit_write(s.stream, "x", 1);
    check_eq(ferry_stream_detach(NULL, &promise), -EINVAL);
    check_eq(ferry_stream_detach(s.stream, NULL), -EINVAL);
    check_eq(ferry_stream_detach(pipe.stream, &promise), -ENOTSOCK);
    check_eq(ferry_promise_get_fd(NULL), -EINVAL);
    check_eq(ferry_promise_get_fd(written), -EINVAL);
    check_eq(ferry_promise_get_unread(written, &data, &size), -EINVAL);
    check_eq(outcome(written).error, 0);
    fail_allocation(1);
    check_eq(ferry_stream_detach(s.stream, &promise), -ENOMEM);
    allow_allocations();
    check(promise == NULL);
    promise = submit_close(s.stream);
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    check_eq(ferry_promise_get_fd(promise), -ENODATA);
    check_eq(ferry_promise_get_unread(promise, NULL, &size), -EINVAL);
    check_eq(ferry_promise_get_unread(promise, &data, NULL), -EINVAL);
    check_eq(ferry_promise_get_unread(promise, &data, &size), -ENODATA);
    check_eq(ferry_stream_detach(s.stream, &written), -ESHUTDOWN);
    ferry_promise_unref(promise);
}
