/* SPDX-License-Identifier: MIT */
/* What the values of options have in common, whatever the command. */
#ifndef TOOLS_FERRY_COMMON_OPTION_H
#define TOOLS_FERRY_COMMON_OPTION_H

#include <argp.h>
#include <stdint.h>

/*
 * @param name of the option. @return a whole number from least to most; or it complains, and ends
 * the program.
 */
uint64_t option_number(const char *name, const char *text, uint64_t least, uint64_t most,
                       const struct argp_state *state);

/* The value of an option in seconds. @return milliseconds. */
int64_t option_seconds(const char *name, const char *text, uint64_t least, uint64_t most,
                       const struct argp_state *state);

#endif
