/* SPDX-License-Identifier: MIT */
#include "progress.h"
#include "units.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const double REDRAW_S =
    0.9 * (double)PROGRESS_TICK_MS / 1000; /* ticks may come a little early */
static const double PLAIN_S = 10;          /* between plain lines: a log, not a flood */
static const double SMOOTHING_S = 3;       /* until a change of rate shows: steady, yet alive */
enum {
    NARROWEST_BAR = 8,  /* less says nothing */
    WIDEST_BAR = 40,    /* more says no more */
    LONGEST_LINE = 512, /* wider terminals have room to spare */
};

void progress_start(struct progress *progress, const char *label, uint64_t total)
{
    double now = units_now();
    *progress = (struct progress){
        .label = label,
        .total = total,
        .is_terminal = isatty(STDERR_FILENO) == 1,
        .started_at = now,
        .shown_at = now,
        .sampled_at = now,
    };
}

/* The rate is at first the average since the start; later, that of about the last SMOOTHING_S. */
static void sample(struct progress *progress, uint64_t done, double now)
{
    double passed = now - progress->sampled_at, age = now - progress->started_at;
    if (passed <= 0)
        return;
    double rate = (double)(done - progress->sampled) / passed;
    double span = age < SMOOTHING_S ? age : SMOOTHING_S;
    progress->rate += (rate - progress->rate) * (passed < span ? passed / span : 1);
    progress->sampled_at = now;
    progress->sampled = done;
}

static bool has_total(const struct progress *progress, uint64_t done)
{
    return progress->total > 0 && done <= progress->total;
}

/* "1.23 GB of 2.93 GB, 512 MB/s, 0:03 left" */
static void describe(const struct progress *progress, uint64_t done, char *text, size_t size)
{
    struct units_text bytes = units_bytes((double)done), rate = units_bytes(progress->rate);
    if (!has_total(progress, done)) {
        struct units_text passed = units_duration(progress->sampled_at - progress->started_at);
        (void)snprintf(text, size, "%s, %s/s, %s", bytes.text, rate.text, passed.text);
        return;
    }
    struct units_text left = {"-:--"};
    if (progress->rate >= 1)
        left = units_duration((double)(progress->total - done) / progress->rate);
    (void)snprintf(text, size, "%s of %s, %s/s, %s left", bytes.text,
                   units_bytes((double)progress->total).text, rate.text, left.text);
}

static int terminal_columns(void)
{
    struct winsize window;
    bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0;
    return is_known ? window.ws_col : 80;
}

/* Writes "[####----]" to bar, in so many columns; nothing if there is no room or no total. */
static void draw_bar(const struct progress *progress, uint64_t done, int columns, char *bar)
{
    bar[0] = '\0';
    int width = (columns > WIDEST_BAR ? WIDEST_BAR : columns) - 2;
    if (width < NARROWEST_BAR || !has_total(progress, done))
        return;
    int filled = (int)((double)done / (double)progress->total * width);
    bar[0] = '[';
    memset(bar + 1, '#', (size_t)filled);
    memset(bar + 1 + filled, '-', (size_t)(width - filled));
    (void)strcpy(bar + 1 + width, "] ");
}

static void draw(const struct progress *progress, uint64_t done)
{
    char text[160], bar[WIDEST_BAR + 4], line[LONGEST_LINE];
    describe(progress, done, text, sizeof text);
    int columns = terminal_columns() - 1; /* the last would wrap */
    int room = columns - (int)(strlen(progress->label) + strlen(text) + 2);
    draw_bar(progress, done, room, bar);
    (void)snprintf(line, sizeof line, "%s %s%s", progress->label, bar, text);
    (void)fprintf(stderr, "\r%.*s\033[K", columns, line);
    (void)fflush(stderr);
}

void progress_show(struct progress *progress, uint64_t done)
{
    double now = units_now();
    if (now - progress->shown_at < (progress->is_terminal ? REDRAW_S : PLAIN_S))
        return;
    progress->shown_at = now;
    sample(progress, done, now);
    if (progress->is_terminal) {
        draw(progress, done);
        return;
    }
    char text[160];
    describe(progress, done, text, sizeof text);
    (void)fprintf(stderr, "%s: %s\n", progress->label, text);
}

double progress_end(struct progress *progress)
{
    if (progress->is_terminal)
        (void)fputs("\r\033[K", stderr);
    return units_now() - progress->started_at;
}
