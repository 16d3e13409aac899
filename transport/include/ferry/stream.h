/* SPDX-License-Identifier: MIT */
/*
 * Streams: a connected socket, or any other writable fd, that ferry owns and any thread may post
 * to.
 *
 * Life: ferry_stream_adopt -> writes, transfers, marks, from any threads -> (shutdown) -> close,
 * detach or abort -> ferry_stream_unref. Dropping the last reference without closing closes the
 * stream after what is queued.
 *
 * Order: if a submit returned before another one began, on any threads, its bytes leave first. A
 * request's bytes are contiguous. There is nothing to flush: what is submitted leaves as soon as
 * the fd takes it. Small writes that wait together leave together, and each settles with its own
 * result.
 *
 * Acceptance and outcome: a submit returns 0 if the request was queued, and then its promise
 * settles exactly once. Or it returns a negative errno: then nothing was queued, no buffer or fd
 * was taken, and nothing settles. ret_promise may be NULL: then nobody learns the outcome. "Sent"
 * means accepted by the kernel: the peer need not have it yet, and a file may be changed only once
 * the peer has all of it. What has not settled when the service is destroyed, or the process exits,
 * is not sent: call ferry_service_stop first.
 *
 * Failure: a request that fails before its first byte (a missing file) leaves the stream healthy. A
 * request that fails after some of its bytes left would desynchronise the peer. By default the
 * stream is then poisoned: later requests settle with -ECANCELED and send nothing, and
 * ferry_stream_get_status says why. ferry_framing has other policies.
 *
 * Closing: close works on any stream. Its outcome speaks of the closing only: 0 does not mean that
 * what was queued before has arrived. The close of a poisoned stream is an ordinary one: its peer
 * reads an end of file where the bytes broke off. If the peer must not take that for the whole, use
 * ferry_stream_abort: a TCP peer gets a reset.
 *
 * Outcomes that every request for data can have, beside those of its sources:
 *   -EPIPE, -ECONNRESET, ...  phase sink: what the fd said; SIGPIPE is never delivered
 *   -ENOSPC, -EFBIG, ...      phase sink: what the fd said, if the stream is a file
 *   -EIO                      phase source or sink: if a file is sent to a file by sendfile(2)
 *                             nobody can tell which of the two failed
 *   -EMSGSIZE                 phase sink: a part is too large for one SEQPACKET message
 *   -EFAULT                   phase sink: borrowed or given memory is not there
 *   -ECANCELED                any phase: it was cancelled, the stream was aborted or poisoned, or
 *                             the service was destroyed; phase queue: before the request had begun
 *   -ETIMEDOUT                any phase: its timeout_ms was up; phase sink: the peer stalled
 *   -ESHUTDOWN                phase queue: it was submitted while another thread closed or shut
 *                             down
 *   -EAGAIN                   phase queue: no thread could be started for a dedicated stream
 *
 * Errors that every submit can return:
 *   -EINVAL     stream is NULL, room_timeout_ms is below -1, or another option is out of its range
 *   -ESHUTDOWN  the stream is closed, shut down or aborted, or its service is gone
 *   -EAGAIN     the queue is at a limit of ferry_stream_options or ferry_service_options, and the
 *               submit was not to wait for room (room_timeout_ms)
 *   -ETIMEDOUT  it waited for room in vain
 *   -EDEADLK    it was to wait for room in a callback or on an owner thread, where that would
 *               deadlock
 *   -EOVERFLOW  lengths add up beyond what can be counted
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
 * left. With each policy the result says exactly how many have left, and the receipts stay
 * contiguous.
 */
typedef enum ferry_framing {
    FERRY_FRAMING_POISON, /* nothing more is sent: the peer could not tell where it belongs */
    FERRY_FRAMING_PAD,    /* zeros leave in place of the rest, so that the next request begins where
                              it would have begun if this one had succeeded: at stream_offset + sent
                              + remaining. If the planned length is not known the stream is
                              poisoned. Not for message sockets */
    FERRY_FRAMING_CONTINUE /* the next request follows directly: the protocol copes */
} ferry_framing;

/* What ferry_stream_close waits for, if close_timeout_ms says that it waits. */
typedef enum ferry_close_mode {
    FERRY_CLOSE_CONFIRMED, /* the peer's end of file: it has read everything, and ended as well. If
                              the peer ended before, or is expected to send no more
                              (ferry_stream_expect_no_more): until its kernel has everything */
    FERRY_CLOSE_LINGERING /* the peer's kernel has everything, the FIN included. For peers that keep
                              their own direction open: a confirmed close would wait until its time
                              is up. FERRY_COMPLETION_ACKED says as much of a request; but a close
                              behind it reads nothing away, and may be a reset */
} ferry_close_mode;

/*
 * Tells that the queue (memory and files, in bytes) has reached the high watermark, or has come
 * down to the low one. Calls alternate between true and false. If the level has crossed back before
 * the callback could run, neither crossing is told.
 * @param stream valid during the call.
 * @param is_above true: it reached the high watermark; false: it came down to the low one.
 */
typedef void ferry_watermark_callback(ferry_stream *stream, bool is_above, void *arg);

typedef struct ferry_tls_context ferry_tls_context;

/*
 * A stream whose bytes are encrypted. Contexts are made with <ferry/tls.h>, of the library that
 * stands beside this one. All else of the stream stays as it is: bytes are counted as the program
 * gives and gets them.
 *
 * The handshake comes first. A listener's on_stream is called after it, and a connect's promise
 * settles after it. ferry_stream_adopt returns at once, and what is submitted waits for its end.
 */
typedef struct ferry_tls_options {
    ferry_tls_context *context; /* required; the stream takes a reference of its own */

    /*
     * A client's: the name that the server's certificate must have, and that the server is told
     * (SNI): a host's, or the digits of its address. NULL: the host that ferry_connect was given.
     * Copied. A server's: NULL.
     */
    const char *name;

    /*
     * How many milliseconds the handshake may take; 0: 10,000. When they are up the stream fails
     * with -ETIMEDOUT in phase secure.
     */
    int64_t handshake_timeout_ms;

    /*
     * For ferry_stream_adopt, where the connection has spoken without TLS before (STARTTLS): what
     * was read of the peer's handshake already: what ferry_promise_get_unread gives. Copied; at
     * most 65,536 bytes.
     */
    const void *received;
    size_t received_length;
    uint64_t reserved[4]; /* 0 */
} ferry_tls_options;

typedef struct ferry_stream_options {
    /*
     * How many requests may be unsettled; 0: 65,536; at most 1,000,000. Reads are not counted: they
     * have a bound of their own (<ferry/read.h>). Reading never causes a write to be refused, and
     * what waits to be sent never causes a read to be refused.
     */
    uint32_t limit_requests;

    /*
     * How many bytes of memory may be queued; 0: 64 MiB; at most 2^39. A single larger request is
     * still taken when nothing is queued. What a request takes beside its bytes is not counted:
     * about 400 bytes, 50 more for each part and for each 64 KiB of a copy, and 300 and its path
     * for each file. That, and each copy of more than a KiB, is rounded up to 512 bytes, 768,
     * 1,024, 1,536, and so on, two steps to a doubling. Nor are fds counted: one for each file that
     * is queued by fd, or by a path relative to a dirfd. limit_requests bounds these.
     *
     * Who copies much, and waits for room, does best with a few MiB: copies that wait for longer
     * have left the processor's cache by the time they are sent, which costs two to three times
     * the processor time.
     */
    uint64_t limit_bytes;

    /*
     * How many bytes of files and other sources may be queued, as far as their sizes are known; 0:
     * no limit. A single larger request is still taken when no such bytes are queued. It bounds how
     * long a new request waits for those before it: files take no memory, so limit_bytes does not
     * say. When it is set, each submit of a file with FERRY_TO_END asks for the file's size
     * (stat(2)) on the submitting thread.
     */
    uint64_t limit_file_bytes;

    /*
     * Watermarks of the queue, memory and files together, in bytes. The low one is at most the high
     * one. The high one is not 0 if there is an on_watermark. on_watermark may be NULL: nobody is
     * told. It runs on the thread that adopts the stream, when that thread runs its inbox. With
     * watermark_on_owner it runs on the stream's owner, at once: so an on_read there may stop
     * asking for more. It does so too if an owner's callback adopts the stream. There it must not
     * block, and cannot wait.
     */
    uint64_t high_watermark_bytes;
    uint64_t low_watermark_bytes;
    ferry_watermark_callback *on_watermark;
    void *on_watermark_arg;
    bool watermark_on_owner;

    /*
     * Confirmed close. close_timeout_ms: how many milliseconds ferry_stream_close waits, after
     * sending FIN, for what close_mode says; 0: it does not wait. close_bytes: how much of the
     * peer's input it reads away meanwhile; 0: 1 MiB; at most 2^39. Sockets only.
     */
    int64_t close_timeout_ms;
    uint64_t close_bytes;
    ferry_close_mode close_mode;

    /*
     * limiter: how fast the stream's bytes may leave, alone or together with other streams; NULL:
     * as fast as they can. The stream takes a reference of its own. limiter_free_bytes: how many of
     * the stream's first bytes the limiter does not count.
     */
    ferry_limiter *limiter;
    uint64_t limiter_free_bytes;

    /*
     * TCP: what is submitted leaves at once, however little it is (TCP_NODELAY). Otherwise the
     * kernel holds a small end back until the peer has acknowledged what went before (Nagle's
     * algorithm). That makes fewer segments, and up to 40 ms more if question and answer alternate.
     * The parts of one request, and requests that wait together, leave together with either
     * setting. Sockets that are not TCP ignore it: they send at once anyway.
     */
    bool no_delay;

    /*
     * TCP: about how many bytes the kernel may hold that have not left this host yet
     * (TCP_NOTSENT_LOWAT); 0: what the system has set, usually a whole send buffer, which grows to
     * 4 MiB; at most 2^31 - 1. Less than 128 KiB is raised to 128 KiB, since the kernel sends
     * packets of up to 64 KiB, and waits for the rest of one. A slow peer then ties up about that
     * much of the kernel's memory, and not a whole buffer. Hundreds of full buffers bring all TCP
     * of the host under memory pressure, and slow down fast peers, too. The less it is, the more
     * often a transfer to a fast peer has to be taken up again. Other sockets have small buffers,
     * and ignore it.
     */
    uint32_t notsent_lowat_bytes;

    /* What a failure midway means for the rest. */
    ferry_framing framing;

    /*
     * Gives the stream up when its peer has taken no byte for so many milliseconds while bytes
     * waited for it; 0: never. The request under way then fails with -ETIMEDOUT in phase sink, and
     * the stream is poisoned, whatever its framing policy says. Progress is any byte that the peer
     * takes. If the peer is on this host, each byte that it reads is seen. If it is on another
     * host, its kernel's acknowledgements are seen: the peer may read out of its own buffer for a
     * while before they tell (a sixteenth of the buffer, on Linux), so give slow readers time for
     * that. A stall is noticed a quarter to a half of the time late, that of a peer on a unix
     * socket up to one and a quarter of it.
     */
    int64_t stall_timeout_ms;

    /* For tests: what is to go wrong (<ferry/fault.h>); NULL: nothing. */
    ferry_faults *faults;

    /*
     * What dumps call the stream (ferry_service_dump), beside its fd and its peer; NULL: nothing.
     * Copied: at most 63 bytes, and whole characters of UTF-8.
     */
    const char *label;

    /*
     * Releases on_watermark_arg; NULL: nothing is to be released. It is called on any thread, when
     * the last stream that was made with these options is gone, with all references to it. The
     * options of a listener are kept until the listener is gone, too.
     */
    ferry_release *on_watermark_release;

    /* Its bytes are encrypted so; NULL: they are not. Copied. Stream sockets only. */
    const ferry_tls_options *tls;
    uint64_t reserved[7]; /* 0 */
} ferry_stream_options;

/*
 * When a request for data has succeeded. Once it is acked, a file that was sent to another host may
 * be changed. A peer on this host shares the file's pages until it has read them. ferry looks every
 * 1 to 50 milliseconds whether it is so. If there is no peer (files, terminals) all three mean the
 * same.
 */
typedef enum ferry_completion {
    FERRY_COMPLETION_ACCEPTED, /* the kernel has taken its last byte */
    FERRY_COMPLETION_DRAINED,  /* it has left this host's socket queue; unix socket, pipe: the peer
                                  has read it, or has thrown it away by closing */
    FERRY_COMPLETION_ACKED     /* the peer's kernel has it; unix socket, pipe: the peer has read it,
                                  or has thrown it away by closing */
} ferry_completion;

/*
 * Tells how many bytes of a request have left so far. There are never two calls at once. If several
 * numbers have come together, the newest one is told. The last number that is told before the
 * request settles may be less than all.
 * @param promise valid during the call. To keep it take a reference with ferry_promise_ref.
 */
typedef void ferry_progress_callback(ferry_promise *promise, uint64_t sent_bytes, void *arg);

/* What may be asked of a single request. NULL, or zero-initialised: nothing. */
typedef struct ferry_request_options {
    /*
     * Called on the stream's owner when the request is done. It is for submitting what comes next
     * without a detour over another thread. It is called before the promise settles: other threads
     * see the promise settle once on_owner has returned and on_owner_release was called. So a
     * thread that awaits the promise may use what on_owner wrote. The calls are made in the order
     * of the requests. What follows the request may have left by then, with the same system call; a
     * close that follows may have closed the fd. It must not block, and it cannot wait:
     * ferry_promise_await answers -EDEADLK there, unless its timeout is 0. It may submit and abort.
     */
    ferry_callback *on_owner;
    void *on_owner_arg;

    /*
     * Nothing that follows is sent before on_owner has returned. It is for a callback that aborts
     * the stream when the request has failed before its first byte, so that what follows is not
     * taken for it. Each such request takes a system call of its own.
     */
    bool on_owner_holds_queue;

    /*
     * How many milliseconds the submit itself may wait for room in a full queue. 0: it does not
     * wait, and answers -EAGAIN. -1: no limit. When the time is up it answers -ETIMEDOUT. A submit
     * that may wait is refused with -EDEADLK on an owner thread and in a callback, whether there is
     * room or not. No callback runs while it waits. It holds nothing while it waits: what it is to
     * send is copied, allocated or duplicated once it has found room. Only then it has its place in
     * the stream's order. Submits that wait have no order among themselves. They may find room
     * before an on_owner callback does that submits to the same stream. Where requests leave one by
     * one, a submit may wait a millisecond more, so that its thread is not woken for each.
     */
    int64_t room_timeout_ms;

    /*
     * How many milliseconds the request may take, from the submit on, waiting for its turn
     * included; 0: no limit. When they are up the request is called off, and fails with -ETIMEDOUT.
     */
    int64_t timeout_ms;

    /*
     * When the request has succeeded. If its connection is reset before that, the request fails
     * with -ECONNRESET in phase sink, although all its bytes were sent. timeout_ms also holds for
     * this wait, and a cancel ends it. Requests behind it leave meanwhile. A mark and a close wait
     * for it. An empty request speaks of what was sent before it.
     */
    ferry_completion completion;

    /*
     * Called while its bytes leave: whenever progress_step_bytes more have left, and whenever
     * progress_interval_ms milliseconds have passed and some bytes have left. 0 turns that rule
     * off; both 0: with every system call. It runs on the submitting thread, when that thread runs
     * its inbox. If an owner's callback submits the request, it runs on the stream's owner. May be
     * NULL.
     */
    ferry_progress_callback *on_progress;
    void *on_progress_arg;
    uint64_t progress_step_bytes;
    int64_t progress_interval_ms;

    /*
     * What reports and dumps call the request; NULL: nothing. Copied: at most 63 bytes, and whole
     * characters of UTF-8.
     */
    const char *label;

    ferry_release *on_owner_release;    /* of on_owner_arg: on the stream's owner, right after
                                           on_owner; NULL: none */
    ferry_release *on_progress_release; /* of on_progress_arg: when the request has settled, and no
                                           call is under way; NULL: none */
    uint64_t reserved[4];               /* 0 */
} ferry_request_options;

/* A look at a stream and its queue: right when it was taken, perhaps not when it is read. */
typedef struct ferry_stream_status {
    uint64_t sent_bytes;        /* accepted by the kernel since adoption */
    uint64_t queued_bytes;      /* of memory, in requests that have not settled */
    uint64_t queued_file_bytes; /* of files and other sources, in requests that have not settled, as
                                   far as they are known */
    uint32_t queued_requests;   /* that have not settled, reads not counted */
    uint32_t pending_reads;     /* reads that have not settled */
    uint64_t received_bytes; /* taken out of the socket since adoption, whoever asked for them; what
                                   is kept until somebody takes it is included */
    int error; /* what the request that poisoned the stream failed with. Or the end of the
                  connection, as its fd told it to a read, or to a request that failed before its
                  first byte: -EPIPE, -ECONNRESET, -ECONNABORTED, -ETIMEDOUT, -ENOTCONN. 0: healthy,
                  as far as is known: perhaps nobody has asked the fd since */
    uint64_t reserved[8]; /* 0 */
} ferry_stream_status;

/*
 * Hands a connected socket, or another writable fd, to the service.
 *
 * It takes TCP, unix stream and unix SEQPACKET sockets, pipes, regular files, terminals and
 * character devices. Each write to a SEQPACKET socket, or to a pipe in packet mode (O_DIRECT), is
 * one message; files go there in messages of at most 64 KiB. A socket that is still connecting is
 * fine: requests wait in order. A pipe stays as large as it is: one of 1 MiB (F_SETPIPE_SZ) takes
 * large files about twice as fast as one of 64 KiB.
 *
 * A duplicate of yours, or another process, may share the fd, and finds it as it was: O_NONBLOCK is
 * left alone, whether it is set or not, and may be changed at any time. (A terminal or device that
 * cannot be opened anew through /proc is non-blocking for the time of a write.) What no_delay and
 * notsent_lowat_bytes set is put back at the close. A socket's SO_LINGER is neither honoured nor
 * changed.
 *
 * A dedicated service that waits for room in a blocking socket sets its SO_SNDTIMEO. It also sets
 * O_NONBLOCK, for the moment in which a request is called off. Both are as they were when the last
 * queued request's outcome is told. Until then a call on a duplicate may fail with EAGAIN: call it
 * again.
 *
 * To read from the socket yourself, dup(2) it before adopting it, and read from the duplicate. The
 * stream's close ends the writing direction also while duplicates are open. An abort cannot reset a
 * connection that has one.
 *
 * Threads: any. Takes: fd, unless the call fails; from then on only ferry uses or closes it.
 * Gives: a reference to a stream.
 * @param options NULL: all defaults.
 * @return 0;
 *         -EBADF: fd is not open, or not for writing.
 *         -EISDIR: it is a directory.
 *         -ESOCKTNOSUPPORT: it is a datagram or raw socket.
 *         -EINVAL: service or ret_stream is NULL, fd is a listening socket, an option is out of its
 *         range, or FERRY_FRAMING_PAD is set for a message socket.
 *         -ENOTSOCK: close_timeout_ms is set for something that is no socket.
 *         -ENOMEM, -EMFILE, -ENFILE: what the stream needs could not be made.
 *         -ECHILD: the service was made before this process was forked.
 *         -ESHUTDOWN: the service is stopped, or is being destroyed.
 */
FERRY_API int ferry_stream_adopt(ferry_service *service, int fd,
                                 const ferry_stream_options *options, ferry_stream **ret_stream);

/*
 * Writes a copy of memory. A length of 0 makes a marker: it settles in its turn and sends nothing.
 * To send memory that is not to be copied use ferry_stream_send with ferry_part_borrow or
 * ferry_part_give.
 *
 * Writes of up to 4 KiB whose outcomes nobody asks for, with no option but room_timeout_ms, share
 * memory, whatever threads they are of. So a thread may wait, for a moment, for another one that
 * makes such memory; and what is behind such a write waits until its thread has copied it.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it. Borrows: data, during this call.
 * Settles: when the kernel has accepted its last byte, even if more is queued behind it.
 * @param options NULL: all defaults.
 * @param ret_promise may be NULL: nobody will ask.
 * @return 0, or an error that every submit can return (see the top of this header). -EINVAL also
 *         means that data is NULL while length is not 0.
 * Outcome: 0, or one that every request for data can have (see the top of this header).
 * Source: send(2) and sendmsg(2) with MSG_NOSIGNAL, writev(2).
 */
FERRY_API int ferry_stream_write(ferry_stream *stream, const void *data, size_t length,
                                 const ferry_request_options *options, ferry_promise **ret_promise);

/*
 * Transfers a range of a file.
 *
 * Pipes and sockets are spliced. If sendfile(2) or splice(2) refuses the source or the sink, ferry
 * goes on at the same byte by reading and writing. The outcome is the same; the result's method is
 * then FERRY_METHOD_COPY.
 *
 * A range of a file of 16 KiB at most that the kernel has in memory may be read as well, so that it
 * leaves in one call with what is queued around it. Its method is FERRY_METHOD_COPY, too.
 * FERRY_FILE_ZERO_COPY forbids that.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it: the owner opens and reads the file.
 * Borrows: file, and its path, during this call; its fd, as its flags say.
 * Settles: when the kernel has accepted the last byte, or the transfer has failed.
 * @param options NULL: all defaults.
 * @param ret_promise may be NULL: nobody will ask.
 * @return 0, or an error that every submit can return (see the top of this header), or
 *   -EINVAL        file is NULL; it names more than one of path, fd and shared, or none; it has
 *                  flags that are unknown or do not go with it, or GIVE and BORROW at once; or a
 *                  negative offset or length that is not FERRY_CURRENT or FERRY_TO_END
 *   -EBADF         its fd or dirfd is not open
 *   -EMFILE, -ENFILE  its fd or dirfd could not be duplicated
 *   -EOVERFLOW     offset + length overflow, or a resume token's offset + length do
 *   -ENAMETOOLONG  its path has more than 4095 bytes
 * Outcome: 0, or one that every request for data can have (see the top of this header), or
 *   -ENOENT, -EACCES, ...  phase open: what open(2) said. While another process has a lease on the
 *                          file (fcntl(2), F_SETLEASE) the request waits, as open(2) does
 *   -EXDEV                 phase open: the path leads outside of dirfd
 *   -ENOSYS                phase open: FERRY_FILE_BENEATH needs openat2(2), which is not to be had
 *                          (valgrind, some sandboxes)
 *   -EISDIR                phase open: it is a directory
 *   -EBADF                 phase open: its fd is not open for reading
 *   -ESPIPE                phase open: an explicit offset in a pipe, socket or terminal
 *   -ESTALE                phase open: it is not the file of the resume token, or has changed
 *                          since; phase source: it was changed while it was sent
 *                          (FERRY_FILE_STABLE)
 *   -EOPNOTSUPP            phase open, source: it would have to be copied (FERRY_FILE_ZERO_COPY)
 *   -ENODATA               phase source: the range begins or ends beyond the end of the file
 *                          (nothing was sent), or the file was cut short meanwhile
 *   -EOVERFLOW             phase source: the fd's position + length overflow, or the lengths of the
 *                          request's files do together
 *   -EMFILE, -ENOMEM       phase open or source: what waiting for a pipe, or copying, needs
 *   -EIO, ...              phase source: what reading said
 * Source: sendfile(2), splice(2), openat(2), openat2(2), preadv2(2).
 */
FERRY_API int ferry_stream_sendfile(ferry_stream *stream, const ferry_file *file,
                                    const ferry_request_options *options,
                                    ferry_promise **ret_promise);

/*
 * Sends several parts, memory and files, as one request: contiguous, with one promise and one
 * result. All its files are opened and checked before its first byte leaves, so a missing file
 * costs nothing but this request. No parts at all make a marker: it settles in its turn and sends
 * nothing.
 *
 * Threads: any. Never blocks, unless room_timeout_ms lets it. Borrows: parts, during this call.
 * Takes: what each part says, unless the call fails.
 * Settles: when the kernel has accepted the last part's last byte, or a part has failed.
 * @param count how many parts.
 * @param options NULL: all defaults.
 * @param ret_promise may be NULL: nobody will ask.
 * @return 0, an error that every submit can return (see the top of this header), or one that
 *         ferry_stream_sendfile can return for a part's file. -EINVAL also means that parts is NULL
 *         while count is not 0, or that a part is of an unknown kind.
 * Outcome: 0, one that every request for data can have (see the top of this header), one that
 *         ferry_stream_sendfile can have, or one that a generator gave (<ferry/part.h>).
 * Source: send(2), sendmsg(2), writev(2), sendfile(2), splice(2).
 */
FERRY_API int ferry_stream_send(ferry_stream *stream, const ferry_part parts[], size_t count,
                                const ferry_request_options *options, ferry_promise **ret_promise);

/*
 * Tells the stream that a generator which said -EAGAIN can go on. If no generator waits it does
 * nothing, so it is never too early. Call it once after each -EAGAIN.
 *
 * Threads: any, the callbacks of the stream's owner included. Never blocks. stream may be NULL.
 */
FERRY_API void ferry_stream_wake_generator(ferry_stream *stream);

/*
 * Tells where a file transfer that failed can be taken up again (ferry_file.resume). If the request
 * had several parts, the token is of the part that was not sent to its end.
 *
 * Threads: any, callbacks included. Never blocks.
 * @return 0;
 *         -ENODATA: there is nothing to take up. The request did all that was asked, or failed
 *         before or after a file, or the file is not a regular one, or it was never opened.
 *         -EBUSY: the promise has not settled.
 *         -EINVAL: an argument is NULL, or the promise is not of a request with parts.
 */
FERRY_API int ferry_promise_get_resume_token(const ferry_promise *promise,
                                             ferry_resume_token *ret_token);

/*
 * Marks a place in the stream. The promise settles when all that was submitted before it has
 * settled. Reads are not waited for: they have an order of their own. A mark makes nothing leave
 * sooner; it is for knowing. It is let in beyond the stream's limits, so that a thread can wait for
 * room by it.
 *
 * Threads: any. Never blocks. Also after a shutdown.
 * @param ret_promise may be NULL: nobody will ask.
 * @return 0;
 *         -EINVAL: stream is NULL.
 *         -ESHUTDOWN: the stream is closed or aborted, or its service is gone.
 *         -EAGAIN: more than a million requests are queued.
 *         -ENOMEM.
 *         -ECHILD: the stream belongs to the parent of this forked process.
 * Outcome: 0; -ECANCELED: the mark was cancelled, the stream was aborted or poisoned, or the
 *         service was destroyed; -ESHUTDOWN: it was submitted while another thread closed; -EAGAIN:
 *         no thread could be started for a dedicated stream.
 */
FERRY_API int ferry_stream_mark(ferry_stream *stream, ferry_promise **ret_promise);

/*
 * Ends the writing direction after what is queued: the peer reads an end of file. Data that is
 * submitted afterwards is refused with -ESHUTDOWN. Marks and close still work. It may be repeated.
 * It is let in beyond the stream's limits.
 *
 * Threads: any. Never blocks. Cancel: -EOPNOTSUPP.
 * Settles: when the direction has ended.
 * @param ret_promise may be NULL: nobody will ask.
 * @return 0;
 *         -EINVAL: stream is NULL.
 *         -ENOTSOCK: the stream is no socket: close it instead.
 *         -ESHUTDOWN: the stream is closed or aborted, or its service is gone.
 *         -EAGAIN: more than a million requests are queued.
 *         -ENOMEM.
 *         -ECHILD: the stream belongs to the parent of this forked process.
 * Outcome: 0; phase close: what shutdown(2) said; -ECANCELED: the stream was aborted or poisoned,
 *         or the service was destroyed; -ESHUTDOWN: it was submitted while another thread closed.
 * Source: shutdown(2).
 */
FERRY_API int ferry_stream_shutdown(ferry_stream *stream, ferry_promise **ret_promise);

/*
 * Closes the stream after what is queued. Everything that is submitted afterwards is refused with
 * -ESHUTDOWN. Closing again is fine: it gives the same promise.
 *
 * With close_timeout_ms in the stream's options the close is confirmed: ferry sends FIN, and reads
 * away what the peer still sends, until the peer ends too, or (FERRY_CLOSE_LINGERING) has
 * everything. Without that, input that nobody has read makes the kernel answer with a reset. A
 * reset can destroy the end of what was sent before the peer has read it. A peer that sends nothing
 * more need not be waited for: ferry_stream_expect_no_more.
 *
 * Threads: any. Never blocks. Cancel: -EOPNOTSUPP.
 * Settles: when the fd is closed. It always is, also by an abort or with its service.
 * @param ret_promise may be NULL: nobody will ask.
 * @return 0;
 *         -EINVAL: stream is NULL.
 *         -ENOMEM.
 *         -ECHILD: the stream belongs to the parent of this forked process.
 * Outcome: 0, or in phase close
 *   -ECANCELED             the stream was aborted, or its service destroyed
 *   -ETIMEDOUT             confirmed: the peer did not end in time
 *   -EMSGSIZE              confirmed: the peer sent more than close_bytes
 *   -ECONNRESET            confirmed: the peer reset the connection
 *   -EIO, -ENOSPC, ...     what close(2) said
 * Source: shutdown(2), close(2).
 */
FERRY_API int ferry_stream_close(ferry_stream *stream, ferry_promise **ret_promise);

/*
 * Says that the peer sends nothing more, although its end of file has not come: its protocol has
 * told so. A request of HTTP's with "Connection: close" does, once all of it has come, or SMTP's
 * QUIT. A confirmed close of the stream then does not wait for the peer's end. As long as somebody
 * has the close's promise, or a reference to the stream, it still waits until the peer's kernel has
 * everything; else for nothing at all. So a server need not wake up once more for each connection
 * that it ends.
 *
 * Say it before the close: said later, it may be noticed only once the peer does something. A peer
 * that sends something all the same may get a reset, which can destroy the end of what was sent.
 * Without close_timeout_ms it changes nothing. Nor does it over TLS, where a peer may send its end
 * of the encryption at any time.
 *
 * Threads: any. Never blocks. It may be repeated, and cannot be taken back.
 * @return 0;
 *         -EINVAL: stream is NULL.
 *         -ECHILD: the stream belongs to the parent of this forked process.
 * Source: RFC 9112, 9.6.
 */
FERRY_API int ferry_stream_expect_no_more(ferry_stream *stream);

/*
 * Takes the connection out of the stream again, after what is queued. The stream ends; the peer
 * notices nothing. So a program can have ferry send a file in the middle of a protocol of its own:
 * adopt, sendfile, detach, and go on with send(2). Everything that is submitted afterwards is
 * refused with -ESHUTDOWN, and a close gives the promise of the detach.
 *
 * Reading ends as with a close: reads that are not complete fail with -ECANCELED, and a reader is
 * told that. They have consumed nothing, so no byte is lost: ferry_promise_get_unread gives what
 * had come and was not taken, also if reading had ended before with -ETIMEDOUT, say.
 *
 * The fd is the one that was adopted, or was made for the connection, with the flags and options as
 * they were before. One that ferry has accepted or connected is close-on-exec and non-blocking. If
 * a request has failed midway, the fd is given back all the same: the outcomes of the requests say
 * how much of them the peer has got.
 *
 * Threads: any. Never blocks. Cancel: -EOPNOTSUPP; an abort calls it off.
 * Settles: when all that was queued has left (its completion included), and what was on its way to
 * a reader on another thread, or to a relay, has come back. So that thread must run its inbox.
 * Outcome: 0; or, with the connection closed, in phase close
 *   -ECANCELED  the stream was aborted, or its service destroyed
 *   -ENODATA    bytes that had come are lost: there was no memory to keep them, or no way to get
 *               them back
 * @param ret_promise its promise, from which the fd is taken.
 * @return 0;
 *         -EINVAL: stream or ret_promise is NULL.
 *         -ENOTSOCK: the stream is no socket.
 *         -EOPNOTSUPP: its bytes are not those of the socket (encryption).
 *         -ESHUTDOWN: the stream is closed, detached or aborted already.
 *         -ENOMEM.
 *         -ECHILD: the stream belongs to the parent of this forked process.
 */
FERRY_API int ferry_stream_detach(ferry_stream *stream, ferry_promise **ret_promise);

/*
 * Takes the fd of a connection that was detached. It is yours from then on. If nobody takes it, it
 * is closed with the last references to the promise and the stream.
 *
 * Threads: any, callbacks included. Never blocks.
 * @return the fd;
 *         -ENODATA: there is none: the detach has failed, or the fd was taken before.
 *         -EBUSY: the promise has not settled.
 *         -EINVAL: promise is NULL, or not of a detach or close.
 */
FERRY_API int ferry_promise_get_fd(ferry_promise *promise);

/*
 * Tells which bytes had come on a connection before it was detached, and were not taken. They come
 * before those that recv(2) gives.
 *
 * Threads: any, callbacks included. Never blocks.
 * @param ret_data gets their address, valid as long as the promise; NULL if there are none.
 * @param ret_size gets how many they are.
 * @return 0;
 *         -ENODATA: the detach has failed.
 *         -EBUSY: the promise has not settled.
 *         -EINVAL: an argument is NULL, or the promise is not of a detach or close.
 */
FERRY_API int ferry_promise_get_unread(const ferry_promise *promise, const void **ret_data,
                                       size_t *ret_size);

/*
 * Closes the stream now. Nothing more is sent. A call that is blocked comes to its end. What is
 * queued settles with -ECANCELED and exact counts. The peer of a TCP connection gets a reset.
 *
 * Threads: any. Never blocks. stream may be NULL. It may be repeated, and may follow a close.
 * Source: shutdown(2), SO_LINGER in socket(7).
 */
FERRY_API void ferry_stream_abort(ferry_stream *stream);

/*
 * Has another limiter say how fast the stream's bytes may leave, from now on. It takes the place of
 * the one in the stream's options, or of the last that was set. What is under way goes on at the
 * new rate. What limiter_free_bytes has left stays free, unless there is no limiter in between.
 *
 * Threads: any, callbacks of owners included. Never blocks. Gives: nothing; the stream takes a
 * reference of its own.
 * @param limiter NULL: as fast as they can.
 * @return 0;
 *         -EINVAL: stream is NULL.
 *         -ESHUTDOWN: the stream has ended.
 *         -EAGAIN: 4,096 such calls have not reached the owner, which is held up.
 *         -ENOMEM.
 *         -ECHILD: stream or limiter belongs to the parent of this forked process.
 */
FERRY_API int ferry_stream_set_limiter(ferry_stream *stream, ferry_limiter *limiter);

/*
 * Promises room: for threads that must not wait in a submit, and do not want to try again and
 * again. Watermarks tell of one stream's bytes; room is what all limits leave, those of requests
 * and of the service included, which other streams may have filled. The promise settles with 0 once
 * a request of so many bytes would be let in, the oldest promise first. No room is kept for it:
 * another submit may be faster. Then the submit answers -EAGAIN, and you ask for another promise.
 * It is not for callbacks on an owner, where ferry_promise_observe is refused. An owner learns of
 * room by watermarks, or by the on_owner of what is queued.
 *
 * Threads: any. Never blocks.
 * Cancel: it settles with -ECANCELED, inside the call of ferry_promise_cancel. It also settles so
 * when its last reference is given back and nobody is to be called back. So a thread that asks
 * often, and waits for a short time only, leaves nothing behind.
 * @param memory_bytes, file_bytes how many bytes of each the request needs.
 * @return 0;
 *         -EINVAL: stream or ret_promise is NULL.
 *         -EOVERFLOW: the bytes are beyond what can be counted.
 *         -ENOMEM.
 *         -ECHILD: the stream belongs to the parent of this forked process.
 * Outcome: 0; phase queue: -ESHUTDOWN: the stream is closed or shut down; -ECANCELED: it was
 * cancelled.
 */
FERRY_API int ferry_stream_promise_room(ferry_stream *stream, uint64_t memory_bytes,
                                        uint64_t file_bytes, ferry_promise **ret_promise);

/*
 * Looks at the stream and its queue. Threads: any. Never blocks.
 * @return 0; -EINVAL: stream or ret_status is NULL.
 */
FERRY_API int ferry_stream_get_status(ferry_stream *stream, ferry_stream_status *ret_status);

/*
 * Tells who is at the other end: "127.0.0.1:4711", "[::1]:4711", "unix:/path", "unix:@name". It is
 * just "unix:" if the peer's socket has no name, as those of most clients, or a name of more than
 * 25 bytes. An IPv4 peer of a socket for both versions is told as an IPv4 peer. The answer is what
 * it was when the stream began.
 *
 * Threads: any. Never blocks. Also once the stream has ended.
 * @param buffer gets at most size bytes, NUL included.
 * @return the length of the whole text without its NUL, as snprintf(3) gives it: size or more means
 *         that it was cut short.
 *         -ENOTSOCK: the stream is no socket.
 *         -ENOTCONN: the socket was not connected when it was adopted.
 *         -EINVAL: stream is NULL, or buffer is NULL while size is not 0.
 */
FERRY_API int ferry_stream_get_peer(ferry_stream *stream, char *buffer, size_t size);

/*
 * Tells this end's address, written as the peer's is: for instance which of several addresses the
 * client has come to.
 *
 * Threads: any. Never blocks.
 * @param buffer gets at most size bytes, NUL included.
 * @return the length of the whole text without its NUL, as snprintf(3) gives it: size or more means
 *         that it was cut short.
 *         -ENOTSOCK: the stream is no socket.
 *         -ESHUTDOWN: the socket is closed.
 *         -EINVAL: stream is NULL, or buffer is NULL while size is not 0.
 * Source: getsockname(2).
 */
FERRY_API int ferry_stream_get_local(ferry_stream *stream, char *buffer, size_t size);

/* The process at the other end of a unix socket, as it was when it connected or listened. */
typedef struct ferry_credentials {
    int32_t pid; /* as this process sees it */
    uint32_t uid;
    uint32_t gid;
    uint64_t reserved[2]; /* 0 */
} ferry_credentials;

/*
 * Tells which process is at the other end of a unix socket.
 *
 * Threads: any. Never blocks.
 * @return 0;
 *         -EOPNOTSUPP: it is no unix socket, or the process is in another pid namespace.
 *         -ENOTSOCK: the stream is no socket.
 *         -ESHUTDOWN: the socket is closed.
 *         -EINVAL: an argument is NULL.
 * Source: SO_PEERCRED in unix(7).
 */
FERRY_API int ferry_stream_get_credentials(ferry_stream *stream,
                                           ferry_credentials *ret_credentials);

/*
 * Uses a stream's fd, for what ferry has no call for (setsockopt(2), getsockopt(2), ioctl(2)). It
 * runs on the stream's owner, between two system calls of the stream's. It must not block, and must
 * not read, write or close the fd, nor keep it. O_NONBLOCK is left alone.
 * @param fd -1: it is closed, or was given back by a detach.
 */
typedef void ferry_fd_callback(ferry_stream *stream, int fd, void *arg);

/*
 * Has a function use the stream's fd, on the stream's owner. It does not wait for what is queued.
 *
 * Threads: any, callbacks included. Never blocks. Borrows: arg, until use was called. It is called
 * once if this returned 0, and never inside this call.
 * @return 0;
 *         -EINVAL: stream or use is NULL.
 *         -ESHUTDOWN: the stream has ended.
 *         -EAGAIN: 4,096 such calls have not reached the owner, which is held up.
 *         -ENOMEM.
 *         -ECHILD: the stream belongs to the parent of this forked process.
 */
FERRY_API int ferry_stream_use_fd(ferry_stream *stream, ferry_fd_callback *use, void *arg);

/*
 * Has a stream carry a pointer of the program's: so callbacks that get the stream find what belongs
 * to it. What was set before is released.
 *
 * Threads: any; but one at a time, and not while another uses what was set before.
 * @param release of data, called with that as its arg: when other data is set, or with the last
 *        reference to the stream, on any thread. NULL: nothing is to be released.
 */
FERRY_API void ferry_stream_set_data(ferry_stream *stream, void *data, ferry_release *release);

/* Threads: any. @return what was set; NULL: nothing. */
FERRY_API void *ferry_stream_get_data(const ferry_stream *stream);

/* Takes one more reference. Threads: any that holds one. @return stream; NULL for NULL. */
FERRY_API ferry_stream *ferry_stream_ref(ferry_stream *stream);

/*
 * Gives one reference back; the last one closes the stream after what is queued. Threads: any.
 * @return NULL, so that s = ferry_stream_unref(s) forgets it.
 */
FERRY_API ferry_stream *ferry_stream_unref(ferry_stream *stream);

FERRY_END

#endif
