/* SPDX-License-Identifier: MIT */
/*
 * What HTTP's RFCs say of a server, as a table: what a client sends, and what it gets for it. Each
 * conversation is one connection; the client ends its direction behind its words, as it may.
 */
#include "tools/ferry/serve/connection.h"

#include "tests/support.h"
#include "tests/tools/serve/tree_support.h"
#include "tools/ferry/serve/server.h"

enum { MOST_ANSWERS = 4, ANSWER_BYTES = 64 * 1024, MODIFIED_S = 784111777 };

#define MODIFIED "Sun, 06 Nov 1994 08:49:37 GMT"

struct conversation {
    const char *said;
    size_t length;
    int statuses[MOST_ANSWERS + 1]; /* of the answers, in order; then 0 */
    bool is_closed;                 /* by the last answer: it says so */
    const char *has;                /* a piece of what comes; or NULL */
};

#define SAID(text) text, sizeof text - 1
#define HOST       "Host: h\r\n"
#define GET(path)  "GET " path " HTTP/1.1\r\n" HOST
#define END        "\r\n"
#define CHUNKED    "Transfer-Encoding: chunked\r\n\r\n"
#define A          GET("/a") END

/* ---- the server and its client --------------------------------------------------------------- */

struct serving {
    struct grown_tree tree;
    struct server *server;
    struct places *places;
};

static struct serving begin(void)
{
    struct serving serving = {.tree = tree_grow()};
    tree_put(&serving.tree, "a", "0123456789");
    tree_put(&serving.tree, "empty", "");
    tree_put(&serving.tree, "\xc3\xa9", "e");
    tree_make_directory(&serving.tree, "d");
    tree_set_time(&serving.tree, "a", MODIFIED_S);
    const struct server_options options = {
        .site = serving.tree.site,
        .cache = {.entries = 100, .bytes = 1 << 20, .files = 10},
        .owners = 1,
        .times = {.head_ms = 100000, .idle_ms = 100000},
    };
    check_eq(server_create(&options, &serving.server), 0);
    serving.places = server_add_places(serving.server, 0);
    check(serving.places != NULL);
    return serving;
}

static void end(struct serving *serving)
{
    server_destroy(serving->server);
    tree_fell(&serving->tree);
}

struct beginning {
    struct places *places;
    ferry_stream *stream;
};

static void on_owner(ferry_promise *, const ferry_result *, void *arg)
{
    struct beginning *beginning = arg;
    connection_begin(beginning->places, beginning->stream, "192.0.2.1:4711");
}

/* @return the client's socket. */
static int join(const struct serving *serving)
{
    pair sockets = tcp_pair();
    struct beginning beginning = {.places = serving->places};
    check_eq(ferry_stream_adopt(server_service(serving->server), sockets.ours,
                                server_stream_options(serving->server), &beginning.stream),
             0);
    const ferry_request_options options = {.on_owner = on_owner, .on_owner_arg = &beginning};
    ferry_promise *promise;
    check_eq(ferry_stream_write(beginning.stream, NULL, 0, &options, &promise), 0);
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    ferry_promise_unref(promise);
    check_eq(ferry_stream_mark(beginning.stream, &promise), 0);
    check_eq(ferry_promise_await(promise, -1, NULL), 0); /* on_owner has been called */
    ferry_promise_unref(promise);
    ferry_stream_unref(beginning.stream);
    return sockets.theirs;
}

/* All that comes back, and a NUL. */
static const char *talk(const struct serving *serving, const struct conversation *conversation)
{
    static char answer[ANSWER_BYTES];
    size_t length = 0;
    ssize_t count;
    int client = join(serving);
    check_eq(send(client, conversation->said, conversation->length, MSG_NOSIGNAL),
             conversation->length);
    check_eq(shutdown(client, SHUT_WR), 0);
    while ((count = read(client, answer + length, sizeof answer - 1 - length)) > 0)
        length += (size_t)count;
    check_eq(count, 0);
    close(client);
    answer[length] = '\0';
    return answer;
}

/* ---- checking -------------------------------------------------------------------------------- */

static const char *find_field(const char *head, const char *end, const char *name)
{
    const char *found = strstr(head, name);
    return found != NULL && found < end ? found + strlen(name) : NULL;
}

static bool has_content(const struct conversation *conversation, int status)
{
    bool is_head = strstr(conversation->said, "HEAD ") != NULL; /* then all of them are */
    return !is_head && status != 304 && status != 204 && status != 100;
}

/* An answer: what each must have. @return where it ends. */
static const char *check_answer(const struct conversation *conversation, const char *at, int status)
{
    const char *end = strstr(at, "\r\n\r\n");
    int said;
    if (end == NULL || sscanf(at, "HTTP/1.1 %d ", &said) != 1 || said != status)
        fprintf(stderr, "not %d to: %s\nbut: %s\n", status, conversation->said, at);
    check(end != NULL && sscanf(at, "HTTP/1.1 %d ", &said) == 1);
    check_eq(said, status);
    end += 4;
    if (status == 100)
        return end;
    check(find_field(at, end, "\r\nDate: ") != NULL);
    const char *length = find_field(at, end, "\r\nContent-Length: ");
    check_eq(length == NULL, status == 304 || status == 204);
    if (status == 405)
        check(find_field(at, end, "\r\nAllow: GET, HEAD, OPTIONS\r\n") != NULL);
    return has_content(conversation, status) ? end + strtoul(length, NULL, 10) : end;
}

static void check_conversation(const struct serving *serving,
                               const struct conversation *conversation)
{
    const char *answer = talk(serving, conversation), *at = answer, *last = answer;
    for (const int *status = conversation->statuses; *status != 0; status++) {
        last = at;
        at = check_answer(conversation, at, *status);
    }
    check_eq(*at, '\0');
    check_eq(strstr(last, "\r\nConnection: close\r\n") != NULL, conversation->is_closed);
    check(conversation->has == NULL || strstr(answer, conversation->has) != NULL);
}

static void check_all(const struct conversation *conversations, size_t count)
{
    AT_END(end) struct serving serving = begin();
    for (size_t i = 0; i < count; i++)
        check_conversation(&serving, &conversations[i]);
}

#define CHECK_ALL(table) check_all(table, sizeof table / sizeof table[0])

/* ---- the table ------------------------------------------------------------------------------- */

PROMISE(conversation, messages_end_where_they_say_and_nowhere_else)
{
    static const struct conversation table[] = {
        {SAID(""), {0}},
        {SAID("\r\n\r\n"), {0}},
        {SAID("GET /a HT"), {0}},
        {SAID(A A), {200, 200}},
        {SAID(A "\r\n" A "\r\n\r\n"), {200, 200}},
        {SAID(A "\n" A), {200, 400}, true},
        {SAID(A "\r" A), {200, 400}, true},
        {SAID(GET("/a") "Content-Length: 3\r\n\r\nabc" A), {200, 200}},
        {SAID(GET("/a") "Content-Length: 3\r\n\r\nGET" A), {200, 200}},
        {SAID(GET("/a") "Content-Length: 2\r\n\r\nabc" A), {200, 501}, true},
        {SAID(GET("/a") "Content-Length: 0\r\n\r\n" A), {200, 200}},
        {SAID(GET("/a") "Content-Length: 000\r\n\r\n" A), {200, 200}},
        {SAID(GET("/a") "Content-Length:\t3 \r\n\r\nabc" A), {200, 200}},
        {SAID(GET("/a") "Content-Length: 3\r\n\r\nab"), {0}},
        {SAID(GET("/a") "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" A), {400}, true},
        {SAID(GET("/a") "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" A),
         {400},
         true},
        {SAID(GET("/a") CHUNKED "0\r\n\r\n" A), {200, 200}},
        {SAID(GET("/a") CHUNKED "3;x=\"y\"\r\nGET\r\n0\r\nHost: i\r\n\r\n" A), {200, 200}},
        {SAID("POST /a HTTP/1.1\r\n" HOST CHUNKED "1\r\na\r\n0\r\n\r\n" A), {405, 200}},
        {SAID(GET("/a") CHUNKED "1\r\na\r\n"), {0}},
        {SAID(GET("/a") CHUNKED "1;x=\"\n\"\r\na\r\n0\r\n\r\n" A), {400}, true},
        {SAID(GET("/a") CHUNKED "ffffffffffffffff0\r\n" A), {413}, true},
        {SAID(GET("/a") "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" A), {501}, true},
        {SAID(GET("/a") "Transfer-Encoding: xchunked\r\n\r\n" A), {400}, true},
        {SAID("GET /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), {400}, true},
        {SAID("POST /a HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc" A), {405, 200}},
        {SAID(A GET("/a") "X:\rContent-Length: 50\r\n\r\n" A), {200, 400}, true},
        {SAID(A GET("/a") "X: a\0b\r\n\r\n" A), {200, 400}, true},
        {SAID(A GET("/a") "X: a\r\n b\r\n\r\n" A), {200, 400}, true},
        {SAID(A GET("/a") "Content-Length : 3\r\n\r\nabc" A), {200, 400}, true},
        {SAID(GET("/a") "Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\n\r\n" A),
         {200, 200}},
    };
    CHECK_ALL(table);
}

PROMISE(conversation, connection_ends_where_one_side_says_so)
{
    static const struct conversation table[] = {
        {SAID("GET /a HTTP/1.0\r\n\r\n" A), {200}, true},
        {SAID("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" A),
         {200, 200},
         .has = "\r\nConnection: keep-alive\r\n"},
        {SAID(GET("/a") "Connection: close\r\n\r\n" A), {200}, true},
        {SAID(GET("/a") "Connection: ,close\r\n\r\n" A), {200}, true},
        {SAID(GET("/a") "Connection: close\t\r\n\r\n" A), {200}, true},
        {SAID(GET("/a") "Connection: x\r\nConnection: CLOSE\r\n\r\n" A), {200}, true},
        {SAID(GET("/a") "Connection: xclose\r\n\r\n" A), {200, 200}},
        {SAID("GET /a HTTP/1.2\r\n" HOST END A), {200, 200}},
    };
    CHECK_ALL(table);
}

PROMISE(conversation, request_line_is_one_or_is_told_why_not)
{
    static const struct conversation table[] = {
        {SAID("GET /a\r\n\r\n"), {400}, true},
        {SAID("GET /a HTTP/0.9\r\n\r\n"), {400}, true},
        {SAID("GET /a HTTP/2.0\r\n" HOST END), {505}, true},
        {SAID("GET /a HTTP/1.1 \r\n" HOST END), {400}, true},
        {SAID("GET  /a HTTP/1.1\r\n" HOST END), {400}, true},
        {SAID("GET /a b HTTP/1.1\r\n" HOST END), {400}, true},
        {SAID("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), {505}, true},
        {SAID("BREW /a HTTP/1.1\r\n" HOST END), {501}, true},
        {SAID("get /a HTTP/1.1\r\n" HOST END), {501}, true},
        {SAID("TRACE /a HTTP/1.1\r\n" HOST END A), {405, 200}},
        {SAID("DELETE /a HTTP/1.1\r\n" HOST END A), {405, 200}},
        {SAID("CONNECT h:443 HTTP/1.1\r\n" HOST END), {405}},
        {SAID("OPTIONS * HTTP/1.1\r\n" HOST END A),
         {204, 200},
         .has = "\r\nAllow: GET, HEAD, OPTIONS\r\n"},
        {SAID("HEAD /a HTTP/1.1\r\n" HOST END), {200}, .has = "\r\nContent-Length: 10\r\n"},
        {SAID("HEAD /a HTTP/1.1\r\n" END), {400}, true},
        {SAID("HEAD /none HTTP/1.1\r\n" HOST END), {404}},
    };
    CHECK_ALL(table);
}

PROMISE(conversation, host_and_target_are_well_formed)
{
    static const struct conversation table[] = {
        {SAID("GET /a HTTP/1.1\r\n\r\n"), {400}, true},
        {SAID("GET /a HTTP/1.1\r\n" HOST HOST END), {400}, true},
        {SAID("GET /a HTTP/1.1\r\nHost:\r\n\r\n"), {200}},
        {SAID("GET /a HTTP/1.1\r\nHost: a:b\r\n\r\n"), {400}, true},
        {SAID("GET /a HTTP/1.1\r\nHost: a:80:80\r\n\r\n"), {400}, true},
        {SAID("GET /a HTTP/1.1\r\nHost: [::1\r\n\r\n"), {400}, true},
        {SAID("GET /a HTTP/1.1\r\nHost: a..b\r\n\r\n"), {400}, true},
        {SAID("GET /a HTTP/1.1\r\nHost: a%zz\r\n\r\n"), {400}, true},
        {SAID("GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"), {200}},
        {SAID(GET("http://h:80/a") END), {200}},
        {SAID(GET("http://:80/a") END), {400}},
        {SAID(GET("http://a..b/a") END), {400}},
        {SAID(GET("http:///a") END), {400}},
        {SAID(GET("http://u@h/a") END), {400}},
        {SAID(GET("ftp://h/a") END), {400}},
        {SAID(GET("a") END), {400}, true},
        {SAID(GET("?a") END), {400}, true},
        {SAID(GET("*") END), {400}},
        {SAID(GET("/a?") END), {200}},
        {SAID(GET("/a?x=\xc3\xa9") END), {200}},
        {SAID(GET("/a#f") END), {200}},
        {SAID(GET("/\xc3\xa9") END), {200}},
        {SAID(GET("/%C3%a9") END), {200}},
        {SAID(GET("//x/..//a") END), {200}},
        {SAID(GET("/../a") END), {400}},
        {SAID(GET("/%2e%2e%2fa") END), {400}},
        {SAID(GET("/a%00") END), {400}},
        {SAID(GET("/a%") END), {400}},
        {SAID(GET("/d?\xc3\xa9") END), {301}, .has = "\r\nLocation: /d/?%C3%A9\r\n"},
    };
    CHECK_ALL(table);
}

PROMISE(conversation, expectations_are_met_or_refused)
{
    static const struct conversation table[] = {
        {SAID(GET("/a") "Expect: 100-continue\r\n\r\n"), {200}},
        {SAID(GET("/a") "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nxy" A), {200, 200}},
        {SAID(GET("/a") "Expect: x\r\n\r\n"), {417}, true},
        {SAID("PUT /a HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
         {405},
         true},
    };
    CHECK_ALL(table);
}

PROMISE(conversation, conditions_are_asked_in_their_order)
{
    static const struct conversation table[] = {
        {SAID(GET("/a") "If-Modified-Since: " MODIFIED "\r\n\r\n"),
         {304},
         .has = "\r\nLast-Modified: "},
        {SAID(GET("/a") "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n\r\n"), {304}},
        {SAID(GET("/a") "If-Modified-Since: Sun Nov  6 08:49:37 1994\r\n\r\n"), {304}},
        {SAID(GET("/a") "If-Modified-Since: 1994-11-06\r\n\r\n"), {200}},
        {SAID(GET("/a") "If-None-Match: \"x\"\r\nIf-Modified-Since: " MODIFIED "\r\n\r\n"), {200}},
        {SAID(GET("/a") "If-None-Match: \"x\"\r\nIf-None-Match: \"y\"\r\n\r\n"), {200}},
        {SAID(GET("/a") "If-None-Match: *\r\n\r\n"), {304}},
        {SAID(GET("/a") "If-Match: \"x\"\r\nIf-Match: \"y\"\r\n\r\n"), {412}},
        {SAID(GET("/a") "If-Match: *\r\n\r\n"), {200}},
        {SAID(GET("/none") "If-Match: *\r\n\r\n"), {404}},
        {SAID(GET("/a") "If-Unmodified-Since: Sat, 05 Nov 1994 08:49:37 GMT\r\n\r\n"), {412}},
        {SAID("POST /a HTTP/1.1\r\n" HOST "If-None-Match: *\r\n\r\n"), {405}},
    };
    CHECK_ALL(table);
}

PROMISE(conversation, ranges_are_sent_where_they_are_understood_and_hold)
{
    static const struct conversation table[] = {
        {SAID(GET("/a") "Range: bytes=2-4\r\n\r\n"),
         {206},
         .has = "\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\n234"},
        {SAID(GET("/a") "Range: bytes=-3\r\n\r\n"), {206}, .has = "\r\n\r\n789"},
        {SAID(GET("/a") "Range: bytes=0-0,2-2\r\n\r\n"),
         {206},
         .has = "\r\nContent-Type: multipart/byteranges; boundary="},
        {SAID(GET("/a") "Range: bytes=10-\r\n\r\n"),
         {416},
         .has = "\r\nContent-Range: bytes */10\r\n"},
        {SAID(GET("/a") "Range: bytes=-0\r\n\r\n"), {416}},
        {SAID(GET("/a") "Range: bytes=4-2\r\n\r\n"), {200}},
        {SAID(GET("/a") "Range: lines=0-1\r\n\r\n"), {200}},
        {SAID(GET("/a") "Range: bytes=0-9,0-9\r\n\r\n"), {200}},
        {SAID(GET("/a") "Range: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n"), {200}},
        {SAID(GET("/a") "Range: bytes=0-1\r\nIf-Range: " MODIFIED "\r\n\r\n"), {206}},
        {SAID(GET("/a") "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n\r\n"), {200}},
        {SAID(GET("/a") "Range: bytes=0-1\r\nIf-None-Match: *\r\n\r\n"), {304}},
        {SAID("HEAD /a HTTP/1.1\r\n" HOST "Range: bytes=0-1\r\n\r\n"), {200}},
        {SAID(GET("/empty") "Range: bytes=-5\r\n\r\n"), {200}},
        {SAID(GET("/empty") "Range: bytes=0-\r\n\r\n"), {416}},
        {SAID(GET("/none") "Range: bytes=0-1\r\n\r\n"), {404}},
    };
    CHECK_ALL(table);
}
