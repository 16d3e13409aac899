/* SPDX-License-Identifier: MIT */
/* Contexts, where ferry was built with OpenSSL. */
#include "encryption.h"

#include <ferry/error.h>
#include <ferry/tls.h>

#include <err.h>
#include <stdio.h>
#include <string.h>

static void describe(const ferry_tls_failure *failure, char text[ENCRYPTION_TEXT_BYTES])
{
    const char *reason = ferry_tls_reason_message(failure->reason);
    bool has_more = failure->text[0] != '\0' && strcmp(failure->text, reason) != 0;
    (void)snprintf(text, ENCRYPTION_TEXT_BYTES, has_more ? "%s (%s)" : "%s", reason, failure->text);
}

/* @param rest of the message. @return NULL. */
static ferry_tls_context *complain(int error, const ferry_tls_failure *failure, const char *rest)
{
    const char *why = failure->text[0] != '\0' ? failure->text : ferry_error_message(error);
    warnx("TLS: %s%s", why, rest);
    return NULL;
}

static void on_failure(ferry_stream *stream, const ferry_tls_failure *failure, void *arg)
{
    char peer[128] = "somebody", text[ENCRYPTION_TEXT_BYTES];
    (void)arg;
    (void)ferry_stream_get_peer(stream, peer, sizeof peer);
    describe(failure, text);
    warnx("%s could not connect: %s", peer, text);
}

static size_t list_certificates(const struct encryption *self,
                                ferry_tls_certificate list[ENCRYPTION_CERTIFICATES])
{
    for (size_t i = 0; i < self->count; i++)
        list[i] =
            (ferry_tls_certificate){.chain_file = self->certificates[i], .key_file = self->keys[i]};
    return self->count;
}

ferry_tls_context *encryption_create_server(const struct encryption *self,
                                            const struct encryption_server *server)
{
    ferry_tls_certificate certificates[ENCRYPTION_CERTIFICATES];
    const ferry_tls_server_options options = {
        .certificates = certificates,
        .certificate_count = list_certificates(self, certificates),
        .client_certificate =
            self->ca != NULL ? FERRY_TLS_CLIENT_MUST_SHOW : FERRY_TLS_CLIENT_IS_NOT_ASKED,
        .trust.ca_file = self->ca,
        .protocols = server->protocol != NULL ? &server->protocol : NULL,
        .protocol_count = server->protocol != NULL ? 1 : 0,
        .answer_to_http = server->answer_to_http,
        .answer_to_http_length =
            server->answer_to_http != NULL ? strlen(server->answer_to_http) : 0,
        .on_failure = server->tells_failures ? on_failure : NULL,
    };
    ferry_tls_failure failure = {0};
    ferry_tls_context *context;
    int error = ferry_tls_server_create(&options, &failure, &context);
    return error == 0 ? context : complain(error, &failure, "");
}

ferry_tls_context *encryption_create_client(const struct encryption *self)
{
    ferry_tls_certificate certificates[ENCRYPTION_CERTIFICATES];
    const ferry_tls_client_options options = {
        .trust.ca_file = self->ca,
        .certificate = list_certificates(self, certificates) > 0 ? certificates : NULL,
    };
    ferry_tls_failure failure = {0};
    ferry_tls_context *context;
    int error = ferry_tls_client_create(&options, &failure, &context);
    return error == 0 ? context : complain(error, &failure, "");
}

void encryption_reload(ferry_tls_context *context)
{
    ferry_tls_failure failure = {0};
    int error = ferry_tls_context_reload(context, &failure);
    if (error != 0)
        (void)complain(error, &failure, "; all certificates stay as they were");
}

void encryption_free(ferry_tls_context *context)
{
    (void)ferry_tls_context_unref(context);
}

bool encryption_explain(ferry_promise *connected, char text[ENCRYPTION_TEXT_BYTES])
{
    ferry_tls_failure failure;
    if (ferry_tls_get_connect_failure(connected, &failure) != 0)
        return false;
    describe(&failure, text);
    return true;
}

bool encryption_explain_end(ferry_stream *stream, char text[ENCRYPTION_TEXT_BYTES])
{
    ferry_tls_failure failure;
    if (ferry_tls_get_failure(stream, &failure) != 0)
        return false;
    describe(&failure, text);
    return true;
}
