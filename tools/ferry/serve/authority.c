/* SPDX-License-Identifier: MIT */
#include "authority.h"

#include <arpa/inet.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'f');
}

/* @param port behind its colon; may be empty. */
static bool is_port(const char *port, const char *end)
{
    unsigned number = 0;
    for (; port < end && is_digit(*port) && number <= 65535; port++)
        number = number * 10 + (unsigned)(*port - '0');
    return port == end && number <= 65535;
}

/* @return where the address ends; NULL: it is no address. */
static const char *skip_address(const char *at, const char *end)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    const char *close = memchr(at, ']', (size_t)(end - at));
    size_t length = close != NULL ? (size_t)(close - at - 1) : sizeof text;
    if (length >= sizeof text)
        return NULL;
    memcpy(text, at + 1, length);
    text[length] = '\0';
    return strlen(text) == length && inet_pton(AF_INET6, text, &address) == 1 ? close + 1 : NULL;
}

static bool is_in_name(char c)
{
    return is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
           (c != '\0' && strchr("-._~!$&'()*+;=", c) != NULL);
}

/* @return where the byte, plain or encoded, ends; NULL: no name has it. */
static const char *skip_byte(const char *at, const char *end)
{
    if (*at != '%')
        return is_in_name(*at) ? at + 1 : NULL;
    return end - at > 2 && is_hex(at[1]) && is_hex(at[2]) ? at + 3 : NULL;
}

/* @return where the name ends: at a colon, or the end; NULL: it is no name. */
static const char *skip_name(const char *at, const char *end)
{
    const char *begin = at;
    bool is_label_empty = true;
    while (at != NULL && at < end && *at != ':') {
        if (*at == '.' && is_label_empty)
            return NULL;
        is_label_empty = *at == '.';
        at = skip_byte(at, end);
    }
    return at != begin ? at : NULL;
}

bool authority_is_valid(struct slice text)
{
    const char *at = text.at, *end = at + text.length;
    if (at == end)
        return false;
    at = *at == '[' ? skip_address(at, end) : skip_name(at, end);
    return at != NULL && (at == end || (*at == ':' && is_port(at + 1, end)));
}
