/* SPDX-License-Identifier: MIT */
/*
 * A helper: a process beside a run, which sends, receives or asks, and whose processor time does
 * not count. It is started before a service of ferry's is made, as ferry does not go through a
 * fork. It does not outlive the calling thread.
 */
#ifndef BENCHMARK_HELPER_H
#define BENCHMARK_HELPER_H

#include "sockets.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Starts one.
 * @param work what it does: 0, or a negative errno
 * @param fd a listening socket, and all that it keeps open: no end of a connection stays with it
 * @return 0 or a negative errno
 */
int helper_start(int (*work)(int fd, void *context), int fd, void *context, pid_t *ret_helper);

/*
 * Starts one that sends bytes to the first who connects, and then closes the connection.
 * @return the socket that is connected to it, or a negative errno
 */
int helper_start_source(socket_route route, size_t bytes, pid_t *ret_helper);

/*
 * Starts one that takes so many connections, and throws away what comes on them.
 * @param bytes of all together: if others come it fails. ANY_BYTES: that is not looked at
 * @return the listening socket to connect to, or a negative errno
 */
#define ANY_BYTES SIZE_MAX
int helper_start_sink(socket_route route, size_t connections, size_t bytes, pid_t *ret_helper);

/* Waits until it has done its work. @return 0, or -EIO after it said why. */
int helper_join(pid_t helper);

#endif
