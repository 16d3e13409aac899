/* SPDX-License-Identifier: MIT */
/* Adding what a program may have made as large as it likes. */
#ifndef FERRY_CORE_SUM_H
#define FERRY_CORE_SUM_H

#include <stdint.h>

/* The sum, or the largest number where it is beyond that. */
static inline uint64_t ferry__sum(uint64_t one, uint64_t other)
{
    uint64_t sum;
    return __builtin_add_overflow(one, other, &sum) ? UINT64_MAX : sum;
}

#endif
