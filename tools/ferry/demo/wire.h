/* SPDX-License-Identifier: MIT */
/*
 * How the demo's own threads use a connection, at the far ends and in the bare loop: by system
 * calls, or through OpenSSL. One thread at a time uses a wire.
 */
#ifndef TOOLS_FERRY_DEMO_WIRE_H
#define TOOLS_FERRY_DEMO_WIRE_H

#include "sample_files.h"
#include "secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct wire {
    int fd;
    struct secret_end *end; /* NULL: not encrypted */
};

/*
 * Takes a connected socket. The first read or write begins with the handshake, if there is one.
 * Ends the program with a message if there is no memory.
 * @param secret NULL: not encrypted. Borrowed until the wire is closed.
 */
void wire_open(struct wire *wire, int fd, struct secret *secret, bool is_near);

/* @return how many bytes came; 0: the end; -1: the connection broke. */
ssize_t wire_read(struct wire *wire, void *buffer, size_t size);

/* @param more something follows at once. @return false: the connection broke. */
bool wire_write(struct wire *wire, const void *data, size_t length, bool more);
bool wire_send_file(struct wire *wire, const struct sample_file *file);

/* Tells the peer that this is the end, and closes the socket. */
void wire_close(struct wire *wire);

#endif
