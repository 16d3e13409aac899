/* SPDX-License-Identifier: MIT */
/* Adopting: what makes a stream of an fd, whoever has it. */
#ifndef FERRY_TRANSPORT_REACH_ADOPT_H
#define FERRY_TRANSPORT_REACH_ADOPT_H

#include "transport/stream/stream.h"

/* A connected socket of ferry's own making, and what is known of it. */
typedef struct ferry__connected {
    int fd; /* close-on-exec, non-blocking */
    ferry__socket_sort sort;
    const ferry__endpoint *peer;
    ferry__owner *owner;     /* the calling one, to own the stream too; NULL: placed anew */
    ferry__counter *counter; /* the stream's, which takes the caller's reference; or NULL */
} ferry__connected;

/*
 * Makes a stream of it, as ferry_stream_adopt. Any thread; where owner is given, on that.
 * @return 0, or a negative errno, with nothing taken.
 */
int ferry__stream_adopt_connected(ferry_service *service, const ferry__connected *connected,
                                  ferry__settings *settings, ferry_stream **ret_stream);

/* As ferry_stream_adopt, with settings. Any thread. */
int ferry__stream_adopt_fd(ferry_service *service, int fd, ferry__settings *settings,
                           ferry_stream **ret_stream);

/* What a stream's system calls, and those on its behalf, are made through. */
ferry__calls *ferry__stream_choose_calls(const ferry__settings *settings,
                                         const ferry_service *service);

#endif
