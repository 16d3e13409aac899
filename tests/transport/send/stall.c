/* SPDX-License-Identifier: MIT */
/*
 * Stalls: a slow peer is served for as long as it takes, one that has stopped is given up, and
 * nobody is blamed while no byte waits for the peer.
 */
#include "core/clock.h"
#include "tests/support.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>

enum { BIG = 16 << 20, SEED = 21 };

/* ---- a peer that reads slowly, then not at all ----------------------------------------------- */

/* Reads 1 KiB 25 times a second, so that for seconds nothing shows on the sender's side, until it
 * is stopped. */
typedef struct dawdler {
    pthread_t thread;
    int fd; /* stays open */
    atomic_bool stop;
    uint64_t bytes;
    uint64_t digest;
    int64_t longest_ns; /* between two reads: on a busy machine more than it means to */
} dawdler;

static void *dawdle(void *arg)
{
    dawdler *self = arg;
    unsigned char buffer[1024];
    int64_t last = ferry__clock_now();
    while (!atomic_load(&self->stop)) {
        ssize_t count = read(self->fd, buffer, sizeof buffer);
        int64_t now = ferry__clock_now();
        self->longest_ns = now - last > self->longest_ns ? now - last : self->longest_ns;
        last = now;
        check(count > 0);
        self->bytes += (uint64_t)count;
        self->digest = digest(self->digest, buffer, (size_t)count);
        usleep(40 * 1000);
    }
    return NULL;
}

static dawdler *dawdler_start(int fd)
{
    dawdler *self = calloc(1, sizeof *self);
    self->fd = fd;
    self->digest = DIGEST_BEGIN;
    self->thread = start_thread(dawdle, self);
    return self;
}

static void dawdler_stop(dawdler *self)
{
    atomic_store(&self->stop, true);
    pthread_join(self->thread, NULL);
}

/* Reads what is left, to the end. Frees it, closes its fd. */
static void check_dawdler_got(dawdler *self, uint64_t size)
{
    unsigned char buffer[64 * 1024];
    for (ssize_t count; (count = read(self->fd, buffer, sizeof buffer)) > 0;) {
        self->bytes += (uint64_t)count;
        self->digest = digest(self->digest, buffer, (size_t)count);
    }
    close(self->fd);
    check_eq(self->bytes, size);
    check_eq(self->digest, digest_content(DIGEST_BEGIN, SEED, 0, size));
    free(self);
}

static void check_given_up(ferry_stream *stream, ferry_promise *head, ferry_promise *behind)
{
    ferry_result given_up = outcome(head);
    check_eq(given_up.error, -ETIMEDOUT);
    check_eq(given_up.phase, FERRY_PHASE_SINK);
    check(given_up.sent > 0);
    check_eq(given_up.sent + given_up.remaining, BIG);
    ferry_promise *later[] = {behind, submit_write(stream, "later", 5)};
    for (unsigned i = 0; i < 2; i++) {
        check_outcome(later[i], .error = -ECANCELED, .phase = FERRY_PHASE_QUEUE, .sent = 0);
    }
    ferry_stream_status status = stream_status(stream);
    check_eq(status.error, -ETIMEDOUT);
    check_eq(status.sent_bytes, given_up.sent);
}

/* @return whether the machine let the peer read as often as it meant to; else this says nothing. */
static bool is_served_until_it_stops(ferry_placement placement, pair both,
                                     ferry_stream_options options)
{
    AT_END(file_remove) test_file file = file_make(BIG, SEED);
    stage s = stage_open_with(placement, both, options);
    ferry_promise *head = submit_file(s.stream, ferry_file_at(file.path));
    ferry_promise *behind = submit_write(s.stream, "behind", 6);
    dawdler *peer = dawdler_start(stage_take(&s));
    int served = ferry_promise_await(head, 6 * options.stall_timeout_ms, NULL);
    int error = stream_status(s.stream).error;
    dawdler_stop(peer);
    bool was_steady = peer->longest_ns < options.stall_timeout_ms * FERRY__NS_PER_MS / 2;
    if (was_steady) {
        check_eq(served, -ETIMEDOUT);
        check_eq(error, 0);
        check_given_up(s.stream, head, behind);
    } else {
        (void)outcome(head);
        (void)outcome(behind);
    }
    ferry_stream_status status = stream_status(s.stream);
    stage_close(&s);
    check_dawdler_got(peer, status.sent_bytes);
    return was_steady;
}

static void dawdle_then_stop(ferry_placement placement, int is_tcp, ferry_framing framing)
{
    ferry_stream_options options = {.framing = framing, .stall_timeout_ms = 200};
    while (!is_served_until_it_stops(placement, any_pair(is_tcp), options))
        options.stall_timeout_ms *= 2;
}

PROMISE_BOTH(stall, slow_unix_peer_is_served_and_given_up_once_it_stops)
{
    dawdle_then_stop(placement, false, FERRY_FRAMING_POISON);
}

/* Pins: bounded_in_time. */
PROMISE_BOTH(stall, slow_tcp_peer_is_served_and_given_up_once_it_stops)
{
    dawdle_then_stop(placement, true, FERRY_FRAMING_POISON);
}

PROMISE_BOTH(stall, peer_that_stopped_is_given_up_whatever_the_framing_policy)
{
    dawdle_then_stop(placement, false, FERRY_FRAMING_CONTINUE);
    dawdle_then_stop(placement, true, FERRY_FRAMING_PAD);
}

typedef struct hold {
    atomic_bool is_up;
    ferry_promise *holding;
} hold;

/* Holds the owner of a stream until hold_end. */
static void hold_start(hold *self, ferry_stream *stream)
{
    const ferry_request_options held = calling_on_owner(hold_until_told, &self->is_up);
    atomic_init(&self->is_up, false);
    self->holding = submit_write_with(stream, "x", 1, &held);
}

static void hold_end(hold *self)
{
    atomic_store(&self->is_up, true);
    check_eq(outcome(self->holding).error, 0);
}

/* Both are seen in one turn: another stream keeps the owner until its time is up. */
PROMISE(stall, what_stands_behind_a_cancelled_request_is_not_what_the_peer_stalled_on)
{
    const ferry_stream_options options = {.stall_timeout_ms = 100};
    hold held;
    AT_END(destroy_service) ferry_service *service = service_of_one_owner(FERRY_PLACEMENT_SHARED);
    AT_END(stage_end) stage stalled = stage_in_with(service, unix_pair(SOCK_STREAM), options);
    AT_END(stage_end) stage beside = stage_in(service, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(stalled.stream, stalled.theirs);
    (void)poll(NULL, 0, 60); /* it was looked at once by then */
    hold_start(&held, beside.stream);
    (void)poll(NULL, 0, 150);
    (void)ferry_promise_cancel(stuck); /* a busy machine may have been later than that */
    ferry_promise *behind = submit_write(stalled.stream, "x", 1);
    hold_end(&held);
    int error = outcome(stuck).error;
    check(error == -ECANCELED || error == -ETIMEDOUT);
    check_outcome(behind, .error = -ECANCELED, .phase = FERRY_PHASE_QUEUE, .sent = 0);
}

/* ---- no stall -------------------------------------------------------------------------------- */

static const ferry_stream_options hasty = {.framing = FERRY_FRAMING_CONTINUE,
                                           .stall_timeout_ms = 100};

/* Far longer than it takes to give up a hasty stream's peer. */
static void let_time_pass(void)
{
    usleep(600 * 1000);
}

PROMISE_BOTH(stall, peer_that_does_not_read_is_no_stall_while_nothing_waits_for_it)
{
    stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), hasty);
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    let_time_pass();
    check_eq(stream_status(s.stream).error, 0);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    int error = ferry_promise_cancel(stuck);
    ferry_result cut = outcome(stuck); /* of both, whichever was first: no byte waits any more */
    check(error == 0 || (error == -EALREADY && cut.error == -ETIMEDOUT));
    if (cut.error == -ECANCELED) {
        let_time_pass();
        check_eq(stream_status(s.stream).error, 0);
        stage_let_read(&s);
        check_eq(outcome(submit_write(s.stream, "y", 1)).error, 0);
        stage_close_got_bytes(&s, 1 + cut.sent + 1);
    } else {
        check_eq(cut.error, -ETIMEDOUT);
        stage_close(&s);
    }
}

static ferry_file given(int fd)
{
    ferry_file source = ferry_file_fd(fd);
    source.flags = FERRY_FD_GIVE;
    return source;
}

PROMISE_BOTH(stall, dry_source_is_no_stall)
{
    AT_END(stage_close) stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), hasty);
    pair pipe = pipe_pair();
    ferry_promise *dry = submit_file(s.stream, given(pipe.theirs));
    check_eq(ferry_promise_await(dry, 600, NULL), -ETIMEDOUT);
    check_eq(write(pipe.ours, "first", 5), 5);
    wait_readable(s.theirs);
    check_eq(ferry_promise_await(dry, 600, NULL), -ETIMEDOUT); /* what came has left */
    check_eq(stream_status(s.stream).error, 0);
    check_eq(write(pipe.ours, "last", 4), 4);
    close(pipe.ours);
    check_outcome(dry, .error = 0, .sent = 9);
}

PROMISE_BOTH(stall, without_a_timeout_nobody_is_given_up)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(ferry_promise_await(stuck, 600, NULL), -ETIMEDOUT);
    stage_let_read(&s);
    check_eq(outcome(stuck).error, 0);
    stage_close_got_bytes(&s, STUCK_BYTES);
}

/* ---- what it costs --------------------------------------------------------------------------- */

/* Each makes the kernel walk through all unix sockets: counted on their way (-Wl,--wrap). */
static atomic_uint questions;

WRAPPED(ssize_t, send, (int fd, const void *data, size_t size, int flags))
{
    const struct nlmsghdr *header = data;
    if (size >= sizeof *header && header->nlmsg_type == SOCK_DIAG_BY_FAMILY)
        atomic_fetch_add(&questions, 1);
    return __real_send(fd, data, size, flags);
}

PROMISE_BOTH(stall, unix_peer_is_found_once_and_asked_for_when_its_time_begins_and_is_up)
{
    AT_END(stage_close) stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), hasty);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    check_eq(outcome(stuck).error, -ETIMEDOUT);
    check(atomic_load(&questions) <= 3); /* fewer, where the kernel tells nothing */
}

enum { CROWD = 200 };

/* Streams with one owner, and one more by which that is held. */
typedef struct crowd {
    stage beside;
    stage stages[CROWD];
    ferry_promise *stuck[CROWD];
    hold held;
} crowd;

/* Their writes are stuck, and their owner is held, when this returns.
 * @param size of each write: more than a socket takes */
static crowd *crowd_start(size_t size)
{
    static const char data[1 << 20];
    const ferry_part part = ferry_part_borrow(data, size);
    const ferry_stream_options options = {.stall_timeout_ms = 1000};
    ferry_service *service = service_of_one_owner(FERRY_PLACEMENT_SHARED);
    crowd *self = calloc(1, sizeof *self);
    self->beside = stage_in(service, unix_pair(SOCK_STREAM));
    self->beside.service = service;
    for (unsigned i = 0; i < CROWD; i++) {
        self->stages[i] = stage_in_with(service, unix_pair(SOCK_STREAM), options);
        self->stuck[i] = submit_parts(self->stages[i].stream, &part, 1, NULL);
    }
    for (unsigned i = 0; i < CROWD; i++)
        wait_until_full(self->stages[i].stream, self->stuck[i]);
    hold_start(&self->held, self->beside.stream);
    return self;
}

/* Lets over a quarter of the time pass, and then the owner go on. */
static void crowd_end(crowd *self, int error)
{
    (void)poll(NULL, 0, 300);
    hold_end(&self->held);
    for (unsigned i = 0; i < CROWD; i++) {
        check_eq(outcome(self->stuck[i]).error, error);
        stage_end(&self->stages[i]);
    }
    stage_end(&self->beside);
    free(self);
}

/* Their owner is held until all are to look. From then on they look together. */
PROMISE(stall, many_unix_peers_are_looked_at_with_few_questions)
{
    crowd_end(crowd_start(1 << 20), -ETIMEDOUT);
    check(atomic_load(&questions) < CROWD); /* and not three for each */
}

/* All that they wait for happens while their owner is held: the time to look comes, the peers read
 * all, and the streams are closed. */
PROMISE(stall, stream_may_end_in_the_turn_in_which_its_peer_was_to_be_looked_at)
{
    crowd *all = crowd_start(300 * 1000);
    for (unsigned i = 0; i < CROWD; i++) {
        check_eq(ferry_stream_close(all->stages[i].stream, NULL), 0);
        char scrap[4096];
        while (recv(all->stages[i].theirs, scrap, sizeof scrap, MSG_DONTWAIT) > 0) {
        }
    }
    crowd_end(all, 0);
}

/* ---- with a limiter -------------------------------------------------------------------------- */

PROMISE_BOTH(stall, peer_that_stopped_is_given_up_though_its_stream_waits_for_a_busy_limiter)
{
    AT_END(file_remove) test_file file = file_make(BIG, SEED);
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_limiter) ferry_limiter *limiter = limiter_make(2 << 20, 0, NULL);
    AT_END(stage_close)
    stage busy = stage_in_with(service, unix_pair(SOCK_STREAM),
                               (ferry_stream_options){.limiter = limiter}),
          stuck =
              stage_in_with(service, unix_pair(SOCK_STREAM),
                            (ferry_stream_options){.limiter = limiter, .stall_timeout_ms = 200});
    stage_let_read(&busy);
    ferry_promise *moving = submit_file(busy.stream, ferry_file_at(file.path));
    ferry_promise *head = submit_file(stuck.stream, ferry_file_at(file.path));
    check_eq(outcome(head).error, -ETIMEDOUT);
    check_eq(ferry_promise_await(moving, 0, NULL), -ETIMEDOUT); /* which takes far longer */
    check_eq(ferry_promise_cancel(moving), 0);
    check_eq(outcome(moving).error, -ECANCELED);
}

/* ---- while a confirmation is waited for ------------------------------------------------------ */

PROMISE_BOTH(stall, peer_that_does_not_read_is_given_up_though_the_next_source_is_dry)
{
    const ferry_request_options acked = {.completion = FERRY_COMPLETION_ACKED};
    AT_END(stage_close) stage s = stage_open_with(placement, unix_pair(SOCK_STREAM), hasty);
    AT_END(close_ours) pair pipe = pipe_pair();
    ferry_promise *written = submit_write_with(s.stream, "x", 1, &acked);
    ferry_promise *dry = submit_file(s.stream, given(pipe.theirs));
    check_eq(outcome(written).error, -ETIMEDOUT);
    check_eq(outcome(dry).error, -ETIMEDOUT);
    check_eq(stream_status(s.stream).error, -ETIMEDOUT);
}

/* ---- scripted, and refused ------------------------------------------------------------------- */

PROMISE_BOTH(stall, scripted_stall_gives_the_stream_up_though_the_peer_reads)
{
    const ferry_fault script = {.call = FERRY_CALL_WRITE, .first = 2, .effect = FERRY_FAULT_STALL};
    AT_END(drop_faults) ferry_faults *faults = faults_of(script);
    ferry_stream_options options = hasty;
    options.faults = faults;
    stage s = stage_open_with(placement, tcp_pair(), options);
    stage_let_read(&s);
    check_eq(outcome(submit_write(s.stream, "first", 5)).error, 0);
    check_outcome(submit_write(s.stream, "second", 6), .error = -ETIMEDOUT,
                  .phase = FERRY_PHASE_SINK, .sent = 0, .remaining = 6);
    check(ferry_faults_get_injected(faults) > 0);
    check_eq(outcome(submit_write(s.stream, "third", 5)).error, -ECANCELED);
    check_eq(stream_status(s.stream).error, -ETIMEDOUT);
    stage_close_got_text(&s, "first");
}

PROMISE(stall, negative_timeout_is_einval)
{
    static const ferry_stream_options options = {.stall_timeout_ms = -1};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_DEDICATED);
    AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream = NULL;
    check_eq(ferry_stream_adopt(service, both.ours, &options, &stream), -EINVAL);
    check(stream == NULL);
    close(both.ours);
}
