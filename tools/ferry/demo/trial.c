/* SPDX-License-Identifier: MIT */
#include "trial.h"

#include "lane.h"
#include "../common/units.h"

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a trial's threads share. */
struct stage {
    struct trial *trial;
    const struct carrier *carrier;
    pthread_barrier_t start;               /* all of them, and the one that takes the time */
    _Atomic unsigned sending[TRIAL_LANES]; /* senders that are not done */
};

/* One sender thread. */
struct sender {
    struct stage *stage;
    unsigned lane;  /* which it sends on */
    unsigned index; /* among the lane's senders */
    pthread_t thread;
};

/* One inspector's thread. */
struct receiver {
    struct stage *stage;
    struct inspector *inspector;
    pthread_t thread;
};

static void *run_sender(void *arg)
{
    struct sender *self = arg;
    struct stage *stage = self->stage;
    const struct carrier *carrier = stage->carrier;
    unsigned first = LANE_RECORDS * self->index / carrier->senders;
    unsigned end = LANE_RECORDS * (self->index + 1) / carrier->senders;
    (void)pthread_barrier_wait(&stage->start);
    if (!carrier->send(carrier->context, self->lane, first, end - first))
        stage->trial->failed = true;
    if (atomic_fetch_sub(&stage->sending[self->lane], 1) == 1)
        carrier->end(carrier->context, self->lane);
    return NULL;
}

static void *run_receiver(void *arg)
{
    struct receiver *self = arg;
    (void)pthread_barrier_wait(&self->stage->start);
    inspector_run(self->inspector);
    return NULL;
}

static void start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    int error = pthread_create(thread, NULL, run, arg);
    if (error != 0)
        errx(EXIT_FAILURE, "cannot start a thread: %s", strerror(error));
}

static void open_lanes(struct stage *stage, const struct corpus *corpus)
{
    for (unsigned lane = 0; lane < TRIAL_LANES; lane++) {
        struct inspector *inspector = &stage->trial->inspectors[lane];
        int near;
        inspector->corpus = corpus;
        lane_open(lane < TRIAL_TCP_LANES ? LANE_TCP : LANE_UNIX, &near, &inspector->fd);
        if (!stage->carrier->take(stage->carrier->context, lane, near))
            exit(EXIT_FAILURE);
        stage->sending[lane] = stage->carrier->senders;
    }
}

static uint64_t arrived(const struct trial *trial)
{
    uint64_t sum = 0;
    for (unsigned lane = 0; lane < TRIAL_LANES; lane++)
        sum += atomic_load_explicit(&trial->inspectors[lane].read_bytes, memory_order_relaxed);
    return sum;
}

/* Waits for a thread's end, for one tick at most. Whether it has come. */
static bool try_join(pthread_t thread)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* should it jump, a tick is longer or shorter */
    until.tv_nsec += PROGRESS_TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    return pthread_timedjoin_np(thread, NULL, &until) != ETIMEDOUT;
}

static void join_receivers(const struct receiver receivers[], struct trial *trial,
                           struct progress *progress, uint64_t base)
{
    for (unsigned lane = 0; lane < TRIAL_LANES; lane++)
        while (!try_join(receivers[lane].thread))
            progress_show(progress, base + arrived(trial));
}

static void judge(struct trial *trial, double started_at)
{
    for (unsigned lane = 0; lane < TRIAL_LANES; lane++) {
        const struct inspector *inspector = &trial->inspectors[lane];
        if (inspector->ended_at - started_at > trial->seconds)
            trial->seconds = inspector->ended_at - started_at;
        if (inspector->wrong == NULL)
            continue;
        warnx("%s connection %u, after %u good records: %s",
              lane < TRIAL_TCP_LANES ? "TCP" : "unix", lane, inspector->count, inspector->wrong);
        trial->failed = true;
    }
}

struct trial *trial_run(const struct corpus *corpus, const struct carrier *carrier,
                        struct progress *progress, uint64_t base)
{
    unsigned sender_count = carrier->senders * TRIAL_LANES;
    struct trial *trial = calloc(1, sizeof *trial);
    struct sender *senders = calloc(sender_count, sizeof *senders);
    if (trial == NULL || senders == NULL)
        err(EXIT_FAILURE, NULL);
    struct stage stage = {.trial = trial, .carrier = carrier};
    struct receiver receivers[TRIAL_LANES];
    open_lanes(&stage, corpus);
    (void)pthread_barrier_init(&stage.start, NULL, TRIAL_LANES + sender_count + 1);

    for (unsigned lane = 0; lane < TRIAL_LANES; lane++) {
        receivers[lane] = (struct receiver){.stage = &stage, .inspector = &trial->inspectors[lane]};
        start_thread(&receivers[lane].thread, run_receiver, &receivers[lane]);
    }
    for (unsigned i = 0; i < sender_count; i++) {
        senders[i] =
            (struct sender){.stage = &stage, .lane = i % TRIAL_LANES, .index = i / TRIAL_LANES};
        start_thread(&senders[i].thread, run_sender, &senders[i]);
    }
    double started_at = units_now();
    (void)pthread_barrier_wait(&stage.start);
    join_receivers(receivers, trial, progress, base);
    for (unsigned i = 0; i < sender_count; i++)
        (void)pthread_join(senders[i].thread, NULL);
    (void)pthread_barrier_destroy(&stage.start);
    free(senders);
    judge(trial, started_at);
    return trial;
}
