/* SPDX-License-Identifier: MIT */
#include "access_log.h"

#include <stdio.h>
#include <time.h>

enum {
    QUOTES_BYTES = 32, /* for what ends a client's words, and the line: that always fits */
    NUMBERS_BYTES = 64 /* for what is added in the end: a status, bytes, seconds */
};

/* Adds as many of a client's words as there is room for. */
static void add_escaped(struct text *text, struct slice words)
{
    for (size_t i = 0; i < words.length && text->size - text->length > QUOTES_BYTES; i++) {
        unsigned char byte = (unsigned char)words.at[i];
        const char escaped[] = {'\\', 'x', "0123456789abcdef"[byte >> 4],
                                "0123456789abcdef"[byte & 15]};
        if (byte < ' ' || byte >= 0x7f || byte == '"' || byte == '\\')
            text_add(text, escaped, sizeof escaped);
        else
            text_add(text, words.at + i, 1);
    }
}

/* The address alone, without the brackets that only a port behind it asks for: tools that read logs
 * do not know them. What has no port stays as it is. */
static void add_peer(struct text *text, const char *peer)
{
    const char *colon = strrchr(peer, ':');
    bool has_port = colon != NULL && strncmp(peer, "unix:", 5) != 0;
    bool has_brackets = has_port && *peer == '[' && colon[-1] == ']';
    if (*peer == '\0')
        text_add_string(text, "-");
    else if (has_brackets)
        text_add(text, peer + 1, (size_t)(colon - peer) - 2);
    else
        text_add(text, peer, has_port ? (size_t)(colon - peer) : strlen(peer));
}

/* strftime's %b asks the locale, which the program never sets: it is C's. */
static void add_time(struct text *text)
{
    char buffer[64];
    time_t now = time(NULL);
    struct tm tm;
    (void)gmtime_r(&now, &tm);
    text_add(text, buffer, strftime(buffer, sizeof buffer, " - - [%d/%b/%Y:%T +0000] \"", &tm));
}

static void add_request_line(struct text *text, const struct request *request)
{
    struct slice target = request != NULL ? request_target(request) : (struct slice){.at = NULL};
    if (target.at == NULL) {
        text_add_string(text, "-");
        return;
    }
    add_escaped(text, head_method(&request->head, request->data));
    text_add_string(text, " ");
    add_escaped(text, target);
    text_add_string(text, " ");
    add_escaped(text, head_version(&request->head, request->data));
}

static void add_quoted_field(struct text *text, const struct request *request,
                             enum request_field field)
{
    struct slice value = request != NULL ? request_get(request, field) : (struct slice){.at = NULL};
    text_add_string(text, " \"");
    if (value.length == 0)
        text_add_string(text, "-");
    add_escaped(text, value);
    text_add_string(text, "\"");
}

void access_line_begin(struct access_line *line, const char *peer, const struct request *request)
{
    struct text *text = &line->text;
    *text = text_in(line->room, sizeof line->room);
    add_peer(text, peer);
    add_time(text);
    add_request_line(text, request);
    text_add_string(text, "\"");
    line->split = text->length;
    add_quoted_field(text, request, REQUEST_REFERER);
    add_quoted_field(text, request, REQUEST_USER_AGENT);
}

/* The content is sent last: bytes that remain are missing from it first. */
static uint64_t content_sent(const struct access_line *line, const ferry_result *result)
{
    return line->content > result->remaining ? line->content - result->remaining : 0;
}

static void add_seconds(struct text *text, int64_t ns)
{
    char buffer[32];
    int64_t ms = ns / 1000000;
    int length =
        snprintf(buffer, sizeof buffer, " %lld.%03d\n", (long long)(ms / 1000), (int)(ms % 1000));
    text_add(text, buffer, (size_t)length);
}

void access_log_add(struct log_writer *log, struct access_line *line, const ferry_result *result)
{
    char buffer[sizeof line->room + NUMBERS_BYTES];
    struct text whole = text_in(buffer, sizeof buffer);
    text_add(&whole, line->room, line->split);
    text_add_string(&whole, " ");
    text_add_number(&whole, (uint64_t)line->status);
    text_add_string(&whole, " ");
    text_add_number(&whole, content_sent(line, result));
    text_add(&whole, line->room + line->split, line->text.length - line->split);
    add_seconds(&whole, result->queued_ns + result->active_ns);
    log_writer_add(log, whole.data, whole.length);
}
