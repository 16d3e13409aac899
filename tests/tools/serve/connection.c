/* SPDX-License-Identifier: MIT */
/* Connections as their clients see them: real sockets, but no listener; a stream is put on its
 * owner and begins there, as one that was accepted does. */
#include "tools/ferry/serve/connection.h"

#include "tests/support.h"
#include "tests/tools/serve/tree_support.h"
#include "tools/ferry/serve/listing.h"
#include "tools/ferry/serve/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <semaphore.h>
#include <sys/stat.h>

enum { SEED = 7, MEDIUM_BYTES = 100000, LARGE_BYTES = 32 * 1024 * 1024, MANY_MS = 100000 };

/* ---- the server ------------------------------------------------------------------------------ */

struct serving {
    struct grown_tree tree;
    struct server_options options;
    struct server *server;
    unsigned limit; /* of connections; 0: none */
    struct places *places;
};

/* Files to serve, and options to be changed before start. */
static struct serving set_up(void)
{
    struct serving serving = {.tree = tree_grow()};
    tree_put(&serving.tree, "a", "first");
    tree_put(&serving.tree, "b", "the second");
    tree_put_content(&serving.tree, "medium", MEDIUM_BYTES, SEED);
    serving.options = (struct server_options){
        .cache = {.entries = 100, .bytes = 1 << 20, .files = 10},
        .owners = 1,
        .times = {.head_ms = MANY_MS, .idle_ms = MANY_MS},
    };
    return serving;
}

static void start(struct serving *serving)
{
    serving->options.site = serving->tree.site;
    check_eq(server_create(&serving->options, &serving->server), 0);
    serving->places = server_add_places(serving->server, serving->limit);
    check(serving->places != NULL);
}

static void end(struct serving *serving)
{
    server_destroy(serving->server);
    tree_fell(&serving->tree);
}

static struct serving begin(void)
{
    struct serving serving = set_up();
    start(&serving);
    return serving;
}

/* For clients that have so much time for a head, and so much between two requests. */
static struct serving begin_within(int64_t head_ms, int64_t idle_ms)
{
    struct serving serving = set_up();
    serving.options.times.head_ms = head_ms;
    serving.options.times.idle_ms = idle_ms;
    start(&serving);
    return serving;
}

static ferry_service_status status_of(const struct serving *serving)
{
    return service_status(server_service(serving->server));
}

/* Until no connection is left. */
static void await_no_streams(const struct serving *serving)
{
    while (status_of(serving).streams > 0) /* a hang is the harness's to notice */
        (void)poll(NULL, 0, 1);
}

/* Ends once nobody is there any more. */
static void end_deserted(struct serving *serving)
{
    await_no_streams(serving);
    end(serving);
}

/* Until all that was answered has left, and is known to. */
static void await_nothing_queued(const struct serving *serving)
{
    while (status_of(serving).queued_requests > 0)
        (void)poll(NULL, 0, 1);
}

/* ---- clients --------------------------------------------------------------------------------- */

/* What is needed to begin on the stream's owner. */
struct beginning {
    struct places *places;
    ferry_stream *stream;
    bool is_closing; /* meanwhile */
    sem_t has_begun; /* or was turned away */
};

static void on_owner(ferry_promise *, const ferry_result *, void *arg)
{
    struct beginning *beginning = arg;
    if (beginning->is_closing)
        check_eq(ferry_stream_close(beginning->stream, NULL), 0);
    connection_begin(beginning->places, beginning->stream, "192.0.2.1:4711");
    check_eq(sem_post(&beginning->has_begun), 0);
}

/* @return the client's socket. */
static int join_closing(const struct serving *serving, bool is_closing)
{
    pair sockets = tcp_pair();
    struct beginning beginning = {.places = serving->places, .is_closing = is_closing};
    ferry_stream_options options_of_it = *server_stream_options(serving->server);
    options_of_it.close_timeout_ms = MANY_MS; /* who waits in vain hangs */
    check_eq(ferry_stream_adopt(server_service(serving->server), sockets.ours, &options_of_it,
                                &beginning.stream),
             0);
    const ferry_request_options options = {.on_owner = on_owner, .on_owner_arg = &beginning};
    check_eq(sem_init(&beginning.has_begun, 0, 0), 0);
    check_eq(ferry_stream_write(beginning.stream, NULL, 0, &options, NULL), 0);
    while (sem_wait(&beginning.has_begun) != 0) { /* EINTR */
    }
    (void)sem_destroy(&beginning.has_begun);
    ferry_stream_unref(beginning.stream);
    return sockets.theirs;
}

static int join(const struct serving *serving)
{
    return join_closing(serving, false);
}

static void say_bytes(int client, const void *data, size_t length)
{
    check_eq(send(client, data, length, MSG_NOSIGNAL), length);
}

static void say(int client, const char *text)
{
    say_bytes(client, text, strlen(text));
}

static void ask(int client, const char *path)
{
    char text[256];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
    say(client, text);
}

/* An answer's head, as text. */
struct head {
    char text[4096];
    int status;
    uint64_t length; /* of the content */
};

/* A byte at a time, so that nothing of the content is read. */
static struct head read_head(int client)
{
    struct head head = {0};
    size_t length = 0;
    while (strstr(head.text, "\r\n\r\n") == NULL) {
        check(length < sizeof head.text - 1);
        check_eq(read(client, head.text + length, 1), 1);
        length++;
    }
    check_eq(sscanf(head.text, "HTTP/1.1 %d ", &head.status), 1);
    const char *field = strstr(head.text, "\r\nContent-Length: ");
    head.length = field != NULL ? strtoull(field + 18, NULL, 10) : 0;
    return head;
}

static void read_all(int client, void *buffer, size_t length)
{
    check_eq(recv(client, buffer, length, MSG_WAITALL), length);
}

static void check_text(int client, const char *expected)
{
    char content[256];
    struct head head = read_head(client);
    check_eq(head.status, 200);
    check_eq(head.length, strlen(expected));
    read_all(client, content, head.length);
    check(memcmp(content, expected, head.length) == 0);
}

static void check_content(int client, uint64_t position, uint64_t length)
{
    static char buffer[256 * 1024];
    uint64_t sum = DIGEST_BEGIN, expected = digest_content(DIGEST_BEGIN, SEED, position, length);
    while (length > 0) {
        size_t step = length < sizeof buffer ? (size_t)length : sizeof buffer;
        read_all(client, buffer, step);
        sum = digest(sum, buffer, step);
        length -= step;
    }
    check_eq(sum, expected);
}

static void check_file(int client, uint64_t length)
{
    struct head head = read_head(client);
    check_eq(head.status, 200);
    check_eq(head.length, length);
    check_content(client, 0, length);
}

static void check_status(int client, int status)
{
    char content[1024];
    struct head head = read_head(client);
    check_eq(head.status, status);
    check(head.length < sizeof content);
    read_all(client, content, head.length);
}

static void check_end(int client)
{
    char byte;
    check_eq(read(client, &byte, 1), 0);
}

/* ---- asking and answering -------------------------------------------------------------------- */

PROMISE(connection, answers_and_stays_open)
{
    AT_END(end_deserted) struct serving serving = begin();
    AT_END(close_fd) int client = join(&serving);
    for (int i = 0; i < 3; i++) {
        ask(client, "/a");
        check_text(client, "first");
        ask(client, "/medium");
        check_file(client, MEDIUM_BYTES);
        ask(client, "/missing");
        check_status(client, 404);
    }
}

PROMISE(connection, request_may_come_a_byte_at_a_time)
{
    AT_END(end) struct serving serving = begin();
    AT_END(close_fd) int client = join(&serving);
    static const char text[] = "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz";
    const int on = 1;
    check_eq(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    for (int i = 0; i < 2; i++) {
        for (const char *at = text; *at != '\0'; at++)
            say_bytes(client, at, 1);
        check_text(client, "first");
    }
}

PROMISE(connection, requests_that_come_together_are_answered_in_order)
{
    AT_END(end) struct serving serving = begin();
    AT_END(close_fd) int client = join(&serving);
    say(client, "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /medium HTTP/1.1\r\nHost: h\r\n\r\n"
                "HEAD /medium HTTP/1.1\r\nHost: h\r\n\r\nGET /missing HTTP/1.1\r\nHost: h\r\n\r\n"
                "GET /medium HTTP/1.1\r\nHost: h\r\nRange: bytes=10-19\r\n\r\n"
                "GET /b HTTP/1.1\r\nHo");
    check_text(client, "first");
    check_file(client, MEDIUM_BYTES);
    check_eq(read_head(client).length, MEDIUM_BYTES);
    check_status(client, 404);
    check_eq(read_head(client).status, 206);
    check_content(client, 10, 10);
    say(client, "st: h\r\n\r\n");
    check_text(client, "the second");
}

/* Asks many times, on a thread of its own, whether anybody reads or not. */
struct insistence {
    pthread_t thread;
    int client;
    int count;
    const char *path; /* NULL: two in turn */
};

static void *insist(void *arg)
{
    struct insistence *insistence = arg;
    for (int i = 0; i < insistence->count; i++)
        ask(insistence->client, insistence->path != NULL ? insistence->path
                                : i % 2 == 0             ? "/medium"
                                                         : "/a");
    return NULL;
}

PROMISE(connection, client_that_asks_without_reading_is_not_read_from_either)
{
    enum {
        COUNT = 4000,
        MOST = 64 /* 32 that wait, and those that have left, which are counted a moment longer */
    };
    AT_END(end) struct serving serving = begin();
    struct insistence insistence = {.client = join(&serving), .count = COUNT};
    insistence.thread = start_thread(insist, &insistence);
    for (int i = 0; i < COUNT; i++) {
        check(status_of(&serving).queued_requests <= MOST);
        if (i % 2 == 0)
            check_file(insistence.client, MEDIUM_BYTES);
        else
            check_text(insistence.client, "first");
    }
    pthread_join(insistence.thread, NULL);
    close(insistence.client);
}

PROMISE(connection, client_that_awaits_a_continue_gets_one)
{
    AT_END(end) struct serving serving = begin();
    AT_END(close_fd) int client = join(&serving);
    say(client, "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    check_eq(read_head(client).status, 100);
    say(client, "x");
    say(client, "y");
    check_text(client, "first");
    ask(client, "/b");
    check_text(client, "the second");
}

/* ---- listings -------------------------------------------------------------------------------- */

enum { NAMES = 3000 };

/* A server that lists, and has a directory with many names. */
static struct serving begin_listing(void)
{
    struct serving serving = set_up();
    serving.tree.site.lists = true;
    tree_make_directory(&serving.tree, "many");
    for (int i = 0; i < NAMES; i++) {
        char name[64];
        snprintf(name, sizeof name, "many/a name of forty bytes or so, %08d", i);
        tree_put(&serving.tree, name, "");
    }
    start(&serving);
    return serving;
}

static void check_listing(int client)
{
    struct head head = read_head(client);
    check_eq(head.status, 200);
    check(strstr(head.text, "text/html; charset=utf-8") != NULL);
    AT_END(free_memory) char *page = calloc(1, head.length + 1);
    check(page != NULL);
    read_all(client, page, head.length);
    check(strstr(page, "<!DOCTYPE html>") == page && strstr(page, "</table>") != NULL);
    size_t names = 0;
    for (const char *at = page; (at = strstr(at, "<a href=\"./a%20name")) != NULL; at++)
        names++;
    check_eq(names, NAMES);
}

PROMISE(connection, listings_come_in_order_between_other_answers)
{
    AT_END(end_deserted) struct serving serving = begin_listing();
    AT_END(close_fd) int client = join(&serving);
    ask(client, "/a");
    ask(client, "/many/");
    ask(client, "/many/");
    say(client, "HEAD /many/ HTTP/1.1\r\nHost: h\r\n\r\n");
    ask(client, "/b");
    say(client, "GET /many/ HTTP/1.0\r\n\r\n");
    check_text(client, "first");
    check_listing(client);
    check_listing(client);
    check(read_head(client).length > 0);
    check_text(client, "the second");
    check_listing(client);
    check_end(client);
}

PROMISE(connection, listings_that_wait_take_the_memory_of_one)
{
    enum { CLIENTS = 10, ASKED = 31 };
    struct serving serving = begin_listing();
    int clients[CLIENTS], other = join(&serving);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = join(&serving);
        for (int j = 0; j < ASKED; j++)
            ask(clients[i], "/many/");
    }
    for (int i = 0; i < CLIENTS; i++)
        check_eq(read_head(clients[i]).status, 200); /* and no more of it */
    ask(other, "/a");
    check_text(other, "first");
    check(status_of(&serving).queued_bytes < 1024 * 1024);
    check(listing_bytes_in_all() <= (CLIENTS + 1) * NAMES * 100);
    for (int i = 0; i < CLIENTS; i++)
        close(clients[i]); /* amid all that */
    close(other);
    end_deserted(&serving);
    check_eq(listing_bytes_in_all(), 0);
}

PROMISE(connection, answers_that_wait_in_memory_are_bounded_in_bytes)
{
    enum { BYTES = 16000 };
    AT_END(end) struct serving serving = begin();
    tree_put_content(&serving.tree, "small", BYTES, SEED);
    AT_END(close_fd) int client = join(&serving);
    struct insistence insistence = {.client = client, .count = 2000, .path = "/small"};
    insistence.thread = start_thread(insist, &insistence);
    for (int i = 0; i < insistence.count; i++) {
        /* What waits, and what is just leaving. */
        check(status_of(&serving).queued_bytes < 2 * 128 * 1024 + 2 * BYTES);
        check_file(client, BYTES);
    }
    pthread_join(insistence.thread, NULL);
}

PROMISE(connection, listing_that_cannot_be_made_is_an_error_page)
{
    AT_END(end) struct serving serving = begin_listing();
    char path[128];
    int client = join(&serving);
    tree_make_directory(&serving.tree, "sub");
    ask(client, "/sub/");
    check_eq(read_head(client).status, 200);
    snprintf(path, sizeof path, "%s/sub", serving.tree.path);
    close(client);
    check_eq(rmdir(path), 0);
    client = join(&serving);
    ask(client, "/sub/");
    check_status(client, 404);
    ask(client, "/a");
    check_text(client, "first");
    close(client);
}

/* ---- ends ------------------------------------------------------------------------------------ */

PROMISE(connection, closes_where_the_request_says_so)
{
    AT_END(end_deserted) struct serving serving = begin();
    static const char *const texts[] = {
        "GET /a HTTP/1.0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        AT_END(close_fd) int client = join(&serving);
        say(client, texts[i]);
        check_text(client, "first");
        check_end(client);
    }
}

/* It would send no more, as it says. So nothing of it could be answered with a reset. */
PROMISE(connection, client_that_asks_for_the_end_is_not_waited_for)
{
    AT_END(end) struct serving serving = begin();
    static const char *const texts[] = {
        "GET /a HTTP/1.0\r\n\r\n",
        "GET /medium HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        AT_END(close_fd) int client = join(&serving);
        say(client, texts[i]);
        await_no_streams(&serving);
        i == 0 ? check_text(client, "first") : check_file(client, MEDIUM_BYTES);
        check_end(client);
    }
}

/* What comes then would be answered with a reset, had the server closed. */
PROMISE(connection, client_that_has_more_on_its_way_is_waited_for_although_it_asks_for_the_end)
{
    AT_END(end_deserted) struct serving serving = begin();
    static const char *const texts[] = {
        "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /b HT",
        "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
        "POST /a HTTP/1.0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        await_no_streams(&serving);
        AT_END(close_fd) int client = join(&serving);
        say(client, texts[i]);
        wait_until_asleep();
        check_eq(status_of(&serving).streams, 1);
        say(client, "\r\n"); /* as some do behind a body */
        i < 2 ? check_text(client, "first") : check_status(client, 405);
        check_end(client);
    }
}

PROMISE(connection, what_is_no_request_is_answered_and_closed)
{
    AT_END(end_deserted) struct serving serving = begin();
    int client = join(&serving);
    ask(client, "/a");
    say(client, "rub\x01"
                "bish\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    check_text(client, "first");
    check_status(client, 400);
    check_end(client);
    close(client);
    client = join(&serving);
    say(client, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nand so on");
    check_status(client, 405);
    check_end(client);
    close(client);
}

PROMISE(connection, client_that_sends_all_of_a_body_before_it_reads_gets_its_answer)
{
    enum { STEPS = 128 };
    static const char step[64 * 1024];
    static const char *const heads[] = {"POST", "GET"};
    static const int statuses[] = {405, 413};
    AT_END(end_deserted) struct serving serving = begin();
    for (size_t i = 0; i < 2; i++) {
        char head[256];
        AT_END(close_fd) int client = join(&serving);
        snprintf(head, sizeof head, "%s /a HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
                 heads[i], STEPS * sizeof step);
        say(client, head);
        for (int j = 0; j < STEPS; j++)
            say_bytes(client, step, sizeof step);
        check_status(client, statuses[i]);
        check_end(client);
    }
}

PROMISE(connection, head_that_does_not_end_is_431)
{
    AT_END(end) struct serving serving = begin();
    AT_END(close_fd) int client = join(&serving);
    char filler[1024];
    memset(filler, 'x', sizeof filler);
    say(client, "GET /a HTTP/1.1\r\nHost: h\r\nX: ");
    for (int i = 0; i < 20; i++)
        say_bytes(client, filler, sizeof filler);
    check_status(client, 431);
    check_end(client);
}

PROMISE(connection, client_that_ends_its_direction_gets_its_answers)
{
    AT_END(end_deserted) struct serving serving = begin();
    AT_END(close_fd) int client = join(&serving);
    ask(client, "/medium");
    ask(client, "/b");
    say(client, "GET /a HT"); /* half a request is none */
    check_eq(shutdown(client, SHUT_WR), 0);
    check_file(client, MEDIUM_BYTES);
    check_text(client, "the second");
    check_end(client);
}

PROMISE(connection, client_that_leaves_at_any_stage_leaves_nothing_behind)
{
    AT_END(end_deserted) struct serving serving = begin();
    tree_put_content(&serving.tree, "large", LARGE_BYTES, SEED);
    static const char text[] = "GET /large HTTP/1.1\r\nHost: h\r\n\r\nGET /a";
    for (size_t length = 0; length < sizeof text; length++) {
        for (int does_reset = 0; does_reset < 2; does_reset++) {
            int client = join(&serving);
            if (length > 0)
                say_bytes(client, text, length);
            if (does_reset)
                close_with_reset(client);
            else
                close(client);
        }
    }
    await_no_streams(&serving);
    int client = join(&serving);
    ask(client, "/large");
    check_eq(read_head(client).length, LARGE_BYTES);
    check_content(client, 0, 1000);
    close_with_reset(client);
}

/* @return an fd that has a lease on the tree's file, which another open has to wait for; or -1: it
 * cannot have one here. */
static int lease(const struct serving *serving, const char *file)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", serving->tree.path, file);
    return lease_take(path);
}

PROMISE(connection, file_under_a_lease_is_waited_for)
{
    AT_END(end_deserted) struct serving serving = begin();
    int holder = lease(&serving, "b"), client = join(&serving), leaver = join(&serving);
    ask(client, "/a");
    ask(client, "/b");
    ask(client, "/a");
    check_text(client, "first");
    if (holder >= 0) {
        char byte;
        lease_await_break(holder);
        ask(leaver, "/b");
        close_with_reset(leaver);
        check_eq(recv(client, &byte, 1, MSG_DONTWAIT), -1);
        check_eq(fcntl(holder, F_SETLEASE, F_UNLCK), 0);
        close(holder);
    } else {
        close(leaver);
    }
    check_text(client, "the second");
    check_text(client, "first");
    close(client);
}

PROMISE(connection, file_that_is_cut_short_meanwhile_ends_it)
{
    AT_END(end_deserted) struct serving serving = begin();
    tree_put_content(&serving.tree, "large", LARGE_BYTES, SEED);
    AT_END(close_fd) int client = join(&serving);
    ask(client, "/large");
    check_eq(read_head(client).length, LARGE_BYTES);
    tree_put(&serving.tree, "large", "short");
    static char buffer[64 * 1024];
    uint64_t total = 0;
    ssize_t count;
    while ((count = read(client, buffer, sizeof buffer)) > 0)
        total += (uint64_t)count;
    check(total < LARGE_BYTES);
    check(count < 0 && errno == ECONNRESET);
}

/* ---- time ------------------------------------------------------------------------------------ */

PROMISE(connection, request_that_takes_too_long_is_408)
{
    AT_END(end_deserted) struct serving serving = begin_within(50, MANY_MS);
    AT_END(close_fd) int client = join(&serving);
    ask(client, "/a");
    check_text(client, "first");
    say(client, "GET /b HTTP/1.1\r\nHos");
    check_status(client, 408);
    check_end(client);
}

PROMISE(connection, bytes_that_trickle_in_do_not_prolong_it)
{
    AT_END(end_deserted) struct serving serving = begin_within(100, MANY_MS);
    int client = join(&serving);
    struct pollfd answer = {.fd = client, .events = POLLIN};
    say(client, "GET /a HTTP/1.1\r\nX: ");
    while (poll(&answer, 1, 10) == 0) /* or it would go on until the head is too long */
        say(client, "x");
    check_status(client, 408);
    close_with_reset(client);
}

PROMISE(connection, answer_that_leaves_meanwhile_does_not_prolong_it_either)
{
    AT_END(end_deserted) struct serving serving = begin_within(50, MANY_MS);
    tree_put_content(&serving.tree, "large", LARGE_BYTES, SEED);
    static const char *const paths[] = {"/medium", "/large"}; /* which settles sooner, or later */
    static const uint64_t sizes[] = {MEDIUM_BYTES, LARGE_BYTES};
    for (size_t i = 0; i < 2; i++) {
        char text[256];
        AT_END(close_fd) int client = join(&serving);
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHos",
                 paths[i]);
        say(client, text);
        check_file(client, sizes[i]);
        check_status(client, 408);
        check_end(client);
    }
}

PROMISE(connection, idle_one_is_closed_without_a_word)
{
    AT_END(end_deserted) struct serving serving = begin_within(MANY_MS, 50);
    AT_END(close_fd) int fresh = join(&serving), used = join(&serving);
    ask(used, "/a");
    check_text(used, "first");
    check_end(fresh);
    check_end(used);
}

/* Reads so much, or less where the end comes before. @return how much it was. */
static size_t read_most(int client, char *data, size_t length)
{
    size_t count = 0;
    ssize_t more = 1;
    while (count < length && more > 0) {
        more = recv(client, data + count, length - count, 0);
        count += more > 0 ? (size_t)more : 0;
    }
    return count;
}

/* Whether what is asked for now is answered, as it is. */
static bool is_open(int client)
{
    static const char request[] = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    char first;
    if (send(client, request, strlen(request), MSG_NOSIGNAL) < 0 ||
        recv(client, &first, 1, MSG_PEEK) <= 0)
        return false;
    check_text(client, "first");
    return true;
}

/* A download that takes a quarter longer than one may be idle. @return whether it was whole, and
 * could be followed by another. */
static bool slow_download_is_whole(int idle_ms)
{
    enum { STEPS = 16, STEP_BYTES = LARGE_BYTES / STEPS };
    static char answer[4096 + LARGE_BYTES]; /* looked at in the end: no step is to take long */
    AT_END(end) struct serving serving = begin_within(MANY_MS, idle_ms);
    tree_put_content(&serving.tree, "large", LARGE_BYTES, SEED);
    AT_END(close_fd) int client = join(&serving);
    ask(client, "/large");
    size_t count = 0;
    for (int i = 0; i < STEPS; i++) {
        (void)poll(NULL, 0, idle_ms * 5 / 4 / STEPS);
        count += read_most(client, answer + count, STEP_BYTES);
    }
    const char *blank = memmem(answer, count, "\r\n\r\n", 4);
    size_t head = blank != NULL ? (size_t)(blank + 4 - answer) : 0;
    count += read_most(client, answer + count, head + LARGE_BYTES - count);
    bool is_whole = blank != NULL && count == head + LARGE_BYTES &&
                    digest(DIGEST_BEGIN, answer + head, LARGE_BYTES) ==
                        digest_content(DIGEST_BEGIN, SEED, 0, LARGE_BYTES);
    is_whole = is_whole && is_open(client);
    return is_whole;
}

/* It is to hold for any time. On a machine that gives nobody a turn for a second a client is idle
 * for as long, rightly; so then a longer time is looked at. */
PROMISE(connection, download_that_takes_longer_than_one_may_be_idle_is_not_cut_off)
{
    enum { LONGEST_MS = 8000 };
    int idle_ms = 1000;
    while (!slow_download_is_whole(idle_ms))
        check((idle_ms *= 2) <= LONGEST_MS);
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Serves so many at a time. */
static struct serving begin_limited(unsigned limit)
{
    struct serving serving = set_up();
    serving.limit = limit;
    start(&serving);
    return serving;
}

/* Lets time pass for those that count it: the clock is as coarse as ticks. */
static void await_tick(void)
{
    struct timespec begin, now;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &begin);
    do
        (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    while (now.tv_nsec == begin.tv_nsec);
}

static void ask_and_check(int client)
{
    ask(client, "/a");
    check_text(client, "first");
    await_tick();
}

PROMISE(connection, longest_idle_one_leaves_for_one_that_comes)
{
    enum { COUNT = 3 };
    AT_END(end_deserted) struct serving serving = begin_limited(COUNT);
    int clients[COUNT];
    for (int i = 0; i < COUNT; i++)
        clients[i] = join(&serving);
    ask_and_check(clients[0]);
    ask_and_check(clients[2]);
    ask_and_check(clients[1]);
    static const int order[COUNT] = {0, 2, 1};
    for (int i = 0; i < COUNT; i++) {
        int newcomer = join(&serving);
        ask_and_check(newcomer);
        check_end(clients[order[i]]);
        close(clients[order[i]]);
        clients[order[i]] = newcomer;
    }
    for (int i = 0; i < COUNT; i++)
        close(clients[i]);
}

PROMISE(connection, one_that_is_at_a_request_or_an_answer_does_not_leave)
{
    AT_END(end_deserted) struct serving serving = begin_limited(2);
    tree_put_content(&serving.tree, "large", LARGE_BYTES, SEED);
    AT_END(close_fd) int asks = join(&serving), reads = join(&serving);
    say(asks, "GET /b HTTP/1.1\r\nHos");
    ask(reads, "/large");
    check_eq(read_head(reads).length, LARGE_BYTES);
    AT_END(close_fd) int newcomer = join(&serving);
    ask(newcomer, "/a");
    struct pollfd early = {.fd = newcomer, .events = POLLIN};
    check_eq(poll(&early, 1, 50), 0);
    say(asks, "t: h\r\n\r\n");
    check_text(asks, "the second");
    check_text(newcomer, "first"); /* now somebody is idle */
    check_end(asks);
    check_content(reads, 0, LARGE_BYTES);
}

PROMISE(connection, answer_that_lies_in_the_kernel_is_not_taken_away)
{
    AT_END(end_deserted) struct serving serving = begin_limited(1);
    int slow = join(&serving);
    const int small =
        4096; /* bytes: the rest stays on this side, though the server is done with it */
    check_eq(setsockopt(slow, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    ask(slow, "/medium");
    check_eq(read_head(slow).length, MEDIUM_BYTES);
    AT_END(close_fd) int newcomer = join(&serving);
    ask(newcomer, "/a");
    check_content(slow, 0, MEDIUM_BYTES);
    check_text(newcomer, "first");
    check_end(slow);
    close(slow);
}

PROMISE(connection, those_that_wait_get_their_places_in_turn_and_end_with_the_server)
{
    enum { COUNT = 8 };
    struct serving serving = begin_limited(1);
    tree_put_content(&serving.tree, "large", LARGE_BYTES, SEED);
    int busy = join(&serving), clients[COUNT];
    ask(busy, "/large");
    check_eq(read_head(busy).length, LARGE_BYTES);
    for (int i = 0; i < COUNT; i++) {
        clients[i] = join(&serving);
        ask(clients[i], "/a");
    }
    close(clients[0]); /* one has had enough */
    close(busy);
    for (int i = 1; i < COUNT - 1; i++) {
        check_text(clients[i], "first");
        check_end(clients[i]);
        close(clients[i]);
    }
    check_text(clients[COUNT - 1], "first");
    say(clients[COUNT - 1], "GET /b"); /* it does not leave any more */
    int last = join(&serving);
    end(&serving);
    close(last);
    close(clients[COUNT - 1]);
}

/* ---- stopping -------------------------------------------------------------------------------- */

PROMISE(connection, stop_closes_those_that_are_idle)
{
    AT_END(end_deserted) struct serving serving = begin();
    AT_END(close_fd) int fresh = join(&serving), used = join(&serving);
    ask(used, "/a");
    check_text(used, "first");
    await_nothing_queued(&serving);
    check_eq(server_stop(serving.server, 0), 0); /* though neither has ended yet */
    check_end(fresh);
    check_end(used);
}

static void *stop(void *arg)
{
    struct serving *serving = arg;
    check_eq(server_stop(serving->server, -1), 0);
    return NULL;
}

PROMISE(connection, stop_finishes_what_is_under_way)
{
    AT_END(end) struct serving serving = begin();
    tree_put_content(&serving.tree, "large", LARGE_BYTES, SEED);
    int client = join(&serving);
    ask(client, "/large");
    check_eq(read_head(client).length, LARGE_BYTES);
    pthread_t stopper = start_thread(stop, &serving);
    check_content(client, 0, LARGE_BYTES);
    check_end(client);
    close(client);
    pthread_join(stopper, NULL);
}

PROMISE(connection, stop_does_not_wait_longer_than_it_is_told)
{
    struct serving serving = begin();
    tree_put_content(&serving.tree, "large", LARGE_BYTES, SEED);
    AT_END(close_fd) int client = join(&serving);
    ask(client, "/large");
    check_eq(read_head(client).length, LARGE_BYTES);
    check_eq(server_stop(serving.server, 20), 1);
    end(&serving);
}

PROMISE(connection, who_comes_while_it_stops_is_turned_away)
{
    AT_END(end_deserted) struct serving serving = begin_limited(1);
    int client = join_closing(&serving, true);
    char byte;
    check(read(client, &byte, 1) <= 0);
    close(client);
    client = join(&serving); /* the place is free */
    ask_and_check(client);
    close(client);
}

/* ---- the log --------------------------------------------------------------------------------- */

/* A server that writes a log, in a file that the test reads. */
struct logged {
    struct serving serving;
    char path[32];
    int fd;
};

static struct logged begin_logged(void)
{
    struct logged logged = {.serving = set_up(), .path = "/tmp/ferry-log-XXXXXX"};
    logged.fd = mkstemp(logged.path);
    check(logged.fd >= 0);
    check_eq(log_writer_start(logged.path, &logged.serving.options.log), 0);
    start(&logged.serving);
    return logged;
}

/* Once the clients have left, all is in it. */
static void stop_logging(struct logged *logged)
{
    await_no_streams(&logged->serving);
    server_destroy(logged->serving.server);
    check_eq(log_writer_stop(logged->serving.options.log), 0);
}

static void remove_log(struct logged *logged)
{
    close(logged->fd);
    unlink(logged->path);
    tree_fell(&logged->serving.tree);
}

/* Adds a field whose value is long and needs escapes. @return how long the request is. */
static size_t add_long_field(char *text, size_t size, size_t length, const char *name)
{
    length += (size_t)snprintf(text + length, size - length, "%s: ", name);
    memset(text + length, '"', 4000);
    length += 4000;
    return length + (size_t)snprintf(text + length, size - length, "\r\n");
}

PROMISE(connection, line_of_the_log_is_one_however_long_the_clients_words_are)
{
    AT_END(remove_log) struct logged logged = begin_logged();
    char lines[64 * 1024], text[16 * 1024];
    enum { PATHS = 40 }; /* each a byte longer: at one of them it is exactly full */
    int client = join(&logged.serving);
    for (int i = 0; i < PATHS; i++) {
        size_t length = (size_t)snprintf(text, sizeof text, "GET /%0*d HTTP/1.1\r\nHost: h\r\n",
                                         i % 2 == 0 ? 1 + i : 2000 + i, 0);
        length = add_long_field(text, sizeof text, length, "Referer");
        length = add_long_field(text, sizeof text, length, "User-Agent");
        length += (size_t)snprintf(text + length, sizeof text - length, "\r\n");
        say_bytes(client, text, length);
        check_status(client, 404);
    }
    close(client);
    stop_logging(&logged);
    size_t total = 0, quotes = 0, count = 0;
    ssize_t got;
    while ((got = read(logged.fd, lines, sizeof lines)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            quotes += lines[i] == '"';
            count += lines[i] == '\n';
        }
        total += (size_t)got;
    }
    check_eq(count, PATHS);
    check_eq(quotes, 6 * PATHS);
    check(total < PATHS * 2200);
}

/* Somewhere in the log, with how many seconds it took behind it. */
static void check_logged(const char *log, const char *text)
{
    const char *at = strstr(log, text);
    check(at != NULL);
    unsigned seconds, thousandths;
    check_eq(sscanf(at + strlen(text), " %u.%3u\n", &seconds, &thousandths), 2);
}

PROMISE(connection, each_answer_is_a_line_of_the_log)
{
    AT_END(remove_log) struct logged logged = begin_logged();
    char lines[4096];
    int client = join(&logged.serving);
    say(client,
        "GET /a?x=\"y HTTP/1.1\r\nHost: h\r\nUser-Agent: me \"\\ \xff\r\nReferer: r\r\n\r\n");
    check_text(client, "first");
    say(client, "HEAD /medium HTTP/1.0\r\n\r\n");
    check_eq(read_head(client).status, 200);
    check_end(client);
    close(client);
    client = join(&logged.serving);
    say(client, "\x01");
    check_status(client, 400);
    check_end(client);
    close(client);
    stop_logging(&logged);
    ssize_t length = read(logged.fd, lines, sizeof lines - 1);
    check(length > 0);
    lines[length] = '\0';
    int day, year;
    char month[8];
    check_eq(sscanf(lines, "192.0.2.1 - - [%d/%3s/%d:", &day, month, &year), 3);
    check_logged(lines, "] \"GET /a?x=\\x22y HTTP/1.1\" 200 5 \"r\" "
                        "\"me \\x22\\x5c \\xff\"");
    check_logged(lines, "] \"HEAD /medium HTTP/1.0\" 200 0 \"-\" \"-\"");
    check(strstr(lines, "] \"-\" 400 ") != NULL);
    size_t count = 0;
    for (const char *at = lines; (at = strchr(at, '\n')) != NULL; at++)
        count++;
    check_eq(count, 3);
}
