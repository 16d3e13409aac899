/* SPDX-License-Identifier: MIT */
/*
 * The outcome of one request: what happened, how much of it, and where in the stream's byte order.
 *
 * The receipt is the pair (stream_offset, sent): the request's bytes are the stream's bytes from
 * stream_offset up to stream_offset + sent. The receipts of successive requests on one stream are
 * contiguous, so they add up to what the peer reads. A request that was called off before its turn
 * has no byte, and so no place in that order. Zeros that stand in for what failed
 * (FERRY_FRAMING_PAD) take the place of the request's remaining bytes.
 */
#ifndef FERRY_RESULT_H
#define FERRY_RESULT_H

#include <ferry/api.h>

FERRY_BEGIN

/* Where a request ended. Success carries FERRY_PHASE_DONE. One byte: results are kept by the
 * thousand. */
typedef enum __attribute__((packed)) ferry_phase {
    FERRY_PHASE_DONE,   /* it did all that was asked */
    FERRY_PHASE_QUEUE,  /* refused or called off before it began */
    FERRY_PHASE_OPEN,   /* while opening and checking its files */
    FERRY_PHASE_SOURCE, /* while reading from its source */
    FERRY_PHASE_SINK,   /* while giving bytes to the stream's fd */
    FERRY_PHASE_CLOSE,  /* while shutting down or closing the stream's fd */

    /* The steps of listening and connecting (<ferry/listen.h>, <ferry/connect.h>). */
    FERRY_PHASE_RESOLVE, /* finding what addresses a name has */
    FERRY_PHASE_SOCKET,  /* making or taking over the socket, or making a stream of it */
    FERRY_PHASE_BIND,    /* giving the socket its address */
    FERRY_PHASE_LISTEN,  /* beginning to listen */
    FERRY_PHASE_CONNECT, /* connecting */

    /* Of streams whose bytes are encrypted. */
    FERRY_PHASE_SECURE /* in the handshake: <ferry/tls.h> tells more */
} ferry_phase;

/*
 * How a request's bytes were moved. If its parts used several methods: the last of them in this
 * list.
 */
typedef enum __attribute__((packed)) ferry_method {
    FERRY_METHOD_NONE,     /* no byte was moved; or the bytes of several requests are added up */
    FERRY_METHOD_MEMORY,   /* send(2), sendmsg(2) or writev(2) from memory; recv(2) into it */
    FERRY_METHOD_SENDFILE, /* sendfile(2) */
    FERRY_METHOD_SPLICE,   /* splice(2): from a pipe or a socket */
    FERRY_METHOD_COPY      /* read, or generated, and written through a buffer */
} ferry_method;

/*
 * Why a result is -ECANCELED. No other error has a cause.
 */
typedef enum __attribute__((packed)) ferry_cause {
    FERRY_CAUSE_NONE,   /* the error is not -ECANCELED; or the program gave -ECANCELED and no cause,
                           which counts as a cancel */
    FERRY_CAUSE_CANCEL, /* ferry_promise_cancel was called, on this promise or on one made of it;
                           or a group, a timeout or a map did not need it any more; or a promise of
                           the program's own was dropped while it was pending */
    FERRY_CAUSE_CLOSE,  /* a read: its stream was closed */
    FERRY_CAUSE_ABORT,  /* its stream was aborted */
    FERRY_CAUSE_BROKEN, /* its stream had broken before its turn: an earlier request failed after
                           some of its bytes had left. ferry_stream_get_status has that error */
    FERRY_CAUSE_DESTROY, /* its service was destroyed */
    FERRY_CAUSE_GONE     /* the thread that it was made on, or read by, has ended */
} ferry_cause;

typedef struct ferry_result {
    int error;           /* 0, or a negative errno */
    ferry_phase phase;   /* where it ended */
    ferry_method method; /* how its bytes were moved */
    bool at_end;         /* a read: the peer's end of file came before, or with, its last byte */
    ferry_cause cause;   /* if error is -ECANCELED: why */
    uint64_t sent;       /* bytes of this request that the kernel accepted; a read's: taken */
    uint64_t remaining;  /* planned bytes that did not leave: sent + remaining is what was planned.
                               A source of unknown size counts as planned as far as it was read. A
                               file to its end that was never opened counts 0 */
    uint64_t stream_offset; /* where its first byte lies in the stream's order, from 0 at adoption;
                               of a read: in what the peer sent */
    uint64_t sequence;      /* its number in the stream's order, from 0 at adoption; reads have an
                               order of their own */
    int64_t queued_ns;      /* from the submit call until its turn came */
    int64_t active_ns;      /* from then until it settled */
    uint64_t reserved[1];   /* 0 */
} ferry_result;

/* Names a phase in one lower-case word ("open"). Threads: any. @return a static string. */
FERRY_API const char *ferry_phase_name(ferry_phase phase);

/* Names a method in one lower-case word ("sendfile"). Threads: any. @return a static string. */
FERRY_API const char *ferry_method_name(ferry_method method);

/* Names a cause in one lower-case word ("broken"). Threads: any. @return a static string. */
FERRY_API const char *ferry_cause_name(ferry_cause cause);

/*
 * Writes a result as one line for people, for instance:
 *
 *   ENOENT in open: No such file or directory (0 bytes sent, 10 remaining)
 *   ECANCELED in queue: called off before it was complete: the stream had broken (0 bytes sent, 10
 *     remaining)
 *   1024 bytes sent by sendfile
 *   1024 bytes sent       several requests' bytes are added up (<ferry/combine.h>)
 *   done                  success without a byte
 *
 * A failure of the program's own that has no phase and no counts is written without them. The bytes
 * that a read has stored are called "sent", too.
 *
 * Threads: any. Never blocks, never allocates.
 * @param result what to describe.
 * @param buffer gets at most size bytes, NUL included.
 * @return the length of the whole line without its NUL, as snprintf(3) gives it: size or more means
 *         that the line was cut short.
 *         -EINVAL: result is NULL, or buffer is NULL while size is not 0.
 */
FERRY_API int ferry_result_format(const ferry_result *result, char *buffer, size_t size);

FERRY_END

#endif
