/* SPDX-License-Identifier: MIT */
/* Ends that talk in records (tests/records.h). */
#include "tests/channel.h"

#include "tests/harness.h"
#include "tests/records.h"

#include <sys/socket.h>

struct channel {
    record_reader in;
    record_writer out;
    bool said_end;
};

void channel_make(channel *ret_ends[2])
{
    for (int i = 0; i < 2; i++) {
        ret_ends[i] = calloc(1, sizeof *ret_ends[i]);
        check(ret_ends[i] != NULL);
    }
}

void channel_free(channel *self)
{
    free(self);
}

void channel_put_on(channel *self, ferry_stream *stream)
{
    records_put_on(stream);
    free(self);
}

/* @return as recv(2), with some bytes in. */
static ssize_t await_some(channel *self, int fd, int flags)
{
    while (!record_is_in(&self->in) && !self->in.has_ended) {
        struct iovec wanted = record_wanted(&self->in);
        ssize_t came = recv(fd, wanted.iov_base, wanted.iov_len, flags & MSG_DONTWAIT);
        if (came == 0)
            errno = ECONNABORTED; /* an end that was not said */
        if (came <= 0)
            return -1;
        record_came(&self->in, (size_t)came);
    }
    return record_is_in(&self->in) ? 1 : 0;
}

ssize_t channel_receive(channel *self, int fd, void *data, size_t size, int flags)
{
    ssize_t result = await_some(self, fd, flags);
    if (result <= 0)
        return result;
    size_t begin = self->in.begin, got = record_take(&self->in, data, size);
    if ((flags & MSG_PEEK) != 0)
        self->in.begin = begin;
    return (ssize_t)got;
}

/* Sends a record that was begun, to its end. @return 0, or -1. */
static int send_record(channel *self, int fd, int flags)
{
    record_writer *out = &self->out;
    while (out->begin < out->end) {
        ssize_t sent = send(fd, out->bytes + out->begin, out->end - out->begin, flags);
        if (sent < 0)
            return -1;
        out->begin += (size_t)sent;
    }
    return 0;
}

ssize_t channel_send(channel *self, int fd, const void *data, size_t size, int flags)
{
    size_t done = 0;
    while (done < size) {
        struct iovec rest = {(char *)(uintptr_t)data + done, size - done};
        done += record_make(&self->out, RECORD_DATA, &rest, 1);
        if (send_record(self, fd, (flags & ~MSG_DONTWAIT) | MSG_NOSIGNAL) < 0)
            return -1;
    }
    return (ssize_t)done;
}

void channel_say_end(channel *self, int fd, int flags)
{
    bool is_whole = self->out.begin == self->out.end;
    if (is_whole && !self->said_end) {
        (void)record_make(&self->out, RECORD_END, NULL, 0);
        (void)send_record(self, fd, flags | MSG_NOSIGNAL);
    }
    self->said_end = true;
}
