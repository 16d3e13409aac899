/* SPDX-License-Identifier: MIT */
/*
 * Adopting: sockets that come from elsewhere are handed over, get 64 bytes each, and are closed;
 * many at once. Beside an epoll set that each is put into, and beside a thread for each.
 */
#include "shape_kinds.h"

#include "peer_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 250 }; /* at once; with both ends of each it fits into 1,024 descriptors */

static const char payload[64] = "one line, and goodbye";

/* Makes the pairs beforehand, and times only what is done with them. */
static int run(const shape_run *what, int (*work)(void *context, int ends[BATCH][2]), void *context,
               double ret_figures[FIGURES])
{
    int error = 0;
    lap taken = {0};
    for (size_t done = 0; done < what->operations && error == 0; done += BATCH) {
        int ends[BATCH][2];
        for (size_t i = 0; i < BATCH && error == 0; i++)
            error = sockets_pair(ROUTE_UNIX, ends[i]);
        if (error != 0)
            return error;
        stopwatch watch = stopwatch_start();
        error = work(context, ends);
        lap batch = stopwatch_read(&watch);
        taken.wall_s += batch.wall_s;
        taken.cpu_s += batch.cpu_s;
        for (size_t i = 0; i < BATCH; i++)
            (void)close(ends[i][1]);
    }
    shape_give(what, taken, ret_figures);
    return error;
}

static int send_and_close(int fd)
{
    bool is_sent = send(fd, payload, sizeof payload, MSG_NOSIGNAL) == sizeof payload;
    (void)shutdown(fd, SHUT_WR);
    return close(fd) == 0 && is_sent ? 0 : -EPIPE;
}

/* ---- an epoll set ---------------------------------------------------------------------------- */

static int watch_all(void *context, int ends[BATCH][2])
{
    int error = 0;
    for (size_t i = 0; i < BATCH && error == 0; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET};
        if (fcntl(ends[i][0], F_SETFL, O_NONBLOCK) < 0 ||
            epoll_ctl(*(int *)context, EPOLL_CTL_ADD, ends[i][0], &event) < 0)
            return -errno;
        error = send_and_close(ends[i][0]);
    }
    return error;
}

static int with_epoll(const shape_run *what, double ret_figures[FIGURES])
{
    int events = epoll_create1(EPOLL_CLOEXEC);
    return run(what, watch_all, &events, ret_figures);
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *be_thread(void *context)
{
    return (void *)(intptr_t)send_and_close(*(int *)context);
}

static int start_all(void *context, int ends[BATCH][2])
{
    (void)context;
    pthread_t threads[BATCH];
    for (size_t i = 0; i < BATCH; i++)
        if (pthread_create(&threads[i], NULL, be_thread, &ends[i][0]) != 0)
            return -EAGAIN;
    int error = 0;
    for (size_t i = 0; i < BATCH; i++) {
        void *outcome;
        (void)pthread_join(threads[i], &outcome);
        error = error != 0 ? error : (int)(intptr_t)outcome;
    }
    return error;
}

static int with_threads(const shape_run *what, double ret_figures[FIGURES])
{
    return run(what, start_all, NULL, ret_figures);
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static int adopt_one(ferry_service *service, int fd, ferry_promise **ret_closed)
{
    ferry_stream *stream;
    int error = ferry_stream_adopt(service, fd, NULL, &stream);
    if (error != 0)
        return error;
    error = ferry_stream_write(stream, payload, sizeof payload, NULL, NULL);
    if (error == 0)
        error = ferry_stream_close(stream, ret_closed);
    (void)ferry_stream_unref(stream);
    return error;
}

static int adopt_all(void *context, int ends[BATCH][2])
{
    ferry_promise *closed[BATCH];
    int error = 0;
    size_t count = 0;
    for (; count < BATCH && error == 0; count++)
        error = adopt_one(context, ends[count][0], &closed[count]);
    for (size_t i = 0; i < count && error == 0; i++)
        error = peer_stream_settle(closed[i], 0);
    return error;
}

static int adopt(const shape_run *what, ferry_placement placement, double ret_figures[FIGURES])
{
    ferry_service *service;
    int error = ferry_service_create(&(ferry_service_options){.placement = placement}, &service);
    return error != 0 ? error : run(what, adopt_all, service, ret_figures);
}

static int with_shared(const shape_run *what, double ret_figures[FIGURES])
{
    return adopt(what, FERRY_PLACEMENT_SHARED, ret_figures);
}

static int with_dedicated(const shape_run *what, double ret_figures[FIGURES])
{
    return adopt(what, FERRY_PLACEMENT_DEDICATED, ret_figures);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

const shape shape_adopting[] = {
    {
        .name = "adopting",
        .summary = "adopt, 64 bytes, close: unix sockets, shared owners",
        SHAPE_FIGURES("sockets/s"),
        .operations = 20 * 1000,
        .ways = {{"epoll", with_epoll}, {"ferry", with_shared}},
    },
    {
        .name = "adopting-dedicated",
        .summary = "adopt, 64 bytes, close: unix sockets, an owner each",
        SHAPE_FIGURES("sockets/s"),
        .operations = 10 * 1000,
        .ways = {{"a thread each", with_threads}, {"ferry", with_dedicated}},
    },
    {0},
};
