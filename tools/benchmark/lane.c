/* SPDX-License-Identifier: MIT */
#include "lane.h"

#include <errno.h>
#include <unistd.h>

enum { PATIENCE_MS = 60 * 1000 }; /* a promise that settles later than that is lost */

int lane_init(lane *l, const peer *p, ferry_placement placement)
{
    *l = (lane){.peer = p};
    return ferry_service_create(&(ferry_service_options){.placement = placement}, &l->service);
}

void lane_deinit(lane *l)
{
    l->stream = ferry_stream_unref(l->stream);
    ferry_service_destroy(l->service);
    l->service = NULL;
}

int lane_open(lane *l)
{
    int fd = peer_connect(l->peer);
    if (fd < 0)
        return fd;
    int error = ferry_stream_adopt(l->service, fd, NULL, &l->stream);
    if (error != 0)
        (void)close(fd);
    return error;
}

int lane_close(lane *l, uint64_t expected)
{
    ferry_promise *closed;
    int error = ferry_stream_close(l->stream, &closed);
    l->stream = ferry_stream_unref(l->stream);
    if (error == 0)
        error = lane_settle(closed, 0);
    return error == 0 ? peer_check(l->peer, expected) : error;
}

int lane_settle(ferry_promise *promise, uint64_t length)
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
