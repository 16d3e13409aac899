/* SPDX-License-Identifier: MIT */
/*
 * Tickets: sessions that clients keep, encrypted with keys that only the server has (RFC 5077). The
 * keys change by time. Those of before are still good for as long again, for tickets that were
 * given out just before the change.
 *
 * Threads: any.
 */
#ifndef FERRY_TLS_TICKETS_H
#define FERRY_TLS_TICKETS_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { FERRY__TICKET_SECONDS = 2 * 60 * 60 }; /* of a key, until the next one; of a ticket, too */

typedef struct ferry__ticket_key {
    unsigned char name[16]; /* in each ticket */
    unsigned char cipher[32];
    unsigned char mac[32];
    int64_t made_at; /* 0: there is none */
} ferry__ticket_key;

typedef struct ferry__tickets {
    pthread_mutex_t mutex;
    ferry__ticket_key current, before;
} ferry__tickets;

void ferry__tickets_init(ferry__tickets *tickets);
void ferry__tickets_deinit(ferry__tickets *tickets); /* wipes the keys */

/* Gives the key for new tickets. @param now ferry__clock_now's. @return whether there is one. */
bool ferry__tickets_current(ferry__tickets *tickets, int64_t now, ferry__ticket_key *ret_key);

/* Gives the key of a ticket. @return 1; 2: it is to be renewed; 0: it is known no more. */
int ferry__tickets_find(ferry__tickets *tickets, int64_t now, const unsigned char name[16],
                        ferry__ticket_key *ret_key);

/* Has a context use them. They have to stay. @return whether it could. */
bool ferry__tickets_use(ferry__tickets *tickets, SSL_CTX *context);

#endif
