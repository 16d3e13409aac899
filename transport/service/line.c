/* SPDX-License-Identifier: MIT */
#include "transport/service/line.h"

#include "core/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void ferry__line_begin(ferry__line *line)
{
    line->now = ferry__clock_now();
    line->length = 0;
    line->text[0] = '\0';
}

void ferry__line_add(ferry__line *line, const char *format, ...)
{
    size_t room = sizeof line->text - line->length;
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(line->text + line->length, room, format, arguments);
    va_end(arguments);
    if (count > 0)
        line->length += (size_t)count < room ? (size_t)count : room - 1;
}

void ferry__line_add_count(ferry__line *line, uint64_t count, const char *what)
{
    ferry__line_add(line, "%" PRIu64 " %s%s", count, what, count == 1 ? "" : "s");
}

void ferry__line_add_queue(ferry__line *line, uint64_t requests, uint64_t bytes,
                           uint64_t file_bytes)
{
    ferry__line_add_count(line, requests, "request");
    ferry__line_add(line, " queued, ");
    ferry__line_add_count(line, bytes, "byte");
    ferry__line_add(line, " and %" PRIu64 " of files", file_bytes);
}

/* Adds so many bytes of text, with '?' for characters that would look like the line's own. */
static void add_quoted(ferry__line *line, const char *text, size_t length, const char *own)
{
    size_t begin = line->length;
    ferry__line_add(line, "%.*s", (int)length, text);
    for (size_t i = begin; i < line->length; i++) {
        if (strchr(own, line->text[i]) != NULL)
            line->text[i] = '?';
    }
}

void ferry__line_add_word(ferry__line *line, const char *word)
{
    add_quoted(line, word, strlen(word), " '");
}

void ferry__line_add_label(ferry__line *line, const char *label)
{
    enum { MOST = 60 }; /* so that a long one leaves room for the rest of its line */
    if (label == NULL || label[0] == '\0')
        return;
    ferry__line_add(line, " '");
    add_quoted(line, label, ferry__text_fit(label, MOST), "'");
    ferry__line_add(line, "'");
}

int64_t ferry__line_age_ms(const ferry__line *line, int64_t since)
{
    return since < line->now ? (line->now - since) / FERRY__NS_PER_MS : 0;
}

void ferry__line_add_age(ferry__line *line, int64_t since)
{
    ferry__line_add(line, ", for %" PRId64 " ms", ferry__line_age_ms(line, since));
}

/* ---- what a terminal takes ------------------------------------------------------------------- */

enum { NO_CHARACTER = 0x110000 };

/* The character of UTF-8 there, in shortest form, and its length; or NO_CHARACTER, of one byte. */
static uint32_t decode(const char *text, size_t *ret_length)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)text[0];
    size_t length = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t character = length == 1 ? first : first & (0x7fU >> length);
    *ret_length = 1;
    if (length == 0 || first >= 0xf8)
        return NO_CHARACTER;
    for (size_t i = 1; i < length; i++) {
        if (!ferry__text_is_inside(text + i)) /* the end of the text, too */
            return NO_CHARACTER;
        character = character << 6 | ((unsigned char)text[i] & 0x3f);
    }
    bool is_surrogate = character >= 0xd800 && character < 0xe000;
    if (character < least[length] || is_surrogate || character >= NO_CHARACTER)
        return NO_CHARACTER;
    *ret_length = length;
    return character;
}

/* Whether it is a character that neither controls a terminal nor changes the order of its text. */
static bool is_printable(uint32_t character)
{
    bool is_control = character < ' ' || (character >= 0x7f && character < 0xa0);
    bool is_order = (character >= 0x202a && character <= 0x202e) ||
                    (character >= 0x2066 && character <= 0x2069);
    return !is_control && !is_order && character != NO_CHARACTER;
}

void ferry__line_make_printable(ferry__line *line)
{
    size_t kept = 0, length;
    for (size_t i = 0; i < line->length; i += length) {
        if (is_printable(decode(line->text + i, &length))) {
            memmove(line->text + kept, line->text + i, length);
            kept += length;
        } else {
            line->text[kept++] = '?';
        }
    }
    line->length = kept;
    line->text[kept] = '\0';
}
