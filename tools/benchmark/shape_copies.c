/* SPDX-License-Identifier: MIT */
/*
 * Copies: writes of some KiB by one thread, which goes on with its memory; beside send(2). Both
 * wait when so much is on its way: there the kernel says how much, here the stream's limit.
 */
#include "shape_kinds.h"

#include "peer_stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LARGEST = 512 * 1024,
    QUEUED = 2 << 20 /* bytes that may wait: they are in the cache still when they are sent */
};
static const char payload[LARGEST];

static size_t all_bytes(const shape_run *what)
{
    return what->operations * what->of->bytes;
}

/* ---- send(2) --------------------------------------------------------------------------------- */

static int send_one(int fd, size_t length)
{
    for (size_t sent = 0; sent < length;) {
        ssize_t count = send(fd, &payload[sent], length - sent, MSG_NOSIGNAL);
        if (count < 0)
            return -errno;
        sent += (size_t)count;
    }
    return 0;
}

static int with_send(const shape_run *what, double ret_figures[FIGURES])
{
    int fd = peer_connect(what->peer), error = 0;
    if (fd < 0)
        return fd;
    stopwatch watch = stopwatch_start();
    for (size_t i = 0; i < what->operations && error == 0; i++)
        error = send_one(fd, what->of->bytes);
    (void)close(fd);
    int check = peer_check(what->peer, all_bytes(what));
    shape_give(what, stopwatch_read(&watch), ret_figures);
    return error != 0 ? error : check;
}

/* ---- ferry ----------------------------------------------------------------------------------- */

/* Waits for room, as send(2) does. */
static int write_all(const shape_run *what, ferry_stream *stream)
{
    const ferry_request_options options = {.room_timeout_ms = -1};
    int error = 0;
    for (size_t i = 0; i < what->operations && error == 0; i++)
        error = ferry_stream_write(stream, payload, what->of->bytes, &options, NULL);
    return error;
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    const ferry_stream_options bounded = {.limit_bytes = QUEUED};
    peer_stream over = {0};
    int error = peer_stream_init(&over, what->peer, FERRY_PLACEMENT_DEDICATED);
    over.options = &bounded;
    if (error == 0)
        error = peer_stream_open(&over);
    if (error != 0)
        return error;
    stopwatch watch = stopwatch_start();
    error = write_all(what, over.stream);
    int check = peer_stream_close(&over, all_bytes(what));
    shape_give(what, stopwatch_read(&watch), ret_figures);
    return error != 0 ? error : check;
}

/* ---- the shapes ------------------------------------------------------------------------------ */

#define COPIES(title, text, length, times)                                                         \
    {                                                                                              \
        .name = title, .summary = text, SHAPE_FIGURES("writes/s"), .operations = times,            \
        .bytes = length, .ways = {{"send()", with_send}, {"ferry", with_ferry}},                   \
    }

const shape shape_copies[] = {
    COPIES("copies-4k", "writes of 4 KiB, copied, 1 thread, TCP", 4 << 10, 200 * 1000),
    COPIES("copies-16k", "writes of 16 KiB, copied, 1 thread, TCP", 16 << 10, 80 * 1000),
    COPIES("copies-64k", "writes of 64 KiB, copied, 1 thread, TCP", 64 << 10, 20 * 1000),
    COPIES("copies-512k", "writes of 512 KiB, copied, 1 thread, TCP", 512 << 10, 2500),
    {0},
};
