/* SPDX-License-Identifier: MIT */
/*
 * The carrier that the demo shows: several threads post records to each stream, each as one request
 * of three parts, and keep the receipts, to be compared with what the far end saw.
 */
#ifndef TOOLS_FERRY_DEMO_FERRIED_H
#define TOOLS_FERRY_DEMO_FERRIED_H

#include "trial.h"

#include <ferry/ferry.h>

struct ferried {
    const struct corpus *corpus;
    ferry_service *service;
    ferry_stream *streams[TRIAL_LANES];
    ferry_result receipts[TRIAL_LANES][LANE_RECORDS]; /* by the record's number */
};

/*
 * Starts a service and makes a carrier, for one trial. Ends the program with a message on failure.
 * Borrows both arguments until ferried_end.
 */
struct carrier ferried_carrier(struct ferried *ferried, const struct corpus *corpus,
                               ferry_placement placement, unsigned senders);

/* Whether each receipt names the place where the record arrived; prints the first that does not. */
bool ferried_check_receipts(const struct ferried *ferried, const struct trial *trial);

/* Ends the service. */
void ferried_end(struct ferried *ferried);

#endif
