/* SPDX-License-Identifier: MIT */
/* The ranges of bytes that a request asks for (RFC 9110, 14): "bytes=0-99,200-,-5". */
#ifndef TOOLS_FERRY_SERVE_RANGES_H
#define TOOLS_FERRY_SERVE_RANGES_H

#include <stddef.h>
#include <stdint.h>

/*
 * More are not honoured. Readers of PDF and ZIP files ask for dozens. Each has a head of its own in
 * the answer, and there is room for so many.
 */
enum { RANGES_LIMIT = 128 };

/* What ranges_parse says beside a number of ranges. */
enum { RANGES_WHOLE = 0, RANGES_UNSATISFIABLE = -1 };

struct range {
    uint64_t first;  /* the offset of its first byte */
    uint64_t length; /* bytes, at least one */
};

/*
 * Reads a Range field for a file of a given size. Ranges keep the order that they were asked in.
 * Ranges that lie beyond the end are left out; those that reach beyond it are cut. Many or
 * overlapping ranges could make a long answer of a small file (RFC 9110, 14.2). So all ranges
 * together are at most as long as the file.
 *
 * @param ranges has room for RANGES_LIMIT.
 * @return how many there are. RANGES_UNSATISFIABLE: it is well-formed, but there are none.
 *         RANGES_WHOLE: the field is to be ignored: it is malformed, of another unit, has too many
 *         ranges, or together they are longer than the file, which is then the shorter answer; or
 *         it asks for the last bytes of an empty file, which are all of it, and no range can say
 *         so.
 */
int ranges_parse(const char *text, size_t length, uint64_t size, struct range *ranges);

#endif
