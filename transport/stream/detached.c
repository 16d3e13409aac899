/* SPDX-License-Identifier: MIT */
#include "transport/stream/detached.h"

#include "core/cancel.h"
#include "core/hooks.h"
#include "transport/stream/request.h"

#include <errno.h>
#include <ferry/stream.h>

ferry__detached *ferry__detached_create(void)
{
    ferry__detached *detached = ferry__allocate_zeroed(sizeof *detached);
    if (detached != NULL)
        atomic_init(&detached->fd, -1);
    return detached;
}

void ferry__detached_free(ferry__detached *detached)
{
    if (detached == NULL)
        return;
    int fd = atomic_load(&detached->fd);
    if (fd >= 0)
        (void)ferry__close(fd);
    ferry__release(detached->unread.data);
    ferry__release(detached);
}

static void destroy(ferry_promise *promise)
{
    ferry__detached_free(((ferry__request *)(void *)promise)->detached);
    ferry__request_destroy(promise);
}

/* Nothing calls it off. */
const ferry__promise_type ferry__close_type = {.destroy = destroy};

/* @return 0, or an errno of those that ask for what is left. */
static int find(const ferry_promise *promise, ferry__detached **ret_detached)
{
    if (promise == NULL || promise->type != &ferry__close_type)
        return -EINVAL;
    if (ferry__promise_poll(promise) != 0)
        return -EBUSY;
    *ret_detached = ((const ferry__request *)(const void *)promise)->detached;
    return *ret_detached != NULL && promise->result.error == 0 ? 0 : -ENODATA;
}

int ferry_promise_get_fd(ferry_promise *promise)
{
    ferry__detached *detached;
    int error = find(promise, &detached);
    if (error != 0)
        return error;
    int fd = atomic_exchange(&detached->fd, -1);
    return fd >= 0 ? fd : -ENODATA;
}

int ferry_promise_get_unread(const ferry_promise *promise, const void **ret_data, size_t *ret_size)
{
    ferry__detached *detached;
    if (ret_data == NULL || ret_size == NULL)
        return -EINVAL;
    int error = find(promise, &detached);
    if (error != 0)
        return error;
    *ret_data = ferry__bytes_first(&detached->unread);
    *ret_size = ferry__bytes_count(&detached->unread);
    return 0;
}
