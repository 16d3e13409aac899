/* SPDX-License-Identifier: MIT */
/*
 * How far something has come, shown on stderr: on a terminal one line with a bar, redrawn up to ten
 * times a second; elsewhere a plain line every ten seconds.
 *
 * start -> show, as often as convenient -> end. One thread uses it.
 */
#ifndef TOOLS_FERRY_COMMON_PROGRESS_H
#define TOOLS_FERRY_COMMON_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* How often a caller that waits should look up to call progress_show. */
enum { PROGRESS_TICK_MS = 100 };

struct progress {
    const char *label; /* what is going on: "sending" */
    uint64_t total;    /* bytes in all; 0: unknown */
    bool is_terminal;  /* stderr is one */
    double started_at; /* units_now of progress_start */
    double shown_at;   /* when a line was last printed */
    double sampled_at; /* when the rate was last brought up to date */
    uint64_t sampled;  /* bytes done then */
    double rate;       /* bytes a second, smoothed */
};

/* Borrows label for the life of the progress. */
void progress_start(struct progress *progress, const char *label, uint64_t total);

/* Shows that so many bytes are done, if it is time to. Cheap otherwise. */
void progress_show(struct progress *progress, uint64_t done);

/* Takes the line off the terminal. @return seconds since the start. */
double progress_end(struct progress *progress);

#endif
