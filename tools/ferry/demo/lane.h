/* SPDX-License-Identifier: MIT */
/* A connection within the demo's own process, by TCP over loopback or by a unix socket. */
#ifndef TOOLS_FERRY_DEMO_LANE_H
#define TOOLS_FERRY_DEMO_LANE_H

typedef enum lane_kind { LANE_TCP, LANE_UNIX } lane_kind;

/* Connects two sockets, for the caller to close. Ends the program with a message on failure. */
void lane_open(lane_kind kind, int *ret_near, int *ret_far);

#endif
