/* SPDX-License-Identifier: MIT */
/* Peers that OpenSSL plays: old ones, odd ones, and such as mean no good. */
#include "tests/tls/peer.h"
#include "tests/tls/scene.h"
#include "tls/link.h"
#include "transport/edge/source.h"

#include <linux/sockios.h>
#include <openssl/err.h>
#include <sys/ioctl.h>

/* ---- both ends ------------------------------------------------------------------------------- */

/* A stream that is a server, and its client. They shake hands. */
static tls_peer *join_client(scene *s, SSL_CTX *context, ferry_stream **ret_server)
{
    pair both = tcp_pair();
    *ret_server = scene_adopt_server(s, both.ours);
    tls_peer *client = peer_make(context, both.theirs, false);
    check(peer_shake_hands(client));
    return client;
}

/* The same, the other way round. */
static tls_peer *join_server(scene *s, SSL_CTX *context, ferry_stream **ret_client)
{
    pair both = tcp_pair();
    *ret_client = scene_adopt_client(s, both.ours);
    tls_peer *server = peer_make(context, both.theirs, true);
    check(peer_shake_hands(server));
    return server;
}

static SSL_CTX *server_context(const scene *s)
{
    SSL_CTX *context = peer_server_context(s->own.certificate, s->own.secret);
    (void)SSL_CTX_set_num_tickets(context, 0);
    return context;
}

static ferry_promise *begin_read_of_line(ferry_stream *stream, char line[], size_t size)
{
    return submit_read(stream, (ferry_read){line, size, FERRY_READ_UNTIL, "\n", 1});
}

/* ---- messages that come in pieces ------------------------------------------------------------ */

/* OpenSSL's: has a ticket be larger than a record. */
static int enlarge_ticket(SSL *ssl, void *arg)
{
    static const char filling[2000];
    (void)arg;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), filling, sizeof filling);
}

static SSL_TICKET_RETURN ignore_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                       size_t length, SSL_TICKET_STATUS status, void *arg)
{
    (void)ssl, (void)session, (void)name, (void)length, (void)status, (void)arg;
    return SSL_TICKET_RETURN_IGNORE;
}

/* A server whose messages come in records of 512 bytes. */
static SSL_CTX *brief_server_context(const scene *s)
{
    SSL_CTX *context = server_context(s);
    check(SSL_CTX_set_max_send_fragment(context, 512) == 1);
    check(SSL_CTX_set_session_ticket_cb(context, enlarge_ticket, ignore_ticket, NULL) == 1);
    return context;
}

/* What is left of a message whose first half has left. */
typedef struct rest {
    unsigned char *bytes;
    size_t begin, end;
} rest;

static void free_rest(const rest *left)
{
    free(left->bytes);
}

/* Says half a ticket, and what was to be said before, at once. */
static rest say_half_a_ticket(tls_peer *server)
{
    check(SSL_new_session_ticket(server->ssl) == 1 && SSL_do_handshake(server->ssl) == 1);
    rest left;
    left.bytes = peer_take(server, &left.end);
    left.begin = left.end / 2;
    check(left.end > 2000);
    check(peer_send_raw(server, left.bytes, left.begin));
    return left;
}

/* Has a client read a line, with half a ticket behind it. */
static rest read_line_before_half(ferry_stream *client, tls_peer *server)
{
    char line[64];
    ferry_promise *reading = begin_read_of_line(client, line, sizeof line);
    check_eq(SSL_write(server->ssl, "line\n", 5), 5);
    rest left = say_half_a_ticket(server);
    check_outcome(reading, .error = 0, .sent = 5);
    return left;
}

static void say_rest(const tls_peer *server, const rest *left)
{
    for (size_t i = left->begin; i < left->end; i++)
        check(peer_send_raw(server, left->bytes + i, 1));
}

/* Has a client get a line and half a ticket. @param is_read it waits for what follows. */
static void check_writes_between_halves(ferry_placement placement, bool is_read)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL;
    AT_END(end_peer) tls_peer *server = join_server(s, brief_server_context(s), &client);
    AT_END(free_rest) rest left = read_line_before_half(client, server);
    char byte;
    ferry_promise *second = NULL;
    if (is_read)
        second = begin_read(client, &byte, 1);
    wait_until_asleep();
    ferry_promise *written = submit_content(client, 1, 100000), *end = submit_shutdown(client);
    wait_until_asleep();
    say_rest(server, &left);
    peer_hear_content(server, 1, 100000);
    check_eq(peer_read_to_end(server), 0);
    check_outcome(written, .error = 0, .sent = 100000);
    check_outcome(end, .error = 0);
    if (!is_read)
        second = begin_read(client, &byte, 1);
    peer_say(server, 2, 1);
    check_outcome(second, .error = 0, .sent = 1);
}

PROMISE_BOTH(peers, write_between_halves_of_a_message_waits_for_the_reader_to_get_the_rest)
{
    check_writes_between_halves(placement, true);
}

PROMISE_BOTH(peers, write_between_halves_of_a_message_gets_the_rest_where_nobody_reads)
{
    check_writes_between_halves(placement, false);
}

PROMISE_BOTH(peers, shutdown_between_halves_of_a_message_is_said_once_the_rest_has_come)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL;
    AT_END(end_peer) tls_peer *server = join_server(s, brief_server_context(s), &client);
    AT_END(free_rest) rest left = read_line_before_half(client, server);
    ferry_promise *end = submit_shutdown(client);
    wait_until_asleep();
    say_rest(server, &left);
    check_eq(peer_read_to_end(server), 0);
    check_outcome(end, .error = 0);
}

PROMISE_BOTH(peers, write_between_halves_of_a_message_fails_if_the_rest_never_comes)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL;
    AT_END(end_peer) tls_peer *server = join_server(s, brief_server_context(s), &client);
    AT_END(free_rest) rest left = read_line_before_half(client, server);
    ferry_promise *written = submit_write(client, "x", 1);
    wait_until_asleep();
    check_eq(shutdown(server->fd, SHUT_WR), 0);
    check_outcome(written, .error = -ECONNABORTED, .phase = FERRY_PHASE_SINK);
}

/* ---- keys that wear out ---------------------------------------------------------------------- */

PROMISE_EITHER(peers, records_are_counted_as_small_as_the_client_wants_them)
{
    ferry__tls_records_per_key = 8;
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    SSL_CTX *context = peer_client_context();
    check(SSL_CTX_set_tlsext_max_fragment_length(context, TLSEXT_max_fragment_length_512) == 1);
    AT_END(drop_stream) ferry_stream *server = NULL;
    AT_END(end_peer) tls_peer *client = join_client(s, context, &server);
    ferry_promise *written = submit_content(server, 1, 65536); /* 128 records, in few calls */
    peer_hear_content(client, 1, 65536);
    check_outcome(written, .error = 0, .sent = 65536);
    check(client->new_keys >= 3);
}

PROMISE_EITHER(peers, connection_of_tls_1_2_fails_before_its_key_wears_out)
{
    /* Four records are made at a time, as long as there are bytes for them. */
    enum { RECORDS = 16, SIZE = RECORDS / 4 * FERRY__BUFFER_BYTES };
    ferry__tls_records_per_key = RECORDS / 2;
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    SSL_CTX *context = peer_client_context();
    check(SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION) == 1);
    AT_END(drop_stream) ferry_stream *server = NULL;
    AT_END(end_peer) tls_peer *client = join_client(s, context, &server);
    ferry_promise *written = submit_content(server, 1, SIZE);
    peer_hear_content(client, 1, SIZE);
    check_outcome(written, .error = 0, .sent = SIZE);
    check_outcome(submit_write(server, "x", 1), .error = -EKEYEXPIRED, .phase = FERRY_PHASE_SINK);
}

/* ---- floods ---------------------------------------------------------------------------------- */

/* Has a peer say something that has no bytes for a reader. */
typedef void fill(tls_peer *self);

static void change_key(tls_peer *self)
{
    check(SSL_key_update(self->ssl, SSL_KEY_UPDATE_REQUESTED) == 1);
    check(SSL_do_handshake(self->ssl) == 1);
}

static void give_ticket(tls_peer *self)
{
    check(SSL_new_session_ticket(self->ssl) == 1 && SSL_do_handshake(self->ssl) == 1);
}

static void ask_for_another_handshake(tls_peer *self)
{
    check(SSL_renegotiate(self->ssl) == 1 && SSL_do_handshake(self->ssl) == 1);
}

/* Says much of it, and a byte now and then. That is fine as long as there are bytes. */
static void check_flood_ends(ferry_stream *stream, tls_peer *other, fill *how)
{
    enum { TIMES = 8, DECENT = 20, FLOOD = 200 };
    char got[TIMES + 1];
    ferry_promise *reading = begin_read(stream, got, TIMES);
    for (int i = 0; i < TIMES; i++) {
        for (int j = 0; j < DECENT; j++)
            how(other);
        peer_say(other, 1, 1);
    }
    check_outcome(reading, .error = 0, .sent = TIMES);
    reading = begin_read(stream, got, 1);
    for (int j = 0; j < FLOOD; j++)
        how(other);
    peer_say(other, 1, 1);
    check_outcome(reading, .error = -EPROTO);
    ferry_tls_failure failure;
    check_eq(ferry_tls_get_failure(stream, &failure), 0);
    check_eq(failure.reason, FERRY_TLS_BROKEN);
    check(strstr(failure.text, "too many") != NULL);
}

PROMISE_BOTH(peers, flood_of_new_keys_ends_reading)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *server = NULL;
    AT_END(end_peer) tls_peer *client = join_client(s, peer_client_context(), &server);
    check_flood_ends(server, client, change_key);
}

PROMISE_BOTH(peers, flood_of_tickets_ends_reading)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL;
    AT_END(end_peer) tls_peer *server = join_server(s, server_context(s), &client);
    check_flood_ends(client, server, give_ticket);
}

PROMISE_BOTH(peers, flood_of_wishes_for_another_handshake_ends_reading)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    SSL_CTX *context = server_context(s);
    check(SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION) == 1);
    AT_END(drop_stream) ferry_stream *client = NULL;
    AT_END(end_peer) tls_peer *server = join_server(s, context, &client);
    check_flood_ends(client, server, ask_for_another_handshake);
}

/* Has a client, which reads nothing any more, get almost too many messages while it wants to write:
 * the last one's rest is what it waits for. @return what a read then comes to. */
static ferry_result read_behind_messages(ferry_placement placement, unsigned keys, long record)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL;
    SSL_CTX *context = brief_server_context(s);
    check(SSL_CTX_set_max_send_fragment(context, record) == 1 &&
          SSL_CTX_set_split_send_fragment(context, record) == 1);
    AT_END(end_peer) tls_peer *server = join_server(s, context, &client);
    char line[64], byte;
    ferry_promise *first = begin_read_of_line(client, line, sizeof line);
    check_eq(SSL_write(server->ssl, "line\n", 5), 5); /* from here on they are counted */
    for (unsigned i = 0; i < keys; i++) {
        check(SSL_key_update(server->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
        check(SSL_do_handshake(server->ssl) == 1);
    }
    AT_END(free_rest) rest left = say_half_a_ticket(server);
    check_outcome(first, .error = 0, .sent = 5);
    ferry_promise *reading = begin_read(client, &byte, 1);
    wait_until_asleep();
    check_eq(ferry_promise_cancel(reading), 0);
    check_outcome(reading, .error = -ECANCELED);
    ferry_promise *written = submit_write(client, "x", 1);
    wait_until_asleep();
    say_rest(server, &left);
    ferry_result wrote = outcome(written);
    check(wrote.error == 0 || wrote.error == -EPROTO);
    peer_say(server, 2, 1);
    return outcome(begin_read(client, &byte, 1));
}

PROMISE_EITHER(peers, flood_that_is_found_by_a_write_is_no_end_of_file)
{
    unsigned floods = 0;
    for (unsigned keys = 28; keys <= 30; keys++)
        for (long record = 512; record <= 700; record += 60) {
            ferry_result result = read_behind_messages(placement, keys, record);
            check(result.error == -EPROTO || (result.error == 0 && result.sent == 1));
            floods += result.error != 0;
        }
    check(floods > 0);
}

PROMISE_BOTH(peers, client_of_tls_1_2_is_not_given_another_handshake)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    SSL_CTX *context = peer_client_context();
    check(SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION) == 1);
    AT_END(drop_stream) ferry_stream *server = NULL;
    AT_END(end_peer) tls_peer *client = join_client(s, context, &server);
    char byte;
    ferry_promise *reading = begin_read(server, &byte, 1);
    check(SSL_renegotiate(client->ssl) == 1);
    check(!peer_shake_hands(client));
    check_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    check_outcome(reading, .error = -EPROTONOSUPPORT); /* it gives up, and says so */
}

/* ---- last words ------------------------------------------------------------------------------ */

PROMISE_BOTH(peers, peer_that_is_refused_gets_the_alert_and_no_reset_whatever_else_it_has_sent)
{
    static const char hello[200000] = "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    pair both = tcp_pair();
    const int room = 2 * (int)sizeof hello;
    check_eq(setsockopt(both.ours, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), 0);
    check_eq(setsockopt(both.theirs, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    check_eq(send(both.theirs, hello, sizeof hello, MSG_NOSIGNAL), sizeof hello);
    int unsent;
    do
        check_eq(ioctl(both.theirs, SIOCOUTQ, &unsent), 0);
    while (unsent > 0);
    AT_END(drop_stream) ferry_stream *server = scene_adopt_server(s, both.ours);
    check_eq(scene_await_failure(s).reason, FERRY_TLS_BROKEN);
    check_outcome(submit_close(server), .error = 0);
    char alert[8];
    check_eq(recv(both.theirs, alert, 7, MSG_WAITALL), 7);
    check_eq(alert[0], SSL3_RT_ALERT);
    check_eq(recv(both.theirs, alert, 1, 0), 0);
    int error;
    socklen_t size = sizeof error;
    check_eq(getsockopt(both.theirs, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    check_eq(error, 0);
    close_theirs(&both);
}
