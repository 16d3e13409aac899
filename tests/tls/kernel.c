/* SPDX-License-Identifier: MIT */
/*
 * Streams whose bytes the kernel encrypts. Where this kernel has no kernel TLS only those tests run
 * that are about going on without it; tools/kernel-tls runs all.
 */
#include "tests/tls/scene.h"
#include "tls/link.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>

/* Whether this machine's kernel has it. */
static bool has_kernel_tls(void)
{
    pair both = tcp_pair();
    bool has = setsockopt(both.ours, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0;
    close_pair(&both);
    check(has || !kernel_encrypts()); /* where all is tested, all can be */
    return has;
}

#define ONLY_WITH_KERNEL_TLS()                                                                     \
    do {                                                                                           \
        if (!has_kernel_tls()) {                                                                   \
            printf("skipped: %s: this kernel has no kernel TLS\n", __func__);                      \
            return;                                                                                \
        }                                                                                          \
    } while (0)

static scene *open_scene(ferry_placement placement)
{
    return scene_open((scene_wish){.placement = placement,
                                   .server = {.kernel_encrypts = true},
                                   .client = {.kernel_encrypts = true}});
}

static ferry_tls_info info_of(ferry_stream *stream)
{
    ferry_tls_info info;
    while (ferry_tls_get_info(stream, &info) == -EAGAIN)
        sched_yield();
    check_eq(ferry_tls_get_info(stream, &info), 0);
    return info;
}

/* ---- a peer of OpenSSL's --------------------------------------------------------------------- */

/* Speaks with a stream that is a server, over a blocking socket of its own. */
typedef struct peer {
    SSL_CTX *context;
    SSL *ssl;
    int fd;
    unsigned records; /* that have come */
} peer;

static void count_record(int is_sent, int version, int type, const void *data, size_t size,
                         SSL *ssl, void *arg)
{
    (void)version, (void)data, (void)size, (void)ssl;
    peer *self = arg;
    if (!is_sent && type == SSL3_RT_HEADER)
        self->records++;
}

/* Takes fd. @param version OpenSSL's; 0: any. @param ciphers of TLS 1.3; NULL: any. */
static peer *peer_make(int fd, int version, const char *ciphers)
{
    peer *self = calloc(1, sizeof *self);
    self->fd = fd;
    self->context = SSL_CTX_new(TLS_client_method());
    check(SSL_CTX_set_max_proto_version(self->context, version) == 1);
    check(ciphers == NULL || SSL_CTX_set_ciphersuites(self->context, ciphers) == 1);
    self->ssl = SSL_new(self->context);
    check(SSL_set_fd(self->ssl, fd) == 1);
    SSL_set_msg_callback(self->ssl, count_record);
    SSL_set_msg_callback_arg(self->ssl, self);
    check_eq(SSL_connect(self->ssl), 1);
    return self;
}

static void peer_free(peer *self)
{
    SSL_free(self->ssl);
    SSL_CTX_free(self->context);
    close(self->fd);
    free(self);
}
PUT_AWAY(free_peer, peer, peer_free)

static void peer_say(peer *self, const char *text)
{
    check_eq(SSL_write(self->ssl, text, (int)strlen(text)), (int)strlen(text));
}

/* So many bytes come, and are those. */
static void peer_expect(peer *self, const void *expected, size_t size)
{
    unsigned char *got = malloc(size + 1);
    for (size_t done = 0; done < size;) {
        int count = SSL_read(self->ssl, got + done, (int)(size - done));
        check(count > 0);
        done += (size_t)count;
    }
    check(memcmp(got, expected, size) == 0);
    free(got);
}

static void peer_expect_content(peer *self, uint64_t seed, uint64_t from, size_t size)
{
    unsigned char *expected = malloc(size + 1);
    fill_content(expected, size, seed, from);
    peer_expect(self, expected, size);
    free(expected);
}

/* The end comes, as TLS tells it. */
static void peer_expect_end(peer *self)
{
    char byte;
    int count = SSL_read(self->ssl, &byte, 1);
    check_eq(SSL_get_error(self->ssl, count), SSL_ERROR_ZERO_RETURN);
}

/* A stream that is a server, and a peer of it. */
typedef struct stand {
    scene *scene;
    ferry_stream *stream;
    peer *peer;
} stand;

/* @param faults or NULL. */
static stand stand_make(ferry_placement placement, pair both, ferry_faults *faults)
{
    stand self = {.scene = open_scene(placement)};
    const ferry_tls_options tls = {.context = self.scene->server};
    const ferry_stream_options options = {
        .tls = &tls, .framing = FERRY_FRAMING_CONTINUE, .faults = faults};
    self.stream = stream_adopt_with(self.scene->service, both.ours, options);
    self.peer = peer_make(both.theirs, 0, NULL);
    return self;
}

/* One that the kernel encrypts for. */
static stand stand_open(ferry_placement placement)
{
    stand self = stand_make(placement, tcp_pair(), NULL);
    check(info_of(self.stream).kernel_encrypts);
    return self;
}

static void stand_end(const stand *self)
{
    (void)ferry_stream_unref(self->stream);
    scene_end(self->scene);
    peer_free(self->peer);
}

/* ---- going on without it --------------------------------------------------------------------- */

PROMISE_BOTH(kernel, content_passes_whether_the_kernel_can_encrypt_or_not)
{
    AT_END(end_scene) scene *s = open_scene(placement);
    AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
    scene_join(s, &client, &server);
    check_eq(info_of(client).kernel_encrypts, has_kernel_tls());
    check_eq(info_of(server).kernel_encrypts, has_kernel_tls());
    for (uint64_t i = 0; i < 5; i++) {
        check_content_passes(client, server, 2 * i, 200000);
        check_content_passes(server, client, 2 * i + 1, 100);
    }
}

PROMISE_EITHER(kernel, kernel_does_not_encrypt_unless_that_is_asked_for)
{
    if (kernel_encrypts()) /* this run asks for it everywhere */
        return;
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
    scene_join(s, &client, &server);
    check(!info_of(client).kernel_encrypts && !info_of(server).kernel_encrypts);
}

/* A peer's wish is one that the kernel has no part in. */
static void check_without(ferry_placement placement, pair both, int version, const char *ciphers)
{
    AT_END(end_scene) scene *s = open_scene(placement);
    AT_END(drop_stream) ferry_stream *stream = scene_adopt_server(s, both.ours);
    AT_END(free_peer) peer *p = peer_make(both.theirs, version, ciphers);
    check(!info_of(stream).kernel_encrypts);
    ferry_promise *sent = submit_content(stream, 1, 100000);
    peer_expect_content(p, 1, 0, 100000);
    check_outcome(sent, .error = 0, .sent = 100000);
    check_eq(ferry_stream_close(stream, NULL), 0);
    peer_expect_end(p);
}

PROMISE_EITHER(kernel, other_versions_ciphers_and_sockets_are_encrypted_by_openssl)
{
    check_without(placement, tcp_pair(), TLS1_2_VERSION, NULL);
    check_without(placement, tcp_pair(), 0, "TLS_CHACHA20_POLY1305_SHA256");
    check_without(placement, unix_pair(SOCK_STREAM), 0, NULL);
}

/* ---- sending --------------------------------------------------------------------------------- */

PROMISE_EITHER(kernel, both_sizes_of_aes_are_the_kernels)
{
    ONLY_WITH_KERNEL_TLS();
    static const char *const names[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"};
    for (int i = 0; i < 2; i++) {
        AT_END(end_scene) scene *s = open_scene(placement);
        pair both = tcp_pair();
        AT_END(drop_stream) ferry_stream *stream = scene_adopt_server(s, both.ours);
        AT_END(free_peer) peer *p = peer_make(both.theirs, 0, names[i]);
        ferry_tls_info info = info_of(stream);
        check(info.kernel_encrypts && strcmp(info.cipher, names[i]) == 0);
        check_outcome(submit_content(stream, 1, 1000), .error = 0);
        peer_expect_content(p, 1, 0, 1000);
    }
}

enum { BIG = 5 * 1000 * 1000 };

PROMISE_BOTH(kernel, large_file_leaves_by_sendfile_and_arrives_whole)
{
    ONLY_WITH_KERNEL_TLS();
    AT_END(stand_end) stand s = stand_open(placement);
    AT_END(file_remove) test_file file = file_make(BIG, 7);
    ferry_promise *sent = submit_file(s.stream, ferry_file_at(file.path));
    peer_expect_content(s.peer, 7, 0, BIG);
    check_outcome(sent, .error = 0, .sent = BIG, .method = FERRY_METHOD_SENDFILE);
}

/* Head, a piece of a file, tail: of sizes around a record's and a page's. */
PROMISE_BOTH(kernel, writes_and_files_arrive_in_their_order)
{
    ONLY_WITH_KERNEL_TLS();
    static const size_t sizes[] = {1, 100, 4095, 4097, 16383, 16384, 16385, 70001};
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    AT_END(stand_end) stand s = stand_open(placement);
    AT_END(file_remove) test_file file = file_make(200000, 7);
    unsigned char content[70001];
    fill_content(content, sizeof content, 8, 0);
    for (size_t i = 0; i < SIZES; i++) {
        ferry_file piece = ferry_file_at(file.path);
        piece.offset = (int64_t)(37 * i);
        piece.length = (int64_t)sizes[SIZES - 1 - i];
        const ferry_part parts[] = {ferry_part_borrow(content, sizes[i]), ferry_part_file(piece),
                                    ferry_part_borrow("tail", 4)};
        ferry_promise *sent = submit_parts(s.stream, parts, 3, NULL);
        ferry_promise *behind = submit_write(s.stream, "next", 4);
        peer_expect(s.peer, content, sizes[i]);
        peer_expect_content(s.peer, 7, 37 * i, sizes[SIZES - 1 - i]);
        peer_expect(s.peer, "tailnext", 8);
        check_outcome(sent, .error = 0, .sent = sizes[i] + sizes[SIZES - 1 - i] + 4);
        check_outcome(behind, .error = 0);
    }
}

PROMISE_BOTH(kernel, head_shares_a_record_with_its_file)
{
    ONLY_WITH_KERNEL_TLS();
    AT_END(stand_end) stand s = stand_open(placement);
    AT_END(file_remove) test_file file = file_make(1000, 7);
    check_outcome(submit_write(s.stream, "x", 1), .error = 0);
    peer_expect(s.peer, "x", 1);
    unsigned before = s.peer->records;
    const ferry_part parts[] = {ferry_part_borrow("head", 4),
                                ferry_part_file(ferry_file_at(file.path))};
    check_outcome(submit_parts(s.stream, parts, 2, NULL), .error = 0, .sent = 1004);
    peer_expect(s.peer, "head", 4);
    peer_expect_content(s.peer, 7, 0, 1000);
    check_eq(s.peer->records, before + 1);
}

/* Its record waits for the file. */
PROMISE_BOTH(kernel, head_of_a_file_that_fails_leaves_all_the_same)
{
    ONLY_WITH_KERNEL_TLS();
    const ferry_fault fails = {FERRY_CALL_SENDFILE, 1, UINT64_MAX, FERRY_FAULT_ERROR, EIO};
    AT_END(drop_faults) ferry_faults *faults = faults_of(fails);
    AT_END(stand_end) stand s = stand_make(placement, tcp_pair(), faults);
    AT_END(file_remove) test_file file = file_make(1000, 7);
    const ferry_part parts[] = {ferry_part_borrow("head", 4),
                                ferry_part_file(ferry_file_at(file.path))};
    check_outcome(submit_parts(s.stream, parts, 2, NULL), .error = -EIO, .sent = 4);
    peer_expect(s.peer, "head", 4);
}

static void check_cancelled_midway(ferry_placement placement, bool is_file)
{
    AT_END(stand_end) stand s = stand_make(placement, tcp_pair(), NULL);
    AT_END(file_remove) test_file file = file_make(64 << 20, 7);
    AT_END(free_memory) unsigned char *content = malloc(file.size);
    fill_content(content, file.size, 7, 0);
    const ferry_part part =
        is_file ? ferry_part_file(ferry_file_at(file.path)) : ferry_part_borrow(content, file.size);
    ferry_promise *promise;
    check_eq(ferry_stream_send(s.stream, &part, 1, NULL, &promise), 0);
    wait_until_full(s.stream, promise);
    wait_until_asleep();
    check_eq(ferry_promise_cancel(promise), 0);
    ferry_result result = outcome(promise);
    check_eq(result.error, -ECANCELED);
    check(result.sent > 0 && result.sent < file.size);
    peer_expect(s.peer, content, result.sent); /* all of it comes, though nothing follows */
    check_outcome(submit_write(s.stream, "behind", 6), .error = 0);
    peer_expect(s.peer, "behind", 6);
}

/* How much OpenSSL would have begun does not count. */
PROMISE_BOTH(kernel, request_that_is_cancelled_midway_counts_to_the_byte_and_the_stream_goes_on)
{
    ONLY_WITH_KERNEL_TLS();
    check_cancelled_midway(placement, false);
    check_cancelled_midway(placement, true);
}

/* Of a socket that ferry has made more is asked for than there is room for. */
PROMISE_BOTH(kernel, file_that_is_cancelled_midway_leaves_nothing_behind)
{
    ONLY_WITH_KERNEL_TLS();
    AT_END(end_scene)
    scene *s = scene_open((scene_wish){.placement = placement,
                                       .server = {.kernel_encrypts = true},
                                       .stream = {.framing = FERRY_FRAMING_CONTINUE}});
    AT_END(drop_stream) ferry_stream *client = NULL, *server = NULL;
    scene_join(s, &client, &server);
    AT_END(file_remove) test_file file = file_make(64 << 20, 7);
    ferry_promise *promise = submit_file(server, ferry_file_at(file.path));
    wait_until_full(server, promise);
    wait_until_asleep();
    check_eq(ferry_promise_cancel(promise), 0);
    ferry_result result = outcome(promise);
    check_eq(result.error, -ECANCELED);
    AT_END(free_memory) unsigned char *got = malloc(result.sent);
    AT_END(free_memory) unsigned char *expected = malloc(result.sent);
    fill_content(expected, result.sent, 7, 0);
    ferry_promise *reading = begin_read(client, got, result.sent);
    check_outcome(reading, .error = 0, .sent = result.sent);
    check(memcmp(got, expected, result.sent) == 0);
}

PROMISE_EITHER(kernel, request_is_drained_and_acknowledged_in_time)
{
    ONLY_WITH_KERNEL_TLS();
    static const ferry_completion levels[] = {FERRY_COMPLETION_DRAINED, FERRY_COMPLETION_ACKED};
    AT_END(stand_end) stand s = stand_open(placement);
    for (unsigned i = 0; i < 2; i++) {
        const ferry_request_options options = {.completion = levels[i]};
        AT_END(free_memory) unsigned char *content = malloc(BIG);
        fill_content(content, BIG, i, 0);
        ferry_promise *sent = submit_write_with(s.stream, content, BIG, &options);
        peer_expect(s.peer, content, BIG);
        check_outcome(sent, .error = 0, .sent = BIG);
    }
}

/* ---- ending ---------------------------------------------------------------------------------- */

PROMISE_BOTH(kernel, end_of_one_direction_leaves_the_other)
{
    ONLY_WITH_KERNEL_TLS();
    AT_END(stand_end) stand s = stand_open(placement);
    check_outcome(submit_write(s.stream, "last", 4), .error = 0);
    check_outcome(submit_shutdown(s.stream), .error = 0);
    peer_expect(s.peer, "last", 4);
    peer_expect_end(s.peer);
    peer_say(s.peer, "answer");
    char got[6];
    ferry_promise *reading = begin_read(s.stream, got, sizeof got);
    check_outcome(reading, .error = 0, .sent = 6);
    check(memcmp(got, "answer", 6) == 0);
}

/* The kernel keeps records where TCP is full, and FIN would overtake them. Whether it keeps some at
 * the end depends on how they lie in the buffers: in few of these rounds it does. */
PROMISE_BOTH(kernel, end_comes_behind_all_that_the_kernel_keeps)
{
    ONLY_WITH_KERNEL_TLS();
    enum { ROUNDS = 40, LEAST = 80000, RECORD = 16384 };
    uint64_t random = random_seed();
    AT_END(end_scene) scene *s = open_scene(placement);
    const int window = 16 * 1024;
    for (int round = 0; round < ROUNDS; round++) {
        size_t size = LEAST + random_next(&random) % RECORD;
        pair both = tcp_pair();
        const int room = 4096 + (int)(random_next(&random) % RECORD);
        check_eq(setsockopt(both.ours, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
        check_eq(setsockopt(both.theirs, SOL_SOCKET, SO_RCVBUF, &window, sizeof window), 0);
        AT_END(drop_stream) ferry_stream *stream = scene_adopt_server(s, both.ours);
        AT_END(free_peer) peer *p = peer_make(both.theirs, 0, NULL);
        ferry_promise *sent = submit_content(stream, 3, size);
        ferry_promise *closed = submit_close(stream);
        wait_until_asleep();
        peer_expect_content(p, 3, 0, size);
        peer_expect_end(p);
        check_outcome(sent, .error = 0, .sent = size);
        check_outcome(closed, .error = 0);
    }
}

PROMISE_BOTH(kernel, stream_that_is_destroyed_says_its_end)
{
    ONLY_WITH_KERNEL_TLS();
    AT_END(end_scene) scene *s = open_scene(placement);
    ferry_service *other = service_start(placement);
    pair both = tcp_pair();
    const ferry_tls_options tls = {.context = s->server};
    ferry_stream *stream = stream_adopt_with(other, both.ours, (ferry_stream_options){.tls = &tls});
    AT_END(free_peer) peer *p = peer_make(both.theirs, 0, NULL);
    check_outcome(submit_content(stream, 3, 100000), .error = 0);
    ferry_service_destroy(other);
    (void)ferry_stream_unref(stream);
    peer_expect_content(p, 3, 0, 100000);
    peer_expect_end(p);
}

PROMISE_BOTH(kernel, peer_whose_bytes_were_changed_is_told)
{
    ONLY_WITH_KERNEL_TLS();
    static const char forged[] = "\x17\x03\x03\x00\x20this is no record of that client..";
    AT_END(stand_end) stand s = stand_open(placement);
    char byte;
    ferry_promise *reading = begin_read(s.stream, &byte, 1);
    check_eq(send(s.peer->fd, forged, 37, MSG_NOSIGNAL), 37);
    check_outcome(reading, .error = -EBADMSG);
    ERR_clear_error();
    check(SSL_read(s.peer->ssl, &byte, 1) <= 0);
    check_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    ERR_clear_error();
}

/* ---- its key --------------------------------------------------------------------------------- */

PROMISE_BOTH(kernel, key_that_is_worn_out_fails_requests_and_not_what_left_before)
{
    ONLY_WITH_KERNEL_TLS();
    ferry__tls_records_per_key = 20;
    AT_END(stand_end) stand s = stand_open(placement);
    unsigned passed = 0;
    ferry_result result;
    while ((result = outcome(submit_write(s.stream, "x", 1))).error == 0) {
        peer_expect(s.peer, "x", 1);
        check(++passed <= ferry__tls_records_per_key);
    }
    check_eq(result.error, -EKEYEXPIRED);
    check_eq(result.phase, FERRY_PHASE_SINK);
    check(passed > 10);
    peer_say(s.peer, "y"); /* reading goes on */
    char byte;
    ferry_promise *reading = begin_read(s.stream, &byte, 1);
    check_outcome(reading, .error = 0, .sent = 1);
}

/* The peer has said something behind its wish, so the stream has heard both. */
static void ask_for_another_key(const stand *s)
{
    check_eq(SSL_key_update(s->peer->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    peer_say(s->peer, "z");
    char byte;
    ferry_promise *reading = begin_read(s->stream, &byte, 1);
    check_outcome(reading, .error = 0, .sent = 1);
}

PROMISE_BOTH(kernel, peer_that_asks_for_another_key_is_sent_nothing_more)
{
    ONLY_WITH_KERNEL_TLS();
    AT_END(stand_end) stand s = stand_open(placement);
    check_outcome(submit_write(s.stream, "x", 1), .error = 0);
    peer_expect(s.peer, "x", 1);
    ask_for_another_key(&s);
    check_outcome(submit_write(s.stream, "x", 1), .error = -EKEYEXPIRED, .phase = FERRY_PHASE_SINK);
}

PROMISE_BOTH(kernel, peer_that_asks_for_another_key_when_all_was_sent_reads_a_whole_end)
{
    ONLY_WITH_KERNEL_TLS();
    AT_END(stand_end) stand s = stand_open(placement);
    check_outcome(submit_write(s.stream, "x", 1), .error = 0);
    ask_for_another_key(&s);
    check_outcome(submit_close(s.stream), .error = 0);
    peer_expect(s.peer, "x", 1);
    peer_expect_end(s.peer);
}

/* Its own key is the peer's to change: it is OpenSSL that reads. */
PROMISE_EITHER(kernel, peer_that_changes_its_own_key_is_not_noticed)
{
    ONLY_WITH_KERNEL_TLS();
    AT_END(stand_end) stand s = stand_open(placement);
    check_eq(SSL_key_update(s.peer->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    peer_say(s.peer, "z");
    check_outcome(submit_write(s.stream, "x", 1), .error = 0);
    peer_expect(s.peer, "x", 1);
}
