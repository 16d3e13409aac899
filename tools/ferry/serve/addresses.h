/* SPDX-License-Identifier: MIT */
/*
 * Where the server listens, and with which certificates, as the command line says. What it says
 * before the first address is for all addresses that have no certificate of their own; and whom it
 * lets in there holds for all that do not say so themselves.
 */
#ifndef TOOLS_FERRY_SERVE_ADDRESSES_H
#define TOOLS_FERRY_SERVE_ADDRESSES_H

#include "server.h"
#include "../common/encryption.h"

/* One of them. */
struct address {
    const char *text;
    struct encryption encryption; /* count 0: that of all */
    ferry_tls_context *context;   /* NULL: not encrypted, or that of all */
};

struct addresses {
    struct address list[SERVER_PLACES];
    size_t count;
    struct encryption encryption; /* of all others */
    ferry_tls_context *context;
};

/* While the command line is read. A complaint ends the program. */
void addresses_add(struct addresses *self, const char *text, const struct argp_state *state);
struct encryption *addresses_encryption(struct addresses *self); /* of what was added last */

/* Once it is read: makes the contexts. @return whether it could; else it has said why. */
bool addresses_prepare(struct addresses *self);
void addresses_free(struct addresses *self);

/* The context of one. @return NULL: it is not encrypted. */
ferry_tls_context *addresses_context(const struct addresses *self, size_t index);

/* Whether any of them is encrypted. */
bool addresses_are_encrypted(const struct addresses *self);

/* Reads the certificates again. Whatever is wrong with them is said, and changes nothing. */
void addresses_reload(const struct addresses *self);

#endif
