/* SPDX-License-Identifier: MIT */
#include "transport/edge/segments.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum {
    MOST_PACKET = 65536 - 320, /* beside its headers */
    PAGE = 4096,               /* or larger */
    MOST_PIECE = 16 * PAGE,    /* what sendfile(2) hands on at a time */
    LITTLE = 4096,             /* is no call of its own worth */
    FEW = 16 * 1024,           /* too few to ask the kernel for them */
    USES = 64                  /* segments grow with the peer's window, and change with the route */
};

static bool is_narrow(int fd)
{
    static const char paced[] = "bbr"; /* and its later versions */
    char name[16] = "";                /* TCP_CA_NAME_MAX */
    socklen_t size = sizeof name;
    return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0 &&
           strncmp(name, paced, sizeof paced - 1) == 0;
}

static void ask(ferry__segments *segments, int fd)
{
    int segment = 0;
    socklen_t size = sizeof segment;
    if (getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, &size) < 0 || segment <= 0 ||
        segment > UINT16_MAX)
        segment = 0;
    bool is_settled = segment == segments->size;
    if (segments->size == 0)
        segments->is_narrow = is_narrow(fd);
    segments->size = (uint16_t)segment;
    segments->uses = is_settled ? USES : 1;
}

static void look(ferry__segments *segments, int fd)
{
    if (segments->uses == 0)
        ask(segments, fd);
    segments->uses--;
}

/* As many whole ones of unit as size has room for; 0: none. */
static size_t whole(size_t size, size_t unit)
{
    return size - size % unit;
}

size_t ferry__segments_trim(ferry__segments *segments, int fd, size_t size)
{
    if (size < FEW)
        return size;
    look(segments, fd);
    size_t segment = segments->size;
    if (segment == 0 || size < segment)
        return size;
    size_t packet = segment < MOST_PACKET ? whole(MOST_PACKET, segment) : segment;
    return whole(size, size < packet ? segment : packet);
}

size_t ferry__segments_piece(ferry__segments *segments, int fd, int64_t offset, size_t left)
{
    size_t at_once =
        MOST_PIECE - (size_t)offset % PAGE; /* the first of its pages is a part of one */
    if (left <= at_once)
        return left;
    look(segments, fd);
    if (!segments->is_narrow || segments->size == 0)
        return left;
    size_t piece = whole(at_once, segments->size);
    if (piece == 0)
        piece = segments->size;
    return left < piece + LITTLE ? left : piece;
}
