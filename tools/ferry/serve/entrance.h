/* SPDX-License-Identifier: MIT */
/* Where the server lets clients in: a listener of ferry's, whose streams begin as connections. */
#ifndef TOOLS_FERRY_SERVE_ENTRANCE_H
#define TOOLS_FERRY_SERVE_ENTRANCE_H

#include "server.h"

#include <ferry/listen.h>

struct entrance_options {
    const char *address;
    unsigned limit; /* connections at a time; 0: none. More wait, and those that are idle leave for
                       them */
    ferry_tls_context *tls; /* NULL: not encrypted */
};

/*
 * Listens at an address, and serves all clients that come.
 * @param bound gets the address that it is, at most size bytes.
 * @param ret_phase what failed, if it did.
 * @param ret_entrance a reference; the last one closes it, as a stop of the server does.
 * @return 0, or a negative errno.
 */
int entrance_open(struct server *server, const struct entrance_options *options, char *bound,
                  size_t size, ferry_phase *ret_phase, ferry_listener **ret_entrance);

#endif
