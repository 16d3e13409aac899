/* SPDX-License-Identifier: MIT */
/*
 * Small beside bulk: how long a write of 64 bytes takes until it is received, while other streams
 * of the same owner send all they can. Beside as many threads, each of which sends one file in a
 * loop; the thread that writes sends by itself.
 */
#include "shape_kinds.h"

#include "helper.h"
#include "page_cached.h"
#include "peer_stream.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    WRITE_BYTES = 64,
    FILE_BYTES = 64 << 20, /* so that a request lasts for many turns */
    PAUSE_US = 200         /* between two writes: none waits for the one before */
};

typedef struct beside {
    const shape_run *run;
    int file;
    int sink;     /* who listens for the bulk */
    int ends[2];  /* of the connection with the small writes */
    double *took; /* of each write, in microseconds */
    size_t received;
} beside;

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- the small writes ------------------------------------------------------------------------ */

/* Receives all of them. Each has the time at which it was written. */
static void *receive_all(void *context)
{
    beside *b = context;
    char data[WRITE_BYTES];
    while (b->received < b->run->operations &&
           recv(b->ends[1], data, sizeof data, MSG_WAITALL) == sizeof data) {
        int64_t at;
        memcpy(&at, data, sizeof at);
        b->took[b->received++] = (double)(now_ns() - at) / 1e3;
    }
    return NULL;
}

/* @param stream NULL: sends by itself. */
static int write_one(const beside *b, ferry_stream *stream)
{
    char data[WRITE_BYTES] = {0};
    int64_t at = now_ns();
    memcpy(data, &at, sizeof at);
    if (stream != NULL)
        return ferry_stream_write(stream, data, sizeof data, NULL, NULL);
    return send(b->ends[0], data, sizeof data, MSG_NOSIGNAL) == sizeof data ? 0 : -EPIPE;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static int give(beside *b, double ret_figures[FIGURES])
{
    size_t count = b->received;
    if (count != b->run->operations)
        return -EBADMSG;
    qsort(b->took, count, sizeof b->took[0], compare);
    ret_figures[0] = b->took[count / 2];
    ret_figures[1] = b->took[count - 1 - count / 100];
    return 0;
}

static int write_all(beside *b, ferry_stream *stream, double ret_figures[FIGURES])
{
    pthread_t receiver;
    int error = -pthread_create(&receiver, NULL, receive_all, b);
    if (error != 0)
        return error;
    for (size_t i = 0; i < b->run->operations && error == 0; i++) {
        error = write_one(b, stream);
        (void)usleep(PAUSE_US);
    }
    if (error != 0)
        (void)shutdown(b->ends[1], SHUT_RD);
    (void)pthread_join(receiver, NULL);
    return error != 0 ? error : give(b, ret_figures);
}

static int init(beside *b, const shape_run *what)
{
    pid_t helper; /* it ends with the process */
    const int one = 1;
    *b = (beside){.run = what, .took = calloc(what->operations, sizeof *b->took)};
    b->file = page_cached_file(FILE_BYTES);
    b->sink = helper_start_sink(what->of->route, what->of->count, ANY_BYTES, &helper);
    if (b->took == NULL || b->file < 0 || b->sink < 0)
        return b->sink < 0 ? b->sink : -ENOMEM;
    int error = sockets_pair(what->of->route, b->ends);
    if (error == 0 && what->of->route == ROUTE_TCP)
        (void)setsockopt(b->ends[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return error;
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *send_on(void *context)
{
    const beside *b = context;
    int fd = sockets_connect(b->sink, 0);
    for (ssize_t count = 1; fd >= 0 && count > 0;)
        for (off_t at = 0; at < FILE_BYTES && count > 0;)
            count = sendfile(fd, b->file, &at, FILE_BYTES - (size_t)at);
    return NULL;
}

static int with_threads(const shape_run *what, double ret_figures[FIGURES])
{
    beside b;
    int error = init(&b, what);
    for (unsigned i = 0; i < what->of->count && error == 0; i++) {
        pthread_t thread;
        error = -pthread_create(&thread, NULL, send_on, &b);
    }
    return error != 0 ? error : write_all(&b, NULL, ret_figures);
}

/* ---- ferry ----------------------------------------------------------------------------------- */

typedef struct bulk_stream {
    ferry_stream *stream;
    int file;
} bulk_stream;

/* Sends the file once more. It is called on the stream's owner when it has been sent. */
static void send_again(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise;
    bulk_stream *s = arg;
    const ferry_request_options options = {.on_owner = send_again, .on_owner_arg = s};
    ferry_file file = ferry_file_fd(s->file);
    file.offset = 0;
    file.flags |= FERRY_FD_BORROW;
    if (result == NULL || result->error == 0)
        (void)ferry_stream_sendfile(s->stream, &file, &options, NULL);
}

static int start_bulk(const beside *b, ferry_service *service, bulk_stream *ret_stream)
{
    int fd = sockets_connect(b->sink, 0);
    ret_stream->file = b->file;
    int error = fd < 0 ? fd : ferry_stream_adopt(service, fd, NULL, &ret_stream->stream);
    if (error == 0)
        send_again(NULL, NULL, ret_stream);
    return error;
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    static bulk_stream streams[64];
    beside b;
    int error = init(&b, what);
    ferry_service *service;
    ferry_stream *stream;
    if (error == 0)
        error = service_with_one_owner(&service);
    if (error == 0)
        error = ferry_stream_adopt(service, b.ends[0], NULL, &stream);
    for (unsigned i = 0; i < what->of->count && error == 0; i++)
        error = start_bulk(&b, service, &streams[i]);
    return error != 0 ? error : write_all(&b, stream, ret_figures);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

#define BESIDE(title, text, streams, over)                                                         \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"p50 us", "p99 us"}, .operations = 4000,  \
        .count = streams, .route = over,                                                           \
        .ways = {{"threads", with_threads}, {"ferry", with_ferry}},                                \
    }

const shape shape_beside[] = {
    BESIDE("beside-1", "a 64-byte write beside 1 bulk stream of its owner, TCP", 1, ROUTE_TCP),
    BESIDE("beside-4", "a 64-byte write beside 4 bulk streams of its owner, TCP", 4, ROUTE_TCP),
    BESIDE("beside-16", "a 64-byte write beside 16 bulk streams of its owner, TCP", 16, ROUTE_TCP),
    {0},
};
