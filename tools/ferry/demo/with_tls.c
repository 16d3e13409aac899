/* SPDX-License-Identifier: MIT */
/* Secrets, where ferry was built with OpenSSL. */
#include "secret.h"

#include <ferry/error.h>
#include <ferry/tls.h>

#include <err.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

const char secret_name[] = "demo";

struct secret {
    ferry_tls_context *context;
    SSL_CTX *near, *far; /* the same in OpenSSL's words; and its peer */
};

struct secret_end {
    SSL *ssl;
};

/* ---- the certificate ------------------------------------------------------------------------- */

/* It signs itself, and is good for a day. @return NULL: OpenSSL could not. */
static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    if (certificate == NULL)
        return NULL;
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:demo");
    bool is_made = names != NULL && X509_set_version(certificate, X509_VERSION_3) == 1 &&
                   ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
                   X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                              (const unsigned char *)secret_name, -1, -1, 0) == 1 &&
                   X509_set_issuer_name(certificate, name) == 1 &&
                   X509_gmtime_adj(X509_getm_notBefore(certificate), -60L) != NULL &&
                   X509_gmtime_adj(X509_getm_notAfter(certificate), 24L * 60 * 60) != NULL &&
                   X509_set_pubkey(certificate, key) == 1 &&
                   X509_add_ext(certificate, names, -1) == 1 &&
                   X509_sign(certificate, key, EVP_sha256()) > 0;
    X509_EXTENSION_free(names);
    if (is_made)
        return certificate;
    X509_free(certificate);
    return NULL;
}

/* A client of ferry's that trusts the certificate. @return a negative errno. */
static int make_context(X509 *certificate, ferry_tls_context **ret_context)
{
    BIO *memory = BIO_new(BIO_s_mem());
    char *text = NULL;
    int error = -ENOMEM;
    if (memory != NULL && PEM_write_bio_X509(memory, certificate) == 1) {
        size_t length = (size_t)BIO_get_mem_data(memory, &text);
        const ferry_tls_client_options options = {.trust = {.ca = text, .ca_length = length}};
        error = ferry_tls_client_create(&options, NULL, ret_context);
    }
    (void)BIO_free(memory);
    return error;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* @return whether OpenSSL could. */
static bool make_ends(struct secret *secret, X509 *certificate, EVP_PKEY *key)
{
    secret->near = SSL_CTX_new(TLS_client_method());
    secret->far = SSL_CTX_new(TLS_server_method());
    if (secret->near == NULL || secret->far == NULL)
        return false;
    SSL_CTX_set_verify(secret->near, SSL_VERIFY_PEER, NULL);
    return X509_STORE_add_cert(SSL_CTX_get_cert_store(secret->near), certificate) == 1 &&
           SSL_CTX_use_certificate(secret->far, certificate) == 1 &&
           SSL_CTX_use_PrivateKey(secret->far, key) == 1;
}

struct secret *secret_create(void)
{
    struct secret *secret = calloc(1, sizeof *secret);
    if (secret == NULL)
        err(EXIT_FAILURE, NULL);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key != NULL ? make_certificate(key) : NULL;
    bool is_made = certificate != NULL && make_ends(secret, certificate, key);
    int error = is_made ? make_context(certificate, &secret->context) : -ENOMEM;
    X509_free(certificate);
    EVP_PKEY_free(key);
    if (error == 0)
        return secret;
    warnx("cannot make a certificate: %s", ferry_error_message(error));
    secret_destroy(secret);
    return NULL;
}

ferry_tls_context *secret_context(const struct secret *secret)
{
    return secret->context;
}

void secret_destroy(struct secret *secret)
{
    if (secret == NULL)
        return;
    (void)ferry_tls_context_unref(secret->context);
    SSL_CTX_free(secret->near);
    SSL_CTX_free(secret->far);
    free(secret);
}

/* ---- the ends of a connection ---------------------------------------------------------------- */

struct secret_end *secret_end_create(struct secret *secret, int fd, bool is_near)
{
    struct secret_end *end = calloc(1, sizeof *end);
    if (end != NULL)
        end->ssl = SSL_new(is_near ? secret->near : secret->far);
    if (end == NULL || end->ssl == NULL || SSL_set_fd(end->ssl, fd) != 1)
        errx(EXIT_FAILURE, "out of memory");
    if (is_near)
        SSL_set_connect_state(end->ssl);
    else
        SSL_set_accept_state(end->ssl);
    return end;
}

ssize_t secret_read(struct secret_end *end, void *buffer, size_t size)
{
    size_t count;
    int result = SSL_read_ex(end->ssl, buffer, size, &count);
    if (result == 1)
        return (ssize_t)count;
    return SSL_get_error(end->ssl, result) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

bool secret_write(struct secret_end *end, const void *data, size_t length)
{
    size_t written;
    return length == 0 || SSL_write_ex(end->ssl, data, length, &written) == 1;
}

/* What the peer has sent meanwhile, tickets at least, is read: else TCP would answer it with a
 * reset, which takes the last bytes from the peer. */
void secret_end_free(struct secret_end *end)
{
    char rest[4096];
    if (end == NULL)
        return;
    (void)SSL_shutdown(end->ssl);
    (void)shutdown(SSL_get_fd(end->ssl), SHUT_WR);
    while (read(SSL_get_fd(end->ssl), rest, sizeof rest) > 0)
        continue;
    SSL_free(end->ssl);
    free(end);
}
