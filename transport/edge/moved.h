/* SPDX-License-Identifier: MIT */
/* What one bounded system call's worth of moving bytes into a link came to. */
#ifndef FERRY_TRANSPORT_EDGE_MOVED_H
#define FERRY_TRANSPORT_EDGE_MOVED_H

#include <ferry/result.h>

#include <errno.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum ferry__moved {
    FERRY__MOVED_BYTES,      /* the sink took some */
    FERRY__MOVED_TO_END,     /* an open-ended source has ended */
    FERRY__MOVED_SINK_FULL,  /* wait until the sink takes bytes again */
    FERRY__MOVED_SOURCE_DRY, /* wait until the source has bytes again */
    FERRY__MOVED_FAILED
} ferry__moved;

typedef struct ferry__move {
    ferry__moved outcome;
    uint64_t bytes;      /* MOVED_BYTES: how many, from the head on */
    ferry_method method; /* MOVED_BYTES */
    int error;           /* MOVED_FAILED: a negative errno */
    ferry_phase phase;   /* MOVED_FAILED */
} ferry__move;

static inline ferry__move ferry__move_failed(int error, ferry_phase phase)
{
    return (ferry__move){.outcome = FERRY__MOVED_FAILED, .error = error, .phase = phase};
}

static inline ferry__move ferry__move_source_dry(void)
{
    return (ferry__move){.outcome = FERRY__MOVED_SOURCE_DRY};
}

/* What a write to the link came to. @param bytes what ferry__link_write answered. */
static inline ferry__move ferry__move_written(ssize_t bytes, ferry_method method)
{
    if (bytes >= 0)
        return (ferry__move){
            .outcome = FERRY__MOVED_BYTES, .bytes = (uint64_t)bytes, .method = method};
    if (bytes == -EAGAIN)
        return (ferry__move){.outcome = FERRY__MOVED_SINK_FULL};
    return ferry__move_failed((int)bytes, FERRY_PHASE_SINK);
}

#endif
