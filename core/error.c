/* SPDX-License-Identifier: MIT */
/* Status codes in words. The sentences ferry adds are those whose errno text would mislead. */
#include <ferry/api.h>
#include <ferry/error.h>

#include <errno.h>
#include <string.h>

const char *ferry_version(void)
{
    return FERRY_VERSION;
}

enum { MOST_ERRNO = 4095 }; /* the kernel's */

static const struct {
    int error;
    const char *message;
} own_meanings[] = {
    {EAGAIN, "at the limit for now: try again later"},
    {EALREADY, "it has settled already"},
    {ECANCELED, "called off before it was complete"},
    {ECHILD, "belongs to the parent of this forked process"},
    {EDEADLK, "waiting here would deadlock"},
    {ENODATA, "the source ended before the planned length"},
    {ESHUTDOWN, "the stream is closed for new requests"},
    {ESTALE, "the file has changed, or is another"},
    {ETIMEDOUT, "the time given ran out"},
};

/* The errno that a status stands for; -1: none, and INT_MIN has no negative. */
static int errno_of(int status)
{
    if (status >= 0)
        return status;
    return status >= -MOST_ERRNO ? -status : -1;
}

const char *ferry_error_name(int status)
{
    if (status == 0)
        return "OK";
    const char *name = strerrorname_np(errno_of(status));
    return name != NULL ? name : "EUNKNOWN";
}

const char *ferry_error_message(int status)
{
    int error = errno_of(status);
    for (size_t i = 0; i < sizeof own_meanings / sizeof own_meanings[0]; i++) {
        if (own_meanings[i].error == error)
            return own_meanings[i].message;
    }
    const char *message = strerrordesc_np(error);
    return message != NULL ? message : "unknown error";
}
