/* SPDX-License-Identifier: MIT */
/* file transfer. */
#include "tests/support.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

typedef struct rig {
    ferry_service *service;
    ferry_stream *stream;
    reader *peer;
} rig;

static rig rig_up(ferry_placement placement, pair both, bool keep)
{
    rig made = {.service = service_start(placement), .peer = reader_start(both.theirs, keep)};
    made.stream = stream_adopt(made.service, both.ours);
    return made;
}

/* Closes the stream and gives what the peer read. */
static reader *rig_finish(rig *rigged)
{
    check_eq(close_stream(rigged->stream).error, 0);
    reader_join(rigged->peer);
    ferry_service_destroy(rigged->service);
    return rigged->peer;
}

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
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), false);
    check_eq(outcome(submit_file(rigged.stream, ferry_file_at(file.path))).sent, 5000);
    check_eq(outcome(submit_file(rigged.stream, ferry_file_fd(file.fd))).sent, 5000);
    ferry_file both = ferry_file_at(file.path), neither = ferry_file_at(NULL);
    both.fd = file.fd;
    check_refused(rigged.stream, both, -EINVAL);
    check_refused(rigged.stream, neither, -EINVAL);
    AT_END(free_reader) reader *peer = rig_finish(&rigged);
    check_eq(peer->digest, digest_content(digest_content(DIGEST_BEGIN, 1, 0, 5000), 1, 0, 5000));
}

PROMISE_BOTH(file, current_position_is_used_and_advanced_explicit_offset_is_not)
{
    AT_END(file_remove) test_file file = file_make(5000, 1);
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), false);
    ferry_file range = ferry_file_fd(file.fd);
    lseek(file.fd, 1000, SEEK_SET);
    range.length = 500;
    check_eq(outcome(submit_file(rigged.stream, range)).sent, 500);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 1500);
    range.offset = 10;
    check_eq(outcome(submit_file(rigged.stream, range)).sent, 500);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 1500);
    range.offset = FERRY_CURRENT;
    range.length = FERRY_TO_END;
    check_eq(outcome(submit_file(rigged.stream, range)).sent, 3500);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 5000);
    AT_END(free_reader) reader *peer = rig_finish(&rigged);
    uint64_t expected = digest_content(DIGEST_BEGIN, 1, 1000, 500);
    expected = digest_content(expected, 1, 10, 500);
    expected = digest_content(expected, 1, 1500, 3500);
    check_eq(peer->digest, expected);
}

PROMISE_BOTH(file, parts_that_use_one_position_continue_each_other)
{
    AT_END(file_remove) test_file file = file_make(5000, 1);
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), false);
    ferry_file range = ferry_file_fd(file.fd);
    range.length = 2000;
    const ferry_part parts[] = {ferry_part_file(range), ferry_part_file(range)};
    ferry_promise *promise = submit_parts(rigged.stream, parts, 2, NULL);
    check_eq(outcome(promise).sent, 4000);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 4000);
    AT_END(free_reader) reader *peer = rig_finish(&rigged);
    check_eq(peer->digest, digest_content(DIGEST_BEGIN, 1, 0, 4000));
}

PROMISE_BOTH(file, failure_leaves_the_position_at_what_was_sent)
{
    AT_END(file_remove) test_file file = file_make(8 << 20, 1);
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_file range = ferry_file_fd(file.fd);
    range.length = 4 << 20;
    const ferry_part parts[] = {ferry_part_file(range), ferry_part_file(range)};
    ferry_promise *promise = submit_parts(s.stream, parts, 2, NULL);
    wait_readable(s.theirs);
    wait_until_asleep();
    ferry_stream_abort(s.stream);
    ferry_result cut = outcome(promise);
    check_eq(cut.error, -ECANCELED);
    check_eq(lseek(file.fd, 0, SEEK_CUR), cut.sent);
}

PROMISE_BOTH(file, success_tells_the_total_and_the_method)
{
    AT_END(file_remove) test_file file = file_make(100000, 1);
    rig rigged = rig_up(placement, tcp_pair(), false);
    check_outcome(submit_file(rigged.stream, ferry_file_at(file.path)), .error = 0,
                  .phase = FERRY_PHASE_DONE, .method = FERRY_METHOD_SENDFILE, .sent = 100000,
                  .remaining = 0);
    reader_free(rig_finish(&rigged));
}

/* ---- a slow reader, on every path ------------------------------------------------------------ */

static void send_to_slow_reader(ferry_placement placement, pair both, ferry_file range,
                                ferry_method method, uint64_t seed)
{
    enum { SIZE = 8 << 20 };
    stage s = stage_open(placement, both);
    reader *peer = reader_start_slow(stage_take(&s), 100000, 500);
    check_outcome(submit_file(s.stream, range), .error = 0, .sent = SIZE, .method = method);
    stage_close(&s);
    reader_check_content(peer, seed, SIZE);
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
    int fds[2];
    check_eq(pipe2(fds, O_CLOEXEC), 0);
    AT_END(join_thread) pthread_t feeder = start_thread(feed_pipe, &fds[1]);
    ferry_file source = ferry_file_fd(fds[0]);
    source.flags = FERRY_FD_GIVE;
    send_to_slow_reader(placement, unix_pair(SOCK_STREAM), source, FERRY_METHOD_SPLICE, 22);
}

PROMISE_BOTH(file, sink_that_refuses_sendfile_gets_a_copy_at_the_right_offset)
{
    AT_END(file_remove) test_file file = file_make(300000, 23);
    AT_END(file_remove) test_file sink = file_make(0, 0);
    ferry_service *service = service_start(placement);
    ferry_stream *stream = stream_adopt(service, open(sink.path, O_WRONLY | O_APPEND | O_CLOEXEC));
    ferry_file range = ferry_file_at(file.path);
    range.offset = 12345;
    range.length = 200001;
    check_outcome(submit_file(stream, range), .error = 0, .sent = 200001,
                  .method = FERRY_METHOD_COPY);
    check_eq(close_stream(stream).error, 0);
    ferry_service_destroy(service);
    reader *peer = reader_start(fcntl(sink.fd, F_DUPFD_CLOEXEC, 0), false);
    reader_check(peer, 200001, digest_content(DIGEST_BEGIN, 23, 12345, 200001));
}

PROMISE_BOTH(file, pseudo_file_that_claims_to_be_empty_is_sent_to_its_end)
{
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), true);
    ferry_result result = outcome(submit_file(rigged.stream, ferry_file_at("/proc/self/status")));
    check_eq(result.error, 0);
    check_eq(result.method, FERRY_METHOD_COPY);
    check(result.sent > 100 && result.remaining == 0);
    AT_END(free_reader) reader *peer = rig_finish(&rigged);
    check_eq(peer->bytes, result.sent);
    check(memcmp(peer->kept, "Name:", 5) == 0);
}

PROMISE_BOTH(file, pseudo_files_position_is_continued_by_what_reads_it_next)
{
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), true);
    AT_END(close_fd) int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    const ferry_part parts[] = {ferry_part_file(ferry_file_fd(fd)),
                                ferry_part_file(ferry_file_fd(fd))};
    ferry_promise *promise = submit_parts(rigged.stream, parts, 2, NULL);
    ferry_result result = outcome(promise);
    check_eq(result.error, 0);
    check_eq(lseek(fd, 0, SEEK_CUR), result.sent); /* once, not twice */
    reader_free(rig_finish(&rigged));
}

/* A pipe that is fed when it is asked to be, and its reading end as a source. */
typedef struct feed {
    int in;
    ferry_file source;
} feed;

static feed feed_make(void)
{
    int fds[2];
    check_eq(pipe2(fds, O_CLOEXEC), 0);
    feed made = {.in = fds[1], .source = ferry_file_fd(fds[0])};
    made.source.flags = FERRY_FD_BORROW;
    return made;
}

static void feed_end(feed *fed, const char *data)
{
    check_eq(write(fed->in, data, strlen(data)), strlen(data));
    close(fed->in);
}

PROMISE_BOTH(file, sources_that_run_dry_one_after_another_are_each_waited_for)
{
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), true);
    feed one = feed_make(), two = feed_make();
    const ferry_part parts[] = {ferry_part_file(one.source), ferry_part_file(two.source)};
    ferry_promise *promise = submit_parts(rigged.stream, parts, 2, NULL);
    wait_until_asleep();
    feed_end(&one, "one ");
    wait_until_asleep();
    feed_end(&two, "two");
    ferry_result result = outcome(promise);
    check(result.error == 0 && result.sent == 7);
    reader *peer = rig_finish(&rigged);
    check(peer->bytes == 7 && memcmp(peer->kept, "one two", 7) == 0);
    reader_free(peer);
    close(one.source.fd);
    close(two.source.fd);
}

PROMISE_BOTH(file, two_streams_may_wait_for_one_borrowed_pipe)
{
    ferry_service *service = service_of_one_owner(placement);
    feed shared = feed_make();
    AT_END(close_theirs) pair first = unix_pair(SOCK_STREAM), second = unix_pair(SOCK_STREAM);
    ferry_stream *streams[] = {stream_adopt(service, first.ours),
                               stream_adopt(service, second.ours)};
    ferry_promise *promises[] = {submit_file(streams[0], shared.source),
                                 submit_file(streams[1], shared.source)};
    wait_until_asleep();
    feed_end(&shared, "");
    for (unsigned i = 0; i < 2; i++) {
        check_eq(outcome(promises[i]).error, 0);
        check_eq(close_stream(streams[i]).error, 0);
    }
    ferry_service_destroy(service);
    close(shared.source.fd);
}

PROMISE_BOTH(file, reader_that_comes_too_late_to_a_shared_pipe_can_be_got_out)
{
    enum { READERS = 4, ROUNDS = 100 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        ferry_service *service = service_start(placement);
        feed shared = feed_make();
        pair pairs[READERS];
        ferry_stream *streams[READERS];
        for (unsigned i = 0; i < READERS; i++) {
            pairs[i] = unix_pair(SOCK_STREAM);
            streams[i] = stream_adopt(service, pairs[i].ours);
            check_eq(ferry_stream_sendfile(streams[i], &shared.source, NULL, NULL), 0);
        }
        wait_until_asleep();
        check_eq(write(shared.in, "x", 1), 1); /* all see it, one gets it */
        ferry_service_destroy(service);
        for (unsigned i = 0; i < READERS; i++) {
            ferry_stream_unref(streams[i]);
            close(pairs[i].theirs);
        }
        close(shared.in);
        close(shared.source.fd);
    }
}

PROMISE_BOTH(file, what_was_read_from_a_pipe_and_not_sent_counts_as_remaining)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    feed fed = feed_make();
    static const char data[60000];
    check_eq(write(fed.in, data, sizeof data), sizeof data);
    ferry_promise *promise = submit_file(s.stream, fed.source);
    unsigned char *scrap = malloc(STUCK_BYTES);
    check_eq(recv(s.theirs, scrap, STUCK_BYTES, MSG_WAITALL), STUCK_BYTES);
    check_eq(outcome(stuck).error, 0);
    check(recv(s.theirs, scrap, 1, 0) == 1); /* the pipe's bytes are under way now */
    ferry_stream_abort(s.stream);
    ferry_result cut = outcome(promise);
    if (cut.error != 0) /* a socket may have taken all of it at once */
        check_eq(cut.error, -ECANCELED);
    int left_in_pipe;
    check_eq(ioctl(fed.source.fd, FIONREAD, &left_in_pipe), 0);
    check_eq(cut.sent + cut.remaining + (unsigned)left_in_pipe, sizeof data);
    free(scrap);
    stage_end(&s);
    close(fed.in);
    close(fed.source.fd);
}

PROMISE_BOTH(file, parts_may_share_an_fd_that_one_of_them_was_given)
{
    AT_END(file_remove) test_file file = file_make(5000, 1);
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), false);
    ferry_file borrowed = ferry_file_fd(fcntl(file.fd, F_DUPFD_CLOEXEC, 0)), given = borrowed;
    borrowed.flags = FERRY_FD_BORROW;
    given.flags = FERRY_FD_GIVE;
    borrowed.length = given.length = 2000;
    const ferry_part parts[] = {ferry_part_file(borrowed), ferry_part_file(given)};
    ferry_promise *promise = submit_parts(rigged.stream, parts, 2, NULL);
    check_eq(outcome(promise).sent, 4000);
    check_eq(fcntl(given.fd, F_GETFD), -1);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 4000);
    reader_free(rig_finish(&rigged));
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
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), true);
    const ferry_request_options options = {
        .on_owner = make_file, .on_owner_holds_queue = true, .on_owner_arg = path};
    check_eq(ferry_stream_write(rigged.stream, "head ", 5, &options, NULL), 0);
    check_eq(outcome(submit_file(rigged.stream, ferry_file_at(path))).error, 0);
    reader *peer = rig_finish(&rigged);
    check(peer->bytes == 14 && memcmp(peer->kept, "head made late", 14) == 0);
    reader_free(peer);
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
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), true);
    ferry_promise *promise = submit_file(rigged.stream, ferry_file_at(fifo));
    pair other = unix_pair(SOCK_STREAM);
    ferry_stream *stream = stream_adopt(rigged.service, other.ours);
    check_eq(outcome(submit_write(stream, "quick", 5)).error, 0);
    check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
    int writer = open(fifo, O_WRONLY | O_CLOEXEC);
    check_eq(write(writer, "late", 4), 4);
    close(writer);
    check_eq(outcome(promise).sent, 4);
    check_eq(close_stream(stream).error, 0);
    close(other.theirs);
    reader *peer = rig_finish(&rigged);
    check(peer->bytes == 4 && memcmp(peer->kept, "late", 4) == 0);
    reader_free(peer);
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
    rig rigged = rig_up(placement, tcp_pair(), true);
    ferry_file range = ferry_file_at(file.path);
    range.length = 1001;
    check_failure(rigged.stream, range, -ENODATA, FERRY_PHASE_SOURCE, 1001);
    range.offset = 990;
    range.length = 11;
    check_failure(rigged.stream, range, -ENODATA, FERRY_PHASE_SOURCE, 11);
    range.offset = 1001;
    range.length = FERRY_TO_END;
    check_failure(rigged.stream, range, -ENODATA, FERRY_PHASE_SOURCE, 0);
    range.offset = 1000;
    check_eq(outcome(submit_file(rigged.stream, range)).error, 0); /* just at the end: empty */
    range.offset = INT64_MAX - 5;
    range.length = 5;
    check_failure(rigged.stream, range, -ENODATA, FERRY_PHASE_SOURCE, 5);
    check_eq(outcome(submit_write(rigged.stream, "healthy", 7)).error, 0);
    AT_END(free_reader) reader *peer = rig_finish(&rigged);
    check_eq(peer->bytes, 7);
}

PROMISE_BOTH(file, empty_file_shorter_than_asked_is_enodata_and_does_not_spin)
{
    AT_END(file_remove) test_file file = file_make(0, 1);
    rig rigged = rig_up(placement, tcp_pair(), true);
    ferry_file range = ferry_file_at(file.path);
    range.length = 100;
    check_failure(rigged.stream, range, -ENODATA, FERRY_PHASE_SOURCE, 100);
    AT_END(free_reader) reader *peer = rig_finish(&rigged);
    check_eq(peer->bytes, 0);
}

PROMISE_BOTH(file, missing_file_fails_its_promise_in_open_and_leaves_the_stream_healthy)
{
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), true);
    check_failure(rigged.stream, ferry_file_at("/nowhere/at/all"), -ENOENT, FERRY_PHASE_OPEN, 0);
    check_eq(outcome(submit_write(rigged.stream, "healthy", 7)).error, 0);
    AT_END(free_reader) reader *peer = rig_finish(&rigged);
    check(peer->bytes == 7 && memcmp(peer->kept, "healthy", 7) == 0);
}

PROMISE_BOTH(file, path_that_leads_outside_its_directory_is_exdev_where_that_was_asked)
{
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), false);
    int directory = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    ferry_file inside = ferry_file_at("passwd"), outside = ferry_file_at("../etc/passwd");
    inside.dirfd = outside.dirfd = directory;
    inside.flags = outside.flags = FERRY_FILE_BENEATH;
    ferry_promise *good = submit_file(rigged.stream, inside);
    ferry_promise *bad = submit_file(rigged.stream, outside);
    close(directory); /* ferry has its own */
    check_eq(outcome(good).error, 0);
    check_outcome(bad, .error = -EXDEV, .phase = FERRY_PHASE_OPEN);
    reader_free(rig_finish(&rigged));
}

/* ---- many at once ---------------------------------------------------------------------------- */

PROMISE_BOTH(file, one_fd_with_explicit_offsets_serves_many_streams_at_once)
{
    enum { STREAMS = 4, SIZE = 3 << 20 };
    AT_END(file_remove) test_file file = file_make(SIZE, 31);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_stream *streams[STREAMS];
    reader *peers[STREAMS];
    ferry_file range = ferry_file_fd(file.fd);
    range.offset = 0;
    range.flags = FERRY_FD_BORROW;
    for (unsigned i = 0; i < STREAMS; i++) {
        pair both = i % 2 == 0 ? tcp_pair() : unix_pair(SOCK_STREAM);
        peers[i] = reader_start(both.theirs, false);
        streams[i] = stream_adopt(service, both.ours);
        for (unsigned n = 0; n < 3; n++)
            check_eq(ferry_stream_sendfile(streams[i], &range, NULL, NULL), 0);
    }
    uint64_t expected = DIGEST_BEGIN;
    for (unsigned n = 0; n < 3; n++)
        expected = digest_content(expected, 31, 0, SIZE);
    for (unsigned i = 0; i < STREAMS; i++) {
        check_eq(close_stream(streams[i]).error, 0);
        reader_join(peers[i]);
        check_eq(peers[i]->digest, expected);
        reader_free(peers[i]);
    }
}

PROMISE_BOTH(file, file_file_eof_close_posted_at_once_arrive_in_that_order)
{
    AT_END(file_remove) test_file one = file_make(70000, 1), two = file_make(90000, 2);
    rig rigged = rig_up(placement, unix_pair(SOCK_STREAM), false);
    ferry_file first = ferry_file_at(one.path), second = ferry_file_at(two.path);
    check_eq(ferry_stream_sendfile(rigged.stream, &first, NULL, NULL), 0);
    check_eq(ferry_stream_sendfile(rigged.stream, &second, NULL, NULL), 0);
    check_eq(ferry_stream_write(rigged.stream, "EOF", 3, NULL, NULL), 0);
    AT_END(free_reader) reader *peer = rig_finish(&rigged);
    uint64_t expected = digest_content(DIGEST_BEGIN, 1, 0, 70000);
    expected = digest(digest_content(expected, 2, 0, 90000), "EOF", 3);
    check_eq(peer->bytes, 160003);
    check_eq(peer->digest, expected);
}

PROMISE_BOTH(file, thirty_two_transfers_four_at_a_time_over_unix_sockets)
{
    enum { TRANSFERS = 32, AT_ONCE = 4, SIZE = 2 << 20 };
    AT_END(file_remove) test_file file = file_make(SIZE, 41);
    uint64_t expected = digest_content(DIGEST_BEGIN, 41, 0, SIZE);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_stream *streams[AT_ONCE];
    reader *peers[AT_ONCE];
    for (unsigned i = 0; i < TRANSFERS + AT_ONCE; i++) {
        unsigned slot = i % AT_ONCE;
        if (i >= AT_ONCE) { /* the one before in this slot */
            check_eq(close_stream(streams[slot]).error, 0);
            reader_check(peers[slot], SIZE, expected);
        }
        if (i < TRANSFERS) {
            pair both = unix_pair(SOCK_STREAM);
            peers[slot] = reader_start(both.theirs, false);
            streams[slot] = stream_adopt(service, both.ours);
            ferry_file range = ferry_file_at(file.path);
            check_eq(ferry_stream_sendfile(streams[slot], &range, NULL, NULL), 0);
        }
    }
}

PROMISE_BOTH(file, empty_file_and_zero_length_complete_in_their_turn_with_errors_reported)
{
    AT_END(file_remove) test_file empty = file_make(0, 1), full = file_make(100, 1);
    rig rigged = rig_up(placement, tcp_pair(), true);
    ferry_file nothing = ferry_file_at(full.path), missing = ferry_file_at("/nowhere/at/all");
    nothing.length = missing.length = 0;
    ferry_promise *before = submit_write(rigged.stream, "a", 1);
    ferry_promise *of_empty = submit_file(rigged.stream, ferry_file_at(empty.path));
    ferry_promise *of_zero = submit_file(rigged.stream, nothing);
    ferry_promise *of_missing = submit_file(rigged.stream, missing);
    ferry_promise *after = submit_write(rigged.stream, "b", 1);
    check_eq(outcome(before).sequence, 0);
    ferry_result result = outcome(of_empty);
    check(result.error == 0 && result.sent == 0 && result.sequence == 1);
    result = outcome(of_zero);
    check(result.error == 0 && result.sent == 0 && result.sequence == 2);
    check_eq(outcome(of_missing).error, -ENOENT);
    result = outcome(after);
    check(result.error == 0 && result.sequence == 4 && result.stream_offset == 1);
    AT_END(free_reader) reader *peer = rig_finish(&rigged);
    check(peer->bytes == 2 && memcmp(peer->kept, "ab", 2) == 0);
}

/* A sparse file, so that more than one call's 0x7ffff000 bytes cost no disk. The peer counts. */
PROMISE_BOTH(file, more_than_two_gib_in_one_request)
{
    const int64_t size = (INT64_C(2) << 30) + 12345;
    AT_END(close_fd) int fd = memfd_create("sparse", MFD_CLOEXEC);
    check_eq(ftruncate(fd, size), 0);
    check_eq(pwrite(fd, "end", 3, size - 3), 3);
    const ferry_service_options options = {.placement = placement, .chunk_bytes = 1u << 30};
    AT_END(close_theirs) pair both = tcp_pair();
    AT_END(destroy_service) ferry_service *service;
    check_eq(ferry_service_create(&options, &service), 0);
    ferry_stream *stream = stream_adopt(service, both.ours);
    ferry_file range = ferry_file_fd(fd);
    range.offset = 0;
    ferry_promise *promise = submit_file(stream, range);
    int64_t bytes = 0;
    char tail[3] = "";
    for (;;) {
        static char data[1 << 20];
        ssize_t count = recv(both.theirs, data, sizeof data, 0);
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
    check_eq(close_stream(stream).error, 0);
}
