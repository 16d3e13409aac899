/* SPDX-License-Identifier: MIT */
/*
 * Small writes over TLS. Of several threads into one stream, forgotten, beside SSL_write(3) under a
 * mutex. And one at a time, submitted and awaited, beside the least that handing SSL_write(3) to
 * another thread costs.
 */
#include "shape_tls_kinds.h"

#include "cores.h"
#include "crew.h"
#include "hops.h"
#include "roundtrip.h"
#include "small.h"
#include "tls_lane.h"

#include <errno.h>
#include <pthread.h>

/* @param error of sending */
static int finish(tls_lane *over, int error)
{
    int check = tls_lane_join(over);
    return tls_lane_close(over, error != 0 ? error : check);
}

static const char payload[SMALL_WRITE_BYTES] = "as small as a request for one page";

/* @param ssl of a socket that waits */
static int write_one(SSL *ssl)
{
    return SSL_write(ssl, payload, sizeof payload) == (int)sizeof payload ? 0 : -EPROTO;
}

/* Opens one for OpenSSL. */
static int open_bare(size_t bytes, tls_lane *ret_lane, SSL **ret_ssl)
{
    int error = tls_lane_open(bytes, ret_lane);
    if (error != 0)
        return error;
    *ret_ssl = tls_lane_accept(ret_lane);
    return *ret_ssl != NULL ? 0 : tls_lane_close(ret_lane, -EPROTO);
}

/* Has a service of ferry's take it, which stays. */
static int adopt(const tls_lane *over, ferry_placement placement, ferry_stream **ret_stream)
{
    ferry_service *service;
    int error = ferry_service_create(&(ferry_service_options){.placement = placement}, &service);
    return error == 0 ? tls_lane_adopt(over, service, ret_stream) : error;
}

/* ---- several threads ------------------------------------------------------------------------- */

typedef struct writers {
    pthread_mutex_t mutex; /* around ssl */
    SSL *ssl;
    size_t writes; /* of each thread */
} writers;

static int write_all(void *context)
{
    writers *w = context;
    int error = 0;
    for (size_t i = 0; i < w->writes && error == 0; i++) {
        (void)pthread_mutex_lock(&w->mutex);
        error = write_one(w->ssl);
        (void)pthread_mutex_unlock(&w->mutex);
    }
    return error;
}

static void give_millions(const shape_run *what, const stopwatch *watch,
                          double ret_figures[FIGURES])
{
    shape_give(what, stopwatch_read(watch), ret_figures);
    ret_figures[0] /= 1e6;
}

static int under_mutex(const shape_run *what, double ret_figures[FIGURES])
{
    writers w = {.mutex = PTHREAD_MUTEX_INITIALIZER, .writes = what->operations / what->of->count};
    tls_lane over;
    int error = open_bare(what->operations * sizeof payload, &over, &w.ssl);
    if (error != 0)
        return error;
    stopwatch watch;
    error = crew_run(what->of->count, write_all, &w, &watch);
    tls_lane_end(&over, w.ssl);
    error = finish(&over, error);
    give_millions(what, &watch, ret_figures);
    return error;
}

static int through_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    tls_lane over;
    int error = tls_lane_open(what->operations * sizeof payload, &over);
    if (error != 0)
        return error;
    ferry_stream *stream;
    error = adopt(&over, FERRY_PLACEMENT_DEDICATED, &stream);
    if (error != 0)
        return tls_lane_close(&over, error);
    stopwatch watch;
    error = small_forget(stream, what->of->count, what->operations, &watch);
    (void)ferry_stream_unref(stream); /* the last one: closed */
    error = finish(&over, error);
    give_millions(what, &watch, ret_figures);
    return error;
}

/* ---- there and back -------------------------------------------------------------------------- */

/* Where the threads are. */
typedef struct journey {
    unsigned sender_core; /* its number; the submitting thread is on 0 */
    ferry_placement placement;
} journey;

static void give_times(const shape_run *what, lap taken, double ret_figures[FIGURES])
{
    ret_figures[0] = taken.wall_s * 1e6 / (double)what->operations;
    ret_figures[1] = taken.cpu_s * 1e6 / (double)what->operations;
}

static int write_for_other(void *ssl)
{
    return write_one(ssl);
}

/* Opens a lane whose client is out of the sender's way: who is started stays on that core. */
static int open_journey(const shape_run *what, cores *ret_all, tls_lane *ret_lane)
{
    const journey *on = what->of->detail;
    int error = cores_look(ret_all);
    if (error == 0)
        error = cores_pin(ret_all, 0, on->sender_core + 1);
    return error == 0 ? tls_lane_open(what->operations * sizeof payload, ret_lane) : error;
}

static int hop(const shape_run *what, const cores *all, SSL *ssl, double ret_figures[FIGURES])
{
    const journey *on = what->of->detail;
    const hops going = {all, on->sender_core, what->operations, write_for_other, ssl};
    lap taken = {0};
    int error = cores_pin(all, 0, 0);
    if (error == 0)
        error = hops_make(&going, &taken);
    give_times(what, taken, ret_figures);
    return error;
}

static int with_hops(const shape_run *what, double ret_figures[FIGURES])
{
    cores all;
    tls_lane over;
    int error = open_journey(what, &all, &over);
    if (error != 0)
        return error;
    SSL *ssl = tls_lane_accept(&over);
    if (ssl == NULL)
        return tls_lane_close(&over, -EPROTO);
    error = hop(what, &all, ssl, ret_figures);
    tls_lane_end(&over, ssl);
    return finish(&over, error);
}

static int await_all(const shape_run *what, const tls_lane *over, const cores *all,
                     double ret_figures[FIGURES])
{
    const journey *on = what->of->detail;
    ferry_stream *stream;
    int error = cores_pin(all, 0, on->sender_core);
    if (error == 0)
        error = adopt(over, on->placement, &stream);
    if (error != 0)
        return error;
    error = cores_pin(all, 0, 0);
    stopwatch watch = stopwatch_start();
    if (error == 0)
        error = roundtrip_await(stream, what->operations);
    give_times(what, stopwatch_read(&watch), ret_figures);
    (void)ferry_stream_unref(stream); /* the last one: closed */
    return error;
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    cores all;
    tls_lane over;
    int error = open_journey(what, &all, &over);
    if (error != 0)
        return error;
    error = await_all(what, &over, &all, ret_figures);
    return error == 0 ? finish(&over, 0) : tls_lane_close(&over, error);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

static const journey one_core = {0, FERRY_PLACEMENT_DEDICATED};
static const journey one_core_shared = {0, FERRY_PLACEMENT_SHARED};
static const journey two_cores = {1, FERRY_PLACEMENT_DEDICATED};

#define WRITERS(title, text, threads)                                                              \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"M writes/s", "CPU us each"},             \
        .more_is_better = {true, false}, .operations = 1000 * 1000, .count = threads,              \
        .ways = {{"SSL_write() under a mutex", under_mutex}, {"ferry", through_ferry}},            \
    }
#define ROUNDTRIP(title, text, on)                                                                 \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"us each", "CPU us each"},                \
        .operations = 20 * 1000, .detail = on,                                                     \
        .ways = {{"two hops and SSL_write()", with_hops}, {"ferry", with_ferry}},                  \
    }

const shape shape_tls_small[] = {
    WRITERS("writer-1", "64-byte writes, 1 thread", 1),
    WRITERS("writers-4", "64-byte writes, 4 threads", 4),
    ROUNDTRIP("roundtrip", "64 bytes, submitted and awaited, on one core", &one_core),
    ROUNDTRIP("roundtrip-shared", "the same, a shared owner", &one_core_shared),
    ROUNDTRIP("roundtrip-2", "64 bytes, submitted and awaited, on two cores", &two_cores),
    {0},
};
