/* SPDX-License-Identifier: MIT */
/* Promises of the program's own, on one thread, beside a mutex and a condition variable. */
#include "shape_kinds.h"

#include "promise.h"

static int with_flags(const shape_run *what, double ret_figures[FIGURES])
{
    return promise_run_flags(what->operations, ret_figures);
}

static int with_callbacks(const shape_run *what, double ret_figures[FIGURES])
{
    return promise_run_ferry(what->operations, ret_figures);
}

static int with_await(const shape_run *what, double ret_figures[FIGURES])
{
    return promise_run_awaited(what->operations, ret_figures);
}

#define PROMISES(title, text, how)                                                                 \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"ns each", "CPU ns each"},                \
        .operations = 1000 * 1000,                                                                 \
        .ways = {{"mutex and condition variable", with_flags}, {"ferry", how}},                    \
    }

const shape shape_promises[] = {
    PROMISES("promise-await", "a promise of the program's: made, settled, awaited", with_await),
    PROMISES("promise-then", "a promise of the program's: made, settled, its callback run",
             with_callbacks),
    {0},
};
