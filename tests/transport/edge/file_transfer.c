/* SPDX-License-Identifier: MIT */
/* file transfer. */
#include "tests/support.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Checks that a submit of such a file is refused so. */
static void check_refused(ferry_stream *stream, ferry_file file, int error)
{
    ferry_promise *promise = NULL;
    check_eq(ferry_stream_sendfile(stream, &file, NULL, &promise), error);
    check(promise == NULL);
}

PROMISE_BOTH(file, by_path_by_fd_and_never_both_or_neither)
{
    AT_END(file_remove) test_file file = file_make(5000, 1);
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    check_eq(outcome(submit_file(s.stream, ferry_file_at(file.path))).sent, 5000);
    check_eq(outcome(submit_file(s.stream, ferry_file_fd(file.fd))).sent, 5000);
    ferry_file both = ferry_file_at(file.path), neither = ferry_file_at(NULL);
    both.fd = file.fd;
    check_refused(s.stream, both, -EINVAL);
    check_refused(s.stream, neither, -EINVAL);
    stage_close_got(&s, 10000,
                    digest_content(digest_content(DIGEST_BEGIN, 1, 0, 5000), 1, 0, 5000));
}

PROMISE_BOTH(file, current_position_is_used_and_advanced_explicit_offset_is_not)
{
    AT_END(file_remove) test_file file = file_make(5000, 1);
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    ferry_file range = ferry_file_fd(file.fd);
    lseek(file.fd, 1000, SEEK_SET);
    range.length = 500;
    check_eq(outcome(submit_file(s.stream, range)).sent, 500);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 1500);
    range.offset = 10;
    check_eq(outcome(submit_file(s.stream, range)).sent, 500);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 1500);
    range.offset = FERRY_CURRENT;
    range.length = FERRY_TO_END;
    check_eq(outcome(submit_file(s.stream, range)).sent, 3500);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 5000);
    uint64_t expected = digest_content(DIGEST_BEGIN, 1, 1000, 500);
    expected = digest_content(expected, 1, 10, 500);
    stage_close_got(&s, 4500, digest_content(expected, 1, 1500, 3500));
}

PROMISE_BOTH(file, parts_that_use_one_position_continue_each_other)
{
    AT_END(file_remove) test_file file = file_make(5000, 1);
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    ferry_file range = ferry_file_fd(file.fd);
    range.length = 2000;
    const ferry_part parts[] = {ferry_part_file(range), ferry_part_file(range)};
    check_eq(outcome(submit_parts(s.stream, parts, 2, NULL)).sent, 4000);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 4000);
    stage_close_got_content(&s, 1, 4000);
}

PROMISE_BOTH(file, failure_leaves_the_position_at_what_was_sent)
{
    AT_END(file_remove) test_file file = file_make(8 << 20, 1);
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_file range = ferry_file_fd(file.fd);
    range.length = 4 << 20;
    const ferry_part parts[] = {ferry_part_file(range), ferry_part_file(range)};
    ferry_promise *promise = submit_parts(s.stream, parts, 2, NULL);
    wait_until_stuck(s.theirs);
    ferry_stream_abort(s.stream);
    ferry_result cut = outcome(promise);
    check_eq(cut.error, -ECANCELED);
    check_eq(lseek(file.fd, 0, SEEK_CUR), cut.sent);
}

PROMISE_BOTH(file, success_tells_the_total_and_the_method)
{
    AT_END(file_remove) test_file file = file_make(100000, 1);
    stage s = stage_open_to_reader(placement, tcp_pair());
    check_outcome(submit_file(s.stream, ferry_file_at(file.path)), .error = 0,
                  .phase = FERRY_PHASE_DONE, .method = FERRY_METHOD_SENDFILE, .sent = 100000,
                  .remaining = 0);
    stage_close(&s);
}

/* ---- a slow reader, on every path ------------------------------------------------------------ */

static void send_to_slow_reader(ferry_placement placement, pair both, ferry_file range,
                                ferry_method method, uint64_t seed)
{
    enum { SIZE = 8 << 20 };
    stage s = stage_open(placement, both);
    stage_let_read_slowly(&s, 100000, 500);
    check_outcome(submit_file(s.stream, range), .error = 0, .sent = SIZE, .method = method);
    stage_close_got_content(&s, seed, SIZE);
}

PROMISE_BOTH(file, slow_reader_gets_every_byte_once_by_sendfile)
{
    AT_END(file_remove) test_file file = file_make(8 << 20, 21);
    send_to_slow_reader(placement, tcp_pair(), ferry_file_at(file.path), FERRY_METHOD_SENDFILE, 21);
    send_to_slow_reader(placement, unix_pair(SOCK_STREAM), ferry_file_at(file.path),
                        FERRY_METHOD_SENDFILE, 21);
}

/* A pipe as the source: sendfile refuses it, and it runs dry in between. */
static void *feed_pipe(void *arg)
{
    AT_END(close_fd) int fd = *(int *)arg;
    static unsigned char data[8 << 20];
    fill_content(data, sizeof data, 22, 0);
    for (size_t done = 0; done < sizeof data;) {
        ssize_t count =
            write(fd, data + done, sizeof data - done < 50000 ? sizeof data - done : 50000);
        check(count > 0);
        done += (size_t)count;
    }
    return NULL;
}

PROMISE_BOTH(file, slow_reader_gets_every_byte_once_by_splice_from_a_pipe)
{
    pair both = pipe_pair();
    AT_END(join_thread) pthread_t feeder = start_thread(feed_pipe, &both.ours);
    ferry_file source = ferry_file_fd(both.theirs);
    source.flags = FERRY_FD_GIVE;
    send_to_slow_reader(placement, unix_pair(SOCK_STREAM), source, FERRY_METHOD_SPLICE, 22);
}

PROMISE_BOTH(file, sink_that_refuses_sendfile_gets_a_copy_at_the_right_offset)
{
    AT_END(file_remove) test_file file = file_make(300000, 23);
    AT_END(file_remove) test_file sink = file_make(0, 0);
    const pair both = {open(sink.path, O_WRONLY | O_APPEND | O_CLOEXEC), duplicate(sink.fd)};
    stage s = stage_open(placement, both);
    ferry_file range = ferry_file_at(file.path);
    range.offset = 12345;
    range.length = 200001;
    check_outcome(submit_file(s.stream, range), .error = 0, .sent = 200001,
                  .method = FERRY_METHOD_COPY);
    stage_close_got(&s, 200001, digest_content(DIGEST_BEGIN, 23, 12345, 200001));
}

PROMISE_BOTH(file, pseudo_file_that_claims_to_be_empty_is_sent_to_its_end)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    ferry_result result = outcome(submit_file(s.stream, ferry_file_at("/proc/self/status")));
    check_eq(result.error, 0);
    check_eq(result.method, FERRY_METHOD_COPY);
    check(result.sent > 100 && result.remaining == 0);
    check_eq(stage_close_stream(&s).error, 0);
    reader_join(peer);
    check_eq(peer->bytes, result.sent);
    check(memcmp(peer->kept, "Name:", 5) == 0);
}

PROMISE_BOTH(file, pseudo_files_position_is_continued_by_what_reads_it_next)
{
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    AT_END(close_fd) int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    const ferry_part parts[] = {ferry_part_file(ferry_file_fd(fd)),
                                ferry_part_file(ferry_file_fd(fd))};
    ferry_result result = outcome(submit_parts(s.stream, parts, 2, NULL));
    check_eq(result.error, 0);
    check_eq(lseek(fd, 0, SEEK_CUR), result.sent); /* once, not twice */
    stage_close(&s);
}

/* A pipe that is fed when it is asked to be, and its reading end as a source. */
typedef struct feed {
    int in;
    ferry_file source;
} feed;

static feed feed_make(void)
{
    pair both = pipe_pair();
    feed made = {.in = both.ours, .source = ferry_file_fd(both.theirs)};
    made.source.flags = FERRY_FD_BORROW;
    return made;
}

static void feed_end(feed *fed, const char *data)
{
    check_eq(write(fed->in, data, strlen(data)), strlen(data));
    close(fed->in);
    fed->in = -1;
}

static void feed_close(const feed *fed)
{
    close_fd(&fed->in);
    close(fed->source.fd);
}

PROMISE_BOTH(file, sources_that_run_dry_one_after_another_are_each_waited_for)
{
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    AT_END(feed_close) feed one = feed_make(), two = feed_make();
    const ferry_part parts[] = {ferry_part_file(one.source), ferry_part_file(two.source)};
    ferry_promise *promise = submit_parts(s.stream, parts, 2, NULL);
    wait_until_asleep();
    feed_end(&one, "one ");
    wait_until_asleep();
    feed_end(&two, "two");
    check_outcome(promise, .error = 0, .sent = 7);
    stage_close_got_text(&s, "one two");
}

PROMISE_BOTH(file, two_streams_may_wait_for_one_borrowed_pipe)
{
    AT_END(feed_close) feed shared = feed_make();
    AT_END(destroy_service) ferry_service *service = service_of_one_owner(placement);
    AT_END(stage_close) stage first = stage_in(service, unix_pair(SOCK_STREAM));
    AT_END(stage_close) stage second = stage_in(service, unix_pair(SOCK_STREAM));
    ferry_promise *of_first = submit_file(first.stream, shared.source);
    ferry_promise *of_second = submit_file(second.stream, shared.source);
    wait_until_asleep();
    feed_end(&shared, "");
    check_eq(outcome(of_first).error, 0);
    check_eq(outcome(of_second).error, 0);
}

PROMISE_BOTH(file, reader_that_comes_too_late_to_a_shared_pipe_can_be_got_out)
{
    enum { READERS = 4, ROUNDS = 100 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        ferry_service *service = service_start(placement);
        AT_END(feed_close) feed shared = feed_make();
        stage readers[READERS];
        for (unsigned i = 0; i < READERS; i++) {
            readers[i] = stage_in(service, unix_pair(SOCK_STREAM));
            check_eq(ferry_stream_sendfile(readers[i].stream, &shared.source, NULL, NULL), 0);
        }
        wait_until_asleep();
        check_eq(write(shared.in, "x", 1), 1); /* all see it, one gets it */
        ferry_service_destroy(service);
        for (unsigned i = 0; i < READERS; i++)
            stage_end(&readers[i]);
    }
}

PROMISE_BOTH(file, what_was_read_from_a_pipe_and_not_sent_counts_as_remaining)
{
    AT_END(feed_close) feed fed = feed_make();
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    static const char data[60000];
    check_eq(write(fed.in, data, sizeof data), sizeof data);
    ferry_promise *promise = submit_file(s.stream, fed.source);
    read_away(s.theirs, STUCK_BYTES);
    check_eq(outcome(stuck).error, 0);
    read_away(s.theirs, 1); /* the pipe's bytes are under way now */
    ferry_stream_abort(s.stream);
    ferry_result cut = outcome(promise);
    if (cut.error != 0) /* a socket may have taken all of it at once */
        check_eq(cut.error, -ECANCELED);
    int left_in_pipe;
    check_eq(ioctl(fed.source.fd, FIONREAD, &left_in_pipe), 0);
    check_eq(cut.sent + cut.remaining + (unsigned)left_in_pipe, sizeof data);
}

PROMISE_BOTH(file, parts_may_share_an_fd_that_one_of_them_was_given)
{
    AT_END(file_remove) test_file file = file_make(5000, 1);
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    ferry_file borrowed = ferry_file_fd(fcntl(file.fd, F_DUPFD_CLOEXEC, 0)), given = borrowed;
    borrowed.flags = FERRY_FD_BORROW;
    given.flags = FERRY_FD_GIVE;
    borrowed.length = given.length = 2000;
    const ferry_part parts[] = {ferry_part_file(borrowed), ferry_part_file(given)};
    check_eq(outcome(submit_parts(s.stream, parts, 2, NULL)).sent, 4000);
    check_eq(fcntl(given.fd, F_GETFD), -1);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 4000);
    stage_close(&s);
}

/* Opened ahead of its turn, so as to leave with the write before it: in vain, and then again. */
PROMISE_BOTH(file, file_that_was_missing_ahead_of_its_turn_is_looked_for_again)
{
    char directory[] = "/tmp/ferry-late-XXXXXX", path[64];
    check(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/file", directory);
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    ferry_promise *late = submit_file(s.stream, ferry_file_at(path));
    AT_END(file_remove) test_file file = file_make(1000, 4);
    check_eq(rename(file.path, path), 0);
    stage_let_read(&s);
    check_eq(outcome(stuck).error, 0);
    check_eq(outcome(late).sent, 1000);
    stage_close(&s);
    unlink(path);
    rmdir(directory);
}

static void make_file(ferry_promise *, const ferry_result *, void *arg)
{
    AT_END(close_fd) int fd = open(arg, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    check_eq(write(fd, "made late", 9), 9);
}

PROMISE_BOTH(file, file_that_an_earlier_requests_callback_makes_is_found)
{
    char directory[] = "/tmp/ferry-late-XXXXXX", path[64];
    check(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/file", directory);
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    const ferry_request_options options = calling_on_owner(make_file, path);
    check_eq(ferry_stream_write(s.stream, "head ", 5, &options, NULL), 0);
    check_eq(outcome(submit_file(s.stream, ferry_file_at(path))).error, 0);
    stage_close_got_text(&s, "head made late");
    unlink(path);
    rmdir(directory);
}

PROMISE_BOTH(file, fifo_by_path_waits_for_its_writer_and_delays_nobody)
{
    char path[] = "/tmp/ferry-fifo-XXXXXX";
    check(mkdtemp(path) != NULL);
    char fifo[64];
    snprintf(fifo, sizeof fifo, "%s/fifo", path);
    check_eq(mkfifo(fifo, 0600), 0);
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    ferry_promise *promise = submit_file(s.stream, ferry_file_at(fifo));
    stage other = stage_in(s.service, unix_pair(SOCK_STREAM));
    check_eq(outcome(submit_write(other.stream, "quick", 5)).error, 0);
    check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
    int writer = open(fifo, O_WRONLY | O_CLOEXEC);
    check_eq(write(writer, "late", 4), 4);
    close(writer);
    check_eq(outcome(promise).sent, 4);
    stage_close(&other);
    stage_close_got_text(&s, "late");
    unlink(fifo);
    rmdir(path);
}

/* ---- ranges that fail ------------------------------------------------------------------------ */

static void check_failure(ferry_stream *stream, ferry_file range, int error, ferry_phase phase,
                          uint64_t remaining)
{
    check_outcome(submit_file(stream, range), .error = error, .phase = phase, .sent = 0,
                  .remaining = remaining);
}

PROMISE_BOTH(file, range_beyond_the_end_is_enodata_before_its_first_byte)
{
    AT_END(file_remove) test_file file = file_make(1000, 1);
    stage s = stage_open_to_reader(placement, tcp_pair());
    ferry_file range = ferry_file_at(file.path);
    range.length = 1001;
    check_failure(s.stream, range, -ENODATA, FERRY_PHASE_SOURCE, 1001);
    range.offset = 990;
    range.length = 11;
    check_failure(s.stream, range, -ENODATA, FERRY_PHASE_SOURCE, 11);
    range.offset = 1001;
    range.length = FERRY_TO_END;
    check_failure(s.stream, range, -ENODATA, FERRY_PHASE_SOURCE, 0);
    range.offset = 1000;
    check_eq(outcome(submit_file(s.stream, range)).error, 0); /* just at the end: empty */
    range.offset = INT64_MAX - 5;
    range.length = 5;
    check_failure(s.stream, range, -ENODATA, FERRY_PHASE_SOURCE, 5);
    check_eq(outcome(submit_write(s.stream, "healthy", 7)).error, 0);
    stage_close_got_text(&s, "healthy");
}

PROMISE_BOTH(file, empty_file_shorter_than_asked_is_enodata_and_does_not_spin)
{
    AT_END(file_remove) test_file file = file_make(0, 1);
    stage s = stage_open_to_reader(placement, tcp_pair());
    ferry_file range = ferry_file_at(file.path);
    range.length = 100;
    check_failure(s.stream, range, -ENODATA, FERRY_PHASE_SOURCE, 100);
    stage_close_got_text(&s, "");
}

PROMISE_BOTH(file, missing_file_fails_its_promise_in_open_and_leaves_the_stream_healthy)
{
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    check_failure(s.stream, ferry_file_at("/nowhere/at/all"), -ENOENT, FERRY_PHASE_OPEN, 0);
    check_eq(outcome(submit_write(s.stream, "healthy", 7)).error, 0);
    stage_close_got_text(&s, "healthy");
}

PROMISE_BOTH(file, path_that_leads_outside_its_directory_is_exdev_where_that_was_asked)
{
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    int directory = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    ferry_file inside = ferry_file_at("passwd"), outside = ferry_file_at("../etc/passwd");
    inside.dirfd = outside.dirfd = directory;
    inside.flags = outside.flags = FERRY_FILE_BENEATH;
    ferry_promise *good = submit_file(s.stream, inside);
    ferry_promise *bad = submit_file(s.stream, outside);
    close(directory); /* ferry has its own */
    check_eq(outcome(good).error, 0);
    check_outcome(bad, .error = -EXDEV, .phase = FERRY_PHASE_OPEN);
    stage_close(&s);
}

/* ---- many at once ---------------------------------------------------------------------------- */

PROMISE_BOTH(file, one_fd_with_explicit_offsets_serves_many_streams_at_once)
{
    enum { STREAMS = 4, SIZE = 3 << 20 };
    AT_END(file_remove) test_file file = file_make(SIZE, 31);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    stage stages[STREAMS];
    ferry_file range = ferry_file_fd(file.fd);
    range.offset = 0;
    range.flags = FERRY_FD_BORROW;
    for (unsigned i = 0; i < STREAMS; i++) {
        stages[i] = stage_in(service, any_pair(i % 2 == 0));
        stage_let_read(&stages[i]);
        for (unsigned n = 0; n < 3; n++)
            check_eq(ferry_stream_sendfile(stages[i].stream, &range, NULL, NULL), 0);
    }
    uint64_t expected = DIGEST_BEGIN;
    for (unsigned n = 0; n < 3; n++)
        expected = digest_content(expected, 31, 0, SIZE);
    for (unsigned i = 0; i < STREAMS; i++)
        stage_close_got(&stages[i], 3 * SIZE, expected);
}

PROMISE_BOTH(file, file_file_eof_close_posted_at_once_arrive_in_that_order)
{
    AT_END(file_remove) test_file one = file_make(70000, 1), two = file_make(90000, 2);
    stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
    ferry_file first = ferry_file_at(one.path), second = ferry_file_at(two.path);
    check_eq(ferry_stream_sendfile(s.stream, &first, NULL, NULL), 0);
    check_eq(ferry_stream_sendfile(s.stream, &second, NULL, NULL), 0);
    check_eq(ferry_stream_write(s.stream, "EOF", 3, NULL, NULL), 0);
    uint64_t expected = digest_content(DIGEST_BEGIN, 1, 0, 70000);
    stage_close_got(&s, 160003, digest(digest_content(expected, 2, 0, 90000), "EOF", 3));
}

PROMISE_BOTH(file, thirty_two_transfers_four_at_a_time_over_unix_sockets)
{
    enum { TRANSFERS = 32, AT_ONCE = 4, SIZE = 2 << 20 };
    AT_END(file_remove) test_file file = file_make(SIZE, 41);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    stage stages[AT_ONCE];
    for (unsigned i = 0; i < TRANSFERS + AT_ONCE; i++) {
        stage *slot = &stages[i % AT_ONCE];
        if (i >= AT_ONCE) /* the one before in this slot */
            stage_close_got_content(slot, 41, SIZE);
        if (i < TRANSFERS) {
            *slot = stage_in(service, unix_pair(SOCK_STREAM));
            stage_let_read(slot);
            ferry_file range = ferry_file_at(file.path);
            check_eq(ferry_stream_sendfile(slot->stream, &range, NULL, NULL), 0);
        }
    }
}

PROMISE_BOTH(file, empty_file_and_zero_length_complete_in_their_turn_with_errors_reported)
{
    AT_END(file_remove) test_file empty = file_make(0, 1), full = file_make(100, 1);
    stage s = stage_open_to_reader(placement, tcp_pair());
    ferry_file nothing = ferry_file_at(full.path), missing = ferry_file_at("/nowhere/at/all");
    nothing.length = missing.length = 0;
    ferry_promise *before = submit_write(s.stream, "a", 1);
    ferry_promise *of_empty = submit_file(s.stream, ferry_file_at(empty.path));
    ferry_promise *of_zero = submit_file(s.stream, nothing);
    ferry_promise *of_missing = submit_file(s.stream, missing);
    ferry_promise *after = submit_write(s.stream, "b", 1);
    check_eq(outcome(before).sequence, 0);
    check_outcome(of_empty, .error = 0, .sent = 0, .sequence = 1);
    check_outcome(of_zero, .error = 0, .sent = 0, .sequence = 2);
    check_eq(outcome(of_missing).error, -ENOENT);
    check_outcome(after, .error = 0, .sequence = 4, .stream_offset = 1);
    stage_close_got_text(&s, "ab");
}

/* A sparse file, so that more than one call's 0x7ffff000 bytes cost no disk. The peer counts. */
PROMISE_BOTH(file, more_than_two_gib_in_one_request)
{
    const int64_t size = (INT64_C(2) << 30) + 12345;
    AT_END(close_fd) int fd = memfd_create("sparse", MFD_CLOEXEC);
    check_eq(ftruncate(fd, size), 0);
    check_eq(pwrite(fd, "end", 3, size - 3), 3);
    const ferry_service_options options = {.placement = placement, .chunk_bytes = 1u << 30};
    AT_END(destroy_service) ferry_service *service = service_start_with(options);
    AT_END(stage_close) stage s = stage_in(service, tcp_pair());
    ferry_file range = ferry_file_fd(fd);
    range.offset = 0;
    ferry_promise *promise = submit_file(s.stream, range);
    int64_t bytes = 0;
    char tail[3] = "";
    for (;;) {
        static char data[1 << 20];
        ssize_t count = recv(s.theirs, data, sizeof data, 0);
        check(count > 0);
        bytes += count;
        if (bytes == size) {
            check(count >= 3);
            memcpy(tail, data + count - 3, 3);
            break;
        }
    }
    check_eq(outcome(promise).sent, size);
    check(memcmp(tail, "end", 3) == 0);
}
