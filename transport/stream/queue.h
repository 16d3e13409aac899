/* SPDX-License-Identifier: MIT */
/* Queues of requests, oldest first, linked by their next and previous. The owner's. */
#ifndef FERRY_TRANSPORT_STREAM_QUEUE_H
#define FERRY_TRANSPORT_STREAM_QUEUE_H

#include "transport/stream/request.h"

typedef struct ferry__queue {
    ferry__request *first;
    ferry__request *last;
} ferry__queue;

static inline void ferry__queue_append(ferry__queue *queue, ferry__request *request)
{
    request->next = NULL;
    request->previous = queue->last;
    if (queue->last != NULL)
        queue->last->next = request;
    else
        queue->first = request;
    queue->last = request;
}

static inline void ferry__queue_remove(ferry__queue *queue, ferry__request *request)
{
    if (request->previous != NULL)
        request->previous->next = request->next;
    else
        queue->first = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
    else
        queue->last = request->previous;
}

/* For a queue that requests are taken from in order only. */
static inline ferry__request *ferry__queue_take_first(ferry__queue *queue)
{
    ferry__request *request = queue->first;
    queue->first = request->next;
    if (queue->first == NULL)
        queue->last = NULL;
    return request;
}

#endif
