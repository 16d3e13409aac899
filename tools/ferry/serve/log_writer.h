/* SPDX-License-Identifier: MIT */
/*
 * Who writes the log: a thread of its own, so that a slow disk, or nobody reading a pipe, holds up
 * no answer. Lines are left with it on a few desks, each with a lock of its own, and gathered for
 * some milliseconds.
 *
 * What cannot be written waits: a full disk, a pipe that nobody reads, a file that has reached its
 * limit. It is tried again and again, and goes on where it stopped; a line that fitted in part is
 * taken back first. What is beyond the desks' room is left out, and counted: the log itself says so
 * where the lines are missing, and standard error when it goes on.
 */
#ifndef TOOLS_FERRY_SERVE_LOG_WRITER_H
#define TOOLS_FERRY_SERVE_LOG_WRITER_H

#include <stddef.h>
#include <stdint.h>

struct log_writer;

/*
 * Opens a file to append to, and begins. What can only be opened later, as a fifo that nobody reads
 * yet, is opened then, and waits for nothing here.
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
