/* SPDX-License-Identifier: MIT */
/*
 * Waits for one connection on an address. A unix socket that somebody left behind is replaced; one
 * on which somebody listens is not.
 */
#ifndef TOOLS_FERRY_LISTENER_H
#define TOOLS_FERRY_LISTENER_H

#include "address.h"

struct listener {
    const struct address *address; /* where it was asked to listen */
    int fd;                        /* the listening socket */
};

/*
 * Starts to listen, and says on stderr where. Borrows: address, until listener_close.
 * @return whether it could; if not it has said why on stderr.
 */
bool listener_open(const struct address *address, struct listener *ret_listener);

/*
 * Waits for a connection, or an interruption.
 * @return a socket; -1: it has said why on stderr.
 */
int listener_accept(const struct listener *listener);

/* Stops listening and removes the unix socket's path. */
void listener_close(const struct listener *listener);

#endif
