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

int entrance_open(struct server *server, const char *address, unsigned limit, char *bound,
                  size_t size, ferry_phase *ret_phase, ferry_listener **ret_entrance)
{
    struct places *places = server_add_places(server, limit);
    if (places == NULL)
        return -ENOMEM;
    const ferry_listen_options options = {
        .on_stream = on_stream,
        .on_stream_arg = places,
        .on_owner = true,
        .stream = server_stream_options(server),
        .limit_streams = limit > 0 ? limit + PLACES_WAITING : 0,
        .ret_phase = ret_phase,
    };
    int error = ferry_listen(server_service(server), address, &options, ret_entrance);
    if (error == 0)
        (void)ferry_listener_get_address(*ret_entrance, bound, size);
    return error;
}
