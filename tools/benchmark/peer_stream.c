/* SPDX-License-Identifier: MIT */
#include "peer_stream.h"

#include <errno.h>
#include <unistd.h>

enum { PATIENCE_MS = 60 * 1000 }; /* a promise that settles later than that is lost */

int service_with_one_owner(ferry_service **ret_service)
{
    const ferry_service_options one = {.placement = FERRY_PLACEMENT_SHARED, .shared_owners = 1};
    return ferry_service_create(&one, ret_service);
}

int peer_stream_init(peer_stream *s, const peer *p, ferry_placement placement)
{
    *s = (peer_stream){.peer = p};
    return ferry_service_create(&(ferry_service_options){.placement = placement}, &s->service);
}

void peer_stream_deinit(peer_stream *s)
{
    s->stream = ferry_stream_unref(s->stream);
    ferry_service_destroy(s->service);
    s->service = NULL;
}

int peer_stream_open(peer_stream *s)
{
    int fd = peer_connect(s->peer);
    if (fd < 0)
        return fd;
    int error = ferry_stream_adopt(s->service, fd, s->options, &s->stream);
    if (error != 0)
        (void)close(fd);
    return error;
}

int peer_stream_close(peer_stream *s, uint64_t expected)
{
    ferry_promise *closed;
    int error = ferry_stream_close(s->stream, &closed);
    s->stream = ferry_stream_unref(s->stream);
    if (error == 0)
        error = peer_stream_settle(closed, 0);
    return error == 0 ? peer_check(s->peer, expected) : error;
}

int peer_stream_settle(ferry_promise *promise, uint64_t length)
{
    ferry_result result;
    int error = ferry_promise_await(promise, PATIENCE_MS, &result);
    (void)ferry_promise_unref(promise);
    if (error != 0)
        return error;
    if (result.error != 0)
        return result.error;
    return result.sent == length ? 0 : -EBADMSG;
}

int peer_stream_send_file(ferry_stream *stream, int file_fd, size_t bytes, size_t length)
{
    ferry_file file = ferry_file_fd(file_fd);
    file.offset = 0;
    ferry_promise *sent = NULL;
    int error = 0;
    for (size_t left = length; left > 0 && error == 0; left -= bytes)
        error = ferry_stream_sendfile(stream, &file, NULL, left == bytes ? &sent : NULL);
    return error != 0 ? error : peer_stream_settle(sent, bytes);
}
