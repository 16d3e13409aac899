/* SPDX-License-Identifier: MIT */
#include "transport/edge/segments.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum {
    MOST_PACKET = 65215, /* 64 KiB without what the kernel keeps for headers */
    LITTLE = 4096,       /* is not worth a call of its own */
    FEW = 16 * 1024,     /* too few to ask the kernel for them */
    MOST_QUESTIONS = 7,  /* to be counted */
    WIDE = 4 << 20       /* bytes under way: a path that is long */
};

/* Whether BBR controls it, or a later version: it is asked once. */
static bool is_by_bbr(int fd)
{
    static const char name[] = "bbr";
    char control[16] = ""; /* TCP_CA_NAME_MAX */
    socklen_t size = sizeof control;
    return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, control, &size) == 0 &&
           strncmp(control, name, sizeof name - 1) == 0;
}

static bool has_few_under_way(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           (uint64_t)info.tcpi_snd_cwnd * info.tcpi_snd_mss < WIDE;
}

static void ask(ferry__segments *segments, int fd)
{
    int segment = 0;
    socklen_t size = sizeof segment;
    if (getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, &size) < 0 || segment <= 0 ||
        segment > UINT16_MAX)
        segment = 0;
    bool was_asked = segments->questions > 0, is_same = was_asked && segment == segments->size;
    if (!was_asked)
        segments->is_by_bbr = is_by_bbr(fd);
    segments->is_narrow = segments->is_by_bbr && has_few_under_way(fd);
    segments->size = (uint16_t)segment;
    if (!is_same)
        segments->questions = 1;
    else if (segments->questions < MOST_QUESTIONS)
        segments->questions++;
    segments->left = (uint8_t)(1U << (segments->questions - 1));
}

/* Segments grow with the peer's window, and change with the route: the kernel is asked again, less
 * and less often. */
static void look(ferry__segments *segments, int fd)
{
    if (segments->left == 0)
        ask(segments, fd);
    segments->left--;
}

/* What whole ones of unit take of size. */
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
    /* What the kernel hands on at once: the first of its pages may be a part of one. */
    size_t at_once = FERRY__PIECE_BYTES - (size_t)offset % FERRY__PAGE;
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
