/* SPDX-License-Identifier: MIT */
/*
 * For the tests that are built a second time, over records: a stream that they adopt is put on a
 * link of records (tests/records.h), and the peer at its other end, who is the test itself with
 * read(2) and write(2), speaks records without knowing. Their sources are the same; the build calls
 * these functions in the place of those of libc's (tests/CMakeLists.txt).
 */
/* Here they are what they are called. */
#undef ferry_stream_adopt
#undef recv
#undef read
#undef send
#undef write
#undef shutdown
#undef close

#include "tests/records_peer.h"

#include "tests/harness.h"
#include "tests/records.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* ---- which fds ------------------------------------------------------------------------------- */

/* A socket that a test has made for a peer. Known by its inode: it may have duplicates. */
typedef struct peer {
    ino_t inode;
    record_reader in;
    record_writer out;
    bool said_end;
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

void records_add_peer(int fd)
{
    peer *added = calloc(1, sizeof *added);
    added->inode = inode_of(fd);
    check(added->inode != 0);
    (void)pthread_mutex_lock(&mutex);
    added->next = peers;
    peers = added;
    (void)pthread_mutex_unlock(&mutex);
}

int records_adopt(ferry_service *service, int fd, const ferry_stream_options *options,
                  ferry_stream **ret_stream)
{
    int error = ferry_stream_adopt(service, fd, options, ret_stream);
    const ferry__link *link = error == 0 ? &(*ret_stream)->link : NULL;
    if (error == 0 && link->is_socket && !link->is_message)
        records_put_on(*ret_stream);
    free(error == 0 ? take(fd) : NULL); /* not the test's any more */
    return error;
}

/* ---- what comes ------------------------------------------------------------------------------ */

/* @return as recv(2), with some bytes in. */
static ssize_t await_some(peer *self, int fd, int flags)
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

ssize_t records_recv(int fd, void *data, size_t size, int flags)
{
    peer *self = find(fd);
    if (self == NULL || size == 0)
        return recv(fd, data, size, flags);
    size_t got = 0;
    do {
        ssize_t result = await_some(self, fd, flags);
        if (result <= 0)
            return got > 0 ? (ssize_t)got : result;
        size_t begin = self->in.begin;
        got += record_take(&self->in, (char *)data + got, size - got);
        if ((flags & MSG_PEEK) != 0)
            self->in.begin = begin;
    } while ((flags & MSG_WAITALL) != 0 && got < size);
    return (ssize_t)got;
}

ssize_t records_read(int fd, void *data, size_t size)
{
    return find(fd) != NULL ? records_recv(fd, data, size, 0) : read(fd, data, size);
}

/* ---- what leaves ----------------------------------------------------------------------------- */

/* Sends a record that was begun, to its end. @return 0, or -1. */
static int send_record(peer *self, int fd, int flags)
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

ssize_t records_send(int fd, const void *data, size_t size, int flags)
{
    peer *self = find(fd);
    if (self == NULL || (flags & MSG_OOB) != 0)
        return send(fd, data, size, flags);
    size_t done = 0;
    while (done < size) {
        struct iovec rest = {(char *)(uintptr_t)data + done, size - done};
        done += record_make(&self->out, RECORD_DATA, &rest, 1);
        if (send_record(self, fd, (flags & ~MSG_DONTWAIT) | MSG_NOSIGNAL) < 0)
            return -1;
    }
    return (ssize_t)done;
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

static void say_end(peer *self, int fd, int flags)
{
    bool is_whole = self->out.begin == self->out.end;
    if (is_whole && !self->said_end && !is_resetting(fd)) {
        (void)record_make(&self->out, RECORD_END, NULL, 0);
        (void)send_record(self, fd, flags | MSG_NOSIGNAL);
    }
    self->said_end = true;
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
    free(last);
    return close(fd);
}
