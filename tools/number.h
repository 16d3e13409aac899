/* SPDX-License-Identifier: MIT */
/*
 * Whole numbers as people type them: digits, and nothing else. strtol(3) and scanf(3) skip blanks,
 * take signs, and make another number of one that is too large.
 */
#ifndef TOOLS_NUMBER_H
#define TOOLS_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Reads the digits that text begins with. @param base 10 or 16. @return what follows them; NULL:
 * there is none, or the number is above most.
 */
const char *number_read(const char *text, unsigned base, uint64_t most, uint64_t *ret_number);

/* Whether all of text is a number from least to most, in decimal. */
bool number_parse(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number);

#endif
