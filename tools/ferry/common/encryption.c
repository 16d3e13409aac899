/* SPDX-License-Identifier: MIT */
#include "encryption.h"

#include <stdio.h>

static void add_certificate(struct encryption *self, const char *file,
                            const struct argp_state *state)
{
    if (self->count == ENCRYPTION_CERTIFICATES)
        argp_error(state, "there are %d certificates at most", ENCRYPTION_CERTIFICATES);
    self->certificates[self->count++] = file;
}

static void add_key(struct encryption *self, const char *file, const struct argp_state *state)
{
    if (self->count == 0 || self->keys[self->count - 1] != NULL)
        argp_error(state, "--tls-key follows the --tls-cert that it is of");
    self->keys[self->count - 1] = file;
}

error_t encryption_parse(struct encryption *self, int option, const char *file,
                         const struct argp_state *state)
{
    switch (option) {
    case ENCRYPTION_CERT:
        add_certificate(self, file, state);
        return 0;
    case ENCRYPTION_KEY:
        add_key(self, file, state);
        return 0;
    case ENCRYPTION_CA:
        self->ca = file;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

bool encryption_is_wanted(const struct encryption *self, const struct argp_state *state)
{
    if (self->count == 0 && self->ca != NULL)
        argp_error(state, "--tls-client-ca needs a --tls-cert");
    return self->count > 0;
}

void encryption_say_listening(const ferry_tls_context *context, const char *address)
{
    (void)fprintf(stderr, "%slistening on %s\n", context != NULL ? "TLS: " : "", address);
}
