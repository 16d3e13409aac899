/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FILE_BYTES = 128 * 1024 }; /* of a file at a time, where it has to be read */

void wire_open(struct wire *wire, int fd, struct secret *secret, bool is_near)
{
    *wire = (struct wire){.fd = fd};
    if (secret != NULL)
        wire->end = secret_end_create(secret, fd, is_near);
}

ssize_t wire_read(struct wire *wire, void *buffer, size_t size)
{
    return wire->end != NULL ? secret_read(wire->end, buffer, size) : read(wire->fd, buffer, size);
}

static bool send_all(int fd, const char *data, size_t length, int flags)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, flags | MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        data += sent;
        length -= (size_t)sent;
    }
    return true;
}

bool wire_write(struct wire *wire, const void *data, size_t length, bool more)
{
    return wire->end != NULL ? secret_write(wire->end, data, length)
                             : send_all(wire->fd, data, length, more ? MSG_MORE : 0);
}

/* Reads the file, and writes it encrypted. */
static bool copy_file(struct secret_end *end, const struct sample_file *file)
{
    char buffer[FILE_BYTES];
    uint64_t offset = 0;
    while (offset < file->size) {
        ssize_t count = pread(file->fd, buffer, sizeof buffer, (off_t)offset);
        if (count <= 0 || !secret_write(end, buffer, (size_t)count))
            return false;
        offset += (uint64_t)count;
    }
    return true;
}

bool wire_send_file(struct wire *wire, const struct sample_file *file)
{
    off_t offset = 0;
    if (wire->end != NULL)
        return copy_file(wire->end, file);
    while ((uint64_t)offset < file->size)
        if (sendfile(wire->fd, file->fd, &offset, (size_t)(file->size - (uint64_t)offset)) <= 0)
            return false;
    return true;
}

void wire_close(struct wire *wire)
{
    secret_end_free(wire->end);
    (void)close(wire->fd);
}
