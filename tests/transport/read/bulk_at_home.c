/* SPDX-License-Identifier: MIT */
/* Bulk for a reader on another thread: once a loan has come, that thread receives by itself. */
#include "tests/notes.h"

#include <sys/epoll.h>

/* Receives, by this test's thread and by owners; and how often an owner sleeps in its epoll set
 * (-Wl,--wrap). */
static _Atomic pthread_t here;
static atomic_uint receives_here, receives_of_owners, epoll_waits;

/* What comes once this test's thread has found nothing more. */
static void (*meanwhile)(void);

WRAPPED(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags))
{
    bool is_here = pthread_equal(pthread_self(), atomic_load(&here));
    atomic_fetch_add(is_here ? &receives_here : &receives_of_owners, 1);
    ssize_t count = __real_recvmsg(fd, message, flags);
    void (*what)(void) = meanwhile;
    if (count < 0 && is_here && what != NULL) {
        int error = errno;
        meanwhile = NULL;
        what();
        errno = error;
    }
    return count;
}

WRAPPED(int, epoll_wait, (int set, struct epoll_event events[], int most, int timeout))
{
    atomic_fetch_add(&epoll_waits, 1);
    return __real_epoll_wait(set, events, most, timeout);
}

static void begin_to_count(void)
{
    atomic_store(&here, pthread_self());
    atomic_store(&receives_here, 0);
    atomic_store(&receives_of_owners, 0);
}

/* A stream whose owner waits for its peer, and then has all that a socket holds to read. */
typedef struct bulk {
    stage s;
    notes seen;
    size_t sent;
    ferry_promise *detached;
} bulk;

static void put_away(bulk *self)
{
    stage_end(&self->s);
}

static size_t send_up_to(int fd, size_t most)
{
    static const char zeros[32 * 1024]; /* the owner's first receive is a full one */
    size_t sum = 0;
    for (ssize_t count = 0; sum < most && count >= 0; sum += count > 0 ? (size_t)count : 0)
        count = send(fd, zeros, sizeof zeros, MSG_DONTWAIT);
    check(sum >= 64 * 1024);
    return sum;
}

/* The owner has lent the first of it to this thread when this returns. */
static void begin_with(bulk *self, size_t most, ferry_placement placement, ferry_reader wanted)
{
    self->s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes_set_with(self->s.stream, &self->seen, wanted);
    run_until_quiet();
    begin_to_count();
    self->sent = send_up_to(self->s.theirs, most);
    wait_until_asleep();
}

static void begin(bulk *self, ferry_placement placement, ferry_reader wanted)
{
    begin_with(self, SIZE_MAX, placement, wanted);
}

static void end_in_order(bulk *self)
{
    stage_hang_up(&self->s);
    notes_await_end(&self->seen);
    check_eq(self->seen.error, 0);
    check_eq(self->seen.ends, 1);
    check_eq(self->seen.count, self->sent);
}

/* The owner may have asked before all was sent, and have got less than it asked for. */
static void check_who_received(void)
{
    check(atomic_load(&receives_of_owners) <= 3);
    check(atomic_load(&receives_here) >= 2);
}

PROMISE_EITHER(bulk_at_home, what_follows_a_full_loan_is_received_by_the_readers_own_thread)
{
    AT_END(put_away) bulk b = {0};
    begin(&b, placement, (ferry_reader){0});
    notes_await(&b.seen, b.sent);
    check_who_received();
    check_eq(stream_status(b.s.stream).received_bytes, b.sent);
    end_in_order(&b);
}

static bulk *paused;

static void go_on(void)
{
    paused->sent += send_up_to(paused->s.theirs, 64 * 1024);
}

PROMISE_EITHER(bulk_at_home, bulk_that_has_paused_for_a_moment_takes_no_way_to_the_owner)
{
    AT_END(put_away) bulk b = {0};
    begin(&b, placement, (ferry_reader){0});
    paused = &b;
    meanwhile = go_on;
    size_t before = b.sent;
    unsigned of_owners = atomic_load(&receives_of_owners);
    notes_await(&b.seen, before);
    check(b.sent > before); /* it was asked before the loan went back */
    notes_await(&b.seen, b.sent);
    check_eq(atomic_load(&receives_of_owners), of_owners);
    end_in_order(&b);
}

PROMISE_EITHER(bulk_at_home, what_is_left_of_a_loan_is_offered_with_what_the_thread_receives)
{
    AT_END(put_away) bulk b = {.seen.least = 1000};
    begin(&b, placement, (ferry_reader){0});
    size_t whole = b.sent - b.sent % 1000;
    notes_await(&b.seen, whole);
    check_who_received();
    b.sent = whole; /* the rest is declined, also at the end */
    end_in_order(&b);
    check(b.seen.saw_end);
}

static size_t send_more(ferry_stream *stream, const void *data, size_t length, bool at_end,
                        void *arg)
{
    bulk *self = (bulk *)(void *)((char *)arg - offsetof(bulk, seen));
    unsigned before = atomic_load(&epoll_waits);
    for (unsigned i = 0; i < 10 && self->seen.calls == 0; i++) {
        send_text(self->s.theirs, "x");
        self->sent++;
        wait_until_asleep();
    }
    check_eq(atomic_load(&epoll_waits), before);
    return notes_read(stream, data, length, at_end, arg);
}

PROMISE_EITHER(bulk_at_home, owner_sleeps_while_another_thread_receives)
{
    AT_END(put_away) bulk b = {0};
    begin_with(&b, 64 * 1024, placement, (ferry_reader){.on_read = send_more});
    notes_await(&b.seen, b.sent);
    end_in_order(&b);
}

PROMISE_EITHER(bulk_at_home, event_loop_hears_of_what_its_thread_has_received)
{
    struct pollfd inbox = {.fd = ferry_inbox_get_fd(), .events = POLLIN};
    AT_END(put_away) bulk b = {0};
    begin(&b, placement, (ferry_reader){0});
    while (b.seen.count < b.sent) {
        check_eq(poll(&inbox, 1, -1), 1);
        (void)ferry_inbox_run(0);
    }
    check_who_received();
    end_in_order(&b);
}

/* ---- the end --------------------------------------------------------------------------------- */

static size_t abort_it(ferry_stream *stream, const void *data, size_t length, bool at_end,
                       void *arg)
{
    ferry_stream_abort(stream);
    wait_until_asleep();
    return notes_read(stream, data, length, at_end, arg);
}

static size_t be_too_late(ferry_stream *stream, const void *data, size_t length, bool at_end,
                          void *arg)
{
    check_eq(ferry_stream_read_within(stream, 0), 0);
    wait_until_asleep();
    return notes_read(stream, data, length, at_end, arg);
}

/* The reader is not called again, and the end comes last. */
static void end_in_a_call(ferry_placement placement, ferry_read_callback *call, int error)
{
    AT_END(put_away) bulk b = {0};
    begin(&b, placement, (ferry_reader){.on_read = call});
    notes_await_end(&b.seen);
    check_eq(b.seen.error, error);
    run_until_quiet();
    check_eq(b.seen.ends, 1);
    check_eq(b.seen.calls, 1);
    check_eq(atomic_load(&receives_here), 0);
}

PROMISE_EITHER(bulk_at_home, thread_receives_nothing_once_reading_has_ended)
{
    end_in_a_call(placement, abort_it, -ECANCELED);
    end_in_a_call(placement, be_too_late, -ETIMEDOUT);
}

static size_t pause_it(ferry_stream *stream, const void *data, size_t length, bool at_end,
                       void *arg)
{
    check_eq(ferry_stream_demand(stream, 0), 0);
    return notes_read(stream, data, length, at_end, arg);
}

PROMISE_EITHER(bulk_at_home, thread_receives_nothing_while_its_reader_is_paused)
{
    AT_END(put_away) bulk b = {0};
    begin(&b, placement, (ferry_reader){.on_read = pause_it});
    while (b.seen.calls == 0)
        (void)ferry_inbox_run(10);
    run_until_quiet();
    check_eq(b.seen.calls, 1);
    check_eq(atomic_load(&receives_here), 0);
    notes rest = {0};
    notes_set(b.s.stream, &rest, false);
    notes_await(&rest, b.sent - b.seen.count);
    stage_hang_up(&b.s);
    notes_await_end(&rest);
    check_eq(rest.error, 0);
}

static size_t detach(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg)
{
    bulk *self = (bulk *)(void *)((char *)arg - offsetof(bulk, seen));
    check_eq(ferry_stream_detach(stream, &self->detached), 0);
    wait_until_asleep();
    return notes_read(stream, data, length, at_end, arg);
}

static size_t count_to_the_end(int fd)
{
    static char scrap[64 * 1024];
    size_t sum = 0;
    for (ssize_t count; (count = recv(fd, scrap, sizeof scrap, 0)) > 0; sum += (size_t)count) {
    }
    return sum;
}

PROMISE_EITHER(bulk_at_home, detach_in_the_middle_of_it_loses_nothing)
{
    AT_END(put_away) bulk b = {0};
    begin(&b, placement, (ferry_reader){.on_read = detach});
    notes_await_end(&b.seen);
    const void *unread;
    size_t left;
    check_eq(ferry_promise_await(b.detached, -1, NULL), 0);
    check_eq(ferry_promise_get_unread(b.detached, &unread, &left), 0);
    int fd = ferry_promise_get_fd(b.detached);
    stage_hang_up(&b.s);
    check_eq(b.seen.count + left + count_to_the_end(fd), b.sent);
    close(fd);
    ferry_promise_unref(b.detached);
}

/* Another thread aborts in the middle of it, at whatever moment. */
static void *abort_soon(void *stream)
{
    sched_yield();
    ferry_stream_abort(stream);
    return NULL;
}

PROMISE_EITHER(bulk_at_home, abort_at_any_moment_is_told_once_and_as_an_abort)
{
    for (unsigned i = 0; i < 100; i++) {
        AT_END(put_away) bulk b = {0};
        begin(&b, placement, (ferry_reader){.keep_open = true});
        AT_END(join_thread) pthread_t other = start_thread(abort_soon, b.s.stream);
        notes_await_end(&b.seen);
        check_eq(b.seen.error, -ECANCELED);
        check(b.seen.count <= b.sent);
    }
}
