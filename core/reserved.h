/* SPDX-License-Identifier: MIT */
/*
 * Structs that the program fills in end with reserved words (<ferry/api.h>). A program that was
 * compiled for a newer library may have set a field there.
 */
#ifndef FERRY_CORE_RESERVED_H
#define FERRY_CORE_RESERVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool ferry__is_any_set(const uint64_t words[], size_t count)
{
    uint64_t all = 0;
    for (size_t i = 0; i < count; i++)
        all |= words[i];
    return all != 0;
}

/* Whether a struct asks for what this library does not know: -E2BIG. */
#define FERRY__IS_NEWER(given)                                                                     \
    ferry__is_any_set((given)->reserved, sizeof(given)->reserved / sizeof(uint64_t))

#endif
