/* SPDX-License-Identifier: MIT */
/*
 * Bulk: a large file, several times, sent by the owner of one stream, beside a loop that waits in
 * sendfile(2); into a pipe of 1 MiB beside one of splice(2). `bench bulk` has more of it.
 */
#include "shape_kinds.h"

#include "helper.h"
#include "page_cached.h"
#include "peer_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <unistd.h>

enum { MIB = 1 << 20, FILE_BYTES = 128 * MIB };

static size_t all_bytes(const shape_run *what)
{
    return what->operations * MIB;
}

/* ---- where it goes --------------------------------------------------------------------------- */

typedef struct lane {
    int file;
    int to;
    pid_t reader; /* of a pipe; else 0 */
} lane;

static int read_all(int fd, void *context)
{
    static char data[256 * 1024];
    size_t left = *(const size_t *)context;
    for (ssize_t count; (count = read(fd, data, sizeof data)) != 0; left -= (size_t)count)
        if (count < 0)
            return -errno;
    return left == 0 ? 0 : -EBADMSG;
}

static int open_pipe(const shape_run *what, lane *ret_lane)
{
    size_t bytes = all_bytes(what);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    (void)fcntl(ends[1], F_SETPIPE_SZ, MIB); /* its size is for the program to choose */
    int error = helper_start(read_all, ends[0], &bytes, &ret_lane->reader);
    (void)close(ends[0]);
    ret_lane->to = ends[1];
    return error;
}

/* @param what its count is 0: into a pipe */
static int open_lane(const shape_run *what, lane *ret_lane)
{
    *ret_lane = (lane){.file = page_cached_file(FILE_BYTES)};
    if (ret_lane->file < 0)
        return ret_lane->file;
    if (what->of->count == 0)
        return open_pipe(what, ret_lane);
    ret_lane->to = peer_connect(what->peer);
    return ret_lane->to < 0 ? ret_lane->to : 0;
}

static int finish(const shape_run *what, const lane *over, const stopwatch *watch,
                  double ret_figures[FIGURES])
{
    int error =
        over->reader != 0 ? helper_join(over->reader) : peer_check(what->peer, all_bytes(what));
    shape_give(what, stopwatch_read(watch), ret_figures);
    return error;
}

/* ---- a loop ---------------------------------------------------------------------------------- */

static int send_file(const lane *over)
{
    for (off_t at = 0; at < FILE_BYTES;)
        if (sendfile(over->to, over->file, &at, FILE_BYTES - (size_t)at) <= 0)
            return -errno;
    return 0;
}

static int splice_file(const lane *over)
{
    for (loff_t at = 0; at < FILE_BYTES;)
        if (splice(over->file, &at, over->to, NULL, FILE_BYTES - (size_t)at, SPLICE_F_MOVE) <= 0)
            return -errno;
    return 0;
}

static int with_loop(const shape_run *what, double ret_figures[FIGURES])
{
    lane over;
    int error = open_lane(what, &over);
    if (error != 0)
        return error;
    stopwatch watch = stopwatch_start();
    for (size_t left = all_bytes(what); left > 0 && error == 0; left -= FILE_BYTES)
        error = over.reader != 0 ? splice_file(&over) : send_file(&over);
    (void)close(over.to);
    int rest = finish(what, &over, &watch, ret_figures);
    return error != 0 ? error : rest;
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static int send_by(ferry_service *service, const lane *over, size_t length)
{
    ferry_stream *stream;
    int error = ferry_stream_adopt(service, over->to, NULL, &stream);
    if (error != 0)
        return error;
    error = peer_stream_send_file(stream, over->file, FILE_BYTES, length);
    (void)ferry_stream_unref(stream); /* the last one: closed */
    return error;
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    lane over;
    int error = open_lane(what, &over);
    ferry_service *service;
    if (error == 0)
        error = ferry_service_create(NULL, &service);
    if (error != 0)
        return error;
    stopwatch watch = stopwatch_start();
    error = send_by(service, &over, all_bytes(what));
    int rest = error == 0 ? finish(what, &over, &watch, ret_figures) : 0;
    return error != 0 ? error : rest;
}

/* ---- the shapes ------------------------------------------------------------------------------ */

#define BULK(title, text, over, streams, name_of_peer)                                             \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"MiB/s", "CPU us a MiB"},                 \
        .more_is_better = {true, false}, .operations = 1024, .count = streams, .route = over,      \
        .ways = {{name_of_peer, with_loop}, {"ferry", with_ferry}},                                \
    }

const shape shape_bulk[] = {
    BULK("bulk", "a file of 128 MiB, 8 times, TCP", ROUTE_TCP, 1, "sendfile() loop"),
    BULK("bulk-unix", "a file of 128 MiB, 8 times, a unix socket", ROUTE_UNIX, 1,
         "sendfile() loop"),
    BULK("bulk-pipe", "a file of 128 MiB, 8 times, a pipe", ROUTE_TCP, 0, "splice() loop"),
    {0},
};
