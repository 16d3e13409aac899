/* SPDX-License-Identifier: MIT */
/*
 * ferry-bench: what ferry costs, as ratios to the plainest program that does the same, taken in
 * turns in one run. Figures of different runs, or machines, are not to be compared.
 */
#include "comparisons.h"
#include "http_servers.h"
#include "../number.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { ROUNDS = 11, QUICK_ROUNDS = 3, USAGE_ERROR = 2 };

/* Every comparison there is; also the order in which they run. */
static const struct comparison {
    const char *name;
    const char *summary;
    int (*compare)(const bench *);
    bool on_request; /* it needs what not everybody has installed, and takes long */
} comparisons[] = {
    {"bulk", "a large file, to fast and slow peers, against sendfile loops", bulk_compare, false},
    {"small", "64-byte writes from 1, 2, 4 threads, against send() under a mutex", small_compare,
     false},
    {"roundtrip", "submit and await, against two eventfd hops and send()", roundtrip_compare,
     false},
    {"promise", "a promise of the program's own, against a mutex and a condition variable",
     promise_compare, false},
    {"serve", "`ferry serve` and other servers of files, against nginx", serve_compare, true},
    {"shapes", "many ways to use ferry, each against what one would write instead", shapes_compare,
     true},
    {"tls", "over TLS: bulk, small writes, idle streams, `ferry serve`", tls_compare, true},
};
enum { COMPARISONS = sizeof comparisons / sizeof comparisons[0] };

static void print_usage(FILE *where)
{
    (void)fprintf(where, "usage: bench [COMPARISON]... [OPTION]...\n"
                         "Compares ferry with plain system calls, or with other servers. "
                         "Without a name: all but serve, shapes and tls.\n\n");
    for (size_t i = 0; i < COMPARISONS; i++)
        (void)fprintf(where, "  %-12s  %s\n", comparisons[i].name, comparisons[i].summary);
    (void)fprintf(
        where,
        "\n  --rounds N    how many rounds to count (%d; with --quick %d)\n"
        "  --quick       an eighth of the work, no warm-up: for a look, not for a measurement\n"
        "  --help        this text\n\n"
        "Of shapes and tls; they take --servers, too, and leave out those that are not installed:\n"
        "  --only LIST         names from the table, with commas (all)\n\n"
        "Of serve, each list with commas:\n"
        "  --sizes LIST        of the file (1K,16K,128K,1M)\n"
        "  --connections LIST  at a time (1,64,1000)\n"
        "  --servers LIST      of nginx, lighttpd, h2o, microhttpd, ferry (all)\n"
        "  --client-threads N  that ask (one for each core)\n"
        "  --slow N            each server also among N clients that read 1 KB a second\n\n"
        "tools/bench serve installs those servers and wrk, which asks them: Debian's packages,\n"
        "which may start services of their own. A run of one takes 3 s (with --quick 1), and 12\n"
        "where 1,000 connections get 1 MiB at a time.\n\n"
        "Exits with 1 if anything failed, a byte that did not arrive included.\n",
        ROUNDS, QUICK_ROUNDS);
}

static _Noreturn void refuse(const char *what, const char *argument)
{
    (void)fprintf(stderr, "ferry-bench: %s: %s\n\n", what, argument);
    print_usage(stderr);
    exit(USAGE_ERROR);
}

static unsigned parse_count(const char *text, unsigned most, const char *complaint)
{
    uint64_t count;
    if (!number_parse(text, 1, most, &count))
        refuse(complaint, text);
    return (unsigned)count;
}

static comma_list parse_list(const char *text, size_t most, const char *complaint)
{
    comma_list numbers;
    if (comma_list_parse(text, most, &numbers) != 0)
        refuse(complaint, text);
    return numbers;
}

static const struct option options[] = {
    {"rounds", required_argument, NULL, 'r'},
    {"quick", no_argument, NULL, 'q'},
    {"only", required_argument, NULL, 'o'},
    {"sizes", required_argument, NULL, 's'},
    {"connections", required_argument, NULL, 'c'},
    {"servers", required_argument, NULL, 'v'},
    {"client-threads", required_argument, NULL, 't'},
    {"slow", required_argument, NULL, 'w'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void take(int option, bench *settings)
{
    switch (option) {
    case 'r':
        settings->rounds = parse_count(optarg, MOST_ROUNDS, "not a number of rounds");
        break;
    case 'q':
        settings->quick = true;
        break;
    case 'o':
        settings->only = optarg;
        break;
    case 's':
        settings->sizes = parse_list(optarg, MOST_BYTES, "not a list of sizes");
        break;
    case 'c':
        settings->connections = parse_list(optarg, MOST_CONNECTIONS, "not a list of connections");
        break;
    case 'v':
        settings->servers = optarg;
        break;
    case 't':
        settings->client_threads =
            parse_count(optarg, MOST_CONNECTIONS, "not a number of client threads");
        break;
    case 'w':
        settings->slow = parse_count(optarg, MOST_CONNECTIONS, "not a number of slow clients");
        break;
    case 'h':
        print_usage(stdout);
        exit(EXIT_SUCCESS);
    default:
        print_usage(stderr);
        exit(USAGE_ERROR);
    }
}

/* Reads the options; what is left from optind on are names. */
static bench parse_options(int argc, char *argv[])
{
    bench settings = {
        .sizes = {{1 << 10, 16 << 10, 128 << 10, 1 << 20}, 4},
        .connections = {{1, 64, 1000}, 3},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        take(option, &settings);
    if (settings.rounds == 0)
        settings.rounds = settings.quick ? QUICK_ROUNDS : ROUNDS;
    return settings;
}

static const struct comparison *find(const char *name)
{
    for (size_t i = 0; i < COMPARISONS; i++)
        if (strcmp(comparisons[i].name, name) == 0)
            return &comparisons[i];
    refuse("no such comparison", name);
}

static void print_machine(void)
{
    struct utsname system;
    const char *release = uname(&system) == 0 ? system.release : "unknown";
#ifdef __clang__
    const char *compiler = "";
#else
    const char *compiler = "gcc ";
#endif
    const char *commit = getenv("FERRY_BENCH_COMMIT"); /* tools/bench knows it */
    (void)printf("%s%s%ld cores, Linux %s, %s%s\n", commit != NULL ? commit : "",
                 commit != NULL ? ", " : "", sysconf(_SC_NPROCESSORS_ONLN), release, compiler,
                 __VERSION__);
    (void)fflush(stdout);
}

static int run_all(const bench *settings, char *const names[], size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++)
        error = find(names[i])->compare(settings);
    for (size_t i = 0; i < COMPARISONS && count == 0 && error == 0; i++)
        error = comparisons[i].on_request ? 0 : comparisons[i].compare(settings);
    return error;
}

int main(int argc, char *argv[])
{
    bench settings = parse_options(argc, argv);
    for (int i = optind; i < argc; i++)
        (void)find(argv[i]);
    print_machine();
    peer receiver;
    int error = peer_start(&receiver);
    if (error != 0) {
        (void)complain("the receiving process", error);
        return EXIT_FAILURE;
    }
    settings.peer = &receiver;
    error = run_all(&settings, &argv[optind], (size_t)(argc - optind));
    int stop_error = peer_stop(&receiver);
    if (stop_error != 0)
        (void)complain("the receiving process", stop_error);
    return error == 0 && stop_error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
