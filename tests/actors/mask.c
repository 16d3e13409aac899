/* SPDX-License-Identifier: MIT */
/* A kernel for more than 1,024 processors, by a sched_getaffinity(2) of the test's. */
#include "actors/processors.h"

#include "tests/harness.h"

#include <limits.h>

/* Linked with --wrap=sched_getaffinity. */
static size_t kernels_bytes; /* the size of its mask */

WRAPPED(int, sched_getaffinity, (pid_t, size_t size, cpu_set_t *set))
{
    if (size < kernels_bytes) {
        errno = EINVAL;
        return -1;
    }
    memset(set, 0, size);
    CPU_SET_S(0, size, set);
    CPU_SET_S(kernels_bytes * 8 - 1, size, set);
    return 0;
}

static unsigned with_mask_of(size_t processors)
{
    kernels_bytes = processors / 8;
    return ferry__usable_processors();
}

PROMISE(processors, masks_of_any_size_are_read)
{
    /* A quota of this machine's may allow one only. */
    unsigned quota = ferry__processors_granted("");
    unsigned expected = quota < 2 ? quota : 2;
    check_eq(with_mask_of(1024), expected);
    check_eq(with_mask_of(2048), expected);
    check_eq(with_mask_of(8192), expected);
    check_eq(with_mask_of(1 << 20), expected);
    check_eq(with_mask_of(1 << 21), 1); /* beyond belief */
}
