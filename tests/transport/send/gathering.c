/* SPDX-License-Identifier: MIT */
/*
 * Small files that the kernel has in memory are read, and leave with what is around them. What that
 * saves is counted in system calls. What it may never change: content, counts, order, positions.
 */
#include "core/libc.h"
#include "tests/support.h"

#include <sys/mman.h>
#include <sys/uio.h>

enum { SMALL = 1000 };

/* ---- what is sent, and the calls that this takes --------------------------------------------- */

/* Whether a file's system tells what is in memory: tmpfs does not, where a second call reads. */
static bool can_be_peeked(const test_file *file)
{
    char first;
    const struct iovec piece = {.iov_base = &first, .iov_len = 1};
    return ferry__preadv2(file->fd, &piece, 1, 0, RWF_NOWAIT) == 1;
}

/* Leaves a test about system calls where files cannot be peeked at. */
#define ONLY_IF_PEEKED(file)                                                                       \
    do {                                                                                           \
        if (!can_be_peeked(file)) {                                                                \
            printf("skipped: %s: /tmp does not know RWF_NOWAIT\n", __func__);                      \
            return;                                                                                \
        }                                                                                          \
    } while (0)

static ferry_file range_of(ferry_shared_file *shared, int64_t offset, int64_t length)
{
    ferry_file range = ferry_file_shared(shared);
    range.offset = offset;
    range.length = length;
    return range;
}

/* A stream whose system calls are counted, and go as a script says. */
typedef struct scene {
    stage s;
    ferry_faults *faults;
} scene;

static scene begin(ferry_placement placement, pair both, ferry_fault fault)
{
    ferry_faults *faults = faults_of(fault);
    stage s = stage_open_with(placement, both, (ferry_stream_options){.faults = faults});
    stage_let_read(&s);
    return (scene){s, faults};
}

/* So that nothing fails. */
static const ferry_fault none = {FERRY_CALL_ANY, UINT64_MAX, 1, FERRY_FAULT_ERROR, EIO};

static uint64_t calls(const scene *now, ferry_fault_call call)
{
    return ferry_faults_get_calls(now->faults, call);
}

static void end(scene *now, uint64_t bytes, uint64_t expected)
{
    stage_close_got(&now->s, bytes, expected);
    ferry_faults_unref(now->faults);
}

/* ---- fewer calls ----------------------------------------------------------------------------- */

PROMISE_BOTH(gathering, head_small_file_and_tail_leave_in_one_call)
{
    AT_END(file_remove) test_file file = file_make(SMALL, 1);
    ONLY_IF_PEEKED(&file);
    scene now = begin(placement, tcp_pair(), none);
    const ferry_part parts[] = {ferry_part_copy("head", 4),
                                ferry_part_file(ferry_file_at(file.path)),
                                ferry_part_copy("tail", 4)};
    ferry_result result = outcome(submit_parts(now.s.stream, parts, 3, NULL));
    check_eq(result.error, 0);
    check_eq(result.method, FERRY_METHOD_COPY);
    check(result.sent == 4 + SMALL + 4 && result.remaining == 0);
    check_eq(calls(&now, FERRY_CALL_READ), 1);
    check_eq(calls(&now, FERRY_CALL_WRITE), 1);
    check_eq(calls(&now, FERRY_CALL_SENDFILE), 0);
    uint64_t sum = digest(DIGEST_BEGIN, "head", 4);
    end(&now, result.sent, digest(digest_content(sum, 1, 0, SMALL), "tail", 4));
}

PROMISE_BOTH(gathering, several_ranges_of_a_large_file_leave_in_one_call)
{
    AT_END(file_remove) test_file file = file_make(1 << 20, 2);
    ONLY_IF_PEEKED(&file);
    AT_END(drop_shared_file) ferry_shared_file *shared = shared_file_open(ferry_file_at(file.path));
    scene now = begin(placement, unix_pair(SOCK_STREAM), none);
    const ferry_part parts[] = {
        ferry_part_copy("1", 1), ferry_part_file(range_of(shared, 0, SMALL)),
        ferry_part_copy("2", 1), ferry_part_file(range_of(shared, 500000, SMALL)),
        ferry_part_copy("3", 1), ferry_part_file(range_of(shared, (1 << 20) - 7, 7))};
    ferry_result result = outcome(submit_parts(now.s.stream, parts, 6, NULL));
    check(result.error == 0 && result.sent == 2 * SMALL + 7 + 3);
    check_eq(calls(&now, FERRY_CALL_WRITE), 1);
    check_eq(calls(&now, FERRY_CALL_SENDFILE), 0);
    uint64_t sum = digest_content(digest(DIGEST_BEGIN, "1", 1), 2, 0, SMALL);
    sum = digest_content(digest(sum, "2", 1), 2, 500000, SMALL);
    end(&now, result.sent, digest_content(digest(sum, "3", 1), 2, (1 << 20) - 7, 7));
}

/* A memfd is a file of tmpfs's, wherever /tmp lies. */
PROMISE_BOTH(gathering, file_of_tmpfs_leaves_in_one_call_with_what_is_around_it)
{
    static unsigned char content[SMALL];
    fill_content(content, SMALL, 1, 0);
    AT_END(close_fd) int fd = memfd_create("small", MFD_CLOEXEC);
    check_eq(write(fd, content, SMALL), SMALL);
    scene now = begin(placement, unix_pair(SOCK_STREAM), none);
    const ferry_part file = ferry_part_file((ferry_file){
        .dirfd = FERRY_CWD, .fd = fd, .length = FERRY_TO_END, .flags = FERRY_FD_BORROW});
    const ferry_part parts[] = {ferry_part_copy("head", 4), file, file, ferry_part_copy("tail", 4)};
    ferry_result result = outcome(submit_parts(now.s.stream, parts, 4, NULL));
    check(result.error == 0 && result.sent == 4 + 2 * SMALL + 4);
    check_eq(result.method, FERRY_METHOD_COPY);
    check_eq(calls(&now, FERRY_CALL_WRITE), 1);
    check_eq(calls(&now, FERRY_CALL_SENDFILE), 0);
    uint64_t sum = digest_content(digest(DIGEST_BEGIN, "head", 4), 1, 0, SMALL);
    sum = digest_content(sum, 1, 0, SMALL);
    end(&now, result.sent, digest(sum, "tail", 4));
}

static void hold(ferry_stream *stream, atomic_bool *may_go_on)
{
    const ferry_part part = ferry_part_generate(wait_for_the_word, may_go_on, FERRY_TO_END, NULL);
    check_eq(ferry_stream_send(stream, &part, 1, NULL, NULL), 0);
}

static void let_go(ferry_stream *stream, atomic_bool *may_go_on)
{
    atomic_store(may_go_on, true);
    ferry_stream_wake_generator(stream);
}

/* Queues so many whole files. @return the last one's promise. */
static ferry_promise *queue_files(ferry_stream *stream, ferry_file file, unsigned count)
{
    for (unsigned i = 1; i < count; i++)
        check_eq(ferry_stream_sendfile(stream, &file, NULL, NULL), 0);
    return submit_file(stream, file);
}

static uint64_t digest_of_many(const test_file *file, unsigned count)
{
    uint64_t sum = DIGEST_BEGIN;
    for (unsigned i = 0; i < count; i++)
        sum = digest_content(sum, file->seed, 0, file->size);
    return sum;
}

PROMISE_BOTH(gathering, small_files_that_are_queued_share_calls)
{
    enum { FILES = 40 }; /* together less than is read for one call */
    AT_END(file_remove) test_file file = file_make(SMALL, 3);
    ONLY_IF_PEEKED(&file);
    AT_END(drop_shared_file) ferry_shared_file *shared = shared_file_open(ferry_file_at(file.path));
    scene now = begin(placement, unix_pair(SOCK_STREAM), none);
    atomic_bool may_go_on = false;
    hold(now.s.stream, &may_go_on);
    ferry_promise *last = queue_files(now.s.stream, ferry_file_shared(shared), FILES);
    wait_until_asleep();
    let_go(now.s.stream, &may_go_on);
    check_outcome(last, .error = 0, .stream_offset = (FILES - 1) * SMALL);
    check_eq(calls(&now, FERRY_CALL_READ), FILES);
    check_eq(calls(&now, FERRY_CALL_WRITE), 1);
    end(&now, FILES * SMALL, digest_of_many(&file, FILES));
}

/* ---- what is not gathered -------------------------------------------------------------------- */

/* Sends a head and a file, which is not to be read for that. */
static void send_unread(ferry_placement placement, const test_file *file, ferry_file part,
                        ferry_fault fault)
{
    scene now = begin(placement, tcp_pair(), fault);
    const ferry_part parts[] = {ferry_part_copy("head", 4), ferry_part_file(part)};
    ferry_result result = outcome(submit_parts(now.s.stream, parts, 2, NULL));
    check(result.error == 0 && result.sent == 4 + file->size);
    check_eq(result.method, FERRY_METHOD_SENDFILE);
    check(calls(&now, FERRY_CALL_SENDFILE) > 0);
    uint64_t sum = digest(DIGEST_BEGIN, "head", 4);
    end(&now, result.sent, digest_content(sum, file->seed, 0, file->size));
}

PROMISE_BOTH(gathering, file_that_is_not_all_in_memory_is_sent_by_sendfile)
{
    static const ferry_fault faults[] = {{FERRY_CALL_READ, 1, 1, FERRY_FAULT_ERROR, EAGAIN},
                                         {FERRY_CALL_READ, 1, 1, FERRY_FAULT_ERROR, EOPNOTSUPP},
                                         {FERRY_CALL_READ, 1, 1, FERRY_FAULT_ERROR, EIO},
                                         {FERRY_CALL_READ, 1, 1, FERRY_FAULT_SHORT, 0},
                                         {FERRY_CALL_READ, 1, 1, FERRY_FAULT_EOF, 0}};
    AT_END(file_remove) test_file file = file_make(SMALL, 4);
    for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++)
        send_unread(placement, &file, ferry_file_at(file.path), faults[i]);
}

PROMISE_BOTH(gathering, large_file_is_sent_by_sendfile_to_its_last_byte)
{
    const ferry_fault first_byte = {FERRY_CALL_SENDFILE, 1, 1, FERRY_FAULT_SHORT, 0};
    AT_END(file_remove)
    test_file file = file_make(16 * 1024 + 1, 5); /* what is left of it then is small */
    send_unread(placement, &file, ferry_file_at(file.path), first_byte);
}

PROMISE_BOTH(gathering, file_that_is_not_to_be_copied_is_sent_by_sendfile)
{
    AT_END(file_remove) test_file file = file_make(SMALL, 6);
    ferry_file without_copy = ferry_file_at(file.path);
    without_copy.flags = FERRY_FILE_ZERO_COPY;
    send_unread(placement, &file, without_copy, none);
}

/* ---- counts, order, positions ---------------------------------------------------------------- */

PROMISE_BOTH(gathering, sink_that_takes_a_byte_at_a_time_gets_each_once)
{
    enum { FILES = 3 };
    const ferry_fault slow = {FERRY_CALL_WRITE, 1, UINT64_MAX, FERRY_FAULT_SHORT, 0};
    AT_END(file_remove) test_file file = file_make(SMALL, 7);
    for (int by_path = 0; by_path < 2; by_path++) {
        AT_END(drop_shared_file)
        ferry_shared_file *shared = shared_file_open(ferry_file_at(file.path));
        ferry_file whole = by_path ? ferry_file_at(file.path) : ferry_file_shared(shared);
        scene now = begin(placement, unix_pair(SOCK_STREAM), slow);
        check_outcome(queue_files(now.s.stream, whole, FILES), .error = 0, .sent = SMALL,
                      .remaining = 0, .stream_offset = (FILES - 1) * SMALL);
        end(&now, FILES * SMALL, digest_of_many(&file, FILES));
    }
}

/* Makes one byte. The file is another one then. */
static int64_t change_file(void *buffer, size_t size, void *arg)
{
    const test_file *file = arg;
    (void)size;
    *(char *)buffer = 'g';
    check_eq(truncate(file->path, (off_t)file->size + 1), 0);
    return 1;
}

PROMISE_BOTH(gathering, nothing_follows_a_stable_file_before_it_was_looked_at)
{
    AT_END(file_remove) test_file file = file_make(SMALL, 8);
    scene now = begin(placement, unix_pair(SOCK_STREAM), none);
    ferry_file stable = ferry_file_at(file.path);
    stable.flags = FERRY_FILE_STABLE;
    const ferry_part parts[] = {ferry_part_generate(change_file, &file, 1, NULL),
                                ferry_part_file(stable), ferry_part_copy("tail", 4)};
    check_outcome(submit_parts(now.s.stream, parts, 3, NULL), .error = -ESTALE,
                  .phase = FERRY_PHASE_SOURCE, .sent = 1 + SMALL, .remaining = 4);
    end(&now, 1 + SMALL, digest_content(digest(DIGEST_BEGIN, "g", 1), 8, 0, SMALL));
}

/* The first one fails after its first byte; the framing lets the others go on. */
PROMISE_BOTH(gathering, next_part_of_an_fd_begins_where_the_one_before_has_stopped)
{
    const ferry_fault script[] = {{FERRY_CALL_WRITE, 1, 1, FERRY_FAULT_SHORT, 0},
                                  {FERRY_CALL_WRITE, 2, 1, FERRY_FAULT_ERROR, ENOBUFS}};
    AT_END(file_remove) test_file file = file_make(SMALL, 9);
    ONLY_IF_PEEKED(&file);
    AT_END(drop_faults) ferry_faults *faults;
    check_eq(ferry_faults_create(script, 2, &faults), 0);
    const ferry_stream_options options = {.faults = faults, .framing = FERRY_FRAMING_CONTINUE};
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), options);
    stage_let_read(&s);
    atomic_bool may_go_on = false;
    hold(s.stream, &may_go_on);
    ferry_file range = ferry_file_fd(file.fd);
    range.length = SMALL / 2;
    ferry_promise *first = submit_file(s.stream, range), *second = submit_file(s.stream, range);
    let_go(s.stream, &may_go_on);
    check_eq(outcome(first).error, -ENOBUFS);
    check_eq(outcome(second).sent, SMALL / 2);
    check_eq(lseek(file.fd, 0, SEEK_CUR), 1 + SMALL / 2);
    stage_close_got_content(&s, 9, 1 + SMALL / 2);
}

/* ---- few fds --------------------------------------------------------------------------------- */

PROMISE_BOTH(gathering, stalled_stream_has_opened_few_of_the_files_that_are_queued)
{
    enum { FILES = 30, MOST = 4 };
    const ferry_fault stall = {FERRY_CALL_WRITE, 1, 1, FERRY_FAULT_STALL, 0};
    AT_END(file_remove) test_file file = file_make(SMALL, 10);
    ONLY_IF_PEEKED(&file); /* else sendfile(2) sends, which does not stall */
    scene now = begin(placement, unix_pair(SOCK_STREAM), stall);
    ferry_promise *last = queue_files(now.s.stream, ferry_file_at(file.path), FILES);
    wait_until_asleep();
    for (unsigned i = 0; i < 3; i++) { /* each is a turn */
        ferry_stream_wake_generator(now.s.stream);
        wait_until_asleep();
    }
    check(calls(&now, FERRY_CALL_OPEN) <= 2 * MOST); /* openat(2), and fstat(2) */
    ferry_stream_abort(now.s.stream);
    check_eq(outcome(last).error, -ECANCELED);
    now.s.stream = ferry_stream_unref(now.s.stream);
    check_eq(reader_end(now.s.peer), 0);
    now.s.peer = NULL;
    stage_end(&now.s);
    ferry_faults_unref(now.faults);
}
