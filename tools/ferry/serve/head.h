/* SPDX-License-Identifier: MIT */
/*
 * The lines of a request's head, found before any parser sees them (RFC 9112, 2.2, 3 and 5):
 *
 *     (CR LF)*  method SP target SP "HTTP/" digit "." digit CR LF  (name ":" value CR LF)*  CR LF
 *
 * Requests are smuggled past proxies by bytes that two parsers take for different things: a CR
 * without its LF, an LF without its CR, a NUL, a blank before a colon, a line that goes on in the
 * next one. Some parser has been wrong about each of them, ours twice. So this one knows nothing
 * else: it is a table of what may follow what. All that is not in it is refused.
 *
 * Each byte is looked at once, however the head comes.
 */
#ifndef TOOLS_FERRY_SERVE_HEAD_H
#define TOOLS_FERRY_SERVE_HEAD_H

#include "slice.h"

#include <stdint.h>

enum {
    HEAD_MOST_TARGET_BYTES = 8 * 1024, /* the least that RFC 9112 wants understood; longer: 414 */
    HEAD_MOST_BYTES = 16 * 1024        /* twice that; a longer one: 431 */
};

/* What the next byte belongs to. */
enum head_state {
    HEAD_REFUSED,
    HEAD_BEFORE, /* the request line; or an empty line that precedes it */
    HEAD_BEFORE_LF,
    HEAD_METHOD,
    HEAD_BEFORE_TARGET, /* behind the one blank, which may not be followed by another */
    HEAD_TARGET,
    HEAD_VERSION,
    HEAD_VERSION_LF,
    HEAD_LINE, /* a field's, or the empty one that ends the head */
    HEAD_NAME,
    HEAD_VALUE,
    HEAD_VALUE_LF,
    HEAD_END_LF,
    HEAD_WHOLE,
    HEAD_STATES
};

struct request_head {
    enum head_state state;
    int status;                   /* of a refused one: what to answer; else 0 */
    uint32_t length;              /* bytes that were looked at; of a whole one, all it has */
    uint32_t begins[HEAD_STATES]; /* where each state was entered last; 0: not yet */
};

/* A field's line, taken apart; the value without blanks around it. */
struct head_field {
    struct slice name;
    struct slice value;
};

/* Begins a head. */
void head_begin(struct request_head *head);

/* Begins what follows a chunked body: fields as in a head, and its end, without a request line. */
void head_begin_trailer(struct request_head *head);

/* Goes on with a head. @param data all of its bytes so far, and what follows it perhaps. */
void head_scan(struct request_head *head, const char *data, size_t length);

/* Whether any of it has come: empty lines before it are not. */
bool head_has_begun(const struct request_head *head);

/* The pieces of the request line; empty while they are not whole. */
struct slice head_method(const struct request_head *head, const char *data);
struct slice head_target(const struct request_head *head, const char *data);
struct slice head_version(const struct request_head *head, const char *data);

/* Finds the next field of a whole head. @param at where to look, moved on; 0: at the first.
 * @return whether there is one. */
bool head_next_field(const struct request_head *head, const char *data, uint32_t *at,
                     struct head_field *ret_field);

#endif
