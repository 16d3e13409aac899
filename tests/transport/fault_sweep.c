/* SPDX-License-Identifier: MIT */
/*
 * The fault sweep. One scenario of mixed requests is run again and again: with each kind of fault,
 * at the first system call, at the second, and so on until a run needed no more calls than that.
 * After each run all must be as promised: every submit was refused or settled, what the peer got is
 * what the results say, byte for byte, and nothing is left open.
 */
#include "tests/support.h"

enum { SIZE = 50000, ROOM = 8192, MOST = 12, STALL_MS = 20 };

/* What there is to send, made once. */
static unsigned char content[SIZE];
static test_file file;

/* One request of the scenario. */
typedef struct item {
    int accepted; /* what the submit answered */
    ferry_promise *promise;
    const void *bytes; /* what it is to send, and how much of it */
    uint64_t planned;
    bool is_open_ended; /* its length is found out by reading it */
} item;

typedef struct run {
    ferry_stream *stream;
    item items[MOST];
    unsigned count;
    unsigned seed;
} run;

static void add(run *this, int accepted, ferry_promise *promise, uint64_t planned, bool open_ended)
{
    check(this->count < MOST);
    this->items[this->count++] = (item){accepted, promise, content, planned, open_ended};
}

static void add_parts(run *this, const ferry_part parts[], size_t count, uint64_t planned,
                      bool open_ended)
{
    ferry_promise *promise = NULL;
    int accepted = ferry_stream_send(this->stream, parts, count, NULL, &promise);
    add(this, accepted, promise, planned, open_ended);
}

/* ---- what is sent ---- */

/* A pipe, or a socket, with the content's first bytes in it, ended. */
static int filled(bool as_socket, size_t size)
{
    int fds[2];
    check_eq(as_socket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)
                       : pipe2(fds, O_CLOEXEC),
             0);
    check_eq(write(fds[1], content, size), size);
    close(fds[1]);
    return fds[0];
}

static int64_t generate(void *buffer, size_t size, void *arg)
{
    uint64_t *done = arg;
    size_t count = size < 7000 ? size : 7000;
    if (count > SIZE / 2 - *done)
        count = SIZE / 2 - *done;
    memcpy(buffer, content + *done, count);
    *done += count;
    return (int64_t)count;
}

static void submit_all(run *this, uint64_t *generated, ferry_shared_file *shared)
{
    ferry_part small = ferry_part_copy(content, 100);
    add_parts(this, &small, 1, 100, false);
    ferry_part large = ferry_part_borrow(content, SIZE);
    add_parts(this, &large, 1, SIZE, false);
    ferry_part by_path = ferry_part_file(ferry_file_at(file.path));
    add_parts(this, &by_path, 1, SIZE, false);
    ferry_part by_fd = ferry_part_file(ferry_file_fd(file.fd));
    by_fd.file.offset = 0;
    by_fd.file.length = SIZE / 2;
    add_parts(this, &by_fd, 1, SIZE / 2, false);
    int pipe_fd = filled(false, 30000), socket_fd = filled(true, 30000);
    ferry_part from_pipe = ferry_part_file(ferry_file_fd(pipe_fd));
    add_parts(this, &from_pipe, 1, 30000, true);
    ferry_part from_socket = ferry_part_file(ferry_file_fd(socket_fd));
    from_socket.file.length = 30000;
    add_parts(this, &from_socket, 1, 30000, false);
    close(pipe_fd);
    close(socket_fd);
    ferry_part generator = ferry_part_generate(generate, generated, FERRY_TO_END, NULL);
    add_parts(this, &generator, 1, SIZE / 2, true);
    const ferry_part compound[] = {
        ferry_part_copy(content, 10),
        ferry_part_file(ferry_file_shared(shared)),
    };
    ferry_part tailed[2] = {compound[0], compound[1]};
    tailed[1].file.offset = 10;
    add_parts(this, tailed, 2, SIZE, false);
    add_parts(this, NULL, 0, 0, false);
}

/* ---- what must be ---- */

/* What the peer should have got, as the results tell it. */
typedef struct told {
    unsigned char bytes[MOST * SIZE];
    uint64_t count;
} told;

static void tell(told *all, const void *bytes, uint64_t count)
{
    check(all->count + count <= sizeof all->bytes);
    if (bytes != NULL)
        memcpy(all->bytes + all->count, bytes, count);
    else
        memset(all->bytes + all->count, 0, count);
    all->count += count;
}

/* Of a call that is made again: nothing comes of it. */
static bool is_interruption(const ferry_fault *fault)
{
    return fault->error == EINTR && fault->call != FERRY_CALL_ANY;
}

static void check_item(const item *one, const ferry_result *result, const ferry_fault *fault,
                       ferry_framing framing, told *all)
{
    if (!one->is_open_ended && result->phase != FERRY_PHASE_QUEUE &&
        result->phase != FERRY_PHASE_OPEN)
        check_eq(result->sent + result->remaining, one->planned);
    /* Where the length is not known, a source that seems to end has ended. */
    if (result->error == 0 && !(one->is_open_ended && fault->effect == FERRY_FAULT_EOF))
        check_eq(result->sent, one->planned);
    if (is_interruption(fault))
        check_eq(result->error, 0);
    if (result->sent > 0)
        check_eq(result->stream_offset, all->count); /* contiguous, padding included */
    tell(all, one->bytes, result->sent);
    if (framing == FERRY_FRAMING_PAD && result->error != 0 && result->sent > 0 &&
        !one->is_open_ended)
        tell(all, NULL, result->remaining);
}

/* @return how many calls the run needed. */
static uint64_t run_once(ferry_placement placement, ferry_framing framing, const ferry_fault *fault,
                         uint64_t *ret_injected)
{
    static told all;
    all.count = 0;
    run this = {0};
    AT_END(drop_faults) ferry_faults *faults;
    check_eq(ferry_faults_create(fault, 1, &faults), 0);
    pair both = unix_pair(SOCK_STREAM);
    int room = ROOM;
    check_eq(setsockopt(both.ours, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    ferry_service *service = service_start(placement);
    ferry_stream_options options = {.framing = framing, .faults = faults};
    /* Only where a fault stalls: a busy machine stalls others as long. */
    if (fault->effect == FERRY_FAULT_STALL)
        options.stall_timeout_ms = STALL_MS;
    uint64_t generated = 0;
    ferry_file whole = ferry_file_at(file.path);
    ferry_shared_file *shared;
    check_eq(ferry_shared_file_open(&whole, &shared), 0);
    reader *peer = reader_start(both.theirs, true);
    if (ferry_stream_adopt(service, both.ours, &options, &this.stream) == 0) {
        submit_all(&this, &generated, shared);
        for (unsigned i = 0; i < this.count; i++) {
            if (this.items[i].accepted < 0)
                continue; /* refused: nothing of it may show */
            ferry_result result = outcome(this.items[i].promise);
            check_item(&this.items[i], &result, fault, framing, &all);
        }
        /* The close's own outcome may be a fault's; it settles, and the fd is closed. */
        ferry_promise *closed = submit_close(this.stream);
        (void)outcome(closed);
        ferry_stream_status status = stream_status(this.stream);
        check_eq(status.queued_requests, 0);
        check_eq(status.queued_bytes, 0);
        check_eq(status.queued_file_bytes, 0);
        reader_join(peer);
        check_eq(peer->bytes, status.sent_bytes);
        (void)ferry_stream_unref(this.stream);
    } else {
        close(both.ours);
        reader_join(peer);
    }
    if (framing == FERRY_FRAMING_PAD)
        check(peer->bytes <= all.count); /* padding may have failed, too */
    else
        check_eq(peer->bytes, all.count);
    check(peer->bytes == 0 || memcmp(peer->kept, all.bytes, peer->bytes) == 0);
    reader_free(peer);
    ferry_service_destroy(service);
    (void)ferry_shared_file_unref(shared);
    *ret_injected += ferry_faults_get_injected(faults);
    uint64_t calls = ferry_faults_get_calls(faults, FERRY_CALL_ANY);
    return calls;
}

/* One kind at every call, until a run needed fewer calls than that. */
static uint64_t sweep_kind(ferry_placement placement, ferry_framing framing, unsigned kind)
{
    enum { STALL_STEP = 5 }; /* each takes its time */
    const unsigned step = fault_at(kind, 1).effect == FERRY_FAULT_STALL ? STALL_STEP : 1;
    uint64_t injected = 0, calls = 1;
    for (uint64_t n = 1; n <= calls; n += step) {
        const ferry_fault fault = fault_at(kind, n);
        calls = run_once(placement, framing, &fault, &injected);
    }
    return injected;
}

static void sweep(ferry_placement placement, ferry_framing framing)
{
    file = file_make(SIZE, 7);
    fill_content(content, SIZE, 7, 0);
    unsigned fds = count_fds();
    uint64_t injected = 0;
    for (unsigned kind = 0; kind < FAULT_KINDS; kind++) {
        injected += sweep_kind(placement, framing, kind);
        check_eq(count_fds(), fds);
    }
    (void)fprintf(stderr, "fault sweep: %llu faults injected\n", (unsigned long long)injected);
    check(injected > 700);
    file_remove(&file);
}

/* One of each framing, so that they run beside one another. */

/* Pins: exactly_once. */
PROMISE_BOTH(fault_sweep, every_fault_at_every_call_keeps_all_promises_when_framing_poisons)
{
    sweep(placement, FERRY_FRAMING_POISON);
}

/* Pins: exactly_once. */
PROMISE_BOTH(fault_sweep, every_fault_at_every_call_keeps_all_promises_when_framing_pads)
{
    sweep(placement, FERRY_FRAMING_PAD);
}

/* Pins: exactly_once. */
PROMISE_BOTH(fault_sweep, every_fault_at_every_call_keeps_all_promises_when_framing_continues)
{
    sweep(placement, FERRY_FRAMING_CONTINUE);
}

PROMISE_BOTH(fault_sweep, every_call_that_is_interrupted_is_made_again)
{
    file = file_make(SIZE, 7);
    fill_content(content, SIZE, 7, 0);
    for (ferry_fault_call call = FERRY_CALL_WRITE; call <= FERRY_CALL_POLL; call++) {
        uint64_t injected = 1;
        for (uint64_t k = 1; injected > 0; k++) {
            ferry_fault fault = {call, k, 3, FERRY_FAULT_ERROR, EINTR};
            injected = 0;
            (void)run_once(placement, FERRY_FRAMING_POISON, &fault, &injected);
        }
    }
    file_remove(&file);
}
