/* SPDX-License-Identifier: MIT */
/*
 * One answer, on its way from what is asked for to the parts of one ferry_stream_send. It lives on
 * the stack of the code that answers; sending it copies its text.
 */
#ifndef TOOLS_FERRY_SERVE_RESPONSE_H
#define TOOLS_FERRY_SERVE_RESPONSE_H

#include "ranges.h"
#include "request.h"
#include "text.h"

#include <assert.h>
#include <ferry/part.h>

enum {
    RESPONSE_PARTS = 2 * RANGES_LIMIT + 1, /* each range and what stands before it; the end */
    RESPONSE_HEAD_BYTES = 1024,            /* of a head but for a target */
    /* Behind that a target as long as it may be, encoded anew; or the heads of all ranges, of which
     * each has 200 bytes or so. */
    RESPONSE_TEXT_BYTES = RESPONSE_HEAD_BYTES + 32 * 1024
};

static_assert(RESPONSE_TEXT_BYTES >= RESPONSE_HEAD_BYTES + 3 * REQUEST_TARGET_BYTES,
              "a target of encoded bytes has room");

struct late_page;

struct response {
    int status;
    bool is_1_1;      /* the request's version */
    bool has_body;    /* the request's method wants one */
    bool keeps_alive; /* the connection is to stay open after it */
    bool is_later;    /* it is none: its part is done once the request can be answered */
    bool has_file;    /* a part of it is a file, or made, which can fail where memory does not */
    const char *name; /* of its file, for dumps: its path below the root; NULL: none. Borrowed */
    uint64_t content; /* bytes behind the head, as far as they are sent */
    struct late_page
        *late;        /* its only part, of which all this is known later; NULL: none. A reference */
    size_t count;     /* of the parts */
    size_t mark;      /* where the text of the last part begins */
    struct text text; /* in room: what is copied when it is sent */
    ferry_part parts[RESPONSE_PARTS];
    char room[RESPONSE_TEXT_BYTES];
};

/* What a status is called (RFC 9110, 15). */
const char *response_reason(int status);

/* Begins the answer to a request. @param request NULL: to something that is none; it closes. */
void response_begin(struct response *response, const struct request *request);

/* Writes the status line and what each head has. Fields may follow: "Name: value\r\n" in text. */
void response_begin_head(struct response *response, int status);

/* Ends the head. @param length of the content; it has to be added, unless has_body is false. */
void response_end_head(struct response *response, uint64_t length);

/* Ends the head of an answer that has no content by its status: 204, 304. */
void response_end_head_without_content(struct response *response);

/* Makes a part of the text since the last part. */
void response_add_text(struct response *response);

/* Adds a part. Takes: what it gives. */
void response_add(struct response *response, ferry_part part);

/* Gives back what the parts of an answer gave that was not sent. */
void response_drop(struct response *response);

#endif
