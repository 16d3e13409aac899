/* SPDX-License-Identifier: MIT */
#include "server.h"

#include "lister.h"

#include <ferry/ferry.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    /*
     * For all answers together that wait in memory. Each connection stops at far less. This is for
     * very many that do not read: an answer beyond it is refused, and its connection ended.
     */
    WAITING_BYTES = 512 * 1024 * 1024,
    CLOSE_MS = 5000, /* a client that has read its last answer ends in this time, or never */
    /* Bytes that may follow a request that was refused: many clients send all of a body before they
     * look at the answer, and a reset would take it from them. */
    CLOSE_BYTES = 64 * 1024 * 1024,
    /*
     * So a hundred slow clients tie up 50 MiB, and not 400. Fast ones are not slowed down, as far
     * as `tools/bench serve` can tell.
     */
    UNSENT_BYTES = 512 * 1024,
    STOP_MS = 200 /* at least: owners have to note what has left just now */
};

struct server {
    struct server_options options;
    ferry_service *service;
    ferry_limiter *limiter;               /* NULL: none */
    ferry_stream_options stream;          /* of every connection */
    pthread_key_t cache;                  /* each owner's */
    struct places *places[SERVER_PLACES]; /* at each address */
    size_t place_count;
};

/* ---- connections ----------------------------------------------------------------------------- */

const struct server_options *server_options_of(const struct server *server)
{
    return &server->options;
}

struct cache *server_cache(struct server *server)
{
    struct cache *cache = pthread_getspecific(server->cache);
    if (cache != NULL)
        return cache;
    cache = cache_create(&server->options.site, &server->options.cache);
    if (cache != NULL && pthread_setspecific(server->cache, cache) == 0)
        return cache;
    cache_free(cache);
    return NULL;
}

ferry_service *server_service(struct server *server)
{
    return server->service;
}

const ferry_stream_options *server_stream_options(const struct server *server)
{
    return &server->stream;
}

static void free_cache(void *cache)
{
    cache_free(cache);
}

struct places *server_add_places(struct server *server, unsigned limit)
{
    if (server->place_count == SERVER_PLACES)
        return NULL;
    struct places *places = places_create(server, limit);
    if (places != NULL)
        server->places[server->place_count++] = places;
    return places;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int create_limiter(struct server *server)
{
    const ferry_limiter_options options = {.bytes_per_s = server->options.rate_bytes_per_s};
    return options.bytes_per_s == 0 ? 0 : ferry_limiter_create(&options, &server->limiter);
}

static int create_service(struct server *server)
{
    const ferry_service_options options = {.placement = FERRY_PLACEMENT_SHARED,
                                           .shared_owners = server->options.owners,
                                           .limit_bytes = WAITING_BYTES};
    return ferry_service_create(&options, &server->service);
}

static int start_lister(struct server *server)
{
    int error = lister_start(&server->options.site, &server->options.site.lister);
    if (error == 0)
        return 0;
    ferry_service_destroy(server->service);
    (void)pthread_key_delete(server->cache);
    return error;
}

static int set_up(struct server *server)
{
    int error = create_limiter(server);
    if (error != 0)
        return error;
    server->stream = (ferry_stream_options){
        .close_timeout_ms = CLOSE_MS,
        .close_bytes = CLOSE_BYTES,
        .stall_timeout_ms = server->options.times.idle_ms,
        .limiter = server->limiter,
        .no_delay = true, /* an answer is one request: there is nothing to wait for behind it */
        .notsent_lowat_bytes = UNSENT_BYTES,
    };
    error = -pthread_key_create(&server->cache, free_cache);
    if (error != 0)
        return error;
    error = create_service(server);
    if (error != 0)
        (void)pthread_key_delete(server->cache);
    else if (server->options.site.lists)
        error = start_lister(server);
    return error;
}

int server_create(const struct server_options *options, struct server **ret_server)
{
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return -ENOMEM;
    server->options = *options;
    int error = set_up(server);
    if (error == 0) {
        *ret_server = server;
        return 0;
    }
    (void)ferry_limiter_unref(server->limiter);
    free(server);
    return error;
}

size_t server_stop(struct server *server, int64_t timeout_ms)
{
    size_t count = 0;
    bool is_short = timeout_ms >= 0 && timeout_ms < STOP_MS;
    if (ferry_service_stop(server->service, is_short ? STOP_MS : timeout_ms) == 0)
        return 0;
    /* Connections that have all answers, and whose clients do not end, do no harm. */
    for (size_t i = 0; i < server->place_count; i++)
        count += places_count_unfinished(server->places[i]);
    return count;
}

/* The owners free their caches when they end, so the key goes after them. */
void server_destroy(struct server *server)
{
    if (server == NULL)
        return;
    ferry_service_destroy(server->service);
    lister_stop(server->options.site.lister);
    (void)pthread_key_delete(server->cache);
    (void)ferry_limiter_unref(server->limiter);
    for (size_t i = 0; i < server->place_count; i++)
        places_free(server->places[i]);
    free(server);
}
