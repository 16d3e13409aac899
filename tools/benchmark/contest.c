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

static int run_rounds(const contest *what, const bench *settings, const readings *all)
{
    int error = settings->quick ? 0 : run_round(what, 0, NULL);
    for (size_t round = 0; error == 0 && round < all->round_count; round++)
        error = run_round(what, round, all);
    return error;
}

static double median_of(const readings *all, size_t figure, size_t who, double *scratch)
{
    memcpy(scratch, readings_of(all, figure, who), all->round_count * sizeof *scratch);
    return spread_of(scratch, all->round_count).median;
}

/* What one entrant's figure is to another's, round by round. */
static spread ratio_of(const readings *all, size_t figure, size_t who, size_t to, double *scratch)
{
    for (size_t round = 0; round < all->round_count; round++)
        scratch[round] = readings_of(all, figure, who)[round] / readings_of(all, figure, to)[round];
    return spread_of(scratch, all->round_count);
}

static void print_ratio(const readings *all, size_t figure, size_t who, size_t to, double *scratch)
{
    spread ratio = ratio_of(all, figure, who, to, scratch);
    (void)printf("  %7.3f [%5.2f..%5.2f]", ratio.median, ratio.min, ratio.max);
}

static void print_figure(const readings *all, size_t figure, size_t who, double *scratch)
{
    (void)printf("  %10.3f", median_of(all, figure, who, scratch));
    if (who == 0)
        (void)printf("%25s", "");
    else
        print_ratio(all, figure, who, 0, scratch);
}

static size_t best_but(size_t subject, const readings *all, size_t figure, bool more_is_better,
                       double *scratch)
{
    size_t best = 0; /* the subject is another */
    for (size_t who = best + 1; who < all->entrant_count; who++) {
        double by = median_of(all, figure, who, scratch) - median_of(all, figure, best, scratch);
        if (who != subject && (more_is_better ? by > 0 : by < 0))
            best = who;
    }
    return best;
}

static void print_subject(const contest *what, const readings *all, double *scratch)
{
    (void)printf("  %-28s", "  beside the best other");
    for (size_t figure = 0; figure < FIGURES; figure++) {
        size_t best = best_but(what->subject, all, figure, what->more_is_better[figure], scratch);
        (void)printf("  %10s", what->entrants[best].name);
        print_ratio(all, figure, what->subject, best, scratch);
    }
    (void)printf("\n");
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
        if (who > 0 && who == what->subject)
            print_subject(what, all, scratch);
    }
    (void)fflush(stdout);
}

/* Makes room for the readings, and for a row more: the scratch. @return NULL: there is none. */
static double *make_readings(const contest *what, const bench *settings, readings *ret_readings)
{
    readings all = {.entrant_count = what->entrant_count, .round_count = settings->rounds};
    size_t count = FIGURES * all.entrant_count * all.round_count;
    all.values = calloc(count + all.round_count, sizeof *all.values);
    *ret_readings = all;
    return all.values != NULL ? &all.values[count] : NULL;
}

int contest_run(const contest *what, const bench *settings)
{
    readings all;
    double *scratch = make_readings(what, settings, &all);
    if (scratch == NULL)
        return complain(what->title, -ENOMEM);
    int error = run_rounds(what, settings, &all);
    if (error == 0)
        print_table(what, &all, scratch);
    free(all.values);
    return error;
}

static standing judge(const contest *what, const readings *all, size_t figure, double *scratch)
{
    size_t best = best_but(what->subject, all, figure, what->more_is_better[figure], scratch);
    return (standing){
        .other = what->entrants[best].name,
        .others = median_of(all, figure, best, scratch),
        .own = median_of(all, figure, what->subject, scratch),
        .ratio = ratio_of(all, figure, what->subject, best, scratch),
    };
}

int contest_judge(const contest *what, const bench *settings, standing ret_standings[FIGURES])
{
    readings all;
    double *scratch = make_readings(what, settings, &all);
    if (scratch == NULL)
        return complain(what->title, -ENOMEM);
    int error = run_rounds(what, settings, &all);
    for (size_t figure = 0; error == 0 && figure < FIGURES; figure++)
        ret_standings[figure] = judge(what, &all, figure, scratch);
    free(all.values);
    return error;
}
