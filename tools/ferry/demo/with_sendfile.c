/* SPDX-License-Identifier: MIT */
#include "with_sendfile.h"

#include <err.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

static bool take(void *context, unsigned connection, int fd)
{
    struct with_sendfile *self = context;
    self->fds[connection] = fd;
    return true;
}

static bool send_memory(int fd, const void *data, size_t length, int flags)
{
    const char *from = data;
    while (length > 0) {
        ssize_t sent = send(fd, from, length, flags | MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        from += sent;
        length -= (size_t)sent;
    }
    return true;
}

static bool send_file(int fd, const struct sample_file *file)
{
    off_t offset = 0;
    while ((uint64_t)offset < file->size)
        if (sendfile(fd, file->fd, &offset, (size_t)(file->size - (uint64_t)offset)) <= 0)
            return false;
    return true;
}

static bool send_message(int fd, const struct message *message)
{
    return send_memory(fd, &message->head, sizeof message->head, MSG_MORE) &&
           send_file(fd, message->file) && send_memory(fd, &message->tail, sizeof message->tail, 0);
}

static bool send_messages(void *context, unsigned connection, unsigned first, unsigned count)
{
    struct with_sendfile *self = context;
    for (unsigned number = first; number < first + count; number++) {
        struct message message = message_make(self->samples, number);
        if (!send_message(self->fds[connection], &message)) {
            warn("bare sendfile, connection %u", connection);
            return false;
        }
    }
    return true;
}

static void end(void *context, unsigned connection)
{
    struct with_sendfile *self = context;
    (void)close(self->fds[connection]);
}

struct carrier with_sendfile_carrier(struct with_sendfile *self, const struct sample_files *samples)
{
    self->samples = samples;
    return (struct carrier){
        .context = self,
        .senders = 1,
        .take = take,
        .send = send_messages,
        .end = end,
    };
}
