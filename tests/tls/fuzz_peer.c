/* SPDX-License-Identifier: MIT */
/*
 * What libFuzzer has a peer say: before the handshake, in it and behind it, to a server and to a
 * client. An input is a script. Its first two bytes say who is who; then each step has a byte for
 * what is done and one for how much of it. The peer is OpenSSL, in memory, whose words are sent
 * whole, in pieces, changed, twice or not at all, with garbage in between. Behind the handshake the
 * script can seal records itself, of any kind and with anything in them.
 *
 * What is under test is a link alone, driven as a stream drives it. It must keep its promises: what
 * is received is what was sent, in order, and no byte more; errors are those that are documented;
 * what is made ahead is bounded.
 */
#include "tests/harness.h"
#include "tests/tls_support.h"
#include "tls/link.h"
#include "transport/edge/secure.h"
#include "transport/stream/stream.h"

#include <openssl/err.h>
#include <openssl/hmac.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *count, char ***arguments);

enum {
    STEPS_MOST = 400,
    AHEAD_MOST = 1 << 19, /* what is encrypted and has not left, with what the peer has asked for */
    SECRET = 32,
};

_Noreturn void check_failed(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    abort();
}

_Noreturn void check_eq_failed(const char *file, int line, const char *what, long long got,
                               long long expected)
{
    (void)fprintf(stderr, "%s:%d: not so: %s: got %lld, expected %lld\n", file, line, what, got,
                  expected);
    abort();
}

/* ---- what all inputs share ------------------------------------------------------------------- */

static ferry_tls_context *servers[2], *clients[2]; /* one that is easy, one that asks for more */
static SSL_CTX *peers[2];                          /* a client, a server */

/* Which secret leaves whose end: the peer's own is kept. */
static void keep_secret(const SSL *ssl, const char *line);

static void make_peers(const identity *own)
{
    for (int is_server = 0; is_server < 2; is_server++) {
        SSL_CTX *made = peers[is_server] =
            SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
        check(made != NULL && SSL_CTX_use_certificate(made, own->certificate) == 1 &&
              SSL_CTX_use_PrivateKey(made, own->secret) == 1);
        check(SSL_CTX_set_ciphersuites(made, "TLS_AES_128_GCM_SHA256") == 1);
        (void)SSL_CTX_set_num_tickets(made, 0);
        SSL_CTX_set_keylog_callback(made, keep_secret);
    }
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    static const char *const protocols[] = {"http/1.1"};
    ferry__tls_records_per_key = 5;
    identity root = identity_make((identity_wish){.name = "root", .is_authority = true});
    identity own = identity_make((identity_wish){.name = "DNS:localhost", .issuer = &root});
    const ferry_tls_certificate certificates[2] = {identity_certificate(&own),
                                                   identity_certificate(&own)};
    const ferry_tls_trust trust = {.ca = root.chain, .ca_length = strlen(root.chain)};
    const ferry_tls_server_options easy_server = {.certificates = certificates,
                                                  .certificate_count = 1,
                                                  .answer_to_http = "no",
                                                  .answer_to_http_length = 2};
    const ferry_tls_server_options strict_server = {.certificates = certificates,
                                                    .certificate_count = 2,
                                                    .refuses_unknown_names = true,
                                                    .client_certificate =
                                                        FERRY_TLS_CLIENT_MUST_SHOW,
                                                    .trust = trust,
                                                    .protocols = protocols,
                                                    .protocol_count = 1};
    const ferry_tls_client_options easy_client = {.unsafe_any_certificate = true};
    const ferry_tls_client_options strict_client = {
        .trust = trust, .certificate = certificates, .protocols = protocols, .protocol_count = 1};
    check_eq(ferry_tls_server_create(&easy_server, NULL, &servers[0]), 0);
    check_eq(ferry_tls_server_create(&strict_server, NULL, &servers[1]), 0);
    check_eq(ferry_tls_client_create(&easy_client, NULL, &clients[0]), 0);
    check_eq(ferry_tls_client_create(&strict_client, NULL, &clients[1]), 0);
    make_peers(&own);
    identity_free(&own);
    identity_free(&root);
    return 0;
}

/* ---- one input ------------------------------------------------------------------------------- */

typedef struct play {
    const uint8_t *script;
    size_t left;

    /* The end that is tested. */
    ferry_stream stream; /* its link alone is used */
    uint64_t written;    /* bytes that it has answered */
    uint64_t received;
    bool is_secured, has_failed, is_shut, has_ended;

    /* The other one. */
    SSL *ssl;
    int fd;
    uint64_t said, heard;     /* bytes that are for readers */
    uint8_t pending[1 << 17]; /* what is to be sent */
    size_t count;
    uint8_t secret[SECRET];
    bool has_secret, has_spoken; /* OpenSSL has, behind the handshake */
    bool seals; /* it seals records itself: OpenSSL's count of them is wrong by now */
    uint64_t sealed;
} play;

static play now;

/* The byte at a position of either direction. */
static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 7 ^ position >> 8);
}

static void fill(uint8_t *data, size_t size, uint64_t position)
{
    for (size_t i = 0; i < size; i++)
        data[i] = byte_at(position + i);
}

static void check_bytes(const uint8_t *data, size_t size, uint64_t position)
{
    for (size_t i = 0; i < size; i++)
        check_eq(data[i], byte_at(position + i));
}

static uint8_t next_byte(void)
{
    if (now.left == 0)
        return 0;
    now.left--;
    return *now.script++;
}

/* ---- the peer -------------------------------------------------------------------------------- */

static void keep_secret(const SSL *ssl, const char *line)
{
    const char *wanted =
        SSL_is_server(ssl) ? "SERVER_TRAFFIC_SECRET_0 " : "CLIENT_TRAFFIC_SECRET_0 ";
    if (strncmp(line, wanted, strlen(wanted)) != 0)
        return;
    const char *hex = strrchr(line, ' ') + 1;
    now.has_secret = strlen(hex) == (size_t)2 * SECRET;
    for (size_t i = 0; i < SECRET && now.has_secret; i++) {
        unsigned byte;
        check_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        now.secret[i] = (uint8_t)byte;
    }
}

static void add(const void *data, size_t size)
{
    size_t room = sizeof now.pending - now.count, count = size < room ? size : room;
    memcpy(now.pending + now.count, data, count);
    now.count += count;
}

/* Takes what OpenSSL has made. */
static void take_made(void)
{
    uint8_t data[4096];
    int count;
    while ((count = BIO_read(SSL_get_wbio(now.ssl), data, sizeof data)) > 0)
        add(data, (size_t)count);
}

static void transmit(size_t most)
{
    size_t size = now.count < most ? now.count : most;
    ssize_t sent = send(now.fd, now.pending, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent <= 0)
        return;
    now.count -= (size_t)sent;
    memmove(now.pending, now.pending + sent, now.count);
}

static void hear(void)
{
    uint8_t data[16384];
    ssize_t count = recv(now.fd, data, sizeof data, MSG_DONTWAIT);
    if (count > 0)
        (void)BIO_write(SSL_get_rbio(now.ssl), data, (int)count);
}

static void take_step(void)
{
    hear();
    (void)SSL_do_handshake(now.ssl);
    take_made();
}

static void listen_to_it(uint8_t how)
{
    (void)how;
    uint8_t data[16384];
    hear();
    int count = SSL_read(now.ssl, data, sizeof data);
    if (count > 0) {
        check_bytes(data, (size_t)count, now.heard);
        now.heard += (uint64_t)count;
    }
    take_made();
}

static bool may_speak(void)
{
    bool may = SSL_is_init_finished(now.ssl) && !now.seals;
    now.has_spoken |= may;
    return may;
}

static void say(size_t size)
{
    uint8_t data[4096];
    if (!may_speak() || size == 0)
        return;
    fill(data, size, now.said);
    if (SSL_write(now.ssl, data, (int)size) == (int)size)
        now.said += size;
    take_made();
}

static void change_key(uint8_t how)
{
    if (!may_speak() || SSL_version(now.ssl) != TLS1_3_VERSION)
        return;
    (void)SSL_key_update(now.ssl,
                         how % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
    take_step();
}

static void give_ticket(uint8_t how)
{
    (void)how;
    if (!may_speak())
        return;
    if (SSL_version(now.ssl) != TLS1_3_VERSION)
        (void)SSL_renegotiate(now.ssl);
    else if (SSL_is_server(now.ssl))
        (void)SSL_new_session_ticket(now.ssl);
    take_step();
}

static void say_end(uint8_t how)
{
    (void)how;
    if (may_speak())
        (void)SSL_shutdown(now.ssl);
    take_made();
}

/* ---- records that the script seals (RFC 8446, 5.2 and 7) ------------------------------------- */

static void expand(const uint8_t secret[SECRET], const char *label, uint8_t *out, size_t size)
{
    uint8_t info[64], all[EVP_MAX_MD_SIZE];
    size_t length = 6 + strlen(label);
    int count =
        snprintf((char *)info, sizeof info, "%c%c%ctls13 %s", 0, (int)size, (int)length, label);
    info[count] = 0; /* no context */
    info[count + 1] = 1;
    unsigned made;
    check(HMAC(EVP_sha256(), secret, SECRET, info, (size_t)count + 2, all, &made) != NULL);
    memcpy(out, all, size);
}

static void seal(const uint8_t *content, size_t size, uint8_t type, size_t zeros)
{
    uint8_t key[16], nonce[12], record[5 + 512], inner[400];
    expand(now.secret, "key", key, sizeof key);
    expand(now.secret, "iv", nonce, sizeof nonce);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] ^= (uint8_t)(now.sealed >> (56 - 8 * i));
    memcpy(inner, content, size);
    inner[size] = type;
    memset(inner + size + 1, 0, zeros);
    size_t whole = size + 1 + zeros, length = whole + 16;
    const uint8_t header[5] = {SSL3_RT_APPLICATION_DATA, 3, 3, (uint8_t)(length >> 8),
                               (uint8_t)length};
    memcpy(record, header, 5);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    int count;
    check(EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, key, nonce) == 1 &&
          EVP_EncryptUpdate(cipher, NULL, &count, header, 5) == 1 &&
          EVP_EncryptUpdate(cipher, record + 5, &count, inner, (int)whole) == 1 &&
          EVP_EncryptFinal_ex(cipher, record + 5 + whole, &count) == 1 &&
          EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, 16, record + 5 + whole) == 1);
    EVP_CIPHER_CTX_free(cipher);
    add(record, 5 + length);
    now.sealed++;
}

static bool may_seal(void)
{
    bool may = now.has_secret && !now.has_spoken && SSL_is_init_finished(now.ssl) &&
               SSL_version(now.ssl) == TLS1_3_VERSION;
    now.seals |= may;
    return may;
}

/* The kinds that there are, and some that there are not. */
static void seal_some(uint8_t how_much, uint8_t type)
{
    static const uint8_t types[] = {SSL3_RT_APPLICATION_DATA,
                                    SSL3_RT_HANDSHAKE,
                                    SSL3_RT_ALERT,
                                    SSL3_RT_CHANGE_CIPHER_SPEC,
                                    24,
                                    0};
    uint8_t content[128], kind = types[type % sizeof types];
    size_t size = how_much % sizeof content;
    if (!may_seal())
        return;
    if (kind == SSL3_RT_APPLICATION_DATA) {
        fill(content, size, now.said);
        now.said += size;
    } else {
        for (size_t i = 0; i < size; i++)
            content[i] = next_byte();
    }
    seal(content, size, kind, type / 8);
}

/* A new key, in its order; whole, or a record for each byte. */
static void seal_new_key(uint8_t how)
{
    bool in_pieces = how % 2;
    const uint8_t message[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, how / 2 % 2};
    if (!may_seal())
        return;
    for (size_t i = 0; i < sizeof message && in_pieces; i++)
        seal(message + i, 1, SSL3_RT_HANDSHAKE, 0);
    if (!in_pieces)
        seal(message, sizeof message, SSL3_RT_HANDSHAKE, 0);
    uint8_t next[SECRET];
    expand(now.secret, "traffic upd", next, SECRET);
    memcpy(now.secret, next, SECRET);
    now.sealed = 0;
}

/* ---- the end that is tested ------------------------------------------------------------------ */

static ferry__link *link_of(void)
{
    return &now.stream.link;
}

static void check_error(ssize_t error)
{
    static const int known[] = {
        0,        -EAGAIN,       -EPROTO,      -EPROTONOSUPPORT, -EACCES,     -ECONNABORTED,
        -EBADMSG, -EKEYREJECTED, -EKEYEXPIRED, -ENOKEY,          -ECONNRESET, -EPIPE};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (error == known[i])
            return;
    }
    check_eq(error, 0);
}

static void check_bounds(void)
{
    check(link_of()->type->unsent(link_of()) < AHEAD_MOST + (1 << 18));
}

static void go_on_with_handshake(void)
{
    int result = link_of()->type->shake_hands(link_of(), 0);
    check_error(result);
    now.is_secured = result == 0;
    now.has_failed = result != 0 && result != -EAGAIN;
    ferry_tls_info info;
    check_eq(ferry_tls_get_info(&now.stream, &info) == 0, now.is_secured);
    ferry_tls_failure failure;
    check_eq(ferry_tls_get_failure(&now.stream, &failure) == 0, now.has_failed);
    check(!now.has_failed || failure.reason != FERRY_TLS_NOTHING);
}

static void receive(size_t size)
{
    static uint8_t data[1 << 16];
    ssize_t count = ferry__link_receive(link_of(), data, size);
    check(count <= (ssize_t)size);
    if (count <= 0) {
        check_error(count);
        check(!now.has_ended || count == 0);
        now.has_ended |= count == 0 && size > 0;
        return;
    }
    check(!now.has_ended);
    check_bytes(data, (size_t)count, now.received);
    now.received += (uint64_t)count;
    check(now.received <= now.said);
}

/* A turn, as a stream's. */
static void take_turn(size_t size)
{
    if (now.has_failed)
        return;
    if (!now.is_secured)
        go_on_with_handshake();
    else
        receive(size + 1);
    if (link_of()->owes)
        check_error(ferry__link_flush(link_of()));
    check_bounds();
}

static bool may_write(void)
{
    return now.is_secured && !now.is_shut && !link_of()->owes;
}

static void write_some(size_t size, bool more)
{
    static uint8_t data[1 << 17];
    if (!may_write() || size == 0)
        return;
    fill(data, size, now.written);
    const struct iovec pieces[] = {{data, size / 2}, {data + size / 2, size - size / 2}};
    ssize_t count = ferry__link_write(link_of(), pieces, 2, more);
    check(count != 0 && count <= (ssize_t)size);
    if (count < 0)
        check_error(count);
    else
        now.written += (uint64_t)count;
    check_bounds();
}

static void give_up_writing(uint8_t how)
{
    (void)how;
    if (may_write())
        now.written += ferry__link_owe(link_of());
}

static void shut_down(uint8_t how)
{
    (void)how;
    if (!may_write())
        return;
    now.written += ferry__link_owe(link_of());
    int result = ferry__link_shut_down(link_of());
    check_error(result);
    now.is_shut = result != -EAGAIN;
}

static void look(uint8_t how)
{
    (void)how;
    if (now.is_secured)
        check(link_of()->type->peek(link_of()) <= 1);
}

/* ---- the script ------------------------------------------------------------------------------ */

static void shake_hands(void)
{
    for (int i = 0; i < 6 && !now.has_failed && !(now.is_secured && SSL_is_init_finished(now.ssl));
         i++) {
        take_step();
        transmit(sizeof now.pending);
        take_turn(0);
    }
}

static void add_bytes(size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = next_byte();
        add(&byte, 1);
    }
}

static void add_garbage(uint8_t how)
{
    add_bytes(how % 64);
}

/* A record that nobody has sealed. */
static void add_record(uint8_t how)
{
    static const uint8_t types[] = {20, 21, 22, 23, 24};
    size_t size = how / 8;
    const uint8_t header[] = {types[how % sizeof types], 3, (uint8_t)(1 + how % 3), 0,
                              (uint8_t)size};
    add(header, sizeof header);
    add_bytes(size);
}

static void repeat(uint8_t how)
{
    uint8_t copy[256];
    size_t size = how < now.count ? how : now.count;
    memcpy(copy, now.pending, size);
    add(copy, size);
}

static void change(uint8_t how)
{
    if (now.count > 0)
        now.pending[how % now.count] ^= (uint8_t)(1 + how % 255);
}

typedef void step(uint8_t how);

static void do_shake_hands(uint8_t how)
{
    (void)how;
    shake_hands();
}

static void do_take_step(uint8_t how)
{
    (void)how;
    take_step();
}

static void do_transmit_all(uint8_t how)
{
    (void)how;
    transmit(sizeof now.pending);
}

static void do_transmit(uint8_t how)
{
    transmit(1 + (size_t)how);
}

static void do_lose(uint8_t how)
{
    now.count = how < now.count ? how : now.count;
}

static void do_say(uint8_t how)
{
    say((size_t)how * 16);
}

static void do_end_sending(uint8_t how)
{
    (void)how;
    (void)shutdown(now.fd, SHUT_WR);
}

static void do_take_turn(uint8_t how)
{
    take_turn((size_t)how * how);
}

static void do_write(uint8_t how)
{
    write_some((size_t)how * 512, false);
}

static void do_write_with_more(uint8_t how)
{
    write_some(how, true);
}

static void do_push(uint8_t how)
{
    (void)how;
    if (may_write())
        ferry__link_push(link_of());
}

static void do_flush(uint8_t how)
{
    (void)how;
    if (now.is_secured && link_of()->owes)
        check_error(ferry__link_flush(link_of()));
}

static void do_seal(uint8_t how)
{
    seal_some(how, next_byte());
}

static step *const steps[] = {
    do_shake_hands, do_take_step,    do_transmit_all, do_transmit, change,
    add_garbage,    do_lose,         do_say,          change_key,  give_ticket,
    say_end,        do_end_sending,  do_take_turn,    do_write,    do_write_with_more,
    do_push,        give_up_writing, shut_down,       look,        listen_to_it,
    do_seal,        seal_new_key,    add_record,      repeat,      do_flush,
};

static void do_step(void)
{
    uint8_t what = next_byte(), how = next_byte();
    steps[what % (sizeof steps / sizeof steps[0])](how);
}

/* ---- who is who ------------------------------------------------------------------------------ */

static void make_peer(bool is_server, uint8_t how)
{
    check((now.ssl = SSL_new(peers[is_server])) != NULL);
    SSL_set_bio(now.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    (void)BIO_set_mem_eof_return(SSL_get_rbio(now.ssl), -1);
    if (how % 2)
        (void)SSL_set_max_proto_version(now.ssl, TLS1_2_VERSION);
    if (is_server) {
        SSL_set_accept_state(now.ssl);
        return;
    }
    SSL_set_connect_state(now.ssl);
    if (how / 2 % 2)
        (void)SSL_set_tlsext_host_name(now.ssl,
                                       (char *)(uintptr_t)(how / 4 % 2 ? "localhost" : "other"));
    if (how / 8 % 2)
        (void)SSL_set_alpn_protos(now.ssl, (const unsigned char *)"\x08http/1.1", 9);
    if (how / 16 % 2)
        (void)SSL_set_tlsext_max_fragment_length(now.ssl, TLSEXT_max_fragment_length_512);
}

static void put_on_link(bool is_server, uint8_t how)
{
    int fds[2];
    check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    now.fd = fds[1];
    const ferry__socket_sort sort = {.outlet = FERRY__OUTLET_UNIX};
    ferry__link_init_known(link_of(), fds[0], sort, &ferry__calls_real);
    uint8_t words[64];
    size_t count = how / 64 % 2 ? next_byte() % sizeof words : 0;
    for (size_t i = 0; i < count; i++)
        words[i] = next_byte();
    const ferry_tls_options options = {.context = (is_server ? servers : clients)[how / 32 % 2],
                                       .received = words,
                                       .received_length = count};
    ferry__secure *secure;
    check_eq(ferry__secure_take(&options, &secure), 0);
    check_eq(secure->type->put_on(secure, "localhost", link_of()), 0);
    ferry__secure_give_back(secure);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&now, 0, sizeof now);
    now.script = data;
    now.left = size;
    uint8_t how = next_byte(), ending = next_byte();
    bool is_server = how / 128;
    make_peer(!is_server, how);
    put_on_link(is_server, how);
    for (int i = 0; i < STEPS_MOST && now.left > 0; i++)
        do_step();
    (void)ferry__link_close(link_of(), (ferry__ending)(ending % 3));
    ferry__link_forget(link_of());
    SSL_free(now.ssl);
    ERR_clear_error();
    close(now.fd);
    return 0;
}
