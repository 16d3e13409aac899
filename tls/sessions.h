/* SPDX-License-Identifier: MIT */
/*
 * Sessions that a client has had, to resume them: the last one for each name, of few names. One of
 * TLS 1.3 is used once: who watches the wire cannot tell that two connections are the same
 * client's.
 *
 * Threads: any.
 */
#ifndef FERRY_TLS_SESSIONS_H
#define FERRY_TLS_SESSIONS_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdint.h>

enum { FERRY__SESSIONS_MOST = 64, FERRY__NAME_BYTES = 256 };

typedef struct ferry__sessions {
    pthread_mutex_t mutex;
    uint64_t clock; /* counts what is put */
    struct {
        char name[FERRY__NAME_BYTES]; /* valid with a session */
        SSL_SESSION *session;         /* a reference; NULL: this place is free */
        uint64_t put_at;
    } places[FERRY__SESSIONS_MOST];
} ferry__sessions;

void ferry__sessions_init(ferry__sessions *sessions);
void ferry__sessions_deinit(ferry__sessions *sessions);

/* Takes the caller's reference to a session. The oldest one gives way. */
void ferry__sessions_put(ferry__sessions *sessions, const char *name, SSL_SESSION *session);

/* @return a reference; NULL: there is none. */
SSL_SESSION *ferry__sessions_take(ferry__sessions *sessions, const char *name);

/* Forgets all. */
void ferry__sessions_clear(ferry__sessions *sessions);

#endif
