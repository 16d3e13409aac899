/* SPDX-License-Identifier: MIT */
/*
 * A service's inside: its owners and the list of its streams.
 *
 * owners[0] is the front owner: with dedicated placement the only one, which starts and joins the
 * streams' own; with shared placement one of those that own streams. The list is for whoever must
 * reach all streams (drain, destroy); its mutex is held for a few pointer writes per stream's life,
 * and by drain and destroy for one walk of the list.
 */
#ifndef FERRY_TRANSPORT_SERVICE_H
#define FERRY_TRANSPORT_SERVICE_H

#include "actors/owner.h"
#include "core/thread.h"
#include "transport/admission.h"

#include <ferry/service.h>
#include <ferry/stream.h>

struct ferry_service {
    /* Any thread. */
    atomic_uint refs; /* the program's until destroyed, and one for each stream */
    atomic_uint names_given;

    /* Set when it is made. */
    ferry__calls *calls;           /* what its owners make their system calls through */
    uint32_t generation;           /* of the process that made it (core/thread.h) */
    ferry_service_options options; /* with the defaults filled in */
    ferry__owner **owners;         /* references, and a hold each until it is destroyed */
    unsigned owner_count;

    bool is_limited;      /* options has limits: counts is kept */
    ferry__counts counts; /* any thread: all its streams' together */
    ferry__room room;     /* any thread: who waits because of its limits */

    pthread_mutex_t room_mutex;
    struct room_promise *first_room_promise; /* under room_mutex: all its streams', oldest first */
    struct room_promise *last_room_promise;  /* likewise */

    pthread_mutex_t mutex;
    ferry_stream *first_stream; /* under mutex */
    size_t stream_count;        /* under mutex */
};

ferry_service *ferry__service_ref(ferry_service *service);
void ferry__service_unref(ferry_service *service);

/* Whether it belongs to another process: this one was forked since. */
static inline bool ferry__service_is_foreign(const ferry_service *service)
{
    return service->generation != ferry__process_generation();
}

/*
 * Chooses or makes the owner of a new stream. Gives a reference and a hold.
 * @param calls what an owner made for it is to use. @return 0, -ENOMEM.
 */
int ferry__service_place(ferry_service *service, ferry__calls *calls, ferry__owner **ret_owner);

/* Takes back what ferry__service_place gave, for a stream that came to nothing. */
void ferry__service_unplace(ferry_service *service, ferry__owner *owner);

/* The list of streams. Any thread. */
void ferry__service_remember(ferry_service *service, ferry_stream *stream);
void ferry__service_forget(ferry_service *service, ferry_stream *stream);

#endif
