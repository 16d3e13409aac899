/* SPDX-License-Identifier: MIT */
/*
 * Status codes: 0, or a negative errno. ferry has no error numbers of its own. This header lists
 * the errnos to which ferry gives a meaning of its own, and turns any errno into words.
 *
 *   -E2BIG       a struct has a field set that this library does not know (<ferry/api.h>): the
 *                program was compiled for a newer one
 *   -EAGAIN      the stream's queue is at its limit, or no thread could be started for it
 *   -ECANCELED   not carried out: it was cancelled, the stream closed or aborted, its service
 *                destroyed, or an earlier request failed after some of its bytes had left (the
 *                stream is poisoned); a result's cause tells which (<ferry/result.h>)
 *   -ECHILD      the object belongs to the parent of this forked process
 *   -EDEADLK     waiting here would deadlock: in a callback, or on one of ferry's own threads
 *   -EALREADY    it has settled: there is nothing to cancel
 *   -ENODATA     the source ended before the planned length
 *   -ESHUTDOWN   the stream takes no new requests: it is closed or half-closed
 *   -ESTALE      the file is not what it was: it changed while it was sent, or since the resume
 *                token
 *   -ETIMEDOUT   a time limit passed: of a wait (nothing changed), of a request, of a confirmed
 *                close, of a connect, or of a stream whose peer has stalled
 *
 * In phase resolve an errno stands for what getaddrinfo(3) said:
 *
 *   -ENXIO         there is no such host, or it has no address, or there is no such service
 *                  (EAI_NONAME, EAI_NODATA, EAI_ADDRFAMILY, EAI_SERVICE)
 *   -EAGAIN        the name servers do not answer for now (EAI_AGAIN)
 *   -EIO           the name servers failed for good (EAI_FAIL, and any other EAI_ error)
 *   -ENAMETOOLONG  the name is too long (EAI_OVERFLOW)
 *   -ENOMEM        EAI_MEMORY
 *   any            EAI_SYSTEM: the errno that comes with it
 */
#ifndef FERRY_ERROR_H
#define FERRY_ERROR_H

#include <ferry/api.h>

FERRY_BEGIN

/*
 * Gives a status its symbolic name, for logs and tests: "OK", "ENODATA", "EPIPE".
 *
 * Threads: any. Never blocks, never allocates.
 * @param status 0, a negative errno, or (for convenience) a positive one.
 * @return a static string; "EUNKNOWN" for a number that is no errno.
 */
FERRY_API const char *ferry_error_name(int status);

/*
 * Gives a status a sentence a person can read: "the source ended before the planned length".
 *
 * Threads: any. Never blocks, never allocates. Unlike strerror(3)'s, the string is static and never
 * overwritten. It is not localised.
 * @param status 0, a negative errno, or (for convenience) a positive one.
 * @return a static string; "unknown error" for a number that is no errno.
 * Source: the C library's words (strerrordesc_np(3)), except for the codes listed at the top of
 * this header.
 */
FERRY_API const char *ferry_error_message(int status);

FERRY_END

#endif
