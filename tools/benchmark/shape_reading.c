/* SPDX-License-Identifier: MIT */
/*
 * Reading in bulk: a connection that brings as much as it can, read by the thread that wants it,
 * beside a loop of recv(2).
 */
#include "shape_kinds.h"

#include "helper.h"
#include "peer_stream.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

/* Checks that all came, and gives the figures. */
static int finish(const shape_run *what, const stopwatch *watch, pid_t source, size_t bytes,
                  double ret_figures[FIGURES])
{
    shape_give(what, stopwatch_read(watch), ret_figures);
    int error = helper_join(source);
    return error != 0 ? error : bytes == what->operations * MIB ? 0 : -EBADMSG;
}

/* ---- a loop ---------------------------------------------------------------------------------- */

static int receive_all(int fd, size_t *ret_bytes)
{
    static char data[256 * 1024];
    for (ssize_t count; (count = recv(fd, data, sizeof data, 0)) != 0;) {
        if (count < 0)
            return -errno;
        *ret_bytes += (size_t)count;
    }
    return 0;
}

static int with_loop(const shape_run *what, double ret_figures[FIGURES])
{
    pid_t source;
    int fd = helper_start_source(what->of->route, what->operations * MIB, &source);
    if (fd < 0)
        return fd;
    size_t bytes = 0;
    stopwatch watch = stopwatch_start();
    int error = receive_all(fd, &bytes);
    int rest = finish(what, &watch, source, bytes, ret_figures);
    (void)close(fd);
    return error != 0 ? error : rest;
}

/* ---- ferry ----------------------------------------------------------------------------------- */

typedef struct intake {
    size_t bytes;
    bool is_over;
    int error;
} intake;

static size_t take(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg)
{
    (void)stream;
    (void)data;
    (void)at_end;
    ((intake *)arg)->bytes += length;
    return length;
}

static void end(ferry_stream *stream, int error, void *arg)
{
    (void)stream;
    intake *in = arg;
    in->error = error;
    in->is_over = true;
}

static int read_all(ferry_stream *stream, intake *in)
{
    int count =
        ferry_stream_set_reader(stream, &(ferry_reader){.on_read = take, .on_end = end, .arg = in});
    while (count >= 0 && !in->is_over)
        count = ferry_inbox_run(-1);
    return count < 0 ? count : in->error;
}

static int with_reader(const shape_run *what, double ret_figures[FIGURES])
{
    pid_t source;
    int fd = helper_start_source(what->of->route, what->operations * MIB, &source);
    if (fd < 0)
        return fd;
    ferry_service *service;
    ferry_stream *stream;
    int error = service_with_one_owner(&service);
    if (error != 0)
        return error;
    intake in = {0};
    error = ferry_stream_adopt(service, fd, NULL, &stream);
    stopwatch watch = stopwatch_start();
    if (error == 0)
        error = read_all(stream, &in);
    int rest = finish(what, &watch, source, in.bytes, ret_figures);
    return error != 0 ? error : rest;
}

/* ---- the shapes ------------------------------------------------------------------------------ */

#define READING(title, text, over)                                                                 \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"MiB/s", "CPU us a MiB"},                 \
        .more_is_better = {true, false}, .operations = 1024, .route = over,                        \
        .ways = {{"recv() loop", with_loop}, {"ferry", with_reader}},                              \
    }

const shape shape_reading[] = {
    READING("reading", "bulk to a reader on its own thread, TCP", ROUTE_TCP),
    READING("reading-unix", "bulk to a reader on its own thread, a unix socket", ROUTE_UNIX),
    {0},
};
