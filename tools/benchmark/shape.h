/* SPDX-License-Identifier: MIT */
/*
 * A shape: one way to use ferry, beside what a good engineer would write, or pick, instead. Each
 * is a row of `bench shapes`.
 *
 * A run is one way of a shape, taken once, in a process of its own: it has no threads, memory or
 * files of another's, and its processor time is its own.
 */
#ifndef BENCHMARK_SHAPE_H
#define BENCHMARK_SHAPE_H

#include "contest.h"

enum { MOST_WAYS = 4 };

typedef struct shape shape;
typedef struct shape_run shape_run;

/* Does it once. @return 0, or a negative errno. */
typedef int shape_work(const shape_run *what, double ret_figures[FIGURES]);

typedef struct shape_way {
    const char *name;
    shape_work *work;
} shape_way;

struct shape {
    const char *name;                  /* on the command line */
    const char *summary;               /* in the table */
    const char *figure_names[FIGURES]; /* with the unit */
    bool more_is_better[FIGURES];
    size_t operations;         /* of a run; with --quick an eighth */
    unsigned count;            /* of threads, connections or streams at a time */
    size_t bytes;              /* of an operation, or of a file; 0: does not matter */
    socket_route route;        /* TCP, if not otherwise */
    const void *detail;        /* for the kind to know */
    shape_way ways[MOST_WAYS]; /* ferry's is the last one; the rest is NULL */

    /* Whether a way can be gone here, and is wanted. NULL: all of them. */
    bool (*has_way)(const char *name, const bench *settings);
};

struct shape_run {
    const shape *of;
    const shape_way *way;
    const peer *peer; /* receives eagerly, and over the shape's route */
    size_t operations;
};

/* Does it in a process. @return 0, or a negative errno. */
int shape_run_once(const shape_run *what, double ret_figures[FIGURES]);

/*
 * A run of a server: a helper asks it, over a listening socket of the shape's route.
 * @param ask the helper's work, for a run @param start starts the server; the socket stays there
 * @return 0, or a negative errno
 */
enum { SHAPE_BACKLOG = 4096 }; /* more connections than there are */
int shape_serve(const shape_run *what, int (*ask)(int listener, void *run),
                int (*start)(int *listener), double ret_figures[FIGURES]);

/* What most shapes give: operations a second, and microseconds of processor time each. */
void shape_give(const shape_run *what, lap taken, double ret_figures[FIGURES]);

/* For a shape: these two, and what is better. */
#define SHAPE_FIGURES(unit) .figure_names = {unit, "CPU us each"}, .more_is_better = {true, false}

#endif
