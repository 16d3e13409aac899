/* SPDX-License-Identifier: MIT */
/* Relaying: from one stream's peer to another's, and what is left where that comes to nothing. */
#include "tests/support.h"

#define MIB (UINT64_C(1) << 20)

static ferry_promise *submit_relay(ferry_stream *from, ferry_stream *to, int64_t length)
{
    ferry_promise *promise;
    check_eq(ferry_stream_relay(from, to, length, 0, NULL, &promise), 0);
    return promise;
}

static ferry_promise *submit_read(ferry_stream *stream, void *data, size_t size,
                                  ferry_read_mode mode)
{
    const ferry_read wanted = {.data = data, .size = size, .mode = mode};
    ferry_promise *promise;
    check_eq(ferry_stream_read(stream, &wanted, NULL, &promise), 0);
    return promise;
}

/* Whether the rest of what from's peer sends is content of seed from position on, size bytes in
 * all. */
static void check_rest(ferry_stream *from, uint64_t seed, uint64_t position, uint64_t size)
{
    uint64_t left = size - position;
    AT_END(free_memory) unsigned char *got = malloc(left + 1);
    check_outcome(submit_read(from, got, left + 1, FERRY_READ_TO_END), .error = 0,
                  .stream_offset = position, .sent = left);
    check(digest(DIGEST_BEGIN, got, left) == digest_content(DIGEST_BEGIN, seed, position, left));
}

/* What most tests begin with: a stream to read from, one to relay to, and their peers. */
typedef struct scene {
    ferry_service *service;
    ferry_stream *from, *to; /* NULL once it is dropped */
    int source, sink;        /* their peers' fds; -1 once it is closed, or peer's */
    talker *talker;          /* who talks at source, if somebody does */
    reader *peer;            /* who reads at sink, if somebody does */
} scene;

static scene begin_with(ferry_placement placement, pair in, pair out, ferry_stream_options options)
{
    scene set = {.service = service_start(placement), .source = in.theirs, .sink = out.theirs};
    set.from = stream_adopt(set.service, in.ours);
    set.to = stream_adopt_with(set.service, out.ours, options);
    return set;
}

static scene begin(ferry_placement placement)
{
    return begin_with(placement, tcp_pair(), tcp_pair(), (ferry_stream_options){0});
}

static scene begin_with_unix(ferry_placement placement)
{
    return begin_with(placement, unix_pair(SOCK_STREAM), unix_pair(SOCK_STREAM),
                      (ferry_stream_options){0});
}

static void end(scene *set)
{
    ferry_stream_unref(set->from);
    ferry_stream_unref(set->to);
    ferry_service_destroy(set->service);
    if (set->talker != NULL)
        talker_join(set->talker);
    close(set->source);
    close_fd(&set->sink);
}

static void let_talk(scene *set, uint64_t seed, uint64_t size)
{
    set->talker = talker_start(set->source, seed, size);
}

static void let_read(scene *set)
{
    set->peer = reader_start(set->sink, false);
    set->sink = -1;
}

static void close_to(scene *set)
{
    check_eq(close_stream(set->to).error, 0);
    set->to = NULL;
}

static void hang_up(scene *set)
{
    close(set->sink);
    set->sink = -1;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void relay_along_a_chain(ferry_placement placement, pair first, pair second, pair third)
{
    ferry_service *services[2] = {service_start(placement), service_start(placement)};
    ferry_stream *a = stream_adopt(services[0], first.ours);
    ferry_stream *b = stream_adopt(services[0], second.ours);
    ferry_stream *c = stream_adopt(services[1], second.theirs);
    ferry_stream *d = stream_adopt(services[0], third.ours);
    ferry_promise *one = submit_relay(a, b, FERRY_TO_END);
    ferry_promise *two = submit_relay(c, d, FERRY_TO_END); /* across services */
    talker *source = talker_start(first.theirs, 1, 64 * MIB);
    check_fd_content(third.theirs, 1, 64 * MIB);
    ferry_promise *both[] = {one, two};
    for (int i = 0; i < 2; i++) {
        check_outcome(both[i], .error = 0, .sent = 64 * MIB, .remaining = 0,
                      .method = OVER_RECORDS ? FERRY_METHOD_COPY : FERRY_METHOD_SPLICE,
                      .at_end = true);
    }
    talker_join(source);
    close(first.theirs);
    ferry_stream *all[] = {a, b, c, d};
    for (int i = 0; i < 4; i++)
        ferry_stream_unref(all[i]);
    ferry_service_destroy(services[0]);
    ferry_service_destroy(services[1]);
}

PROMISE_EITHER(relaying, much_goes_along_a_chain_of_tcp_streams_and_its_end_too)
{
    relay_along_a_chain(placement, tcp_pair(), tcp_pair(), tcp_pair());
}

PROMISE_EITHER(relaying, much_goes_along_a_chain_of_unix_streams_and_its_end_too)
{
    relay_along_a_chain(placement, unix_pair(SOCK_STREAM), unix_pair(SOCK_STREAM),
                        unix_pair(SOCK_STREAM));
}

PROMISE_EITHER(relaying, stream_relayed_to_itself_is_an_echo)
{
    for (int over_unix = 0; over_unix < 2; over_unix++) {
        AT_END(stage_end) stage s = stage_open(placement, any_pair(!over_unix));
        ferry_promise *echo = submit_relay(s.stream, s.stream, FERRY_TO_END);
        s.stream = ferry_stream_unref(s.stream); /* the relay keeps it open */
        talker *source = talker_start(s.theirs, 2, 64 * MIB);
        check_fd_content(duplicate(s.theirs), 2, 64 * MIB);
        check_eq(outcome(echo).sent, 64 * MIB);
        talker_join(source);
        stage_hang_up(&s);
        check_eq(ferry_service_drain(s.service, -1), 0);
    }
}

PROMISE_EITHER(relaying, two_of_them_make_a_proxy_that_passes_each_end_on_and_ends)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    pair client = tcp_pair(), server = unix_pair(SOCK_STREAM);
    ferry_stream *near = stream_adopt(service, client.ours);
    ferry_stream *far = stream_adopt(service, server.ours);
    ferry_promise *there = submit_relay(near, far, FERRY_TO_END);
    ferry_promise *back = submit_relay(far, near, FERRY_TO_END);
    ferry_stream_unref(near);
    ferry_stream_unref(far);
    talker *question = talker_start(client.theirs, 3, 3 * MIB); /* and then it is half closed */
    check_fd_content(duplicate(server.theirs), 3, 3 * MIB); /* to its end: only then the answer */
    talker_join(question);
    check_eq(outcome(there).sent, 3 * MIB);
    talker *answer = talker_start(server.theirs, 4, 8 * MIB);
    check_fd_content(client.theirs, 4, 8 * MIB);
    talker_join(answer);
    close(server.theirs);
    check_eq(outcome(back).sent, 8 * MIB);
    check_eq(ferry_service_drain(service, -1), 0); /* both streams have closed */
}

PROMISE_EITHER(relaying, slow_sink_slows_its_source_and_nothing_is_lost)
{
    AT_END(end) scene set = begin(placement);
    ferry_promise *all = submit_relay(set.from, set.to, FERRY_TO_END);
    let_talk(&set, 5, 8 * MIB);
    reader *peer = reader_start_slow(set.sink, 64 * 1024, 500);
    set.sink = -1;
    reader_check_content(peer, 5, 8 * MIB);
    check_eq(outcome(all).sent, 8 * MIB);
}

PROMISE_EITHER(relaying, stream_that_is_no_socket_is_relayed_to_as_well)
{
    AT_END(end)
    scene set = begin_with(placement, tcp_pair(), pipe_pair(), (ferry_stream_options){0});
    ferry_promise *all = submit_relay(set.from, set.to, FERRY_TO_END);
    let_talk(&set, 6, MIB);
    let_read(&set);
    check_eq(outcome(all).error, 0);
    close_to(&set); /* a pipe ends by closing only */
    reader_check_content(set.peer, 6, MIB);
}

/* ---- what it takes --------------------------------------------------------------------------- */

/* The most that ferry got out of a socket with one call (-Wl,--wrap). */
static atomic_size_t most_spliced;
static atomic_uint splices;

WRAPPED(ssize_t, splice,
        (int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned flags))
{
    atomic_fetch_add(&splices, 1);
    ssize_t count = __real_splice(in, in_at, out, out_at, size, flags);
    if (count > 0 && (size_t)count > atomic_load(&most_spliced))
        atomic_store(&most_spliced, (size_t)count);
    return count;
}

PROMISE_EITHER(relaying, small_messages_go_along_by_two_calls_and_without_a_pipe)
{
    AT_END(end) scene set = begin(placement);
    ferry_promise *relay = submit_relay(set.from, set.to, FERRY_TO_END);
    char sent[1000], got[sizeof sent];
    unsigned fds = 0;
    for (unsigned i = 0; i < 100; i++) {
        memset(sent, (int)i, sizeof sent);
        check_eq(send(set.source, sent, sizeof sent, MSG_NOSIGNAL), sizeof sent);
        check_eq(recv(set.sink, got, sizeof got, MSG_WAITALL), sizeof got);
        check(memcmp(got, sent, sizeof got) == 0);
        if (i == 0)
            fds = count_fds();
    }
    check_eq(count_fds(), fds);
    check_eq(atomic_load(&splices), 0);
    check_eq(shutdown(set.source, SHUT_WR), 0);
    check_outcome(relay, .error = 0, .sent = 100 * sizeof sent,
                  .method = OVER_RECORDS ? FERRY_METHOD_COPY : FERRY_METHOD_MEMORY);
}

static bool may_pipes_grow(void)
{
    AT_END(close_pair) pair pipe = pipe_pair();
    bool may = fcntl(pipe.theirs, F_SETPIPE_SZ, MIB) > 0;
    if (!may)
        fprintf(stderr, "not tested: pipes may not grow here\n");
    return may;
}

PROMISE_EITHER(relaying, more_than_a_pipe_has_room_for_leaves_with_one_call_once_it_was_full)
{
    ONLY_ON_PLAIN_LINKS("nothing is spliced");
    AT_END(end) scene set = begin_with_unix(placement);
    static char data[64 * 1024];
    size_t sent = 0; /* all of it is there before the relay is */
    for (ssize_t count; (count = send(set.source, data, sizeof data, MSG_DONTWAIT)) > 0;)
        sent += (size_t)count;
    check(sent > 2 * sizeof data);
    let_read(&set);
    check_eq(outcome(submit_relay(set.from, set.to, (int64_t)sent)).sent, sent);
    check(!may_pipes_grow() || atomic_load(&most_spliced) > sizeof data);
    close_to(&set);
    check_eq(reader_end(set.peer), sent);
}

/* ---- some of it ------------------------------------------------------------------------------ */

PROMISE_EITHER(relaying, some_is_read_some_relayed_in_order_and_the_rest_read)
{
    AT_END(end) scene set = begin(placement);
    unsigned char head[100], tail[100];
    ferry_promise *first = submit_read(set.from, head, 1, FERRY_READ_EXACTLY);
    ferry_promise *second = submit_relay(set.from, set.to, 1000);
    ferry_promise *third = submit_relay(set.from, set.to, 0);
    ferry_promise *fourth = submit_relay(set.from, set.to, (int64_t)MIB);
    ferry_promise *fifth = submit_read(set.from, tail, sizeof tail, FERRY_READ_EXACTLY);
    ferry_promise *more = submit_write(set.to, "", 0);
    let_talk(&set, 7, MIB + 2000);
    check_eq(outcome(first).sent, 1);
    check_outcome(second, .error = 0, .sent = 1000, .stream_offset = 1, .sequence = 1,
                  .at_end = false);
    check_eq(outcome(third).sent, 0);
    check_outcome(fourth, .sent = MIB, .stream_offset = 1001);
    check_eq(outcome(fifth).sent, sizeof tail);
    unsigned char expected[sizeof tail];
    fill_content(expected, sizeof expected, 7, MIB + 1001);
    check(memcmp(tail, expected, sizeof tail) == 0);
    check_rest(set.from, 7, MIB + 1101, MIB + 2000);
    check_eq(outcome(more).error, 0);
    close_to(&set);
    let_read(&set);
    reader_check(set.peer, MIB + 1000, digest_content(DIGEST_BEGIN, 7, 1, MIB + 1000));
}

PROMISE_EITHER(relaying, what_was_kept_goes_first_and_no_more_of_it_than_was_asked_for)
{
    AT_END(end) scene set = begin(placement);
    char line[16], rest[16];
    const ferry_read wanted = {line, sizeof line, FERRY_READ_UNTIL, "\n", 1};
    ferry_promise *head;
    check_eq(ferry_stream_read(set.from, &wanted, NULL, &head), 0);
    check_eq(send(set.source, "head\nabcdef", 11, MSG_NOSIGNAL), 11);
    check_eq(outcome(head).sent, 5);
    check_eq(outcome(submit_relay(set.from, set.to, 2)).sent, 2);
    check_eq(outcome(submit_read(set.from, rest, 1, FERRY_READ_EXACTLY)).sent, 1);
    ferry_promise *all = submit_relay(set.from, set.to, FERRY_TO_END);
    check_eq(send(set.source, "ghi", 3, MSG_NOSIGNAL), 3);
    check_eq(shutdown(set.source, SHUT_WR), 0);
    check_outcome(all, .sent = 6, .stream_offset = 8);
    check_eq(rest[0], 'c');
    let_read(&set);
    reader_check_text(set.peer, "abdefghi");
}

PROMISE_EITHER(relaying, peer_that_ends_early_is_enodata_and_keep_open_keeps_it_open)
{
    AT_END(end) scene set = begin(placement);
    check_eq(send(set.source, "short", 5, MSG_NOSIGNAL), 5);
    check_eq(shutdown(set.source, SHUT_WR), 0);
    ferry_promise *all;
    check_eq(ferry_stream_relay(set.from, set.to, FERRY_TO_END, FERRY_RELAY_KEEP_OPEN, NULL, &all),
             0);
    check_outcome(all, .error = 0, .sent = 5);
    check_outcome(submit_relay(set.from, set.to, 10), .error = -ENODATA,
                  .phase = FERRY_PHASE_SOURCE, .sent = 0, .remaining = 10);
    check_eq(outcome(submit_write(set.to, "more", 4)).error, 0); /* it was not shut down */
}

PROMISE_EITHER(relaying, urgent_data_does_not_stop_it)
{
    AT_END(end) scene set = begin(placement);
    ferry_promise *all = submit_relay(set.from, set.to, FERRY_TO_END);
    check_eq(send(set.source, "before", 6, MSG_NOSIGNAL), 6);
    check_eq(send(set.source, "!", 1, MSG_NOSIGNAL | MSG_OOB), 1);
    check_eq(send(set.source, "after", 5, MSG_NOSIGNAL), 5);
    wait_until_asleep();
    check_eq(shutdown(set.source, SHUT_WR), 0);
    check_outcome(all, .error = 0, .sent = 11);
}

PROMISE_EITHER(relaying, full_queue_lets_it_in_all_the_same)
{
    AT_END(end)
    scene set =
        begin_with(placement, tcp_pair(), tcp_pair(), (ferry_stream_options){.limit_requests = 1});
    ferry_promise *stuck = submit_stuck(set.to, set.sink);
    ferry_promise *refused = NULL;
    check_eq(ferry_stream_write(set.to, "x", 1, NULL, &refused), -EAGAIN);
    ferry_promise *all = submit_relay(set.from, set.to, FERRY_TO_END);
    let_talk(&set, 8, MIB);
    let_read(&set);
    check_eq(outcome(stuck).error, 0);
    check_eq(outcome(all).sent, MIB);
    check_eq(reader_end(set.peer), STUCK_BYTES + MIB);
}

PROMISE(relaying, what_makes_no_sense_is_refused_at_submit)
{
    AT_END(end) scene set = begin(FERRY_PLACEMENT_SHARED);
    ferry_promise *none = NULL;
    check_eq(ferry_stream_relay(NULL, set.to, 1, 0, NULL, &none), -EINVAL);
    check_eq(ferry_stream_relay(set.from, NULL, 1, 0, NULL, &none), -EINVAL);
    check_eq(ferry_stream_relay(set.from, set.to, -2, 0, NULL, &none), -EINVAL);
    check_eq(ferry_stream_relay(set.from, set.to, 1, 2, NULL, &none), -EINVAL);
    check(none == NULL);
}

typedef struct progress {
    atomic_uint_least64_t bytes;
    ferry_promise *promise;
    pthread_t thread;
} progress;

static void note_progress(ferry_promise *promise, uint64_t bytes, void *arg)
{
    progress *seen = arg;
    seen->promise = promise;
    seen->thread = pthread_self();
    atomic_store(&seen->bytes, bytes);
}

PROMISE_EITHER(relaying, its_progress_is_told_and_its_completion_is_tos)
{
    AT_END(end)
    scene set =
        begin_with(placement, tcp_pair(), unix_pair(SOCK_STREAM), (ferry_stream_options){0});
    progress seen = {0};
    const ferry_request_options options = {.on_progress = note_progress,
                                           .on_progress_arg = &seen,
                                           .completion = FERRY_COMPLETION_ACKED};
    ferry_promise *all;
    check_eq(ferry_stream_relay(set.from, set.to, 1000, 0, &options, &all), 0);
    let_talk(&set, 9, 1000);
    while (atomic_load(&seen.bytes) < 1000)
        (void)ferry_inbox_run(-1);
    check(seen.promise == all);
    check(pthread_equal(seen.thread, pthread_self()));
    check_eq(ferry_promise_await(all, 0, NULL), -ETIMEDOUT); /* the peer has not read it */
    char got[1000];
    check_eq(recv(set.sink, got, sizeof got, MSG_WAITALL), sizeof got);
    check_eq(outcome(all).error, 0);
}

/* ---- failing and calling off ----------------------------------------------------------------- */

PROMISE_EITHER(relaying, closed_sink_takes_nothing_and_the_source_goes_on)
{
    AT_END(end) scene set = begin(placement);
    let_talk(&set, 10, 5000);
    check_eq(close_stream(ferry_stream_ref(set.to)).error, 0);
    check_outcome(submit_relay(set.from, set.to, FERRY_TO_END), .error = -ESHUTDOWN,
                  .phase = FERRY_PHASE_QUEUE, .sent = 0);
    check_rest(set.from, 10, 0, 5000);
}

PROMISE_EITHER(relaying, sink_whose_peer_goes_away_fails_it_and_the_rest_is_there)
{
    for (int over_unix = 0; over_unix < 2; over_unix++) {
        AT_END(end)
        scene set =
            begin_with(placement, tcp_pair(), any_pair(!over_unix), (ferry_stream_options){0});
        ferry_promise *all = submit_relay(set.from, set.to, FERRY_TO_END);
        let_talk(&set, 11, 32 * MIB);
        wait_until_stuck(set.sink); /* it is full */
        hang_up(&set);
        ferry_result result = outcome(all);
        check(result.error == -EPIPE || result.error == -ECONNRESET);
        check_eq(result.phase, FERRY_PHASE_SINK);
        check(result.sent > 0);
        check_rest(set.from, 11, result.sent, 32 * MIB);
    }
}

/* A race of a cancel with everything else: whatever comes of it, no byte is lost. */
PROMISE_EITHER(relaying, cancel_at_any_moment_loses_no_byte)
{
    enum { ROUNDS = 60 };
    uint64_t seed = random_seed();
    for (int i = 0; i < ROUNDS; i++) {
        AT_END(end)
        scene set = begin_with(placement, any_pair(i % 2 == 0), any_pair(i % 3 == 0),
                               (ferry_stream_options){0});
        let_talk(&set, 12, MIB);
        let_read(&set);
        ferry_promise *first = submit_relay(set.from, set.to, FERRY_TO_END);
        usleep((unsigned)(random_next(&seed) % 2000));
        (void)ferry_promise_cancel(first);
        ferry_result result = outcome(first);
        check(result.error == 0 || result.error == -ECANCELED);
        check_rest(set.from, 12, result.sent, MIB);
        check_eq(close_stream(set.to).phase, FERRY_PHASE_DONE);
        set.to = NULL;
        reader_check_content(set.peer, 12, result.sent);
    }
}

PROMISE_EITHER(relaying, time_that_is_up_ends_it_while_both_peers_stall)
{
    AT_END(end) scene set = begin(placement);
    const ferry_request_options short_lived = {.timeout_ms = 20};
    ferry_promise *all;
    check_eq(ferry_stream_relay(set.from, set.to, FERRY_TO_END, 0, &short_lived, &all), 0);
    check_eq(send(set.source, "abc", 3, MSG_NOSIGNAL), 3);
    ferry_result result = outcome(all);
    check_eq(result.error, -ETIMEDOUT);
    check(result.sent == 3 || result.sent == 0);
    check_eq(send(set.source, "d", 1, MSG_NOSIGNAL), 1);
    char rest[4];
    ferry_promise *read =
        submit_read(set.from, rest, (size_t)(4 - result.sent), FERRY_READ_EXACTLY);
    check_eq(outcome(read).sent, 4 - result.sent);
    check(memcmp(rest, &"abcd"[result.sent], 4 - result.sent) == 0);
}

PROMISE_EITHER(relaying, cancel_in_the_queue_is_settled_at_once)
{
    AT_END(end) scene set = begin(placement);
    char scrap[10];
    ferry_promise *read = submit_read(set.from, scrap, sizeof scrap, FERRY_READ_EXACTLY);
    ferry_promise *all = submit_relay(set.from, set.to, FERRY_TO_END);
    check_eq(ferry_promise_cancel(all), 0);
    check_outcome(all, .error = -ECANCELED, .phase = FERRY_PHASE_QUEUE);
    check_eq(ferry_promise_cancel(read), 0);
    check_eq(outcome(read).error, -ECANCELED);
}

enum { ABORT_FROM, ABORT_TO, CLOSE_FROM, READ_WITHIN, DESTROY, ENDINGS };

static void bring_to_an_end(scene *set, int how)
{
    switch (how) {
    case ABORT_FROM:
        ferry_stream_abort(set->from);
        return;
    case ABORT_TO:
        ferry_stream_abort(set->to);
        return;
    case CLOSE_FROM:
        check_eq(ferry_stream_close(set->from, NULL), 0);
        return;
    case READ_WITHIN:
        check_eq(ferry_stream_read_within(set->from, 0), 0);
        return;
    default:
        ferry_service_destroy(set->service);
        set->service = NULL;
    }
}

/* @param moving whether bytes are under way at that moment, or both peers silent. */
static void end_it(ferry_placement placement, int how, bool moving)
{
    AT_END(end) scene set = begin(placement);
    ferry_promise *all = submit_relay(set.from, set.to, FERRY_TO_END);
    ferry_promise *behind = submit_relay(set.from, set.to, 10);
    if (moving) {
        let_talk(&set, 13, 256 * MIB);
        wait_readable(set.sink);
    } else {
        wait_until_asleep();
    }
    bring_to_an_end(&set, how);
    ferry_result result = outcome(all);
    if (result.error != -ESHUTDOWN || (how != ABORT_TO && how != DESTROY)) /* it had not begun */
        check_eq(result.error, how == READ_WITHIN ? -ETIMEDOUT : -ECANCELED);
    check(outcome(behind).error < 0 || how == ABORT_TO);
    ferry_stream_abort(set.from);
}

PROMISE_EITHER(relaying, every_end_of_either_stream_settles_it)
{
    for (int how = 0; how < ENDINGS; how++) {
        end_it(placement, how, false);
        end_it(placement, how, true);
    }
}

/* ---- sweeps ---------------------------------------------------------------------------------- */

enum { SWEPT = 60000 };

/* Whatever goes wrong: what to's peer gets and what is read afterwards are what from's peer sent,
 * in order and without a gap. @return how many calls the run needed. */
static uint64_t relay_with(ferry_placement placement, const ferry_fault *fault, bool at_from)
{
    AT_END(drop_faults) ferry_faults *faults;
    check_eq(ferry_faults_create(fault, fault != NULL, &faults), 0);
    pair in = unix_pair(SOCK_STREAM), out = unix_pair(SOCK_STREAM);
    ferry_service *service = service_start(placement);
    const ferry_stream_options faulty = {.faults = faults, .stall_timeout_ms = 20}, plain = {0};
    ferry_stream *from = NULL, *to = NULL;
    talker *source = talker_start(in.theirs, 14, SWEPT);
    reader *peer = reader_start(out.theirs, false);
    if (ferry_stream_adopt(service, in.ours, at_from ? &faulty : &plain, &from) != 0)
        close(in.ours);
    if (ferry_stream_adopt(service, out.ours, at_from ? &plain : &faulty, &to) != 0)
        close(out.ours);
    uint64_t sent = 0, got = 0;
    static unsigned char rest[SWEPT + 1];
    if (from != NULL && to != NULL) {
        ferry_promise *promises[2] = {NULL, NULL}, *read = NULL;
        (void)ferry_stream_relay(from, to, SWEPT / 3, 0, NULL, &promises[0]);
        (void)ferry_stream_relay(from, to, FERRY_TO_END, 0, NULL, &promises[1]);
        const ferry_read wanted = {rest, sizeof rest, FERRY_READ_TO_END, NULL, 0};
        (void)ferry_stream_read(from, &wanted, NULL, &read);
        for (int i = 0; i < 2; i++) {
            ferry_result result = {0};
            if (promises[i] != NULL)
                result = outcome(promises[i]);
            if (result.sent > 0)
                check_eq(result.stream_offset, sent);
            sent += result.sent;
        }
        if (read != NULL) {
            ferry_result result = outcome(read);
            got = result.sent;
            check(digest(DIGEST_BEGIN, rest, got) == digest_content(DIGEST_BEGIN, 14, sent, got));
            if (fault != NULL && result.error == 0 && fault->effect != FERRY_FAULT_EOF)
                check_eq(sent + got, SWEPT);
        }
    }
    ferry_stream_abort(from);
    ferry_stream_unref(from);
    ferry_stream_close(to, NULL);
    ferry_stream_unref(to);
    check_eq(ferry_service_drain(service, -1), 0);
    ferry_service_destroy(service);
    talker_join(source);
    close(in.theirs);
    reader_check_content(peer, 14, sent);
    return ferry_faults_get_calls(faults, FERRY_CALL_ANY);
}

PROMISE_EITHER(relaying, every_fault_at_every_call_of_either_stream_loses_no_byte)
{
    ONLY_ON_PLAIN_LINKS("a link of records whose call has failed is broken");
    for (int at_from = 0; at_from < 2; at_from++) {
        for (unsigned kind = 0; kind < FAULT_KINDS; kind++) {
            uint64_t calls = 1;
            for (uint64_t n = 1; n <= calls && n < 60; n++) {
                const ferry_fault fault = fault_at(kind, n);
                calls = relay_with(placement, &fault, at_from != 0);
            }
        }
    }
}

/* One relay's life with the n-th allocation failing. */
static void live_once(ferry_placement placement)
{
    const ferry_service_options options = {.placement = placement, .shared_owners = 1};
    AT_END(close_theirs) pair in = unix_pair(SOCK_STREAM), out = unix_pair(SOCK_STREAM);
    ferry_service *service = NULL;
    ferry_stream *from = NULL, *to = NULL;
    ferry_promise *all = NULL;
    check_eq(send(in.theirs, "abc", 3, MSG_NOSIGNAL), 3);
    check_eq(shutdown(in.theirs, SHUT_WR), 0);
    if (ferry_service_create(&options, &service) != 0) {
        close(in.ours);
        close(out.ours);
    } else {
        if (ferry_stream_adopt(service, in.ours, NULL, &from) != 0)
            close(in.ours);
        if (ferry_stream_adopt(service, out.ours, NULL, &to) != 0)
            close(out.ours);
        if (from != NULL && to != NULL &&
            ferry_stream_relay(from, to, FERRY_TO_END, 0, NULL, &all) == 0) {
            ferry_result result = outcome(all);
            check(result.error == 0 || result.error == -ENOMEM || result.error == -EAGAIN);
            check(result.error != 0 || result.sent == 3);
        }
        ferry_stream_unref(from);
        ferry_stream_unref(to);
        ferry_service_destroy(service);
    }
}

PROMISE_EITHER(relaying, any_failing_allocation_is_refused_or_settles_and_leaks_nothing)
{
    shortage memory = {0};
    while (next_allocation_fails(&memory))
        live_once(placement);
    check(memory.failures > 5);
}

/* ---- reports --------------------------------------------------------------------------------- */

PROMISE_EITHER(relaying,
               one_that_fails_reports_nothing_of_its_own_and_its_label_may_go_with_its_promise)
{
    unsigned long before = lines_logged();
    for (unsigned i = 0; i < 50; i++) {
        AT_END(end) scene set = begin_with_unix(placement);
        hang_up(&set);
        check_eq(send(set.source, "hello", 5, 0), 5);
        char *label = strdup("a relay");
        const ferry_request_options options = {.label = label};
        ferry_promise *promise;
        check_eq(ferry_stream_relay(set.from, set.to, FERRY_TO_END, 0, &options, &promise), 0);
        check_eq(outcome(promise).error, -EPIPE);
        free(label);
    }
    check_eq(lines_logged(), before);
}

static void note_error(ferry_promise *, const ferry_result *result, void *arg)
{
    atomic_store((atomic_int *)arg, result->error);
}

PROMISE_EITHER(relaying, failure_that_on_owner_was_told_of_is_not_reported)
{
    unsigned long before = lines_logged();
    atomic_int error = 0;
    scene set = begin_with_unix(placement);
    hang_up(&set);
    const ferry_request_options options = calling_on_owner(note_error, &error);
    check_eq(ferry_stream_write(set.to, "x", 1, &options, NULL), 0);
    check_eq(ferry_service_drain(set.service, -1), 0);
    end(&set);
    check_eq(atomic_load(&error), -EPIPE);
    check_eq(lines_logged(), before);
}
