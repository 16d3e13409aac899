/* SPDX-License-Identifier: MIT */
#include "dumper.h"

#include <ferry/status.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

struct dumper {
    pthread_t thread;
    ferry_service *service;
};

/* Not by stdio: a write that blocks would hold its lock, and whoever else has a word to say would
 * wait for it. A line that cannot be written is lost. */
static void write_line(const char *line, void *arg)
{
    (void)arg;
    const struct iovec pieces[] = {{(void *)(uintptr_t)line, strlen(line)}, {"\n", 1}};
    ssize_t written = writev(STDERR_FILENO, pieces, 2);
    (void)written;
}

static void *dump_at_signals(void *arg)
{
    const struct dumper *dumper = arg;
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGUSR1);
    for (int signal;;) {
        if (sigwait(&signals, &signal) != 0)
            continue;
        int error = ferry_service_dump(dumper->service, write_line, NULL);
        if (error != 0)
            (void)dprintf(STDERR_FILENO, "no dump: %s\n", ferry_status_message(error));
    }
    return NULL;
}

int dumper_start(ferry_service *service, struct dumper **ret_dumper)
{
    struct dumper *dumper = malloc(sizeof *dumper);
    if (dumper == NULL)
        return -ENOMEM;
    dumper->service = service;
    int error = pthread_create(&dumper->thread, NULL, dump_at_signals, dumper);
    if (error != 0) {
        free(dumper);
        return -error;
    }
    *ret_dumper = dumper;
    return 0;
}

void dumper_stop(struct dumper *dumper)
{
    if (dumper == NULL)
        return;
    (void)pthread_cancel(dumper->thread); /* nothing else gets it out of a write that blocks */
    (void)pthread_join(dumper->thread, NULL);
    free(dumper);
}
