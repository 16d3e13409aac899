/* SPDX-License-Identifier: MIT */
/*
 * For the tests that are built again, over links of another kind: a stream that they adopt is put
 * on such a link, and the peer at its other end, who is the test itself with read(2) and write(2),
 * speaks as that link does without knowing (tests/channel.h). Their sources are the same; the build
 * calls these functions in the place of those of libc's (tests/CMakeLists.txt).
 */
#include "tests/channel.h"
#include "tests/records_peer.h"

#include "tests/harness.h"
#include "transport/stream/stream.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* ---- which fds ------------------------------------------------------------------------------- */

/* A socket that a test has made for a peer. Known by its inode: it may have duplicates. */
typedef struct peer {
    ino_t inode;
    channel *channel;
    struct peer *next;
} peer;

static peer *peers;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static ino_t inode_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

/* Where the pointer to it is; to NULL: it is nobody's that speaks records. Under the mutex. */
static peer **find_place(int fd)
{
    ino_t inode = inode_of(fd);
    peer **place = &peers;
    while (*place != NULL && (inode == 0 || (*place)->inode != inode))
        place = &(*place)->next;
    return place;
}

static peer *find(int fd)
{
    int error = errno;
    (void)pthread_mutex_lock(&mutex);
    peer *found = *find_place(fd);
    (void)pthread_mutex_unlock(&mutex);
    errno = error;
    return found;
}

/* Forgets it. @return it, to be freed; or NULL. */
static peer *take(int fd)
{
    (void)pthread_mutex_lock(&mutex);
    peer **place = find_place(fd), *found = *place;
    if (found != NULL)
        *place = found->next;
    (void)pthread_mutex_unlock(&mutex);
    return found;
}

/* What an fd is of, as text; empty: it is not open. By its name: others may close it meanwhile. */
static void name_socket(int fd, char name[64])
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(path, name, 63);
    name[size > 0 ? size : 0] = 0;
}

/* Whether no other fd is of the same socket. The names of fds that are not open are not asked for:
 * a name costs many times as much, and this is asked at each close. */
static bool is_last(int fd)
{
    enum { FDS = 1024 }; /* more than tests open */
    char own[64], other[64];
    name_socket(fd, own);
    for (int i = 0; i < FDS; i++) {
        if (i == fd || fcntl(i, F_GETFD) < 0)
            continue;
        name_socket(i, other);
        if (strcmp(own, other) == 0)
            return false;
    }
    return true;
}

static void add(int fd, channel *own)
{
    peer *added = calloc(1, sizeof *added);
    added->inode = inode_of(fd);
    added->channel = own;
    check(added->inode != 0);
    (void)pthread_mutex_lock(&mutex);
    added->next = peers;
    peers = added;
    (void)pthread_mutex_unlock(&mutex);
}

void records_add_peers(int one, int other)
{
    channel *ends[2];
    channel_make(ends);
    add(one, ends[0]);
    add(other, ends[1]);
}

/* It is not the test's any more. @param is_moved its channel has moved into a stream. */
static void forget(peer *gone, bool is_moved)
{
    if (gone == NULL)
        return;
    if (!is_moved)
        channel_free(gone->channel);
    free(gone);
}

int records_adopt(ferry_service *service, int fd, const ferry_stream_options *options,
                  ferry_stream **ret_stream)
{
    int error = ferry_stream_adopt(service, fd, options, ret_stream);
    if (error != 0)
        return error;
    const ferry__link *link = &(*ret_stream)->link;
    peer *known = take(fd);
    bool is_moved = link->is_socket && !link->is_message;
    if (is_moved)
        channel_put_on(known != NULL ? known->channel : NULL, *ret_stream);
    forget(known, is_moved);
    return 0;
}

/* ---- what they do ---------------------------------------------------------------------------- */

ssize_t records_recv(int fd, void *data, size_t size, int flags)
{
    peer *self = find(fd);
    if (self == NULL || size == 0)
        return recv(fd, data, size, flags);
    size_t got = 0;
    do {
        ssize_t result = channel_receive(self->channel, fd, (char *)data + got, size - got, flags);
        if (result <= 0)
            return got > 0 ? (ssize_t)got : result;
        got += (size_t)result;
    } while ((flags & MSG_WAITALL) != 0 && got < size);
    return (ssize_t)got;
}

ssize_t records_read(int fd, void *data, size_t size)
{
    return find(fd) != NULL ? records_recv(fd, data, size, 0) : read(fd, data, size);
}

ssize_t records_send(int fd, const void *data, size_t size, int flags)
{
    peer *self = find(fd);
    if (self == NULL || (flags & MSG_OOB) != 0)
        return send(fd, data, size, flags);
    return channel_send(self->channel, fd, data, size, flags);
}

ssize_t records_write(int fd, const void *data, size_t size)
{
    return find(fd) != NULL ? records_send(fd, data, size, 0) : write(fd, data, size);
}

/* Whether its close is to be a reset: nothing is said then. */
static bool is_resetting(int fd)
{
    struct linger linger = {0};
    socklen_t size = sizeof linger;
    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 && linger.l_onoff != 0 &&
           linger.l_linger == 0;
}

static void say_end(const peer *self, int fd, int flags)
{
    if (!is_resetting(fd))
        channel_say_end(self->channel, fd, flags);
}

int records_shutdown(int fd, int how)
{
    peer *self = find(fd);
    if (self != NULL && how != SHUT_RD)
        say_end(self, fd, 0);
    return shutdown(fd, how);
}

int records_close(int fd)
{
    peer *last = find(fd) != NULL && is_last(fd) ? take(fd) : NULL;
    if (last != NULL)
        say_end(last, fd, MSG_DONTWAIT);
    forget(last, false);
    return close(fd);
}
