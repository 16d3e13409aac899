/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/ranges.h"

#include "tests/harness.h"

static struct range ranges[RANGES_LIMIT];

static int parse(const char *text, uint64_t size)
{
    memset(ranges, 0xee, sizeof ranges);
    return ranges_parse(text, strlen(text), size, ranges);
}

static void check_range(int which, uint64_t first, uint64_t length)
{
    check_eq(ranges[which].first, first);
    check_eq(ranges[which].length, length);
}

static void check_one(const char *text, uint64_t size, uint64_t first, uint64_t length)
{
    check_eq(parse(text, size), 1);
    check_range(0, first, length);
}

PROMISE(ranges, first_and_last_byte_are_both_sent)
{
    check_one("bytes=0-0", 100, 0, 1);
    check_one("bytes=0-99", 100, 0, 100);
    check_one("bytes=10-19", 100, 10, 10);
}

PROMISE(ranges, without_a_last_byte_it_goes_to_the_end)
{
    check_one("bytes=90-", 100, 90, 10);
    check_one("bytes=0-", 100, 0, 100);
    check_one("bytes=99-", 100, 99, 1);
}

PROMISE(ranges, suffix_is_that_many_bytes_from_the_end)
{
    check_one("bytes=-1", 100, 99, 1);
    check_one("bytes=-100", 100, 0, 100);
    check_one("bytes=-101", 100, 0, 100);
    check_eq(parse("bytes=-0", 100), RANGES_UNSATISFIABLE);
}

PROMISE(ranges, last_byte_beyond_the_end_is_the_last_there_is)
{
    check_one("bytes=90-100", 100, 90, 10);
    check_one("bytes=90-99999999999999999999999999", 100, 90, 10);
}

PROMISE(ranges, beyond_the_end_is_unsatisfiable)
{
    check_eq(parse("bytes=100-", 100), RANGES_UNSATISFIABLE);
    check_eq(parse("bytes=100-200", 100), RANGES_UNSATISFIABLE);
    check_eq(parse("bytes=99999999999999999999999999-", 100), RANGES_UNSATISFIABLE);
    check_eq(parse("bytes=100-,200-", 100), RANGES_UNSATISFIABLE);
}

PROMISE(ranges, of_an_empty_file_its_last_bytes_are_all_and_others_unsatisfiable)
{
    check_eq(parse("bytes=0-", 0), RANGES_UNSATISFIABLE);
    check_eq(parse("bytes=0-0", 0), RANGES_UNSATISFIABLE);
    check_eq(parse("bytes=-0", 0), RANGES_UNSATISFIABLE);
    check_eq(parse("bytes=-1", 0), RANGES_WHOLE);
    check_eq(parse("bytes=-5", 0), RANGES_WHOLE);
    check_eq(parse("bytes=0-,-5", 0), RANGES_WHOLE);
}

/* As readers of archives do: many, small, apart from each other, in any order. */
PROMISE(ranges, many_small_ones_are_honoured)
{
    for (int count = 20; count <= 100; count += 40) {
        char text[4096] = "bytes=";
        for (int i = 0; i < count; i++)
            sprintf(text + strlen(text), "%s%d-%d", i > 0 ? "," : "", (count - i) * 100,
                    (count - i) * 100 + 9);
        check_eq(parse(text, 100000), count);
        for (int i = 0; i < count; i++)
            check_range(i, (uint64_t)(count - i) * 100, 10);
    }
}

PROMISE(ranges, several_keep_their_order)
{
    check_eq(parse("bytes=50-59,0-9,-5", 100), 3);
    check_range(0, 50, 10);
    check_range(1, 0, 10);
    check_range(2, 95, 5);
}

PROMISE(ranges, of_several_those_beyond_the_end_are_left_out)
{
    check_eq(parse("bytes=0-9,200-,20-29,-0", 100), 2);
    check_range(0, 0, 10);
    check_range(1, 20, 10);
}

PROMISE(ranges, blanks_and_empty_elements_are_allowed)
{
    check_eq(parse("bytes= 0-9 , ,,\t20-29 ,", 100), 2);
    check_range(0, 0, 10);
    check_range(1, 20, 10);
}

PROMISE(ranges, unit_may_be_written_in_any_case)
{
    check_one("Bytes=1-2", 100, 1, 2);
}

PROMISE(ranges, malformed_and_foreign_ones_are_ignored)
{
    static const char *const texts[] = {
        "",          "bytes",        "bytes=",     "bytes=,",     "bytes=-",    "bytes=a-b",
        "bytes=1",   "bytes=1-2-3",  "bytes=2-1",  "bytes=0-9,x", "bytes=0-9;", "bytes 0-9",
        "lines=0-9", "bytes=--1",    "bytes=+1-2", "bytes=0x1-2", "bytes=1- 2", "bytes=0-9 10-19",
        "bytes= ",   "bytes=0-9,5-2"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_eq(parse(texts[i], 100), RANGES_WHOLE);
}

PROMISE(ranges, more_than_the_limit_are_ignored)
{
    char text[16 + 4 * RANGES_LIMIT] = "bytes=0-0";
    for (int i = 1; i < RANGES_LIMIT; i++)
        strcat(text, ",0-0");
    check_eq(parse(text, 1000), RANGES_LIMIT);
    strcat(text, ",0-0");
    check_eq(parse(text, 1000), RANGES_WHOLE);
}

PROMISE(ranges, together_longer_than_the_file_they_are_ignored)
{
    check_eq(parse("bytes=0-49,50-99", 100), 2);
    check_eq(parse("bytes=0-49,49-99", 100), RANGES_WHOLE);
    check_eq(parse("bytes=0-,0-,0-", 100), RANGES_WHOLE);
    check_eq(parse("bytes=0-,0-", UINT64_MAX), RANGES_WHOLE);
}

PROMISE(ranges, largest_numbers_do_not_overflow)
{
    check_one("bytes=0-18446744073709551615", UINT64_MAX, 0, UINT64_MAX);
    check_one("bytes=18446744073709551614-", UINT64_MAX, UINT64_MAX - 1, 1);
    check_one("bytes=-18446744073709551615", UINT64_MAX, 0, UINT64_MAX);
    check_eq(parse("bytes=18446744073709551615-", UINT64_MAX), RANGES_UNSATISFIABLE);
}
