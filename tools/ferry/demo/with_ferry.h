/* SPDX-License-Identifier: MIT */
/*
 * The carrier that the demo shows: several threads post messages to each stream, each as one
 * request of three parts, and keep the receipts, to be compared with what the far end saw.
 */
#ifndef TOOLS_FERRY_DEMO_WITH_FERRY_H
#define TOOLS_FERRY_DEMO_WITH_FERRY_H

#include "round.h"

#include <ferry/ferry.h>

struct with_ferry {
    const struct sample_files *samples;
    const struct secret *secret; /* NULL: not encrypted */
    ferry_service *service;
    ferry_stream *streams[CONNECTIONS];
    ferry_result receipts[CONNECTIONS][MESSAGES]; /* by the message's number */
};

/*
 * Starts a service and makes a carrier, for one round. Ends the program with a message on failure.
 * Borrows all arguments until with_ferry_end.
 */
struct carrier with_ferry_begin(struct with_ferry *self, const struct sample_files *samples,
                                const struct secret *secret, ferry_placement placement,
                                unsigned senders);

/*
 * Whether each receipt names the place where the message arrived; prints the first that does not.
 */
bool with_ferry_check_receipts(const struct with_ferry *self, const struct round *round);

/* Ends the service. */
void with_ferry_end(struct with_ferry *self);

#endif
