/* SPDX-License-Identifier: MIT */
/* Secrets, where ferry was built without OpenSSL: there are none. */
#include "secret.h"

#include <err.h>
#include <stdlib.h>

const char secret_name[] = "";

struct secret *secret_create(void)
{
    warnx("TLS: this ferry was built without it");
    return NULL;
}

ferry_tls_context *secret_context(const struct secret *secret)
{
    (void)secret;
    return NULL;
}

void secret_destroy(struct secret *secret)
{
    (void)secret;
}

/* Without a secret there is nobody to call the others. */
struct secret_end *secret_end_create(struct secret *secret, int fd, bool is_near)
{
    (void)secret, (void)fd, (void)is_near;
    abort();
}

ssize_t secret_read(struct secret_end *end, void *buffer, size_t size)
{
    (void)end, (void)buffer, (void)size;
    abort();
}

bool secret_write(struct secret_end *end, const void *data, size_t length)
{
    (void)end, (void)data, (void)length;
    abort();
}

void secret_end_free(struct secret_end *end)
{
    (void)end;
}
