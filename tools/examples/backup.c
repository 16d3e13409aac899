/* SPDX-License-Identifier: MIT */
/*
 * Pushes a file to a server, and tries again until the server has all of it: each time over a new
 * connection, after a longer pause, ten times at most.
 *
 *     nc -l -U /tmp/backup.socket >copy &
 *     backup unix:/tmp/backup.socket FILE
 */
#include <ferry/ferry.h>
#include <stdio.h>

typedef struct backup {
    ferry_service *service;
    const char *address, *path;
} backup;

/* Connected: sends the file, and closes. The close succeeds once the server has read all of it. */
static ferry_promise *push(ferry_promise *connected, ferry_outcome *outcome, void *arg)
{
    const ferry_file file = ferry_file_at(((backup *)arg)->path);
    ferry_stream *stream;
    ferry_promise *steps[2] = {NULL, NULL}, *both = NULL;
    int error = ferry_promise_get_stream(connected, &stream);
    if (error == 0) {
        error = ferry_stream_sendfile(stream, &file, NULL, &steps[0]);
        if (error == 0)
            error = ferry_stream_close(stream, &steps[1]);
        if (error == 0)
            error = ferry_promise_all(steps, 2, &both);
        (void)ferry_stream_unref(stream);
    }
    (void)ferry_promise_unref(steps[0]), (void)ferry_promise_unref(steps[1]);
    outcome->result.error = error;
    return both;
}

static ferry_promise *attempt(size_t number, ferry_outcome *outcome, void *arg)
{
    backup *job = arg;
    const ferry_stream_options stream = {.close_timeout_ms = 30000, .stall_timeout_ms = 60000};
    const ferry_connect_options options = {.stream = &stream, .timeout_ms = 10000};
    ferry_promise *connected, *pushed = NULL;
    (void)fprintf(stderr, "attempt %zu\n", number + 1);
    int error = ferry_connect(job->service, job->address, &options, &connected);
    if (error == 0) {
        error = ferry_promise_then(connected, push, job, &pushed);
        (void)ferry_promise_unref(connected);
    }
    outcome->result.error = error;
    return pushed;
}

/* Without the file there is nothing to try again. */
static bool is_worth(const ferry_result *result, void *arg)
{
    (void)arg;
    return result->phase != FERRY_PHASE_OPEN;
}

int main(int argc, char **argv)
{
    backup job = {NULL, argv[1], argc == 3 ? argv[2] : NULL};
    const ferry_retry retry = {.start = attempt,
                               .arg = &job,
                               .attempts = 10,
                               .pause_ms = 100,
                               .most_pause_ms = 60000,
                               .is_worth = is_worth};
    ferry_promise *done;
    ferry_result result;
    char line[256];
    if (argc != 3 || ferry_service_create(NULL, &job.service) < 0 ||
        ferry_promise_retry(&retry, &done) < 0)
        return 2;
    (void)ferry_promise_await(done, -1, &result); /* the attempts run here, meanwhile */
    (void)ferry_result_format(&result, line, sizeof line);
    (void)printf("%s\n", line);
    (void)ferry_promise_unref(done), ferry_service_destroy(job.service);
    return result.error == 0 ? 0 : 1;
}
