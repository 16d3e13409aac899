/* SPDX-License-Identifier: MIT */
/* Receiving: what the peer sends, stored in files:
 * every byte once, and none lost where storing fails. */
#include "tests/support.h"

#include "core/thread.h"

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#define MIB (UINT64_C(1) << 20)

/* A directory of a test's own, removed with the files in it. */
typedef struct folder {
    char path[32];
    int fd;
} folder;

static folder folder_make(void)
{
    folder made = {.path = "/tmp/ferry-test-XXXXXX"};
    check(mkdtemp(made.path) != NULL);
    made.fd = open(made.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(made.fd >= 0);
    return made;
}

/* @param names what may be in it, ended by NULL. */
static void folder_remove(folder *made, const char *const names[])
{
    for (; *names != NULL; names++)
        (void)unlinkat(made->fd, *names, 0);
    close(made->fd);
    check_eq(rmdir(made->path), 0);
}

static const char *const NO_FILE[] = {NULL};
static const char *const ONE_FILE[] = {"file", NULL};
static const char *const TWO_FILES[] = {"file", "rest", NULL};

/* A file in it to receive into: made if need be. */
static ferry_file file_in(const folder *where, const char *name)
{
    ferry_file file = ferry_file_at(name);
    file.dirfd = where->fd;
    file.flags = FERRY_FILE_CREATE;
    return file;
}

static uint64_t size_in(const folder *where, const char *name)
{
    struct stat status;
    check_eq(fstatat(where->fd, name, &status, 0), 0);
    return (uint64_t)status.st_size;
}

/* Whether a file's bytes are the content of seed from position on. */
static void check_content(const folder *where, const char *name, uint64_t offset, uint64_t seed,
                          uint64_t position, uint64_t size)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%s/%s", where->path, name);
    check(digest_file(DIGEST_BEGIN, path, offset, size) ==
          digest_content(DIGEST_BEGIN, seed, position, size));
}

static ferry_promise *submit_receive(ferry_stream *stream, ferry_file file)
{
    ferry_promise *promise;
    check_eq(ferry_stream_read_to_file(stream, &file, NULL, &promise), 0);
    return promise;
}

static ferry_result read_exactly(ferry_stream *stream, void *data, size_t size)
{
    const ferry_read wanted = {.data = data, .size = size, .mode = FERRY_READ_EXACTLY};
    ferry_promise *promise;
    check_eq(ferry_stream_read(stream, &wanted, NULL, &promise), 0);
    return outcome(promise);
}

/* Whether the next bytes that are read are content of seed at position. */
static void check_next(ferry_stream *stream, uint64_t seed, uint64_t position)
{
    unsigned char got[100], expected[sizeof got];
    fill_content(expected, sizeof expected, seed, position);
    check_eq(read_exactly(stream, got, sizeof got).sent, sizeof got);
    check(memcmp(got, expected, sizeof got) == 0);
}

/* What most tests begin with: a stream, whose peer may send content, and a folder. */
typedef struct scene {
    stage on;
    talker *peer; /* NULL: it says what the test does */
    folder where;
    const char *const *names; /* what may be in it at the end */
} scene;

static scene begin_with(ferry_placement placement, pair both, ferry_faults *faults)
{
    return (scene){.on = stage_open_with(placement, both, (ferry_stream_options){.faults = faults}),
                   .where = folder_make(),
                   .names = ONE_FILE};
}

static scene begin(ferry_placement placement)
{
    return begin_with(placement, tcp_pair(), NULL);
}

/* The peer sends so much content of a seed, and then its end. */
static void let_talk(scene *set, uint64_t seed, uint64_t size)
{
    set->peer = talker_start(set->on.theirs, seed, size);
}

static void end(scene *set)
{
    if (set->peer != NULL)
        talker_join(set->peer);
    stage_end(&set->on);
    folder_remove(&set->where, set->names);
}

/* How what splice(2) can move is moved. */
static const ferry_method SPLICED = OVER_RECORDS ? FERRY_METHOD_COPY : FERRY_METHOD_SPLICE;

/* ---- by every method ------------------------------------------------------------------------- */

static void receive_much(ferry_placement placement, pair both, int appending, ferry_method method)
{
    AT_END(end) scene set = begin_with(placement, both, NULL);
    let_talk(&set, 1, 64 * MIB);
    int fd = openat(set.where.fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC | appending, 0600);
    ferry_file file = ferry_file_fd(fd);
    file.flags = FERRY_FD_GIVE;
    check_outcome(submit_receive(set.on.stream, file), .error = 0, .phase = FERRY_PHASE_DONE,
                  .sent = 64 * MIB, .remaining = 0, .method = method, .at_end = true);
    check_eq(size_in(&set.where, "file"), 64 * MIB);
    check_content(&set.where, "file", 0, 1, 0, 64 * MIB);
}

PROMISE_EITHER(receiving, much_of_a_tcp_peers_is_spliced_into_a_file)
{
    receive_much(placement, tcp_pair(), 0, SPLICED);
}

PROMISE_EITHER(receiving, much_of_a_unix_peers_is_spliced_into_a_file)
{
    receive_much(placement, unix_pair(SOCK_STREAM), 0, SPLICED);
}

PROMISE_EITHER(receiving, file_open_for_appending_is_copied_into)
{
    receive_much(placement, tcp_pair(), O_APPEND, FERRY_METHOD_COPY);
    receive_much(placement, unix_pair(SOCK_STREAM), O_APPEND, FERRY_METHOD_COPY);
}

PROMISE_EITHER(receiving, where_no_pipe_can_be_made_it_is_copied)
{
    /* After the duplicate of its folder, the file, and fstat(2). */
    const ferry_fault script = {
        .call = FERRY_CALL_OPEN, .first = 4, .effect = FERRY_FAULT_ERROR, .error = EMFILE};
    AT_END(drop_faults) ferry_faults *faults = faults_of(script);
    AT_END(end) scene set = begin_with(placement, tcp_pair(), faults);
    let_talk(&set, 1, MIB);
    check_outcome(submit_receive(set.on.stream, file_in(&set.where, "file")), .error = 0,
                  .method = FERRY_METHOD_COPY);
    check_eq(ferry_faults_get_injected(faults), OVER_RECORDS ? 0 : 1); /* there nobody tries */
    check_content(&set.where, "file", 0, 1, 0, MIB);
}

/* Every lseek(2) of ferry's threads (-Wl,--wrap). */
static atomic_uint seeks;

WRAPPED(off_t, lseek64, (int fd, off_t offset, int whence))
{
    atomic_fetch_add(&seeks, ferry__thread_current()->owner != NULL);
    return __real_lseek64(fd, offset, whence);
}

/* Files of so many bytes each, one behind the other, are received together. */
PROMISE_EITHER(receiving, little_is_written_without_a_pipe_and_little_ones_share_a_call)
{
    enum { FILES = 20, SIZE = 100 };
    AT_END(drop_faults) ferry_faults *faults = faults_none();
    AT_END(end) scene set = begin_with(placement, tcp_pair(), faults);
    AT_END(close_fd)
    int fd = openat(set.where.fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ferry_promise *promises[FILES];
    for (unsigned i = 0; i < FILES; i++) {
        ferry_file file = ferry_file_fd(fd);
        file.flags = FERRY_FD_BORROW;
        file.offset = i * SIZE;
        file.length = SIZE;
        promises[i] = submit_receive(set.on.stream, file);
    }
    wait_until_asleep();
    uint64_t before = ferry_faults_get_calls(faults, FERRY_CALL_READ);
    let_talk(&set, 1, FILES * SIZE);
    for (unsigned i = 0; i < FILES; i++)
        check_outcome(promises[i], .error = 0, .sent = SIZE, .stream_offset = i * SIZE,
                      .method = OVER_RECORDS ? FERRY_METHOD_COPY : FERRY_METHOD_MEMORY);
    check_content(&set.where, "file", 0, 1, 0, FILES * SIZE);
    wait_until_asleep();
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_SPLICE), 0);
    if (OVER_RECORDS)
        return;
    check(ferry_faults_get_calls(faults, FERRY_CALL_READ) - before <= 2);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_OPEN), FILES);
    check_eq(atomic_load(&seeks), 0); /* files have places */
}

PROMISE_EITHER(receiving, zero_copy_is_refused_rather_than_copied_and_nothing_is_lost)
{
    AT_END(end) scene set = begin(placement);
    let_talk(&set, 3, 1000);
    int fd = openat(set.where.fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
    ferry_file file = ferry_file_fd(fd);
    file.flags = FERRY_FD_BORROW | FERRY_FILE_ZERO_COPY;
    check_outcome(submit_receive(set.on.stream, file), .error = -EOPNOTSUPP,
                  .phase = FERRY_PHASE_SINK, .sent = 0);
    check_next(set.on.stream, 3, 0);
    close(fd);
}

/* ---- ranges ---------------------------------------------------------------------------------- */

/* Takes everything, and hashes it. */
typedef struct notes {
    uint64_t digest;
    uint64_t count;
    bool has_ended;
} notes;

static size_t note_read(ferry_stream *, const void *data, size_t length, bool, void *arg)
{
    notes *seen = arg;
    seen->digest = digest(seen->digest, data, length);
    seen->count += length;
    return length;
}

static void note_end(ferry_stream *, int error, void *arg)
{
    check_eq(error, 0);
    ((notes *)arg)->has_ended = true;
}

PROMISE_EITHER(receiving, each_takes_exactly_its_bytes_then_reads_and_a_reader_go_on)
{
    static const uint64_t lengths[] = {1, 1000, 65536, 0, 100001, 3 * MIB + 7};
    static const char *const names[] = {"0", "1", "2", "3", "4", "5", "6", NULL};
    enum { COUNT = sizeof lengths / sizeof lengths[0] };
    AT_END(end) scene set = begin(placement);
    set.names = names;
    ferry_promise *promises[COUNT];
    uint64_t total = 0;
    for (int i = 0; i < COUNT; i++) {
        ferry_file file = file_in(&set.where, names[i]);
        file.length = (int64_t)lengths[i];
        promises[i] = submit_receive(set.on.stream, file);
        total += lengths[i];
    }
    let_talk(&set, 5, total + 5000);
    uint64_t position = 0;
    for (int i = 0; i < COUNT; i++) {
        check_outcome(promises[i], .error = 0, .sent = lengths[i], .stream_offset = position,
                      .sequence = (uint64_t)i);
        check_eq(size_in(&set.where, names[i]), lengths[i]);
        check_content(&set.where, names[i], 0, 5, position, lengths[i]);
        position += lengths[i];
    }
    check_next(set.on.stream, 5, total);
    notes seen = {.digest = DIGEST_BEGIN};
    ferry_file last = file_in(&set.where, "6");
    last.length = 1000;
    ferry_promise *before = submit_receive(set.on.stream, last);
    set_reader(set.on.stream,
               (ferry_reader){.on_read = note_read, .on_end = note_end, .arg = &seen});
    while (!seen.has_ended)
        (void)ferry_inbox_run(-1);
    check_eq(outcome(before).sent, 1000);
    check_content(&set.where, "6", 0, 5, total + 100, 1000);
    check_eq(seen.count, 3900);
    check(seen.digest == digest_content(DIGEST_BEGIN, 5, total + 1100, 3900));
}

PROMISE_EITHER(receiving, explicit_offset_leaves_the_position_and_current_moves_it_on)
{
    AT_END(end) scene set = begin(placement);
    let_talk(&set, 6, 3 * MIB);
    int fd = openat(set.where.fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check_eq(lseek(fd, 10, SEEK_SET), 10);
    ferry_file file = ferry_file_fd(fd); /* a duplicate shares the position */
    file.offset = (int64_t)(2 * MIB);
    file.length = (int64_t)MIB;
    check_eq(outcome(submit_receive(set.on.stream, file)).sent, MIB);
    check_eq(lseek(fd, 0, SEEK_CUR), 10);
    file.offset = FERRY_CURRENT;
    check_eq(outcome(submit_receive(set.on.stream, file)).sent, MIB);
    check_eq(lseek(fd, 0, SEEK_CUR), 10 + MIB);
    check_eq(size_in(&set.where, "file"), 3 * MIB);
    check_content(&set.where, "file", 2 * MIB, 6, 0, MIB);
    check_content(&set.where, "file", 10, 6, MIB, MIB);
    close(fd);
}

/* A line of five bytes. */
static void check_line(ferry_promise *promise, const char *line, const char *expected)
{
    check_eq(outcome(promise).sent, 5);
    check(memcmp(line, expected, 5) == 0);
}

static ferry_promise *submit_line(scene *set, char line[16])
{
    const ferry_read wanted = {line, 16, FERRY_READ_UNTIL, "\n", 1};
    ferry_promise *promise;
    check_eq(ferry_stream_read(set->on.stream, &wanted, NULL, &promise), 0);
    return promise;
}

/* Has this come and be kept, behind a line that is read. */
static void let_come(scene *set, const char *kept)
{
    char line[16], sent[32];
    ferry_promise *head = submit_line(set, line);
    int length = snprintf(sent, sizeof sent, "head\n%s", kept);
    check_eq(send(set->on.theirs, sent, (size_t)length, MSG_NOSIGNAL), length);
    check_line(head, line, "head\n");
}

PROMISE_EITHER(receiving, what_was_kept_goes_first)
{
    AT_END(end) scene set = begin(placement);
    let_come(&set, "kept");
    ferry_file file = file_in(&set.where, "file");
    file.length = 2;
    check_outcome(submit_receive(set.on.stream, file), .sent = 2, .stream_offset = 5,
                  .method = FERRY_METHOD_MEMORY);
    let_talk(&set, 7, MIB);
    file.length = FERRY_TO_END;
    file.offset = 2;
    check_outcome(submit_receive(set.on.stream, file), .sent = 2 + MIB, .method = SPLICED);
    check_content(&set.where, "file", 4, 7, 0, MIB);
}

PROMISE_EITHER(receiving, peer_that_ends_early_is_no_error_and_what_did_not_come_is_remaining)
{
    AT_END(end) scene set = begin(placement);
    let_talk(&set, 8, 1000);
    ferry_file file = file_in(&set.where, "file");
    file.length = 1500;
    check_outcome(submit_receive(set.on.stream, file), .error = 0, .at_end = true, .sent = 1000,
                  .remaining = 500);
    check_outcome(submit_receive(set.on.stream, file), .error = 0, .at_end = true,
                  .remaining = 1500); /* there is still nothing */
}

PROMISE_EITHER(receiving, urgent_data_does_not_stop_it)
{
    AT_END(end) scene set = begin(placement);
    ferry_promise *all = submit_receive(set.on.stream, file_in(&set.where, "file"));
    check_eq(send(set.on.theirs, "before", 6, MSG_NOSIGNAL), 6);
    check_eq(send(set.on.theirs, "!", 1, MSG_NOSIGNAL | MSG_OOB), 1);
    check_eq(send(set.on.theirs, "after", 5, MSG_NOSIGNAL), 5);
    wait_until_asleep();
    check_eq(shutdown(set.on.theirs, SHUT_WR), 0);
    check_outcome(all, .error = 0, .sent = 11);
}

/* ---- storing fails --------------------------------------------------------------------------- */

PROMISE_EITHER(receiving, full_device_takes_nothing_and_nothing_is_lost)
{
    AT_END(end) scene set = begin(placement);
    let_talk(&set, 9, 2 * MIB);
    check_outcome(submit_receive(set.on.stream, ferry_file_at("/dev/full")), .error = -ENOSPC,
                  .phase = FERRY_PHASE_SINK, .sent = 0);
    check_outcome(submit_receive(set.on.stream, file_in(&set.where, "file")), .error = 0,
                  .sent = 2 * MIB);
    check_content(&set.where, "file", 0, 9, 0, 2 * MIB);
}

PROMISE_EITHER(receiving, file_size_limit_is_efbig_and_the_next_file_goes_on_at_the_next_byte)
{
    enum { MOST = 300001 };
    AT_END(end) scene set = begin(placement);
    set.names = TWO_FILES;
    let_talk(&set, 10, 2 * MIB);
    struct rlimit before, small;
    check_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){MOST, before.rlim_max};
    check_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    ferry_file file = file_in(&set.where, "file");
    file.length = (int64_t)MIB;
    ferry_result result = outcome(submit_receive(set.on.stream, file));
    check_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    check_eq(result.error, -EFBIG);
    check_eq(result.phase, FERRY_PHASE_SINK);
    check_eq(result.sent, MOST);
    check_eq(result.remaining, MIB - MOST);
    check_outcome(submit_receive(set.on.stream, file_in(&set.where, "rest")), .error = 0,
                  .stream_offset = MOST, .sent = 2 * MIB - MOST);
    check_eq(size_in(&set.where, "file"), MOST);
    check_content(&set.where, "file", 0, 10, 0, MOST);
    check_content(&set.where, "rest", 0, 10, MOST, 2 * MIB - MOST);
}

/* Every second splice is into the file. */
PROMISE_EITHER(receiving, full_disk_is_enospc_with_the_exact_count_and_the_next_goes_on)
{
    ONLY_ON_PLAIN_LINKS("nothing is spliced");
    const ferry_fault script = {
        .call = FERRY_CALL_SPLICE, .first = 6, .effect = FERRY_FAULT_ERROR, .error = ENOSPC};
    AT_END(drop_faults) ferry_faults *faults = faults_of(script);
    AT_END(end) scene set = begin_with(placement, unix_pair(SOCK_STREAM), faults);
    set.names = TWO_FILES;
    let_talk(&set, 11, 8 * MIB);
    while (true) { /* enough has to be there for each splice to find some */
        struct pollfd full = {.fd = set.on.theirs, .events = POLLOUT};
        if (poll(&full, 1, 0) == 0)
            break;
    }
    ferry_result result = outcome(submit_receive(set.on.stream, file_in(&set.where, "file")));
    check_eq(result.error, -ENOSPC);
    check_eq(result.phase, FERRY_PHASE_SINK);
    check(result.sent > 0);
    check_eq(result.sent, size_in(&set.where, "file"));
    uint64_t stored = result.sent;
    check_outcome(submit_receive(set.on.stream, file_in(&set.where, "rest")), .error = 0,
                  .stream_offset = stored, .sent = 8 * MIB - stored);
    check_content(&set.where, "file", 0, 11, 0, stored);
    check_content(&set.where, "rest", 0, 11, stored, 8 * MIB - stored);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void check_refused(ferry_stream *stream, ferry_file file, int error)
{
    check_outcome(submit_receive(stream, file), .error = error, .phase = FERRY_PHASE_OPEN,
                  .sent = 0);
}

PROMISE_EITHER(receiving, what_cannot_be_opened_fails_in_its_turn_and_consumes_nothing)
{
    static const char *const names[] = {"file", "link", NULL};
    AT_END(end) scene set = begin(placement);
    set.names = names;
    int fd = openat(set.where.fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int reading = openat(set.where.fd, "file", O_RDONLY | O_CLOEXEC);
    int ends[2];
    check_eq(pipe2(ends, O_CLOEXEC), 0);
    check_eq(symlinkat("/tmp", set.where.fd, "link"), 0);
    let_talk(&set, 12, 1000);
    ferry_file file = file_in(&set.where, "missing");
    file.flags = 0;
    check_refused(set.on.stream, file, -ENOENT);
    check_refused(set.on.stream, ferry_file_at(set.where.path), -EISDIR);
    file = file_in(&set.where, "file");
    file.flags |= FERRY_FILE_EXCLUSIVE;
    check_refused(set.on.stream, file, -EEXIST);
    file = file_in(&set.where, "link/ferry-test-outside");
    file.flags |= FERRY_FILE_BENEATH;
    check_refused(set.on.stream, file, -EXDEV);
    check_refused(set.on.stream, ferry_file_fd(reading), -EBADF);
    check_refused(set.on.stream, ferry_file_fd(ends[1]), -EOPNOTSUPP);
    check_next(set.on.stream, 12, 0);
    close(fd);
    close(reading);
    close(ends[0]);
    close(ends[1]);
}

/* An fd that nothing can be stored to, and why. @return -1: none of that kind can be had here. */
static int open_unfit(unsigned kind, const scene *set, int *ret_error)
{
    *ret_error = kind == 0 ? -EISDIR : kind == 1 ? -EBADF : -EOPNOTSUPP;
    switch (kind) {
    case 0:
        return openat(set->where.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case 1:
        return openat(set->where.fd, "file", O_RDONLY | O_CLOEXEC);
    case 2:
        return posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    case 3:
        return eventfd(0, EFD_CLOEXEC);
    case 4:
        return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    default:
        return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    }
}

/* With bytes that have come, so that it is written to in the same turn. */
PROMISE_EITHER(receiving, what_nothing_can_be_stored_to_is_refused_and_nothing_is_lost)
{
    enum { KINDS = 6 };
    AT_END(end) scene set = begin(placement);
    close(openat(set.where.fd, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    let_come(&set, "kept\n");
    for (unsigned kind = 0; kind < KINDS; kind++) {
        int error;
        AT_END(close_fd) int fd = open_unfit(kind, &set, &error);
        ferry_file file = ferry_file_fd(fd);
        file.offset = 0;
        file.length = 2;
        if (fd >= 0)
            check_refused(set.on.stream, file, error);
    }
    int ends[2], count;
    check_eq(pipe2(ends, O_CLOEXEC), 0);
    ferry_file file = ferry_file_fd(ends[1]);
    file.length = 2;
    for (file.offset = FERRY_CURRENT; file.offset <= 0; file.offset++)
        check_refused(set.on.stream, file, -EOPNOTSUPP);
    check_eq(ioctl(ends[0], FIONREAD, &count), 0);
    check_eq(count, 0);
    char line[16];
    check_line(submit_line(&set, line), line, "kept\n");
    close(ends[0]);
    close(ends[1]);
}

PROMISE_EITHER(receiving, truncate_empties_exclusive_makes_and_beneath_opens_what_is_beneath)
{
    static const char *const names[] = {"file", "new", NULL};
    AT_END(end) scene set = begin(placement);
    set.names = names;
    int fd = openat(set.where.fd, "file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    check_eq(ftruncate(fd, 5000), 0);
    close(fd);
    let_talk(&set, 13, 300);
    ferry_file file = file_in(&set.where, "file");
    file.flags = FERRY_FILE_BENEATH;
    file.length = 100;
    check_eq(outcome(submit_receive(set.on.stream, file)).error, 0);
    check_eq(size_in(&set.where, "file"), 5000); /* it only was written over */
    file.flags = FERRY_FILE_TRUNCATE;
    check_eq(outcome(submit_receive(set.on.stream, file)).error, 0);
    check_eq(size_in(&set.where, "file"), 100);
    file = file_in(&set.where, "new");
    file.flags |= FERRY_FILE_EXCLUSIVE | FERRY_FILE_BENEATH;
    check_eq(outcome(submit_receive(set.on.stream, file)).sent, 100);
    check_content(&set.where, "file", 0, 13, 100, 100);
    check_content(&set.where, "new", 0, 13, 200, 100);
    struct stat status;
    check_eq(fstatat(set.where.fd, "new", &status, 0), 0);
    mode_t mask = umask(0);
    (void)umask(mask);
    check_eq(status.st_mode & 0777, 0666 & ~mask);
}

PROMISE(receiving, what_makes_no_sense_is_einval_at_submit)
{
    AT_END(end) scene set = begin(FERRY_PLACEMENT_SHARED);
    set.names = NO_FILE;
    ferry_promise *none = NULL;
    ferry_file file = file_in(&set.where, "file");
    check_eq(ferry_stream_read_to_file(set.on.stream, NULL, NULL, &none), -EINVAL);
    check_eq(ferry_stream_read_to_file(NULL, &file, NULL, &none), -EINVAL);
    static const unsigned of_no_path[] = {FERRY_FILE_FOLLOW, FERRY_FILE_STABLE,    FERRY_FD_GIVE,
                                          FERRY_FD_BORROW,   FERRY_FILE_EXCLUSIVE, 1u << 30};
    for (size_t i = 0; i < sizeof of_no_path / sizeof of_no_path[0]; i++) {
        file.flags = of_no_path[i];
        check_eq(ferry_stream_read_to_file(set.on.stream, &file, NULL, &none), -EINVAL);
    }
    ferry_file both = file_in(&set.where, "file");
    both.fd = set.where.fd;
    check_eq(ferry_stream_read_to_file(set.on.stream, &both, NULL, &none), -EINVAL);
    ferry_file by_fd = ferry_file_fd(set.where.fd);
    by_fd.flags = FERRY_FILE_CREATE;
    check_eq(ferry_stream_read_to_file(set.on.stream, &by_fd, NULL, &none), -EINVAL);
    by_fd.flags = FERRY_FD_GIVE | FERRY_FD_BORROW;
    check_eq(ferry_stream_read_to_file(set.on.stream, &by_fd, NULL, &none), -EINVAL);
    ferry_resume_token token = {0};
    file = file_in(&set.where, "file");
    file.resume = &token;
    check_eq(ferry_stream_read_to_file(set.on.stream, &file, NULL, &none), -EINVAL);
    file.resume = NULL;
    file.length = -2;
    check_eq(ferry_stream_read_to_file(set.on.stream, &file, NULL, &none), -EINVAL);
    file.length = INT64_MAX;
    file.offset = 1;
    check_eq(ferry_stream_read_to_file(set.on.stream, &file, NULL, &none), -EOVERFLOW);
    file = file_in(&set.where, "file");
    const ferry_request_options confirmed = {.completion = FERRY_COMPLETION_ACKED};
    check_eq(ferry_stream_read_to_file(set.on.stream, &file, &confirmed, &none), -EINVAL);
    check_eq(ferry_stream_sendfile(set.on.stream, &file, NULL, &none), -EINVAL); /* CREATE */
    check(none == NULL);
}

/* ---- calling off ----------------------------------------------------------------------------- */

typedef struct progress {
    atomic_uint_least64_t bytes;
    unsigned calls;
} progress;

static void note_progress(ferry_promise *, uint64_t bytes, void *arg)
{
    progress *seen = arg;
    check(bytes >= atomic_load(&seen->bytes));
    atomic_store(&seen->bytes, bytes);
    seen->calls++;
}

/* Receives into the scene's file, and notes how far it is. */
static ferry_promise *submit_noted(scene *set, progress *seen)
{
    const ferry_request_options told = {.on_progress = note_progress, .on_progress_arg = seen};
    const ferry_file file = file_in(&set->where, "file");
    ferry_promise *promise;
    check_eq(ferry_stream_read_to_file(set->on.stream, &file, &told, &promise), 0);
    return promise;
}

PROMISE_EITHER(receiving, cancelled_one_stops_after_what_is_stored_and_the_rest_is_there)
{
    AT_END(end) scene set = begin(placement);
    progress seen = {0};
    ferry_promise *all = submit_noted(&set, &seen);
    unsigned char bytes[1000];
    fill_content(bytes, sizeof bytes, 14, 0);
    check_eq(send(set.on.theirs, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
    while (atomic_load(&seen.bytes) < sizeof bytes)
        (void)ferry_inbox_run(-1);
    check_eq(ferry_promise_cancel(all), 0);
    check_outcome(all, .error = -ECANCELED, .phase = FERRY_PHASE_SOURCE, .sent = sizeof bytes);
    check_eq(size_in(&set.where, "file"), sizeof bytes);
    fill_content(bytes, sizeof bytes, 14, sizeof bytes);
    check_eq(send(set.on.theirs, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
    check_next(set.on.stream, 14, sizeof bytes);
}

PROMISE_EITHER(receiving, cancel_in_the_queue_and_time_that_is_up_consume_nothing)
{
    AT_END(end) scene set = begin(placement);
    const ferry_request_options short_lived = {.timeout_ms = 20};
    ferry_file file = file_in(&set.where, "file");
    ferry_promise *first = submit_receive(set.on.stream, file);
    ferry_promise *second = submit_receive(set.on.stream, file), *late;
    check_eq(ferry_promise_cancel(second), 0);
    check_outcome(second, .error = -ECANCELED, .phase = FERRY_PHASE_QUEUE);
    check_eq(ferry_promise_cancel(first), 0);
    check_eq(outcome(first).error, -ECANCELED);
    check_eq(ferry_stream_read_to_file(set.on.stream, &file, &short_lived, &late), 0);
    check_eq(outcome(late).error, -ETIMEDOUT);
    let_talk(&set, 15, 100);
    check_next(set.on.stream, 15, 0);
}

PROMISE_EITHER(receiving, abort_and_destroy_under_way_settle_it_with_what_is_stored)
{
    for (int destroys = 0; destroys < 2; destroys++) {
        AT_END(end) scene set = begin(placement);
        let_talk(&set, 16, 256 * MIB);
        progress seen = {0};
        ferry_promise *all = submit_noted(&set, &seen);
        while (atomic_load(&seen.bytes) < MIB)
            (void)ferry_inbox_run(-1);
        if (destroys == 1)
            stage_destroy(&set.on);
        else
            ferry_stream_abort(set.on.stream);
        ferry_result result = outcome(all);
        check_eq(result.error, -ECANCELED);
        check_eq(result.sent, size_in(&set.where, "file"));
        check_content(&set.where, "file", 0, 16, 0, result.sent);
    }
}

/* A race of a cancel with everything else: whatever comes of it, no byte is lost. */
PROMISE_EITHER(receiving, cancel_at_any_moment_loses_no_byte)
{
    enum { ROUNDS = 60 };
    uint64_t seed = random_seed();
    for (int i = 0; i < ROUNDS; i++) {
        pair both = i % 2 == 0 ? tcp_pair() : unix_pair(SOCK_STREAM);
        AT_END(end) scene set = begin_with(placement, both, NULL);
        set.names = TWO_FILES;
        let_talk(&set, 17, MIB);
        ferry_promise *first = submit_receive(set.on.stream, file_in(&set.where, "file"));
        usleep((unsigned)(random_next(&seed) % 2000));
        (void)ferry_promise_cancel(first);
        ferry_result result = outcome(first);
        uint64_t stored = result.sent;
        check(result.error == 0 || result.error == -ECANCELED);
        result = outcome(submit_receive(set.on.stream, file_in(&set.where, "rest")));
        check_eq(result.error, 0);
        check_eq(stored + result.sent, MIB);
        if (stored > 0) /* else it may not even have been made */
            check_content(&set.where, "file", 0, 17, 0, stored);
        check_content(&set.where, "rest", 0, 17, stored, result.sent);
    }
}

/* ---- with others ----------------------------------------------------------------------------- */

PROMISE_EITHER(receiving, slow_peers_bytes_arrive_whole)
{
    AT_END(end) scene set = begin(placement);
    set.peer = talker_start_slow(set.on.theirs, 18, 100000, 997, 200);
    check_outcome(submit_receive(set.on.stream, file_in(&set.where, "file")), .error = 0,
                  .sent = 100000);
    check_content(&set.where, "file", 0, 18, 0, 100000);
}

PROMISE_EITHER(receiving, many_connections_at_once_each_get_their_own)
{
    enum { COUNT = 8 };
    static const char *const names[] = {"0", "1", "2", "3", "4", "5", "6", "7", NULL};
    ferry_service *service = service_start(placement);
    folder where = folder_make();
    ferry_stream *streams[COUNT];
    ferry_promise *promises[COUNT];
    talker *peers[COUNT];
    int theirs[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        pair both = i % 2 == 0 ? tcp_pair() : unix_pair(SOCK_STREAM);
        theirs[i] = both.theirs;
        streams[i] = stream_adopt(service, both.ours);
        promises[i] = submit_receive(streams[i], file_in(&where, names[i]));
        peers[i] = talker_start(theirs[i], 100 + i, 4 * MIB);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        check_outcome(promises[i], .error = 0, .sent = 4 * MIB);
        check_content(&where, names[i], 0, 100 + i, 0, 4 * MIB);
        talker_join(peers[i]);
        close(theirs[i]);
        ferry_stream_unref(streams[i]);
    }
    ferry_service_destroy(service);
    folder_remove(&where, names);
}

/* Sends all it has before it reads any: who did likewise would be stuck with it. */
static void *send_then_read(void *arg)
{
    int fd = *(int *)arg;
    talker_join(talker_start(fd, 20, 64 * MIB));
    reader *answer = reader_start(fd, false);
    reader_join(answer);
    return answer;
}

PROMISE_EITHER(receiving, peer_that_sends_much_before_it_reads_is_served_both_ways_at_once)
{
    for (int over_unix = 0; over_unix < 2; over_unix++) {
        test_file sent = file_make(64 * MIB, 21);
        AT_END(end)
        scene set =
            begin_with(placement, over_unix != 0 ? unix_pair(SOCK_STREAM) : tcp_pair(), NULL);
        pthread_t peer = start_thread(send_then_read, &set.on.theirs);
        ferry_promise *out = submit_file(set.on.stream, ferry_file_at(sent.path));
        ferry_promise *in = submit_receive(set.on.stream, file_in(&set.where, "file"));
        check_eq(ferry_stream_shutdown(set.on.stream, NULL), 0);
        check_eq(outcome(in).sent, 64 * MIB);
        check_eq(outcome(out).sent, 64 * MIB);
        void *answer;
        check_eq(pthread_join(peer, &answer), 0);
        set.on.theirs = -1; /* the reader has closed it */
        check_eq(((reader *)answer)->bytes, 64 * MIB);
        check(((reader *)answer)->digest == digest_content(DIGEST_BEGIN, 21, 0, 64 * MIB));
        check_content(&set.where, "file", 0, 20, 0, 64 * MIB);
        reader_free(answer);
        file_remove(&sent);
    }
}

/* ---- the fault sweep ------------------------------------------------------------------------- */

enum { SWEPT = 150000 };

/* Whatever goes wrong: what is in the files is what the peer sent, in order and without a gap, and
 * as much as the results say. @return how many calls the run needed. */
static uint64_t receive_with(ferry_placement placement, const ferry_fault *fault, int appending)
{
    static const char *const names[] = {"0", "1", "2", NULL};
    enum { COUNT = 3 };
    AT_END(drop_faults) ferry_faults *faults;
    check_eq(ferry_faults_create(fault, 1, &faults), 0);
    pair both = unix_pair(SOCK_STREAM);
    folder where = folder_make();
    ferry_service *service = service_start(placement);
    const ferry_stream_options options = {.faults = faults};
    ferry_stream *stream = NULL;
    talker *peer = talker_start(both.theirs, 22, SWEPT);
    if (ferry_stream_adopt(service, both.ours, &options, &stream) != 0)
        close(both.ours);
    uint64_t position = 0;
    for (int i = 0; i < COUNT && stream != NULL; i++) {
        AT_END(close_fd)
        int fd = openat(where.fd, names[i], O_WRONLY | O_CREAT | O_CLOEXEC | appending, 0600);
        ferry_file file = ferry_file_fd(fd);
        file.flags = FERRY_FD_BORROW;
        file.length = i < COUNT - 1 ? SWEPT / 3 : FERRY_TO_END;
        ferry_promise *promise;
        if (ferry_stream_read_to_file(stream, &file, NULL, &promise) == 0) {
            ferry_result result = outcome(promise);
            if (fault->error == EINTR && fault->call != FERRY_CALL_ANY)
                check_eq(result.error, 0);
            check_eq(result.sent, size_in(&where, names[i]));
            check_content(&where, names[i], 0, 22, position, result.sent);
            if (result.sent > 0)
                check_eq(result.stream_offset, position);
            if (result.error == 0 && fault->effect != FERRY_FAULT_EOF)
                check_eq(result.sent, i < COUNT - 1 ? SWEPT / 3 : SWEPT - position);
            position += result.sent;
        }
    }
    ferry_stream_abort(stream);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
    talker_join(peer);
    close(both.theirs);
    folder_remove(&where, names);
    uint64_t calls = ferry_faults_get_calls(faults, FERRY_CALL_ANY);
    return calls;
}

/* Each kind at every call, but a stall: nothing is sent that could find no room. */
static void sweep(ferry_placement placement, int appending)
{
    for (unsigned kind = 0; kind < FAULT_KINDS; kind++) {
        uint64_t calls = fault_at(kind, 1).effect != FERRY_FAULT_STALL;
        for (uint64_t n = 1; n <= calls && n < 100; n++) {
            const ferry_fault fault = fault_at(kind, n);
            calls = receive_with(placement, &fault, appending);
        }
    }
}

PROMISE_EITHER(receiving, every_fault_at_every_call_leaves_a_true_prefix_when_spliced)
{
    ONLY_ON_PLAIN_LINKS("nothing is spliced");
    sweep(placement, 0);
}

PROMISE_EITHER(receiving, every_fault_at_every_call_leaves_a_true_prefix_when_copied)
{
    sweep(placement, O_APPEND);
}

PROMISE_EITHER(receiving, every_call_that_is_interrupted_is_made_again)
{
    for (ferry_fault_call call = FERRY_CALL_WRITE; call <= FERRY_CALL_POLL; call++) {
        for (uint64_t k = 1; k <= 12; k++) {
            const ferry_fault fault = {call, k, 3, FERRY_FAULT_ERROR, EINTR};
            (void)receive_with(placement, &fault, k % 2 == 0 ? O_APPEND : 0);
        }
    }
}
