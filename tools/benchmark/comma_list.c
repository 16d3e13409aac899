/* SPDX-License-Identifier: MIT */
#include "comma_list.h"

#include "../number.h"

#include <errno.h>
#include <string.h>

/* @return the number before *ret_end, or 0: there is none, or too large a one to be meant. */
static size_t parse_value(const char *text, const char **ret_end)
{
    uint64_t value;
    const char *end = number_read(text, 10, UINT32_MAX, &value);
    if (end == NULL)
        return 0;
    unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 0;
    *ret_end = end + (shift > 0 ? 1 : 0);
    return value << shift;
}

int comma_list_parse(const char *text, size_t most, comma_list *ret_list)
{
    comma_list result = {.count = 0};
    for (const char *end; result.count < COMMA_LIST_MOST; text = end + 1) {
        size_t value = parse_value(text, &end);
        if (value == 0 || value > most || (*end != ',' && *end != '\0'))
            break;
        result.of[result.count++] = value;
        if (*end == '\0') {
            *ret_list = result;
            return 0;
        }
    }
    return -EINVAL;
}

bool comma_list_has(const char *text, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = text; at != NULL; at = strchr(at, ',')) {
        at += *at == ',' ? 1 : 0;
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

size_t comma_list_largest(const comma_list *all)
{
    size_t result = 0;
    for (size_t i = 0; i < all->count; i++)
        result = all->of[i] > result ? all->of[i] : result;
    return result;
}
