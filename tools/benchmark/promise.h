/* SPDX-License-Identifier: MIT */
/* What the entrants of the promise comparison share. */
#ifndef BENCHMARK_PROMISE_H
#define BENCHMARK_PROMISE_H

#include "contest.h"
#include "measure.h"

/* What so many promises took, as figures. */
void promise_give_figures(size_t count, const stopwatch *watch, double ret_figures[FIGURES]);

/* The entrant that needs GLib: promise_glib.c; where that was not there, promise_no_glib.c. @param
 * context how many promises, a size_t. */
extern const bool promise_has_glib;
int promise_run_glib(void *context, double ret_figures[FIGURES]);

#endif
