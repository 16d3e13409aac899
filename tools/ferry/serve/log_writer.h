/* SPDX-License-Identifier: MIT */
/*
 * The writer of the log has a thread of its own, so that no answer waits for a slow disk, or for a
 * pipe that nobody reads. Lines are left on a few desks, each with a lock of its own. The writer
 * gathers them for some milliseconds.
 *
 * Lines that cannot be written wait: the disk is full, nobody reads a pipe, a file has reached its
 * limit. The writer tries again and again, and goes on where it stopped. A line that fitted in part
 * is taken back first. Lines that find no room on the desks are left out, and counted. The log says
 * so where they are missing, and standard error when it goes on.
 */
#ifndef TOOLS_FERRY_SERVE_LOG_WRITER_H
#define TOOLS_FERRY_SERVE_LOG_WRITER_H

#include <stddef.h>
#include <stdint.h>

struct log_writer;

/*
 * Opens a file to append to, and begins. Does not wait for a file that can only be opened later,
 * such as a fifo that nobody reads yet: that is opened later.
 * @param path copied; "-": standard output. @return 0, or a negative errno.
 */
int log_writer_start(const char *path, struct log_writer **ret_writer);

/* Leaves a line to be written. @param line with its newline; less than PIPE_BUF. Threads: any. */
void log_writer_add(struct log_writer *writer, const char *line, size_t length);

/* Goes on in the file that the path names by now; if that cannot be opened, in the old one. Takes
 * NULL. */
void log_writer_reopen(struct log_writer *writer);

/*
 * Writes what is left, for two seconds at most. Takes NULL. @return how many lines were left out.
 */
uint64_t log_writer_stop(struct log_writer *writer);

#endif
