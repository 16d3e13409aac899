/* SPDX-License-Identifier: MIT */
#include "transport/edge/patience.h"

#include <errno.h>
#include <fcntl.h>

enum { MOST_PIECES = 16 };

/* ---- the flag -------------------------------------------------------------------------------- */

/* Whether it was not so before, and now is. */
static bool set_blocking(int fd, bool is_blocking)
{
    int before = fcntl(fd, F_GETFL);
    int after = is_blocking ? before & ~O_NONBLOCK : before | O_NONBLOCK;
    return before >= 0 && after != before && fcntl(fd, F_SETFL, after) == 0;
}

static void get_out(ferry__exit *self)
{
    ferry__patience *patience = (ferry__patience *)(void *)self;
    if (set_blocking(patience->fd, false))
        atomic_store(&patience->has_set_flag, true);
}

/* ---- the time limit -------------------------------------------------------------------------- */

static int set_limit(int fd, const struct timeval *limit)
{
    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, limit, sizeof *limit);
}

/* Whether calls come out by themselves. */
static bool limit_waits(ferry__patience *patience)
{
    static const struct timeval wanted = {.tv_usec = FERRY__PATIENCE_MS * 1000};
    socklen_t size = sizeof patience->original;
    if (!patience->has_limit)
        patience->has_limit =
            getsockopt(patience->fd, SOL_SOCKET, SO_SNDTIMEO, &patience->original, &size) == 0 &&
            set_limit(patience->fd, &wanted) == 0;
    return patience->has_limit;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* A unix socket takes half of its memory at a time, and looks at the limit for each anew. */
static size_t choose_message_bytes(int fd)
{
    int memory = 0;
    socklen_t size = sizeof memory;
    (void)getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &memory, &size);
    size_t quarter = memory > 4 ? (size_t)memory / 4 : 1;
    return quarter < FERRY__PIECE_BYTES ? quarter : FERRY__PIECE_BYTES;
}

void ferry__patience_init(ferry__patience *patience, int fd, bool is_own)
{
    patience->exit.get_out = get_out;
    patience->fd = fd;
    patience->is_own = is_own;
}

bool ferry__patience_begin(ferry__patience *patience)
{
    if (!limit_waits(patience))
        return false;
    if (patience->is_own && !patience->is_blocking)
        patience->is_blocking = set_blocking(patience->fd, true);
    patience->waits = true;
    return true;
}

void ferry__patience_end(ferry__patience *patience, bool was_got_out)
{
    patience->waits = false;
    if (!was_got_out || !atomic_exchange(&patience->has_set_flag, false))
        return;
    if (patience->is_own)
        patience->is_blocking = false;
    else
        (void)set_blocking(patience->fd, true);
}

size_t ferry__patience_most(ferry__patience *patience)
{
    if (patience->message_bytes == 0)
        patience->message_bytes = choose_message_bytes(patience->fd);
    return patience->message_bytes;
}

ssize_t ferry__patience_send(ferry__patience *patience, ferry__calls *calls,
                             const struct iovec pieces[], int count, size_t most, int flags)
{
    struct iovec some[MOST_PIECES];
    struct msghdr message = {.msg_iov = some};
    for (int i = 0; i < count && i < MOST_PIECES && most > 0; i++) {
        size_t size = pieces[i].iov_len < most ? pieces[i].iov_len : most;
        some[message.msg_iovlen++] =
            (struct iovec){.iov_base = pieces[i].iov_base, .iov_len = size};
        most -= size;
    }
    return calls->sendmsg(calls, patience->fd, &message, flags);
}

static void stop_blocking(ferry__patience *patience)
{
    if (patience->is_blocking)
        (void)set_blocking(patience->fd, false);
    patience->is_blocking = false;
}

void ferry__patience_leave(ferry__patience *patience)
{
    stop_blocking(patience);
    if (patience->has_limit)
        patience->has_limit = set_limit(patience->fd, &patience->original) != 0;
}

/* Nobody else sees the limit of a socket of ferry's own. */
void ferry__patience_rest(ferry__patience *patience)
{
    if (patience->is_own)
        stop_blocking(patience);
    else
        ferry__patience_leave(patience);
}
