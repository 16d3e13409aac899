/* SPDX-License-Identifier: MIT */
/* Status codes in words. The sentences ferry adds are those whose errno text would mislead. */
#include "core/libc.h"

#include <ferry/api.h>
#include <ferry/error.h>

#include <errno.h>
#include <string.h>

const char *ferry_version(void)
{
    return FERRY_VERSION;
}

/* Of all errnos. musl has no function that tells them. */
#define NAME(error) [error] = #error
/* clang-format off */
static const char *const names[] = {
    [0] = "OK", NAME(EPERM), NAME(ENOENT), NAME(ESRCH), NAME(EINTR), NAME(EIO), NAME(ENXIO),
    NAME(E2BIG), NAME(ENOEXEC), NAME(EBADF), NAME(ECHILD), NAME(EAGAIN), NAME(ENOMEM),
    NAME(EACCES), NAME(EFAULT), NAME(ENOTBLK), NAME(EBUSY), NAME(EEXIST), NAME(EXDEV),
    NAME(ENODEV), NAME(ENOTDIR), NAME(EISDIR), NAME(EINVAL), NAME(ENFILE), NAME(EMFILE),
    NAME(ENOTTY), NAME(ETXTBSY), NAME(EFBIG), NAME(ENOSPC), NAME(ESPIPE), NAME(EROFS),
    NAME(EMLINK), NAME(EPIPE), NAME(EDOM), NAME(ERANGE), NAME(EDEADLK), NAME(ENAMETOOLONG),
    NAME(ENOLCK), NAME(ENOSYS), NAME(ENOTEMPTY), NAME(ELOOP), NAME(ENOMSG), NAME(EIDRM),
    NAME(ECHRNG), NAME(EL2NSYNC), NAME(EL3HLT), NAME(EL3RST), NAME(ELNRNG), NAME(EUNATCH),
    NAME(ENOCSI), NAME(EL2HLT), NAME(EBADE), NAME(EBADR), NAME(EXFULL), NAME(ENOANO),
    NAME(EBADRQC), NAME(EBADSLT), NAME(EBFONT), NAME(ENOSTR), NAME(ENODATA), NAME(ETIME),
    NAME(ENOSR), NAME(ENONET), NAME(ENOPKG), NAME(EREMOTE), NAME(ENOLINK), NAME(EADV),
    NAME(ESRMNT), NAME(ECOMM), NAME(EPROTO), NAME(EMULTIHOP), NAME(EDOTDOT), NAME(EBADMSG),
    NAME(EOVERFLOW), NAME(ENOTUNIQ), NAME(EBADFD), NAME(EREMCHG), NAME(ELIBACC), NAME(ELIBBAD),
    NAME(ELIBSCN), NAME(ELIBMAX), NAME(ELIBEXEC), NAME(EILSEQ), NAME(ERESTART), NAME(ESTRPIPE),
    NAME(EUSERS), NAME(ENOTSOCK), NAME(EDESTADDRREQ), NAME(EMSGSIZE), NAME(EPROTOTYPE),
    NAME(ENOPROTOOPT), NAME(EPROTONOSUPPORT), NAME(ESOCKTNOSUPPORT), NAME(EOPNOTSUPP),
    NAME(EPFNOSUPPORT), NAME(EAFNOSUPPORT), NAME(EADDRINUSE), NAME(EADDRNOTAVAIL),
    NAME(ENETDOWN), NAME(ENETUNREACH), NAME(ENETRESET), NAME(ECONNABORTED), NAME(ECONNRESET),
    NAME(ENOBUFS), NAME(EISCONN), NAME(ENOTCONN), NAME(ESHUTDOWN), NAME(ETOOMANYREFS),
    NAME(ETIMEDOUT), NAME(ECONNREFUSED), NAME(EHOSTDOWN), NAME(EHOSTUNREACH), NAME(EALREADY),
    NAME(EINPROGRESS), NAME(ESTALE), NAME(EUCLEAN), NAME(ENOTNAM), NAME(ENAVAIL), NAME(EISNAM),
    NAME(EREMOTEIO), NAME(EDQUOT), NAME(ENOMEDIUM), NAME(EMEDIUMTYPE), NAME(ECANCELED),
    NAME(ENOKEY), NAME(EKEYEXPIRED), NAME(EKEYREVOKED), NAME(EKEYREJECTED), NAME(EOWNERDEAD),
    NAME(ENOTRECOVERABLE), NAME(ERFKILL), NAME(EHWPOISON),
};
/* clang-format on */
#undef NAME

enum { NAMES = sizeof names / sizeof names[0] };

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

/* The errno that a status stands for; -1: none. */
static int errno_of(int status)
{
    int error = status < 0 && status > -NAMES ? -status : status; /* INT_MIN has no negative */
    return error >= 0 && error < NAMES && names[error] != NULL ? error : -1;
}

const char *ferry_error_name(int status)
{
    int error = errno_of(status);
    return error >= 0 ? names[error] : "EUNKNOWN";
}

const char *ferry_error_message(int status)
{
    int error = errno_of(status);
    for (size_t i = 0; i < sizeof own_meanings / sizeof own_meanings[0]; i++) {
        if (own_meanings[i].error == error)
            return own_meanings[i].message;
    }
    return error >= 0 ? ferry__error_words(error) : "unknown error";
}
