/* SPDX-License-Identifier: MIT */
/* What each request is answered with, as its client reads it: sent by ferry over a socket pair. */
#include "tools/ferry/serve/answer.h"

#include "tests/support.h"
#include "tests/tools/serve/tree_support.h"

enum { LARGE_BYTES = 100000, SEED = 7 };

/* A site with files in it, and somebody who asks. */
struct asking {
    struct grown_tree tree;
    struct cache *cache;
    ferry_service *service;
    char answer[256 * 1024]; /* what came back, and a NUL */
    size_t length;
    const char *body; /* where in it the empty line ends */
    struct response response;
};

/* A cache that knows nothing yet, of the site as it is now. */
static void begin_cache(struct asking *asking)
{
    static const struct cache_limits plenty = {.entries = 100, .bytes = 1 << 20, .files = 10};
    cache_free(asking->cache);
    asking->cache = cache_create(&asking->tree.site, &plenty);
}

static struct asking *begin(void)
{
    struct asking *asking = malloc(sizeof *asking);
    check(asking != NULL);
    asking->tree = tree_grow();
    asking->cache = NULL;
    begin_cache(asking);
    asking->service = service_of_one_owner(FERRY_PLACEMENT_SHARED);
    tree_put(&asking->tree, "small.txt", "0123456789");
    tree_put(&asking->tree, "empty.txt", "");
    tree_put_content(&asking->tree, "large.bin", LARGE_BYTES, SEED);
    tree_set_time(&asking->tree, "small.txt", 784111777);
    tree_set_time(&asking->tree, "large.bin", 784111777);
    tree_make_directory(&asking->tree, "sub");
    tree_put(&asking->tree, ".secret", "x");
    await_tags();
    return asking;
}

static void end(struct asking *asking)
{
    ferry_service_destroy(asking->service);
    cache_free(asking->cache);
    tree_fell(&asking->tree);
    free(asking);
}

PUT_AWAY(end_asking, struct asking, end)

/* Sends the answer, and reads it on the other side. */
static void deliver(struct asking *asking)
{
    struct response *response = &asking->response;
    pair sockets = unix_pair(SOCK_STREAM);
    ferry_stream *stream;
    check_eq(ferry_stream_adopt(asking->service, sockets.ours, NULL, &stream), 0);
    check_eq(ferry_stream_send(stream, response->parts, response->count, NULL, NULL), 0);
    ferry_stream_unref(stream);
    ssize_t count;
    asking->length = 0;
    while ((count = read(sockets.theirs, asking->answer + asking->length,
                         sizeof asking->answer - 1 - asking->length)) > 0)
        asking->length += (size_t)count;
    check_eq(count, 0);
    close(sockets.theirs);
    asking->answer[asking->length] = '\0';
    const char *blank = strstr(asking->answer, "\r\n\r\n");
    check(blank != NULL);
    asking->body = blank + 4;
}

static size_t body_length(const struct asking *asking)
{
    return asking->length - (size_t)(asking->body - asking->answer);
}

/* Whether the head has this line. */
static bool has(const struct asking *asking, const char *line)
{
    char framed[512];
    snprintf(framed, sizeof framed, "\r\n%s\r\n", line);
    const char *found = strstr(asking->answer, framed);
    return found != NULL && found < asking->body;
}

static bool has_field(const struct asking *asking, const char *name)
{
    char framed[512];
    snprintf(framed, sizeof framed, "\r\n%s: ", name);
    const char *found = strstr(asking->answer, framed);
    return found != NULL && found < asking->body;
}

static void check_status_line(const struct asking *asking, int status)
{
    char expected[32];
    snprintf(expected, sizeof expected, "HTTP/1.1 %d ", status);
    if (strncmp(asking->answer, expected, strlen(expected)) != 0)
        fprintf(stderr, "not %d: %s\n", status, asking->answer);
    check(strncmp(asking->answer, expected, strlen(expected)) == 0);
    check_eq(asking->response.status, status);
    check(has_field(asking, "Date"));
}

/* Asks with a whole request, and checks what holds for every answer. */
static void ask_raw(struct asking *asking, const char *text, int status)
{
    struct request request;
    request_begin(&request);
    check_eq(request_feed(&request, text, strlen(text)), REQUEST_WHOLE);
    answer_request(asking->cache, &request, &asking->response);
    deliver(asking);
    check_status_line(asking, status);
    if (asking->response.late == NULL)
        check_eq(asking->response.content, body_length(asking));
    const char *field = strstr(asking->answer, "\r\nContent-Length: ");
    if (!request_is(&request, REQUEST_HEAD) && field != NULL)
        check_eq(atoll(field + 18), body_length(asking));
    check_eq(field == NULL, status == 204 || status == 304);
}

/* @param fields lines, each with its end. */
static void ask(struct asking *asking, const char *method, const char *target, const char *fields,
                int status)
{
    static char text[8 * 1024];
    snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: h\r\n%s\r\n", method, target, fields);
    ask_raw(asking, text, status);
}

static void check_body(const struct asking *asking, const char *expected)
{
    check_eq(body_length(asking), strlen(expected));
    check(memcmp(asking->body, expected, strlen(expected)) == 0);
}

static void check_content(const char *at, uint64_t position, size_t length)
{
    check_eq(digest(DIGEST_BEGIN, at, length),
             digest_content(DIGEST_BEGIN, SEED, position, length));
}

/* ---- files ----------------------------------------------------------------------------------- */

PROMISE(answer, file_comes_whole_with_its_fields)
{
    AT_END(end_asking) struct asking *asking = begin();
    for (int i = 0; i < 2; i++) { /* loaded, then out of the cache */
        ask(asking, "GET", "/small.txt", "", 200);
        check_body(asking, "0123456789");
        check(has(asking, "Content-Type: text/plain") && has(asking, "Content-Length: 10"));
        check(has(asking, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"));
        check(has(asking, "Accept-Ranges: bytes") && has_field(asking, "ETag"));
        check(!has_field(asking, "Connection"));
        ask(asking, "GET", "/large.bin?query", "", 200);
        check_eq(body_length(asking), LARGE_BYTES);
        check_content(asking->body, 0, LARGE_BYTES);
        check(has(asking, "Content-Type: application/octet-stream"));
        ask(asking, "GET", "/empty.txt", "", 200);
        check_body(asking, "");
    }
}

PROMISE(answer, head_is_what_get_says_without_the_body)
{
    AT_END(end_asking) struct asking *asking = begin();
    static const char *const targets[] = {"/small.txt", "/large.bin", "/empty.txt"};
    for (size_t i = 0; i < 3; i++) {
        char head[1024];
        ask(asking, "HEAD", targets[i], "", 200);
        check_eq(body_length(asking), 0);
        strcpy(head, asking->answer);
        ask(asking, "GET", targets[i], "", 200);
        const char *dated = strstr(head, "Content-Type");
        check(dated != NULL && strstr(asking->answer, dated) != NULL);
    }
    ask(asking, "HEAD", "/missing", "", 404);
    check_eq(body_length(asking), 0);
    ask(asking, "HEAD", "/small.txt", "Range: bytes=0-1\r\n", 200); /* ranges are GET's only */
}

PROMISE(answer, connection_is_said_to_close_or_to_stay_where_it_is_not_understood)
{
    AT_END(end_asking) struct asking *asking = begin();
    ask(asking, "GET", "/small.txt", "Connection: close\r\n", 200);
    check(has(asking, "Connection: close") && !asking->response.keeps_alive);
    check_body(asking, "0123456789");
    ask_raw(asking, "GET /small.txt HTTP/1.0\r\n\r\n", 200);
    check(has(asking, "Connection: close") && !asking->response.keeps_alive);
    ask_raw(asking, "GET /large.bin HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200);
    check(has(asking, "Connection: keep-alive") && asking->response.keeps_alive);
    check_content(asking->body, 0, LARGE_BYTES);
}

PROMISE(answer, absolute_target_is_the_same_file)
{
    AT_END(end_asking) struct asking *asking = begin();
    ask(asking, "GET", "http://other/small.txt", "", 200);
    check_body(asking, "0123456789");
}

PROMISE(answer, what_is_not_there_or_not_to_be_seen_is_refused)
{
    AT_END(end_asking) struct asking *asking = begin();
    tree_make_fifo(&asking->tree, "fifo");
    tree_link(&asking->tree, "passwd", "/etc/passwd");
    tree_link(&asking->tree, "up", "..");
    ask(asking, "GET", "/missing", "", 404);
    ask(asking, "GET", "/missing/", "", 404);
    ask(asking, "GET", "/small.txt/", "", 404);
    ask(asking, "GET", "/small.txt/x", "", 404);
    ask(asking, "GET", "/.secret", "", 404);
    ask(asking, "GET", "/fifo", "", 403);
    ask(asking, "GET", "/passwd", "", 403);
    ask(asking, "GET", "/up/etc/passwd", "", 403);
    ask(asking, "GET", "/sub/", "", 403);
    ask(asking, "GET", "/%2e%2e/etc/passwd", "", 400);
    ask(asking, "GET", "/a%00", "", 400);
    ask(asking, "GET", "/%zz", "", 400);
    check(asking->response.keeps_alive);
    asking->tree.site.shows_hidden = true;
    begin_cache(asking);
    ask(asking, "GET", "/.secret", "", 200);
}

PROMISE(answer, methods_that_are_not_served_are_405_and_options_tells_which_are)
{
    AT_END(end_asking) struct asking *asking = begin();
    static const char *const methods[] = {"POST", "PUT", "DELETE", "TRACE", "PATCH", "PROPFIND"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        ask(asking, methods[i], "/small.txt", "", 405);
        check(has(asking, "Allow: GET, HEAD, OPTIONS"));
    }
    ask(asking, "OPTIONS", "*", "", 204);
    check(has(asking, "Allow: GET, HEAD, OPTIONS"));
    check_eq(body_length(asking), 0);
    ask(asking, "OPTIONS", "/small.txt", "", 204);
    ask(asking, "OPTIONS", "/missing", "", 204);
    ask(asking, "OPTIONS", "http://h", "", 204);
    ask(asking, "OPTIONS", "http://a..b/", "", 400);
    ask(asking, "OPTIONS", "/..", "", 400);
    ask(asking, "GET", "*", "", 400);
}

/* ---- directories ----------------------------------------------------------------------------- */

PROMISE(answer, directory_without_its_slash_is_sent_there)
{
    AT_END(end_asking) struct asking *asking = begin();
    tree_make_directory(&asking->tree, "a b:\xc3\xa9");
    ask(asking, "GET", "/sub", "", 301);
    check(has(asking, "Location: /sub/"));
    ask(asking, "GET", "/x/../sub?a=b&c", "", 301);
    check(has(asking, "Location: /sub/?a=b&c"));
    ask(asking, "GET", "//sub", "", 301); /* no host named sub */
    check(has(asking, "Location: /sub/"));
    ask(asking, "GET", "/a%20b%3a%c3%a9", "", 301);
    check(has(asking, "Location: /a%20b%3A%C3%A9/"));
    ask(asking, "GET", "/a%20b:\xc3\xa9?\xc3\xa9", "", 301);
    check(has(asking, "Location: /a%20b%3A%C3%A9/?%C3%A9"));
}

PROMISE(answer, redirect_has_no_line_of_the_clients_in_it)
{
    AT_END(end_asking) struct asking *asking = begin();
    tree_make_directory(&asking->tree, "x\r\nSet-Cookie: a=b");
    ask(asking, "GET", "/x%0d%0aSet-Cookie:%20a=b", "", 301);
    check(!has_field(asking, "Set-Cookie"));
}

PROMISE(answer, longest_redirect_has_room)
{
    AT_END(end_asking) struct asking *asking = begin();
    char name[256], target[REQUEST_TARGET_BYTES + 1], text[REQUEST_TARGET_BYTES + 64];
    memset(name, '\'', 255);
    name[255] = '\0';
    tree_make_directory(&asking->tree, name);
    snprintf(target, sizeof target, "/%s?", name);
    memset(target + strlen(target), 'q', sizeof target - 1 - strlen(target));
    target[sizeof target - 1] = '\0';
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", target);
    ask_raw(asking, text, 301);
}

PROMISE(answer, directory_is_its_index_or_a_list_where_that_is_allowed)
{
    AT_END(end_asking) struct asking *asking = begin();
    tree_put(&asking->tree, "sub/file", "x");
    asking->tree.site.lists = true;
    begin_cache(asking);
    ask(asking, "GET", "/sub/", "", 200);
    check(strstr(asking->body, "\"./file\"") != NULL);
    check(has(asking, "Content-Type: text/html; charset=utf-8"));
    ask(asking, "HEAD", "/sub/", "", 200);
    check_eq(body_length(asking), 0);
    tree_put(&asking->tree, "sub/index.html", "index");
    ask(asking, "GET", "/sub/", "", 200);
    check_body(asking, "index");
    check(has(asking, "Content-Type: text/html"));
}

/* ---- ranges ---------------------------------------------------------------------------------- */

PROMISE(answer, range_is_just_that)
{
    AT_END(end_asking) struct asking *asking = begin();
    ask(asking, "GET", "/small.txt", "Range: bytes=2-4\r\n", 206);
    check_body(asking, "234");
    check(has(asking, "Content-Range: bytes 2-4/10") && has(asking, "Content-Type: text/plain"));
    check(has_field(asking, "ETag"));
    ask(asking, "GET", "/small.txt", "Range: bytes=-3\r\n", 206);
    check_body(asking, "789");
    ask(asking, "GET", "/large.bin", "Range: bytes=50000-\r\n", 206);
    check_eq(body_length(asking), LARGE_BYTES - 50000);
    check_content(asking->body, 50000, LARGE_BYTES - 50000);
    check(has(asking, "Content-Range: bytes 50000-99999/100000"));
    ask(asking, "GET", "/large.bin", "Range: bytes=7-6\r\n", 200);
    check_eq(body_length(asking), LARGE_BYTES);
}

PROMISE(answer, range_beyond_the_end_is_416_with_the_size)
{
    AT_END(end_asking) struct asking *asking = begin();
    ask(asking, "GET", "/small.txt", "Range: bytes=10-\r\n", 416);
    check(has(asking, "Content-Range: bytes */10"));
    ask(asking, "GET", "/empty.txt", "Range: bytes=0-\r\n", 416);
    check(has(asking, "Content-Range: bytes */0"));
}

/* A part of a multipart answer. @return where it ends. */
static const char *check_range_part(const char *at, const char *boundary, uint64_t first,
                                    size_t length)
{
    char head[512];
    int size = snprintf(head, sizeof head,
                        "\r\n--%s\r\nContent-Type: application/octet-stream\r\n"
                        "Content-Range: bytes %llu-%llu/%d\r\n\r\n",
                        boundary, (unsigned long long)first,
                        (unsigned long long)(first + length - 1), LARGE_BYTES);
    check(memcmp(at, head, (size_t)size) == 0);
    check_content(at + size, first, length);
    return at + size + length;
}

PROMISE(answer, several_ranges_are_a_multipart_answer)
{
    AT_END(end_asking) struct asking *asking = begin();
    char boundary[128], tail[160];
    ask(asking, "GET", "/large.bin", "Range: bytes=90000-90999, 0-99, -1\r\n", 206);
    const char *field = strstr(asking->answer, "multipart/byteranges; boundary=");
    check(field != NULL && sscanf(field, "%*[^=]=%127s", boundary) == 1);
    check(!has_field(asking, "Content-Range"));
    const char *at = check_range_part(asking->body, boundary, 90000, 1000);
    at = check_range_part(at, boundary, 0, 100);
    at = check_range_part(at, boundary, LARGE_BYTES - 1, 1);
    snprintf(tail, sizeof tail, "\r\n--%s--\r\n", boundary);
    check(strcmp(at, tail) == 0);
}

PROMISE(answer, as_many_ranges_as_are_allowed_have_room)
{
    AT_END(end_asking) struct asking *asking = begin();
    char fields[16 * RANGES_LIMIT] = "Range: bytes=0-0";
    for (int i = 1; i < RANGES_LIMIT; i++)
        strcat(fields, ",99998-");
    strcat(fields, "\r\n");
    ask(asking, "GET", "/large.bin", fields, 206);
    check_eq(asking->response.count, RESPONSE_PARTS);
}

/* A type that no registry would take: the heads of many ranges have no room with it. */
PROMISE(answer, ranges_whose_heads_have_no_room_are_the_whole_file)
{
    static const struct cache_limits plenty = {.entries = 100, .bytes = 1 << 20, .files = 10};
    struct asking *asking = begin();
    char list[] = "/tmp/ferry-types-XXXXXX";
    int fd = mkstemp(list);
    check(fd >= 0);
    check(dprintf(fd, "x/%0*d bin\n", 600, 0) > 0);
    struct media_types *types = media_types_load(list);
    asking->tree.site.types = types;
    cache_free(asking->cache);
    asking->cache = cache_create(&asking->tree.site, &plenty);
    char fields[16 * RANGES_LIMIT] = "Range: bytes=0-0";
    for (int i = 1; i < 100; i++)
        sprintf(fields + strlen(fields), ",%d-%d", 2 * i, 2 * i);
    strcat(fields, "\r\n");
    ask(asking, "GET", "/large.bin", fields, 200);
    check_eq(body_length(asking), LARGE_BYTES);
    ask(asking, "GET", "/large.bin", "Range: bytes=0-0,2-2\r\n", 206);
    check(has_field(asking, "Content-Type"));
    close(fd);
    unlink(list);
    end(asking);
    media_types_free(types);
}

PROMISE(answer, last_bytes_of_an_empty_file_are_all_of_it)
{
    AT_END(end_asking) struct asking *asking = begin();
    ask(asking, "GET", "/empty.txt", "Range: bytes=-5\r\n", 200);
    check_body(asking, "");
    ask(asking, "GET", "/empty.txt", "Range: bytes=-0\r\n", 416);
}

PROMISE(answer, of_several_ranges_one_that_is_there_is_a_plain_answer)
{
    AT_END(end_asking) struct asking *asking = begin();
    ask(asking, "GET", "/small.txt", "Range: bytes=100-,2-4\r\n", 206);
    check_body(asking, "234");
    check(has(asking, "Content-Range: bytes 2-4/10"));
}

/* ---- conditions ------------------------------------------------------------------------------ */

/* The tag of the last answer. */
static void get_etag(const struct asking *asking, char *buffer)
{
    check_eq(sscanf(strstr(asking->answer, "ETag: "), "ETag: %63s", buffer), 1);
}

PROMISE(answer, what_the_client_has_is_304_without_content)
{
    AT_END(end_asking) struct asking *asking = begin();
    char etag[64], fields[128];
    ask(asking, "GET", "/large.bin", "", 200);
    get_etag(asking, etag);
    snprintf(fields, sizeof fields, "If-None-Match: W/%s\r\n", etag);
    ask(asking, "GET", "/large.bin", fields, 304);
    check_eq(body_length(asking), 0);
    check(has_field(asking, "ETag") && has_field(asking, "Last-Modified"));
    ask(asking, "HEAD", "/large.bin", fields, 304);
    ask(asking, "GET", "/large.bin", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 304);
    ask(asking, "GET", "/large.bin", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 200);
    ask(asking, "GET", "/missing", "If-None-Match: *\r\n", 404);
}

PROMISE(answer, condition_that_fails_is_412)
{
    AT_END(end_asking) struct asking *asking = begin();
    ask(asking, "GET", "/small.txt", "If-Match: \"other\"\r\n", 412);
    ask(asking, "GET", "/small.txt", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n", 412);
    ask(asking, "GET", "/small.txt", "If-Match: *\r\n", 200);
}

PROMISE(answer, range_of_another_version_is_the_whole_of_this_one)
{
    AT_END(end_asking) struct asking *asking = begin();
    char etag[64], fields[160];
    ask(asking, "GET", "/small.txt", "Range: bytes=0-0\r\nIf-Range: \"other\"\r\n", 200);
    check_body(asking, "0123456789");
    get_etag(asking, etag);
    snprintf(fields, sizeof fields, "Range: bytes=0-0\r\nIf-Range: %s\r\n", etag);
    ask(asking, "GET", "/small.txt", fields, 206);
    check_body(asking, "0");
    ask(asking, "GET", "/small.txt",
        "Range: bytes=0-0\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 206);
}

/* ---- what is no request ---------------------------------------------------------------------- */

PROMISE(answer, what_is_no_request_is_told_why_and_closed)
{
    AT_END(end_asking) struct asking *asking = begin();
    static const int statuses[] = {400, 408, 411, 413, 414, 417, 431, 501, 505};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        answer_status(NULL, statuses[i], &asking->response);
        deliver(asking);
        check_status_line(asking, statuses[i]);
        check(has(asking, "Connection: close") && body_length(asking) > 0);
    }
}

PROMISE(answer, answer_that_is_dropped_gives_back_what_it_held)
{
    AT_END(end_asking) struct asking *asking = begin();
    struct request request;
    static const char *const targets[] = {"/small.txt", "/sub/", "/large.bin"};
    asking->tree.site.lists = true;
    begin_cache(asking);
    for (size_t i = 0; i < 3; i++) {
        char text[256];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", targets[i]);
        request_begin(&request);
        check_eq(request_feed(&request, text, strlen(text)), REQUEST_WHOLE);
        answer_request(asking->cache, &request, &asking->response);
        response_drop(&asking->response); /* a leak is AddressSanitizer's to find */
    }
}
