/* SPDX-License-Identifier: MIT */
/*
 * ferry demo: many threads send heads, files and tails over several connections at once, the far
 * ends check every byte, and a bare loop around sendfile does the same work for comparison.
 *
 * The two take turns, several times, so that other work on the machine slows down both.
 */
#include "bare.h"
#include "with_ferry.h"
#include "../common/commands.h"
#include "../common/option.h"
#include "../common/units.h"

#include <argp.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS = 3, /* of each carrier */
    DEFAULT_THREADS = 2,
    MOST_THREADS = 64, /* a message or more for each, and no more memory than that takes */
};

/* ---- the command line ------------------------------------------------------------------------ */

/* How much to send. */
struct demo_size {
    const char *name;
    uint64_t largest_file; /* bytes; one round of one carrier sends twelve times that */
};

static const struct demo_size sizes[] = {
    {"small", UINT64_C(1) << 20},
    {"medium", UINT64_C(144) << 20}, /* some seconds on two cores */
    {"large", UINT64_C(1) << 30},
};

struct arguments {
    const struct demo_size *size;
    unsigned threads; /* that post to each stream */
    ferry_placement placement;
    bool is_encrypted;
};

enum { KEY_TLS = 256 };

static const struct argp_option options[] = {
    {"size", 's', "SIZE", 0, "how much to send: small, medium (default) or large", 0},
    {"threads", 't', "COUNT", 0, "threads that post to each stream (default 2)", 0},
    {"placement", 'p', "PLACEMENT", 0,
     "who carries requests out: a thread for each stream (dedicated, the default), or one for each "
     "processor (shared)",
     0},
    {"tls", KEY_TLS, NULL, 0, "encrypt all; the certificate is made in memory", 0},
    {0},
};

static const char doc[] =
    "Sends files from many threads over several connections, checks every byte at the far end, "
    "and compares the speed with that of a bare loop around sendfile(2), or SSL_write(3)."
    "\vThe files are made in $TMPDIR, or /tmp, and vanish with the program.";

static const struct demo_size *parse_size(const char *name, const struct argp_state *state)
{
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (strcmp(sizes[i].name, name) == 0)
            return &sizes[i];
    argp_error(state, "--size is small, medium or large, not '%s'", name);
    return NULL;
}

static ferry_placement parse_placement(const char *name, const struct argp_state *state)
{
    if (strcmp(name, "shared") == 0)
        return FERRY_PLACEMENT_SHARED;
    if (strcmp(name, "dedicated") != 0)
        argp_error(state, "--placement is dedicated or shared, not '%s'", name);
    return FERRY_PLACEMENT_DEDICATED;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 's':
        arguments->size = parse_size(arg, state);
        return 0;
    case 't':
        arguments->threads = (unsigned)option_number("threads", arg, 1, MOST_THREADS, state);
        return 0;
    case 'p':
        arguments->placement = parse_placement(arg, state);
        return 0;
    case KEY_TLS:
        arguments->is_encrypted = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- running --------------------------------------------------------------------------------- */

/* A demo under way. */
struct demo {
    const struct arguments *arguments;
    struct sample_files samples;
    struct secret *secret; /* NULL: not encrypted */
    uint64_t round_bytes;  /* of one carrier */
    struct progress progress;
    uint64_t done_bytes; /* in the rounds that are over */
    double ferry_s, bare_s;
};

/* Whether all arrived as it should. */
static bool run_ferry(struct demo *demo)
{
    struct with_ferry *with_ferry = calloc(1, sizeof *with_ferry);
    if (with_ferry == NULL)
        err(EXIT_FAILURE, NULL);
    const struct carrier carrier =
        with_ferry_begin(with_ferry, &demo->samples, demo->secret, demo->arguments->placement,
                         demo->arguments->threads);
    struct round *round =
        round_run(&demo->samples, &carrier, demo->secret, &demo->progress, demo->done_bytes);
    bool is_good = !round->failed && with_ferry_check_receipts(with_ferry, round);
    demo->ferry_s += round->seconds;
    with_ferry_end(with_ferry);
    free(with_ferry);
    free(round);
    return is_good;
}

static bool run_bare(struct demo *demo)
{
    struct bare bare;
    const struct carrier carrier = bare_carrier(&bare, &demo->samples, demo->secret);
    struct round *round =
        round_run(&demo->samples, &carrier, demo->secret, &demo->progress, demo->done_bytes);
    bool is_good = !round->failed;
    demo->bare_s += round->seconds;
    free(round);
    return is_good;
}

static bool run_rounds(struct demo *demo)
{
    bool (*const runs[])(struct demo *) = {run_ferry, run_bare};
    progress_start(&demo->progress, "carrying", demo->round_bytes * 2 * ROUNDS);
    bool is_good = true;
    for (unsigned i = 0; i < 2 * ROUNDS && is_good; i++) {
        is_good = runs[i % 2](demo);
        demo->done_bytes += demo->round_bytes;
    }
    (void)progress_end(&demo->progress);
    return is_good;
}

static void print_table(const struct demo *demo)
{
    double gigabytes = (double)demo->round_bytes * (double)ROUNDS / 1e9;
    double ferry_rate = gigabytes / demo->ferry_s, bare_rate = gigabytes / demo->bare_s;
    unsigned requests = MESSAGES * CONNECTIONS * ROUNDS;
    const char *carriers =
        demo->arguments->placement == FERRY_PLACEMENT_SHARED ? "one per CPU" : "4";
    _Static_assert(CONNECTIONS == 4, "a dedicated thread for each");
    struct units_text bytes = units_bytes(gigabytes * 1e9);
    printf("%-18s %14s %14s\n", "", "ferry",
           demo->secret != NULL ? "bare SSL_write" : "bare sendfile");
    printf("%-18s %14s %14s\n", "bytes", bytes.text, bytes.text);
    printf("%-18s %14u %14u\n", "requests", requests, requests);
    printf("%-18s %14u %14d\n", "posting threads", demo->arguments->threads * CONNECTIONS, 0);
    printf("%-18s %14s %14d\n", "carrying threads", carriers, CONNECTIONS);
    printf("%-18s %14d %14d\n", "receiving threads", CONNECTIONS, CONNECTIONS);
    printf("%-18s %14.2f %14.2f\n", "seconds", demo->ferry_s, demo->bare_s);
    printf("%-18s %14.2f %14.2f\n", "GB/s", ferry_rate, bare_rate);
    printf("%-18s %14.2f %14.2f\n", "ratio", ferry_rate / bare_rate, 1.0);
    printf("\nEvery byte arrived as it was sent, and where its receipt says.\n");
}

int command_demo(int argc, char **argv)
{
    static const struct argp argp = {options, parse, "", doc, NULL, NULL, NULL};
    struct arguments arguments = {
        .size = &sizes[1],
        .threads = DEFAULT_THREADS,
        .placement = FERRY_PLACEMENT_DEDICATED,
    };
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);

    struct demo demo = {.arguments = &arguments};
    if (arguments.is_encrypted && (demo.secret = secret_create()) == NULL)
        return EXIT_FAILURE;
    sample_files_create(&demo.samples, arguments.size->largest_file);
    demo.round_bytes = message_sum(&demo.samples) * CONNECTIONS;
    const struct sample_file *files = demo.samples.files;
    printf("%d files of %s to %s, over %d TCP and %d unix connections at once\n\n", SAMPLE_FILES,
           units_bytes((double)files[0].size).text,
           units_bytes((double)files[SAMPLE_FILES - 1].size).text, TCP_CONNECTIONS,
           CONNECTIONS - TCP_CONNECTIONS);
    (void)fflush(stdout);
    bool is_good = run_rounds(&demo);
    if (is_good)
        print_table(&demo);
    sample_files_destroy(&demo.samples);
    secret_destroy(demo.secret);
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
