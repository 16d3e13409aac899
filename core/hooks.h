/* SPDX-License-Identifier: MIT */
/* Memory and messages, by way of the host's hooks. All of ferry allocates and logs here only. */
#ifndef FERRY_CORE_HOOKS_H
#define FERRY_CORE_HOOKS_H

#include "core/shared.h"

#include <ferry/hooks.h>

/* Gives size bytes, uninitialised, or NULL. */
FERRY__SHARED void *ferry__allocate(size_t size);

/* Gives size bytes, zeroed, or NULL. */
FERRY__SHARED void *ferry__allocate_zeroed(size_t size);

/* Takes memory back; NULL is fine. */
FERRY__SHARED void ferry__release(void *memory);

/*
 * Tells the host one line, printf(3)-like and cut at 200 characters. Says nothing without a hook.
 */
__attribute__((format(printf, 2, 3))) void ferry__log(ferry_log_level level, const char *format,
                                                      ...);

/* Releases the arg of a callback, if it has a release. */
FERRY__SHARED void ferry__release_arg(ferry_release *release, void *arg);

#endif
