/* SPDX-License-Identifier: MIT */
#include "tls/sessions.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void ferry__sessions_init(ferry__sessions *sessions)
{
    memset(sessions, 0, sizeof *sessions);
    (void)pthread_mutex_init(&sessions->mutex, NULL);
}

void ferry__sessions_deinit(ferry__sessions *sessions)
{
    ferry__sessions_clear(sessions);
    (void)pthread_mutex_destroy(&sessions->mutex);
}

/* @return its place's number; FERRY__SESSIONS_MOST: there is none. */
static unsigned find(const ferry__sessions *sessions, const char *name)
{
    unsigned i = 0;
    while (i < FERRY__SESSIONS_MOST &&
           (sessions->places[i].session == NULL || strcmp(sessions->places[i].name, name) != 0))
        i++;
    return i;
}

/* The place of a free or, if there is none, the oldest one. */
static unsigned find_oldest(const ferry__sessions *sessions)
{
    unsigned oldest = 0;
    for (unsigned i = 0; i < FERRY__SESSIONS_MOST; i++) {
        if (sessions->places[i].session == NULL)
            return i;
        if (sessions->places[i].put_at < sessions->places[oldest].put_at)
            oldest = i;
    }
    return oldest;
}

void ferry__sessions_put(ferry__sessions *sessions, const char *name, SSL_SESSION *session)
{
    (void)pthread_mutex_lock(&sessions->mutex);
    unsigned i = find(sessions, name);
    if (i == FERRY__SESSIONS_MOST)
        i = find_oldest(sessions);
    SSL_SESSION *before = sessions->places[i].session;
    sessions->places[i].session = session;
    sessions->places[i].put_at = sessions->clock++;
    (void)snprintf(sessions->places[i].name, FERRY__NAME_BYTES, "%s", name);
    (void)pthread_mutex_unlock(&sessions->mutex);
    SSL_SESSION_free(before);
}

/* Whether it is used once: with TLS 1.2 a server gives no other one for it. */
static bool is_used_up(const SSL_SESSION *session)
{
    return SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION;
}

SSL_SESSION *ferry__sessions_take(ferry__sessions *sessions, const char *name)
{
    SSL_SESSION *session = NULL;
    (void)pthread_mutex_lock(&sessions->mutex);
    unsigned i = find(sessions, name);
    if (i < FERRY__SESSIONS_MOST) {
        session = sessions->places[i].session;
        if (is_used_up(session))
            sessions->places[i].session = NULL;
        else
            (void)SSL_SESSION_up_ref(session);
    }
    (void)pthread_mutex_unlock(&sessions->mutex);
    return session;
}

void ferry__sessions_clear(ferry__sessions *sessions)
{
    (void)pthread_mutex_lock(&sessions->mutex);
    for (unsigned i = 0; i < FERRY__SESSIONS_MOST; i++) {
        SSL_SESSION_free(sessions->places[i].session);
        sessions->places[i].session = NULL;
    }
    (void)pthread_mutex_unlock(&sessions->mutex);
}
