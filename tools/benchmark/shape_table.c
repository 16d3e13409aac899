/* SPDX-License-Identifier: MIT */
#include "shape_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { QUICK_SHARE = 8 };

/* How ferry stands; within 5 % nobody is ahead. */
typedef enum verdict { AHEAD, LEVEL, BEHIND, VERDICTS } verdict;
static const char *const verdict_names[VERDICTS] = {"ahead", "level", "behind"};
static const double MARGIN = 1.05;

typedef struct tally {
    unsigned of[VERDICTS];
} tally;

/* ---- one shape ------------------------------------------------------------------------------- */

static int run(void *context, double ret_figures[FIGURES])
{
    return shape_run_once(context, ret_figures);
}

/* What is to be run. @return how many ways; 0: ferry's is not there, or no other. */
static size_t gather(const shape *what, const bench *settings, shape_run ret_runs[MOST_WAYS])
{
    size_t count = 0, last = 0;
    for (size_t i = 0; i < MOST_WAYS && what->ways[i].name != NULL; last = i++) {
        if (what->has_way != NULL && !what->has_way(what->ways[i].name, settings))
            continue;
        ret_runs[count++] = (shape_run){
            .of = what,
            .way = &what->ways[i],
            .peer = settings->peer,
            .operations = settings->quick ? what->operations / QUICK_SHARE : what->operations,
        };
    }
    return count > 1 && ret_runs[count - 1].way == &what->ways[last] ? count : 0;
}

static int judge(const shape *what, shape_run runs[], size_t count, const bench *settings,
                 standing ret_standings[FIGURES])
{
    entrant entrants[MOST_WAYS];
    for (size_t i = 0; i < count; i++)
        entrants[i] = (entrant){runs[i].way->name, &runs[i], run};
    const contest all = {
        .title = what->name,
        .entrants = entrants,
        .entrant_count = count,
        .subject = count - 1,
        .more_is_better = {what->more_is_better[0], what->more_is_better[1]},
    };
    return contest_judge(&all, settings, ret_standings);
}

/* The first figure decides. */
static verdict decide(const shape *what, const standing *first)
{
    double times = what->more_is_better[0] ? first->ratio.median : 1 / first->ratio.median;
    return times > MARGIN ? AHEAD : times < 1 / MARGIN ? BEHIND : LEVEL;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void print_heads(const shape_table *all, const bench *settings)
{
    (void)printf("\n%s; %u rounds; a ratio is ferry's figure to the other's, the median "
                 "[least..most]\n\n"
                 "| shape | beside | its, ferry's | ratio | its, ferry's "
                 "| ratio | ferry is |\n"
                 "|---|---|---|---|---|---|---|\n",
                 all->name, settings->rounds);
    (void)fflush(stdout);
}

/* Three digits say more than a machine that others use, too, can know. */
static void print_number(double number)
{
    (void)printf(" %.*f", number < 1 ? 3 : number < 10 ? 2 : number < 100 ? 1 : 0, number);
}

static void print_cells(const char *name, const standing *s)
{
    (void)printf(" %s:", name);
    print_number(s->others);
    (void)printf(",");
    print_number(s->own);
    (void)printf(" | %.2f [%.2f..%.2f] |", s->ratio.median, s->ratio.min, s->ratio.max);
}

static void print_others(const standing standings[FIGURES])
{
    (void)printf(" %s", standings[0].other);
    if (strcmp(standings[0].other, standings[1].other) != 0)
        (void)printf("; %s", standings[1].other);
    (void)printf(" |");
}

static void print_row(const shape *what, const standing standings[FIGURES], verdict found)
{
    (void)printf("| %s: %s |", what->name, what->summary);
    print_others(standings);
    for (size_t i = 0; i < FIGURES; i++)
        print_cells(what->figure_names[i], &standings[i]);
    (void)printf(" %s |\n", verdict_names[found]);
    (void)fflush(stdout);
}

static int compare(const shape *what, const bench *settings, tally *counts)
{
    shape_run runs[MOST_WAYS];
    size_t count = gather(what, settings, runs);
    if (count == 0) {
        (void)fprintf(stderr, "ferry-bench: %s: nobody to stand beside is there\n", what->name);
        return 0;
    }
    standing standings[FIGURES];
    settings->peer->route = what->route;
    int error = judge(what, runs, count, settings, standings);
    if (error != 0)
        return error;
    verdict found = decide(what, &standings[0]);
    counts->of[found]++;
    print_row(what, standings, found);
    return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static bool is_shape(const shape_table *all, const char *names, size_t length)
{
    for (size_t kind = 0; kind < all->kinds; kind++)
        for (const shape *s = all->of[kind]; s->name != NULL; s++)
            if (strlen(s->name) == length && strncmp(s->name, names, length) == 0)
                return true;
    return false;
}

static int check_names(const shape_table *all, const char *names)
{
    for (const char *end; names != NULL; names = *end == ',' ? end + 1 : NULL) {
        end = strchrnul(names, ',');
        if (!is_shape(all, names, (size_t)(end - names)))
            return complain(names, -EINVAL);
    }
    return 0;
}

static int compare_all(const shape_table *all, const bench *settings, tally *counts)
{
    int error = 0;
    for (size_t kind = 0; kind < all->kinds; kind++)
        for (const shape *s = all->of[kind]; s->name != NULL && error == 0; s++)
            if (settings->only == NULL || comma_list_has(settings->only, s->name))
                error = compare(s, settings, counts);
    return error;
}

int shape_table_run(const shape_table *all, const bench *settings)
{
    int error = check_names(all, settings->only);
    if (error != 0)
        return error;
    tally counts = {0};
    print_heads(all, settings);
    peer_set_mood(settings->peer, PEER_EAGER);
    error = compare_all(all, settings, &counts);
    peer_set_mood(settings->peer, PEER_LAZY);
    settings->peer->route = ROUTE_TCP;
    (void)printf("\nferry is ahead in %u, level in %u, behind in %u\n", counts.of[AHEAD],
                 counts.of[LEVEL], counts.of[BEHIND]);
    return error;
}
