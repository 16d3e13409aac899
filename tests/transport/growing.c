/* SPDX-License-Identifier: MIT */
/*
 * Structs that cross the border end with reserved words, where fields of later versions will be. A
 * program that was compiled for a newer library and uses such a field is told so, and nothing has
 * happened. tests/abi.sh tries it with such a program, and with a library that has grown.
 */
#include "tests/notes.h"
#include "tests/support.h"

#include <fcntl.h>
#include <semaphore.h>

enum { NONE = -1 }; /* no word is set: the call is right */

/* Uses a later field. */
#define USE(given, word)                                                                           \
    do {                                                                                           \
        if ((word) != NONE)                                                                        \
            (given).reserved[word] = 1;                                                            \
    } while (0)

static void never_released(void *, void *)
{
    abort(); /* what was refused is not released */
}

static void never_called(ferry_promise *, const ferry_result *, void *) {}

static size_t take_nothing(ferry_stream *, const void *, size_t, bool, void *)
{
    return 0;
}

static void on_stream(ferry_listener *, ferry_stream *, void *) {}

static ferry_promise *start_nothing(size_t, ferry_outcome *, void *)
{
    return NULL;
}

static ferry_promise *made; /* by a call, if it was right */

/* A call was answered so; what it made, if it did, is given back. */
static int end(int error)
{
    if (error == 0) {
        (void)ferry_promise_cancel(made);
        (void)outcome(made);
    }
    return error;
}

/* ---- a call for each struct ------------------------------------------------------------------ */

static int service_options(stage *, int word)
{
    ferry_service_options options = {.shared_owners = 1, .placement = FERRY_PLACEMENT_SHARED};
    USE(options, word);
    ferry_service *service;
    int error = ferry_service_create(&options, &service);
    if (error == 0)
        ferry_service_destroy(service);
    return error;
}

static int limiter_options(stage *, int word)
{
    ferry_limiter_options options = {.bytes_per_s = 1000};
    USE(options, word);
    ferry_limiter *limiter;
    int error = ferry_limiter_create(&options, &limiter);
    if (error == 0)
        ferry_limiter_unref(limiter);
    return error;
}

static int adopt(stage *s, int word)
{
    ferry_stream_options options = {.label = "newer"};
    USE(options, word);
    AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
    ferry_stream *stream;
    int error = ferry_stream_adopt(s->service, both.ours, &options, &stream);
    if (error == 0)
        ferry_stream_unref(stream);
    else
        check_eq(close(both.ours), 0); /* it was not taken */
    return error;
}

static int listen_with(stage *s, ferry_listen_options options)
{
    options.on_stream = on_stream;
    options.on_stream_release = options.on_stream_arg != NULL ? never_released : NULL;
    ferry_listener *listener;
    int error = ferry_listen(s->service, "127.0.0.1:0", &options, &listener);
    if (error == 0)
        ferry_listener_unref(listener);
    return error;
}

static int listen_options(stage *s, int word)
{
    ferry_listen_options options = {.on_stream_arg = word != NONE ? s : NULL};
    USE(options, word);
    return listen_with(s, options);
}

static int stream_of_listener(stage *s, int word)
{
    ferry_stream_options stream = {0};
    USE(stream, word);
    return listen_with(s, (ferry_listen_options){.stream = &stream});
}

static int connect_options(stage *s, int word)
{
    ferry_connect_options options = {.timeout_ms = 1000};
    USE(options, word);
    return end(ferry_connect(s->service, "unix:@nobody", &options, &made));
}

static int stream_of_connect(stage *s, int word)
{
    ferry_stream_options stream = {0};
    USE(stream, word);
    const ferry_connect_options options = {.stream = &stream};
    return end(ferry_connect(s->service, "unix:@nobody", &options, &made));
}

static ferry_request_options some_options(int word)
{
    ferry_request_options options = {.on_owner = never_called};
    if (word != NONE)
        options.on_owner_release = never_released;
    USE(options, word);
    return options;
}

static int options_of_write(stage *s, int word)
{
    const ferry_request_options options = some_options(word);
    return end(ferry_stream_write(s->stream, "x", 1, &options, &made));
}

static int options_of_forgotten_write(stage *s, int word)
{
    ferry_request_options options = {0};
    USE(options, word);
    return ferry_stream_write(s->stream, "x", 1, &options, NULL);
}

static int options_of_read(stage *s, int word)
{
    const ferry_request_options options = some_options(word);
    char byte;
    const ferry_read read = {.data = &byte, .size = 1};
    return end(ferry_stream_read(s->stream, &read, &options, &made));
}

static int options_of_relay(stage *s, int word)
{
    const ferry_request_options options = some_options(word);
    return end(ferry_stream_relay(s->stream, s->stream, 1, 0, &options, &made));
}

static int file(stage *s, int word)
{
    ferry_file given = ferry_file_fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    given.flags = FERRY_FD_GIVE;
    USE(given, word);
    int error = ferry_stream_sendfile(s->stream, &given, NULL, &made);
    if (error != 0)
        check_eq(close(given.fd), 0); /* it was not taken */
    return end(error);
}

static int file_to_receive_into(stage *s, int word)
{
    ferry_file given = ferry_file_at("/dev/null");
    USE(given, word);
    return end(ferry_stream_read_to_file(s->stream, &given, NULL, &made));
}

static int file_to_share(stage *, int word)
{
    ferry_file given = ferry_file_at("/proc/self/exe");
    USE(given, word);
    ferry_shared_file *shared;
    int error = ferry_shared_file_open(&given, &shared);
    if (error == 0)
        ferry_shared_file_unref(shared);
    return error;
}

static int open_options(stage *s, int word)
{
    ferry_open_options options = {0};
    USE(options, word);
    const ferry_file given = ferry_file_at("/etc/passwd");
    return end(ferry_shared_file_open_on(s->service, &given, &options, &made));
}

static int resume_token(stage *s, int word)
{
    ferry_resume_token token = {.inode = 1};
    USE(token, word);
    ferry_file given = ferry_file_at("/dev/null");
    given.resume = &token;
    return end(ferry_stream_sendfile(s->stream, &given, NULL, &made));
}

static int only_part(stage *s, int word)
{
    ferry_part part = ferry_part_copy("x", 1);
    USE(part, word);
    return end(ferry_stream_send(s->stream, &part, 1, NULL, &made));
}

static int second_part(stage *s, int word)
{
    ferry_release *release = word != NONE ? never_released : NULL;
    char *memory = word != NONE ? NULL : malloc(1);
    ferry_part parts[] = {ferry_part_give(memory, memory != NULL, release, NULL),
                          ferry_part_borrow("x", 1)};
    USE(parts[1], word);
    return end(ferry_stream_send(s->stream, parts, 2, NULL, &made));
}

static int read_into_memory(stage *s, int word)
{
    char byte;
    ferry_read read = {.data = &byte, .size = 1};
    USE(read, word);
    return end(ferry_stream_read(s->stream, &read, NULL, &made));
}

static int reader_of_stream(stage *s, int word)
{
    ferry_reader given = {.on_read = take_nothing};
    given.release = word != NONE ? never_released : NULL;
    USE(given, word);
    int error = ferry_stream_set_reader(s->stream, &given);
    if (error == 0)
        check_eq(ferry_stream_set_reader(s->stream, NULL), 0);
    return error;
}

static int chain(stage *, int word)
{
    ferry_chain given = {.release = word != NONE ? never_released : NULL};
    USE(given, word);
    ferry_promise *first;
    check_eq(ferry_promise_create(&first), 0);
    int error = end(ferry_promise_chain(first, &given, &made));
    check_eq(ferry_promise_cancel(first), error == 0 ? -EALREADY : 0);
    ferry_promise_unref(first);
    return error;
}

static int retry(stage *, int word)
{
    ferry_retry given = {.start = start_nothing, .release = word != NONE ? never_released : NULL};
    USE(given, word);
    return end(ferry_promise_retry(&given, &made));
}

static int map(stage *, int word)
{
    ferry_map given = {.start = start_nothing, .release = word != NONE ? never_released : NULL};
    USE(given, word);
    return end(ferry_promise_map(&given, &made));
}

static int settle_with(const ferry_outcome *given)
{
    ferry_promise *promise;
    check_eq(ferry_promise_create(&promise), 0);
    int error = ferry_promise_settle(promise, given);
    check_eq(ferry_promise_await(promise, 0, NULL), error == 0 ? 0 : -ETIMEDOUT);
    ferry_promise_unref(promise);
    return error;
}

static int settled_outcome(stage *, int word)
{
    ferry_outcome given = {0};
    USE(given, word);
    return settle_with(&given);
}

static int settled_result(stage *, int word)
{
    ferry_outcome given = {0};
    USE(given.result, word);
    return settle_with(&given);
}

static int fault(stage *, int word)
{
    ferry_fault script[2] = {{FERRY_CALL_ANY, 1, 1, FERRY_FAULT_ERROR, EIO},
                             {FERRY_CALL_ANY, 2, 1, FERRY_FAULT_ERROR, EIO}};
    USE(script[1], word);
    ferry_faults *faults;
    int error = ferry_faults_create(script, 2, &faults);
    if (error == 0)
        ferry_faults_unref(faults);
    return error;
}

#define WORDS(type) (sizeof(((type *)NULL)->reserved) / sizeof(uint64_t))

static const struct {
    int (*call)(stage *s, int word);
    size_t words;
} calls[] = {
    {service_options, WORDS(ferry_service_options)},
    {limiter_options, WORDS(ferry_limiter_options)},
    {adopt, WORDS(ferry_stream_options)},
    {listen_options, WORDS(ferry_listen_options)},
    {stream_of_listener, WORDS(ferry_stream_options)},
    {connect_options, WORDS(ferry_connect_options)},
    {stream_of_connect, WORDS(ferry_stream_options)},
    {options_of_write, WORDS(ferry_request_options)},
    {options_of_forgotten_write, WORDS(ferry_request_options)},
    {options_of_read, WORDS(ferry_request_options)},
    {options_of_relay, WORDS(ferry_request_options)},
    {file, WORDS(ferry_file)},
    {file_to_receive_into, WORDS(ferry_file)},
    {file_to_share, WORDS(ferry_file)},
    {open_options, WORDS(ferry_open_options)},
    {resume_token, WORDS(ferry_resume_token)},
    {only_part, WORDS(ferry_part)},
    {second_part, WORDS(ferry_part)},
    {read_into_memory, WORDS(ferry_read)},
    {reader_of_stream, WORDS(ferry_reader)},
    {chain, WORDS(ferry_chain)},
    {retry, WORDS(ferry_retry)},
    {map, WORDS(ferry_map)},
    {settled_outcome, WORDS(ferry_outcome)},
    {settled_result, WORDS(ferry_result)},
    {fault, WORDS(ferry_fault)},
};

PROMISE_EITHER(growing, field_that_the_library_does_not_know_is_e2big_and_nothing_is_taken)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        for (size_t word = 0; word < calls[i].words; word++)
            check_eq(calls[i].call(&s, (int)word), -E2BIG);
        check_eq(calls[i].call(&s, NONE), 0);
    }
}

static void count_release(void *value)
{
    ++*(unsigned *)value;
}

/* What a block puts into its outcome. */
typedef struct answer {
    unsigned released;
    bool in_result; /* the later field: else it is in the outcome around it */
} answer;

static ferry_promise *answer_with_a_later_field(ferry_promise *, ferry_outcome *given, void *arg)
{
    answer *self = arg;
    given->value = &self->released;
    given->release = count_release;
    *(self->in_result ? given->result.reserved : given->reserved) = 1;
    return NULL;
}

PROMISE(growing, block_that_answers_with_such_a_field_makes_its_sequence_e2big)
{
    for (unsigned in_result = 0; in_result < 2; in_result++) {
        answer self = {.in_result = in_result};
        ferry_promise *first, *sequence;
        check_eq(ferry_promise_create(&first), 0);
        check_eq(ferry_promise_then(first, answer_with_a_later_field, &self, &sequence), 0);
        check_eq(ferry_promise_settle(first, NULL), 0);
        ferry_promise_unref(first);
        ferry_result result = outcome(sequence);
        check_eq(result.error, -E2BIG);
        check_eq(result.reserved[0], 0);
        check_eq(self.released, 1);
    }
}

static int use_a_later_field(ferry_listener *, int, ferry_stream_options *options, void *arg)
{
    options->reserved[0] = 1;
    sem_post(arg);
    return 0;
}

static void never_accepted(ferry_listener *, ferry_stream *, void *)
{
    abort(); /* its options were refused */
}

PROMISE_EITHER(growing, connection_for_which_on_accept_uses_such_a_field_is_closed)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    sem_t seen;
    sem_init(&seen, 0, 0);
    const ferry_listen_options options = {.on_stream = never_accepted,
                                          .on_stream_arg = &seen,
                                          .on_owner = true,
                                          .on_accept = use_a_later_field};
    ferry_listener *listener;
    check_eq(ferry_listen(service, "127.0.0.1:0", &options, &listener), 0);
    char address[64], byte;
    check(ferry_listener_get_address(listener, address, sizeof address) > 0);
    unsigned long lines = lines_logged();
    ferry_promise *connected;
    ferry_stream *stream;
    check_eq(ferry_connect(service, address, NULL, &connected), 0);
    check_eq(ferry_promise_await(connected, -1, NULL), 0);
    check_eq(ferry_promise_get_stream(connected, &stream), 0);
    ferry_promise_unref(connected);
    const ferry_read read = {.data = &byte, .size = 1};
    ferry_result result = outcome(submit_read(stream, read));
    check(result.at_end || result.error == -ECONNRESET);
    check_eq(sem_wait(&seen), 0);
    check_eq(lines_logged() - lines, 1);
    ferry_stream_unref(stream);
    ferry_listener_unref(listener);
}
