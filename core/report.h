/* SPDX-License-Identifier: MIT */
/*
 * What debug builds (without NDEBUG) tell the log hook about promises: failures that nobody has
 * learnt of, and promises that were dropped while they were pending. Mostly these are mistakes. In
 * other builds none of this exists. core/promise.c decides when there is something to tell.
 *
 * Such a promise is named by its label and by the place that the program called ferry from to make
 * it, as module+offset, which addr2line(1) takes. Each public call that makes promises begins with
 * FERRY__REPORT_CALLER; where they call one another the outermost counts.
 */
#ifndef FERRY_CORE_REPORT_H
#define FERRY_CORE_REPORT_H

#ifdef NDEBUG
#define FERRY__REPORT_CALLER() (void)0
#else
/* The first statement of a public function. The caller is known until it returns. */
#define FERRY__REPORT_CALLER()                                                                     \
    __attribute__((cleanup(ferry__report_leave), unused)) const void *caller =                     \
        ferry__report_enter(__builtin_return_address(0))

/* @return what ferry__report_leave is to get: NULL inside another such call. */
const void *ferry__report_enter(const void *caller);
void ferry__report_leave(const void **caller);

/* Where the program called from, on this thread; NULL: it is in no such call. */
const void *ferry__report_caller(void);

/* What a promise is named by. Each may be NULL: unknown. */
typedef struct ferry__report_name {
    const char *label;
    const void *caller; /* ferry__report_caller when it was made */
} ferry__report_name;

/* It has failed, and nobody has looked. */
void ferry__report_failed(const ferry__report_name *name, int error);

/* Nobody is left who could settle it. */
void ferry__report_dropped(const ferry__report_name *name);
#endif

#endif
