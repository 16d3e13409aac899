/* SPDX-License-Identifier: MIT */
/* An identity: a certificate for localhost and its key, ECDSA with P-256, made by openssl(1). */
#ifndef BENCHMARK_TLS_IDENTITY_H
#define BENCHMARK_TLS_IDENTITY_H

#include <limits.h>

typedef struct tls_identity {
    char certificate[PATH_MAX]; /* files of PEM: cert.pem and key.pem */
    char key[PATH_MAX];
} tls_identity;

/* Makes one in a directory. @return 0; -ENOENT: there is no openssl(1); or a negative errno. */
int tls_identity_make(const char *directory, tls_identity *ret_identity);

#endif
