/* SPDX-License-Identifier: MIT */
/*
 * A contest: several ways to do one thing, taken in turns, so that what else the machine does in
 * the meantime meets all of them alike.
 *
 * After a warm-up, which a quick look does without, each round runs every entrant once, and each
 * round begins with another one. The first entrant is the measure of the others: their ratios are
 * made within a round and then summed up as a median with its spread, beside the medians of the
 * figures themselves.
 */
#ifndef BENCHMARK_CONTEST_H
#define BENCHMARK_CONTEST_H

#include "comma_list.h"
#include "measure.h"
#include "peer.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    FIGURES = 2,       /* figures that a run gives */
    MOST_ROUNDS = 1000 /* more would only be a typing error */
};

/* What every comparison is given. */
typedef struct bench {
    peer *peer;      /* who receives */
    unsigned rounds; /* to be counted, after the warm-up */
    bool quick;      /* an eighth of the work, no warm-up: a look, not a measurement */

    /* Of serve. */
    comma_list sizes;        /* of the file, in bytes */
    comma_list connections;  /* at a time */
    const char *servers;     /* a list with commas; NULL: all */
    unsigned client_threads; /* how many ask; 0: one for each core */
    unsigned slow;           /* how many clients more there are that read slowly; 0: none */

    const char *only; /* of shapes: a list with commas; NULL: all */
} bench;

typedef struct entrant {
    const char *name;
    void *context; /* handed to run */

    /* Does the thing once and measures it. @return 0, or a negative errno after saying why. */
    int (*run)(void *context, double ret_figures[FIGURES]);
} entrant;

typedef struct contest {
    const char *title;
    const char *figure_names[FIGURES]; /* with the unit */
    const char *goal;                  /* what the ratios should be; may be NULL */
    const entrant *entrants;           /* the first is what the others are compared with */
    size_t entrant_count;
    size_t subject;               /* an entrant to be compared with the best other, too; 0: none */
    bool more_is_better[FIGURES]; /* what makes another the best: its median; for a subject */
} contest;

/* Runs a contest and prints its table. @return 0, or the first run's error. */
int contest_run(const contest *what, const bench *settings);

/* How a contest's subject stands to the best of the others, for one of the figures. */
typedef struct standing {
    const char *other; /* the name of that one */
    double others;     /* its figure: the median */
    double own;        /* the subject's */
    spread ratio;      /* of the subject's to the other's, within the rounds */
} standing;

/* Runs a contest with a subject, and prints nothing. @return 0, or the first run's error. */
int contest_judge(const contest *what, const bench *settings, standing ret_standings[FIGURES]);

/* Says on standard error what failed and why. @return error, a negative errno. */
int complain(const char *what, int error);

#endif
