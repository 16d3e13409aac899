/* SPDX-License-Identifier: MIT */
/*
 * Waiting: what it costs while peers take nothing. Streams with a time limit for stalled peers,
 * beside a thread that looks at all of them in a row; and writes in a queue, beside an own queue.
 */
#include "shape_kinds.h"

#include "load.h"
#include "own_queue.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    STALL_MS = 12000,
    LOOKS = 4,  /* at a peer, in that time */
    REST_S = 6, /* so long it is measured: some looks */
    FEW = 100   /* fds beside those of streams */
};

static const char payload[64];

/* Makes a pair whose one end has no room left. @return that end, or a negative errno. */
static int make_full(void)
{
    int ends[2];
    int error = sockets_pair(ROUTE_UNIX, ends);
    if (error != 0)
        return error;
    while (send(ends[0], payload, sizeof payload, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    return ends[0]; /* the other one stays open, and nobody reads from it */
}

/* ---- stalled streams ------------------------------------------------------------------------- */

static double count_switches(void)
{
    struct rusage used;
    (void)getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_nvcsw;
}

/* Rests, and gives what the process used meanwhile. */
static void give_rest(double ret_figures[FIGURES])
{
    const struct timespec rest = {.tv_sec = REST_S};
    (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* what begins with it is over */
    double before = count_switches();
    stopwatch watch = stopwatch_start();
    (void)nanosleep(&rest, NULL);
    ret_figures[0] = stopwatch_read(&watch).cpu_s * 1e6 / (double)REST_S;
    ret_figures[1] = (count_switches() - before) / (double)REST_S;
}

typedef struct full_sockets {
    size_t count;
    int fds[];
} full_sockets;

static full_sockets *make_all(size_t count)
{
    full_sockets *all = malloc(sizeof *all + count * sizeof all->fds[0]);
    if (all == NULL || load_allow_files(2 * (unsigned)count + FEW) != 0)
        return NULL;
    all->count = count;
    for (size_t i = 0; i < count; i++)
        if ((all->fds[i] = make_full()) < 0)
            return NULL;
    return all;
}

static void *look_at_all(void *context)
{
    const full_sockets *all = context;
    const struct timespec pause = {.tv_sec = STALL_MS / LOOKS / 1000};
    for (;;) {
        for (size_t i = 0; i < all->count; i++) {
            int unread;
            (void)ioctl(all->fds[i], TIOCOUTQ, &unread);
        }
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

static int with_looks(const shape_run *what, double ret_figures[FIGURES])
{
    full_sockets *all = make_all(what->of->count);
    pthread_t thread;
    if (all == NULL || pthread_create(&thread, NULL, look_at_all, all) != 0)
        return -EAGAIN;
    give_rest(ret_figures);
    return 0;
}

static int adopt_all(const full_sockets *all)
{
    ferry_service *service;
    const ferry_service_options shared = {.placement = FERRY_PLACEMENT_SHARED};
    const ferry_stream_options options = {.stall_timeout_ms = STALL_MS};
    int error = ferry_service_create(&shared, &service);
    for (size_t i = 0; i < all->count && error == 0; i++) {
        ferry_stream *stream;
        error = ferry_stream_adopt(service, all->fds[i], &options, &stream);
        if (error == 0)
            error = ferry_stream_write(stream, payload, sizeof payload, NULL, NULL);
    }
    return error;
}

static int with_streams(const shape_run *what, double ret_figures[FIGURES])
{
    full_sockets *all = make_all(what->of->count);
    int error = all != NULL ? adopt_all(all) : -EAGAIN;
    if (error == 0)
        give_rest(ret_figures);
    return error;
}

/* ---- queued writes --------------------------------------------------------------------------- */

#ifdef __GLIBC__
static double count_memory(void)
{
    struct mallinfo2 now = mallinfo2();
    return (double)(now.uordblks + now.hblkhd);
}
#else
static double count_memory(void)
{
    return NAN; /* musl does not tell */
}
#endif

static void give_memory(const shape_run *what, double before, const stopwatch *watch,
                        double ret_figures[FIGURES])
{
    ret_figures[0] = (count_memory() - before) / (double)what->operations;
    ret_figures[1] = stopwatch_read(watch).cpu_s * 1e6 / (double)what->operations;
}

static int queue_in_own(const shape_run *what, double ret_figures[FIGURES])
{
    int fd = make_full();
    own_queue *queue = fd >= 0 ? own_queue_create(fd) : NULL;
    int error = queue != NULL ? 0 : -EAGAIN;
    double before = count_memory();
    stopwatch watch = stopwatch_start();
    for (size_t i = 0; i < what->operations && error == 0; i++)
        error = own_queue_write(queue, payload, sizeof payload);
    give_memory(what, before, &watch, ret_figures);
    return error;
}

static int queue_in_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    ferry_service *service;
    ferry_stream *stream;
    const ferry_stream_options options = {.limit_requests = (unsigned)what->operations + 1};
    int fd = make_full();
    int error = fd < 0 ? fd : ferry_service_create(NULL, &service);
    if (error == 0)
        error = ferry_stream_adopt(service, fd, &options, &stream);
    double before = count_memory();
    stopwatch watch = stopwatch_start();
    for (size_t i = 0; i < what->operations && error == 0; i++)
        error = ferry_stream_write(stream, payload, sizeof payload, NULL, NULL);
    give_memory(what, before, &watch, ret_figures);
    return error;
}

/* ---- the shapes ------------------------------------------------------------------------------ */

#define STALLED(title, text, streams)                                                              \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"CPU us a second", "switches a second"},  \
        .operations = streams, .count = streams,                                                   \
        .ways = {{"a look at each", with_looks}, {"ferry", with_streams}},                         \
    }

const shape shape_waiting[] = {
    STALLED("stalled-1000", "1,000 stalled unix streams, 12 s each until they are given up", 1000),
    STALLED("stalled-5000", "5,000 stalled unix streams, 12 s each until they are given up", 5000),
    {
        .name = "queued",
        .summary = "64-byte writes that wait in a queue, forgotten",
        .figure_names = {"bytes each", "CPU us each"},
        .operations = 4000,
        .count = 1,
        .ways = {{"own queue", queue_in_own}, {"ferry", queue_in_ferry}},
    },
    {0},
};
