/* SPDX-License-Identifier: MIT */
/* following: files that grow, change, are shared, or are taken up again. */
#include "tests/support.h"

#include <sys/stat.h>

static stage open_one(ferry_placement placement)
{
    return stage_open(placement, unix_pair(SOCK_STREAM));
}

static stage open_one_with_fault(ferry_placement placement, ferry_fault fault,
                                 ferry_faults **ret_faults)
{
    *ret_faults = faults_of(fault);
    return stage_open_with(placement, unix_pair(SOCK_STREAM),
                           (ferry_stream_options){.faults = *ret_faults});
}

static void check_refused(ferry_stream *stream, ferry_file file, int error)
{
    ferry_promise *promise = NULL;
    check_eq(ferry_stream_sendfile(stream, &file, NULL, &promise), error);
    check(promise == NULL);
}

/* Reads exactly so much, and digests it. */
static uint64_t receive(int fd, uint64_t so_far, size_t size)
{
    unsigned char buffer[4096];
    while (size > 0) {
        ssize_t count = recv(fd, buffer, size < sizeof buffer ? size : sizeof buffer, 0);
        check(count > 0);
        so_far = digest(so_far, buffer, (size_t)count);
        size -= (size_t)count;
    }
    return so_far;
}

/* ---- files that grow ------------------------------------------------------------------------- */

static void append(test_file *file, size_t size)
{
    unsigned char data[70000];
    check(size <= sizeof data);
    fill_content(data, size, file->seed, file->size);
    int out = open(file->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    check_eq(write(out, data, size), size);
    close(out);
    file->size += size;
}

static ferry_file followed(const test_file *file)
{
    ferry_file range = ferry_file_at(file->path);
    range.flags = FERRY_FILE_FOLLOW;
    return range;
}

PROMISE_EITHER(follow, growing_file_is_sent_up_to_its_length_and_not_beyond)
{
    AT_END(file_remove) test_file file = file_make(1000, 1);
    AT_END(stage_close) stage s = open_one(placement);
    ferry_file range = followed(&file);
    range.length = 100000;
    ferry_promise *promise = submit_file(s.stream, range);
    ferry_promise *behind = submit_write(s.stream, "behind", 6);
    uint64_t got = receive(s.theirs, DIGEST_BEGIN, 1000);
    append(&file, 1);
    got = receive(s.theirs, got, 1);
    append(&file, 60000);
    got = receive(s.theirs, got, 60000);
    check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
    append(&file, 40000);
    got = receive(s.theirs, got, 100000 - 61001);
    check_outcome(promise, .error = 0, .sent = 100000, .remaining = 0);
    check_eq(outcome(behind).stream_offset, 100000);
    got = receive(s.theirs, got, 6);
    check_eq(got, digest(digest_content(DIGEST_BEGIN, 1, 0, 100000), "behind", 6));
}

PROMISE_EITHER(follow, to_the_end_lasts_until_it_is_cancelled_and_counts_exactly)
{
    for (unsigned begin = 0; begin <= 3000; begin += 3000) { /* an empty one, too */
        AT_END(file_remove) test_file file = file_make(begin, 2);
        AT_END(stage_close) stage s = open_one(placement);
        ferry_promise *promise = submit_file(s.stream, followed(&file));
        uint64_t got = receive(s.theirs, DIGEST_BEGIN, begin);
        for (unsigned i = 0; i < 5; i++) {
            append(&file, 5000);
            got = receive(s.theirs, got, 5000);
        }
        check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
        check_eq(ferry_promise_cancel(promise), 0);
        check_outcome(promise, .error = -ECANCELED, .sent = file.size, .remaining = 0);
        check_eq(got, digest_content(DIGEST_BEGIN, 2, 0, file.size));
    }
}

PROMISE_EITHER(follow, sink_that_refuses_sendfile_gets_a_copy_of_what_grows)
{
    const ferry_fault fault = {FERRY_CALL_SENDFILE, 1, UINT64_MAX, FERRY_FAULT_ERROR, EINVAL};
    AT_END(file_remove) test_file file = file_make(1000, 3);
    AT_END(drop_faults) ferry_faults *faults;
    AT_END(stage_close) stage s = open_one_with_fault(placement, fault, &faults);
    ferry_file range = followed(&file);
    range.length = 41000;
    ferry_promise *promise = submit_file(s.stream, range);
    uint64_t got = receive(s.theirs, DIGEST_BEGIN, 1000);
    append(&file, 40000);
    got = receive(s.theirs, got, 40000);
    check_eq(got, digest_content(DIGEST_BEGIN, 3, 0, 41000));
    check_outcome(promise, .error = 0, .sent = 41000, .method = FERRY_METHOD_COPY);
}

PROMISE_EITHER(follow, file_cut_below_what_was_sent_is_enodata)
{
    for (unsigned to_end = 0; to_end < 2; to_end++) {
        AT_END(file_remove) test_file file = file_make(3000, 4);
        AT_END(stage_close) stage s = open_one(placement);
        ferry_file range = followed(&file);
        range.length = to_end == 1 ? FERRY_TO_END : 5000;
        ferry_promise *promise = submit_file(s.stream, range);
        (void)receive(s.theirs, DIGEST_BEGIN, 3000);
        check_eq(truncate(file.path, 2999), 0);
        check_outcome(promise, .error = -ENODATA, .phase = FERRY_PHASE_SOURCE, .sent = 3000,
                      .remaining = to_end == 1 ? 0 : 2000);
    }
}

PROMISE_EITHER(follow, position_of_an_fd_advances_by_what_was_sent)
{
    for (unsigned to_end = 0; to_end < 2; to_end++) {
        AT_END(file_remove) test_file file = file_make(3000, 5);
        AT_END(stage_close) stage s = open_one(placement);
        ferry_file range = ferry_file_fd(file.fd);
        range.flags = FERRY_FILE_FOLLOW;
        range.length = to_end == 1 ? FERRY_TO_END : 100000;
        check_eq(lseek(file.fd, 500, SEEK_SET), 500);
        ferry_promise *promise = submit_file(s.stream, range);
        uint64_t got = receive(s.theirs, DIGEST_BEGIN, 2500);
        append(&file, 700);
        got = receive(s.theirs, got, 700);
        check_eq(got, digest_content(DIGEST_BEGIN, 5, 500, 3200));
        check_eq(ferry_promise_cancel(promise), 0);
        check_eq(outcome(promise).sent, 3200);
        check_eq(lseek(file.fd, 0, SEEK_CUR), 3700);
    }
}

PROMISE_EITHER(follow, deadline_ends_it)
{
    AT_END(file_remove) test_file file = file_make(3000, 6);
    AT_END(stage_close) stage s = open_one(placement);
    const ferry_request_options options = {.timeout_ms = 30};
    ferry_result result = outcome(submit_file_with(s.stream, followed(&file), &options));
    check_eq(result.error, -ETIMEDOUT);
    check(result.sent == 0 || result.sent == 3000);
}

PROMISE_EITHER(follow, abort_and_destroy_get_out_of_it)
{
    for (unsigned destroyed = 0; destroyed < 2; destroyed++) {
        AT_END(file_remove) test_file file = file_make(3000, 7);
        AT_END(stage_end) stage s = open_one(placement);
        ferry_promise *promise = submit_file(s.stream, followed(&file));
        (void)receive(s.theirs, DIGEST_BEGIN, 3000);
        stage_destroy_or_abort(&s, destroyed == 1);
        check_outcome(promise, .error = -ECANCELED, .sent = 3000);
    }
}

PROMISE_EITHER(follow, what_is_no_regular_file_is_einval_in_open)
{
    AT_END(close_pair) pair pipe = pipe_pair();
    AT_END(stage_close) stage s = open_one(placement);
    ferry_file range = ferry_file_fd(pipe.theirs);
    range.flags = FERRY_FILE_FOLLOW;
    check_outcome(submit_file(s.stream, range), .error = -EINVAL, .phase = FERRY_PHASE_OPEN);
    range.flags = FERRY_FILE_STABLE;
    check_outcome(submit_file(s.stream, range), .error = -EINVAL, .phase = FERRY_PHASE_OPEN);
    check_eq(outcome(submit_write(s.stream, "healthy", 7)).error, 0);
}

/* ---- files that change ----------------------------------------------------------------------- */

enum { LARGE = 8 << 20 }; /* more than any socket takes */

static ferry_file stable(ferry_file file)
{
    file.flags |= FERRY_FILE_STABLE;
    return file;
}

/* Until its time of change is another: two changes may fall into one tick of the clock. */
static void touch(const char *path)
{
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct stat before, now;
    check_eq(stat(path, &before), 0);
    do {
        check_eq(utimensat(AT_FDCWD, path, times, 0), 0);
        check_eq(stat(path, &now), 0);
    } while (now.st_ctim.tv_sec == before.st_ctim.tv_sec &&
             now.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
}

static void touch_it(ferry_promise *, const ferry_result *, void *arg)
{
    touch(arg);
}

PROMISE_EITHER(stable, unchanged_file_is_sent_however_it_is_named)
{
    AT_END(file_remove) test_file file = file_make(LARGE, 11);
    ferry_file by_name = ferry_file_at(file.path);
    AT_END(drop_shared_file) ferry_shared_file *shared = shared_file_open(by_name);
    const ferry_file files[] = {by_name, ferry_file_fd(file.fd), ferry_file_shared(shared)};
    for (unsigned i = 0; i < 3; i++) {
        stage s = stage_open_to_reader(placement, unix_pair(SOCK_STREAM));
        check_outcome(submit_file(s.stream, stable(files[i])), .error = 0, .sent = LARGE);
        stage_close_got_content(&s, 11, LARGE);
    }
}

typedef enum change { TOUCHED, GROWN, CUT_BEHIND, CHANGES } change;

static void do_change(test_file *file, change what)
{
    if (what == TOUCHED)
        touch(file->path);
    else if (what == GROWN)
        append(file, 1);
    else /* the range ends before that */
        check_eq(truncate(file->path, (off_t)file->size - 1), 0);
}

PROMISE_EITHER(stable, file_that_changes_meanwhile_is_estale_and_the_stream_healthy)
{
    for (change what = 0; what < CHANGES; what++) {
        AT_END(file_remove) test_file file = file_make(LARGE + 10, 12);
        stage s = open_one(placement);
        ferry_file range = stable(ferry_file_at(file.path));
        range.length = LARGE;
        ferry_promise *promise = submit_file(s.stream, range);
        wait_readable(s.theirs);
        do_change(&file, what); /* it has been opened, and is not yet sent */
        ferry_promise *behind = submit_write(s.stream, "behind", 6);
        stage_let_read(&s);
        check_outcome(promise, .error = -ESTALE, .phase = FERRY_PHASE_SOURCE, .sent = LARGE,
                      .remaining = 0);
        check_eq(outcome(behind).error, 0);
        stage_close_got(&s, LARGE + 6,
                        digest(digest_content(DIGEST_BEGIN, 12, 0, LARGE), "behind", 6));
    }
}

PROMISE_EITHER(stable, file_that_an_owners_callback_changes_before_it_is_opened_is_no_other)
{
    AT_END(file_remove) test_file file = file_make(1000, 13);
    AT_END(stage_close) stage s = open_one(placement);
    const ferry_request_options options = calling_on_owner(touch_it, file.path);
    check_eq(ferry_stream_write(s.stream, "x", 1, &options, NULL), 0);
    check_eq(outcome(submit_file(s.stream, stable(ferry_file_at(file.path)))).error, 0);
}

PROMISE_EITHER(stable, shared_file_that_changed_since_it_was_opened_is_estale)
{
    AT_END(file_remove) test_file file = file_make(1000, 14);
    ferry_file by_name = ferry_file_at(file.path);
    AT_END(drop_shared_file) ferry_shared_file *shared = shared_file_open(by_name);
    AT_END(stage_close) stage s = open_one(placement);
    const ferry_request_options options = calling_on_owner(touch_it, file.path);
    check_eq(ferry_stream_write(s.stream, "x", 1, &options, NULL), 0);
    check_outcome(submit_file(s.stream, stable(ferry_file_shared(shared))), .error = -ESTALE,
                  .phase = FERRY_PHASE_SOURCE, .sent = 1000);
    check_eq(outcome(submit_write(s.stream, "healthy", 7)).error, 0);
}

PROMISE_EITHER(stable, empty_file_that_grows_meanwhile_is_estale)
{
    static const unsigned char head[LARGE];
    AT_END(file_remove) test_file file = file_make(0, 15);
    AT_END(stage_close) stage s = open_one(placement);
    const ferry_part parts[] = {ferry_part_borrow(head, sizeof head),
                                ferry_part_file(stable(ferry_file_at(file.path)))};
    ferry_promise *promise = submit_parts(s.stream, parts, 2, NULL);
    wait_readable(s.theirs);
    append(&file, 10);
    stage_let_read(&s);
    check_outcome(promise, .error = -ESTALE, .phase = FERRY_PHASE_SOURCE);
    check_eq(outcome(submit_write(s.stream, "healthy", 7)).error, 0);
}

PROMISE(stable, together_with_follow_is_einval)
{
    AT_END(file_remove) test_file file = file_make(10, 16);
    AT_END(stage_close) stage s = open_one(FERRY_PLACEMENT_SHARED);
    check_refused(s.stream, stable(followed(&file)), -EINVAL);
}

/* ---- taking up again ------------------------------------------------------------------------- */

/* Sends the rest from a token on to a stream of its own. @return the digest of both. */
static uint64_t send_rest(ferry_placement placement, ferry_file file,
                          const ferry_resume_token *token, uint64_t rest, uint64_t so_far)
{
    AT_END(stage_end) stage s = open_one(placement);
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), true);
    file.offset = FERRY_CURRENT;
    file.resume = token;
    check_outcome(submit_file(s.stream, file), .error = 0, .sent = rest);
    check_eq(stage_close_stream(&s).error, 0);
    reader_join(peer);
    check_eq(peer->bytes, rest);
    return digest(so_far, peer->kept, peer->bytes);
}

PROMISE_EITHER(resume, transfer_cancelled_midway_is_taken_up_at_the_same_byte)
{
    AT_END(file_remove) test_file file = file_make(LARGE, 21);
    ferry_file by_name = ferry_file_at(file.path);
    AT_END(drop_shared_file) ferry_shared_file *shared = shared_file_open(by_name);
    const ferry_file files[] = {by_name, ferry_file_fd(file.fd), ferry_file_shared(shared)};
    for (unsigned i = 0; i < 3; i++) {
        stage s = open_one(placement);
        ferry_promise *promise = submit_file(s.stream, files[i]);
        wait_until_stuck(s.theirs);
        check_eq(ferry_promise_cancel(promise), 0);
        ferry_result result;
        check_eq(ferry_promise_await(promise, -1, &result), 0);
        check_eq(result.error, -ECANCELED);
        check(result.sent > 0 && result.sent < LARGE);
        ferry_resume_token token;
        check_eq(ferry_promise_get_resume_token(promise, &token), 0);
        ferry_promise_unref(promise);
        check_eq(token.offset, result.sent);
        check_eq(token.size, LARGE);
        AT_END(free_reader) reader *peer = reader_start(stage_take(&s), false);
        stage_close(&s);
        reader_join(peer);
        check_eq(peer->bytes, result.sent);
        uint64_t whole = send_rest(placement, files[i], &token, LARGE - result.sent, peer->digest);
        check_eq(whole, digest_content(DIGEST_BEGIN, 21, 0, LARGE));
    }
}

/* The number-th sendfile fails, of a range between two pieces of memory. @return whether it did. */
static bool fail_and_resume(ferry_placement placement, const test_file *file, ferry_fault fault)
{
    enum { FROM = 1000, SIZE = 1500000 };
    ferry_faults *faults;
    stage s = open_one_with_fault(placement, fault, &faults);
    AT_END(free_reader) reader *peer = reader_start(stage_take(&s), false);
    ferry_file range = ferry_file_at(file->path);
    range.offset = FROM;
    range.length = SIZE;
    const ferry_part parts[] = {ferry_part_copy("head", 4), ferry_part_file(range),
                                ferry_part_copy("tail", 4)};
    ferry_promise *promise = submit_parts(s.stream, parts, 3, NULL);
    ferry_result result;
    check_eq(ferry_promise_await(promise, -1, &result), 0);
    bool has_failed = ferry_faults_get_injected(faults) > 0;
    int error = fault.effect == FERRY_FAULT_EOF ? -ENODATA : -EIO;
    check_eq(result.error, has_failed ? error : 0);
    ferry_resume_token token;
    check_eq(ferry_promise_get_resume_token(promise, &token), has_failed ? 0 : -ENODATA);
    ferry_promise_unref(promise);
    stage_close(&s);
    ferry_faults_unref(faults);
    reader_join(peer);
    if (has_failed) {
        check_eq(token.offset, FROM + result.sent - 4);
        range.length = SIZE - (int64_t)(result.sent - 4);
        uint64_t whole = send_rest(placement, range, &token, (uint64_t)range.length, peer->digest);
        check_eq(whole, digest_content(digest(DIGEST_BEGIN, "head", 4), file->seed, FROM, SIZE));
    }
    return has_failed;
}

PROMISE_EITHER(resume, transfer_that_failed_at_any_call_is_taken_up_at_the_same_byte)
{
    const ferry_fault_effect effects[] = {FERRY_FAULT_ERROR, FERRY_FAULT_EOF};
    AT_END(file_remove) test_file file = file_make(2000000, 22);
    for (unsigned i = 0; i < 2; i++) {
        ferry_fault fault = {
            .call = FERRY_CALL_SENDFILE, .first = 1, .effect = effects[i], .error = EIO};
        while (fail_and_resume(placement, &file, fault))
            fault.first++;
        check(fault.first > 2);
    }
}

/* A token of a transfer of the file, no small one, that failed before its first byte. */
static ferry_resume_token token_of(ferry_placement placement, const test_file *file)
{
    const ferry_fault fault = {
        .call = FERRY_CALL_SENDFILE, .first = 1, .effect = FERRY_FAULT_ERROR, .error = EIO};
    AT_END(drop_faults) ferry_faults *faults;
    AT_END(stage_close) stage s = open_one_with_fault(placement, fault, &faults);
    AT_END(drop_promise) ferry_promise *promise = submit_file(s.stream, ferry_file_at(file->path));
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    ferry_resume_token token;
    check_eq(ferry_promise_get_resume_token(promise, &token), 0);
    check_eq(token.offset, 0);
    return token;
}

static void check_stale(ferry_stream *stream, const char *path, const ferry_resume_token *token)
{
    ferry_file file = ferry_file_at(path);
    file.resume = token;
    check_outcome(submit_file(stream, file), .error = -ESTALE, .phase = FERRY_PHASE_OPEN,
                  .sent = 0);
}

PROMISE_EITHER(resume, of_another_or_a_rewritten_file_is_estale_in_open)
{
    AT_END(file_remove) test_file file = file_make(20000, 23), other = file_make(20000, 23);
    ferry_resume_token token = token_of(placement, &file);
    AT_END(stage_close) stage s = open_one(placement);
    check_stale(s.stream, other.path, &token);
    check_stale(s.stream, "/proc/self/status", &token);
    touch(file.path);
    check_stale(s.stream, file.path, &token);
    token = token_of(placement, &file);
    append(&file, 1);
    check_stale(s.stream, file.path, &token);
    token = token_of(placement, &file);
    check_eq(rename(other.path, file.path), 0);
    check_stale(s.stream, file.path, &token);
    check_eq(outcome(submit_write(s.stream, "healthy", 7)).error, 0);
}

PROMISE(resume, with_an_offset_or_a_negative_one_in_the_token_is_einval)
{
    AT_END(file_remove) test_file file = file_make(20000, 24);
    ferry_resume_token token = token_of(FERRY_PLACEMENT_SHARED, &file);
    AT_END(stage_close) stage s = open_one(FERRY_PLACEMENT_SHARED);
    ferry_file range = ferry_file_at(file.path);
    range.resume = &token;
    range.offset = 0;
    check_refused(s.stream, range, -EINVAL);
    range.offset = FERRY_CURRENT;
    token.offset = -1;
    check_refused(s.stream, range, -EINVAL);
}

static void check_no_token(ferry_promise *promise, int error)
{
    ferry_resume_token token;
    check_eq(ferry_promise_get_resume_token(promise, &token), error);
}

static void check_settled_without_token(ferry_promise *promise)
{
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    check_no_token(promise, -ENODATA);
    ferry_promise_unref(promise);
}

PROMISE_EITHER(resume, token_is_ebusy_while_pending_and_enodata_if_there_is_nothing_to_take_up)
{
    AT_END(file_remove) test_file file = file_make(LARGE, 25);
    AT_END(stage_close) stage s = open_one(placement);
    ferry_promise *pending = submit_file(s.stream, ferry_file_at(file.path));
    ferry_promise *queued = submit_file(s.stream, ferry_file_at(file.path));
    check_no_token(pending, -EBUSY);
    check_eq(ferry_promise_get_resume_token(pending, NULL), -EINVAL);
    check_no_token(NULL, -EINVAL);
    stage_let_read(&s);
    check_settled_without_token(pending);
    check_settled_without_token(queued);
    check_settled_without_token(submit_file(s.stream, ferry_file_at("/nowhere/at/all")));
    check_settled_without_token(submit_write(s.stream, "x", 1));
    AT_END(drop_promise) ferry_promise *closed = submit_close(s.stream);
    check_eq(ferry_promise_await(closed, -1, NULL), 0);
    check_no_token(closed, -EINVAL);
}

PROMISE_EITHER(resume, pipe_gives_no_token)
{
    AT_END(close_pair) pair pipe = pipe_pair();
    AT_END(stage_close) stage s = open_one(placement);
    ferry_promise *promise = submit_file(s.stream, ferry_file_fd(pipe.theirs));
    check_eq(write(pipe.ours, "x", 1), 1);
    wait_readable(s.theirs);
    check_eq(ferry_promise_cancel(promise), 0);
    check_settled_without_token(promise);
}

/* ---- shared files ---------------------------------------------------------------------------- */

enum { STREAMS = 6, SENDERS = 3, SENT_EACH = 4, SHARED_SIZE = 200000 };

typedef struct sending {
    stage stages[STREAMS];
    ferry_shared_file *shared;
} sending;

static void *send_to_all(void *arg)
{
    const sending *self = arg;
    const ferry_file file = ferry_file_shared(self->shared);
    for (unsigned n = 0; n < SENT_EACH; n++) {
        for (unsigned i = 0; i < STREAMS; i++)
            check_eq(ferry_stream_sendfile(self->stages[i].stream, &file, NULL, NULL), 0);
    }
    return NULL;
}

PROMISE_EITHER(shared, is_sent_whole_by_many_requests_on_many_streams_from_many_threads)
{
    AT_END(file_remove) test_file file = file_make(SHARED_SIZE, 31);
    sending all = {.shared = shared_file_open(ferry_file_at(file.path))};
    check_eq(ferry_shared_file_get_size(all.shared), SHARED_SIZE);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    for (unsigned i = 0; i < STREAMS; i++) {
        all.stages[i] = stage_in(service, any_pair(i % 2 == 0));
        stage_let_read(&all.stages[i]);
    }
    pthread_t senders[SENDERS];
    start_threads(senders, SENDERS, send_to_all, &all);
    join_threads(senders, SENDERS);
    check(ferry_shared_file_unref(all.shared) == NULL); /* while requests are queued */
    uint64_t expected = DIGEST_BEGIN;
    for (unsigned i = 0; i < SENDERS * SENT_EACH; i++)
        expected = digest_content(expected, 31, 0, SHARED_SIZE);
    for (unsigned i = 0; i < STREAMS; i++)
        stage_close_got(&all.stages[i], SENDERS * SENT_EACH * SHARED_SIZE, expected);
}

PROMISE_EITHER(shared, opens_no_fd_per_request_and_closes_its_own_with_the_last_one)
{
    AT_END(file_remove) test_file file = file_make(LARGE, 32);
    AT_END(stage_close) stage s = open_one(placement);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    unsigned before = count_fds();
    ferry_shared_file *shared = shared_file_open(ferry_file_at(file.path));
    check_eq(count_fds(), before + 1);
    ferry_promise *promises[10];
    for (unsigned i = 0; i < 10; i++)
        promises[i] = submit_file(s.stream, ferry_file_shared(shared));
    ferry_shared_file_unref(shared);
    wait_until_asleep();
    check_eq(count_fds(), before + 1);
    stage_let_read(&s);
    check_eq(outcome(stuck).error, 0);
    for (unsigned i = 0; i < 10; i++)
        check_eq(outcome(promises[i]).sent, LARGE);
    check_eq(count_fds(), before);
}

PROMISE_EITHER(shared, is_looked_at_and_opened_only_once)
{
    AT_END(file_remove) test_file file = file_make(1000, 33);
    AT_END(drop_shared_file) ferry_shared_file *shared = shared_file_open(ferry_file_at(file.path));
    AT_END(drop_faults) ferry_faults *faults;
    check_eq(ferry_faults_create(NULL, 0, &faults), 0);
    AT_END(stage_close)
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.faults = faults});
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    uint64_t before = ferry_faults_get_calls(faults, FERRY_CALL_OPEN);
    for (unsigned i = 0; i < 10; i++)
        check_eq(outcome(submit_file(s.stream, ferry_file_shared(shared))).sent, 1000);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_OPEN), before);
}

PROMISE_EITHER(shared, ranges_are_sent_and_beyond_the_size_is_enodata)
{
    AT_END(file_remove) test_file file = file_make(1000, 34);
    AT_END(drop_shared_file) ferry_shared_file *shared = shared_file_open(ferry_file_at(file.path));
    AT_END(stage_close) stage s = open_one(placement);
    ferry_file range = ferry_file_shared(shared);
    range.offset = 900;
    range.length = 100;
    check_eq(outcome(submit_file(s.stream, range)).sent, 100);
    check_eq(receive(s.theirs, DIGEST_BEGIN, 100), digest_content(DIGEST_BEGIN, 34, 900, 100));
    append(&file, 500); /* what it has grown since is not sent */
    range.length = 101;
    check_outcome(submit_file(s.stream, range), .error = -ENODATA, .phase = FERRY_PHASE_SOURCE);
    range.offset = 1001;
    range.length = FERRY_TO_END;
    check_outcome(submit_file(s.stream, range), .error = -ENODATA, .phase = FERRY_PHASE_SOURCE);
    range.offset = 0;
    check_eq(outcome(submit_file(s.stream, range)).sent, 1000);
    check_eq(receive(s.theirs, DIGEST_BEGIN, 1000), digest_content(DIGEST_BEGIN, 34, 0, 1000));
    range.offset = FERRY_CURRENT;
    check_refused(s.stream, range, -EINVAL);
}

PROMISE_EITHER(shared, empty_file_sends_nothing_even_if_it_has_grown_since)
{
    AT_END(file_remove) test_file file = file_make(0, 35);
    AT_END(drop_shared_file) ferry_shared_file *shared = shared_file_open(ferry_file_at(file.path));
    check_eq(ferry_shared_file_get_size(shared), 0);
    AT_END(stage_close) stage s = open_one(placement);
    ferry_file range = ferry_file_shared(shared);
    check_outcome(submit_file(s.stream, range), .error = 0, .sent = 0);
    append(&file, 10);
    check_outcome(submit_file(s.stream, range), .error = 0, .sent = 0);
    range.length = 1;
    check_outcome(submit_file(s.stream, range), .error = -ENODATA, .phase = FERRY_PHASE_SOURCE);
}

PROMISE_EITHER(shared, replaced_on_disk_it_is_still_the_old_one)
{
    AT_END(file_remove) test_file file = file_make(1000, 36), other = file_make(2000, 37);
    AT_END(drop_shared_file) ferry_shared_file *shared = shared_file_open(ferry_file_at(file.path));
    check_eq(rename(other.path, file.path), 0);
    AT_END(stage_close) stage s = open_one(placement);
    check_eq(outcome(submit_file(s.stream, ferry_file_shared(shared))).sent, 1000);
    check_eq(receive(s.theirs, DIGEST_BEGIN, 1000), digest_content(DIGEST_BEGIN, 36, 0, 1000));
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

PROMISE(shared, fd_is_duplicated_given_or_borrowed)
{
    AT_END(file_remove) test_file file = file_make(1000, 38);
    check_eq(lseek(file.fd, 500, SEEK_SET), 500);
    int fds[3];
    const unsigned flags[3] = {0, FERRY_FD_GIVE, FERRY_FD_BORROW};
    for (unsigned i = 0; i < 3; i++) {
        fds[i] = duplicate(file.fd);
        ferry_file by_fd = ferry_file_fd(fds[i]);
        by_fd.flags = flags[i];
        ferry_shared_file *shared = shared_file_open(by_fd);
        check_eq(ferry_shared_file_get_size(shared), 1000); /* whole, wherever its position is */
        check(ferry_shared_file_ref(shared) == shared);
        ferry_shared_file_unref(shared);
        check(is_open(fds[i]));
        ferry_shared_file_unref(shared);
        check_eq(is_open(fds[i]), flags[i] != FERRY_FD_GIVE);
    }
    check_eq(lseek(file.fd, 0, SEEK_CUR), 500);
    close(fds[0]);
    close(fds[2]);
}

static void check_not_shared(ferry_file file, int error)
{
    ferry_shared_file *shared = NULL;
    check_eq(ferry_shared_file_open(&file, &shared), error);
    check(shared == NULL);
}

PROMISE(shared, what_cannot_be_is_refused_with_its_errno_and_an_fd_stays_the_callers)
{
    AT_END(close_pair) pair pipe = pipe_pair();
    AT_END(file_remove) test_file file = file_make(1000, 39);
    ferry_file whole = ferry_file_at(file.path), other = whole;
    check_eq(ferry_shared_file_open(&whole, NULL), -EINVAL);
    ferry_shared_file *shared = NULL;
    check_eq(ferry_shared_file_open(NULL, &shared), -EINVAL);
    check_not_shared(ferry_file_at(NULL), -EINVAL);
    check_not_shared(ferry_file_at("/nowhere/at/all"), -ENOENT);
    check_not_shared(ferry_file_at("/tmp"), -EISDIR);
    check_not_shared(ferry_file_at("/dev/null"), -EINVAL);
    check_not_shared(ferry_file_fd(12345), -EBADF);
    other.offset = 1;
    check_not_shared(other, -EINVAL);
    other = whole;
    other.length = 1000;
    check_not_shared(other, -EINVAL);
    other = whole;
    other.flags = FERRY_FILE_STABLE;
    check_not_shared(other, -EINVAL);
    other = whole;
    other.fd = file.fd;
    check_not_shared(other, -EINVAL);
    const unsigned flags[3] = {0, FERRY_FD_GIVE, FERRY_FD_BORROW};
    for (unsigned i = 0; i < 3; i++) {
        other = ferry_file_fd(pipe.theirs);
        other.flags = flags[i];
        check_not_shared(other, -EINVAL);
        check(is_open(pipe.theirs));
    }
    fail_allocation(1);
    check_not_shared(whole, -ENOMEM);
    allow_allocations();
    check_eq(ferry_shared_file_get_size(NULL), 0);
    check(ferry_shared_file_ref(NULL) == NULL);
    check(ferry_shared_file_unref(NULL) == NULL);
}

PROMISE(shared, path_that_leads_outside_its_directory_is_exdev_where_that_was_asked)
{
    AT_END(close_fd) int directory = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    ferry_file inside = ferry_file_at("passwd"), outside = ferry_file_at("../etc/passwd");
    inside.dirfd = outside.dirfd = directory;
    inside.flags = outside.flags = FERRY_FILE_BENEATH;
    ferry_shared_file_unref(shared_file_open(inside));
    check_not_shared(outside, -EXDEV);
}
