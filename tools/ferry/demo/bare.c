/* SPDX-License-Identifier: MIT */
#include "bare.h"

#include <err.h>

static bool take(void *context, unsigned connection, int fd)
{
    struct bare *self = context;
    wire_open(&self->wires[connection], fd, self->secret, true);
    return true;
}

static bool send_message(struct wire *wire, const struct message *message)
{
    return wire_write(wire, &message->head, sizeof message->head, true) &&
           wire_send_file(wire, message->file) &&
           wire_write(wire, &message->tail, sizeof message->tail, false);
}

static bool send_messages(void *context, unsigned connection, unsigned first, unsigned count)
{
    struct bare *self = context;
    for (unsigned number = first; number < first + count; number++) {
        struct message message = message_make(self->samples, number);
        if (!send_message(&self->wires[connection], &message)) {
            warn("bare loop, connection %u", connection);
            return false;
        }
    }
    return true;
}

static void end(void *context, unsigned connection)
{
    struct bare *self = context;
    wire_close(&self->wires[connection]);
}

struct carrier bare_carrier(struct bare *self, const struct sample_files *samples,
                            struct secret *secret)
{
    self->samples = samples;
    self->secret = secret;
    return (struct carrier){
        .context = self,
        .senders = 1,
        .take = take,
        .send = send_messages,
        .end = end,
    };
}
