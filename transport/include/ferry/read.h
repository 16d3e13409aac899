/* SPDX-License-Identifier: MIT */
/*
 * Reading: what the peer sends. A stream's two directions know nothing of each other: a full socket
 * never keeps one from reading, and who floods does not starve who reads.
 *
 * Nothing is read before somebody wants it. There are ways to want it, which may be mixed:
 *   - a reader (ferry_stream_set_reader) is called with what has come, whenever something has, or as
 *     often as it asked for (ferry_stream_demand);
 *   - a read takes the next bytes into memory of yours (ferry_stream_read), into a file
 *     (ferry_stream_receive) or to another stream (ferry_stream_relay), and says so by a promise.
 * Reads are served first, in the order of their submits; what they leave is the reader's. What has
 * come and nobody has taken yet is kept, and comes first next time.
 *
 * At most 65,536 reads of a stream can wait; the next one is -EAGAIN, or waits for room
 * (room_timeout_ms). They count against no limit of ferry_stream_options or ferry_service_options, which
 * are those of sending. Readers, and what is asked of them, are never refused for want of room.
 *
 * A reader and a relay keep the stream open, as a reference does. A read into memory or a file does
 * not: keep a reference until it has settled, or the stream closes and it settles with -ECANCELED.
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
 * @return how many bytes it takes, from the first one on; more than length are all of them.
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

    ferry_release *release; /* of arg: after on_end, or when another reader is set; NULL: none */
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
 *         has no inbox, without on_owner; -ENOMEM; -ECHILD: after fork.
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
 * @return 0; -EINVAL: stream is NULL, or shots below -1; -ENOTSOCK, -ESHUTDOWN, -ENOMEM, -ECHILD.
 */
FERRY_API int ferry_stream_demand(ferry_stream *stream, int64_t shots);

/*
 * Lets reading end with -ETIMEDOUT when the time is up, unless it is called again before: for peers
 * that say nothing, or do not come to an end. The stream is not aborted by it: on_end may send a last
 * word.
 *
 * Threads: any. Costs next to nothing on the stream's owner.
 * @param timeout_ms milliseconds from now; -1: no limit.
 * @return 0; -EINVAL: stream is NULL, or timeout_ms below -1; -ENOTSOCK, -ESHUTDOWN, -ENOMEM,
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
    const void *delimiter;   /* FERRY_READ_UNTIL: at least one byte. Copied, if it fits
                                in the memory: else it cannot come */
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
                                const ferry_request_options *options, ferry_promise **ret_promise);

/*
 * Stores the next bytes in a range of a file: file.length of them, or all that come until the peer
 * ends (FERRY_TO_END). A range that lies beyond the file's end leaves a hole. By splice(2), without
 * copying; where that is refused (a file open for appending, a device, a file system that cannot) it
 * goes on at the same byte by copying. What has come and was kept is written first. An fd that is
 * open with O_DIRECT gets every byte, too, where its file can be opened anew without that.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it: the owner opens the file, when its turn
 * has come, and writes. Borrows: file, and its path, during this call; its fd according to its flags.
 * Settles: when the last byte was stored, the peer has ended, or it failed. Stored means accepted by
 * the kernel: it is not on the disk before fsync(2).
 * Cancel, and timeout_ms of the options: it stops after the bytes stored so far, which result.sent
 * counts exactly; what comes behind them is there for the next read.
 * @param file by path or fd. offset: FERRY_CURRENT uses and advances the fd's position, an explicit
 *        one leaves it alone; a path is written from its beginning, but for an offset. flags:
 *        FERRY_FD_GIVE, FERRY_FD_BORROW; FERRY_FILE_BENEATH, _CREATE, _EXCLUSIVE, _TRUNCATE of a
 *        path; FERRY_FILE_ZERO_COPY.
 * @param options on_owner, room_timeout_ms, timeout_ms, on_progress and what belongs to it; NULL:
 *        none.
 * @return as every submit, and
 *   -EINVAL        file is NULL, names both path and fd or neither, shared, or resume; has flags that
 *                  are unknown or do not go with it, EXCLUSIVE without CREATE, or a negative offset
 *                  or length that is not FERRY_CURRENT or FERRY_TO_END; options has a completion
 *   -EBADF         its fd or dirfd is not open
 *   -EMFILE        it could not be duplicated; likewise -ENFILE
 *   -EOVERFLOW     offset + length overflow
 *   -ENAMETOOLONG  a path of more than 4095 bytes
 *   -ENOTSOCK      the stream is no socket
 * Outcome: 0: result.sent bytes were stored; at_end: the peer ended, and it may be fewer than wanted:
 * result.remaining did not come. method: SPLICE; COPY, where that was refused; MEMORY, where all of it
 * had come before, or was hardly worth it. Otherwise
 * result.sent were stored, and the next read goes on behind them:
 *   -ENOENT, -EEXIST, ...  phase open: what open(2) said
 *   -EXDEV                 phase open: the path leads outside dirfd
 *   -EISDIR                phase open: it is a directory
 *   -EBADF                 phase open: its fd is not open for writing
 *   -EOPNOTSUPP            phase open: it is a pipe, a socket or a terminal: adopt it, and relay
 *                          (ferry_stream_relay); phase sink: it would have to be copied
 *                          (FERRY_FILE_ZERO_COPY)
 *   -ESPIPE                phase open: an explicit offset in what has none
 *   -ENOSPC, -EDQUOT, -EFBIG, -EIO, ...  phase sink: what writing said; SIGXFSZ is never delivered
 *   -ECONNRESET, ...       phase source: what reading said
 *   -ETIMEDOUT             its timeout_ms was up; or reading had ended with that
 *   -ECANCELED             it was cancelled, the stream closed or aborted, the service destroyed
 * Where there is no memory, or no way, to put back what was taken from the socket and not stored,
 * reading ends with -ENOMEM, or what was said: a gap is never read over.
 * Source: splice(2), openat(2), openat2(2), pwritev2(2), recv(2).
 */
FERRY_API int ferry_stream_receive(ferry_stream *stream, const ferry_file *file,
                                   const ferry_request_options *options,
                                   ferry_promise **ret_promise);

/* flags of a relay: do not shut the other stream down when the peer has ended. */
#define FERRY_RELAY_KEEP_OPEN 1u

/*
 * Sends the next bytes that from's peer sends to another stream: length of them, or all until the
 * peer ends (FERRY_TO_END); then to's writing direction is ended as well (ferry_stream_shutdown),
 * unless flags say otherwise. Two relays, there and back, make a proxy; with to being from, an echo.
 * When one of the two fails, abort both streams: to close them would look like a whole end to the peer.
 *
 * It has its turn among the reads of from, and then becomes one request of to: in to's order, under
 * its framing, its limiter and its stall timeout, its bytes spliced; but let in beyond to's limits,
 * since from cannot be read by others meanwhile; until it settles it counts among from's reads and, once
 * its turn has come, among to's requests.
 * It costs a duplicate of from's fd and, while bytes flow, a pipe; without fds for that it copies. When
 * it has settled the next read goes on.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it, for room among from's reads. Keeps both
 * streams open, as a reference does, until it settles.
 * Settles: when to's kernel has accepted the last byte, or as the completion of the options says.
 * Closing from calls it off; closing to lets it finish first, as all that is queued there: an echo,
 * therefore, too. Cancel, and timeout_ms: as of to's request: if some of its bytes have left, to's framing says what
 * becomes of to. What was not sent is there for from's next read.
 * @param from a stream socket. @param to any stream, from itself included.
 * @param flags FERRY_RELAY_KEEP_OPEN, or 0.
 * @param options all of them; on_owner is called on from's owner, on_progress, if an owner submits
 *        the relay, on to's. NULL: none.
 * @return as every submit to from; -EINVAL also if to is NULL, length negative and not FERRY_TO_END,
 *         or a flag unknown; -ENOTSOCK: from is no socket, or one of messages; -ECHILD.
 * Outcome: 0: result.sent bytes were relayed; at_end: all until the peer's end. Otherwise result.sent
 * have left, and from's next read goes on behind them:
 *   -EPIPE, -ESHUTDOWN, -ECANCELED, ...  as every data request of to; from is not at fault
 *   -ENODATA             phase source: the peer has ended before length bytes
 *   -ECONNRESET, ...     phase source: what reading said; from's reading ends with that
 *   -EMFILE, -ENFILE     phase open: no fd could be had for it
 *   -EAGAIN              phase queue: to has more than a million requests
 *   -ENOMEM              phase close: to could not be shut down
 *   -ECANCELED, -ETIMEDOUT  it was called off; from or to closed or aborted; the service destroyed
 * Where there is no memory to put back what had been taken from the socket and not sent, from's
 * reading ends with -ENOMEM: a gap is never read over.
 * Source: splice(2), shutdown(2).
 */
FERRY_API int ferry_stream_relay(ferry_stream *from, ferry_stream *to, int64_t length,
                                 unsigned flags, const ferry_request_options *options,
                                 ferry_promise **ret_promise);

FERRY_END

#endif
