/* SPDX-License-Identifier: MIT */
/*
 * TLS as a kind of link: a connection of OpenSSL's over a stream's fd. OpenSSL calls neither read
 * nor write: it asks the plain link beneath, so calls are made, cut and scripted as any others.
 *
 *   write      pieces -> records of 16 KiB -> output -> the plain link. All that was made of one
 *              call's bytes is begun, until the fd has it.
 *   receive    the plain link -> OpenSSL -> the reader's memory
 *   its words  handshake, tickets, alerts, new keys, close_notify: OpenSSL adds them to the output
 *              whenever it likes. The link owes them.
 *
 * Where the kernel encrypts (kernel.h), what is written and files go straight to the plain link.
 *
 * Small bytes that more is to follow are held back, so that a head and its file share a record.
 */
#ifndef FERRY_TLS_LINK_H
#define FERRY_TLS_LINK_H

#include "tls/kernel.h"
#include "transport/edge/link.h"

#include <ferry/tls.h>

#include <openssl/ssl.h>
#include <stdint.h>

/* What a connection needs of its context. */
typedef struct ferry__tls_terms {
    ferry_tls_context *context; /* a reference */
    SSL *ssl;                   /* set up for its side */
    const char *name;           /* copied; or NULL */
    const void *received;       /* of the peer's handshake; copied */
    size_t received_length;
    const void *answer_to_http; /* the context's; or NULL */
    size_t answer_to_http_length;
    int key_log_fd;                         /* the context's; -1: none */
    ferry__kernel_secret *secret;           /* the kernel is to encrypt (kernel.h); or NULL */
    ferry_tls_failure_callback *on_failure; /* the context's, as its arg is */
    void *on_failure_arg;

    void (*give_back)(ferry_tls_context *context); /* that reference */

    /* Keeps a session of a connection to resume, for that name: takes the reference. NULL: none is
     * kept. */
    void (*keep_session)(ferry_tls_context *context, const SSL *ssl, const char *name,
                         SSL_SESSION *session);
} ferry__tls_terms;

/* Before there are any, and never twice at a time: makes what they have in common, unless it is
 * there. @return whether there is memory for it. */
bool ferry__tls_link_begin(void);

/* Puts a plain link of a stream on TLS. Takes the terms' references. @return 0; -ENOMEM, with
 * nothing taken. */
int ferry__tls_link_put_on(ferry__link *link, const ferry__tls_terms *terms);

/* On a connection whose client asks for a name that there is no certificate of: it is to fail. */
void ferry__tls_link_refuse_name(SSL *ssl);

/* Has OpenSSL tell of each connection of a context. @param tells_keys their terms have a file, or a
 * secret. */
void ferry__tls_link_watch(SSL_CTX *context, bool tells_keys);

/* How many records a key is good for: well below AES-GCM's limit of 2^24.5 (RFC 8446, 5.5). Tests
 * set less. */
extern uint64_t ferry__tls_records_per_key;

#endif
