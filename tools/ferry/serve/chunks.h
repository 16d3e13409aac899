/* SPDX-License-Identifier: MIT */
/*
 * Where a chunked body ends (RFC 9112, 7.1). It is there to be skipped, so no more is known of it:
 *
 *     (size *( blank ";" anything ) CR LF  data CR LF)*  0 ... CR LF  (name ":" value CR LF)*
 *     CR LF
 *
 * As with a head, all that is not in a table is refused: a body that seems longer to a proxy, or
 * shorter, hides a request. The lines behind the last chunk look like those of a head, and are
 * scanned as such. Nobody believes what they say.
 */
#ifndef TOOLS_FERRY_SERVE_CHUNKS_H
#define TOOLS_FERRY_SERVE_CHUNKS_H

#include "head.h"

enum { CHUNKS_MOST_BYTES = 16 * 1024 }; /* all of them, as they come; more: 413 */

/* What the next byte belongs to. */
enum chunks_state {
    CHUNKS_REFUSED,
    CHUNKS_SIZE, /* its first digit */
    CHUNKS_DIGITS,
    CHUNKS_BLANK, /* between the size and an extension */
    CHUNKS_EXTENSION,
    CHUNKS_SIZE_LF,
    CHUNKS_DATA,
    CHUNKS_DATA_CR, /* behind the data */
    CHUNKS_DATA_LF,
    CHUNKS_TRAILER,
    CHUNKS_WHOLE,
    CHUNKS_STATES
};

struct chunks {
    enum chunks_state state;
    int status;      /* of refused ones: what to answer; else 0 */
    uint32_t length; /* bytes that were looked at; of whole ones, all they have */
    uint32_t left;   /* of the chunk, or its size as far as it has come */
    uint32_t begin;  /* of the trailer, once it has begun */
    struct request_head trailer;
};

/* Begins a body. */
void chunks_begin(struct chunks *chunks);

/* Goes on with a body. @param data all of its bytes so far, and what follows it perhaps. */
void chunks_scan(struct chunks *chunks, const char *data, size_t length);

#endif
