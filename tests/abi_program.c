/* SPDX-License-Identifier: MIT */
/*
 * A program of another version than the library that it runs with (tests/abi.sh). Compiled with the
 * headers of before, it works with a library whose structs have grown. Compiled with headers that
 * have grown (NEWER), it uses the new fields, and an older library says that it does not know them.
 */
#include <ferry/ferry.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef NEWER
#define USE_NEW_FIELD(given) ((given).grown = 1)
enum { ANSWER = -E2BIG };
#else
#define USE_NEW_FIELD(given) ((void)(given))
enum { ANSWER = 0 };
#endif

static void must(int is_so, int line)
{
    if (is_so)
        return;
    (void)fprintf(stderr, "abi_program.c:%d: not so\n", line);
    exit(1);
}

#define MUST(condition) must((condition), __LINE__)

static void check_untouched(const char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++)
        MUST(memory[i] == 0x55);
}

/* The fields that the program knows are right, and nothing is written behind them. */
static ferry_result outcome(ferry_promise *promise)
{
    struct {
        ferry_result result;
        char behind[64];
    } space;
    memset(&space, 0x55, sizeof space);
    MUST(ferry_promise_await(promise, -1, &space.result) == 0);
    check_untouched(space.behind, sizeof space.behind);
    (void)ferry_promise_unref(promise);
    return space.result;
}

static void check_status(ferry_stream *stream)
{
    struct {
        ferry_stream_status status;
        char behind[64];
    } space;
    memset(&space, 0x55, sizeof space);
    MUST(ferry_stream_get_status(stream, &space.status) == 0);
    MUST(space.status.error == 0 && space.status.sent_bytes == 4);
    check_untouched(space.behind, sizeof space.behind);
}

static void send_parts(ferry_stream *stream)
{
    ferry_part parts[] = {ferry_part_copy("ab", 2), ferry_part_borrow("cd", 2)};
    USE_NEW_FIELD(parts[1]);
    ferry_promise *promise;
    MUST(ferry_stream_send(stream, parts, 2, NULL, &promise) == ANSWER);
    if (ANSWER == 0)
        MUST(outcome(promise).sent == 4);
}

static void send_file(ferry_stream *stream)
{
    ferry_file file = ferry_file_at("/dev/null");
    ferry_request_options options = {.timeout_ms = 10000};
    USE_NEW_FIELD(options);
    ferry_promise *promise;
    MUST(ferry_stream_sendfile(stream, &file, &options, &promise) == ANSWER);
    if (ANSWER == 0)
        MUST(outcome(promise).error == 0);
}

static void settle_one(void)
{
    ferry_promise *promise;
    MUST(ferry_promise_create(&promise) == 0);
    ferry_outcome given = {.result.error = -EIO, .value = "kept"};
    USE_NEW_FIELD(given);
    MUST(ferry_promise_settle(promise, &given) == ANSWER);
    if (ANSWER == 0)
        MUST(strcmp(ferry_promise_get_value(promise), "kept") == 0);
    (void)ferry_promise_cancel(promise);
    (void)ferry_promise_unref(promise);
}

int main(void)
{
    int both[2];
    ferry_service *service;
    ferry_stream *stream;
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both) == 0);
    ferry_service_options of_service = {.placement = FERRY_PLACEMENT_SHARED, .shared_owners = 1};
    USE_NEW_FIELD(of_service);
    MUST(ferry_service_create(&of_service, &service) == ANSWER);
    if (ANSWER != 0)
        MUST(ferry_service_create(NULL, &service) == 0);
    ferry_stream_options of_stream = {.label = "old and new"};
    USE_NEW_FIELD(of_stream);
    MUST(ferry_stream_adopt(service, both[0], &of_stream, &stream) == ANSWER);
    if (ANSWER != 0)
        MUST(ferry_stream_adopt(service, both[0], NULL, &stream) == 0);
    send_parts(stream);
    send_file(stream);
    settle_one();
    if (ANSWER == 0)
        check_status(stream);
    (void)ferry_stream_unref(stream);
    MUST(ferry_service_stop(service, -1) == 0);
    ferry_service_destroy(service);
    return close(both[1]);
}
