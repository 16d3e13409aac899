/* SPDX-License-Identifier: MIT */
#include "request.h"

#include "authority.h"

#include <string.h>
#include <strings.h>

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
    KNOWN("Connection", REQUEST_CONNECTION),
    KNOWN("User-Agent", REQUEST_USER_AGENT),
    KNOWN("If-None-Match", REQUEST_IF_NONE_MATCH),
    KNOWN("Content-Length", REQUEST_CONTENT_LENGTH),
    KNOWN("If-Modified-Since", REQUEST_IF_MODIFIED_SINCE),
    KNOWN("Transfer-Encoding", REQUEST_TRANSFER_ENCODING),
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

static void keep_field(struct request *request, const struct head_field *line)
{
    enum request_field field = find_field(line->name);
    if (field == REQUEST_OTHER || request->counts[field]++ > 0)
        return;
    request->fields[field] = (struct request_piece){
        .offset = (uint32_t)(line->value.at - request->data),
        .length = (uint32_t)line->value.length,
    };
}

static void keep_fields(struct request *request)
{
    struct head_field line;
    uint32_t at = 0;
    while (head_next_field(&request->head, request->data, &at, &line))
        keep_field(request, &line);
}

bool request_next(const struct request *request, enum request_field field, uint32_t *at,
                  struct slice *ret_value)
{
    struct head_field line;
    if (request->counts[field] == 0)
        return false;
    while (head_next_field(&request->head, request->data, at, &line)) {
        if (find_field(line.name) == field) {
            *ret_value = line.value;
            return true;
        }
    }
    return false;
}

/* Whether a field's list has an element. @param is_other counts those that are not this one. */
static bool list_has(const struct request *request, enum request_field field, const char *element,
                     bool is_other)
{
    struct slice list, found;
    uint32_t at = 0;
    while (request_next(request, field, &at, &list))
        while (slice_take_element(&list, &found))
            if (slice_is(found, element) != is_other)
                return true;
    return false;
}

/* ---- what they say --------------------------------------------------------------------------- */

static bool keeps_alive(const struct request *request)
{
    return !list_has(request, REQUEST_CONNECTION, "close", false) &&
           (request->is_1_1 || list_has(request, REQUEST_CONNECTION, "keep-alive", false));
}

/* An empty one is for targets without a host. Two are refused, also if they are the same: they may
 * be an attempt to show two servers two requests. */
static int check_host(const struct request *request)
{
    struct slice host = request_get(request, REQUEST_HOST);
    uint32_t count = request->counts[REQUEST_HOST];
    bool is_fine = count == 0 ? !request->is_1_1
                              : count == 1 && (host.length == 0 || authority_is_valid(host));
    return is_fine ? 0 : 400;
}

static int check_expectations(const struct request *request)
{
    return request->is_1_1 && list_has(request, REQUEST_EXPECT, "100-continue", true) ? 417 : 0;
}

/* ---- the body -------------------------------------------------------------------------------- */

/* @return whether it is a number and nothing else. */
static bool read_length(struct slice text, uint64_t *ret_length)
{
    uint64_t length = 0;
    for (size_t i = 0; i < text.length; i++) {
        unsigned digit = (unsigned)(text.at[i] - '0');
        if (digit > 9 || length > (UINT64_MAX - digit) / 10)
            return false;
        length = length * 10 + digit;
    }
    *ret_length = length;
    return text.length > 0;
}

/* @param ret_count how many codings there are. @return whether chunked is the last of them, and
 * comes only once. */
static bool ends_chunked(struct slice codings, int *ret_count)
{
    struct slice coding = {.at = NULL};
    bool is_chunked = false;
    *ret_count = 0;
    for (; !is_chunked && slice_take_element(&codings, &coding); ++*ret_count)
        is_chunked = slice_is(coding, "chunked");
    return is_chunked && !slice_take_element(&codings, &coding);
}

/* A body that is not chunked, or of HTTP/1.0, has no end that all agree on. */
static int check_codings(const struct request *request, const struct parsed_head *parsed)
{
    int count;
    bool is_chunked = request->is_1_1 && parsed->is_chunked &&
                      ends_chunked(request_get(request, REQUEST_TRANSFER_ENCODING), &count);
    return !is_chunked ? 400 : count > 1 ? 501 : 0;
}

/* Where the body ends must not be open to debate (RFC 9112, 6.3). Both readers are asked. */
static int check_framing(const struct request *request, const struct parsed_head *parsed)
{
    uint32_t lengths = request->counts[REQUEST_CONTENT_LENGTH];
    uint32_t encodings = request->counts[REQUEST_TRANSFER_ENCODING];
    uint64_t length = 0;
    if (lengths + encodings > 1 || parsed->has_length != (lengths == 1) ||
        parsed->has_encoding != (encodings == 1))
        return 400;
    if (encodings == 1)
        return check_codings(request, parsed);
    bool is_known =
        lengths == 0 || (read_length(request_get(request, REQUEST_CONTENT_LENGTH), &length) &&
                         length == parsed->length);
    return is_known ? 0 : 400;
}

static bool expects_continue(const struct request *request)
{
    return request->is_1_1 && request->counts[REQUEST_EXPECT] > 0;
}

/* A body that is not worth waiting for ends the connection; the answer says what is wrong. */
static int check_body(const struct request *request, const struct parsed_head *parsed)
{
    if (!parsed->has_encoding && parsed->length == 0)
        return 0;
    bool is_long = parsed->length > REQUEST_BODY_BYTES;
    if (parsed->method == REQUEST_ANOTHER && (is_long || expects_continue(request)))
        return 405;
    return is_long ? 413 : 0;
}

/* Goes on with chunks. @return 0, or the status to answer: as above. */
static int read_chunks(struct request *request, size_t length)
{
    struct chunks *chunks = &request->chunks;
    chunks_scan(chunks, request->data + request->head.length, length - request->head.length);
    bool is_long = chunks->status == 413;
    return is_long && request_is(request, REQUEST_ANOTHER) ? 405 : chunks->status;
}

/* ---- the head -------------------------------------------------------------------------------- */

/* @return 0, or the status of a bad one. */
static int read_head(struct request *request)
{
    struct parsed_head parsed;
    int status = parser_read(&request->head, request->data, &parsed);
    if (status != 0)
        return status;
    struct slice version = head_version(&request->head, request->data);
    request->is_1_1 = version.at[version.length - 1] > '0';
    request->method = parsed.method;
    keep_fields(request);
    request->keeps_alive = keeps_alive(request);
    status = check_framing(request, &parsed);
    if (status == 0)
        status = check_host(request);
    if (status == 0)
        status = check_expectations(request);
    if (status == 0)
        status = check_body(request, &parsed);
    request->body = status == 0 ? (uint32_t)parsed.length : 0;
    request->is_chunked = parsed.has_encoding;
    request->has_head = status == 0;
    return status;
}

/* Even the answer to a request that is refused unparsed depends on whether it may have a body. */
static int read_refused(struct request *request)
{
    struct slice method = head_method(&request->head, request->data);
    bool is_head = method.length == 4 && memcmp(method.at, "HEAD", 4) == 0;
    request->method = is_head ? REQUEST_HEAD : REQUEST_ANOTHER;
    return request->head.status;
}

void request_begin(struct request *request)
{
    memset(request, 0, sizeof *request);
    head_begin(&request->head);
    chunks_begin(&request->chunks);
}

/* @return whether it is there. */
static bool read_body(struct request *request, size_t length)
{
    if (!request->is_chunked) {
        request->length = request->head.length + request->body;
        return length >= request->length;
    }
    request->status = read_chunks(request, length);
    request->body = request->chunks.length;
    request->length = request->head.length + request->body;
    return request->chunks.state == CHUNKS_WHOLE;
}

enum request_state request_feed(struct request *request, const char *data, size_t length)
{
    struct request_head *head = &request->head;
    request->data = data;
    head_scan(head, data, length);
    if (head->state == HEAD_WHOLE && !request->has_head && request->status == 0)
        request->status = read_head(request);
    else if (head->state == HEAD_REFUSED)
        request->status = read_refused(request);
    bool is_whole = request->has_head && request->status == 0 && read_body(request, length);
    return request->status != 0 ? REQUEST_BAD : is_whole ? REQUEST_WHOLE : REQUEST_PARTIAL;
}

/* ---- what is known of it --------------------------------------------------------------------- */

bool request_awaits_continue(const struct request *request)
{
    return request->has_head && (request->is_chunked || request->body > 0) &&
           expects_continue(request);
}

struct slice request_target(const struct request *request)
{
    return head_target(&request->head, request->data);
}

struct slice request_get(const struct request *request, enum request_field field)
{
    const struct request_piece *piece = &request->fields[field];
    if (request->counts[field] != 1)
        return (struct slice){.at = NULL};
    return (struct slice){request->data + piece->offset, piece->length};
}
