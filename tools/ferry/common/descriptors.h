/* SPDX-License-Identifier: MIT */
/* The file descriptors that the program begins with. */
#ifndef TOOLS_FERRY_COMMON_DESCRIPTORS_H
#define TOOLS_FERRY_COMMON_DESCRIPTORS_H

#include <stdbool.h>

/*
 * To be called before anything is opened. If 0, 1 or 2 is closed, the next file or socket would be
 * taken for standard input or output. So something takes its place that fails in reading and in
 * writing, as the closed one did. As many fds are allowed as the system lets us: there may be many
 * connections and files.
 */
void descriptors_begin(void);

/* Whether an fd may be read, or written. If it is not open for that, errno is EBADF. */
bool descriptors_may(int fd, bool write);

/* To be called last, or by atexit(3). If standard output could not be written whole, it says so,
 * and ends the program with EXIT_FAILURE. */
void descriptors_end(void);

#endif
