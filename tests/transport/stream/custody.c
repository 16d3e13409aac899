/* SPDX-License-Identifier: MIT */
/* Invariant custody: every fd and buffer has one owner, and is released once on every path. */
#include "tests/support.h"

#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

/* ---- memory ---------------------------------------------------------------------------------- */

PROMISE_BOTH(custody, copied_memory_is_the_callers_again_at_once)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    char data[] = "first";
    ferry_promise *promise = submit_write(s.stream, data, 5);
    memcpy(data, "XXXXX", 5);
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    check_eq(outcome(stuck).error, 0);
    check_eq(outcome(promise).error, 0);
    stage_close(&s);
    reader_join(peer);
    check(memcmp(peer->kept + STUCK_BYTES, "first", 5) == 0);
}

static void forget_writes(ferry_stream *stream, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        check_eq(ferry_stream_write(stream, "y", 1, NULL, NULL), 0);
}

/* What they are made of is the owner's to let go of: the stream's thread is done with them. */
static void drop_writes(ferry_stream *stream, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ferry_promise_unref(submit_write(stream, "y", 1));
}

static void await_allocations(long most)
{
    while (allocations_outstanding() > most)
        usleep(10 * 1000); /* what hangs fails: every test has a time limit */
}

/* Whether the owner or the awaiting thread let go of a write last, the next is made of it. */
PROMISE_BOTH(custody, writes_that_are_awaited_one_by_one_are_made_of_the_same_memory)
{
    enum { WRITES = 500 };
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    unsigned long made = allocations_made();
    for (unsigned i = 0; i < WRITES; i++)
        check_eq(outcome(submit_write(s.stream, "y", 1)).error, 0);
    check(allocations_made() - made < WRITES / 10); /* some: when it was just changing hands */
    stage_close_got_bytes(&s, 1 + WRITES);
}

static void await_mark(ferry_stream *stream)
{
    check_eq(outcome(submit_mark(stream)).error, 0);
}

/* And all of it only until it ends, which is looked at after every test. */
PROMISE_BOTH(custody, thread_keeps_little_of_the_promises_that_it_drops)
{
    enum { WRITES = 500, LITTLE = 64 };
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    await_mark(s.stream);
    long idle = allocations_outstanding();
    ferry_promise *kept[WRITES];
    for (unsigned i = 0; i < WRITES; i++)
        kept[i] = submit_write(s.stream, "y", 1);
    await_mark(s.stream); /* the owner has let go of them */
    check(allocations_outstanding() > idle + WRITES / 2);
    for (unsigned i = 0; i < WRITES; i++)
        ferry_promise_unref(kept[i]);
    check(allocations_outstanding() <= idle + LITTLE);
    stage_close_got_bytes(&s, WRITES);
}

/* A pile of 1,024, and what lies on its shelf: less than two of them. */
PROMISE_BOTH(custody, owner_keeps_no_more_than_three_piles_however_many_promises_were_dropped)
{
    enum { WRITES = 10000, MOST = 3 * 1024 };
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    long before = allocations_outstanding();
    drop_writes(s.stream, WRITES);
    check(allocations_outstanding() > before + WRITES / 2);
    stage_let_read(&s);
    check_eq(outcome(stuck).error, 0);
    await_mark(s.stream);
    check(allocations_outstanding() <= before + MOST);
    stage_close_got_bytes(&s, STUCK_BYTES + WRITES);
}

/* An owner keeps what it is done with for those who submit, but not for long; and of a dedicated
 * one that has ended nothing is left, though the stream's handle is kept. */
PROMISE_BOTH(custody, memory_of_forgotten_writes_is_freed_while_the_stream_is_idle_and_when_it_ends)
{
    enum { WRITES = 5000 };
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    reader *peer = reader_start(stage_take(&s), false);
    forget_writes(s.stream, 1); /* a stream keeps a record of its batches once it has had one */
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    long idle = allocations_outstanding(), idle_bytes = bytes_outstanding();
    forget_writes(s.stream, WRITES);
    drop_writes(s.stream, WRITES);
    check_eq(outcome(submit_write(s.stream, "z", 1)).error, 0);
    await_allocations(idle);
    check(bytes_outstanding() <= idle_bytes);

    forget_writes(s.stream, WRITES);
    drop_writes(s.stream, WRITES);
    check_eq(outcome(submit_close(s.stream)).error, 0);
    await_allocations(idle);
    s.stream = ferry_stream_unref(s.stream);
    check_eq(reader_end(peer), 4 * WRITES + 3);
}

static void count_release(void *data, void *arg)
{
    free(data);
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static ferry_promise *submit_given(ferry_stream *stream, atomic_uint *released)
{
    const ferry_part parts[] = {ferry_part_give(calloc(1, 1000), 1000, count_release, released),
                                ferry_part_give(malloc(5), 0, count_release, released)};
    return submit_parts(stream, parts, 2, NULL);
}

/* Pins: custody. */
PROMISE_BOTH(custody, given_memory_is_released_once_before_settling_on_every_path)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    atomic_uint sent = 0, called_off = 0;
    check_eq(outcome(submit_given(s.stream, &sent)).error, 0);
    check_eq(atomic_load(&sent), 2);

    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    ferry_promise *behind = submit_given(s.stream, &called_off);
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
    check_eq(outcome(behind).error, -ECANCELED);
    check_eq(atomic_load(&called_off), 2);
}

PROMISE_BOTH(custody, refused_submit_takes_nothing)
{
    AT_END(file_remove) test_file file = file_make(10, 1);
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    atomic_uint released = 0;
    AT_END(free_memory) void *data = malloc(10);
    ferry_file given = ferry_file_fd(file.fd), bad = ferry_file_fd(-1);
    given.flags = FERRY_FD_GIVE;
    const ferry_part parts[] = {ferry_part_give(data, 10, count_release, &released),
                                ferry_part_file(given), ferry_part_file(bad)};
    unsigned fds = count_fds();
    check_eq(ferry_stream_send(s.stream, parts, 3, NULL, NULL), -EINVAL);
    check_eq(atomic_load(&released), 0);
    check_eq(count_fds(), fds);
    check(fcntl(file.fd, F_GETFD) >= 0);
    fail_allocation(1);
    check_eq(ferry_stream_send(s.stream, parts, 2, NULL, NULL), -ENOMEM);
    allow_allocations();
    stage_close(&s);
    check_eq(atomic_load(&released), 0);
    check(fcntl(file.fd, F_GETFD) >= 0);
}

PROMISE_BOTH(custody, kept_promise_does_not_keep_a_large_copy)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    static const char data[100000];
    /* With small copies beside it, so that the request is too large to be kept for the next one. */
    const ferry_part small = ferry_part_copy(data, 1000);
    const ferry_part parts[] = {ferry_part_copy(data, sizeof data), small, small};
    ferry_promise *promise = submit_parts(s.stream, parts, 3, NULL);
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    await_mark(s.stream);
    long with_promise = allocations_outstanding();
    ferry_promise_unref(promise);
    check_eq(with_promise - allocations_outstanding(), 1); /* the request, without its payload */
    stage_close_got_bytes(&s, sizeof data + 2000);
}

PROMISE_BOTH(custody, given_memory_without_a_release_function_goes_to_free)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    const ferry_part part = ferry_part_give(calloc(1, 100), 100, NULL, NULL);
    check_eq(ferry_stream_send(s.stream, &part, 1, NULL, NULL), 0);
    stage_close(&s); /* LeakSanitizer tells */
}

/* ---- file fds -------------------------------------------------------------------------------- */

PROMISE_BOTH(custody, file_fd_may_be_closed_right_after_the_submit)
{
    test_file file = file_make(100000, 9);
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    ferry_promise *promise = submit_file(s.stream, ferry_file_fd(file.fd));
    file_remove(&file);
    stage_let_read(&s);
    check_eq(outcome(stuck).error, 0);
    check_eq(outcome(promise).sent, 100000);
}

PROMISE_BOTH(custody, given_file_fd_is_closed_when_settled_and_borrowed_one_is_not)
{
    AT_END(file_remove) test_file file = file_make(1000, 9);
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_file given = ferry_file_fd(fcntl(file.fd, F_DUPFD_CLOEXEC, 0));
    ferry_file borrowed = ferry_file_fd(file.fd);
    given.flags = FERRY_FD_GIVE;
    given.offset = 0;
    borrowed.flags = FERRY_FD_BORROW;
    unsigned fds = count_fds();
    check_eq(outcome(submit_file(s.stream, given)).sent, 1000);
    check_eq(fcntl(given.fd, F_GETFD), -1);
    check_eq(outcome(submit_file(s.stream, borrowed)).sent, 1000);
    check(fcntl(file.fd, F_GETFD) >= 0);
    check_eq(count_fds(), fds - 1);

    /* Called off before it began: the same. */
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    given.fd = fcntl(file.fd, F_DUPFD_CLOEXEC, 0);
    ferry_promise *behind = submit_file(s.stream, given);
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
    check_eq(outcome(behind).error, -ECANCELED);
    check_eq(fcntl(given.fd, F_GETFD), -1);
}

/* A stream of fd 0 sends a file; another one sends the file that is fd 0;
 * ferry's own may be fd 0. */
PROMISE_BOTH(custody, fd_0_is_one_like_any_other)
{
    enum { SIZE = 1000 };
    AT_END(close_fd) int saved = fcntl(0, F_DUPFD_CLOEXEC, 3);
    AT_END(file_remove) test_file file = file_make(SIZE, 3);
    AT_END(close_theirs) pair first = unix_pair(SOCK_STREAM), second = unix_pair(SOCK_STREAM);
    ferry_service *service = service_start(placement);
    check_eq(dup2(first.ours, 0), 0);
    close(first.ours);
    ferry_stream *stream = stream_adopt(service, 0);
    check_eq(outcome(submit_file(stream, ferry_file_at(file.path))).sent, SIZE);
    check_eq(close_stream(stream).error, 0);
    check_eq(open(file.path, O_RDONLY | O_CLOEXEC), 0); /* it was closed */
    stream = stream_adopt(service, second.ours);
    ferry_file given = ferry_file_fd(0);
    given.flags = FERRY_FD_GIVE;
    check_eq(outcome(submit_file(stream, given)).sent, SIZE);
    check_eq(fcntl(0, F_GETFD), -1);
    check_eq(close_stream(stream).error, 0);
    ferry_service_destroy(service);
    stage s = stage_open(placement, unix_pair(SOCK_STREAM)); /* whose own begin there now */
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    stage_close(&s);
    check_eq(dup2(saved, 0), 0);
}

/* Pins: custody. */
PROMISE_BOTH(custody, every_fd_ferry_makes_is_close_on_exec)
{
    AT_END(file_remove) test_file file = file_make(8 << 20, 9);
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check(ferry_inbox_get_fd() >= 0);
    ferry_promise *by_path = submit_file(s.stream, ferry_file_at(file.path));
    ferry_promise *by_fd = submit_file(s.stream, ferry_file_fd(file.fd));
    wait_readable(s.theirs);
    wait_until_asleep();
    DIR *fds = opendir("/proc/self/fd");
    unsigned seen = 0;
    for (const struct dirent *entry; (entry = readdir(fds)) != NULL;) {
        int fd = atoi(entry->d_name);
        if (fd <= 2 || fd == dirfd(fds))
            continue;
        char target[256] = "";
        check(readlinkat(dirfd(fds), entry->d_name, target, sizeof target - 1) > 0);
        /* Criterion's own pipes and sockets are its own affair. */
        if (strstr(target, "eventfd") != NULL || strstr(target, "eventpoll") != NULL ||
            strstr(target, file.path) != NULL) {
            check((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
            seen++;
        }
    }
    closedir(fds);
    check(seen >= 5); /* the test's own file, its duplicate, what was opened, and for waiting */
    ferry_stream_abort(s.stream);
    check_eq(outcome(by_path).error, -ECANCELED);
    check_eq(outcome(by_fd).error, -ECANCELED);
}

/* ---- the stream's fd ------------------------------------------------------------------------- */

PROMISE_BOTH(custody, refused_adoption_leaves_the_fd_as_it_was)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(close_theirs) pair both = unix_pair(SOCK_DGRAM);
    int flags = fcntl(both.ours, F_GETFL);
    ferry_stream *stream = NULL;
    check_eq(ferry_stream_adopt(service, both.ours, NULL, &stream), -ESOCKTNOSUPPORT);
    check(stream == NULL);
    check_eq(fcntl(both.ours, F_GETFL), flags);
    close(both.ours);
}

PROMISE_BOTH(custody, adoption_that_memory_does_not_suffice_for_leaves_the_socket_as_it_was)
{
    enum { UNSENT = 200000 };
    static const ferry_stream_options options = {.no_delay = true, .notsent_lowat_bytes = UNSENT};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(close_theirs) pair both = tcp_pair();
    ferry_stream *stream;
    unsigned long failures = 0;
    int error;
    do {
        fail_allocation(++failures);
        error = ferry_stream_adopt(service, both.ours, &options, &stream);
        allow_allocations();
        int no_delay = -1, unsent = -1;
        socklen_t size = sizeof no_delay;
        check_eq(getsockopt(both.ours, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, &size), 0);
        check_eq(unsent, error == 0 ? UNSENT : 0);
        check_eq(getsockopt(both.ours, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size), 0);
        check_eq(no_delay != 0, error == 0);
        check_eq(fcntl(both.ours, F_GETFL) & O_NONBLOCK, 0);
    } while (error == -ENOMEM);
    check_eq(error, 0);
    check(failures > 2);
    check_eq(close_stream(stream).error, 0);
}

/* As stdout and stderr are under 2>&1. */
PROMISE_BOTH(custody, pipe_that_others_share_keeps_its_flags_and_can_always_be_got_out)
{
    pair both = pipe_pair();
    int other = fcntl(both.ours, F_DUPFD_CLOEXEC, 0);
    AT_END(close_fd) int third = fcntl(both.ours, F_DUPFD_CLOEXEC, 0);
    AT_END(stage_end) stage s = stage_open(placement, both);
    AT_END(drop_stream) ferry_stream *second = stream_adopt(s.service, other);
    check_eq(fcntl(third, F_GETFL) & O_NONBLOCK, 0);
    check_eq(stage_close_stream(&s).error, 0);
    check_eq(fcntl(third, F_GETFL) & O_NONBLOCK, 0);
    ferry_promise *stuck = submit_stuck(second, s.theirs);
    ferry_stream_abort(second);
    check_eq(outcome(stuck).error, -ECANCELED);
}

PROMISE_BOTH(custody, dropping_the_last_reference_closes_after_what_is_queued)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check_eq(ferry_stream_write(s.stream, "queued", 6, NULL, NULL), 0);
    ferry_stream_ref(s.stream);
    check(ferry_stream_unref(s.stream) == NULL);
    check_eq(ferry_stream_write(s.stream, " and more", 9, NULL, NULL), 0);
    s.stream = ferry_stream_unref(s.stream);
    check(s.stream == NULL);
    check_eq(reader_end(reader_start(stage_take(&s), false)), 15);
}
