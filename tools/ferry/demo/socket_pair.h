/* SPDX-License-Identifier: MIT */
/* A connection within the demo's own process, by TCP over loopback or by a unix socket. */
#ifndef TOOLS_FERRY_DEMO_SOCKET_PAIR_H
#define TOOLS_FERRY_DEMO_SOCKET_PAIR_H

typedef enum socket_pair_kind { SOCKET_PAIR_TCP, SOCKET_PAIR_UNIX } socket_pair_kind;

/* Connects two sockets, for the caller to close. Ends the program with a message on failure. */
void socket_pair_open(socket_pair_kind kind, int *ret_near, int *ret_far);

#endif
