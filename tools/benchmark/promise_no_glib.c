/* SPDX-License-Identifier: MIT */
/* In place of promise_glib.c, where GLib is not installed. */
#include "promise.h"

#include <errno.h>

const bool promise_has_glib = false;

int promise_run_glib(void *context, double ret_figures[FIGURES])
{
    (void)context;
    (void)ret_figures;
    return -ENOSYS;
}
