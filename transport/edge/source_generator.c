/* SPDX-License-Identifier: MIT */
/* Sources that are functions of the program's: they make their bytes as these are needed. */
#include "core/hooks.h"
#include "transport/edge/source.h"

#include <errno.h>

static int plan(const ferry_part *wanted, ferry__source_needs *ret_needs)
{
    int64_t length = wanted->generate_length;
    if (wanted->generate == NULL || (length < 0 && length != FERRY_TO_END))
        return -EINVAL;
    ret_needs->length = length > 0 ? length : 0;
    return 0;
}

static uint64_t estimate(const ferry_part *wanted)
{
    return wanted->generate_length > 0 ? (uint64_t)wanted->generate_length : 0;
}

static int take(ferry__source *source, const ferry_part *wanted, unsigned char **store,
                ferry__calls *calls)
{
    (void)store;
    (void)calls;
    *source = (ferry__source){
        .type = &ferry__source_generator,
        .asked_length = wanted->generate_length,
        .dirfd = FERRY_CWD,
        .fd = -1,
        .generate = wanted->generate,
        .release = wanted->release,
        .arg = wanted->arg,
        .dry = FERRY__DRY_UNTIL_RESUMED,
        .reserved_from = -1,
        .pipe = {-1, -1},
    };
    return 0;
}

static void give_back(ferry__source *source)
{
    source->release = NULL;
}

static int open_generator(ferry__source *source, ferry__calls *calls, uint64_t *ret_length,
                          ferry_phase *ret_phase)
{
    (void)calls;
    *ret_phase = FERRY_PHASE_OPEN;
    source->is_open_ended = source->asked_length == FERRY_TO_END;
    *ret_length = source->is_open_ended ? 0 : (uint64_t)source->asked_length;
    return 0;
}

static ssize_t fill(ferry__source *source, size_t size, ferry__calls *calls)
{
    enum { MOST_ERRNO = 4095 };
    (void)calls;
    int64_t count = source->generate(source->buffer, size, source->arg);
    if (count > (int64_t)size)
        return -EOVERFLOW; /* it has written beyond the end */
    return count >= -MOST_ERRNO ? (ssize_t)count : -EINVAL;
}

static void close_generator(ferry__source *source)
{
    ferry__release_arg(source->release, source->arg);
    source->release = NULL;
}

const ferry__source_type ferry__source_generator = {
    .plan = plan,
    .estimate = estimate,
    .take = take,
    .give_back = give_back,
    .open = open_generator,
    .move = ferry__source_copy,
    .fill = fill,
    .close = close_generator,
    .step = "calling a generator",
    .calls_back = true,
};
