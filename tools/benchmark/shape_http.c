/* SPDX-License-Identifier: MIT */
/*
 * HTTP: `ferry serve` beside other servers, asked in ways that `bench serve` does not have: short
 * connections, pipelines with a log, listings, ranges, names that are not there, many files. Each
 * run has a server, a directory and a client of its own.
 */
#include "shape_kinds.h"

#include "cores.h"
#include "fetch.h"
#include "http_servers.h"
#include "load.h"
#include "scratch.h"
#include "server_process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SMALL_BYTES = 1024,
    LARGE_BYTES = 16 * 1024,
    LISTED = 100,
    MANY = 5000 /* more than anybody keeps at hand; lighttpd opens all, and may open 8,192 */
};

typedef struct http_shape {
    const char *path;   /* that is asked for, if the script does not say another */
    const char *script; /* wrk's, in Lua */
    bool is_short;      /* each connection has one request */
    bool is_logged;
    bool any_status;
    bool has_many; /* files */
} http_shape;

/* ---- who is there ---------------------------------------------------------------------------- */

static const http_server *find_server(const char *name)
{
    for (size_t i = 0; i < HTTP_SERVERS; i++)
        if (strcmp(http_servers[i].name, name) == 0)
            return &http_servers[i];
    return NULL;
}

static bool has_server(const char *name, const bench *settings)
{
    char path[PATH_MAX];
    bool is_wanted = settings->servers == NULL || comma_list_has(settings->servers, name);
    return is_wanted && http_server_find("wrk", path) &&
           http_server_find(find_server(name)->program, path);
}

/* ---- what is served -------------------------------------------------------------------------- */

static const char content[LARGE_BYTES] = "the rest is zeros";

static int make_file(int directory, const char *name, const char *data, size_t length)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int error = write(fd, data, length) == (ssize_t)length ? 0 : -ENOSPC;
    (void)close(fd);
    return error;
}

static int make_files(int directory, const char *below, unsigned count, size_t length)
{
    int error = mkdirat(directory, below, 0755) == 0 ? 0 : -errno;
    for (unsigned i = 0; i < count && error == 0; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s/%u", below, i);
        error = make_file(directory, name, content, length);
    }
    return error;
}

/* @param directory of the scratch */
static int make_site(const http_shape *h, int directory)
{
    int error = make_file(directory, "script", h->script, strlen(h->script));
    if (error == 0)
        error = make_files(directory, "files", 0, 0);
    if (error == 0)
        error = make_file(directory, "files/small", content, SMALL_BYTES);
    if (error == 0)
        error = make_file(directory, "files/large", content, LARGE_BYTES);
    if (error == 0)
        error = make_files(directory, "files/list", LISTED, 0);
    return error == 0 && h->has_many ? make_files(directory, "files/many", MANY, SMALL_BYTES)
                                     : error;
}

/* ---- a run ----------------------------------------------------------------------------------- */

static int measure(const shape_run *what, const server_process *s, unsigned threads,
                   double ret_figures[FIGURES])
{
    const http_shape *h = what->of->detail;
    char program[PATH_MAX], script[PATH_MAX + 8];
    (void)http_server_find("wrk", program);
    (void)snprintf(script, sizeof script, "%s/script", s->scratch->directory);
    const load asking = {
        .program = program,
        .threads = threads < what->of->count ? threads : what->of->count,
        .connections = what->of->count,
        .duration_s = what->operations > 0 ? (unsigned)what->operations : 1,
        .script = script,
        .any_status = h->any_status,
    };
    load_result result;
    double before_s = server_process_cpu_s(s);
    int error = load_run(&asking, s->site.port, h->path, &result);
    if (error != 0)
        return error;
    ret_figures[0] = result.requests_per_s;
    ret_figures[1] = (server_process_cpu_s(s) - before_s) * 1e6 / result.requests;
    return 0;
}

/* It has to serve a file before it is measured. */
static int run_server(const shape_run *what, const scratch *where, double ret_figures[FIGURES])
{
    const http_shape *h = what->of->detail;
    const http_server *server = find_server(what->way->name);
    cores all;
    int error = cores_look(&all);
    if (error != 0)
        return error;
    char path[PATH_MAX];
    (void)http_server_find(server->program, path);
    const site wanted = {.workers = all.count, .is_logged = h->is_logged, .is_short = h->is_short};
    server_process s;
    error = server_process_start(server, path, where, &wanted, &s);
    if (error != 0)
        return error;
    error = fetch_check(s.site.port, "small", content, SMALL_BYTES);
    if (error == 0)
        error = measure(what, &s, all.count, ret_figures);
    int stop_error = server_process_stop(&s);
    return error != 0 ? error : stop_error;
}

static int with_server(const shape_run *what, double ret_figures[FIGURES])
{
    enum { FEW = 100 };
    scratch where;
    int error = load_allow_files(what->of->count + FEW);
    if (error == 0)
        error = scratch_init(&where);
    if (error != 0)
        return error;
    int directory = open(where.directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    error = directory < 0 ? -errno : make_site(what->of->detail, directory);
    (void)close(directory);
    if (error == 0)
        error = run_server(what, &where, ret_figures);
    if (error != 0)
        server_process_show_log(&where);
    int left = scratch_deinit(&where);
    return error != 0 ? error : left;
}

/* ---- the shapes ------------------------------------------------------------------------------ */

static const http_shape is_short = {
    .path = "small",
    .is_short = true,
    .script = "wrk.headers['Connection'] = 'close'\n",
};
static const http_shape pipelines = {
    .path = "small",
    .is_logged = true,
    .script = "local all\n"
              "function init()\n"
              "    all = string.rep(wrk.format(), 16)\n"
              "end\n"
              "function request() return all end\n",
};
static const http_shape logged = {.path = "small", .is_logged = true, .script = ""};
static const http_shape listing = {.path = "list/", .script = ""};
static const http_shape ranges = {
    .path = "large",
    .script = "wrk.headers['Range'] = 'bytes=0-1023,4096-5119,8192-9215'\n",
};
static const http_shape missing = {.path = "nothing", .any_status = true, .script = ""};
static const http_shape many = {
    .path = "small",
    .has_many = true,
    .script = "function request()\n"
              "    return wrk.format(nil, '/many/' .. math.random(0, 4999))\n"
              "end\n",
};

/* Operations are seconds here: wrk counts what it gets. */
#define HTTP(title, text, connections, how)                                                        \
    {                                                                                              \
        .name = title, .summary = text, SHAPE_FIGURES("requests/s"), .operations = 2,              \
        .count = connections, .detail = how, .has_way = has_server,                                \
        .ways = {{"nginx", with_server},                                                           \
                 {"lighttpd", with_server},                                                        \
                 {"h2o", with_server},                                                             \
                 {"ferry", with_server}},                                                          \
    }

const shape shape_http[] = {
    HTTP("http-short-8", "HTTP, 1 KiB, a connection each, 8 at a time", 8, &is_short),
    HTTP("http-short-64", "HTTP, 1 KiB, a connection each, 64 at a time", 64, &is_short),
    HTTP("http-short-1000", "HTTP, 1 KiB, a connection each, 1,000 at a time", 1000, &is_short),
    HTTP("http-logged", "HTTP, 1 KiB, 64 connections, with a log", 64, &logged),
    HTTP("http-pipelines", "HTTP, 1 KiB, 64 connections, 16 at once, with a log", 64, &pipelines),
    HTTP("http-listing", "HTTP, a listing of 100 files, 64 connections", 64, &listing),
    HTTP("http-ranges", "HTTP, three ranges of 1 KiB, 64 connections", 64, &ranges),
    HTTP("http-missing", "HTTP, a file that is not there, 64 connections", 64, &missing),
    HTTP("http-many", "HTTP, 5,000 files of 1 KiB at random, 64 connections", 64, &many),
    {0},
};
