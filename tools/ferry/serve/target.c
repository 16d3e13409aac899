/* SPDX-License-Identifier: MIT */
#include "target.h"

#include "authority.h"

#include <string.h>
#include <strings.h>

/* What is left to read, and where the path's last segment begins. */
struct parsing {
    const char *at;
    const char *end;
    size_t segment; /* where it begins in path */
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* @return the next byte of the path, decoded; -1: it is malformed. */
static int next_byte(struct parsing *parsing)
{
    char c = *parsing->at++;
    if (c != '%')
        return c == '\0' ? -1 : (unsigned char)c;
    if (parsing->end - parsing->at < 2)
        return -1;
    int high = hex_digit(parsing->at[0]), low = hex_digit(parsing->at[1]);
    parsing->at += 2;
    return high < 0 || low < 0 || (high | low) == 0 ? -1 : high << 4 | low;
}

/* Takes away the last segment with its slash. @return whether there was one. */
static bool climb(struct target *target)
{
    if (target->length == 0)
        return false;
    target->length--;
    while (target->length > 0 && target->path[target->length - 1] != '/')
        target->length--;
    return true;
}

static bool segment_is(const struct target *target, size_t segment, const char *string)
{
    size_t length = strlen(string);
    return target->length - segment == length &&
           memcmp(target->path + segment, string, length) == 0;
}

/*
 * The last segment is whole. @param has_slash a slash ended it. @return whether it can be followed.
 */
static bool end_segment(struct parsing *parsing, struct target *target, bool has_slash)
{
    bool is_here = segment_is(target, parsing->segment, ".");
    bool is_above = segment_is(target, parsing->segment, "..");
    if (is_here || is_above)
        target->length = parsing->segment;
    else if (has_slash && target->length > parsing->segment)
        target->path[target->length++] = '/';
    if (is_above && !climb(target))
        return false;
    parsing->segment = target->length;
    return true;
}

/* @return as target_parse. */
static int parse_path(struct parsing *parsing, struct target *target)
{
    while (parsing->at < parsing->end) {
        int byte = next_byte(parsing);
        if (byte < 0)
            return 400;
        if (target->length >= sizeof target->path - 2) /* a slash, and the NUL */
            return 414;
        if (byte != '/')
            target->path[target->length++] = (char)byte;
        else if (!end_segment(parsing, target, true))
            return 400;
    }
    return end_segment(parsing, target, false) ? 0 : 400;
}

/* What is before the path in "http://host/path". @return whether it is absent or well-formed. */
static bool skip_origin(const char **at, const char *end)
{
    size_t length = (size_t)(end - *at);
    if (length == 0 || **at == '/')
        return length > 0;
    const char *host = length >= 7 && strncasecmp(*at, "http://", 7) == 0    ? *at + 7
                       : length >= 8 && strncasecmp(*at, "https://", 8) == 0 ? *at + 8
                                                                             : NULL;
    if (host == NULL)
        return false;
    for (*at = host; *at < end && memchr("/?#", **at, 3) == NULL;)
        ++*at;
    return authority_is_valid((struct slice){host, (size_t)(*at - host)});
}

static const char *find(const char *at, const char *end, char c)
{
    const char *found = memchr(at, c, (size_t)(end - at));
    return found != NULL ? found : end;
}

int target_parse(const char *text, size_t length, struct target *ret_target)
{
    const char *at = text, *end = text + length;
    if (!skip_origin(&at, end))
        return 400;
    end = find(at, end, '#');
    const char *query = find(at, end, '?');
    struct parsing parsing = {.at = at < query ? at + 1 : at, .end = query};
    ret_target->length = 0;
    int status = parse_path(&parsing, ret_target);
    if (status != 0)
        return status;
    ret_target->path[ret_target->length] = '\0';
    ret_target->is_directory =
        ret_target->length == 0 || ret_target->path[ret_target->length - 1] == '/';
    ret_target->is_hidden = ret_target->path[0] == '.' || strstr(ret_target->path, "/.") != NULL;
    ret_target->query = query;
    ret_target->query_length = (size_t)(end - query);
    return 0;
}
