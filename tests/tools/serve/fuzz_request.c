/* SPDX-License-Identifier: MIT */
/*
 * What libFuzzer throws at the request parser and the target decoder: all that a connection says,
 * one request behind the other. Fed whole, a byte at a time, or in two pieces (the first byte says
 * where they are cut) it must come to the same: as many requests, the same answers, the same end.
 *
 * What is understood must keep its promises: pieces lie within the request, and no path leads out.
 * And it must be understood as it is by another reader, here: one that knows no more of HTTP than
 * lines, splits them at their first colon, and looks for what requests are smuggled with.
 */
#include "tools/ferry/serve/request.h"
#include "tools/ferry/serve/target.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_so)
{
    if (!is_so)
        abort();
}

/* ---- promises -------------------------------------------------------------------------------- */

static void check_slice(const struct request *request, struct slice slice)
{
    if (slice.at == NULL)
        return;
    check(slice.at > request->data && slice.length < request->head.length);
    check(slice.at + slice.length < request->data + request->head.length);
    check(memchr(slice.at, '\n', slice.length) == NULL);
}

static void check_target(struct slice text)
{
    static struct target target;
    if (target_parse(text.at, text.length, &target) != 0)
        return;
    check(strlen(target.path) == target.length && target.path[0] != '/');
    static char framed[sizeof target.path + 2];
    framed[0] = '/';
    memcpy(framed + 1, target.path, target.length);
    memcpy(framed + 1 + target.length, "/", 2);
    check(strstr(framed, "/../") == NULL && strstr(framed, "/./") == NULL);
    check(strstr(target.path, "//") == NULL);
    bool has_query = target.query_length > 0;
    check(!has_query ||
          (target.query[0] == '?' && target.query + target.query_length <= text.at + text.length));
}

static void check_pieces(const struct request *request)
{
    for (int field = 0; field < REQUEST_FIELDS; field++)
        check_slice(request, request_get(request, (enum request_field)field));
    check_slice(request, request_target(request));
    check_target(request_target(request));
}

/* ---- the other reader ------------------------------------------------------------------------ */

/* What it found in a head. */
struct other {
    int hosts;
    int lengths;
    int encodings;
    unsigned long long length;
};

/* Bounded by the line's end as well: libFuzzer looks at as many bytes as are to be compared, also
 * where the first one differs. */
static bool begins_with(const char *line, const char *end, const char *name)
{
    size_t length = strlen(name);
    return (size_t)(end - line) >= length && strncasecmp(line, name, length) == 0;
}

static void read_line(struct other *other, const char *line, const char *end)
{
    check(line < end && *line != ' ' && *line != '\t' && *line != ':');
    const char *colon = memchr(line, ':', (size_t)(end - line));
    check(colon != NULL);
    for (const char *at = line; at < colon; at++)
        check(*at > ' ' && *at < 0x7f);
    other->hosts += begins_with(line, end, "host:");
    other->encodings += begins_with(line, end, "transfer-encoding:");
    if (begins_with(line, end, "content-length:")) {
        other->lengths++;
        other->length = strtoull(colon + 1, NULL, 10); /* it ends in a CR at the latest */
    }
}

static void check_bytes(const char *at, const char *end)
{
    for (; at < end; at++) {
        bool is_end = at[0] == '\r' && at[1] == '\n';
        check(is_end || *at == '\t' || (unsigned char)*at >= ' ');
        check(*at != 0x7f);
        at += is_end;
    }
}

/* Behind a line that it must have. */
static const char *skip_line(const char *at, const char *end)
{
    const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
    check(line_end != NULL);
    return line_end + 2;
}

/* A chunk's size and its data end in a line's end each; what follows them in an empty line. */
static void check_chunks(const char *at, const char *end)
{
    unsigned long size = 1;
    while (size > 0) {
        const char *data = skip_line(at, end);
        check(isxdigit((unsigned char)*at));
        size = strtoul(at, NULL, 16);
        check(size < (unsigned long)(end - data));
        at = size > 0 ? data + size + 2 : data;
        check(size == 0 || memcmp(data + size, "\r\n", 2) == 0);
    }
    while (memcmp(at, "\r\n", 2) != 0)
        at = skip_line(at, end);
    check(at + 2 == end);
}

static void check_lines(const struct request *request)
{
    struct other other = {0};
    const char *at = request->data, *end = at + request->head.length;
    check_bytes(at, end);
    while (memcmp(at, "\r\n", 2) == 0) /* before the request */
        at += 2;
    const char *line = memmem(at, (size_t)(end - at), "\r\n", 2) + 2;
    check(line - at > 15 && memcmp(line - 11, " HTTP/1.", 8) == 0);
    for (; line + 2 < end; line = memmem(line, (size_t)(end - line), "\r\n", 2) + 2)
        read_line(&other, line, memmem(line, (size_t)(end - line), "\r\n", 2));
    check(line + 2 == end && memcmp(line, "\r\n", 2) == 0);
    check(other.hosts == 1 || (other.hosts == 0 && !request->is_1_1));
    check(other.encodings + other.lengths <= 1);
    if (other.encodings > 0)
        check_chunks(end, request->data + request->length);
    else
        check(request->length == request->head.length + other.length);
}

/* ---- a connection ---------------------------------------------------------------------------- */

enum { MOST_REQUESTS = 64 };

/* What came of all that a connection said. */
struct course {
    size_t count; /* of requests that were whole */
    size_t taken; /* bytes that they had */
    int status;   /* of one that was refused; else 0 */
    bool is_over; /* the last one asked for the end */
    uint32_t lengths[MOST_REQUESTS];
};

/* In steps of so many bytes at first, each in a place of its own, so that a byte too far is
 * noticed.
 * @return whether it is over. */
static bool follow(struct course *course, struct request *request, const uint8_t *data, size_t size)
{
    char *bytes = malloc(size > 0 ? size : 1);
    check(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    enum request_state state = REQUEST_WHOLE;
    while (state == REQUEST_WHOLE && !course->is_over && course->count < MOST_REQUESTS) {
        state = request_feed(request, bytes + course->taken, size - course->taken);
        check((state == REQUEST_BAD) == (request->status != 0));
        course->status = request->status;
        if (state != REQUEST_WHOLE)
            break;
        check(request->length <= size - course->taken && request->length > 0);
        check_pieces(request);
        check_lines(request);
        course->lengths[course->count++] = request->length;
        course->taken += request->length;
        course->is_over = !request->keeps_alive;
        request_begin(request);
    }
    free(bytes);
    return state == REQUEST_BAD || course->is_over || course->count == MOST_REQUESTS;
}

/* @param first how many bytes come first; then @param step by step. */
static struct course run(const uint8_t *data, size_t size, size_t first, size_t step)
{
    static struct request request;
    struct course course = {0};
    bool is_over = false;
    request_begin(&request);
    for (size_t come = first; !is_over && come < size; come += step)
        is_over = follow(&course, &request, data, come);
    if (!is_over)
        (void)follow(&course, &request, data, size);
    return course;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { BYTEWISE = 1024 }; /* longer ones take too long a byte at a time */
    if (size == 0)
        return 0;
    size_t first = data[0] % size;
    data++;
    size--;
    struct course whole = run(data, size, size, 1), cut = run(data, size, first, size);
    check(memcmp(&whole, &cut, sizeof whole) == 0);
    if (size > BYTEWISE)
        return 0;
    struct course bytewise = run(data, size, 1, 1);
    check(memcmp(&whole, &bytewise, sizeof whole) == 0);
    return 0;
}
