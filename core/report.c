/* SPDX-License-Identifier: MIT */
#include "core/report.h"

#include "core/hooks.h"

#include <ferry/error.h>

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#ifndef NDEBUG

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

const void *ferry__report_caller(void)
{
    return caller_here;
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

/* "'upload' (program+0x1234)", or as much of it as is known. */
static void format(const ferry__report_name *name, char *buffer, size_t size)
{
    char caller[64];
    format_caller(name->caller, caller, sizeof caller);
    const char *label = name->label;
    bool is_known = caller[0] != '\0';
    (void)snprintf(buffer, size, "%s%s%s%s%s%s", label != NULL ? "'" : "a promise",
                   label != NULL ? label : "", label != NULL ? "'" : "", is_known ? " (" : "",
                   caller, is_known ? ")" : "");
}

void ferry__report_failed(const ferry__report_name *name, int error)
{
    char named[120];
    format(name, named, sizeof named);
    ferry__log(FERRY_LOG_WARNING, "%s failed with %s, and nobody looked", named,
               ferry_error_name(error));
}

void ferry__report_dropped(const ferry__report_name *name)
{
    char named[120];
    format(name, named, sizeof named);
    ferry__log(FERRY_LOG_WARNING, "%s was dropped while it was pending", named);
}

#endif
