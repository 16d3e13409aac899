/* SPDX-License-Identifier: MIT */
/*
 * Calls that end where TCP's packets do. The kernel's two answers, how large a segment is and how
 * its window is controlled, are the test's; the sizes of the calls are noted.
 */
#include "transport/edge/segments.h"

#include "tests/notes.h"
#include "tests/support.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>

enum {
    ETHERNET = 1448,
    LOOPBACK = 65483,
    PACKET = 45 * ETHERNET,
    PAGE = 4096,
    AT_ONCE = 16 * PAGE
};

/* ---- the kernel ------------------------------------------------------------------------------ */

static atomic_int segment; /* what it answers; 0: no answer */
static const char *_Atomic control;
static atomic_uint under_way; /* segments */
static atomic_uint questions;

static int answer_segment(void *value)
{
    atomic_fetch_add(&questions, 1);
    int size = atomic_load(&segment);
    if (size == 0) {
        errno = ENOPROTOOPT;
        return -1;
    }
    memcpy(value, &size, sizeof size);
    return 0;
}

static int answer_control(void *value, const socklen_t *size)
{
    (void)snprintf(value, *size, "%s", atomic_load(&control));
    return 0;
}

WRAPPED(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *size))
{
    if (level == IPPROTO_TCP && name == TCP_INFO) {
        struct tcp_info info = {0};
        socklen_t all = sizeof info;
        (void)__real_getsockopt(fd, level, name, &info, &all);
        info.tcpi_snd_cwnd = atomic_load(&under_way);
        info.tcpi_snd_mss = (unsigned)atomic_load(&segment);
        memcpy(value, &info, *size < sizeof info ? *size : sizeof info);
        return 0;
    }
    if (level == IPPROTO_TCP && name == TCP_MAXSEG)
        return answer_segment(value);
    if (level == IPPROTO_TCP && name == TCP_CONGESTION)
        return answer_control(value, size);
    return __real_getsockopt(fd, level, name, value, size);
}

static void let_kernel_say(int of_segment, const char *of_control)
{
    atomic_store(&segment, of_segment);
    atomic_store(&control, of_control);
    atomic_store(&under_way, 12);
    atomic_store(&questions, 0);
}

/* What was asked of a call of one kind, in order, and where that would have ended. */
typedef struct asked {
    size_t sizes[4096];
    uint64_t ends[4096];
    atomic_uint count;
    _Atomic uint64_t moved;
} asked;

static asked of_send, of_sendfile;

static ssize_t note(asked *to, size_t size, ssize_t moved)
{
    unsigned at = atomic_fetch_add(&to->count, 1);
    check(at < sizeof to->sizes / sizeof to->sizes[0]);
    to->sizes[at] = size;
    to->ends[at] = atomic_load(&to->moved) + size;
    if (moved > 0)
        atomic_fetch_add(&to->moved, (uint64_t)moved);
    return moved;
}

WRAPPED(ssize_t, send, (int fd, const void *data, size_t size, int flags))
{
    return note(&of_send, size, __real_send(fd, data, size, flags));
}

WRAPPED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags))
{
    size_t size = 0;
    for (size_t i = 0; i < (size_t)message->msg_iovlen; i++)
        size += message->msg_iov[i].iov_len;
    return note(&of_send, size, __real_sendmsg(fd, message, flags));
}

/* What the second sendfile(2) does first, and to which fd. */
static void (*_Atomic before_second)(int fd);
static atomic_int its_fd;

static void let_second_begin_with(void (*step)(int fd), int fd)
{
    atomic_store(&its_fd, fd);
    atomic_store(&before_second, step);
}

WRAPPED(ssize_t, sendfile64, (int sink_fd, int source_fd, off_t *offset, size_t length))
{
    void (*step)(int fd) = atomic_load(&before_second);
    if (step != NULL && atomic_load(&of_sendfile.count) == 1)
        step(atomic_load(&its_fd));
    return note(&of_sendfile, length, __real_sendfile64(sink_fd, source_fd, offset, length));
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

PROMISE(segments, end_of_a_call_is_the_end_of_a_packet)
{
    let_kernel_say(ETHERNET, "cubic");
    ferry__segments segments = {0};
    check_eq(ferry__segments_trim(&segments, -1, 512 * 1024), 8 * PACKET);
    check_eq(ferry__segments_trim(&segments, -1, PACKET), PACKET);
    check_eq(ferry__segments_trim(&segments, -1, PACKET - 1), 44 * ETHERNET);
    let_kernel_say(LOOPBACK, "cubic");
    segments = (ferry__segments){0};
    check_eq(ferry__segments_trim(&segments, -1, 65536), LOOPBACK);
    check_eq(ferry__segments_trim(&segments, -1, 1 << 20), 16 * LOOPBACK);
}

PROMISE(segments, less_than_a_segment_is_sent_as_it_is)
{
    let_kernel_say(LOOPBACK, "cubic");
    ferry__segments segments = {0};
    check_eq(ferry__segments_trim(&segments, -1, LOOPBACK - 1), LOOPBACK - 1);
    check_eq(ferry__segments_trim(&segments, -1, 16 * 1024 - 1), 16 * 1024 - 1);
    check_eq(atomic_load(&questions), 1); /* not for so little */
}

PROMISE(segments, socket_that_does_not_say_its_segment_is_sent_all)
{
    let_kernel_say(0, "bbr");
    ferry__segments segments = {0};
    check_eq(ferry__segments_trim(&segments, -1, 1 << 20), 1 << 20);
    check_eq(ferry__segments_piece(&segments, -1, 0, 1 << 20), 1 << 20);
}

/* What sendfile(2) hands on at a time is 16 pages, from the beginning of one. */
PROMISE(segments, piece_of_a_file_is_one_packet_from_few_pages)
{
    let_kernel_say(ETHERNET, "bbr");
    ferry__segments segments = {0};
    for (int64_t offset = 0; offset < 3 * PAGE; offset += 100) {
        size_t piece = ferry__segments_piece(&segments, -1, offset, 1 << 20);
        size_t most = AT_ONCE - (size_t)offset % PAGE;
        check(piece % ETHERNET == 0 && piece <= most && piece + ETHERNET > most);
    }
    let_kernel_say(LOOPBACK, "bbr2");
    segments = (ferry__segments){0};
    check_eq(ferry__segments_piece(&segments, -1, 0, 1 << 20), LOOPBACK);
    check_eq(ferry__segments_piece(&segments, -1, 1, 1 << 20), LOOPBACK); /* more pages than that */
}

PROMISE(segments, little_that_would_be_left_of_a_file_goes_along)
{
    let_kernel_say(LOOPBACK, "bbr");
    ferry__segments segments = {0};
    check_eq(ferry__segments_piece(&segments, -1, 0, LOOPBACK + PAGE - 1), LOOPBACK + PAGE - 1);
    check_eq(ferry__segments_piece(&segments, -1, 0, LOOPBACK + PAGE), LOOPBACK);
}

PROMISE(segments, long_path_takes_many_packets_to_a_call)
{
    let_kernel_say(ETHERNET, "bbr");
    atomic_store(&under_way, 10000);
    ferry__segments segments = {0};
    check_eq(ferry__segments_piece(&segments, -1, 0, 1 << 20), 1 << 20);
}

/* A segment grows while a connection begins, and changes with its route. */
PROMISE(segments, kernel_is_asked_anew_after_twice_as_many_uses_until_it_says_something_else)
{
    enum { USES = 1 + 2 + 4 + 8 + 16 + 32 + 64 };
    ferry__segments segments = {0};
    static const int grown[] = {32741, 47616, LOOPBACK};
    for (unsigned i = 0; i < 3; i++) {
        let_kernel_say(grown[i], "cubic");
        check_eq(ferry__segments_trim(&segments, -1, 1 << 17), (1 << 17) / grown[i] * grown[i]);
        check_eq(atomic_load(&questions), 1);
    }
    for (unsigned i = 1; i < USES; i++)
        (void)ferry__segments_trim(&segments, -1, 1 << 17);
    check_eq(atomic_load(&questions), 1 + 6);
    let_kernel_say(ETHERNET, "cubic");
    for (unsigned i = 0; i < 3; i++)
        check_eq(ferry__segments_trim(&segments, -1, 1 << 17), 2 * PACKET);
    check_eq(atomic_load(&questions), 2);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void forget(asked *calls)
{
    atomic_store(&calls->count, 0);
    atomic_store(&calls->moved, 0);
}

static stage begin_unread(ferry_placement placement)
{
    pair both = tcp_pair();
    int memory = 1 << 20; /* of a socket's: enough for large calls */
    check_eq(setsockopt(both.ours, SOL_SOCKET, SO_SNDBUF, &memory, sizeof memory), 0);
    forget(&of_send);
    forget(&of_sendfile);
    return stage_open(placement, both);
}

static stage begin(ferry_placement placement)
{
    stage s = begin_unread(placement);
    stage_let_read(&s);
    return s;
}

/* A packet at least, but for the end. */
static void check_whole_segments(const asked *calls, uint64_t total, size_t most)
{
    unsigned count = atomic_load(&calls->count);
    check(count > 1);
    for (unsigned i = 0; i < count; i++) {
        check(calls->sizes[i] <= most);
        bool is_whole = calls->sizes[i] >= PACKET && calls->sizes[i] % ETHERNET == 0;
        check(is_whole || calls->ends[i] == total);
    }
}

/* A memfd is always read. */
PROMISE_BOTH(segments, small_files_behind_each_other_fill_packets)
{
    enum { FILES = 24, SIZE = 16 * 1024 };
    static unsigned char content[SIZE];
    let_kernel_say(ETHERNET, "cubic");
    fill_content(content, SIZE, 1, 0);
    AT_END(close_fd) int fd = memfd_create("small", MFD_CLOEXEC);
    check_eq(write(fd, content, SIZE), SIZE);
    stage s = begin(placement);
    ferry_part parts[FILES];
    uint64_t sum = DIGEST_BEGIN;
    for (unsigned i = 0; i < FILES; i++) {
        parts[i] = ferry_part_file((ferry_file){
            .dirfd = FERRY_CWD, .fd = fd, .length = FERRY_TO_END, .flags = FERRY_FD_BORROW});
        sum = digest_content(sum, 1, 0, SIZE);
    }
    check_outcome(submit_parts(s.stream, parts, FILES, NULL), .error = 0, .sent = FILES * SIZE);
    check_whole_segments(&of_send, FILES * SIZE, 65536);
    stage_close_got(&s, FILES * SIZE, sum);
}

/* Some are cut, and read again from where they were. */
PROMISE_BOTH(segments, ranges_from_where_an_fd_stands_arrive_whole)
{
    enum { RANGES = 24, SIZE = 15000 };
    let_kernel_say(ETHERNET, "cubic");
    AT_END(file_remove) test_file file = file_make(RANGES * SIZE, 5);
    stage s = begin(placement);
    ferry_part parts[RANGES];
    for (unsigned i = 0; i < RANGES; i++) {
        ferry_file range = ferry_file_fd(file.fd);
        range.length = SIZE;
        parts[i] = ferry_part_file(range);
    }
    check_outcome(submit_parts(s.stream, parts, RANGES, NULL), .error = 0, .sent = RANGES * SIZE);
    stage_close_got_content(&s, 5, RANGES * SIZE);
}

PROMISE_BOTH(segments, memory_leaves_in_whole_segments_half_a_megabyte_at_a_time)
{
    enum { SIZE = 8 << 20, MOST = 512 * 1024 };
    let_kernel_say(ETHERNET, "cubic");
    stage s = begin(placement);
    check_outcome(submit_content(s.stream, 2, SIZE), .error = 0, .sent = SIZE);
    check_whole_segments(&of_send, SIZE, MOST);
    stage_close_got_content(&s, 2, SIZE);
}

static void send_long_file(ferry_placement placement, uint64_t size)
{
    AT_END(file_remove) test_file file = file_make(size, 4);
    stage s = begin(placement);
    check_outcome(submit_file(s.stream, ferry_file_at(file.path)), .error = 0, .sent = size);
    stage_close_got_content(&s, 4, size);
}

/* Of calls but those for the last megabyte of so many bytes. */
static size_t most_of(const asked *calls, uint64_t size)
{
    size_t most = 0;
    uint64_t sum = 0;
    for (unsigned i = 0; i < atomic_load(&calls->count) && sum + (1 << 20) <= size; i++) {
        most = calls->sizes[i] > most ? calls->sizes[i] : most;
        sum += calls->sizes[i];
    }
    return most;
}

PROMISE_BOTH(segments, long_file_leaves_packet_by_packet_where_few_are_under_way)
{
    enum { SIZE = 8 << 20 };
    let_kernel_say(ETHERNET, "bbr");
    send_long_file(placement, SIZE);
    check(atomic_load(&of_sendfile.count) > SIZE / AT_ONCE / 2);
    for (unsigned i = 0; of_sendfile.ends[i] < SIZE - (1 << 20); i++)
        check(of_sendfile.sizes[i] < AT_ONCE + PAGE && of_sendfile.sizes[i] % ETHERNET == 0);
}

/* The kernel says so once, and then only that the pipe is broken, or that this is the end. */
PROMISE_BOTH(segments, reset_between_packets_of_a_long_file_is_told_to_both_directions)
{
    enum { SIZE = 8 << 20 };
    let_kernel_say(ETHERNET, "bbr");
    AT_END(file_remove) test_file file = file_make(SIZE, 6);
    notes seen = {0};
    AT_END(stage_end) stage s = begin_unread(placement);
    let_second_begin_with(close_with_reset, s.theirs);
    ferry_promise *sent = submit_file(s.stream, ferry_file_at(file.path));
    notes_set(s.stream, &seen, false);
    check_outcome(sent, .error = -ECONNRESET, .phase = FERRY_PHASE_SINK, .sent = PACKET);
    notes_await_end(&seen);
    check_eq(seen.error, -ECONNRESET);
    check_eq(atomic_load(&of_sendfile.count), 2);
    let_second_begin_with(NULL, -1);
    s.theirs = -1;
}

static void cut_short(int fd)
{
    check_eq(ftruncate(fd, PACKET), 0);
}

PROMISE_BOTH(segments, long_file_that_is_cut_short_between_packets_fails_with_the_exact_count)
{
    enum { SIZE = 8 << 20 };
    let_kernel_say(ETHERNET, "bbr");
    AT_END(file_remove) test_file file = file_make(SIZE, 7);
    AT_END(close_fd) int fd = open(file.path, O_WRONLY | O_CLOEXEC);
    AT_END(stage_end) stage s = begin(placement);
    let_second_begin_with(cut_short, fd);
    check_outcome(submit_file(s.stream, ferry_file_at(file.path)), .error = -ENODATA,
                  .phase = FERRY_PHASE_SOURCE, .sent = PACKET, .remaining = SIZE - PACKET);
    let_second_begin_with(NULL, -1);
    (void)stage_close_stream(&s);
}

PROMISE_BOTH(segments, file_of_half_a_megabyte_leaves_in_few_calls)
{
    let_kernel_say(ETHERNET, "bbr");
    send_long_file(placement, 512 * 1024);
    check(most_of(&of_sendfile, UINT64_MAX) > AT_ONCE + PAGE);
}

PROMISE_BOTH(segments, long_file_leaves_in_few_calls_where_many_packets_are_under_way)
{
    let_kernel_say(ETHERNET, "cubic");
    send_long_file(placement, 8 << 20);
    check(most_of(&of_sendfile, 8 << 20) > AT_ONCE + PAGE);
}
