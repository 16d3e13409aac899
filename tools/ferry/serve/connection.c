/* SPDX-License-Identifier: MIT */
#include "connection.h"

#include "answer.h"
#include "http_date.h"
#include "late_page.h"
#include "places.h"
#include "server.h"

#include <ferry/read.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIPELINE = 32,               /* answers that may wait; no client asks for more at once */
    PIPELINE_BYTES = 128 * 1024, /* of memory in them; one more answer may have any number */
    LONG_BYTES = 1024 * 1024,    /* an answer that may well take longer than the idle time */
    OFTEN_SET_MS = 8000, /* shorter times are set with each request, longer ones once a second */
    NAME_BYTES = 32,     /* of a label a dump shows no more */
    PEER_BYTES = 128     /* of an address as text, a unix socket's path included */
};

/* What reading waits for at most, besides bytes. */
enum waiting {
    WAITING_FREELY, /* an answer takes its time: no limit */
    WAITING_IDLE,   /* for the next request */
    WAITING_FOR_HEAD
};

struct connection {
    struct seat seat; /* first */
    struct server *server;
    ferry_stream *stream;   /* a reference */
    struct request request; /* the next one, as far as it has come */
    unsigned holds;         /* reading, and answers that are watched */
    unsigned asked;         /* answers since the queue was last looked at, and what was in it */
    uint64_t asked_bytes;   /* bytes of memory in these answers */
    bool is_paused;         /* too many answers wait */
    bool is_put_off;        /* the request is to be answered later: it stays with what is read */
    bool is_over;           /* no request is answered any more */
    bool is_leaving;        /* another client gets its place */
    atomic_uint calls;      /* of call_back that have not come; begun under its places' lock */
    bool has_continued;     /* the client was told to go on with the request */
    enum waiting waiting;   /* which time limit is set */
    int64_t set_s;          /* when it was */
    char peer[PEER_BYTES];  /* for the log; "" where there is none */
};

/* An answer that gets a line in the log. */
struct logged {
    struct connection *connection;
    struct late_page *late; /* a reference; NULL: the line has all there is to know */
    struct access_line line;
};

/* ---- life ------------------------------------------------------------------------------------ */

static void destroy(struct connection *connection)
{
    (void)ferry_stream_unref(connection->stream);
    free(connection);
}

/* Once it has left its place it is called back only by those that have begun to. */
static void let_go(struct connection *connection)
{
    if (--connection->holds > 0)
        return;
    places_leave(&connection->seat);
    if (atomic_load(&connection->calls) == 0)
        destroy(connection);
}

static void close_stream(struct connection *connection)
{
    connection->is_over = true;
    (void)ferry_stream_close(connection->stream, NULL);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void wait_freely(struct connection *connection)
{
    places_is_busy(&connection->seat);
    if (connection->waiting != WAITING_FREELY)
        (void)ferry_stream_read_within(connection->stream, -1);
    connection->waiting = WAITING_FREELY;
}

static void wait_idle(struct connection *connection)
{
    int64_t idle_ms = server_options_of(connection->server)->times.idle_ms, now_s;
    places_is_idle(&connection->seat);
    (void)http_date_now(&now_s);
    if (connection->waiting == WAITING_IDLE && connection->set_s == now_s && idle_ms > OFTEN_SET_MS)
        return;
    (void)ferry_stream_read_within(connection->stream, idle_ms);
    connection->waiting = WAITING_IDLE;
    connection->set_s = now_s;
}

/* The time counts from the first byte on: more bytes do not give it more time. */
static void wait_for_head(struct connection *connection)
{
    places_is_busy(&connection->seat);
    if (connection->waiting != WAITING_FOR_HEAD)
        (void)ferry_stream_read_within(connection->stream,
                                       server_options_of(connection->server)->times.head_ms);
    connection->waiting = WAITING_FOR_HEAD;
}

/* ---- answers --------------------------------------------------------------------------------- */

/*
 * The last of the answers that are watched has left. If reading is paused, all other answers have
 * left, too: it paused with the newest one. A request that has begun meanwhile keeps its own time.
 */
static void resume(struct connection *connection)
{
    if (connection->is_over)
        return;
    if (connection->waiting != WAITING_FOR_HEAD)
        wait_idle(connection);
    if (!connection->is_paused)
        return;
    connection->is_paused = false;
    connection->asked = 0;
    connection->asked_bytes = 0;
    (void)ferry_stream_demand(connection->stream, -1);
}

/* An answer that failed midway cannot be mended: the client must see that it is not whole. */
static void settle(struct connection *connection, const ferry_result *result)
{
    if (result->error != 0)
        ferry_stream_abort(connection->stream);
    else if (connection->holds == 2)
        resume(connection);
    let_go(connection);
}

static void on_settled(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise;
    settle(arg, result);
}

static void free_logged(struct logged *logged)
{
    if (logged != NULL)
        (void)late_page_unref(logged->late);
    free(logged);
}

static void on_logged(ferry_promise *promise, const ferry_result *result, void *arg)
{
    struct logged *logged = arg;
    (void)promise;
    if (logged->late != NULL) {
        logged->line.status = late_page_status(logged->late);
        logged->line.content = late_page_sent(logged->late, result) + result->remaining;
    }
    access_log_add(server_options_of(logged->connection->server)->log, &logged->line, result);
    settle(logged->connection, result);
    free_logged(logged);
}

/* @return NULL: out of memory; the line is not written then. */
static struct logged *make_logged(struct connection *connection, const struct request *request,
                                  const struct response *response)
{
    struct logged *logged = malloc(sizeof *logged);
    if (logged == NULL)
        return NULL;
    logged->connection = connection;
    logged->late = response->late != NULL ? late_page_ref(response->late) : NULL;
    logged->line.status = response->status;
    logged->line.content = response->content;
    access_line_begin(&logged->line, connection->peer, request);
    return logged;
}

/* Bytes of memory that an answer keeps while it waits. */
static uint64_t count_bytes(const struct response *response)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < response->count; i++)
        bytes += response->parts[i].length;
    return bytes;
}

/*
 * Whether as many answers, or bytes of them, wait as are allowed. The queue is looked at only when
 * that might be so.
 */
static bool is_full(struct connection *connection, const struct response *response)
{
    ferry_stream_status status;
    connection->asked++;
    connection->asked_bytes += count_bytes(response);
    if (connection->asked < PIPELINE && connection->asked_bytes < PIPELINE_BYTES)
        return false;
    if (ferry_stream_get_status(connection->stream, &status) != 0)
        return false;
    connection->asked = status.queued_requests + 1;
    connection->asked_bytes = status.queued_bytes + count_bytes(response);
    return connection->asked >= PIPELINE || connection->asked_bytes >= PIPELINE_BYTES;
}

/* Whether an answer may well take longer than the idle time. */
static bool is_long(const struct response *response)
{
    return response->late != NULL || response->content >= LONG_BYTES;
}

/* An answer that reading waits for, one way or another. */
static bool holds_up_reading(struct connection *connection, const struct response *response)
{
    connection->is_paused = is_full(connection, response);
    return connection->is_paused || is_long(response);
}

/*
 * What dumps call an answer: the end of its file's path, which tells most. @return NULL: nothing.
 */
static const char *name_answer(const struct response *response)
{
    size_t length = response->name != NULL ? strlen(response->name) : 0;
    return length < NAME_BYTES ? response->name : response->name + length - (NAME_BYTES - 1);
}

/* Sends an answer, being told when it has left. */
static int send_watched(struct connection *connection, const struct request *request,
                        const struct response *response)
{
    struct logged *logged = server_options_of(connection->server)->log != NULL
                                ? make_logged(connection, request, response)
                                : NULL;
    const ferry_request_options options = {
        .on_owner = logged != NULL ? on_logged : on_settled,
        .on_owner_arg = logged != NULL ? (void *)logged : connection,
        /* If its file cannot be sent, what follows must not be taken for it. In memory it fails
         * only with its connection. */
        .on_owner_holds_queue = response->has_file && response->keeps_alive,
        .label = name_answer(response),
    };
    connection->holds++;
    int error =
        ferry_stream_send(connection->stream, response->parts, response->count, &options, NULL);
    if (error == 0)
        return 0;
    connection->holds--; /* reading has one */
    free_logged(logged);
    return error;
}

/* An answer in memory is not watched: it leaves, or the connection ends. */
static int send_response(struct connection *connection, const struct request *request,
                         const struct response *response)
{
    bool is_waited_for = holds_up_reading(connection, response);
    if (response->late != NULL)
        late_page_send_on(response->late, connection->stream);
    bool is_logged = server_options_of(connection->server)->log != NULL;
    if (is_waited_for || is_logged || response->has_file)
        return send_watched(connection, request, response);
    return ferry_stream_send(connection->stream, response->parts, response->count, NULL, NULL);
}

/*
 * Sends an answer and does what follows from it. @return whether another request may be answered.
 */
static bool deliver(struct connection *connection, const struct request *request,
                    struct response *response)
{
    if (send_response(connection, request, response) != 0) {
        response_drop(response);
        response->keeps_alive = false;
    }
    if (!response->keeps_alive)
        close_stream(connection);
    else if (connection->is_paused || is_long(response))
        wait_freely(connection);
    else
        wait_idle(connection);
    if (connection->is_paused && !connection->is_over)
        (void)ferry_stream_demand(connection->stream, 0);
    return !connection->is_paused && !connection->is_over;
}

/* The file may be opened now, or it is known why not. The request is offered again. */
static void on_opened(ferry_promise *promise, const ferry_result *result, void *arg)
{
    struct connection *connection = arg;
    (void)promise;
    if (result->error == -EBUSY) /* else it would be asked for again and again */
        ferry_stream_abort(connection->stream);
    else if (connection->holds == 2)
        resume(connection);
    let_go(connection);
}

/* Somebody has a lease on the file that was asked for: its request waits for that. */
static bool put_off(struct connection *connection, const struct response *response)
{
    const ferry_request_options options = {
        .on_owner = on_opened, .on_owner_holds_queue = true, .on_owner_arg = connection};
    connection->holds++;
    if (ferry_stream_send(connection->stream, response->parts, response->count, &options, NULL) !=
        0) {
        connection->holds--; /* reading has one */
        close_stream(connection);
        return false;
    }
    connection->is_paused = true;
    wait_freely(connection);
    (void)ferry_stream_demand(connection->stream, 0);
    return false;
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool answer(struct connection *connection)
{
    struct response response;
    struct cache *cache = server_cache(connection->server);
    if (cache != NULL)
        answer_request(cache, &connection->request, &response);
    else
        answer_status(&connection->request, 503, &response);
    connection->is_put_off = response.is_later;
    return response.is_later ? put_off(connection, &response)
                             : deliver(connection, &connection->request, &response);
}

/* @param request NULL: nothing of it was understood. */
static void refuse(struct connection *connection, const struct request *request, int status)
{
    struct response response;
    answer_status(request, status, &response);
    (void)deliver(connection, request, &response);
}

static void tell_to_continue(struct connection *connection)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const ferry_part part = ferry_part_borrow(go_on, sizeof go_on - 1);
    if (connection->has_continued || !request_awaits_continue(&connection->request))
        return;
    connection->has_continued = true;
    (void)ferry_stream_send(connection->stream, &part, 1, NULL, NULL);
}

static void begin_request(struct connection *connection)
{
    request_begin(&connection->request);
    connection->has_continued = false;
}

/*
 * Whether a request is its client's last word: it says so, or HTTP/1.0 does. Behind a body some
 * clients send an empty line, and a body without a length may come later.
 */
static bool is_last_word(const struct request *request, size_t length)
{
    bool has_method = request_is(request, REQUEST_GET) || request_is(request, REQUEST_HEAD);
    return !request->keeps_alive && has_method && request->head.length == length;
}

/* Answers as many requests as are whole and may be. @return how many bytes they had. */
static size_t answer_all(struct connection *connection, const char *data, size_t length)
{
    size_t taken = 0;
    while (taken < length && !connection->is_over) {
        struct request *request = &connection->request;
        enum request_state state = request_feed(request, data + taken, length - taken);
        if (state == REQUEST_BAD) {
            refuse(connection, request, request->status);
            break;
        }
        if (state == REQUEST_PARTIAL) {
            tell_to_continue(connection);
            if (request_has_begun(request)) /* with an empty line alone it stays idle */
                wait_for_head(connection);
            return taken;
        }
        bool may_go_on = answer(connection);
        if (!connection->is_put_off && is_last_word(request, length - taken))
            (void)ferry_stream_expect_no_more(connection->stream); /* its close is only asked for */
        taken += connection->is_put_off ? 0 : request->length;
        begin_request(connection);
        if (!may_go_on)
            break;
    }
    return connection->is_over ? length : taken;
}

static size_t on_read(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg)
{
    (void)stream;
    (void)at_end; /* half a request is none */
    return answer_all(arg, data, length);
}

/* The client may have taken too long to ask. It is told so if its request has begun. */
static void on_end(ferry_stream *stream, int error, void *arg)
{
    struct connection *connection = arg;
    (void)stream;
    if (error == -ETIMEDOUT && connection->waiting == WAITING_FOR_HEAD)
        refuse(connection, NULL, 408);
    if (connection->is_leaving)
        ferry_stream_abort(connection->stream);
    else
        close_stream(connection);
    let_go(connection);
}

/* ---- places ---------------------------------------------------------------------------------- */

static struct connection *connection_of(struct seat *seat)
{
    return (struct connection *)(void *)seat;
}

static bool has_answers(const struct seat *seat)
{
    enum { CLOSE = 1 }; /* is a request, too */
    const struct connection *connection = (const struct connection *)(const void *)seat;
    ferry_stream_status status;
    return ferry_stream_get_status(connection->stream, &status) == 0 &&
           status.queued_requests > CLOSE;
}

/* Submits an empty request, to be called back on the owner, behind all that is queued. If that is
 * refused the stream has ended, and on_end comes. */
static void call_back(struct connection *connection, ferry_callback *callback,
                      const ferry_request_options *extra)
{
    const ferry_part nothing = ferry_part_copy(NULL, 0);
    ferry_request_options options = *extra;
    options.on_owner = callback;
    options.on_owner_holds_queue = true;
    options.on_owner_arg = connection;
    atomic_fetch_add(&connection->calls, 1);
    if (ferry_stream_send(connection->stream, &nothing, 1, &options, NULL) != 0)
        atomic_fetch_sub(&connection->calls, 1);
}

static void end_call(struct connection *connection)
{
    if (atomic_fetch_sub(&connection->calls, 1) == 1 && connection->holds == 0)
        destroy(connection);
}

static void on_seated(ferry_promise *promise, const ferry_result *result, void *arg)
{
    struct connection *connection = arg;
    (void)promise;
    if (result->error == 0 && !connection->is_over) {
        wait_idle(connection);
        (void)ferry_stream_demand(connection->stream, -1);
    }
    end_call(connection);
}

static void be_seated(struct seat *seat)
{
    static const ferry_request_options none;
    call_back(connection_of(seat), on_seated, &none);
}

/*
 * The client's kernel has all answers. If the client does not end as well, a reset follows the end,
 * but it takes nothing from the client.
 */
static void leave(struct connection *connection)
{
    enum { ENDING_MS = 50 };
    connection->is_over = connection->is_leaving = true;
    (void)ferry_stream_shutdown(connection->stream, NULL);
    (void)ferry_stream_read_within(connection->stream, ENDING_MS);
}

static void on_asked(ferry_promise *promise, const ferry_result *result, void *arg)
{
    struct connection *connection = arg;
    (void)promise;
    if (result->error == 0 && !connection->is_over && places_is_to_leave(&connection->seat))
        leave(connection);
    else
        places_stay(&connection->seat);
    end_call(connection);
}

static void ask_to_leave(struct seat *seat)
{
    /* A client that does not have all of its last answer in this time is not idle. */
    static const ferry_request_options once_acked = {.completion = FERRY_COMPLETION_ACKED,
                                                     .timeout_ms = 500};
    call_back(connection_of(seat), on_asked, &once_acked);
}

static const struct seat_calls seat_calls = {
    .has_answers = has_answers,
    .be_seated = be_seated,
    .ask_to_leave = ask_to_leave,
};

/* ---- beginning ------------------------------------------------------------------------------- */

static struct connection *create(struct server *server, ferry_stream *stream, const char *peer)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        return NULL;
    connection->server = server;
    connection->stream = ferry_stream_ref(stream);
    connection->holds = 1;
    begin_request(connection);
    (void)snprintf(connection->peer, sizeof connection->peer, "%s", peer);
    return connection;
}

/* Nothing is read from it before it has a place. */
static void take_place(struct connection *connection, struct places *places)
{
    if (places_enter(places, &connection->seat, &seat_calls))
        wait_idle(connection);
    else
        (void)ferry_stream_demand(connection->stream, 0);
}

void connection_begin(struct places *places, ferry_stream *stream, const char *peer)
{
    struct connection *connection = create(places_server(places), stream, peer);
    if (connection == NULL) {
        ferry_stream_abort(stream);
        return;
    }
    const ferry_reader reader = {.on_read = on_read,
                                 .on_end = on_end,
                                 .arg = connection,
                                 .on_owner = true,
                                 .keep_open = true};
    if (ferry_stream_set_reader(stream, &reader) == 0) {
        take_place(connection, places);
        return;
    }
    ferry_stream_abort(stream);
    let_go(connection);
}
