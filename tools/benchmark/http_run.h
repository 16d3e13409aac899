/* SPDX-License-Identifier: MIT */
/*
 * A run of a server of files, for shapes: the way's name is the server's. It has a directory of its
 * own, and all processors.
 */
#ifndef BENCHMARK_HTTP_RUN_H
#define BENCHMARK_HTTP_RUN_H

#include "load.h"
#include "scratch.h"
#include "server_process.h"
#include "shape.h"

typedef struct http_run {
    site wanted; /* its workers are set for it */

    /* Makes what is to be served, in files/. @param directory of the scratch */
    int (*make_site)(const shape_run *what, const scratch *where, int directory);

    int (*measure)(const shape_run *what, const server_process *s, double ret_figures[FIGURES]);
} http_run;

/* A shape's has_way: whether the server is there, and wanted, and wrk is there. */
bool http_run_is_possible(const char *name, const bench *settings);

/* Does it. @return 0; or a negative errno, after showing what the server has printed. */
int http_run_once(const http_run *how, const shape_run *what, double ret_figures[FIGURES]);

/*
 * Has wrk(1) ask for a file: over the shape's connections, for as many seconds as it has
 * operations. Gives requests a second, and microseconds of the server's processor time each.
 * @param asking its script, and the like; the rest is set for it
 */
int http_run_wrk(const shape_run *what, const server_process *s, const load *asking,
                 const char *name, double ret_figures[FIGURES]);

/* A file, and a directory with so many, which are called by their numbers. */
int http_run_make_file(int directory, const char *name, const char *data, size_t length);
int http_run_make_files(int directory, const char *below, unsigned count, const char *data,
                        size_t length);

#endif
