/* SPDX-License-Identifier: MIT */
/*
 * A link of another kind than ferry's own, to show that nothing above transport/edge knows which it
 * has. Its bytes go over the wire in records, as those of TLS do: each is a kind, a length and
 * bytes that are changed by a key stream. A record that has begun has to leave, or nothing behind
 * it makes sense. The end of a direction is a record, too. And who receives much says so, in
 * records of its own making that nobody has asked it to write.
 */
#ifndef FERRY_TESTS_RECORDS_H
#define FERRY_TESTS_RECORDS_H

#include "transport/stream/stream.h"

/* The most bytes that one has. */
enum { RECORD_HEADER = 3, RECORD_MOST = 4000 };

typedef enum record_kind { RECORD_DATA, RECORD_NOTE, RECORD_END } record_kind;

/* One on its way out. Zero-initialised, there is none. */
typedef struct record_writer {
    unsigned char bytes[RECORD_HEADER + RECORD_MOST];
    size_t begin, end; /* of what has not left */
    uint64_t position; /* in the key stream */
} record_writer;

/* One that comes, and what the last one had in it. Zero-initialised, nothing has come. */
typedef struct record_reader {
    unsigned char coming[RECORD_HEADER + RECORD_MOST];
    size_t count;
    unsigned char in[RECORD_MOST];
    size_t begin, end;
    uint64_t position;
    bool has_ended;
} record_reader;

/* Makes one of the first bytes of pieces, where none is on its way. @return how many. */
size_t record_make(record_writer *writer, record_kind kind, const struct iovec pieces[], int count);

/* Where the next bytes of what comes are to be put, and how many at most; then that many have come.
 * Only while nothing is in. */
struct iovec record_wanted(record_reader *in);
void record_came(record_reader *in, size_t count);

/* Takes bytes that are in. @return how many. */
size_t record_take(record_reader *in, void *data, size_t size);

static inline bool record_is_in(const record_reader *in)
{
    return in->begin < in->end;
}

/* Puts a stream on such a link, before anything is asked of it: its owner has not looked at its
 * link yet. */
void records_put_on(ferry_stream *stream);

#endif
