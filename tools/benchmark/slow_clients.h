/* SPDX-License-Identifier: MIT */
/*
 * Slow clients: many connections that each ask for one large file and then read 1 KB of it a
 * second, so that a server has answers under way that it cannot get rid of.
 */
#ifndef BENCHMARK_SLOW_CLIENTS_H
#define BENCHMARK_SLOW_CLIENTS_H

#include <sys/types.h>

/* So large that no socket's buffers hold it. */
enum { SLOW_FILE_BYTES = 64 << 20 };

/*
 * Starts a process with so many of them, asking for /name, and waits until each has got the first
 * byte of its answer. It does not outlive the calling thread.
 * @return 0 or a negative errno.
 */
int slow_clients_start(unsigned port, const char *name, unsigned count, pid_t *ret_pid);

/* Ends it. @return 0; or -EIO: it had ended by itself, since one was cut off. */
int slow_clients_stop(pid_t pid);

#endif
