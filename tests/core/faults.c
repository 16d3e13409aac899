/* SPDX-License-Identifier: MIT */
/* The fault mode, call by call: each effect, the numbers, and that all else is the real thing. */
#include "core/faults.h"

#include "core/clock.h"
#include "tests/support.h"

#include <limits.h>
#include <linux/openat2.h>
#include <netinet/in.h>

/* ---- what the tests share -------------------------------------------------------------------- */

static ferry_faults *faults_make(const ferry_fault script[], size_t count)
{
    ferry_faults *faults;
    check_eq(ferry_faults_create(script, count, &faults), 0);
    return faults;
}

/* Both ends of a pipe or a pair, and the calls through which to use them. */
typedef struct test_bench {
    ferry_faults *faults;
    ferry__calls *calls;
    int in;  /* the end that is written to */
    int out; /* the end that is read from, non-blocking */
} test_bench;

static test_bench bench_make(ferry_faults *faults)
{
    pair both = unix_pair(SOCK_STREAM | SOCK_NONBLOCK);
    return (test_bench){
        .faults = faults, .calls = &faults->calls, .in = both.ours, .out = both.theirs};
}

static test_bench bench_make_one(ferry_fault fault)
{
    return bench_make(faults_of(fault));
}

/* Whose such calls fail, so many times from the first on. */
static test_bench bench_failing(ferry_fault_call call, uint64_t first, uint64_t times, int error)
{
    return bench_make_one((ferry_fault){call, first, times, FERRY_FAULT_ERROR, error});
}

static void bench_clear(test_bench *bench)
{
    close(bench->in);
    close(bench->out);
    ferry_faults_unref(bench->faults);
}

static ssize_t send_pieces(test_bench *bench, const struct iovec pieces[], size_t count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)pieces};
    message.msg_iovlen = (__typeof__(message.msg_iovlen))count; /* musl's is an int */
    return bench->calls->sendmsg(bench->calls, bench->in, &message, MSG_NOSIGNAL);
}

static ssize_t send_text(test_bench *bench, const char *text)
{
    const struct iovec piece = {.iov_base = (void *)text, .iov_len = strlen(text)};
    return send_pieces(bench, &piece, 1);
}

static ssize_t write_text(test_bench *bench, const char *text)
{
    const struct iovec piece = {.iov_base = (void *)text, .iov_len = strlen(text)};
    return bench->calls->writev(bench->calls, bench->in, &piece, 1);
}

static ssize_t send_file(test_bench *bench, int file, off_t *offset, size_t length)
{
    return bench->calls->sendfile(bench->calls, bench->in, file, offset, length);
}

static ssize_t read_at(test_bench *bench, int file, off_t offset, void *buffer, size_t size)
{
    const struct iovec piece = {.iov_base = buffer, .iov_len = size};
    return bench->calls->preadv2(bench->calls, file, &piece, 1, offset, 0);
}

/* How many bytes lie ready at the reading end. */
static size_t arrived(const test_bench *bench)
{
    char scrap[4096];
    ssize_t count = recv(bench->out, scrap, sizeof scrap, MSG_PEEK);
    return count > 0 ? (size_t)count : 0;
}

static uint64_t injected(const test_bench *bench)
{
    return ferry_faults_get_injected(bench->faults);
}

static uint64_t calls_made(const test_bench *bench, ferry_fault_call call)
{
    return ferry_faults_get_calls(bench->faults, call);
}

#define check_fails(call, expected)                                                                \
    do {                                                                                           \
        errno = 0;                                                                                 \
        check_eq(call, -1);                                                                        \
        check_eq(errno, expected);                                                                 \
    } while (0)

/* ---- no faults ------------------------------------------------------------------------------- */

static void *answer_arg(void *arg)
{
    return arg;
}

static void use_data_calls(ferry__calls *calls)
{
    char buffer[8];
    struct iovec piece = {.iov_base = (void *)"abcd", .iov_len = 4};
    const struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    struct iovec into = {.iov_base = buffer, .iov_len = sizeof buffer};
    AT_END(file_remove) test_file file = file_make(100, 1);
    AT_END(close_pair) pair both = unix_pair(SOCK_STREAM);
    int ends[2];
    off_t offset = 10;
    check_eq(calls->pipe(calls, ends), 0);
    check_eq(calls->sendmsg(calls, both.ours, &message, MSG_NOSIGNAL), 4);
    check_eq(calls->recv(calls, both.theirs, buffer, sizeof buffer, 0, NULL), 4);
    check_eq(calls->writev(calls, ends[1], &piece, 1), 4);
    check_eq(calls->splice(calls, ends[0], NULL, both.ours, NULL, 4, 0), 4);
    check_eq(calls->sendfile(calls, both.ours, file.fd, &offset, 20), 20);
    check_eq(offset, 30);
    check_eq(calls->preadv2(calls, file.fd, &into, 1, 95, 0), 5);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 0);
    check_eq(calls->preadv2(calls, file.fd, &into, 1, -1, 0), 8);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 8);
    check_fails(calls->preadv2(calls, ends[0], &into, 1, -1, 0), EAGAIN);
    close(ends[0]);
    close(ends[1]);
}

static void use_opening_calls(ferry__calls *calls)
{
    AT_END(file_remove) test_file file = file_make(100, 1);
    struct stat status;
    int fd = calls->open(calls, AT_FDCWD, file.path, O_RDONLY | O_CLOEXEC, 0, 0);
    check_eq(calls->fstat(calls, fd, &status), 0);
    check_eq(status.st_size, 100);
    AT_END(close_fd) int copy = calls->duplicate(calls, fd);
    check(copy >= 0 && copy != fd && (fcntl(copy, F_GETFD) & FD_CLOEXEC) != 0);
    check_fails(calls->open(calls, AT_FDCWD, "/", O_RDONLY, 0, RESOLVE_BENEATH), EXDEV);
    close(fd);
}

static void use_creating_calls(ferry__calls *calls)
{
    char path[] = "/tmp/ferry-test-XXXXXX";
    close(mkostemp(path, O_CLOEXEC));
    check_eq(unlink(path), 0);
    int fd = calls->open(calls, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, 0);
    struct stat status;
    check_eq(calls->fstat(calls, fd, &status), 0);
    check_eq(status.st_mode & 0777, 0600);
    struct iovec piece = {.iov_base = (void *)"abcd", .iov_len = 4};
    check_eq(calls->pwritev2(calls, fd, &piece, 1, 10, 0), 4);
    check_eq(lseek(fd, 0, SEEK_CUR), 0);
    check_eq(calls->pwritev2(calls, fd, &piece, 1, -1, 0), 4);
    check_eq(lseek(fd, 0, SEEK_CUR), 4);
    int ends[2];
    off_t offset = 20;
    check_eq(calls->pipe(calls, ends), 0);
    check_eq(calls->writev(calls, ends[1], &piece, 1), 4);
    check_eq(calls->splice(calls, ends[0], NULL, fd, &offset, 4, 0), 4);
    check_eq(offset, 24);
    check_eq(calls->fstat(calls, fd, &status), 0);
    check_eq(status.st_size, 24);
    close(ends[0]);
    close(ends[1]);
    close(fd);
    unlink(path);
}

static void use_waiting_calls(ferry__calls *calls)
{
    struct pollfd writable = {.events = POLLOUT};
    struct epoll_event event = {.events = EPOLLOUT};
    AT_END(close_pair) pair both = unix_pair(SOCK_STREAM);
    writable.fd = both.ours;
    check_eq(calls->poll(calls, &writable, 1, -1), 1);
    int set = calls->epoll_create(calls);
    check((fcntl(set, F_GETFD) & FD_CLOEXEC) != 0);
    check_eq(calls->epoll_ctl(calls, set, EPOLL_CTL_ADD, both.ours, &event), 0);
    check_eq(calls->epoll_wait(calls, set, &event, 1, -1), 1);
    check_eq(calls->epoll_ctl(calls, set, EPOLL_CTL_DEL, both.ours, NULL), 0);
    close(set);
}

static void use_connecting_calls(ferry__calls *calls)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in peer;
    socklen_t size = sizeof address, peer_size = sizeof peer;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int ours = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    check_eq(listen(listener, 1), 0);
    check_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    check_fails(calls->accept(calls, listener, NULL, NULL), EAGAIN);
    check_eq(calls->connect(calls, ours, (struct sockaddr *)&address, size), 0);
    AT_END(close_fd)
    int theirs = calls->accept(calls, listener, (struct sockaddr *)&peer, &peer_size);
    check((fcntl(theirs, F_GETFD) & FD_CLOEXEC) != 0);
    check((fcntl(theirs, F_GETFL) & O_NONBLOCK) != 0);
    check_eq(getsockname(ours, (struct sockaddr *)&address, &size), 0);
    check_eq(peer.sin_port, address.sin_port);
    close(listener);
    close(ours);
}

static void use_thread_call(ferry__calls *calls)
{
    pthread_t thread;
    void *answer;
    check_eq(calls->start_thread(calls, &thread, NULL, answer_arg, &thread), 0);
    check_eq(pthread_join(thread, &answer), 0);
    check(answer == &thread);
}

static void use_all_calls(ferry__calls *calls)
{
    use_data_calls(calls);
    use_opening_calls(calls);
    use_creating_calls(calls);
    use_waiting_calls(calls);
    use_connecting_calls(calls);
    use_thread_call(calls);
}

PROMISE(faults, empty_script_only_counts_calls)
{
    use_all_calls(&ferry__calls_real);
    AT_END(drop_faults) ferry_faults *faults = faults_make(NULL, 0);
    use_all_calls(&faults->calls);
    check_eq(ferry_faults_get_injected(faults), 0);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_WRITE), 5);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_SENDFILE), 1);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_SPLICE), 2);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_READ), 4);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_OPEN), 9);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_POLL), 4);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_THREAD), 1);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_ACCEPT), 2);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_CONNECT), 1);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_ANY), 29);
}

/* ---- errors ---------------------------------------------------------------------------------- */

PROMISE(faults, third_sendfile_fails_and_no_other)
{
    AT_END(bench_clear) test_bench bench = bench_failing(FERRY_CALL_SENDFILE, 3, 1, EIO);
    AT_END(file_remove) test_file file = file_make(100, 1);
    off_t offset = 0;
    check_eq(send_text(&bench, "1"), 1);
    check_eq(send_file(&bench, file.fd, &offset, 10), 10);
    check_eq(send_file(&bench, file.fd, &offset, 10), 10);
    check_fails(send_file(&bench, file.fd, &offset, 10), EIO);
    check_eq(offset, 20);
    check_eq(arrived(&bench), 21);
    check_eq(send_file(&bench, file.fd, &offset, 10), 10);
    check_eq(injected(&bench), 1);
    check_eq(calls_made(&bench, FERRY_CALL_SENDFILE), 4);
}

PROMISE(faults, error_takes_place_so_many_times_in_a_row)
{
    const ferry_fault script[] = {
        {FERRY_CALL_WRITE, 2, 3, FERRY_FAULT_ERROR, EINTR},
        {FERRY_CALL_WRITE, 7, UINT64_MAX, FERRY_FAULT_ERROR, EPIPE},
    };
    AT_END(bench_clear) test_bench bench = bench_make(faults_make(script, 2));
    check_eq(send_text(&bench, "1"), 1);
    for (unsigned i = 0; i < 3; i++)
        check_fails(send_text(&bench, "2"), EINTR);
    check_eq(send_text(&bench, "3"), 1);
    check_eq(write_text(&bench, "4"), 1);
    for (unsigned i = 0; i < 100; i++)
        check_fails(write_text(&bench, "5"), EPIPE);
    check_eq(arrived(&bench), 3);
    check_eq(injected(&bench), 103);
}

PROMISE(faults, errno_may_have_either_sign)
{
    const ferry_fault script[] = {
        {FERRY_CALL_READ, 1, 0, FERRY_FAULT_ERROR, EIO},
        {FERRY_CALL_READ, 2, 0, FERRY_FAULT_ERROR, -EIO},
    };
    AT_END(bench_clear) test_bench bench = bench_make(faults_make(script, 2));
    char byte;
    check_fails(bench.calls->recv(bench.calls, bench.out, &byte, 1, 0, NULL), EIO);
    check_fails(read_at(&bench, bench.out, -1, &byte, 1), EIO);
}

PROMISE(faults, any_call_can_fail)
{
    AT_END(bench_clear) test_bench bench = bench_failing(FERRY_CALL_ANY, 1, UINT64_MAX, ENOMEM);
    ferry__calls *calls = bench.calls;
    int ends[2] = {-1, -1};
    char byte;
    struct stat status;
    struct pollfd writable = {.fd = bench.in, .events = POLLOUT};
    struct epoll_event event = {.events = EPOLLOUT};
    pthread_t thread;
    check_fails(send_text(&bench, "1"), ENOMEM);
    check_fails(write_text(&bench, "1"), ENOMEM);
    check_fails(send_file(&bench, bench.out, NULL, 1), ENOMEM);
    check_fails(calls->splice(calls, bench.out, NULL, bench.in, NULL, 1, 0), ENOMEM);
    check_fails(read_at(&bench, bench.out, -1, &byte, 1), ENOMEM);
    check_fails(calls->recv(calls, bench.out, &byte, 1, 0, NULL), ENOMEM);
    check_fails(calls->pwritev2(calls, bench.in, &(struct iovec){&byte, 1}, 1, -1, 0), ENOMEM);
    check_fails(calls->open(calls, AT_FDCWD, "/", O_RDONLY, 0, 0), ENOMEM);
    check_fails(calls->fstat(calls, bench.in, &status), ENOMEM);
    check_fails(calls->duplicate(calls, bench.in), ENOMEM);
    check_fails(calls->pipe(calls, ends), ENOMEM);
    check(ends[0] == -1 && ends[1] == -1);
    check_fails(calls->accept(calls, bench.in, NULL, NULL), ENOMEM);
    check_fails(calls->connect(calls, bench.in, NULL, 0), ENOMEM);
    check_fails(calls->poll(calls, &writable, 1, -1), ENOMEM);
    check_fails(calls->epoll_create(calls), ENOMEM);
    check_fails(calls->epoll_ctl(calls, 0, EPOLL_CTL_ADD, bench.in, &event), ENOMEM);
    check_eq(calls->start_thread(calls, &thread, NULL, answer_arg, NULL), ENOMEM);
    check_eq(injected(&bench), 17);
}

PROMISE(faults, any_counts_all_kinds_together)
{
    AT_END(bench_clear) test_bench bench = bench_failing(FERRY_CALL_ANY, 3, 1, EMFILE);
    char byte;
    check_eq(send_text(&bench, "1"), 1);
    check_eq(bench.calls->recv(bench.calls, bench.out, &byte, 1, 0, NULL), 1);
    check_fails(bench.calls->duplicate(bench.calls, bench.in), EMFILE);
    check_eq(send_text(&bench, "1"), 1);
    check_eq(calls_made(&bench, FERRY_CALL_ANY), 4);
}

PROMISE(faults, waiting_in_epoll_is_neither_counted_nor_tampered_with)
{
    AT_END(bench_clear) test_bench bench = bench_failing(FERRY_CALL_ANY, 1, UINT64_MAX, EIO);
    ferry__calls *calls = bench.calls;
    struct epoll_event event;
    AT_END(close_fd) int set = epoll_create1(EPOLL_CLOEXEC);
    check_eq(calls->epoll_wait(calls, set, &event, 1, 0), 0);
    check_eq(calls_made(&bench, FERRY_CALL_ANY), 0);
}

PROMISE(faults, first_fault_in_the_script_that_has_a_meaning_wins)
{
    const ferry_fault script[] = {
        {FERRY_CALL_ANY, 1, 3, FERRY_FAULT_EOF, 0}, /* none for a write, nor for opening */
        {FERRY_CALL_WRITE, 1, 0, FERRY_FAULT_ERROR, EIO},
        {FERRY_CALL_ANY, 1, 2, FERRY_FAULT_ERROR, EMFILE},
        {FERRY_CALL_READ, 1, 0, FERRY_FAULT_ERROR, EIO},
    };
    AT_END(bench_clear) test_bench bench = bench_make(faults_make(script, 4));
    char byte;
    check_fails(send_text(&bench, "1"), EIO);
    check_fails(bench.calls->duplicate(bench.calls, bench.in), EMFILE);
    check_eq(bench.calls->recv(bench.calls, bench.out, &byte, 1, 0, NULL), 0);
    check_eq(injected(&bench), 3);
}

/* ---- short calls and ends of file ------------------------------------------------------------ */

PROMISE(faults, short_write_takes_the_first_byte_there_is)
{
    AT_END(bench_clear)
    test_bench bench = bench_make_one((ferry_fault){
        .call = FERRY_CALL_WRITE, .first = 1, .times = UINT64_MAX, .effect = FERRY_FAULT_SHORT});
    const struct iovec pieces[] = {
        {.iov_base = (void *)"x", .iov_len = 0},
        {.iov_base = (void *)"ab", .iov_len = 2},
        {.iov_base = (void *)"cd", .iov_len = 2},
    };
    const struct iovec single[] = {{.iov_base = (void *)"e", .iov_len = 1}, {.iov_len = 0}};
    check_eq(send_pieces(&bench, pieces, 3), 1);
    check_eq(bench.calls->writev(bench.calls, bench.in, pieces + 1, 2), 1);
    check_eq(injected(&bench), 2);
    check_eq(send_pieces(&bench, single, 2), 1);
    check_eq(send_pieces(&bench, single + 1, 1), 0);
    check_eq(bench.calls->writev(bench.calls, bench.in, pieces, 1), 0);
    check_eq(injected(&bench), 2); /* there was nothing to shorten */
    char got[8];
    check_eq(recv(bench.out, got, sizeof got, 0), 3);
    check(memcmp(got, "aae", 3) == 0);
}

PROMISE(faults, short_transfers_and_reads_move_one_byte)
{
    AT_END(bench_clear)
    test_bench bench = bench_make_one((ferry_fault){
        .call = FERRY_CALL_ANY, .first = 1, .times = UINT64_MAX, .effect = FERRY_FAULT_SHORT});
    AT_END(file_remove) test_file file = file_make(100, 1);
    off_t offset = 5;
    char got[8];
    int ends[2];
    check_eq(bench.calls->pipe(bench.calls, ends), 0);
    check_eq(write(ends[1], "abc", 3), 3);
    check_eq(injected(&bench), 0);
    check_eq(send_file(&bench, file.fd, &offset, 10), 1);
    check_eq(offset, 6);
    check_eq(bench.calls->splice(bench.calls, ends[0], NULL, bench.in, NULL, 3, 0), 1);
    check_eq(arrived(&bench), 2);
    check_eq(bench.calls->recv(bench.calls, bench.out, got, sizeof got, 0, NULL), 1);
    check_eq(read_at(&bench, file.fd, 0, got, sizeof got), 1);
    check_eq(injected(&bench), 4);
    close(ends[0]);
    close(ends[1]);
}

PROMISE(faults, source_that_ends_answers_0_and_nothing_moves)
{
    AT_END(bench_clear)
    test_bench bench = bench_make_one((ferry_fault){
        .call = FERRY_CALL_ANY, .first = 1, .times = UINT64_MAX, .effect = FERRY_FAULT_EOF});
    AT_END(file_remove) test_file file = file_make(100, 1);
    off_t offset = 5;
    char got[8];
    check_eq(send_text(&bench, "abc"), 3); /* a write has no source */
    check_eq(injected(&bench), 0);
    check_eq(send_file(&bench, file.fd, &offset, 10), 0);
    check_eq(offset, 5);
    check_eq(bench.calls->splice(bench.calls, file.fd, &offset, bench.in, NULL, 3, 0), 0);
    check_eq(read_at(&bench, file.fd, 0, got, sizeof got), 0);
    check_eq(bench.calls->recv(bench.calls, bench.out, got, sizeof got, 0, NULL), 0);
    check_eq(arrived(&bench), 3);
    check_eq(injected(&bench), 4);
}

/* ---- stalls ---------------------------------------------------------------------------------- */

static const ferry_fault STALL_AT_SECOND_WRITE = {
    .call = FERRY_CALL_WRITE, .first = 2, .effect = FERRY_FAULT_STALL};

PROMISE(faults, stalled_sink_has_no_room_for_good)
{
    AT_END(bench_clear) test_bench bench = bench_make_one(STALL_AT_SECOND_WRITE);
    AT_END(file_remove) test_file file = file_make(100, 1);
    char got[8];
    check_eq(send_text(&bench, "abc"), 3);
    check_eq(send_file(&bench, file.fd, NULL, 1), 1);
    for (unsigned i = 0; i < 10; i++) {
        check_fails(send_text(&bench, "abc"), EAGAIN);
        check_fails(write_text(&bench, "abc"), EAGAIN);
        check_fails(send_file(&bench, file.fd, NULL, 1), EAGAIN);
        check_fails(bench.calls->splice(bench.calls, bench.out, NULL, bench.in, NULL, 1, 0),
                    EAGAIN);
    }
    check_eq(bench.calls->recv(bench.calls, bench.out, got, sizeof got, 0, NULL), 4);
    check_eq(injected(&bench), 40);
}

PROMISE(faults, stall_can_begin_at_any_call_and_overrides_what_follows)
{
    const ferry_fault script[] = {
        {FERRY_CALL_ANY, 2, 0, FERRY_FAULT_STALL, 0},
        {FERRY_CALL_WRITE, 1, UINT64_MAX, FERRY_FAULT_SHORT, 0},
    };
    AT_END(bench_clear) test_bench bench = bench_make(faults_make(script, 2));
    check_eq(send_text(&bench, "abc"), 1);
    AT_END(close_fd) int copy = bench.calls->duplicate(bench.calls, bench.in);
    check(copy >= 0);
    check_eq(injected(&bench), 1);
    check_fails(send_text(&bench, "abc"), EAGAIN);
    check_eq(injected(&bench), 2);
}

static void stall(test_bench *bench)
{
    check_eq(send_text(bench, "abc"), 3);
    check_fails(send_text(bench, "abc"), EAGAIN);
}

PROMISE(faults, poll_waits_in_vain_for_room_in_a_stalled_sink)
{
    enum { WAIT_MS = 20 };
    AT_END(bench_clear) test_bench bench = bench_make_one(STALL_AT_SECOND_WRITE);
    struct pollfd fds[] = {{.fd = bench.in, .events = POLLOUT},
                           {.fd = bench.out, .events = POLLIN}};
    check_eq(bench.calls->poll(bench.calls, fds, 2, -1), 1);
    stall(&bench);
    uint64_t before = injected(&bench);
    int64_t begin = ferry__clock_now();
    check_eq(bench.calls->poll(bench.calls, fds, 1, WAIT_MS), 0);
    check(ferry__clock_now() - begin >= WAIT_MS * FERRY__NS_PER_MS);
    check_eq(bench.calls->poll(bench.calls, fds, 2, -1), 1);
    check(fds[0].events == POLLOUT && fds[0].revents == 0 && fds[1].revents == POLLIN);
    check_eq(injected(&bench), before + 2);
    check_eq(bench.calls->poll(bench.calls, fds + 1, 1, -1), 1);
    check_eq(injected(&bench), before + 2); /* it did not wait for room */
}

PROMISE(faults, poll_of_a_stalled_sink_without_memory_is_enomem)
{
    AT_END(bench_clear) test_bench bench = bench_make_one(STALL_AT_SECOND_WRITE);
    struct pollfd writable = {.fd = bench.in, .events = POLLOUT};
    stall(&bench);
    fail_allocation(1);
    check_fails(bench.calls->poll(bench.calls, &writable, 1, -1), ENOMEM);
    allow_allocations();
}

PROMISE(faults, epoll_waits_in_vain_for_room_in_a_stalled_sink)
{
    AT_END(bench_clear) test_bench bench = bench_make_one(STALL_AT_SECOND_WRITE);
    ferry__calls *calls = bench.calls;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    AT_END(close_fd) int set = calls->epoll_create(calls);
    stall(&bench);
    uint64_t before = injected(&bench);
    check_eq(calls->epoll_ctl(calls, set, EPOLL_CTL_ADD, bench.in, &event), 0);
    check_eq(event.events, EPOLLIN | EPOLLOUT | EPOLLET);
    check_eq(calls->epoll_wait(calls, set, &event, 1, 0), 0);
    check_eq(calls->epoll_ctl(calls, set, EPOLL_CTL_MOD, bench.in, &event), 0);
    check_eq(calls->epoll_wait(calls, set, &event, 1, 0), 0);
    check_eq(injected(&bench), before + 2);
    check_eq(write(bench.out, "x", 1), 1);
    check_eq(calls->epoll_wait(calls, set, &event, 1, -1), 1);
    check_eq(event.events, EPOLLIN);
    check_eq(calls->epoll_wait(calls, set, &event, 1, 0), 0); /* still edge-triggered */
    check_eq(calls->epoll_ctl(calls, set, EPOLL_CTL_DEL, bench.in, NULL), 0);
}

PROMISE(faults, watch_that_is_set_anew_after_an_eagain_made_up_tells_at_once)
{
    AT_END(bench_clear) test_bench bench = bench_failing(FERRY_CALL_WRITE, 1, 3, EAGAIN);
    ferry__calls *calls = bench.calls;
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET};
    AT_END(close_fd) int set = calls->epoll_create(calls);
    int operation = EPOLL_CTL_ADD;
    for (unsigned i = 0; i < 3; i++) {
        check_fails(send_text(&bench, "abc"), EAGAIN);
        check_eq(calls->epoll_ctl(calls, set, operation, bench.in, &event), 0);
        check_eq(calls->epoll_wait(calls, set, &(struct epoll_event){0}, 1, -1), 1);
        operation = EPOLL_CTL_MOD;
    }
    check_eq(send_text(&bench, "abc"), 3);
}

PROMISE(faults, hangup_of_a_stalled_sink_is_seen)
{
    AT_END(bench_clear) test_bench bench = bench_make_one(STALL_AT_SECOND_WRITE);
    struct pollfd writable = {.fd = bench.in, .events = POLLOUT};
    stall(&bench);
    check_eq(shutdown(bench.in, SHUT_RDWR), 0);
    check_eq(bench.calls->poll(bench.calls, &writable, 1, -1), 1);
    check((writable.revents & POLLHUP) != 0);
    check_fails(send_text(&bench, "abc"), EPIPE);
}

PROMISE(faults, end_of_a_stalled_sinks_peer_is_seen)
{
    int ends[2];
    ferry_faults *faults = faults_of(STALL_AT_SECOND_WRITE);
    check_eq(faults->calls.pipe(&faults->calls, ends), 0);
    AT_END(bench_clear)
    test_bench bench = {.faults = faults, .calls = &faults->calls, .in = ends[1], .out = -1};
    struct pollfd writable = {.fd = bench.in, .events = POLLOUT};
    check_eq(write_text(&bench, "abc"), 3);
    check_fails(write_text(&bench, "abc"), EAGAIN);
    close(ends[0]);
    check_eq(bench.calls->poll(bench.calls, &writable, 1, -1), 1);
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
    check_fails(write_text(&bench, "abc"), EPIPE);
}

/* ---- numbers --------------------------------------------------------------------------------- */

enum { COUNTED = 20000 };

static void *duplicate_often(void *arg)
{
    ferry__calls *calls = arg;
    uintptr_t failed = 0;
    for (unsigned i = 0; i < COUNTED; i++) {
        int copy = calls->duplicate(calls, STDERR_FILENO);
        failed += copy < 0;
        if (copy >= 0)
            close(copy);
    }
    return (void *)failed;
}

PROMISE(faults, calls_of_many_threads_are_all_counted_and_faults_happen_so_often)
{
    enum { THREADS = 2, FAILURES = 1000 };
    AT_END(drop_faults)
    ferry_faults *faults =
        faults_of((ferry_fault){FERRY_CALL_OPEN, COUNTED / 2, FAILURES, FERRY_FAULT_ERROR, EMFILE});
    pthread_t threads[THREADS];
    uintptr_t failed = 0;
    start_threads(threads, THREADS, duplicate_often, &faults->calls);
    for (unsigned i = 0; i < THREADS; i++) {
        void *answer;
        check_eq(pthread_join(threads[i], &answer), 0);
        failed += (uintptr_t)answer;
    }
    check_eq(failed, FAILURES);
    check_eq(ferry_faults_get_injected(faults), FAILURES);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_OPEN), THREADS * COUNTED);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_ANY), THREADS * COUNTED);
}

PROMISE(faults, two_objects_have_numbers_of_their_own)
{
    AT_END(bench_clear) test_bench one = bench_failing(FERRY_CALL_WRITE, 2, 1, EIO);
    AT_END(bench_clear) test_bench other = bench_failing(FERRY_CALL_WRITE, 2, 1, EIO);
    check_eq(send_text(&one, "1"), 1);
    check_eq(send_text(&other, "1"), 1);
    check_fails(send_text(&one, "1"), EIO);
    check_fails(send_text(&other, "1"), EIO);
}

/* ---- the object ------------------------------------------------------------------------------ */

PROMISE(faults, script_is_copied)
{
    ferry_fault fault = {
        .call = FERRY_CALL_WRITE, .first = 1, .effect = FERRY_FAULT_ERROR, .error = EIO};
    AT_END(bench_clear) test_bench bench = bench_make(faults_make(&fault, 1));
    fault.error = EPIPE;
    check_fails(send_text(&bench, "1"), EIO);
}

PROMISE(faults, object_lives_until_its_last_reference)
{
    ferry_faults *faults = faults_make(NULL, 0);
    check(ferry_faults_ref(faults) == faults);
    check(ferry_faults_unref(faults) == NULL);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_ANY), 0);
    check(ferry_faults_unref(faults) == NULL);
    check(ferry_faults_ref(NULL) == NULL);
    check(ferry_faults_unref(NULL) == NULL);
}

PROMISE(faults, creation_without_memory_is_enomem)
{
    ferry_faults *faults = NULL;
    fail_allocation(1);
    check_eq(ferry_faults_create(NULL, 0, &faults), -ENOMEM);
    allow_allocations();
    check(faults == NULL);
}

static int create_one(ferry_fault fault)
{
    AT_END(drop_faults) ferry_faults *faults = NULL;
    int error = ferry_faults_create(&fault, 1, &faults);
    check((error == 0) == (faults != NULL));
    return error;
}

PROMISE(faults, bad_scripts_are_einval)
{
    const ferry_fault good = {
        .call = FERRY_CALL_WRITE, .first = 1, .effect = FERRY_FAULT_ERROR, .error = EIO};
    ferry_faults *faults = NULL;
    check_eq(ferry_faults_create(&good, 1, NULL), -EINVAL);
    check_eq(ferry_faults_create(NULL, 1, &faults), -EINVAL);
    ferry_fault bad = good;
    bad.call = (ferry_fault_call)(FERRY_CALL_CONNECT + 1);
    check_eq(create_one(bad), -EINVAL);
    bad = good;
    bad.effect = (ferry_fault_effect)(FERRY_FAULT_STALL + 1);
    check_eq(create_one(bad), -EINVAL);
    bad = good;
    bad.first = 0;
    check_eq(create_one(bad), -EINVAL);
    const ferry_fault second_is_bad[] = {good, bad};
    check_eq(ferry_faults_create(second_is_bad, 2, &faults), -EINVAL);
    check(faults == NULL);
}

PROMISE(faults, error_must_be_an_errno)
{
    ferry_fault fault = {.call = FERRY_CALL_WRITE, .first = 1, .effect = FERRY_FAULT_ERROR};
    const int bad[] = {0, 4096, -4096, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fault.error = bad[i];
        check_eq(create_one(fault), -EINVAL);
    }
    fault.error = -4095;
    check_eq(create_one(fault), 0);
    fault.effect = FERRY_FAULT_SHORT;
    fault.error = 4096; /* nobody looks at it */
    check_eq(create_one(fault), 0);
}

PROMISE(faults, only_what_takes_room_can_be_stalled)
{
    for (unsigned call = 0; call <= FERRY_CALL_CONNECT; call++) {
        const ferry_fault fault = {
            .call = (ferry_fault_call)call, .first = 1, .effect = FERRY_FAULT_STALL};
        bool takes_room = call <= FERRY_CALL_SPLICE; /* any, write, sendfile, splice */
        check_eq(create_one(fault), takes_room ? 0 : -EINVAL);
    }
}

PROMISE(faults, numbers_of_nothing_are_0)
{
    AT_END(drop_faults) ferry_faults *faults = faults_make(NULL, 0);
    check_eq(ferry_faults_get_injected(NULL), 0);
    check_eq(ferry_faults_get_calls(NULL, FERRY_CALL_ANY), 0);
    check_eq(ferry_faults_get_calls(faults, (ferry_fault_call)(FERRY_CALL_CONNECT + 1)), 0);
}
