/* SPDX-License-Identifier: MIT */
/*
 * The carrier that the demo compares ferry with: the least code that does the work, one thread for
 * each connection, in a blocking loop around sendfile(2).
 */
#ifndef TOOLS_FERRY_DEMO_BARE_H
#define TOOLS_FERRY_DEMO_BARE_H

#include "trial.h"

struct bare {
    const struct corpus *corpus;
    int fds[TRIAL_LANES]; /* the near ends */
};

/* Makes a carrier, for one trial. Borrows both arguments until the trial is over. */
struct carrier bare_carrier(struct bare *bare, const struct corpus *corpus);

#endif
