/* SPDX-License-Identifier: MIT */
/*
 * Lines on standard error, from any thread, that hold nobody up: the reader may be gone, or slow.
 */
#ifndef TOOLS_FERRY_SERVE_MESSAGES_H
#define TOOLS_FERRY_SERVE_MESSAGES_H

#include <stddef.h>

/* Says a line, with the program's name before it. If it would have to wait the line is lost. */
__attribute__((format(printf, 1, 2))) void messages_say(const char *format, ...);

/* Writes a line, and waits for its reader, but only until an fd is readable. Adds: the newline. */
void messages_write(const char *line, size_t length, int until);

#endif
