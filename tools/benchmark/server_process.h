/* SPDX-License-Identifier: MIT */
/*
 * One of the servers that are compared, running: started, awaited, its processor time read, and
 * stopped with all of its processes. They make up a process group, which the scratch is told of.
 *
 * The calling process adopts what such processes leave behind (PR_SET_CHILD_SUBREAPER), so that a
 * server that was stopped is gone to the last one.
 */
#ifndef BENCHMARK_SERVER_PROCESS_H
#define BENCHMARK_SERVER_PROCESS_H

#include "http_servers.h"
#include "scratch.h"

typedef struct server_process {
    const scratch *scratch; /* where it works; what it prints is in the file log there */
    site site;
    pid_t pid; /* of its first process, and of the group */
} server_process;

/*
 * Starts one on a free port and waits until it listens.
 * @param wanted workers, and what follows them
 * @return 0; -ECONNREFUSED if it never does; or another negative errno.
 */
int server_process_start(const http_server *what, const char *path, const scratch *where,
                         const site *wanted, server_process *ret_server);

/* What all its processes have used so far, those that ended included, in seconds. */
double server_process_cpu_s(const server_process *s);

/* Ends it and waits for that. @return 0, or -ESRCH: it had ended by itself. */
int server_process_stop(server_process *s);

/* Copies what it printed to standard error. */
void server_process_show_log(const scratch *where);

#endif
