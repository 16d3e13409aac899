/* SPDX-License-Identifier: MIT */
/*
 * Streams: a connected socket, or any other writable fd, that ferry owns and any thread may post
 * to.
 *
 * Life: ferry_stream_adopt -> writes, transfers, flushes, from any threads -> (shutdown) -> close,
 * or abort -> ferry_stream_unref. Dropping the last reference without closing closes after what is
 * queued.
 *
 * Order: if a submit returned before another began, on any threads, its bytes leave first. A
 * request's bytes are contiguous. There is nothing to flush: what is submitted leaves as soon as
 * the fd takes it. Small writes that wait together leave together, and each settles with its own
 * result.
 *
 * Acceptance and outcome: a submit returns 0 if the request was queued, and then its promise
 * settles exactly once; or a negative errno, and then nothing was queued, no buffer or fd was
 * taken, and nothing settles. ret_promise may be NULL: fire and forget. "Sent" means accepted by
 * the kernel: the peer need not have it yet, and a file may be changed only once the peer has all
 * of it. What has not settled when the service is destroyed, or the process exits, is not sent:
 * ferry_service_stop first.
 *
 * Failure: a request that fails before its first byte (a missing file) leaves the stream healthy.
 * One that fails after some of its bytes left would desynchronise the peer: by default the stream
 * is poisoned, and later requests settle with -ECANCELED and send nothing; ferry_stream_status says
 * why. ferry_framing has other policies. Close works on any stream, and its outcome speaks of the
 * closing only: 0 does not mean that what was queued before has arrived. The close of a poisoned
 * stream is an ordinary one: its peer reads an end of file where the bytes broke off. Where it must
 * not take that for the whole, use ferry_stream_abort: a TCP peer gets a reset.
 *
 * Outcomes that every data request can carry, beside those of its sources:
 *   -EPIPE, -ECONNRESET, ...  phase sink: what the fd said; SIGPIPE is never delivered
 *   -ENOSPC, -EFBIG, ...      phase sink: likewise, where the stream is a file
 *   -EIO                      phase source or sink: of a file that is sent to a file by sendfile(2)
 *                             nobody can tell which
 *   -EMSGSIZE                 phase sink: a part is too large for one SEQPACKET message
 *   -EFAULT                   phase sink: borrowed or given memory is not there
 *   -ECANCELED                any phase: it was cancelled, the stream aborted or poisoned, the
 *                             service destroyed; phase queue if the request had not begun
 *   -ETIMEDOUT                any phase: its timeout_ms was up; phase sink: the peer stalled
 *   -ESHUTDOWN                phase queue: submitted while another thread closed or shut down
 *   -EAGAIN                   phase queue: no thread could be started for a dedicated stream
 *
 * Errors that every submit can return:
 *   -EINVAL     stream is NULL, room_timeout_ms below -1, another option out of its range
 *   -ESHUTDOWN  the stream is closed, shut down or aborted, or its service is gone
 *   -EAGAIN     the queue is at a limit of ferry_stream_options or ferry_service_options, and the
 *               submit was not to wait for room (room_timeout_ms)
 *   -ETIMEDOUT  it waited for room in vain; -EDEADLK: it was to wait where that would deadlock
 *   -EOVERFLOW  lengths that add up beyond what can be counted
 *   -ENOMEM
 *   -ECHILD     the stream belongs to the parent of this forked process
 */
#ifndef FERRY_STREAM_H
#define FERRY_STREAM_H

#include <ferry/fault.h>
#include <ferry/file.h>
#include <ferry/limiter.h>
#include <ferry/part.h>
#include <ferry/promise.h>
#include <ferry/service.h>
#include <stdbool.h>

FERRY_BEGIN

typedef struct ferry_stream ferry_stream;

/*
 * What becomes of a stream when a request fails, or is cancelled, after some of its bytes have
 * left. Either way its result says exactly how many, and the receipts stay contiguous.
 */
typedef enum ferry_framing {
    FERRY_FRAMING_POISON, /* nothing more is sent: the peer could not tell where it belongs */
    FERRY_FRAMING_PAD,    /* zeros leave in place of the rest, so that the next request begins where
                              it would have, had this one succeeded: at stream_offset + sent +
                              remaining. Where the planned length is not known it poisons. Not for
                              message sockets */
    FERRY_FRAMING_CONTINUE /* the next request follows directly: the protocol copes */
} ferry_framing;

/* What ferry_stream_close waits for, where close_timeout_ms says that it waits. */
typedef enum ferry_close_mode {
    FERRY_CLOSE_CONFIRMED, /* the peer's end of file: it has read everything, and ended as well. Where
                              it ended before: its kernel has everything, too */
    FERRY_CLOSE_LINGERING /* the peer's kernel has everything, the FIN included; for peers that keep
                              their own direction open */
} ferry_close_mode;

/*
 * Told when the queue (memory and files, in bytes) has reached the high watermark, and when it has
 * come down to the low one. What is undone before it could be told is not: it always alternates.
 * @param is_above whether it reached the high one. @param stream valid during the call.
 */
typedef void ferry_watermark_callback(ferry_stream *stream, bool is_above, void *arg);

typedef struct ferry_stream_options {
    /*
     * Requests that have not settled; 0: 65,536; at most 1,000,000. Reads are not counted: they have a
     * bound of their own (<ferry/read.h>). Nothing that is asked of reading ever refuses a write, and
     * nothing that waits to be sent a read.
     */
    uint32_t limit_requests;

    /*
     * Bytes of memory queued at once; 0: 64 MiB; at most 2^39. A single larger request is still taken
     * when nothing is queued. What a request takes beside its bytes is not counted: about 400 bytes, 50
     * more for each part, and 300 and its path for each file; nor are fds, one for each file that is
     * queued by fd, or by a path relative to a dirfd. Of those limit_requests bounds how many there are.
     */
    uint64_t limit_bytes;

    /*
     * Bytes of files, and other sources, queued at once, as far as they are known; 0: no limit.
     * Likewise. Costs each submit of a file to its end a look at its size.
     */
    uint64_t limit_file_bytes;

    /*
     * Watermarks of the queue, memory and files together; the low one is at most the high one, and
     * the high one is not 0 where there is an on_watermark. That may be NULL: nobody is told. It runs on the thread that adopts the stream, when
     * that runs its inbox; on an owner, if one adopts it.
     */
    uint64_t high_watermark_bytes;
    uint64_t low_watermark_bytes;
    ferry_watermark_callback *on_watermark;
    void *on_watermark_arg;

    /*
     * Confirmed close: how long ferry_stream_close waits, after sending FIN, for what close_mode says;
     * 0: it does not wait. And how much of the peer's input it reads away meanwhile; 0: 1 MiB; at most
     * 2^39. Sockets only.
     */
    int64_t close_timeout_ms;
    uint64_t close_bytes;
    ferry_close_mode close_mode;

    /*
     * How fast its bytes may leave, by itself or with others; NULL: as fast as they can. The stream
     * takes a reference of its own. And how many of its first bytes the limiter does not count.
     */
    ferry_limiter *limiter;
    uint64_t limiter_free_bytes;

    /*
     * TCP: what is submitted leaves at once, however little it is (TCP_NODELAY). Otherwise the kernel
     * holds a small end of it back until the peer has acknowledged what went before (Nagle): fewer
     * segments, and up to 40 ms more where question and answer alternate. Parts of one request, and
     * requests that wait together, leave together either way. Sockets that are not TCP have nothing of
     * the kind, and no need of it.
     */
    bool no_delay;

    /*
     * TCP: about how many bytes the kernel may hold that have not left this host yet
     * (TCP_NOTSENT_LOWAT); 0: as the system has it, a whole send buffer, which grows to 4 MiB; at most
     * 2^31 - 1; less than 128 KiB is raised to that, since the kernel sends packets of up to 64 KiB,
     * and waits for the rest of one. A slow peer then ties up about that much of the kernel's memory,
     * and not a whole buffer. Hundreds of full ones bring all TCP of the host under memory pressure,
     * and slow down fast peers, too. The less it is, the more often a transfer to a fast peer has to be
     * taken up again. Other sockets have small buffers anyway.
     */
    uint32_t limit_unsent_bytes;

    /* What a failure midway means for the rest. */
    ferry_framing framing;

    /*
     * Gives the stream up when its peer has taken no byte for so long while bytes waited for it; 0:
     * never. The request under way then fails with -ETIMEDOUT in phase sink, and the stream is
     * poisoned whatever its framing policy. Progress is any byte that the peer takes. Of a peer on
     * this host each byte that it reads is seen. Of one on another host its kernel's acknowledgements
     * are: it may read for a while out of its own buffer before that tells (a sixteenth of the buffer,
     * as Linux does it), so give slow readers time for that. Noticed a quarter to a half of the time
     * late.
     */
    int64_t stall_timeout_ms;

    /* For tests: what is to go wrong (<ferry/fault.h>); NULL: nothing. */
    ferry_faults *faults;

    /*
     * What dumps call it (ferry_service_dump), beside its fd and its peer; NULL: nothing. Copied, as
     * ferry_promise_set_label says.
     */
    const char *label;

    /*
     * Of on_watermark_arg; NULL: none. On any thread, when the last stream is gone that these options
     * are of, with all references to it; a listener's, once that is, too.
     */
    ferry_release *on_watermark_release;
} ferry_stream_options;

/*
 * When a data request has succeeded. "Acked" is when a file may be changed that was sent to another
 * host; a peer on this host shares the file's pages until it has read them. Looked for every 1 to
 * 50 milliseconds. Where there is no peer (files, terminals) all mean the same.
 */
typedef enum ferry_completion {
    FERRY_ACCEPTED, /* the kernel has taken its last byte */
    FERRY_DRAINED,  /* it has left this host's socket queue; unix socket, pipe: as acked */
    FERRY_ACKED /* the peer's kernel has it; unix socket, pipe: the peer has read it (or thrown it
                       away by closing) */
} ferry_completion;

/*
 * Told how many bytes of a request have left so far. Never two at once, and the newest number where
 * several came together; the last one before it settles need not be all. @param promise valid
 * during the call, as a ferry_callback's.
 */
typedef void ferry_progress_callback(ferry_promise *promise, uint64_t sent_bytes, void *arg);

/* What may be asked of a single request. NULL, or zero-initialised: nothing. */
typedef struct ferry_request_options {
    /*
     * Called on the stream's owner when the request is done, before what follows is sent: for
     * submitting what comes next without a detour over another thread. Others see the promise
     * settle once it has returned and on_owner_release was called: who awaits the promise may use what
     * it wrote. It must not block, and cannot wait (ferry_promise_await answers -EDEADLK but
     * with a timeout of 0); submitting and aborting are fine.
     */
    ferry_callback *on_owner;
    void *on_owner_arg;

    /*
     * How long the submit itself may wait for room in a full queue: 0: not at all, -EAGAIN says so;
     * otherwise milliseconds, or -1 for no limit, and then -ETIMEDOUT. A submit that may wait is
     * refused with -EDEADLK on an owner thread and in a callback, whether there is room or not. No
     * callback runs while it waits, and it holds nothing: what it is to send is copied, allocated or
     * duplicated once it has found room. It has its place in the stream's order then;
     * those who wait have no order among themselves, and may find it before an on_owner callback
     * that submits to the same stream does.
     */
    int64_t room_timeout_ms;

    /*
     * The time that all of it may take, waiting for its turn included: milliseconds from the submit
     * on; 0: no limit. When it is up the request fails with -ETIMEDOUT, as if it were cancelled.
     */
    int64_t timeout_ms;

    /*
     * When it has succeeded. If its connection is reset before, it fails with -ECONNRESET in phase sink,
     * all its bytes being sent. timeout_ms holds for the waiting, too, and a cancel ends it. What
     * comes after it leaves meanwhile; a flush, and a close, wait for it. An empty one speaks of what
     * was sent before it.
     */
    ferry_completion completion;

    /*
     * Called while its bytes leave: whenever progress_step_bytes more have left, and when
     * progress_interval_ms have passed and any have; 0: not by that; both 0: with every system call.
     * It runs on the submitting thread when that runs its inbox; on the stream's owner, if an owner
     * submits it. May be NULL.
     */
    ferry_progress_callback *on_progress;
    void *on_progress_arg;
    uint64_t progress_step_bytes;
    int64_t progress_interval_ms;

    /*
     * What it is called in reports and dumps, as by ferry_promise_set_label; NULL: nothing.
     */
    const char *label;

    ferry_release *on_owner_release;    /* of on_owner_arg: on the stream's owner; NULL: none */
    ferry_release *on_progress_release; /* of on_progress_arg: when it has settled, and no call is
                                           under way; NULL: none */
} ferry_request_options;

/* A look at a stream and its queue: right when it was taken, perhaps not when it is read. */
typedef struct ferry_stream_status {
    uint64_t sent_bytes;        /* accepted by the kernel since adoption */
    uint64_t queued_bytes;      /* of memory, in requests that have not settled */
    uint64_t queued_file_bytes; /* of files and other sources, likewise, as far as known */
    uint32_t queued_requests;   /* that have not settled, but for reads */
    uint32_t pending_reads;     /* reads that have not settled */
    uint64_t received_bytes; /* taken out of the socket since adoption, for whomever; what is kept
                                   until somebody takes it, too */
    int error; /* what the request that poisoned the stream failed with; or what its fd said, to a
                  request that failed before its first byte or to a read, when the connection was over:
                  -EPIPE, -ECONNRESET, -ECONNABORTED, -ETIMEDOUT, -ENOTCONN. 0: healthy, as far as it
                  is known: nobody has asked the fd since, perhaps */
} ferry_stream_status;

/*
 * Hands a connected socket, or another writable fd, to the service.
 *
 * TCP, unix stream, and unix SEQPACKET sockets (each write one message; files in messages of at
 * most 64 KiB), pipes (in packet mode, O_DIRECT, likewise), regular files, terminals and character
 * devices are taken. A socket that is still connecting is fine: requests wait in order.
 *
 * Who shares it, a duplicate of yours or another process, finds it as it was: O_NONBLOCK is left alone,
 * whichever way it is set, and may be changed at any time (a terminal or device that cannot be opened
 * anew through /proc is non-blocking for the time of a write). What no_delay and limit_unsent_bytes set
 * is put back at the close. A socket's SO_LINGER is neither honoured nor changed.
 *
 * To read from the socket as well, dup(2) it before adopting it and read from the duplicate. The
 * stream's close ends the writing direction also while duplicates are open; an abort cannot reset a
 * connection that has one.
 *
 * Threads: any. Takes: fd, unless it fails; from then on only ferry uses or closes it.
 * Gives: a reference to a stream.
 * @param options NULL: all defaults.
 * @return 0; -EBADF: fd is not open, or not for writing; -EISDIR: a directory; -ESOCKTNOSUPPORT: a
 *         datagram or raw socket; -EINVAL: service or ret_stream is NULL, a listening socket, an
 *         option out of its range, or FERRY_FRAMING_PAD for a message socket; -ENOTSOCK:
 *         close_timeout_ms on something that is no socket; -ENOMEM, -EMFILE, -ENFILE: what the
 *         stream needs could not be made; -ECHILD: after fork; -ESHUTDOWN: the service is stopped,
 *         or being destroyed.
 */
FERRY_API int ferry_stream_adopt(ferry_service *service, int fd,
                                 const ferry_stream_options *options, ferry_stream **ret_stream);

/*
 * Writes a copy of memory. A length of 0 is a marker: it settles in its turn and sends nothing. For
 * memory that is not to be copied use ferry_stream_send with ferry_part_borrow or ferry_part_give.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it. Borrows: data, during this call.
 * Settles: when its last byte was accepted by the kernel, even if more is queued behind it.
 * @return as every submit; -EINVAL also if data is NULL while length is not 0.
 * Outcome: as every data request. Source: sendmsg(2) with MSG_NOSIGNAL, writev(2).
 */
FERRY_API int ferry_stream_write(ferry_stream *stream, const void *data, size_t length,
                                 const ferry_request_options *options, ferry_promise **ret_promise);

/*
 * Transfers a range of a file.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it: the owner opens and reads. Borrows:
 * file, and its path, during this call; its fd according to its flags.
 * Settles: when the last byte was accepted by the kernel, or it failed.
 * @return as every submit, and
 *   -EINVAL        file is NULL, names more than one of path, fd and shared or none, has flags that
 *                  are unknown or do not go with it, GIVE and BORROW at once, or a negative offset
 *                  or length that is not FERRY_CURRENT or FERRY_TO_END
 *   -EBADF         its fd or dirfd is not open
 *   -EMFILE        it could not be duplicated; likewise -ENFILE
 *   -EOVERFLOW     offset + length overflow; so does a resume token's offset
 *   -ENAMETOOLONG  a path of more than 4095 bytes
 * Outcome: as every data request, and
 *   -ENOENT, -EACCES, ...  phase open: what open(2) said. While another process has a lease on it
 *                          (fcntl(2), F_SETLEASE) the request waits, as open(2) does
 *   -EXDEV                 phase open: the path leads outside dirfd; -ENOSYS: openat2(2), which
 *                          would tell, is not to be had (valgrind, some sandboxes)
 *   -EISDIR                phase open: it is a directory
 *   -EBADF                 phase open: its fd is not open for reading
 *   -ESPIPE                phase open: an explicit offset in a pipe, socket or terminal
 *   -ESTALE                phase open: not the file of the resume token, or changed since; phase
 *                          source: changed while it was sent (FERRY_FILE_STABLE)
 *   -EOPNOTSUPP            phase open, source: it would have to be copied (FERRY_FILE_ZERO_COPY)
 *   -ENODATA               phase source: the range ends, or begins, beyond the end of the file
 *                          (nothing was sent), or the file was cut short meanwhile
 *   -EOVERFLOW             phase source: the fd's position + length, or the files' lengths together,
 *                          overflow
 *   -EMFILE, -ENOMEM       phase open or source: what waiting for a pipe, or copying, needs
 *   -EIO, ...              phase source: what reading said
 * Pipes and sockets are spliced. Where sendfile or splice refuses the source or the sink, ferry
 * goes on at the same byte by reading and writing: same outcome, ret_result->method says
 * FERRY_METHOD_COPY.
 * Source: sendfile(2), splice(2), openat(2), openat2(2), preadv2(2).
 */
FERRY_API int ferry_stream_sendfile(ferry_stream *stream, const ferry_file *file,
                                    const ferry_request_options *options,
                                    ferry_promise **ret_promise);

/*
 * Sends several parts, memory and files, as one request: contiguous, one promise, one result. All
 * its files are opened and checked before its first byte leaves, so a missing file costs nothing
 * but this request. No parts at all make a marker.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it. Borrows: parts, during this call.
 * Takes: what each part says, unless it fails.
 * Settles: when the last part's last byte was accepted by the kernel, or a part failed.
 * @param count how many parts.
 * @return as every submit and as ferry_stream_sendfile; -EINVAL also if parts is NULL while count
 *         is not 0, or a part is of an unknown kind.
 * Outcome: as ferry_stream_sendfile.
 */
FERRY_API int ferry_stream_send(ferry_stream *stream, const ferry_part parts[], size_t count,
                                const ferry_request_options *options, ferry_promise **ret_promise);

/*
 * Tells the stream that a generator which said -EAGAIN can go on. Without one it does nothing, so
 * it is never too early; once after each -EAGAIN is enough.
 *
 * Threads: any, its owner's own callbacks included. Never blocks. NULL is fine.
 */
FERRY_API void ferry_stream_resume(ferry_stream *stream);

/*
 * Tells where a file transfer that failed can be taken up again (ferry_file.resume). In a request
 * of several parts it is the one that was not sent to its end.
 *
 * Threads: any, callbacks included. Never blocks.
 * @return 0; -ENODATA: there is nothing to take up: it did all that was asked, it failed before or
 *         after a file, or the file is not a regular one or never was opened; -EBUSY: it has not
 *         settled; -EINVAL: an argument is NULL, or the promise is not of a request with parts.
 */
FERRY_API int ferry_promise_get_resume_token(const ferry_promise *promise,
                                             ferry_resume_token *ret_token);

/*
 * Marks a place in the stream: settles when all that was submitted before it has settled, but for
 * reads, which have an order of their own. Nothing waits for it to leave; it is for knowing, not
 * for pushing. It is taken beyond the stream's limits too, so that a thread can wait for room;
 * -EAGAIN only with more than a million requests queued.
 *
 * Threads: any. Never blocks. @return as every submit; allowed after shutdown.
 * Outcome: 0, -ECANCELED, -ESHUTDOWN, -EAGAIN.
 */
FERRY_API int ferry_stream_flush(ferry_stream *stream, ferry_promise **ret_promise);

/*
 * Ends the writing direction after what is queued: the peer reads an end of file. Data submitted
 * afterwards is refused with -ESHUTDOWN; flush and close still work. May be repeated. Taken beyond
 * the stream's limits, as flush is.
 *
 * Threads: any. Never blocks.
 * @return as every submit; -ENOTSOCK: the stream is no socket: close it instead.
 * Outcome: 0; phase close: what shutdown(2) said; -ECANCELED; -ESHUTDOWN.
 */
FERRY_API int ferry_stream_shutdown(ferry_stream *stream, ferry_promise **ret_promise);

/*
 * Closes the stream after what is queued. Everything submitted afterwards is refused with
 * -ESHUTDOWN. Closing again is fine: it gives the same promise.
 *
 * With close_timeout_ms in its options the close is confirmed: ferry sends FIN and reads away what
 * the peer still sends until the peer ends too, or (FERRY_CLOSE_LINGERING) has everything. Without
 * it, input that nobody read makes the kernel answer with a reset, which can destroy the tail of
 * what was sent before the peer has read it.
 *
 * Threads: any. Never blocks.
 * Settles: when the fd is closed, which it always is, also by an abort or with its service.
 * @return 0; -EINVAL, -ENOMEM, -ECHILD.
 * Outcome: 0, or in phase close
 *   -ECANCELED             the stream was aborted, or its service destroyed
 *   -ETIMEDOUT             confirmed: the peer did not end in time
 *   -EMSGSIZE              confirmed: it sent more than close_bytes
 *   -ECONNRESET            confirmed: it reset the connection
 *   -EIO, -ENOSPC, ...     what close(2) said
 */
FERRY_API int ferry_stream_close(ferry_stream *stream, ferry_promise **ret_promise);

/*
 * Closes the stream now: nothing more is sent, a blocked call is got out, what is queued settles
 * with -ECANCELED (exactly counted), the peer of a TCP connection gets a reset.
 *
 * Threads: any. Never blocks. NULL is fine, and so is aborting again or after close.
 * Source: shutdown(2), SO_LINGER in socket(7).
 */
FERRY_API void ferry_stream_abort(ferry_stream *stream);

/*
 * Promises room: for callers that must not wait in a submit, and do not want to try again and
 * again. The promise settles with 0 once a request of so many bytes would be let in; oldest first,
 * but nothing is kept for it: another submit may be faster, and then -EAGAIN asks for another
 * promise. Not for callbacks on an owner, where ferry_promise_then is refused: there watermarks tell,
 * or the on_owner of what is queued.
 *
 * Threads: any. Never blocks. Cancel: it settles with -ECANCELED, inside that call already. So it does
 * when its last reference is given back and nobody is to be called back: whoever asks often, and waits
 * for a short time only, leaves nothing behind.
 * @param memory_bytes, file_bytes what the request needs.
 * @return 0; -EINVAL, -EOVERFLOW, -ENOMEM, -ECHILD.
 * Outcome: 0; phase queue: -ESHUTDOWN: the stream is closed or shut down; -ECANCELED.
 */
FERRY_API int ferry_stream_promise_room(ferry_stream *stream, uint64_t memory_bytes,
                                        uint64_t file_bytes, ferry_promise **ret_promise);

/*
 * Looks at the stream and its queue. Threads: any. Never blocks.
 * @return 0; -EINVAL: an argument is NULL.
 */
FERRY_API int ferry_stream_get_status(ferry_stream *stream, ferry_stream_status *ret_status);

/*
 * Tells who is at the other end: "127.0.0.1:4711", "[::1]:4711", "unix:/path", "unix:@name"; or just
 * "unix:" where the peer's socket has no name, as those of most clients, or one of more than 25
 * bytes. An IPv4 peer of a socket for both looks like one. It is what it was when the stream began.
 *
 * Threads: any. Never blocks. Also once the stream has ended.
 * @param buffer gets at most size bytes, NUL included.
 * @return the length of all of it without its NUL, as snprintf(3): size or more means that it was cut
 *         short; -ENOTSOCK: the stream is no socket; -ENOTCONN: it was not connected when it was
 *         adopted; -EINVAL: stream is NULL, or buffer is NULL while size is not 0.
 */
FERRY_API int ferry_stream_get_peer(ferry_stream *stream, char *buffer, size_t size);

/* Takes one more reference. Threads: any that holds one. @return stream; NULL for NULL. */
FERRY_API ferry_stream *ferry_stream_ref(ferry_stream *stream);

/*
 * Gives one reference back; the last one closes the stream after what is queued. Threads: any.
 * @return NULL, so that s = ferry_stream_unref(s) forgets it.
 */
FERRY_API ferry_stream *ferry_stream_unref(ferry_stream *stream);

FERRY_END

#endif
