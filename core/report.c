/* SPDX-License-Identifier: MIT */
#include "core/report.h"

#include "core/hooks.h"
#include "core/own.h"

#include <ferry/status.h>

#include <errno.h>
#include <stdio.h>

#ifndef NDEBUG

/* Names a promise: "'upload' (serve.c:12)", or as much of it as is known. */
static void name(const ferry_promise *promise, char *buffer, size_t size)
{
    const char *label = atomic_load_explicit(&promise->label, memory_order_acquire);
    const char *site = ferry__own_site(promise);
    (void)snprintf(buffer, size, "%s%s%s%s%s%s", label != NULL ? "'" : "a promise",
                   label != NULL ? label : "", label != NULL ? "'" : "", site != NULL ? " (" : "",
                   site != NULL ? site : "", site != NULL ? ")" : "");
}

void ferry__report_seen(ferry_promise *promise)
{
    /* Read first: a store to a line that others may be reading would cost. */
    if ((atomic_load(&promise->state) & FERRY__WAS_SEEN) == 0)
        atomic_fetch_or(&promise->state, FERRY__WAS_SEEN);
}

void ferry__report_end(const ferry_promise *promise)
{
    unsigned state = atomic_load(&promise->state);
    int error = promise->result.error;
    if ((state & FERRY__IS_SETTLED) == 0 || error == 0 || error == -ECANCELED ||
        (state & (FERRY__WAS_SEEN | FERRY__IS_CANCELLED)) != 0)
        return;
    char named[120];
    name(promise, named, sizeof named);
    ferry__log(FERRY_LOG_WARNING, "%s failed with %s, and nobody looked", named,
               ferry_status_name(error));
}

void ferry__report_dropped(const ferry_promise *promise)
{
    char named[120];
    name(promise, named, sizeof named);
    ferry__log(FERRY_LOG_WARNING, "%s was dropped while it was pending", named);
}

#endif
