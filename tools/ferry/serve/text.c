/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <stdlib.h>

enum { FIRST_BYTES = 4096 }; /* of a text that grows: a page, a small listing's size */

static bool grow(struct text *text, size_t length)
{
    size_t size = text->size > 0 ? text->size : FIRST_BYTES;
    while (size - text->length < length)
        size *= 2;
    char *data = realloc(text->data, size);
    if (data == NULL)
        return false;
    text->data = data;
    text->size = size;
    return true;
}

void text_add(struct text *text, const void *data, size_t length)
{
    bool fits = !text->is_cut &&
                (text->size - text->length >= length || (text->is_grown && grow(text, length)));
    if (!fits) {
        text->is_cut = true;
        return;
    }
    if (length > 0)
        memcpy(text->data + text->length, data, length);
    text->length += length;
}

static void add_digits(struct text *text, uint64_t number, unsigned base)
{
    char digits[20]; /* of 2^64 in base 10 */
    size_t at = sizeof digits;
    do
        digits[--at] = "0123456789abcdef"[number % base];
    while ((number /= base) > 0);
    text_add(text, digits + at, sizeof digits - at);
}

void text_add_number(struct text *text, uint64_t number)
{
    add_digits(text, number, 10);
}

void text_add_hex(struct text *text, uint64_t number)
{
    add_digits(text, number, 16);
}

static const char *escape(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void text_add_html(struct text *text, const char *string)
{
    for (; *string != '\0'; string++) {
        const char *escaped = escape(*string);
        if (escaped != NULL)
            text_add_string(text, escaped);
        else
            text_add(text, string, 1);
    }
}

static bool is_letter_digit_or(char c, const char *string)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr(string, c) != NULL);
}

static bool stays_in_url(char c)
{
    return is_letter_digit_or(c, "-._~/");
}

/* What a query may have (RFC 3986, 3.4). */
static bool stays_in_query(char c)
{
    return is_letter_digit_or(c, "-._~!$&'()*+,;=:@/?%");
}

static void add_encoded(struct text *text, char c)
{
    unsigned char byte = (unsigned char)c;
    const char encoded[] = {'%', "0123456789ABCDEF"[byte >> 4], "0123456789ABCDEF"[byte & 15]};
    text_add(text, encoded, sizeof encoded);
}

void text_add_url(struct text *text, const char *path, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (stays_in_url(path[i]))
            text_add(text, path + i, 1);
        else
            add_encoded(text, path[i]);
    }
}

void text_add_query(struct text *text, const char *query, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (stays_in_query(query[i]))
            text_add(text, query + i, 1);
        else
            add_encoded(text, query[i]);
    }
}
