/* SPDX-License-Identifier: MIT */
#include "dumper.h"

#include "messages.h"

#include <ferry/error.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct dumper {
    pthread_t thread;
    ferry_service *service;
    atomic_bool is_over; /* the next signal ends it */
    int end;             /* an eventfd, readable then: the reader of a dump may be stuck */
};

static void write_line(const char *line, void *arg)
{
    const struct dumper *dumper = arg;
    messages_write(line, strlen(line), dumper->end);
}

static void dump(struct dumper *dumper)
{
    int error = ferry_service_dump(dumper->service, write_line, dumper);
    if (error != 0)
        messages_say("no dump: %s", ferry_error_message(error));
}

static void *dump_at_signals(void *arg)
{
    struct dumper *dumper = arg;
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGUSR1);
    for (int signal; !atomic_load(&dumper->is_over);) {
        if (sigwait(&signals, &signal) == 0 && !atomic_load(&dumper->is_over))
            dump(dumper);
    }
    return NULL;
}

int dumper_start(ferry_service *service, struct dumper **ret_dumper)
{
    struct dumper *dumper = calloc(1, sizeof *dumper);
    if (dumper == NULL)
        return -ENOMEM;
    dumper->service = service;
    dumper->end = eventfd(0, EFD_CLOEXEC);
    int error =
        dumper->end < 0 ? errno : pthread_create(&dumper->thread, NULL, dump_at_signals, dumper);
    if (error == 0) {
        *ret_dumper = dumper;
        return 0;
    }
    if (dumper->end >= 0)
        (void)close(dumper->end);
    free(dumper);
    return -error;
}

/* Not by pthread_cancel: that unwinds the thread's stack without returning. AddressSanitizer's
 * marks stay there, and it blames the next user of that memory. */
void dumper_stop(struct dumper *dumper)
{
    if (dumper == NULL)
        return;
    atomic_store(&dumper->is_over, true);
    (void)eventfd_write(dumper->end, 1);
    (void)pthread_kill(dumper->thread, SIGUSR1);
    (void)pthread_join(dumper->thread, NULL);
    (void)close(dumper->end);
    free(dumper);
}
