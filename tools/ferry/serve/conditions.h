/* SPDX-License-Identifier: MIT */
/*
 * What a request makes its answer depend on (RFC 9110, 13): If-Match, If-None-Match,
 * If-Modified-Since, If-Unmodified-Since, If-Range.
 */
#ifndef TOOLS_FERRY_SERVE_CONDITIONS_H
#define TOOLS_FERRY_SERVE_CONDITIONS_H

#include "request.h"

/* What tells one version of a file from another. */
struct validators {
    struct slice etag;  /* a strong one, with its quotes. Empty: none is sure yet */
    bool is_undated;    /* the time of its modification says nothing */
    int64_t modified_s; /* else: seconds since 1970 */
};

/*
 * Looks at all but If-Range, in the order that the RFC demands.
 * @return 0: none stands in the way; else the status to answer: 304 or 412.
 */
int conditions_check(const struct request *request, const struct validators *validators);

/*
 * Whether the ranges that it asks for are to be sent: it has no If-Range, or one that names this
 * very version. @param now_s seconds since 1970: a date does not prove a version that is younger
 * than a second.
 */
bool conditions_allow_range(const struct request *request, const struct validators *validators,
                            int64_t now_s);

#endif
