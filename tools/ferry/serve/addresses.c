/* SPDX-License-Identifier: MIT */
#include "addresses.h"

static const char answer_to_http[] = "HTTP/1.1 400 Bad Request\r\n"
                                     "Content-Type: text/plain\r\n"
                                     "Content-Length: 42\r\n"
                                     "Connection: close\r\n"
                                     "\r\n"
                                     "This address speaks TLS: ask for https://\n";

void addresses_add(struct addresses *self, const char *text, const struct argp_state *state)
{
    if (self->count == SERVER_PLACES)
        argp_error(state, "it listens at %d addresses at most", SERVER_PLACES);
    self->list[self->count++].text = text;
}

struct encryption *addresses_encryption(struct addresses *self)
{
    return self->count > 0 ? &self->list[self->count - 1].encryption : &self->encryption;
}

/* @param ret_context stays NULL if nothing is wanted. @return whether it could. */
static bool prepare(const struct encryption *encryption, ferry_tls_context **ret_context)
{
    static const struct encryption_server server = {.protocol = "http/1.1",
                                                    .answer_to_http = answer_to_http};
    if (encryption->count == 0)
        return true;
    *ret_context = encryption_create_server(encryption, &server);
    return *ret_context != NULL;
}

bool addresses_prepare(struct addresses *self)
{
    bool is_ready = prepare(&self->encryption, &self->context);
    for (size_t i = 0; i < self->count && is_ready; i++) {
        struct encryption *own = &self->list[i].encryption;
        if (own->ca == NULL)
            own->ca = self->encryption.ca;
        is_ready = prepare(own, &self->list[i].context);
    }
    return is_ready;
}

void addresses_free(struct addresses *self)
{
    encryption_free(self->context);
    for (size_t i = 0; i < self->count; i++)
        encryption_free(self->list[i].context);
}

ferry_tls_context *addresses_context(const struct addresses *self, size_t index)
{
    ferry_tls_context *own = self->list[index].context;
    return own != NULL ? own : self->context;
}

bool addresses_are_encrypted(const struct addresses *self)
{
    bool are = self->context != NULL;
    for (size_t i = 0; i < self->count && !are; i++)
        are = self->list[i].context != NULL;
    return are;
}

void addresses_reload(const struct addresses *self)
{
    if (self->context != NULL)
        encryption_reload(self->context);
    for (size_t i = 0; i < self->count; i++)
        if (self->list[i].context != NULL)
            encryption_reload(self->list[i].context);
}
