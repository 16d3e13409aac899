/* SPDX-License-Identifier: MIT */
#include "parser.h"

#include <llhttp.h>
#include <string.h>

/* A head that is being parsed, and how far both readers are. */
struct reading {
    const struct request_head *head;
    const char *data;
    uint32_t at;         /* behind the last line of ours that was compared */
    struct slice target; /* as llhttp gives them */
    struct slice name;
    struct slice value;
};

/* ---- comparing ------------------------------------------------------------------------------- */

/* A callback's answer: it makes the parser give up. */
enum { DIFFERS = -1 };

static bool is_same(struct slice one, struct slice other)
{
    return one.length == other.length && memcmp(one.at, other.at, one.length) == 0;
}

/* Begins a piece, or makes it longer if the parser gives it bit by bit. */
static void extend(struct slice *slice, const char *at, size_t length)
{
    if (slice->at == NULL)
        slice->at = at;
    slice->length += length;
}

static int on_url(llhttp_t *parser, const char *at, size_t length)
{
    struct reading *reading = parser->data;
    extend(&reading->target, at, length);
    return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t length)
{
    struct reading *reading = parser->data;
    extend(&reading->name, at, length);
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t length)
{
    struct reading *reading = parser->data;
    extend(&reading->value, at, length);
    return 0;
}

/* Whether they are the same bytes in the same place. An empty piece has no place. */
static bool is_same_place(struct slice one, struct slice other)
{
    return one.length == other.length && (one.length == 0 || one.at == other.at);
}

/* Its next field must be the next one of ours. */
static int on_header_value_complete(llhttp_t *parser)
{
    struct reading *reading = parser->data;
    struct head_field ours;
    if (!head_next_field(reading->head, reading->data, &reading->at, &ours))
        return DIFFERS;
    bool agrees = is_same_place(ours.name, reading->name) &&
                  is_same_place(ours.value, slice_trim(reading->value));
    reading->name = reading->value = (struct slice){.at = NULL};
    return agrees ? 0 : DIFFERS;
}

/* Here it stops: what follows is the body, which is none of its business, or the next request. */
static int on_headers_complete(llhttp_t *parser)
{
    struct reading *reading = parser->data;
    struct head_field left;
    if (head_next_field(reading->head, reading->data, &reading->at, &left))
        return DIFFERS;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
};

/* ---- parsing --------------------------------------------------------------------------------- */

static bool is_ascii(char c)
{
    return (unsigned char)c < 0x80;
}

/* Some clients send bytes beyond ASCII in a target as they are. llhttp 9 refuses them, since they
 * should have been encoded; they pass it as letters. */
static llhttp_errno_t execute_masked(llhttp_t *parser, const char *at, const char *end)
{
    llhttp_errno_t error = HPE_OK;
    while (at < end && error == HPE_OK) {
        const char *run = at;
        while (at < end && is_ascii(*at))
            at++;
        size_t length = (size_t)(at - run);
        error = length > 0 ? llhttp_execute(parser, run, length) : llhttp_execute(parser, "x", 1);
        at += length == 0;
    }
    return error;
}

/*
 * llhttp knows no version beyond 1.1, and refuses others. A request of version 1.2 is to be
 * understood as if it were of 1.1 (RFC 9110, 2.5).
 */
static llhttp_errno_t execute(llhttp_t *parser, const struct request_head *head, const char *data)
{
    const char *begin = data + head->begins[HEAD_METHOD], *end = data + head->length;
    const char *minor = data + head->begins[HEAD_VERSION_LF] - 1;
    llhttp_errno_t error = execute_masked(parser, begin, minor);
    if (error == HPE_OK)
        error = llhttp_execute(parser, *minor > '1' ? "1" : minor, 1);
    return error == HPE_OK ? llhttp_execute(parser, minor + 1, (size_t)(end - minor - 1)) : error;
}

/*
 * Since the request line is well-formed, these mean a method that it does not know, or one that is
 * not of HTTP/1: RTSP's, and HTTP/2's PRI.
 */
static int status_of(llhttp_errno_t error)
{
    bool is_method = error == HPE_INVALID_METHOD || error == HPE_INVALID_CONSTANT ||
                     error == HPE_INVALID_VERSION;
    return is_method ? 501 : 400;
}

static bool agrees(const llhttp_t *parser, const struct reading *reading)
{
    const char *name = llhttp_method_name((llhttp_method_t)parser->method);
    struct slice method = {name, strlen(name)};
    return is_same(head_method(reading->head, reading->data), method) &&
           is_same_place(head_target(reading->head, reading->data), reading->target);
}

static enum request_method method_of(const llhttp_t *parser)
{
    switch (parser->method) {
    case HTTP_GET:
        return REQUEST_GET;
    case HTTP_HEAD:
        return REQUEST_HEAD;
    case HTTP_OPTIONS:
        return REQUEST_OPTIONS;
    default:
        return REQUEST_ANOTHER;
    }
}

int parser_read(const struct request_head *head, const char *data, struct parsed_head *ret_parsed)
{
    llhttp_t parser;
    struct reading reading = {.head = head, .data = data};
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &reading;
    llhttp_errno_t error = execute(&parser, head, data);
    if (error != HPE_PAUSED)
        return error == HPE_OK ? 400 : status_of(error);
    if (!agrees(&parser, &reading))
        return 400;
    *ret_parsed = (struct parsed_head){
        .method = method_of(&parser),
        .has_length = (parser.flags & F_CONTENT_LENGTH) != 0,
        .length = parser.content_length,
        .has_encoding = (parser.flags & F_TRANSFER_ENCODING) != 0,
        .is_chunked = (parser.flags & F_CHUNKED) != 0,
    };
    return 0;
}
