/* SPDX-License-Identifier: MIT */
#include "encryption.h"

void encryption_add_certificate(struct encryption *self, const char *file,
                                const struct argp_state *state)
{
    if (self->count == ENCRYPTION_CERTIFICATES)
        argp_error(state, "there are %d certificates at most", ENCRYPTION_CERTIFICATES);
    self->certificates[self->count++] = file;
}

void encryption_add_key(struct encryption *self, const char *file, const struct argp_state *state)
{
    if (self->count == 0 || self->keys[self->count - 1] != NULL)
        argp_error(state, "--tls-key follows the --tls-cert that it is of");
    self->keys[self->count - 1] = file;
}

bool encryption_is_wanted(const struct encryption *self, const struct argp_state *state)
{
    if (self->count == 0 && self->ca != NULL)
        argp_error(state, "--tls-client-ca needs a --tls-cert");
    return self->count > 0;
}
