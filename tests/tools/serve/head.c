/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/head.h"

#include "tests/harness.h"

static struct request_head head;

static void check_bytewise(const char *text, size_t length, enum head_state state, int status)
{
    head_begin(&head);
    for (size_t come = 0; come <= length; come++)
        head_scan(&head, text, come);
    check_eq(head.state, state);
    check_eq(head.status, status);
}

/* However it comes: whole, in two pieces cut anywhere, and a byte at a time. */
static void check_scan(const char *text, size_t length, enum head_state state, int status)
{
    for (size_t cut = 0; cut <= length; cut++) {
        head_begin(&head);
        head_scan(&head, text, cut);
        head_scan(&head, text, length);
        check_eq(head.state, state);
        check_eq(head.status, status);
    }
    check_bytewise(text, length, state, status);
}

static void check_is(struct slice slice, const char *expected)
{
    check(slice.at != NULL);
    check_eq(slice.length, strlen(expected));
    check(memcmp(slice.at, expected, slice.length) == 0);
}

PROMISE(head, pieces_of_the_request_line_are_found)
{
    static const char text[] = "\r\nGET /a:b?c HTTP/1.1\r\n\r\nGET";
    check_scan(text, sizeof text - 1, HEAD_WHOLE, 0);
    check_eq(head.length, sizeof text - 4);
    check_is(head_method(&head, text), "GET");
    check_is(head_target(&head, text), "/a:b?c");
    check_is(head_version(&head, text), "HTTP/1.1");
}

PROMISE(head, pieces_that_are_not_whole_are_not_there)
{
    static const char text[] = "GET /a HTTP/1.1\r\n";
    for (size_t length = 0; length < sizeof text; length++) {
        head_begin(&head);
        head_scan(&head, text, length);
        check_eq(head_method(&head, text).at != NULL, length > 3);
        check_eq(head_target(&head, text).at != NULL, length > 6);
        check_eq(head_version(&head, text).at != NULL, length > 15);
    }
}

PROMISE(head, fields_are_found_without_the_blanks_around_their_values)
{
    static const char text[] =
        "GET / HTTP/1.1\r\nA:\r\nb-c: \t d:e \t f \t\r\n!#$%&'*+-.^_`|~09zZ:g\r\n"
        "A: \t\r\n\r\nX: y\r\n";
    static const char *const fields[][2] = {
        {"A", ""}, {"b-c", "d:e \t f"}, {"!#$%&'*+-.^_`|~09zZ", "g"}, {"A", ""}};
    uint32_t at = 0;
    struct head_field field;
    check_scan(text, sizeof text - 1, HEAD_WHOLE, 0);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        check(head_next_field(&head, text, &at, &field));
        check_is(field.name, fields[i][0]);
        check_is(field.value, fields[i][1]);
    }
    check(!head_next_field(&head, text, &at, &field));
    check(!head_next_field(&head, text, &at, &field));
}

/* Each byte value, in each place of a head: what the RFC lets stand there, and nothing else. */
PROMISE(head, each_byte_stands_only_where_it_may)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int byte = 0; byte < 256; byte++) {
        bool is_token = byte != 0 && strchr(token, byte) != NULL;
        bool is_visible = byte > 0x20 && byte != 0x7f;
        bool is_blank = byte == ' ' || byte == '\t';
        const struct {
            const char *text; /* with an @ for the byte */
            bool may_be;
        } places[] = {
            {"@ET / HTTP/1.1\r\n\r\n", is_token},
            {"G@T / HTTP/1.1\r\n\r\n", is_token},
            {"GET@/ HTTP/1.1\r\n\r\n", byte == ' '},
            {"GET @ HTTP/1.1\r\n\r\n", is_visible},
            {"GET /@ HTTP/1.1\r\n\r\n", is_visible},
            {"GET / @HTTP/1.1\r\n\r\n", false},
            {"GET / HTTP@1.1\r\n\r\n", byte == '/'},
            {"GET / HTTP/1@1\r\n\r\n", byte == '.'},
            {"GET / HTTP/1.@\r\n\r\n", byte >= '0' && byte <= '9'},
            {"GET / HTTP/1.1@\r\n\r\n", false},
            {"GET / HTTP/1.1\r@\r\n", byte == '\n'},
            {"GET / HTTP/1.1@\n\r\n", byte == '\r'},
            {"GET / HTTP/1.1\r\n@: b\r\n\r\n", is_token},
            {"GET / HTTP/1.1\r\nA@: b\r\n\r\n", is_token || byte == ':'},
            {"GET / HTTP/1.1\r\nA@\r\n\r\n", byte == ':'},
            {"GET / HTTP/1.1\r\nA:@\r\n\r\n", is_visible || is_blank},
            {"GET / HTTP/1.1\r\nA: @b\r\n\r\n", is_visible || is_blank},
            {"GET / HTTP/1.1\r\nA: b@b\r\n\r\n", is_visible || is_blank},
            {"GET / HTTP/1.1\r\nA: b@\n\r\n", byte == '\r'},
            {"GET / HTTP/1.1\r\nA: b\r@\r\n", byte == '\n'},
            {"GET / HTTP/1.1\r\nA: b\r\n@b: c\r\n\r\n", is_token},
            {"GET / HTTP/1.1\r\nA: b\r\n@\n", byte == '\r'},
            {"GET / HTTP/1.1\r\nA: b\r\n\r@", byte == '\n'},
            {"@\nGET / HTTP/1.1\r\n\r\n", byte == '\r'},
            {"\r@GET / HTTP/1.1\r\n\r\n", byte == '\n'},
        };
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
            char text[64];
            size_t length = strlen(places[i].text);
            memcpy(text, places[i].text, length + 1);
            *strchr(text, '@') = (char)byte;
            head_begin(&head);
            head_scan(&head, text, length);
            if ((head.state == HEAD_WHOLE) != places[i].may_be)
                fprintf(stderr, "byte %d in: %s\n", byte, places[i].text);
            check_eq(head.state == HEAD_WHOLE, places[i].may_be);
        }
    }
}

PROMISE(head, line_that_is_no_request_line_is_refused)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET\r\n", 400},
        {" GET / HTTP/1.1\r\n", 400},
        {"GET  / HTTP/1.1\r\n", 400},
        {"GET /  HTTP/1.1\r\n", 400},
        {"GET / HTTP/1.1 \r\n", 400},
        {"GET / HTTP/1.1 x\r\n", 400},
        {"GET\t/ HTTP/1.1\r\n", 400},
        {"GET /\r\n", 400}, /* HTTP/0.9 */
        {"GET / \r\n", 400},
        {"GET / HTTP\r\n", 400},
        {"GET / HTTP/\r\n", 400},
        {"GET / HTTP/1\r\n", 400},
        {"GET / HTTP/1.\r\n", 400},
        {"GET / HTTP/11\r\n", 400},
        {"GET / HTTP/1.11\r\n", 400},
        {"GET / HTTP/11.1\r\n", 400},
        {"GET / HTTP/1,1\r\n", 400},
        {"GET / HTTP/-1.1\r\n", 400},
        {"GET / HTTP/0.9\r\n", 400},
        {"GET / http/1.1\r\n", 400},
        {"GET / HTTPS/1.1\r\n", 400},
        {"GET / ICE/1.0\r\n", 400},
        {"GET / HTTP/2.0\r\n", 505},
        {"GET / HTTP/3.1\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"\n", 400},
        {"\r\r\n", 400},
        {"\x16\x03\x01", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_scan(cases[i].text, strlen(cases[i].text), HEAD_REFUSED, cases[i].status);
}

/* What other parsers were led astray by: in each, what follows could be taken for a field. */
PROMISE(head, what_two_parsers_may_read_in_two_ways_is_refused)
{
    static const struct {
        const char *fields;
        size_t length;
    } cases[] = {
#define CASE(text) {text, sizeof text - 1}
        CASE("A:\rContent-Length: 5\r\n"),
        CASE("A: \rContent-Length: 5\r\n"),
        CASE("A:\r\0Content-Length: 5\r\n"),
        CASE("A:\r\rContent-Length: 5\r\n"),
        CASE("A:\nContent-Length: 5\r\n"),
        CASE("A: b\nContent-Length: 5\r\n"),
        CASE("A: \0b\r\n"),
        CASE("A: b\0c\r\n"),
        CASE("A: \x01\r\n"),
        CASE("A: \x7f\r\n"),
        CASE("A: \v\r\n"),
        CASE("A\0: b\r\n"),
        CASE("A\x0b: b\r\n"),
        CASE("Content-Length : 5\r\n"),
        CASE("Content-Length\t: 5\r\n"),
        CASE(" Content-Length: 5\r\n"),
        CASE("\tContent-Length: 5\r\n"),
        CASE("A: b\r\n Content-Length: 5\r\n"),
        CASE("A: b\r\n\tc\r\n"),
        CASE("A:\r\n b\r\n"),
        CASE("A b: c\r\n"),
        CASE("A\r\n: b\r\n"),
        CASE(": b\r\n"),
        CASE("A\r\n"),
        CASE("\"A\": b\r\n"),
        CASE("A\x80: b\r\n"),
        CASE("A: b\r\n\rC: d\r\n"),
        CASE("A: b\r\n\n"),
        CASE("A: b\r\r\n"),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256] = "GET / HTTP/1.1\r\n";
        size_t before = strlen(text);
        memcpy(text + before, cases[i].fields, cases[i].length);
        memcpy(text + before + cases[i].length, "\r\n", 2);
        check_scan(text, before + cases[i].length + 2, HEAD_REFUSED, 400);
    }
}

/* A long text: before, so many bytes, after. */
static size_t stretch(char *text, const char *before, size_t count, const char *after)
{
    size_t length = strlen(before);
    memcpy(text, before, length);
    memset(text + length, 'a', count);
    memcpy(text + length + count, after, strlen(after));
    return length + count + strlen(after);
}

static void check_stretched(const char *before, size_t count, const char *after,
                            enum head_state state, int status)
{
    static char text[64 * 1024];
    size_t length = stretch(text, before, count, after);
    head_begin(&head);
    head_scan(&head, text, length);
    check_eq(head.state, state);
    check_eq(head.status, status);
    check_bytewise(text, length, state, status);
}

PROMISE(head, target_and_head_have_their_limits_to_the_byte)
{
    static const char rest[] = " HTTP/1.1\r\n\r\n",
                      line[] = "GET / HTTP/1.1\r\nA:", end[] = "\r\n\r\n";
    const size_t target = HEAD_MOST_TARGET_BYTES,
                 value = HEAD_MOST_BYTES - strlen(line) - strlen(end);
    check_stretched("GET ", target, rest, HEAD_WHOLE, 0);
    check_stretched("GET ", target + 1, rest, HEAD_REFUSED, 414);
    check_stretched("GET ", target + 1, "\x01", HEAD_REFUSED, 414);
    check_stretched(line, value, end, HEAD_WHOLE, 0);
    check_stretched(line, value + 1, end, HEAD_REFUSED, 431);
    check_stretched(line, HEAD_MOST_BYTES * 2, "", HEAD_REFUSED, 431);
    check_stretched("", HEAD_MOST_BYTES * 2, "", HEAD_REFUSED, 431);
}
