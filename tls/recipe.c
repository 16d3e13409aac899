/* SPDX-License-Identifier: MIT */
#include "tls/recipe.h"

#include "core/hooks.h"
#include "core/reserved.h"
#include "tls/failure.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <string.h>
#include <unistd.h>

enum { PROTOCOL_MOST = 255 };

/* A text that was copied. */
typedef struct ferry__text {
    struct ferry__text *next;
    char data[];
} text;

/* ---- what is kept ---------------------------------------------------------------------------- */

/* Has a text be the context's own. @return 0, -ENOMEM. */
static int keep_text(ferry__recipe *self, const char **given)
{
    if (*given == NULL)
        return 0;
    size_t size = strlen(*given) + 1;
    text *copy = ferry__allocate(sizeof *copy + size);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy->data, *given, size);
    copy->next = self->texts;
    self->texts = copy;
    *given = copy->data;
    return 0;
}

static int keep_trust(ferry__recipe *self, const ferry_tls_trust *trust)
{
    self->trust = *trust;
    self->uses_memory |= trust->ca != NULL;
    int error = keep_text(self, &self->trust.ca_file);
    return error == 0 ? keep_text(self, &self->trust.crl_file) : error;
}

static int keep_certificates(ferry__recipe *self, const ferry_tls_certificate *given, size_t count)
{
    if (count == 0)
        return 0;
    size_t size;
    if (__builtin_mul_overflow(count, sizeof *given, &size))
        return -EINVAL;
    ferry_tls_certificate *copies = ferry__allocate(size);
    if (copies == NULL)
        return -ENOMEM;
    memcpy(copies, given, size);
    self->certificates = copies;
    self->certificate_count = count;
    for (size_t i = 0; i < count; i++) {
        self->uses_memory |= copies[i].chain != NULL || copies[i].key != NULL;
        int error = keep_text(self, &copies[i].chain_file);
        if (error == 0)
            error = keep_text(self, &copies[i].key_file);
        if (error != 0)
            return error;
    }
    return 0;
}

/* The form that they have on the wire. */
static int keep_protocols(ferry__recipe *self, const char *const *given, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = given[i] != NULL ? strnlen(given[i], PROTOCOL_MOST + 1) : 0;
        if (length == 0 || length > PROTOCOL_MOST)
            return -EINVAL;
        size += 1 + length;
    }
    if (size == 0)
        return 0;
    if (size > UINT16_MAX)
        return -EINVAL;
    unsigned char *out = self->protocols = ferry__allocate(size);
    if (out == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(given[i]);
        *out++ = (unsigned char)length;
        memcpy(out, given[i], length);
        out += length;
    }
    self->protocols_length = (unsigned)size;
    return 0;
}

static int keep_answer(ferry__recipe *self, const void *answer, size_t length)
{
    if (length == 0)
        return 0;
    self->answer_to_http = ferry__allocate(length);
    if (self->answer_to_http == NULL)
        return -ENOMEM;
    memcpy(self->answer_to_http, answer, length);
    self->answer_to_http_length = length;
    return 0;
}

static int open_key_log(ferry__recipe *self, const char *file, ferry_tls_failure *ret_failure)
{
    if (file == NULL)
        return 0;
    self->key_log_fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return self->key_log_fd >= 0 ? 0 : ferry__tls_refuse(ret_failure, file, -errno, NULL);
}

/* ---- checking -------------------------------------------------------------------------------- */

static int check_trust(const ferry_tls_trust *trust)
{
    if (FERRY__IS_NEWER(trust))
        return -E2BIG;
    return trust->ca == NULL && trust->ca_length > 0 ? -EINVAL : 0;
}

static int check_certificates(const ferry_tls_certificate *given, size_t count)
{
    if (given == NULL && count > 0)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (FERRY__IS_NEWER(&given[i]))
            return -E2BIG;
        if (given[i].chain_file == NULL && given[i].chain == NULL)
            return -EINVAL;
    }
    return 0;
}

int ferry__recipe_check_server(const ferry_tls_server_options *options)
{
    if (options == NULL)
        return -EINVAL;
    if (FERRY__IS_NEWER(options))
        return -E2BIG;
    if (options->certificate_count == 0 ||
        (unsigned)options->client_certificate > FERRY_TLS_CLIENT_MUST_SHOW ||
        (options->protocols == NULL && options->protocol_count > 0) ||
        (options->answer_to_http == NULL && options->answer_to_http_length > 0))
        return -EINVAL;
    int error = check_trust(&options->trust);
    return error == 0 ? check_certificates(options->certificates, options->certificate_count)
                      : error;
}

int ferry__recipe_check_client(const ferry_tls_client_options *options)
{
    if (FERRY__IS_NEWER(options))
        return -E2BIG;
    if (options->protocols == NULL && options->protocol_count > 0)
        return -EINVAL;
    int error = check_trust(&options->trust);
    return error == 0 && options->certificate != NULL ? check_certificates(options->certificate, 1)
                                                      : error;
}

/* ---- taking ---------------------------------------------------------------------------------- */

void ferry__recipe_init(ferry__recipe *self)
{
    self->key_log_fd = -1;
}

int ferry__recipe_take_server(ferry__recipe *self, const ferry_tls_server_options *options,
                              ferry_tls_failure *ret_failure)
{
    static const int modes[] = {[FERRY_TLS_CLIENT_IS_NOT_ASKED] = SSL_VERIFY_NONE,
                                [FERRY_TLS_CLIENT_MAY_SHOW] = SSL_VERIFY_PEER,
                                [FERRY_TLS_CLIENT_MUST_SHOW] =
                                    SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT};
    self->verify_mode = modes[options->client_certificate];
    self->refuses_unknown_names = options->refuses_unknown_names;
    self->kernel_encrypts = options->kernel_encrypts;
    int error = keep_trust(self, &options->trust);
    if (error == 0)
        error = keep_certificates(self, options->certificates, options->certificate_count);
    if (error == 0)
        error = keep_protocols(self, options->protocols, options->protocol_count);
    if (error == 0)
        error = keep_answer(self, options->answer_to_http, options->answer_to_http_length);
    return error == 0 ? open_key_log(self, options->unsafe_key_log_file, ret_failure) : error;
}

int ferry__recipe_take_client(ferry__recipe *self, const ferry_tls_client_options *options,
                              ferry_tls_failure *ret_failure)
{
    bool is_anybody = options->unsafe_any_certificate;
    self->verify_mode = is_anybody ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    self->any_name = is_anybody || options->unsafe_any_name;
    self->kernel_encrypts = options->kernel_encrypts;
    int error = keep_trust(self, &options->trust);
    ferry_tls_trust *trust = &self->trust;
    trust->system |= trust->ca_file == NULL && trust->ca == NULL;
    if (error == 0 && options->certificate != NULL)
        error = keep_certificates(self, options->certificate, 1);
    if (error == 0)
        error = keep_protocols(self, options->protocols, options->protocol_count);
    return error == 0 ? open_key_log(self, options->unsafe_key_log_file, ret_failure) : error;
}

void ferry__recipe_forget_memory(ferry__recipe *self)
{
    self->trust.ca = NULL;
    for (size_t i = 0; i < self->certificate_count; i++)
        self->certificates[i].chain = self->certificates[i].key = NULL;
}

void ferry__recipe_deinit(ferry__recipe *self)
{
    if (self->key_log_fd >= 0)
        (void)close(self->key_log_fd);
    for (text *next; self->texts != NULL; self->texts = next) {
        next = self->texts->next;
        ferry__release(self->texts);
    }
    ferry__release(self->answer_to_http);
    ferry__release(self->protocols);
    ferry__release(self->certificates);
}
