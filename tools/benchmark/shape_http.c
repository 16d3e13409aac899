/* SPDX-License-Identifier: MIT */
/*
 * HTTP: `ferry serve` beside other servers, asked in ways that `bench serve` does not have: short
 * connections, pipelines with a log, listings, ranges, names that are not there, many files, HEAD,
 * unix sockets, a crowd. Each run has a server, a directory and a client of its own.
 */
#include "shape_kinds.h"

#include "fetch.h"
#include "http_client.h"
#include "http_run.h"
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    SMALL_BYTES = 1024,
    LARGE_BYTES = 16 * 1024,
    LONG_BYTES = 128 * 1024,
    HUGE_BYTES = 10 * 1024 * 1024,
    LISTED = 100,
    MOST_OPEN = 10000, /* files: lighttpd would open all, and may open 16,384 fds */
    VERY_MANY = 100000,
    CROWD = 5000, /* connections */
    FEW = 100     /* fds beside those of connections */
};

typedef struct http_shape {
    const char *path;   /* that is asked for, if the script does not say another */
    const char *script; /* wrk's, in Lua */
    bool is_short;      /* each connection has one request */
    bool is_logged;
    bool any_status;
    unsigned many;      /* files below "many" */
    const char *method; /* asked by http_client, over one thread; NULL: by wrk */
    bool is_unix;       /* over a unix socket; http_client's */
    bool is_crowd;      /* its figure is how long the slowest have to wait */
} http_shape;

/* Whether so many fds can be had as the crowd has. */
static bool has_server_for_crowd(const char *name, const bench *settings)
{
    return load_allow_files(CROWD + FEW) == 0 && http_run_is_possible(name, settings);
}

/* lighttpd keeps files open that it served, and answers 404 once it may open no more. */
static bool has_server_for_very_many(const char *name, const bench *settings)
{
    return (strcmp(name, "lighttpd") != 0 || load_allow_files(FDS_FOR_LARGE) == 0) &&
           http_run_is_possible(name, settings);
}

/* ---- what is served -------------------------------------------------------------------------- */

static const char content[LARGE_BYTES] = "the rest is zeros";

/* What wrk runs. @param many files, of which it asks for any; 0: the shape's own script. */
static int make_script(const http_shape *h, unsigned many, int directory)
{
    char any[128];
    (void)snprintf(any, sizeof any,
                   "function request()\n"
                   "    return wrk.format(nil, '/many/' .. math.random(0, %u))\n"
                   "end\n",
                   many - 1);
    const char *script = many > 0 ? any : h->script;
    return http_run_make_file(directory, "script", script, strlen(script));
}

/* To make 100,000 files takes minutes on some disks. */
static unsigned count_many(const shape_run *what)
{
    const http_shape *h = what->of->detail;
    bool is_quick = what->operations == 0;
    return is_quick ? h->many / 100 : h->many;
}

static int make_zeros(int directory, const char *name, off_t bytes)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int error = ftruncate(fd, bytes) == 0 ? 0 : -errno;
    (void)close(fd);
    return error;
}

static int make_site(const shape_run *what, const scratch *where, int directory)
{
    (void)where;
    unsigned many = count_many(what);
    int error = make_script(what->of->detail, many, directory);
    if (error == 0)
        error = http_run_make_files(directory, "files", 0, NULL, 0);
    if (error == 0)
        error = http_run_make_file(directory, "files/small", content, SMALL_BYTES);
    if (error == 0)
        error = http_run_make_file(directory, "files/large", content, LARGE_BYTES);
    if (error == 0)
        error = make_zeros(directory, "files/long", LONG_BYTES);
    if (error == 0)
        error = make_zeros(directory, "files/huge", HUGE_BYTES);
    if (error == 0)
        error = http_run_make_files(directory, "files/list", LISTED, content, 0);
    if (error == 0)
        error = http_run_make_files(directory, "files/many", many, content, SMALL_BYTES);
    return error;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* @return its size; 0: there is no such address, and connecting fails. */
static socklen_t find_unix_address(const server_process *s, struct sockaddr_un *ret_address)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "%s/socket",
                          s->scratch->directory);
    return length < (int)sizeof ret_address->sun_path ? sizeof *ret_address : 0;
}

static socklen_t find_address(const http_shape *h, const server_process *s,
                              struct sockaddr_storage *ret_address)
{
    struct sockaddr_in *internet = (struct sockaddr_in *)ret_address;
    if (h->is_unix)
        return find_unix_address(s, (struct sockaddr_un *)ret_address);
    *internet = (struct sockaddr_in){.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                     .sin_port = htons((uint16_t)s->site.port)};
    return sizeof *internet;
}

static int measure_by_client(const shape_run *what, const server_process *s,
                             double ret_figures[FIGURES])
{
    const http_shape *h = what->of->detail;
    struct sockaddr_storage address;
    const http_client asking = {
        .server_size = find_address(h, s, &address),
        .server = (const struct sockaddr *)&address,
        .method = h->method,
        .name = h->path,
        .connections = what->of->count,
        .duration_s = what->operations > 0 ? (unsigned)what->operations : 1,
    };
    http_client_result result;
    double before_s = server_process_cpu_s(s);
    int error = http_client_run(&asking, &result);
    if (error != 0)
        return error;
    ret_figures[0] = h->is_crowd ? result.p99_ms : result.requests_per_s;
    ret_figures[1] = (server_process_cpu_s(s) - before_s) * 1e6 / result.requests;
    return 0;
}

static int measure_by_wrk(const shape_run *what, const server_process *s,
                          double ret_figures[FIGURES])
{
    const http_shape *h = what->of->detail;
    char script[PATH_MAX + 8];
    (void)snprintf(script, sizeof script, "%s/script", s->scratch->directory);
    const load asking = {.script = script, .any_status = h->any_status};
    return http_run_wrk(what, s, &asking, h->path, ret_figures);
}

/* It has to serve a file before it is measured. */
static int measure(const shape_run *what, const server_process *s, double ret_figures[FIGURES])
{
    const http_shape *h = what->of->detail;
    int error = fetch_check(s->site.port, "small", content, SMALL_BYTES);
    if (error != 0)
        return error;
    return h->method != NULL ? measure_by_client(what, s, ret_figures)
                             : measure_by_wrk(what, s, ret_figures);
}

static int with_server(const shape_run *what, double ret_figures[FIGURES])
{
    const http_shape *h = what->of->detail;
    const http_run how = {
        .wanted = {.is_logged = h->is_logged,
                   .is_short = h->is_short,
                   .is_large = h->many > MOST_OPEN},
        .make_site = make_site,
        .measure = measure,
    };
    return http_run_once(&how, what, ret_figures);
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
static const http_shape range = {
    .path = "huge",
    .script = "wrk.headers['Range'] = 'bytes=5000000-5001023'\n",
};
static const http_shape huge = {.path = "huge", .script = ""};
static const http_shape missing = {.path = "nothing", .any_status = true, .script = ""};
static const http_shape many = {.path = "small", .many = 5000};
static const http_shape very_many = {.path = "small", .many = VERY_MANY};

static const http_shape head = {.path = "small", .method = "HEAD", .script = ""};
static const http_shape local = {.path = "small", .method = "GET", .is_unix = true, .script = ""};
static const http_shape local_long = {
    .path = "long", .method = "GET", .is_unix = true, .script = ""};
static const http_shape crowd = {.path = "small", .method = "GET", .is_crowd = true, .script = ""};

/* Operations are seconds here: the clients count what they get. */
#define HTTP_WITH(title, text, connections, how, can, ...)                                         \
    {                                                                                              \
        .name = title, .summary = text, .operations = 2, .count = connections, .detail = how,      \
        .has_way = can, __VA_ARGS__,                                                               \
        .ways = {{"nginx", with_server},                                                           \
                 {"lighttpd", with_server},                                                        \
                 {"h2o", with_server},                                                             \
                 {"ferry", with_server}},                                                          \
    }
#define HTTP(title, text, connections, how)                                                        \
    HTTP_WITH(title, text, connections, how, http_run_is_possible, SHAPE_FIGURES("requests/s"))

const shape shape_http[] = {
    HTTP("http-short-8", "HTTP, 1 KiB, a connection each, 8 at a time", 8, &is_short),
    HTTP("http-short-64", "HTTP, 1 KiB, a connection each, 64 at a time", 64, &is_short),
    HTTP("http-short-1000", "HTTP, 1 KiB, a connection each, 1,000 at a time", 1000, &is_short),
    HTTP("http-logged", "HTTP, 1 KiB, 64 connections, with a log", 64, &logged),
    HTTP("http-pipelines", "HTTP, 1 KiB, 64 connections, 16 at once, with a log", 64, &pipelines),
    HTTP("http-listing", "HTTP, a listing of 100 files, 64 connections", 64, &listing),
    HTTP("http-range", "HTTP, a range of 1 KiB, 64 connections", 64, &range),
    HTTP("http-ranges", "HTTP, three ranges of 1 KiB, 64 connections", 64, &ranges),
    HTTP("http-missing", "HTTP, a file that is not there, 64 connections", 64, &missing),
    HTTP("http-many", "HTTP, 5,000 files of 1 KiB at random, 64 connections", 64, &many),
    HTTP_WITH("http-100000", "HTTP, 100,000 files of 1 KiB at random, 64 connections", 64,
              &very_many, has_server_for_very_many, SHAPE_FIGURES("requests/s")),
    HTTP("http-head", "HTTP, HEAD, 64 connections", 64, &head),
    HTTP("http-unix", "HTTP, 1 KiB, 64 connections, a unix socket", 64, &local),
    HTTP("http-unix-long", "HTTP, 128 KiB, 64 connections, a unix socket", 64, &local_long),
    HTTP("http-huge", "HTTP, 10 MiB, 8 connections", 8, &huge),
    HTTP_WITH("http-crowd", "HTTP, 1 KiB, 5,000 connections that come at once", CROWD, &crowd,
              has_server_for_crowd, .figure_names = {"p99 ms", "CPU us each"}),
    {0},
};
