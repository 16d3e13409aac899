/* SPDX-License-Identifier: MIT */
/*
 * Every number that a program can give ferry, at its extremes. A row of the table has a number, by
 * the name of its field or argument, and what comes of each value: 0, and it works; or the errno.
 * tests/extremes.sh fails where a header has a number that no row names.
 *
 * "It works" is tried: a time as long as the type holds does not come, bytes arrive, nobody hangs.
 */
#include "tests/support.h"

#include <limits.h>
#include <stddef.h>

typedef struct trial {
    ferry_service *service;
    ferry_stream *stream; /* one to try it on */
    int theirs;           /* its peer's end */
    ferry_placement placement;
    int64_t value; /* of a uint64_t, what has the same bits */
} trial;

typedef struct expectation {
    int64_t value;
    int outcome;
} expectation;

typedef struct row {
    const char *number;
    int (*try)(const trial *);
    expectation expected[12]; /* to the first without a value and an outcome, but for the first */
} row;

/* How a number is tried, where an expression says it. */
#define TRY(name, ...)                                                                             \
    static int try_##name(const trial *this)                                                       \
    {                                                                                              \
        return __VA_ARGS__;                                                                        \
    }

#define MOST_U64 ((int64_t)UINT64_MAX)
#define TAKEN(value)                                                                               \
    {                                                                                              \
        value, 0                                                                                   \
    }
#define REFUSED(value)                                                                             \
    {                                                                                              \
        value, -EINVAL                                                                             \
    }
#define IS_TIME                                                                                    \
    TAKEN(0), TAKEN(1), TAKEN(INT_MAX), TAKEN(INT64_MAX / 1000000),                                \
        TAKEN(INT64_MAX / 1000000 + 1), TAKEN(INT64_MAX / 1000), TAKEN(INT64_MAX), REFUSED(-1),    \
        REFUSED(INT_MIN), REFUSED(INT64_MIN)
#define IS_WAIT /* -1: without limit */                                                            \
    TAKEN(0), TAKEN(1), TAKEN(INT_MAX), TAKEN(INT64_MAX / 1000000),                                \
        TAKEN(INT64_MAX / 1000000 + 1), TAKEN(INT64_MAX), TAKEN(-1), REFUSED(-2),                  \
        REFUSED(INT_MIN), REFUSED(INT64_MIN)
#define IS_ANY_U64                                                                                 \
    TAKEN(0), TAKEN(1), TAKEN(INT_MAX), TAKEN(INT64_MAX), TAKEN(INT64_MIN), TAKEN(MOST_U64)

static trial with_stream(trial with)
{
    pair ends = unix_pair(SOCK_STREAM);
    with.stream = stream_adopt(with.service, ends.ours);
    with.theirs = ends.theirs;
    return with;
}

static void drop_its_stream(const trial *this)
{
    ferry_stream_abort(this->stream);
    ferry_stream_unref(this->stream);
    check_eq(close(this->theirs), 0);
}

/* ---- streams --------------------------------------------------------------------------------- */

/* More than a socket holds. */
static const unsigned char plenty[1 << 20];

/* Sends plenty to a peer that reads only once ferry has nothing else to do. */
static int send_late(const trial *this, const ferry_stream_options *options,
                     const ferry_request_options *request, bool is_patient)
{
    pair ends = unix_pair(SOCK_STREAM);
    ferry_stream *stream;
    int error = ferry_stream_adopt(this->service, ends.ours, options, &stream);
    if (error != 0) {
        close(ends.ours);
        close(ends.theirs);
        return error;
    }
    const ferry_part part = ferry_part_borrow(plenty, sizeof plenty);
    ferry_promise *promise;
    error = ferry_stream_send(stream, &part, 1, request, &promise);
    if (error == 0 && is_patient) {
        wait_readable(ends.theirs);
        wait_until_asleep();
        check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
    }
    AT_END(free_reader) reader *peer = reader_start(ends.theirs, false);
    if (error == 0) {
        ferry_result result = outcome(promise);
        check(result.error == 0 || !is_patient);
        check_eq(result.sent + result.remaining, sizeof plenty);
    }
    ferry_stream_abort(stream);
    ferry_stream_unref(stream);
    reader_join(peer);
    check(error != 0 || !is_patient || peer->bytes == sizeof plenty);
    return error;
}

#define STREAM_OPTION(name, ...)                                                                   \
    static int try_stream_##name(const trial *this)                                                \
    {                                                                                              \
        ferry_stream_options options = {__VA_ARGS__};                                              \
        return send_late(this, &options, NULL, this->value != 1);                                  \
    }
STREAM_OPTION(limit_requests, .limit_requests = (uint32_t)this->value)
STREAM_OPTION(limit_bytes, .limit_bytes = (uint64_t)this->value)
STREAM_OPTION(limit_file_bytes, .limit_file_bytes = (uint64_t)this->value)
STREAM_OPTION(high_watermark_bytes, .high_watermark_bytes = (uint64_t)this->value,
              .on_watermark = ignore_watermark)
STREAM_OPTION(low_watermark_bytes, .low_watermark_bytes = (uint64_t)this->value,
              .high_watermark_bytes = UINT64_MAX, .on_watermark = ignore_watermark)
STREAM_OPTION(low_above_high, .low_watermark_bytes = (uint64_t)this->value)
STREAM_OPTION(close_timeout_ms, .close_timeout_ms = this->value)
STREAM_OPTION(close_bytes, .close_bytes = (uint64_t)this->value, .close_timeout_ms = 1)
STREAM_OPTION(notsent_lowat_bytes, .notsent_lowat_bytes = (uint32_t)this->value)
STREAM_OPTION(stall_timeout_ms, .stall_timeout_ms = this->value)

static int try_limiter(const trial *this, ferry_limiter_options wanted, uint64_t free_bytes)
{
    AT_END(drop_limiter) ferry_limiter *limiter = NULL;
    int error = ferry_limiter_create(&wanted, &limiter);
    if (error != 0)
        return error;
    ferry_stream_options options = {.limiter = limiter, .limiter_free_bytes = free_bytes};
    return send_late(this, &options, NULL, true);
}

TRY(limiter_free_bytes,
    try_limiter(this, (ferry_limiter_options){UINT64_C(1) << 40, 0, NULL}, (uint64_t)this->value))

/* A byte a second would take its time: all but the smallest are tried with bytes. */
static int try_bytes_per_s(const trial *this)
{
    uint64_t free_bytes = this->value == 1 || this->value == INT_MAX ? UINT64_MAX : 0;
    return try_limiter(this, (ferry_limiter_options){(uint64_t)this->value, 0, NULL}, free_bytes);
}

TRY(burst_bytes,
    try_limiter(this, (ferry_limiter_options){UINT64_C(1) << 40, (uint64_t)this->value, NULL}, 0))

static int set_rate(uint64_t bytes_per_s, uint64_t burst_bytes)
{
    AT_END(drop_limiter) ferry_limiter *limiter;
    check_eq(ferry_limiter_create(NULL, &limiter), 0);
    return ferry_limiter_set_rate(limiter, bytes_per_s, burst_bytes);
}

TRY(set_bytes_per_s, set_rate((uint64_t)this->value, 0))
TRY(set_burst_bytes, set_rate(1, (uint64_t)this->value))

/* ---- requests -------------------------------------------------------------------------------- */

static void ignore_progress(ferry_promise *, uint64_t, void *) {}

#define REQUEST_OPTION(name, ...)                                                                  \
    static int try_request_##name(const trial *this)                                               \
    {                                                                                              \
        ferry_request_options options = {__VA_ARGS__};                                             \
        return send_late(this, NULL, &options, this->value != 1);                                  \
    }
REQUEST_OPTION(room_timeout_ms, .room_timeout_ms = this->value)
REQUEST_OPTION(timeout_ms, .timeout_ms = this->value)
REQUEST_OPTION(progress_step_bytes, .progress_step_bytes = (uint64_t)this->value,
               .on_progress = ignore_progress)
REQUEST_OPTION(progress_interval_ms, .progress_interval_ms = this->value,
               .on_progress = ignore_progress)

/* What a submit answered or, where it was taken, how it went. */
static int ended(int error, ferry_promise *const *promise)
{
    return error != 0 ? error : outcome(*promise).error;
}

static int submit(const trial *this, const ferry_part *part, size_t count)
{
    ferry_promise *promise = NULL;
    return ended(ferry_stream_send(this->stream, part, count, NULL, &promise), &promise);
}

static int try_write_length(const trial *this)
{
    ferry_promise *promise = NULL;
    return ended(ferry_stream_write(this->stream, "x", (size_t)this->value, NULL, &promise),
                 &promise);
}

static int try_part_length(const trial *this)
{
    ferry_part part = ferry_part_borrow("x", (size_t)this->value);
    return submit(this, &part, 1);
}

static int try_part_count(const trial *this)
{
    ferry_part part = ferry_part_borrow("x", 1);
    return submit(this, &part, (size_t)this->value);
}

static int64_t make_ten(void *buffer, size_t size, void *)
{
    size_t count = size < 10 ? size : 10;
    memset(buffer, 'x', count);
    return (int64_t)count;
}

static int try_generate_length(const trial *this)
{
    ferry_part part = ferry_part_generate(make_ten, NULL, this->value, NULL);
    ferry_promise *promise = NULL;
    int error = ferry_stream_send(this->stream, &part, 1, NULL, &promise);
    if (error == 0) { /* the largest have no end */
        (void)ferry_promise_cancel(promise);
        int outcome_error = outcome(promise).error;
        check(outcome_error == 0 || outcome_error == -ECANCELED);
    }
    return error;
}

static int64_t answer_value(void *, size_t, void *arg)
{
    return *(const int64_t *)arg;
}

/* Ten bytes come before it. */
static int try_generator(const trial *this)
{
    ferry_part parts[] = {
        ferry_part_generate(make_ten, NULL, 10, NULL),
        ferry_part_generate(answer_value, (void *)(uintptr_t) & this->value, 25, NULL),
    };
    return submit(this, parts, 2);
}

/* ---- files ----------------------------------------------------------------------------------- */

enum { FILE_BYTES = 100 };

/* Sends a file, or receives into it. */
static int transfer(const trial *this, ferry_file file, bool is_received)
{
    ferry_promise *promise = NULL;
    int error;
    if (is_received) {
        check_eq(write(this->theirs, "x", 1), 1);
        check_eq(shutdown(this->theirs, SHUT_WR), 0);
        error = ferry_stream_read_to_file(this->stream, &file, NULL, &promise);
    } else {
        error = ferry_stream_sendfile(this->stream, &file, NULL, &promise);
    }
    return ended(error, &promise);
}

/* Of which field a value is. */
typedef enum field { OFFSET, LENGTH, POSITION } field;

static int try_range(const trial *this, field which, bool is_received)
{
    AT_END(file_remove) test_file made = file_make(FILE_BYTES, 1);
    ferry_file file = ferry_file_at(made.path);
    file.offset = which == OFFSET ? this->value : 1;
    file.length = which == LENGTH ? this->value : 1;
    if (which == POSITION) {
        file = ferry_file_fd(made.fd);
        file.length = this->value;
        file.flags = is_received ? 0 : FERRY_FILE_FOLLOW;
        check_eq(lseek(made.fd, 1, SEEK_SET), 1);
    }
    return transfer(this, file, is_received);
}

TRY(sent_offset, try_range(this, OFFSET, false))
TRY(sent_length, try_range(this, LENGTH, false))
TRY(received_offset, try_range(this, OFFSET, true))
TRY(received_length, try_range(this, LENGTH, true))
TRY(length_from_position, try_range(this, POSITION, false))

static int try_file_number(const trial *this, size_t field_offset)
{
    AT_END(file_remove) test_file made = file_make(FILE_BYTES, 1);
    ferry_file file = field_offset == offsetof(ferry_file, fd) ? ferry_file_fd((int)this->value)
                                                               : ferry_file_at(made.path);
    if (field_offset == offsetof(ferry_file, flags))
        file.flags = (unsigned)this->value;
    if (field_offset == offsetof(ferry_file, dirfd))
        file.dirfd = (int)this->value;
    return transfer(this, file, false);
}

TRY(file_fd, try_file_number(this, offsetof(ferry_file, fd)))
TRY(file_dirfd, try_file_number(this, offsetof(ferry_file, dirfd)))
TRY(file_flags, try_file_number(this, offsetof(ferry_file, flags)))

/* A token with one number changed in it: of another file, or none. */
static int try_token(const trial *this, size_t field_offset, int64_t length)
{
    AT_END(file_remove) test_file made = file_make(FILE_BYTES, 1);
    ferry_resume_token token = {0};
    memcpy((char *)&token + field_offset, &this->value, sizeof this->value);
    ferry_file file = ferry_file_at(made.path);
    file.resume = &token;
    file.length = length;
    return transfer(this, file, false);
}

#define TOKEN(name)                                                                                \
    static int try_token_##name(const trial *this)                                                 \
    {                                                                                              \
        return try_token(this, offsetof(ferry_resume_token, name), FERRY_TO_END);                  \
    }
TOKEN(device)
TOKEN(inode)
TOKEN(size)
TOKEN(changed_ns)
TOKEN(offset)

TRY(token_offset_and_length, try_token(this, offsetof(ferry_resume_token, offset), 10))

/* ---- reading --------------------------------------------------------------------------------- */

static size_t take_what_it_may(ferry_stream *, const void *, size_t length, bool, void *arg)
{
    return arg == NULL ? length : *(const size_t *)arg;
}

/* The peer says something, and ends. */
static int read_with(const trial *this, ferry_reader handler)
{
    handler.on_owner = true;
    int error = ferry_stream_set_reader(this->stream, &handler);
    check_eq(write(this->theirs, "xxxxxxxxxx", 10), 10);
    check_eq(shutdown(this->theirs, SHUT_WR), 0);
    char byte;
    if (error == 0)
        check_eq(read(this->theirs, &byte, 1), 0); /* closed behind the end */
    return error;
}

/* The least have nothing left to be told with. */
static int try_shots(const trial *this)
{
    ferry_reader handler = {.on_read = take_what_it_may, .on_owner = true, .shots = this->value};
    return ferry_stream_set_reader(this->stream, &handler);
}

TRY(high_bytes,
    read_with(this, (ferry_reader){.on_read = take_what_it_may, .high_bytes = (size_t)this->value}))
TRY(low_bytes, read_with(this, (ferry_reader){.on_read = take_what_it_may,
                                              .high_bytes = 100,
                                              .low_bytes = (size_t)this->value}))

static int try_on_read(const trial *this)
{
    size_t answer = (size_t)this->value;
    return read_with(this, (ferry_reader){.on_read = take_what_it_may, .arg = &answer});
}

TRY(demand, ferry_stream_demand(this->stream, this->value))

static int try_read_within(const trial *this)
{
    int error = ferry_stream_read_within(this->stream, this->value);
    char byte;
    if (this->value > INT_MAX) { /* its time does not come: what is read then comes through */
        ferry_read all = {.data = &byte, .size = 1, .mode = FERRY_READ_EXACTLY};
        ferry_promise *promise;
        check_eq(ferry_stream_read(this->stream, &all, NULL, &promise), 0);
        wait_until_asleep();
        check_eq(write(this->theirs, "x", 1), 1);
        check_eq(outcome(promise).error, 0);
    }
    return error;
}

/* Memory of any size that the program says it has; little comes. */
static int try_read_size(const trial *this)
{
    char memory[8];
    ferry_read some = {.data = memory, .size = (size_t)this->value, .mode = FERRY_READ_SOME};
    ferry_promise *promise = NULL;
    check_eq(write(this->theirs, "x", 1), 1);
    return ended(ferry_stream_read(this->stream, &some, NULL, &promise), &promise);
}

static int try_delimiter_length(const trial *this)
{
    char memory[8];
    ferry_read line = {memory, sizeof memory, FERRY_READ_UNTIL, "\n", (size_t)this->value};
    ferry_promise *promise = NULL;
    check_eq(write(this->theirs, "\n", 1), 1);
    return ended(ferry_stream_read(this->stream, &line, NULL, &promise), &promise);
}

static int try_relay(const trial *this, int64_t length, unsigned flags)
{
    AT_END(drop_its_stream) trial to = with_stream(*this);
    ferry_promise *promise = NULL;
    check_eq(write(this->theirs, "x", 1), 1);
    check_eq(shutdown(this->theirs, SHUT_WR), 0);
    return ended(ferry_stream_relay(this->stream, to.stream, length, flags, NULL, &promise),
                 &promise);
}

TRY(relay_length, try_relay(this, this->value, 0))
TRY(relay_flags, try_relay(this, 1, (unsigned)this->value))

/* ---- services, listeners, connects ----------------------------------------------------------- */

static int make_service(const trial *this, ferry_service_options options)
{
    options.placement = this->placement;
    if (options.shared_owners == 0)
        options.shared_owners = 1;
    trial with_it = *this;
    int error = ferry_service_create(&options, &with_it.service);
    if (error != 0)
        return error;
    error = send_late(&with_it, NULL, NULL, false);
    ferry_service_destroy(with_it.service);
    return error;
}

#define SERVICE_OPTION(name, type)                                                                 \
    static int try_service_##name(const trial *this)                                               \
    {                                                                                              \
        return make_service(this, (ferry_service_options){.name = (type)this->value});             \
    }
SERVICE_OPTION(shared_owners, unsigned)
SERVICE_OPTION(stack_bytes, size_t)
SERVICE_OPTION(chunk_bytes, size_t)
SERVICE_OPTION(limit_requests, uint32_t)
SERVICE_OPTION(limit_bytes, uint64_t)
SERVICE_OPTION(limit_file_bytes, uint64_t)

/* Of a service of its own: nothing else can be done with one that was stopped. */
static int try_stop(const trial *this)
{
    AT_END(destroy_service) ferry_service *service = service_start(this->placement);
    return ferry_service_stop(service, this->value);
}

static int try_drain(const trial *this)
{
    check_eq(ferry_service_drain(this->service, -1), 0); /* what earlier rows have left */
    return ferry_service_drain(this->service, this->value);
}

static void keep_nothing(ferry_listener *, ferry_stream *, void *) {}

/* Listens, is connected to, and tells its address. */
static int listen_with(const trial *this, ferry_listen_options options, const char *address,
                       int64_t connect_timeout_ms)
{
    options.on_stream = keep_nothing;
    options.on_owner = true;
    ferry_connect_options connecting = {.timeout_ms = connect_timeout_ms};
    ferry_listener *listener;
    ferry_promise *connected = NULL;
    char there[64];
    int error = ferry_listen(this->service, address, &options, &listener);
    if (error != 0)
        return error;
    check(ferry_listener_get_address(listener, there, sizeof there) < (int)sizeof there);
    error = ferry_connect(this->service, there, &connecting, &connected);
    if (error == 0) {
        error = outcome(connected).error;
        if (connect_timeout_ms == 1 && error == -ETIMEDOUT)
            error = 0; /* it may be too short */
    }
    ferry_promise *closed;
    check_eq(ferry_listener_close(listener, &closed), 0);
    check_eq(outcome(closed).error, 0);
    ferry_listener_unref(listener);
    return error;
}

#define LOOPBACK "127.0.0.1:0"

TRY(backlog,
    listen_with(this, (ferry_listen_options){.backlog = (unsigned)this->value}, LOOPBACK, 0))
TRY(limit_streams,
    listen_with(this, (ferry_listen_options){.limit_streams = (unsigned)this->value}, LOOPBACK, 0))

static int try_unix_mode(const trial *this)
{
    char path[64];
    (void)snprintf(path, sizeof path, "unix:/tmp/ferry-extremes-%d", (int)getpid());
    return listen_with(this, (ferry_listen_options){.unix_mode = (unsigned)this->value}, path, 0);
}

TRY(connect_timeout, listen_with(this, (ferry_listen_options){0}, LOOPBACK, this->value))

/* Numbers of addresses are text. @return whether they are taken apart, whatever comes of it
 * then. */
static int try_address(const trial *this)
{
    char address[64];
    ferry_promise *promise = NULL;
    (void)snprintf(address, sizeof address, "127.0.0.1:%lld", (long long)this->value);
    int error = ferry_connect(this->service, address, NULL, &promise);
    if (error == 0)
        (void)outcome(promise);
    return error;
}

static int try_address_fd(const trial *this)
{
    char address[64];
    (void)snprintf(address, sizeof address, "fd:%lld", (long long)this->value);
    return ferry_connect(this->service, address, NULL, NULL);
}

static int try_adopted_fd(const trial *this)
{
    ferry_stream *stream;
    return ferry_stream_adopt(this->service, (int)this->value, NULL, &stream);
}

/* ---- promises -------------------------------------------------------------------------------- */

static ferry_promise *promise_make(void)
{
    ferry_promise *promise;
    check_eq(ferry_promise_create(&promise), 0);
    return promise;
}

static ferry_promise *promise_settled(const ferry_result *result)
{
    ferry_promise *promise = promise_make();
    const ferry_outcome outcome = {.result = result != NULL ? *result : (ferry_result){0}};
    check_eq(ferry_promise_settle(promise, &outcome), 0);
    return promise;
}

static int try_await(const trial *this)
{
    AT_END(drop_promise) ferry_promise *promise = promise_settled(NULL);
    return ferry_promise_await(promise, this->value, NULL);
}

static int try_await_all(const trial *this)
{
    AT_END(drop_promise) ferry_promise *promise = promise_settled(NULL);
    return ferry_promise_await_all(&promise, 1, this->value);
}

static int try_await_any(const trial *this)
{
    AT_END(drop_promise) ferry_promise *promise = promise_settled(NULL);
    return ferry_promise_await_any(&promise, 1, this->value, NULL);
}

static void ignore(ferry_promise *, const ferry_result *, void *) {}

static int try_inbox_run(const trial *this)
{
    ferry_promise *promise = promise_settled(NULL);
    check_eq(ferry_promise_observe(promise, ignore, NULL, NULL), 0);
    ferry_promise_unref(promise);
    int ran = ferry_inbox_run(this->value);
    if (ran < 0)
        check_eq(ferry_inbox_run(0), 1);
    return ran > 0 ? 0 : ran;
}

/* Whether its time, if it is long, does not come, whatever the inbox sleeps on. */
static int check_pending(int error, ferry_promise *const *made, int64_t value)
{
    if (error != 0)
        return error;
    ferry_promise *promise = *made;
    struct pollfd bell = {.fd = ferry_inbox_get_fd(), .events = POLLIN};
    check(bell.fd >= 0);
    if (value > INT_MAX) {
        check_eq(ferry_promise_await(promise, 1, NULL), -ETIMEDOUT);
        wait_until_asleep(); /* what has settled before may be rung for until then */
        (void)ferry_inbox_run(0);
        check_eq(poll(&bell, 1, 1), 0);
        check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
    }
    (void)ferry_promise_cancel(promise);
    (void)outcome(promise);
    return 0;
}

static int try_after(const trial *this)
{
    ferry_promise *promise = NULL;
    int error = ferry_promise_after(this->value, &promise);
    return check_pending(error, &promise, this->value);
}

static int try_timeout(const trial *this)
{
    AT_END(drop_promise) ferry_promise *pending = promise_make();
    ferry_promise *promise = NULL;
    int error = ferry_promise_timeout(pending, this->value, &promise);
    return check_pending(error, &promise, this->value);
}

static ferry_promise *fail_twice(size_t number, ferry_outcome *outcome, void *)
{
    outcome->result.error = number < 2 ? -EIO : 0;
    return NULL;
}

static int retry_with(ferry_retry retry, int64_t pause)
{
    ferry_promise *promise = NULL;
    retry.start = fail_twice;
    return check_pending(ferry_promise_retry(&retry, &promise), &promise, pause);
}

TRY(pause, retry_with((ferry_retry){.pause_ms = this->value}, this->value))
TRY(most_pause,
    retry_with((ferry_retry){.pause_ms = INT64_MAX, .most_pause_ms = this->value}, this->value))
TRY(attempts, retry_with((ferry_retry){.attempts = (size_t)this->value}, 0))

static ferry_promise *give_value(size_t, ferry_outcome *outcome, void *arg)
{
    outcome->result.error = *(const int *)arg;
    return NULL;
}

/* A block's error: what its promise settles with. */
static int try_block_error(const trial *this)
{
    int error = (int)this->value;
    ferry_map map = {.start = give_value, .arg = &error, .count = 1};
    ferry_promise *promise = NULL;
    check_eq(ferry_promise_map(&map, &promise), 0);
    return outcome(promise).error;
}

static ferry_promise *pass_error(ferry_promise *, ferry_outcome *outcome, void *arg)
{
    outcome->result.error = *(const int *)arg;
    return NULL;
}

static int try_chain_error(const trial *this)
{
    AT_END(drop_promise)
    ferry_promise *failed = promise_settled(&(ferry_result){.error = INT_MIN});
    ferry_promise *promise = NULL;
    int none = 0;
    ferry_chain chain = {.on_failed = pass_error, .arg = &none, .error = (int)this->value};
    return ended(ferry_promise_chain(failed, &chain, &promise), &promise);
}

static int map_with(size_t count, size_t at_once)
{
    int none = 0;
    ferry_map map = {.start = give_value, .arg = &none, .count = count, .at_once = at_once};
    ferry_promise *promise = NULL;
    return ended(ferry_promise_map(&map, &promise), &promise);
}

TRY(map_count, map_with((size_t)this->value, 0))
TRY(map_at_once, map_with(3, (size_t)this->value))

/* Sums of a program's own numbers do not wrap. */
static int try_sums(const trial *this)
{
    ferry_result result = {.sent = (uint64_t)this->value, .remaining = (uint64_t)this->value};
    ferry_promise *parts[] = {promise_settled(&result), promise_settled(&result)}, *all;
    check_eq(ferry_promise_all_settled(parts, 2, &all), 0);
    ferry_promise_unref(parts[0]);
    ferry_promise_unref(parts[1]);
    result = outcome(all);
    check(result.sent >= (uint64_t)this->value && result.remaining == result.sent);
    return result.error;
}

static int try_part_index(const trial *this)
{
    ferry_promise *part = promise_settled(NULL), *all;
    check_eq(ferry_promise_all(&part, 1, &all), 0);
    check_eq(ferry_promise_await(all, -1, NULL), 0);
    bool is_there = ferry_promise_get_member(all, (size_t)this->value) != NULL;
    ferry_promise_unref(part);
    ferry_promise_unref(all);
    return is_there ? 0 : -ENODATA;
}

/* An error of the program's, to its words. */
static int try_settled_error(const trial *this)
{
    ferry_promise *promise = promise_make();
    int error = ferry_promise_settle(promise, &(ferry_outcome){.result.error = (int)this->value});
    if (error != 0)
        check_eq(ferry_promise_settle(promise, NULL), 0);
    ferry_result result = outcome(promise);
    char text[128];
    check(ferry_result_format(&result, text, sizeof text) > 0);
    return error != 0 ? error : result.error;
}

TRY(status_name, strcmp(ferry_error_name((int)this->value), "EUNKNOWN") != 0 ? 0 : -ENOENT)
TRY(status_message,
    strcmp(ferry_error_message((int)this->value), "unknown error") != 0 ? 0 : -ENOENT)

/* Numbers of a result, to its words. */
static int try_result_numbers(const trial *this)
{
    ferry_result result = {.error = -EIO,
                           .phase = (ferry_phase)this->value,
                           .method = (ferry_method)this->value,
                           .sent = (uint64_t)this->value,
                           .remaining = (uint64_t)this->value};
    char text[256];
    int length = ferry_result_format(&result, text, sizeof text);
    result.error = 0;
    return length > 0 && ferry_result_format(&result, text, sizeof text) > 0 ? 0 : length;
}

/* Less memory than a text needs: the length is told, and nothing is written beyond. */
static int try_format_size(const trial *this)
{
    char text[256] = {[1] = '!'};
    ferry_result result = {.error = -EIO};
    size_t size = (size_t)this->value < sizeof text ? (size_t)this->value : sizeof text;
    int length = ferry_result_format(&result, text, size);
    check(length > 1 && (size > 1 || text[1] == '!'));
    return 0;
}

static int try_peer_size(const trial *this)
{
    char text[256] = {[1] = '!'};
    size_t size = (size_t)this->value < sizeof text ? (size_t)this->value : sizeof text;
    int length = ferry_stream_get_peer(this->stream, text, size);
    check(length > 1 && (size > 1 || text[1] == '!'));
    return 0;
}

static int try_room(const trial *this, uint64_t memory_bytes, uint64_t file_bytes)
{
    ferry_promise *room = NULL;
    return ended(ferry_stream_promise_room(this->stream, memory_bytes, file_bytes, &room), &room);
}

TRY(room_memory, try_room(this, (uint64_t)this->value, 0))
TRY(room_file, try_room(this, 0, (uint64_t)this->value))

/* ---- faults ---------------------------------------------------------------------------------- */

static int with_fault(const trial *this, ferry_fault fault)
{
    fault.call = FERRY_CALL_WRITE;
    AT_END(drop_faults) ferry_faults *faults = NULL;
    int error = ferry_faults_create(&fault, 1, &faults);
    if (error != 0)
        return error;
    ferry_stream_options options = {.faults = faults};
    return send_late(this, &options, NULL, false);
}

TRY(fault_first,
    with_fault(this, (ferry_fault){.first = (uint64_t)this->value, .effect = FERRY_FAULT_SHORT}))
TRY(fault_times, with_fault(this, (ferry_fault){.first = 2,
                                                .times = (uint64_t)this->value,
                                                .effect = FERRY_FAULT_ERROR,
                                                .error = EIO}))
TRY(fault_error,
    with_fault(this,
               (ferry_fault){.first = 1, .effect = FERRY_FAULT_ERROR, .error = (int)this->value}))

static int try_fault_count(const trial *this)
{
    ferry_faults *faults;
    int error = ferry_faults_create(NULL, (size_t)this->value, &faults);
    if (error == 0)
        ferry_faults_unref(faults);
    return error;
}

/* ---- the table ------------------------------------------------------------------------------- */

#define MOST_BYTES (INT64_C(1) << 39) /* of memory that is counted */
#define MOST_RATE  (INT64_C(1) << 50)

#define ROW(number, try, ...)                                                                      \
    {                                                                                              \
        number, try,                                                                               \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static const row table[] = {
    ROW("ferry_service_options.shared_owners", try_service_shared_owners, {0, 0}, {1, 0},
        {1025, -EINVAL}, {INT_MAX, -EINVAL}, {UINT_MAX, -EINVAL}),
    ROW("ferry_service_options.stack_bytes", try_service_stack_bytes, {0, 0}, {1, 0},
        {(1 << 30) + 1, -EINVAL}, {INT64_MAX, -EINVAL}, {MOST_U64, -EINVAL}),
    ROW("ferry_service_options.chunk_bytes", try_service_chunk_bytes, {0, 0}, {4096, 0},
        {1 << 30, 0}, {(1 << 30) + 1, -EINVAL}, {MOST_U64, -EINVAL}),
    ROW("ferry_service_options.limit_requests", try_service_limit_requests, {0, 0}, {1, 0},
        {INT_MAX, 0}, {UINT_MAX, 0}),
    ROW("ferry_service_options.limit_bytes", try_service_limit_bytes, IS_ANY_U64),
    ROW("ferry_service_options.limit_file_bytes", try_service_limit_file_bytes, IS_ANY_U64),

    ROW("ferry_stream_options.limit_requests", try_stream_limit_requests, {0, 0}, {1, 0},
        {1000000, 0}, {1000001, -EINVAL}, {INT_MAX, -EINVAL}, {UINT_MAX, -EINVAL}),
    ROW("ferry_stream_options.limit_bytes", try_stream_limit_bytes, {0, 0}, {1, 0}, {MOST_BYTES, 0},
        {MOST_BYTES + 1, -EINVAL}, {MOST_U64, -EINVAL}),
    ROW("ferry_stream_options.limit_file_bytes", try_stream_limit_file_bytes, IS_ANY_U64),
    ROW("ferry_stream_options.high_watermark_bytes", try_stream_high_watermark_bytes, {0, -EINVAL},
        {1, 0}, {INT_MAX, 0}, {INT64_MAX, 0}, {MOST_U64, 0}),
    ROW("ferry_stream_options.low_watermark_bytes", try_stream_low_watermark_bytes, IS_ANY_U64),
    ROW("ferry_stream_options.low_watermark_bytes", try_stream_low_above_high, {0, 0}, {1, -EINVAL},
        {MOST_U64, -EINVAL}),
    ROW("ferry_stream_options.close_timeout_ms", try_stream_close_timeout_ms, IS_TIME),
    ROW("ferry_stream_options.close_bytes", try_stream_close_bytes, {0, 0}, {1, 0}, {MOST_BYTES, 0},
        {MOST_BYTES + 1, -EINVAL}, {MOST_U64, -EINVAL}),
    ROW("ferry_stream_options.limiter_free_bytes", try_limiter_free_bytes, IS_ANY_U64),
    ROW("ferry_stream_options.notsent_lowat_bytes", try_stream_notsent_lowat_bytes, {0, 0}, {1, 0},
        {INT_MAX, 0}, {INT64_C(1) << 31, -EINVAL}, {UINT_MAX, -EINVAL}),
    ROW("ferry_stream_options.stall_timeout_ms", try_stream_stall_timeout_ms, IS_TIME),
    ROW("ferry_limiter_options.bytes_per_s", try_bytes_per_s, {0, 0}, {1, 0}, {INT_MAX, 0},
        {MOST_RATE, 0}, {MOST_RATE + 1, -EINVAL}, {MOST_U64, -EINVAL}),
    ROW("ferry_limiter_options.burst_bytes", try_burst_bytes, {0, 0}, {1, 0}, {INT_MAX, 0},
        {MOST_RATE, 0}, {MOST_RATE + 1, -EINVAL}, {MOST_U64, -EINVAL}),
    ROW("ferry_limiter_set_rate(bytes_per_s)", try_set_bytes_per_s, {0, 0}, {1, 0}, {MOST_RATE, 0},
        {MOST_RATE + 1, -EINVAL}, {MOST_U64, -EINVAL}),
    ROW("ferry_limiter_set_rate(burst_bytes)", try_set_burst_bytes, {0, 0}, {1, 0}, {MOST_RATE, 0},
        {MOST_RATE + 1, -EINVAL}, {MOST_U64, -EINVAL}),

    ROW("ferry_request_options.room_timeout_ms", try_request_room_timeout_ms, IS_WAIT),
    ROW("ferry_request_options.timeout_ms", try_request_timeout_ms, IS_TIME),
    ROW("ferry_request_options.progress_step_bytes", try_request_progress_step_bytes, IS_ANY_U64),
    ROW("ferry_request_options.progress_interval_ms", try_request_progress_interval_ms, IS_TIME),
    ROW("ferry_stream_write(length)", try_write_length, {0, 0}, {1, 0}, {MOST_U64, -EOVERFLOW},
        {INT64_MIN, -EOVERFLOW}),
    ROW("ferry_part.length", try_part_length, {0, 0}, {1, 0}, {MOST_BYTES + 1, -EOVERFLOW},
        {INT64_MAX, -EOVERFLOW}, {MOST_U64, -EOVERFLOW}),
    ROW("ferry_stream_send(count)", try_part_count, {0, 0}, {1, 0}, {INT_MAX, -EOVERFLOW},
        {INT64_MAX, -EOVERFLOW}, {MOST_U64, -EOVERFLOW}),
    ROW("ferry_part.generate_length", try_generate_length, {0, 0}, {1, 0}, {INT_MAX, 0},
        {INT64_MAX, 0}, {-1, 0}, {-2, -EINVAL}, {INT64_MIN, -EINVAL}),
    ROW("ferry_generator", try_generator, {0, -ENODATA}, {-1, -1}, {-4095, -4095}, {-4096, -EINVAL},
        {INT_MIN, -EINVAL}, {-(INT64_C(1) << 32), -EINVAL}, {INT64_MIN, -EINVAL}, {26, -EOVERFLOW},
        {INT64_C(1) << 32, -EOVERFLOW}, {INT64_MAX, -EOVERFLOW}),

    ROW("ferry_file.offset", try_sent_offset, {0, 0}, {FILE_BYTES - 1, 0}, {FILE_BYTES, -ENODATA},
        {INT_MAX, -ENODATA}, {INT64_MAX - 1, -ENODATA}, {INT64_MAX, -EOVERFLOW}, {-1, 0},
        {-2, -EINVAL}, {INT_MIN, -EINVAL}, {INT64_MIN, -EINVAL}),
    ROW("ferry_file.length", try_sent_length, {0, 0}, {FILE_BYTES - 1, 0}, {FILE_BYTES, -ENODATA},
        {INT_MAX, -ENODATA}, {INT64_MAX - 1, -ENODATA}, {INT64_MAX, -EOVERFLOW}, {-1, 0},
        {-2, -EINVAL}, {INT_MIN, -EINVAL}, {INT64_MIN, -EINVAL}),
    ROW("ferry_file.length", try_length_from_position, {0, 0}, {FILE_BYTES - 1, 0},
        {INT64_MAX, -EOVERFLOW}, {-2, -EINVAL}, {INT64_MIN, -EINVAL}),
    ROW("ferry_file.offset", try_received_offset, {0, 0}, {1, 0}, {INT_MAX, 0},
        {INT64_MAX, -EOVERFLOW}, {-1, 0}, {-2, -EINVAL}, {INT64_MIN, -EINVAL}),
    ROW("ferry_file.length", try_received_length, {0, 0}, {1, 0}, {INT64_MAX - 1, 0},
        {INT64_MAX, -EOVERFLOW}, {-1, 0}, {-2, -EINVAL}, {INT64_MIN, -EINVAL}),
    ROW("ferry_file.fd", try_file_fd, {-1, -EINVAL}, {INT_MIN, -EINVAL}, {INT_MAX, -EBADF},
        {1 << 20, -EBADF}),
    ROW("ferry_file.dirfd", try_file_dirfd, {-1, -EBADF}, {INT_MIN, -EBADF}, {INT_MAX, -EBADF}),
    ROW("ferry_file.flags", try_file_flags, {0, 0}, {1 << 9, -EINVAL}, {UINT_MAX, -EINVAL}),
    ROW("ferry_resume_token.device", try_token_device, {0, -ESTALE}, {MOST_U64, -ESTALE}),
    ROW("ferry_resume_token.inode", try_token_inode, {0, -ESTALE}, {MOST_U64, -ESTALE}),
    ROW("ferry_resume_token.size", try_token_size, {0, -ESTALE}, {MOST_U64, -ESTALE}),
    ROW("ferry_resume_token.changed_ns", try_token_changed_ns, {0, -ESTALE}, {INT64_MAX, -ESTALE},
        {INT64_MIN, -ESTALE}),
    ROW("ferry_resume_token.offset", try_token_offset, {0, -ESTALE}, {1, -ESTALE},
        {INT64_MAX, -ESTALE}, {-1, -EINVAL}, {INT64_MIN, -EINVAL}),
    ROW("ferry_resume_token.offset", try_token_offset_and_length, {0, -ESTALE},
        {INT64_MAX - 10, -ESTALE}, {INT64_MAX - 9, -EOVERFLOW}, {INT64_MAX, -EOVERFLOW}),

    ROW("ferry_reader.shots", try_shots, {0, 0}, {1, 0}, {INT64_MAX, 0}, {-1, -EINVAL},
        {INT64_MIN, -EINVAL}),
    ROW("ferry_reader.high_bytes", try_high_bytes, IS_ANY_U64),
    ROW("ferry_reader.low_bytes", try_low_bytes, {0, 0}, {1, 0}, {100, 0}, {101, -EINVAL},
        {MOST_U64, -EINVAL}),
    ROW("ferry_read_callback", try_on_read, {1, 0}, {10, 0}, {11, 0}, {INT_MAX, 0}, {INT64_MAX, 0},
        {MOST_U64, 0}),
    ROW("ferry_stream_demand(shots)", try_demand, {0, 0}, {1, 0}, {INT64_MAX, 0}, {-1, 0},
        {-2, -EINVAL}, {INT64_MIN, -EINVAL}),
    ROW("ferry_stream_read_within(timeout_ms)", try_read_within, IS_WAIT),
    ROW("ferry_read.size", try_read_size, {1, 0}, {8, 0}),
    ROW("ferry_read.delimiter_length", try_delimiter_length, {0, -EINVAL}, {1, 0},
        {INT64_MAX, -ENOMEM}, {MOST_U64, -ENOMEM}),
    ROW("ferry_stream_relay(length)", try_relay_length, {0, 0}, {1, 0}, {2, -ENODATA},
        {INT64_MAX, -ENODATA}, {-1, 0}, {-2, -EINVAL}, {INT64_MIN, -EINVAL}),
    ROW("ferry_stream_relay(flags)", try_relay_flags, {0, 0}, {1, 0}, {2, -EINVAL},
        {UINT_MAX, -EINVAL}),

    ROW("ferry_service_drain(timeout_ms)", try_drain, IS_WAIT),
    ROW("ferry_service_stop(timeout_ms)", try_stop, IS_WAIT),
    ROW("ferry_listen_options.backlog", try_backlog, {0, 0}, {1, 0}, {INT_MAX, 0},
        {INT64_C(1) << 31, -EINVAL}, {UINT_MAX, -EINVAL}),
    ROW("ferry_listen_options.limit_streams", try_limit_streams, {0, 0}, {1, 0}, {INT_MAX, 0},
        {UINT_MAX, 0}),
    ROW("ferry_listen_options.unix_mode", try_unix_mode, {0, 0}, {0700, 0}, {07777, 0},
        {010000, -EINVAL}, {UINT_MAX, -EINVAL}),
    ROW("ferry_connect_options.timeout_ms", try_connect_timeout, IS_TIME),
    ROW("ferry_connect(address)", try_address, {1, 0}, {65535, 0}, {65536, -EINVAL},
        {INT_MAX, -EINVAL}, {INT64_MAX, -EINVAL}),
    ROW("ferry_connect(address)", try_address_fd, {1 << 20, -EBADF}, {INT_MAX, -EBADF},
        {INT64_MAX, -EINVAL}, {-1, -EINVAL}, {(INT64_C(1) << 32) + 1, -EINVAL}),
    ROW("ferry_stream_adopt(fd)", try_adopted_fd, {-1, -EBADF}, {INT_MIN, -EBADF},
        {INT_MAX, -EBADF}),

    ROW("ferry_promise_await(timeout_ms)", try_await, IS_WAIT),
    ROW("ferry_promise_await_all(timeout_ms)", try_await_all, IS_WAIT),
    ROW("ferry_promise_await_any(timeout_ms)", try_await_any, IS_WAIT),
    ROW("ferry_inbox_run(timeout_ms)", try_inbox_run, IS_WAIT),
    ROW("ferry_promise_after(delay_ms)", try_after, IS_TIME),
    ROW("ferry_promise_timeout(timeout_ms)", try_timeout, IS_TIME),
    ROW("ferry_retry.pause_ms", try_pause, IS_TIME),
    ROW("ferry_retry.most_pause_ms", try_most_pause, IS_TIME),
    ROW("ferry_retry.attempts", try_attempts, IS_ANY_U64),
    ROW("ferry_start_callback", try_block_error, {0, 0}, {-1, -1}, {-4096, -4096},
        {INT_MIN, INT_MIN}, {1, -EINVAL}, {INT_MAX, -EINVAL}),
    ROW("ferry_chain.error", try_chain_error, {0, 0}, {INT_MIN, 0}, {-1, INT_MIN}, {1, -EINVAL},
        {INT_MAX, -EINVAL}),
    ROW("ferry_map.count", try_map_count, {0, 0}, {1, 0}, {100, 0}, {INT64_MAX, -ENOMEM},
        {MOST_U64, -ENOMEM}),
    ROW("ferry_map.at_once", try_map_at_once, IS_ANY_U64),
    ROW("ferry_result.sent", try_sums, IS_ANY_U64),
    ROW("ferry_promise_get_member(index)", try_part_index, {0, 0}, {1, -ENODATA},
        {INT64_MAX, -ENODATA}, {MOST_U64, -ENODATA}),
    ROW("ferry_result.error", try_settled_error, {0, 0}, {-1, -1}, {-4095, -4095}, {-4096, -4096},
        {INT_MIN, INT_MIN}, {1, -EINVAL}, {INT_MAX, -EINVAL}),
    ROW("ferry_result.remaining", try_result_numbers, IS_ANY_U64),
    ROW("ferry_error_name(status)", try_status_name, {0, 0}, {EIO, 0}, {-EIO, 0}, {-4096, -ENOENT},
        {INT_MAX, -ENOENT}, {INT_MIN, -ENOENT}),
    ROW("ferry_error_message(status)", try_status_message, {0, 0}, {EIO, 0}, {-EIO, 0},
        {-4096, -ENOENT}, {INT_MAX, -ENOENT}, {INT_MIN, -ENOENT}),
    ROW("ferry_result_format(size)", try_format_size, {0, 0}, {1, 0}, {256, 0}),
    ROW("ferry_stream_get_peer(size)", try_peer_size, {0, 0}, {1, 0}, {256, 0}),
    ROW("ferry_stream_promise_room(memory_bytes)", try_room_memory, {0, 0}, {1, 0}, {MOST_BYTES, 0},
        {MOST_BYTES + 1, -EOVERFLOW}, {MOST_U64, -EOVERFLOW}),
    ROW("ferry_stream_promise_room(file_bytes)", try_room_file, IS_ANY_U64),

    ROW("ferry_fault.first", try_fault_first, {0, -EINVAL}, {1, 0}, {INT64_MAX, 0}, {MOST_U64, 0}),
    ROW("ferry_fault.times", try_fault_times, IS_ANY_U64),
    ROW("ferry_fault.error", try_fault_error, {EIO, 0}, {-EIO, 0}, {4095, 0}, {0, -EINVAL},
        {4096, -EINVAL}, {INT_MAX, -EINVAL}, {-4096, -EINVAL}, {INT_MIN, -EINVAL}),
    ROW("ferry_faults_create(count)", try_fault_count, {0, 0}, {1, -EINVAL}, {INT64_MAX, -EINVAL},
        {MOST_U64, -EINVAL}),
};

static void try_row(const row *one, const trial *with)
{
    enum { MOST = sizeof one->expected / sizeof one->expected[0] };
    for (size_t i = 0; i < MOST; i++) {
        const expectation *expected = &one->expected[i];
        if (i > 0 && expected->value == 0 && expected->outcome == 0)
            break;
        AT_END(drop_its_stream) trial this = with_stream(*with);
        this.value = expected->value;
        int got = one->try(&this);
        if (got != expected->outcome)
            fprintf(stderr, "%s = %lld\n", one->number, (long long)expected->value);
        check_eq(got, expected->outcome);
    }
}

PROMISE_BOTH(extremes, every_number_is_taken_or_refused_as_documented_at_its_extremes)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    const trial with = {.service = service, .placement = placement};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        try_row(&table[i], &with);
}
