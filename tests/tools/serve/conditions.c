/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/conditions.h"

#include "tests/harness.h"

#define EARLIER "Sun, 06 Nov 1994 08:49:36 GMT"
#define EXACTLY "Sun, 06 Nov 1994 08:49:37 GMT"
#define LATER   "Sun, 06 Nov 1994 08:49:38 GMT"

enum { MODIFIED_S = 784111777, LONG_AGO_S = MODIFIED_S + 1000 };

static const struct validators version = {.etag = {"\"a,b\"", 5}, .modified_s = MODIFIED_S};

/* A request with these fields; each ends in a CRLF. */
static const struct request *with(const char *fields)
{
    static struct request request;
    static char text[1024];
    int length = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
    request_begin(&request);
    check_eq(request_feed(&request, text, (size_t)length), REQUEST_WHOLE);
    return &request;
}

static int status(const char *fields)
{
    return conditions_check(with(fields), &version);
}

static bool allows_range(const char *fields)
{
    return conditions_allow_range(with(fields), &version, LONG_AGO_S);
}

PROMISE(conditions, without_any_nothing_stands_in_the_way)
{
    check_eq(status(""), 0);
}

PROMISE(conditions, if_none_match_names_what_the_client_has)
{
    check_eq(status("If-None-Match: \"a,b\"\r\n"), 304);
    check_eq(status("If-None-Match: \"x\"\r\n"), 0);
    check_eq(status("If-None-Match: \"x\", \"a,b\"\r\n"), 304);
    check_eq(status("If-None-Match: \"x\",\"y\" , ,\"a,b\",\"z\"\r\n"), 304);
    check_eq(status("If-None-Match: *\r\n"), 304);
}

PROMISE(conditions, if_none_match_compares_weakly)
{
    check_eq(status("If-None-Match: W/\"a,b\"\r\n"), 304);
    check_eq(status("If-None-Match: W/\"x\", W/\"a,b\"\r\n"), 304);
    check_eq(status("If-None-Match: w/\"a,b\"\r\n"), 0);
}

PROMISE(conditions, part_of_a_tag_is_no_tag)
{
    static const char *const values[] = {"a",       "a,b", "\"a", "\"a,b", "\"b\"",    "\"a\"",
                                         "\"A,B\"", "**",  "*,*", "\"a,b", "x\"a,b\"", ""};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char field[64];
        snprintf(field, sizeof field, "If-None-Match: %s\r\n", values[i]);
        check_eq(status(field), 0);
    }
}

PROMISE(conditions, if_modified_since_counts_seconds)
{
    check_eq(status("If-Modified-Since: " EXACTLY "\r\n"), 304);
    check_eq(status("If-Modified-Since: " LATER "\r\n"), 304);
    check_eq(status("If-Modified-Since: " EARLIER "\r\n"), 0);
    check_eq(status("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n"), 304);
    check_eq(status("If-Modified-Since: yesterday\r\n"), 0);
}

PROMISE(conditions, if_none_match_is_asked_instead_of_if_modified_since)
{
    check_eq(status("If-None-Match: \"x\"\r\nIf-Modified-Since: " LATER "\r\n"), 0);
    check_eq(status("If-None-Match: \"a,b\"\r\nIf-Modified-Since: " EARLIER "\r\n"), 304);
}

PROMISE(conditions, if_match_wants_the_very_version)
{
    check_eq(status("If-Match: \"a,b\"\r\n"), 0);
    check_eq(status("If-Match: *\r\n"), 0);
    check_eq(status("If-Match: \"x\", \"a,b\"\r\n"), 0);
    check_eq(status("If-Match: \"x\"\r\n"), 412);
    check_eq(status("If-Match: W/\"a,b\"\r\n"), 412);
}

PROMISE(conditions, if_unmodified_since_counts_seconds)
{
    check_eq(status("If-Unmodified-Since: " EXACTLY "\r\n"), 0);
    check_eq(status("If-Unmodified-Since: " LATER "\r\n"), 0);
    check_eq(status("If-Unmodified-Since: " EARLIER "\r\n"), 412);
    check_eq(status("If-Unmodified-Since: tomorrow\r\n"), 0);
    check_eq(status("If-Match: \"a,b\"\r\nIf-Unmodified-Since: " EARLIER "\r\n"), 0);
}

PROMISE(conditions, failing_comes_before_not_modified)
{
    check_eq(status("If-Match: \"x\"\r\nIf-None-Match: \"a,b\"\r\n"), 412);
    check_eq(status("If-Match: \"a,b\"\r\nIf-None-Match: \"a,b\"\r\n"), 304);
}

PROMISE(conditions, range_holds_for_the_version_that_if_range_names)
{
    check(allows_range(""));
    check(allows_range("If-Range: \"a,b\"\r\n"));
    check(!allows_range("If-Range: \"x\"\r\n"));
    check(!allows_range("If-Range: W/\"a,b\"\r\n"));
    check(!allows_range("If-Range: *\r\n"));
    check(allows_range("If-Range: " EXACTLY "\r\n"));
    check(!allows_range("If-Range: " EARLIER "\r\n"));
    check(!allows_range("If-Range: " LATER "\r\n"));
    check(!allows_range("If-Range: rubbish\r\n"));
}

PROMISE(conditions, date_does_not_name_a_version_that_may_still_change)
{
    const struct request *request = with("If-Range: " EXACTLY "\r\n");
    check(!conditions_allow_range(request, &version, MODIFIED_S));
    check(conditions_allow_range(request, &version, MODIFIED_S + 1));
}

PROMISE(conditions, tags_in_several_lines_are_one_list)
{
    check_eq(status("If-None-Match: \"x\"\r\nX: y\r\nif-none-match: W/\"a,b\"\r\n"), 304);
    check_eq(status("If-None-Match: \"a,b\"\r\nIf-None-Match: \"x\"\r\n"), 304);
    check_eq(status("If-None-Match: \"x\"\r\nIf-None-Match: \"y\"\r\n"), 0);
    check_eq(status("If-None-Match:\r\nIf-None-Match: , \r\nIf-None-Match: ,\"a,b\"\r\n"), 304);
    check_eq(status("If-Match: \"x\"\r\nIf-Match: \"y\", \"a,b\"\r\n"), 0);
    check_eq(status("If-Match: \"x\"\r\nIf-Match: W/\"a,b\"\r\n"), 412);
}

PROMISE(conditions, list_is_read_as_far_as_it_is_one)
{
    check_eq(status("If-None-Match: *\r\nIf-None-Match: *\r\n"), 0); /* it stands alone */
    check_eq(status("If-None-Match: x\r\nIf-None-Match: \"a,b\"\r\n"), 0);
    check_eq(status("If-None-Match: \"a\r\nIf-None-Match: b\"\r\n"), 0);
    check_eq(status("If-Match: *\r\nIf-Match: *\r\n"), 412);
}

PROMISE(conditions, date_or_if_range_that_came_twice_does_not_hold)
{
    check_eq(status("If-Modified-Since: " LATER "\r\nIf-Modified-Since: " LATER "\r\n"), 0);
    check(!allows_range("If-Range: \"a,b\"\r\nIf-Range: \"a,b\"\r\n"));
}
