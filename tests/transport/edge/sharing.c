/* SPDX-License-Identifier: MIT */
/* What others share is left as it was, and what they do to it meanwhile holds up nobody. */
#include "tests/support.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/syscall.h>

#define MIB (UINT64_C(1) << 20)

static bool is_nonblocking(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

/* Somebody who clears O_NONBLOCK of what he shares, as often as he can. */
typedef struct clearer {
    pthread_t thread;
    int fd; /* his duplicate */
    atomic_bool stops;
} clearer;

static void *keep_clearing(void *arg)
{
    clearer *self = arg;
    int flags = fcntl(self->fd, F_GETFL) & ~O_NONBLOCK;
    while (!atomic_load(&self->stops))
        check_eq(fcntl(self->fd, F_SETFL, flags), 0);
    return NULL;
}

static void clearer_start(clearer *self, int fd)
{
    self->fd = duplicate(fd);
    atomic_init(&self->stops, false);
    self->thread = start_thread(keep_clearing, self);
}

static void clearer_stop(clearer *self)
{
    atomic_store(&self->stops, true);
    check_eq(pthread_join(self->thread, NULL), 0);
    close(self->fd);
}

/* ---- O_NONBLOCK of sockets ------------------------------------------------------------------- */

PROMISE_BOTH(sharing, flags_of_a_socket_are_left_alone_meanwhile_and_afterwards)
{
    AT_END(file_remove) test_file file = file_make(3 * MIB, 11);
    for (int i = 0; i < 4; i++) {
        pair both = any_pair(i & 1);
        check_eq(fcntl(both.ours, F_SETFL, (i & 2) != 0 ? O_RDWR | O_NONBLOCK : O_RDWR), 0);
        AT_END(close_fd) int other = duplicate(both.ours);
        int flags = fcntl(other, F_GETFL);
        stage s = stage_open(placement, both);
        check_eq(fcntl(other, F_GETFL), flags);
        ferry_promise *promise = submit_file(s.stream, ferry_file_at(file.path));
        wait_readable(s.theirs);
        check_eq(fcntl(other, F_GETFL), flags);
        stage_let_read(&s);
        check_eq(outcome(promise).method, FERRY_METHOD_SENDFILE);
        stage_close_got_content(&s, 11, file.size);
        check_eq(fcntl(other, F_GETFL), flags);
    }
}

/* No call of an owner blocks: a cancel gets through, and so do the owner's other streams. */
static void send_to_one_who_does_not_read(ferry_placement placement, int is_tcp)
{
    AT_END(file_remove) test_file file = file_make(32 * MIB, 12);
    AT_END(destroy_service) ferry_service *service = service_of_one_owner(placement);
    pair both = any_pair(is_tcp);
    clearer somebody;
    clearer_start(&somebody, both.ours);
    AT_END(stage_end) stage s = stage_in(service, both);
    AT_END(stage_close) stage beside = stage_in(service, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_file(s.stream, ferry_file_at(file.path));
    wait_readable(s.theirs);
    for (int i = 0; i < 200; i++)
        check_eq(outcome(submit_write(beside.stream, "beside", 6)).error, 0);
    check_eq(ferry_promise_cancel(stuck), 0);
    ferry_result result = outcome(stuck);
    check_eq(result.error, -ECANCELED);
    check_eq(result.sent + result.remaining, file.size);
    clearer_stop(&somebody);
}

PROMISE_BOTH(sharing, unix_socket_that_somebody_makes_blocking_all_the_time_holds_up_nobody)
{
    send_to_one_who_does_not_read(placement, 0);
}

PROMISE_BOTH(sharing, tcp_socket_that_somebody_makes_blocking_all_the_time_holds_up_nobody)
{
    send_to_one_who_does_not_read(placement, 1);
}

/* TCP has room for the fewer bytes, the less its peer takes at a time:
 * each of its segments costs memory. */
PROMISE_BOTH(sharing, tcp_socket_of_a_peer_with_a_small_window_holds_up_nobody)
{
    AT_END(destroy_service) ferry_service *service = service_of_one_owner(placement);
    struct sockaddr_in address;
    AT_END(file_remove) test_file file = file_make(32 * MIB, 12);
    AT_END(close_fd) int listening = listen_somewhere(100, &address);
    set_socket_option(listening, SOL_SOCKET, SO_RCVBUF, 1);
    pair both = {.ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    check_eq(connect(both.ours, (struct sockaddr *)&address, sizeof address), 0);
    both.theirs = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    AT_END(stage_end) stage s = stage_in(service, both);
    ferry_promise *stuck = submit_file(s.stream, ferry_file_at(file.path));
    wait_readable(s.theirs);
    (void)ferry_promise_await(stuck, 100, NULL);
    check_eq(ferry_promise_cancel(stuck), 0);
    check_eq(outcome(stuck).error, -ECANCELED);
}

/* With what little room a socket can have, and with a limit of what is unsent:
 * all of it gets through. */
PROMISE_BOTH(sharing, file_gets_through_a_blocking_socket_however_little_room_it_has)
{
    AT_END(file_remove) test_file file = file_make(2 * MIB, 13);
    for (int i = 0; i < 4; i++) {
        pair both = any_pair(i != 0);
        if (i < 2)
            set_socket_option(both.ours, SOL_SOCKET, SO_SNDBUF, 1);
        if (i == 3)
            set_socket_option(both.ours, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096);
        stage s = stage_open_to_reader(placement, both);
        check_eq(outcome(submit_file(s.stream, ferry_file_at(file.path))).error, 0);
        stage_close_got_content(&s, 13, file.size);
    }
}

/* ---- options of sockets ---------------------------------------------------------------------- */

static void check_linger(int fd, struct linger expected)
{
    struct linger found;
    socklen_t size = sizeof found;
    check_eq(getsockopt(fd, SOL_SOCKET, SO_LINGER, &found, &size), 0);
    check_eq(found.l_onoff, expected.l_onoff);
    check_eq(found.l_linger, expected.l_linger);
}

/* What a process with a duplicate finds once it is told that the stream has ended. */
static pid_t hold_elsewhere(int fd, struct linger expected, int told)
{
    pid_t child = fork();
    check(child >= 0);
    if (child != 0)
        return child;
    alarm(60);
    char byte;
    check_eq(read(told, &byte, 1), 1);
    check_linger(fd, expected);
    check_eq(write(fd, "mine", 4), 4);
    _exit(0);
}

static void end(ferry_stream *stream, bool aborts)
{
    if (aborts)
        ferry_stream_abort(stream);
    ferry_promise *closed = submit_close(stream);
    (void)outcome(closed);
    ferry_stream_unref(stream);
}

static const struct linger LINGERS[] = {{0, 0}, {1, 0}, {1, 7}};

PROMISE_BOTH(sharing, so_linger_of_a_duplicate_is_as_it_was_however_the_stream_ends)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    for (int i = 0; i < 6; i++) {
        AT_END(close_theirs) pair both = tcp_pair();
        check_eq(setsockopt(both.ours, SOL_SOCKET, SO_LINGER, &LINGERS[i / 2], sizeof LINGERS[0]),
                 0);
        AT_END(close_fd) int other = duplicate(both.ours);
        end(stream_adopt(service, both.ours), i & 1);
        check_linger(other, LINGERS[i / 2]);
    }
}

PROMISE_BOTH(sharing, connection_that_another_process_holds_survives_an_abort_as_it_was)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(close_theirs) pair both = tcp_pair();
    AT_END(close_pair) pair told = pipe_pair();
    pid_t holder = hold_elsewhere(both.ours, LINGERS[0], told.theirs);
    end(stream_adopt(service, both.ours), true);
    check_eq(write(told.ours, "!", 1), 1);
    await_child(holder);
    char mine[8];
    check_eq(recv(both.theirs, mine, sizeof mine, MSG_WAITALL), 4); /* and then its end of file */
}

PROMISE_BOTH(sharing, duplicate_goes_on_with_a_connection_that_destroy_leaves)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        pair both = any_pair(is_tcp);
        int other = duplicate(both.ours);
        AT_END(stage_end) stage s = stage_open(placement, both);
        check_eq(outcome(submit_write(s.stream, "ferry", 5)).error, 0);
        stage_destroy(&s);
        s.stream = ferry_stream_unref(s.stream);
        check_eq(send(other, "mine", 4, MSG_NOSIGNAL), 4);
        close(other);
        char both_texts[16];
        check_eq(recv(s.theirs, both_texts, sizeof both_texts, MSG_WAITALL), 9);
        check(memcmp(both_texts, "ferrymine", 9) == 0); /* and then an end of file */
    }
}

PROMISE_BOTH(sharing, tcp_options_of_a_duplicate_are_put_back)
{
    const ferry_stream_options options = {.no_delay = true, .notsent_lowat_bytes = 300000};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    for (int aborts = 0; aborts < 2; aborts++) {
        AT_END(close_theirs) pair both = tcp_pair();
        AT_END(close_fd) int other = duplicate(both.ours);
        end(stream_adopt_with(service, both.ours, options), aborts);
        check_eq(socket_option(other, IPPROTO_TCP, TCP_NODELAY), 0);
        check_eq(socket_option(other, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 0);
    }
}

/* ---- pipes and terminals --------------------------------------------------------------------- */

/* As a program that does not run as the pipe's user: this thread alone. */
static ferry_stream *adopt_as_stranger(ferry_service *service, int fd)
{
    (void)syscall(SYS_setresuid, -1, 65534, -1); /* where it may not, the pipe is opened anew */
    ferry_stream *stream = stream_adopt(service, fd);
    (void)syscall(SYS_setresuid, -1, 0, -1);
    return stream;
}

PROMISE_BOTH(sharing, pipe_that_cannot_be_opened_anew_is_left_alone)
{
    AT_END(destroy_service) ferry_service *service = service_of_one_owner(placement);
    AT_END(file_remove) test_file file = file_make(MIB, 14);
    pair pipe = pipe_pair();
    int other = duplicate(pipe.ours);
    ferry_stream *stream = adopt_as_stranger(service, pipe.ours);
    AT_END(stage_close) stage beside = stage_in(service, unix_pair(SOCK_STREAM));
    check(!is_nonblocking(other));
    static unsigned char data[MIB];
    fill_content(data, sizeof data, 15, 0);
    ferry_promise *written = submit_write(stream, data, sizeof data);
    ferry_promise *sent = submit_file(stream, ferry_file_at(file.path));
    wait_readable(pipe.theirs);
    check_eq(outcome(submit_write(beside.stream, "beside", 6)).error, 0);
    check(!is_nonblocking(other));
    reader *peer = reader_start(pipe.theirs, false);
    check_eq(outcome(written).error, 0);
    check_eq(outcome(sent).error, 0);
    check_eq(close_stream(stream).error, 0);
    check(!is_nonblocking(other));
    close(other);
    reader_check(peer, 2 * MIB,
                 digest_content(digest_content(DIGEST_BEGIN, 15, 0, MIB), 14, 0, MIB));
}

PROMISE_BOTH(sharing, terminal_that_cannot_be_opened_anew_is_left_alone)
{
    ferry_service *service = service_start(placement);
    static const char data[MIB];
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    check(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    AT_END(close_fd) int other = duplicate(master);
    ferry_stream *stream = stream_adopt(service, master);
    ferry_promise *stuck = submit_write(stream, data, sizeof data); /* nobody reads it */
    (void)ferry_promise_await(stuck, 50, NULL);
    wait_until_asleep(); /* for one call at a time it is not left alone */
    check(!is_nonblocking(other));
    check_eq(ferry_promise_cancel(stuck), 0);
    (void)outcome(stuck);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
    check(!is_nonblocking(other));
}

/* ---- listening sockets ----------------------------------------------------------------------- */

static void greet(ferry_listener *, ferry_stream *stream, void *)
{
    check_eq(ferry_stream_write(stream, "hi", 2, NULL, NULL), 0);
    check_eq(ferry_stream_close(stream, NULL), 0);
}

static ferry_listener *listen_at_duplicate(ferry_service *service, int fd)
{
    char address[20];
    ferry_listener *listener;
    const ferry_listen_options options = {.on_stream = greet, .on_owner = true};
    snprintf(address, sizeof address, "fd:%d", duplicate(fd));
    check_eq(ferry_listen(service, address, &options, &listener), 0);
    return listener;
}

static void ask(const struct sockaddr_in *address, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        char answer[4];
        AT_END(close_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        check_eq(connect(fd, (const struct sockaddr *)address, sizeof *address), 0);
        check_eq(recv(fd, answer, sizeof answer, MSG_WAITALL), 2);
    }
}

PROMISE_BOTH(sharing, listener_goes_on_when_another_one_of_the_same_socket_has_closed)
{
    struct sockaddr_in address;
    AT_END(close_fd) int fd = listen_somewhere(100, &address);
    ferry_service *one = service_start(placement), *two = service_start(placement);
    ferry_listener *first = listen_at_duplicate(one, fd), *second = listen_at_duplicate(two, fd);
    ask(&address, 10);
    ferry_listener_unref(first);
    ferry_service_destroy(one);
    check_eq(fcntl(fd, F_SETFL, O_RDWR), 0); /* as others do, on their way out */
    ask(&address, 10);
    ferry_listener_unref(second);
    ferry_service_destroy(two);
}

PROMISE_BOTH(sharing, listening_socket_that_somebody_makes_blocking_all_the_time_holds_up_nobody)
{
    struct sockaddr_in address;
    AT_END(close_fd) int fd = listen_somewhere(100, &address);
    ferry_service *service = service_start(placement);
    clearer somebody;
    clearer_start(&somebody, fd);
    ferry_listener *listener = listen_at_duplicate(service, fd);
    ask(&address, 200);
    ferry_listener_unref(listener);
    ferry_service_destroy(service);
    clearer_stop(&somebody);
}

/* ---- files under a lease --------------------------------------------------------------------- */

PROMISE_BOTH(sharing, file_under_a_lease_is_waited_for_and_holds_up_nobody_else)
{
    AT_END(file_remove) test_file file = file_make(100, 16);
    AT_END(close_fd) int leased = lease_take(file.path);
    if (leased < 0)
        return;
    AT_END(destroy_service) ferry_service *service = service_of_one_owner(placement);
    AT_END(stage_close) stage s = stage_in(service, unix_pair(SOCK_STREAM));
    AT_END(stage_close) stage beside = stage_in(service, unix_pair(SOCK_STREAM));
    ferry_promise *sent = submit_file(s.stream, ferry_file_at(file.path));
    ferry_promise *behind = submit_write(s.stream, "behind", 6);
    lease_await_break(leased);
    check_eq(outcome(submit_write(beside.stream, "beside", 6)).error, 0);
    check_eq(ferry_promise_await(sent, 0, NULL), -ETIMEDOUT);
    check_eq(ferry_promise_await(behind, 0, NULL), -ETIMEDOUT);
    check_eq(fcntl(leased, F_SETLEASE, F_UNLCK), 0);
    check_eq(outcome(sent).sent, 100);
    check_eq(outcome(behind).error, 0);
}

PROMISE_BOTH(sharing, waiting_for_a_lease_can_be_cancelled_and_runs_out_of_time)
{
    AT_END(file_remove) test_file file = file_make(100, 17);
    AT_END(close_fd) int leased = lease_take(file.path);
    if (leased < 0)
        return;
    AT_END(destroy_service) ferry_service *service = service_of_one_owner(placement);
    AT_END(stage_close) stage s = stage_in(service, unix_pair(SOCK_STREAM));
    const ferry_request_options options = {.timeout_ms = 60};
    ferry_file by_path = ferry_file_at(file.path);
    ferry_promise *sent = submit_file(s.stream, by_path);
    lease_await_break(leased);
    check_eq(ferry_promise_cancel(sent), 0);
    check_outcome(sent, .error = -ECANCELED, .phase = FERRY_PHASE_OPEN);
    check_eq(outcome(submit_file_with(s.stream, by_path, &options)).error, -ETIMEDOUT);
    check_eq(outcome(submit_write(s.stream, "healthy", 7)).error, 0);
    ferry_promise *received = submit_read_to_file(s.stream, by_path);
    check_eq(ferry_promise_await(received, 100, NULL), -ETIMEDOUT);
    check_eq(fcntl(leased, F_SETLEASE, F_UNLCK), 0);
    check_eq(write(s.theirs, "bytes", 5), 5);
    check_eq(shutdown(s.theirs, SHUT_WR), 0);
    check_eq(outcome(received).sent, 5);
}

static void *give_lease_back(void *arg)
{
    int fd = *(int *)arg;
    lease_await_break(fd);
    check_eq(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
    return NULL;
}

PROMISE(sharing, file_under_a_lease_is_waited_for_where_it_is_to_be_shared)
{
    AT_END(file_remove) test_file file = file_make(100, 18);
    AT_END(close_fd) int leased = lease_take(file.path);
    if (leased < 0)
        return;
    AT_END(join_thread) pthread_t holder = start_thread(give_lease_back, &leased);
    AT_END(drop_shared_file) ferry_shared_file *shared = shared_file_open(ferry_file_at(file.path));
    check_eq(ferry_shared_file_get_size(shared), 100);
}

/* ---- O_DIRECT -------------------------------------------------------------------------------- */

PROMISE_BOTH(sharing, o_direct_source_is_sent_whole_from_any_byte_on)
{
    enum { SIZE = 1000003 };
    AT_END(file_remove) test_file file = file_make(SIZE, 19);
    AT_END(close_fd) int direct = open(file.path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (direct < 0)
        return;
    static const struct {
        int64_t offset, length;
    } ranges[] = {{0, FERRY_TO_END}, {777, FERRY_TO_END},    {4096, 5},           {4095, 2},
                  {SIZE - 1, 1},     {65536 * 3 - 1, 65537}, {SIZE, FERRY_TO_END}};
    for (unsigned i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        stage s = stage_open_to_reader(placement, any_pair(i & 1));
        ferry_file part = ferry_file_fd(direct);
        part.offset = ranges[i].offset;
        part.length = ranges[i].length;
        uint64_t expected = (uint64_t)(part.length < 0 ? SIZE - part.offset : part.length);
        check_outcome(submit_file(s.stream, part), .error = 0, .sent = expected);
        stage_close_got(&s, expected,
                        digest_content(DIGEST_BEGIN, 19, (uint64_t)part.offset, expected));
    }
}

PROMISE_BOTH(sharing, o_direct_target_gets_every_byte_at_any_place)
{
    enum { SIZE = 300001, BEFORE = 777 };
    for (unsigned i = 0; i < 4; i++) {
        AT_END(file_remove) test_file file = file_make(BEFORE, 21);
        AT_END(close_fd) int fd = open(file.path, O_WRONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0) /* this file system has none */
            return;
        ferry_file into = ferry_file_fd(fd);
        bool has_place = (i & 2) != 0;
        check_eq(lseek(into.fd, has_place ? 5 : BEFORE, SEEK_SET), has_place ? 5 : BEFORE);
        if (has_place)
            into.offset = BEFORE;
        AT_END(stage_close) stage s = stage_open(placement, any_pair(i & 1));
        ferry_promise *received = submit_read_to_file(s.stream, into);
        AT_END(join_talker) talker *peer = talker_start(s.theirs, 22, SIZE);
        check_outcome(received, .error = 0, .sent = SIZE);
        check_eq(lseek(into.fd, 0, SEEK_CUR), has_place ? 5 : BEFORE + SIZE);
        check((fcntl(into.fd, F_GETFL) & O_DIRECT) != 0);
        check_eq(digest_file(DIGEST_BEGIN, file.path, BEFORE, SIZE),
                 digest_content(DIGEST_BEGIN, 22, 0, SIZE));
    }
}

/* ---- outcomes -------------------------------------------------------------------------------- */

PROMISE_BOTH(sharing, stream_whose_connection_is_over_says_so_in_its_status)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    for (int reads = 0; reads < 2; reads++) {
        pair both = tcp_pair();
        ferry_stream *stream = stream_adopt(service, both.ours);
        check_eq(stream_status(stream).error, 0);
        close_with_reset(both.theirs);
        char byte;
        ferry_promise *promise;
        int error = 0;
        if (reads) {
            const ferry_read one = {&byte, 1, FERRY_READ_SOME, NULL, 0};
            check_eq(ferry_stream_read(stream, &one, NULL, &promise), 0);
            error = outcome(promise).error;
        }
        while (error == 0) /* until the reset has arrived */
            error = outcome(submit_write(stream, "x", 1)).error;
        check(error == -ECONNRESET || error == -EPIPE);
        check_eq(stream_status(stream).error, error);
        (void)close_stream(stream);
    }
    AT_END(stage_close) stage s = stage_in(service, pipe_pair());
    stage_hang_up(&s);
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, -EPIPE);
    check_eq(stream_status(s.stream).error, -EPIPE);
}

/* A full target is soon tried again, and neither gives an error nor loses a byte. */
PROMISE_BOTH(sharing, target_that_says_eagain_gets_every_byte)
{
    static const ferry_fault_call calls[] = {FERRY_CALL_WRITE, FERRY_CALL_SPLICE, FERRY_CALL_READ,
                                             FERRY_CALL_OPEN, FERRY_CALL_POLL};
    for (unsigned i = 0; i < 15; i++) {
        /* Of FERRY_CALL_POLL the first two may be those that give the stream an owner. */
        const uint64_t first = 1 + i % 3 + (i / 3 == 4 ? 2 : 0);
        AT_END(drop_faults)
        ferry_faults *faults =
            faults_of((ferry_fault){calls[i / 3], first, .times = 5, FERRY_FAULT_ERROR, EAGAIN});
        AT_END(file_remove) test_file file = file_make(0, 20);
        AT_END(stage_close)
        stage s =
            stage_open_with(placement, any_pair(i & 1), (ferry_stream_options){.faults = faults});
        ferry_promise *received = submit_read_to_file(s.stream, ferry_file_at(file.path));
        AT_END(join_talker) talker *peer = talker_start(s.theirs, 20, 100000);
        check_outcome(received, .error = 0, .sent = 100000);
        check_eq(digest_file(DIGEST_BEGIN, file.path, 0, 100000),
                 digest_content(DIGEST_BEGIN, 20, 0, 100000));
    }
}
