/* SPDX-License-Identifier: MIT */
/*
 * The access log: a line for each answer, in the combined form that tools for web logs read, and at
 * its end the seconds from the submit until the last byte was with the kernel:
 *
 *   127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET /a HTTP/1.1" 200 1234 "referer" "agent" 0.003
 *
 * The bytes are those of the content that were really sent. What a client says is escaped: a quote,
 * a backslash and all that is not printable ASCII is \xHH, so that a line is one line.
 *
 * log_writer.h writes the lines.
 */
#ifndef TOOLS_FERRY_SERVE_ACCESS_LOG_H
#define TOOLS_FERRY_SERVE_ACCESS_LOG_H

#include "log_writer.h"
#include "request.h"
#include "text.h"

#include <ferry/result.h>

/* A line that waits for its answer to be sent. */
struct access_line {
    uint64_t content; /* bytes of the answer's content that are to be sent */
    int status;
    size_t split; /* where in text the status and the bytes go */
    struct text text;
    char room[2048]; /* a longer line is cut: nobody wants to read all of a long target */
};

/* Begins a line. @param peer its address; @param request NULL: what came was none. */
void access_line_begin(struct access_line *line, const char *peer, const struct request *request);

/* Ends a line with what became of the answer, and leaves it with the log. Threads: any. */
void access_log_add(struct log_writer *log, struct access_line *line, const ferry_result *result);

#endif
