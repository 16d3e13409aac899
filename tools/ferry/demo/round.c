/* SPDX-License-Identifier: MIT */
#include "round.h"

#include "socket_pair.h"
#include "../common/units.h"

#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a round's threads share. */
struct stage {
    struct round *round;
    const struct carrier *carrier;
    pthread_barrier_t start;               /* all of them, and the one that takes the time */
    _Atomic unsigned sending[CONNECTIONS]; /* senders that are not done */
};

/* One sender thread. */
struct sender_thread {
    struct stage *stage;
    unsigned connection; /* which it sends on */
    unsigned index;      /* among the connection's senders */
    pthread_t thread;
};

/* One receiver's thread. */
struct receiver_thread {
    struct stage *stage;
    struct receiver *receiver;
    pthread_t thread;
};

static void *run_sender(void *arg)
{
    struct sender_thread *self = arg;
    struct stage *stage = self->stage;
    const struct carrier *carrier = stage->carrier;
    unsigned first = MESSAGES * self->index / carrier->senders;
    unsigned end = MESSAGES * (self->index + 1) / carrier->senders;
    (void)pthread_barrier_wait(&stage->start);
    if (!carrier->send(carrier->context, self->connection, first, end - first))
        stage->round->failed = true;
    if (atomic_fetch_sub(&stage->sending[self->connection], 1) == 1)
        carrier->end(carrier->context, self->connection);
    return NULL;
}

static void *run_receiver(void *arg)
{
    struct receiver_thread *self = arg;
    (void)pthread_barrier_wait(&self->stage->start);
    receiver_run(self->receiver);
    return NULL;
}

static void start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    int error = pthread_create(thread, NULL, run, arg);
    if (error != 0)
        errx(EXIT_FAILURE, "cannot start a thread: %s", strerror(error));
}

static void open_connections(struct stage *stage, const struct sample_files *samples,
                             struct secret *secret)
{
    for (unsigned connection = 0; connection < CONNECTIONS; connection++) {
        struct receiver *receiver = &stage->round->receivers[connection];
        int near, far;
        receiver->samples = samples;
        socket_pair_open(connection < TCP_CONNECTIONS ? SOCKET_PAIR_TCP : SOCKET_PAIR_UNIX, &near,
                         &far);
        wire_open(&receiver->wire, far, secret, false);
        if (!stage->carrier->take(stage->carrier->context, connection, near))
            exit(EXIT_FAILURE);
        stage->sending[connection] = stage->carrier->senders;
    }
}

static uint64_t arrived(const struct round *round)
{
    uint64_t sum = 0;
    for (unsigned connection = 0; connection < CONNECTIONS; connection++)
        sum += atomic_load_explicit(&round->receivers[connection].read_bytes, memory_order_relaxed);
    return sum;
}

/* Waits for a thread's end, for one tick at most. @return whether it has come. */
static bool try_join(pthread_t thread)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* should it jump, a tick is longer or shorter */
    until.tv_nsec += PROGRESS_TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    return pthread_timedjoin_np(thread, NULL, &until) != ETIMEDOUT;
}

static void join_receivers(const struct receiver_thread receivers[], struct round *round,
                           struct progress *progress, uint64_t base)
{
    for (unsigned connection = 0; connection < CONNECTIONS; connection++)
        while (!try_join(receivers[connection].thread))
            progress_show(progress, base + arrived(round));
}

static void judge(struct round *round, double started_at)
{
    for (unsigned connection = 0; connection < CONNECTIONS; connection++) {
        const struct receiver *receiver = &round->receivers[connection];
        if (receiver->ended_at - started_at > round->seconds)
            round->seconds = receiver->ended_at - started_at;
        if (receiver->wrong == NULL)
            continue;
        warnx("%s connection %u, after %u good messages: %s",
              connection < TCP_CONNECTIONS ? "TCP" : "unix", connection, receiver->count,
              receiver->wrong);
        round->failed = true;
    }
}

struct round *round_run(const struct sample_files *samples, const struct carrier *carrier,
                        struct secret *secret, struct progress *progress, uint64_t base)
{
    unsigned sender_count = carrier->senders * CONNECTIONS;
    struct round *round = calloc(1, sizeof *round);
    struct sender_thread *senders = calloc(sender_count, sizeof *senders);
    if (round == NULL || senders == NULL)
        err(EXIT_FAILURE, NULL);
    struct stage stage = {.round = round, .carrier = carrier};
    struct receiver_thread receivers[CONNECTIONS];
    open_connections(&stage, samples, secret);
    (void)pthread_barrier_init(&stage.start, NULL, CONNECTIONS + sender_count + 1);

    for (unsigned connection = 0; connection < CONNECTIONS; connection++) {
        receivers[connection] =
            (struct receiver_thread){.stage = &stage, .receiver = &round->receivers[connection]};
        start_thread(&receivers[connection].thread, run_receiver, &receivers[connection]);
    }
    for (unsigned i = 0; i < sender_count; i++) {
        senders[i] = (struct sender_thread){
            .stage = &stage, .connection = i % CONNECTIONS, .index = i / CONNECTIONS};
        start_thread(&senders[i].thread, run_sender, &senders[i]);
    }
    double started_at = units_now();
    (void)pthread_barrier_wait(&stage.start);
    join_receivers(receivers, round, progress, base);
    for (unsigned i = 0; i < sender_count; i++)
        (void)pthread_join(senders[i].thread, NULL);
    (void)pthread_barrier_destroy(&stage.start);
    free(senders);
    judge(round, started_at);
    return round;
}
