/* SPDX-License-Identifier: MIT */
/*
 * One run of the demo's work: CONNECTIONS connections at once. Each carries all messages from its
 * sender threads to a receiver's thread. A carrier sends them, so that two carriers can be compared
 * at the same work.
 */
#ifndef TOOLS_FERRY_DEMO_ROUND_H
#define TOOLS_FERRY_DEMO_ROUND_H

#include "receiver.h"
#include "../common/progress.h"

enum { CONNECTIONS = 4, TCP_CONNECTIONS = 2 }; /* the others are unix sockets */

/* A way of sending. Its functions print what fails. */
struct carrier {
    void *context;    /* handed to each of its functions */
    unsigned senders; /* threads for each connection */
    /* Takes the near end of a connection. Before any sender starts. */
    bool (*take)(void *context, unsigned connection, int fd);
    /*
     * Sends a connection's messages from number first on. On each of its sender threads, at once.
     */
    bool (*send)(void *context, unsigned connection, unsigned first, unsigned count);
    /* Ends the connection. On the last of its senders to be done. */
    void (*end)(void *context, unsigned connection);
};

struct round {
    struct receiver receivers[CONNECTIONS];
    double seconds;      /* from the start of the senders to the last byte at the far end */
    _Atomic bool failed; /* something was not as it must be, and was printed */
};

/*
 * Carries all messages over all connections.
 * @param secret of both ends; NULL: not encrypted.
 * @param progress is shown base bytes and what has arrived so far.
 * Gives: a round, for the caller to free.
 */
struct round *round_run(const struct sample_files *samples, const struct carrier *carrier,
                        struct secret *secret, struct progress *progress, uint64_t base);

#endif
