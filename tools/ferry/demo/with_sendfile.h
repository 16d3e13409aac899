/* SPDX-License-Identifier: MIT */
/*
 * The carrier that the demo compares ferry with: the least code that does the work, one thread for
 * each connection, in a blocking loop around sendfile(2).
 */
#ifndef TOOLS_FERRY_DEMO_WITH_SENDFILE_H
#define TOOLS_FERRY_DEMO_WITH_SENDFILE_H

#include "round.h"

struct with_sendfile {
    const struct sample_files *samples;
    int fds[CONNECTIONS]; /* the near ends */
};

/* Makes a carrier, for one round. Borrows both arguments until the round is over. */
struct carrier with_sendfile_carrier(struct with_sendfile *self,
                                     const struct sample_files *samples);

#endif
