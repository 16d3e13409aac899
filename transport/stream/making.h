/* SPDX-License-Identifier: MIT */
/*
 * Making requests of what a program asks for: planned, taken, and on the owner opened and released.
 */
#ifndef FERRY_TRANSPORT_STREAM_MAKING_H
#define FERRY_TRANSPORT_STREAM_MAKING_H

#include "transport/stream/stream.h"

/* What a request of parts takes. It is known before anything is taken or allocated. */
typedef struct ferry__plan {
    size_t size;           /* of the whole allocation */
    size_t parts;          /* how many: large copies are several */
    size_t sources;        /* how many of them have one */
    int64_t planned_bytes; /* in memory parts, and the explicit lengths of sources */
    ferry__cost cost;      /* what it is to be admitted with */
    bool calls_back;       /* its owner may call the program because of it */
} ferry__plan;

/* Checks what is asked for, and plans it. @return 0, -EINVAL, -EOVERFLOW, -ENAMETOOLONG. */
int ferry__request_plan(const ferry_stream *stream, const ferry_part parts[], size_t count,
                        const ferry_request_options *options, ferry__plan *ret_plan);

/* How many bytes its sources have, as far as that can be told before they are opened. */
uint64_t ferry__request_estimate(const ferry_part parts[], size_t count);

/*
 * Makes a request of parts as planned, taking all they hold. Before it is posted it still needs
 * mail.deliver and, if anybody can see its result, promise.created_ns.
 * @param types how it is called off; NULL: it is not. @param home the inbox to report to, or NULL.
 * @return 0, or the errnos of ferry_stream_send, with nothing taken.
 */
int ferry__request_create(ferry_stream *stream, ferry__request_kind kind,
                          const ferry__request_types *types, const ferry_part parts[], size_t count,
                          const ferry__plan *plan, const ferry_request_options *options,
                          ferry__inbox *home, ferry__request **ret_request);

/*
 * Makes a request for a batch (batch.h): of one part, in memory, whose bytes are to come. Before it
 * is posted it still needs mail.deliver.
 * @param memory what block it is: all of it may be used.
 * @return NULL: no memory.
 */
ferry__request *ferry__request_create_batch(ferry_stream *stream, ferry__spare_kind memory);

/*
 * Makes a read. Its particulars are to be filled in where parts would be. Before it is posted it
 * still needs mail.deliver and, if anybody can see its result, promise.created_ns.
 * @param size of the particulars.
 * @return 0, -ENOMEM.
 */
int ferry__request_create_read(ferry_stream *stream, const ferry__request_types *types, size_t size,
                               const ferry_request_options *options, ferry__inbox *home,
                               ferry__request **ret_request);

/* Opens all its sources. @return its prepare_error. */
int ferry__request_open(ferry__request *request);

/* Closes them again, to be opened anew. */
void ferry__request_undo_open(ferry__request *request);

/* Opens all its sources, once. An error is kept until its turn comes. @return that error. */
static inline int ferry__request_prepare(ferry__request *request)
{
    return request->is_prepared ? request->prepare_error : ferry__request_open(request);
}

/*
 * Opens all its sources before its turn has come. A failure is undone then: what is missing now may
 * be there by its turn. @return whether it is prepared.
 */
static inline bool ferry__request_prepare_ahead(ferry__request *request)
{
    if (ferry__request_prepare(request) == 0)
        return true;
    ferry__request_undo_open(request);
    return false;
}

/* Releases what its parts hold, and completes its result but for error and phase. */
void ferry__request_release_parts(ferry__request *request);

#endif
