/* SPDX-License-Identifier: MIT */
#include "entrance.h"

#include "connection.h"

#include <errno.h>

enum { PEER_BYTES = 128 }; /* of an address; a longer one is cut */

static void on_stream(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    struct places *places = arg;
    char peer[PEER_BYTES] = "";
    (void)listener;
    if (server_options_of(places_server(places))->log != NULL)
        (void)ferry_stream_get_peer(stream, peer, sizeof peer);
    connection_begin(places, stream, peer);
}

int entrance_open(struct server *server, const struct entrance_options *options, char *bound,
                  size_t size, ferry_phase *ret_phase, ferry_listener **ret_entrance)
{
    struct places *places = server_add_places(server, options->limit);
    if (places == NULL)
        return -ENOMEM;
    const ferry_tls_options tls = {
        .context = options->tls,
        .handshake_timeout_ms = server_options_of(server)->times.head_ms,
    };
    ferry_stream_options stream = *server_stream_options(server);
    if (options->tls != NULL)
        stream.tls = &tls;
    const ferry_listen_options listen = {
        .on_stream = on_stream,
        .on_stream_arg = places,
        .on_owner = true,
        .stream = &stream,
        .limit_streams = options->limit > 0 ? options->limit + PLACES_WAITING : 0,
        .ret_phase = ret_phase,
    };
    int error = ferry_listen(server_service(server), options->address, &listen, ret_entrance);
    if (error == 0)
        (void)ferry_listener_get_address(*ret_entrance, bound, size);
    return error;
}
