/* SPDX-License-Identifier: MIT */
/*
 * Reads: requests for what the peer sends. They wait in the intake's queue; the first of them gets
 * what has come. Its kind says where that goes: into memory (read_memory.c), into a file
 * (receive.c), to another stream (transport/send/relay.c). A read into memory has a mode as well,
 * which says when it is complete. The allocations and calls of all kinds fail in turn in
 * tests/transport/read/reading_traffic.c.
 *
 *   intake (transport/read/intake.h)                    the first read's kind
 *   has kept some, or has just asked       ──▶     feed: takes what it wants of it
 *                                          ◀──     hungry, busy, away, or over
 *   hungry: asks the kernel, on its behalf ──▶     ask: into a place of its own
 *   busy: another turn, for more of the same
 *   waiting: nothing is asked or fed, until it says so
 *   away: waits                            ◀──     ferry__intake_go_on
 *   over: gives it its result              ──▶     undo, if it failed; conclude
 *   it is cancelled, the stream closed, ... ─▶     pass_on; else as over
 */
#ifndef FERRY_TRANSPORT_READ_READ_H
#define FERRY_TRANSPORT_READ_READ_H

#include "transport/stream/request.h"

#include <ferry/read.h>

typedef struct ferry__intake ferry__intake; /* transport/read/intake.h */

typedef enum ferry__read_state {
    FERRY__READ_HUNGRY,  /* it wants more than there is; the peer's end of file completes it */
    FERRY__READ_BUSY,    /* it has had its share of this turn */
    FERRY__READ_WAITING, /* for something else than bytes; it has the direction scheduled then */
    FERRY__READ_AWAY,    /* the direction is in other hands, which give it back */
    FERRY__READ_OVER     /* its outcome is known */
} ferry__read_state;

typedef struct ferry__read_step {
    ferry__read_state state;
    int error;         /* OVER: 0, or a negative errno */
    ferry_phase phase; /* OVER: where it failed */
} ferry__read_step;

static inline ferry__read_step ferry__read_is(ferry__read_state state)
{
    return (ferry__read_step){.state = state};
}

/* It is over, well or not. */
static inline ferry__read_step ferry__read_over(int error, ferry_phase phase)
{
    return (ferry__read_step){FERRY__READ_OVER, error, error != 0 ? phase : FERRY_PHASE_DONE};
}

/* A kind of read: constant, one for each. */
typedef struct ferry__read_type {
    /*
     * Any thread, at submit. Checks what is asked for, before anything is taken. @param wanted each
     * kind has a type of its own for it. @return 0, or an errno of its submit.
     */
    int (*check)(const void *wanted, const ferry_request_options *options);

    /*
     * Any thread, at submit, once it is let in. Makes a read, taking all it holds.
     * @return 0, or an errno of its submit, with nothing taken.
     */
    int (*create)(ferry_stream *stream, const void *wanted, const ferry_request_options *options,
                  ferry__inbox *home, ferry__request **ret_request);

    /* The rest: the owner only. */

    /* Its turn has come: takes what it wants of what is kept. */
    ferry__read_step (*feed)(ferry__intake *intake, ferry__request *request);

    /*
     * It is hungry: asks the kernel once. No bytes are under way to anybody else then.
     * @return how many bytes; 0: the peer's end of file; or a negative errno.
     */
    ssize_t (*ask)(ferry__intake *intake, ferry__request *request);

    /*
     * How many bytes it still wants, if that is known: they may come with those that others want
     * (ferry__intake_count_wanted). NULL, or 0: it is not, or they are to come by themselves.
     */
    size_t (*count_wanted)(ferry__request *request);

    /*
     * It fails: gives the peer's bytes that it has got and does not consume back to the intake. Not
     * called when the stream ends: what is kept is dropped then.
     */
    void (*undo)(ferry__intake *intake, ferry__request *request);

    /*
     * It is over: lets go of all it holds, and completes its result but for error, phase and
     * at_end. The result's sent is how many bytes it has consumed.
     */
    void (*conclude)(ferry__request *request, int error);

    /* It is called off: tells those who have it in hand. Whether anybody has. NULL: nobody ever
     * has. */
    bool (*pass_on)(ferry__request *request, int error);

    /* It makes system calls of its own: a large one, or some small ones, are enough for a turn. */
    bool is_dear;
} ferry__read_type;

/* What the particulars of every read begin with. */
typedef struct ferry__read {
    const ferry__read_type *type;
} ferry__read;

static inline ferry__read *ferry__request_read(ferry__request *request)
{
    return (ferry__read *)(void *)request->parts;
}

/* For create: makes a read of this type, with its particulars to be filled in. @param size of the
 * particulars, ferry__read included. @return 0, -ENOMEM. */
int ferry__read_create(ferry_stream *stream, const ferry__read_type *type, size_t size,
                       const ferry_request_options *options, ferry__inbox *home,
                       ferry__request **ret_request);

/*
 * Any thread. Submits a read. @param wanted is handed to its type's check and create.
 * @return an errno of every submit, or of its type's; -ENOTSOCK: no socket, or one of messages.
 */
int ferry__stream_submit_read(ferry_stream *stream, const ferry__read_type *type,
                              const void *wanted, const ferry_request_options *options,
                              ferry_promise **ret_promise);

#endif
