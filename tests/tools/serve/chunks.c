/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/chunks.h"

#include "tests/harness.h"

static struct chunks chunks;

/* However they come: whole, in two pieces cut anywhere, and a byte at a time. */
static void check_scan(const char *text, size_t length, enum chunks_state state, int status)
{
    for (size_t cut = 0; cut <= length; cut++) {
        chunks_begin(&chunks);
        chunks_scan(&chunks, text, cut);
        chunks_scan(&chunks, text, length);
        check_eq(chunks.state, state);
        check_eq(chunks.status, status);
    }
    chunks_begin(&chunks);
    for (size_t come = 0; come <= length; come++)
        chunks_scan(&chunks, text, come);
    check_eq(chunks.state, state);
    check_eq(chunks.status, status);
}

/* A body, and what comes behind it. */
struct body {
    const char *text;
    size_t length;
    size_t behind; /* bytes of it that are none of the body's */
};

#define BODY(text, behind)                                                                         \
    {                                                                                              \
        text behind, sizeof text behind - 1, sizeof behind - 1                                     \
    }

PROMISE(chunks, end_is_found_wherever_it_is)
{
    static const struct body bodies[] = {
        BODY("0\r\n\r\n", ""),
        BODY("0\r\n\r\n", "GET / HTTP/1.1\r\n"),
        BODY("0\r\n\r\n", "\r\n\r\n"),
        BODY("000\r\n\r\n", "0"),
        BODY("1\r\na\r\n0\r\n\r\n", "x"),
        BODY("a\r\n0123456789\r\n0\r\n\r\n", "x"),
        BODY("A\r\n0123456789\r\n0\r\n\r\n", "x"),
        BODY("0000000000000000000000000000000000a\r\n0123456789\r\n0\r\n\r\n", "x"),
        BODY("10\r\n0123456789abcdef\r\n2\r\n\r\n\r\n0\r\n\r\n", "x"),
        BODY("5\r\n0\r\n\r\n\r\n0\r\n\r\n", "x"), /* looks like an end */
        BODY("3\r\n\0\x01\xff\r\n0\r\n\r\n", "x"),
        BODY("1;a\r\nb\r\n0;c=d\r\n\r\n", "x"),
        BODY("1;a=\"b;c\\\"\"\r\nb\r\n0\r\n\r\n", "x"),
        BODY("1 \t; a = b\r\nb\r\n0\r\n\r\n", "x"),
        BODY("0\r\nA: b\r\n\r\n", "x"),
        BODY("0\r\nA: b\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "x"),
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        check_scan(bodies[i].text, bodies[i].length, CHUNKS_WHOLE, 0);
        check_eq(chunks.length, bodies[i].length - bodies[i].behind);
        for (size_t come = 0; come < chunks.length; come++) {
            struct chunks part;
            chunks_begin(&part);
            chunks_scan(&part, bodies[i].text, come);
            check(part.state != CHUNKS_WHOLE && part.status == 0);
        }
    }
}

PROMISE(chunks, framing_that_can_be_read_in_two_ways_is_400)
{
    static const struct body bodies[] = {
        BODY("\r\n0\r\n\r\n", ""),
        BODY("\n0\r\n\r\n", ""),
        BODY(" 0\r\n\r\n", ""),
        BODY("+0\r\n\r\n", ""),
        BODY("-1\r\n\r\n", ""),
        BODY("0x1\r\na\r\n0\r\n\r\n", ""),
        BODY("g\r\n\r\n", ""),
        BODY(";a\r\n\r\n", ""),
        BODY("1 \r\na\r\n0\r\n\r\n", ""),
        BODY("1 1\r\na\r\n0\r\n\r\n", ""),
        BODY("1_0\r\na\r\n0\r\n\r\n", ""),
        BODY("1.0\r\na\r\n0\r\n\r\n", ""),
        BODY("1\na\r\n0\r\n\r\n", ""),
        BODY("1\ra\r\n0\r\n\r\n", ""),
        BODY("1\r\r\na\r\n0\r\n\r\n", ""),
        BODY("1\0\r\na\r\n0\r\n\r\n", ""),
        BODY("1;a\nb\r\n0\r\n\r\n", ""),
        BODY("1;a\rb\r\n0\r\n\r\n", ""),
        BODY("1;a\0\r\nb\r\n0\r\n\r\n", ""),
        BODY("1;a=\"\n\"\r\nb\r\n0\r\n\r\n", ""),
        BODY("1;\x7f\r\nb\r\n0\r\n\r\n", ""),
        BODY("1\r\na\n0\r\n\r\n", ""),
        BODY("1\r\na\r0\r\n\r\n", ""),
        BODY("1\r\na0\r\n\r\n", ""),
        BODY("1\r\nab\r\n0\r\n\r\n", ""),
        BODY("1\r\na\r\n\r\n0\r\n\r\n", ""),
        BODY("2\r\na\r\n0\r\n\r\n", ""),
        BODY("0\r\n\n", ""),
        BODY("0\r\n\ra", ""),
        BODY("0\n\r\n", ""),
        BODY("0\r\nA\r\n\r\n", ""),
        BODY("0\r\nA : b\r\n\r\n", ""),
        BODY("0\r\n: b\r\n\r\n", ""),
        BODY("0\r\n A: b\r\n\r\n", ""),
        BODY("0\r\nA: b\r\n c\r\n\r\n", ""),
        BODY("0\r\nA: b\nC: d\r\n\r\n", ""),
        BODY("0\r\nA:\rC: d\r\n\r\n", ""),
        BODY("0\r\nA: \0\r\n\r\n", ""),
        BODY("0\r\nGET / HTTP/1.1\r\n\r\n", ""),
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        chunks_begin(&chunks);
        chunks_scan(&chunks, bodies[i].text, bodies[i].length);
        if (chunks.status != 400)
            fprintf(stderr, "status %d: %s\n", chunks.status, bodies[i].text);
        check_scan(bodies[i].text, bodies[i].length, CHUNKS_REFUSED, 400);
    }
}

PROMISE(chunks, size_beyond_what_may_come_is_413_before_it_comes)
{
    static const char *const sizes[] = {
        "4001\r\n",
        "3ffb\r\n", /* with its own line it is one too long */
        "7fffffff\r\n",
        "ffffffff\r\n",
        "100000000\r\n",
        "100000000000000\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffffffffffffffffffffffffffffffff;a\r\n",
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        check_scan(sizes[i], strlen(sizes[i]), CHUNKS_REFUSED, 413);
    check_scan("3ffa\r\n", 6, CHUNKS_DATA, 0);
}

/* A body that goes on for ever in the same way. */
static void check_endless(const char *begin, const char *more)
{
    static char text[CHUNKS_MOST_BYTES + 64];
    size_t length = strlen(begin), step = strlen(more);
    memcpy(text, begin, length);
    for (; length < CHUNKS_MOST_BYTES + 8; length += step)
        memcpy(text + length, more, step);
    chunks_begin(&chunks);
    for (size_t come = 0; come <= CHUNKS_MOST_BYTES; come++) {
        chunks_scan(&chunks, text, come);
        check_eq(chunks.status, 0);
    }
    chunks_scan(&chunks, text, length);
    check_eq(chunks.status, 413);
}

PROMISE(chunks, body_without_an_end_is_413_however_it_goes_on)
{
    check_endless("", "0");
    check_endless("", "1\r\na\r\n");
    check_endless("1;", "a");
    check_endless("1", " ");
    check_endless("0\r\n", "A: b\r\n");
    check_endless("0\r\nA:", "b");
}
