/* SPDX-License-Identifier: MIT */
#include "response.h"

#include "http_date.h"

#include <assert.h>
#include <stdlib.h>

const char *response_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } known[] = {
        {200, "OK"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].status == status)
            return known[i].reason;
    return "Unknown"; /* a reason may be anything */
}

void response_begin(struct response *response, const struct request *request)
{
    response->status = 0;
    response->is_1_1 = request == NULL || request->is_1_1;
    response->has_body = request == NULL || !request_is(request, REQUEST_HEAD);
    response->keeps_alive = request != NULL && request->keeps_alive;
    response->is_later = false;
    response->has_file = false;
    response->name = NULL;
    response->content = 0;
    response->late = NULL;
    response->count = 0;
    response->mark = 0;
    response->text = text_in(response->room, sizeof response->room);
}

/* What the versions do not take for granted. */
static void add_connection(struct response *response)
{
    if (!response->keeps_alive)
        text_add_string(&response->text, "Connection: close\r\n");
    else if (!response->is_1_1)
        text_add_string(&response->text, "Connection: keep-alive\r\n");
}

void response_begin_head(struct response *response, int status)
{
    struct text *text = &response->text;
    response->status = status;
    text_add_string(text, "HTTP/1.1 ");
    text_add_number(text, (uint64_t)status);
    text_add_string(text, " ");
    text_add_string(text, response_reason(status));
    text_add_string(text, "\r\nDate: ");
    text_add(text, http_date_now(NULL), HTTP_DATE_LENGTH);
    text_add_string(text, "\r\n");
    add_connection(response);
}

void response_end_head(struct response *response, uint64_t length)
{
    text_add_string(&response->text, "Content-Length: ");
    text_add_number(&response->text, length);
    text_add_string(&response->text, "\r\n");
    response_end_head_without_content(response);
    response->content = response->has_body ? length : 0;
}

void response_end_head_without_content(struct response *response)
{
    text_add_string(&response->text, "\r\n");
    response_add_text(response);
}

/* Whether a part is text that ends where the next text begins. */
static bool is_before(const ferry_part *part, const char *next)
{
    return part->kind == FERRY_PART_COPY && (const char *)part->data + part->length == next;
}

void response_add_text(struct response *response)
{
    const struct text *text = &response->text;
    assert(!text->is_cut);
    const char *data = text->data + response->mark;
    size_t length = text->length - response->mark;
    response->mark = text->length;
    ferry_part *last = response->count > 0 ? &response->parts[response->count - 1] : NULL;
    if (last != NULL && is_before(last, data))
        last->length += length;
    else
        response_add(response, ferry_part_copy(data, length));
}

void response_add(struct response *response, ferry_part part)
{
    assert(response->count < RESPONSE_PARTS);
    response->has_file |= part.kind == FERRY_PART_FILE || part.kind == FERRY_PART_GENERATE;
    response->parts[response->count++] = part;
}

/* A release function of NULL is free(3), as with ferry. */
void response_drop(struct response *response)
{
    for (size_t i = 0; i < response->count; i++) {
        const ferry_part *part = &response->parts[i];
        if (part->kind != FERRY_PART_GIVE && part->kind != FERRY_PART_GENERATE)
            continue;
        if (part->release != NULL)
            part->release((void *)part->data, part->arg);
        else
            free((void *)part->data);
    }
    response->count = 0;
}
