/* SPDX-License-Identifier: MIT */
/*
 * Faults: a script of what is to go wrong, so that a test can see what the program then does.
 *
 * A ferry_faults object stands between a stream and the system. It numbers the stream's system
 * calls. At those that the script names it answers an error, does less than was asked, or finds no
 * room any more. All other calls are the real ones, and so is everything above them: the outcomes,
 * counts and phases that follow are those that a program gets when the kernel does the same.
 * Nothing is random: the same script and the same calls give the same faults.
 *
 * Life: ferry_faults_create -> the options of one stream -> ... -> ferry_faults_unref. In the
 * stream options of a listener or a connect the object also stands before the calls of the listener
 * or the connect itself. In this example the third sendfile of a stream fails with EIO:
 *
 *     const ferry_fault script[] = {
 *         {.call = FERRY_CALL_SENDFILE, .first = 3, .effect = FERRY_FAULT_ERROR, .error = EIO},
 *     };
 *     ferry_faults *faults;
 *     int error = ferry_faults_create(script, 1, &faults);
 *
 * Calls are numbered for each object, from 1, each kind by itself and all together. Give each
 * stream an object of its own: an object that several streams share numbers their calls as they
 * come. How many calls a request takes is not promised. It depends on how soon the peer reads, and
 * on what leaves together. ferry_faults_get_calls counts the calls, and ferry_faults_get_injected
 * says how many were tampered with.
 *
 * The system calls that are not listed below, waiting in epoll_wait(2) among them, are neither
 * numbered nor tampered with.
 */
#ifndef FERRY_FAULT_H
#define FERRY_FAULT_H

#include <ferry/api.h>

FERRY_BEGIN

typedef struct ferry_faults ferry_faults;

/* Which system calls a fault is about. */
typedef enum ferry_fault_call {
    FERRY_CALL_ANY,      /* all that follow, in one count */
    FERRY_CALL_WRITE,    /* send(2), sendmsg(2), writev(2), pwritev2(2) */
    FERRY_CALL_SENDFILE, /* sendfile(2) */
    FERRY_CALL_SPLICE,   /* splice(2) */
    FERRY_CALL_READ,     /* preadv2(2), recv(2), recvmsg(2) */
    FERRY_CALL_OPEN,     /* openat(2), openat2(2), fstat(2), duplicating an fd, pipe2(2) */
    FERRY_CALL_POLL,     /* poll(2), epoll_create1(2), epoll_ctl(2) */
    FERRY_CALL_THREAD,   /* pthread_create(3) */
    FERRY_CALL_ACCEPT,   /* accept4(2); a listener's (<ferry/listen.h>) */
    FERRY_CALL_CONNECT   /* connect(2) of ferry_connect (<ferry/connect.h>) */
} ferry_fault_call;

/* What happens instead. An effect that has no meaning for a call is left out. */
typedef enum ferry_fault_effect {
    /*
     * The call fails with error, and is not made. For any call. EAGAIN and EINTR are answered
     * although the fd is ready. The call is soon made again, with the next number, so do not script
     * them for ever. Some calls wait for nothing and are not made again: starting a thread fails
     * with either of the two, and fstat(2), pipe2(2) and duplicating an fd fail with EAGAIN.
     */
    FERRY_FAULT_ERROR,

    /*
     * The call is made, with 1 byte at most. For write, sendfile, splice and read, of more than
     * 1 byte. Use it with streams of bytes only: a SEQPACKET message would arrive cut.
     */
    FERRY_FAULT_SHORT,

    /*
     * The call answers 0, and is not made: its source has ended. For sendfile, splice and read. A
     * write has no source that could end.
     */
    FERRY_FAULT_EOF,

    /*
     * From this call on there is no room, for good: every write, sendfile and splice answers
     * EAGAIN, whatever else the script has for it, and waiting for room waits in vain. What ends
     * the connection is seen all the same: a peer that hangs up, an abort. Only with
     * FERRY_CALL_ANY, FERRY_CALL_WRITE, FERRY_CALL_SENDFILE and FERRY_CALL_SPLICE. Not for a stream
     * that is a regular file, since the kernel has no way to wait for one.
     */
    FERRY_FAULT_STALL
} ferry_fault_effect;

/* One thing that is to go wrong. */
typedef struct ferry_fault {
    ferry_fault_call call; /* what is counted */
    uint64_t first;        /* the number of the first call that fails, counted from 1 */
    uint64_t times;        /* how many such calls in a row; 0: 1; UINT64_MAX: all from first on */
    ferry_fault_effect effect; /* what happens instead */
    int error;                 /* FERRY_FAULT_ERROR: an errno, positive or negative; at most 4095 */
    uint64_t reserved[2];      /* 0 */
} ferry_fault;

/*
 * Makes an object of a script, to be given to a stream. If the script has several faults for one
 * call, the first of them that has a meaning for the call takes place.
 *
 * Threads: any. Never blocks. Borrows: script, during this call: it is copied.
 * Gives: a reference.
 * @param script may be NULL if count is 0.
 * @param count how many faults; 0: calls are only counted.
 * @return 0;
 *         -EINVAL: ret_faults is NULL; script is NULL while count is not 0; a call or an effect is
 *         unknown; first is 0; an error is no errno; or FERRY_FAULT_STALL goes with a call that
 *         takes no room.
 *         -ENOMEM.
 */
FERRY_API int ferry_faults_create(const ferry_fault script[], size_t count,
                                  ferry_faults **ret_faults);

/* Takes one more reference. Threads: any that holds one. @return faults; NULL for NULL. */
FERRY_API ferry_faults *ferry_faults_ref(ferry_faults *faults);

/*
 * Gives one reference back. Threads: any. A stream has a reference of its own.
 * @return NULL, so that f = ferry_faults_unref(f) forgets it.
 */
FERRY_API ferry_faults *ferry_faults_unref(ferry_faults *faults);

/*
 * Tells how many of this object's calls were tampered with so far: answered without being made, cut
 * short, or kept from finding room. Threads: any. Never blocks. @return the number; 0 for NULL.
 */
FERRY_API uint64_t ferry_faults_get_injected(const ferry_faults *faults);

/*
 * Tells how many calls of a kind were made through this object so far, tampered with or not.
 *
 * Threads: any. Never blocks.
 * @param call which kind; FERRY_CALL_ANY: all kinds.
 * @return the number; 0 for NULL and for an unknown kind.
 */
FERRY_API uint64_t ferry_faults_get_calls(const ferry_faults *faults, ferry_fault_call call);

FERRY_END

#endif
