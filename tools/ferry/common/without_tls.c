/* SPDX-License-Identifier: MIT */
/* Contexts, where ferry was built without OpenSSL: there are none. */
#include "encryption.h"

#include <err.h>

static ferry_tls_context *complain(void)
{
    warnx("TLS: this ferry was built without it");
    return NULL;
}

ferry_tls_context *encryption_create_server(const struct encryption *self,
                                            const struct encryption_server *server)
{
    (void)self, (void)server;
    return complain();
}

ferry_tls_context *encryption_create_client(const struct encryption *self)
{
    (void)self;
    return complain();
}

void encryption_reload(ferry_tls_context *context)
{
    (void)context;
}

void encryption_free(ferry_tls_context *context)
{
    (void)context;
}

bool encryption_explain(ferry_promise *connected, char text[ENCRYPTION_TEXT_BYTES])
{
    (void)connected, (void)text;
    return false;
}

bool encryption_explain_end(ferry_stream *stream, char text[ENCRYPTION_TEXT_BYTES])
{
    (void)stream, (void)text;
    return false;
}
