/* SPDX-License-Identifier: MIT */
#include "ranges.h"

#include <stdbool.h>
#include <strings.h>

/* One range as it is written: "first-last", "first-" or "-last", where last is a length. */
struct wanted {
    bool has_first;
    bool has_last;
    uint64_t first;
    uint64_t last;
};

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* A number that is too large for the type becomes the largest. @return where the digits end. */
static const char *read_number(const char *at, const char *end, bool *ret_is_there,
                               uint64_t *ret_number)
{
    const char *begin = at;
    uint64_t number = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        number = number > (UINT64_MAX - digit) / 10 ? UINT64_MAX : number * 10 + digit;
    }
    *ret_is_there = at > begin;
    *ret_number = number;
    return at;
}

/* @return where it ends; NULL: it is malformed. */
static const char *read_wanted(const char *at, const char *end, struct wanted *ret_wanted)
{
    at = read_number(at, end, &ret_wanted->has_first, &ret_wanted->first);
    if (at == end || *at != '-')
        return NULL;
    at = read_number(at + 1, end, &ret_wanted->has_last, &ret_wanted->last);
    bool is_there = ret_wanted->has_first || ret_wanted->has_last;
    bool is_backwards =
        ret_wanted->has_first && ret_wanted->has_last && ret_wanted->first > ret_wanted->last;
    return is_there && !is_backwards ? at : NULL;
}

/* @return whether any of it lies in the file. */
static bool resolve(const struct wanted *wanted, uint64_t size, struct range *ret_range)
{
    if (!wanted->has_first) {
        ret_range->length = wanted->last < size ? wanted->last : size;
        ret_range->first = size - ret_range->length;
        return ret_range->length > 0;
    }
    if (wanted->first >= size)
        return false;
    uint64_t last = wanted->has_last && wanted->last < size ? wanted->last : size - 1;
    ret_range->first = wanted->first;
    ret_range->length = last - wanted->first + 1;
    return true;
}

/* The end of a list's element: behind its comma, or the end. @return NULL: there is neither. */
static const char *end_element(const char *at, const char *end)
{
    at = skip_blanks(at, end);
    return at == end ? end : *at == ',' ? at + 1 : NULL;
}

/* What was found so far. */
struct finding {
    struct range *ranges;
    uint64_t size;  /* the file's */
    uint64_t total; /* bytes of all ranges, at most size */
    int count;      /* ranges that lie in the file */
    int seen;       /* ranges that were asked for */
};

/* Whether it is satisfied by no bytes at all (RFC 9110, 14.1.2). */
static bool is_all_of_nothing(const struct wanted *wanted, uint64_t size)
{
    return size == 0 && !wanted->has_first && wanted->last > 0;
}

/* @return whether there may be one range more, and together they are not longer than the file. */
static bool add(struct finding *finding, const struct wanted *wanted)
{
    struct range range;
    if (++finding->seen > RANGES_LIMIT || is_all_of_nothing(wanted, finding->size))
        return false;
    if (!resolve(wanted, finding->size, &range))
        return true;
    if (range.length > finding->size - finding->total)
        return false;
    finding->total += range.length;
    finding->ranges[finding->count++] = range;
    return true;
}

/*
 * Reads an element of the list, which may be empty. @return where the next begins; NULL: ignore
 * all.
 */
static const char *read_element(const char *at, const char *end, struct finding *finding)
{
    struct wanted wanted;
    if (*at == ',')
        return at + 1;
    at = read_wanted(at, end, &wanted);
    if (at == NULL || !add(finding, &wanted))
        return NULL;
    return end_element(at, end);
}

int ranges_parse(const char *text, size_t length, uint64_t size, struct range *ranges)
{
    static const char unit[] = "bytes=";
    const size_t unit_length = sizeof unit - 1;
    const char *at = text, *end = text + length;
    if (length < unit_length || strncasecmp(at, unit, unit_length) != 0)
        return RANGES_WHOLE;
    struct finding finding = {.ranges = ranges, .size = size};
    at += unit_length;
    while (at != NULL && (at = skip_blanks(at, end)) < end)
        at = read_element(at, end, &finding);
    if (at == NULL || finding.seen == 0)
        return RANGES_WHOLE;
    return finding.count > 0 ? finding.count : RANGES_UNSATISFIABLE;
}
