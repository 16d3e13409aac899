/* SPDX-License-Identifier: MIT */
/*
 * What llhttp makes of a head whose lines were found: its method, and how its body is framed.
 *
 * Servers get robbed through parsers of their own. So there is also one that many have attacked and
 * that somebody mends: Node's. A request is smuggled where two readers differ. So our two are
 * compared: llhttp must name the same lines, byte for byte, as head.h found, or the request is
 * refused. None of its leniency is used.
 */
#ifndef TOOLS_FERRY_SERVE_PARSER_H
#define TOOLS_FERRY_SERVE_PARSER_H

#include "head.h"

enum request_method {
    REQUEST_GET,
    REQUEST_HEAD,
    REQUEST_OPTIONS,
    REQUEST_ANOTHER /* one that is known, but not served */
};

/* What it says of a head. */
struct parsed_head {
    enum request_method method;
    bool has_length;   /* a Content-Length */
    uint64_t length;   /* what that says; else 0 */
    bool has_encoding; /* a Transfer-Encoding */
    bool is_chunked;   /* whose last coding that is */
};

/* Parses a whole head. @return 0; or the status to answer: 400; 501: nobody knows its method. */
int parser_read(const struct request_head *head, const char *data, struct parsed_head *ret_parsed);

#endif
