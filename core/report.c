/* SPDX-License-Identifier: MIT */
#include "core/report.h"

#include "core/hooks.h"
#include "core/own.h"

#include <ferry/status.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifndef NDEBUG

/* Where the program called from, on this thread; NULL: it is in no such call. */
static _Thread_local const void *caller_here;

const void *ferry__report_enter(const void *caller)
{
    if (caller_here != NULL)
        return NULL;
    caller_here = caller;
    return caller;
}

void ferry__report_leave(const void **caller)
{
    if (*caller != NULL)
        caller_here = NULL;
}

void ferry__report_made(ferry_promise *promise)
{
    promise->caller = caller_here;
}

/* Gives a place in the code as "program+0x1234"; an empty string where it is in no known module. */
static void format_caller(const void *caller, char *buffer, size_t size)
{
    Dl_info module;
    buffer[0] = '\0';
    if (caller == NULL)
        return;
    const char *call = (const char *)caller - 1; /* it returns behind the call */
    if (dladdr(call, &module) == 0)
        return;
    const char *slash = strrchr(module.dli_fname, '/');
    (void)snprintf(buffer, size, "%s+0x%zx", slash != NULL ? slash + 1 : module.dli_fname,
                   (size_t)(call - (const char *)module.dli_fbase));
}

/* Names a promise: "'upload' (serve.c:12)", or as much of it as is known. */
static void name(const ferry_promise *promise, char *buffer, size_t size)
{
    char caller[64];
    format_caller(promise->caller, caller, sizeof caller);
    const char *label = ferry__promise_label(promise);
    const char *site = ferry__own_site(promise) != NULL ? ferry__own_site(promise) : caller;
    bool is_known = site[0] != '\0';
    (void)snprintf(buffer, size, "%s%s%s%s%s%s", label != NULL ? "'" : "a promise",
                   label != NULL ? label : "", label != NULL ? "'" : "", is_known ? " (" : "", site,
                   is_known ? ")" : "");
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
    if ((state & FERRY__IS_SETTLED) == 0) {
        if (promise->type->forsake != NULL) /* the program was to settle it */
            ferry__report_dropped(promise);
        return;
    }
    int error = promise->result.error;
    if (error == 0 || error == -ECANCELED || (state & (FERRY__WAS_SEEN | FERRY__IS_CANCELLED)) != 0)
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
