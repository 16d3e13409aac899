/* SPDX-License-Identifier: MIT */
/*
 * One run of the demo's work: TRIAL_LANES connections at once, each carrying all records from its
 * sender threads to an inspector's thread. How they are sent is a carrier's business, so that two
 * carriers can be compared at the same work.
 */
#ifndef TOOLS_FERRY_DEMO_TRIAL_H
#define TOOLS_FERRY_DEMO_TRIAL_H

#include "inspector.h"
#include "../common/progress.h"

enum { TRIAL_LANES = 4, TRIAL_TCP_LANES = 2 }; /* the others are unix sockets */

/* A way of sending. Its functions print what fails. */
struct carrier {
    void *context;    /* handed to each of its functions */
    unsigned senders; /* threads for each lane */
    /* Takes the near end of a lane. Before any sender starts. */
    bool (*take)(void *context, unsigned lane, int fd);
    /* Sends a lane's records from number first on. On each of its sender threads, at once. */
    bool (*send)(void *context, unsigned lane, unsigned first, unsigned count);
    /* Ends the lane. On the last of its senders to be done. */
    void (*end)(void *context, unsigned lane);
};

struct trial {
    struct inspector inspectors[TRIAL_LANES];
    double seconds;      /* from the start of the senders to the last byte at the far end */
    _Atomic bool failed; /* something was not as it must be, and was printed */
};

/*
 * Carries all records over all lanes.
 * @param progress is shown base bytes and what has arrived so far.
 * Gives: a trial, for the caller to free.
 */
struct trial *trial_run(const struct corpus *corpus, const struct carrier *carrier,
                        struct progress *progress, uint64_t base);

#endif
