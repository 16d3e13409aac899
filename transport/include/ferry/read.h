/* SPDX-License-Identifier: MIT */
/*
 * Reading: what the peer sends. A stream's two directions know nothing of each other: a full socket
 * never keeps one from reading, and who floods does not starve who reads.
 *
 * Nothing is read before somebody wants it. There are two ways to want it, which may be mixed:
 *   - a reader (ferry_stream_set_reader) is called with what has come, whenever something has, or as
 *     often as it asked for (ferry_stream_demand);
 *   - a read (ferry_stream_read) takes the next bytes into memory of yours, and says so by a
 *     promise.
 * Reads are served first, in the order of their submits; what they leave is the reader's. What has
 * come and nobody has taken yet is kept, and comes first next time.
 *
 * A reader is called on the thread that set it, when that runs its inbox; or, with on_owner, on the
 * stream's owner, which saves the way to another thread and back between a question and its answer.
 *
 *   set_reader -> on_read, on_read, ... -> on_end, once, whatever happens
 *
 * The end: after the last bytes on_end is called, and unless the reader says keep_open the stream is
 * closed after what is queued. Until then the reader keeps the stream open, as a reference does. What
 * ends reading beside the peer's end of file is said at ferry_end_callback. Closing a stream ends
 * reading, too.
 */
#ifndef FERRY_READ_H
#define FERRY_READ_H

#include <ferry/stream.h>

FERRY_BEGIN

/*
 * Takes what it wants of the bytes that have come. What it does not take is kept, and given again
 * with what comes behind it; at once, while it takes some and some are left. So who waits for the
 * rest of a line takes nothing.
 *
 * @param data, length what has come, at least one byte; valid during the call.
 * @param at_end nothing comes behind it: whatever is not taken now is gone.
 * @return how many bytes it takes, from the first one on.
 */
typedef size_t ferry_read_callback(ferry_stream *stream, const void *data, size_t length,
                                   bool at_end, void *arg);

/*
 * Reading has ended: called once, last of all; arg is not needed any more.
 *
 * @param error 0: the peer's end of file. -ECONNRESET, ...: what reading said. -ETIMEDOUT: the time of
 *        ferry_stream_read_within was up. -EMSGSIZE: on_read took nothing of high_bytes.
 *        -ECANCELED: the stream was closed or aborted, or its service destroyed. -EAGAIN: no thread
 *        could be started for a dedicated stream. -ENOMEM.
 */
typedef void ferry_end_callback(ferry_stream *stream, int error, void *arg);

typedef struct ferry_reader {
    ferry_read_callback *on_read;
    ferry_end_callback *on_end; /* or NULL */
    void *arg;                  /* handed to both */

    /*
     * Call them on the stream's owner. They must not block, and cannot wait; submitting, closing and
     * aborting are fine. Otherwise: on the thread that sets the reader.
     */
    bool on_owner;

    /* Leave the stream open when reading has ended. Otherwise it is closed after what is queued. */
    bool keep_open;

    /*
     * How often on_read is called; 0: without limit. After so many calls nothing is read until
     * ferry_stream_demand asks for more.
     */
    int64_t shots;

    /*
     * How many bytes may wait to be taken: at high_bytes reading pauses, at low_bytes it goes on. 0:
     * 64 KiB, and half of high_bytes. More than high_bytes is never offered: it is the longest line.
     */
    size_t high_bytes;
    size_t low_bytes;
} ferry_reader;

/*
 * Has a reader called with what the peer sends, instead of the one before, whose on_end is not
 * called then. What has come and was not taken is offered to the new one.
 *
 * Threads: any that has an inbox; with on_owner also the owners. A reader that another thread
 * replaces may still be in a call of its own.
 * Borrows: reader, during this call; its arg until on_end, or until it was replaced. If the thread
 * that set it ends first reading ends, nothing of it is called any more, and the log hook is told.
 * @param reader NULL: no reader any more; what comes is left to reads, or to the next one.
 * @return 0; -EINVAL: stream is NULL, on_read is, shots is negative, or low_bytes above high_bytes;
 *         -ENOTSOCK: the stream is no socket; -ESHUTDOWN: it is closed; -EDEADLK: on an owner, which
 *         has no inbox, without on_owner; -EAGAIN: a million requests and such calls are under way;
 *         -ENOMEM; -ECHILD: after fork.
 * Source: recv(2).
 */
FERRY_API int ferry_stream_set_reader(ferry_stream *stream, const ferry_reader *reader);

/*
 * Says how often the reader is called from now on. 0 pauses it: nothing is read, so the peer's
 * sending comes to a halt as well, and its end is not noticed. While it is called on another thread
 * it may be called once more. After 0, a demand for more also offers again what it did not take; any
 * other demand waits for what comes behind that.
 *
 * Threads: any.
 * @param shots so many calls more; 0: none for now; -1: without limit.
 * @return 0; -EINVAL: stream is NULL, or shots below -1; -ENOTSOCK, -ESHUTDOWN, -EAGAIN, -ENOMEM,
 *         -ECHILD.
 */
FERRY_API int ferry_stream_demand(ferry_stream *stream, int64_t shots);

/*
 * Lets reading end with -ETIMEDOUT when the time is up, unless it is called again before: for peers
 * that say nothing, or do not come to an end. The stream is not aborted by it: on_end may send a last
 * word.
 *
 * Threads: any. Costs next to nothing on the stream's owner.
 * @param timeout_ms milliseconds from now; -1: no limit.
 * @return 0; -EINVAL: stream is NULL, or timeout_ms below -1; -ENOTSOCK, -ESHUTDOWN, -EAGAIN, -ENOMEM,
 *         -ECHILD.
 */
FERRY_API int ferry_stream_read_within(ferry_stream *stream, int64_t timeout_ms);

/* When a read is complete. Any is so at the peer's end of file, too. */
typedef enum ferry_read_mode {
    FERRY_READ_SOME,    /* once there is at least one byte */
    FERRY_READ_EXACTLY, /* once the memory is full */
    FERRY_READ_UNTIL,   /* once the delimiter has come; it is the last of what was read */
    FERRY_READ_TO_END   /* at the peer's end of file only */
} ferry_read_mode;

/* What is to be read, and where to. */
typedef struct ferry_read {
    void *data;  /* memory of yours; may be NULL if size is 0 */
    size_t size; /* bytes of it */
    ferry_read_mode mode;
    const void *delimiter;   /* FERRY_READ_UNTIL: at least one byte. Copied */
    size_t delimiter_length; /* likewise */
} ferry_read;

/*
 * Reads the next bytes into memory.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it. Borrows: read, during this call; the
 * memory that it names until it settles: nobody else may touch it before.
 * Settles: once it is complete, on the submitting thread as ever.
 * Cancel, and timeout_ms of the options: it consumes nothing; what had come is there for the next.
 * @param options on_owner, room_timeout_ms, timeout_ms; NULL: none.
 * @return as every submit; -EINVAL also if read is NULL, its memory is while size is not 0, its mode
 *         is unknown, its delimiter empty, or options has a completion or on_progress; -ENOTSOCK: the
 *         stream is no socket.
 * Outcome: 0: result.sent bytes were read; at_end: the peer ended, and it may be fewer than wanted, or
 *         none. Otherwise nothing was consumed, phase source (phase queue: not even begun):
 *   -EMSGSIZE       the memory is full, and what was to complete it has not come
 *   -ECONNRESET, …  what reading said
 *   -ETIMEDOUT      its timeout_ms was up; or reading had ended with that
 *   -ECANCELED      it was cancelled, the stream closed or aborted, the service destroyed
 *   -ENOMEM
 * Source: recv(2).
 */
FERRY_API int ferry_stream_read(ferry_stream *stream, const ferry_read *read,
                                const ferry_request_options *options,
                                ferry_promise **ret_promise);

FERRY_END

#endif
