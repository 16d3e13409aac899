/* SPDX-License-Identifier: MIT */
/* Many writers: threads that write 64 bytes at a time into one stream, and forget them. */
#include "shape_kinds.h"

#include "small.h"

static int through_queue(const shape_run *what, double ret_figures[FIGURES])
{
    return small_run_queue(what->peer, what->of->count, what->operations, ret_figures);
}

static int through_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    return small_run_ferry(what->peer, what->of->count, what->operations, ret_figures);
}

#define WRITERS(title, text, threads, over)                                                        \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"M writes/s", "CPU us each"},             \
        .more_is_better = {true, false}, .operations = 1000 * 1000, .count = threads,              \
        .route = over,                                                                             \
        .ways = {{"own queue and writev()", through_queue}, {"ferry", through_ferry}},             \
    }

const shape shape_writers[] = {
    WRITERS("writer-1", "64-byte writes, 1 thread, TCP", 1, ROUTE_TCP),
    WRITERS("writers-4", "64-byte writes, 4 threads, TCP", 4, ROUTE_TCP),
    WRITERS("writers-16", "64-byte writes, 16 threads, TCP", 16, ROUTE_TCP),
    WRITERS("writers-4-unix", "64-byte writes, 4 threads, a unix socket", 4, ROUTE_UNIX),
    {0},
};
