/* SPDX-License-Identifier: MIT */
#include "hops.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct pair {
    const hops *what;
    int there; /* eventfd: 1 asks the other thread to work */
    int back;  /* eventfd: 1 says that it has */
    int error; /* the other thread's */
} pair;

static int signal_to(int fd)
{
    return eventfd_write(fd, 1) == 0 ? 0 : -errno;
}

static int wait_on(int fd)
{
    eventfd_t value;
    return eventfd_read(fd, &value) == 0 ? 0 : -errno;
}

static void *help(void *context)
{
    pair *p = context;
    p->error = cores_pin(p->what->cores, 0, p->what->core);
    for (size_t i = 0; i < p->what->trips; i++) {
        int error = wait_on(p->there);
        if (error == 0)
            error = p->what->work(p->what->context);
        if (p->error == 0)
            p->error = error; /* and go on: the other side waits */
        (void)signal_to(p->back);
    }
    return NULL;
}

static int make_trips(const pair *p)
{
    for (size_t i = 0; i < p->what->trips; i++) {
        int error = signal_to(p->there);
        if (error == 0)
            error = wait_on(p->back);
        if (error != 0)
            return error;
    }
    return 0;
}

static int make_with_helper(pair *p, lap *ret_taken)
{
    pthread_t helper;
    int error = pthread_create(&helper, NULL, help, p);
    if (error != 0)
        return -error;
    stopwatch watch = stopwatch_start();
    error = make_trips(p);
    *ret_taken = stopwatch_read(&watch);
    (void)pthread_join(helper, NULL);
    return error != 0 ? error : p->error;
}

int hops_make(const hops *what, lap *ret_taken)
{
    pair p = {.what = what, .there = eventfd(0, EFD_CLOEXEC), .back = eventfd(0, EFD_CLOEXEC)};
    int error = p.there < 0 || p.back < 0 ? -EMFILE : make_with_helper(&p, ret_taken);
    (void)close(p.there);
    (void)close(p.back);
    return error;
}
