/* SPDX-License-Identifier: MIT */
#include "record.h"

#include <string.h>
#include <xxhash.h>

static const uint64_t RECORD_MAGIC = 0x0a79727265660a01; /* "\1\nferry\n" */

/* 0 1 0 2 0 1 0 3 ...: half of all numbers get file 0, a quarter file 1, and so on. */
static unsigned choose_file(uint64_t number)
{
    const unsigned last = CORPUS_FILES - 1;
    return (unsigned)__builtin_ctzll(number | UINT64_C(1) << last);
}

struct record record_make(const struct corpus *corpus, uint64_t number)
{
    unsigned index = choose_file(number);
    const struct corpus_file *file = &corpus->files[index];
    struct record record = {
        .head = {.magic = RECORD_MAGIC, .number = number, .file = index, .length = file->size},
        .file = file,
    };
    record.tail.number = number;
    record.tail.head_hash = XXH3_64bits(&record.head, sizeof record.head);
    return record;
}

uint64_t record_length(const struct record *record)
{
    return sizeof record->head + record->file->size + sizeof record->tail;
}

bool record_head_is_valid(const struct record_head *head, const struct corpus *corpus)
{
    if (head->number >= LANE_RECORDS)
        return false;
    struct record expected = record_make(corpus, head->number);
    return memcmp(head, &expected.head, sizeof *head) == 0;
}

bool record_tail_is_valid(const struct record_tail *tail, const struct record_head *head,
                          const struct corpus *corpus)
{
    struct record expected = record_make(corpus, head->number);
    return memcmp(tail, &expected.tail, sizeof *tail) == 0;
}

uint64_t record_sum(const struct corpus *corpus)
{
    uint64_t sum = 0;
    for (uint64_t number = 0; number < LANE_RECORDS; number++) {
        struct record record = record_make(corpus, number);
        sum += record_length(&record);
    }
    return sum;
}
