/* SPDX-License-Identifier: MIT */
/*
 * A dedicated owner sleeps in the call that sends, while bytes move, and in its epoll set once
 * nothing has left for a while. What that may never cost: a cancel in time, an exact count, the
 * socket as it came.
 */
#include "tests/notes.h"
#include "tests/support.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/time.h>

/* ---- what an owner does, seen from beneath (-Wl,--wrap) -------------------------------------- */

static atomic_int watched_fd = -1; /* the socket that is looked at; its owner's thread: */
static atomic_int owner_id;
static atomic_uint transfers, on_blocking, empty_in_row, sleeps, early_sleeps;
static atomic_bool is_asleep;

WRAPPED(ssize_t, sendfile64, (int sink_fd, int source_fd, off_t *offset, size_t length))
{
    bool is_watched = sink_fd == atomic_load(&watched_fd);
    if (is_watched) {
        atomic_store(&owner_id, gettid());
        atomic_fetch_add(&on_blocking, (fcntl(sink_fd, F_GETFL) & O_NONBLOCK) == 0);
    }
    ssize_t sent = __real_sendfile64(sink_fd, source_fd, offset, length);
    int error = errno;
    if (is_watched && sent > 0) {
        atomic_fetch_add(&transfers, 1);
        atomic_store(&empty_in_row, 0);
    } else if (is_watched) {
        atomic_fetch_add(&empty_in_row, 1);
    }
    errno = error;
    return sent;
}

WRAPPED(int, epoll_wait, (int epoll_fd, struct epoll_event *events, int most, int timeout_ms))
{
    bool is_watched = gettid() == atomic_load(&owner_id) && timeout_ms != 0;
    if (is_watched) {
        atomic_fetch_add(&sleeps, 1);
        atomic_fetch_add(&early_sleeps, atomic_load(&empty_in_row) < 2);
        atomic_store(&is_asleep, true);
    }
    int count = __real_epoll_wait(epoll_fd, events, most, timeout_ms);
    if (is_watched)
        atomic_store(&is_asleep, false);
    return count;
}

static void wait_until_in_epoll(void)
{
    while (!atomic_load(&is_asleep))
        (void)poll(NULL, 0, 1);
}

/* Waits until its owner has begun to move the file. */
static void wait_for_transfers(unsigned count)
{
    while (atomic_load(&transfers) < count)
        (void)poll(NULL, 0, 1);
}

/* ---- the stage ------------------------------------------------------------------------------- */

enum { FILE_BYTES = 8 << 20 };

static stage open_watched(pair both, ferry_stream_options options)
{
    stage s = stage_open_with(FERRY_PLACEMENT_DEDICATED, both, options);
    atomic_store(&owner_id, 0);
    atomic_store(&transfers, 0);
    atomic_store(&on_blocking, 0);
    atomic_store(&empty_in_row, 0);
    atomic_store(&sleeps, 0);
    atomic_store(&early_sleeps, 0);
    atomic_store(&watched_fd, both.ours);
    return s;
}

typedef struct looks {
    int flags;
    struct timeval limit;
} looks;

static looks look_at(int fd)
{
    looks now = {.flags = fcntl(fd, F_GETFL)};
    socklen_t size = sizeof now.limit;
    check_eq(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &now.limit, &size), 0);
    return now;
}

static void check_looks(int fd, const looks *before)
{
    looks now = look_at(fd);
    check_eq(now.flags, before->flags);
    check_eq(now.limit.tv_sec, before->limit.tv_sec);
    check_eq(now.limit.tv_usec, before->limit.tv_usec);
}

static void set_limit(int fd, long seconds)
{
    const struct timeval limit = {.tv_sec = seconds};
    check_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
}

/* ---- sleeping -------------------------------------------------------------------------------- */

PROMISE(blocking, transfer_sleeps_in_sendfile_on_a_blocking_socket_while_bytes_move)
{
    AT_END(file_remove) test_file file = file_make(FILE_BYTES, 3);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        stage s = open_watched(any_pair(is_tcp), (ferry_stream_options){0});
        stage_let_read_slowly(&s, 64 * 1024, 1000);
        check_outcome(submit_file(s.stream, ferry_file_at(file.path)), .error = 0,
                      .sent = FILE_BYTES, .method = FERRY_METHOD_SENDFILE);
        check(atomic_load(&on_blocking) > 0);
        /* A machine that is busy may hold the peer up for longer than the owner has patience. */
        check_eq(atomic_load(&early_sleeps), 0);
        stage_close_got_content(&s, 3, FILE_BYTES);
    }
}

PROMISE(blocking, socket_that_came_non_blocking_is_waited_for_in_the_epoll_set)
{
    AT_END(file_remove) test_file file = file_make(FILE_BYTES, 3);
    pair both = unix_pair(SOCK_STREAM);
    check_eq(fcntl(both.ours, F_SETFL, O_RDWR | O_NONBLOCK), 0);
    stage s = open_watched(both, (ferry_stream_options){0});
    ferry_promise *sent = submit_file(s.stream, ferry_file_at(file.path));
    wait_until_in_epoll();
    stage_let_read(&s);
    check_eq(outcome(sent).error, 0);
    check_eq(atomic_load(&on_blocking), 0);
    stage_close_got_content(&s, 3, FILE_BYTES);
}

PROMISE(blocking, stalled_stream_is_not_woken_again_and_again)
{
    AT_END(file_remove) test_file file = file_make(FILE_BYTES, 3);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(stage_end) stage s = open_watched(any_pair(is_tcp), (ferry_stream_options){0});
        ferry_promise *stuck = submit_file(s.stream, ferry_file_at(file.path));
        wait_until_in_epoll();
        (void)poll(NULL, 0, 300); /* time to wake up in */
        check(atomic_load(&is_asleep));
        /* TCP may find room once more, when its peer acknowledges. */
        check(atomic_load(&sleeps) <= 2);
        ferry_promise_cancel(stuck);
        check_eq(outcome(stuck).error, -ECANCELED);
    }
}

PROMISE(blocking, stream_takes_no_fd_of_its_own_until_its_peer_stalls)
{
    AT_END(file_remove) test_file file = file_make(FILE_BYTES, 3);
    pair both = unix_pair(SOCK_STREAM);
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_DEDICATED);
    unsigned fds = count_fds();
    AT_END(stage_end) stage s = stage_in(service, both);
    atomic_store(&watched_fd, both.ours);
    check_eq(outcome(submit_write(s.stream, "head", 4)).error, 0);
    check_eq(count_fds(), fds);
    ferry_promise *stuck = submit_file(s.stream, ferry_file_fd(file.fd));
    wait_until_in_epoll();
    check(count_fds() > fds);
    check_eq(ferry_promise_cancel(stuck), 0);
    check_eq(outcome(stuck).error, -ECANCELED);
    ferry_stream_abort(s.stream);
}

/* ---- being got out --------------------------------------------------------------------------- */

/* How a peer takes what it is sent. */
static const struct {
    size_t step;
    unsigned slow_us;
} paces[] = {{1024, 20 * 1000}, {64 * 1024, 20 * 1000}, {64 * 1024, 1000}};

/* Calls a transfer off, by whatever does it. Checks that the next write follows what was sent. */
static void call_off(int is_tcp, size_t pace, const ferry_request_options *options, int error,
                     void (*off)(ferry_promise *))
{
    AT_END(file_remove) test_file file = file_make(64 << 20, 5);
    pair both = any_pair(is_tcp);
    stage s = open_watched(both, (ferry_stream_options){.framing = FERRY_FRAMING_CONTINUE});
    looks before = look_at(both.ours);
    stage_let_read_slowly(&s, paces[pace].step, paces[pace].slow_us);
    ferry_promise *sent = submit_file_with(s.stream, ferry_file_at(file.path), options);
    wait_for_transfers(1);
    off(sent);
    ferry_result result = outcome(sent);
    atomic_store(&s.peer->slow_us, 0);
    check_eq(result.error, error);
    check_eq(result.sent + result.remaining, 64 << 20);
    check_eq(outcome(submit_write(s.stream, "tail\n", 5)).error, 0);
    check_looks(both.ours, &before);
    uint64_t expected = digest_content(DIGEST_BEGIN, 5, 0, result.sent);
    stage_close_got(&s, result.sent + 5, digest(expected, "tail\n", 5));
}

static void cancel(ferry_promise *promise)
{
    check_eq(ferry_promise_cancel(promise), 0);
}

static void do_nothing(ferry_promise *) {}

PROMISE(blocking, cancel_gets_a_transfer_out_whatever_its_peer_does)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++)
        for (size_t pace = 0; pace < sizeof paces / sizeof paces[0]; pace++)
            call_off(is_tcp, pace, NULL, -ECANCELED, cancel);
}

PROMISE(blocking, deadline_gets_a_transfer_out_whatever_its_peer_does)
{
    const ferry_request_options hasty = {.timeout_ms = 900};
    for (int is_tcp = 0; is_tcp < 2; is_tcp++)
        for (size_t pace = 0; pace < 2; pace++)
            call_off(is_tcp, pace, &hasty, -ETIMEDOUT, do_nothing);
}

PROMISE(blocking, abort_gets_a_transfer_out_and_leaves_a_duplicate_its_options)
{
    AT_END(file_remove) test_file file = file_make(FILE_BYTES, 3);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        pair both = any_pair(is_tcp);
        set_limit(both.ours, 7);
        AT_END(close_fd) int other = duplicate(both.ours);
        looks before = look_at(other);
        AT_END(stage_end) stage s = open_watched(both, (ferry_stream_options){0});
        ferry_promise *stuck = submit_file(s.stream, ferry_file_at(file.path));
        wait_for_transfers(1);
        ferry_stream_abort(s.stream);
        check_eq(outcome(stuck).error, -ECANCELED);
        stage_destroy(&s);
        check_looks(other, &before);
    }
}

PROMISE(blocking, read_is_served_though_the_transfer_waits)
{
    AT_END(file_remove) test_file file = file_make(FILE_BYTES, 3);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        stage s = open_watched(any_pair(is_tcp), (ferry_stream_options){0});
        ferry_promise *stuck = submit_file(s.stream, ferry_file_at(file.path));
        wait_for_transfers(1);
        char came[5];
        ferry_promise *read;
        const ferry_read wanted = {came, sizeof came, FERRY_READ_EXACTLY, NULL, 0};
        check_eq(ferry_stream_read(s.stream, &wanted, NULL, &read), 0);
        check_eq(send(s.theirs, "hello", 5, MSG_NOSIGNAL), 5);
        check_eq(outcome(read).sent, 5);
        check(memcmp(came, "hello", 5) == 0);
        stage_let_read(&s);
        check_eq(outcome(stuck).error, 0);
        stage_close_got_content(&s, 3, FILE_BYTES);
    }
}

/* ---- what others share ----------------------------------------------------------------------- */

typedef struct waker {
    ferry_stream *stream;
    atomic_bool is_over;
} waker;

/* Posts urgent mail without pause: at every moment of a call, and before and after it. */
static void *wake_again_and_again(void *arg)
{
    waker *self = arg;
    while (!atomic_load(&self->is_over)) {
        ferry_stream_wake_generator(self->stream);
        for (atomic_int pause = 0; pause < 300; pause++) {
        }
    }
    return NULL;
}

PROMISE(blocking, socket_is_as_it_came_also_if_mail_comes_all_the_time)
{
    enum { ROUNDS = 60 };
    AT_END(file_remove) test_file file = file_make(FILE_BYTES / 2, 3);
    for (int i = 0; i < ROUNDS; i++) {
        pair both = any_pair(i % 2);
        looks before = look_at(both.ours);
        stage s = open_watched(both, (ferry_stream_options){0});
        stage_let_read_slowly(&s, 64 * 1024, 200);
        waker self = {.stream = s.stream};
        pthread_t thread = start_thread(wake_again_and_again, &self);
        check_eq(outcome(submit_file(s.stream, ferry_file_at(file.path))).error, 0);
        check_looks(both.ours, &before);
        atomic_store(&self.is_over, true);
        check_eq(pthread_join(thread, NULL), 0);
        stage_close_got_content(&s, 3, FILE_BYTES / 2);
    }
}

PROMISE(blocking, socket_is_as_it_came_when_the_outcome_is_told)
{
    AT_END(file_remove) test_file file = file_make(FILE_BYTES, 3);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        pair both = any_pair(is_tcp);
        set_limit(both.ours, 7);
        looks before = look_at(both.ours);
        stage s = open_watched(both, (ferry_stream_options){0});
        stage_let_read_slowly(&s, 256 * 1024, 1000);
        for (unsigned i = 0; i < 5; i++) {
            check_eq(outcome(submit_file(s.stream, ferry_file_at(file.path))).error, 0);
            check_looks(both.ours, &before);
        }
        check(atomic_load(&on_blocking) > 0);
        stage_close_got_bytes(&s, 5 * FILE_BYTES);
    }
}

PROMISE(blocking, flag_that_somebody_else_sets_meanwhile_costs_no_byte_and_stays)
{
    AT_END(file_remove) test_file file = file_make(FILE_BYTES, 3);
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        pair both = any_pair(is_tcp);
        AT_END(close_fd) int other = duplicate(both.ours);
        stage s = open_watched(both, (ferry_stream_options){0});
        ferry_promise *sent = submit_file(s.stream, ferry_file_at(file.path));
        wait_for_transfers(1);
        check_eq(fcntl(other, F_SETFL, O_RDWR | O_NONBLOCK), 0);
        stage_let_read_slowly(&s, 64 * 1024, 1000);
        check_eq(outcome(sent).error, 0);
        check((fcntl(other, F_GETFL) & O_NONBLOCK) != 0);
        stage_close_got_content(&s, 3, FILE_BYTES);
    }
}

/* ---- without fds ----------------------------------------------------------------------------- */

PROMISE(blocking, without_fds_a_stalled_stream_waits_and_goes_on)
{
    AT_END(file_remove) test_file file = file_make(FILE_BYTES, 3);
    stage s = open_watched(unix_pair(SOCK_STREAM), (ferry_stream_options){0});
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    read_away(s.theirs, 1);
    struct rlimit before;
    check_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    ferry_promise *sent = submit_file(s.stream, ferry_file_fd(file.fd));
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    check_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    wait_for_transfers(1);
    (void)poll(NULL, 0, 200); /* time to stall in */
    check_eq(atomic_load(&sleeps), 0);
    stage_let_read(&s);
    check_eq(outcome(sent).error, 0);
    check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    stage_close_got_content(&s, 3, FILE_BYTES);
}
