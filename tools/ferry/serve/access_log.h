/* SPDX-License-Identifier: MIT */
/*
 * The access log: a line for each answer, in the combined form that tools for web logs read, and at
 * its end the seconds from the submit until the last byte was with the kernel:
 *
 *   127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET /a HTTP/1.1" 200 1234 "referer" "agent" 0.003
 *
 * The bytes are those of the content that were really sent. What a client says is escaped: whatever
 * is not printable ASCII, a quote or a backslash is \xHH, so that a line is one line.
 *
 * Lines go to a ferry stream of their own, on a thread of their own: a slow disk, or nobody reading
 * a pipe, holds up no answer. Where lines come faster than they can be written, some are left out.
 */
#ifndef TOOLS_FERRY_SERVE_ACCESS_LOG_H
#define TOOLS_FERRY_SERVE_ACCESS_LOG_H

#include "request.h"
#include "text.h"

#include <ferry/result.h>

struct access_log;

/* A line that waits for its answer to be sent. */
struct access_line {
    uint64_t content; /* bytes of the answer's content that are to be sent */
    int status;
    size_t split; /* where in text the status and the bytes go */
    struct text text;
    char room[2048]; /* what is longer is cut: a target may be longer than anybody wants to read */
};

/* Opens a log. @param path appended to; "-": standard output. @return 0, or a negative errno. */
int access_log_open(const char *path, struct access_log **ret_log);

/* Writes what is left, for two seconds at most. Takes NULL. @return how many lines were left out. */
uint64_t access_log_close(struct access_log *log);

/* Begins a line. @param peer its address; @param request NULL: what came was none. */
void access_line_begin(struct access_line *line, const char *peer, const struct request *request);

/* Ends a line with what became of the answer, and hands it to the log. Threads: any. Never blocks. */
void access_log_add(struct access_log *log, struct access_line *line, const ferry_result *result);

#endif
