/* SPDX-License-Identifier: MIT */
#include "crew.h"

#include "contest.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct crew {
    int (*work)(void *);
    void *context;
    pthread_barrier_t start;
} crew;

static void *begin(void *context)
{
    crew *c = context;
    (void)pthread_barrier_wait(&c->start);
    return (void *)(intptr_t)c->work(c->context);
}

/* Starts the threads; without enough of them nothing can be measured, and waiting would not end. */
static void start(crew *c, unsigned count, pthread_t threads[])
{
    for (unsigned i = 0; i < count; i++) {
        int error = pthread_create(&threads[i], NULL, begin, c);
        if (error != 0) {
            (void)complain("a thread", -error);
            exit(EXIT_FAILURE);
        }
    }
}

static int join(unsigned count, const pthread_t threads[])
{
    int first_error = 0;
    for (unsigned i = 0; i < count; i++) {
        void *outcome = NULL;
        int error = pthread_join(threads[i], &outcome);
        if (first_error == 0)
            first_error = error != 0 ? -error : (int)(intptr_t)outcome;
    }
    return first_error;
}

int crew_run(unsigned count, int (*work)(void *context), void *context, stopwatch *ret_watch)
{
    pthread_t threads[CREW_MOST];
    crew c = {.work = work, .context = context};
    int error = pthread_barrier_init(&c.start, NULL, count + 1);
    if (error != 0)
        return -error;
    start(&c, count, threads);
    *ret_watch = stopwatch_start();
    (void)pthread_barrier_wait(&c.start);
    error = join(count, threads);
    (void)pthread_barrier_destroy(&c.start);
    return error;
}
