/* SPDX-License-Identifier: MIT */
/*
 * bulk: one large file, in the page cache, over loopback TCP and over a unix socket, to a peer that
 * takes all it can, and to a slow one: ferry_stream_sendfile against the loop that a program with
 * nothing else to do would write.
 *
 * Both are timed from before the first call until the peer has read the end of the connection. The
 * process that sends stays on one core and the peer on another, for both alike.
 */
#include "comparisons.h"

#include "cores.h"
#include "peer_stream.h"
#include "measure.h"
#include "page_cached.h"

#include <errno.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <unistd.h>

static const size_t FILE_BYTES = (size_t)1 << 30;
static const size_t QUICK_BYTES = (size_t)1 << 27;

typedef struct bulk {
    const peer *peer;
    int file;
    size_t length;
    peer_stream dedicated;
    peer_stream shared;
} bulk;

/* ---- the entrants ---------------------------------------------------------------------------- */

static void give_figures(const bulk *b, const stopwatch *watch, double ret_figures[FIGURES])
{
    lap taken = stopwatch_read(watch);
    double gigabytes = (double)b->length / 1e9;
    ret_figures[0] = gigabytes / taken.wall_s;
    ret_figures[1] = taken.cpu_s / gigabytes;
}

static int send_all(int sink, int file, size_t length)
{
    off_t offset = 0;
    while ((size_t)offset < length) {
        ssize_t count = sendfile(sink, file, &offset, length - (size_t)offset);
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count == 0)
            return -ENODATA;
    }
    return 0;
}

static int run_bare(void *context, double ret_figures[FIGURES])
{
    bulk *b = context;
    stopwatch watch = stopwatch_start();
    int fd = peer_connect(b->peer);
    if (fd < 0)
        return fd;
    int error = send_all(fd, b->file, b->length);
    (void)close(fd);
    int check = peer_check(b->peer, b->length);
    give_figures(b, &watch, ret_figures);
    return error != 0 ? error : check;
}

static int send_file(bulk *b, ferry_stream *stream)
{
    ferry_file file = ferry_file_fd(b->file);
    file.offset = 0;
    file.length = (int64_t)b->length;
    ferry_promise *sent;
    int error = ferry_stream_sendfile(stream, &file, NULL, &sent);
    return error != 0 ? error : peer_stream_settle(sent, b->length);
}

static int run_ferry(bulk *b, peer_stream *over, double ret_figures[FIGURES])
{
    stopwatch watch = stopwatch_start();
    int error = peer_stream_open(over);
    if (error != 0)
        return error;
    error = send_file(b, over->stream);
    int check = peer_stream_close(over, b->length);
    give_figures(b, &watch, ret_figures);
    return error != 0 ? error : check;
}

static int run_dedicated(void *context, double ret_figures[FIGURES])
{
    bulk *b = context;
    return run_ferry(b, &b->dedicated, ret_figures);
}

static int run_shared(void *context, double ret_figures[FIGURES])
{
    bulk *b = context;
    return run_ferry(b, &b->shared, ret_figures);
}

/* One way to one kind of peer. */
typedef struct trip {
    socket_route route;
    peer_mood mood;
    const char *name;
    size_t share; /* of the file, which to a slow peer would take long */
} trip;

static int compare(bulk *b, const bench *settings, const trip *over)
{
    bulk one = *b;
    one.length = b->length / over->share;
    b = &one;
    settings->peer->route = over->route;
    peer_set_mood(b->peer, over->mood);
    const entrant entrants[] = {
        {"bare sendfile loop", b, run_bare},
        {"ferry, dedicated", b, run_dedicated},
        {"ferry, shared", b, run_shared},
    };
    char title[80];
    (void)snprintf(title, sizeof title, "bulk: a file of %zu MiB over %s", b->length >> 20,
                   over->name);
    const contest what = {
        .title = title,
        .figure_names = {"GB/s", "CPU s/GB"},
        .goal = "GB/s 0.98 or more, CPU 1.02 or less",
        .entrants = entrants,
        .entrant_count = sizeof entrants / sizeof entrants[0],
    };
    return contest_run(&what, settings);
}

static int compare_all(bulk *b, const bench *settings)
{
    static const trip trips[] = {
        {ROUTE_TCP, PEER_LAZY, "loopback TCP", 1},
        {ROUTE_UNIX, PEER_LAZY, "a unix socket", 1},
        {ROUTE_TCP, PEER_SLOW, "loopback TCP, to a slow peer", 16},
        {ROUTE_UNIX, PEER_SLOW, "a unix socket, to a slow peer", 16},
    };
    int error = 0;
    for (size_t i = 0; i < sizeof trips / sizeof trips[0] && error == 0; i++)
        error = compare(b, settings, &trips[i]);
    settings->peer->route = ROUTE_TCP;
    peer_set_mood(b->peer, PEER_LAZY);
    return error;
}

/* Ferry's threads stay on the core that their service was made on. */
static int init(bulk *b, const cores *all)
{
    int error = cores_pin(all, 0, 0);
    if (error == 0)
        error = cores_pin(all, b->peer->pid, 1);
    if (error == 0)
        error = peer_stream_init(&b->dedicated, b->peer, FERRY_PLACEMENT_DEDICATED);
    if (error == 0)
        error = peer_stream_init(&b->shared, b->peer, FERRY_PLACEMENT_SHARED);
    return error;
}

static void deinit(bulk *b, const cores *all)
{
    peer_stream_deinit(&b->shared);
    peer_stream_deinit(&b->dedicated);
    (void)cores_unpin(all, b->peer->pid);
    (void)cores_unpin(all, 0);
}

int bulk_compare(const bench *settings)
{
    bulk b = {
        .peer = settings->peer,
        .length = settings->quick ? QUICK_BYTES : FILE_BYTES,
    };
    cores all;
    int error = cores_look(&all);
    if (error != 0)
        return complain("bulk: the cores", error);
    b.file = page_cached_file(b.length);
    if (b.file < 0)
        return complain("bulk: the file", b.file);
    error = init(&b, &all);
    error = error == 0 ? compare_all(&b, settings) : complain("bulk: a service", error);
    deinit(&b, &all);
    (void)close(b.file);
    return error;
}
