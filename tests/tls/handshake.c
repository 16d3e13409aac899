/* SPDX-License-Identifier: MIT */
/* What comes before a stream's first byte: both ends agree on keys, and on who they are. */
#include "tests/tls/scene.h"
#include "transport/reach/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/un.h>

/* ---- both ends ------------------------------------------------------------------------------- */

PROMISE_BOTH(handshake, stream_and_promise_come_after_it)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
    scene_join(s, &client, &server);
    ferry_tls_info info;
    check_eq(ferry_tls_get_info(server, &info), 0);
    check(strcmp(info.version, "TLSv1.3") == 0);
    check(strcmp(info.name, "localhost") == 0);
    check(info.certificate == NULL && info.subject == NULL);
    check_eq(ferry_tls_get_info(client, &info), 0);
    check(strstr(info.subject, "DNS:localhost") != NULL);
    check(info.certificate != NULL && info.certificate_length > 100);
    check_content_passes(client, server, 1, 300000);
    check_content_passes(server, client, 2, 300000);
    check_outcome(submit_close(client), .error = 0);
    check_outcome(submit_close(server), .error = 0);
}

PROMISE_BOTH(handshake, what_is_submitted_to_an_adopted_stream_waits_for_its_end)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    pair both = tcp_pair();
    AT_END(drop_stream)
    ferry_stream *server = scene_adopt_server(s, both.ours);
    ferry_tls_info info;
    check_eq(ferry_tls_get_info(server, &info), -EAGAIN);
    ferry_promise *first = submit_write(server, "hello", 5);
    AT_END(drop_stream)
    ferry_stream *client = scene_adopt_client(s, both.theirs);
    check_outcome(first, .error = 0, .sent = 5);
    char got[5];
    ferry_promise *reading = begin_read(client, got, 5);
    check_outcome(reading, .error = 0, .sent = 5);
    check(memcmp(got, "hello", 5) == 0);
    check_content_passes(client, server, 3, 100000);
}

PROMISE_BOTH(handshake, read_that_waits_for_its_end_is_served_then)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    pair both = tcp_pair();
    AT_END(drop_stream)
    ferry_stream *server = scene_adopt_server(s, both.ours);
    char got[5];
    ferry_promise *reading = begin_read(server, got, 5);
    wait_until_asleep(); /* the read has come, and the handshake has not */
    AT_END(drop_stream)
    ferry_stream *client = scene_adopt_client(s, both.theirs);
    check_outcome(submit_write(client, "hello", 5), .error = 0);
    check_outcome(reading, .error = 0, .sent = 5);
    check(memcmp(got, "hello", 5) == 0);
}

PROMISE_EITHER(handshake, protocol_that_both_speak_is_agreed_on)
{
    static const char *const server_speaks[] = {"h2", "http/1.1"};
    static const char *const client_speaks[] = {"other", "http/1.1"};
    AT_END(end_scene)
    scene *s =
        scene_open((scene_wish){.placement = placement,
                                .server = {.protocols = server_speaks, .protocol_count = 2},
                                .client = {.protocols = client_speaks, .protocol_count = 2}});
    AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
    scene_join(s, &client, &server);
    ferry_tls_info info;
    check_eq(ferry_tls_get_info(server, &info), 0);
    check(strcmp(info.protocol, "http/1.1") == 0);
    check_eq(ferry_tls_get_info(client, &info), 0);
    check(strcmp(info.protocol, "http/1.1") == 0);
}

/* ---- who the peer is ------------------------------------------------------------------------- */

/* Connects, which fails. @return why, as the client sees it. */
static ferry_tls_failure fail_to_connect(scene *s, const char *name, int error)
{
    AT_END(drop_promise) ferry_promise *promise = scene_connect(s, name);
    ferry_result result;
    check_eq(ferry_promise_await(promise, -1, &result), 0);
    check_eq(result.error, error);
    check_eq(result.phase, FERRY_PHASE_SECURE);
    ferry_stream *stream;
    check_eq(ferry_promise_get_stream(promise, &stream), -ENODATA);
    ferry_tls_failure failure;
    check_eq(ferry_tls_get_connect_failure(promise, &failure), 0);
    return failure;
}

typedef struct bad_identity {
    identity_wish own;
    const char *name;
    int error;
    ferry_tls_reason reason;
} bad_identity;

PROMISE_BOTH(handshake, server_that_is_not_who_it_should_be_is_refused)
{
    AT_END(identity_free) identity stranger = authority_make("stranger", NULL);
    const bad_identity cases[] = {
        {{.begins_in = -9, .ends_in = -2}, "localhost", -EKEYEXPIRED, FERRY_TLS_EXPIRED},
        {{.begins_in = 2, .ends_in = 9}, "localhost", -EKEYREJECTED, FERRY_TLS_NOT_YET_VALID},
        {{.issuer = &stranger}, "localhost", -ENOKEY, FERRY_TLS_UNKNOWN_ISSUER},
        {{.name = "DNS:other"}, "localhost", -EKEYREJECTED, FERRY_TLS_WRONG_NAME},
        {{.name = "DNS:localhost"}, "127.0.0.1", -EKEYREJECTED, FERRY_TLS_WRONG_NAME},
        {{.name = "IP:127.0.0.2"}, NULL, -EKEYREJECTED, FERRY_TLS_WRONG_NAME},
        {{.name = "DNS:*.example.org"}, "example.org", -EKEYREJECTED, FERRY_TLS_WRONG_NAME},
        {{.name = "DNS:*.example.org"}, "a.b.example.org", -EKEYREJECTED, FERRY_TLS_WRONG_NAME},
        {{.name = "DNS:w*.example.org"}, "www.example.org", -EKEYREJECTED, FERRY_TLS_WRONG_NAME},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        AT_END(end_scene)
        scene *s = scene_open((scene_wish){.placement = placement, .own = cases[i].own});
        ferry_tls_failure failure = fail_to_connect(s, cases[i].name, cases[i].error);
        check_eq(failure.reason, cases[i].reason);
        check_eq(failure.alert, -1);
        check(failure.text[0] != '\0');
        failure = scene_await_failure(s);
        check(failure.alert > 0); /* the client has said why */
        check_eq(atomic_load(&s->accepted_count), 0);
    }
}

PROMISE_EITHER(handshake, name_may_be_a_wildcards_or_an_address)
{
    static const char *const good[][2] = {{"DNS:*.example.org", "www.example.org"},
                                          {"DNS:*.example.org", "WWW.Example.ORG."},
                                          {"IP:127.0.0.1", NULL},
                                          {"IP:127.0.0.1", "127.0.0.1"},
                                          {"IP:::1", "::1"}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        AT_END(end_scene)
        scene *s = scene_open((scene_wish){.placement = placement, .own = {.name = good[i][0]}});
        check_outcome(scene_connect(s, good[i][1]), .error = 0, .phase = FERRY_PHASE_DONE);
    }
}

PROMISE_EITHER(handshake, chain_must_be_whole)
{
    AT_END(identity_free) identity root = authority_make("root", NULL);
    AT_END(identity_free) identity between = authority_make("between", &root);
    for (int is_left_out = 0; is_left_out < 2; is_left_out++) {
        AT_END(end_scene)
        scene *s =
            scene_open((scene_wish){.placement = placement,
                                    .own = {.issuer = &between, .leaves_chain_out = is_left_out},
                                    .client = {.trust = trust_in(&root)}});
        if (is_left_out)
            check_eq(fail_to_connect(s, "localhost", -ENOKEY).reason, FERRY_TLS_UNKNOWN_ISSUER);
        else
            check_outcome(scene_connect(s, "localhost"), .error = 0);
    }
}

PROMISE_EITHER(handshake, anybody_is_taken_only_where_an_unsafe_option_says_so)
{
    const identity_wish expired = {.begins_in = -9, .ends_in = -2};
    AT_END(end_scene)
    scene *s = scene_open((scene_wish){
        .placement = placement, .own = expired, .client = {.unsafe_any_certificate = true}});
    check_outcome(scene_connect(s, "other"), .error = 0);
    AT_END(end_scene)
    scene *t =
        scene_open((scene_wish){.placement = placement, .client = {.unsafe_any_name = true}});
    check_outcome(scene_connect(t, "other"), .error = 0);
    AT_END(end_scene)
    scene *u = scene_open(
        (scene_wish){.placement = placement, .own = expired, .client = {.unsafe_any_name = true}});
    check_eq(fail_to_connect(u, "localhost", -EKEYEXPIRED).reason, FERRY_TLS_EXPIRED);
}

/* ---- client certificates --------------------------------------------------------------------- */

PROMISE_BOTH(handshake, client_that_must_show_a_certificate_does_or_is_refused)
{
    AT_END(identity_free) identity clients = authority_make("clients", NULL);
    AT_END(identity_free) identity good = identity_of("DNS:alice", &clients);
    AT_END(identity_free) identity bad = identity_of("DNS:mallory", NULL);
    const ferry_tls_certificate good_shown = identity_certificate(&good);
    const ferry_tls_certificate bad_shown = identity_certificate(&bad);
    const struct {
        const ferry_tls_certificate *shown;
        ferry_tls_reason reason;
    } cases[] = {{&good_shown, FERRY_TLS_NOTHING},
                 {NULL, FERRY_TLS_NO_CERTIFICATE},
                 {&bad_shown, FERRY_TLS_UNKNOWN_ISSUER}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        AT_END(end_scene)
        scene *s =
            scene_open((scene_wish){.placement = placement,
                                    .server = {.client_certificate = FERRY_TLS_CLIENT_MUST_SHOW,
                                               .trust = trust_in(&clients)},
                                    .client = {.certificate = cases[i].shown}});
        if (cases[i].reason != FERRY_TLS_NOTHING) {
            (void)outcome(scene_connect(s, "localhost")); /* with TLS 1.3 it hears of it later */
            check_eq(scene_await_failure(s).reason, cases[i].reason);
            check_eq(atomic_load(&s->accepted_count), 0);
            continue;
        }
        AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
        scene_join(s, &client, &server);
        ferry_tls_info info;
        check_eq(ferry_tls_get_info(server, &info), 0);
        check(strstr(info.subject, "alice") != NULL);
    }
}

/* ---- several names, sessions, reloads -------------------------------------------------------- */

PROMISE_EITHER(handshake, client_gets_the_certificate_of_the_name_it_asks_for)
{
    AT_END(identity_free) identity root = authority_make("root", NULL);
    AT_END(identity_free) identity one = identity_of("DNS:one.test", &root);
    AT_END(identity_free) identity two = identity_of("DNS:two.test", &root);
    const ferry_tls_certificate both[] = {identity_certificate(&one), identity_certificate(&two)};
    for (int refuses = 0; refuses < 2; refuses++) {
        AT_END(end_scene)
        scene *s = scene_open((scene_wish){.placement = placement,
                                           .server = {.certificates = both,
                                                      .certificate_count = 2,
                                                      .refuses_unknown_names = refuses},
                                           .client = {.trust = trust_in(&root)}});
        check_outcome(scene_connect(s, "one.test"), .error = 0);
        check_outcome(scene_connect(s, "two.test"), .error = 0);
        ferry_tls_failure failure =
            fail_to_connect(s, "three.test", refuses ? -EACCES : -EKEYREJECTED);
        check_eq(failure.reason, refuses ? FERRY_TLS_ALERT : FERRY_TLS_WRONG_NAME);
        if (refuses)
            check_eq(scene_await_failure(s).reason, FERRY_TLS_UNKNOWN_NAME);
    }
}

/* Connects, has a byte come back, and closes. @return whether the session was one of before. */
static bool is_resumed(scene *s)
{
    AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
    scene_join(s, &client, &server);
    check_content_passes(server, client, 4, 1); /* with it came the ticket */
    ferry_tls_info info;
    check_eq(ferry_tls_get_info(client, &info), 0);
    return info.is_resumed;
}

PROMISE_BOTH(handshake, client_resumes_its_session_with_the_same_name)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    check(!is_resumed(s));
    check(is_resumed(s));
    check(is_resumed(s));
}

PROMISE_EITHER(handshake, reload_takes_new_files_and_keeps_the_old_ones_if_those_are_bad)
{
    char directory[] = "/tmp/ferry-test-XXXXXX", chain[64], key[64];
    check(mkdtemp(directory) != NULL);
    snprintf(chain, sizeof chain, "%s/chain", directory);
    snprintf(key, sizeof key, "%s/key", directory);
    AT_END(identity_free) identity root = authority_make("root", NULL);
    AT_END(identity_free) identity one = identity_of("DNS:one.test", &root);
    AT_END(identity_free) identity two = identity_of("DNS:two.test", &root);
    write_file(chain, one.chain);
    write_file(key, one.key);
    const ferry_tls_certificate files = {.chain_file = chain, .key_file = key};
    AT_END(end_scene)
    scene *s = scene_open((scene_wish){.placement = placement,
                                       .server = {.certificates = &files, .certificate_count = 1},
                                       .client = {.trust = trust_in(&root)}});
    check_outcome(scene_connect(s, "one.test"), .error = 0);
    write_file(chain, two.chain); /* whose key is another */
    ferry_tls_failure failure;
    check_eq(ferry_tls_context_reload(s->server, &failure), -EKEYREJECTED);
    check_eq(failure.reason, FERRY_TLS_INPUT);
    check(strstr(failure.text, key) != NULL);
    check_outcome(scene_connect(s, "one.test"), .error = 0);
    write_file(key, two.key);
    check_eq(ferry_tls_context_reload(s->server, &failure), 0);
    check_eq(failure.reason, FERRY_TLS_NOTHING);
    check_outcome(scene_connect(s, "two.test"), .error = 0);
    check_eq(ferry_tls_context_reload(s->client, &failure), -EOPNOTSUPP); /* it was in memory */
    unlink(chain);
    unlink(key);
    rmdir(directory);
}

PROMISE_BOTH(handshake, session_that_was_verified_before_a_reload_is_not_resumed)
{
    char path[] = "/tmp/ferry-test-XXXXXX";
    close(mkstemp(path));
    AT_END(identity_free) identity root = authority_make("root", NULL);
    write_file(path, root.chain);
    AT_END(end_scene)
    scene *s = scene_open((scene_wish){
        .placement = placement, .own = {.issuer = &root}, .client = {.trust = {.ca_file = path}}});
    AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
    scene_join(s, &client, &server);
    check_eq(ferry_tls_context_reload(s->client, NULL), 0);
    check_content_passes(server, client, 7, 1); /* only now it reads its ticket */
    check(!is_resumed(s));
    check(is_resumed(s));
    unlink(path);
}

/* ---- peers that do not play along ------------------------------------------------------------ */

/* Connects to the scene without TLS. @return the fd. */
static int connect_plain(const scene *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons((uint16_t)atoi(strrchr(s->address, ':') + 1));
    check_eq(inet_pton(AF_INET, "127.0.0.1", &address.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

PROMISE_BOTH(handshake, peer_that_speaks_something_else_is_told_and_refused)
{
    static const struct {
        const char *says;
        ferry_tls_reason reason;
        bool has_alert;
    } cases[] = {{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", FERRY_TLS_NOT_TLS, false},
                 {"SSH-2.0-other_1.0\r\n", FERRY_TLS_NOT_TLS, false},
                 {"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", FERRY_TLS_BROKEN, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
        int fd = connect_plain(s);
        size_t size = i == 2 ? 10 : strlen(cases[i].says);
        check_eq(send(fd, cases[i].says, size, MSG_NOSIGNAL), size);
        check_eq(scene_await_failure(s).reason, cases[i].reason);
        unsigned char alert[8];
        ssize_t got = recv(fd, alert, sizeof alert, MSG_WAITALL);
        check(cases[i].has_alert ? got > 0 && alert[0] == 21 : got == 0);
        close(fd);
        check_eq(atomic_load(&s->accepted_count), 0);
    }
}

PROMISE_EITHER(handshake, peer_that_speaks_http_gets_the_answer_that_was_given)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nhttps\n";
    AT_END(end_scene)
    scene *s = scene_open((scene_wish){
        .placement = placement,
        .server = {.answer_to_http = answer, .answer_to_http_length = sizeof answer - 1}});
    int fd = connect_plain(s);
    const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    check_eq(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
    char got[sizeof answer];
    check_eq(recv(fd, got, sizeof got, MSG_WAITALL), sizeof answer - 1);
    check(memcmp(got, answer, sizeof answer - 1) == 0);
    close(fd);
    check_eq(scene_await_failure(s).reason, FERRY_TLS_NOT_TLS);
}

PROMISE_BOTH(handshake, peer_that_says_nothing_is_given_up_in_time)
{
    AT_END(end_scene)
    scene *s = scene_open((scene_wish){.placement = placement, .handshake_timeout_ms = 30});
    int fd = connect_plain(s);
    check_eq(scene_await_failure(s).reason, FERRY_TLS_LATE);
    char byte;
    check(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
}

PROMISE_BOTH(handshake, peer_that_ends_in_the_middle_is_noticed)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    int fd = connect_plain(s);
    check_eq(send(fd, "\x16\x03\x01", 3, MSG_NOSIGNAL), 3);
    check_eq(shutdown(fd, SHUT_WR), 0);
    check_eq(scene_await_failure(s).reason, FERRY_TLS_CLOSED);
    close(fd);
}

static ferry_tls_options silent_peers; /* what is to be encrypted with them */

/* Has each connection of a listener encrypted. */
static int have_it_encrypted(ferry_listener *listener, int fd, ferry_stream_options *options,
                             void *arg)
{
    (void)listener, (void)fd, (void)arg;
    options->tls = &silent_peers;
    return 0;
}

static void expect_nobody(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    (void)listener, (void)stream, (void)arg;
    check_eq(0, 1); /* nobody speaks TLS */
}

/* A listener beside the scene's, where only on_accept says that connections are to be encrypted. */
static void listen_to_be_encrypted(scene *s)
{
    ferry_listener_unref(s->listener);
    silent_peers =
        (ferry_tls_options){.context = s->server, .handshake_timeout_ms = 60 * 60 * 1000};
    const ferry_listen_options options = {
        .on_stream = expect_nobody, .on_owner = true, .on_accept = have_it_encrypted};
    check_eq(ferry_listen(s->service, "127.0.0.1:0", &options, &s->listener), 0);
    check(ferry_listener_get_address(s->listener, s->address, sizeof s->address) > 0);
}

static unsigned count_streams(const scene *s)
{
    return (unsigned)service_status(s->service).streams;
}

/* Peers that say nothing: some more than a listener has handshakes with at once. */
static void check_handshakes_are_bounded(scene *s)
{
    enum { MOST = FERRY__MOST_HANDSHAKES, CLIENTS = MOST + 20 };
    static int clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = connect_plain(s);
    while (count_streams(s) < MOST) /* a hang is the harness's to notice */
        sched_yield();
    wait_until_asleep();
    check_eq(count_streams(s), MOST);
    for (unsigned i = 0; i < MOST; i++) /* the others get their places */
        close(clients[i]);
    while (count_streams(s) != CLIENTS - MOST)
        sched_yield();
    for (unsigned i = MOST; i < CLIENTS; i++)
        close(clients[i]);
}

PROMISE(handshake, listener_has_so_many_handshakes_at_once_and_no_more)
{
    struct rlimit limit;
    check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int is_by_on_accept = 0; is_by_on_accept < 2; is_by_on_accept++) {
        AT_END(end_scene)
        scene *s = scene_open((scene_wish){.placement = FERRY_PLACEMENT_SHARED,
                                           .handshake_timeout_ms = 60 * 60 * 1000});
        if (is_by_on_accept)
            listen_to_be_encrypted(s);
        check_handshakes_are_bounded(s);
    }
}

/* A listening socket whose connections nobody takes. */
static int listen_deaf(char address[64])
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(bind(fd, (struct sockaddr *)&name, size), 0);
    check_eq(listen(fd, 16), 0);
    check_eq(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    snprintf(address, 64, "127.0.0.1:%u", ntohs(name.sin_port));
    return fd;
}

PROMISE_BOTH(handshake, connect_is_called_off_or_late_in_the_middle_of_it)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(close_fd) int deaf = listen_deaf(s->address);
    const ferry_tls_options tls = {.context = s->client, .name = "localhost"};
    const ferry_stream_options stream = {.tls = &tls};
    const ferry_connect_options hurried = {.stream = &stream, .timeout_ms = 30};
    ferry_promise *late;
    check_eq(ferry_connect(s->service, s->address, &hurried, &late), 0);
    check_outcome(late, .error = -ETIMEDOUT, .phase = FERRY_PHASE_SECURE);
    ferry_promise *cancelled = scene_connect(s, "localhost");
    wait_readable(deaf);
    int fd = accept(deaf, NULL, NULL);
    wait_readable(fd); /* it has said hello */
    close(fd);
    fd = accept(deaf, NULL, NULL);
    wait_readable(fd);
    check_eq(ferry_promise_cancel(cancelled), 0);
    check_outcome(cancelled, .error = -ECANCELED, .phase = FERRY_PHASE_SECURE);
    ferry_promise *left = scene_connect(s, "localhost");
    close(fd);
    fd = accept(deaf, NULL, NULL);
    wait_readable(fd);
    close(fd);
    ferry_service_destroy(s->service); /* or the end that was seen */
    s->service = NULL;
    int error = outcome(left).error;
    check(error == -ECANCELED || error == -ECONNABORTED || error == -ECONNRESET);
}

PROMISE_BOTH(handshake, close_in_the_middle_of_it_is_the_cause_of_what_it_calls_off)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    pair both = tcp_pair();
    AT_END(drop_stream)
    ferry_stream *stream = scene_adopt_server(s, both.ours);
    char byte;
    ferry_promise *reading = begin_read(stream, &byte, 1);
    wait_until_asleep();
    check_outcome(submit_close(stream), .error = 0);
    check_outcome(reading, .error = -ECANCELED, .cause = FERRY_CAUSE_CLOSE);
    check_eq(stream_status(stream).error, 0);
    close_theirs(&both);
}

PROMISE_BOTH(handshake, service_and_listener_end_in_the_middle_of_it)
{
    for (int how = 0; how < 3; how++) {
        AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
        int fds[4];
        for (int i = 0; i < 4; i++) {
            fds[i] = connect_plain(s);
            check_eq(send(fds[i], "\x16\x03\x01\x02", 4, MSG_NOSIGNAL), 4);
        }
        if (how == 1)
            check_eq(ferry_service_stop(s->service, 10000), 0);
        if (how == 2) {
            ferry_promise *closed;
            check_eq(ferry_listener_close(s->listener, &closed), 0);
            check_outcome(closed, .error = 0);
        }
        for (int i = 0; i < 4 && how != 0; i++)
            close(fds[i]);
        ferry_service_destroy(s->service);
        s->service = NULL;
        for (int i = 0; i < 4 && how == 0; i++)
            close(fds[i]);
        check_eq(atomic_load(&s->accepted_count), 0);
    }
}

/* ---- a connection that has spoken before ----------------------------------------------------- */

PROMISE_BOTH(handshake, connection_that_has_spoken_plainly_goes_on_encrypted)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    pair both = tcp_pair();
    ferry_stream *plain = stream_adopt(s->service, both.ours);
    check_eq(send(both.theirs, "STARTTLS\n", 9, MSG_NOSIGNAL), 9);
    char line[64];
    ferry_promise *reading =
        submit_read(plain, (ferry_read){line, sizeof line, FERRY_READ_UNTIL, "\n", 1});
    ferry_promise *detached;
    check_outcome(reading, .error = 0, .sent = 9);
    /* The client does not wait: its first words may have been read with the line. */
    AT_END(drop_stream)
    ferry_stream *client = scene_adopt_client(s, both.theirs);
    check_eq(ferry_stream_detach(plain, &detached), 0);
    check_eq(ferry_promise_await(detached, -1, NULL), 0);
    const void *unread;
    size_t length;
    int fd = ferry_promise_get_fd(detached);
    check(fd >= 0);
    check_eq(ferry_promise_get_unread(detached, &unread, &length), 0);
    const ferry_tls_options as_server = {
        .context = s->server, .received = unread, .received_length = length};
    AT_END(drop_stream)
    ferry_stream *server =
        stream_adopt_with(s->service, fd, (ferry_stream_options){.tls = &as_server});
    (void)ferry_promise_unref(detached);
    (void)ferry_stream_unref(plain);
    check_content_passes(client, server, 5, 5000);
    check_content_passes(server, client, 6, 5000);
}

/* ---- bad input ------------------------------------------------------------------------------- */

PROMISE_EITHER(handshake, options_out_of_range_are_refused_and_take_nothing)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    pair both = tcp_pair();
    const ferry_tls_options cases[] = {
        {.context = NULL},
        {.context = s->server, .handshake_timeout_ms = -1},
        {.context = s->server, .name = "localhost"},
        {.context = s->client},
        {.context = s->client, .name = ""},
        {.context = s->client, .name = "localhost", .received_length = 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const ferry_stream_options options = {.tls = &cases[i]};
        ferry_stream *stream;
        check_eq(ferry_stream_adopt(s->service, both.ours, &options, &stream), -EINVAL);
    }
    close_pair(&both);
    const ferry_tls_options tls = {.context = s->server};
    const ferry_stream_options options = {.tls = &tls};
    ferry_stream *stream;
    pair pipes = pipe_pair(), packets = unix_pair(SOCK_SEQPACKET);
    check_eq(ferry_stream_adopt(s->service, pipes.ours, &options, &stream), -ENOTSOCK);
    check_eq(ferry_stream_adopt(s->service, packets.ours, &options, &stream), -EPROTONOSUPPORT);
    close_pair(&pipes);
    close_pair(&packets);
}

static void must_not_be_told(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    (void)listener, (void)stream, (void)arg;
    check_eq(0, 1); /* nobody connects */
}

/* @return what listening with these options comes to. */
static int listen_for(scene *s, const char *address, const ferry_tls_options *tls)
{
    const ferry_stream_options stream = {.tls = tls};
    const ferry_listen_options options = {
        .on_stream = must_not_be_told, .on_owner = true, .stream = &stream};
    AT_END(drop_listener) ferry_listener *listener = NULL;
    return ferry_listen(s->service, address, &options, &listener);
}

PROMISE_EITHER(handshake, what_no_accepted_connection_can_be_is_refused_when_listening)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    const ferry_tls_options client = {.context = s->client, .name = "localhost"};
    const ferry_tls_options begun = {.context = s->server, .received = "x", .received_length = 1};
    const ferry_tls_options server = {.context = s->server};
    check_eq(listen_for(s, "127.0.0.1:0", &client), -EINVAL);
    check_eq(listen_for(s, "127.0.0.1:0", &begun), -EINVAL);
    check_eq(listen_for(s, "127.0.0.1:0", &server), 0);
    AT_END(close_fd) int packets = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const struct sockaddr_un nameless = {.sun_family = AF_UNIX};
    check_eq(bind(packets, (const struct sockaddr *)&nameless, sizeof(sa_family_t)), 0);
    check_eq(listen(packets, 1), 0);
    char address[32];
    snprintf(address, sizeof address, "fd:%d", packets);
    check_eq(listen_for(s, address, &server), -EINVAL);
}

PROMISE(handshake, certificates_that_are_none_are_refused_with_their_names)
{
    AT_END(identity_free)
    identity weak = identity_make((identity_wish){.name = "DNS:weak", .rsa_bits = 1024});
    const ferry_tls_certificate bad[] = {
        {.chain_file = "/nonexistent"},
        {.chain = "nothing", .chain_length = 7},
        identity_certificate(&weak),
    };
    const int errors[] = {-ENOENT, -EKEYREJECTED, -EKEYREJECTED};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const ferry_tls_server_options options = {.certificates = &bad[i], .certificate_count = 1};
        ferry_tls_failure failure;
        ferry_tls_context *context = NULL;
        check_eq(ferry_tls_server_create(&options, &failure, &context), errors[i]);
        check(context == NULL && failure.reason == FERRY_TLS_INPUT);
        check(i > 0 || strstr(failure.text, "/nonexistent") != NULL);
    }
    /* A key is nobody who could be trusted. */
    const ferry_tls_certificate key = identity_certificate(&weak);
    const ferry_tls_client_options trusting = {
        .trust = {.ca = key.key, .ca_length = key.key_length}};
    ferry_tls_failure failure;
    ferry_tls_context *context;
    check_eq(ferry_tls_client_create(&trusting, &failure, &context), -EKEYREJECTED);
    check(strstr(failure.text, "no certificate") != NULL);
    const ferry_tls_server_options none = {0};
    check_eq(ferry_tls_server_create(&none, NULL, &context), -EINVAL);
    check_eq(ferry_tls_server_create(NULL, NULL, &context), -EINVAL);
}

PROMISE(handshake, each_reason_has_a_sentence_of_its_own)
{
    const char *unknown = ferry_tls_reason_message((ferry_tls_reason)(FERRY_TLS_LOCAL + 1));
    check(strcmp(unknown, "unknown reason") == 0);
    check(ferry_tls_reason_message((ferry_tls_reason)-1) == unknown);
    for (int i = 0; i <= FERRY_TLS_LOCAL; i++) {
        check(ferry_tls_reason_message((ferry_tls_reason)i) != unknown);
        for (int j = 0; j < i; j++)
            check(strcmp(ferry_tls_reason_message((ferry_tls_reason)i),
                         ferry_tls_reason_message((ferry_tls_reason)j)) != 0);
    }
}
