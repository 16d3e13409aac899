/* SPDX-License-Identifier: MIT */
/* sources: pipes and sockets that are spliced, and generators. */
#include "tests/support.h"

#include <sys/ioctl.h>
#include <sys/stat.h>

/* ---- where bytes come from and where they go ------------------------------------------------- */

typedef enum source_kind { FROM_PIPE, FROM_UNIX, FROM_TCP, SOURCE_KINDS } source_kind;
typedef enum sink_kind { TO_UNIX, TO_TCP, TO_PIPE, TO_FILE, SINK_KINDS } sink_kind;

/* ours is written to by the test, theirs is what ferry reads. */
static pair source_pair(source_kind kind)
{
    if (kind == FROM_PIPE)
        return pipe_pair();
    return kind == FROM_TCP ? tcp_pair() : unix_pair(SOCK_STREAM);
}

/* ours is adopted; theirs, what arrived is read from: of a file, once all has arrived. */
static pair sink_pair(sink_kind kind)
{
    if (kind == TO_PIPE)
        return pipe_pair();
    if (kind != TO_FILE)
        return kind == TO_TCP ? tcp_pair() : unix_pair(SOCK_STREAM);
    test_file file = file_make(0, 0);
    pair both = {.ours = open(file.path, O_WRONLY | O_CLOEXEC), .theirs = file.fd};
    unlink(file.path);
    return both;
}

/* Writes content to an fd, piece by piece, on a thread of its own. */
typedef struct feeder {
    int fd;
    uint64_t seed;
    size_t size;
    bool ends; /* and closes the fd then */
} feeder;

static void *feed(void *arg)
{
    const feeder *fed = arg;
    unsigned char piece[50000];
    for (size_t done = 0; done < fed->size;) {
        size_t size = fed->size - done < sizeof piece ? fed->size - done : sizeof piece;
        fill_content(piece, size, fed->seed, done);
        for (size_t sent = 0; sent < size;) {
            ssize_t count = write(fed->fd, piece + sent, size - sent);
            check(count > 0);
            sent += (size_t)count;
        }
        done += size;
    }
    if (fed->ends)
        close(fed->fd);
    return NULL;
}

static ferry_file borrowed(int fd, int64_t length)
{
    ferry_file file = ferry_file_fd(fd);
    file.flags = FERRY_FD_BORROW;
    file.length = length;
    return file;
}

/* Submits a source that is fed until all is written. */
static ferry_promise *submit_fed(ferry_stream *stream, ferry_file source, feeder fed)
{
    AT_END(join_thread) pthread_t thread = start_thread(feed, &fed);
    return submit_file(stream, source);
}

static int unread_bytes(int fd)
{
    int count;
    check_eq(ioctl(fd, FIONREAD, &count), 0);
    return count;
}

/* ---- splice ---------------------------------------------------------------------------------- */

enum { SPLICED = 3000000, BEYOND = 77 };

/* One transfer to a slow reader. With a length, the source has some bytes more and does not end. */
static void splice_through(ferry_placement placement, source_kind from, sink_kind to, bool to_end)
{
    AT_END(close_theirs) pair source = source_pair(from);
    stage s = stage_open(placement, sink_pair(to));
    if (to != TO_FILE)
        stage_let_read_slowly(&s, 100000, 300);
    const ferry_file file = borrowed(source.theirs, to_end ? FERRY_TO_END : SPLICED);
    const feeder fed = {source.ours, 51 + from, to_end ? SPLICED : SPLICED + BEYOND, to_end};
    check_outcome(submit_fed(s.stream, file, fed), .error = 0, .phase = FERRY_PHASE_DONE,
                  .method = FERRY_METHOD_SPLICE, .sent = SPLICED, .remaining = 0);
    stage_close_got_content(&s, fed.seed, SPLICED);
    if (!to_end) {
        wait_readable(source.theirs);
        check_eq(unread_bytes(source.theirs), BEYOND);
        close(source.ours);
    }
}

static void splice_to_all_sinks(ferry_placement placement, source_kind from)
{
    for (sink_kind to = 0; to < SINK_KINDS; to++) {
        splice_through(placement, from, to, true);
        splice_through(placement, from, to, false);
    }
}

PROMISE_BOTH(splice, pipe_is_spliced_to_every_kind_of_sink_byte_for_byte)
{
    splice_to_all_sinks(placement, FROM_PIPE);
}

PROMISE_BOTH(splice, unix_socket_is_spliced_to_every_kind_of_sink_byte_for_byte)
{
    splice_to_all_sinks(placement, FROM_UNIX);
}

PROMISE_BOTH(splice, tcp_socket_is_spliced_to_every_kind_of_sink_byte_for_byte)
{
    splice_to_all_sinks(placement, FROM_TCP);
}

PROMISE_BOTH(splice, source_that_ends_before_its_length_is_enodata_with_the_exact_count)
{
    for (source_kind from = 0; from < SOURCE_KINDS; from++) {
        AT_END(close_theirs) pair source = source_pair(from);
        stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
        const feeder fed = {source.ours, .seed = 5, .size = 200000, .ends = true};
        check_outcome(submit_fed(s.stream, borrowed(source.theirs, 200001), fed), .error = -ENODATA,
                      .phase = FERRY_PHASE_SOURCE, .sent = 200000, .remaining = 1);
        stage_close_got_content(&s, 5, 200000);
    }
}

/* ---- sources that have nothing for now ------------------------------------------------------- */

PROMISE_BOTH(splice, urgent_data_of_a_source_is_passed_over)
{
    AT_END(close_theirs) pair from = tcp_pair();
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *all = submit_file(s.stream, ferry_file_fd(from.theirs));
    check_eq(send(from.ours, "before", 6, MSG_NOSIGNAL), 6);
    check_eq(send(from.ours, "!", 1, MSG_NOSIGNAL | MSG_OOB), 1);
    check_eq(send(from.ours, "after", 5, MSG_NOSIGNAL), 5);
    close(from.ours);
    check_outcome(all, .error = 0, .sent = 11);
    char got[11];
    check_eq(recv(s.theirs, got, sizeof got, MSG_WAITALL), sizeof got);
    check(memcmp(got, "beforeafter", 11) == 0);
}

PROMISE_BOTH(splice, source_that_runs_dry_holds_up_its_own_stream_only)
{
    for (source_kind from = 0; from < SOURCE_KINDS; from++) {
        AT_END(close_pair) pair source = source_pair(from);
        AT_END(destroy_service) ferry_service *service = service_of_one_owner(placement);
        AT_END(stage_close)
        stage s = stage_in(service, unix_pair(SOCK_STREAM)), quick = stage_in(service, tcp_pair());
        ferry_promise *promise = submit_file(s.stream, borrowed(source.theirs, 10));
        check_eq(write(source.ours, "first", 5), 5);
        wait_until_stuck(s.theirs);
        check_eq(outcome(submit_write(quick.stream, "quick", 5)).error, 0);
        check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
        check_eq(write(source.ours, "other", 5), 5);
        check_outcome(promise, .error = 0, .sent = 10);
    }
}

PROMISE_BOTH(splice, dry_source_can_be_got_out_of_by_cancel_abort_and_destroy)
{
    for (unsigned i = 0; i < 3 * SOURCE_KINDS; i++) {
        AT_END(close_pair) pair source = source_pair((source_kind)(i / 3));
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        ferry_promise *promise = submit_file(s.stream, borrowed(source.theirs, FERRY_TO_END));
        check_eq(write(source.ours, "x", 1), 1);
        wait_until_stuck(s.theirs);
        if (i % 3 == 0)
            check_eq(ferry_promise_cancel(promise), 0);
        else
            stage_destroy_or_abort(&s, i % 3 == 2);
        check_outcome(promise, .error = -ECANCELED, .phase = FERRY_PHASE_SOURCE, .sent = 1);
    }
}

PROMISE_BOTH(splice, peer_that_hung_up_is_epipe_not_sigpipe)
{
    for (source_kind from = 0; from < SOURCE_KINDS; from++) {
        AT_END(close_pair) pair source = source_pair(from);
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        stage_hang_up(&s);
        check_eq(write(source.ours, "x", 1), 1);
        check_outcome(submit_file(s.stream, borrowed(source.theirs, FERRY_TO_END)), .error = -EPIPE,
                      .phase = FERRY_PHASE_SINK, .sent = 0);
        ferry_stream_abort(s.stream);
    }
}

/* ---- where it is refused --------------------------------------------------------------------- */

/* A stream to a peer that reads. */
static stage open_with_faults(ferry_placement placement, ferry_faults *faults)
{
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.faults = faults});
    stage_let_read(&s);
    return s;
}

/* From the first-th splice on it is refused. @return whether there were so many. */
static bool refuse_splice(ferry_placement placement, source_kind from, bool to_end, uint64_t first)
{
    enum { SIZE = 300000 };
    const ferry_fault fault = {FERRY_CALL_SPLICE, first, UINT64_MAX, FERRY_FAULT_ERROR, EINVAL};
    AT_END(close_theirs) pair source = source_pair(from);
    AT_END(drop_faults) ferry_faults *faults = faults_of(fault);
    stage s = open_with_faults(placement, faults);
    const ferry_file file = borrowed(source.theirs, to_end ? FERRY_TO_END : SIZE);
    const feeder fed = {source.ours, .seed = first, .size = SIZE, .ends = true};
    ferry_result result = outcome(submit_fed(s.stream, file, fed));
    bool was_refused = ferry_faults_get_injected(faults) > 0;
    check_eq(result.error, 0);
    check_eq(result.sent, SIZE);
    check_eq(result.remaining, 0);
    /* Refused when all that was left to find was the end: nothing was copied. */
    if (!was_refused)
        check_eq(result.method, FERRY_METHOD_SPLICE);
    else if (!to_end || first == 1)
        check_eq(result.method, FERRY_METHOD_COPY);
    stage_close_got_content(&s, first, SIZE);
    return was_refused;
}

PROMISE_BOTH(splice, refused_at_any_call_it_goes_on_at_the_same_byte_by_copying)
{
    for (source_kind from = 0; from < SOURCE_KINDS; from++) {
        for (unsigned to_end = 0; to_end < 2; to_end++) {
            uint64_t first = 1;
            while (refuse_splice(placement, from, to_end == 1, first))
                first++;
            check(first > 2);
        }
    }
}

PROMISE_BOTH(splice, file_for_appending_refuses_it_and_gets_a_copy)
{
    AT_END(file_remove) test_file sink = file_make(0, 0);
    AT_END(close_theirs) pair source = pipe_pair();
    const pair both = {open(sink.path, O_WRONLY | O_APPEND | O_CLOEXEC), duplicate(sink.fd)};
    stage s = stage_open(placement, both);
    const feeder fed = {source.ours, .seed = 8, .size = 300000, .ends = true};
    check_outcome(submit_fed(s.stream, borrowed(source.theirs, FERRY_TO_END), fed), .error = 0,
                  .method = FERRY_METHOD_COPY, .sent = 300000);
    stage_close_got_content(&s, 8, 300000);
}

PROMISE_BOTH(splice, message_socket_gets_a_copy)
{
    for (source_kind from = 0; from < SOURCE_KINDS; from++) {
        AT_END(close_theirs) pair source = source_pair(from);
        stage s = stage_open_to_reader(placement, unix_pair(SOCK_SEQPACKET));
        const feeder fed = {source.ours, .seed = 9, .size = 300000, .ends = true};
        check_outcome(submit_fed(s.stream, borrowed(source.theirs, FERRY_TO_END), fed), .error = 0,
                      .method = FERRY_METHOD_COPY, .sent = 300000);
        stage_close_got_content(&s, 9, 300000);
    }
}

/* A socket's content goes through a pipe of ferry's. The number-th fd-making call fails.
 * @return whether there was such a call; *ret_copied: and the transfer succeeded all the same. */
static bool fail_opening(ferry_placement placement, uint64_t number, bool *ret_copied)
{
    const ferry_fault fault = {
        .call = FERRY_CALL_OPEN, .first = number, .effect = FERRY_FAULT_ERROR, .error = EMFILE};
    AT_END(close_theirs) pair source = unix_pair(SOCK_STREAM);
    AT_END(drop_faults) ferry_faults *faults = faults_of(fault);
    stage s = open_with_faults(placement, faults);
    feeder fed = {source.ours, .seed = 10, .size = 50000, .ends = true};
    run_to_its_end(feed, &fed);
    ferry_result result = outcome(submit_file(s.stream, borrowed(source.theirs, FERRY_TO_END)));
    bool has_failed = ferry_faults_get_injected(faults) > 0;
    *ret_copied = has_failed && result.error == 0;
    if (*ret_copied)
        check_eq(result.method, FERRY_METHOD_COPY);
    else if (has_failed)
        check(result.error == -EMFILE && result.phase == FERRY_PHASE_OPEN && result.sent == 0);
    else
        check(result.error == 0 && result.method == FERRY_METHOD_SPLICE);
    check_eq(result.sent, result.error == 0 ? 50000 : 0);
    stage_close_got_content(&s, 10, result.sent);
    return has_failed;
}

PROMISE_BOTH(splice, no_fds_left_for_the_pipe_between_means_copying)
{
    unsigned copied_times = 0;
    bool has_failed = true;
    for (uint64_t number = 1; has_failed; number++) {
        bool copied;
        has_failed = fail_opening(placement, number, &copied);
        copied_times += copied;
    }
    check_eq(copied_times, 1);
}

/* ---- FERRY_FILE_ZERO_COPY -------------------------------------------------------------------- */

static ferry_file uncopied(ferry_file file)
{
    file.flags |= FERRY_FILE_ZERO_COPY;
    return file;
}

PROMISE_BOTH(zero_copy, files_pipes_and_sockets_are_sent)
{
    AT_END(file_remove) test_file file = file_make(100000, 1);
    for (source_kind from = 0; from < SOURCE_KINDS; from++) {
        AT_END(close_theirs) pair source = source_pair(from);
        stage s = stage_open_to_reader(placement, tcp_pair());
        check_outcome(submit_file(s.stream, uncopied(ferry_file_at(file.path))), .error = 0,
                      .method = FERRY_METHOD_SENDFILE);
        const feeder fed = {source.ours, .seed = 2, .size = 100000, .ends = true};
        const ferry_file to_end = uncopied(borrowed(source.theirs, FERRY_TO_END));
        check_outcome(submit_fed(s.stream, to_end, fed), .error = 0, .method = FERRY_METHOD_SPLICE);
        uint64_t expected = digest_content(DIGEST_BEGIN, 1, 0, 100000);
        stage_close_got(&s, 200000, digest_content(expected, 2, 0, 100000));
    }
}

static void check_unsupported(ferry_stream *stream, ferry_file file)
{
    ferry_result result = outcome(submit_file(stream, uncopied(file)));
    check_eq(result.error, -EOPNOTSUPP);
    check(result.phase == FERRY_PHASE_OPEN || result.phase == FERRY_PHASE_SOURCE);
    check_eq(result.sent, 0);
}

PROMISE_BOTH(zero_copy, what_would_have_to_be_copied_is_eopnotsupp_and_the_stream_healthy)
{
    AT_END(close_pair) pair source = pipe_pair();
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(stage_close) stage of_messages = stage_in(s.service, unix_pair(SOCK_SEQPACKET));
    AT_END(close_fd) int status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    AT_END(close_fd) int terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    check_unsupported(s.stream, ferry_file_at("/proc/self/status"));
    check_unsupported(s.stream, ferry_file_fd(status));
    check_unsupported(s.stream, ferry_file_fd(terminal));
    check_eq(write(source.ours, "x", 1), 1);
    check_unsupported(of_messages.stream, borrowed(source.theirs, FERRY_TO_END));
    check_eq(unread_bytes(source.theirs), 1);
    check_eq(outcome(submit_write(s.stream, "healthy", 7)).error, 0);
    check_eq(outcome(submit_write(of_messages.stream, "healthy", 7)).error, 0);
}

PROMISE_BOTH(zero_copy, sendfile_that_is_refused_is_eopnotsupp_at_whatever_byte)
{
    enum { SIZE = 2 << 20 };
    AT_END(file_remove) test_file file = file_make(SIZE, 3);
    for (uint64_t first = 1;; first++) {
        const ferry_fault fault = {FERRY_CALL_SENDFILE, first, UINT64_MAX, FERRY_FAULT_ERROR,
                                   EINVAL};
        AT_END(drop_faults) ferry_faults *faults = faults_of(fault);
        stage s = open_with_faults(placement, faults);
        ferry_result result = outcome(submit_file(s.stream, uncopied(ferry_file_at(file.path))));
        bool was_refused = ferry_faults_get_injected(faults) > 0;
        check_eq(result.error, was_refused ? -EOPNOTSUPP : 0);
        check_eq(result.sent + result.remaining, SIZE);
        check_eq(first == 1, result.sent == 0);
        check_eq(stream_status(s.stream).error, result.sent > 0 ? result.error : 0);
        stage_close_got_content(&s, 3, result.sent);
        if (!was_refused)
            break;
    }
}

/* ---- generators ------------------------------------------------------------------------------ */

/* Makes content. Also counts who asked, and how often it was released. */
typedef struct maker {
    uint64_t seed;
    atomic_ullong size;      /* then it ends */
    size_t most;             /* bytes at a time; 0: as many as there is room for */
    int error;               /* instead of ending: negative errno, or 0 */
    bool is_metered;         /* it makes no more than allowed */
    atomic_ullong allowed;   /* bytes */
    atomic_ullong made;      /* bytes */
    atomic_uint suspensions; /* how often it said -EAGAIN */
    atomic_uint releases;
} maker;

static int64_t make(void *buffer, size_t size, void *arg)
{
    maker *making = arg;
    check_eq(making->releases, 0);
    check(size > 0);
    uint64_t made = making->made;
    if (made == making->size)
        return making->error;
    uint64_t left = (making->is_metered ? making->allowed : making->size) - made;
    if (left == 0) {
        making->suspensions++;
        return -EAGAIN;
    }
    if (size > left)
        size = (size_t)left;
    if (making->most > 0 && size > making->most)
        size = making->most;
    fill_content(buffer, size, making->seed, made);
    making->made += size;
    return (int64_t)size;
}

static void count_release(void *data, void *arg)
{
    check(data == NULL);
    ((maker *)arg)->releases++;
}

static ferry_part part_of(maker *making, int64_t length)
{
    return ferry_part_generate(make, making, length, count_release);
}

static ferry_promise *submit_maker(ferry_stream *stream, maker *making, int64_t length)
{
    const ferry_part part = part_of(making, length);
    return submit_parts(stream, &part, 1, NULL);
}

PROMISE_BOTH(generator, what_it_makes_arrives_byte_for_byte_at_a_slow_reader)
{
    enum { SIZE = 3000001 };
    const size_t most[] = {0, 1000, 65537};
    for (sink_kind to = 0; to < SINK_KINDS; to++) {
        for (unsigned i = 0; i < 6; i++) {
            maker making = {.seed = 61 + i, .size = SIZE, .most = most[i / 2]};
            stage s = stage_open(placement, sink_pair(to));
            if (to != TO_FILE)
                stage_let_read_slowly(&s, 200000, 100);
            int64_t length = i % 2 == 0 ? FERRY_TO_END : SIZE;
            check_outcome(submit_maker(s.stream, &making, length), .error = 0, .sent = SIZE,
                          .remaining = 0);
            check_eq(making.releases, 1);
            stage_close_got_content(&s, 61 + i, SIZE);
        }
    }
}

/* All that is adopted has the same owner. */
static stage open_with_one_owner(ferry_placement placement)
{
    ferry_service *service = service_of_one_owner(placement);
    stage s = stage_in(service, unix_pair(SOCK_STREAM));
    s.service = service;
    return s;
}

PROMISE_BOTH(generator, with_a_length_it_is_not_asked_for_more)
{
    maker making = {.seed = 1, .size = 1000}, nothing = {.seed = 1, .size = 1000};
    AT_END(stage_end) stage s = open_with_one_owner(placement);
    check_eq(outcome(submit_maker(s.stream, &making, 600)).sent, 600);
    check_eq(making.made, 600);
    check_eq(making.releases, 1);
    check_eq(outcome(submit_maker(s.stream, &nothing, 0)).error, 0);
    check_eq(nothing.made, 0);
    check_eq(nothing.releases, 1);
}

PROMISE_BOTH(generator, that_ends_before_its_length_is_enodata_and_poisons_if_bytes_have_left)
{
    for (unsigned size = 0; size <= 5000; size += 5000) {
        maker making = {.seed = 1, .size = size};
        AT_END(stage_end) stage s = open_with_one_owner(placement);
        check_outcome(submit_maker(s.stream, &making, 5001), .error = -ENODATA,
                      .phase = FERRY_PHASE_SOURCE, .sent = size, .remaining = 5001 - size);
        check_eq(making.releases, 1);
        check_eq(outcome(submit_write(s.stream, "x", 1)).error, size > 0 ? -ECANCELED : 0);
    }
}

PROMISE_BOTH(generator, that_fails_gives_its_error_and_poisons_if_bytes_have_left)
{
    for (unsigned size = 0; size <= 5000; size += 5000) {
        maker making = {.seed = 1, .size = size, .error = -EIO};
        AT_END(stage_end) stage s = open_with_one_owner(placement);
        check_outcome(submit_maker(s.stream, &making, FERRY_TO_END), .error = -EIO,
                      .phase = FERRY_PHASE_SOURCE, .sent = size);
        check_eq(making.releases, 1);
        check_eq(stream_status(s.stream).error, size > 0 ? -EIO : 0);
        check_eq(outcome(submit_write(s.stream, "x", 1)).error, size > 0 ? -ECANCELED : 0);
    }
}

PROMISE_BOTH(generator, stands_between_memory_and_files_in_one_request)
{
    AT_END(file_remove) test_file file = file_make(5000, 4);
    maker making = {.seed = 2, .size = 70000, .most = 999}, none = {0};
    stage s = stage_open_to_reader(placement, tcp_pair());
    const ferry_part parts[] = {
        ferry_part_copy("head", 4),
        part_of(&making, FERRY_TO_END),
        ferry_part_copy("middle", 6),
        part_of(&none, FERRY_TO_END),
        ferry_part_file(ferry_file_at(file.path)),
        ferry_part_copy("tail", 4),
    };
    check_outcome(submit_parts(s.stream, parts, sizeof parts / sizeof parts[0], NULL), .error = 0,
                  .sent = 75014);
    check_eq(making.releases, 1);
    check_eq(none.releases, 1);
    uint64_t expected = digest_content(digest(DIGEST_BEGIN, "head", 4), 2, 0, 70000);
    expected = digest_content(digest(expected, "middle", 6), 4, 0, 5000);
    stage_close_got(&s, 75014, digest(expected, "tail", 4));
}

PROMISE(generator, null_or_a_negative_length_is_einval_and_releases_nothing)
{
    maker making = {.seed = 1, .size = 10};
    AT_END(stage_end) stage s = open_with_one_owner(FERRY_PLACEMENT_SHARED);
    ferry_part parts[] = {part_of(&making, 10), part_of(&making, 10)};
    ferry_promise *promise = NULL;
    parts[1].generate = NULL;
    check_eq(ferry_stream_send(s.stream, parts, 2, NULL, &promise), -EINVAL);
    parts[1] = part_of(&making, -2);
    check_eq(ferry_stream_send(s.stream, parts, 2, NULL, &promise), -EINVAL);
    parts[1] = part_of(&making, INT64_MAX);
    check_eq(ferry_stream_send(s.stream, parts, 2, NULL, &promise), -EOVERFLOW);
    check(promise == NULL);
    check_eq(making.releases, 0);
    check_eq(making.made, 0);
}

/* ---- suspended ------------------------------------------------------------------------------- */

/* A maker that has said -EAGAIN, having made size bytes which the peer has. */
static ferry_promise *submit_suspended(stage *s, maker *making, uint64_t size)
{
    making->is_metered = true;
    making->size = 1 << 20;
    making->allowed = size;
    ferry_promise *promise = submit_maker(s->stream, making, FERRY_TO_END);
    while (making->suspensions == 0)
        sched_yield();
    wait_until_asleep();
    return promise;
}

/* Each byte is allowed only when the one before has arrived: a wake-up that gets lost hangs. */
PROMISE_BOTH(generator, resume_by_another_thread_is_never_lost)
{
    enum { ROUNDS = 5000 };
    maker making = {.seed = 3, .size = ROUNDS, .is_metered = true};
    AT_END(stage_end) stage s = open_with_one_owner(placement);
    ferry_promise *promise = submit_maker(s.stream, &making, FERRY_TO_END);
    uint64_t got = DIGEST_BEGIN;
    for (unsigned i = 0; i < ROUNDS; i++) {
        making.allowed++;
        ferry_stream_wake_generator(s.stream);
        unsigned char byte;
        check_eq(recv(s.theirs, &byte, 1, 0), 1);
        got = digest(got, &byte, 1);
    }
    check_outcome(promise, .error = 0, .sent = ROUNDS);
    check_eq(got, digest_content(DIGEST_BEGIN, 3, 0, ROUNDS));
}

typedef struct resumer {
    maker *making;
    ferry_stream *stream;
    unsigned rounds;
} resumer;

static void *allow_and_resume(void *arg)
{
    const resumer *resuming = arg;
    for (unsigned i = 0; i < resuming->rounds; i++) {
        resuming->making->allowed++;
        ferry_stream_wake_generator(resuming->stream);
    }
    return NULL;
}

PROMISE_BOTH(generator, many_threads_may_resume_at_once)
{
    enum { THREADS = 3, ROUNDS = 20000 };
    maker making = {.seed = 4, .size = THREADS * ROUNDS, .is_metered = true};
    stage s = open_with_one_owner(placement);
    stage_let_read(&s);
    ferry_promise *promise = submit_maker(s.stream, &making, FERRY_TO_END);
    resumer resumers[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        resumers[i] = (resumer){.making = &making, .stream = s.stream, .rounds = ROUNDS};
        threads[i] = start_thread(allow_and_resume, &resumers[i]);
    }
    join_threads(threads, THREADS);
    check_outcome(promise, .error = 0, .sent = THREADS * ROUNDS);
    stage_close_got_content(&s, 4, THREADS * ROUNDS);
}

static void allow_one(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    resumer *resuming = arg;
    resuming->making->allowed++;
    ferry_stream_wake_generator(resuming->stream);
}

PROMISE_BOTH(generator, resume_by_an_owners_callback_is_never_lost)
{
    enum { ROUNDS = 3000 };
    maker making = {.seed = 5, .size = ROUNDS, .is_metered = true};
    AT_END(stage_end) stage s = open_with_one_owner(placement); /* shared: of the same owner */
    AT_END(stage_close) stage driver = stage_in(s.service, unix_pair(SOCK_STREAM));
    ferry_promise *promise = submit_maker(s.stream, &making, ROUNDS);
    resumer resuming = {.making = &making, .stream = s.stream};
    const ferry_request_options options = calling_on_owner(allow_one, &resuming);
    uint64_t got = DIGEST_BEGIN;
    for (unsigned i = 0; i < ROUNDS; i++) {
        check_eq(ferry_stream_write(driver.stream, NULL, 0, &options, NULL), 0);
        unsigned char byte;
        check_eq(recv(s.theirs, &byte, 1, 0), 1);
        got = digest(got, &byte, 1);
    }
    check_eq(outcome(promise).sent, ROUNDS);
    check_eq(got, digest_content(DIGEST_BEGIN, 5, 0, ROUNDS));
}

/* Resumes itself, as if by another thread that is faster than its answer. */
static int64_t make_hesitating(void *buffer, size_t size, void *arg)
{
    resumer *resuming = arg;
    if (resuming->rounds++ % 2 == 1)
        return make(buffer, size, resuming->making);
    ferry_stream_wake_generator(resuming->stream);
    return -EAGAIN;
}

PROMISE_BOTH(generator, resume_that_comes_before_its_answer_counts)
{
    maker making = {.seed = 6, .size = 1000, .most = 1};
    stage s = open_with_one_owner(placement);
    stage_let_read(&s);
    resumer resuming = {.making = &making, .stream = s.stream};
    const ferry_part part = ferry_part_generate(make_hesitating, &resuming, FERRY_TO_END, NULL);
    check_eq(outcome(submit_parts(s.stream, &part, 1, NULL)).sent, 1000);
    stage_close_got_content(&s, 6, 1000);
}

PROMISE_BOTH(generator, suspended_one_holds_up_its_own_stream_only)
{
    maker making = {.seed = 7};
    AT_END(stage_end) stage s = open_with_one_owner(placement);
    AT_END(stage_close) stage quick = stage_in(s.service, unix_pair(SOCK_STREAM));
    ferry_promise *promise = submit_suspended(&s, &making, 10);
    ferry_promise *behind = submit_write(s.stream, "behind", 6);
    for (unsigned i = 0; i < 100; i++)
        check_eq(outcome(submit_write(quick.stream, "quick", 5)).error, 0);
    check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
    check_eq(ferry_promise_await(behind, 0, NULL), -ETIMEDOUT);
    making.size = 20;
    making.allowed = 20;
    ferry_stream_wake_generator(s.stream);
    check_eq(outcome(promise).sent, 20);
    check_eq(outcome(behind).stream_offset, 20);
}

PROMISE_BOTH(generator, resume_without_one_is_harmless)
{
    ferry_stream_wake_generator(NULL);
    AT_END(stage_end) stage s = open_with_one_owner(placement);
    for (unsigned i = 0; i < 1000; i++)
        ferry_stream_wake_generator(s.stream);
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    ferry_stream_wake_generator(s.stream);
    ferry_promise *closed = submit_close(s.stream);
    ferry_stream_wake_generator(s.stream);
    check_eq(outcome(closed).error, 0);
    for (unsigned i = 0; i < 1000; i++)
        ferry_stream_wake_generator(s.stream);
    stage_destroy(&s);
    ferry_stream_wake_generator(s.stream);
}

/* ---- released exactly once ------------------------------------------------------------------- */

PROMISE_BOTH(generator, cancelled_while_suspended_it_is_released_once_and_counted_exactly)
{
    for (unsigned size = 0; size <= 100; size += 100) {
        maker making = {.seed = 8}, behind = {.seed = 8, .size = 10};
        stage s = open_with_one_owner(placement);
        ferry_promise *promise = submit_suspended(&s, &making, size);
        ferry_promise *queued = submit_maker(s.stream, &behind, FERRY_TO_END);
        check_eq(ferry_promise_cancel(queued), 0);
        check_outcome(queued, .error = -ECANCELED, .phase = FERRY_PHASE_QUEUE);
        check_eq(behind.releases, 1);
        check_eq(behind.made, 0);
        check_eq(making.releases, 0);
        check_eq(ferry_promise_cancel(promise), 0);
        check_outcome(promise, .error = -ECANCELED, .phase = FERRY_PHASE_SOURCE, .sent = size);
        check_eq(making.releases, 1);
        ferry_stream_wake_generator(s.stream);
        check_eq(outcome(submit_write(s.stream, "x", 1)).error, size > 0 ? -ECANCELED : 0);
        stage_end(&s);
        check_eq(making.releases, 1);
    }
}

PROMISE_BOTH(generator, aborted_or_destroyed_while_suspended_it_is_released_once)
{
    for (unsigned destroyed = 0; destroyed < 2; destroyed++) {
        maker making = {.seed = 8}, behind = {.seed = 8, .size = 10};
        stage s = open_with_one_owner(placement);
        ferry_promise *promise = submit_suspended(&s, &making, 100);
        ferry_promise *queued = submit_maker(s.stream, &behind, FERRY_TO_END);
        stage_destroy_or_abort(&s, destroyed == 1);
        check_outcome(promise, .error = -ECANCELED, .sent = 100);
        check_eq(making.releases, 1);
        check_eq(outcome(queued).error, -ECANCELED);
        check_eq(behind.releases, 1);
        ferry_stream_wake_generator(s.stream);
        stage_end(&s);
        check(making.releases == 1 && behind.releases == 1 && behind.made == 0);
    }
}

PROMISE_BOTH(generator, that_outlasts_its_time_is_etimedout_and_released_once)
{
    maker making = {.seed = 8, .size = 10, .is_metered = true, .allowed = 4};
    AT_END(stage_end) stage s = open_with_one_owner(placement);
    const ferry_part part = part_of(&making, 10);
    const ferry_request_options options = {.timeout_ms = 20};
    ferry_result result = outcome(submit_parts(s.stream, &part, 1, &options));
    check_eq(making.releases, 1);
    check_eq(result.error, -ETIMEDOUT);
    check_eq(result.sent + result.remaining, 10);
}

PROMISE_BOTH(generator, of_a_refused_submit_is_not_released)
{
    maker making = {.seed = 9, .size = 10};
    stage s = open_with_one_owner(placement);
    const ferry_part part = part_of(&making, 10);
    fail_allocation(1);
    check_eq(ferry_stream_send(s.stream, &part, 1, NULL, NULL), -ENOMEM);
    allow_allocations();
    ferry_promise *closed = submit_close(s.stream);
    check_eq(ferry_stream_send(s.stream, &part, 1, NULL, NULL), -ESHUTDOWN);
    check_eq(outcome(closed).error, 0);
    stage_end(&s);
    check_eq(making.releases, 0);
    check_eq(making.made, 0);
}

PROMISE_BOTH(generator, behind_a_part_that_fails_it_is_released_once_and_never_asked)
{
    maker making = {.seed = 9, .size = 10};
    AT_END(stage_end) stage s = open_with_one_owner(placement);
    const ferry_part parts[] = {part_of(&making, 10),
                                ferry_part_file(ferry_file_at("/nowhere/at/all"))};
    check_outcome(submit_parts(s.stream, parts, 2, NULL), .error = -ENOENT,
                  .phase = FERRY_PHASE_OPEN, .sent = 0);
    check_eq(making.releases, 1);
    check_eq(making.made, 0);
}

PROMISE_BOTH(generator, without_memory_for_its_buffer_it_fails_in_source_and_is_released_once)
{
    for (unsigned n = 1, failures = 0; n == 1 || failures > 0; n++) {
        maker making = {.seed = 9, .size = 10};
        AT_END(stage_end) stage s = open_with_one_owner(placement);
        check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0); /* all is set up */
        const ferry_part part = part_of(&making, 10);
        ferry_promise *promise = NULL;
        fail_allocation(n);
        failures = 0;
        if (ferry_stream_send(s.stream, &part, 1, NULL, &promise) == -ENOMEM) {
            failures = 1;
            check_eq(making.releases, 0);
        } else {
            ferry_result result = outcome(promise);
            check_eq(making.releases, 1);
            failures = result.error != 0;
            if (failures > 0)
                check(result.error == -ENOMEM && result.phase == FERRY_PHASE_SOURCE);
        }
        allow_allocations();
    }
}

/* Submits while it is asked: to its own stream, behind itself. */
static int64_t make_and_submit(void *buffer, size_t size, void *arg)
{
    resumer *resuming = arg;
    if (resuming->rounds++ == 0)
        check_eq(ferry_stream_write(resuming->stream, "behind", 6, NULL, NULL), 0);
    return make(buffer, size, resuming->making);
}

PROMISE_BOTH(generator, may_submit_to_its_own_stream)
{
    maker making = {.seed = 10, .size = 1000, .most = 10};
    stage s = open_with_one_owner(placement);
    stage_let_read(&s);
    resumer resuming = {.making = &making, .stream = s.stream};
    const ferry_part part = ferry_part_generate(make_and_submit, &resuming, FERRY_TO_END, NULL);
    check_eq(outcome(submit_parts(s.stream, &part, 1, NULL)).sent, 1000);
    check_eq(outcome(submit_mark(s.stream)).error, 0);
    stage_close_got(&s, 1006, digest(digest_content(DIGEST_BEGIN, 10, 0, 1000), "behind", 6));
}
