/* SPDX-License-Identifier: MIT */
/* GLib's counterpart of a promise: a GTask, whose callback the thread's main context runs. */
#ifndef BENCHMARK_GLIB_TASK_H
#define BENCHMARK_GLIB_TASK_H

#include "measure.h"

#include <stdbool.h>

/* Whether GLib was there when this was built: glib_task.c; else no_glib_task.c. */
extern const bool glib_task_is_there;

/* Makes so many tasks, one after the other, and takes each one's callback. @return 0 or a negative
 * errno. */
int glib_task_run(size_t count, lap *ret_taken);

#endif
