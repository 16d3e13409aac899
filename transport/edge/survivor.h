/* SPDX-License-Identifier: MIT */
/*
 * A survivor: a socket that is still there after its fd was closed, because somebody holds a
 * duplicate. SO_LINGER counts when the last fd is closed, and nobody can tell beforehand whether
 * this one is the last. So SO_LINGER is set, and the fd is closed. If the socket has survived that,
 * SO_LINGER is put back by way of the duplicate. That is looked for in this process, then in others
 * that this one may look into.
 *
 * A mark is an O_PATH fd of the socket: it knows the socket, and does not keep it open.
 */
#ifndef FERRY_TRANSPORT_EDGE_SURVIVOR_H
#define FERRY_TRANSPORT_EDGE_SURVIVOR_H

#include <sys/socket.h>

/* Before a socket is closed. @return its mark; or -1: none could be made. */
int ferry__survivor_mark(int fd);

/*
 * After it was closed: puts SO_LINGER back, if the socket is still there. Takes: mark; -1 is fine.
 */
void ferry__survivor_set_linger(int mark, const struct linger *before);

#endif
