/* SPDX-License-Identifier: MIT */
#include "cores.h"

#include <errno.h>

int cores_look(cores *ret_cores)
{
    if (sched_getaffinity(0, sizeof ret_cores->usable, &ret_cores->usable) < 0)
        return -errno;
    ret_cores->count = (unsigned)CPU_COUNT(&ret_cores->usable);
    return 0;
}

static int nth(const cores *all, unsigned number)
{
    int core = -1;
    for (unsigned left = number % all->count + 1; left > 0;) {
        core++;
        if (CPU_ISSET((size_t)core, &all->usable))
            left--;
    }
    return core;
}

int cores_pin(const cores *all, pid_t thread, unsigned number)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)nth(all, number), &one);
    return sched_setaffinity(thread, sizeof one, &one) == 0 ? 0 : -errno;
}

int cores_unpin(const cores *all, pid_t thread)
{
    return sched_setaffinity(thread, sizeof all->usable, &all->usable) == 0 ? 0 : -errno;
}
