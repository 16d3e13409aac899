/* SPDX-License-Identifier: MIT */
/*
 * Load: wrk(1), asking for one file again and again over many connections that stay, in a single
 * thread, so that it takes one core and leaves the others to the server.
 */
#ifndef BENCHMARK_LOAD_H
#define BENCHMARK_LOAD_H

typedef struct load {
    const char *program; /* wrk */
    unsigned connections;
    unsigned duration_s;
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

#endif
