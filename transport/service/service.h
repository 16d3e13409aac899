/* SPDX-License-Identifier: MIT */
/*
 * A service's inside: its owners and the list of its members.
 *
 * owners[0] is the front owner. With dedicated placement it is the only one here, and starts and
 * joins the streams' own owners. With shared placement it is one of those that own streams.
 *
 * The list is for calls that must reach all members: drain (streams only), stop, destroy and dump
 * (listeners and connects under way, too). Its mutex is held for a few pointer writes in a member's
 * life, and for one walk of the list by each of these calls.
 *
 * Once stop or destroy has walked it nothing may join, since nobody would end it any more.
 * is_ending is set under the same mutex, and from then on the list only gets shorter. Owners are
 * held under the mutex, too, so that nobody holds one that has ended.
 */
#ifndef FERRY_TRANSPORT_SERVICE_SERVICE_H
#define FERRY_TRANSPORT_SERVICE_SERVICE_H

#include "actors/owner.h"
#include "core/promise.h"
#include "core/thread.h"
#include "transport/limit/admission.h"
#include "transport/service/line.h"

#include <ferry/service.h>
#include <ferry/stream.h>

typedef struct ferry__member ferry__member;

/* What kind it is: constant, one for each. */
typedef struct ferry__member_type {
    /*
     * Any thread, under the service's mutex; perhaps more than once. Has it end, but not inside
     * this call. close: in order, a stream behind what it has queued. abort: soon.
     */
    void (*close)(ferry__member *member);
    void (*abort)(ferry__member *member);

    /*
     * ref: any thread, under the service's mutex; keeps its memory. unref: any thread; lets go of
     * it.
     */
    void (*ref)(ferry__member *member);
    void (*unref)(ferry__member *member);

    /* Any thread that keeps it. Whether the subject of an owner's activity is about it. */
    bool (*is_subject)(const ferry__member *member, const void *subject);

    /* Any thread that keeps it. Adds what it is called: "stream fd 7". */
    void (*add_name)(const ferry__member *member, ferry__line *line);

    /*
     * Any thread that keeps it. Adds what it is at. @return whether it has anything to say: it has
     * not ended.
     */
    bool (*add_state)(ferry__member *member, ferry__line *line);

    /* Streams only; NULL: it is none. */

    /*
     * Any thread that keeps it and may wait. Waits for all that it was given so far, running the
     * thread's callbacks meanwhile. @return 0, -ETIMEDOUT, or the errnos of a submit.
     */
    int (*drain)(ferry__member *member, int64_t deadline);

    /*
     * Any thread that keeps it, or under the service's mutex. Adds itself to a sum, unless it has
     * ended.
     */
    void (*add_status)(ferry__member *member, ferry_service_status *sum);

    /* Any thread that keeps it. The owner that is its alone; NULL: it shares one. */
    const ferry__owner *(*own_owner)(const ferry__member *member);
} ferry__member_type;

/* What a service ends when it is stopped or destroyed. Embedded in streams, listeners, connects,
 * openings. */
struct ferry__member {
    ferry__member *previous; /* in the service's list, under its mutex */
    ferry__member *next;     /* in that list, too */
    const ferry__member_type *type;
};

struct ferry_service {
    /* Any thread. */
    atomic_uint refs; /* the program's until destroyed, one for each member and connect */
    atomic_uint names_given;

    /* Set when it is made. */
    ferry__calls *calls;           /* what its owners make their system calls through */
    uint32_t generation;           /* of the process that made it (core/thread.h) */
    ferry_service_options options; /* with the defaults filled in */
    ferry__owner **owners;         /* references, and a hold each until it is destroyed */
    unsigned owner_count;

    ferry__total total; /* any thread: what all its streams have let in */

    pthread_mutex_t mutex;
    ferry__member *first_member; /* under mutex */
    size_t member_count;         /* under mutex */
    atomic_uint connects;        /* promises of ferry_connect that are there */
    atomic_bool is_ending;       /* set under mutex: nothing can join it any more */
    size_t disordered;           /* under mutex: streams that have ended since, and not in order */
    ferry_promise emptied;       /* settles when the last member has left since; only awaited */
};

ferry_service *ferry__service_ref(ferry_service *service);
void ferry__service_unref(ferry_service *service);

/* Whether it belongs to another process: this one was forked since. */
static inline bool ferry__service_is_foreign(const ferry_service *service)
{
    return service->generation != ferry__process_generation();
}

/* Whether each stream has an owner of its own. */
static inline bool ferry__service_is_dedicated(const ferry_service *service)
{
    return service->options.placement == FERRY_PLACEMENT_DEDICATED;
}

/*
 * Chooses or makes the owner of a new stream. Gives a reference and a hold.
 * @param calls what an owner made for it is to use. @return 0, -ENOMEM, -ESHUTDOWN.
 */
int ferry__service_place(ferry_service *service, ferry__calls *calls, ferry__owner **ret_owner);

/* Takes back what ferry__service_place gave, for a stream that came to nothing. */
void ferry__service_unplace(ferry_service *service, ferry__owner *owner);

/*
 * Makes a supervised owner for something that blocks. Gives a reference and a hold; so much stack
 * at least. @return 0, -ENOMEM, -ESHUTDOWN.
 */
int ferry__service_make_owner(ferry_service *service, const char *name, size_t stack_bytes,
                              ferry__calls *calls, ferry__owner **ret_owner);

/* In a turn, on that owner. @param over_tcp they are sent by TCP, which takes longer. @return how
 * many bytes it may move. */
size_t ferry__service_chunk(const ferry_service *service, const ferry__owner *owner, bool over_tcp);

/*
 * Chooses one of the service's own owners: the least loaded, or the calling one if that has hardly
 * more to do. Gives a hold. @return 0, -ESHUTDOWN.
 */
int ferry__service_choose_owner(ferry_service *service, ferry__owner **ret_owner);

/* Takes a hold of each of the service's own owners. @return 0, -ESHUTDOWN. */
int ferry__service_hold_owners(ferry_service *service);

/*
 * The list of members. Any thread. @return 0; -ESHUTDOWN: the service is stopped or being
 * destroyed.
 */
int ferry__service_remember(ferry_service *service, ferry__member *member);

/* Called once its outcome was told. */
void ferry__service_forget(ferry_service *service, ferry__member *member);

/* A stream is to end, and not in order. Until it has ended, or not, nobody counts: so a stop counts
 * it once, as one that has not ended or as one that has ended so. */
void ferry__service_begin_disorder(ferry_service *service);
void ferry__service_end_disorder(ferry_service *service, bool has_ended);

/* Members of a service, with a reference to each. */
typedef struct ferry__kept_members {
    ferry__member **members;
    size_t count;
} ferry__kept_members;

/* Any thread. Keeps all members, the newest first, to be let go. @return false: out of memory. */
bool ferry__service_keep_members(ferry_service *service, ferry__kept_members *ret_kept);

/* Any thread. @param kept ferry__kept_members: for pthread_cleanup_push(3), too. */
void ferry__service_let_go(void *kept);

#endif
