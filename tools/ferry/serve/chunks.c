/* SPDX-License-Identifier: MIT */
#include "chunks.h"

/* ---- what may follow what -------------------------------------------------------------------- */

enum byte_class {
    CONTROL, /* and DEL: nowhere but in data */
    LF,
    CR,
    BLANK,
    HEX,
    SEMICOLON,
    OTHER, /* all else that can be seen, and all beyond ASCII: in an extension */
    CLASSES
};

static const uint8_t classes[256] = {
    ['\t'] = BLANK,        ['\n'] = LF,
    ['\r'] = CR,           [' '] = BLANK,
    ['!' ... '/'] = OTHER, ['0' ... '9'] = HEX,
    [':'] = OTHER,         [';'] = SEMICOLON,
    ['<' ... '@'] = OTHER, ['A' ... 'F'] = HEX,
    ['G' ... '`'] = OTHER, ['a' ... 'f'] = HEX,
    ['g' ... '~'] = OTHER, [0x80 ... 0xff] = OTHER,
};

/* All that is not here is refused: CHUNKS_REFUSED is 0. Data and trailer are scanned elsewhere. */
static const uint8_t next_states[CHUNKS_STATES][CLASSES] = {
    [CHUNKS_SIZE] = {[HEX] = CHUNKS_DIGITS},
    [CHUNKS_DIGITS] = {[HEX] = CHUNKS_DIGITS,
                       [BLANK] = CHUNKS_BLANK,
                       [SEMICOLON] = CHUNKS_EXTENSION,
                       [CR] = CHUNKS_SIZE_LF},
    [CHUNKS_BLANK] = {[BLANK] = CHUNKS_BLANK, [SEMICOLON] = CHUNKS_EXTENSION},
    [CHUNKS_EXTENSION] = {[BLANK] = CHUNKS_EXTENSION,
                          [HEX] = CHUNKS_EXTENSION,
                          [SEMICOLON] = CHUNKS_EXTENSION,
                          [OTHER] = CHUNKS_EXTENSION,
                          [CR] = CHUNKS_SIZE_LF},
    [CHUNKS_SIZE_LF] = {[LF] = CHUNKS_DATA},
    [CHUNKS_DATA_CR] = {[CR] = CHUNKS_DATA_LF},
    [CHUNKS_DATA_LF] = {[LF] = CHUNKS_SIZE},
};

/* ---- scanning -------------------------------------------------------------------------------- */

void chunks_begin(struct chunks *chunks)
{
    *chunks = (struct chunks){.state = CHUNKS_SIZE};
}

static void refuse(struct chunks *chunks, int status)
{
    chunks->state = CHUNKS_REFUSED;
    chunks->status = status;
}

/* A size that is too large stays so, and cannot overflow. */
static void add_digit(struct chunks *chunks, char digit)
{
    uint32_t value = (uint32_t)(digit <= '9' ? digit - '0' : (digit | 32) - 'a' + 10);
    if (chunks->left <= CHUNKS_MOST_BYTES)
        chunks->left = chunks->left * 16 + value;
}

/* The size is known: 0 says that it was the last chunk. */
static void begin_data(struct chunks *chunks)
{
    if (chunks->left > CHUNKS_MOST_BYTES - chunks->length) {
        refuse(chunks, 413);
    } else if (chunks->left == 0) {
        chunks->state = CHUNKS_TRAILER;
        chunks->begin = chunks->length;
        head_begin_trailer(&chunks->trailer);
    }
}

static void scan_byte(struct chunks *chunks, char byte)
{
    chunks->state = next_states[chunks->state][classes[(unsigned char)byte]];
    chunks->length++;
    if (chunks->state == CHUNKS_DIGITS)
        add_digit(chunks, byte);
    else if (chunks->state == CHUNKS_DATA)
        begin_data(chunks);
    else if (chunks->state == CHUNKS_REFUSED)
        refuse(chunks, 400);
}

static void skip_data(struct chunks *chunks, uint32_t end)
{
    uint32_t come = end - chunks->length;
    uint32_t skipped = come < chunks->left ? come : chunks->left;
    chunks->length += skipped;
    chunks->left -= skipped;
    if (chunks->left == 0)
        chunks->state = CHUNKS_DATA_CR;
}

static void scan_trailer(struct chunks *chunks, const char *data, uint32_t end)
{
    struct request_head *trailer = &chunks->trailer;
    head_scan(trailer, data + chunks->begin, end - chunks->begin);
    chunks->length = chunks->begin + trailer->length;
    if (trailer->state == HEAD_WHOLE)
        chunks->state = CHUNKS_WHOLE;
    else if (trailer->state == HEAD_REFUSED)
        refuse(chunks, trailer->status);
}

static void scan_piece(struct chunks *chunks, const char *data, uint32_t end)
{
    if (chunks->state == CHUNKS_DATA)
        skip_data(chunks, end);
    else if (chunks->state == CHUNKS_TRAILER)
        scan_trailer(chunks, data, end);
    else
        scan_byte(chunks, data[chunks->length]);
}

static bool is_over(const struct chunks *chunks)
{
    return chunks->state == CHUNKS_REFUSED || chunks->state == CHUNKS_WHOLE;
}

void chunks_scan(struct chunks *chunks, const char *data, size_t length)
{
    uint32_t end = length < CHUNKS_MOST_BYTES ? (uint32_t)length : CHUNKS_MOST_BYTES;
    while (chunks->length < end && !is_over(chunks))
        scan_piece(chunks, data, end);
    if (!is_over(chunks) && chunks->length < length)
        refuse(chunks, 413);
}
