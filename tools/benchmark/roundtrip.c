/* SPDX-License-Identifier: MIT */
/*
 * roundtrip: one thread submits 64 bytes and awaits the promise, again and again: ferry against the
 * least that handing a write to another thread and hearing of it costs, namely two eventfd hops
 * and the send(2) between them.
 *
 * Twice: with the thread that submits and the one that sends on one core, where the software
 * counts; and on two, where waking a core that sleeps comes on top for both.
 */
#include "comparisons.h"

#include "cores.h"
#include "hops.h"
#include "measure.h"
#include "peer_stream.h"
#include "roundtrip.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    WRITE_BYTES = ROUNDTRIP_BYTES,
    TRIPS = 20 * 1000, /* a fraction of a second */
    QUICK_TRIPS = TRIPS / 8,
};

static const char payload[WRITE_BYTES] = "there and back again";

typedef struct roundtrip {
    const peer *peer;
    size_t trips;
    cores cores;
    unsigned sender_core; /* its number; the submitting thread is on 0 */
    peer_stream dedicated;
    peer_stream shared;

    int socket; /* of one run of the floor's */
} roundtrip;

static void give_figures(const roundtrip *r, lap taken, double ret_figures[FIGURES])
{
    ret_figures[0] = taken.wall_s * 1e6 / (double)r->trips;
    ret_figures[1] = taken.cpu_s * 1e6 / (double)r->trips;
}

static uint64_t all_bytes(const roundtrip *r)
{
    return (uint64_t)r->trips * WRITE_BYTES;
}

/* ---- the floor ------------------------------------------------------------------------------- */

static int send_one(void *context)
{
    const roundtrip *r = context;
    ssize_t count = send(r->socket, payload, WRITE_BYTES, MSG_NOSIGNAL);
    if (count == WRITE_BYTES)
        return 0;
    return count < 0 ? -errno : -EBADMSG;
}

static int run_floor(void *context, double ret_figures[FIGURES])
{
    roundtrip *r = context;
    r->socket = peer_connect(r->peer);
    if (r->socket < 0)
        return r->socket;
    const hops what = {&r->cores, r->sender_core, r->trips, send_one, r};
    lap taken = {0};
    int error = hops_make(&what, &taken);
    give_figures(r, taken, ret_figures);
    (void)close(r->socket);
    int check = peer_check(r->peer, all_bytes(r));
    return error != 0 ? error : check;
}

/* ---- ferry ----------------------------------------------------------------------------------- */

int roundtrip_await(ferry_stream *stream, size_t trips)
{
    for (size_t i = 0; i < trips; i++) {
        ferry_promise *written;
        int error = ferry_stream_write(stream, payload, WRITE_BYTES, NULL, &written);
        if (error == 0)
            error = peer_stream_settle(written, WRITE_BYTES);
        if (error != 0)
            return error;
    }
    return 0;
}

static int run_ferry(const roundtrip *r, peer_stream *over, double ret_figures[FIGURES])
{
    int error = peer_stream_open(over);
    if (error != 0)
        return error;
    stopwatch watch = stopwatch_start();
    error = roundtrip_await(over->stream, r->trips);
    give_figures(r, stopwatch_read(&watch), ret_figures);
    int check = peer_stream_close(over, all_bytes(r));
    return error != 0 ? error : check;
}

static int run_dedicated(void *context, double ret_figures[FIGURES])
{
    roundtrip *r = context;
    return run_ferry(r, &r->dedicated, ret_figures);
}

static int run_shared(void *context, double ret_figures[FIGURES])
{
    roundtrip *r = context;
    return run_ferry(r, &r->shared, ret_figures);
}

/* ---- the contests ---------------------------------------------------------------------------- */

static int compare_here(roundtrip *r, const bench *settings)
{
    const entrant entrants[] = {
        {"two eventfd hops and send()", r, run_floor},
        {"ferry, dedicated", r, run_dedicated},
        {"ferry, shared", r, run_shared},
    };
    const contest what = {
        .title = r->sender_core == 0 ? "roundtrip: 64 bytes, submitted and awaited, on one core"
                                     : "roundtrip: 64 bytes, submitted and awaited, on two cores",
        .figure_names = {"us each", "CPU us each"},
        .goal = "us 2 or less, 1.3 wished",
        .entrants = entrants,
        .entrant_count = sizeof entrants / sizeof entrants[0],
    };
    return contest_run(&what, settings);
}

/* Ferry's threads stay on the core that their service was made on. */
static int init_lanes(roundtrip *r)
{
    int error = cores_pin(&r->cores, 0, r->sender_core);
    if (error == 0)
        error = peer_stream_init(&r->dedicated, r->peer, FERRY_PLACEMENT_DEDICATED);
    if (error == 0)
        error = peer_stream_init(&r->shared, r->peer, FERRY_PLACEMENT_SHARED);
    return error;
}

/* The submitting thread is on core 0, the sender on sender_core, the peer out of their way. */
static int compare_on(roundtrip *r, const bench *settings)
{
    int error = init_lanes(r);
    if (error == 0)
        error = cores_pin(&r->cores, 0, 0);
    if (error == 0)
        error = cores_pin(&r->cores, r->peer->pid, r->sender_core + 1);
    error = error == 0 ? compare_here(r, settings) : complain("roundtrip: its threads", error);
    peer_stream_deinit(&r->shared);
    peer_stream_deinit(&r->dedicated);
    (void)cores_unpin(&r->cores, 0);
    (void)cores_unpin(&r->cores, r->peer->pid);
    return error;
}

int roundtrip_compare(const bench *settings)
{
    roundtrip r = {
        .peer = settings->peer,
        .trips = settings->quick ? QUICK_TRIPS : TRIPS,
    };
    int error = cores_look(&r.cores);
    if (error != 0)
        return complain("roundtrip: the cores", error);
    for (r.sender_core = 0; r.sender_core < 2 && r.sender_core < r.cores.count && error == 0;
         r.sender_core++)
        error = compare_on(&r, settings);
    return error;
}
