/* SPDX-License-Identifier: MIT */
/*
 * What a stream's owner shows of it to dumps (ferry_service_dump): how far it is, and what it waits
 * for. It is shown at the end of each turn. The head is also shown before all that may block. It is
 * written by relaxed stores, each by itself and only if something has changed. So what a dump says
 * of a stream that moves may be from two moments. What it says of one that hangs is right.
 */
#ifndef FERRY_TRANSPORT_STREAM_SHOWN_H
#define FERRY_TRANSPORT_STREAM_SHOWN_H

#include "transport/stream/request.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What a direction of a stream waits for. */
typedef enum ferry__wait {
    FERRY__WAITS_FOR_NOTHING,
    FERRY__WAITS_FOR_SINK,         /* it is full */
    FERRY__WAITS_FOR_SOURCE,       /* the head's source has nothing for now */
    FERRY__WAITS_FOR_LIMITER,      /* it has no bytes to give for now */
    FERRY__WAITS_FOR_CONFIRMATION, /* of bytes that were accepted */
    FERRY__WAITS_FOR_END,          /* the stream is closed, and the peer's end has not come */
    FERRY__WAITS_FOR_PEER,         /* it is to send something */
    FERRY__WAITS_FOR_HANDSHAKE,    /* the peer's part of it has not come */
    FERRY__WAITS_FOR_READER,       /* it is to give a loan back */
    FERRY__WAITS_FOR_RELAY         /* it is to give the direction back */
} ferry__wait;

typedef struct ferry__waiting {
    atomic_uint what;      /* a ferry__wait */
    _Atomic int64_t since; /* when that began, or bytes last came */
} ferry__waiting;

/* The request that is being sent. */
typedef struct ferry__shown_head {
    _Atomic uint64_t number; /* its sequence number; FERRY__NO_HEAD */
    _Atomic int64_t since;   /* when its turn came */
    _Atomic uint64_t
        name[4]; /* a copy of its label, or of the end of its file's path; perhaps cut */

    /* The owner's: what the name was taken from. */
    const char *label; /* to be compared only */
    size_t part;       /* the current one then */
} ferry__shown_head;

#define FERRY__NO_HEAD UINT64_MAX

enum { FERRY__SHOWN_NAME_BYTES = sizeof((ferry__shown_head *)0)->name };

/* The owner. Shows what the direction waits for, if that has changed. */
void ferry__show_wait(ferry__waiting *shown, ferry__wait what, int64_t now);

/* The owner. Shows which request is being sent. @param head the first one that waits, or NULL. */
void ferry__show_head(ferry__shown_head *shown, const ferry__request *head);

#endif
