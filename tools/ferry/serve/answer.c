/* SPDX-License-Identifier: MIT */
#include "answer.h"

#include "http_date.h"
#include "late_page.h"

#include <errno.h>
#include <stdlib.h>

#define ALLOWED "Allow: GET, HEAD, OPTIONS\r\n"

/* A request, and what becomes of it. */
struct answering {
    struct cache *cache;
    const struct request *request;
    struct response *response;
    struct target target;
};

/* ---- pages ----------------------------------------------------------------------------------- */

static void add_page(struct text *page, int status)
{
    const char *reason = response_reason(status);
    text_add_string(page, "<!DOCTYPE html>\n<title>");
    text_add_number(page, (uint64_t)status);
    text_add_string(page, " ");
    text_add_string(page, reason);
    text_add_string(page, "</title>\n<h1>");
    text_add_number(page, (uint64_t)status);
    text_add_string(page, " ");
    text_add_string(page, reason);
    text_add_string(page, "</h1>\n");
}

/* Ends a head that was begun, and adds a page that says what its status says. */
static void finish_with_page(struct response *response)
{
    char buffer[256];
    struct text page = text_in(buffer, sizeof buffer);
    add_page(&page, response->status);
    text_add_string(&response->text, "Content-Type: text/html\r\n");
    response_end_head(response, page.length);
    if (!response->has_body)
        return;
    text_add(&response->text, page.data, page.length);
    response_add_text(response);
}

/* @param fields lines of the head; or "". */
static void answer_page(struct response *response, int status, const char *fields)
{
    response_begin_head(response, status);
    text_add_string(&response->text, fields);
    finish_with_page(response);
}

void answer_status(const struct request *request, int status, struct response *ret_response)
{
    response_begin(ret_response, request);
    ret_response->keeps_alive = false;
    answer_page(ret_response, status, status == 405 ? ALLOWED : "");
}

/* The status for an error of a file or a directory. */
static int status_of(int error)
{
    switch (error) {
    case -ENOENT:
    case -ENOTDIR:
    case -ENAMETOOLONG:
        return 404;
    case -EACCES:
    case -EPERM:
    case -EXDEV:
    case -ELOOP:
    case -ENXIO: /* a unix socket */
    case -ENOTEMPTY:
    case -EFBIG:
        return 403;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case -EAGAIN:
        return 503;
    default:
        return 500;
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static void add_slice(struct text *text, struct slice slice)
{
    text_add(text, slice.at, slice.length);
}

/* The most frequent answer by far: the image has it ready. */
static void answer_with_image(struct response *response, struct entry *entry)
{
    response->status = 200;
    response->content = response->has_body ? entry->size : 0;
    response_add(response, entry_image_part(entry, response->has_body));
}

static void answer_with_head(struct response *response, struct entry *entry)
{
    response_begin_head(response, 200);
    add_slice(&response->text, entry->fields);
    response_end_head(response, entry->size);
}

static void answer_whole(struct response *response, struct entry *entry)
{
    bool has_image = response->is_1_1 && response->keeps_alive;
    if (has_image)
        answer_with_image(response, entry);
    else
        answer_with_head(response, entry);
    bool is_complete = has_image && entry->shared == NULL;
    if (response->has_body && entry->size > 0 && !is_complete)
        response_add(response, entry_part(entry, 0, entry->size));
}

static void answer_not_modified(struct response *response, const struct entry *entry)
{
    response_begin_head(response, 304);
    add_slice(&response->text, entry->validator_fields);
    response_end_head_without_content(response);
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static void add_content_range(struct text *text, const struct range *range, uint64_t size)
{
    text_add_string(text, "Content-Range: bytes ");
    text_add_number(text, range->first);
    text_add_string(text, "-");
    text_add_number(text, range->first + range->length - 1);
    text_add_string(text, "/");
    text_add_number(text, size);
    text_add_string(text, "\r\n");
}

static void answer_unsatisfiable(struct response *response, const struct entry *entry)
{
    response_begin_head(response, 416);
    text_add_string(&response->text, "Content-Range: bytes */");
    text_add_number(&response->text, entry->size);
    text_add_string(&response->text, "\r\n");
    finish_with_page(response);
}

static void answer_range(struct response *response, struct entry *entry, const struct range *range)
{
    response_begin_head(response, 206);
    add_slice(&response->text, entry->fields);
    add_content_range(&response->text, range, entry->size);
    response_end_head(response, range->length);
    response_add(response, entry_part(entry, range->first, range->length));
}

/*
 * The texts before, between and behind the ranges of a multipart answer. The boundary must not
 * occur in the file, but the file is not read. So the boundary has the file's version, and in it
 * the nanosecond of its change: who wrote the file could not know that.
 */
static void add_boundary(struct text *text, const struct entry *entry)
{
    text_add_string(text, "ferry-");
    add_slice(text, entry->version);
}

static void add_range_head(struct text *text, const struct entry *entry, const struct range *range)
{
    text_add_string(text, "\r\n--");
    add_boundary(text, entry);
    text_add_string(text, "\r\nContent-Type: ");
    text_add_string(text, entry->type);
    text_add_string(text, "\r\n");
    add_content_range(text, range, entry->size);
    text_add_string(text, "\r\n");
}

static void add_range_end(struct text *text, const struct entry *entry)
{
    text_add_string(text, "\r\n--");
    add_boundary(text, entry);
    text_add_string(text, "--\r\n");
}

/*
 * The texts are written twice: first to learn their length, for the head. @param ret_length of
 * the content. @return whether there is room for them.
 */
static bool measure_ranges(const struct entry *entry, const struct range *ranges, int count,
                           uint64_t *ret_length)
{
    char buffer[1024]; /* for one text, with the longest type that there may be */
    uint64_t texts = 0;
    *ret_length = 0;
    for (int i = 0; i <= count; i++) {
        struct text text = text_in(buffer, sizeof buffer);
        if (i < count)
            add_range_head(&text, entry, &ranges[i]);
        else
            add_range_end(&text, entry);
        texts += text.is_cut ? RESPONSE_TEXT_BYTES : text.length;
        *ret_length += i < count ? ranges[i].length : 0;
    }
    *ret_length += texts;
    return texts <= RESPONSE_TEXT_BYTES - RESPONSE_HEAD_BYTES;
}

static void answer_ranges(struct response *response, struct entry *entry,
                          const struct range *ranges, int count)
{
    struct text *text = &response->text;
    uint64_t length;
    if (!measure_ranges(entry, ranges, count, &length)) {
        answer_whole(response, entry);
        return;
    }
    response_begin_head(response, 206);
    text_add_string(text, "Content-Type: multipart/byteranges; boundary=");
    add_boundary(text, entry);
    text_add_string(text, "\r\n");
    add_slice(text, entry->validator_fields);
    response_end_head(response, length);
    for (int i = 0; i < count; i++) {
        add_range_head(text, entry, &ranges[i]);
        response_add_text(response);
        response_add(response, entry_part(entry, ranges[i].first, ranges[i].length));
    }
    add_range_end(text, entry);
    response_add_text(response);
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* How many ranges of the file are to be sent; or another answer of ranges_parse. */
static int find_ranges(const struct request *request, const struct entry *entry,
                       struct range *ranges)
{
    struct slice value = request_get(request, REQUEST_RANGE);
    int64_t now_s;
    (void)http_date_now(&now_s);
    if (value.at == NULL || !request_is(request, REQUEST_GET) ||
        !conditions_allow_range(request, &entry->validators, now_s))
        return RANGES_WHOLE;
    return ranges_parse(value.at, value.length, entry->size, ranges);
}

static void answer_with_entry(const struct answering *answering, struct entry *entry)
{
    struct response *response = answering->response;
    struct range ranges[RANGES_LIMIT];
    response->name = entry->file;
    int status = conditions_check(answering->request, &entry->validators);
    if (status == 304) {
        answer_not_modified(response, entry);
        return;
    }
    if (status != 0) {
        answer_page(response, status, "");
        return;
    }
    int count = find_ranges(answering->request, entry, ranges);
    if (count == RANGES_UNSATISFIABLE)
        answer_unsatisfiable(response, entry);
    else if (count == RANGES_WHOLE)
        answer_whole(response, entry);
    else if (count == 1)
        answer_range(response, entry, &ranges[0]);
    else
        answer_ranges(response, entry, ranges, count);
}

/*
 * The path is written anew. So it begins with one slash, which makes it a path of this host, and
 * has no end of a line in it.
 */
static void answer_redirect(const struct answering *answering)
{
    struct response *response = answering->response;
    const struct target *target = &answering->target;
    struct text *text = &response->text;
    response_begin_head(response, 301);
    text_add_string(text, "Location: /");
    text_add_url(text, target->path, target->length);
    text_add_string(text, "/");
    text_add_query(text, target->query, target->query_length);
    text_add_string(text, "\r\n");
    finish_with_page(response);
}

static void explain(struct response *response, int error)
{
    answer_page(response, status_of(error), "");
}

static void answer_listing(const struct answering *answering)
{
    struct response *response = answering->response;
    response->late =
        late_page_create(cache_site(answering->cache), answering->target.path, response, explain);
    if (response->late == NULL) {
        answer_page(response, 503, "");
        return;
    }
    response->status = 200; /* another may follow */
    response_add(response, late_page_part(response->late));
}

/* Another process has a lease on the file. An empty piece of it is sent once it can be opened. */
static void answer_later(const struct answering *answering)
{
    struct response *response = answering->response;
    const struct target *target = &answering->target;
    text_add(&response->text, target->path, target->length);
    text_add_string(&response->text, target->is_directory ? "index.html" : "");
    text_add(&response->text, "", 1);
    ferry_file file = ferry_file_at(response->text.data);
    file.dirfd = cache_site(answering->cache)->root;
    file.flags = FERRY_FILE_BENEATH;
    file.length = 0;
    response->is_later = true;
    response->mark = response->text.length; /* this text is not sent */
    response_add(response, ferry_part_file(file));
}

static void answer_target(struct answering *answering)
{
    const struct site *site = cache_site(answering->cache);
    struct entry *entry;
    int error = answering->target.is_hidden && !site->shows_hidden
                    ? -ENOENT
                    : cache_find(answering->cache, &answering->target, &entry);
    if (error == 0)
        answer_with_entry(answering, entry);
    else if (error == -EISDIR)
        answer_redirect(answering);
    else if (error == -EBUSY)
        answer_later(answering);
    else if (error == -ENOTEMPTY && site->lists)
        answer_listing(answering);
    else
        answer_page(answering->response, status_of(error), "");
}

/* @return 0, or the status to answer. */
static int find_target(struct answering *answering)
{
    struct slice text = request_target(answering->request);
    return target_parse(text.at, text.length, &answering->target);
}

/* Answers OPTIONS, of the server ("*") or of anything that could be in it. */
static void answer_options(struct answering *answering)
{
    struct response *response = answering->response;
    bool is_for_all = slice_is(request_target(answering->request), "*");
    int status = is_for_all ? 0 : find_target(answering);
    if (status != 0) {
        answer_page(response, status, "");
        return;
    }
    response_begin_head(response, 204);
    text_add_string(&response->text, ALLOWED);
    response_end_head_without_content(response);
}

static void answer_get(struct answering *answering)
{
    int status = find_target(answering);
    if (status == 0)
        answer_target(answering);
    else
        answer_page(answering->response, status, "");
}

void answer_request(struct cache *cache, const struct request *request,
                    struct response *ret_response)
{
    struct answering answering; /* not zeroed: its target is large, and filled in if there is one */
    answering.cache = cache;
    answering.request = request;
    answering.response = ret_response;
    response_begin(ret_response, request);
    if (request_is(request, REQUEST_GET) || request_is(request, REQUEST_HEAD))
        answer_get(&answering);
    else if (request_is(request, REQUEST_OPTIONS))
        answer_options(&answering);
    else
        answer_page(ret_response, 405, ALLOWED);
}
