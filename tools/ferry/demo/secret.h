/* SPDX-License-Identifier: MIT */
/*
 * What the demo needs for TLS: a certificate that is made in memory, for this run only, and the two
 * ends of a connection in OpenSSL's own words. A ferry that was built without OpenSSL has none.
 */
#ifndef TOOLS_FERRY_DEMO_SECRET_H
#define TOOLS_FERRY_DEMO_SECRET_H

#include <ferry/stream.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct secret;

/* @return for the program's life; NULL: it has said why. */
struct secret *secret_create(void);

/* ferry's side of it, as the near end: a client that trusts the certificate, and its name. */
ferry_tls_context *secret_context(const struct secret *secret);
extern const char secret_name[];

void secret_destroy(struct secret *secret);

/* One end of a connection, on a blocking socket. The handshake comes with the first call. */
struct secret_end;

/* Ends the program with a message if there is no memory. */
struct secret_end *secret_end_create(struct secret *secret, int fd, bool is_near);

/* @return how many bytes came; 0: the end, as TLS tells it; -1: the connection broke. */
ssize_t secret_read(struct secret_end *end, void *buffer, size_t size);

/* @return false: the connection broke. */
bool secret_write(struct secret_end *end, const void *data, size_t length);

/* Tells the peer that this is the end, and waits for the peer's. Takes NULL. */
void secret_end_free(struct secret_end *end);

#endif
