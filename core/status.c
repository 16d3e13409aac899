/* SPDX-License-Identifier: MIT */
/* Status codes in words. The sentences ferry adds are those whose errno text would mislead. */
#include <ferry/status.h>

#include <errno.h>
#include <string.h>

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

const char *ferry_status_name(int status)
{
    if (status == 0)
        return "OK";
    const char *name = strerrorname_np(status < 0 ? -status : status);
    return name != NULL ? name : "EUNKNOWN";
}

const char *ferry_status_message(int status)
{
    int error = status < 0 ? -status : status;
    for (size_t i = 0; i < sizeof own_meanings / sizeof own_meanings[0]; i++) {
        if (own_meanings[i].error == error)
            return own_meanings[i].message;
    }
    const char *message = strerrordesc_np(error);
    return message != NULL ? message : "unknown error";
}
