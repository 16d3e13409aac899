/* SPDX-License-Identifier: MIT */
/*
 * A service: one instance of ferry in a process, with its actor threads and streams. Several may
 * live side by side; a program usually has one for as long as it runs.
 *
 * create -> adopt streams, use them from any thread -> (drain) -> destroy. Promises, and stream
 * handles the program still holds, outlive the service safely: each was settled, and a submit
 * answers -ESHUTDOWN.
 *
 * Placement decides which threads carry requests out:
 *   FERRY_DEDICATED  every stream has an actor thread of its own, started with its first request:
 *                    what blocks in it, a cold disk or a dead network file system, delays nobody
 *                    else. It costs a thread and two fds. For tens to a few thousand streams.
 *   FERRY_SHARED     a fixed number of actor threads own all streams, each stream pinned to the one
 *                    that had the fewest; streams take turns, a bounded chunk at a time. For
 *                    thousands of streams, mostly idle or short.
 * Either way sockets are non-blocking, and a peer that does not read delays nobody.
 */
#ifndef FERRY_SERVICE_H
#define FERRY_SERVICE_H

#include <ferry/api.h>

FERRY_BEGIN

typedef struct ferry_service ferry_service;

typedef enum ferry_placement { FERRY_DEDICATED, FERRY_SHARED } ferry_placement;

typedef struct ferry_service_options {
    ferry_placement placement;
    unsigned shared_owners; /* FERRY_SHARED: how many threads; 0: one for each usable processor */
    size_t stack_bytes;     /* of each actor thread; 0: 256 KiB. Raised to what a thread needs */
    size_t chunk_bytes;     /* the most that one turn of a stream moves; 0: 4 MiB dedicated, 1 MiB
                               shared. Smaller is fairer among streams of one thread, and tells
                               progress more often; below 256 KiB costs speed */
    /* Limits for all its streams together, beside those of each (ferry_stream_options); 0: none. */
    uint32_t limit_requests;   /* requests that have not settled */
    uint64_t limit_bytes;      /* bytes of memory in them. A single larger request is still taken
                                  when nothing is queued */
    uint64_t limit_file_bytes; /* bytes of files, and other sources, as far as they are known;
                                  likewise */
} ferry_service_options;

/* A look at all streams that have not ended: right when it was taken. */
typedef struct ferry_service_status {
    size_t streams;             /* that are open, or not closed yet */
    uint64_t queued_requests;   /* that have not settled */
    uint64_t queued_bytes;      /* of memory, in these */
    uint64_t queued_file_bytes; /* of files and other sources, in these, as far as known */
} ferry_service_status;

/*
 * Starts a service. Its first threads start here: the shared owners or, for dedicated placement,
 * the one front owner that starts and joins the others.
 *
 * Threads: any but ferry's own. Gives: a service, to be destroyed with ferry_service_destroy.
 * @param options NULL: dedicated placement with all defaults.
 * @return 0; -ENOMEM; -EMFILE or -ENFILE: no fds for the epoll sets; -EAGAIN: a thread could not be
 *         started; -EINVAL: ret_service is NULL, or options has an unknown placement, more than
 *         1024 shared owners, or a stack or chunk of more than 1 GiB.
 */
FERRY_API int ferry_service_create(const ferry_service_options *options,
                                   ferry_service **ret_service);

/*
 * Waits until everything that was submitted to any stream of the service before this call has
 * settled, but for reads, which it does not wait for: who knows when the peer sends. Streams stay
 * open, and other threads may go on submitting; where it has to wait it
 * submits a flush. On the calling thread its waiting callbacks run meanwhile, except while all that
 * is left to wait for is a close that another thread asked for.
 *
 * Threads: any but ferry's own; not inside a callback.
 * @param timeout_ms milliseconds to wait; 0: look only; -1: no limit.
 * @return 0; -ETIMEDOUT: some of it is still under way; -EDEADLK: on an owner thread or in a
 *         callback; -ENOMEM; -EINVAL: service is NULL or timeout_ms below -1; -ECHILD: after fork.
 */
FERRY_API int ferry_service_drain(ferry_service *service, int64_t timeout_ms);

/*
 * Looks at a service's streams and queues. Threads: any. Walks all streams.
 * @return 0; -EINVAL: an argument is NULL; -ECHILD: after fork.
 */
FERRY_API int ferry_service_get_status(ferry_service *service, ferry_service_status *ret_status);

/*
 * Ends a service: aborts every stream that is still open (settling what it has queued with
 * -ECANCELED), closes every listener, calls off every connect that is under way (waiting for a name
 * that is being looked up), waits for the threads to end, closes the fds. When it returns no thread
 * of the service runs, none of its fds is open and every promise it made is settled. Peers of stalled
 * streams do not delay it. To end in order: close the streams, ferry_service_drain, then destroy.
 *
 * Threads: any but ferry's own (asserted in debug builds; elsewhere it logs an error and does
 * nothing), inside callbacks of the program's threads too; no other call on the service (adopting,
 * draining) may be under way, or follow, but in callbacks on its own owners: there it is refused with
 * -ESHUTDOWN. Calls on its streams and promises may.
 * In a forked child it does nothing: the threads are the parent's.
 */
FERRY_API void ferry_service_destroy(ferry_service *service);

FERRY_END

#endif
