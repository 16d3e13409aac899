/* SPDX-License-Identifier: MIT */
/* Adopting: making a stream of an fd. */
#ifndef FERRY_TRANSPORT_REACH_ADOPT_H
#define FERRY_TRANSPORT_REACH_ADOPT_H

#include "transport/stream/stream.h"

/* A handshake that somebody waits for. */
typedef struct ferry__handshake {
    const char *host; /* what the program has connected to; NULL: not known */
    void (*over)(ferry__securing *securing, int error); /* ferry__securing's, as arg is */
    void *arg;
} ferry__handshake;

/* A connected socket of ferry's own making, and what is known of it. */
typedef struct ferry__connected {
    int fd; /* close-on-exec, non-blocking */
    ferry__socket_sort sort;
    const ferry__endpoint *peer;
    ferry__owner *owner; /* the calling one, to own the stream too; NULL: placed anew */
    const ferry__handshake *handshake; /* if its settings ask for one; NULL: nobody waits for it */
    ferry__counter *counter; /* the stream's, which takes the caller's reference; or NULL */
} ferry__connected;

/*
 * Makes a stream of it. Any thread; if an owner is given, on that one's.
 * @return 0, or an errno of ferry_stream_adopt, with nothing taken.
 */
int ferry__stream_adopt_connected(ferry_service *service, const ferry__connected *connected,
                                  ferry__settings *settings, ferry_stream **ret_stream);

/* Any thread. Does what ferry_stream_adopt does, with settings in place of options. @param
 * handshake as ferry__connected has it. */
int ferry__stream_adopt_fd(ferry_service *service, int fd, ferry__settings *settings,
                           const ferry__handshake *handshake, ferry_stream **ret_stream);

/* The table for a stream's system calls, and for those on its behalf. */
ferry__calls *ferry__stream_choose_calls(const ferry__settings *settings,
                                         const ferry_service *service);

#endif
