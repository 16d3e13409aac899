/* SPDX-License-Identifier: MIT */
#include "tls/tickets.h"

#include "core/clock.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

static const int64_t KEY_NS = (int64_t)FERRY__TICKET_SECONDS * FERRY__NS_PER_S;

void ferry__tickets_init(ferry__tickets *tickets)
{
    *tickets = (ferry__tickets){0};
    (void)pthread_mutex_init(&tickets->mutex, NULL);
}

void ferry__tickets_deinit(ferry__tickets *tickets)
{
    (void)pthread_mutex_destroy(&tickets->mutex);
    OPENSSL_cleanse(tickets, sizeof *tickets);
}

static bool make_key(int64_t now, ferry__ticket_key *ret_key)
{
    ret_key->made_at = now;
    return RAND_bytes(ret_key->name, sizeof ret_key->name) == 1 &&
           RAND_priv_bytes(ret_key->cipher, sizeof ret_key->cipher) == 1 &&
           RAND_priv_bytes(ret_key->mac, sizeof ret_key->mac) == 1;
}

static bool is_older(const ferry__ticket_key *key, int64_t now, int64_t age)
{
    return key->made_at == 0 || now - key->made_at >= age;
}

/* Has the keys that now are to be used. @return whether there are any. */
static bool rotate(ferry__tickets *tickets, int64_t now)
{
    if (!is_older(&tickets->current, now, KEY_NS))
        return true;
    ferry__ticket_key next;
    bool is_made = make_key(now, &next);
    if (is_made) {
        tickets->before = tickets->current;
        tickets->current = next;
    }
    OPENSSL_cleanse(&next, sizeof next);
    return is_made;
}

bool ferry__tickets_current(ferry__tickets *tickets, int64_t now, ferry__ticket_key *ret_key)
{
    (void)pthread_mutex_lock(&tickets->mutex);
    bool is_there = rotate(tickets, now);
    *ret_key = tickets->current;
    (void)pthread_mutex_unlock(&tickets->mutex);
    return is_there;
}

static bool has_name(const ferry__ticket_key *key, const unsigned char name[16])
{
    return key->made_at != 0 && memcmp(key->name, name, sizeof key->name) == 0;
}

int ferry__tickets_find(ferry__tickets *tickets, int64_t now, const unsigned char name[16],
                        ferry__ticket_key *ret_key)
{
    int found = 0;
    (void)pthread_mutex_lock(&tickets->mutex);
    (void)rotate(tickets, now);
    if (has_name(&tickets->current, name)) {
        *ret_key = tickets->current;
        found = 1;
    } else if (has_name(&tickets->before, name) && !is_older(&tickets->before, now, 2 * KEY_NS)) {
        *ret_key = tickets->before;
        found = 2;
    }
    (void)pthread_mutex_unlock(&tickets->mutex);
    return found;
}

/* ---- OpenSSL's side -------------------------------------------------------------------------- */

/* Sets up both halves of a ticket's encryption. */
static bool set_up(const ferry__ticket_key *key, unsigned char iv[], EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, bool encrypts)
{
    ferry__ticket_key copy = *key; /* OpenSSL's parameters take no constants */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, copy.mac, sizeof copy.mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_end(),
    };
    bool is_set = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, copy.cipher, iv, encrypts) &&
                  EVP_MAC_CTX_set_params(mac, params);
    OPENSSL_cleanse(&copy, sizeof copy);
    return is_set;
}

/* @return as SSL_CTX_set_tlsext_ticket_key_evp_cb(3) has it: 1, 2, 0: none, -1: failed. */
static int choose_key(SSL *ssl, unsigned char name[], unsigned char iv[], EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int encrypts)
{
    ferry__tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    int64_t now = ferry__clock_now();
    ferry__ticket_key key;
    int answer;
    if (encrypts) {
        answer =
            ferry__tickets_current(tickets, now, &key) && RAND_bytes(iv, EVP_MAX_IV_LENGTH) == 1
                ? 1
                : -1;
        memcpy(name, key.name, sizeof key.name);
    } else {
        answer = ferry__tickets_find(tickets, now, name, &key);
        if (answer == 1 && SSL_version(ssl) >= TLS1_3_VERSION)
            answer = 2; /* clients use one once: it is renewed each time */
    }
    if (answer > 0 && !set_up(&key, iv, cipher, mac, encrypts))
        answer = -1;
    OPENSSL_cleanse(&key, sizeof key);
    return answer;
}

bool ferry__tickets_use(ferry__tickets *tickets, SSL_CTX *context)
{
    (void)SSL_CTX_set_tlsext_ticket_key_evp_cb(context, choose_key);
    (void)SSL_CTX_set_timeout(context, FERRY__TICKET_SECONDS);
    (void)SSL_CTX_set_num_tickets(context, 1);
    (void)SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return SSL_CTX_set_app_data(context, tickets) == 1;
}
