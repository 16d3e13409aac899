/* SPDX-License-Identifier: MIT */
/*
 * Handshakes with peers that OpenSSL plays: such as ferry itself would never be, since its own
 * options do not allow it. Both roles.
 */
#include "tests/tls/peer.h"
#include "tests/tls/scene.h"

/* ---- both roles ------------------------------------------------------------------------------ */

/* A stream in its handshake, and what is at the other end. */
typedef struct meeting {
    ferry_promise *reading; /* of a byte: it ends as the handshake does, or with that byte */
    ferry_stream *stream;
    tls_peer *other; /* NULL: a plain socket */
    int fd;
    char byte;
} meeting;

/* @param context the peer's; NULL: it is the test itself. In memory that stays where it is. */
static meeting *meet(scene *s, bool is_server, SSL_CTX *context)
{
    meeting *self = calloc(1, sizeof *self);
    pair both = tcp_pair();
    self->fd = both.theirs;
    self->stream = is_server ? scene_adopt_server(s, both.ours) : scene_adopt_client(s, both.ours);
    const ferry_read read = {.data = &self->byte, .size = 1, .mode = FERRY_READ_EXACTLY};
    check_eq(ferry_stream_read(self->stream, &read, NULL, &self->reading), 0);
    if (context != NULL)
        self->other = peer_make(context, self->fd, !is_server);
    return self;
}

static void part(meeting *self)
{
    (void)ferry_promise_unref(self->reading);
    (void)ferry_stream_unref(self->stream);
    if (self->other != NULL)
        peer_end(self->other);
    else
        close(self->fd);
    free(self);
}
PUT_AWAY(end_meeting, meeting, part)

/* The stream refuses: its read tells, and so does the failure. */
static void check_refuses(const meeting *self, int error, ferry_tls_reason reason)
{
    ferry_result result;
    check_eq(ferry_promise_await(self->reading, -1, &result), 0);
    check_eq(result.error, error);
    ferry_tls_failure failure;
    check_eq(ferry_tls_get_failure(self->stream, &failure), 0);
    check_eq(failure.reason, reason);
    ferry_tls_info info;
    check_eq(ferry_tls_get_info(self->stream, &info), -EPROTO);
}

/* The stream agrees, to a version. */
static void check_agrees(meeting *self, const char *version)
{
    check(peer_shake_hands(self->other));
    peer_say(self->other, 1, 1);
    ferry_result result;
    check_eq(ferry_promise_await(self->reading, -1, &result), 0);
    check_eq(result.error, 0);
    ferry_tls_info info;
    check_eq(ferry_tls_get_info(self->stream, &info), 0);
    check(version == NULL || strcmp(info.version, version) == 0);
}

/* A peer's context. Its own rules are to be no reason to refuse. */
static SSL_CTX *make_context(const scene *s, bool is_server)
{
    SSL_CTX *context =
        is_server ? peer_server_context(s->own.certificate, s->own.secret) : peer_client_context();
    SSL_CTX_set_security_level(context, 0);
    (void)SSL_CTX_set_num_tickets(context, 0); /* they would come behind the handshake */
    return context;
}

/* ---- versions -------------------------------------------------------------------------------- */

/* Meets a peer that speaks this version and no other. */
static meeting *meet_version(scene *s, bool is_server, int version)
{
    SSL_CTX *context = make_context(s, !is_server);
    check(SSL_CTX_set_min_proto_version(context, version) == 1);
    check(SSL_CTX_set_max_proto_version(context, version) == 1);
    return meet(s, is_server, context);
}

PROMISE_EITHER(refusing, peer_of_tls_1_2_is_welcome)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    for (int is_server = 0; is_server < 2; is_server++) {
        AT_END(end_meeting) meeting *both = meet_version(s, is_server, TLS1_2_VERSION);
        check_agrees(both, "TLSv1.2");
    }
}

PROMISE_BOTH(refusing, peer_of_tls_1_1_is_refused_and_told_why)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    for (int is_server = 0; is_server < 2; is_server++) {
        AT_END(end_meeting) meeting *both = meet_version(s, is_server, TLS1_1_VERSION);
        check(!peer_shake_hands(both->other));
        check_refuses(both, -EPROTONOSUPPORT, FERRY_TLS_MISMATCH);
    }
}

/* ---- certificates ---------------------------------------------------------------------------- */

static void check_server_is_refused(scene *s, SSL_CTX *context, int error, ferry_tls_reason reason)
{
    AT_END(end_meeting) meeting *both = meet(s, false, context);
    (void)peer_shake_hands(both->other);
    check_refuses(both, error, reason);
}

PROMISE_EITHER(refusing, server_whose_key_or_hash_is_weak_is_refused)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    const identity_wish weak[] = {
        {.name = "DNS:localhost", .issuer = &s->authority, .rsa_bits = 1024},
        {.name = "DNS:localhost", .issuer = &s->authority, .digest = EVP_sha1()},
    };
    for (size_t i = 0; i < sizeof weak / sizeof weak[0]; i++) {
        AT_END(identity_free) identity own = identity_make(weak[i]);
        SSL_CTX *context = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_security_level(context, 0);
        check(SSL_CTX_use_certificate(context, own.certificate) == 1 &&
              SSL_CTX_use_PrivateKey(context, own.secret) == 1);
        check_server_is_refused(s, context, -EKEYREJECTED, FERRY_TLS_WEAK);
    }
}

PROMISE_EITHER(refusing, server_that_has_signed_its_certificate_itself_is_refused)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(identity_free) identity own = identity_of("DNS:localhost", NULL);
    check_server_is_refused(s, peer_server_context(own.certificate, own.secret), -ENOKEY,
                            FERRY_TLS_UNKNOWN_ISSUER);
}

/* Some 150 KB of certificates. */
static void show_many(SSL_CTX *context, X509 *certificate)
{
    for (int i = 0; i < 400; i++)
        check(SSL_CTX_add1_chain_cert(context, certificate) == 1);
}

PROMISE_BOTH(refusing, peer_that_shows_more_certificates_than_anybody_needs_is_refused)
{
    AT_END(identity_free) identity clients = authority_make("clients", NULL);
    AT_END(end_scene)
    scene *s = scene_open((scene_wish){
        .placement = placement,
        .server = {.client_certificate = FERRY_TLS_CLIENT_MUST_SHOW, .trust = trust_in(&clients)}});
    for (int is_server = 0; is_server < 2; is_server++) {
        SSL_CTX *context = make_context(s, !is_server);
        check(SSL_CTX_use_certificate(context, s->own.certificate) == 1 &&
              SSL_CTX_use_PrivateKey(context, s->own.secret) == 1);
        show_many(context, s->own.certificate);
        AT_END(end_meeting) meeting *both = meet(s, is_server, context);
        (void)peer_shake_hands(both->other);
        check_refuses(both, -EPROTO, FERRY_TLS_BROKEN);
    }
}

PROMISE_EITHER(refusing, certificate_may_have_many_names)
{
    enum { NAMES = 64 };
    char names[NAMES * 20] = "";
    for (int i = 0; i < NAMES; i++)
        sprintf(names + strlen(names), "%sDNS:n%d.test", i > 0 ? "," : "", i);
    AT_END(end_scene)
    scene *s = scene_open((scene_wish){.placement = placement, .own = {.name = names}});
    for (int i = 0; i < NAMES; i += 21) {
        char name[20];
        sprintf(name, "n%d.test", i);
        check_outcome(scene_connect(s, name), .error = 0);
    }
    check_outcome(scene_connect(s, "n64.test"), .error = -EKEYREJECTED);
}

/* ---- protocols inside TLS -------------------------------------------------------------------- */

PROMISE_BOTH(refusing, peers_with_no_protocol_in_common_do_not_talk)
{
    static const char *const server_speaks[] = {"h2"}, *const client_speaks[] = {"http/1.1"};
    AT_END(end_scene)
    scene *s =
        scene_open((scene_wish){.placement = placement,
                                .server = {.protocols = server_speaks, .protocol_count = 1},
                                .client = {.protocols = client_speaks, .protocol_count = 1}});
    AT_END(drop_promise) ferry_promise *promise = scene_connect(s, "localhost");
    ferry_result result;
    check_eq(ferry_promise_await(promise, -1, &result), 0);
    check_eq(result.error, -EPROTONOSUPPORT);
    ferry_tls_failure failure;
    check_eq(ferry_tls_get_connect_failure(promise, &failure), 0);
    check_eq(failure.reason, FERRY_TLS_MISMATCH);
    check_eq(failure.alert, SSL_AD_NO_APPLICATION_PROTOCOL);
    check_eq(scene_await_failure(s).reason, FERRY_TLS_MISMATCH);
}

/* ---- peers that do not speak TLS, or speak it oddly ------------------------------------------ */

PROMISE_BOTH(refusing, server_that_speaks_something_else_is_refused)
{
    static const char *const words[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail ESMTP\r\n",
                                        "\x15\x03\x01\x00\x02\x02\x28"};
    static const int errors[] = {-EPROTO, -EPROTO, -EPROTONOSUPPORT};
    static const ferry_tls_reason reasons[] = {FERRY_TLS_NOT_TLS, FERRY_TLS_NOT_TLS,
                                               FERRY_TLS_MISMATCH};
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        AT_END(end_meeting) meeting *both = meet(s, false, NULL);
        size_t size = i == 2 ? 7 : strlen(words[i]);
        check_eq(send(both->fd, words[i], size, MSG_NOSIGNAL), size);
        check_refuses(both, errors[i], reasons[i]);
    }
}

/* Takes a step, and gives what it has to say. */
static unsigned char *step_and_take(tls_peer *other, size_t *ret_size)
{
    (void)SSL_do_handshake(other->ssl);
    return peer_take(other, ret_size);
}

PROMISE_BOTH(refusing, peer_may_say_a_byte_at_a_time)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    for (int is_server = 0; is_server < 2; is_server++) {
        AT_END(end_meeting) meeting *both = meet(s, is_server, make_context(s, !is_server));
        while (!SSL_is_init_finished(both->other->ssl)) {
            size_t size;
            AT_END(free_memory) unsigned char *words = step_and_take(both->other, &size);
            for (size_t i = 0; i < size; i++)
                check(peer_send_raw(both->other, words + i, 1));
            check(SSL_is_init_finished(both->other->ssl) || peer_hear(both->other));
        }
        check_agrees(both, "TLSv1.3");
    }
}

/* Has a peer end TCP once it has said so much. @return whether it had no more to say. */
static bool end_after(scene *s, bool is_server, int version, size_t most)
{
    AT_END(end_meeting) meeting *both = meet_version(s, is_server, version);
    while (!SSL_is_init_finished(both->other->ssl)) {
        size_t size;
        AT_END(free_memory) unsigned char *words = step_and_take(both->other, &size);
        size_t count = size < most ? size : most;
        check(peer_send_raw(both->other, words, count));
        most -= count;
        if (count < size) {
            check_eq(shutdown(both->fd, SHUT_WR), 0);
            check_refuses(both, -ECONNABORTED, FERRY_TLS_CLOSED);
            return false;
        }
        check(SSL_is_init_finished(both->other->ssl) || peer_hear(both->other));
    }
    check_eq(shutdown(both->fd, SHUT_WR), 0);
    ferry_result result;
    check_eq(ferry_promise_await(both->reading, -1, &result), 0);
    check_eq(result.error, -ECONNABORTED); /* it has not said so in TLS */
    return true;
}

PROMISE_BOTH(refusing, peer_may_end_at_any_point_of_the_handshake)
{
    enum { STEP = 37 }; /* bytes: in each message, and in some headers */
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    for (int is_server = 0; is_server < 2; is_server++) {
        for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
            size_t most = 0;
            while (!end_after(s, is_server, version, most))
                most += STEP;
            check(most > 3 * STEP);
        }
    }
}

PROMISE_BOTH(refusing, peer_that_says_its_words_too_slowly_is_given_up)
{
    AT_END(end_scene)
    scene *s = scene_open((scene_wish){.placement = placement});
    pair both = tcp_pair();
    const ferry_tls_options tls = {.context = s->server, .handshake_timeout_ms = 50};
    AT_END(drop_stream)
    ferry_stream *server =
        stream_adopt_with(s->service, both.ours, (ferry_stream_options){.tls = &tls});
    AT_END(end_peer) tls_peer *client = peer_make(make_context(s, false), both.theirs, false);
    size_t size;
    AT_END(free_memory) unsigned char *words = step_and_take(client, &size);
    for (size_t i = 0; atomic_load(&s->failed_count) == 0; i++) { /* but never the last */
        check(i >= size - 1 || peer_send_raw(client, words + i, 1));
        (void)poll(NULL, 0, 1);
    }
    check_eq(scene_await_failure(s).reason, FERRY_TLS_LATE);
}
