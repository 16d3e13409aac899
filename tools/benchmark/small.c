/* SPDX-License-Identifier: MIT */
/*
 * small: 64-byte writes from several threads into one TCP stream: ferry against the same threads
 * calling send(2) under one mutex, and against a queue of their own.
 *
 * ferry's threads keep a bounded window of writes whose outcome they do not know yet. "forget" asks
 * for a promise only where a window ends, and looks at that one a window later; "promises" asks for
 * one with every write and looks at each of them, a window later. Both begin with the threads'
 * start and end when the peer has counted every byte. The sockets are as they come, with Nagle's
 * algorithm, which favours send(2).
 */
#include "comparisons.h"

#include "crew.h"
#include "own_queue.h"
#include "peer_stream.h"
#include "small.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    WRITE_BYTES = SMALL_WRITE_BYTES,
    WRITES = 1000 * 1000, /* of all threads together: seconds under a mutex */
    QUICK_WRITES = WRITES / 8,
    MOST_THREADS = 4,
    WINDOW = 1024, /* two of them from four threads stay well below a stream's limit of 65,536 */
};

static const char payload[WRITE_BYTES] = "as small as a request for one page";

typedef struct small {
    const peer *peer;
    peer_mood mood;
    unsigned threads;
    size_t writes; /* of each thread */
    peer_stream to_peer;

    /* Of one run. */
    pthread_mutex_t mutex; /* around send(2) on fd */
    own_queue *queue;      /* to fd */
    int fd;
} small;

static uint64_t all_bytes(const small *s)
{
    return (uint64_t)s->writes * s->threads * WRITE_BYTES;
}

static void give_figures(const small *s, const stopwatch *watch, double ret_figures[FIGURES])
{
    lap taken = stopwatch_read(watch);
    double millions = (double)s->writes * s->threads / 1e6;
    ret_figures[0] = millions / taken.wall_s;
    ret_figures[1] = taken.cpu_s / millions;
}

/* ---- send(2) under a mutex ------------------------------------------------------------------- */

static int send_one(small *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    ssize_t count = send(s->fd, payload, WRITE_BYTES, MSG_NOSIGNAL);
    int error = count == WRITE_BYTES ? 0 : count < 0 ? -errno : -EBADMSG;
    (void)pthread_mutex_unlock(&s->mutex);
    return error;
}

static int work_mutex(void *context)
{
    small *s = context;
    int error = 0;
    for (size_t i = 0; i < s->writes && error == 0; i++)
        error = send_one(s);
    return error;
}

static int run_mutex(void *context, double ret_figures[FIGURES])
{
    small *s = context;
    s->fd = peer_connect(s->peer);
    if (s->fd < 0)
        return s->fd;
    stopwatch watch;
    int error = crew_run(s->threads, work_mutex, s, &watch);
    (void)close(s->fd);
    int check = peer_check(s->peer, all_bytes(s));
    give_figures(s, &watch, ret_figures);
    return error != 0 ? error : check;
}

/* ---- a queue of their own -------------------------------------------------------------------- */

static int work_queue(void *context)
{
    small *s = context;
    int error = 0;
    for (size_t i = 0; i < s->writes && error == 0; i++)
        error = own_queue_write(s->queue, payload, WRITE_BYTES);
    return error;
}

static int run_queue(void *context, double ret_figures[FIGURES])
{
    small *s = context;
    s->fd = peer_connect(s->peer);
    if (s->fd < 0)
        return s->fd;
    s->queue = own_queue_create(s->fd);
    if (s->queue == NULL)
        return -ENOMEM;
    stopwatch watch;
    int error = crew_run(s->threads, work_queue, s, &watch);
    int sent = own_queue_destroy(s->queue);
    (void)close(s->fd);
    int check = peer_check(s->peer, all_bytes(s));
    give_figures(s, &watch, ret_figures);
    return error != 0 ? error : sent != 0 ? sent : check;
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static int write_one(small *s, ferry_promise **ret_promise)
{
    return ferry_stream_write(s->to_peer.stream, payload, WRITE_BYTES, NULL, ret_promise);
}

static int settle(ferry_promise *promise)
{
    return promise != NULL ? peer_stream_settle(promise, WRITE_BYTES) : 0;
}

/* The last write of each window has a promise; it is looked at when the next window is full. */
static int work_forget(void *context)
{
    small *s = context;
    ferry_promise *previous = NULL;
    int error = 0;
    for (size_t i = 1; i <= s->writes && error == 0; i++) {
        if (i % WINDOW != 0 && i != s->writes) {
            error = write_one(s, NULL);
            continue;
        }
        ferry_promise *last = NULL;
        error = write_one(s, &last);
        int outcome = settle(previous);
        previous = last;
        error = error != 0 ? error : outcome;
    }
    int outcome = settle(previous);
    return error != 0 ? error : outcome;
}

/* Every write has a promise; it is looked at when its place in the window is needed again. */
static int work_promises(void *context)
{
    small *s = context;
    ferry_promise *window[WINDOW] = {NULL};
    int error = 0;
    for (size_t i = 0; i < s->writes && error == 0; i++) {
        ferry_promise **place = &window[i % WINDOW];
        error = settle(*place);
        *place = NULL;
        if (error == 0)
            error = write_one(s, place);
    }
    for (size_t i = 0; i < WINDOW; i++) {
        int outcome = settle(window[i]);
        error = error != 0 ? error : outcome;
    }
    return error;
}

static int run_ferry(small *s, int (*work)(void *), double ret_figures[FIGURES])
{
    int error = peer_stream_open(&s->to_peer);
    if (error != 0)
        return error;
    stopwatch watch;
    error = crew_run(s->threads, work, s, &watch);
    int check = peer_stream_close(&s->to_peer, all_bytes(s));
    give_figures(s, &watch, ret_figures);
    return error != 0 ? error : check;
}

static int run_forget(void *context, double ret_figures[FIGURES])
{
    return run_ferry(context, work_forget, ret_figures);
}

static int run_promises(void *context, double ret_figures[FIGURES])
{
    return run_ferry(context, work_promises, ret_figures);
}

/* ---- the contests ---------------------------------------------------------------------------- */

static int compare_with(small *s, const bench *settings)
{
    const entrant entrants[] = {
        {"send() under a mutex", s, run_mutex},
        {"own queue and writev()", s, run_queue},
        {"ferry, forget", s, run_forget},
        {"ferry, promises", s, run_promises},
    };
    char title[80];
    (void)snprintf(title, sizeof title, "small: %d-byte writes from %u thread%s, %s peer",
                   WRITE_BYTES, s->threads, s->threads == 1 ? "" : "s",
                   s->mood == PEER_LAZY ? "lazy" : "eager");
    const contest what = {
        .title = title,
        .figure_names = {"M writes/s", "CPU us each"},
        .goal = s->threads == MOST_THREADS ? "writes/s 5 or more, 10 wished" : NULL,
        .entrants = entrants,
        .entrant_count = sizeof entrants / sizeof entrants[0],
    };
    return contest_run(&what, settings);
}

static int compare_threads(small *s, const bench *settings)
{
    int error = 0;
    for (s->threads = 1; s->threads <= MOST_THREADS && error == 0; s->threads *= 2) {
        s->writes = (settings->quick ? QUICK_WRITES : WRITES) / s->threads;
        error = compare_with(s, settings);
    }
    return error;
}

/* Both ends of what a receiver may do to the cost of a small send(2): see peer.h. */
static int compare_moods(small *s, const bench *settings)
{
    static const peer_mood moods[] = {PEER_EAGER, PEER_LAZY};
    int error = 0;
    for (size_t i = 0; i < sizeof moods / sizeof moods[0] && error == 0; i++) {
        s->mood = moods[i];
        peer_set_mood(s->peer, s->mood);
        error = compare_threads(s, settings);
    }
    peer_set_mood(s->peer, PEER_LAZY);
    return error;
}

int small_compare(const bench *settings)
{
    small s = {.peer = settings->peer, .mutex = PTHREAD_MUTEX_INITIALIZER};
    int error = peer_stream_init(&s.to_peer, s.peer, FERRY_PLACEMENT_DEDICATED);
    if (error != 0)
        return complain("small: a service", error);
    error = compare_moods(&s, settings);
    peer_stream_deinit(&s.to_peer);
    return error;
}

/* ---- for shapes ------------------------------------------------------------------------------ */

static small make(const peer *to, unsigned threads, size_t writes)
{
    return (small){.peer = to,
                   .threads = threads,
                   .writes = writes / threads,
                   .mutex = PTHREAD_MUTEX_INITIALIZER};
}

int small_run_queue(const peer *to, unsigned threads, size_t writes, double ret_figures[FIGURES])
{
    small s = make(to, threads, writes);
    return run_queue(&s, ret_figures);
}

int small_run_ferry(const peer *to, unsigned threads, size_t writes, double ret_figures[FIGURES])
{
    small s = make(to, threads, writes);
    int error = peer_stream_init(&s.to_peer, to, FERRY_PLACEMENT_DEDICATED);
    error = error == 0 ? run_forget(&s, ret_figures) : error;
    peer_stream_deinit(&s.to_peer);
    return error;
}

int small_forget(ferry_stream *stream, unsigned threads, size_t writes, stopwatch *ret_watch)
{
    small s = make(NULL, threads, writes);
    s.to_peer.stream = stream;
    return crew_run(threads, work_forget, &s, ret_watch);
}
