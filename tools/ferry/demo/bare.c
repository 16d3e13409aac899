/* SPDX-License-Identifier: MIT */
#include "bare.h"

#include <err.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

static bool take(void *context, unsigned lane, int fd)
{
    struct bare *bare = context;
    bare->fds[lane] = fd;
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

static bool send_file(int fd, const struct corpus_file *file)
{
    off_t offset = 0;
    while ((uint64_t)offset < file->size)
        if (sendfile(fd, file->fd, &offset, (size_t)(file->size - (uint64_t)offset)) <= 0)
            return false;
    return true;
}

static bool send_record(int fd, const struct record *record)
{
    return send_memory(fd, &record->head, sizeof record->head, MSG_MORE) &&
           send_file(fd, record->file) && send_memory(fd, &record->tail, sizeof record->tail, 0);
}

static bool send_records(void *context, unsigned lane, unsigned first, unsigned count)
{
    struct bare *bare = context;
    for (unsigned number = first; number < first + count; number++) {
        struct record record = record_make(bare->corpus, number);
        if (!send_record(bare->fds[lane], &record)) {
            warn("bare sendfile, connection %u", lane);
            return false;
        }
    }
    return true;
}

static void end(void *context, unsigned lane)
{
    struct bare *bare = context;
    (void)close(bare->fds[lane]);
}

struct carrier bare_carrier(struct bare *bare, const struct corpus *corpus)
{
    bare->corpus = corpus;
    return (struct carrier){
        .context = bare,
        .senders = 1,
        .take = take,
        .send = send_records,
        .end = end,
    };
}
