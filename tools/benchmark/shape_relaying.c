/* SPDX-License-Identifier: MIT */
/* Relaying: one connection's bytes into another, beside a loop of splice(2) and a large pipe. */
#include "shape_kinds.h"

#include "helper.h"
#include "peer_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

/* Both ends: a source, and the peer. */
typedef struct route {
    pid_t source;
    int from;
    int to;
} route;

static int connect_both(const shape_run *what, route *ret_route)
{
    ret_route->from =
        helper_start_source(what->of->route, what->operations * MIB, &ret_route->source);
    if (ret_route->from < 0)
        return ret_route->from;
    ret_route->to = peer_connect(what->peer);
    return ret_route->to < 0 ? ret_route->to : 0;
}

static int finish(const shape_run *what, const route *over, const stopwatch *watch,
                  double ret_figures[FIGURES])
{
    int error = peer_check(what->peer, what->operations * MIB);
    shape_give(what, stopwatch_read(watch), ret_figures);
    return error != 0 ? error : helper_join(over->source);
}

/* ---- a loop ---------------------------------------------------------------------------------- */

static int empty_pipe(int pipe, int to, size_t bytes)
{
    while (bytes > 0) {
        ssize_t count = splice(pipe, NULL, to, NULL, bytes, SPLICE_F_MOVE | SPLICE_F_MORE);
        if (count < 0)
            return -errno;
        bytes -= (size_t)count;
    }
    return 0;
}

static int splice_all(const route *over, const int pipe_ends[2])
{
    for (;;) {
        ssize_t count = splice(over->from, NULL, pipe_ends[1], NULL, MIB, SPLICE_F_MOVE);
        if (count <= 0)
            return count < 0 ? -errno : 0;
        int error = empty_pipe(pipe_ends[0], over->to, (size_t)count);
        if (error != 0)
            return error;
    }
}

static int with_loop(const shape_run *what, double ret_figures[FIGURES])
{
    route over;
    int error = connect_both(what, &over);
    if (error != 0)
        return error;
    int pipe_ends[2];
    if (pipe(pipe_ends) < 0)
        return -errno;
    (void)fcntl(pipe_ends[1], F_SETPIPE_SZ, MIB);
    stopwatch watch = stopwatch_start();
    error = splice_all(&over, pipe_ends);
    (void)close(over.to);
    int rest = finish(what, &over, &watch, ret_figures);
    return error != 0 ? error : rest;
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static int relay_all(const shape_run *what, ferry_service *service, const route *over)
{
    ferry_stream *from, *to;
    int error = ferry_stream_adopt(service, over->from, NULL, &from);
    if (error == 0)
        error = ferry_stream_adopt(service, over->to, NULL, &to);
    if (error != 0)
        return error;
    ferry_promise *relayed;
    error = ferry_stream_relay(from, to, FERRY_TO_END, 0, NULL, &relayed);
    if (error == 0)
        error = peer_stream_settle(relayed, what->operations * MIB);
    (void)ferry_stream_unref(from);
    (void)ferry_stream_unref(to);
    return error;
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    route over;
    int error = connect_both(what, &over);
    if (error != 0)
        return error;
    ferry_service *service;
    error = service_with_one_owner(&service);
    if (error != 0)
        return error;
    stopwatch watch = stopwatch_start();
    error = relay_all(what, service, &over);
    int rest = error == 0 ? finish(what, &over, &watch, ret_figures) : error;
    return rest;
}

/* ---- the shape ------------------------------------------------------------------------------- */

const shape shape_relaying[] = {
    {
        .name = "relaying",
        .summary = "bulk from one connection into another, TCP",
        .figure_names = {"MiB/s", "CPU us a MiB"},
        .more_is_better = {true, false},
        .operations = 1024,
        .ways = {{"splice() loop", with_loop}, {"ferry", with_ferry}},
    },
    {0},
};
