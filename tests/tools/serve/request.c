/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/request.h"

#include "tests/harness.h"

static struct request request;

/* ---- feeding it ------------------------------------------------------------------------------ */

static enum request_state feed(const char *text)
{
    request_begin(&request);
    return request_feed(&request, text, strlen(text));
}

/* A byte more each time, each time in another place, as a reader that moves its buffer does. */
static enum request_state feed_bytewise(const char *text, size_t length)
{
    enum request_state state = REQUEST_PARTIAL;
    static char kept[256 * 1024]; /* what is asked of it afterwards */
    char *previous = NULL;
    request_begin(&request);
    for (size_t i = 1; i <= length && state == REQUEST_PARTIAL; i++) {
        char *bytes = malloc(i);
        check(bytes != NULL);
        memcpy(bytes, text, i);
        state = request_feed(&request, bytes, i);
        free(previous);
        previous = bytes;
    }
    if (previous != NULL && state == REQUEST_WHOLE)
        request.data = memcpy(kept, previous, request.length);
    free(previous);
    return state;
}

static void check_is(struct slice slice, const char *expected)
{
    check(slice.at != NULL);
    check_eq(slice.length, strlen(expected));
    check(memcmp(slice.at, expected, slice.length) == 0);
}

/* However it comes it is whole, and of this length. */
static void check_whole(const char *text, size_t length)
{
    check_eq(feed(text), REQUEST_WHOLE);
    check_eq(request.length, length);
    check_eq(feed_bytewise(text, strlen(text)), REQUEST_WHOLE);
    check_eq(request.length, length);
}

/* However it comes it is refused, with this status. */
static void check_refused(const char *text, int status)
{
    if (feed(text) != REQUEST_BAD || request.status != status)
        fprintf(stderr, "status %d: %s\n", request.status, text);
    check_eq(feed(text), REQUEST_BAD);
    check_eq(request.status, status);
    check_eq(feed_bytewise(text, strlen(text)), REQUEST_BAD);
}

/* A request line and Host, then what is given, and the end. */
static const char *get_with(const char *fields)
{
    static char text[64 * 1024];
    int length = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
    check(length > 0 && (size_t)length < sizeof text);
    return text;
}

/* ---- what is understood ---------------------------------------------------------------------- */

PROMISE(request, method_target_and_fields_are_found)
{
    static const char text[] = "GET /a/b?c HTTP/1.1\r\nHost: example.org:80\r\n"
                               "Range:bytes=0-1 \t\r\nIF-NONE-MATCH: \"a\"\r\nX-Else: y\r\n"
                               "User-Agent: a b c\r\nReferer:\r\n\r\n";
    check_whole(text, sizeof text - 1);
    check(request_is(&request, REQUEST_GET));
    check(request.is_1_1 && request.keeps_alive);
    check_is(request_target(&request), "/a/b?c");
    check_is(request_get(&request, REQUEST_HOST), "example.org:80");
    check_is(request_get(&request, REQUEST_RANGE), "bytes=0-1");
    check_is(request_get(&request, REQUEST_IF_NONE_MATCH), "\"a\"");
    check_is(request_get(&request, REQUEST_USER_AGENT), "a b c");
    check_is(request_get(&request, REQUEST_REFERER), "");
    check(request_get(&request, REQUEST_IF_RANGE).at == NULL);
}

PROMISE(request, methods_are_told_apart)
{
    check_eq(feed("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"), REQUEST_WHOLE);
    check(request_is(&request, REQUEST_HEAD));
    check_eq(feed("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), REQUEST_WHOLE);
    check(request_is(&request, REQUEST_OPTIONS));
    check_is(request_target(&request), "*");
    check_eq(feed("DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n"), REQUEST_WHOLE);
    check(request_is(&request, REQUEST_ANOTHER));
    check_eq(feed("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"), REQUEST_WHOLE);
    check(request_is(&request, REQUEST_ANOTHER));
}

PROMISE(request, byte_at_a_time_gives_the_same_as_all_at_once)
{
    static const char text[] = "GET http://h/a HTTP/1.1\r\nHost: h\r\nIf-Range: \"abc\"\r\n"
                               "Range: bytes=1-2,3-4\r\nContent-Length: 3\r\n\r\nxyz";
    check_eq(feed_bytewise(text, sizeof text - 1), REQUEST_WHOLE);
    check_eq(request.length, sizeof text - 1);
    check_is(request_target(&request), "http://h/a");
    check_is(request_get(&request, REQUEST_IF_RANGE), "\"abc\"");
    check_is(request_get(&request, REQUEST_RANGE), "bytes=1-2,3-4");
}

PROMISE(request, split_anywhere_it_gives_the_same)
{
    static const char text[] = "GET /abc HTTP/1.1\r\nHost: host\r\nRange: bytes=1-2\r\n\r\n";
    for (size_t split = 0; split < sizeof text - 1; split++) {
        request_begin(&request);
        check_eq(request_feed(&request, text, split), REQUEST_PARTIAL);
        check_eq(request_feed(&request, text, sizeof text - 1), REQUEST_WHOLE);
        check_eq(request.length, sizeof text - 1);
        check_is(request_target(&request), "/abc");
        check_is(request_get(&request, REQUEST_HOST), "host");
        check_is(request_get(&request, REQUEST_RANGE), "bytes=1-2");
    }
}

PROMISE(request, what_follows_is_the_next_request)
{
    static const char one[] = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char two[] = "HEAD /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
    char both[256];
    snprintf(both, sizeof both, "%s%sGET /3", one, two);
    check_whole(both, sizeof one - 1);
    check_is(request_target(&request), "/1");
    check_whole(both + sizeof one - 1, sizeof two - 1);
    check_is(request_target(&request), "/2");
    check_eq(feed(both + sizeof one + sizeof two - 2), REQUEST_PARTIAL);
}

PROMISE(request, blank_lines_before_it_are_skipped)
{
    check_whole("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 31);
    check_is(request_target(&request), "/");
}

PROMISE(request, has_not_begun_while_only_empty_lines_have_come)
{
    static const char text[] = "\r\n\r\nGET";
    for (size_t length = 0; length < sizeof text; length++) {
        request_begin(&request);
        check_eq(request_feed(&request, text, length), REQUEST_PARTIAL);
        check_eq(request_has_begun(&request), length > 4);
    }
}

PROMISE(request, feeding_nothing_more_changes_nothing)
{
    request_begin(&request);
    check_eq(request_feed(&request, "", 0), REQUEST_PARTIAL);
    check(!request_has_begun(&request));
    check_eq(request_feed(&request, "GE", 2), REQUEST_PARTIAL);
    check_eq(request_feed(&request, "GE", 2), REQUEST_PARTIAL);
    check(request_has_begun(&request));
}

/* ---- keeping alive --------------------------------------------------------------------------- */

PROMISE(request, version_and_connection_say_whether_it_stays_open)
{
    static const struct {
        const char *text;
        bool keeps_alive;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: Keep-Alive, CLOSE\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: x,\tKeep-alive \r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: ,close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\t\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection:\tclose \t\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close,\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: , ,\tclose\t, x\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: x\r\nA: b\r\nconnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection:\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: ,\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: x close\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nConnection: \"close\"\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: h\r\nProxy-Connection: close\r\n\r\n", true},
        {"GET / HTTP/1.9\r\nHost: h\r\n\r\n", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_whole(cases[i].text, strlen(cases[i].text));
        if (request.keeps_alive != cases[i].keeps_alive)
            fprintf(stderr, "%s", cases[i].text);
        check_eq(request.keeps_alive, cases[i].keeps_alive);
    }
}

PROMISE(request, wish_to_upgrade_is_not_heard)
{
    static const char text[] = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
                               "Upgrade: websocket\r\n\r\n";
    check_whole(text, sizeof text - 1);
    check(request.keeps_alive);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

PROMISE(request, small_body_is_skipped)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    check_whole(text, sizeof text - 1);
}

PROMISE(request, large_body_is_413_at_once)
{
    check_refused("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 16385\r\n\r\n", 413);
    check_refused("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551\r\n\r\n", 413);
    check_eq(feed("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 16384\r\n\r\n"), REQUEST_PARTIAL);
}

PROMISE(request, body_in_chunks_is_skipped)
{
    static const char head[] =
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \tChunked \r\n\r\n";
    static const char *const bodies[] = {"0\r\n\r\n",
                                         "2;x=\"y\"\r\nab\r\n01\r\n\n\r\n0\r\nHost: i\r\n\r\n"};
    char text[256];
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        snprintf(text, sizeof text, "%s%sGET ", head, bodies[i]);
        check_whole(text, strlen(head) + strlen(bodies[i]));
        check_is(request_get(&request, REQUEST_HOST), "h");
    }
    check_eq(feed(head), REQUEST_PARTIAL);
}

PROMISE(request, chunks_that_are_malformed_are_400)
{
    check_refused(get_with("Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n"), 400);
    check_refused(get_with("Transfer-Encoding: chunked\r\n\r\n0\r\nA : b\r\n"), 400);
}

PROMISE(request, chunks_that_are_too_long_are_413_at_once)
{
    static const char another[] =
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4001\r\n";
    check_refused(get_with("Transfer-Encoding: chunked\r\n\r\n4001\r\n"), 413);
    check_refused(another, 405); /* what is wrong in general */
}

PROMISE(request, coding_that_is_not_known_is_501)
{
    check_refused(get_with("Transfer-Encoding: gzip, chunked\r\n"), 501);
    check_refused(get_with("Transfer-Encoding: identity,\tchunked\r\n"), 501);
}

PROMISE(request, body_that_is_not_wanted_is_405_where_it_would_be_waited_for)
{
    check_whole("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", 48);
    check_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999\r\n\r\n", 405);
    check_refused("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
                  405);
}

PROMISE(request, client_that_awaits_a_continue_is_noticed)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                               "Expect: 100-Continue\r\n\r\n";
    check_eq(feed(text), REQUEST_PARTIAL);
    check(request_awaits_continue(&request));
    check_eq(feed(get_with("Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n")),
             REQUEST_PARTIAL);
    check(request_awaits_continue(&request));
    check_eq(feed("GET / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"),
             REQUEST_PARTIAL);
    check(!request_awaits_continue(&request));
    check_eq(feed("GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"), REQUEST_WHOLE);
    check(!request_awaits_continue(&request));
    check_refused(get_with("Expect: the-unexpected\r\n"), 417);
}

/* ---- what is refused ------------------------------------------------------------------------- */

PROMISE(request, host_is_wanted_once_in_http_1_1)
{
    check_refused("GET / HTTP/1.1\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: b\r\nHost: a\r\n\r\n", 400);
    check_refused("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    check_whole("GET / HTTP/1.1\r\nHost:\r\n\r\n", 25);
    check_whole("GET / HTTP/1.0\r\n\r\n", 18);
}

PROMISE(request, host_that_is_none_is_400)
{
    check_refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    check_refused("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400);
    static const char *const hosts[] = {"a,b",    "a:b",     "a:80:80",   "[::1",
                                        "a..b",   "a%zz",    ":80",       "::1",
                                        "[::1]a", "a:65536", "a\xc3\xa9", "http://a"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i]);
        check_refused(text, 400);
        snprintf(text, sizeof text, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", hosts[i]);
        check_refused(text, 400);
    }
    check_whole("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 34);
}

PROMISE(request, length_that_can_be_read_in_two_ways_is_400)
{
    static const char *const fields[] = {
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 3x\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length:\r\n",
        "Content-Length: 3 3\r\n",
        "Content-Length: 3,\r\n",
        "Content-Length: ,3\r\n",
        "Content-Length: 3;x\r\n",
        "Content-Length: \"3\"\r\n",
        "Content-Length: 3.0\r\n",
        "Content-Length: 3e1\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "content-length: 3\r\nX: y\r\nCONTENT-LENGTH: 3\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: ,\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: gzip, chunked, identity\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Content-Length : 3\r\n",
        "Host : h\r\n",
        "A b: c\r\n",
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        check_refused(get_with(fields[i]), 400);
}

PROMISE(request, encoding_in_http_1_0_is_400)
{
    check_refused("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    check_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
}

PROMISE(request, expectations_are_a_list_too)
{
    check_refused(get_with("Expect: 100-continue, x\r\n"), 417);
    check_refused(get_with("Expect: 100-continue\r\nExpect: x\r\n"), 417);
    check_eq(feed(get_with("Expect: 100-continue\r\nExpect: 100-CONTINUE\r\n")), REQUEST_WHOLE);
    check_eq(feed(get_with("Expect:\r\n")), REQUEST_WHOLE);
    check_eq(feed("GET / HTTP/1.0\r\nExpect: x\r\n\r\n"), REQUEST_WHOLE);
}

PROMISE(request, refused_head_is_still_a_head)
{
    check_refused("HEAD / HTTP/1.1\r\n\r\n", 400);
    check(request_is(&request, REQUEST_HEAD));
    check_refused("HEAD / HTTP/2.0\r\n\r\n", 505);
    check(request_is(&request, REQUEST_HEAD));
    check_refused("GET / HTTP/2.0\r\n\r\n", 505);
    check(!request_is(&request, REQUEST_HEAD));
}

PROMISE(request, folded_field_is_400)
{
    check_refused(get_with("X: a\r\n b\r\n"), 400);
    check_refused(get_with("X: a\r\n\tb\r\n"), 400);
    check_refused(get_with("X:\r\n b\r\n"), 400);
    check_refused(get_with("Range: bytes=0-1,\r\n 2-3\r\n"), 400);
    check_refused("GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400);
}

PROMISE(request, malformed_line_is_400)
{
    static const char *const texts[] = {
        "\x16\x03\x01\x02\x00\x01",
        "GET\r\n\r\n",
        "GET \r\n\r\n",
        "GET /\r\n\r\n",
        "GET / \r\n\r\n",
        "GET / HTTP\r\n\r\n",
        "GET / HTTP/1.1 x\r\nHost: h\r\n\r\n",
        "GET / HTTP/x.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/11\r\nHost: h\r\n\r\n",
        "GET / http/1.1\r\nHost: h\r\n\r\n",
        "GET / FTP/1.1\r\nHost: h\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\tx HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nNo colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n: no name\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nBad(name): x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\x01z\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\x7fz\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\rHost: h\r\r",
        "GET / HTTP/1.1\r\nHost: h\r\n\rx",
        "GET / HTTP/1.1\r\nHost: h\r\n\r\r\n",
        "G\x01T / HTTP/1.1\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_refused(texts[i], 400);
}

PROMISE(request, bytes_beyond_ascii_in_a_target_are_taken_as_they_come)
{
    check_eq(feed("GET /\xc3\xa9\xff?\x80 HTTP/1.1\r\nHost: h\r\n\r\n"), REQUEST_WHOLE);
    check_is(request_target(&request), "/\xc3\xa9\xff?\x80");
}

PROMISE(request, nul_in_a_field_is_400)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n";
    request_begin(&request);
    check_eq(request_feed(&request, text, sizeof text - 1), REQUEST_BAD);
    check_eq(request.status, 400);
    check_eq(feed_bytewise(text, sizeof text - 1), REQUEST_BAD);
}

PROMISE(request, method_that_nobody_knows_is_501)
{
    check_eq(feed("BREW /pot HTTP/1.1\r\nHost: h\r\n\r\n"), REQUEST_BAD);
    check_eq(request.status, 501);
    static const char *const methods[] = {"get",   "GETT",     "GE",       "PRI",
                                          "SETUP", "TEARDOWN", "ANNOUNCE", "!#$%&'*+-.^_`|~09"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: h\r\n\r\n", methods[i]);
        check_refused(text, 501);
    }
}

PROMISE(request, version_that_is_not_1_is_505)
{
    check_refused("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505);
    check_refused("GET / HTTP/3.1\r\nHost: h\r\n\r\n", 505);
    check_whole("GET / HTTP/1.2\r\nHost: h\r\n\r\n", 27);
    check(request.is_1_1);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* before, so many times c, after. */
static const char *stretched(const char *before, char c, size_t count, const char *after)
{
    static char text[64 * 1024];
    size_t length = strlen(before);
    check(length + count + strlen(after) < sizeof text);
    memcpy(text, before, length);
    memset(text + length, c, count);
    strcpy(text + length + count, after);
    return text;
}

PROMISE(request, target_beyond_8_kib_is_414)
{
    static const char rest[] = " HTTP/1.1\r\nHost: h\r\n\r\n";
    check_eq(feed(stretched("GET /", 'a', REQUEST_TARGET_BYTES - 1, rest)), REQUEST_WHOLE);
    check_refused(stretched("GET /", 'a', REQUEST_TARGET_BYTES, rest), 414);
    check_refused(stretched("GET /", 'a', 60000, ""), 414);
}

PROMISE(request, head_beyond_16_kib_is_431)
{
    static const char get[] = "GET / HTTP/1.1\r\nHost: h\r\n";
    char value[64], name[64];
    snprintf(value, sizeof value, "%sX: ", get);
    snprintf(name, sizeof name, "%sX", get);
    check_eq(feed(stretched(value, 'a', 16000, "\r\n\r\n")), REQUEST_WHOLE);
    check_refused(stretched(value, 'a', 17000, "\r\n\r\n"), 431);
    check_refused(stretched(value, 'a', 60000, ""), 431);
    check_refused(stretched(name, 'a', 60000, ""), 431);
    check_refused(stretched(value, ' ', 60000, ""), 431);
}

PROMISE(request, many_small_fields_are_431)
{
    static char text[128 * 1024];
    size_t length = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: h\r\n");
    while (length < 100000)
        length += (size_t)sprintf(text + length, "a:\r\n");
    check_eq(feed(text), REQUEST_BAD);
    check_eq(request.status, 431);
    check_eq(feed_bytewise(text, 20000), REQUEST_BAD);
    check_eq(request.status, 431);
}

PROMISE(request, blank_lines_without_end_are_431)
{
    static char text[64 * 1024];
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "\r\n", 2);
    request_begin(&request);
    check_eq(request_feed(&request, text, sizeof text), REQUEST_BAD);
    check_eq(request.status, 431);
}

/* Whatever comes, feeding it byte by byte gives what feeding it whole gives. */
PROMISE(request, mutilated_requests_give_the_same_however_they_come)
{
    static const char seedling[] = "GET /a%20b HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1\r\n"
                                   "Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody";
    uint64_t state = random_seed();
    for (int i = 0; i < 5000; i++) {
        char text[sizeof seedling];
        memcpy(text, seedling, sizeof seedling);
        for (uint64_t changes = 1 + random_next(&state) % 3; changes > 0; changes--)
            text[random_next(&state) % (sizeof text - 1)] = (char)random_next(&state);
        request_begin(&request);
        enum request_state whole = request_feed(&request, text, sizeof text - 1);
        uint32_t length = request.length;
        enum request_state bytewise = feed_bytewise(text, sizeof text - 1);
        check_eq(bytewise, whole);
        if (whole == REQUEST_WHOLE)
            check_eq(request.length, length);
    }
}
