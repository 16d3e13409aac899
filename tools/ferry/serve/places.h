/* SPDX-License-Identifier: MIT */
/*
 * The places for connections at one address. When all are taken, and one more client comes, it
 * waits, and the connection that has been idle for longest is asked to leave. Nobody is asked amid
 * a request or an answer.
 *
 * Threads: connections enter, leave and say what they are at on their owners, any at a time. A lock
 * guards the lists. To say that it is idle, or no longer, costs a connection a store. If there are
 * very many, only some are looked at: the one of these that has been idle for longest leaves.
 */
#ifndef TOOLS_FERRY_SERVE_PLACES_H
#define TOOLS_FERRY_SERVE_PLACES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* Clients that may wait beside the limit; the kernel has the others. */
enum { PLACES_WAITING = 16 };

struct server;
struct places;
struct seat;

/* What a connection is asked and told; while its seat cannot leave, on any thread. */
struct seat_calls {
    /* Its stream is closing: whether there are answers that have not been sent. */
    bool (*has_answers)(const struct seat *);
    /* It has a place now. */
    void (*be_seated)(struct seat *);
    /*
     * Somebody waits for its place. It ends if it has been idle until it is told, and its client
     * has all answers. Else it stays.
     */
    void (*ask_to_leave)(struct seat *);
};

/* What each connection has for its place. */
struct seat {
    TAILQ_ENTRY(seat) line;
    const struct seat_calls *calls;
    struct places *places;             /* NULL: it has not entered */
    bool is_taken;                     /* else it waits in line */
    bool is_asked;                     /* to leave, and has not answered yet */
    int64_t asked_ns;                  /* how long it had been idle then, as idle_since_ns */
    atomic_int_fast64_t idle_since_ns; /* 0: it is at a request, or an answer */
    unsigned
        times; /* that it was; the owner's. Two of them within a tick of the clock differ by it */
};

/* @param limit connections at a time; 0: none. @return NULL: out of memory. */
struct places *places_create(struct server *server, unsigned limit);

void places_free(struct places *places); /* takes NULL */

struct server *places_server(const struct places *places);
unsigned places_limit(const struct places *places);

/* How many connections have answers that have not been sent. Their streams are closing. */
size_t places_count_unfinished(struct places *places);

/*
 * Lets a connection in. @return whether it has a place at once; else be_seated is called when it
 * has.
 */
bool places_enter(struct places *places, struct seat *seat, const struct seat_calls *calls);

void places_leave(struct seat *seat); /* also one that has not entered */

/* It was asked to leave. @return whether it has to: it has been idle until now. */
bool places_is_to_leave(struct seat *seat);

/* It was asked to leave, and does not: others are asked. Also for one that has left. */
void places_stay(struct seat *seat);

/* Tell what it is at. */
void places_is_idle(struct seat *seat);

static inline void places_is_busy(struct seat *seat)
{
    atomic_store_explicit(&seat->idle_since_ns, 0, memory_order_relaxed);
}

#endif
