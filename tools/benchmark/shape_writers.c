/* SPDX-License-Identifier: MIT */
/* Many writers: threads that write 64 bytes at a time into one stream, and forget them. */
#include "shape_kinds.h"

#include "crew.h"
#include "peer_stream.h"
#include "small.h"

static int through_queue(const shape_run *what, double ret_figures[FIGURES])
{
    return small_run_queue(what->peer, what->of->count, what->operations, ret_figures);
}

static int through_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    return small_run_ferry(what->peer, what->of->count, what->operations, ret_figures);
}

/* ---- into a queue that is full --------------------------------------------------------------- */

enum { WRITE_BYTES = 64, LIMIT = 1024 };

typedef struct waiters {
    ferry_stream *stream;
    size_t writes; /* of each thread */
} waiters;

static int write_waiting(void *context)
{
    static const char payload[WRITE_BYTES];
    const ferry_request_options options = {.room_timeout_ms = -1};
    const waiters *w = context;
    int error = 0;
    for (size_t i = 0; i < w->writes && error == 0; i++)
        error = ferry_stream_write(w->stream, payload, WRITE_BYTES, &options, NULL);
    return error;
}

static int open_limited(const shape_run *what, ferry_stream **ret_stream)
{
    ferry_service *service;
    int error = ferry_service_create(NULL, &service);
    int fd = error == 0 ? peer_connect(what->peer) : error;
    if (fd < 0)
        return fd;
    const ferry_stream_options options = {.limit_requests = LIMIT};
    return ferry_stream_adopt(service, fd, &options, ret_stream);
}

static int through_full(const shape_run *what, double ret_figures[FIGURES])
{
    waiters w = {.writes = what->operations / what->of->count};
    int error = open_limited(what, &w.stream);
    if (error != 0)
        return error;
    stopwatch watch;
    error = crew_run(what->of->count, write_waiting, &w, &watch);
    (void)ferry_stream_unref(w.stream); /* the last one: closed behind all that is queued */
    int check = peer_check(what->peer, (uint64_t)w.writes * what->of->count * WRITE_BYTES);
    shape_give(what, stopwatch_read(&watch), ret_figures);
    ret_figures[0] /= 1e6;
    return error != 0 ? error : check;
}

/* ---- the shapes ------------------------------------------------------------------------------ */

#define WRITERS(title, text, threads, over, how)                                                   \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"M writes/s", "CPU us each"},             \
        .more_is_better = {true, false}, .operations = 1000 * 1000, .count = threads,              \
        .route = over, .ways = {{"own queue and writev()", through_queue}, {"ferry", how}},        \
    }

const shape shape_writers[] = {
    WRITERS("writer-1", "64-byte writes, 1 thread, TCP", 1, ROUTE_TCP, through_ferry),
    WRITERS("writers-4", "64-byte writes, 4 threads, TCP", 4, ROUTE_TCP, through_ferry),
    WRITERS("writers-16", "64-byte writes, 16 threads, TCP", 16, ROUTE_TCP, through_ferry),
    WRITERS("writers-4-unix", "64-byte writes, 4 threads, a unix socket", 4, ROUTE_UNIX,
            through_ferry),
    WRITERS("writers-16-full", "64-byte writes, 16 threads that wait for room among 1,024", 16,
            ROUTE_TCP, through_full),
    {0},
};
