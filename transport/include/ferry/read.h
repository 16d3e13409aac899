/* SPDX-License-Identifier: MIT */
/*
 * Reading: what the peer sends. A stream's two directions know nothing of each other: a full socket
 * never keeps you from reading, and a peer that floods does not starve what is to be sent.
 *
 * Nothing is read before somebody wants it. There are two ways to want it, and they may be mixed:
 *   - a reader (ferry_stream_set_reader) is called with what has come, whenever something has come,
 *     or as often as it asked for (ferry_stream_demand);
 *   - a read takes the next bytes into memory of yours (ferry_stream_read), into a file
 *     (ferry_stream_read_to_file) or to another stream (ferry_stream_relay), and has a promise.
 * Reads are served first, in the order of their submits. What they leave is the reader's. What has
 * come and nobody has taken yet is kept, and comes first next time.
 *
 * At most 65,536 reads of a stream can wait. The next one is refused with -EAGAIN, or waits for
 * room (room_timeout_ms). Reads count against no limit of ferry_stream_options or
 * ferry_service_options: those are for sending. Readers, and what is asked of them, are never
 * refused for want of room.
 *
 * A reader and a relay keep the stream open, as a reference does. A read into memory or a file does
 * not: keep a reference until the read has settled. Otherwise the stream closes, and the read
 * settles with -ECANCELED.
 *
 * A reader is called on the thread that set it, when that thread runs its inbox. With on_owner it
 * is called on the stream's owner, which saves the way to another thread and back between a
 * question and its answer.
 *
 *   set_reader -> on_read, on_read, ... -> on_end, once, whatever happens
 *
 * The end: on_end is called after the last bytes. Then the stream is closed after what is queued,
 * unless the reader says keep_open. What else ends reading, beside the peer's end of file, is said
 * at ferry_end_callback. Closing a stream ends reading, too.
 */
#ifndef FERRY_READ_H
#define FERRY_READ_H

#include <ferry/stream.h>

FERRY_BEGIN

/*
 * Takes what it wants of the bytes that have come. What it does not take is kept. If it took some,
 * the rest is given again at once. If it took none, the bytes are given again together with what
 * comes behind them. So a reader that waits for the rest of a line takes nothing.
 *
 * @param data, length what has come, at least one byte; valid during the call.
 * @param at_end nothing comes behind it: what is not taken now is gone.
 * @return how many bytes it takes, from the first one on. More than length means all of them.
 */
typedef size_t ferry_read_callback(ferry_stream *stream, const void *data, size_t length,
                                   bool at_end, void *arg);

/*
 * Tells that reading has ended. It is called once, last of all. arg is not needed any more.
 *
 * @param error 0: the peer's end of file.
 *        -ECONNRESET, ...: what reading said.
 *        -ETIMEDOUT: the time of ferry_stream_read_within was up.
 *        -EMSGSIZE: on_read took nothing of high_bytes.
 *        -ECANCELED: the stream was closed or aborted, or its service destroyed.
 *        -EAGAIN: no thread could be started for a dedicated stream.
 *        -EMFILE, -ENFILE: a dedicated stream is read from for the first time, and had no fds to
 *        wait with.
 *        -ENOMEM.
 */
typedef void ferry_end_callback(ferry_stream *stream, int error, void *arg);

typedef struct ferry_reader {
    ferry_read_callback *on_read;
    ferry_end_callback *on_end; /* or NULL */
    void *arg;                  /* handed to both */

    /*
     * true: both are called on the stream's owner. They must not block, and cannot wait. They may
     * submit, close and abort. false: they are called on the thread that sets the reader.
     */
    bool on_owner;

    /* Leave the stream open when reading has ended. Otherwise it is closed after what is queued. */
    bool keep_open;

    /*
     * How often on_read is called; 0: without limit. After so many calls nothing is read any more,
     * until ferry_stream_demand asks for more.
     */
    int64_t shots;

    /*
     * How many bytes may wait to be taken. At high_bytes reading pauses, at low_bytes it goes on. 0
     * means 64 KiB for high_bytes, and half of high_bytes for low_bytes. More than high_bytes is
     * never offered: it is the longest line.
     */
    size_t high_bytes;
    size_t low_bytes;

    ferry_release *release; /* of arg: after on_end, or when another reader is set; NULL: none */
    uint64_t reserved[4];   /* 0 */
} ferry_reader;

/*
 * Has a reader called with what the peer sends. It replaces the reader before, whose on_end is not
 * called then. What has come and was not taken is offered to the new one.
 *
 * Threads: any that has an inbox; with on_owner also the owners. If another thread's reader is
 * replaced, it may still be in a call.
 * Borrows: reader, during this call; its arg, until on_end was called or the reader was replaced.
 * If the thread that set it ends first, reading ends, nothing of the reader is called any more, and
 * the log hook is told.
 * @param reader NULL: no reader any more; what comes is left to reads, or to the next reader.
 * @return 0;
 *         -EINVAL: stream or on_read is NULL, shots is negative, or low_bytes is above high_bytes.
 *         -ENOTSOCK: the stream is no socket, or a message socket.
 *         -ESHUTDOWN: it is closed.
 *         -EDEADLK: called without on_owner on an owner thread, which has no inbox.
 *         -ENOMEM.
 *         -ECHILD: the stream belongs to the parent of this forked process.
 * Source: recv(2), recvmsg(2).
 */
FERRY_API int ferry_stream_set_reader(ferry_stream *stream, const ferry_reader *reader);

/*
 * Says how often the reader is called from now on. 0 pauses it: nothing is read, so the peer's
 * sending comes to a halt as well, and its end is not noticed. A reader that is being called on
 * another thread may be called once more. The first demand after a pause offers the leftover bytes
 * again. Any other demand waits for new bytes.
 *
 * Threads: any. Never blocks.
 * @param shots how many more calls; 0: none for now; -1: without limit.
 * @return 0;
 *         -EINVAL: stream is NULL, or shots is below -1.
 *         -ENOTSOCK: the stream is no socket, or a message socket.
 *         -ESHUTDOWN: it is closed.
 *         -ENOMEM.
 *         -ECHILD: the stream belongs to the parent of this forked process.
 */
FERRY_API int ferry_stream_demand(ferry_stream *stream, int64_t shots);

/*
 * Lets reading end with -ETIMEDOUT when a time is up, unless it is called again before. It is for
 * peers that say nothing, or do not come to an end. It does not abort the stream: on_end may send a
 * last word.
 *
 * Threads: any. Never blocks. It costs next to nothing on the stream's owner.
 * @param timeout_ms milliseconds from now; -1: no limit.
 * @return 0;
 *         -EINVAL: stream is NULL, or timeout_ms is below -1.
 *         -ENOTSOCK: the stream is no socket, or a message socket.
 *         -ESHUTDOWN: it is closed.
 *         -ENOMEM.
 *         -ECHILD: the stream belongs to the parent of this forked process.
 */
FERRY_API int ferry_stream_read_within(ferry_stream *stream, int64_t timeout_ms);

/* When a read is complete. At the peer's end of file each of them is complete, too. */
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
    const void *delimiter;   /* FERRY_READ_UNTIL: what ends the read. Copied, if it fits into the
                                memory; a longer one cannot come */
    size_t delimiter_length; /* FERRY_READ_UNTIL: bytes of it, at least one */
    uint64_t reserved[2];    /* 0 */
} ferry_read;

/*
 * Reads the next bytes into memory.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it. Borrows: read, during this call; the
 * memory that it names, until the promise settles: nobody else may touch it before.
 * Settles: once the read is complete.
 * Cancel: it consumes nothing. What had come is there for the next read. The same holds when
 * timeout_ms of the options is up.
 * @param options on_owner, room_timeout_ms, timeout_ms, label; NULL: none.
 * @param ret_promise may be NULL.
 * @return 0, or an error that every submit can return (<ferry/stream.h>). Also
 *         -EINVAL: read is NULL, its memory is NULL while size is not 0, its mode is unknown, its
 *         delimiter is empty, or options has a completion or an on_progress.
 *         -ENOTSOCK: the stream is no socket, or a message socket.
 * Outcome: 0: result.sent bytes were read. at_end: the peer ended, and they may be fewer than
 * wanted, or none. Otherwise nothing was consumed, in phase source, or in phase queue if the read
 * had not begun:
 *   -EMSGSIZE         the memory is full, and what was to complete the read has not come
 *   -ECONNRESET, ...  what reading said
 *   -EMFILE, -ENFILE  a dedicated stream had no fds to wait with
 *   -ETIMEDOUT        its timeout_ms was up, or reading had ended with that
 *   -ECANCELED        it was cancelled, the stream was closed or aborted, or the service was
 *                     destroyed
 *   -ENOMEM
 * Source: recv(2), recvmsg(2).
 */
FERRY_API int ferry_stream_read(ferry_stream *stream, const ferry_read *read,
                                const ferry_request_options *options, ferry_promise **ret_promise);

/*
 * Stores the next bytes in a range of a file: file.length of them, or all that come until the peer
 * ends (FERRY_TO_END). A range that lies beyond the file's end leaves a hole.
 *
 * It stores by splice(2), without copying. Up to 128 KiB, and what comes in pieces of less than
 * 16 KiB, are received and written, as that costs less. If splice(2) is refused (a file open for
 * appending, a device, some file systems) it goes on at the same byte by copying. What had come
 * before and was kept is written first. An fd that is open with O_DIRECT gets every byte, too, if
 * its file can be opened anew without that flag.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it: the owner opens the file when its
 * turn has come, and writes. Borrows: file, and its path, during this call; its fd, as its flags
 * say.
 * Settles: when the last byte was stored, the peer has ended, or it has failed. Stored means
 * accepted by the kernel: it is on the disk only after fsync(2).
 * Cancel: it stops after the bytes that were stored so far, which result.sent counts exactly. What
 * comes behind them is there for the next read. The same holds when timeout_ms of the options is
 * up.
 * @param file by path or fd. offset: FERRY_CURRENT uses and advances the fd's position; an explicit
 *        offset leaves it alone; a path is written from its beginning, unless an offset is given.
 *        flags: FERRY_FD_GIVE, FERRY_FD_BORROW, FERRY_FILE_ZERO_COPY; of a path also
 *        FERRY_FILE_BENEATH, FERRY_FILE_CREATE, FERRY_FILE_EXCLUSIVE, FERRY_FILE_TRUNCATE.
 * @param options on_owner, room_timeout_ms, timeout_ms, label, on_progress and what belongs to it;
 *        NULL: none.
 * @param ret_promise may be NULL.
 * @return 0, or an error that every submit can return (<ferry/stream.h>). Also
 *   -EINVAL        file is NULL; names both path and fd, or neither; is shared, or has a resume
 *                  token; has flags that are unknown or do not go with it, or EXCLUSIVE without
 *                  CREATE; or a negative offset or length that is not FERRY_CURRENT or
 *                  FERRY_TO_END; or options has a completion
 *   -EBADF         its fd or dirfd is not open
 *   -EMFILE, -ENFILE  its fd or dirfd could not be duplicated
 *   -EOVERFLOW     offset + length overflow
 *   -ENAMETOOLONG  its path has more than 4095 bytes
 *   -ENOTSOCK      the stream is no socket, or a message socket
 * Outcome: 0: result.sent bytes were stored. at_end: the peer ended, and they may be fewer than
 * wanted: result.remaining did not come. method: SPLICE; COPY, if splicing was refused; MEMORY, if
 * all of it had come before, or was hardly worth splicing. Otherwise result.sent bytes were stored,
 * and the next read goes on behind them:
 *   -ENOENT, -EEXIST, ...  phase open: what open(2) said
 *   -EXDEV                 phase open: the path leads outside of dirfd
 *   -EISDIR                phase open: it is a directory
 *   -EBADF                 phase open: its fd is not open for writing
 *   -EOPNOTSUPP            phase open: it is a pipe, a socket or a terminal: adopt it, and relay to
 *                          it (ferry_stream_relay); phase sink: it would have to be copied
 *                          (FERRY_FILE_ZERO_COPY)
 *   -ESPIPE                phase open: an explicit offset in a file that has none
 *   -ENOSPC, -EDQUOT, -EFBIG, -EIO, ...  phase sink: what writing said; SIGXFSZ is never delivered
 *   -ECONNRESET, ...       phase source: what reading said
 *   -EMFILE, -ENFILE       phase source: a dedicated stream had no fds to wait with
 *   -ETIMEDOUT             its timeout_ms was up, or reading had ended with that
 *   -ECANCELED             it was cancelled, the stream was closed or aborted, or the service was
 *                          destroyed
 * What was taken from the socket and not stored is put back. If there is no memory for that, or no
 * way, reading ends with -ENOMEM, or with what was said: nothing is ever read over a gap.
 * Source: recv(2), recvmsg(2), pwritev2(2), splice(2), openat(2), openat2(2).
 */
FERRY_API int ferry_stream_read_to_file(ferry_stream *stream, const ferry_file *file,
                                        const ferry_request_options *options,
                                        ferry_promise **ret_promise);

/* flags of a relay: do not shut the other stream down when the peer has ended. */
#define FERRY_RELAY_KEEP_OPEN 1u

/*
 * Sends the next bytes that from's peer sends to another stream: length of them, or all until the
 * peer ends (FERRY_TO_END). After FERRY_TO_END to's writing direction is ended as well
 * (ferry_stream_shutdown), unless flags say otherwise. Two relays, there and back, make a proxy. If
 * to is from, a relay is an echo. When one of two relays fails, abort both streams: a close would
 * look to the peers like a whole end.
 *
 * It has its turn among the reads of from. Then it becomes one request of to: in to's order, under
 * to's framing, limiter and stall timeout, its bytes spliced. It is let in beyond to's limits,
 * since nobody else can read from meanwhile. Until it settles it counts among from's reads. Once
 * its turn has come it also counts among to's requests. It costs a duplicate of from's fd and,
 * while bytes flow, a pipe; without fds for that it copies. When it has settled, from's next read
 * goes on.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it wait for room among from's reads. It
 * keeps both streams open, as a reference does, until it settles.
 * Settles: when to's kernel has accepted the last byte, or when the completion of the options says.
 * Closing from calls it off. Closing to lets it finish first, like all that is queued there; that
 * is also so if to is from.
 * Cancel: if some of its bytes have left, to's framing says what becomes of to. What was not sent
 * is there for from's next read. The same holds when timeout_ms of the options is up.
 * @param from a stream socket, and not a message socket.
 * @param to any stream; may be from.
 * @param flags FERRY_RELAY_KEEP_OPEN, or 0.
 * @param options all of them; NULL: none. on_owner is called on from's owner. on_progress, if an
 *        owner submits the relay, is called on to's.
 * @param ret_promise may be NULL.
 * @return 0, or an error that every submit to from can return (<ferry/stream.h>). Also
 *         -EINVAL: to is NULL, length is negative and not FERRY_TO_END, or a flag is unknown.
 *         -ENOTSOCK: from is no socket, or a message socket.
 *         -ECHILD: one of them belongs to the parent of this forked process.
 * Outcome: 0: result.sent bytes were relayed; at_end: all until the peer's end. Otherwise
 * result.sent bytes have left, and from's next read goes on behind them:
 *   -EPIPE, -ESHUTDOWN, -ECANCELED, ...  what a request for data to to can have; from is not at
 *                                        fault
 *   -ENODATA             phase source: the peer has ended before length bytes
 *   -ECONNRESET, ...     phase source: what reading said; from's reading ends with that
 *   -EMFILE, -ENFILE     phase open: no fd could be had for it; phase source: a dedicated stream
 *                        had no fds to wait with
 *   -EAGAIN              phase queue: to has more than a million requests
 *   -ENOMEM              phase close: to could not be shut down
 *   -ECANCELED, -ETIMEDOUT  it was called off; from or to was closed or aborted; or the service was
 *                        destroyed
 * What was taken from the socket and not sent is put back. If there is no memory for that, from's
 * reading ends with -ENOMEM: nothing is ever read over a gap.
 * Source: splice(2), shutdown(2).
 */
FERRY_API int ferry_stream_relay(ferry_stream *from, ferry_stream *to, int64_t length,
                                 unsigned flags, const ferry_request_options *options,
                                 ferry_promise **ret_promise);

FERRY_END

#endif
