/* SPDX-License-Identifier: MIT */
#include "core/hooks.h"

#include "core/cancel.h"
#include "core/handover.h"
#include "core/reserved.h"
#include "core/thread.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate_by_malloc(size_t size, void *context)
{
    (void)context;
    return malloc(size);
}

static void release_by_free(void *memory, void *context)
{
    (void)context;
    free(memory);
}

static void log_nowhere(ferry_log_level level, const char *message, void *context)
{
    (void)level;
    (void)message;
    (void)context;
}

/* Written by ferry_hooks_set before any other use, by its contract; only read afterwards. */
static ferry_hooks hooks = {
    .allocate = allocate_by_malloc, .release = release_by_free, .log = log_nowhere};

/* Whether anything was allocated. Read first: a store to a shared line on every call would cost. */
static atomic_bool in_use;

int ferry_hooks_set(const ferry_hooks *wanted)
{
    if (wanted == NULL || (wanted->allocate == NULL) != (wanted->release == NULL))
        return -EINVAL;
    if (FERRY__IS_NEWER(wanted))
        return -E2BIG;
    if (atomic_load_explicit(&in_use, memory_order_relaxed))
        return -EBUSY;
    hooks = (ferry_hooks){
        .allocate = wanted->allocate != NULL ? wanted->allocate : allocate_by_malloc,
        .release = wanted->release != NULL ? wanted->release : release_by_free,
        .log = wanted->log != NULL ? wanted->log : log_nowhere,
        .context = wanted->context,
    };
    return 0;
}

void *ferry__allocate(size_t size)
{
    if (!atomic_load_explicit(&in_use, memory_order_relaxed))
        atomic_store_explicit(&in_use, true, memory_order_relaxed);
    void *memory = hooks.allocate(size, hooks.context);
    ferry__own_memory(memory, size);
    return memory;
}

void *ferry__allocate_zeroed(size_t size)
{
    void *memory = ferry__allocate(size);
    if (memory != NULL)
        memset(memory, 0, size);
    return memory;
}

void ferry__release(void *memory)
{
    if (memory != NULL)
        hooks.release(memory, hooks.context);
}

void ferry__log(ferry_log_level level, const char *format, ...)
{
    if (hooks.log == log_nowhere)
        return;
    char line[201];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    FERRY__HOLD_OFF_CANCEL(); /* the hook may well write a file */
    const char *before = ferry__thread_do("calling the log hook");
    hooks.log(level, line, hooks.context);
    (void)ferry__thread_do(before);
}

void ferry__release_arg(ferry_release *release, void *arg)
{
    if (release == NULL)
        return;
    FERRY__HOLD_OFF_CANCEL(); /* a release may well close a file */
    const char *before = ferry__thread_do("calling a release");
    release(NULL, arg);
    (void)ferry__thread_do(before);
}
