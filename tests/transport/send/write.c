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
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs), *flushed;
    ferry_promise *empty = submit_write(s.stream, NULL, 0);
    flushed = submit_mark(s.stream);
    check_eq(ferry_promise_await(empty, 0, NULL), -ETIMEDOUT);
    stage_let_read(&s);
    ferry_result result = outcome(flushed);
    check(result.error == 0 && result.sent == 0 && result.sequence == 2);
    check_eq(result.stream_offset, STUCK_BYTES);
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

static int listen_with_a_short_queue(struct sockaddr_in *ret_address)
{
    *ret_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof *ret_address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(bind(fd, (struct sockaddr *)ret_address, size), 0);
    check_eq(listen(fd, 0), 0);
    check_eq(getsockname(fd, (struct sockaddr *)ret_address, &size), 0);
    return fd;
}

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
    hanging made = {.listener = listen_with_a_short_queue(&address)};
    while (!is_connecting(made.fd = connect_without_waiting(&address))) {
        check(made.count < 8);
        made.before[made.count++] = made.fd;
    }
    return made;
}

static void close_those_before(hanging *connection)
{
    while (connection->count > 0)
        close(connection->before[--connection->count]);
}

PROMISE_BOTH(write, writes_before_the_connection_stands_are_kept_in_order)
{
    hanging connection = connect_that_hangs();
    ferry_service *service = service_start(placement);
    ferry_stream *stream = stream_adopt(service, connection.fd);
    ferry_promise *first = submit_write(stream, "one ", 4);
    test_file file = file_make(50000, 6);
    ferry_promise *second = submit_file(stream, ferry_file_at(file.path));
    wait_until_asleep();
    check_eq(ferry_promise_await(first, 0, NULL), -ETIMEDOUT);
    for (int i = 0; i < connection.count; i++)
        close(accept(connection.listener, NULL, NULL));
    int theirs = accept(connection.listener, NULL, NULL); /* SYN's next repetition gets through */
    check(theirs >= 0);
    reader *peer = reader_start(theirs, false);
    check_eq(outcome(first).error, 0);
    check_eq(outcome(second).sent, 50000);
    check_eq(close_stream(stream).error, 0);
    reader_join(peer);
    check_eq(peer->digest, digest_content(digest(DIGEST_BEGIN, "one ", 4), 6, 0, 50000));
    reader_free(peer);
    ferry_service_destroy(service);
    file_remove(&file);
    close_those_before(&connection);
    close(connection.listener);
}

PROMISE_BOTH(write, abort_gets_a_stream_out_that_is_still_connecting)
{
    hanging connection = connect_that_hangs();
    ferry_service *service = service_start(placement);
    ferry_stream *stream = stream_adopt(service, connection.fd);
    ferry_promise *promise = submit_write(stream, "x", 1);
    wait_until_asleep();
    ferry_stream_abort(stream);
    check_eq(outcome(promise).error, -ECANCELED);
    ferry_stream_unref(stream);
    ferry_service_destroy(service);
    close_those_before(&connection);
    close(connection.listener);
}

PROMISE_BOTH(write, full_socket_send_timeout_and_nonblocking_flag_never_show)
{
    enum { SIZE = 8 << 20 };
    pair both = unix_pair(SOCK_STREAM);
    const struct timeval timeout = {.tv_usec = 1000}; /* SO_SNDTIMEO makes a blocked call EAGAIN */
    check_eq(setsockopt(both.ours, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), 0);
    int other = fcntl(both.ours, F_DUPFD_CLOEXEC, 0);
    stage s = stage_open(placement, both);
    static unsigned char data[SIZE];
    fill_content(data, SIZE, 8, 0);
    const ferry_part part = ferry_part_borrow(data, SIZE);
    ferry_promise *promise = submit_parts(s.stream, &part, 1, NULL);
    AT_END(file_remove) test_file file = file_make(SIZE, 9);
    ferry_promise *of_file = submit_file(s.stream, ferry_file_at(file.path));
    wait_readable(s.theirs);
    fcntl(other, F_SETFL, O_NONBLOCK); /* by somebody who shares the description */
    AT_END(free_reader) reader *peer = reader_start_slow(stage_take(&s), 65536, 200);
    check_eq(outcome(promise).sent, SIZE);
    check_eq(outcome(of_file).sent, SIZE);
    close(other);
    stage_close(&s);
    reader_join(peer);
    check_eq(peer->digest, digest_content(digest_content(DIGEST_BEGIN, 8, 0, SIZE), 9, 0, SIZE));
}

PROMISE_BOTH(write, writes_that_leave_together_settle_each_with_its_own_receipt)
{
    enum { COUNT = 3000 };
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs); /* so that all of them wait together */
    ferry_promise *promises[COUNT];
    for (unsigned i = 0; i < COUNT; i++)
        promises[i] = submit_write(s.stream, "0123456789", i % 11);
    reader *peer = reader_start(stage_take(&s), false);
    uint64_t offset = outcome(stuck).sent;
    for (unsigned i = 0; i < COUNT; i++) {
        ferry_result result = outcome(promises[i]);
        check_eq(result.error, 0);
        check_eq(result.sent, i % 11);
        check_eq(result.sequence, i + 1);
        check_eq(result.stream_offset, offset);
        offset += result.sent;
    }
    stage_close(&s);
    check_eq(reader_end(peer), offset);
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
        ferry_result result = outcome(promises[i]);
        check_eq(result.error, -ECANCELED); /* the one before failed midway: poisoned */
        check_eq(result.sent, 0);
        check_eq(result.sequence, i + 1);
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
    static const char huge[1 << 22];
    check_outcome(submit_write(s.stream, huge, sizeof huge), .error = -EMSGSIZE, .sent = 0);
    AT_END(file_remove) test_file file = file_make(200000, 4);
    reader *peer = reader_start(stage_take(&s), false);
    check_eq(outcome(submit_file(s.stream, ferry_file_at(file.path))).sent, 200000);
    stage_close(&s);
    reader_check_content(peer, 4, 200000);
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
    AT_END(close_theirs) pair both = unix_pair(SOCK_SEQPACKET);
    AT_END(destroy_service) ferry_service *service;
    check_eq(ferry_service_create(&options, &service), 0);
    ferry_stream *stream = stream_adopt(service, both.ours);
    static char data[5000];
    check_eq(outcome(submit_write(stream, data, sizeof data)).sent, 5000);
    check_eq(recv(both.theirs, data, sizeof data, 0), 5000);
    check_eq(close_stream(stream).error, 0);
}

static void send_all_kinds(ferry_placement placement, int sink, int source)
{
    AT_END(file_remove) test_file file = file_make(1 << 20, 4);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    reader *peer = source >= 0 ? reader_start_slow(source, 30000, 100) : NULL;
    ferry_stream *stream = stream_adopt(service, sink);
    check_eq(ferry_stream_write(stream, "head", 4, NULL, NULL), 0);
    check_eq(outcome(submit_file(stream, ferry_file_at(file.path))).sent, 1 << 20);
    check_eq(outcome(submit_write(stream, "tail", 4)).sent, 4);
    check_eq(ferry_stream_shutdown(stream, NULL), -ENOTSOCK);
    check_eq(close_stream(stream).error, 0);
    if (peer != NULL) {
        reader_join(peer);
        uint64_t expected = digest_content(digest(DIGEST_BEGIN, "head", 4), 4, 0, 1 << 20);
        check_eq(peer->digest, digest(expected, "tail", 4));
        reader_free(peer);
    }
}

PROMISE_BOTH(write, pipes_files_and_devices_take_writes_and_files)
{
    int fds[2];
    check_eq(pipe2(fds, O_CLOEXEC), 0);
    send_all_kinds(placement, fds[1], fds[0]);
    send_all_kinds(placement, open("/dev/null", O_WRONLY | O_CLOEXEC), -1);
    AT_END(file_remove) test_file sink = file_make(0, 0);
    send_all_kinds(placement, open(sink.path, O_WRONLY | O_CLOEXEC), -1);
    AT_END(free_reader) reader *peer = reader_start(fcntl(sink.fd, F_DUPFD_CLOEXEC, 0), false);
    reader_join(peer);
    uint64_t expected = digest_content(digest(DIGEST_BEGIN, "head", 4), 4, 0, 1 << 20);
    check_eq(peer->digest, digest(expected, "tail", 4));
}

PROMISE_BOTH(write, terminal_gets_it_whichever_side_was_adopted)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    for (unsigned by_master = 0; by_master < 2; by_master++) {
        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        check(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
        int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
        check(terminal >= 0);
        AT_END(close_fd) int theirs = by_master ? terminal : master;
        ferry_stream *stream = stream_adopt(service, by_master ? master : terminal);
        check_eq(outcome(submit_write(stream, "hello\n", 6)).sent, 6);
        char data[20];
        ssize_t count = read(theirs, data, sizeof data);
        check(count >= 6 && memcmp(data, "hello", 5) == 0); /* a master reads "\r\n" */
        check_eq(close_stream(stream).error, 0);
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
    int watch = fcntl(both.ours, F_DUPFD_CLOEXEC, 0);
    AT_END(stage_close) stage s = stage_open(placement, both);
    const ferry_part parts[] = {ferry_part_copy("head", 4),
                                ferry_part_file(ferry_file_at(file.path))};
    ferry_promise *promise = submit_parts(s.stream, parts, 2, NULL);
    check_eq(outcome(promise).sent, 1004);
    check_eq(segments_out(watch), 1);
    close(watch);
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
        int watch = fcntl(both.ours, F_DUPFD_CLOEXEC, 0);
        AT_END(stage_close) stage s = stage_open(placement, both);
        check_eq(ferry_stream_write(s.stream, "head", 4, NULL, NULL), 0);
        check_eq(outcome(submit_file(s.stream, sources[i])).sent, 0);
        check_eq(segments_out(watch), 1);
        close(watch);
    }
}

PROMISE_BOTH(write, nothing_is_held_back_for_a_source_that_is_dry)
{
    pair both = tcp_pair();
    int fds[2], watch = fcntl(both.ours, F_DUPFD_CLOEXEC, 0);
    check_eq(pipe2(fds, O_CLOEXEC), 0);
    AT_END(stage_close) stage s = stage_open(placement, both);
    ferry_file source = ferry_file_fd(fds[0]);
    source.length = 4;
    const ferry_part parts[] = {ferry_part_copy("head", 4), ferry_part_file(source)};
    ferry_promise *promise = submit_parts(s.stream, parts, 2, NULL);
    ferry_stream_status status;
    do
        status = stream_status(s.stream);
    while (status.sent_bytes < 4);
    wait_until_asleep();
    check_eq(segments_out(watch), 1);
    check_eq(write(fds[1], "late", 4), 4);
    check_eq(outcome(promise).sent, 8);
    close(watch);
    close(fds[0]);
    close(fds[1]);
}

static int no_delay_of(int fd)
{
    int value = -1;
    socklen_t size = sizeof value;
    check_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
    return value != 0;
}

/* Acknowledges nothing by itself for as long as the kernel lets it: 40 ms and more. */
static void delay_acknowledgements(int fd)
{
    const int off = 0;
    check_eq(setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off), 0);
}

PROMISE_BOTH(write, small_writes_leave_at_once_where_asked_for)
{
    pair both = tcp_pair();
    int watch = fcntl(both.ours, F_DUPFD_CLOEXEC, 0);
    delay_acknowledgements(both.theirs);
    AT_END(stage_close)
    stage s = stage_open_with(placement, both, (ferry_stream_options){.no_delay = true});
    check_eq(no_delay_of(watch), 1);
    for (unsigned i = 1; i <= 3; i++) {
        check_eq(outcome(submit_write(s.stream, "abc", 3)).sent, 3);
        check_eq(segments_out(watch), i);
    }
    close(watch);
}

PROMISE_BOTH(write, head_leaves_with_its_file_though_small_writes_leave_at_once)
{
    AT_END(file_remove) test_file file = file_make(1000, 4), empty = file_make(0, 4);
    pair both = tcp_pair();
    int watch = fcntl(both.ours, F_DUPFD_CLOEXEC, 0);
    AT_END(stage_close)
    stage s = stage_open_with(placement, both, (ferry_stream_options){.no_delay = true});
    const ferry_part parts[] = {ferry_part_copy("head", 4),
                                ferry_part_file(ferry_file_at(file.path))};
    ferry_promise *promise = submit_parts(s.stream, parts, 2, NULL);
    check_eq(outcome(promise).sent, 1004);
    check_eq(segments_out(watch), 1);
    check_eq(ferry_stream_write(s.stream, "head", 4, NULL, NULL), 0);
    check_eq(outcome(submit_file(s.stream, ferry_file_at(empty.path))).sent, 0);
    check_eq(segments_out(watch), 2); /* not held back for a file that gave nothing */
    check_eq(no_delay_of(watch), 1);
    close(watch);
}

PROMISE_BOTH(write, delay_is_the_sockets_own_where_nothing_was_asked_for)
{
    AT_END(file_remove) test_file empty = file_make(0, 4);
    for (int before = 0; before < 2; before++) {
        pair both = tcp_pair();
        int watch = fcntl(both.ours, F_DUPFD_CLOEXEC, 0);
        check_eq(setsockopt(watch, IPPROTO_TCP, TCP_NODELAY, &before, sizeof before), 0);
        AT_END(stage_close) stage s = stage_open(placement, both);
        check_eq(ferry_stream_write(s.stream, "head", 4, NULL, NULL), 0);
        check_eq(outcome(submit_file(s.stream, ferry_file_at(empty.path))).sent, 0);
        check_eq(segments_out(watch), 1);
        check_eq(no_delay_of(watch), before);
        close(watch);
    }
}

/*
 * A head and a file that do not fill a packet are kept back by the kernel, and with a limit below
 * one it would take no more, until it has waited for 200 ms.
 */
PROMISE_BOTH(write, limit_of_unsent_bytes_below_a_packet_is_raised)
{
    pair both = tcp_pair();
    int watch = fcntl(both.ours, F_DUPFD_CLOEXEC, 0), limit;
    socklen_t size = sizeof limit;
    AT_END(stage_close)
    stage s = stage_open_with(placement, both, (ferry_stream_options){.notsent_lowat_bytes = 1});
    check_eq(getsockopt(watch, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limit, &size), 0);
    check_eq(limit, 128 * 1024);
    close(watch);
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
        int watch = fcntl(both.ours, F_DUPFD_CLOEXEC, 0);
        stage s = stage_open_with(
            placement, both, (ferry_stream_options){.notsent_lowat_bytes = is_limited ? LIMIT : 0});
        ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
        wait_until_asleep();
        check_eq(unsent_bytes(watch) <= LIMIT + ONE_PACKET, is_limited);
        reader *peer = reader_start(stage_take(&s), false);
        check_eq(outcome(stuck).sent, STUCK_BYTES);
        close(watch);
        stage_close(&s);
        check_eq(reader_end(peer), STUCK_BYTES);
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
    ferry_promise *promise, *room;
    ferry_promise_info info;
    check_eq(ferry_stream_write(s.stream, "x", 1, &options, &promise), 0);
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
    const ferry_fault script[] = {{FERRY_CALL_WRITE, 1, 1, FERRY_FAULT_ERROR, EIO}};
    ferry_faults *faults;
    check_eq(ferry_faults_create(script, 1, &faults), 0);
    AT_END(stage_close)
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM),
                              (ferry_stream_options){.faults = faults});
    const ferry_request_options options = {.label = "greeting"};
    ferry_promise *failed, *flushed;
    check_eq(ferry_stream_write(s.stream, "x", 1, &options, &failed), 0);
    flushed = submit_mark(s.stream);
    check_eq(outcome(flushed).error, 0); /* then the one before has settled */
    ferry_promise_unref(failed);
    check(strncmp(last_line_logged(), "'greeting' (", 12) == 0);
    check(strstr(last_line_logged(), "+0x") != NULL);
    check(strstr(last_line_logged(), ") failed with EIO, and nobody looked") != NULL);
    ferry_faults_unref(faults);
}
#endif
