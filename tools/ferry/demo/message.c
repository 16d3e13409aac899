/* SPDX-License-Identifier: MIT */
#include "message.h"

#include <string.h>
#include <xxhash.h>

static const uint64_t MESSAGE_MAGIC = 0x0a79727265660a01; /* "\1\nferry\n" */

/* 0 1 0 2 0 1 0 3 ...: half of all numbers get file 0, a quarter file 1, and so on. */
static unsigned choose_file(uint64_t number)
{
    const unsigned last = SAMPLE_FILES - 1;
    return (unsigned)__builtin_ctzll(number | UINT64_C(1) << last);
}

struct message message_make(const struct sample_files *samples, uint64_t number)
{
    unsigned index = choose_file(number);
    const struct sample_file *file = &samples->files[index];
    struct message message = {
        .head = {.magic = MESSAGE_MAGIC, .number = number, .file = index, .length = file->size},
        .file = file,
    };
    message.tail.number = number;
    message.tail.head_hash = XXH3_64bits(&message.head, sizeof message.head);
    return message;
}

uint64_t message_length(const struct message *message)
{
    return sizeof message->head + message->file->size + sizeof message->tail;
}

bool message_head_is_valid(const struct message_head *head, const struct sample_files *samples)
{
    if (head->number >= MESSAGES)
        return false;
    struct message expected = message_make(samples, head->number);
    return memcmp(head, &expected.head, sizeof *head) == 0;
}

bool message_tail_is_valid(const struct message_tail *tail, const struct message_head *head,
                           const struct sample_files *samples)
{
    struct message expected = message_make(samples, head->number);
    return memcmp(tail, &expected.tail, sizeof *tail) == 0;
}

uint64_t message_sum(const struct sample_files *samples)
{
    uint64_t sum = 0;
    for (uint64_t number = 0; number < MESSAGES; number++) {
        struct message message = message_make(samples, number);
        sum += message_length(&message);
    }
    return sum;
}
