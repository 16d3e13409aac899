/* SPDX-License-Identifier: MIT */
/*
 * Load: wrk(1), asking for one file again and again over many connections that stay, or for what a
 * script says. In one thread
 * it is the first to be busy when files are large, and then the figures are its own.
 */
#ifndef BENCHMARK_LOAD_H
#define BENCHMARK_LOAD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct load {
    const char *program; /* wrk */
    unsigned threads;    /* no more than connections */
    unsigned connections;
    unsigned duration_s;
    const char *script; /* a file in Lua that says what is asked; NULL: GET */
    bool is_secure;     /* https */
    bool any_status;    /* an answer may be no success */
} load;

typedef struct load_result {
    double requests; /* answered in full */
    double requests_per_s;
} load_result;

/*
 * Runs it. It does not outlive the calling thread.
 * @return 0; or a negative errno, after showing what wrk said: also if a connection failed, or an
 *     answer was no success.
 */
int load_run(const load *what, unsigned port, const char *name, load_result *ret_result);

/*
 * Servers and client have as many files open as they have connections, and some. Lets processes
 * that are started from now on have that many. @return 0 or a negative errno.
 */
int load_allow_files(size_t count);

#endif
