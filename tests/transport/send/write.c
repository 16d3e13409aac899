/* SPDX-License-Identifier: MIT */
/* writes, and what settles when. */
#include "tests/support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <linux/tcp.h> /* glibc's tcp_info lacks the count of segments */
#include <sys/ioctl.h>
#include <linux/sockios.h>

/* Pins: honest_done. */
PROMISE_BOTH(write, settles_when_it_left_even_with_more_queued_behind)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *first = submit_write(s.stream, "first", 5);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(outcome(first).error, 0);
    check_eq(ferry_promise_await(stuck, 0, NULL), -ETIMEDOUT);
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
}

PROMISE_BOTH(write, empty_write_and_flush_are_markers_that_settle_in_their_turn)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    ferry_promise *empty = submit_write(s.stream, NULL, 0);
    ferry_promise *flushed = submit_mark(s.stream);
    check_eq(ferry_promise_await(empty, 0, NULL), -ETIMEDOUT);
    stage_let_read(&s);
    check_outcome(flushed, .error = 0, .sent = 0, .sequence = 2, .stream_offset = STUCK_BYTES);
    check_eq(ferry_promise_await(empty, 0, NULL), 0);
    check_eq(ferry_promise_await(stuck, 0, NULL), 0);
    check_eq(outcome(empty).method, FERRY_METHOD_NONE);
    check_eq(outcome(stuck).method, FERRY_METHOD_MEMORY);
}

/* A connection that cannot be established until those before it in a full queue are accepted. */
typedef struct hanging {
    int listener;
    int fd; /* SYN is sent and not answered */
    int before[8];
    int count;
} hanging;

static int connect_without_waiting(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = connect(fd, (const struct sockaddr *)address, sizeof *address);
    check(error == 0 || errno == EINPROGRESS);
    return fd;
}

static bool is_connecting(int fd)
{
    enum { SYN_SENT = 2 };
    struct tcp_info info;
    socklen_t size = sizeof info;
    check_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info.tcpi_state == SYN_SENT;
}

static hanging connect_that_hangs(void)
{
    struct sockaddr_in address;
    hanging made = {.listener = listen_somewhere(0, &address)};
    while (!is_connecting(made.fd = connect_without_waiting(&address))) {
        check(made.count < 8);
        made.before[made.count++] = made.fd;
    }
    return made;
}

static void close_what_hangs(hanging *connection)
{
    while (connection->count > 0)
        close(connection->before[--connection->count]);
    close(connection->listener);
}

PROMISE_BOTH(write, writes_before_the_connection_stands_are_kept_in_order)
{
    AT_END(close_what_hangs) hanging connection = connect_that_hangs();
    AT_END(file_remove) test_file file = file_make(50000, 6);
    stage s = stage_open(placement, (pair){.ours = connection.fd, .theirs = -1});
    ferry_promise *first = submit_write(s.stream, "one ", 4);
    ferry_promise *second = submit_file(s.stream, ferry_file_at(file.path));
    wait_until_asleep();
    check_eq(ferry_promise_await(first, 0, NULL), -ETIMEDOUT);
    for (int i = 0; i < connection.count; i++)
        close(accept(connection.listener, NULL, NULL));
    s.theirs = accept(connection.listener, NULL, NULL); /* SYN's next repetition gets through */
    stage_let_read(&s);
    check_eq(outcome(first).error, 0);
    check_eq(outcome(second).sent, 50000);
    stage_close_got(&s, 50004, digest_content(digest(DIGEST_BEGIN, "one ", 4), 6, 0, 50000));
}

PROMISE_BOTH(write, abort_gets_a_stream_out_that_is_still_connecting)
{
    AT_END(close_what_hangs) hanging connection = connect_that_hangs();
    AT_END(stage_end)
    stage s = stage_open(placement, (pair){.ours = connection.fd, .theirs = -1});
    ferry_promise *promise = submit_write(s.stream, "x", 1);
    wait_until_asleep();
    ferry_stream_abort(s.stream);
    check_eq(outcome(promise).error, -ECANCELED);
}

PROMISE_BOTH(write, full_socket_send_timeout_and_nonblocking_flag_never_show)
{
    enum { SIZE = 8 << 20 };
    pair both = unix_pair(SOCK_STREAM);
    const struct timeval timeout = {.tv_usec = 1000}; /* SO_SNDTIMEO makes a blocked call EAGAIN */
    check_eq(setsockopt(both.ours, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), 0);
    AT_END(close_fd) int other = duplicate(both.ours);
    stage s = stage_open(placement, both);
    static unsigned char data[SIZE];
    fill_content(data, SIZE, 8, 0);
    const ferry_part part = ferry_part_borrow(data, SIZE);
    ferry_promise *promise = submit_parts(s.stream, &part, 1, NULL);
    AT_END(file_remove) test_file file = file_make(SIZE, 9);
    ferry_promise *of_file = submit_file(s.stream, ferry_file_at(file.path));
    wait_readable(s.theirs);
    fcntl(other, F_SETFL, O_NONBLOCK); /* by somebody who shares the description */
    stage_let_read_slowly(&s, 65536, 200);
    check_eq(outcome(promise).sent, SIZE);
    check_eq(outcome(of_file).sent, SIZE);
    uint64_t expected = digest_content(DIGEST_BEGIN, 8, 0, SIZE);
    stage_close_got(&s, 2 * SIZE, digest_content(expected, 9, 0, SIZE));
}

PROMISE_BOTH(write, large_copy_is_whole_however_many_blocks_it_takes)
{
    enum { BLOCK = 64 * 1024, MOST = (8 << 20) + 1 };
    static const size_t sizes[] = {BLOCK - 1,     BLOCK,    BLOCK + 1, 2 * BLOCK,
                                   3 * BLOCK + 7, MOST - 1, MOST};
    static unsigned char data[MOST];
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_let_read(&s);
    uint64_t offset = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        fill_content(data, sizes[i], 8, offset);
        ferry_promise *copied = submit_write(s.stream, data, sizes[i]);
        memset(data, 0, sizes[i]);
        check_outcome(copied, .error = 0, .sent = sizes[i], .stream_offset = offset);
        offset += sizes[i];
    }
    stage_close_got_content(&s, 8, offset);
}

PROMISE_EITHER(write, large_copy_without_memory_for_its_end_takes_nothing)
{
    enum { BLOCKS = 4, SIZE = BLOCKS * 64 * 1024 };
    static const char data[SIZE];
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    wait_until_asleep(); /* its owner has what it needs */
    long before = bytes_outstanding();
    fail_allocation(1 + BLOCKS); /* its request, and all its blocks but one, are there */
    check_eq(ferry_stream_write(s.stream, data, SIZE, NULL, NULL), -ENOMEM);
    allow_allocations();
    check_eq(bytes_outstanding(), before);
    check_eq(stream_status(s.stream).queued_bytes, 0);
}

PROMISE_BOTH(write, writes_that_leave_together_settle_each_with_its_own_receipt)
{
    enum { COUNT = 3000 };
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs); /* so that all of them wait together */
    ferry_promise *promises[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        promises[i] = submit_write(s.stream, "0123456789", i % 11);
    stage_let_read(&s);
    uint64_t offset = outcome(stuck).sent;
    for (unsigned i = 0; i < COUNT; i++) {
        ferry_result result = outcome(promises[i]);
        check_eq(result.error, 0);
        check_eq(result.sent, i % 11);
        check_eq(result.sequence, i + 1);
        check_eq(result.stream_offset, offset);
        offset += result.sent;
    }
    stage_close_got_bytes(&s, offset);
}

PROMISE_BOTH(write, when_the_peer_is_gone_every_coalesced_write_settles_in_order)
{
    enum { COUNT = 100 };
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    ferry_promise *promises[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        promises[i] = submit_write(s.stream, "0123456789", 10);
    stage_hang_up(&s);
    ferry_result cut = outcome(stuck);
    check(cut.error == -EPIPE || cut.error == -ECONNRESET);
    check_eq(cut.phase, FERRY_PHASE_SINK);
    check(cut.sent > 0);
    check_eq(cut.sent + cut.remaining, STUCK_BYTES);
    for (unsigned i = 0; i < COUNT; i++) {
        /* The one before failed midway: poisoned. */
        check_outcome(promises[i], .error = -ECANCELED, .sent = 0, .sequence = i + 1);
    }
}

PROMISE_BOTH(write, peer_gone_before_the_first_byte_is_epipe_for_each)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    stage_hang_up(&s);
    for (unsigned i = 0; i < 3; i++) {
        check_outcome(submit_write(s.stream, "abc", 3), .error = -EPIPE, .phase = FERRY_PHASE_SINK,
                      .sent = 0, .remaining = 3);
    }
}

/* ---- kinds of sinks -------------------------------------------------------------------------- */

PROMISE_BOTH(write, each_write_to_a_seqpacket_is_one_message)
{
    stage s = stage_open(placement, unix_pair(SOCK_SEQPACKET));
    ferry_promise *last = NULL;
    for (unsigned i = 1; i <= 20; i++) {
        ferry_promise_unref(last);
        last = submit_write(s.stream, "01234567890123456789", i);
    }
    check_eq(outcome(last).error, 0);
    for (unsigned i = 1; i <= 20; i++) {
        char data[64];
        check_eq(recv(s.theirs, data, sizeof data, 0), i);
    }
    static char huge[1 << 22];
    check_eq(outcome(submit_write(s.stream, huge, 100000)).sent, 100000);
    check_eq(recv(s.theirs, huge, sizeof huge, 0), 100000);
    check_outcome(submit_write(s.stream, huge, sizeof huge), .error = -EMSGSIZE, .sent = 0);
    AT_END(file_remove) test_file file = file_make(200000, 4);
    stage_let_read(&s);
    check_eq(outcome(submit_file(s.stream, ferry_file_at(file.path))).sent, 200000);
    stage_close_got_content(&s, 4, 200000);
}

PROMISE_BOTH(write, file_goes_to_a_seqpacket_in_messages_of_at_most_64_kib)
{
    enum { MOST = 64 * 1024, SIZE = 300000 };
    AT_END(file_remove) test_file file = file_make(SIZE, 4);
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_SEQPACKET));
    ferry_promise *promises[] = {submit_file(s.stream, ferry_file_at(file.path)),
                                 submit_file(s.stream, ferry_file_at("/proc/self/status"))};
    static char data[4 * MOST];
    ssize_t bytes = 0;
    while (bytes < SIZE) {
        ssize_t count = recv(s.theirs, data, sizeof data, 0);
        check(count > 0 && count <= MOST);
        bytes += count;
    }
    check_eq(bytes, SIZE); /* and the second file's are messages of their own */
    check_eq(outcome(promises[0]).sent, SIZE);
    check_eq(outcome(promises[1]).error, 0);
}

PROMISE_BOTH(write, message_is_never_cut_however_small_a_turn_is)
{
    const ferry_service_options options = {.placement = placement, .chunk_bytes = 1000};
    AT_END(destroy_service) ferry_service *service = service_start_with(options);
    AT_END(stage_close) stage s = stage_in(service, unix_pair(SOCK_SEQPACKET));
    static char data[5000];
    check_eq(outcome(submit_write(s.stream, data, sizeof data)).sent, 5000);
    check_eq(recv(s.theirs, data, sizeof data, 0), 5000);
}

static stage send_all_kinds(ferry_placement placement, pair both)
{
    AT_END(file_remove) test_file file = file_make(1 << 20, 4);
    stage s = stage_open(placement, both);
    if (both.theirs >= 0)
        stage_let_read_slowly(&s, 30000, 100);
    check_eq(ferry_stream_write(s.stream, "head", 4, NULL, NULL), 0);
    check_eq(outcome(submit_file(s.stream, ferry_file_at(file.path))).sent, 1 << 20);
    check_eq(outcome(submit_write(s.stream, "tail", 4)).sent, 4);
    check_eq(ferry_stream_shutdown(s.stream, NULL), -ENOTSOCK);
    return s;
}

PROMISE_BOTH(write, pipes_files_and_devices_take_writes_and_files)
{
    uint64_t expected = digest_content(digest(DIGEST_BEGIN, "head", 4), 4, 0, 1 << 20);
    expected = digest(expected, "tail", 4);
    stage s = send_all_kinds(placement, pipe_pair());
    stage_close_got(&s, (1 << 20) + 8, expected);
    s = send_all_kinds(placement, (pair){open("/dev/null", O_WRONLY | O_CLOEXEC), -1});
    stage_close(&s);
    AT_END(file_remove) test_file sink = file_make(0, 0);
    s = send_all_kinds(placement, (pair){open(sink.path, O_WRONLY | O_CLOEXEC), -1});
    s.theirs = duplicate(sink.fd);
    stage_close_got(&s, (1 << 20) + 8, expected);
}

PROMISE_BOTH(write, terminal_gets_it_whichever_side_was_adopted)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    for (unsigned by_master = 0; by_master < 2; by_master++) {
        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        check(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
        int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
        check(terminal >= 0);
        const pair both = {by_master ? master : terminal, by_master ? terminal : master};
        AT_END(stage_close) stage s = stage_in(service, both);
        check_eq(outcome(submit_write(s.stream, "hello\n", 6)).sent, 6);
        char data[20];
        ssize_t count = read(s.theirs, data, sizeof data);
        check(count >= 6 && memcmp(data, "hello", 5) == 0); /* a master reads "\r\n" */
    }
}

PROMISE_BOTH(write, each_write_to_a_packet_pipe_is_one_packet)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    int fds[2];
    check_eq(pipe2(fds, O_CLOEXEC | O_DIRECT), 0);
    ferry_stream *stream = stream_adopt(service, fds[1]);
    for (unsigned i = 0; i < 3; i++)
        check_eq(ferry_stream_write(stream, "ab", 2, NULL, NULL), 0);
    check_eq(close_stream(stream).error, 0);
    char data[20];
    for (unsigned i = 0; i < 3; i++)
        check_eq(read(fds[0], data, sizeof data), 2);
    close(fds[0]);
}

PROMISE_BOTH(write, full_device_is_enospc_in_the_sink)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_stream *stream = stream_adopt(service, open("/dev/full", O_WRONLY | O_CLOEXEC));
    check_outcome(submit_write(stream, "abc", 3), .error = -ENOSPC, .phase = FERRY_PHASE_SINK);
    check_eq(close_stream(stream).error, 0);
}

/* ---- leaving together ------------------------------------------------------------------------ */

/* Those that were sent again not counted twice. */
static unsigned segments_out(int fd)
{
    struct tcp_info info;
    socklen_t size = sizeof info;
    check_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info.tcpi_data_segs_out - info.tcpi_total_retrans; /* an acknowledgement was late */
}

PROMISE_BOTH(write, head_leaves_in_one_segment_with_the_file_behind_it)
{
    AT_END(file_remove) test_file file = file_make(1000, 4);
    pair both = tcp_pair();
    AT_END(close_fd) int watch = duplicate(both.ours);
    AT_END(stage_close) stage s = stage_open(placement, both);
    const ferry_part parts[] = {ferry_part_copy("head", 4),
                                ferry_part_file(ferry_file_at(file.path))};
    check_eq(outcome(submit_parts(s.stream, parts, 2, NULL)).sent, 1004);
    check_eq(segments_out(watch), 1);
}

/* Held back for 200 ms otherwise:
 * the kernel's TCP_INFO says whether it was sent when it settled. */
PROMISE_BOTH(write, nothing_is_held_back_for_a_file_that_gives_no_byte)
{
    AT_END(file_remove) test_file empty = file_make(0, 4);
    ferry_file sources[3] = {ferry_file_at(empty.path), ferry_file_at("/nowhere/at/all"),
                             ferry_file_at("/proc/self/status")};
    sources[2].offset = 1 << 30; /* of unknown size, and nothing is there */
    for (unsigned i = 0; i < 3; i++) {
        pair both = tcp_pair();
        AT_END(close_fd) int watch = duplicate(both.ours);
        AT_END(stage_close) stage s = stage_open(placement, both);
        check_eq(ferry_stream_write(s.stream, "head", 4, NULL, NULL), 0);
        check_eq(outcome(submit_file(s.stream, sources[i])).sent, 0);
        check_eq(segments_out(watch), 1);
    }
}

PROMISE_BOTH(write, nothing_is_held_back_for_a_source_that_is_dry)
{
    pair both = tcp_pair();
    AT_END(close_fd) int watch = duplicate(both.ours);
    AT_END(close_pair) pair pipe = pipe_pair();
    AT_END(stage_close) stage s = stage_open(placement, both);
    ferry_file source = ferry_file_fd(pipe.theirs);
    source.length = 4;
    const ferry_part parts[] = {ferry_part_copy("head", 4), ferry_part_file(source)};
    ferry_promise *promise = submit_parts(s.stream, parts, 2, NULL);
    while (stream_status(s.stream).sent_bytes < 4) {
    }
    wait_until_asleep();
    check_eq(segments_out(watch), 1);
    check_eq(write(pipe.ours, "late", 4), 4);
    check_eq(outcome(promise).sent, 8);
}

static int no_delay_of(int fd)
{
    return socket_option(fd, IPPROTO_TCP, TCP_NODELAY) != 0;
}

PROMISE_BOTH(write, small_writes_leave_at_once_where_asked_for)
{
    pair both = tcp_pair();
    AT_END(close_fd) int watch = duplicate(both.ours);
    /* Acknowledges nothing by itself for as long as the kernel lets it: 40 ms and more. */
    set_socket_option(both.theirs, IPPROTO_TCP, TCP_QUICKACK, 0);
    AT_END(stage_close)
    stage s = stage_open_with(placement, both, (ferry_stream_options){.no_delay = true});
    check_eq(no_delay_of(watch), 1);
    for (unsigned i = 1; i <= 3; i++) {
        check_eq(outcome(submit_write(s.stream, "abc", 3)).sent, 3);
        check_eq(segments_out(watch), i);
    }
}

PROMISE_BOTH(write, head_leaves_with_its_file_though_small_writes_leave_at_once)
{
    AT_END(file_remove) test_file file = file_make(1000, 4), empty = file_make(0, 4);
    pair both = tcp_pair();
    AT_END(close_fd) int watch = duplicate(both.ours);
    AT_END(stage_close)
    stage s = stage_open_with(placement, both, (ferry_stream_options){.no_delay = true});
    const ferry_part parts[] = {ferry_part_copy("head", 4),
                                ferry_part_file(ferry_file_at(file.path))};
    check_eq(outcome(submit_parts(s.stream, parts, 2, NULL)).sent, 1004);
    check_eq(segments_out(watch), 1);
    check_eq(ferry_stream_write(s.stream, "head", 4, NULL, NULL), 0);
    check_eq(outcome(submit_file(s.stream, ferry_file_at(empty.path))).sent, 0);
    check_eq(segments_out(watch), 2); /* not held back for a file that gave nothing */
    check_eq(no_delay_of(watch), 1);
}

PROMISE_BOTH(write, delay_is_the_sockets_own_where_nothing_was_asked_for)
{
    AT_END(file_remove) test_file empty = file_make(0, 4);
    for (int before = 0; before < 2; before++) {
        pair both = tcp_pair();
        AT_END(close_fd) int watch = duplicate(both.ours);
        set_socket_option(watch, IPPROTO_TCP, TCP_NODELAY, before);
        AT_END(stage_close) stage s = stage_open(placement, both);
        check_eq(ferry_stream_write(s.stream, "head", 4, NULL, NULL), 0);
        check_eq(outcome(submit_file(s.stream, ferry_file_at(empty.path))).sent, 0);
        check_eq(segments_out(watch), 1);
        check_eq(no_delay_of(watch), before);
    }
}

/*
 * A head and a file that do not fill a packet are kept back by the kernel, and with a limit below
 * one it would take no more, until it has waited for 200 ms.
 */
PROMISE_BOTH(write, limit_of_unsent_bytes_below_a_packet_is_raised)
{
    pair both = tcp_pair();
    AT_END(close_fd) int watch = duplicate(both.ours);
    AT_END(stage_close)
    stage s = stage_open_with(placement, both, (ferry_stream_options){.notsent_lowat_bytes = 1});
    check_eq(socket_option(watch, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 128 * 1024);
}

static int unsent_bytes(int fd)
{
    int count = -1;
    check_eq(ioctl(fd, SIOCOUTQNSD, &count), 0);
    return count;
}

PROMISE_BOTH(write, kernel_holds_about_as_many_unsent_bytes_as_asked_for)
{
    enum {
        LIMIT = 128 * 1024,
        ONE_PACKET = 64 * 1024
    }; /* what was begun below the limit is added */
    for (int is_limited = 0; is_limited < 2; is_limited++) {
        pair both = tcp_pair();
        AT_END(close_fd) int watch = duplicate(both.ours);
        stage s = stage_open_with(
            placement, both, (ferry_stream_options){.notsent_lowat_bytes = is_limited ? LIMIT : 0});
        ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
        wait_until_asleep();
        check_eq(unsent_bytes(watch) <= LIMIT + ONE_PACKET, is_limited);
        stage_let_read(&s);
        check_eq(outcome(stuck).sent, STUCK_BYTES);
        stage_close_got_bytes(&s, STUCK_BYTES);
    }
}

PROMISE_BOTH(write, what_is_not_tcp_takes_any_options_of_tcp)
{
    AT_END(stage_close)
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.no_delay = true, .notsent_lowat_bytes = 1});
    check_eq(outcome(submit_write(s.stream, "abc", 3)).sent, 3);
}

static void keep_promise(ferry_promise *promise, uint64_t, void *kept)
{
    *(ferry_promise **)kept = ferry_promise_ref(promise);
}

PROMISE_BOTH(write, promise_that_only_a_progress_callback_gave_has_a_whole_result)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *kept = NULL;
    const ferry_request_options options = {.on_progress = keep_promise, .on_progress_arg = &kept};
    check_eq(ferry_stream_write(s.stream, "x", 1, &options, NULL), 0);
    while (kept == NULL)
        ferry_inbox_run(-1);
    ferry_result result = outcome(kept);
    check_eq(result.error, 0);
    check_eq(result.sent, 1);
    check(result.queued_ns >= 0 && result.queued_ns < INT64_C(10000000000));
}

PROMISE_BOTH(write, request_has_the_label_of_its_options_and_the_times_of_its_result)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    const ferry_request_options options = {.label = "greeting"};
    ferry_promise *promise = submit_write_with(s.stream, "x", 1, &options), *room;
    ferry_promise_info info;
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    check_eq(ferry_promise_get_info(promise, &info), 0);
    check(strcmp(info.label, "greeting") == 0);
    ferry_result result = outcome(promise);
    check(info.created_ns > 0);
    check_eq(info.settled_ns, info.created_ns + result.queued_ns + result.active_ns);
    check_eq(ferry_stream_promise_room(s.stream, 1, 0, &room), 0);
    check_eq(ferry_promise_get_info(room, &info), 0);
    check(info.label == NULL && info.is_settled);
    check(info.created_ns > 0 && info.settled_ns >= info.created_ns);
    ferry_promise_unref(room);
}

#ifndef NDEBUG
PROMISE_BOTH(write, failure_that_nobody_looked_at_is_reported_by_label_and_the_place_of_the_submit)
{
    AT_END(drop_faults)
    ferry_faults *faults = faults_of((ferry_fault){FERRY_CALL_WRITE, 1, 1, FERRY_FAULT_ERROR, EIO});
    AT_END(stage_close)
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.faults = faults});
    const ferry_request_options options = {.label = "greeting"};
    ferry_promise *failed = submit_write_with(s.stream, "x", 1, &options);
    check_eq(outcome(submit_mark(s.stream)).error, 0); /* then the one before has settled */
    ferry_promise_unref(failed);
    check(strncmp(last_line_logged(), "'greeting' (", 12) == 0);
    check(strstr(last_line_logged(), "+0x") != NULL);
    check(strstr(last_line_logged(), ") failed with EIO, and nobody looked") != NULL);
}
#endif
