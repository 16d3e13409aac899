/* SPDX-License-Identifier: MIT */
/* Certificates for tests, made in memory. */
#ifndef FERRY_TESTS_TLS_SUPPORT_H
#define FERRY_TESTS_TLS_SUPPORT_H

#include <ferry/tls.h>

#include <openssl/ssl.h>
#include <stddef.h>

/* A certificate with its key, as PEM. */
typedef struct identity {
    char *chain; /* with its end; its issuer's certificates behind it, roots excepted */
    char *key;
    X509 *certificate;
    EVP_PKEY *secret;
} identity;

/* What a certificate is to be like. What is 0 is as it should be. */
typedef struct identity_wish {
    const char *name;       /* as in subjectAltName: "DNS:localhost", "IP:127.0.0.1" */
    const identity *issuer; /* NULL: itself */
    bool is_authority;
    int begins_in, ends_in; /* days from now; both 0: yesterday, in 30 days */
    int rsa_bits;           /* 0: P-256 */
    const EVP_MD *digest;   /* NULL: SHA-256 */
    bool leaves_chain_out;
} identity_wish;

identity identity_make(identity_wish wish);
void identity_free(identity *self);

/* The usual ones: an authority, and whom it vouches for. @param issuer NULL: itself. */
identity authority_make(const char *name, const identity *issuer);
identity identity_of(const char *name, const identity *issuer);

/* Trust in an authority, and in nobody else. */
ferry_tls_trust trust_in(const identity *authority);

/* As an option of a context's. */
ferry_tls_certificate identity_certificate(const identity *self);

/* Adds a list of what an authority has revoked to a file. @param revoked or NULL. */
void identity_add_list(const char *path, const identity *authority, const identity *revoked);

#endif
