/* SPDX-License-Identifier: MIT */
/*
 * One HTTP/1 request: from bytes, as they come, to what it asks for.
 *
 * Its lines are found twice, by head.h and by llhttp (parser.h), and must be the same. This file
 * decides what they mean. It refuses all that could lead a proxy in front astray (RFC 9112, 6.3):
 * two lengths, a length and a Transfer-Encoding, a length that is no number, an encoding whose last
 * coding is not chunked, or in HTTP/1.0; a missing, repeated or malformed Host. It knows one
 * encoding, chunked: with another one before, 501.
 *
 * Nothing is copied. The reader keeps the request's bytes in one piece until it is whole, body
 * included, and feeds it again when more have come. So a request can be no larger than what the
 * reader keeps, and head and body have limits here. A server of files skips bodies.
 */
#ifndef TOOLS_FERRY_SERVE_REQUEST_H
#define TOOLS_FERRY_SERVE_REQUEST_H

#include "chunks.h"
#include "head.h"
#include "parser.h"

enum {
    REQUEST_TARGET_BYTES = HEAD_MOST_TARGET_BYTES,
    REQUEST_HEAD_BYTES = HEAD_MOST_BYTES,
    REQUEST_BODY_BYTES = CHUNKS_MOST_BYTES /* a longer one: 413 */
};

/* The fields that somebody asks for. */
enum request_field {
    REQUEST_HOST,
    REQUEST_CONNECTION,
    REQUEST_CONTENT_LENGTH,
    REQUEST_TRANSFER_ENCODING,
    REQUEST_RANGE,
    REQUEST_IF_RANGE,
    REQUEST_IF_MATCH,
    REQUEST_IF_NONE_MATCH,
    REQUEST_IF_MODIFIED_SINCE,
    REQUEST_IF_UNMODIFIED_SINCE,
    REQUEST_EXPECT,
    REQUEST_REFERER,
    REQUEST_USER_AGENT,
    REQUEST_FIELDS,                /* how many there are */
    REQUEST_OTHER = REQUEST_FIELDS /* a field that nobody asks for */
};

enum request_state {
    REQUEST_PARTIAL, /* more is to come */
    REQUEST_WHOLE,   /* it can be answered */
    REQUEST_BAD      /* it is to be answered with status; what follows cannot be understood */
};

/* Where a field's value lies: the bytes may move until all have come. */
struct request_piece {
    uint32_t offset; /* from the request's first byte */
    uint32_t length;
};

struct request {
    struct request_head head;                    /* its lines, as far as they have come */
    const char *data;                            /* the request's first byte, at the last feed */
    struct chunks chunks;                        /* its body, if it is chunked */
    uint32_t length;                             /* of all of it, once it is whole */
    uint32_t body;                               /* bytes of its body, as far as they are known */
    enum request_method method;                  /* of a refused one: whether it is HEAD */
    struct request_piece fields[REQUEST_FIELDS]; /* each one's value, of several the first */
    uint32_t counts[REQUEST_FIELDS];             /* how often each came */
    bool is_1_1;                                 /* of HTTP/1.1, not 1.0 */
    bool keeps_alive;                            /* the connection is to stay open */
    bool is_chunked;                             /* its body comes in chunks */
    bool has_head;                               /* its head is whole, and nothing wrong with it */
    int status;                                  /* of a bad one: what to answer; else 0 */
};

/* Begins a request. */
void request_begin(struct request *request);

/*
 * Goes on with a request. @param data all of its bytes so far, and what follows it perhaps: those
 * of the feed before, and more. Borrows: data, until what it gave is not used any more.
 * @return REQUEST_WHOLE: length is how many of them are its own. REQUEST_BAD: status says why.
 */
enum request_state request_feed(struct request *request, const char *data, size_t length);

/* Of a partial one: whether its client waits for a "100 Continue" before it sends the body. */
bool request_awaits_continue(const struct request *request);

/* Whether any of it has come. Empty lines, which may precede it, are none of it. */
static inline bool request_has_begun(const struct request *request)
{
    return head_has_begun(&request->head);
}

static inline bool request_is(const struct request *request, enum request_method method)
{
    return request->method == method;
}

/* Its target, as the client wrote it; of a bad one it may not be there. */
struct slice request_target(const struct request *request);

/*
 * A field's value, without blanks around it; not there if it did not come, or twice: nobody can
 * know then which of them is meant.
 */
struct slice request_get(const struct request *request, enum request_field field);

/*
 * Finds the next line of a field that is a list: its lines together are the list (RFC 9110, 5.3).
 * @param at where to look, moved on; 0: at the first. @return whether there is one.
 */
bool request_next(const struct request *request, enum request_field field, uint32_t *at,
                  struct slice *ret_value);

#endif
