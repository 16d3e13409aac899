/* SPDX-License-Identifier: MIT */
#include "receiver.h"

#include "../common/units.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <xxhash.h>

enum { BUFFER_BYTES = 256 * 1024 }; /* stays in the processor's cache until it is hashed */

/* A receiver at work: what was read and not looked at yet. */
struct reader {
    struct receiver *receiver;
    XXH3_state_t *hash; /* of the file that is coming */
    size_t begin, end;  /* of the bytes in buffer */
    uint64_t taken;     /* bytes looked at */
    char buffer[BUFFER_BYTES];
};

/* Sees to it that the buffer is not empty. @return false: that was the end. */
static bool refill(struct reader *reader)
{
    if (reader->begin < reader->end)
        return true;
    ssize_t count = wire_read(&reader->receiver->wire, reader->buffer, BUFFER_BYTES);
    if (count < 0)
        reader->receiver->wrong = "the connection broke";
    if (count <= 0)
        return false;
    reader->begin = 0;
    reader->end = (size_t)count;
    atomic_fetch_add_explicit(&reader->receiver->read_bytes, (uint64_t)count, memory_order_relaxed);
    return true;
}

/* Takes up to length bytes out of a buffer that is not empty. */
static const char *take(struct reader *reader, uint64_t length, size_t *ret_length)
{
    const char *bytes = reader->buffer + reader->begin;
    size_t there = reader->end - reader->begin;
    *ret_length = length < there ? (size_t)length : there;
    reader->begin += *ret_length;
    reader->taken += *ret_length;
    return bytes;
}

static bool take_all(struct reader *reader, void *into, size_t length)
{
    char *to = into;
    while (length > 0) {
        if (!refill(reader))
            return false;
        size_t count;
        const char *bytes = take(reader, length, &count);
        memcpy(to, bytes, count);
        to += count;
        length -= count;
    }
    return true;
}

static bool hash_all(struct reader *reader, uint64_t length, uint64_t *ret_hash)
{
    (void)XXH3_64bits_reset(reader->hash);
    while (length > 0) {
        if (!refill(reader))
            return false;
        size_t count;
        const char *bytes = take(reader, length, &count);
        (void)XXH3_64bits_update(reader->hash, bytes, count);
        length -= count;
    }
    *ret_hash = XXH3_64bits_digest(reader->hash);
    return true;
}

/* Notes a fault, unless a deeper one was noted. @return false. */
static bool fault(struct reader *reader, const char *what)
{
    if (reader->receiver->wrong == NULL)
        reader->receiver->wrong = what;
    return false;
}

static bool check_message(struct reader *reader)
{
    struct receiver *receiver = reader->receiver;
    uint64_t start = reader->taken, hash;
    struct message_head head;
    struct message_tail tail;
    if (!take_all(reader, &head, sizeof head))
        return fault(reader, "it ended within a head");
    if (!message_head_is_valid(&head, receiver->samples))
        return fault(reader, "a head is not what was sent");
    if (receiver->has_seen[head.number])
        return fault(reader, "a message came twice");
    if (!hash_all(reader, head.length, &hash))
        return fault(reader, "it ended within a file");
    if (hash != receiver->samples->files[head.file].hash)
        return fault(reader, "a file's bytes have another hash than what was sent");
    if (!take_all(reader, &tail, sizeof tail))
        return fault(reader, "it ended within a tail");
    if (!message_tail_is_valid(&tail, &head, receiver->samples))
        return fault(reader, "a tail is not what was sent");
    receiver->starts[head.number] = start;
    receiver->has_seen[head.number] = true;
    receiver->count++;
    return true;
}

static void check_all(struct reader *reader)
{
    while (refill(reader))
        if (!check_message(reader))
            return;
    if (reader->receiver->count != MESSAGES)
        (void)fault(reader, "messages are missing");
}

void receiver_run(struct receiver *receiver)
{
    struct reader *reader = calloc(1, sizeof *reader);
    XXH3_state_t *hash = XXH3_createState();
    if (reader == NULL || hash == NULL) {
        receiver->wrong = "out of memory";
    } else {
        reader->receiver = receiver;
        reader->hash = hash;
        check_all(reader);
    }
    receiver->ended_at = units_now();
    (void)shutdown(receiver->wire.fd, SHUT_RDWR); /* a sender that still has bytes is let go */
    wire_close(&receiver->wire);
    (void)XXH3_freeState(hash);
    free(reader);
}
