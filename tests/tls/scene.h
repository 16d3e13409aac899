/* SPDX-License-Identifier: MIT */
/* What tests of TLS are played on: a service that listens and connects, with a context each. */
#ifndef FERRY_TESTS_TLS_SCENE_H
#define FERRY_TESTS_TLS_SCENE_H

#include "tests/notes.h"
#include "tests/support.h"
#include "tests/tls_support.h"

typedef struct scene {
    ferry_service *service;
    identity authority; /* whom the client trusts, unless it has options of its own */
    identity own;       /* the server's */
    ferry_tls_context *server, *client;
    ferry_listener *listener;
    char address[64];
    _Atomic(ferry_stream *) accepted; /* a reference: the last one; or NULL */
    atomic_uint accepted_count;
    atomic_uint failed_count; /* handshakes of the server's */
    pthread_mutex_t mutex;    /* of failure: the last one */
    ferry_tls_failure failure;
} scene;

/* What is to be different. */
typedef struct scene_wish {
    ferry_placement placement;
    identity_wish own;               /* name NULL: "DNS:localhost,IP:127.0.0.1" */
    ferry_tls_server_options server; /* certificates NULL: own */
    ferry_tls_client_options client; /* trust of 0: the authority */
    ferry_stream_options stream;     /* of both ends; without tls */
    int64_t handshake_timeout_ms;    /* the server's */
    const char *address;             /* NULL: 127.0.0.1:0 */
} scene_wish;

/* In memory that stays where it is, since callbacks have it. */
scene *scene_open(scene_wish wish);
void scene_end(scene *self);
PUT_AWAY(end_scene, scene, scene_end)

/* Connects to it. @param name as in ferry_tls_options. @return the promise. */
ferry_promise *scene_connect(scene *self, const char *name);

/* Has a connected socket be a stream, as either end. */
ferry_stream *scene_adopt_server(scene *self, int fd);
ferry_stream *scene_adopt_client(scene *self, int fd);

/* Connects, and gives both streams: references. */
void scene_join(scene *self, ferry_stream **ret_client, ferry_stream **ret_server);

/* The stream that was accepted last, once it is: its reference is the caller's. */
ferry_stream *scene_take_accepted(scene *self);

/* Waits until a handshake has failed at the server. @return why. */
ferry_tls_failure scene_await_failure(scene *self);

/* Has a stream read so many bytes. */
ferry_promise *begin_read(ferry_stream *stream, void *data, size_t size);

/* Has content leave one stream and come to the other. */
void check_content_passes(ferry_stream *from, ferry_stream *to, uint64_t seed, size_t size);

/* Makes a file of a text, or has it say that from now on. */
void write_file(const char *path, const char *text);

#endif
