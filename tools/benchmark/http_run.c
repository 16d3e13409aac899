/* SPDX-License-Identifier: MIT */
#include "http_run.h"

#include "cores.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FEW = 100 }; /* fds beside those of connections */

static const http_server *find_server(const char *name)
{
    for (size_t i = 0; i < HTTP_SERVERS; i++)
        if (strcmp(http_servers[i].name, name) == 0)
            return &http_servers[i];
    return NULL;
}

bool http_run_is_possible(const char *name, const bench *settings)
{
    char path[PATH_MAX];
    bool is_wanted = settings->servers == NULL || comma_list_has(settings->servers, name);
    return is_wanted && http_server_find("wrk", path) &&
           http_server_find(find_server(name)->program, path);
}

/* ---- its files ------------------------------------------------------------------------------- */

int http_run_make_file(int directory, const char *name, const char *data, size_t length)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int error = write(fd, data, length) == (ssize_t)length ? 0 : -ENOSPC;
    (void)close(fd);
    return error;
}

int http_run_make_files(int directory, const char *below, unsigned count, const char *data,
                        size_t length)
{
    int error = mkdirat(directory, below, 0755) == 0 ? 0 : -errno;
    for (unsigned i = 0; i < count && error == 0; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s/%u", below, i);
        error = http_run_make_file(directory, name, data, length);
    }
    return error;
}

/* ---- wrk ------------------------------------------------------------------------------------- */

int http_run_wrk(const shape_run *what, const server_process *s, const load *asking,
                 const char *name, double ret_figures[FIGURES])
{
    char program[PATH_MAX];
    (void)http_server_find("wrk", program);
    load all = *asking;
    all.program = program;
    all.is_secure = s->site.is_secure;
    all.connections = what->of->count;
    all.threads = s->site.workers < all.connections ? s->site.workers : all.connections;
    all.duration_s = what->operations > 0 ? (unsigned)what->operations : 1;
    load_result result;
    double before_s = server_process_cpu_s(s);
    int error = load_run(&all, s->site.port, name, &result);
    if (error != 0)
        return error;
    ret_figures[0] = result.requests_per_s;
    ret_figures[1] = (server_process_cpu_s(s) - before_s) * 1e6 / result.requests;
    return 0;
}

/* ---- a run ----------------------------------------------------------------------------------- */

static int run_server(const http_run *how, const shape_run *what, const scratch *where,
                      double ret_figures[FIGURES])
{
    const http_server *server = find_server(what->way->name);
    cores all;
    int error = cores_look(&all);
    if (error != 0)
        return error;
    char path[PATH_MAX];
    (void)http_server_find(server->program, path);
    site wanted = how->wanted;
    wanted.workers = all.count;
    server_process s;
    error = server_process_start(server, path, where, &wanted, &s);
    if (error != 0)
        return error;
    error = how->measure(what, &s, ret_figures);
    int stop_error = server_process_stop(&s);
    return error != 0 ? error : stop_error;
}

static int make_site(const http_run *how, const shape_run *what, const scratch *where)
{
    int directory = open(where->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int error = directory < 0 ? -errno : how->make_site(what, where, directory);
    (void)close(directory);
    return error;
}

int http_run_once(const http_run *how, const shape_run *what, double ret_figures[FIGURES])
{
    scratch where;
    int error = load_allow_files(what->of->count + FEW);
    if (error == 0)
        error = scratch_init(&where);
    if (error != 0)
        return error;
    error = make_site(how, what, &where);
    if (error == 0)
        error = run_server(how, what, &where, ret_figures);
    if (error != 0)
        server_process_show_log(&where);
    int left = scratch_deinit(&where);
    return error != 0 ? error : left;
}
