/* SPDX-License-Identifier: MIT */
/* What follows a handshake, where that is about TLS itself: tests of streams run over it, too. */
#include "tests/tls/scene.h"
#include "tls/link.h"

#include <sys/stat.h>

PROMISE_BOTH(connection, keys_change_unseen_in_the_middle_of_traffic)
{
    if (kernel_encrypts()) /* then they do not change */
        return;
    ferry__tls_records_per_key = 3;
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
    scene_join(s, &client, &server);
    for (uint64_t i = 0; i < 5; i++) {
        check_content_passes(client, server, 2 * i, 200000);
        check_content_passes(server, client, 2 * i + 1, 100);
    }
}

/* Does something to a client's connection that TLS knows nothing of. */
typedef void interfere(int fd);

static void end_without_a_word(int fd)
{
    check_eq(shutdown(fd, SHUT_WR), 0);
}

static void forge_a_record(int fd)
{
    static const char forged[] = "\x17\x03\x03\x00\x20this is no record of that client..";
    check_eq(send(fd, forged, 37, MSG_NOSIGNAL), 37);
}

/* What was said before has arrived; a read then learns of it, and the failure tells. */
static void check_noticed_over(ferry_placement placement, bool is_tcp, interfere *how, int error,
                               ferry_tls_reason reason)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    pair both = any_pair(is_tcp);
    AT_END(close_fd) int duplicate = dup(both.theirs);
    AT_END(drop_stream) ferry_stream *server = scene_adopt_server(s, both.ours);
    AT_END(drop_stream) ferry_stream *client = scene_adopt_client(s, both.theirs);
    check_content_passes(client, server, 1, 1000);
    char byte;
    ferry_promise *reading = submit_read(server, (ferry_read){&byte, 1, FERRY_READ_TO_END});
    how(duplicate);
    check_eq(outcome(reading).error, error);
    ferry_tls_failure failure;
    check_eq(ferry_tls_get_failure(server, &failure), 0);
    check_eq(failure.reason, reason);
}

static void check_noticed(ferry_placement placement, interfere *how, int error,
                          ferry_tls_reason reason)
{
    check_noticed_over(placement, true, how, error, reason);
    check_noticed_over(placement, false, how, error, reason);
}

PROMISE_BOTH(connection, end_that_was_not_said_in_tls_is_econnaborted)
{
    check_noticed(placement, end_without_a_word, -ECONNABORTED, FERRY_TLS_CLOSED);
}

PROMISE_BOTH(connection, bytes_that_were_changed_end_reading_and_are_told)
{
    if (kernel_encrypts()) /* whatever is sent over that socket */
        return;
    check_noticed(placement, forge_a_record, -EBADMSG, FERRY_TLS_BROKEN);
}

PROMISE_BOTH(connection, end_that_was_said_is_an_end)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
    scene_join(s, &client, &server);
    check_outcome(submit_write(client, "x", 1), .error = 0);
    check_outcome(submit_shutdown(client), .error = 0);
    char data[4];
    ferry_promise *reading =
        submit_read(server, (ferry_read){data, sizeof data, FERRY_READ_TO_END});
    check_outcome(reading, .error = 0, .sent = 1);
    check_content_passes(server, client, 2, 1000); /* the other direction is open */
    ferry_tls_failure failure;
    check_eq(ferry_tls_get_failure(server, &failure), -ENODATA);
}

PROMISE_EITHER(connection, stream_that_is_encrypted_is_not_detached)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
    scene_join(s, &client, &server);
    ferry_promise *detached;
    check_eq(ferry_stream_detach(client, &detached), -EOPNOTSUPP);
    ferry_tls_info info;
    check_eq(ferry_tls_get_info(NULL, &info), -EINVAL);
    pair both = tcp_pair();
    AT_END(drop_stream) ferry_stream *plain = stream_adopt(s->service, both.ours);
    check_eq(ferry_tls_get_info(plain, &info), -ENODATA);
    close_theirs(&both);
}

PROMISE_EITHER(connection, secrets_are_logged_only_where_that_is_asked_for)
{
    char path[] = "/tmp/ferry-test-XXXXXX";
    close(mkstemp(path));
    unlink(path);
    AT_END(end_scene)
    scene *s =
        scene_open((scene_wish){.placement = placement, .server = {.unsafe_key_log_file = path}});
    check_outcome(scene_connect(s, "localhost"), .error = 0);
    FILE *file = fopen(path, "r");
    char line[512];
    struct stat status;
    check(file != NULL && fgets(line, sizeof line, file) != NULL);
    check(strstr(line, "TRAFFIC_SECRET ") != NULL && strchr(line, '\n') != NULL);
    check_eq(fstat(fileno(file), &status), 0);
    check_eq(status.st_mode & 0777, 0600);
    fclose(file);
    unlink(path);
}

PROMISE_EITHER(connection, certificate_that_a_list_revokes_is_refused)
{
    char path[] = "/tmp/ferry-test-XXXXXX";
    close(mkstemp(path));
    AT_END(identity_free) identity root = authority_make("root", NULL);
    AT_END(identity_free) identity own = identity_of("DNS:localhost", &root);
    const ferry_tls_certificate shown = identity_certificate(&own);
    for (int is_revoked = 0; is_revoked < 2; is_revoked++) {
        check_eq(truncate(path, 0), 0);
        identity_add_list(path, &root, is_revoked ? &own : NULL);
        AT_END(end_scene)
        scene *s = scene_open((scene_wish){
            .placement = placement,
            .server = {.certificates = &shown, .certificate_count = 1},
            .client = {
                .trust = {.ca = root.chain, .ca_length = strlen(root.chain), .crl_file = path}}});
        check_outcome(scene_connect(s, "localhost"), .error = is_revoked ? -EKEYREVOKED : 0);
    }
    unlink(path);
}

/* How a server is received whose chain is root, between, own: what lists say of these. */
typedef struct listed {
    bool has_own_list, is_between_revoked;
    int error;
} listed;

PROMISE_EITHER(connection, each_certificate_of_a_chain_is_looked_for_in_a_list_of_its_issuer)
{
    char path[] = "/tmp/ferry-test-XXXXXX";
    close(mkstemp(path));
    AT_END(identity_free) identity root = authority_make("root", NULL);
    AT_END(identity_free) identity between = authority_make("between", &root);
    const listed cases[] = {
        {true, false, 0}, {true, true, -EKEYREVOKED}, {false, false, -EKEYREVOKED}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_eq(truncate(path, 0), 0);
        identity_add_list(path, &root, cases[i].is_between_revoked ? &between : NULL);
        if (cases[i].has_own_list)
            identity_add_list(path, &between, NULL);
        const ferry_tls_trust trust = {
            .ca = root.chain, .ca_length = strlen(root.chain), .crl_file = path};
        AT_END(end_scene)
        scene *s = scene_open((scene_wish){
            .placement = placement, .own = {.issuer = &between}, .client = {.trust = trust}});
        check_outcome(scene_connect(s, "localhost"), .error = cases[i].error);
    }
    unlink(path);
}

/* ---- closing a client ------------------------------------------------------------------------ */

/*
 * A server that reads nothing yet, so that its tickets are with the client, unread, and most of the
 * client's bytes have not left.
 */
typedef struct unread_server {
    ferry_stream *client, *server;
} unread_server;

enum { UNREAD = 200000 };

/* @param service the client's. @return both; the client's bytes are with its kernel. */
static unread_server join_unread(scene *s, ferry_service *service)
{
    pair both = tcp_pair();
    const int room = UNREAD;
    check_eq(setsockopt(both.theirs, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    const ferry_tls_options tls = {.context = s->client, .name = "localhost"};
    const ferry_stream_options options = {.tls = &tls};
    unread_server self = {.server = scene_adopt_server(s, both.ours)};
    check_eq(ferry_stream_adopt(service, both.theirs, &options, &self.client), 0);
    check_outcome(submit_content(self.client, 1, UNREAD), .error = 0, .sent = UNREAD);
    return self;
}

/* All of it comes, and the end as TLS tells it. */
static void check_whole(ferry_stream *server)
{
    static unsigned char expected[UNREAD], got[UNREAD + 1];
    ferry_promise *reading = submit_read(server, (ferry_read){got, sizeof got, FERRY_READ_TO_END});
    check_outcome(reading, .error = 0, .sent = UNREAD);
    fill_content(expected, UNREAD, 1, 0);
    check(memcmp(expected, got, UNREAD) == 0);
}

PROMISE_BOTH(connection, client_that_is_closed_takes_nothing_from_a_server_that_has_sent_tickets)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    unread_server both = join_unread(s, s->service);
    AT_END(drop_stream) ferry_stream *server = both.server;
    ferry_promise *closed;
    check_eq(ferry_stream_close(both.client, &closed), 0);
    ferry_stream_unref(both.client);
    wait_until_asleep();
    check_whole(server);
    check_eq(ferry_stream_close(server, NULL), 0);
    check_outcome(closed, .error = 0);
}

/* The protocol above TLS does not know of tickets. */
PROMISE_BOTH(connection, client_that_expects_no_more_takes_nothing_from_such_a_server_either)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    unread_server both = join_unread(s, s->service);
    AT_END(drop_stream) ferry_stream *server = both.server;
    check_eq(ferry_stream_expect_no_more(both.client), 0);
    ferry_stream_unref(both.client);
    wait_until_asleep();
    check_whole(server);
}

PROMISE_BOTH(connection, service_that_is_destroyed_takes_nothing_from_its_clients_servers)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    ferry_service *other;
    check_eq(ferry_service_create(&(ferry_service_options){.placement = placement}, &other), 0);
    unread_server both = join_unread(s, other);
    AT_END(drop_stream) ferry_stream *server = both.server;
    wait_until_asleep();
    ferry_service_destroy(other);
    ferry_stream_unref(both.client);
    check_whole(server);
}

/* Closes a client whose server has ended TCP without a word. @return what that comes to. */
static int close_after_silence(ferry_placement placement, int64_t close_timeout_ms)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    pair both = tcp_pair();
    AT_END(close_fd) int duplicate = dup(both.ours);
    AT_END(drop_stream) ferry_stream *server = scene_adopt_server(s, both.ours);
    const ferry_tls_options tls = {.context = s->client, .name = "localhost"};
    const ferry_stream_options options = {.tls = &tls, .close_timeout_ms = close_timeout_ms};
    AT_END(drop_stream) ferry_stream *client = NULL;
    check_eq(ferry_stream_adopt(s->service, both.theirs, &options, &client), 0);
    check_content_passes(client, server, 1, 1000);
    end_without_a_word(duplicate);
    ferry_promise *closed;
    check_eq(ferry_stream_close(client, &closed), 0);
    return outcome(closed).error;
}

PROMISE_EITHER(connection, close_of_a_client_is_confirmed_only_where_that_is_asked_for)
{
    check_eq(close_after_silence(placement, 0), 0);
    check_eq(close_after_silence(placement, 60000), -ECONNABORTED);
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* Every recv(2) of ferry's (-Wl,--wrap). */
static atomic_uint receives;

WRAPPED(ssize_t, recv, (int fd, void *data, size_t size, int flags))
{
    atomic_fetch_add(&receives, 1);
    return __real_recv(fd, data, size, flags);
}

static size_t send_back(ferry_stream *stream, const void *data, size_t length, bool, void *)
{
    check_eq(ferry_stream_write(stream, data, length, NULL, NULL), 0);
    return length;
}

PROMISE_EITHER(connection, message_is_received_by_one_call)
{
    enum { MESSAGES = 200, OTHERS = 40 };
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    ferry_stream *client, *server;
    scene_join(s, &client, &server);
    set_reader(server, (ferry_reader){.on_read = send_back, .on_owner = true});
    for (unsigned i = 0; i < MESSAGES; i++) {
        char answer[4];
        ferry_promise *reading = begin_read(client, answer, 4);
        check_eq(ferry_stream_write(client, &i, sizeof i, NULL, NULL), 0);
        check_outcome(reading, .error = 0, .sent = 4);
        check(memcmp(answer, &i, sizeof i) == 0);
    }
    ferry_stream_unref(client);
    ferry_stream_unref(server);
    /* The client asks once more for each: its read may come before the answer has. */
    check(atomic_load(&receives) <= 3 * MESSAGES + OTHERS);
}

/* Each send(2) and sendmsg(2) of ferry's, since they were last forgotten: the flags, and how many
 * had more than a packet has. */
static atomic_uint sends_before_more, other_sends, sends_beyond_a_packet;

static void forget_sends(void)
{
    atomic_store(&sends_before_more, 0);
    atomic_store(&other_sends, 0);
    atomic_store(&sends_beyond_a_packet, 0);
}

static size_t bytes_of(const struct msghdr *message)
{
    size_t size = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        size += message->msg_iov[i].iov_len;
    return size;
}

static void note_send(size_t size, int flags)
{
    enum { PACKET = 65536 - 20 - 32 }; /* loopback's, without the headers of IP and TCP */
    atomic_fetch_add((flags & MSG_MORE) != 0 ? &sends_before_more : &other_sends, 1);
    atomic_fetch_add(&sends_beyond_a_packet, size > PACKET);
}

WRAPPED(ssize_t, send, (int fd, const void *data, size_t size, int flags))
{
    note_send(size, flags);
    return __real_send(fd, data, size, flags);
}

WRAPPED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags))
{
    note_send(bytes_of(message), flags);
    return __real_sendmsg(fd, message, flags);
}

PROMISE_EITHER(connection, each_piece_of_a_file_leaves_in_one_packet_of_loopback)
{
    enum { SIZE = 1 << 20 };
    if (kernel_encrypts()) /* then no pieces are made */
        return;
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL;
    AT_END(drop_stream) ferry_stream *server = NULL;
    scene_join(s, &client, &server);
    AT_END(file_remove) test_file file = file_make(SIZE, 1);
    char *got = malloc(SIZE);
    ferry_promise *reading = begin_read(client, got, SIZE);
    forget_sends();
    ferry_promise *sent = submit_file(server, (ferry_file){.fd = file.fd, .length = SIZE});
    check_outcome(sent, .error = 0, .sent = SIZE);
    check_outcome(reading, .error = 0, .sent = SIZE);
    check(digest(DIGEST_BEGIN, got, SIZE) == digest_content(DIGEST_BEGIN, 1, 0, SIZE));
    free(got);
    check_eq(atomic_load(&sends_beyond_a_packet), 0);
}

static size_t answer_and_close(ferry_stream *stream, const void *, size_t length, bool at_end,
                               void *)
{
    if (at_end)
        return length;
    forget_sends();
    check_eq(ferry_stream_write(stream, "answer", 6, NULL, NULL), 0);
    check_eq(ferry_stream_close(stream, NULL), 0);
    return length;
}

PROMISE_BOTH(connection, last_bytes_leave_in_one_packet_with_the_end)
{
    if (kernel_encrypts()) /* then nothing is held back: it would keep the record open */
        return;
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL;
    AT_END(drop_stream) ferry_stream *server = NULL;
    scene_join(s, &client, &server);
    const ferry_reader wanted = {.on_read = answer_and_close, .on_owner = true};
    check_eq(ferry_stream_set_reader(server, &wanted), 0);
    char answer[7];
    const ferry_read read = {.data = answer, .size = sizeof answer, .mode = FERRY_READ_TO_END};
    ferry_promise *reading;
    check_eq(ferry_stream_read(client, &read, NULL, &reading), 0);
    check_eq(ferry_stream_write(client, "request", 7, NULL, NULL), 0);
    check_outcome(reading, .error = 0, .sent = 6);
    check(memcmp(answer, "answer", 6) == 0);
    check_eq(atomic_load(&sends_before_more), 2); /* the answer; and the end, before the FIN */
    check_eq(atomic_load(&other_sends), 0);
}
