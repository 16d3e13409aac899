/* SPDX-License-Identifier: MIT */
/*
 * The carrier that the demo compares ferry with: the least code that does the work, one thread for
 * each connection, in a blocking loop around sendfile(2), or around pread(2) and SSL_write(3).
 */
#ifndef TOOLS_FERRY_DEMO_BARE_H
#define TOOLS_FERRY_DEMO_BARE_H

#include "round.h"

struct bare {
    const struct sample_files *samples;
    struct secret *secret; /* NULL: not encrypted */
    struct wire wires[CONNECTIONS];
};

/* Makes a carrier, for one round. Borrows all arguments until the round is over. */
struct carrier bare_carrier(struct bare *self, const struct sample_files *samples,
                            struct secret *secret);

#endif
