/* SPDX-License-Identifier: MIT */
/* Readers: what they are called with, on which thread, how often, and how it ends. */
#include "tests/notes.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

static void read_what_is_sent(ferry_placement placement, bool on_owner)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    notes_set(s.stream, &seen, on_owner);
    send_text(s.theirs, "all of ");
    send_text(s.theirs, "it");
    stage_hang_up(&s);
    notes_await_end(&seen);
    check_eq(seen.count, 9);
    check(memcmp(seen.taken, "all of it", 9) == 0);
    check_eq(seen.ends, 1);
    check_eq(seen.error, 0);
    check(pthread_equal(seen.thread, pthread_self()) == !on_owner);
}

PROMISE_EITHER(readers, reader_gets_what_the_peer_sends_then_the_end_on_its_own_thread)
{
    read_what_is_sent(placement, false);
}

PROMISE_EITHER(readers, reader_on_the_owner_gets_what_the_peer_sends_then_the_end)
{
    read_what_is_sent(placement, true);
}

static void keep_what_is_not_taken(ferry_placement placement, bool on_owner)
{
    notes seen = {.least = 4};
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes_set(s.stream, &seen, on_owner);
    send_text(s.theirs, "ab");
    send_text(s.theirs, "cdefg");
    send_text(s.theirs, "hij"); /* two fours, and two that are left */
    stage_hang_up(&s);
    notes_await_end(&seen);
    check_eq(seen.count, 8);
    check(memcmp(seen.taken, "abcdefgh", 8) == 0);
    check(seen.saw_end); /* it was told that nothing comes behind the rest */
}

PROMISE_EITHER(readers, what_a_reader_does_not_take_comes_again_with_more)
{
    keep_what_is_not_taken(placement, false);
}

PROMISE_EITHER(readers, what_a_reader_on_the_owner_does_not_take_comes_again_with_more)
{
    keep_what_is_not_taken(placement, true);
}

/* ---- how much is asked for ------------------------------------------------------------------- */

/* Every recvmsg(2) of ferry's, from unix sockets: how many there were, how many brought something,
 * and what the last one asked for (-Wl,--wrap). */
static atomic_size_t asked, receives, last_asked;

WRAPPED(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags))
{
    bool is_ferrys = (flags & MSG_DONTWAIT) != 0;
    if (is_ferrys) {
        atomic_fetch_add(&asked, 1);
        atomic_store(&last_asked, message->msg_iov[0].iov_len);
    }
    ssize_t count = __real_recvmsg(fd, message, flags);
    if (is_ferrys && count > 0)
        atomic_fetch_add(&receives, 1);
    return count;
}

PROMISE_EITHER(readers, bulk_comes_in_ever_larger_pieces_and_what_is_small_in_small_ones)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    size_t sent = fill_up(s.theirs);
    atomic_store(&receives, 0);
    notes_set_with(s.stream, &seen, (ferry_reader){.high_bytes = 4 << 20});
    notes_await(&seen, sent);
    check(sent >= 100 * 1024);
    check(atomic_load(&receives) <= 5); /* of 16, 32, 64, ... KiB */
    check(atomic_load(&last_asked) > 16 * 1024);
    for (unsigned i = 1; i <= 10; i++) {
        send_text(s.theirs, "x");
        notes_await(&seen, sent + i);
    }
    check_eq(atomic_load(&last_asked), 16 * 1024);
}

static size_t echo(ferry_stream *stream, const void *data, size_t length, bool, void *)
{
    check_eq(ferry_stream_write(stream, data, length, NULL, NULL), 0);
    return length;
}

PROMISE_EITHER(readers, reader_on_the_owner_may_answer)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    set_reader(s.stream, (ferry_reader){.on_read = echo, .on_owner = true});
    s.stream = ferry_stream_unref(s.stream);
    for (unsigned i = 0; i < 1000; i++) {
        char answer[4];
        check_eq(send(s.theirs, &i, sizeof i, MSG_NOSIGNAL), sizeof i);
        check_eq(recv(s.theirs, answer, sizeof answer, MSG_WAITALL), sizeof answer);
        check(memcmp(answer, &i, sizeof i) == 0);
    }
    stage_hang_up(&s);
    check_eq(ferry_service_drain(s.service, -1), 0);
}

/* ---- what is known to be all ----------------------------------------------------------------- */

/* Notes of a reader on the owner, in whose first call more comes. */
typedef struct listener {
    notes seen; /* first */
    void (*meanwhile)(int fd);
    int fd; /* what for */
} listener;

static size_t listen_on(ferry_stream *stream, const void *data, size_t length, bool at_end,
                        void *arg)
{
    listener *self = arg;
    void (*meanwhile)(int) = self->meanwhile;
    self->meanwhile = NULL;
    if (meanwhile != NULL)
        meanwhile(self->fd);
    return notes_read(stream, data, length, at_end, &self->seen);
}

static void check_text(notes *seen, const char *expected)
{
    notes_await(seen, strlen(expected));
    check(memcmp(seen->taken, expected, strlen(expected)) == 0);
}

PROMISE_EITHER(readers, message_of_a_unix_peer_is_received_by_one_call)
{
    enum { MESSAGES = 20 };
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes_set(s.stream, &seen, true);
    wait_until_asleep();
    atomic_store(&asked, 0);
    for (unsigned i = 1; i <= MESSAGES; i++) {
        send_text(s.theirs, "x");
        notes_await(&seen, i);
        wait_until_asleep();
    }
    check_eq(atomic_load(&asked), MESSAGES);
}

/* Sends bytes with an fd of its own. */
static void send_with_fd(int fd, const char *text)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
                          .cmsg_level = SOL_SOCKET,
                          .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    struct iovec piece = {.iov_base = (char *)(uintptr_t)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    check_eq(sendmsg(fd, &message, MSG_NOSIGNAL), strlen(text));
}

static void send_fd_then_more(int fd)
{
    send_with_fd(fd, "b");
    send_text(fd, "c");
    send_with_fd(fd, "d");
    send_text(fd, "e");
}

/* Kernels without it say so, and send nothing. */
static void send_urgent_byte_then_more(int fd)
{
    send_text(fd, "b");
    if (send(fd, "!", 1, MSG_NOSIGNAL | MSG_OOB) < 0)
        check_eq(errno, EOPNOTSUPP);
    send_text(fd, "cde");
}

static void send_apart(ferry_placement placement, bool has_credentials, void (*more)(int))
{
    pair both = unix_pair(SOCK_STREAM);
    const int passes = has_credentials;
    check_eq(setsockopt(both.ours, SOL_SOCKET, SO_PASSCRED, &passes, sizeof passes), 0);
    listener self = {.meanwhile = more, .fd = both.theirs};
    AT_END(stage_end) stage s = stage_open(placement, both);
    notes_set_with(s.stream, &self.seen, (ferry_reader){.on_read = listen_on, .on_owner = true});
    wait_until_asleep();
    unsigned fds = count_fds();
    send_text(s.theirs, "a");
    check_text(&self.seen, "abcde");
    wait_until_asleep();
    check_eq(count_fds(), fds);
}

PROMISE_EITHER(readers, bytes_behind_an_fd_that_a_peer_passes_come_at_once_and_the_fd_is_closed)
{
    send_apart(placement, false, send_fd_then_more);
    send_apart(placement, true, send_fd_then_more);
}

PROMISE_EITHER(readers, bytes_behind_an_urgent_one_come_at_once)
{
    send_apart(placement, false, send_urgent_byte_then_more);
}

PROMISE_EITHER(readers, what_a_script_cuts_short_comes_all_the_same)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(drop_faults)
        ferry_faults *faults = faults_of((ferry_fault){
            .call = FERRY_CALL_READ, .first = 1, .times = UINT64_MAX, .effect = FERRY_FAULT_SHORT});
        notes seen = {0};
        AT_END(stage_end)
        stage s =
            stage_open_with(placement, any_pair(is_tcp), (ferry_stream_options){.faults = faults});
        notes_set(s.stream, &seen, true);
        wait_until_asleep();
        send_text(s.theirs, "abcde");
        check_text(&seen, "abcde");
    }
}

/* ---- how much waits -------------------------------------------------------------------------- */

PROMISE_EITHER(readers, reader_that_is_not_called_lets_the_peers_socket_fill)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        notes seen = {0};
        AT_END(stage_end) stage s = stage_open(placement, any_pair(is_tcp));
        notes_set(s.stream, &seen, false);
        size_t sent = fill_up(s.theirs); /* meanwhile this thread does not run its inbox */
        stage_hang_up(&s);
        notes_await_end(&seen);
        check_eq(seen.count, sent);
    }
}

static void offer_no_more_than(ferry_placement placement, bool on_owner, bool is_tcp)
{
    enum { LINE = 50, LINES = 400, HIGH = 120 };
    AT_END(stage_end) stage s = stage_open(placement, any_pair(is_tcp));
    notes seen = {.delimiter = '\n'};
    /* A read that was to take more than that leaves it behind. */
    static char large[LINE * LINES], lines[LINE * LINES / 2 + 1];
    for (unsigned i = 0; i < LINES / 2; i++)
        snprintf(lines + (size_t)i * LINE, LINE + 1, "%*s\n", LINE - 1, "line");
    ferry_promise *read =
        submit_read(s.stream, (ferry_read){large, sizeof large, FERRY_READ_UNTIL, "\r", 1});
    send_text(s.theirs, lines);
    wait_until_asleep();
    notes_set_with(s.stream, &seen, (ferry_reader){.on_owner = on_owner, .high_bytes = HIGH});
    check_eq(ferry_promise_cancel(read), 0);
    check_eq(outcome(read).error, -ECANCELED);
    send_text(s.theirs, lines);
    stage_hang_up(&s);
    notes_await_end(&seen);
    check_eq(seen.error, 0);
    check_eq(seen.count, LINE * LINES);
    check(seen.longest <= HIGH);
}

PROMISE_EITHER(readers, more_than_high_bytes_is_never_offered)
{
    for (int i = 0; i < 4; i++)
        offer_no_more_than(placement, i & 1, i & 2);
}

static void wait_between_the_marks(ferry_placement placement, bool on_owner)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes seen = {.delimiter = '\n'};
    send_text(s.theirs, "a line\nhalf of one mo"); /* more than the low mark is left */
    notes_set_with(s.stream, &seen,
                   (ferry_reader){.on_owner = on_owner, .high_bytes = 20, .low_bytes = 5});
    notes_await(&seen, 7);
    run_until_quiet();
    check_eq(seen.ends, 0);
    send_text(s.theirs, "re\n");
    notes_await(&seen, 24);
    stage_hang_up(&s);
    notes_await_end(&seen);
    check_eq(seen.error, 0);
}

PROMISE_EITHER(readers, reader_that_waits_for_more_between_the_marks_gets_it)
{
    wait_between_the_marks(placement, false);
    wait_between_the_marks(placement, true);
}

static void take_nothing_of(const char *text, ferry_placement placement, bool on_owner, int error)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes seen = {.delimiter = '\n'};
    send_text(s.theirs, text);
    stage_hang_up(&s);
    notes_set_with(s.stream, &seen, (ferry_reader){.on_owner = on_owner, .high_bytes = 10});
    notes_await_end(&seen);
    check_eq(seen.error, error);
    check_eq(seen.count, 0);
    check_eq(seen.saw_end, error == 0);
}

PROMISE_EITHER(readers, taking_nothing_of_high_bytes_is_emsgsize)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        take_nothing_of("nine bytes", placement, on_owner, -EMSGSIZE);
        take_nothing_of("nine bytes and more", placement, on_owner, -EMSGSIZE);
        take_nothing_of("9 bytes..", placement, on_owner, 0);
    }
}

/* ---- how often it is called ------------------------------------------------------------------ */

/* Takes a byte a call, and says each time that the peer may take its time. */
static size_t take_one(ferry_stream *stream, const void *data, size_t length, bool at_end,
                       void *arg)
{
    check_eq(ferry_stream_read_within(stream, 60000), 0);
    notes *self = arg;
    (void)notes_read(stream, data, length < 2 ? length : 1, at_end, self);
    return 1;
}

static void call_so_often(ferry_placement placement, bool on_owner)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes_set_with(s.stream, &seen,
                   (ferry_reader){.on_owner = on_owner, .on_read = take_one, .shots = 2});
    send_text(s.theirs, "abcde");
    notes_await(&seen, 2);
    run_until_quiet();
    check_eq(seen.calls, 2);
    check_eq(ferry_stream_demand(s.stream, 3), 0);
    notes_await(&seen, 5);
    run_until_quiet();
    check_eq(seen.calls, 5);
    /* A demand is no addition: it says how often from now on. */
    check_eq(ferry_stream_demand(s.stream, 5), 0);
    check_eq(ferry_stream_demand(s.stream, 1), 0);
    send_text(s.theirs, "fg");
    notes_await(&seen, 6);
    run_until_quiet();
    check_eq(seen.calls, 6);
    check_eq(ferry_stream_demand(s.stream, -1), 0);
    notes_await(&seen, 7);
    stage_hang_up(&s);
    notes_await_end(&seen);
    check_eq(seen.error, 0);
    check(memcmp(seen.taken, "abcdefg", 7) == 0);
}

PROMISE_EITHER(readers, reader_is_called_as_often_as_it_asked_for)
{
    call_so_often(placement, false);
    call_so_often(placement, true);
}

static void pause_reader(ferry_placement placement, bool on_owner, bool is_tcp)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, any_pair(is_tcp));
    notes_set_with(s.stream, &seen, (ferry_reader){.on_owner = on_owner, .shots = 1});
    send_text(s.theirs, "x");
    notes_await(&seen, 1);
    run_until_quiet();
    size_t sent = 1 + fill_up(s.theirs);
    stage_hang_up(&s);
    run_until_quiet();
    check_eq(seen.calls, 1);
    check_eq(seen.ends, 0); /* the end is not noticed either */
    check_eq(ferry_stream_demand(s.stream, -1), 0);
    notes_await_end(&seen);
    check_eq(seen.count, sent);
    check_eq(seen.error, 0);
}

PROMISE_EITHER(readers, paused_reader_lets_the_peers_socket_fill_and_notices_no_end)
{
    for (int i = 0; i < 4; i++)
        pause_reader(placement, i & 1, i & 2);
}

/* How many of the bytes that a unix socket has sent its peer has not read. */
static int count_unread(int fd)
{
    int count;
    check_eq(ioctl(fd, SIOCOUTQ, &count), 0);
    return count;
}

PROMISE_EITHER(readers, nothing_is_read_behind_the_last_call_that_was_asked_for)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        notes seen = {0};
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        notes_set_with(s.stream, &seen, (ferry_reader){.on_owner = on_owner, .shots = 1});
        send_text(s.theirs, "for the call");
        wait_until_asleep(); /* a reader of this thread has not been called yet */
        send_text(s.theirs, "not for it");
        wait_until_asleep();
        check(count_unread(s.theirs) > 0);
        run_until_quiet();
        check_eq(seen.count, 12);
        check(count_unread(s.theirs) > 0);
        ferry_stream_abort(s.stream);
        notes_await_end(&seen);
    }
}

/* ---- taking nothing -------------------------------------------------------------------------- */

/* Asks for one call more, each time; takes a line. */
static size_t take_line_and_demand(ferry_stream *stream, const void *data, size_t length,
                                   bool at_end, void *arg)
{
    check_eq(ferry_stream_demand(stream, 1), 0);
    return notes_read(stream, data, length, at_end, arg);
}

static void wait_for_a_line_by_demand(ferry_placement placement, bool on_owner)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes seen = {.delimiter = '\n'};
    notes_set_with(
        s.stream, &seen,
        (ferry_reader){.on_owner = on_owner, .on_read = take_line_and_demand, .shots = 1});
    send_text(s.theirs, "half a");
    while (seen.calls == 0)
        (void)ferry_inbox_run(1);
    run_until_quiet(); /* not for ever: it is not asked about the same half again and again */
    check_eq(seen.calls, 1);
    send_text(s.theirs, " line\n");
    notes_await(&seen, 12);
    check_eq(seen.calls, 2);
    stage_hang_up(&s);
    notes_await_end(&seen);
}

PROMISE_EITHER(readers, reader_that_takes_nothing_is_called_again_for_more_bytes_only)
{
    wait_for_a_line_by_demand(placement, false);
    wait_for_a_line_by_demand(placement, true);
}

/* Can take nothing for now, and pauses. */
static size_t pause_once(ferry_stream *stream, const void *data, size_t length, bool at_end,
                         void *arg)
{
    notes *self = arg;
    if (self->calls > 0)
        return notes_read(stream, data, length, at_end, arg);
    check_eq(ferry_stream_demand(stream, 0), 0);
    atomic_fetch_add(&self->calls, 1);
    return 0;
}

static size_t pause_and_resume_once(ferry_stream *stream, const void *data, size_t length,
                                    bool at_end, void *arg)
{
    size_t taken = pause_once(stream, data, length, at_end, arg);
    if (taken == 0) /* what it waited for is there before it has returned */
        check_eq(ferry_stream_demand(stream, -1), 0);
    return taken;
}

static void take_after_a_pause(ferry_placement placement, bool on_owner, bool is_early)
{
    notes seen = {0};
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes_set_with(s.stream, &seen,
                   (ferry_reader){.on_owner = on_owner,
                                  .on_read = is_early ? pause_and_resume_once : pause_once});
    send_text(s.theirs, "once");
    while (seen.calls == 0)
        (void)ferry_inbox_run(1);
    run_until_quiet();
    if (!is_early) {
        check_eq(seen.count, 0);
        check_eq(ferry_stream_demand(s.stream, -1), 0);
    }
    notes_await(&seen, 4); /* although nothing has come since */
    check_eq(seen.calls, 2);
    stage_hang_up(&s);
    notes_await_end(&seen);
}

PROMISE_EITHER(readers, what_was_not_taken_is_offered_again_after_a_pause)
{
    for (int i = 0; i < 4; i++)
        take_after_a_pause(placement, i & 1, i & 2);
}

/* ---- the last handle ------------------------------------------------------------------------- */

/* While it is called here the owner replaces it, and gives its handle back, which is the last. */
static size_t keep_what_nobody_has(ferry_stream *stream, const void *, size_t length, bool,
                                   void *arg)
{
    ferry_stream **kept = arg;
    check_eq(ferry_stream_set_reader(stream, NULL), 0);
    ferry_stream_unref(*kept);
    wait_until_asleep();
    *kept = ferry_stream_ref(stream);
    return length;
}

PROMISE_EITHER(readers, stream_whose_last_handle_went_meanwhile_may_be_kept_by_whom_it_is_handed_to)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    set_reader(s.stream, (ferry_reader){.on_read = keep_what_nobody_has, .arg = &s.stream});
    send_text(s.theirs, "x");
    check(ferry_inbox_run(-1) > 0);
    wait_until_asleep();
    check_eq(stream_status(s.stream).received_bytes, 1);
    check_eq(ferry_stream_write(s.stream, "x", 1, NULL, NULL), -ESHUTDOWN); /* it is closed */
}
