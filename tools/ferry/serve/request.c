/* SPDX-License-Identifier: MIT */
#include "request.h"

#include <string.h>
#include <strings.h>

/* ---- pieces ---------------------------------------------------------------------------------- */

static struct slice slice_of(const struct request *request, const struct request_piece *piece)
{
    if (!piece->is_there)
        return (struct slice){.at = NULL};
    return (struct slice){.at = request->data + piece->offset, .length = piece->length};
}

/*
 * Begins a piece, or makes it longer where the parser gives it bit by bit.
 * @return whether it is in one piece, as it is not where a field's value is folded.
 */
static bool extend(const struct request *request, struct request_piece *piece, const char *at,
                   size_t length)
{
    uint32_t offset = (uint32_t)(at - request->data);
    if (!piece->is_there)
        *piece = (struct request_piece){.offset = offset, .is_there = true};
    bool is_contiguous = offset == piece->offset + piece->length;
    piece->length += (uint32_t)length;
    return is_contiguous;
}

static size_t end_of(const struct request_piece *piece)
{
    return (size_t)piece->offset + piece->length;
}

/* For on_headers_complete to return: go on, but expect no body. */
enum { SKIP_BODY = 1 };

/* Gives up. @return what makes the parser stop. */
static int refuse(struct request *request, int status)
{
    request->status = status;
    return -1;
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* A field's name, and what to call it. */
struct known_field {
    const char *name;
    size_t length;
    enum request_field field;
};

#define KNOWN(name, field)                                                                         \
    {                                                                                              \
        name, sizeof name - 1, field                                                               \
    }

static const struct known_field known_fields[] = {
    KNOWN("Host", REQUEST_HOST),
    KNOWN("Range", REQUEST_RANGE),
    KNOWN("Expect", REQUEST_EXPECT),
    KNOWN("Referer", REQUEST_REFERER),
    KNOWN("If-Range", REQUEST_IF_RANGE),
    KNOWN("If-Match", REQUEST_IF_MATCH),
    KNOWN("User-Agent", REQUEST_USER_AGENT),
    KNOWN("If-None-Match", REQUEST_IF_NONE_MATCH),
    KNOWN("If-Modified-Since", REQUEST_IF_MODIFIED_SINCE),
    KNOWN("If-Unmodified-Since", REQUEST_IF_UNMODIFIED_SINCE),
};

static enum request_field find_field(struct slice name)
{
    for (size_t i = 0; i < sizeof known_fields / sizeof known_fields[0]; i++) {
        const struct known_field *known = &known_fields[i];
        if (known->length == name.length && strncasecmp(known->name, name.at, name.length) == 0)
            return known->field;
    }
    return REQUEST_OTHER;
}

/*
 * The field whose name has come gets its value. Twice the same field cannot be told from an attempt
 * to show two servers two requests: Host is refused then, and of the others neither holds, which
 * gives the whole file, an answer that is never wrong.
 */
static enum request_field begin_value(struct request *request)
{
    struct slice name = slice_of(request, &request->name);
    request->has_bad_field |= memchr(name.at, ' ', name.length) != NULL;
    enum request_field field = find_field(name);
    if (field == REQUEST_OTHER)
        return field;
    bool is_first = !request->has_come[field];
    request->has_come[field] = true;
    if (is_first)
        return field;
    request->has_bad_field |= field == REQUEST_HOST;
    request->fields[field].is_there = false;
    return REQUEST_OTHER;
}

/* Whether a Host could be one: a name or an address, and a port. */
static bool is_host(struct slice host)
{
    for (size_t i = 0; i < host.length; i++)
        if (host.at[i] <= ' ' || host.at[i] == 0x7f || strchr("/\\?#@,\"<>", host.at[i]) != NULL)
            return false;
    return true;
}

/* ---- what the parser tells ------------------------------------------------------------------- */

static int on_url(http_parser *parser, const char *at, size_t length)
{
    struct request *request = parser->data;
    (void)extend(request, &request->target, at, length);
    return request->target.length > REQUEST_TARGET_BYTES ? refuse(request, 414) : 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t length)
{
    struct request *request = parser->data;
    if (request->value.is_there) { /* the field before is over */
        request->name.is_there = false;
        request->value.is_there = false;
    }
    (void)extend(request, &request->name, at, length);
    return end_of(&request->name) > REQUEST_HEAD_BYTES ? refuse(request, 431) : 0;
}

/* Between a name and its value there is one line, as within a value. */
static bool is_folded_before(const struct request *request, const char *at)
{
    const char *name_end = request->data + end_of(&request->name);
    return memchr(name_end, '\n', (size_t)(at - name_end)) != NULL;
}

static int on_header_value(http_parser *parser, const char *at, size_t length)
{
    struct request *request = parser->data;
    if (!request->value.is_there) {
        if (is_folded_before(request, at) && length > 0)
            return refuse(request, 400);
        request->field = begin_value(request);
    }
    if (!extend(request, &request->value, at, length))
        return refuse(request, 400);
    if (request->field != REQUEST_OTHER)
        request->fields[request->field] = request->value;
    return end_of(&request->value) > REQUEST_HEAD_BYTES ? refuse(request, 431) : 0;
}

/* The parser takes more for a target than a URL may have. */
static bool is_target(struct slice target)
{
    for (size_t i = 0; i < target.length; i++)
        if (target.at[i] <= ' ' || target.at[i] >= 0x7f)
            return false;
    return true;
}

static int check_version(const http_parser *parser)
{
    return parser->http_major == 0 ? 400 : parser->http_major != 1 ? 505 : 0;
}

static int check_fields(const struct request *request)
{
    struct slice host = request_get(request, REQUEST_HOST);
    if (request->has_bad_field || !is_target(request_target(request)) ||
        (host.at == NULL ? request->is_1_1 : !is_host(host)))
        return 400;
    static const char expected[] = "100-continue";
    const size_t length = sizeof expected - 1;
    struct slice expect = request_get(request, REQUEST_EXPECT);
    bool is_continue = expect.length == length && strncasecmp(expect.at, expected, length) == 0;
    return expect.at != NULL && request->is_1_1 && !is_continue ? 417 : 0;
}

static bool has_body(const http_parser *parser)
{
    return parser->uses_transfer_encoding ||
           (parser->content_length != 0 && parser->content_length != UINT64_MAX);
}

static bool awaits_continue(const struct request *request)
{
    return request->is_1_1 && has_body(&request->parser) &&
           request_get(request, REQUEST_EXPECT).at != NULL;
}

/* A body that is not worth waiting for is the end, and then it is said what is wrong in general. */
static int check_body(const struct request *request)
{
    const http_parser *parser = &request->parser;
    if (!has_body(parser))
        return 0;
    bool is_short = !parser->uses_transfer_encoding && parser->content_length <= REQUEST_BODY_BYTES;
    bool is_method = request_is(request, HTTP_GET) || request_is(request, HTTP_HEAD) ||
                     request_is(request, HTTP_OPTIONS);
    if (parser->uses_transfer_encoding && (parser->flags & F_CHUNKED) == 0)
        return 400;
    if (!is_method && (!is_short || awaits_continue(request)))
        return 405;
    return is_short ? 0 : parser->uses_transfer_encoding ? 411 : 413;
}

/* The head has come but for its very last byte. The body, if there is one, is none of the parser's
 * business. */
static int on_headers_complete(http_parser *parser)
{
    struct request *request = parser->data;
    request->is_1_1 = parser->http_minor > 0;
    request->keeps_alive = http_should_keep_alive(parser) != 0;
    int status = check_version(parser);
    if (status == 0)
        status = check_fields(request);
    if (status == 0)
        status = check_body(request);
    return status == 0 ? SKIP_BODY : refuse(request, status);
}

/* Here it stops: what follows is the body, or the next request. */
static int on_message_complete(http_parser *parser)
{
    struct request *request = parser->data;
    request->has_head = true;
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_message_complete = on_message_complete,
};

/* ---- feeding --------------------------------------------------------------------------------- */

void request_begin(struct request *request)
{
    memset(request, 0, sizeof *request);
    http_parser_init(&request->parser, HTTP_REQUEST);
}

static bool is_token(const char *at, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool is_letter =
            ((at[i] | 32) >= 'a' && (at[i] | 32) <= 'z') || (at[i] >= '0' && at[i] <= '9');
        if (!is_letter && (at[i] == '\0' || strchr("!#$%&'*+-.^_`|~", at[i]) == NULL))
            return false;
    }
    return length > 0;
}

/* A method that the parser does not know is one all the same, if it looks like one. */
static int status_of_method(const struct request *request, size_t length)
{
    const char *space = memchr(request->data, ' ', length);
    return space != NULL && is_token(request->data, (size_t)(space - request->data)) ? 501 : 400;
}

/* What the parser's complaint is to be answered with. */
static int status_of_error(const struct request *request, size_t length)
{
    if (request->status != 0)
        return request->status;
    switch (HTTP_PARSER_ERRNO(&request->parser)) {
    case HPE_INVALID_METHOD:
        return status_of_method(request, length);
    case HPE_HEADER_OVERFLOW:
        return 431;
    default:
        return 400;
    }
}

/* Without its strict mode the parser takes any byte for the one that ends the head. */
static int check_head(const struct request *request)
{
    if (request->parsed > REQUEST_HEAD_BYTES)
        return 431;
    return request->has_head && request->data[request->parsed - 1] != '\n' ? 400 : 0;
}

/* @return 0, or the status of a bad one. */
static int parse(struct request *request, size_t length)
{
    http_parser *parser = &request->parser;
    parser->data = request;
    request->parsed += (uint32_t)http_parser_execute(
        parser, &settings, request->data + request->parsed, length - request->parsed);
    bool is_fine = request->has_head || HTTP_PARSER_ERRNO(parser) == HPE_OK;
    int status = is_fine ? check_head(request) : status_of_error(request, length);
    if (status == 0 && request->has_head)
        request->length =
            request->parsed + (has_body(parser) ? (uint32_t)parser->content_length : 0);
    return status;
}

enum request_state request_feed(struct request *request, const char *data, size_t length)
{
    request->data = data;
    if (!request->has_head && length > request->parsed) /* no bytes mean the end to the parser */
        request->status = parse(request, length);
    if (request->status != 0)
        return REQUEST_BAD;
    return request->has_head && length >= request->length ? REQUEST_WHOLE : REQUEST_PARTIAL;
}

bool request_awaits_continue(const struct request *request)
{
    return request->has_head && awaits_continue(request);
}

struct slice request_target(const struct request *request)
{
    return slice_of(request, &request->target);
}

struct slice request_get(const struct request *request, enum request_field field)
{
    struct slice value = slice_of(request, &request->fields[field]);
    while (value.length > 0 &&
           (value.at[value.length - 1] == ' ' || value.at[value.length - 1] == '\t'))
        value.length--;
    return value;
}
