/* SPDX-License-Identifier: MIT */
/* Sockets on this machine: listening ones, and those that connect to them. */
#ifndef BENCHMARK_SOCKETS_H
#define BENCHMARK_SOCKETS_H

#include <stddef.h>

typedef enum socket_route { ROUTE_TCP, ROUTE_UNIX, ROUTES } socket_route;

/*
 * Listens on loopback, or on an abstract unix address that the kernel chooses.
 * @return the socket, or a negative errno
 */
int sockets_listen(socket_route route, int backlog);

/* Connects to such a socket. @param flags of socket(2). @return the socket, or a negative errno */
int sockets_connect(int listener, int flags);

/* Its address, as ferry_connect takes it; of TCP only. @return 0 or a negative errno. */
int sockets_address(int listener, char *ret_text, size_t size);

/* Makes two that are connected. @return 0 or a negative errno. */
int sockets_pair(socket_route route, int ret_ends[2]);

#endif
