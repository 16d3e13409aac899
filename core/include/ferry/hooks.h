/* SPDX-License-Identifier: MIT */
/*
 * Hooks for the two things that a library should not decide for its host: where memory comes from,
 * and where messages go. Without hooks ferry uses malloc(3) and says nothing.
 */
#ifndef FERRY_HOOKS_H
#define FERRY_HOOKS_H

#include <ferry/api.h>

FERRY_BEGIN

typedef enum ferry_log_level {
    FERRY_LOG_ERROR,  /* something failed that no promise can carry */
    FERRY_LOG_WARNING /* the host probably did not intend this */
} ferry_log_level;

typedef struct ferry_hooks {
    void *(*allocate)(size_t size, void *context); /* like malloc(3); may return NULL */
    void (*release)(void *memory, void *context);  /* like free(3); never gets NULL */
    void (*log)(ferry_log_level level, const char *message,
                void *context); /* one line, no newline */
    void *context;              /* handed to each of the three */
    uint64_t reserved[4];       /* 0 */
} ferry_hooks;

/*
 * Installs the hooks of this process's ferry, before anything else is asked of it.
 *
 * Threads: call it once, while no other thread uses ferry. The hooks themselves are called on any
 * thread, ferry's own included, at any time, and must not call ferry.
 * Memory: all of it has been released when the services are destroyed, the promises are given back,
 * and the threads that used ferry have ended. Until it ends, a thread keeps its inbox and at most
 * 240 KiB of promises that it gave back, for its next requests.
 * Borrows: *hooks, during this call: it is copied. context, as long as the process uses ferry.
 * @param hooks allocate and release come together or not at all. A NULL member keeps the default.
 * @return 0;
 *         -EINVAL: hooks is NULL, or has only one of allocate and release.
 *         -EBUSY: ferry has allocated something already. Memory must be released by the side that
 *         gave it.
 */
FERRY_API int ferry_hooks_set(const ferry_hooks *hooks);

FERRY_END

#endif
