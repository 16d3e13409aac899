/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/http_date.h"

#include "tests/harness.h"

#include <time.h>

/* The example of RFC 9110. */
#define EXAMPLE_S INT64_C(784111777)

static bool parse(const char *text, int64_t *ret_seconds)
{
    return http_date_parse(text, strlen(text), ret_seconds);
}

static void check_written(int64_t seconds, const char *expected)
{
    char text[HTTP_DATE_LENGTH];
    http_date_format(seconds, text);
    check_eq(strlen(expected), HTTP_DATE_LENGTH);
    check(memcmp(text, expected, sizeof text) == 0);
}

PROMISE(http_date, dates_are_written_as_rfc_9110_wants_them)
{
    check_written(EXAMPLE_S, "Sun, 06 Nov 1994 08:49:37 GMT");
    check_written(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    check_written(-1, "Wed, 31 Dec 1969 23:59:59 GMT");
    check_written(INT64_C(1709164800), "Thu, 29 Feb 2024 00:00:00 GMT");
}

PROMISE(http_date, years_that_four_digits_cannot_tell_are_brought_back)
{
    check_written(INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
    check_written(INT64_MIN, "Sat, 01 Jan 0000 00:00:00 GMT");
}

PROMISE(http_date, all_three_forms_are_understood)
{
    int64_t seconds = 0;
    check(parse("Sun, 06 Nov 1994 08:49:37 GMT", &seconds) && seconds == EXAMPLE_S);
    seconds = 0;
    check(parse("Sunday, 06-Nov-94 08:49:37 GMT", &seconds) && seconds == EXAMPLE_S);
    seconds = 0;
    check(parse("Sun Nov  6 08:49:37 1994", &seconds) && seconds == EXAMPLE_S);
    check(parse("Sun Nov 16 08:49:37 1994", &seconds) && seconds == EXAMPLE_S + 10 * 86400);
}

PROMISE(http_date, year_of_two_digits_is_at_most_50_years_ahead)
{
    int64_t seconds;
    time_t now = time(NULL);
    check(parse("Sunday, 06-Nov-94 08:49:37 GMT", &seconds) && seconds < now);
    for (char tens = '0'; tens <= '9'; tens++) {
        char text[] = "Sunday, 06-Nov-x0 08:49:37 GMT";
        text[15] = tens;
        check(parse(text, &seconds));
        check(seconds < now + INT64_C(51) * 366 * 86400);
        check(seconds > now - INT64_C(51) * 366 * 86400);
    }
}

PROMISE(http_date, what_is_written_is_read_back_the_same)
{
    uint64_t state = random_seed();
    for (int i = 0; i < 100000; i++) {
        char text[HTTP_DATE_LENGTH];
        int64_t seconds = (int64_t)(random_next(&state) % 253402300799), back;
        http_date_format(seconds, text);
        check(http_date_parse(text, sizeof text, &back));
        check_eq(back, seconds);
    }
}

PROMISE(http_date, what_is_no_date_is_none)
{
    static const char *const texts[] = {
        "",
        "0",
        "yesterday",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 2023 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        int64_t seconds = 4711;
        check(!parse(texts[i], &seconds));
        check_eq(seconds, 4711);
    }
}

PROMISE(http_date, cut_short_anywhere_it_is_none)
{
    static const char text[] = "Sun, 06 Nov 1994 08:49:37 GMT";
    int64_t seconds;
    for (size_t length = 0; length < sizeof text - 1; length++)
        check(!http_date_parse(text, length, &seconds));
}

PROMISE(http_date, now_is_now)
{
    int64_t seconds, back;
    time_t before = time(NULL);
    const char *text = http_date_now(&seconds);
    check(http_date_parse(text, HTTP_DATE_LENGTH, &back));
    check_eq(back, seconds);
    check(seconds >= before - 1 && seconds <= time(NULL)); /* the coarse clock is a tick behind */
}
