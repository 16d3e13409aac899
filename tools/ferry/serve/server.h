/* SPDX-License-Identifier: MIT */
/*
 * The server: a service of ferry's with shared owners, and all connections that are open.
 * entrance.h lets them in.
 *
 * Threads: one thread makes the server, starts it and stops it. Everything else, from accepting to
 * answering, happens on ferry's owners, each connection on its own one. Each owner has a cache of
 * its own. They share only the places for connections (places.h), and what never changes.
 */
#ifndef TOOLS_FERRY_SERVE_SERVER_H
#define TOOLS_FERRY_SERVE_SERVER_H

#include "access_log.h"
#include "cache.h"
#include "places.h"

#include <ferry/service.h>
#include <ferry/stream.h>

enum { SERVER_PLACES = 16 }; /* as many addresses as it may listen at */

/* How long a client may take, in milliseconds. */
struct client_times {
    int64_t head_ms; /* for a request, once it has begun; then it is told 408 */
    int64_t idle_ms; /* until the next one; and to take any byte of an answer */
};

struct server_options {
    struct site site;
    struct cache_limits cache; /* of each owner's */
    unsigned owners;           /* threads; 0: one for each processor */
    uint64_t rate_bytes_per_s; /* of all answers together; 0: no limit */
    struct log_writer *log;    /* NULL: none. Borrowed */
    struct client_times times;
};

struct server;

/* Makes a server without connections. @return 0, or a negative errno. */
int server_create(const struct server_options *options, struct server **ret_server);

/* Makes places for connections. @param limit how many; 0: any number. Gives: they are the server's.
 * @return NULL: out of memory, or too many of them. */
struct places *server_add_places(struct server *server, unsigned limit);

/* The service that new streams are put into, and their options. */
ferry_service *server_service(struct server *server);
const ferry_stream_options *server_stream_options(const struct server *server);

/*
 * Ends in order: nobody is let in any more, idle connections are closed, answers under way are
 * finished. @param timeout_ms for all that. @return how many connections still have answers to
 * send.
 */
size_t server_stop(struct server *server, int64_t timeout_ms);

/* Ends what is left, and frees all. Takes NULL. */
void server_destroy(struct server *server);

/* ---- for connections, on the owners ---- */

/* The calling owner's cache. @return NULL: out of memory. */
struct cache *server_cache(struct server *server);

const struct server_options *server_options_of(const struct server *server);

#endif
