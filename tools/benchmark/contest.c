/* SPDX-License-Identifier: MIT */
#include "contest.h"

#include "measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT_S = 120 }; /* a run takes seconds: one that takes so long will never end */

int complain(const char *what, int error)
{
    (void)fprintf(stderr, "ferry-bench: %s: %s\n", what, strerror(-error));
    return error;
}

/* What was read, in the order of figures, entrants and rounds. */
typedef struct readings {
    double *values;
    size_t entrant_count;
    size_t round_count;
} readings;

static double *readings_of(const readings *all, size_t figure, size_t who)
{
    return &all->values[(figure * all->entrant_count + who) * all->round_count];
}

static int run_entrant(const entrant *who, double figures[FIGURES])
{
    (void)alarm(LIMIT_S); /* ends the process, and with it the peer */
    int error = who->run(who->context, figures);
    (void)alarm(0);
    return error != 0 ? complain(who->name, error) : 0;
}

/* One round, beginning with another entrant each time. @param all NULL: a warm-up. */
static int run_round(const contest *what, size_t round, const readings *all)
{
    for (size_t turn = 0; turn < what->entrant_count; turn++) {
        size_t who = (turn + round) % what->entrant_count;
        double figures[FIGURES];
        int error = run_entrant(&what->entrants[who], figures);
        if (error != 0)
            return error;
        for (size_t figure = 0; all != NULL && figure < FIGURES; figure++)
            readings_of(all, figure, who)[round] = figures[figure];
    }
    return 0;
}

static int run_rounds(const contest *what, const readings *all)
{
    int error = run_round(what, 0, NULL);
    for (size_t round = 0; error == 0 && round < all->round_count; round++)
        error = run_round(what, round, all);
    return error;
}

/* Turns the readings of all but the first entrant into ratios to the first's, and sums them up. */
static spread ratios_of(const readings *all, size_t figure, size_t who)
{
    const double *first = readings_of(all, figure, 0);
    double *values = readings_of(all, figure, who);
    for (size_t round = 0; round < all->round_count; round++)
        values[round] /= first[round];
    return spread_of(values, all->round_count);
}

static double median_of_copy(const double *values, size_t count, double *scratch)
{
    memcpy(scratch, values, count * sizeof *values);
    return spread_of(scratch, count).median;
}

static void print_figure(const readings *all, size_t figure, size_t who, double *scratch)
{
    (void)printf("  %10.3f",
                 median_of_copy(readings_of(all, figure, who), all->round_count, scratch));
    if (who == 0) {
        (void)printf("%25s", "");
        return;
    }
    spread ratio = ratios_of(all, figure, who);
    (void)printf("  %7.3f [%5.2f..%5.2f]", ratio.median, ratio.min, ratio.max);
}

static void print_table(const contest *what, const readings *all, double *scratch)
{
    (void)printf("\n%s; %zu rounds%s%s\n  %-28s", what->title, all->round_count,
                 what->goal != NULL ? "; goal: " : "", what->goal != NULL ? what->goal : "", "");
    for (size_t figure = 0; figure < FIGURES; figure++)
        (void)printf("  %10s  %23s", what->figure_names[figure], "ratio [least..most]");
    (void)printf("\n");
    for (size_t who = 0; who < what->entrant_count; who++) {
        (void)printf("  %-28s", what->entrants[who].name);
        for (size_t figure = 0; figure < FIGURES; figure++)
            print_figure(all, figure, who, scratch);
        (void)printf("\n");
    }
    (void)fflush(stdout);
}

int contest_run(const contest *what, const bench *settings)
{
    readings all = {.entrant_count = what->entrant_count, .round_count = settings->rounds};
    size_t count = FIGURES * all.entrant_count * all.round_count;
    all.values = calloc(count + all.round_count, sizeof *all.values); /* and one row of scratch */
    if (all.values == NULL)
        return complain(what->title, -ENOMEM);
    int error = run_rounds(what, &all);
    if (error == 0)
        print_table(what, &all, &all.values[count]);
    free(all.values);
    return error;
}
