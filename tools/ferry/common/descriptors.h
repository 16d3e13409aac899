/* SPDX-License-Identifier: MIT */
/* The file descriptors that the program begins with. */
#ifndef TOOLS_FERRY_COMMON_DESCRIPTORS_H
#define TOOLS_FERRY_COMMON_DESCRIPTORS_H

#include <stdbool.h>

/*
 * To be called before anything is opened. Where 0, 1 or 2 is closed, the next file or socket would
 * be taken for standard input or output: something takes its place that fails as it did, in reading
 * and in writing. And as many fds are allowed as the system lets us: connections and files are
 * many.
 */
void descriptors_begin(void);

/* Whether one may be read, or written. An fd, but perhaps not one for that: errno is EBADF then. */
bool descriptors_may(int fd, bool write);

/* To be called last, or by atexit(3): whoever reads standard output must have it whole. Otherwise
 * it says so, and ends the program with EXIT_FAILURE. */
void descriptors_end(void);

#endif
