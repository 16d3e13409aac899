/* SPDX-License-Identifier: MIT */
#include "number.h"

#include <stddef.h>

/* @return what a digit stands for; base: it is no digit. */
static unsigned value_of(char digit, unsigned base)
{
    unsigned value = base;
    if (digit >= '0' && digit <= '9')
        value = (unsigned)(digit - '0');
    else if (digit >= 'a' && digit <= 'f')
        value = (unsigned)(digit - 'a') + 10;
    else if (digit >= 'A' && digit <= 'F')
        value = (unsigned)(digit - 'A') + 10;
    return value < base ? value : base;
}

const char *number_read(const char *text, unsigned base, uint64_t most, uint64_t *ret_number)
{
    const char *at = text;
    uint64_t number = 0;
    for (unsigned value; (value = value_of(*at, base)) < base; at++) {
        if (number > UINT64_MAX / base || number * base > UINT64_MAX - value)
            return NULL;
        number = number * base + value;
    }
    if (at == text || number > most)
        return NULL;
    *ret_number = number;
    return at;
}

bool number_parse(const char *text, uint64_t least, uint64_t most, uint64_t *ret_number)
{
    uint64_t number;
    const char *rest = number_read(text, 10, most, &number);
    if (rest == NULL || *rest != '\0' || number < least)
        return false;
    *ret_number = number;
    return true;
}
