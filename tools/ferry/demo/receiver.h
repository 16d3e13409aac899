/* SPDX-License-Identifier: MIT */
/*
 * The far end of one of the demo's connections: reads messages to the end, checks every byte, and
 * notes where each message began.
 *
 * Why XXH3: it is to find a fault of ours, and no attack. It misses one such fault in 2^64, and is
 * several times as fast as the transfer that it watches.
 */
#ifndef TOOLS_FERRY_DEMO_RECEIVER_H
#define TOOLS_FERRY_DEMO_RECEIVER_H

#include "message.h"
#include "wire.h"

#include <stdatomic.h>

struct receiver {
    const struct sample_files *samples; /* what is to come */
    struct wire wire;                   /* a connection; the receiver closes it */
    _Atomic uint64_t read_bytes;        /* so far; any thread may look */
    uint64_t starts[MESSAGES]; /* in the byte order of the connection; valid after the end */
    bool has_seen[MESSAGES];   /* which messages came */
    unsigned count;            /* how many */
    const char *wrong;         /* NULL: nothing; valid after the end */
    double ended_at;           /* units_now of the last byte */
};

/* Reads until the end, or until something is wrong: then it breaks the connection. */
void receiver_run(struct receiver *receiver);

#endif
