/* SPDX-License-Identifier: MIT */
/*
 * Many streams: one file to each of many connections at once, and then it is closed. Beside one
 * thread with an epoll set and sendfile(2).
 */
#include "shape_kinds.h"

#include "helper.h"
#include "load.h"
#include "page_cached.h"
#include "peer_stream.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <unistd.h>

enum {
    MOST_STREAMS = 9000,
    FEW = 100, /* fds beside those of streams */
    MIB = 1 << 20
};

typedef struct streams {
    size_t count;
    size_t bytes; /* of the file */
    int file;
    int fds[MOST_STREAMS];
    off_t sent[MOST_STREAMS];
    pid_t sink;
} streams;

/* An operation is a MiB of all that is sent. */
static int init(streams *s, const shape_run *what)
{
    *s = (streams){.count = what->of->count};
    s->bytes = what->operations * MIB / s->count;
    s->file = page_cached_file(s->bytes);
    if (s->file < 0)
        return s->file;
    int listener = helper_start_sink(what->of->route, s->count, s->bytes * s->count, &s->sink);
    int error = listener < 0 ? listener : 0;
    for (size_t i = 0; i < s->count && error == 0; i++) {
        s->fds[i] = sockets_connect(listener, 0);
        error = s->fds[i] < 0 ? s->fds[i] : 0;
    }
    return error;
}

static int finish(streams *s, const shape_run *what, const stopwatch *watch,
                  double ret_figures[FIGURES])
{
    int error = helper_join(s->sink);
    shape_give(what, stopwatch_read(watch), ret_figures);
    return error;
}

/* ---- a thread -------------------------------------------------------------------------------- */

static int watch_all(streams *s, int events)
{
    for (size_t i = 0; i < s->count; i++) {
        struct epoll_event event = {.events = EPOLLOUT | EPOLLET, .data.u64 = i};
        if (fcntl(s->fds[i], F_SETFL, O_NONBLOCK) < 0 ||
            epoll_ctl(events, EPOLL_CTL_ADD, s->fds[i], &event) < 0)
            return -errno;
    }
    return 0;
}

/* @return 1: all of it was sent; 0: there is no room; or a negative errno. */
static int send_on(streams *s, size_t i)
{
    while ((size_t)s->sent[i] < s->bytes)
        if (sendfile(s->fds[i], s->file, &s->sent[i], s->bytes - (size_t)s->sent[i]) < 0)
            return errno == EAGAIN ? 0 : -errno;
    (void)close(s->fds[i]);
    return 1;
}

static int send_all(streams *s)
{
    int events = epoll_create1(EPOLL_CLOEXEC);
    int error = watch_all(s, events);
    for (size_t left = s->count; left > 0 && error >= 0;) {
        struct epoll_event ready[64];
        int count = epoll_wait(events, ready, sizeof ready / sizeof ready[0], -1);
        for (int i = 0; i < count && error >= 0; i++) {
            error = send_on(s, ready[i].data.u64);
            left -= error == 1;
        }
    }
    return error < 0 ? error : 0;
}

static int with_thread(const shape_run *what, double ret_figures[FIGURES])
{
    static streams s;
    int error = init(&s, what);
    if (error != 0)
        return error;
    stopwatch watch = stopwatch_start();
    error = send_all(&s);
    int rest = finish(&s, what, &watch, ret_figures);
    return error != 0 ? error : rest;
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static int adopt_all(const streams *s, ferry_service *service, ferry_stream *ret_streams[])
{
    int error = 0;
    for (size_t i = 0; i < s->count && error == 0; i++)
        error = ferry_stream_adopt(service, s->fds[i], NULL, &ret_streams[i]);
    return error;
}

static int submit_all(const streams *s, ferry_stream *const to[])
{
    ferry_file file = ferry_file_fd(s->file);
    file.offset = 0;
    ferry_shared_file *shared;
    int error = ferry_shared_file_open(&file, &shared);
    file = ferry_file_shared(shared);
    for (size_t i = 0; i < s->count && error == 0; i++) {
        error = ferry_stream_sendfile(to[i], &file, NULL, NULL);
        if (error == 0)
            error = ferry_stream_close(to[i], NULL);
    }
    return error;
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    static streams s;
    static ferry_stream *to[MOST_STREAMS];
    int error = init(&s, what);
    ferry_service *service;
    if (error == 0)
        error = service_with_one_owner(&service);
    if (error == 0)
        error = adopt_all(&s, service, to);
    if (error != 0)
        return error;
    stopwatch watch = stopwatch_start();
    error = submit_all(&s, to);
    int rest = finish(&s, what, &watch, ret_figures);
    return error != 0 ? error : rest;
}

/* ---- the shapes ------------------------------------------------------------------------------ */

/* In each of two processes. */
static bool can_open_all(const char *name, const bench *settings)
{
    (void)name;
    (void)settings;
    return load_allow_files(MOST_STREAMS + FEW) == 0;
}

#define STREAMS(title, text, connections, mib)                                                     \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"MiB/s", "CPU us a MiB"},                 \
        .more_is_better = {true, false}, .operations = mib, .count = connections,                  \
        .route = ROUTE_UNIX, .has_way = can_open_all,                                              \
        .ways = {{"an epoll thread", with_thread}, {"ferry", with_ferry}},                         \
    }

const shape shape_streams[] = {
    STREAMS("streams-100", "100 streams of one owner, 20 MiB each, unix sockets", 100, 2000),
    STREAMS("streams-500", "500 streams of one owner, 4 MiB each, unix sockets", 500, 2000),
    STREAMS("streams-9000", "9,000 streams of one owner, 128 KiB each, unix sockets", 9000, 1125),
    {0},
};
