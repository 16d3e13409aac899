/* SPDX-License-Identifier: MIT */
#include "core/label.h"

#include "core/hooks.h"

#include <errno.h>
#include <string.h>

size_t ferry__text_fit(const char *text, size_t most)
{
    size_t length = strnlen(text, most + 1);
    if (length <= most)
        return length;
    length = most;
    while (length > 0 && ferry__text_is_inside(text + length))
        length--;
    return length;
}

int ferry__label_create(const char *text, ferry__label **ret_label)
{
    *ret_label = NULL;
    if (text == NULL)
        return 0;
    size_t length = ferry__text_fit(text, FERRY__LABEL_BYTES);
    ferry__label *label = ferry__allocate(sizeof *label + length + 1);
    if (label == NULL)
        return -ENOMEM;
    label->replaced = NULL;
    memcpy(label->text, text, length);
    label->text[length] = '\0';
    *ret_label = label;
    return 0;
}

void ferry__label_free(ferry__label *label)
{
    for (ferry__label *replaced; label != NULL; label = replaced) {
        replaced = label->replaced;
        ferry__release(label);
    }
}
