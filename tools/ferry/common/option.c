/* SPDX-License-Identifier: MIT */
#include "option.h"

#include "../../number.h"

uint64_t option_number(const char *name, const char *text, uint64_t least, uint64_t most,
                       const struct argp_state *state)
{
    uint64_t number = least;
    if (!number_parse(text, least, most, &number))
        argp_error(state, "--%s takes a whole number from %llu to %llu, not '%s'", name,
                   (unsigned long long)least, (unsigned long long)most, text);
    return number;
}

int64_t option_seconds(const char *name, const char *text, uint64_t least, uint64_t most,
                       const struct argp_state *state)
{
    return (int64_t)option_number(name, text, least, most, state) * 1000;
}
