/* SPDX-License-Identifier: MIT */
/*
 * `ferry serve` over TLS, beside other servers: files over connections that stay, asked by wrk(1);
 * and a connection for each, whose handshake is a full one or a resumed one.
 */
#include "shape_tls_kinds.h"

#include "http_run.h"
#include "tls_client.h"
#include "tls_identity.h"

#include <errno.h>
#include <stdlib.h>

typedef struct secure_shape {
    bool is_short; /* each connection has one request, */
    bool resumes;  /* and its handshake resumes the one before */
} secure_shape;

static const char file[] = "file";

static int make_file(size_t bytes, int directory)
{
    char *data = calloc(1, bytes);
    if (data == NULL)
        return -ENOMEM;
    int error = http_run_make_file(directory, "files/file", data, bytes);
    free(data);
    return error;
}

static int make_site(const shape_run *what, const scratch *where, int directory)
{
    tls_identity identity;
    int error = tls_identity_make(where->directory, &identity);
    if (error == 0)
        error = http_run_make_files(directory, "files", 0, NULL, 0);
    return error == 0 ? make_file(what->of->bytes, directory) : error;
}

/* ---- a run ----------------------------------------------------------------------------------- */

static int measure_short(const shape_run *what, const server_process *s, bool resumes,
                         double ret_figures[FIGURES])
{
    const tls_client asking = {.port = s->site.port,
                               .name = file,
                               .length = what->of->bytes,
                               .threads = what->of->count,
                               .duration_s = (unsigned)what->operations,
                               .resumes = resumes};
    tls_client_result result;
    double before_s = server_process_cpu_s(s);
    int error = tls_client_run(&asking, &result);
    if (error != 0)
        return error;
    ret_figures[0] = result.requests_per_s;
    ret_figures[1] = (server_process_cpu_s(s) - before_s) * 1e6 / result.requests;
    return 0;
}

/* It has to serve the file before it is measured. */
static int measure(const shape_run *what, const server_process *s, double ret_figures[FIGURES])
{
    const secure_shape *h = what->of->detail;
    const tls_client looking = {
        .port = s->site.port, .name = file, .length = what->of->bytes, .threads = 1};
    tls_client_result result;
    int error = tls_client_run(&looking, &result);
    if (error != 0)
        return error;
    const load asking = {0};
    return h->is_short ? measure_short(what, s, h->resumes, ret_figures)
                       : http_run_wrk(what, s, &asking, file, ret_figures);
}

static int with_server(const shape_run *what, double ret_figures[FIGURES])
{
    const secure_shape *h = what->of->detail;
    const http_run how = {
        .wanted = {.is_secure = true, .is_short = h->is_short},
        .make_site = make_site,
        .measure = measure,
    };
    return http_run_once(&how, what, ret_figures);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

static const secure_shape kept = {0};
static const secure_shape full = {.is_short = true};
static const secure_shape resumed = {.is_short = true, .resumes = true};

/* Operations are seconds here: the clients count what they get. */
#define HTTPS(title, text, size, connections, how)                                                 \
    {                                                                                              \
        .name = title, .summary = text, .operations = 2, .count = connections, .bytes = size,      \
        .detail = how, .has_way = http_run_is_possible, SHAPE_FIGURES("requests/s"),               \
        .ways = {{"nginx", with_server},                                                           \
                 {"lighttpd", with_server},                                                        \
                 {"h2o", with_server},                                                             \
                 {"ferry", with_server}},                                                          \
    }

const shape shape_tls_http[] = {
    HTTPS("https-1k", "HTTP, 1 KiB, 64 connections", 1024, 64, &kept),
    HTTPS("https-16k", "HTTP, 16 KiB, 64 connections", 16 << 10, 64, &kept),
    HTTPS("https-128k", "HTTP, 128 KiB, 64 connections", 128 << 10, 64, &kept),
    HTTPS("https-1m", "HTTP, 1 MiB, 64 connections", 1 << 20, 64, &kept),
    HTTPS("https-short", "HTTP, 1 KiB, a connection each, 8 at a time", 1024, 8, &full),
    HTTPS("https-resumed", "HTTP, 1 KiB, a resumed connection each, 8 at a time", 1024, 8,
          &resumed),
    {0},
};
