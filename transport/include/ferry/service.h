/* SPDX-License-Identifier: MIT */
/*
 * A service: one instance of ferry in a process, with its actor threads and streams. Several may
 * live side by side; a program usually has one for as long as it runs.
 *
 * Life: ferry_service_create -> adopt streams, use them from any thread -> ferry_service_stop ->
 * ferry_service_destroy. Stop loses nothing that was queued; destroy alone calls it off. Promises
 * and streams that the program still holds outlive the service safely: each promise has settled,
 * and a submit answers -ESHUTDOWN.
 *
 * Placement decides which threads carry requests out:
 *   dedicated  every stream has an actor thread of its own, which starts with its first request.
 *              What blocks there, a cold disk or a dead network file system, delays nobody else.
 *              While bytes move it sleeps in sendfile(2), on a socket that blocks. It costs a
 *              thread, and two fds once its peer stalls or it is read from. The thread is kept for
 *              the next stream: up to 16 of them, and for some seconds 256. For tens to a few
 *              thousand streams.
 *   shared     a fixed number of actor threads own all streams. Each stream stays with the thread
 *              that had the fewest open; or, if a callback on one of them made it, with that one
 *              while it has at most 4 more. Streams take turns, a bounded chunk at a time. For
 *              thousands of streams that are mostly idle or short.
 * With both a peer that does not read delays nobody, and every cancel, deadline and abort comes
 * through. If a thread of ferry's has to wait for another one it looks for it for some microseconds
 * at most, and then it sleeps. So any mix of priorities gets on.
 */
#ifndef FERRY_SERVICE_H
#define FERRY_SERVICE_H

#include <ferry/api.h>

FERRY_BEGIN

typedef struct ferry_service ferry_service;

typedef enum ferry_placement {
    FERRY_PLACEMENT_DEDICATED, /* an actor thread for each stream */
    FERRY_PLACEMENT_SHARED     /* a fixed number of actor threads for all streams */
} ferry_placement;

/* @param name what ferry calls the thread, as top(1) and gdb(1) show it. */
typedef void ferry_thread_callback(const char *name, void *arg);

typedef struct ferry_service_options {
    ferry_placement placement;
    unsigned shared_owners; /* shared placement: how many threads; 0: one for each processor that
                               the affinity mask has, but no more than the control groups' quota of
                               processor time allows, rounded up */
    size_t stack_bytes;     /* how much stack each actor thread can use, beside the program's
                               thread-local variables; 0: 256 KiB. Raised to what a thread needs */
    size_t chunk_bytes;     /* the most that one turn of a stream moves; 0: 4 MiB dedicated, 1 MiB
                               shared. Smaller is fairer among streams of one thread, and tells
                               progress more often. Below 256 KiB it costs speed. While requests
                               come for other streams of a thread, its turns move 256 KiB at most,
                               and send 64 KiB by TCP */
    /*
     * Limits for all its streams together, beside those of each stream (ferry_stream_options), of
     * what is to be sent; 0: no limit.
     */
    uint32_t limit_requests;   /* requests that have not settled, reads not counted */
    uint64_t limit_bytes;      /* bytes of memory in these requests. A single larger request is
                                  still taken when nothing is queued */
    uint64_t limit_file_bytes; /* bytes of files and other sources in these requests, as far as they
                                  are known. A single larger request is still taken when no such
                                  bytes are queued. It bounds how long new requests wait */
    /*
     * Whether ferry's threads inherit a real-time policy and priority from the thread that creates
     * the service. false: if that thread has one, ferry's threads are ordinary (SCHED_OTHER), so
     * that work for peers does not get ahead of what the priority was meant for. Policies that are
     * not real-time, such as SCHED_BATCH and SCHED_IDLE, and the nice value are always inherited,
     * as threads do.
     */
    bool inherit_scheduling;

    /*
     * Called on each of ferry's threads when it takes up its work: to give it a name, processors or
     * a priority (pthread_setname_np(3), sched_setaffinity(2), setpriority(2)). A thread that is
     * kept for another stream is told again. It must not block. It may not call ferry.
     */
    ferry_thread_callback *on_thread_start; /* or NULL */
    void *on_thread_start_arg;
    ferry_release *on_thread_start_release; /* of that: when the last thread has ended; or NULL */
    uint64_t reserved[8];                   /* 0 */
} ferry_service_options;

/* A look at all streams that have not ended: right when it was taken. */
typedef struct ferry_service_status {
    size_t streams;             /* that are open, or whose close has not settled */
    uint64_t queued_requests;   /* that have not settled, reads not counted */
    uint64_t queued_bytes;      /* of memory, in these requests */
    uint64_t queued_file_bytes; /* of files and other sources, in these requests, as far as known */
    uint64_t pending_reads;     /* reads that have not settled */
    uint64_t reserved[8];       /* 0 */
} ferry_service_status;

/*
 * Starts a service. Its first threads start here: the shared owners or, with dedicated placement,
 * the one front owner, which starts and joins the others.
 *
 * Threads: any but ferry's own. Gives: a service, to be destroyed with ferry_service_destroy.
 * @param options NULL: dedicated placement with all defaults.
 * @return 0;
 *         -ENOMEM.
 *         -EMFILE, -ENFILE: there are no fds for the epoll sets.
 *         -EAGAIN: a thread could not be started.
 *         -EINVAL: ret_service is NULL; or options has an unknown placement, more than 1024 shared
 *         owners, or a stack or chunk of more than 1 GiB.
 */
FERRY_API int ferry_service_create(const ferry_service_options *options,
                                   ferry_service **ret_service);

/*
 * Waits until everything that was submitted to any stream of the service before this call has
 * settled. It does not wait for reads, since nobody knows when the peer sends. Streams stay open,
 * and other threads may go on submitting. If it has to wait it submits a mark, and takes it back
 * when the time is up: so it may be called as often as you like.
 *
 * The calling thread's callbacks run meanwhile, also those of what it waited for. What these
 * callbacks submit, a close for instance, is waited for as well.
 *
 * Threads: any but ferry's own; not inside a callback.
 * @param timeout_ms milliseconds to wait; 0: look only; -1: no limit.
 * @return 0;
 *         -ETIMEDOUT: some of it is still under way.
 *         -EDEADLK: called on an owner thread or inside a callback.
 *         -ENOMEM.
 *         -EINVAL: service is NULL, or timeout_ms is below -1.
 *         -ECHILD: the service was made before this process was forked.
 */
FERRY_API int ferry_service_drain(ferry_service *service, int64_t timeout_ms);

/*
 * Looks at a service's streams and queues. It walks all streams. Threads: any.
 * @return 0;
 *         -EINVAL: service or ret_status is NULL.
 *         -ECHILD: the service was made before this process was forked.
 */
FERRY_API int ferry_service_get_status(ferry_service *service, ferry_service_status *ret_status);

/*
 * Takes one line of a dump. It has no newline, is printable, and is UTF-8. In labels and in names
 * that others gave, what is not printable, and quotes, are replaced by '?'.
 * @param line valid during the call.
 */
typedef void ferry_dump_callback(const char *line, void *arg);

/*
 * Tells in lines of text what a service is at: for people who want to know why it hangs. It waits
 * for none of ferry's threads, so it also works while they are blocked, in a dead disk or in a
 * callback of the program's. For numbers to be watched there are ferry_service_get_status and
 * ferry_stream_get_status.
 *
 *   service: shared, 2 streams; 5 requests queued, 320 bytes and 31457280 of files
 *   owner ferry-owner-0: asleep; its last turn began 20 ms ago
 *   owner ferry-owner-1: in a turn of stream fd 9, unix: 'backup', for 5123 ms: opening files
 *   listener 127.0.0.1:8080: 12 accepted, 1 of 100 open
 *   connect example.org:80: looks up the name, for 1200 ms
 *   stream fd 8, 127.0.0.1:4711: 4 requests queued, 320 bytes and 31457000 of files; 8192 bytes
 *     sent; sends request 12 'answer', for 5200 ms; waits for its sink, for 5123 ms (in one line)
 *
 * There is a line for the service and for each of its owners. Then comes a line for each listener,
 * for each connect under way, and for each stream that has not ended, the oldest first. With
 * dedicated placement a stream's own owner has a line behind the stream, if it has a thread.
 *
 * A stream is called by its fd, its peer and the label of its options. Its line tells
 *   - its queue, and its offset: the bytes sent;
 *   - "poisoned by", "closing": its status and its end, if there is anything to say;
 *   - "sends": the request under way, its number in the stream's order, and how long ago its turn
 *     came. The request is called by its label or, if it has none, by the end of the path of the
 *     file that it sends or is about to send;
 *   - "waits for": its sink (its peer does not read), its source (which has nothing for now), its
 *     limiter, confirmation, or its peer's end; and for how long no byte has left because of it;
 *   - "received", once it has been read from: bytes, and how many reads are pending. Then what
 *     reading waits for: its peer (to send something), its reader (which is on another thread, with
 *     what it was given), or a relay.
 * An owner's line tells whose turn it is and for how long already, and what lasts within it, if
 * anything does: "opening files", "moving a source's bytes", "calling on_owner", ...
 *
 * Each line is right as far as nothing moves while it is written. The words are for people: they
 * may change.
 *
 * Threads: any, callbacks and ferry's own included. Not a signal handler, since it allocates: if a
 * signal is to cause a dump let a thread wait for it, by sigwait(3) or signalfd(2). Never blocks,
 * unless write_line does. write_line is called on this thread, inside the call, with nothing
 * locked. It may call ferry. It may end the thread, unless that is one of ferry's own.
 * @return 0;
 *         -EINVAL: service or write_line is NULL.
 *         -ENOMEM: nothing was told.
 *         -ECHILD: the service was made before this process was forked.
 */
FERRY_API int ferry_service_dump(ferry_service *service, ferry_dump_callback *write_line,
                                 void *arg);

/*
 * Ends all work of a service in order, and tells how that went. Destroy it afterwards.
 *
 * Listeners are closed. Connections that nobody has accepted yet are reset by the kernel, unless
 * another process listens on the same socket, which then gets them. Connects that are under way are
 * called off (-ECANCELED). Each stream is closed as by ferry_stream_close: what is queued is sent
 * first, and its close is confirmed if its options say so. What waits to be read is not waited for.
 * Nothing can be begun any more, for good: submits, adopting, listening and connecting answer
 * -ESHUTDOWN, also in callbacks that run meanwhile. An on_stream that was on its way still comes,
 * with a stream that is closing. If a program sends an answer in several steps it calls
 * ferry_service_drain first.
 *
 * It waits until every stream, listener and connect has ended, or the time is up. The calling
 * thread's callbacks run meanwhile. Once all have ended, the callbacks that tell of it have run.
 *
 * It counts streams, of all that were open when the service was first stopped:
 *   - streams that have not ended when the time is up. ferry_service_get_status and
 *     ferry_service_dump tell what they still have. They go on, so another stop waits for them
 *     again; destroy aborts them.
 *   - streams whose close had an outcome that is not 0. A confirmed close failed (the peer did not
 *     answer in time, or was gone), or the program aborted the stream. Their peers may lack
 *     something.
 * A request that failed has its own outcome. It does not count if its stream could be closed, as a
 * poisoned stream can.
 *
 * Threads: any but ferry's own, also several at once; not inside a callback. It may be repeated.
 * @param timeout_ms milliseconds to wait; 0: not at all; -1: no limit.
 * @return 0: all have ended in order. A positive number: so many streams have not, as said above.
 *         After an error that is returned at once nothing was stopped:
 *         -EDEADLK: called on an owner thread or inside a callback.
 *         -ENOMEM.
 *         -EINVAL: service is NULL, or timeout_ms is below -1.
 *         -ECHILD: the service was made before this process was forked.
 * Example: tools/examples/epoll.c.
 */
FERRY_API int ferry_service_stop(ferry_service *service, int64_t timeout_ms);

/*
 * Ends a service at once. It ends every stream that is still open, closes every listener, and calls
 * off every connect that is under way (it waits for a name that is being looked up). It waits for
 * the threads to end, and closes the fds. When it returns no thread of the service runs, none of
 * its fds is open, and every promise that it made has settled. Peers of stalled streams do not
 * delay it. To end in order call ferry_service_stop first.
 *
 * What a stream still has queued settles with -ECANCELED. If any of that was to be sent, or the
 * stream is poisoned, the stream is aborted: a TCP peer gets a reset, and does not take a part for
 * the whole. Otherwise its peer gets all that was sent, and an end of file, as from a close without
 * confirmation. But if a duplicate of an adopted socket is open, the connection goes on with the
 * duplicate. In each case the outcome of the stream's close is -ECANCELED.
 *
 * Threads: any but ferry's own, also inside callbacks of the program's threads. On ferry's own it
 * is asserted against in debug builds; in other builds it logs an error and does nothing. No other
 * call on the service (adopting, draining, dumping) may be under way or follow. Only callbacks on
 * the service's own owners may still make some: adopting is refused there with -ESHUTDOWN, and a
 * dump tells what is left. Calls on its streams and promises are fine. In a forked child it does
 * nothing: the threads are the parent's.
 */
FERRY_API void ferry_service_destroy(ferry_service *service);

FERRY_END

#endif
