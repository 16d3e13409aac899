/* SPDX-License-Identifier: MIT */
/*
 * What the demo sends over a connection: records, each a head, a whole file of the corpus and a
 * tail. Each connection carries the same LANE_RECORDS records, in whatever order they come.
 *
 *     | record_head | file's bytes | record_tail |
 */
#ifndef TOOLS_FERRY_DEMO_RECORD_H
#define TOOLS_FERRY_DEMO_RECORD_H

#include "corpus.h"

#include <stdbool.h>

/* So that each file of the corpus is sent twice as often as the next larger one, and the two
 * largest twice. */
enum { LANE_RECORDS = 1 << CORPUS_FILES };

struct record_head {
    uint64_t magic;  /* RECORD_MAGIC */
    uint64_t number; /* below LANE_RECORDS, each comes once */
    uint64_t file;   /* index into the corpus */
    uint64_t length; /* of the file, in bytes */
};

struct record_tail {
    uint64_t number;    /* as in the head */
    uint64_t head_hash; /* XXH3_64bits of the head */
};

/* One record, but for its file's bytes. */
struct record {
    struct record_head head;
    struct record_tail tail;
    const struct corpus_file *file;
};

/* Makes the record of a number below LANE_RECORDS. */
struct record record_make(const struct corpus *corpus, uint64_t number);

/* Its length on the wire, in bytes. */
uint64_t record_length(const struct record *record);

/* Whether that is what a sender makes of its number. */
bool record_head_is_valid(const struct record_head *head, const struct corpus *corpus);

/* Whether a tail is the one of a valid head. */
bool record_tail_is_valid(const struct record_tail *tail, const struct record_head *head,
                          const struct corpus *corpus);

/* What all records of one connection come to, in bytes. */
uint64_t record_sum(const struct corpus *corpus);

#endif
