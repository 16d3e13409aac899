/* SPDX-License-Identifier: MIT */
/* What requests with callbacks cost beside the transfer: memory, mail, system calls; and what a
 * stream costs that does nothing. */
#include "actors/owner.h"
#include "core/mailbox.h"
#include "tests/notes.h"
#include "tests/promises.h"
#include "tests/support.h"
#include "transport/service/service.h"

#include <sys/epoll.h>

/* Every hop of whatever kind is one push to a mailbox: counted on its way (-Wl,--wrap). */
static atomic_uint hops;

WRAPPED(void, ferry__mailbox_push, (ferry__mailbox * mailbox, ferry__mail *mail))
{
    atomic_fetch_add(&hops, 1);
    __real_ferry__mailbox_push(mailbox, mail);
}

WRAPPED(void, ferry__mailbox_push_own,
        (ferry__mailbox * mailbox, ferry__own_mail *own, ferry__mail *mail))
{
    atomic_fetch_add(&hops, 1);
    __real_ferry__mailbox_push_own(mailbox, own, mail);
}

/* How often owners were about to look out. */
static atomic_uint lookouts;

WRAPPED(bool, ferry__lookout_look,
        (ferry__lookout * self, int64_t span_ns, bool (*has_come)(void *context), void *context))
{
    if (ferry__thread_current()->owner != NULL)
        atomic_fetch_add(&lookouts, 1);
    return __real_ferry__lookout_look(self, span_ns, has_come, context);
}

static void write_and_be_told(ferry_stream *stream)
{
    unsigned told = 0;
    ferry_promise *promise = submit_write(stream, "x", 1);
    check_eq(ferry_promise_observe(promise, count_up, &told, NULL), 0);
    ferry_promise_unref(promise);
    while (told == 0)
        check(ferry_inbox_run(-1) > 0);
}

PROMISE_BOTH(cost, promise_with_one_callback_is_at_most_one_allocation_and_two_mailbox_hops)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    write_and_be_told(s.stream); /* threads start, the inbox is made */
    for (unsigned i = 0; i < 20; i++) {
        unsigned long allocations = allocations_made();
        unsigned hops_before = atomic_load(&hops);
        write_and_be_told(s.stream);
        check(allocations_made() - allocations <= 1);  /* none, where a spare block was there */
        check_eq(atomic_load(&hops) - hops_before, 2); /* there, and back */
    }
    (void)stage_close_stream(&s);
}

/* Each batch would be smaller. */
PROMISE_BOTH(cost, owner_looks_out_behind_a_question_and_not_behind_writes_that_are_forgotten)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    write_and_be_told(s.stream);
    wait_until_asleep();
    check(atomic_exchange(&lookouts, 0) > 0);
    for (unsigned i = 0; i < 20; i++) {
        check_eq(ferry_stream_write(s.stream, "x", 1, NULL, NULL), 0);
        wait_until_asleep();
    }
    check_eq(atomic_load(&lookouts), 0);
    (void)stage_close_stream(&s);
}

/* ---- system calls ---------------------------------------------------------------------------- */

static atomic_uint sends;

WRAPPED(ssize_t, send, (int fd, const void *data, size_t size, int flags))
{
    atomic_fetch_add(&sends, 1);
    return __real_send(fd, data, size, flags);
}

WRAPPED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags))
{
    atomic_fetch_add(&sends, 1);
    return __real_sendmsg(fd, message, flags);
}

/* Called on the owner: in the order of the requests, and each before its promise settles. */
static void note_order(ferry_promise *, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    uint64_t *told = arg;
    check_eq(result->stream_offset, 1 + *told); /* behind hold_until_told's byte */
    (*told)++;
}

/* @return how many system calls so many writes took. All were queued when the first one left. */
static unsigned count_sends(ferry_placement placement, const ferry_request_options *options,
                            unsigned writes)
{
    atomic_bool may_go_on = false;
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    write_calling(s.stream, "x", 1, hold_until_told, &may_go_on);
    wait_readable(s.theirs); /* the owner is in hold_until_told, or about to be */
    unsigned before = atomic_load(&sends);
    for (unsigned i = 1; i < writes; i++)
        check_eq(ferry_stream_write(s.stream, "x", 1, options, NULL), 0);
    ferry_promise *last = submit_write_with(s.stream, "x", 1, options);
    atomic_store(&may_go_on, true);
    check_eq(outcome(last).error, 0);
    unsigned taken = atomic_load(&sends) - before;
    return taken;
}

PROMISE_BOTH(cost,
             callbacks_on_the_owner_take_no_more_system_calls_than_none_unless_they_hold_the_queue)
{
    enum { WRITES = 100 };
    uint64_t told = 0;
    ferry_request_options options = {.on_owner = note_order, .on_owner_arg = &told};
    check_eq(count_sends(placement, NULL, WRITES), 1);
    check_eq(count_sends(placement, &options, WRITES), 1);
    check_eq(told, WRITES);
    told = 0;
    options.on_owner_holds_queue = true;
    check_eq(count_sends(placement, &options, WRITES), WRITES);
    check_eq(told, WRITES);
}

/* Every turn of a stream (-Wl,--wrap). */
static atomic_uint turns;

WRAPPED(ferry__turn, ferry__stream_turn, (ferry__task * task))
{
    atomic_fetch_add(&turns, 1);
    return __real_ferry__stream_turn(task);
}

PROMISE_BOTH(cost, small_write_takes_one_turn)
{
    AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
    wait_until_asleep();
    unsigned before = atomic_load(&turns);
    for (unsigned i = 0; i < 20; i++) {
        check_eq(outcome(submit_write(s.stream, "x", 1)).error, 0);
        wait_until_asleep();
    }
    check_eq(atomic_load(&turns) - before, 20);
}

/* Every change of an epoll set: counted on its way (-Wl,--wrap). */
static atomic_uint changes;

WRAPPED(int, epoll_ctl, (int set, int operation, int fd, struct epoll_event *event))
{
    atomic_fetch_add(&changes, 1);
    return __real_epoll_ctl(set, operation, fd, event);
}

PROMISE_BOTH(cost, sink_that_is_full_again_and_again_is_watched_once)
{
    enum { STEP = 256 * 1024 };
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(stage_close) stage s = stage_open(placement, any_pair(is_tcp));
        ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
        unsigned before = atomic_load(&changes);
        for (uint64_t taken = 0; taken < STUCK_BYTES; taken += STEP) {
            wait_until_asleep(); /* it is full */
            read_away(s.theirs, STEP);
        }
        check_eq(outcome(stuck).error, 0);
        check_eq(atomic_load(&changes), before);
    }
}

PROMISE_EITHER(cost, source_that_is_dry_again_and_again_is_watched_once)
{
    for (int is_socket = 0; is_socket < 2; is_socket++) {
        AT_END(close_theirs) pair from = is_socket ? unix_pair(SOCK_STREAM) : pipe_pair();
        AT_END(stage_close) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        ferry_file file = ferry_file_fd(from.theirs);
        file.length = FERRY_TO_END;
        ferry_promise *sent = submit_file(s.stream, file);
        unsigned before = 0;
        for (unsigned i = 0; i < 50; i++) {
            wait_until_asleep(); /* it is dry */
            if (i == 2)
                before = atomic_load(&changes);
            check_eq(write(from.ours, "x", 1), 1);
            read_away(s.theirs, 1);
        }
        check_eq(atomic_load(&changes), before);
        close(from.ours);
        check_eq(outcome(sent).sent, 50);
    }
}

/* ---- turns ----------------------------------------------------------------------------------- */

PROMISE(cost, turn_of_a_shared_owner_is_short_while_others_go_ahead_and_by_tcp_shortest)
{
    enum { KIB = 1024 };
    static const ferry__owner calm, hurried = {.went_ahead_at = 1};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    for (unsigned over_tcp = 0; over_tcp < 2; over_tcp++)
        check_eq(ferry__service_chunk(service, &calm, over_tcp), 1024 * KIB);
    check_eq(ferry__service_chunk(service, &hurried, false), 256 * KIB);
    check_eq(ferry__service_chunk(service, &hurried, true), 64 * KIB);
}

/* ---- memory ---------------------------------------------------------------------------------- */

PROMISE(cost, idle_stream_of_a_shared_owner_takes_a_kilobyte_at_most)
{
    enum { STREAMS = 100 };
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    pair pairs[STREAMS + 1];
    ferry_stream *streams[STREAMS + 1];
    long before = 0;
    for (unsigned i = 0; i <= STREAMS; i++) {
        if (i == 1) /* the first one's owner has made its epoll set */
            before = bytes_outstanding();
        pairs[i] = unix_pair(SOCK_STREAM);
        streams[i] = stream_adopt(service, pairs[i].ours);
    }
    check(bytes_outstanding() - before <= STREAMS * 1024L);
    for (unsigned i = 0; i <= STREAMS; i++) {
        (void)close_stream(streams[i]);
        close(pairs[i].theirs);
    }
}

/* An owner lets its spare memory go each second: so some may be needed on a slow machine. */
PROMISE_EITHER(cost, messages_to_a_reader_on_another_thread_share_one_block_of_memory)
{
    enum { MESSAGES = 100 };
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    notes seen = {0};
    notes_set(s.stream, &seen, false);
    unsigned long made = 0;
    for (unsigned i = 0; i <= MESSAGES; i++) {
        run_until_quiet(); /* the loan is back */
        if (i == 1)
            made = allocations_made();
        send_text(s.theirs, "x");
        notes_await(&seen, i + 1);
    }
    check(allocations_made() - made < MESSAGES / 4);
    stage_hang_up(&s);
    notes_await_end(&seen);
}

/* ---- memory that is kept for the next request ------------------------------------------------ */

static void forget_outcome(ferry_promise *, const ferry_result *, void *) {}

/* What nobody keeps the promise of: its memory is let go by the owner. */
typedef struct asked {
    size_t copies; /* how many, */
    size_t bytes;  /* of so many bytes each */
    int file;      /* behind them; -1: none */
    ferry_request_options options;
} asked;

/* @return how many allocations a hundred of them took, one after the other. */
static unsigned long count_allocations(ferry_stream *stream, int theirs, const asked *what)
{
    enum { REQUESTS = 100, MOST = 16 };
    static char data[150000];
    ferry_file file = ferry_file_fd(what->file);
    file.offset = 0;
    file.flags = FERRY_FD_BORROW;
    ferry_part parts[MOST + 1];
    for (size_t i = 0; i < what->copies; i++)
        parts[i] = ferry_part_copy(data, what->bytes);
    parts[what->copies] = ferry_part_file(file);
    size_t count = what->copies + (what->file >= 0);
    unsigned long made = 0;
    for (unsigned i = 0; i <= REQUESTS; i++) {
        if (i == 1)
            made = allocations_made();
        check_eq(ferry_stream_send(stream, parts, count, &what->options, NULL), 0);
        wait_until_asleep();
        while (recv(theirs, data, sizeof data, MSG_DONTWAIT) > 0) {
        }
    }
    return allocations_made() - made;
}

/* An owner lets its spare memory go each second: so some may be needed on a slow machine. */
PROMISE_BOTH(cost, requests_that_ask_for_something_and_are_forgotten_share_blocks_of_memory)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(file_remove) test_file file = file_make(200, 1);
    const ferry_request_options told = {.on_owner = forget_outcome},
                                limited = {.timeout_ms = 60 * 1000};
    const asked all[] = {
        {1, 64, -1, told},     {1, 64, -1, limited},       {1, 200, -1, told},
        {1, 500, -1, limited}, {1, 1000, -1, told},        {1, 1000, -1, limited},
        {1, 2000, -1, told},   {1, 10000, -1, limited},    {1, 20000, -1, told},
        {1, 30000, -1, told},  {1, 60000, -1, limited},    {1, 100000, -1, told},
        {1, 150000, -1, {0}},  {16, 64, -1, {0}},          {16, 64, -1, limited},
        {0, 0, file.fd, {0}},  {1, 300, file.fd, limited}, {3, 2000, file.fd, told}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        check(count_allocations(s.stream, s.theirs, &all[i]) < 25);
    (void)stage_close_stream(&s);
}

enum { FRAME = 300000, PIECES = 3, FRAMES = 20 };

/* Takes whole frames only. */
static size_t take_frames(ferry_stream *, const void *, size_t length, bool, void *frames)
{
    atomic_fetch_add((atomic_uint *)frames, (unsigned)(length / FRAME));
    return length / FRAME * FRAME;
}

PROMISE_BOTH(cost, frames_that_come_in_pieces_are_kept_in_the_memory_of_those_before)
{
    static const char piece[FRAME / PIECES];
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    atomic_uint frames = 0;
    const ferry_reader taking = {
        .on_read = take_frames, .arg = &frames, .on_owner = true, .high_bytes = 2 * FRAME};
    check_eq(ferry_stream_set_reader(s.stream, &taking), 0);
    unsigned long made = 0;
    for (unsigned i = 0; i <= FRAMES; i++) {
        if (i == 1)
            made = allocations_made();
        for (unsigned n = 0; n < PIECES; n++) {
            check_eq(send(s.theirs, piece, sizeof piece, 0), (ssize_t)sizeof piece);
            wait_until_asleep();
        }
    }
    check_eq(atomic_load(&frames), FRAMES + 1);
    check(allocations_made() - made <= 5 * FRAMES / 2); /* two for what comes first of each */
    stage_hang_up(&s);
}

/* Whatever is queued before them. */
static void forget_many(ferry_service *service, ferry_stream_options options)
{
    enum { WRITES = 20000 };
    static const char data[64];
    AT_END(stage_end) stage s = stage_in_with(service, unix_pair(SOCK_STREAM), options);
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    long before = bytes_outstanding();
    unsigned long made = allocations_made();
    for (unsigned i = 0; i < WRITES; i++)
        check_eq(ferry_stream_write(s.stream, data, sizeof data, NULL, NULL), 0);
    check(bytes_outstanding() - before <= WRITES * 200L);
    check(allocations_made() - made < WRITES / 50);
    ferry_stream_abort(s.stream);
    check_eq(outcome(stuck).error, -ECANCELED);
}

PROMISE(cost, forgotten_writes_of_64_bytes_take_200_bytes_each_and_few_allocations)
{
    const ferry_stream_options plain = {0}, watched = {.high_watermark_bytes = 1 << 20,
                                                       .on_watermark = ignore_watermark};
    const ferry_service_options limited = {.placement = FERRY_PLACEMENT_SHARED,
                                           .limit_requests = 100000};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    AT_END(destroy_service) ferry_service *narrow = service_start_with(limited);
    forget_many(service, plain);
    forget_many(service, watched);
    forget_many(narrow, plain);
}

/* A batch ends where another request stands: then it is to be no larger than it is of use. */
PROMISE(cost, forgotten_writes_among_others_take_as_little_as_if_they_were_not_forgotten)
{
    enum { WRITES = 10000 };
    static const char data[64];
    for (unsigned run = 1; run <= 1000; run *= 10) { /* so many are forgotten, then one is not */
        AT_END(stage_end) stage s = stage_open(FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM));
        ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
        long before = bytes_outstanding();
        for (unsigned i = 1; i <= WRITES; i++) {
            if (i % (run + 1) != 0)
                check_eq(ferry_stream_write(s.stream, data, sizeof data, NULL, NULL), 0);
            else
                ferry_promise_unref(submit_write(s.stream, data, sizeof data));
        }
        check(bytes_outstanding() - before <= WRITES * 530L);
        ferry_stream_abort(s.stream);
        check_eq(outcome(stuck).error, -ECANCELED);
    }
}
