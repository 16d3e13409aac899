/* SPDX-License-Identifier: MIT */
/*
 * serve: `ferry serve` beside other servers of files, all with the same files, in the page cache,
 * and the same client.
 *
 * A server is started for each run and stopped after it, so that the others have the machine to
 * themselves. Before it is measured it has to give the file asked for, byte by byte; what is then
 * counted is answers to wrk, and processor time of the server alone, a request.
 */
#include "comparisons.h"

#include "cores.h"
#include "fetch.h"
#include "comma_list.h"
#include "load.h"
#include "http_servers.h"
#include "scratch.h"
#include "server_process.h"
#include "slow_clients.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DURATION_S = 3, QUICK_DURATION_S = 1 };

typedef struct serve {
    scratch scratch;
    comma_list sizes;
    comma_list connections;
    unsigned workers; /* of each server */
    unsigned client_threads;
    char *content; /* each file is a beginning of it */
    load load;
    unsigned slow; /* clients that the servers are compared among; 0: none */
    size_t length; /* of the file that is asked for */
    char name[24]; /* its name: length, in digits */
} serve;

typedef struct contender {
    const serve *all;
    const http_server *what;
    char path[PATH_MAX]; /* of its program */
    bool is_among_slow;
    char name[40];
} contender;

/* ---- the command line ------------------------------------------------------------------------ */

static bool is_http_server(const char *name, size_t length)
{
    for (size_t i = 0; i < HTTP_SERVERS; i++)
        if (strlen(http_servers[i].name) == length &&
            strncmp(http_servers[i].name, name, length) == 0)
            return true;
    return false;
}

static bool are_http_servers(const char *names)
{
    for (const char *end;; names = end + 1) {
        end = strchrnul(names, ',');
        if (!is_http_server(names, (size_t)(end - names)))
            return false;
        if (*end == '\0')
            return true;
    }
}

/* ---- the files ------------------------------------------------------------------------------- */

/* No two places in it look alike. */
static int make_content(serve *s)
{
    size_t length = comma_list_largest(&s->sizes);
    s->content = malloc(length);
    if (s->content == NULL)
        return -ENOMEM;
    uint64_t state = 1;
    for (size_t i = 0; i < length; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U; /* Knuth's, MMIX */
        s->content[i] = (char)(state >> 56);
    }
    return 0;
}

static int open_new(int directory, const char *name)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : fd;
}

static int make_file(int directory, const char *content, size_t length)
{
    char name[24];
    (void)snprintf(name, sizeof name, "%zu", length);
    int fd = open_new(directory, name);
    if (fd < 0)
        return fd;
    ssize_t count = write(fd, content, length);
    int error = count < 0 ? -errno : (size_t)count == length ? 0 : -ENOSPC;
    (void)close(fd);
    return error;
}

static const char SLOW_FILE[] = "slow";

/* All zeros, and no block of a disk. */
static int make_slow_file(int directory)
{
    int fd = open_new(directory, SLOW_FILE);
    if (fd < 0)
        return fd;
    int error = ftruncate(fd, SLOW_FILE_BYTES) < 0 ? -errno : 0;
    (void)close(fd);
    return error;
}

static int make_files(serve *s)
{
    int error = make_content(s);
    if (error != 0)
        return error;
    char path[PATH_MAX + 8];
    (void)snprintf(path, sizeof path, "%s/files", s->scratch.directory);
    int directory = mkdir(path, 0755) == 0 ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (directory < 0)
        return -errno;
    for (size_t i = 0; i < s->sizes.count && error == 0; i++)
        error = make_file(directory, s->content, s->sizes.of[i]);
    if (error == 0 && s->slow > 0)
        error = make_slow_file(directory);
    (void)close(directory);
    return error;
}

/* ---- the entrants ---------------------------------------------------------------------------- */

static int measure(const serve *all, const server_process *s, double ret_figures[FIGURES])
{
    int error = fetch_check(s->site.port, all->name, all->content, all->length);
    if (error != 0)
        return error;
    load_result result;
    double before_s = server_process_cpu_s(s);
    error = load_run(&all->load, s->site.port, all->name, &result);
    if (error != 0)
        return error;
    ret_figures[0] = result.requests_per_s;
    ret_figures[1] = (server_process_cpu_s(s) - before_s) * 1e6 / result.requests;
    return 0;
}

static int measure_among_slow(const serve *all, const server_process *s,
                              double ret_figures[FIGURES])
{
    pid_t slow;
    int error = slow_clients_start(s->site.port, SLOW_FILE, all->slow, &slow);
    if (error != 0)
        return error;
    error = measure(all, s, ret_figures);
    int stop_error = slow_clients_stop(slow);
    return error != 0 ? error : stop_error;
}

static int run(void *context, double ret_figures[FIGURES])
{
    const contender *c = context;
    server_process s;
    const site wanted = {.workers = c->all->workers};
    int error = server_process_start(c->what, c->path, &c->all->scratch, &wanted, &s);
    if (error == 0) {
        error = c->is_among_slow ? measure_among_slow(c->all, &s, ret_figures)
                                 : measure(c->all, &s, ret_figures);
        int stop_error = server_process_stop(&s);
        error = error != 0 ? error : stop_error;
    }
    if (error != 0)
        server_process_show_log(&c->all->scratch);
    return error;
}

enum { MOST_CONTENDERS = 2 * HTTP_SERVERS };

/*
 * A server once more, among slow clients, where that is wanted. @return how many there are of it.
 */
static size_t add_among_slow(contender *alone)
{
    if (alone->all->slow == 0)
        return 1;
    alone[1] = *alone;
    alone[1].is_among_slow = true;
    (void)snprintf(alone[1].name, sizeof alone[1].name, "%s among %u slow", alone->what->name,
                   alone->all->slow);
    return 2;
}

/* Whom there is of those who are wanted, in the table's order. @return how many. */
static size_t gather(const serve *s, const char *wanted, contender contenders[MOST_CONTENDERS])
{
    size_t count = 0;
    for (size_t i = 0; i < HTTP_SERVERS; i++) {
        const http_server *what = &http_servers[i];
        if (wanted != NULL && !comma_list_has(wanted, what->name))
            continue;
        contender *c = &contenders[count];
        *c = (contender){.all = s, .what = what};
        (void)snprintf(c->name, sizeof c->name, "%s", what->name);
        if (http_server_find(what->program, c->path))
            count += add_among_slow(c);
        else
            (void)printf("%s is not installed: left out\n", what->name);
    }
    return count;
}

/* ---- the contests ---------------------------------------------------------------------------- */

/*
 * What is under way at the end of a run was worked for, but is not counted: a run lasts long enough
 * for that not to matter.
 */
static unsigned duration_s(size_t length, size_t connections, bool quick)
{
    enum { SHIFT = 28 }; /* 256 MiB: less than a tenth of what a server sends in the time */
    size_t times = 1 + ((length * connections) >> SHIFT);
    return (unsigned)times * (quick ? QUICK_DURATION_S : DURATION_S);
}

static void name_size(size_t bytes, char ret_text[16])
{
    static const char *const units[] = {"bytes", "KiB", "MiB"};
    size_t unit = 0;
    for (; unit < 2 && bytes % 1024 == 0; unit++)
        bytes /= 1024;
    (void)snprintf(ret_text, 16, "%zu %s", bytes, units[unit]);
}

static int compare_one(const serve *s, contender contenders[], size_t count, const bench *settings)
{
    entrant entrants[MOST_CONTENDERS];
    for (size_t i = 0; i < count; i++)
        entrants[i] = (entrant){contenders[i].name, &contenders[i], run};
    char size[16], title[80];
    name_size(s->length, size);
    (void)snprintf(title, sizeof title, "serve: a file of %s over %u connection%s", size,
                   s->load.connections, s->load.connections == 1 ? "" : "s");
    const bool has_ferry = s->slow == 0 && strcmp(entrants[count - 1].name, "ferry") == 0;
    const contest what = {
        .title = title,
        .figure_names = {"requests/s", "CPU us each"},
        .more_is_better = {true, false},
        .entrants = entrants,
        .entrant_count = count,
        .subject = has_ferry ? count - 1 : 0,
    };
    return contest_run(&what, settings);
}

static int compare_all(serve *s, const bench *settings)
{
    contender contenders[MOST_CONTENDERS];
    size_t count = gather(s, settings->servers, contenders);
    int error = count > 0 ? 0 : complain("serve: no server at all", -ENOENT);
    for (size_t i = 0; i < s->sizes.count; i++) {
        s->length = s->sizes.of[i];
        (void)snprintf(s->name, sizeof s->name, "%zu", s->length);
        for (size_t j = 0; j < s->connections.count && error == 0; j++) {
            s->load.connections = (unsigned)s->connections.of[j];
            s->load.threads =
                s->client_threads < s->load.connections ? s->client_threads : s->load.connections;
            s->load.duration_s = duration_s(s->length, s->load.connections, settings->quick);
            error = compare_one(s, contenders, count, settings);
        }
    }
    return error;
}

static int compare_in_scratch(serve *s, const bench *settings)
{
    int error = scratch_init(&s->scratch);
    if (error != 0)
        return complain("serve: a temporary directory", error);
    error = make_files(s);
    error = error == 0 ? compare_all(s, settings) : complain("serve: the files", error);
    int left = scratch_deinit(&s->scratch);
    if (left != 0)
        (void)complain(s->scratch.directory, left);
    return error != 0 ? error : left;
}

int serve_compare(const bench *settings)
{
    enum { FEW = 100 };
    serve s = {0};
    char wrk[PATH_MAX];
    if (!http_server_find("wrk", wrk))
        return complain("serve: wrk", -ENOENT);
    s.load.program = wrk;
    if (settings->servers != NULL && !are_http_servers(settings->servers))
        return complain(settings->servers, -EINVAL);
    s.sizes = settings->sizes;
    s.connections = settings->connections;
    cores all;
    int error = cores_look(&all);
    if (error != 0)
        return complain("serve: the cores", error);
    s.workers = all.count;
    s.client_threads = settings->client_threads > 0 ? settings->client_threads : all.count;
    s.slow = settings->slow;
    error = load_allow_files(comma_list_largest(&s.connections) + s.slow + FEW);
    if (error != 0)
        return complain("serve: so many connections", error);
    error = compare_in_scratch(&s, settings);
    free(s.content);
    return error;
}
