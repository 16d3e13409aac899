/* SPDX-License-Identifier: MIT */
/*
 * What the demo sends over a connection: messages, each a head, a whole sample file and a
 * tail. Each connection carries the same MESSAGES messages, in whatever order they come.
 *
 *     | message_head | file's bytes | message_tail |
 */
#ifndef TOOLS_FERRY_DEMO_MESSAGE_H
#define TOOLS_FERRY_DEMO_MESSAGE_H

#include "sample_files.h"

#include <stdbool.h>

/* So that each sample file is sent twice as often as the next larger one, and the two
 * largest twice. */
enum { MESSAGES = 1 << SAMPLE_FILES };

struct message_head {
    uint64_t magic;  /* MESSAGE_MAGIC */
    uint64_t number; /* below MESSAGES, each comes once */
    uint64_t file;   /* which sample file */
    uint64_t length; /* of the file, in bytes */
};

struct message_tail {
    uint64_t number;    /* as in the head */
    uint64_t head_hash; /* XXH3_64bits of the head */
};

/* One message, but for its file's bytes. */
struct message {
    struct message_head head;
    struct message_tail tail;
    const struct sample_file *file;
};

/* Makes the message of a number below MESSAGES. */
struct message message_make(const struct sample_files *samples, uint64_t number);

/* Its length on the wire, in bytes. */
uint64_t message_length(const struct message *message);

/* Whether that is what a sender makes of its number. */
bool message_head_is_valid(const struct message_head *head, const struct sample_files *samples);

/* Whether a tail is the one of a valid head. */
bool message_tail_is_valid(const struct message_tail *tail, const struct message_head *head,
                           const struct sample_files *samples);

/* What all messages of one connection come to, in bytes. */
uint64_t message_sum(const struct sample_files *samples);

#endif
