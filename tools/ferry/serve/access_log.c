/* SPDX-License-Identifier: MIT */
#include "access_log.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    WAITING_BYTES = 4 * 1024 * 1024, /* of lines; some seconds' worth on a busy server */
    CLOSE_MS = 2000,                 /* for a disk that is busy, not for a pipe that nobody reads */
    QUOTES_BYTES = 32,               /* what ends a client's words, and the line: it always fits */
    NUMBERS_BYTES = 64               /* what is added in the end: a status, bytes, seconds */
};

struct access_log {
    ferry_service *service;      /* of the one stream */
    ferry_stream *stream;        /* the file */
    atomic_uint_fast64_t missed; /* lines that were left out */
};

/* ---- lines ----------------------------------------------------------------------------------- */

/* As many of a client's words as there is room for. */
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

/* Content is what is sent last: what remains is missing from it first. */
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

void access_log_add(struct access_log *log, struct access_line *line, const ferry_result *result)
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
    if (ferry_stream_write(log->stream, whole.data, whole.length, NULL, NULL) != 0)
        atomic_fetch_add_explicit(&log->missed, 1, memory_order_relaxed);
}

/* ---- the log --------------------------------------------------------------------------------- */

static int adopt(struct access_log *log, int fd)
{
    static const ferry_service_options service = {.placement = FERRY_DEDICATED};
    static const ferry_stream_options stream = {.limit_bytes = WAITING_BYTES};
    int error = ferry_service_create(&service, &log->service);
    if (error != 0)
        return error;
    error = ferry_stream_adopt(log->service, fd, &stream, &log->stream);
    if (error != 0)
        ferry_service_destroy(log->service);
    return error;
}

int access_log_open(const char *path, struct access_log **ret_log)
{
    int fd = strcmp(path, "-") == 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                                    : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    struct access_log *log = calloc(1, sizeof *log);
    int error = log != NULL ? adopt(log, fd) : -ENOMEM;
    if (error == 0) {
        *ret_log = log;
        return 0;
    }
    free(log);
    (void)close(fd);
    return error;
}

uint64_t access_log_close(struct access_log *log)
{
    if (log == NULL)
        return 0;
    (void)ferry_stream_close(log->stream, NULL);
    (void)ferry_service_drain(log->service, CLOSE_MS);
    ferry_service_destroy(log->service);
    (void)ferry_stream_unref(log->stream);
    uint64_t missed = atomic_load(&log->missed);
    free(log);
    return missed;
}
