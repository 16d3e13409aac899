/* SPDX-License-Identifier: MIT */
/* Certificates, keys and trust, read into OpenSSL's contexts. */
#ifndef FERRY_TLS_CREDENTIALS_H
#define FERRY_TLS_CREDENTIALS_H

#include <ferry/tls.h>

#include <openssl/ssl.h>

/*
 * All of them read what was given, check it, and add it to a context. @param ret_failure gets what
 * is wrong with it; or NULL. @return 0, or an errno of ferry_tls_server_create.
 */
int ferry__tls_use_certificate(SSL_CTX *context, const ferry_tls_certificate *given,
                               ferry_tls_failure *ret_failure);
int ferry__tls_use_trust(SSL_CTX *context, const ferry_tls_trust *given,
                         ferry_tls_failure *ret_failure);

#endif
