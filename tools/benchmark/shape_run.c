/* SPDX-License-Identifier: MIT */
#include "shape.h"

#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct report {
    int error;
    double figures[FIGURES];
} report;

static _Noreturn void work(const shape_run *what, int to, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(EXIT_FAILURE);
    report told = {0};
    told.error = what->way->work(what, told.figures);
    bool is_told = write(to, &told, sizeof told) == (ssize_t)sizeof told;
    _exit(is_told ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* Waits for the process. @return 0 if it told something. */
static int hear(pid_t pid, int from, report *ret_report)
{
    ssize_t count;
    do
        count = read(from, ret_report, sizeof *ret_report);
    while (count < 0 && errno == EINTR);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    return count == (ssize_t)sizeof *ret_report ? 0 : -EPIPE;
}

int shape_run_once(const shape_run *what, double ret_figures[FIGURES])
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid_t parent = getpid();
    pid_t pid = fork();
    int error = pid < 0 ? -errno : 0;
    if (pid == 0)
        work(what, ends[1], parent);
    (void)close(ends[1]);
    report told = {0};
    if (error == 0)
        error = hear(pid, ends[0], &told);
    (void)close(ends[0]);
    for (size_t i = 0; i < FIGURES; i++)
        ret_figures[i] = told.figures[i];
    return error != 0 ? error : told.error;
}

int shape_serve(const shape_run *what, int (*ask)(int listener, void *run),
                int (*start)(int *listener), double ret_figures[FIGURES])
{
    int listener = sockets_listen(what->of->route, SHAPE_BACKLOG);
    if (listener < 0)
        return listener;
    stopwatch watch = stopwatch_start();
    pid_t helper;
    int error = helper_start(ask, listener, (void *)(uintptr_t)what, &helper);
    if (error == 0)
        error = start(&listener);
    if (error == 0)
        error = helper_join(helper);
    shape_give(what, stopwatch_read(&watch), ret_figures);
    return error;
}

void shape_give(const shape_run *what, lap taken, double ret_figures[FIGURES])
{
    ret_figures[0] = (double)what->operations / taken.wall_s;
    ret_figures[1] = taken.cpu_s * 1e6 / (double)what->operations;
}
