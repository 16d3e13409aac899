/* SPDX-License-Identifier: MIT */
/*
 * What a library that encrypts is to ferry: a context that the program gives in a stream's options
 * (ferry_tls_options), and a table of functions, the context's first member. They put a kind of
 * link (transport/edge/link.h) beneath a stream. Its handshake comes before all else that the
 * stream does (transport/send/securing.h). ferry itself knows nothing of TLS: tls/ is such a
 * library.
 */
#ifndef FERRY_TRANSPORT_EDGE_SECURE_H
#define FERRY_TRANSPORT_EDGE_SECURE_H

#include "core/reserved.h"
#include "transport/edge/link.h"

#include <errno.h>
#include <ferry/stream.h>

typedef struct ferry__secure_type ferry__secure_type;

/* What every context begins with. */
typedef struct ferry__secure_context {
    const ferry__secure_type *type;
    bool is_server;
} ferry__secure_context;

/* Options that were taken: with copies and references, for many streams. What it begins with. */
typedef struct ferry__secure {
    const ferry__secure_type *type;
    ferry_tls_options options; /* complete; all it points to is its own */
} ferry__secure;

struct ferry__secure_type {
    /* Any thread. @return 0; -EINVAL: options are not what such a context can use. */
    int (*check_options)(const ferry_tls_options *options);

    /* Any thread. Takes options that were checked. @return NULL: no memory. */
    ferry__secure *(*take)(const ferry_tls_options *options);
    void (*give_back)(ferry__secure *secure);

    /*
     * The thread that makes the stream, before its owner knows of it. Puts a plain link of a socket
     * on this kind. @param host what the program has connected to; NULL: not known. @return 0;
     * -EINVAL: it has to know the peer's name, and does not; or -ENOMEM. Then the link is as it
     * was.
     */
    int (*put_on)(const ferry__secure *secure, const char *host, ferry__link *link);
};

static inline const ferry__secure_context *ferry__secure_context_of(
    const ferry_tls_options *options)
{
    return (const ferry__secure_context *)(const void *)options->context;
}

/* A handshake's first words are a few kilobytes. */
#define FERRY__MOST_RECEIVED 65536u

/* These call the context's functions. @param options, secure NULL: there is nothing to do. */

/* @return 0, -EINVAL, -E2BIG. */
static inline int ferry__secure_check(const ferry_tls_options *options)
{
    if (options == NULL)
        return 0;
    if (FERRY__IS_NEWER(options))
        return -E2BIG;
    if (options->context == NULL || options->handshake_timeout_ms < 0 ||
        (options->received == NULL && options->received_length > 0) ||
        options->received_length > FERRY__MOST_RECEIVED)
        return -EINVAL;
    return ferry__secure_context_of(options)->type->check_options(options);
}

/* Options that were checked. Whether each connection of a listener may have them: it is a server,
 * and has no first words of one client. */
static inline bool ferry__secure_is_for_many(const ferry_tls_options *options)
{
    return options == NULL ||
           (ferry__secure_context_of(options)->is_server && options->received_length == 0);
}

/* @param ret_secure NULL. @return 0, -ENOMEM. */
static inline int ferry__secure_take(const ferry_tls_options *options, ferry__secure **ret_secure)
{
    if (options == NULL)
        return 0;
    *ret_secure = ferry__secure_context_of(options)->type->take(options);
    return *ret_secure != NULL ? 0 : -ENOMEM;
}

static inline void ferry__secure_give_back(ferry__secure *secure)
{
    if (secure != NULL)
        secure->type->give_back(secure);
}

#endif
