/* SPDX-License-Identifier: MIT */
#include "with_ferry.h"

#include <err.h>
#include <stdlib.h>

static bool take(void *context, unsigned connection, int fd)
{
    struct with_ferry *self = context;
    const bool is_encrypted = self->secret != NULL;
    const ferry_tls_options tls = {.context = is_encrypted ? secret_context(self->secret) : NULL,
                                   .name = secret_name};
    const ferry_stream_options options = {.tls = is_encrypted ? &tls : NULL};
    int error = ferry_stream_adopt(self->service, fd, &options, &self->streams[connection]);
    if (error != 0)
        warnx("cannot adopt a socket: %s", ferry_error_message(error));
    return error == 0;
}

static int post(ferry_stream *stream, const struct message *message, ferry_promise **ret_promise)
{
    ferry_file file = ferry_file_fd(message->file->fd);
    file.flags = FERRY_FD_BORROW;
    file.offset = 0;
    file.length = (int64_t)message->file->size;
    const ferry_part parts[] = {
        ferry_part_copy(&message->head, sizeof message->head),
        ferry_part_file(file),
        ferry_part_copy(&message->tail, sizeof message->tail),
    };
    return ferry_stream_send(stream, parts, 3, NULL, ret_promise);
}

/* @return how many were posted: count, or fewer if one was refused. */
static unsigned post_all(const struct with_ferry *self, ferry_stream *stream, unsigned first,
                         unsigned count, ferry_promise *ret_promises[])
{
    for (unsigned i = 0; i < count; i++) {
        struct message message = message_make(self->samples, first + i);
        int error = post(stream, &message, &ret_promises[i]);
        if (error != 0) {
            warnx("refused: %s", ferry_error_message(error));
            return i;
        }
    }
    return count;
}

/* Stores one receipt. Whether it is one of success. */
static bool collect(ferry_promise *promise, ferry_result *ret_receipt)
{
    int error = ferry_promise_await(promise, -1, ret_receipt);
    (void)ferry_promise_unref(promise);
    if (error != 0)
        ret_receipt->error = error;
    return ret_receipt->error == 0;
}

static void complain(const ferry_result *result)
{
    char why[256];
    (void)ferry_result_format(result, why, sizeof why);
    warnx("a request failed: %s", why);
}

static bool send_messages(void *context, unsigned connection, unsigned first, unsigned count)
{
    struct with_ferry *self = context;
    ferry_result *receipts = &self->receipts[connection][first];
    ferry_promise *promises[MESSAGES];
    unsigned posted = post_all(self, self->streams[connection], first, count, promises);
    bool is_good = posted == count;
    for (unsigned i = 0; i < posted; i++) {
        if (collect(promises[i], &receipts[i]))
            continue;
        if (is_good) /* the first tells most */
            complain(&receipts[i]);
        is_good = false;
    }
    if (!is_good)
        ferry_stream_abort(self->streams[connection]);
    return is_good;
}

static void end(void *context, unsigned connection)
{
    struct with_ferry *self = context;
    self->streams[connection] = ferry_stream_unref(self->streams[connection]);
}

struct carrier with_ferry_begin(struct with_ferry *self, const struct sample_files *samples,
                                const struct secret *secret, ferry_placement placement,
                                unsigned senders)
{
    const ferry_service_options options = {.placement = placement};
    self->samples = samples;
    self->secret = secret;
    int error = ferry_service_create(&options, &self->service);
    if (error != 0)
        errx(EXIT_FAILURE, "cannot start: %s", ferry_error_message(error));
    return (struct carrier){
        .context = self,
        .senders = senders,
        .take = take,
        .send = send_messages,
        .end = end,
    };
}

static bool check(const struct with_ferry *self, const struct receiver *receiver,
                  unsigned connection, unsigned number)
{
    struct message message = message_make(self->samples, number);
    const ferry_result *receipt = &self->receipts[connection][number];
    return receipt->stream_offset == receiver->starts[number] &&
           receipt->sent == message_length(&message) && receipt->remaining == 0;
}

bool with_ferry_check_receipts(const struct with_ferry *self, const struct round *round)
{
    for (unsigned connection = 0; connection < CONNECTIONS; connection++) {
        for (unsigned number = 0; number < MESSAGES; number++) {
            if (check(self, &round->receivers[connection], connection, number))
                continue;
            warnx("connection %u: the receipt of message %u is not what arrived", connection,
                  number);
            return false;
        }
    }
    return true;
}

void with_ferry_end(struct with_ferry *self)
{
    (void)ferry_service_stop(self->service, -1);
    ferry_service_destroy(self->service);
}
