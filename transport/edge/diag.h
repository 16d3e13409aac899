/* SPDX-License-Identifier: MIT */
/*
 * What the kernel tells of any socket of this network namespace, also of those that are not ours:
 * sock_diag(7), without any privilege. A question finds a TCP socket at once. For a unix socket the
 * kernel walks through all of them. If there are many to ask for, a survey is cheaper: it tells of
 * all unix sockets, of each as of some moment in its course. A survey of 10,000 takes as long as
 * 15 questions for one of them: 6 ms and 0.4 ms were measured.
 *
 * A survey is taken step by step, so that none is long: each is one recv(2), of some 500 sockets.
 */
#ifndef FERRY_TRANSPORT_EDGE_DIAG_H
#define FERRY_TRANSPORT_EDGE_DIAG_H

#include "transport/edge/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One unix socket. */
typedef struct ferry__survey_entry {
    uint32_t inode; /* its own */
    uint32_t peer;  /* that of its peer; 0: it has none */
    int64_t unread; /* bytes in its receive queue; -1: not known */
} ferry__survey_entry;

/* One thread's. It begins as FERRY__SURVEY_NONE. */
typedef struct ferry__survey {
    int64_t began_at;     /* it tells of no moment before that; 0: there was none */
    int diag;             /* where answers come from; -1: it is complete, or was refused */
    ferry__bytes entries; /* by their inodes, once it is complete */
} ferry__survey;

#define FERRY__SURVEY_NONE ((ferry__survey){.diag = -1})

/* @return an fd to ask through, or -1. */
int ferry__diag_open(void);

/* Asks for one unix socket. @return whether there is such a one. */
bool ferry__diag_find_unix(int diag, uint32_t inode, ferry__survey_entry *ret_entry);

/* Counts what the peer of a TCP socket has not read; -1: not known. */
int64_t ferry__diag_unread_by_tcp_peer(int diag, int fd);

/* Begins a survey. What an earlier one told is forgotten. */
void ferry__survey_begin(ferry__survey *survey, int64_t now);

/* One step. @param memory for its answers: of 32 KiB, or some are lost. NULL: it ends here.
 * @return whether there is nothing to go on with. */
bool ferry__survey_go_on(ferry__survey *survey, void *memory, size_t size);

/* @return whether it is complete and knows that socket. It may miss some: ask for those alone. */
bool ferry__survey_find(const ferry__survey *survey, uint32_t inode,
                        ferry__survey_entry *ret_entry);

/* Lets go of what it holds. */
void ferry__survey_drop(ferry__survey *survey);

#endif
