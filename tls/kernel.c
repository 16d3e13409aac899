/* SPDX-License-Identifier: MIT */
#include "tls/kernel.h"

#include "core/hooks.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* not netinet/tcp.h: its tcp_info ends before bytes_acked */
#include <linux/tls.h>
#include <netinet/in.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

enum {
    RECORD = 16 * 1024,
    BESIDE = 5 + 1 + 16, /* a record's header, type and tag */
    APPLICATION_DATA = 23,
    NONCE = 12,
    TCP_CLOSED = 7 /* tcpi_state; only netinet/tcp.h names it, as TCP_CLOSE */
};

/* ---- the secret ------------------------------------------------------------------------------ */

ferry__kernel_secret *ferry__kernel_secret_make(void)
{
    return ferry__allocate_zeroed(sizeof(ferry__kernel_secret));
}

void ferry__kernel_secret_forget(ferry__kernel_secret **secret)
{
    if (*secret == NULL)
        return;
    OPENSSL_cleanse(*secret, sizeof **secret);
    ferry__release(*secret);
    *secret = NULL;
}

void ferry__kernel_note_secret(ferry__kernel_secret *secret, const SSL *ssl, const char *line)
{
    const char *own = SSL_is_server(ssl) ? "SERVER_TRAFFIC_SECRET_0 " : "CLIENT_TRAFFIC_SECRET_0 ";
    if (strncmp(line, own, strlen(own)) != 0)
        return;
    const char *digits = strrchr(line, ' ') + 1;
    if (OPENSSL_hexstr2buf_ex(secret->bytes, sizeof secret->bytes, &secret->length, digits, '\0') !=
        1)
        secret->length = 0;
    secret->records = 0; /* those before had other keys */
}

void ferry__kernel_note_record(ferry__kernel_secret *secret)
{
    secret->records++;
}

/* HKDF-Expand-Label (RFC 8446, 7.1). @param label "tls13 " and a name. @return whether it could. */
static bool expand(const ferry__kernel_secret *secret, const SSL *ssl, const char *label,
                   unsigned char *ret, size_t size)
{
    const EVP_MD *digest = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
    size_t length = strlen(label);
    unsigned char info[32] = {0, (unsigned char)size, (unsigned char)length};
    memcpy(info + 3, label, length); /* behind it: the context's length, 0 */
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)EVP_MD_get0_name(digest),
                                         0),
        OSSL_PARAM_construct_octet_string(
            OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)(const void *)secret->bytes, secret->length),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, length + 4),
        OSSL_PARAM_construct_end()};
    EVP_KDF *kind = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kind);
    bool could = context != NULL && EVP_KDF_derive(context, ret, size, params) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kind);
    return could;
}

/* ---- taking over ----------------------------------------------------------------------------- */

/* What the kernel is told. */
typedef union crypto {
    struct tls_crypto_info info;
    struct tls12_crypto_info_aes_gcm_128 small;
    struct tls12_crypto_info_aes_gcm_256 large;
} crypto;

/* A record's number, as it counts in the nonce. */
static void put_number(unsigned char to[8], uint64_t number)
{
    for (int i = 7; i >= 0; i--, number >>= 8)
        to[i] = (unsigned char)number;
}

/* @return its size; 0: it cannot be. */
static size_t describe(crypto *self, const ferry__kernel_secret *secret, const SSL *ssl)
{
    unsigned char nonce[NONCE];
    bool could;
    size_t size;
    self->info.version = TLS_1_3_VERSION;
    if (!expand(secret, ssl, "tls13 iv", nonce, NONCE))
        return 0;
    switch (SSL_CIPHER_get_id(SSL_get_current_cipher(ssl))) {
    case TLS1_3_CK_AES_128_GCM_SHA256:
        self->info.cipher_type = TLS_CIPHER_AES_GCM_128;
        could = expand(secret, ssl, "tls13 key", self->small.key, sizeof self->small.key);
        memcpy(self->small.salt, nonce, sizeof self->small.salt);
        memcpy(self->small.iv, nonce + sizeof self->small.salt, sizeof self->small.iv);
        put_number(self->small.rec_seq, secret->records);
        size = sizeof self->small;
        break;
    case TLS1_3_CK_AES_256_GCM_SHA384:
        self->info.cipher_type = TLS_CIPHER_AES_GCM_256;
        could = expand(secret, ssl, "tls13 key", self->large.key, sizeof self->large.key);
        memcpy(self->large.salt, nonce, sizeof self->large.salt);
        memcpy(self->large.iv, nonce + sizeof self->large.salt, sizeof self->large.iv);
        put_number(self->large.rec_seq, secret->records);
        size = sizeof self->large;
        break;
    default:
        could = false;
        size = 0;
        break;
    }
    OPENSSL_cleanse(nonce, sizeof nonce);
    return could ? size : 0;
}

/* @return how many bytes are acknowledged. */
static uint64_t tcp_acked(int fd, bool *ret_is_over)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    (void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    *ret_is_over = info.tcpi_state == TCP_CLOSED;
    return info.tcpi_bytes_acked;
}

/* How much TCP has got, ever; or is_over. Two questions, and both count bytes that are acknowledged
 * in between, or none does: so until none were. */
static uint64_t tcp_count(int fd, bool *ret_is_over)
{
    uint64_t acked = tcp_acked(fd, ret_is_over), before;
    int inside = 0;
    do {
        before = acked;
        (void)ioctl(fd, SIOCOUTQ, &inside);
        acked = tcp_acked(fd, ret_is_over);
    } while (acked != before);
    return acked + (uint64_t)inside;
}

static bool is_fit(const ferry__link *link, const SSL *ssl)
{
    return link->is_tcp && !link->is_message && SSL_version(ssl) == TLS1_3_VERSION;
}

bool ferry__kernel_take_over(ferry__kernel *self, const ferry__kernel_secret *secret,
                             const SSL *ssl, ferry__link *link)
{
    crypto told = {0};
    bool is_over;
    size_t size = is_fit(link, ssl) && secret->length > 0 ? describe(&told, secret, ssl) : 0;
    uint64_t count = tcp_count(link->fd, &is_over);
    /* Without a key, a socket with "tls" sends and receives as before. */
    bool could = size > 0 && setsockopt(link->fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0 &&
                 setsockopt(link->fd, SOL_TLS, TLS_TX, &told, (socklen_t)size) == 0;
    OPENSSL_cleanse(&told, sizeof told);
    if (could)
        *self = (ferry__kernel){
            .encrypts = true, .most_records = secret->records, .tcp_began_at = count};
    link->is_framed = could;
    return could;
}

/* ---- what it has taken ----------------------------------------------------------------------- */

void ferry__kernel_note_sent(ferry__kernel *self, size_t count, bool is_open)
{
    self->bytes += count;
    self->most_records += count / RECORD + 1;
    self->open += count;
    self->least_records += self->open / RECORD;
    self->open %= RECORD;
    if (!is_open && self->open > 0) {
        self->least_records++;
        self->open = 0;
    }
}

int64_t ferry__kernel_kept(const ferry__kernel *self, const ferry__link *link)
{
    bool is_over;
    uint64_t got = tcp_count(link->fd, &is_over) - self->tcp_began_at;
    uint64_t all = self->bytes + BESIDE * self->least_records;
    return got < all && !is_over ? (int64_t)(all - got) : 0;
}

/* ---- what is said ---------------------------------------------------------------------------- */

void ferry__kernel_end_record(ferry__kernel *self)
{
    self->ends_record |= self->open > 0;
}

void ferry__kernel_say(ferry__kernel *self, const unsigned char alert[2])
{
    if (self->has_alert)
        return;
    self->has_alert = true;
    self->is_over = alert[0] == SSL3_AL_FATAL;
    memcpy(self->alert, alert, sizeof self->alert);
}

/* Sends a record of its own; before it the kernel ends one that is open. @return 0, or a negative
 * errno; -EAGAIN: it was not taken. */
static int send_record(ferry__link *link, unsigned char type, const void *data, size_t size)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(1)];
    } control = {.header = {.cmsg_len = CMSG_LEN(1),
                            .cmsg_level = SOL_TLS,
                            .cmsg_type = TLS_SET_RECORD_TYPE}};
    *CMSG_DATA(&control.header) = type;
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control.bytes};
    ssize_t sent;
    do
        sent = link->calls->sendmsg(link->calls, link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent >= 0 ? 0 : -errno;
}

/* The open record, if any, has ended. */
static void note_end(ferry__kernel *self)
{
    ferry__kernel_note_sent(self, 0, false);
    self->ends_record = false;
}

int ferry__kernel_speak(ferry__kernel *self, ferry__link *link)
{
    int error = 0;
    if (self->ends_record && !self->has_alert) {
        error = send_record(link, APPLICATION_DATA, NULL, 0);
        if (error == 0)
            note_end(self);
    }
    if (error == 0 && self->has_alert) {
        error = send_record(link, SSL3_RT_ALERT, self->alert, sizeof self->alert);
        if (error == 0) {
            note_end(self);
            ferry__kernel_note_sent(self, sizeof self->alert, false);
            self->has_alert = false;
        }
    }
    return error;
}
