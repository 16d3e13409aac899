/* SPDX-License-Identifier: MIT */
/*
 * What a command line says of TLS, and the contexts of ferry's that come of it. A ferry that was
 * built without OpenSSL has the options, too: then each of these complains, and gives none.
 */
#ifndef TOOLS_FERRY_COMMON_ENCRYPTION_H
#define TOOLS_FERRY_COMMON_ENCRYPTION_H

#include <ferry/promise.h>
#include <ferry/stream.h>

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

enum { ENCRYPTION_CERTIFICATES = 16, ENCRYPTION_TEXT_BYTES = 256 };

/* What one end of connections shows, and whom it trusts. */
struct encryption {
    const char *certificates[ENCRYPTION_CERTIFICATES]; /* files */
    const char *keys[ENCRYPTION_CERTIFICATES];         /* files; NULL: in the certificate's */
    size_t count;
    const char *ca; /* a file: who may have signed the peer's certificate. NULL: of a client's peer,
                       whom the system trusts; of a server's, nobody is asked for one */
};

/* Options that several commands have, for argp(3). */
enum { ENCRYPTION_CERT = 0x200, ENCRYPTION_KEY, ENCRYPTION_CA };

/*
 * Takes one of these. A key is that of the certificate before. It complains, and ends the program,
 * if it makes no sense. @return ARGP_ERR_UNKNOWN: it is another option.
 */
error_t encryption_parse(struct encryption *self, int option, const char *file,
                         const struct argp_state *state);

/* Whether a server was given anything of it. If so there must be a certificate: else it complains,
 * and ends the program. */
bool encryption_is_wanted(const struct encryption *self, const struct argp_state *state);

/* What a server is like, beside its certificates. */
struct encryption_server {
    const char *protocol;       /* that is spoken inside (ALPN); NULL: it does not say */
    const char *answer_to_http; /* to a client that speaks HTTP without TLS; NULL: the end */
    bool tells_failures;        /* on standard error: who could not connect, and why */
};

/* @return to be freed; NULL: it has said why. */
ferry_tls_context *encryption_create_server(const struct encryption *self,
                                            const struct encryption_server *server);
ferry_tls_context *encryption_create_client(const struct encryption *self);

/* Reads the files again. If they are no good it says why, and all stays as it was. */
void encryption_reload(ferry_tls_context *context);

/* Says on stderr that somebody listens there, and whether over TLS. The address is last in its
 * line. @param context NULL: not over TLS */
void encryption_say_listening(const ferry_tls_context *context, const char *address);

/* Takes NULL. */
void encryption_free(ferry_tls_context *context);

/* Why a connect has failed in its handshake. @return whether that is why it has failed. And why a
 * stream has, as far as its peer has said so, and it was read. */
bool encryption_explain(ferry_promise *connected, char text[ENCRYPTION_TEXT_BYTES]);
bool encryption_explain_end(ferry_stream *stream, char text[ENCRYPTION_TEXT_BYTES]);

#endif
