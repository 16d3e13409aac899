/* SPDX-License-Identifier: MIT */
/*
 * Where TCP's packets end. The kernel hands on as many whole segments at a time as 64 KiB hold. If
 * a call ends within a segment, the kernel keeps the rest for the next one, but only until the peer
 * acknowledges something: then the rest leaves as a packet of its own, whatever MSG_MORE has said.
 * Such a packet wakes the peer for little, and counts as much as a full one. So a call behind which
 * more follows ends where a packet does.
 *
 * With BBR that decides about the speed where its congestion window is a few packets. On the
 * loopback, whose segments are of 64 KiB, a long file leaves twice as fast if each sendfile(2)
 * moves one packet, and between network namespaces three times. Else many packets to a call are
 * faster.
 *
 * Threads: the owner's.
 */
#ifndef FERRY_TRANSPORT_EDGE_SEGMENTS_H
#define FERRY_TRANSPORT_EDGE_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FERRY__PAGE = 4096,                    /* or larger */
    FERRY__PIECE_BYTES = 16 * FERRY__PAGE, /* what the kernel moves of a file at a time */
    /* Of a file, from so many bytes on the window matters. */
    FERRY__LONG = 768 * 1024
};

/* What is known of a socket's. Zeroed at first. */
typedef struct ferry__segments {
    uint16_t size;         /* of one; 0: unknown, or not TCP's */
    uint8_t left;          /* how often it may be used until the kernel is asked again */
    uint8_t questions : 4; /* in a row with the same answer, 7 at most; left begins at 2^(n - 1) */
    bool is_by_bbr : 1;    /* BBR controls it: looked at once; */
    bool is_narrow : 1;    /* and few bytes are under way at once */
} ferry__segments;

/* @return the most bytes, size at most, that end where a packet does; if they are less than a
 * segment: size. */
size_t ferry__segments_trim(ferry__segments *segments, int fd, size_t size);

/* @param offset where in a file they are. @return how much of left bytes one sendfile(2) should
 * move. */
size_t ferry__segments_piece(ferry__segments *segments, int fd, int64_t offset, size_t left);

#endif
