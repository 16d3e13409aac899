/* SPDX-License-Identifier: MIT */
/*
 * One HTTP/1 request: from bytes, as they come, to what it asks for.
 *
 * The parser is http-parser 2.9.4. A parser of one's own is where servers get robbed, so it is to be
 * one that many have attacked and that somebody mends: this one was Node's for ten years, and Debian
 * maintains it. Its successor llhttp is not in Debian 12, nor is picohttpparser. It refuses what
 * smuggles requests past proxies: both lengths at once, lengths twice, lengths that are no numbers.
 *
 * Debian builds it without its strict mode. What that and RFC 9112 demand, and it lets pass, is
 * refused here: blanks within a field's name, folded fields, bytes in a target that no URL has, an
 * end of the head that is none, a missing or repeated Host, HTTP/0.9. And since its chunks are not
 * strict either, a body has a Content-Length or is refused.
 *
 * Nothing is copied. Whoever reads keeps the request's bytes in one piece until it is whole, body
 * included, and feeds it again when more have come; each byte is parsed once. That bounds a request
 * by what the reader keeps, so head and body have limits here. A body means nothing to a server of
 * files: it is there to be skipped.
 */
#ifndef TOOLS_FERRY_SERVE_REQUEST_H
#define TOOLS_FERRY_SERVE_REQUEST_H

#include <http_parser.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REQUEST_TARGET_BYTES = 8 * 1024, /* what RFC 9112 wants understood at least; longer: 414 */
    REQUEST_HEAD_BYTES = 16 * 1024,  /* twice that; a longer one: 431 */
    REQUEST_BODY_BYTES = 16 * 1024   /* a longer one: 413 */
};

/* The fields that somebody asks for. */
enum request_field {
    REQUEST_HOST,
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

/* A piece of the request. */
struct slice {
    const char *at; /* NULL: it is not there */
    size_t length;
};

/* Where a piece lies: the bytes may move until all have come. */
struct request_piece {
    uint32_t offset; /* from the request's first byte */
    uint32_t length;
    bool is_there;
};

struct request {
    http_parser parser;                          /* its state between two feeds */
    const char *data;                            /* the request's first byte, at the last feed */
    uint32_t parsed;                             /* bytes that the parser has seen: of the head */
    uint32_t length;                             /* of all of it, once its head is whole */
    struct request_piece name;                   /* of the field that it is at */
    struct request_piece value;                  /* likewise, once it has begun */
    enum request_field field;                    /* which field that is, then */
    struct request_piece target;                 /* as the client wrote it */
    struct request_piece fields[REQUEST_FIELDS]; /* each one's value */
    bool has_come[REQUEST_FIELDS];               /* whether it was there at all */
    bool is_1_1;                                 /* of HTTP/1.1, not 1.0 */
    bool keeps_alive;                            /* the connection is to stay open */
    bool has_head;                               /* its head is whole */
    bool has_bad_field;                          /* one that no request may have */
    int status;                                  /* of a bad one: what to answer; else 0 */
};

/* Begins a request. */
void request_begin(struct request *request);

/*
 * Goes on with a request. @param data all of its bytes so far, and what follows it perhaps: those of
 * the feed before, and more. Borrows: data, until what it gave is not used any more.
 * @return REQUEST_WHOLE: length is how many of them are its own. REQUEST_BAD: status says why.
 */
enum request_state request_feed(struct request *request, const char *data, size_t length);

/* Of a partial one: whether its client waits for a "100 Continue" before it sends the body. */
bool request_awaits_continue(const struct request *request);

/* Whether any of it has come. */
static inline bool request_has_begun(const struct request *request)
{
    return request->parsed > 0;
}

static inline bool request_is(const struct request *request, enum http_method method)
{
    return request->parser.method == (unsigned)method;
}

/* Its target, as the client wrote it. */
struct slice request_target(const struct request *request);

/* A field's value, without blanks around it; not there if it did not come, or twice. */
struct slice request_get(const struct request *request, enum request_field field);

#endif
